"""The output of hooks, by value; what they do in containers is tested end to end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.supervisor.hooks import TAIL_BYTES, Lines, tail


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_lines_are_the_same_however_the_bytes_arrive(chunks: list[bytes]) -> None:
    told: list[str] = []
    lines = Lines(told.append)
    for chunk in chunks:
        lines.feed(chunk)
    lines.finish()
    whole = b"".join(chunks).split(b"\n")
    whole = whole[:-1] if whole[-1] == b"" else whole
    assert told == [line.decode(errors="replace").rstrip("\r") for line in whole]


def test_a_line_without_end_is_broken_and_the_tail_is_short() -> None:
    told: list[str] = []
    lines = Lines(told.append)
    for _ in range(100):
        lines.feed(b"x" * 1000)
    lines.finish()
    assert sum(map(len, told)) == 100_000
    assert len(told) > 1
    assert len("\n".join(lines.tail)) == TAIL_BYTES
    assert tail([str(n) for n in range(50)]) == [str(n) for n in range(40, 50)]
    assert tail([]) == []
