"""What is done with a spoiled project: everything that reads it.  Only a PcomposeError may come
out, and what is printed has to read back as the same."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

from orchestrator.errors import InternalError, PcomposeError
from orchestrator.spec import dotenv, dump, hashing, template
from orchestrator.spec.inputs import MAIN_FILES
from orchestrator.spec.load import LoadOptions, load
from orchestrator.spec.model import Project
from orchestrator.spec.runnable import runnable
from orchestrator.spec.select import select
from tests.fuzzing.mutation import Files

ENVIRON = {"HOME": "/home/fuzz", "A": "1", "COMPOSE_PROFILES": "p"}


LARGEST = 1 << 20
"""Characters of what `config` prints that are read back; more, aliases written out, may be beyond
what is read at all."""


class Wrong(Exception):
    """Something came out that must not."""


def lay(files: Files, directory: Path) -> None:
    """Writes the files; lone surrogates become bytes that are no UTF-8."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))


def exercise(files: Files, directory: Path) -> bool:
    """Everything with one project; whether it was accepted.  Raises what must not come out."""
    lay(files, directory)
    for name, text in files.items():
        if name.endswith(".env"):
            _variables(text)
    options = LoadOptions(cwd=str(directory), environ=ENVIRON, files=_chosen(files))
    try:
        project = load(options)
        whole = select(project, [], with_dependencies=True)
        text = dump.to_yaml(whole)
        runnable(whole, lenient=True)
    except PcomposeError as exc:
        told(exc)
        return False
    _reads_back(whole, text, directory)
    return True


def _chosen(files: Files) -> tuple[str, ...]:
    """Some file, where none has the name that is looked for."""
    names = [name for name in files if name.endswith((".yaml", ".yml"))]
    return () if set(MAIN_FILES) & set(names) else tuple(names[:1])


def _variables(text: str) -> None:
    for parse in (dotenv.parse, dotenv.parse_raw):
        try:
            parse(text, lookup=ENVIRON.get)
        except dotenv.DotenvError as exc:
            if exc.line < 1 or not exc.message:
                raise Wrong("an error of a .env file without a place") from exc
    try:
        template.substitute(text, ENVIRON.get, missing=lambda name: None)
    except (template.TemplateError, template.RequiredError):
        return


def told(exc: PcomposeError) -> None:
    if isinstance(exc, InternalError):
        raise Wrong("an error that is our own fault") from exc
    if not str(exc).strip():
        raise Wrong("an error that says nothing") from exc


def _reads_back(project: Project, text: str, directory: Path) -> None:
    """`config | config -f -` is a fixed point, in text and in hash; but for two things that the
    reference prints so that they read as others: `build: ''` is a build without a context, which
    is then the directory, and a secret's `target: ''` is left out, which is then the usual one."""
    builds = [s.build for s in project.services.values() if s.build is not None]
    if len(text) > LARGEST or not all(build.context for build in builds):
        return
    again = read_back(text, directory)
    if hashes(again) != hashes(project):
        raise Wrong("what `config` prints has another hash")
    said = as_json(project)
    grants = [grant for s in said["services"].values() for grant in s.get("secrets", ())]
    is_same = dump.to_yaml(again) == text and as_json(again) == said
    if not is_same and all("target" in grant for grant in grants):
        raise Wrong("what `config` prints does not read back as the same")


def read_back(text: str, directory: Path) -> Project:
    """The project that `config` printed as this text."""
    stream = io.BytesIO(text.encode("utf-8", "surrogatepass"))
    options = LoadOptions(cwd=str(directory), environ={"HOME": "/home/fuzz"}, files=("-",),
                          stdin=stream, profiles=("*",), env_files=(os.devnull,))  # fmt: skip
    return select(load(options), [], with_dependencies=True)


def as_json(project: Project) -> dict[str, Any]:
    """What `config --format json` prints."""
    found: dict[str, Any] = json.loads(dump.to_json(project))
    return found


def hashes(project: Project) -> dict[str, str]:
    """The hash of every service."""
    found = {}
    for name, service in project.services.items():
        tree = hashing.config_tree(service)
        json.dumps(tree, allow_nan=False)
        found[name] = hashing.config_hash(tree)
    return found
