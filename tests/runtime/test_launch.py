"""What the keeper is asked to do, by value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.errors import CommandNotFoundError, LaunchError
from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.runtime import child, rootfs
from orchestrator.runtime.launch import (
    adopt_request,
    exec_request,
    forget_request,
    launch_error,
    launch_request,
)
from orchestrator.runtime.limits import place
from orchestrator.runtime.spec import ContainerSpec, Mount, Resources, Rootfs

HYBRID = Hierarchy(kind="hybrid", unified="/cg/unified", unified_controllers=[],
                   legacy={"memory": "/cg/memory", "pids": "/cg/pids"})
PATHS: dict[str, Any] = {"run_dir": "/run/x", "log_dir": "/data/log",
                         "exit_path": "/data/exit.json"}


def spec(**fields: Any) -> ContainerSpec:
    given = {
        "id": "ab" * 32, "name": "p-web-1", "project": "p", "service": "web", "index": 1,
        "argv": ("serve",), "environment": {"A": "1"}, "hostname": "web",
        "rootfs": Rootfs(lowers=("/l2", "/l1"), upper="/u", work="/w", target="/t"), **fields,
    }  # fmt: skip
    return ContainerSpec(**given)


def request(*, stdio: Any = "log", wait: bool = True, **fields: Any) -> dict[str, Any]:
    return launch_request(spec(**fields), hierarchy=HYBRID, wait_for_network=wait, stdio=stdio,
                          **PATHS)


def steps(**fields: Any) -> list[str]:
    return [step["step"] for step in request(**fields)["steps"]]


def test_the_steps_come_in_the_order_that_is_needed() -> None:
    assert steps(resources=Resources(pids=5), init=True) == [
        "Group", "CgroupNamespace", "OpenInit", "Fifos", "Propagation", "Overlay", "Filesystem",
        "Filesystem", "Devices", "Filesystem", "Filesystem", "Filesystem", "Filesystem",
        "Filesystem", "Filesystem", "Filesystem", "ControllerLinks", "WaitForGo", "Bind", "Bind",
        "Bind", "Sysctls", "Mask", "ReadOnlyPaths", "PivotRoot", "Hostname", "LookUpUser",
        "OwnStreams", "WorkingDirectory", "Rlimits", "OomScore", "Seccomp", "BecomeUser", "Execute",
    ]  # fmt: skip


def test_a_request_survives_json_and_its_steps_come_back_equal() -> None:
    asked = request(
        tty=True, read_only=True, no_new_privileges=True, resources=Resources(memory=9 << 20),
        rlimits=(("nofile", 1, 2),),
        mounts=(Mount(type="tmpfs", target="/x"),
                Mount(type="volume", source="/v", target="/y", populate=True)))  # fmt: skip
    again = json.loads(json.dumps(asked))
    for data in again["steps"]:
        step = child.step_from_json(data)
        assert step.to_json() == data
        assert step.describe()


def test_the_streams_decide_what_is_opened() -> None:
    assert "Terminal" in steps(tty=True)
    assert "Fifos" not in steps(tty=True)
    assert "GivenStreams" in steps(stdio="fds")
    taken = request(stdio="tty")
    assert (taken["pump"], taken["stdio"]) == (False, "other")
    assert request(tty=True)["pump"] is True


def test_without_a_network_nobody_waits() -> None:
    assert "WaitForGo" not in steps(wait=False)


def test_a_mount_of_the_users_wins_over_our_files() -> None:
    mount = Mount(type="bind", source="/my/hosts", target="/etc/hosts")
    binds = [s["source"] for s in request(mounts=(mount,))["steps"] if s["step"] == "Bind"]
    assert binds == ["/my/hosts", "/run/x/resolv.conf", "/run/x/hostname"]


def test_defaults_of_the_environment_give_way() -> None:
    def environment(**fields: Any) -> dict[str, str]:
        found: dict[str, str] = request(**fields)["steps"][-1]["environment"]
        return found

    assert environment(environment={})["HOSTNAME"] == "web"
    assert "TERM" not in environment()
    assert environment(tty=True)["TERM"] == "xterm"
    assert environment(environment={"PATH": "/x"})["PATH"] == "/x"


def test_exec_adopt_and_forget_name_the_same_container() -> None:
    limited = spec(resources=Resources(pids=5))
    asked = exec_request(
        limited, 77, exec_id="e", hierarchy=HYBRID, argv=("id",), environment={"B": "2"}, user="",
        cwd="", tty=False, privileged=False, capture=True)
    assert asked["birth_group"] == "/cg/unified/pcompose-p-" + "ab" * 6
    assert asked["steps"][1] == {"step": "JoinGroups", "paths": ["/cg/pids/pcompose-p-" + "ab" * 6]}
    assert asked["steps"][-1]["environment"].items() >= {"A": "1", "B": "2"}.items()
    adopted = adopt_request(limited, pid=77, start_time=5, hierarchy=HYBRID, stdio="log", **PATHS)
    launched = launch_request(limited, hierarchy=HYBRID, wait_for_network=True, stdio="log",
                              **PATHS)
    for key in adopted.keys() & launched.keys() - {"op"}:
        assert adopted[key] == launched[key]
    groups = forget_request(limited, hierarchy=HYBRID)["groups"]
    assert set(launched["groups"]) <= set(groups)


def test_an_exec_as_another_user_has_not_the_added_groups() -> None:
    def groups(user: str) -> object:
        asked = exec_request(
            spec(group_add=("wheel",)), 1, exec_id="e", hierarchy=HYBRID, argv=("id",),
            environment={}, user=user, cwd="", tty=False, privileged=False, capture=False)
        return next(s["group_add"] for s in asked["steps"] if s["step"] == "LookUpUser")

    assert groups("") == ["wheel"]
    assert groups("bob") == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "mode=1777"), (("size=1m", "mode=700"), "mode=700,size=1m"),
        (("size=5,uid=3",), "mode=1777,size=5,uid=3"),
    ],
)
def test_tmpfs_options_become_data(options: tuple[str, ...], expected: str) -> None:
    mount = Mount(type="tmpfs", target="/x", options=options)
    assert rootfs.tmpfs_options(mount, spec())[1] == expected


def test_tmpfs_flags_can_be_lifted_but_never_nodev() -> None:
    def flags(*options: str) -> int:
        return rootfs.tmpfs_options(Mount(type="tmpfs", target="/x", options=options), spec())[0]

    assert flags() == 2 | 4 | 8
    assert flags("exec", "suid", "dev") == 4
    assert flags("ro") == 1 | 2 | 4 | 8


@pytest.mark.parametrize("option", ["bogus", "size", "size=", "context=x"])
def test_an_unknown_tmpfs_option_is_refused_with_its_place(option: str) -> None:
    mount = Mount(type="tmpfs", target="/x", options=(option,), origin="compose.yaml:9")
    with pytest.raises(LaunchError, match=r"no option .*compose\.yaml:9"):
        request(mounts=(mount,))


def test_a_source_that_is_shared_is_opened_before_our_mounts_are_slaves() -> None:
    mount = Mount(type="bind", source="/a", target="/x", propagation="rshared")
    kinds = steps(mounts=(mount,))
    assert kinds.index("OpenShared") < kinds.index("Propagation") < kinds.index("Bind")


def test_cgroups_show_version_2_alone_without_version_1_groups() -> None:
    placement = place("x", Resources(), hierarchy=HYBRID, subject="w")
    kinds = [s.to_json().get("fstype") for s in rootfs.before_network(spec(), placement)]
    assert kinds.count("cgroup2") == 1
    assert "cgroup" not in kinds


def test_a_failure_becomes_a_sentence() -> None:
    event = {"event": "failed", "id": "x", "step": "bind /a -> /b [readonly]", "kind": "Bind",
             "errno": 2, "path": "/a", "message": "No such file or directory"}
    error = launch_error(event, subject="web-1", origin="compose.yaml:4")
    assert error.message == (
        "cannot start web-1: bind /a -> /b [readonly]: no such file or directory (compose.yaml:4)")
    missing = {**event, "event": "exec_failed", "kind": "Execute", "step": "exec x", "path": "x"}
    found = launch_error(missing, subject="web-1")
    assert isinstance(found, CommandNotFoundError)
    assert found.exit_code == 127
    assert found.message.startswith("cannot run a command in web-1: exec x: ")
