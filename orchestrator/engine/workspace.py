"""Workspace: the project that a command means, found by name or by its files.

Loads the files at most once and only when somebody asks for what they say.  Reads; changes nothing.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

from orchestrator import names
from orchestrator.dataclass import dataclass, field, replace
from orchestrator.errors import SpecError, UsageError
from orchestrator.state.layout import Layout

if TYPE_CHECKING:
    from orchestrator.engine.applications import Applications
    from orchestrator.spec.inputs import LoadOptions
    from orchestrator.spec.model import Project
    from orchestrator.state.observed import Observed


def given_environment() -> dict[str, str]:
    """The variables this process was started with: Python adds one in the C locale (PEP 538)."""
    found = dict(os.environ)
    if found.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        with open("/proc/self/environ", "rb") as file:
            if not any(entry.startswith(b"LC_CTYPE=") for entry in file.read().split(b"\0")):
                del found["LC_CTYPE"]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The root flags: which files, which project."""

    files: tuple[str, ...] = ()
    project_directory: str | None = None
    project_name: str | None = None
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    lenient: bool = False
    """Warn about keys that do not work yet instead of refusing them."""
    compatibility: bool = False
    """Names of containers have `_` between their parts."""
    all_resources: bool = False
    """Also make networks and volumes that no service uses."""
    private: bool = False
    """Nothing has a name that the files have chosen for the whole machine."""
    insecure_registries: tuple[str, ...] = ()
    """Hosts that need no certificate, nor TLS."""
    parallel: int = 0
    """How many things are done at once; 0 and below: all that can be."""
    cwd: str = ""
    stdin: bytes | None = None
    """The content of the file `-`; None: standard input is read."""
    environ: Mapping[str, str] = field(default_factory=given_environment)


_TOP = re.compile(r"^(?:services|name)\s*:", re.MULTILINE)
_ANY_NAME = re.compile(r"""^(?:name|"name"|'name'|\?|<<|\{|---|%|!|&)""", re.MULTILINE)
_PLAIN_NAME = re.compile(
    r"""^name[ \t]*:[ \t]+(["']?)([A-Za-z0-9_-]+)\1[ \t]*(?:#.*)?$""", re.MULTILINE
)


def glance(files: Iterable[str]) -> str | None:
    """The top-level `name` of block-style files without parsing them: 20 ms saved for `ps`, `logs`
    and `exec`.  Empty: they have none; None: a glance does not tell."""
    written = ""
    for file in files:
        if not os.path.isfile(file):  # a pipe can be read once, a device for ever
            return None
        try:
            with open(file, encoding="utf-8-sig") as stream:
                text = stream.read()
        except (OSError, ValueError):
            return None
        plain = _PLAIN_NAME.findall(text)
        if not _TOP.search(text) or len(_ANY_NAME.findall(text)) != len(plain) or len(plain) > 1:
            return None
        written = plain[0][1] if plain else written
    return written


def check_project_name(name: str) -> str:
    """`name`, or UsageError where it cannot name a project."""
    if not names.is_project_name(name):
        proposal = names.normalise_project_name(name)
        raise UsageError(
            f'invalid project name "{name}": must consist only of lowercase alphanumeric '
            "characters, hyphens, and underscores as well as start with a letter or number",
            hint=f"for example {proposal}" if proposal else None,
        )
    return name


class Workspace:
    """One project of one user."""

    def __init__(self, choice: Choice, *, layout: Layout | None = None) -> None:
        self.choice = choice
        self.layout = layout or Layout.from_environment()

    @cached_property
    def load_options(self) -> LoadOptions:
        from orchestrator.spec.inputs import LoadOptions

        choice = self.choice
        return LoadOptions(
            files=choice.files, project_directory=choice.project_directory,
            project_name=choice.project_name, env_files=choice.env_files,
            profiles=choice.profiles, environ=choice.environ, cwd=choice.cwd or os.getcwd(),
            stdin=self._stdin() if "-" in choice.files else None,
            cache_dir=self.layout.cache(), fetch=self._fetch,
        )  # fmt: skip

    def _fetch(self, url: str) -> Sequence[str]:
        return self.applications.files(url)

    @cached_property
    def applications(self) -> Applications:
        """Those of registries that the files are, or include."""
        from orchestrator.engine.applications import Applications

        return Applications(self.choice, self.layout)

    def _stdin(self) -> BinaryIO:
        given = self.choice.stdin
        if given is None:
            return sys.stdin.buffer
        from io import BytesIO

        return BytesIO(given)

    @property
    def included(self) -> list[str]:
        """The `oci://…` that the files include; not those that are the files."""
        _ = self.project
        urls = self.applications.urls if "applications" in self.__dict__ else []
        return [url for url in urls if url not in self.choice.files]

    def trusting(self, image: str) -> Workspace:
        """The same, where the registry of this image needs no certificate, nor TLS."""
        from orchestrator.image.reference import parse

        hosts = (*self.choice.insecure_registries, parse(image.removeprefix("oci://")).domain)
        return Workspace(replace(self.choice, insecure_registries=hosts), layout=self.layout)

    @property
    def separator(self) -> str:
        """Between the parts of a container's name."""
        return "_" if self.choice.compatibility else "-"

    @cached_property
    def project(self) -> Project:
        """What the files say."""
        from orchestrator.spec.load import load

        loaded = load(self.load_options)
        if "applications" in self.__dict__:
            loaded = replace(loaded, warnings=(*self.applications.warnings, *loaded.warnings))
        if self.choice.private:
            from orchestrator.engine.privacy import private

            return private(loaded)
        return loaded

    @cached_property
    def runnable(self) -> Project:
        """What the files say, once all of it can be carried out here.  SpecError otherwise; only
        warnings with --lenient."""
        from orchestrator.engine import building
        from orchestrator.spec.runnable import runnable

        return building.named(runnable(self.project, lenient=self.choice.lenient))

    @cached_property
    def name(self) -> str:
        """The project's name; no YAML is read where a glance is enough."""
        return self.glanced_name or self.project.name

    @cached_property
    def is_named(self) -> bool:
        """Whether the name was given, so that no file is needed."""
        choice = self.choice
        return bool(choice.project_name or choice.environ.get("COMPOSE_PROJECT_NAME"))

    @cached_property
    def glanced_name(self) -> str | None:
        """The name as flags, environment or a glance at the files tell it; None where only the
        loader can say."""
        choice = self.choice
        given = choice.project_name or choice.environ.get("COMPOSE_PROJECT_NAME")
        if given:
            return check_project_name(given)
        from orchestrator.spec import inputs

        found = inputs.gather(self.load_options)
        written = glance(found.files)
        if written is None:
            return None
        return inputs.project_name(
            self.load_options, found.environment, written=written, working_dir=found.working_dir
        )

    def declared(self) -> Project | None:
        """What the files say; None where there is no file and the project is known by name."""
        if self.is_named and not self.has_file():
            return None
        return self.project

    def has_file(self) -> bool:
        """Whether a Compose file is found."""
        from orchestrator.spec import inputs

        if self.choice.files:
            return True
        try:
            return bool(inputs.gather(self.load_options).files)
        except SpecError:
            return False

    def observe(self) -> Observed:
        """What is."""
        from orchestrator.state.observe import observe

        return observe(self.layout, self.name)
