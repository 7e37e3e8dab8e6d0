"""Wish: which stack a test asks for, from marker, options and ini file.

Knows pytest's nodes and nothing of stacks.  A wish that makes no sense is pytest's UsageError.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Scope = Literal["function", "class", "module", "package", "session"]
Share = Literal["worker", "all"]
Ports = Literal["auto", "none", "fixed"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a stack is made of."""

    files: tuple[str, ...] = ()
    """Absolute; empty: `text`."""
    text: str = ""
    directory: str
    """What is relative in `text` is relative to it."""
    services: tuple[str, ...] = ()
    """With their dependencies; empty: all."""
    profiles: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables for the files, before those of the environment."""
    ports: Ports = "auto"
    wait: bool = True
    share: Share = "worker"

    def key(self) -> str:
        """The same for the same wish."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return json.dumps(values, sort_keys=True)


def seconds(text: str) -> float:
    """The seconds of `90s`, `30m` or `1.5h`; ValueError, as argparse wants it."""
    units = {"s": 1, "m": 60, "h": 3600}
    number = float(text[:-1] if text[-1:] in units else text)
    found = number * units.get(text[-1:], 1)
    if not 0 < found < float("inf"):
        raise ValueError(text)
    return found


def of_marker(node: pytest.Item | pytest.Collector, *, scope: Scope) -> tuple[Wish, Scope]:
    """The wish that the nearest marker of the node says, else that of the ini file, and how wide
    the stack is shared; `scope` is that of the fixture."""
    marker = node.get_closest_marker("compose")
    said = _marked(marker) if marker is not None else {}
    share = _one_of("share", said.pop("share", "worker"), ("worker", "all"))
    wanted = _one_of("scope", said.pop("scope", scope), SCOPES)
    if share == "all":
        wanted = "session"
    if SCOPES.index(wanted) < SCOPES.index(scope):
        raise pytest.UsageError(
            f"{node.nodeid}: the compose marker asks for scope {wanted!r}, and compose_project has "
            f"scope {scope!r} (--pcompose-scope, pcompose_scope)"
        )
    wish = make(node, share=share, **said)
    return wish, wanted


def _marked(marker: pytest.Mark) -> dict[str, Any]:
    """The marker's words: a file may come first; the rest are those of `make`."""
    said = dict(marker.kwargs)
    if len(marker.args) > 1:
        raise pytest.UsageError(f"the compose marker takes one file, and has {marker.args}")
    if marker.args:
        said["file"] = marker.args[0]
    known = {"file", "text", "services", "profiles", "env", "ports", "wait", "scope", "share"}
    if unknown := sorted(set(said) - known):
        raise pytest.UsageError(f"the compose marker does not take {', '.join(unknown)}")
    return said


def _one_of(what: str, value: object, allowed: tuple[str, ...]) -> Any:  # one of the literals
    if value not in allowed:
        raise pytest.UsageError(f"compose: {what} is {' or '.join(allowed)}, not {value!r}")
    return value


def make(
    node: pytest.Item | pytest.Collector, *, file: str | os.PathLike[str] | None = None,
    files: Sequence[str | os.PathLike[str]] = (), text: str = "", services: Sequence[str] = (),
    env: Mapping[str, str] | None = None, profiles: Sequence[str] = (), wait: bool = True,
    share: Share = "worker", ports: Ports | None = None,
) -> Wish:  # fmt: skip
    """The wish of `compose_up`, the marker and `compose_fixture`: a file (relative to the test's
    directory, then to the root directory), or the text of one, or what the ini file names, or the
    nearest compose.yaml above the test."""
    if file is not None and text:
        raise pytest.UsageError("compose: file and text exclude each other")
    if isinstance(services, str) or isinstance(profiles, str):
        raise pytest.UsageError("compose: services and profiles are lists of names")
    directory = node.path if node.path.is_dir() else node.path.parent
    several = tuple(_existing(path, (directory, node.config.rootpath)) for path in files)
    chosen = ports or _one_of("ports", _said(node.config, "ports") or "auto", get_args(Ports))
    return Wish(
        files=() if text else several or _files(node, directory, file), text=text,
        directory=str(directory), services=tuple(services), profiles=tuple(profiles),
        env=dict(env or {}), ports=cast("Ports", chosen), wait=wait, share=share,
    )  # fmt: skip


def _said(config: pytest.Config, name: str) -> Any:  # as declared in plugin.py
    """An option, or the line of the ini file of the same name."""
    return config.getoption(f"pcompose_{name}") or config.getini(f"pcompose_{name}")


def _files(
    node: pytest.Item | pytest.Collector, directory: Path, file: str | os.PathLike[str] | None
) -> tuple[str, ...]:
    root = node.config.rootpath
    if file is not None:
        return (_existing(file, (directory, root)),)
    named = node.config.getoption("pcompose_file") or node.config.getini("pcompose_file")
    if named:
        return tuple(_existing(path, (root,)) for path in named)
    for place in (directory, *directory.parents):
        for name in FILES:
            if (place / name).is_file():
                return (str(place / name),)
        if place == root:
            break
    raise pytest.UsageError(
        f"{node.nodeid}: which Compose file? There is no compose.yaml between {directory} and "
        f'{root}; name one: @pytest.mark.compose("path.yaml"), or pcompose_file in the ini file'
    )


def _existing(file: str | os.PathLike[str], places: tuple[Path, ...]) -> str:
    for place in places:
        if (place / file).is_file():
            return str(place / file)
    looked = ", ".join(str(place) for place in places)
    raise pytest.UsageError(f"compose: no file {os.fspath(file)!r} in {looked}")
