"""develop.watch: which change of a file means what for which service.

Pure, but for the reading of .dockerignore files.  A `Rule` knows its paths; `decide` folds all that
has changed into what is to be done, each service once.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.build import ignore
from orchestrator.dataclass import dataclass, field
from orchestrator.engine.places import spot
from orchestrator.errors import SpecError, UsageError

if TYPE_CHECKING:
    from orchestrator.spec.build_model import WatchAction, WatchRule
    from orchestrator.spec.model import Project, Service
    from orchestrator.spec.parts_model import Hook

SCRATCH = (".git", "**/.git", "**/*~", "**/*.swp", "**/*.swx", "**/*.swo", "**/4913", "**/.#*",
           "**/#*#", "**/.DS_Store", "**/*___jb_tmp___", "**/*___jb_old___")  # fmt: skip
"""What editors and git make beside what is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One entry of `develop.watch`."""

    service: str
    number: int
    action: WatchAction
    root: str
    """Absolute, without links."""
    is_file: bool
    target: str
    """In the container; empty for rebuild and restart."""
    exec: Hook | None
    initial_sync: bool
    ignored: ignore.Rules
    included: ignore.Rules
    context: str = ""
    """Directory that `context_ignored` counts from; empty: there is none."""
    context_ignored: ignore.Rules = field(default_factory=ignore.Rules)

    @property
    def syncs(self) -> bool:
        return self.action in ("sync", "sync+restart", "sync+exec")

    def covers(self, path: str) -> bool:
        """Whether a change of the absolute path is one for this rule."""
        if self.is_file:
            return path == self.root
        inner = below(self.root, path)
        if not inner or self._is_ignored(path, inner):
            return False
        return not self.included or self.included.ignores(inner)

    def enters(self, directory: str) -> bool:
        """Whether anything below the directory may be covered: others need not be watched."""
        inner = below(self.root, directory)
        if inner is None or self.is_file:
            return False
        return not inner or not self._is_ignored(directory, inner) or \
            self.ignored.may_hold(inner) or self.context_ignored.may_hold(inner)

    def _is_ignored(self, path: str, inner: str) -> bool:
        if self.ignored.ignores(inner):
            return True
        outer = below(self.context, path) if self.context else None
        return bool(outer) and self.context_ignored.ignores(outer or "")

    def inside(self, path: str) -> str:
        """Where the path is in the container."""
        if self.is_file:
            return self.target
        return posixpath.join(self.target, below(self.root, path) or "").rstrip("/")


def below(root: str, path: str) -> str | None:
    """The path as seen from the directory; "" for itself, None where it is not below."""
    if path == root:
        return ""
    prefix = root.rstrip("/") + "/"
    return path[len(prefix):] if path.startswith(prefix) else None


def rules(project: Project, services: Iterable[str], *, skipped: list[str]) -> list[Rule]:
    """The rules of the services; UsageError where there are none.  What is a bind mount of the
    container anyway is left out and told in `skipped`."""
    found = []
    for name in services:
        service = project.services[name]
        for number, entry in enumerate(service.develop.watch if service.develop else ()):
            path = ("services", name, "develop", "watch", number)
            if entry.action == "rebuild" and service.build is None:
                text = f'can\'t watch service "{name}" with action rebuild without a build context'
                raise SpecError(text, where=spot(project, *path))
            mounted = _mounted(service, entry)
            if mounted:
                skipped.append(f"{entry.path} of service {name} is not watched: {mounted} is a "
                               f"bind mount of it ({project.where(*path)})")
                continue
            found.append(_rule(project, service, number, entry))
    if not found and not skipped:
        raise UsageError("none of the selected services is configured for watch, consider setting "
                         "a 'develop' section")
    return found


def _mounted(service: Service, entry: WatchRule) -> str:
    """The bind mount that shows the path in the container already; restart and rebuild are meant
    all the same."""
    if entry.action in ("rebuild", "restart"):
        return ""
    sources = (m.source for m in service.volumes if m.type == "bind" and m.source)
    return next((s for s in sources if below(s, entry.path) is not None), "")


def _rule(project: Project, service: Service, number: int, entry: WatchRule) -> Rule:
    root = os.path.realpath(entry.path)
    place = spot(project, "services", service.name, "develop", "watch", number)
    if not os.path.exists(root):
        raise SpecError(f"cannot watch {entry.path}: it does not exist", where=place)
    try:
        ignored = patterns((*SCRATCH, *entry.ignore))
        included = patterns(entry.include)
        context, context_ignored = _context(service)
    except ValueError as exc:
        raise SpecError(f"services.{service.name}.develop.watch: {exc}", where=place) from exc
    return Rule(
        service=service.name, number=number, action=entry.action, root=root,
        is_file=not os.path.isdir(root), target=entry.target or "", exec=entry.exec,
        initial_sync=entry.initial_sync, ignored=ignored, included=included, context=context,
        context_ignored=context_ignored,
    )  # fmt: skip


def patterns(texts: Iterable[str]) -> ignore.Rules:
    """The rules of patterns; ValueError."""
    return ignore.Rules(filter(None, map(ignore.rule, texts)))


def _context(service: Service) -> tuple[str, ignore.Rules]:
    """The build context and what its .dockerignore leaves out; that of the Dockerfile goes first.
    """
    build = service.build
    if build is None or not build.context or not os.path.isdir(build.context):
        return "", ignore.Rules()
    context = os.path.realpath(build.context)
    name = build.dockerfile or "Dockerfile"
    for file in (f"{name}.dockerignore", ".dockerignore"):
        try:
            with open(os.path.join(context, file), encoding="utf-8") as stream:
                return context, ignore.read(stream.read())
        except OSError:
            continue
    return context, ignore.Rules()


@dataclass(slots=True, kw_only=True)
class Work:
    """What a batch of changes means."""

    rebuild: list[str] = field(default_factory=list)
    """Services; nothing else is done for them."""
    sync: dict[str, dict[str, str]] = field(default_factory=dict)
    """Service -> path here -> path in its containers."""
    restart: list[str] = field(default_factory=list)
    exec: list[Rule] = field(default_factory=list)
    """Each once."""

    def __bool__(self) -> bool:
        return bool(self.rebuild or self.sync or self.restart or self.exec)


def decide(changed: Iterable[str], known: Iterable[Rule]) -> Work:
    """What the changed paths mean; a rebuild makes everything else of its service needless."""
    paths, known = sorted(set(changed)), list(known)
    work = Work()
    for rule in known:
        if rule.action == "rebuild" and any(map(rule.covers, paths)):
            _once(work.rebuild, rule.service)
    for rule in known:
        covered = [path for path in paths if rule.covers(path)]
        if not covered or rule.service in work.rebuild:
            continue
        if rule.syncs:
            sync = work.sync.setdefault(rule.service, {})
            sync |= {path: rule.inside(path) for path in covered}
        if rule.action in ("restart", "sync+restart"):
            _once(work.restart, rule.service)
        if rule.action == "sync+exec":
            work.exec.append(rule)
    return work


def _once(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)
