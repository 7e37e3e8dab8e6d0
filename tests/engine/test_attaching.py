"""Keys that mean: leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.attaching import Keys, parse_keys
from orchestrator.errors import UsageError


@pytest.mark.parametrize(
    ("text", "keys"),
    [("ctrl-p,ctrl-q", b"\x10\x11"), ("a,b", b"ab"), ("ctrl-[", b"\x1b"), ("ctrl-P,x", b"\x10x")],
)
def test_keys_are_read_as_docker_reads_them(text: str, keys: bytes) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["", "ctrl-", "ctrl-1", "ab", "a,", "ctrl-ä", "meta-x"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid detach keys"):
        parse_keys(text)


@given(st.lists(st.binary(max_size=6), max_size=8))
def test_all_that_is_typed_before_the_sequence_arrives(chunks: list[bytes]) -> None:
    keys, seen, typed, is_left = Keys(b"\x10\x11"), b"", b"", False
    for chunk in (*chunks, b"!\x10\x11rest"):
        typed += chunk
        out, is_left = keys.feed(chunk)
        seen += out
        if is_left:
            break
    assert is_left
    assert seen == typed[: typed.index(b"\x10\x11")]
