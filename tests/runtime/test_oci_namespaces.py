"""Namespaces of OCI containers: new, inherited, joined by path; ids, time, names, interfaces."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.linux import netlink, syscalls
from tests.network.namespaces import run_in_child
from tests.runtime.bundle import Bundles, Config

pytestmark = pytest.mark.kernel
FILES = {"pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts",
         "cgroup": "cgroup", "time": "time", "user": "user"}  # fmt: skip
MAPS = {"uidMappings": [{"containerID": 0, "hostID": 100000, "size": 2000}],
        "gidMappings": [{"containerID": 0, "hostID": 200000, "size": 2000}]}  # fmt: skip


def linux(**fields: Any) -> Any:
    return lambda config: config["linux"].update(fields)


def own(name: str) -> str:
    return os.readlink(f"/proc/self/ns/{name}")


def namespaces_of(text: str) -> dict[str, str]:
    """The output of LOOK."""
    return dict(line.split(" ", 1) for line in text.splitlines() if ":[" in line)


LOOK = f"for n in {' '.join(FILES.values())}; do echo $n $(readlink /proc/self/ns/$n); done"


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup", "mount"])
def test_a_namespace_is_new_if_it_is_listed_and_inherited_if_not(
    bundles: Bundles, kind: str
) -> None:
    def change(config: Config) -> None:
        config["linux"]["namespaces"].remove({"type": kind})
        if kind == "uts":
            del config["hostname"]
        if kind == "mount":  # it is mounted for all the machine to see, until it is deleted
            del config["root"]["readonly"]

    config = bundles.config("/bin/sh", "-c", LOOK)
    listed = {each["type"] for each in config["linux"]["namespaces"]}
    found = namespaces_of(bundles.sh("c", LOOK, lambda c: change(c) if kind != "mount" else (
        c["linux"]["namespaces"].remove({"type": "mount"}))))
    for name, file in FILES.items():
        is_new = name in listed and name != kind
        assert (found[file] != own(file)) is is_new, name


@pytest.mark.parametrize("words", [[], ["--no-pivot"]])
def test_exec_finds_the_root_also_where_it_was_not_pivoted_to(
    bundles: Bundles, words: list[str]
) -> None:
    (bundles.rootfs / "mark").touch()
    config = bundles.config("sleep", "1000")
    if not words:
        config["linux"]["namespaces"].remove({"type": "mount"})
    bundles.start("c", config, *words)
    done = bundles.call("exec", "c", "/bin/sh", "-c", "ls /; ls -d /work /home/bob; pwd")
    assert "mark" in done.stdout.split(), done.stderr
    assert "/home/bob" in done.stdout.split()


def test_without_any_namespace_it_runs_in_ours(bundles: Bundles) -> None:
    def change(config: Config) -> None:
        config["linux"]["namespaces"] = []
        del config["hostname"]

    found = namespaces_of(bundles.sh("c", LOOK, change))
    assert found == {file: own(file) for file in FILES.values()}


@pytest.fixture
def other() -> Iterator[int]:
    """A process in namespaces of its own."""
    with subprocess.Popen(
        ["unshare", "--pid", "--net", "--mount", "--ipc", "--uts", "--cgroup", "--fork",
         "--kill-child", "/bin/sh", "-c", "echo ready; exec sleep 1000"], stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield int(child)
        process.kill()


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_a_namespace_can_be_joined_by_path(bundles: Bundles, other: int, kind: str) -> None:
    def change(config: Config) -> None:
        for entry in config["linux"]["namespaces"]:
            if entry["type"] == kind:
                entry["path"] = f"/proc/{other}/ns/{FILES[kind]}"

    found = namespaces_of(bundles.sh("c", LOOK, change))
    for name, file in FILES.items():
        theirs = os.readlink(f"/proc/{other}/ns/{file}")
        assert (found[file] == theirs) is (name == kind or name in ("time", "user"))


def test_a_mount_namespace_can_be_joined(bundles: Bundles, other: int) -> None:
    def change(config: Config) -> None:
        for entry in config["linux"]["namespaces"]:
            if entry["type"] == "mount":
                entry["path"] = f"/proc/{other}/ns/mnt"

    found = namespaces_of(bundles.sh("c", LOOK, change))
    assert found["mnt"] == os.readlink(f"/proc/{other}/ns/mnt")
    assert found["pid"] != os.readlink(f"/proc/{other}/ns/pid")


@pytest.mark.parametrize(("entries", "word"), [
    ([{"type": "pid"}, {"type": "pid"}], "twice"),
    ([{"type": "bogus"}], "one of"),
    ([{"type": "network", "path": "/proc/self/ns/pid"}], "not of that kind"),
    ([{"type": "network", "path": "/etc/passwd"}], "not of that kind"),
    ([{"type": "network", "path": "/nonexistent"}], "nonexistent"),
    ([{"type": "network", "path": "relative"}], "not absolute"),
    ([{"type": "mount"}], "hostname"),
    ([{"type": "user"}, {"type": "uts"}], "uidMappings"),
], ids=str)  # fmt: skip
def test_namespaces_that_cannot_be_are_refused(
    bundles: Bundles, entries: list[Config], word: str
) -> None:
    done = bundles.create("c", bundles.config("true", change=linux(namespaces=entries)))
    assert done.returncode == 1
    assert word in done.stderr
    assert bundles.leftovers() == []


def with_user(config: Config) -> None:
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"].update(MAPS)


def test_a_user_namespace_maps_ids_and_mounts_all(bundles: Bundles) -> None:
    script = ("id -u; cat /proc/self/uid_map /proc/self/gid_map; "
              "cat /dev/null; ls /dev/pts /dev/mqueue /sys/kernel >/dev/null; hostname; "
              "touch /dev/shm/x && stat -c %u /dev/shm/x; cat /dev/null > /dev/zero; " + LOOK)
    lines = bundles.sh("c", script, with_user).splitlines()
    assert lines[0] == "0"
    assert lines[1].split() == ["0", "100000", "2000"]
    assert lines[2].split() == ["0", "200000", "2000"]
    assert lines[3:5] == ["pcompose", "0"]
    assert namespaces_of("\n".join(lines))["user"] != own("user")


def test_a_root_nobody_else_may_reach_works_in_a_user_namespace(bundles: Bundles) -> None:
    bundles.root.chmod(0o700)
    assert bundles.sh("c", "echo here", with_user) == "here"


def test_a_user_namespace_can_be_exec_ed_into_and_mapped_for_a_mount(bundles: Bundles) -> None:
    data = bundles.root / "data"
    data.mkdir()
    os.chown(data, 5, 6)

    def change(config: Config) -> None:
        with_user(config)
        config["mounts"].append({"destination": "/m", "source": str(data), "type": "bind",
                                 "options": ["bind", "idmap"]})

    bundles.start("c", bundles.config("sleep", "1000", change=change))
    done = bundles.call("exec", "c", "/bin/sh", "-c", "id -u; stat -c %u:%g /m; " + LOOK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["0", "5:6"]
    found = namespaces_of(done.stdout)
    pid = bundles.state("c")["pid"]
    assert found == {file: os.readlink(f"/proc/{pid}/ns/{file}") for file in FILES.values()}


def test_a_time_namespace_has_its_offsets(bundles: Bundles) -> None:
    def change(config: Config) -> None:
        config["linux"]["namespaces"].append({"type": "time"})
        config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000, "nanosecs": 5},
                                          "monotonic": {"secs": 5}}

    text = bundles.sh("c", "cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets", change)
    up, *offsets = text.splitlines()
    assert int(up) >= 1000000
    assert [row.split() for row in offsets] == [["monotonic", "5", "0"],
                                                ["boottime", "1000000", "5"]]
    bad = bundles.create("d", bundles.config("true", change=linux(
        timeOffsets={"boottime": {"secs": 1}})))
    assert bad.returncode == 1


def test_user_and_time_namespaces_together(bundles: Bundles) -> None:
    def change(config: Config) -> None:
        with_user(config)
        config["linux"]["namespaces"].append({"type": "time"})
        config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}}

    assert int(bundles.sh("c", "cut -d. -f1 /proc/uptime", change)) >= 1000000


def test_names_and_kernel_parameters(bundles: Bundles) -> None:
    def change(config: Config) -> None:
        config["hostname"], config["domainname"] = "web", "example.org"
        config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel/shmmni": "77"}

    text = bundles.sh("c", "hostname; cat /proc/sys/kernel/domainname "
                      "/proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni", change)
    assert text.splitlines() == ["web", "example.org", "1", "77"]
    for name in ("kernel.panic", "vm.swappiness", "net/../kernel/panic", ""):
        refused = bundles.create("d", bundles.config("true", change=linux(sysctl={name: "1"})))
        assert refused.returncode == 1, name


def test_interfaces_move_with_their_addresses(bundles: Bundles) -> None:
    def look() -> tuple[str, set[str], str]:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        for words in (["link", "add", "pcoci0", "type", "veth", "peer", "name", "pcoci1"],
                      ["addr", "add", "10.200.7.1/24", "dev", "pcoci0"]):
            subprocess.run(["ip", *words], check=True)
        script = "cut -d: -f1 /proc/net/dev; grep 10.200.7.1 /proc/net/fib_trie"
        devices = {"pcoci0": {"name": "inside"}, "pcoci1": {}}
        text = bundles.sh("c", script, linux(netDevices=devices))
        with netlink.Netlink() as kernel:
            names = {link.name for link in netlink.links(kernel)}
        missing = bundles.create("d", bundles.config("true", change=linux(
            netDevices={"nope0": {}})))
        assert missing.returncode == 1
        return text, names, missing.stderr

    text, names, error = run_in_child(look)
    assert {"lo", "inside", "pcoci1"} <= set(text.split())
    assert "10.200.7.1" in text
    assert names.isdisjoint({"pcoci0", "pcoci1", "inside"})
    assert "nope0" in error
    assert bundles.call("state", "d").returncode == 1


def test_what_this_machine_has_not_is_refused(bundles: Bundles) -> None:
    done = bundles.create("c", bundles.config("true", change=linux(intelRdt={"closID": "x"})))
    assert done.returncode == 1
    assert "intelRdt" in done.stderr
    assert bundles.leftovers() == []
