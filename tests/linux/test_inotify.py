"""Changes of a directory arrive, whole and with their names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.linux import inotify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def watch() -> Iterator[inotify.Inotify]:
    made = inotify.Inotify()
    yield made
    made.close()
    made.close()


def test_events_name_what_changed(watch: inotify.Inotify, tmp_path: Path) -> None:
    wd = watch.add(str(tmp_path), inotify.IN_CREATE | inotify.IN_MOVED_TO)
    assert watch.read() == []
    (tmp_path / "ü").write_text("")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir").rename(tmp_path / "other")
    assert watch.read() == [
        (wd, inotify.IN_CREATE, "ü"), (wd, inotify.IN_CREATE | inotify.IN_ISDIR, "dir"),
        (wd, inotify.IN_MOVED_TO | inotify.IN_ISDIR, "other")]


def test_more_events_than_one_read_holds_all_arrive(watch: inotify.Inotify, tmp_path: Path) -> None:
    watch.add(str(tmp_path), inotify.IN_CREATE)
    names = [f"{number:0100d}" for number in range(1000)]
    for name in names:
        os.close(os.open(tmp_path / name, os.O_CREAT | os.O_WRONLY))
    assert [name for _, _, name in watch.read()] == names


def test_a_watch_that_ended_may_be_removed(watch: inotify.Inotify, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wd = watch.add(str(tmp_path / "file"), inotify.IN_DELETE_SELF)
    (tmp_path / "file").unlink()
    assert [mask for _, mask, _ in watch.read()] == [inotify.IN_DELETE_SELF, inotify.IN_IGNORED]
    watch.remove(wd)


def test_what_is_not_there_cannot_be_watched(watch: inotify.Inotify) -> None:
    with pytest.raises(FileNotFoundError, match="/nonexistent"):
        watch.add("/nonexistent", inotify.IN_CREATE)


def test_a_full_queue_says_so(watch: inotify.Inotify, tmp_path: Path) -> None:
    with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as file:
        limit = int(file.read())
    if limit > 100_000:
        pytest.skip("the queue is too long to be filled here")
    watch.add(str(tmp_path), inotify.IN_OPEN | inotify.IN_CLOSE)
    for number in range(limit // 2 + 2):  # two events each; equal ones in a row would be merged
        os.close(os.open(tmp_path, os.O_RDONLY | (os.O_NONBLOCK if number % 2 else 0)))
    assert watch.read()[-1] == (-1, inotify.IN_Q_OVERFLOW, "")
