"""`publish`: the files of a project as an artifact in a registry, for `-f oci://…` and `include`.

What is written in them is published as it is written; whoever publishes is asked before paths of
this machine, values of environments or what looks like a secret become known to others.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, get_args

from orchestrator import __version__
from orchestrator.dataclass import dataclass, replace
from orchestrator.engine import pinning, pushing, registries
from orchestrator.engine.images import open_store, uses
from orchestrator.engine.interruption import noticed
from orchestrator.engine.places import fault
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import SpecError, UsageError
from orchestrator.events import Progress, Sink, Status
from orchestrator.image import host
from orchestrator.image import reference as references
from orchestrator.image.artifact import File, Version
from orchestrator.image.registry import application, crew
from orchestrator.image.registry.copying import Copier
from orchestrator.image.registry.report import Report
from orchestrator.plan.explain import looks_secret
from orchestrator.spec import bundle, dump

if TYPE_CHECKING:
    from orchestrator.image.manifest import Descriptor
    from orchestrator.image.reference import Reference
    from orchestrator.image.registry.client import Repository, Session
    from orchestrator.spec.model import Project

DIGESTS = "image-digests.yaml"
_ASSIGNED = re.compile(r"""([\w.-]+)["']?[ \t]*[=:][ \t]*["']?([^\s"'$#&*{\[][^\s]{3,})""")
_TELLING = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}"
    r"|\bglpat-[\w-]{20}|\bxox[abprs]-[\w-]{10}|://[^\s:/@$]*:[^\s@$]+@"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """How a project is published."""

    with_env: bool = False
    """Also env files, and values of environments."""
    with_images: bool = False
    """Also the images of all services, copied beside the files."""
    pinned: bool = False
    """Also a file that pins the images to what they are now."""
    version: Version | None = None
    """Of the image specification; None: 1.1, and 1.0 where the registry does not take that."""


def parse_version(text: str) -> Version | None:
    """What --oci-version says; UsageError."""
    for version in get_args(Version):
        if text == version:
            return version  # type: ignore[no-any-return]  # get_args knows no types
    if text:
        raise UsageError(f'invalid value for --oci-version: "{text}"', hint="1.0 or 1.1")
    return None


def publish(
    workspace: Workspace, name: str, options: PublishOptions, *, agree: Callable[[str], bool],
    sink: Sink,
) -> str:
    """The digest under which the project is published; empty where one question of `agree` was
    not answered with yes."""
    reference = references.parse(name.removeprefix("oci://")).tagged()
    if reference.digest:
        raise UsageError(f"{name}: a digest is not chosen by who publishes", hint="give a tag")
    workspace = Workspace(replace(workspace.choice, profiles=("*",)), layout=workspace.layout)
    project = workspace.runnable
    _check(workspace.project, options)
    files = [File(name=item.name, role=item.role, data=item.data)
             for item in bundle.bundle(workspace.load_options, with_env=options.with_env)]
    if not all(agree(question) for question in _questions(project, files, options)):
        return ""
    pushing.push(workspace, (), ignore_failures=True, sink=sink)
    if options.pinned:
        pins = pinning.lock(pinning.pinned(workspace, workspace.project))
        text = dump.data_text(pins, as_json=False)
        files.append(File(name=DIGESTS, role="compose", data=text.encode()))
    return _Publication(workspace, reference, options, sink=sink).send(files, project)


def _check(project: Project, options: PublishOptions) -> None:
    """SpecError where nobody else could use what would be published."""
    problems: list[tuple[str, str, str | None]] = []
    for name, service in project.services.items():
        if service.build is not None and not service.image:
            error = fault(project, service, "build", f"service {name} has no image but only a build"
                          ", which cannot be published", hint="give it an `image`")
            problems += error.problems
        if service.environment and not options.with_env:
            error = fault(project, service, "environment", f"service {name} has variables, which "
                          "would be published", hint="--with-env publishes them")  # fmt: skip
            problems += error.problems
    if problems:
        raise SpecError(problems[0][1], problems=tuple(problems))


# ---- questions ----


def _questions(
    project: Project, files: Sequence[File], options: PublishOptions
) -> Iterator[str]:
    binds = [f"{name}: {mount.source}:{mount.target}" for name, s in project.services.items()
             for mount in s.volumes if mount.type == "bind"]  # fmt: skip
    if binds:
        yield _question("these bind mounts (what they contain is not published)", binds)
    secrets = [f"{file.name}:{line}: {text}" for file in files for line, text in _telling(file)]
    if secrets:
        yield _question("what looks like secrets", secrets)
    values = [f"{name}: {', '.join(sorted(s.environment))}"
              for name, s in project.services.items() if s.environment]  # fmt: skip
    if values and options.with_env:
        yield _question("these variables and what they are set to", values)


def _question(what: str, lines: Sequence[str]) -> str:
    return "\n".join([f"you are about to publish {what}:", *lines, "Are you ok to publish them?"])


def _telling(file: File) -> Iterator[tuple[int, str]]:
    """(line, what is there) of what looks like a secret, without the secret."""
    for number, line in enumerate(file.data.decode("utf-8", "replace").splitlines(), 1):
        assigned = _ASSIGNED.search(line)
        if assigned and looks_secret(assigned[1]):
            yield number, f"{assigned[1]}: ***"
        elif found := _TELLING.search(line):
            yield number, f"{found[0][:8]}…"


# ---- the work ----


class _Publication:
    """One artifact on its way."""

    def __init__(
        self, workspace: Workspace, reference: Reference, options: PublishOptions, *, sink: Sink
    ) -> None:
        self._choice, self._options, self._sink = workspace.choice, options, sink
        self._reference = reference
        self._store = open_store(workspace.layout)
        self._stop = crew.Stop()

    def send(self, files: Sequence[File], project: Project) -> str:
        """All of it; the digest of the artifact."""
        choice = self._choice
        with registries.open_session(choice.environ, insecure=choice.insecure_registries) as opened:
            def end() -> None:
                self._stop.set()
                opened.transport.close()

            self._tell("Publishing", "Working")
            try:
                with noticed(end):
                    digest = self._sent(opened, files, project)
            except BaseException:
                self._stop.set()
                self._tell("Error", "Error")
                raise
        self._tell("Published", "Done", details=digest[:19])
        return digest

    def _sent(self, session: Session, files: Sequence[File], project: Project) -> str:
        target = session.repository(self._reference, is_pushed=True)
        made = application.send(target, self._reference.tag, files, maker=__version__,
                                version=self._options.version, stop=self._stop)  # fmt: skip
        if self._options.with_images:
            images = self._copied(session, target, project)
            application.send_images(target, made, images, maker=__version__)
        return made.digest

    def _copied(
        self, session: Session, target: Repository, project: Project
    ) -> list[Descriptor]:
        names = dict.fromkeys(use.reference for service in project.services.values()
                              for use in uses(service).values())  # fmt: skip
        found = []
        for name in names:
            if host.is_host(name):
                continue
            reference = references.parse(name).tagged()
            report = Report(reference.familiar, self._sink, doing="Copying")
            copier = Copier(self._store, report=report, stop=self._stop)
            report.begin()
            found.append(copier.copy(session.repository(reference), target,
                                     reference.digest or reference.tag))  # fmt: skip
            report.end("Copied")
        return found

    def _tell(self, text: str, status: Status, *, details: str = "") -> None:
        self._sink(Progress(kind="Application", name=self._reference.familiar, text=text,
                            status=status, details=details, time=time.time()))  # fmt: skip
