"""Logs written by `pump` and read back by `logs`, without a container."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.runtime import logs
from orchestrator.runtime.pump import Log, segments


class Writer:
    """A pipe and the log its bytes are spliced into."""

    def __init__(self, path: Path, stream: str = "stdout", **options: int) -> None:
        self.complaints: list[str] = []
        self.source, self.sink = os.pipe()
        os.set_blocking(self.source, False)
        given = {"max_size": 1 << 20, "max_files": 3, **options}
        self.log = Log(str(path), stream, fresh=True, complain=self.complaints.append,
                       max_size=given["max_size"], max_files=given["max_files"])

    def write(self, data: bytes) -> None:
        os.write(self.sink, data)
        assert self.log.splice(self.source) == len(data)

    def close(self) -> None:
        os.close(self.source)
        os.close(self.sink)
        self.log.close()


def texts(path: Path, **options: float | int | None) -> list[str]:
    return [line.text for line in logs.read_log(str(path), **options)]  # type: ignore[arg-type]


def test_no_log_has_no_lines(tmp_path: Path) -> None:
    assert texts(tmp_path / "none") == []
    assert logs.LogFollower(str(tmp_path / "none")).read(last=True) == []


def test_an_empty_pipe_is_not_its_end(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    assert writer.log.splice(writer.source) is None
    writer.close()


@settings(deadline=None, max_examples=40)
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=30),
    size=st.integers(1, 60), tail=st.integers(0, 12),
)  # fmt: skip
def test_whatever_the_pieces_the_lines_are_those_of_the_bytes(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], size: int, tail: int
) -> None:
    path = tmp_path_factory.mktemp("log")
    writer = Writer(path, max_size=size, max_files=1000)
    follower, followed = logs.LogFollower(str(path)), []
    for piece in pieces:
        writer.write(piece)
        followed += follower.read()
    followed += follower.read(last=True)
    writer.close()
    whole = b"".join(pieces)
    expected = [line.decode("utf-8", "replace") for line in whole.split(b"\n")]
    expected = expected[:-1] if expected[-1] == "" else expected
    assert texts(path) == expected
    assert [line.text for line in followed] == expected
    assert texts(path, tail=tail) == expected[len(expected) - min(tail, len(expected)):]


def test_old_segments_are_deleted_with_their_index(tmp_path: Path) -> None:
    writer = Writer(tmp_path, max_size=10, max_files=2)
    for number in range(10):
        writer.write(b"0123456789 %d\n" % number)
    writer.close()
    assert len(segments(str(tmp_path), "stdout")) == 2
    assert len(list(tmp_path.iterdir())) == 4
    assert texts(tmp_path) == ["0123456789 8", "0123456789 9"]


def test_since_and_until_choose_by_time(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    marks = []
    for word in (b"one\n", b"two\n", b"three\n"):
        marks.append(time.time())
        writer.write(word)
        time.sleep(0.01)
    writer.close()
    assert texts(tmp_path, since=marks[1]) == ["two", "three"]
    assert texts(tmp_path, until=marks[2]) == ["one", "two"]
    assert texts(tmp_path, until=marks[2], tail=1) == ["two"]


def test_streams_are_merged_by_time(tmp_path: Path) -> None:
    out, err = Writer(tmp_path), Writer(tmp_path, "stderr")
    for number in range(6):
        (out if number % 2 else err).write(b"%d\n" % number)
    out.close()
    err.close()
    assert texts(tmp_path) == ["0", "1", "2", "3", "4", "5"]
    merged = logs.merge([logs.read_log(str(tmp_path)), logs.read_log(str(tmp_path))])
    assert [line.text for line in merged] == [str(n) for n in range(6) for _ in (1, 2)]


def test_a_new_start_does_not_continue_an_unfinished_line(tmp_path: Path) -> None:
    for word in (b"begun", b"anew\nfinished\n", b"and on"):
        writer = Writer(tmp_path)
        writer.write(word)
        writer.close()
    assert texts(tmp_path) == ["begun", "anew", "finished", "and on"]
    assert texts(tmp_path, tail=2) == ["finished", "and on"]


def test_bytes_without_an_index_are_lines_without_a_time(tmp_path: Path) -> None:
    (tmp_path / "stdout.0").write_bytes(b"old\n")
    (tmp_path / "stdout.notes").write_bytes(b"not ours\n")
    assert [line.time for line in logs.read_log(str(tmp_path))] == [0.0]


def test_an_index_cut_in_the_middle_of_a_record_is_mended(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.write(b"one\n")
    writer.close()
    with open(tmp_path / "stdout.0.idx", "ab") as file:
        file.write(b"123")
    writer = Writer(tmp_path)
    writer.write(b"two\n")
    writer.close()
    assert (tmp_path / "stdout.0.idx").stat().st_size == 32
    assert texts(tmp_path) == ["one", "two"]


def test_an_endless_line_is_cut(tmp_path: Path) -> None:
    (tmp_path / "stdout.0").write_bytes(b"x" * (3 << 20))
    assert max(map(len, texts(tmp_path))) <= 2 << 20
    assert sum(map(len, texts(tmp_path))) == 3 << 20


def test_a_follower_goes_on_when_its_segment_was_deleted(tmp_path: Path) -> None:
    writer = Writer(tmp_path, max_size=4, max_files=1)
    follower = logs.LogFollower(str(tmp_path))
    writer.write(b"abcdef")
    assert follower.read() == []
    writer.write(b"gone\n")
    writer.write(b"new\n")
    writer.close()
    assert [line.text for line in follower.read(last=True)] == ["abcdef", "new"]


FULL = """
import os, resource, sys, time
from orchestrator.runtime.pump import Log
complaints = []
source, sink = os.pipe()
os.set_blocking(source, False)
log = Log(sys.argv[1], "stdout", max_size=1 << 20, max_files=2, fresh=True,
          complain=complaints.append)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
os.write(sink, b"a" * 999 + b"\\n")
log.splice(source)
os.write(sink, b"lost 1\\nlost 2\\n")
while log.splice(source):
    pass
assert (len(complaints), log.lost) == (1, 14), (complaints, log.lost)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
end = time.monotonic() + 10
while log.lost and time.monotonic() < end:
    os.write(sink, b"after\\n")
    before = log.lost
    log.splice(source)
    if log.lost == before:
        break
    time.sleep(0.1)
"""


def test_bytes_are_dropped_while_the_disk_is_full_and_kept_again_afterwards(
    tmp_path: Path,
) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert texts(tmp_path) == ["a" * 999, "after"]


def test_a_disk_that_takes_nothing_is_complained_about_once_and_left_behind(
    tmp_path: Path,
) -> None:
    (tmp_path / "stdout.0").mkdir()
    writer = Writer(tmp_path)
    writer.write(b"lost\n")
    assert len(writer.complaints) == 1
    assert writer.log.lost == 5
    writer.close()
