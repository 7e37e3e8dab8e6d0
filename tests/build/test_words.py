"""Quotes, variables and patterns, as a Dockerfile has them."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.build import globs, words

KNOWN = {"A": "hel/lo", "EMPTY": "", "TWO": "x  y"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A${A}", "hel/lohel/lo"), ("$NONE-", "-"), ("a$", "a$"), ("$$x", "x"), ("$1", ""),
        ("\\$A", "$A"), ("'$A'", "$A"), ('"$A"', "hel/lo"), ('"\\$A\\x\\""', '$A\\x"'),
        ("${NONE:-d}", "d"), ("${NONE-d}", "d"), ("${EMPTY:-d}", "d"), ("${EMPTY-d}", ""),
        ("${A:+y}", "y"), ("${EMPTY:+y}", ""), ("${EMPTY+y}", "y"), ("${NONE+y}", ""),
        ("${NONE:-q $A}", "q hel/lo"), ("${NONE:-${NONE2:-'in'}}", "in"), ("${A:?no}", "hel/lo"),
        ("${A#*l}", "/lo"), ("${A##*l}", "o"), ("${A%l*}", "hel/"), ("${A%%l*}", "he"),
        ("${A#\\*}", "hel/lo"), ("${A/l/L}", "heL/lo"), ("${A//l/L}", "heL/Lo"),
        ("${A%%/*}x", "helx"), ("a  b", "a  b"),
    ],
)  # fmt: skip
def test_a_text_is_expanded(text: str, value: str) -> None:
    assert words.expand(text, KNOWN) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [("${NONE:?say it}", "NONE: say it"), ("${A", "missing"), ("${A!x}", "unknown operator"),
     ("'open", "not closed"), ('"open', "not closed"), ("${}", "names no variable")],
)  # fmt: skip
def test_what_cannot_be_read_is_told(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        words.expand(text, KNOWN)


def test_a_backtick_can_be_the_escape() -> None:
    assert words.expand("c:\\x`$A", KNOWN, escape="`") == "c:\\x$A"


def test_values_fall_into_words_unless_quoted() -> None:
    assert words.expand_words('$TWO "$TWO" a$TWO', KNOWN) == ["x", "y", "x  y", "ax", "y"]


def test_words_keep_their_quotes_and_places() -> None:
    found = words.split('a "b c" d\\ e')
    assert [(word.text, word.offset) for word in found] == [("a", 0), ('"b c"', 2), ("d\\ e", 8)]


@given(st.text(alphabet="ab*?", max_size=8), st.text(alphabet="ab", max_size=10))
def test_cutting_agrees_with_fnmatch(pattern: str, text: str) -> None:
    fits = [n for n in range(len(text) + 1) if fnmatch.fnmatchcase(text[:n], pattern)]
    assert globs.cut_prefix(text, pattern, longest=True) == text[max(fits, default=0):]
    assert globs.cut_prefix(text, pattern, longest=False) == text[min(fits, default=0):]
    ends = [n for n in range(len(text) + 1) if fnmatch.fnmatchcase(text[n:], pattern)]
    assert globs.cut_suffix(text, pattern, longest=True) == text[: min(ends, default=len(text))]


def test_no_pattern_takes_long() -> None:
    text = "a" * 20_000
    assert globs.cut_prefix(text, "*a" * 30 + "b", longest=True) == text


@given(st.text(alphabet="a ${}\\'\"`:-+?#%/*!", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        whole = words.expand(text, KNOWN)
    except ValueError:
        return
    parts = words.expand_words(text, KNOWN)
    assert "".join(parts).replace(" ", "") == whole.replace(" ", "")
