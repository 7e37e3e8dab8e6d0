"""Namespaces, security options, devices, parameters and limits of a service, by value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine import isolation, machine
from orchestrator.engine.resolve import check
from orchestrator.errors import SpecError
from orchestrator.image.config import ImageConfig
from orchestrator.linux import caps, rlimits
from orchestrator.runtime import spec as runtime
from orchestrator.spec import hashing
from orchestrator.spec.model import BlockIo, Device, DeviceRate, Port, Ulimit, VolumeMount
from tests.engine.world import project, resolved, service

CONFIG = ImageConfig(command=("true",))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, runtime.Namespaces()),
        ({"pid": "host", "uts": "host", "cgroup": "host", "ipc": "host"},
         runtime.Namespaces(pid="host", uts="host", cgroup="host", ipc="host")),
        ({"ipc": "shareable"}, runtime.Namespaces()),
        ({"ipc": "none"}, runtime.Namespaces(ipc="none")),
        ({"network_mode": "none"}, runtime.Namespaces()),
        ({"network_mode": "service:db", "pid": "container:other"},
         runtime.Namespaces(network="service:db", pid="container:other")),
        ({"userns_mode": "host"}, runtime.Namespaces()),
    ],
)  # fmt: skip
def test_namespaces_are_those_that_are_said(
    said: dict[str, Any], expected: runtime.Namespaces
) -> None:
    assert resolved(service(networks={}, **said)).namespaces == expected


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"pid": "hots"}, "unknown pid 'hots'"),
        ({"pid": "service:web"}, "cannot join itself"),
        ({"uts": "container:x"}, "unknown uts"),
        ({"ipc": "service:"}, "unknown ipc"),
        ({"network_mode": "my-net"}, "unknown network_mode 'my-net'"),
        ({"userns_mode": "auto"}, "not supported"),
        ({"network_mode": "none", "ports": (Port(target=80),)}, "ports has no meaning"),
        ({"network_mode": "service:db", "dns": ("1.1.1.1",)}, "dns has no meaning"),
        ({"security_opt": ("seccomp",)}, "seccomp cannot be ''"),
        ({"security_opt": ("no-new-privilege",)}, "unknown security option 'no-new-privilege'"),
        ({"security_opt": ("label:color:red",)}, "label cannot be"),
        ({"devices": (Device(source="/dev/x", target="/dev/x", permissions="rx"),)}, "r, w and m"),
        ({"device_cgroup_rules": ("c 1:3",)}, "not a device rule"),
        ({"sysctls": {"kernel.panic": "1"}}, "of the whole machine"),
        ({"sysctls": {"net..x": "1"}}, "not the name of a kernel parameter"),
        ({"sysctls": {"net.core.somaxconn": "1"}, "network_mode": "host"}, "which the container"),
        ({"ulimits": (Ulimit(name="nofiles", soft=1, hard=1),)}, "unknown limit 'nofiles'"),
        ({"ulimits": (Ulimit(name="core", soft=3, hard=2),)}, "soft limit 3"),
        ({"ulimits": (Ulimit(name="core", soft=-1, hard=2),)}, "soft limit -1"),
        ({"memswap_limit": 1 << 30}, "needs a mem_limit"),
        ({"mem_limit": 2048, "memswap_limit": 1024}, "cannot be below mem_limit"),
        ({"mem_limit": 1024, "mem_reservation": 2048}, "above mem_limit"),
        ({"mem_swappiness": 101}, "0 to 100"),
        ({"oom_score_adj": 2000}, "-1000"),
        ({"cpus": 1.0, "cpu_quota": 50_000}, "in two ways"),
        ({"cpu_period": 10}, "1000 to 1000000"),
        ({"cpuset": "0-"}, "list of processors"),
        ({"blkio_config": BlockIo(weight=5)}, "10 to 1000"),
        ({"cgroup_parent": "../../init.scope"}, "leads out"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused_with_its_place(said: dict[str, Any], message: str) -> None:
    made = service(**{"networks": {}, **said})
    with pytest.raises(SpecError, match=f"compose.yaml:3:5: .*{message}"):
        check(made, CONFIG, project=project(made))


def test_security_options_are_read_in_both_forms() -> None:
    found = isolation.security(
        service(security_opt=("no-new-privileges:true", "seccomp=unconfined", "apparmor:mine",
                              "systempaths=unconfined", "label=type:web_t", "label=level:s0:c1")),
        project=project(),
    )  # fmt: skip
    assert found == isolation.Security(
        seccomp=False, no_new_privileges=True, apparmor="mine", masked_paths=False,
        selinux_label="system_u:system_r:web_t:s0:c1",
    )  # fmt: skip
    file = isolation.security(service(security_opt=("seccomp:./p.json",)), project=project())
    assert (file.seccomp, file.seccomp_file) == (True, "./p.json")


def test_a_privileged_container_has_everything_and_is_not_confined() -> None:
    spec = resolved(service(privileged=True))
    assert set(spec.capabilities) == set(caps.NAMES)
    assert (spec.privileged, spec.seccomp, spec.masked_paths) == (True, False, False)


def test_limits_keep_their_units_and_zero_is_none() -> None:
    spec = resolved(service(
        mem_limit=64 << 20, mem_reservation=1 << 20, memswap_limit=-1, mem_swappiness=0,
        oom_kill_disable=True, cpu_shares=512, cpu_quota=50_000, cpu_period=100_000, cpuset="0-1",
        pids_limit=9, cpu_rt_runtime=0,
        blkio_config=BlockIo(weight=300, device_read_bps=(DeviceRate(path="/dev/x", rate=7),)),
    ))  # fmt: skip
    assert spec.resources == runtime.Resources(
        memory=64 << 20, memory_reservation=1 << 20, memory_swap=-1, memory_swappiness=0,
        oom_kill_disable=True, cpu_shares=512, cpu_quota=50_000, cpu_period=100_000,
        cpuset="0-1", pids=9,
        block=runtime.BlockIo(weight=300, read_bps=(("/dev/x", 7),)),
    )  # fmt: skip


def test_names_with_the_machines_network_are_the_machines() -> None:
    spec = resolved(service(network_mode="host", networks={}, ports=(Port(target=80),)))
    assert (spec.hostname, spec.ports) == ("", ())
    assert "HOSTNAME" not in spec.environment
    assert resolved(service(network_mode="host", networks={}, hostname="x")).hostname == "x"
    assert isolation.warnings(service(network_mode="host", ports=(Port(target=80),)))


def test_the_rest_reaches_the_container_as_it_is() -> None:
    spec = resolved(service(
        annotations={"a": "b"}, sysctls={"net.core.somaxconn": "9"}, cgroup_parent="/a//b",
        devices=(Device(source="/dev/a", target="/dev/b", permissions="r"),),
        device_cgroup_rules=("c 1:3 rwm",), ulimits=(Ulimit(name="nofile", soft=1, hard=-1),),
    ))  # fmt: skip
    assert spec.annotations == {"a": "b"}
    assert spec.sysctls == (("net.core.somaxconn", "9"),)
    assert spec.cgroup_parent == "a/b"
    assert spec.devices == (runtime.Device(source="/dev/a", target="/dev/b", permissions="r"),)
    assert spec.device_rules == ("c 1:3 rwm",)
    assert spec.rlimits == (("nofile", 1, -1),)


CHANGES: list[dict[str, Any]] = [
    {"privileged": True}, {"pid": "host"}, {"sysctls": {"net.core.somaxconn": "9"}},
    {"devices": (Device(source="/dev/a", target="/dev/b"),)}, {"cpu_shares": 2},
    {"security_opt": ("no-new-privileges",)}, {"annotations": {"a": "b"}}, {"cgroup": "host"},
    {"blkio_config": BlockIo(weight=300)}, {"cgroup_parent": "x"}, {"mem_swappiness": 0},
    {"seccomp_digest": "1"}, {"network_mode": "none"}, {"oom_kill_disable": True},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_every_change_makes_another_container(change: dict[str, Any]) -> None:
    assert hashing.config_tree(service(**change)) != hashing.config_tree(service())


def test_a_seccomp_profile_is_read_checked_and_part_of_the_hash(tmp_path: Any) -> None:
    path = tmp_path / "p.json"
    made = service(security_opt=(f"seccomp={path}",))
    whole = project(made)
    with pytest.raises(SpecError, match="No such file"):
        machine.gather(whole, ["web"])
    path.write_text('{"defaultAction": "SCMP_ACT_NONSENSE"}')
    with pytest.raises(SpecError, match="unknown defaultAction"):
        machine.gather(whole, ["web"])
    path.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    assert machine.gather(whole, ["web"])["web"].seccomp_profile == path.read_text()
    before = machine.digested(whole).services["web"].seccomp_digest
    path.write_text('{"defaultAction": "SCMP_ACT_LOG"}')
    assert machine.digested(whole).services["web"].seccomp_digest not in ("", before)


def test_what_this_machine_does_not_have_is_told_together() -> None:
    made = service(
        devices=(Device(source="/dev/nonsense", target="/x"), Device(source="/etc", target="/y")),
        security_opt=("apparmor=mine",), blkio_config=BlockIo(
            device_read_bps=(DeviceRate(path="/dev/null", rate=1),)),
    )  # fmt: skip
    with pytest.raises(SpecError) as caught:
        machine.check(project(made), ["web"])
    text = str(caught.value)
    assert "device /dev/nonsense: no such file" in text
    assert "/dev/null: it is not one" in text or "blkio" in text
    assert "AppArmor" in text or machine._has_apparmor()


def test_rlimits_are_those_of_the_kernel() -> None:
    import resource

    known = {name[7:].lower(): number for name, number in vars(resource).items()
             if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"}  # fmt: skip
    assert known.items() <= {name: n for n, name in enumerate(rlimits.NAMES)}.items()
    assert len(Path("/proc/self/limits").read_text().splitlines()) == 1 + len(rlimits.NAMES)



def test_labels_of_selinux_are_refused_only_where_there_is_selinux(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = VolumeMount(type="bind", source="/src", target="/x", selinux="z")
    whole = project(service(volumes=(mount,)))
    monkeypatch.setattr(machine, "ENFORCE", str(tmp_path / "enforce"))
    machine.check(whole, ["web"])
    (tmp_path / "enforce").write_text("1")
    with pytest.raises(SpecError, match="labels of SELinux"):
        machine.check(whole, ["web"])
