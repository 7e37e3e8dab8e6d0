"""YAML as Compose reads it, with places, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.spec import cache, dump, yaml
from orchestrator.spec.node import NodeMarks, plain
from tests.source_tree import ROOT
from tests.spec.loading import loaded, refused


def read(text: str | bytes) -> object:
    data = text if isinstance(text, bytes) else text.encode()
    return [plain(node) for node in yaml.documents(data, file="f", shown="f")]


def problem(text: str | bytes) -> tuple[str, str, str | None]:
    with pytest.raises(SpecError) as caught:
        read(text)
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("n", "n"), ("True", True), ("FALSE", False), ("~", None),
        ("", None), ("12", 12), ("-0x1F", -31), ("0755", 493), ("0o755", 493), ("0b11", 3),
        ("1_000", 1000), ("08", 8.0), ("1.10", 1.1), ("1e3", 1000.0), (".5", 0.5),
        ("1.2.3", "1.2.3"),
        ("12:30", "12:30"), ("2020-01-01", "2020-01-01 00:00:00 +0000 UTC"),
        ("2020-13-01", "2020-13-01"), ("99999999999999999999", 1e20), ("'1'", "1"), ('"~"', "~"),
        ("!!str 1", "1"), ("!!float 1", 1.0), ("a # c", "a"), ("a#c", "a#c"), ("-", [None]),
    ],
)  # fmt: skip
def test_a_scalar(text: str, value: object) -> None:
    assert read(f"k: {text}\n" if text != "-" else "k:\n  -\n") == [{"k": value}]


def test_merge_keys_give_what_is_not_said(tmp_path: Path) -> None:
    text = "a: &a {x: 1, l: {m: 1}}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b], y: 3}\nd: {<<: *b}\n"
    found = read(text)
    assert isinstance(found, list)
    assert found[0]["c"] == {"x": 1, "l": {"m": 1}, "y": 3}
    assert found[0]["d"] == {"x": 2, "y": 2}


def test_documents_follow_each_other_and_empty_ones_do_not_count() -> None:
    assert read("a: 1\n---\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]
    assert read("# only a comment\n") == []


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a:\n  b: 1\n  b: 2\n", "f:3:3", "given twice, first in line 2"),
        ("a: {1: x}\n", "f:1:5", "key 1 is not text"),
        ("a: {true: x}\n", "f:1:5", "key true is not text"),
        ('a: ["x", "b\\0"]\n', "f:1:10", "a value cannot contain a NUL character"),
        ("? [a]\n: 1\n", "f:1:3", "not a mapping or a list"),
        ("a:\n\tb: 1\n", "f:2:1", "tab cannot indent"),
        ("a: *x\n", "f:1:4", "has no anchor"),
        ("a: &x [*x]\n", "f:1:8", "contains itself"),
        ("a: {<<: 3}\n", "f:1:5", "takes a mapping"),
        ("a: b: c\n", "f:1:5", "mapping values are not allowed"),
        ("a: [1\n", "f:2:1", "while parsing a flow"),
        ('a: "x\n', "f:2:1", "end of stream"),
        (b"a: \x00\n", "f:1:4", "U+0000"),
        (b"a:\n  b: \xff\n", "f:2:6", "not UTF-8"),
        ("a: !!int x\n", "f:1:4", "not of type int"),
    ],
)
def test_what_is_refused_has_a_place(text: str | bytes, where: str, words: str) -> None:
    found = problem(text)
    assert found[0] == where
    assert words in found[1]


def test_several_bad_keys_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        read("a: 1\na: 2\nb: {2: x, b: 1, b: 2}\n")
    assert [where for where, _, _ in caught.value.problems] == ["f:2:1", "f:3:5", "f:3:17"]


@pytest.mark.parametrize("shape", ["[{}]", "{{{}}}"])
def test_an_alias_bomb_is_refused_at_once(shape: str) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for n in range(1, 12):
        inner = ", ".join(f"k{i}: *a{n - 1}" if shape[0] == "{" else f"*a{n - 1}" for i in range(9))
        lines.append(f"a{n}: &a{n} " + shape.format(inner))
    assert "aliases are expanded" in problem("\n".join(lines))[1]


@pytest.mark.parametrize("text", ["[" * 50_000, "{a: " * 5_000, "- " * 5_000 + "x"])
def test_bottomless_nesting_is_refused(text: str) -> None:
    assert "nested deeper" in problem(text)[1]


def test_a_chain_of_anchors_counts_as_nesting() -> None:
    chain = "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))
    assert "nested deeper" in problem("a0: &a0 [1]\n" + chain)[1]


def test_a_byte_order_mark_is_no_text() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n") == [{"a": 1}]


def test_a_key_gives_the_place_of_its_value() -> None:
    node = yaml.documents(b"a:\n  b:\n    c: 1\n  d:\n    - x\n", file="/f", shown="f")[0]
    marks = NodeMarks(node)
    assert str(marks[("a", "b")]) == "/f:2:3"
    assert str(marks[("a", "d", 0)]) == "/f:5:7"
    assert marks.get(("a", "z")) is None
    assert len(marks) == 6


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        yaml.documents(data, file="f", shown="f")
    except SpecError as exc:
        if not exc.problems[0][0].startswith("f"):
            raise


KEYS = st.text("abAB019_-. #:'\"{}[]$é\n", min_size=1, max_size=8) | st.just("long " * 300)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXTS
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3)
                     | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12)  # fmt: skip


@given(TREES.filter(lambda value: value is not None))
def test_what_config_prints_reads_back_as_itself(tree: object) -> None:
    assert read(dump.yaml_text({"k": tree})) == [{"k": tree}]


def test_documents_of_one_file_merge(tmp_path: Path) -> None:
    project = loaded(tmp_path,
        "services: {s: {image: a, tty: true}}\n---\nservices: {s: {image: b}}\n")
    assert (project.services["s"].image, project.services["s"].tty) == ("b", True)


@pytest.mark.parametrize("text", ["", "# c\n", "version: '3'\n"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    assert "empty" in str(refused(tmp_path, text))


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "- a\n").problems[0][0] == "compose.yaml:1:1"


def test_a_file_read_before_needs_no_parser_and_keeps_its_places(tmp_path: Path) -> None:
    text = "services:\n  s: &s {image: i, labels: {a: 1.5, b: ~}}\n  t:\n    <<: *s\n"
    text += "    user: !reset x\n"
    first = loaded(tmp_path, text, cache_dir=str(tmp_path / "cache"))
    assert len(list((tmp_path / "cache" / "parsed").iterdir())) == 1
    program = (
        "import sys; from orchestrator.spec.load import *;"
        f"p = load(LoadOptions(cwd={str(tmp_path)!r}, cache_dir={str(tmp_path / 'cache')!r}));"
        "print('yaml' in sys.modules, p.where('services', 't', 'labels', 'b'), p.services)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert done.stdout == f"False compose.yaml:2 {first.services}\n"


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"i\x05\x00\x00\x00", b"garbage", b"[\x01\x00\x00\x00N"]
)
def test_a_broken_memory_is_not_believed(tmp_path: Path, content: bytes) -> None:
    cache = tmp_path / "cache"
    loaded(tmp_path, "services: {s: {image: i}}", cache_dir=str(cache))
    for path in (cache / "parsed").iterdir():
        path.write_bytes(content)
    assert loaded(tmp_path, cache_dir=str(cache)).services["s"].image == "i"


def test_only_the_newest_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST", 3)
    for n in range(5):
        loaded(tmp_path, f"services: {{s: {{image: i{n}}}}}", cache_dir=str(tmp_path / "cache"))
    assert len(list((tmp_path / "cache" / "parsed").iterdir())) == 3
