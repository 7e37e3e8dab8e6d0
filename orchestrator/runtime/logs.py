"""Logs read back: lines with times, from the segments and indexes `runtime.pump` writes.

Reading needs no keeper and disturbs none: files only grow, and the oldest segment may be deleted at
any time.  Knows nothing of services or of how lines are shown.
"""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

from orchestrator.dataclass import dataclass
from orchestrator.runtime.pump import BREAK, RECORD, segments

Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")
_BLOCK = 1 << 20
_LONGEST = 1 << 20
"""A longer line is cut into several: a container may never write a newline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of output, without its newline; bytes that are not UTF-8 become U+FFFD."""

    time: float
    """Seconds since the epoch when its first byte reached the keeper."""
    stream: Stream
    text: str


def read_log(
    log_dir: str, *, since: float | None = None, until: float | None = None,
    tail: int | None = None,
) -> Iterator[LogLine]:
    """The lines written so far, stdout and stderr merged by time; nothing if there is no log.

    `since` and `until` are seconds since the epoch, inclusive; `tail` is how many of the lines that
    remain are wanted, from the end.  OSError where a file cannot be read.
    """
    jump = tail if until is None else None
    streams = (_whole(log_dir, stream, tail=jump) for stream in STREAMS)
    lines = (
        line for line in merge(streams)
        if (since is None or line.time >= since) and (until is None or line.time <= until)
    )  # fmt: skip
    return lines if tail is None else iter(deque(lines, maxlen=max(0, tail)))


def merge(streams: Iterable[Iterable[LogLine]]) -> Iterator[LogLine]:
    """Lines of several streams (or containers), each in its own order, by time."""
    return heapq.merge(*streams, key=lambda line: line.time)


class LogFollower:
    """What is new in a log since the last time; holds no descriptor in between."""

    def __init__(self, log_dir: str) -> None:
        self._readers = [_Reader(log_dir, stream) for stream in STREAMS]

    def read(self, *, last: bool = False) -> list[LogLine]:
        """New whole lines, merged by time; with `last` also what has no newline yet."""
        found: list[LogLine] = []
        for reader in self._readers:
            found += reader.read()
            if last:
                found += reader.flush()
        return sorted(found, key=lambda line: line.time)


class RawFollower:
    """The bytes of one stream as they come, from now on: prompts have no newline."""

    def __init__(self, log_dir: str, stream: Stream) -> None:
        self._directory, self._stream = log_dir, stream
        self._base, self._offset = -1, 0
        for self._base in segments(log_dir, stream)[-1:]:
            self._offset = os.stat(f"{log_dir}/{stream}.{self._base}").st_size

    def read(self) -> bytes:
        """What is new; empty where nothing is."""
        found = b""
        while True:
            bases = segments(self._directory, self._stream)
            later = [base for base in bases if base > self._base]
            if self._base >= 0:
                found += self._rest_of_segment()
            if not later:
                return found
            self._base, self._offset = later[0], 0

    def _rest_of_segment(self) -> bytes:
        found = b""
        try:
            with open(f"{self._directory}/{self._stream}.{self._base}", "rb") as file:
                file.seek(self._offset)
                found = file.read()
        except FileNotFoundError:
            return b""  # deleted before we had read it
        self._offset += len(found)
        return found


def _whole(directory: str, stream: Stream, *, tail: int | None) -> Iterator[LogLine]:
    reader = _Reader(directory, stream)
    if tail is not None:
        reader.jump(*_find_tail(directory, stream, tail))
    yield from reader.read()
    yield from reader.flush()


class _Reader:
    """A place in one stream, and the beginning of the line that is not finished there."""

    def __init__(self, directory: str, stream: Stream) -> None:
        self._directory, self._stream = directory, stream
        self._base = -1
        self._offset = 0
        self._stamps = _Stamps()
        self._rest = b""
        self._rest_time = 0.0

    def jump(self, base: int, offset: int) -> None:
        """Go on from there; base -1 is the oldest segment there is."""
        self._base, self._offset = base, offset

    def read(self) -> Iterator[LogLine]:
        """The whole lines from here to the end of what there is now."""
        while True:
            bases = segments(self._directory, self._stream)
            later = [base for base in bases if base > self._base]
            if self._base >= 0:
                # The list was made first: if it has a later segment, this one grows no more.
                yield from self._read_segment()
            if not later:
                return
            if self._base + self._offset != later[0]:  # deleted before we had read it
                yield from self.flush()
            self.jump(later[0], 0)
            self._stamps = _Stamps()

    def _read_segment(self) -> Iterator[LogLine]:
        path = f"{self._directory}/{self._stream}.{self._base}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            while data := os.pread(fd, _BLOCK, self._offset):
                self._stamps.load(f"{path}.idx")
                yield from self._split(data)
        finally:
            os.close(fd)

    def _split(self, data: bytes) -> Iterator[LogLine]:
        position = 0
        while position < len(data):
            time, is_break, limit = self._stamps.at(self._offset)
            if is_break:
                yield from self.flush()
            newline = data.find(b"\n", position)
            end = len(data) if newline < 0 else newline + 1
            end = min(end, position + limit) if limit else end
            yield from self._take(data[position:end], time)
            self._offset += end - position
            position = end

    def _take(self, part: bytes, time: float) -> Iterator[LogLine]:
        if not self._rest:
            self._rest_time = time
        self._rest += part
        if self._rest.endswith(b"\n") or len(self._rest) >= _LONGEST:
            yield from self.flush()

    def flush(self) -> Iterator[LogLine]:
        """The line that has no end yet, if there is one, as a line."""
        rest, self._rest = self._rest, b""
        if rest:
            text = rest.removesuffix(b"\n").decode("utf-8", "replace")
            yield LogLine(time=self._rest_time, stream=self._stream, text=text)


class _Stamps:
    """The index of a segment, walked from front to back and loaded as it grows."""

    def __init__(self) -> None:
        self._loaded = 0
        self._records: deque[tuple[int, int]] = deque()
        self._time = 0.0
        self._breaks: deque[int] = deque()

    def load(self, path: str) -> None:
        """Read what is new in the index file; none is no error, times are then 0."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            while data := os.pread(fd, _BLOCK, self._loaded):
                whole = len(data) - len(data) % RECORD
                if not whole:
                    return
                self._loaded += whole
                self._add(memoryview(data[:whole]).cast("Q"))
        finally:
            os.close(fd)

    def _add(self, numbers: memoryview) -> None:
        pairs = zip(numbers[0::2].tolist(), numbers[1::2].tolist(), strict=True)
        for offset, time in pairs:
            if offset & BREAK:
                self._breaks.append(offset ^ BREAK)
                offset ^= BREAK
            self._records.append((offset, time))

    def at(self, offset: int) -> tuple[float, bool, int]:
        """(time of the byte at `offset`, whether a line ends before it, bytes to the next such
        break or 0); `offset` never goes back."""
        records, breaks = self._records, self._breaks
        while records and records[0][0] <= offset:
            self._time = records.popleft()[1] / 1e9
        is_break = False
        while breaks and breaks[0] <= offset:
            is_break = is_break or breaks[0] == offset
            breaks.popleft()
        return self._time, is_break, breaks[0] - offset if breaks else 0


def _find_tail(directory: str, stream: Stream, lines: int) -> tuple[int, int]:
    """(base, offset) from where at least `lines` lines follow, or of the beginning."""
    missing = lines + 1  # the newline that ends the line before the first wanted one
    for base in reversed(segments(directory, stream)):
        try:
            fd = os.open(f"{directory}/{stream}.{base}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            break
        try:
            found, missing = _search_back(fd, missing)
        finally:
            os.close(fd)
        if found is not None:
            return base, found
    return -1, 0


def _search_back(fd: int, missing: int) -> tuple[int | None, int]:
    """The offset behind the newline that is the `missing`-th from the end; else None and how many
    are missing still."""
    end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - (1 << 16))
        data = os.pread(fd, end - start, start)
        count = data.count(b"\n")
        if count >= missing:
            place = len(data)
            for _ in range(missing):
                place = data.rindex(b"\n", 0, place)
            return start + place + 1, 0
        missing -= count
        end = start
    return None, missing
