"""Secrets and configs: where their content comes from, and the files a container gets.

`Contents` reads each once: a file, a variable, the text in the Compose file, or the store of this
user (`external: true`).  Its digest goes into the service's configuration, so a changed content
makes exactly the containers of its users again.  No content is in a plan, a record or an event.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from orchestrator.dataclass import replace
from orchestrator.engine.places import spot
from orchestrator.errors import SpecError, StateError
from orchestrator.runtime.spec import File
from orchestrator.state import material

if TYPE_CHECKING:
    from orchestrator.spec.model import Config, Grant, Project, Secret, Service
    from orchestrator.state.layout import Layout
    from orchestrator.state.observed import Observed

Section = Literal["secrets", "configs"]
SECTIONS: tuple[Section, Section] = ("secrets", "configs")
MODE = 0o444
_MISSING = "missing"
_RELATIVE_TO = {"secrets": "/run/secrets", "configs": "/"}


class Contents:
    """What the secrets and configs of one project contain, read when it is first asked for."""

    def __init__(self, project: Project, layout: Layout) -> None:
        self._project, self._layout = project, layout
        self._read: dict[tuple[Section, str], bytes | Fault] = {}

    def digested(self, project: Project) -> Project:
        """The project with the digest of its content in every grant."""
        return replace(
            project,
            services={name: self._digested(s) for name, s in project.services.items()},
            disabled={name: self._digested(s) for name, s in project.disabled.items()},
        )  # fmt: skip

    def _digested(self, service: Service) -> Service:
        if not service.secrets and not service.configs:
            return service
        return replace(
            service,
            secrets=tuple(self._grant("secrets", grant) for grant in service.secrets),
            configs=tuple(self._grant("configs", grant) for grant in service.configs),
        )  # fmt: skip

    def _grant(self, section: Section, grant: Grant) -> Grant:
        found = self._content(section, grant.source)
        # what cannot be read is said by `keep`, where a container is made with it
        digest = material.digest(found) if isinstance(found, bytes) else _MISSING
        return replace(grant, digest=digest)

    def keep(self, project: Project, services: Iterable[str]) -> None:
        """Write what new containers of these services get to where they get it from.  SpecError
        with the place of everything that cannot be read or does not fit."""
        problems: list[tuple[str, str, str | None]] = []
        wanted: set[bytes] = set()
        for name in services:
            service = project.services[name]
            problems += _misfits(service, project)
            for section, _, grant in _grants(service):
                found = self._content(section, grant.source)
                if isinstance(found, Fault):
                    where = spot(project, section, grant.source)
                    problems.append((where, found.message, found.hint))
                else:
                    wanted.add(found)
        if problems:
            problems = list(dict.fromkeys(problems))
            raise SpecError(problems[0][1], hint=problems[0][2], problems=tuple(problems))
        for content in wanted:
            material.keep(self._layout, project.name, content)

    def read(self, section: Section, key: str) -> bytes:
        """The content.  SpecError with the place where it is declared."""
        found = self._content(section, key)
        if isinstance(found, Fault):
            raise SpecError(found.message, hint=found.hint,
                            where=spot(self._project, section, key))  # fmt: skip
        return found

    def _content(self, section: Section, key: str) -> bytes | Fault:
        if (section, key) not in self._read:
            declared = getattr(self._project, section)[key]
            self._read[section, key] = _content(section, declared, self._layout)
        return self._read[section, key]


class Fault:
    """Why a content cannot be had."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message, self.hint = message, hint


def _content(section: Section, declared: Secret | Config, layout: Layout) -> bytes | Fault:
    what = f"{section[:-1]} {declared.key}"
    text = getattr(declared, "content", None)
    if text is not None:
        return str(text).encode("utf-8", "surrogateescape")
    if declared.file is not None:
        return _file(declared.file, what)
    if declared.environment is not None:
        if declared.value is None:
            return Fault(f"{what}: variable {declared.environment} is not set",
                         f"export {declared.environment}, or put it into the .env file")
        return declared.value.encode("utf-8", "surrogateescape")
    directory = layout.secrets() if section == "secrets" else layout.configs()
    found = material.read(directory, declared.name)
    if found is None:
        return Fault(f"external {what}: this machine has none called {declared.name}",
                     f"make it: pcompose {section} create {declared.name} FILE")
    return found


def _file(path: str, what: str) -> bytes | Fault:
    try:
        # O_NONBLOCK: a FIFO without a writer must not hold us up
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            material.check_size(os.fstat(file.fileno()).st_size, path)
            return file.read()
    except OSError as exc:
        return Fault(f"{what}: cannot read {path}: {exc.strerror}")
    except StateError as exc:
        return Fault(f"{what}: {exc.message}", exc.hint)


def _grants(service: Service) -> Iterator[tuple[Section, int, Grant]]:
    for section in SECTIONS:
        for number, grant in enumerate(getattr(service, section)):
            yield section, number, grant


def target_of(section: str, grant: Grant) -> str:
    """Where the container finds it."""
    return posixpath.normpath(
        posixpath.join(_RELATIVE_TO[section], grant.target or grant.source)
    ).replace("//", "/")


def _misfits(service: Service, project: Project) -> Iterator[tuple[str, str, str | None]]:
    taken = {mount.target: "a volume" for mount in service.volumes}
    for section, number, grant in _grants(service):
        where = spot(project, "services", service.name, section, number)
        target = target_of(section, grant)
        if target in taken:
            yield where, f"{target} is already the target of {taken[target]}", "choose another"
        taken[target] = f"{section[:-1]} {grant.source}"
        for key in ("uid", "gid"):
            value = getattr(grant, key)
            if value and not (value.isascii() and value.isdigit() and int(value) < 1 << 32):
                yield where, f"{key} {value!r} of {section[:-1]} {grant.source} is no number", None


def files(service: Service, *, project: Project, layout: Layout) -> tuple[File, ...]:
    """What a container of a digested service gets; pure."""
    return tuple(
        File(
            source=material.path_of(layout, project.name, grant.digest),
            target=target_of(section, grant), mode=MODE if grant.mode is None else grant.mode,
            uid=int(grant.uid) if grant.uid else None, gid=int(grant.gid) if grant.gid else None,
            origin=project.where("services", service.name, section, number),
        )
        for section, number, grant in _grants(service)
    )  # fmt: skip


def sweep(layout: Layout, project: str, observed: Observed) -> None:
    """Remove the contents that no container was made with; under the project's lock."""
    if not os.path.isdir(layout.material(project)):
        return
    specs = [container.record.spec for container in observed.containers]
    used = {file["source"] for spec in specs for file in spec.get("files", ())}
    material.sweep(layout, project, used=used)


# The store of this user


def _directory(section: Section) -> str:
    from orchestrator.state.layout import Layout

    layout = Layout.from_environment()
    return layout.secrets() if section == "secrets" else layout.configs()


def create(section: Section, name: str, data: bytes) -> None:
    """Put a new entry into the store; StateError where the name is taken."""
    material.create(_directory(section), name, data)


def remove(section: Section, name: str) -> bool:
    """Remove an entry; False where there was none.  Containers keep what they were made with."""
    return material.remove(_directory(section), name)


def entries(section: Section) -> list[material.Stored]:
    """All entries by name."""
    return material.entries(_directory(section))
