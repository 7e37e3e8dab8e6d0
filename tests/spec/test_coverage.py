"""No key is dropped silently: each has its place in the tables, and changes something or is
refused."""

from __future__ import annotations

import pytest

from docs import reference
from docs.differences import DIFFERENCES
from orchestrator.spec import support

PROPERTIES = reference.every()


def test_the_schema_has_every_attribute_of_the_specification() -> None:
    assert len(PROPERTIES) == 353


@pytest.mark.parametrize("pattern", PROPERTIES, ids=".".join)
def test_an_attribute_works_or_is_refused_or_has_no_effect(pattern: tuple[str, ...]) -> None:
    states = reference.states(pattern)
    assert len(states) == 1, f"{'.'.join(pattern)} is {states or 'in no table'}"


@pytest.mark.parametrize("table", [support.REFUSED, support.WITHOUT_EFFECT, DIFFERENCES])
def test_a_table_names_attributes_that_exist(table: dict[str, str]) -> None:
    assert set(table) <= {".".join(pattern) for pattern in PROPERTIES}
