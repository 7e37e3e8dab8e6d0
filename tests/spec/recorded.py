"""Recorded answers of the reference to real Compose files.

They are not part of the project; without them beside the checkout there are no cases.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.spec.load import LoadOptions
from tests.source_tree import ROOT

CORPUS = ROOT.parent / "shared" / "corpus" / "dev"
HOME = "/home/corpus"
OWN = re.compile(r"case\.json|expected(\..*)?")
FLAGS = {
    "-f": "files", "--file": "files", "--profile": "profiles", "--env-file": "env_files",
    "-p": "project_name", "--project-name": "project_name",
    "--project-directory": "project_directory",
}  # fmt: skip
SINGLE = {"project_name", "project_directory"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One recorded case."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)
    below: str = "."

    @property
    def expected(self) -> Any:
        """The recorded JSON, or None where the reference failed."""
        path = CORPUS / self.name / "expected.json"
        return json.loads(path.read_text()) if path.exists() else None

    @property
    def unordered(self) -> set[str]:
        """JSON paths of lists whose order the reference leaves open."""
        path = CORPUS / self.name / "expected.meta.json"
        return set(json.loads(path.read_text()).get("unordered", ())) if path.exists() else set()


def understood(words: list[str]) -> dict[str, Any] | None:
    """The flags as options of `load`; None where one is about something else."""
    options: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag not in FLAGS:
            return None
        name, value = FLAGS[flag], value if equals else next(rest)
        options[name] = value if name in SINGLE else (*options.get(name, ()), value)
    return options


def cases() -> Iterator[Case]:
    """Every case whose command line this test understands."""
    for path in sorted(CORPUS.glob("*/case.json")) if CORPUS.exists() else ():
        data = json.loads(path.read_text())
        if any(word.startswith("-") for word in data.get("config_args", ())):
            continue
        options = understood(data.get("args", []))
        if options is None:
            continue
        yield Case(
            name=path.parent.name, options=options, environ=data.get("env", {}),
            services=tuple(data.get("config_args", ())), below=data.get("cwd", "."),
        )  # fmt: skip


def laid(case: Case, directory: Path) -> LoadOptions:
    """Copies the case below the directory; the options with which it is loaded there."""
    root = directory / case.name
    shutil.copytree(CORPUS / case.name, root, symlinks=True)
    for path in root.iterdir():
        if OWN.fullmatch(path.name):
            path.unlink()
    cwd = os.path.normpath(root / case.below)

    def placed(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("$PROJECT_DIR", cwd)
        return tuple(placed(v) for v in value) if isinstance(value, tuple) else value

    environ = {"HOME": HOME, "PWD": cwd, **{k: placed(v) for k, v in case.environ.items()}}
    options = {key: placed(value) for key, value in case.options.items()}
    return LoadOptions(cwd=cwd, environ=environ, **options)


def named(text: str, case: Case, directory: Path) -> str:
    """The text with the recorded names for the case's directories."""
    root = directory / case.name
    cwd = os.path.normpath(root / case.below)
    names = [(cwd, "$PROJECT_DIR"), (str(root), "$CASE_ROOT"), (str(directory), "$PROJECT_PARENT")]
    for place, name in names:
        text = re.sub(re.escape(place) + r"(?![\w.-])", name, text)
    return text
