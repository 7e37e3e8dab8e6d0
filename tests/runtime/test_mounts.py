"""Binds, volumes, tmpfs and read-only roots in real containers; links of an image that lie."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from orchestrator.runtime.spec import Mount
from tests.runtime.kept import Kept

pytestmark = pytest.mark.kernel


def bind(source: Path, target: str, **fields: bool) -> Mount:
    return Mount(type="bind", source=str(source), target=target, **fields)  # type: ignore[arg-type]


def volume(path: Path, target: str) -> Mount:
    (path / "_data").mkdir(parents=True, exist_ok=True)
    return Mount(type="volume", source=f"{path}/_data", target=target, populate=True)


def test_a_bind_is_shared_with_the_host_and_can_be_read_only(kept: Kept, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    kept.sh("one", "echo hello >/data/file", mounts=(bind(data, "/data"),))
    assert (data / "file").read_text() == "hello\n"
    text = kept.sh("two", "cat /d/file; echo x >/d/file",
                   mounts=(bind(data, "/d", read_only=True),))
    assert text == "hello"
    assert "Read-only" in kept.output("two", "stderr")


def test_a_file_is_bound_onto_a_file_that_is_made(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "conf").write_text("one=1\n")
    assert kept.sh("web", "cat /etc/app/conf",
                   mounts=(bind(tmp_path / "conf", "/etc/app/conf"),)) == "one=1"


def test_a_missing_source_is_named_or_made(kept: Kept, tmp_path: Path) -> None:
    message = kept.run("one", ("/bin/true",), mounts=(bind(tmp_path / "no", "/data"),))
    assert message["event"] == "failed"
    assert message["step"] == f"bind {tmp_path}/no -> /data"
    assert message["path"] == f"{tmp_path}/no"
    assert message["errno"] == 2
    kept.sh("two", "touch /data/x", mounts=(bind(tmp_path / "a/b", "/data", create_source=True),))
    assert (tmp_path / "a/b/x").exists()


def test_an_empty_volume_gets_the_content_of_the_image_once(kept: Kept, tmp_path: Path) -> None:
    source = kept.rootfs / "srv"
    (source / "inner").mkdir(mode=0o750)
    (source / "inner/file").write_text("from the image\n")
    os.link(source / "inner/file", source / "link")
    (source / "sym").symlink_to("inner/file")
    os.chown(source / "inner/file", 1000, 1000)
    os.setxattr(source / "inner/file", "user.mark", b"yes")
    source.chmod(0o711)
    mount = volume(tmp_path / "v", "/srv")
    assert kept.sh("one", "cat /srv/sym; stat -c '%a %u %h' /srv/inner/file", mounts=(mount,)) \
        == "from the image\n644 1000 2"
    data = tmp_path / "v/_data"
    assert os.getxattr(data / "inner/file", "user.mark") == b"yes"
    assert data.stat().st_mode & 0o777 == 0o711
    assert (data / "inner").stat().st_mode & 0o777 == 0o750
    assert kept.sh("two", "rm -r /srv/*; ls /srv", mounts=(mount,)) == ""
    assert kept.sh("three", "ls /srv", mounts=(mount,)) == ""


def test_special_bits_times_devices_and_holes_come_along(kept: Kept, tmp_path: Path) -> None:
    source = kept.rootfs / "srv"
    sparse, program = source / "sparse", source / "program"
    with sparse.open("wb") as file:
        for place in (1 << 20, 3 << 20):
            file.seek(place)
            file.write(b"x" * 4096)
        file.truncate(8 << 20)
    program.write_text("#!/bin/sh\n")
    os.chown(program, 1000, 1000)
    program.chmod(0o6755)
    capability = bytes.fromhex("0000000200040000000000000000000000000000")  # net_bind_service+p
    os.setxattr(program, "security.capability", capability)
    os.utime(program, ns=(10**18, 10**18 + 7))
    os.mkfifo(source / "fifo", 0o620)
    os.mknod(source / "null", 0o644 | stat.S_IFCHR, os.makedev(1, 3))
    kept.sh("one", "true", mounts=(volume(tmp_path / "v", "/srv"),))
    data = tmp_path / "v/_data"
    copied = (data / "sparse").stat()
    assert (data / "sparse").read_bytes() == sparse.read_bytes()
    assert copied.st_blocks < 2048  # of 512 bytes: an eighth of its size
    made = (data / "program").stat()
    assert (stat.S_IMODE(made.st_mode), made.st_uid, made.st_mtime_ns) == (
        0o6755, 1000, 10**18 + 7)  # fmt: skip
    assert os.getxattr(data / "program", "security.capability") == capability
    assert stat.S_ISFIFO((data / "fifo").stat().st_mode)
    assert (data / "null").stat().st_rdev == os.makedev(1, 3)


def test_a_copy_that_was_broken_off_is_begun_again(kept: Kept, tmp_path: Path) -> None:
    (kept.rootfs / "srv/whole").write_text("whole")
    mount = volume(tmp_path / "v", "/srv")
    (tmp_path / "v/populating").touch()
    (tmp_path / "v/_data/half").mkdir()
    (tmp_path / "v/_data/half/file").touch()
    assert kept.sh("web", "ls /srv", mounts=(mount,)) == "whole"


def test_a_volume_with_content_is_left_alone(kept: Kept, tmp_path: Path) -> None:
    (kept.rootfs / "srv/image").write_text("image")
    mount = volume(tmp_path / "v", "/srv")
    (tmp_path / "v/_data/mine").touch()
    assert kept.sh("web", "ls /srv", mounts=(mount,)) == "mine"


def test_a_tmpfs_has_its_options(kept: Kept) -> None:
    mount = Mount(type="tmpfs", target="/scratch", options=("size=1m,mode=700", "exec"))
    text = kept.sh("web", "stat -c %a /scratch; grep ' /scratch ' /proc/self/mountinfo",
                   mounts=(mount,))
    assert text.startswith("700\n")
    assert "nosuid,nodev,relatime" in text
    assert "size=1024k" in text


def test_mounts_are_made_from_the_root_down(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "outer/inner").mkdir(parents=True)
    mounts = (Mount(type="tmpfs", target="/data/inner"), bind(tmp_path / "outer", "/data"))
    text = kept.sh("web", "stat -f -c %T /data/inner", mounts=mounts)
    assert text == "tmpfs"


def test_a_read_only_root_can_be_read_only(kept: Kept) -> None:
    script = "touch /x; touch /usr/x; touch /tmp/t && echo tmp; pwd"
    text = kept.sh("web", script, read_only=True, cwd="/work",
                   mounts=(Mount(type="tmpfs", target="/tmp"),))
    assert text == "tmp\n/work"
    assert kept.output("web", "stderr").count("Read-only") == 2


def test_changes_stay_in_the_containers_own_layer(kept: Kept) -> None:
    kept.sh("web", "echo changed >/etc/passwd; touch /usr/made")
    assert "root" in (kept.rootfs / "etc/passwd").read_text()
    assert not os.path.exists("/usr/made")
    assert (kept.directory("web") / "upper-usr/made").exists()


def test_a_link_in_the_image_leads_no_mount_out_of_the_root(kept: Kept, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    data = tmp_path / "data"
    data.mkdir()
    (data / "evil").touch()
    (kept.rootfs / "srv/out").symlink_to(victim)
    (kept.rootfs / "srv/up").symlink_to("../../../../../.." + str(victim))
    mounts = (bind(data, "/srv/out"), bind(data, "/srv/up/deeper"))
    assert kept.sh("web", f"ls {victim}", mounts=mounts) == "deeper\nevil"
    assert list(victim.iterdir()) == []


def test_a_link_in_the_image_leads_no_mount_into_proc(kept: Kept, tmp_path: Path) -> None:
    (kept.rootfs / "srv/p").symlink_to("/proc")
    message = kept.run("web", ("/bin/true",), mounts=(bind(tmp_path, "/srv/p/sys"),))
    assert message["event"] == "failed"
    assert "/proc" in message["message"]


def test_etc_as_a_link_is_followed_inside_only(kept: Kept, tmp_path: Path) -> None:
    host = tmp_path / "host-etc"
    host.mkdir()
    os.rename(kept.rootfs / "etc", kept.rootfs / "real-etc")
    (kept.rootfs / "etc").symlink_to(host)
    kept.run("web", ("/bin/true",))
    assert list(host.iterdir()) == []


def test_a_hostile_passwd_does_not_block_the_start(kept: Kept) -> None:
    (kept.rootfs / "etc/passwd").unlink()
    os.mkfifo(kept.rootfs / "etc/passwd")
    message = kept.run("web", ("/bin/true",), user="bob")
    assert message["event"] == "failed"
    assert message["path"] == "/etc/passwd"


def test_a_layer_that_is_thrown_away_is_not_synchronised(kept: Kept) -> None:
    text = kept.sh("web", "touch /x /usr/x; grep -c volatile /proc/self/mountinfo",
                   remove_on_exit=True)
    assert text == "2"


def test_more_layers_than_a_page_of_options_holds(kept: Kept, tmp_path: Path) -> None:
    from dataclasses import replace

    layers = []
    for number in range(60):
        layer = tmp_path / ("layer-" * 12) / str(number)
        layer.mkdir(parents=True)
        (layer / f"file{number}").touch()
        layers.append(str(layer))
    spec = kept.spec("probe", ())
    rootfs = replace(spec.rootfs, lowers=(*layers, str(kept.rootfs)),
                     upper=f"{tmp_path}/u,p:p\\er", work=f"{tmp_path}/w")
    assert kept.sh("web", "ls /file* | wc -l; touch /mine", rootfs=rootfs) == "60"
    assert os.path.exists(f"{tmp_path}/u,p:p\\er/mine")
