"""Subordinate ids: whose ranges a file has, and how they lie in a user namespace."""

from __future__ import annotations

import pytest

from orchestrator.linux import idmap


def test_a_user_has_the_ranges_of_name_and_number() -> None:
    text = "root:1:2\nann:100000:65536\n1000:300000:10\nann:200000:5\n"
    found = idmap.ranges(text, ["1000", "ann"])
    assert found == [(100000, 65536), (300000, 10), (200000, 5)]


@pytest.mark.parametrize("line", ["ann", "ann:1", "ann:1:2:3", "ann:x:5", "ann:-1:5", "ann:7:0"])
def test_a_line_that_is_no_range_is_passed_over(line: str) -> None:
    assert idmap.ranges(line, ["ann"]) == []


def test_the_ranges_come_one_after_the_other_above_the_user() -> None:
    assert idmap.mapping(1000, [(100000, 10), (500, 3)]) == [
        (0, 1000, 1), (1, 100000, 10), (11, 500, 3)]


def test_without_a_range_there_is_the_user_alone() -> None:
    assert idmap.mapping(1000, []) == [(0, 1000, 1)]
