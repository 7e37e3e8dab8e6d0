"""JSON as the json package reads and writes it, without the package."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.linux import jsontext

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_values_come_back_and_the_text_is_that_of_the_package(value: object) -> None:
    text = jsontext.encode(value)
    assert text == json.dumps(value, separators=(",", ":"))
    assert jsontext.decode(text) == value


@given(st.text(alphabet='[]{}",:0123456789.eE+-truefalsn\\ \n\x00é', max_size=30))
def test_whatever_the_text_the_answer_is_that_of_the_package(text: str) -> None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        expected = json.loads(text, parse_constant=refuse)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            jsontext.decode(text)
    else:
        assert jsontext.decode(text) == expected


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, b"\xff", "NaN", "-Infinity",
                                  "9" * 5000, "", "\ufeff{}", "[1]x"])
def test_hostile_text_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        jsontext.decode(text)


def test_what_has_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="bytes cannot be written as JSON"):
        jsontext.encode({"a": b""})
    with pytest.raises(ValueError, match="JSON compliant"):
        jsontext.encode(float("nan"))


def test_a_value_that_holds_itself_is_refused_each_time() -> None:
    value: list[object] = []
    value.append(value)
    for _ in range(2):
        with pytest.raises(ValueError, match="Circular"):
            jsontext.encode(value)
