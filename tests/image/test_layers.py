"""Layer tars become directories for overlayfs; nothing a tar says reaches outside."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import ImageError
from orchestrator.image import layers, removal
from tests.image.archives import digest, info, layer, pack
from tests.source_tree import ROOT

needs_root = pytest.mark.kernel


def unpack(data: bytes, target: Path) -> tuple[str, int]:
    target.mkdir(exist_ok=True)
    return layers.unpack(io.BytesIO(data), str(target))


def test_files_and_directories_come_out_as_they_are(tmp_path: Path) -> None:
    data = layer(("etc", None), ("etc/motd", b"hello\n"), ("empty", b""))
    found = unpack(data, tmp_path / "l")
    assert found == (digest(data), 6)
    assert (tmp_path / "l/etc/motd").read_bytes() == b"hello\n"
    assert (tmp_path / "l/etc/motd").stat().st_mtime == 1_600_000_000
    assert (tmp_path / "l/etc").stat().st_mtime == 1_600_000_000


def test_modes_survive_any_umask_and_missing_parents_are_made(tmp_path: Path) -> None:
    data = pack(
        (info("a/b/c", mode=0o4755), b"x"), (info("t", type=tarfile.DIRTYPE, mode=0o1777), b"")
    )
    before = os.umask(0o077)
    try:
        unpack(data, tmp_path / "l")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / "l" / n).stat().st_mode) for n in ("a", "a/b", "a/b/c", "t")]
    assert modes == [0o755, 0o755, 0o4755, 0o1777]


def test_long_names_work_in_both_dialects(tmp_path: Path) -> None:
    name = "/".join(["directory" * 5] * 6)
    for count, format in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        link = info("link", type=tarfile.SYMTYPE, linkname=name)
        unpack(pack((info(name), b"x"), (link, b""), format=format), tmp_path / str(count))
        assert (tmp_path / str(count) / name).read_bytes() == b"x"
        assert os.readlink(tmp_path / str(count) / "link") == name


def test_names_that_are_no_text_survive(tmp_path: Path) -> None:
    raw = b"caf\xe9"
    unpack(pack((info(os.fsdecode(raw)), b"x"), format=tarfile.GNU_FORMAT), tmp_path / "l")
    assert os.listdir(os.fsencode(tmp_path / "l")) == [raw]


def test_hard_links_share_one_file(tmp_path: Path) -> None:
    link = info("b/hard", type=tarfile.LNKTYPE, linkname="a/file")
    unpack(pack((info("a/file"), b"x"), (link, b"")), tmp_path / "l")
    assert (tmp_path / "l/a/file").stat().st_ino == (tmp_path / "l/b/hard").stat().st_ino


def test_a_later_entry_replaces_an_earlier_one(tmp_path: Path) -> None:
    data = pack(
        (info("a", type=tarfile.DIRTYPE, mode=0o755), b""),
        (info("a/x"), b"1"),
        (info("a"), b"2"),
        (info("b"), b"1"),
        (info("b", type=tarfile.DIRTYPE, mode=0o755), b""),
        (info("b/c"), b"3"),
    )
    unpack(data, tmp_path / "l")
    assert (tmp_path / "l/a").read_bytes() == b"2"
    assert (tmp_path / "l/b/c").read_bytes() == b"3"
    assert sorted(os.listdir(tmp_path)) == ["l"]


def test_what_was_replaced_does_not_come_back_for_its_time(tmp_path: Path) -> None:
    def directory(name: str) -> tuple[tarfile.TarInfo, bytes]:
        return info(name, type=tarfile.DIRTYPE, mode=0o755), b""

    link = info("up", type=tarfile.SYMTYPE, linkname="a")
    data = pack(
        directory("a"),
        directory("a/b/c"),
        (link, b""),
        directory("up/d"),
        (info("a"), b""),
        directory("a"),
        directory("loop"),
        (info("loop", type=tarfile.SYMTYPE, linkname="loop"), b""),
    )
    unpack(data, tmp_path / "l")
    assert os.listdir(tmp_path / "l/a") == []


def test_a_link_inside_the_layer_is_followed_inside(tmp_path: Path) -> None:
    data = pack(
        (info("usr/lib", type=tarfile.DIRTYPE, mode=0o755), b""),
        (info("lib", type=tarfile.SYMTYPE, linkname="/usr/lib"), b""),
        (info("lib/x"), b"1"),
    )
    unpack(data, tmp_path / "l")
    assert (tmp_path / "l/usr/lib/x").read_bytes() == b"1"


@needs_root
def test_whiteouts_are_what_overlayfs_expects(tmp_path: Path) -> None:
    unpack(
        layer(
            ("d/.wh.gone", b""), ("o/.wh..wh..opq", b""), ("o/new", b"x"), (".wh..wh.plnk/1", b"")
        ),
        tmp_path / "l",
    )
    gone = (tmp_path / "l/d/gone").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(tmp_path / "l/o", "trusted.overlay.opaque") == b"y"
    assert sorted(os.listdir(tmp_path / "l")) == ["d", "o"]


@needs_root
@pytest.mark.parametrize("names", [(".wh.d", "d/new"), ("d/new", ".wh.d")])
def test_a_directory_that_replaces_one_below_hides_it(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    members = [(info("d", type=tarfile.DIRTYPE, mode=0o755), b"")]
    found = {".wh.d": [(info(".wh.d"), b"")], "d/new": [*members, (info("d/new"), b"x")]}
    unpack(pack(*found[names[0]], *found[names[1]]), tmp_path / "l")
    assert (tmp_path / "l/d/new").read_bytes() == b"x"
    assert os.getxattr(tmp_path / "l/d", "trusted.overlay.opaque") == b"y"


@needs_root
def test_owners_devices_fifos_and_attributes_survive(tmp_path: Path) -> None:
    capability = b"\x01\0\0\x02\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    pax = {
        "SCHILY.xattr.security.capability": capability.decode("latin1"),
        "SCHILY.xattr.user.note": "hi",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
    }
    data = pack(
        (info("f", uid=3_000_000, gid=7, mode=0o755, pax_headers=pax), b"x"),
        (info("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666), b""),
        (info("pipe", type=tarfile.FIFOTYPE, mode=0o600), b""),
        (info("s", type=tarfile.SYMTYPE, linkname="nowhere", uid=5, gid=6), b""),
    )
    unpack(data, tmp_path / "l")
    found = {name: (tmp_path / "l" / name).lstat() for name in ("f", "null", "pipe", "s")}
    assert (found["f"].st_uid, found["f"].st_gid, found["s"].st_uid) == (3_000_000, 7, 5)
    assert found["null"].st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO(found["pipe"].st_mode)
    names = os.listxattr(tmp_path / "l/f")
    assert sorted(names) == ["security.capability", "user.note"]
    assert os.getxattr(tmp_path / "l/f", "security.capability") == capability


@pytest.mark.parametrize("dialect", [
    ["--format=gnu"], ["--format=posix", "--sparse-version=0.0"],
    ["--format=posix", "--sparse-version=0.1"], ["--format=posix", "--sparse-version=1.0"],
])  # fmt: skip
def test_sparse_files_keep_holes_and_content(tmp_path: Path, dialect: list[str]) -> None:
    source = tmp_path / "s"
    source.mkdir()
    with open(source / "sparse", "wb") as file:
        for place in range(0, 40 << 20, 1 << 20):
            file.seek(place)
            file.write(b"%08d" % place)
        file.truncate(50 << 20)
    command = ["tar", *dialect, "--sparse", "-C", str(source), "-cf", "-", "sparse"]
    data = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    unpack(data, tmp_path / "l")
    assert (tmp_path / "l/sparse").read_bytes() == (source / "sparse").read_bytes()
    assert (tmp_path / "l/sparse").stat().st_blocks < 1 << 12


Hostile = Callable[[], bytes]
HOSTILE: dict[str, Hostile] = {
    "up": lambda: layer(("../evil", b"x")),
    "up in the middle": lambda: layer(("a/../../evil", b"x")),
    "hard link up": lambda: pack((info("l", type=tarfile.LNKTYPE, linkname="../victim/file"), b"")),
    "root as file": lambda: layer((".", b"x")),
    "whiteout up": lambda: layer(("a/.wh...", b"")),
    "whiteout of itself": lambda: layer(("a/.wh..", b"")),
    "whiteout of nothing": lambda: layer(("a/.wh.", b"")),
    "whiteout as parent": lambda: layer((".wh.a/b", b"x")),
    "file as parent": lambda: layer(("a", b"x"), ("a/b", b"x")),
    "cut off": lambda: layer(("a", b"x" * 2000))[:1200],
    "garbage": lambda: b"\1" * 4096,
    "long header": lambda: layer(("x" * (2 << 20), b"")),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_layer_is_refused(tmp_path: Path, case: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("mine")
    with pytest.raises(ImageError):
        unpack(HOSTILE[case](), tmp_path / "l")
    assert sorted(os.listdir(tmp_path)) == ["l", "l.recipe", "victim"]
    assert (victim / "file").read_text() == "mine"


def test_links_out_of_the_layer_lead_back_into_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    data = pack(
        (info("out", type=tarfile.SYMTYPE, linkname=str(victim)), b""),
        (info("up", type=tarfile.SYMTYPE, linkname="../../../.."), b""),
        (info(str(victim)[1:], type=tarfile.DIRTYPE, mode=0o755), b""),
        (info("out/a"), b"1"),
        (info("up/b"), b"2"),
        (info("/c"), b"3"),
    )
    unpack(data, tmp_path / "l")
    assert os.listdir(victim) == []
    assert (tmp_path / "l" / str(victim)[1:] / "a").read_bytes() == b"1"
    assert (tmp_path / "l/b").read_bytes() == b"2"
    assert (tmp_path / "l/c").read_bytes() == b"3"


fuzzed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

names = st.sampled_from(
    ["a", "b", "a/b", "a/b/c", "b/a", "../x", "/x", ".", "a/..", "..", ".wh.a", "a/.wh.b",
     ".wh..wh..opq", "a/.wh..wh..opq", ".wh.", ".wh...", "a/./b", "//a//b/"]
)  # fmt: skip
targets = st.sampled_from(
    ["a", "b", "/", "..", "../victim", "../../victim/file", "/../victim", "a/b", "."]
)
kinds = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE,
                         tarfile.FIFOTYPE])  # fmt: skip
members = st.lists(st.tuples(names, kinds, targets), max_size=8)


@needs_root
@fuzzed
@given(members)
def test_no_sequence_of_entries_touches_the_outside(
    tmp_path: Path, entries: list[tuple[str, bytes, str]]
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(exist_ok=True)
    (victim / "file").write_text("mine")
    os.utime(victim / "file", (5, 5))
    os.utime(victim, (5, 5))
    packed = [
        (
            info(name, type=kind, linkname=target, mode=0o755),
            b"evil" if kind == tarfile.REGTYPE else b"",
        )
        for name, kind, target in entries
    ]
    try:
        unpack(pack(*packed), tmp_path / "l")
    except ImageError:
        pass
    removal.remove_tree(str(tmp_path / "l"))
    assert set(os.listdir(tmp_path)) <= {"victim", "l.recipe"}
    assert (victim / "file").read_text() == "mine"
    assert victim.stat().st_mtime == (victim / "file").stat().st_mtime == 5
    assert (victim / "file").stat().st_nlink == 1


@fuzzed
@given(st.integers(0, 5119), st.binary(min_size=1, max_size=40))
def test_damaged_archives_end_in_image_errors_only(tmp_path: Path, place: int, junk: bytes) -> None:
    link = info("l" * 120, type=tarfile.SYMTYPE, linkname="t" * 130)
    data = pack((info("file" * 40), b"content"), (link, b""))
    damaged = data[:place] + junk + data[place + len(junk) :]
    try:
        unpack(damaged, tmp_path / "l")
    except ImageError:
        pass
    removal.remove_tree(str(tmp_path / "l"))


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    fd = os.open(top, os.O_PATH)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    removal.remove_tree(str(top))
    assert os.listdir(tmp_path) == []


MANY = """
import resource, sys
from orchestrator.image import layers, writing
class Many:
    def __init__(self, count):
        self.left = count
    def read(self, size=-1):
        self.left -= 1
        if self.left < 0:
            return bytes(512) if self.left >= -2 else b""
        name = f"d{self.left // 500}/f{self.left}".encode()
        return writing.fields(name, b"0", mode=0o644, uid=0, gid=0, size=0, mtime=1)
layers.unpack(Many(int(sys.argv[2])), sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_very_many_entries_take_no_more_memory_than_few(tmp_path: Path) -> None:
    """A million take 17 MiB."""

    def peak(count: int) -> int:
        place = tmp_path / str(count)
        place.mkdir()
        done = subprocess.run([sys.executable, "-c", MANY, str(place), str(count)], text=True,
                              check=True, capture_output=True, cwd=ROOT)  # fmt: skip
        return int(done.stdout)

    assert peak(10_000) - peak(500) < 4096  # KiB
