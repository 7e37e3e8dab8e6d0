"""Namespaces, devices, kernel parameters and limits, as they look from inside a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.runtime.spec import BlockIo, Device, Mount, Namespaces, Resources
from tests.runtime.kept import Kept, eventually

pytestmark = pytest.mark.kernel

LINK = "readlink /proc/self/ns/{}"
OPEN = "python3 -c 'import os,sys; os.close(os.open(sys.argv[1], int(sys.argv[2])))' "
READ, WRITE = os.O_RDONLY, os.O_WRONLY


def own(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{kind}")


@pytest.mark.parametrize(("field", "kind"), [("network", "net"), ("ipc", "ipc"), ("pid", "pid"),
                                             ("uts", "uts"), ("cgroup", "cgroup")])
def test_a_namespace_of_the_host_is_the_hosts(kept: Kept, field: str, kind: str) -> None:
    private = kept.sh("one", LINK.format(kind))
    shared = kept.sh("two", LINK.format(kind), namespaces=Namespaces(**{field: "host"}))
    assert (private == own(kind), shared == own(kind)) == (False, True)


def test_a_network_can_be_that_of_another_container(kept: Kept) -> None:
    kept.start("db", ("/bin/sleep", "1000"))
    text = kept.sh("web", LINK.format("net"), namespaces=Namespaces(network="service:db"),
                   peers={"network": "db"})
    assert text == os.readlink(f"/proc/{kept.pids['db'][0]}/ns/net")


def test_ipc_of_another_container_brings_its_shared_memory(kept: Kept) -> None:
    kept.start("db", ("/bin/sh", "-c", "echo hello >/dev/shm/word; echo ready; sleep 1000"))
    eventually(lambda: kept.output("db") == "ready")
    script = "cat /dev/shm/word; echo back >/dev/shm/answer; " + LINK.format("ipc")
    text = kept.sh("web", script, namespaces=Namespaces(ipc="service:db"), peers={"ipc": "db"})
    assert text.splitlines() == ["hello", os.readlink(f"/proc/{kept.pids['db'][0]}/ns/ipc")]
    assert kept.exec_output("db", ("cat", "/dev/shm/answer")) == (0, "back\n")
    assert kept.sh("new", "ls /dev/shm") == ""


def test_ipc_none_has_no_shared_memory(kept: Kept) -> None:
    assert kept.sh("web", "ls -d /dev/shm 2>&1 || true",
                   namespaces=Namespaces(ipc="none")).endswith("No such file or directory")


def test_processes_of_another_container_are_seen_in_a_shared_pid_namespace(kept: Kept) -> None:
    kept.start("db", ("/bin/sleep", "1000"))
    shared = Namespaces(pid="service:db")
    text = kept.sh("web", "cat /proc/1/comm; kill -0 1 && echo reached", namespaces=shared,
                   peers={"pid": "db"})
    assert text.splitlines() == ["sleep", "reached"]


def test_what_a_container_leaves_in_a_shared_pid_namespace_ends_with_it(kept: Kept) -> None:
    script = "sleep 4321 & echo $!"
    pid = int(kept.sh("web", script, namespaces=Namespaces(pid="host")))
    assert kept.exited_pid_is_gone(pid)


def test_a_start_in_a_namespace_of_a_container_that_has_ended_fails(kept: Kept) -> None:
    kept.run("db", ("/bin/true",))
    for kind in ("network", "pid", "ipc"):
        message = kept.run(f"web-{kind}", ("/bin/true",), peers={kind: "db"},
                           namespaces=Namespaces(**{kind: "service:db"}))  # fmt: skip
        assert (message["event"], message["errno"]) == ("failed", 3), kind
    assert "ended" in message["message"] or "running" in message["message"]


def test_exec_enters_what_is_shared(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"), namespaces=Namespaces(pid="host", network="host"))
    code, text = kept.exec_output("web", ("sh", "-c", f"{LINK.format('net')}; echo $$"))
    network, pid = text.splitlines()
    assert (code, network) == (0, own("net"))
    assert int(pid) > 1


# Devices


def test_a_device_of_the_host_is_there_with_its_owner_and_mode(kept: Kept, tmp_path: Path) -> None:
    node = tmp_path / "node"
    os.mknod(node, 0o20640, os.makedev(1, 5))
    node.chmod(0o640)
    os.chown(node, 7, 8)
    (tmp_path / "link").symlink_to(node)
    devices = (Device(source=str(tmp_path / "link"), target="/dev/mine"),)
    text = kept.sh("web", "stat -c '%t:%T %a %u:%g' /dev/mine; head -c 2 /dev/mine | wc -c",
                   devices=devices)
    assert text.splitlines() == ["1:5 640 7:8", "2"]


def test_a_directory_of_devices_comes_whole(kept: Kept, tmp_path: Path) -> None:
    for name in ("one", "sub/two"):
        (tmp_path / "nodes" / name).parent.mkdir(parents=True, exist_ok=True)
        os.mknod(tmp_path / "nodes" / name, 0o20666, os.makedev(1, 5))
    (tmp_path / "nodes/text").write_text("no device")
    devices = (Device(source=str(tmp_path / "nodes"), target="/dev/set"),)
    text = kept.sh("web", "cd /dev/set; stat -c '%n %F' * */*", devices=devices)
    kind = "character special file"
    assert text.splitlines() == [f"one {kind}", "sub directory", f"sub/two {kind}"]


@pytest.fixture(params=["version 2", "version 1"])
def either(request: pytest.FixtureRequest, kept: Kept) -> Kept:
    """With device rules by eBPF, and by the devices controller."""
    if request.param == "version 1":
        if "devices" not in kept.hierarchy.legacy:
            pytest.skip("no version 1 devices controller here")
        kept.hierarchy = Hierarchy(kind="legacy", unified=None, unified_controllers=[],
                                   legacy=kept.hierarchy.legacy)
    elif kept.hierarchy.unified is None:
        pytest.skip("no cgroup version 2 here")
    return kept


def test_a_device_can_be_read_only(either: Kept, tmp_path: Path) -> None:
    node = tmp_path / "node"
    os.mknod(node, 0o20666, os.makedev(10, 200))  # tun
    script = f"{OPEN}/dev/mine {READ} && echo read; {OPEN}/dev/mine {WRITE} 2>/dev/null || echo no"
    devices = (Device(source=str(node), target="/dev/mine", permissions="r"),)
    assert either.sh("web", script, devices=devices).split() == ["read", "no"]


def test_nodes_of_a_device_rule_can_be_made_and_used_and_no_others(either: Kept) -> None:
    script = (
        "mknod /dev/a c 1 11 && mknod /tmp/b c 1 1;"
        f"{OPEN}/dev/a {WRITE} && echo kmsg; {OPEN}/tmp/b {READ} 2>/dev/null || echo no mem"
    )
    text = either.sh("web", script, device_rules=("c 1:11 rw",))
    assert text.splitlines() == ["kmsg", "no mem"]


def test_without_a_rule_no_node_works(kept: Kept) -> None:
    script = f"mknod /tmp/z c 1 5; {OPEN}/tmp/z {READ} 2>/dev/null || echo dead"
    assert kept.sh("web", script) == "dead"


def test_a_privileged_container_has_all_devices_and_writes_to_proc(kept: Kept) -> None:
    from orchestrator.linux import caps, syscalls

    _, permitted, _ = syscalls.capget()
    script = (
        "cat /proc/sys/kernel/domainname >/dev/null;"
        "find /dev -path /dev/pts -prune -o -exec stat -c %F {} + | grep -c special;"
        f"mknod /tmp/z c 1 5; {OPEN}/tmp/z {READ} && echo alive;"
        "echo x >/proc/sys/kernel/domainname && echo wrote;"
        "touch /sys/fs/cgroup/x 2>&1 | grep -c Read-only; grep Seccomp: /proc/self/status | cut -f2"
    )
    text = kept.sh("web", script, privileged=True, seccomp=False,
                   capabilities=caps.names_of(permitted)).splitlines()
    hosts = sum(len([f for f in files if _is_device(f"{d}/{f}")]) for d, _, files in os.walk("/dev")
                if not d.startswith("/dev/pts"))
    assert abs(int(text[0]) - hosts) <= 3  # console, ptmx and core are its own
    assert text[1:] == ["alive", "wrote", "0", "0"]


def _is_device(path: str) -> bool:
    import stat

    mode = os.lstat(path).st_mode
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


# Kernel parameters


def test_parameters_of_its_own_namespaces_are_set(kept: Kept) -> None:
    script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"
    text = kept.sh("web", script, sysctls=(("net.ipv4.ip_forward", "1"),
                                           ("kernel.msgmax", "12345")))  # fmt: skip
    assert text.split() == ["1", "12345"]


def test_a_program_that_is_not_root_may_bind_low_ports(kept: Kept) -> None:
    names = "net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range"
    text = kept.sh("web", f"cd /proc/sys; cat {names}", user="bob")
    assert text.split() == ["0", "0", "2147483647"]


def test_a_parameter_that_is_not_there_names_itself(kept: Kept) -> None:
    message = kept.run("web", ("/bin/true",), sysctls=(("net.ipv4.nonsense", "1"),))
    assert message["event"] == "failed"
    assert "/proc/sys/net/ipv4/nonsense" in (message["path"], message["step"])


# Limits of version 1 (the pure ones are in test_limits.py)


def test_limits_are_what_the_kernel_says(kept: Kept) -> None:
    resources = Resources(
        memory=64 << 20, memory_swap=64 << 20, memory_reservation=32 << 20, cpu_shares=512,
        cpu_quota=20_000, cpu_period=50_000, cpuset="0", pids=77,
        block=BlockIo(read_bps=((_disk(), 1 << 20),)),
    )  # fmt: skip
    kept.start("web", ("/bin/sleep", "1000"), resources=resources)
    message = kept.request("other", ("x",), resources=resources)
    group = {step["path"].split("/")[-2]: step["path"] for step in message["steps"]
             if step["step"] == "Group"}  # fmt: skip
    name = f"pcompose-p-{kept.specs['web'].id[:12]}"

    def value(controller: str, file: str) -> str:
        directory = os.path.dirname(group[controller])
        return Path(f"{directory}/{name}/{file}").read_text().strip()

    if kept.hierarchy.kind == "unified":
        pytest.skip("the files of version 1 are compared here")
    found = {
        "memory.limit_in_bytes": value("memory", "memory.limit_in_bytes"),
        "memory.soft_limit_in_bytes": value("memory", "memory.soft_limit_in_bytes"),
        "cpu.shares": value("cpu", "cpu.shares"), "quota": value("cpu", "cpu.cfs_quota_us"),
        "period": value("cpu", "cpu.cfs_period_us"), "cpus": value("cpuset", "cpuset.cpus"),
        "pids": value("pids", "pids.max"),
    }  # fmt: skip
    assert found == {
        "memory.limit_in_bytes": str(64 << 20), "memory.soft_limit_in_bytes": str(32 << 20),
        "cpu.shares": "512", "quota": "20000", "period": "50000", "cpus": "0", "pids": "77",
    }  # fmt: skip
    assert value("blkio", "blkio.throttle.read_bps_device").endswith(" 1048576")
    assert kept.exec_output("web", ("nproc",)) == (0, "1\n")


def _disk() -> str:
    return f"/dev/{sorted(os.listdir('/sys/block'))[0]}"


def test_a_group_of_the_users_choice_is_made_below_our_place(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"), cgroup_parent="/pcompose-test-parent/inner",
               resources=Resources(pids=5))
    directories = kept.request("x", ("y",), cgroup_parent="pcompose-test-parent/inner")["groups"]
    assert all("/pcompose-test-parent/inner/pcompose-p-" in path for path in directories)
    text = Path(f"/proc/{kept.pids['web'][0]}/cgroup").read_text()
    assert "/pcompose-test-parent/inner/pcompose-p-" in text


# Mounts


def test_an_image_can_be_mounted_read_only_whole_or_in_part(kept: Kept, tmp_path: Path) -> None:
    for name in ("top", "low"):
        (tmp_path / name / "share/deep").mkdir(parents=True)
        (tmp_path / name / "share" / name).write_text(name)
    (tmp_path / "top/share/out").symlink_to("/")
    layers = (str(tmp_path / "top"), str(tmp_path / "low"))
    mounts = (Mount(type="image", target="/one", layers=layers),
              Mount(type="image", target="/two", layers=layers, subpath="share"),
              Mount(type="image", target="/3", layers=layers[:1], subpath="share/top"))
    text = kept.sh("web", "ls /one /two; cat /3; touch /one/x /two/x", mounts=mounts)
    assert text.split() == ["/one:", "share", "/two:", "deep", "low", "out", "top", "top"]
    assert kept.output("web", "stderr").count("Read-only") == 2


def test_a_subpath_is_found_inside_of_the_volume_only(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "data/in/ner").mkdir(parents=True)
    (tmp_path / "data/in/file").write_text("here")
    (tmp_path / "data/evil").symlink_to("/etc")
    (tmp_path / "data/up").symlink_to("../../../../etc")

    def mounted(subpath: str) -> Mount:
        return Mount(type="volume", source=str(tmp_path / "data"), target="/v", subpath=subpath)

    assert kept.sh("one", "cat /v/file", mounts=(mounted("in"),)) == "here"
    for number, subpath in enumerate(("evil", "up", "missing")):
        message = kept.run(f"bad{number}", ("/bin/true",), mounts=(mounted(subpath),))
        assert (message["event"], message["errno"]) == ("failed", 2), subpath


@pytest.mark.parametrize(
    ("recursive", "expected"),
    [("enabled", ["inner", "ro", "ro"]), ("writable", ["inner", "ro", "rw"]),
     ("readonly", ["inner", "ro", "ro"]), ("disabled", ["ro", "ro"])],
)  # fmt: skip
def test_mounts_below_a_bind_come_along_as_it_says(
    kept: Kept, tmp_path: Path, recursive: str, expected: list[str]
) -> None:
    from orchestrator.linux import syscalls

    below = tmp_path / "top/below"
    below.mkdir(parents=True)
    syscalls.mount("tmpfs", str(below), "tmpfs", 0)
    try:
        (below / "inner").touch()
        mounts = (Mount(type="bind", source=str(tmp_path / "top"), target="/v", read_only=True,
                        recursive=recursive),)  # type: ignore[arg-type]
        script = (
            "ls /v/below; for d in /v /v/below; do touch $d/x 2>/dev/null && echo rw || echo ro;"
            " done"
        )
        assert kept.sh("web", script, mounts=mounts).split() == expected
    finally:
        syscalls.umount2(str(below), syscalls.MNT_DETACH)


def test_a_mount_made_in_the_container_shows_on_the_host_where_it_is_shared(
    kept: Kept, tmp_path: Path
) -> None:
    from orchestrator.linux import syscalls

    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    mounts = (Mount(type="bind", source=str(top), target="/v", propagation="rshared"),)
    script = "mount -t tmpfs x /v/sub && touch /v/sub/made"
    given = {"mounts": mounts, "capabilities": ("CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE")}
    syscalls.mount(str(top), str(top), "", syscalls.MS_BIND)
    try:
        syscalls.mount("", str(top), "", syscalls.MS_PRIVATE)
        refused = kept.run("one", ("/bin/sh", "-c", script), **given)
        assert "shared mount" in refused["message"]
        syscalls.mount("", str(top), "", syscalls.MS_SHARED)
        kept.sh("two", script, **given)
        assert (top / "sub/made").exists()
    finally:
        while os.path.ismount(top / "sub"):
            syscalls.umount2(str(top / "sub"), syscalls.MNT_DETACH)
        syscalls.umount2(str(top), syscalls.MNT_DETACH)
