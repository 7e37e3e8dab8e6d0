"""CDI files of ours: what they describe becomes edits of a container, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine import machine
from orchestrator.engine.cdi import Registry
from orchestrator.errors import SpecError
from orchestrator.runtime import spec as runtime
from orchestrator.spec.model import Device, DeviceRequest
from tests.engine.world import project, service

GPU: dict[str, Any] = {
    "cdiVersion": "0.6.0",
    "kind": "acme.com/gpu",
    "containerEdits": {
        "env": ["ACME=yes"],
        "deviceNodes": [{"path": "/dev/acmectl", "hostPath": "/dev/null"}],
        "mounts": [{"hostPath": "/usr/lib/acme", "containerPath": "/usr/lib/acme",
                    "options": ["ro", "nosuid", "nodev", "rbind", "rprivate"]}],
        "hooks": [{"hookName": "createContainer", "path": "/usr/bin/acme-hook",
                   "args": ["acme-hook", "ldcache"], "env": ["A=b"], "timeout": 5}],
        "additionalGids": [44],
    },
    "devices": [
        {"name": str(n), "containerEdits": {"deviceNodes": [{"path": f"/dev/acme{n}"}]}}
        for n in (0, 1, 2, 10)
    ],
}
YAML = """
cdiVersion: "0.5.0"
kind: other.org/fpga
devices:
- name: all
  containerEdits: {env: [FPGA=1]}
"""


def registry(tmp_path: Path, **files: Any) -> Registry:
    for name, content in files.items():
        path = tmp_path / name.replace("_", ".")
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return Registry([str(tmp_path / "missing"), str(tmp_path)])


def request(*capabilities: str, **said: Any) -> DeviceRequest:
    return DeviceRequest(capabilities=capabilities or ("gpu",), **said)


def test_a_device_brings_its_edits_and_those_of_its_file_once(tmp_path: Path) -> None:
    found = registry(tmp_path, acme_json=GPU).edits(["acme.com/gpu=0", "acme.com/gpu=1"])
    assert [d.target for d in found.devices] == ["/dev/acmectl", "/dev/acme0", "/dev/acme1"]
    assert found.devices[0].source == "/dev/null"
    assert found.environment == {"ACME": "yes"}
    assert found.groups == ("44",)
    assert [(m.source, m.read_only, m.recursive) for m in found.mounts] == [
        ("/usr/lib/acme", True, "enabled")]  # fmt: skip
    assert found.hooks == (runtime.RootHook(path="/usr/bin/acme-hook", timeout=5.0,
                                            args=("acme-hook", "ldcache"),
                                            environment={"A": "b"}),)  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (request(count=-1), ["0", "1", "2", "10"]), (request(), ["0", "1", "2", "10"]),
        (request(count=3), ["0", "1", "2"]), (request(device_ids=("10", "1")), ["10", "1"]),
        (request(driver="acme", count=1), ["0"]),
    ],
)  # fmt: skip
def test_requests_choose_devices(tmp_path: Path, wanted: DeviceRequest, names: list[str]) -> None:
    found = registry(tmp_path, acme_json=GPU).requested(wanted)
    assert found == [f"acme.com/gpu={name}" for name in names]


def test_a_yaml_file_is_read_and_all_is_a_device_where_it_is_one(tmp_path: Path) -> None:
    there = registry(tmp_path, acme_json=GPU, other_yaml=YAML)
    assert there.requested(request("fpga")) == ["other.org/fpga=all"]
    assert there.requested(request(driver="cdi", device_ids=("other.org/fpga=all",))) == [
        "other.org/fpga=all"]  # fmt: skip
    assert there.edits(["other.org/fpga=all"]).environment == {"FPGA": "1"}


def test_a_later_directory_wins(tmp_path: Path) -> None:
    for name, value in (("a", "old"), ("b", "new")):
        (tmp_path / name).mkdir()
        text = YAML.replace("FPGA=1", f"FPGA={value}")
        (tmp_path / name / "x.yaml").write_text(text)
    there = Registry([str(tmp_path / "a"), str(tmp_path / "b")])
    assert there.edits(["other.org/fpga=all"]).environment == {"FPGA": "new"}


def edited(**edits: Any) -> dict[str, Any]:
    return {"kind": "acme.com/gpu", "devices": [{"name": "0", "containerEdits": edits}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "nonsense"}, "not of the form vendor/class"),
        ([], "the file is not a mapping"),
        ("{", "a.json"),
        (edited(hooks=[{"hookName": "poststop", "path": "/x"}]), "poststop hooks"),
        (edited(intelRdt={"closID": "x"}), "intelRdt is not supported"),
        (edited(netDevices=[{}]), "netDevices is not supported"),
        (edited(deviceNodes=[{"path": "relative"}]), "no absolute path"),
        (edited(deviceNodes=[{"path": "/dev/x", "uid": 3}]), "uid of a device node"),
        (edited(mounts=[{"hostPath": "/a", "containerPath": "/b", "options": ["sync"]}]), "sync"),
        (edited(mounts=[{"hostPath": "/a", "containerPath": "/b", "type": "tmpfs"}]), "tmpfs"),
        (edited(env="A=b"), "env is not a list"),
        ({**edited(), "devices": [{"name": "0"}, {"name": "0"}]}, "described twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_out_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        registry(tmp_path, a_json=content).edits(["acme.com/gpu=0"])


def test_what_is_not_there_is_said_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCOMPOSE_CDI", str(tmp_path))
    for said in ({"devices": (Device(source="acme.com/gpu=7", target=""),)},
                 {"gpus": (request(),)}, {"gpus": (request(driver="nvidia", count=2),)}):
        made = service(**said)
        with pytest.raises(SpecError, match=r"compose.yaml:3:5: .*(acme|gpu)") as caught:
            machine.gather(project(made), ["web"])
        assert "nvidia-ctk" in str(caught.value.hint)


def test_the_edits_reach_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCOMPOSE_CDI", str(tmp_path))
    registry(tmp_path, acme_json=GPU)
    made = service(gpus=(request(count=1),))
    assets = machine.gather(project(made), ["web"])["web"]
    assert [d.target for d in assets.devices] == ["/dev/acmectl", "/dev/acme0"]
    assert assets.hooks[0].path == "/usr/bin/acme-hook"
