"""Patterns of .dockerignore."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.build import ignore


@pytest.mark.parametrize(
    ("text", "ignored", "kept"),
    [
        ("*.md", "a.md", "a/b.md"), ("**/*.md", "a/b/c.md", "a.mdx"), ("**/*.md", "c.md", "md"),
        ("/a/b", "a/b/c", "x/a/b"), ("a/**/z", "a/b/c/z", "a/zz"), ("a/**/z", "a/z", "b/a/z"),
        ("a/**", "a/b", "a"), ("**/node_modules", "x/node_modules/y", "node_modulesx"),
        ("temp?", "tempa", "temp"), ("*/temp*", "a/tempx/y", "a/b/temp"), ("[a-c].x", "b.x", "d.x"),
        ("[^a].x", "b.x", "a.x"), ("a\\*", "a*", "ab"), ("# x\na", "a", "# x"), ("../a", "", "a"),
        ("/../a", "a", "b"), ("**/tmp\n!app", "app/tmp/x", "app/y"), ("app\n!app", "", "app/tmp"),
        ("*\n!app\n**/tmp", "app/tmp", "app/y"), ("*/tmp\n!app\n!app/tmp/x", "app/tmp/y", ""),
        ("*/tmp\n!app\n!app/tmp/x", "", "app/tmp/x"),
        ("*\n!keep", "other", "keep"), ("*\n!a/keep", "a/x", "a/keep/y"), ("a\n!a\na", "a", "b"),
        ("./a/./b/", "a/b", "a"), ("a**c", "ab/c", "ab"), (".", "", "anything"),
        ("**/a/**/b/*c", "x/a/y/b/zc", "a/b/d"), ("**", "x", ""), (" a ", "a", "b"),
    ],
)  # fmt: skip
def test_a_pattern_decides(text: str, ignored: str, kept: str) -> None:
    rules = ignore.read(text)
    assert not ignored or rules.ignores(ignored)
    assert not kept or not rules.ignores(kept)


@pytest.mark.parametrize("text", ["[a", "!", "a\\", "[z-a]", "**a**b*", "***/" * 50 + "*"])
def test_a_broken_pattern_is_told_with_its_line(text: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        ignore.read(f"x\n{text}\n")


def test_an_ignored_directory_is_entered_where_an_exception_may_lie() -> None:
    rules = ignore.read("*\n!src/app\n!docs\n")
    held = {name: rules.may_hold(name) for name in ("src", "src/app", "docs/x", "other", "srcs")}
    assert held == {"src": True, "src/app": True, "docs/x": True, "other": False, "srcs": False}


@given(st.text(alphabet="ab*?", min_size=1, max_size=7).filter(lambda p: "**" not in p),
       st.text(alphabet="ab", min_size=1, max_size=9))
def test_one_part_agrees_with_fnmatch(pattern: str, text: str) -> None:
    made = ignore.rule(pattern)
    assert made is not None
    assert bool(made.fits.fullmatch(text)) == fnmatch.fnmatchcase(text, pattern)


def reference(parts: list[str], path: list[str]) -> bool:
    """`**` by trying everything."""
    if not parts:
        return not path
    if parts[0] == "**":
        return any(reference(parts[1:], path[n:]) for n in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], parts[0]) and reference(parts[1:], path[1:])


PARTS = st.lists(st.sampled_from(["a", "b", "*", "**", "a*"]), min_size=1, max_size=5)


@given(PARTS, st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=6))
def test_double_stars_agree_with_trying_everything(parts: list[str], path: list[str]) -> None:
    made = ignore.rule("/".join(parts))
    assert made is not None
    ends_deep = parts[-1] == "**"
    expected = any(reference(parts, path[:n]) and not (ends_deep and reference(parts[:-1], path[:n])
                   and not reference(parts, path[:n - 1]))
                   for n in range(1, len(path) + 1))  # fmt: skip
    if not ends_deep:
        assert ignore.Rules([made]).ignores("/".join(path)) == expected


def test_a_hostile_pattern_takes_no_time() -> None:
    made = ignore.rule("*a" * 100 + "b")
    assert made is not None
    assert not made.fits.fullmatch("a" * 4000)


@given(st.text(alphabet="ab/*?[]!^-\\#. \n", max_size=20), st.text(alphabet="ab/.", max_size=8))
def test_any_file_is_read_or_refused(text: str, path: str) -> None:
    try:
        rules = ignore.read(text)
    except ValueError:
        return
    assert rules.ignores(path) in (True, False)
