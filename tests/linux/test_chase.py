"""No path leads out of a root, and both ways to resolve one (kernel, by hand) agree."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.linux import chase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAMES = st.sampled_from(["a", "b", "c", "..", ".", ""])
PATHS = st.lists(NAMES, min_size=1, max_size=6).map("/".join)
ENTRIES = st.lists(
    st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=3),
              st.none() | st.just("") | st.tuples(st.booleans(), PATHS)),
    max_size=10,
)  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Iterator[tuple[str, int]]:
    (tmp_path / "outside").write_text("secret")
    path = tmp_path / "root"
    path.mkdir()
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
    yield str(path), fd
    os.close(fd)


@pytest.fixture(params=[chase.open_inside, chase.walk_inside], ids=["kernel", "by hand"])
def resolve(request: pytest.FixtureRequest) -> Callable[[int, str, int], int]:
    found: Callable[[int, str, int], int] = request.param
    return found


def place(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def plant(root: str, entries: list[tuple[list[str], object]]) -> None:
    """None: a directory, "": a file, (absolute, path): a symbolic link."""
    for names, kind in entries:
        path = os.path.join(root, *names)
        try:
            if kind is None:
                os.makedirs(path, exist_ok=True)
            elif isinstance(kind, tuple):
                os.symlink(("/" if kind[0] else "") + kind[1] or ".", path)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except OSError:
            pass  # what does not fit into the tree is left out of it


def outcome(resolve: Callable[[int, str, int], int], fd: int, path: str, flags: int) -> str | int:
    try:
        return place(resolve(fd, path, flags))
    except OSError as exc:
        return exc.errno or 0


@given(ENTRIES, PATHS, st.booleans(), st.sampled_from([0, os.O_NOFOLLOW, os.O_DIRECTORY]))
@settings(max_examples=150, deadline=None)
def test_in_any_tree_the_two_ways_agree_and_stay_inside(
    entries: list[tuple[list[str], object]], path: str, absolute: bool, flags: int,
) -> None:
    root = tempfile.mkdtemp()
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        plant(root, entries)
        asked = "/" + path if absolute else path
        found = outcome(chase.open_inside, fd, asked, os.O_PATH | flags)
        assert outcome(chase.walk_inside, fd, asked, os.O_PATH | flags) == found
        assert isinstance(found, int) or found == root or found.startswith(root + "/")
    finally:
        os.close(fd)
        shutil.rmtree(root)


@given(ENTRIES, PATHS, st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_is_made_is_made_inside_and_is_found_again(
    entries: list[tuple[list[str], object]], path: str, directory: bool,
) -> None:
    root = tempfile.mkdtemp()
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        plant(root, entries)
        made = outcome(lambda fd, path, _: chase.open_or_make(fd, path, directory=directory), fd,
                       path, 0)
        assert isinstance(made, int) or made == root or made.startswith(root + "/")
        if isinstance(made, str):
            assert outcome(chase.open_inside, fd, path, os.O_PATH) == made
            assert os.path.isdir(made) is directory
    finally:
        os.close(fd)
        shutil.rmtree(root)


@pytest.mark.parametrize("link", ["/outside", "../outside", "../../../outside", "/../outside"])
def test_a_link_does_not_lead_out(
    root: tuple[str, int], resolve: Callable[[int, str, int], int], link: str,
) -> None:
    path, fd = root
    os.symlink(link, f"{path}/link")
    with pytest.raises(FileNotFoundError):
        resolve(fd, "link", os.O_RDONLY)
    open(f"{path}/outside", "w").close()
    assert place(resolve(fd, "link", os.O_RDONLY)) == f"{path}/outside"


def test_links_in_a_ring_are_refused(
    root: tuple[str, int], resolve: Callable[[int, str, int], int],
) -> None:
    path, fd = root
    os.symlink("b", f"{path}/a")
    os.symlink("a", f"{path}/b")
    with pytest.raises(OSError, match="Too many levels"):
        resolve(fd, "a", os.O_PATH)
    with pytest.raises(OSError, match="Too many levels"):
        chase.make_directories(fd, "a/c")


def test_the_jumping_links_of_proc_are_refused(root: tuple[str, int]) -> None:
    fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    for path in ("self/root/etc", "self/cwd", "self/fd/0"):
        with pytest.raises(OSError, match="Too many levels"):
            chase.open_inside(fd, path, os.O_PATH)
    os.close(fd)


def test_a_file_is_created_where_a_link_points_inside(
    root: tuple[str, int], resolve: Callable[[int, str, int], int],
) -> None:
    path, fd = root
    os.symlink("/outside", f"{path}/link")
    assert place(resolve(fd, "link", os.O_WRONLY | os.O_CREAT)) == f"{path}/outside"
    with pytest.raises(FileExistsError):
        resolve(fd, "link", os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def test_missing_directories_are_made_through_a_link_to_nowhere(root: tuple[str, int]) -> None:
    path, fd = root
    os.mkdir(f"{path}/var")
    os.symlink("/run/x", f"{path}/var/run")
    assert place(chase.make_directories(fd, "/var/run/app", mode=0o700)) == f"{path}/run/x/app"
    assert os.stat(f"{path}/run/x/app").st_mode & 0o777 == 0o700


def test_a_target_of_the_wrong_kind_is_refused(root: tuple[str, int]) -> None:
    path, fd = root
    os.mkdir(f"{path}/d")
    open(f"{path}/f", "w").close()
    with pytest.raises(IsADirectoryError):
        chase.make_file(fd, "d")
    with pytest.raises(NotADirectoryError):
        chase.make_directories(fd, "f")
    with pytest.raises(NotADirectoryError):
        chase.make_file(fd, "f/below")


def test_descriptors_are_closed_on_exec_and_none_is_left(root: tuple[str, int]) -> None:
    path, fd = root
    before = os.listdir("/proc/self/fd")
    os.symlink("../missing", f"{path}/link")
    made = [chase.make_file(fd, "a/b/link"), chase.walk_inside(fd, "a/b", 0),
            chase.make_directories(fd, "link/x/../y")]
    assert not any(os.get_inheritable(each) for each in made)
    for each in made:
        os.close(each)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("path", ["a\0b", "\0"])
def test_a_null_byte_is_refused(
    root: tuple[str, int], resolve: Callable[[int, str, int], int], path: str,
) -> None:
    with pytest.raises((OSError, ValueError), match="null byte"):
        resolve(root[1], path, os.O_PATH)


def test_a_directory_that_turns_into_a_link_meanwhile_leads_nowhere(
    root: tuple[str, int], resolve: Callable[[int, str, int], int],
) -> None:
    path, fd = root
    os.makedirs(f"{path}/d/e")
    os.symlink("../..", f"{path}/link")
    done = threading.Event()

    def attack() -> None:
        while not done.is_set():
            for source, target in (("d", "away"), ("link", "d"), ("d", "link"), ("away", "d")):
                os.rename(f"{path}/{source}", f"{path}/{target}")

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        found = {outcome(resolve, fd, "d/e/../../d/../outside", os.O_PATH) for _ in range(300)}
    finally:
        done.set()
        thread.join()
    assert {each for each in found if isinstance(each, str)} == set()
