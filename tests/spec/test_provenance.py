"""A traced load remembers what every value won against."""

from __future__ import annotations

from pathlib import Path

from orchestrator.spec.node import find, plain
from orchestrator.spec.provenance import Trace, Traced
from tests.spec.loading import loaded, write

BASE = """
    services:
      web:
        image: "i:${TAG:-1}"
        command: [a]
        env_file: web.env
        environment: {A: base, B: kept, E: env}
"""
OVERRIDE = """
    services:
      web:
        command: [b]
        environment: [A=over]
"""


def past(directory: Path, *path: str | int) -> list[tuple[object, int, str]]:
    """The value at `path` and all it won against: (value, line, rule), oldest first."""
    write(directory, compose_yaml=BASE, o_yaml=OVERRIDE, web_env="A=file\nE=file\nF=file\n")
    files = tuple(str(directory / name) for name in ("compose.yaml", "o.yaml"))
    project = loaded(directory, files=files, trace=Trace())
    assert project.tree is not None
    node = find(project.tree, path)
    assert isinstance(node, Traced)
    beaten = [(plain(lost.node), lost.node.line, lost.rule) for lost in node.beaten]
    return [*beaten, (plain(node), node.line, "")]


def test_a_variable_knows_the_file_before_and_the_env_file(tmp_path: Path) -> None:
    assert past(tmp_path, "services", "web", "environment", "A") == [
        ("file", 1, "`environment` wins over env_file"), ("base", 7, ""), ("over", 5, ""),
    ]  # fmt: skip


def test_a_value_nobody_contests_knows_nobody(tmp_path: Path) -> None:
    assert past(tmp_path, "services", "web", "environment", "F") == [("file", 3, "")]
    assert past(tmp_path, "services", "web", "environment", "B") == [("kept", 7, "")]


def test_a_list_that_is_replaced_knows_the_old_one(tmp_path: Path) -> None:
    assert past(tmp_path, "services", "web", "command") == [
        (["a"], 5, "replaced as a whole"), (["b"], 4, ""),
    ]  # fmt: skip


def test_a_template_is_remembered_with_what_it_saw(tmp_path: Path) -> None:
    write(tmp_path, compose_yaml=BASE, web_env="")
    trace = Trace()
    project = loaded(tmp_path, trace=trace, environ={"TAG": "7"})
    assert project.tree is not None
    node = find(project.tree, ("services", "web", "image"))
    assert isinstance(node, Traced)
    assert (node.value, node.written) == ("i:7", "i:${TAG:-1}")
    assert node.layer.variables["TAG"] == "7"
