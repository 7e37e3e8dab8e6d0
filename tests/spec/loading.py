"""Loads inline YAML for the tests of this area."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec.load import LoadOptions, load
from orchestrator.spec.model import Project, Service
from orchestrator.spec.runnable import runnable
from orchestrator.spec.select import select


def write(directory: Path, **files: str) -> None:
    """`write(tmp, compose_yaml="…")`: `_` before the last word is the dot; `__` is `/`."""
    for name, text in files.items():
        path = directory / ".".join(name.replace("__", "/").rsplit("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def loaded(directory: Path, text: str | None = None, **options: Any) -> Project:
    """The project of `compose.yaml` with this text in `directory`."""
    if text is not None:
        write(directory, compose_yaml=text)
    options.setdefault("cwd", str(directory))
    return load(LoadOptions(**options))


def acted_on(directory: Path, text: str, *, lenient: bool = False) -> Project:
    """The same once it may be carried out."""
    project = select(loaded(directory, text), [], with_dependencies=True)
    return runnable(project, lenient=lenient)


def not_acted_on(directory: Path, text: str) -> SpecError:
    """The error with which this text is not carried out."""
    with pytest.raises(SpecError) as caught:
        acted_on(directory, text)
    return caught.value


def service(directory: Path, lines: str, **options: Any) -> Service:
    """The service `s` that has these lines, and image `i`."""
    body = textwrap.indent(textwrap.dedent(lines), "    ")
    text = f"services:\n  s:\n    image: i\n{body}\nvolumes: {{data: }}\nnetworks: {{n: }}\n"
    return loaded(directory, text, **options).services["s"]


def refused(directory: Path, text: str | None = None, **options: Any) -> SpecError:
    """The error that loading this text raises."""
    with pytest.raises(SpecError) as caught:
        loaded(directory, text, **options)
    return caught.value
