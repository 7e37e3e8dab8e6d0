"""What a container of an OCI bundle finds mounted, and what it may not do with it."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.bundle import Bundles, Config

pytestmark = pytest.mark.kernel

SETS = ("bounding", "permitted", "effective")


def with_mounts(*mounts: Config) -> Any:
    return lambda config: config["mounts"].extend(mounts)


def bind(source: Path | str, target: str, *options: str, **fields: Any) -> Config:
    return {"destination": target, "source": str(source), "type": "bind",
            "options": list(options or ["bind"]), **fields}


def tmpfs(target: str, *options: str) -> Config:
    return {"destination": target, "source": "tmpfs", "type": "tmpfs", "options": list(options)}


def linux(**fields: Any) -> Any:
    return lambda config: config["linux"].update(fields)


@pytest.fixture
def tree(bundles: Bundles) -> Iterator[Path]:
    """A directory with a tmpfs mounted in it."""
    top = bundles.root / "tree"
    (top / "sub").mkdir(parents=True)
    (top / "file").write_text("file")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", top / "sub"], check=True)
    (top / "sub" / "inner").write_text("inner")
    yield top
    subprocess.run(["umount", top / "sub"], check=True)


def options_at(text: str, target: str) -> set[str]:
    """Mount options in the output of `cat /proc/self/mountinfo`."""
    (line,) = [line for line in text.splitlines() if line.split()[4] == target]
    return set(line.split()[5].split(","))


def test_binds_are_of_files_and_directories_with_or_without_what_is_below(
    bundles: Bundles, tree: Path
) -> None:
    text = bundles.sh(
        "c", "cat /made/here/file /one; ls /plain/sub /deep/sub; touch /deep/x 2>&1; echo $?",
        with_mounts(bind(tree, "/made/here"), bind(tree / "file", "one"), bind(tree, "/plain"),
                    bind(tree, "/deep", "rbind", "rro")))  # fmt: skip
    assert text.split("\n")[0] == "filefile/deep/sub:"
    assert "inner" in text
    assert "/plain/sub:" in text
    assert "Read-only file system" in text
    assert text.endswith("1")


def test_a_relative_source_is_in_the_bundle(bundles: Bundles) -> None:
    (bundles.write("c", "{}") / "data").mkdir()
    assert bundles.sh("c", "ls -d /d", with_mounts(bind("data", "/d"))) == "/d"


def test_options_are_those_of_the_kernel(bundles: Bundles, tree: Path) -> None:
    mounts = [
        bind(tree, "/a", "bind", "ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"),
        bind(tree, "/b", "rbind", "rnoexec", "nosymfollow"),
        bind(tree, "/c", "bind", "mode=755", "size=1k"),
        tmpfs("/t", "nosuid", "mode=700", "size=1m", "strictatime"),
    ]
    text = bundles.sh("c", "cat /proc/self/mountinfo; stat -c %a /t", with_mounts(*mounts))
    mounted, mode = text.rsplit("\n", 1)
    assert options_at(mounted, "/a") >= {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"}
    assert options_at(mounted, "/b") >= {"rw", "noexec", "nosymfollow"}
    assert options_at(mounted, "/b/sub") >= {"rw", "noexec"}
    assert options_at(mounted, "/t") >= {"rw", "nosuid"}
    assert mode == "700"


@pytest.mark.parametrize(("propagation", "field"), [
    ("shared", "shared:"), ("slave", "master:"), ("private", ""), ("unbindable", "unbindable"),
])  # fmt: skip
def test_propagation_of_a_mount_is_what_is_asked(
    bundles: Bundles, tree: Path, propagation: str, field: str
) -> None:
    subprocess.run(["mount", "--make-shared", tree / "sub"], check=True)
    text = bundles.sh("c", "cat /proc/self/mountinfo",
                      with_mounts(bind(tree / "sub", "/m", "bind", propagation)))
    (line,) = [line for line in text.splitlines() if line.split()[4] == "/m"]
    optional = " ".join(line.split(" - ")[0].split()[6:])
    assert optional.startswith(field) if field else optional == ""


def test_a_tmpfs_can_begin_with_what_was_there(bundles: Bundles) -> None:
    (bundles.rootfs / "srv/old").write_text("old")
    text = bundles.sh("c", "cat /srv/old; echo new > /srv/new",
                      with_mounts(tmpfs("/srv", "tmpcopyup")))
    assert text == "old"
    assert not (bundles.rootfs / "srv/new").exists()


def test_a_read_only_tmpfs_can_have_mounts_in_it(bundles: Bundles, tree: Path) -> None:
    text = bundles.sh("c", "cat /t/in/file; touch /t/x 2>&1 || true",
                      with_mounts(tmpfs("/t", "ro"), bind(tree, "/t/in")))
    assert text.startswith("file")
    assert "Read-only" in text


def test_links_of_the_image_lead_nowhere_outside(bundles: Bundles, tree: Path) -> None:
    outside = bundles.root / "outside"
    outside.mkdir()
    (bundles.rootfs / "evil").symlink_to(outside)
    (bundles.rootfs / "up").symlink_to("../../../../../../tmp")
    bundles.sh("c", "true", with_mounts(bind(tree, "/evil/x"), tmpfs("/up/y")))
    assert list(outside.iterdir()) == []
    assert not os.path.exists("/tmp/y")
    os.rmdir(bundles.rootfs / "proc")
    (bundles.rootfs / "proc").symlink_to("tmp")
    done = bundles.create("d", bundles.config("true"))
    assert done.returncode == 1
    assert "proc" in done.stderr


@pytest.mark.parametrize(("mount", "word"), [
    (bind("/nonexistent-source", "/m"), "nonexistent-source"),
    ({"destination": "/m", "type": "bind", "options": ["bind"]}, "no source"),
    ({"destination": "/m", "source": "x"}, "no type"),
    ({"destination": "", "type": "tmpfs"}, "destination"),
    ({"destination": "/m", "type": "no-such-fs", "source": "x"}, "no-such-fs"),
    (bind("/etc", "/m", "bind", "idmap"), "no mapping"),
    (bind("/etc", "/m", uidMappings=[{"containerID": 0, "hostID": 1, "size": 1}]), "needs both"),
    ({"destination": "/m", "type": "tmpfs", "options": ["idmap"]}, "only bind mounts"),
    ({"destination": "/m", "type": "tmpfs", "options": ["no=such"]}, "mount tmpfs at /m"),
    ({"destination": 1}, "a string"),
], ids=str)  # fmt: skip
def test_a_mount_that_cannot_be_is_refused_and_nothing_is_left(
    bundles: Bundles, mount: Config, word: str
) -> None:
    done = bundles.create("c", bundles.config("true", change=with_mounts(mount)))
    assert done.returncode == 1
    assert word in done.stderr
    assert bundles.leftovers() == []


def test_ids_of_a_bind_can_be_mapped(bundles: Bundles) -> None:
    data = bundles.root / "data"
    data.mkdir()
    (data / "f").write_text("x")
    os.chown(data / "f", 1000, 1001)
    os.chown(data, 7, 8)
    text = bundles.sh("c", "stat -c %u:%g /m/f; touch /m/new", with_mounts(bind(
        data, "/m", "bind",
        uidMappings=[{"containerID": 7, "hostID": 0, "size": 1},
                     {"containerID": 1000, "hostID": 5000, "size": 10}],
        gidMappings=[{"containerID": 8, "hostID": 0, "size": 1},
                     {"containerID": 1000, "hostID": 6000, "size": 10}])))  # fmt: skip
    assert text == "5000:6001"
    made = (data / "new").stat()
    assert (made.st_uid, made.st_gid) == (7, 8)


def test_the_root_can_be_read_only_and_has_its_propagation(bundles: Bundles) -> None:
    def change(config: Config) -> None:
        config["root"]["readonly"] = True
        config["linux"]["rootfsPropagation"] = "shared"

    text = bundles.sh("c", "touch /x 2>&1; cat /proc/self/mountinfo", change)
    assert "Read-only" in text
    (line,) = [line for line in text.splitlines() if " / / " in line or line.split()[4:5] == ["/"]]
    assert "shared:" in line


@pytest.mark.parametrize("propagation", ["shared", "slave", "private", "unbindable", "rprivate"])
def test_a_copy_of_the_root_sees_later_mounts_only_if_it_is_shared(
    bundles: Bundles, propagation: str
) -> None:
    every = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]

    def change(config: Config) -> None:
        config["linux"]["rootfsPropagation"] = propagation
        config["process"]["capabilities"] = dict.fromkeys(SETS, every)

    script = ("mkdir -p /tmp/copy /tmp/later; mount --rbind / /tmp/copy 2>/dev/null || "
              "{ echo unbindable; exit 0; }; mount -t tmpfs t /tmp/later; touch /tmp/later/f; "
              "test -e /tmp/copy/tmp/later/f && echo shared || echo apart")  # fmt: skip
    text = bundles.sh("c", script, change)
    expected = {"shared": "shared", "unbindable": "unbindable"}.get(propagation, "apart")
    assert text == expected


def test_masked_and_read_only_paths(bundles: Bundles) -> None:
    for name in ("hidden/dir", "ro/inner"):
        (bundles.rootfs / name).mkdir(parents=True)
    (bundles.rootfs / "hidden/file").write_text("secret")
    (bundles.rootfs / "hidden/dir/file").write_text("secret")
    os.mkfifo(bundles.rootfs / "hidden/fifo")
    done = bundles.run("c", bundles.config(
        "/bin/sh", "-c",
        "cat /hidden/file; ls /hidden/dir; cat /hidden/fifo; touch /ro/x /ro/inner/x 2>&1",
        change=linux(maskedPaths=["/hidden/file", "/hidden/dir", "/hidden/fifo", "/not/there"],
                     readonlyPaths=["/ro", "/ro/inner", "/not/there"])))
    assert "secret" not in done.stdout
    assert done.stdout.count("Read-only") == 2
    for key in ("maskedPaths", "readonlyPaths"):
        refused = bundles.create("d", bundles.config("true", change=linux(**{key: ["relative"]})))
        assert refused.returncode == 1


def test_devices_are_made_as_they_are_listed(bundles: Bundles) -> None:
    devices = [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o466, "uid": 7,
         "gid": 8},
        {"path": "/dev/made/here/disk", "type": "b", "major": 7, "minor": 99, "fileMode": 0o660},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
        {"path": "/dev/un", "type": "u", "major": 1, "minor": 5},
    ]
    text = bundles.sh("c", "stat -c '%n %F %t:%T %a %u:%g' /dev/mine /dev/made/here/disk /dev/pipe "
                      "/dev/un /dev/null /dev/tty; readlink /dev/fd /dev/stdin /dev/ptmx; "
                      "echo gone > /dev/mine; head -c 2 /dev/zero | wc -c",
                      linux(devices=devices))
    assert text.splitlines() == [
        "/dev/mine character special file 1:3 466 7:8",
        "/dev/made/here/disk block special file 7:63 660 0:0",
        "/dev/pipe fifo 0:0 600 0:0",
        "/dev/un character special file 1:5 666 0:0",
        "/dev/null character special file 1:3 666 0:0",
        "/dev/tty character special file 5:0 666 0:0",
        "/proc/self/fd", "/proc/self/fd/0", "pts/ptmx", "2",
    ]  # fmt: skip


def test_what_is_there_already_must_be_that_device(bundles: Bundles) -> None:
    os.mknod(bundles.rootfs / "good", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    (bundles.rootfs / "bad").write_text("a file")
    device = {"type": "c", "major": 1, "minor": 3, "fileMode": 0o600}
    assert bundles.sh("c", "stat -c %t:%T /good",
                      linux(devices=[{"path": "/good", **device}])) == "1:3"
    done = bundles.create("c", bundles.config("true", change=linux(
        devices=[{"path": "/bad", **device}])))
    assert done.returncode == 1
    assert "/bad" in done.stderr


def test_devices_that_no_rule_allows_cannot_be_used(bundles: Bundles) -> None:
    every = ["CAP_MKNOD"]

    def change(config: Config) -> None:
        config["process"]["capabilities"] = dict.fromkeys(SETS, every)
        config["linux"]["resources"] = {"devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]}

    text = bundles.sh("c", "mknod /dev/kmsg c 1 11 && head -c1 /dev/kmsg 2>&1; echo > /dev/null; "
                      "cat /sys/fs/cgroup/devices/devices.list 2>/dev/null || true", change)
    assert "Operation not permitted" in text
    listed = [line for line in text.splitlines() if line[:1] in "abc" and ":" in line]
    assert not listed or listed[0] == "c 10:229 rw"
