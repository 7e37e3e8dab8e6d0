"""Control groups: where they would be in each world, and what this machine does with them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.linux import cgroupfs, procfs, syscalls

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROLLERS = ("memory", "cpu", "pids", "freezer", "cpuset", "devices")


def mount(target: Path, fstype: str, options: str, root: str = "/") -> procfs.Mount:
    target.mkdir(parents=True, exist_ok=True)
    return procfs.Mount(f"1 0 0:1 {root} {target} rw - {fstype} x rw,{options}")


def group_directory(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in ("cgroup.procs", "cgroup.controllers", "cgroup.subtree_control"):
        (path / name).write_text(files.get(name.partition(".")[2], ""))
    return path


def test_the_real_root_of_version_2_is_our_place(tmp_path: Path) -> None:
    group_directory(tmp_path, controllers="cpu memory pids\n", procs="1\n")
    found = cgroupfs.hierarchy_of([mount(tmp_path, "cgroup2", "nsdelegate")], {"": "/user/x"})
    assert (found.kind, found.unified) == ("unified", str(tmp_path))
    path = f"{tmp_path}/pcompose/p/i"
    assert found.group_paths("pcompose/p/i", ["memory", "blkio"]) == {"": path, "memory": path}


def test_a_group_with_processes_gives_no_new_controllers(tmp_path: Path) -> None:
    group_directory(tmp_path, controllers="cpu memory", procs="1\n", subtree_control="cpu")
    (tmp_path / "cgroup.type").write_text("domain\n")
    found = cgroupfs.hierarchy_of([mount(tmp_path, "cgroup2", "")], {"": "/"})
    assert found.controllers() == ["cpu"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_what_is_delegated_is_our_place() -> None:
    code = f"""
import os, sys
sys.path.insert(0, {os.getcwd()!r})
from orchestrator.linux import cgroupfs, procfs
root = sys.argv[1]
os.setresuid(65534, 65534, 65534)
mount = procfs.Mount(f"1 0 0:1 / {{root}} rw - cgroup2 x rw")
print(cgroupfs.hierarchy_of([mount], {{"": "/user/me/app/x"}}).unified)
print(cgroupfs.hierarchy_of([mount], {{"": "/user"}}).unified)
"""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for part in ("", "user", "user/me", "user/me/app", "user/me/app/x"):
            directory = group_directory(root / part)
            if part.startswith("user/me"):
                for each in (directory, *directory.iterdir()):
                    os.chown(each, 65534, 65534)
        result = subprocess.run([sys.executable, "-SI", "-c", code, name], check=True,
                                capture_output=True, text=True)
    assert result.stdout.split() == [f"{name}/user/me", "None"]


def test_version_1_has_one_tree_per_controller(tmp_path: Path) -> None:
    both, named = tmp_path / "cpu,cpuacct", tmp_path / "systemd"
    group_directory(both)
    group_directory(named)
    mounts = [mount(both, "cgroup", "cpu,cpuacct"), mount(named, "cgroup", "xattr,name=systemd")]
    found = cgroupfs.hierarchy_of(
        mounts, {"cpu": "/", "cpuacct": "/", "name=systemd": "/a", "memory": "/"})
    assert (found.kind, found.unified, found.controllers()) == ("legacy", None, ["cpu", "cpuacct"])
    assert found.group_paths("a/b", ["cpu", "memory"]) == {"cpu": f"{both}/a/b"}


def test_a_group_outside_of_what_is_mounted_is_no_place(tmp_path: Path) -> None:
    group_directory(tmp_path)
    mounts = [mount(tmp_path, "cgroup", "pids", root="/docker/a")]
    assert cgroupfs.hierarchy_of(mounts, {"pids": "/docker/a/b"}).controllers() == ["pids"]



@pytest.fixture(params=["as detected", "version 1 alone"])
def group(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """A group of this machine, made and removed; once without its version 2 tree."""
    relative = f"pcompose-test-{os.getpid()}/p/id"
    found = cgroupfs.Hierarchy.detect().group_paths(relative, CONTROLLERS)
    if request.param == "version 1 alone":
        found = {name: path for name, path in found.items() if name and path != found.get("")}
        if not found:
            pytest.skip("no version 1 controllers here")
    cgroupfs.create(found)
    yield found
    cgroupfs.kill(found)
    cgroupfs.remove(found)
    cgroupfs.remove_empty_parents(found, levels=2)
    assert not any(os.path.exists(path) for path in found.values())


@pytest.fixture
def sleeper(group: dict[str, str]) -> Iterator[int]:
    """A process in the group that waits for its end."""
    birth = cgroupfs.open_unified(group)
    pid = syscalls.clone(cgroup_fd=birth)
    if pid == 0:
        select.poll().poll()
    cgroupfs.attach(group, pid, born=birth is not None)
    if birth is not None:
        os.close(birth)
    yield pid
    cgroupfs.kill(group)
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


def read(path: str, name: str) -> str:
    return (procfs.read_text(os.path.join(path, name)) or "").strip()


@pytest.mark.kernel
def test_a_process_is_in_its_group_everywhere(group: dict[str, str], sleeper: int) -> None:
    for path in group.values():
        assert str(sleeper) in read(path, "cgroup.procs").split()
    assert cgroupfs.processes(group) == [sleeper]
    assert cgroupfs.is_populated(group)


@pytest.mark.kernel
def test_limits_are_what_was_asked(group: dict[str, str]) -> None:
    for size in (64 << 20, 32 << 20, 96 << 20):  # also down and up again
        assert cgroupfs.limit(group, memory=size, cpus=0.5, pids=7) == []
    path = group["memory"]
    limit = read(path, "memory.max") or read(path, "memory.limit_in_bytes")
    assert int(limit) == 96 << 20
    quota = read(group["cpu"], "cpu.max").split()[:1] or [read(group["cpu"], "cpu.cfs_quota_us")]
    assert quota == ["50000"]
    assert read(group["pids"], "pids.max") == "7"
    assert cgroupfs.memory_usage(group) is not None


def test_a_limit_that_cannot_be_set_is_named() -> None:
    assert cgroupfs.limit({}, memory=1, cpus=1.0, pids=1) == ["memory", "cpu", "pids"]
    assert cgroupfs.limit({}) == []
    assert cgroupfs.allow_devices({}, []) is False
    assert cgroupfs.memory_events({}) == {}


@pytest.mark.kernel
def test_the_limit_of_processes_holds(group: dict[str, str]) -> None:
    cgroupfs.limit(group, pids=1)
    pid = os.fork()
    if pid == 0:
        cgroupfs.attach(group, os.getpid(), born=False)
        try:
            os._exit(os.fork() and 1)
        except OSError:
            os._exit(42)
    assert os.waitpid(pid, 0)[1] >> 8 == 42


@pytest.mark.kernel
def test_a_process_killed_for_want_of_memory_is_counted(group: dict[str, str]) -> None:
    cgroupfs.limit(group, memory=16 << 20)
    pid = os.fork()
    if pid == 0:
        cgroupfs.attach(group, os.getpid(), born=False)
        hoard = [bytearray(b"x") * (1 << 20) for _ in range(200)]
        os._exit(len(hoard) and 1)
    assert os.waitpid(pid, 0)[1] == 9
    events = cgroupfs.memory_events(group)
    assert events["oom_kill"] >= 1
    assert events["max"] >= 1


def drain(reader: int) -> None:
    os.set_blocking(reader, False)
    try:
        os.read(reader, 1 << 20)
    except BlockingIOError:
        pass


@pytest.mark.kernel
def test_a_frozen_group_does_nothing_until_it_is_thawed(group: dict[str, str]) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        while True:
            os.write(writer, b"x")
    cgroupfs.attach(group, pid, born=False)
    cgroupfs.freeze(group)
    assert cgroupfs.is_frozen(group)
    drain(reader)  # a running process would fill it again
    assert select.select([reader], [], [], 0.05) == ([], [], [])
    cgroupfs.thaw(group)
    assert not cgroupfs.is_frozen(group)
    assert select.select([reader], [], [], 5) == ([reader], [], [])
    cgroupfs.kill(group)
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)


@pytest.mark.kernel
def test_kill_reaches_those_who_fork_without_end(group: dict[str, str]) -> None:
    if cgroupfs.limit(group, pids=20):
        pytest.skip("no pids controller: this test needs a bound")
    birth = cgroupfs.open_unified(group)
    pid = syscalls.clone(syscalls.CLONE_NEWPID, cgroup_fd=birth)
    if pid == 0:
        syscalls.set_parent_death_signal(9)
        cgroupfs.attach(group, 0, born=birth is not None)  # 0 is the writer, in any namespace
        fork_without_end()
    while cgroupfs.is_populated(group) is False or len(cgroupfs.processes(group)) < 5:
        os.sched_yield()
    cgroupfs.kill(group)
    os.waitpid(pid, 0)
    cgroupfs.remove(group)
    assert cgroupfs.processes(group) == []
    if birth is not None:
        os.close(birth)


def fork_without_end() -> None:
    """Each process forks and ends, so that a list of them is old at once."""
    while True:
        try:
            if os.fork() and os.getpid() != 1:
                os._exit(0)
        except OSError:
            pass
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pass


@pytest.mark.kernel
def test_a_group_in_use_is_not_removed(group: dict[str, str], sleeper: int) -> None:
    with pytest.raises(OSError, match="busy"):
        cgroupfs.remove(group, timeout=0.05)
    assert cgroupfs.is_populated(group)


@pytest.mark.kernel
def test_removal_waits_for_the_last_process(group: dict[str, str], sleeper: int) -> None:
    thread = threading.Thread(target=cgroupfs.remove, args=(group,))
    thread.start()
    os.kill(sleeper, 9)
    os.waitpid(sleeper, 0)
    thread.join(10)
    assert not any(os.path.exists(path) for path in group.values())


@pytest.mark.kernel
def test_groups_made_inside_are_removed_too(group: dict[str, str]) -> None:
    for path in set(group.values()):
        os.makedirs(f"{path}/a/b")
    cgroupfs.remove(group)
    assert not any(os.path.exists(path) for path in group.values())


@pytest.mark.kernel
def test_what_is_gone_is_no_error(group: dict[str, str]) -> None:
    cgroupfs.remove(group)
    cgroupfs.remove(group)
    cgroupfs.kill(group)
    assert not cgroupfs.is_populated(group)
    assert not cgroupfs.is_frozen(group)
    assert cgroupfs.memory_usage(group) is None
    cgroupfs.create(group)
    cgroupfs.create(group)


@pytest.mark.kernel
def test_devices_are_denied_but_for_those_listed(group: dict[str, str]) -> None:
    if not cgroupfs.allow_devices(group, ["c 1:3 rwm"]):
        pytest.skip("no devices controller of version 1")
    assert read(group["devices"], "devices.list") == "c 1:3 rwm"
