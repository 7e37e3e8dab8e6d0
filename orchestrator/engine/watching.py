"""`watch` and `up --watch`: what has changed here is brought into the containers.

Listens, folds bursts into one piece of work and does it; `watchrules` says what a change means.  A
failure is told and ends nothing: the next save may be better.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Self

from orchestrator.dataclass import asdict
from orchestrator.engine import building, lifecycle, reconcile, syncing
from orchestrator.engine.buildfile import BuildOptions
from orchestrator.engine.imagestore import Images
from orchestrator.engine.treewatch import TreeWatch
from orchestrator.engine.watchrules import Work, decide, rules
from orchestrator.errors import PcomposeError, StateError
from orchestrator.events import HookOutput, Noted, Warned
from orchestrator.linux import fds
from orchestrator.linux.waiting import ready
from orchestrator.plan.policy import UpPolicy
from orchestrator.spec import select as selection
from orchestrator.state import store
from orchestrator.supervisor import client
from orchestrator.supervisor.protocol import ExecRequest

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace
    from orchestrator.events import Sink
    from orchestrator.spec.parts_model import Hook
    from orchestrator.state.observed import ObservedContainer

QUICK, SETTLED, FEW = 0.02, 0.1, 5
"""Seconds of silence that end a batch of few changes, and of many; how many few are."""


class Batch:
    """Changes that are worked on together: until nothing has come for a moment."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self._last = 0.0

    def add(self, paths: Iterable[str], *, now: float) -> None:
        """More has changed."""
        before = len(self.paths)
        self.paths |= set(paths)
        if len(self.paths) > before:
            self._last = now

    @property
    def due(self) -> float | None:
        """When it is whole; None while there is nothing."""
        if not self.paths:
            return None
        return self._last + (QUICK if len(self.paths) <= FEW else SETTLED)

    def take(self) -> set[str]:
        """What it holds; a new one begins."""
        found, self.paths = self.paths, set()
        return found


class Watching:
    """A watch on the files of a project; a context manager.  StateError where there is one."""

    def __init__(
        self, workspace: Workspace, services: Sequence[str], *, prune: bool, sink: Sink
    ) -> None:
        self._workspace, self._sink, self._prune = workspace, sink, prune
        project = workspace.runnable
        chosen = selection.select(project, services, with_dependencies=False).services
        skipped: list[str] = []
        self._rules = rules(project, services or chosen, skipped=skipped)
        for message in skipped:
            sink(Warned(message=message))
        self._stop, self._stopper = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._lock: int | None = None
        self._tree: TreeWatch | None = None

    def __enter__(self) -> Self:
        name = self._workspace.name
        path = os.path.join(self._workspace.layout.project(name), "watch.lock")
        self._lock = fds.lock(path, wait=False)
        if self._lock is None:
            raise StateError(f'cannot take exclusive lock for project "{name}": it is watched '
                             "already")
        roots = dict.fromkeys(rule.root for rule in self._rules)
        self._tree = TreeWatch(roots, enters=lambda p: any(r.enters(p) for r in self._rules))
        return self

    def __exit__(self, *exc: object) -> None:
        if self._tree is not None:
            self._tree.close()
        for fd in (self._lock, self._stop, self._stopper):
            if fd is not None:
                os.close(fd)

    def end(self) -> None:
        """Let `run` return; may be called from another thread."""
        os.write(self._stopper, b"!")

    def run(self) -> None:
        """Watch until `end`."""
        assert self._tree is not None
        self._await_others()
        self._safely(self._initial)
        self._note("Watch enabled")
        batch = Batch()
        while not self._is_ended(batch.due):
            changed = self._tree.read()
            batch.add((p for p in changed if any(r.covers(p) for r in self._rules)),
                      now=time.monotonic())  # fmt: skip
            if batch.due is not None and batch.due <= time.monotonic():
                self._safely(partial(self._do, decide(batch.take(), self._rules)))
        self._note("Watch disabled")

    def _await_others(self) -> None:
        """An `up` beside us is not interrupted in its starts, and what it starts gets its files."""
        name = self._workspace.name
        lock = store.project_lock(self._workspace.layout, name, command="pcompose watch", wait=True)
        lock.close()

    def _is_ended(self, due: float | None) -> bool:
        """Waits for a change or for `due`; whether somebody called `end`."""
        left = None if due is None else max(due - time.monotonic(), 0.0)
        assert self._tree is not None
        return self._stop in ready([self._stop, self._tree.fileno()], timeout=left)[0]

    def _note(self, text: str) -> None:
        self._sink(Noted(message=text))

    def _safely(self, action: Callable[[], None]) -> None:
        try:
            action()
        except PcomposeError as exc:
            self._sink(Warned(message=exc.message))

    # ---- what is done

    def _initial(self, services: Sequence[str] = ()) -> None:
        """Bring over what the rules that ask for it cover."""
        for rule in self._rules:
            if rule.initial_sync and rule.syncs and (not services or rule.service in services):
                paths = {p: rule.inside(p) for p in syncing.files(rule.root) if rule.covers(p)}
                self._sync(rule.service, paths)

    def _do(self, work: Work) -> None:
        if work.rebuild:
            self._rebuild(work.rebuild)
        for service, paths in work.sync.items():
            count = f"{len(paths)} change{'s were' if len(paths) > 1 else ' was'}"
            self._note(f'Syncing service "{service}" after {count} detected')
            self._sync(service, paths)
        if work.restart:
            lifecycle.restart(self._workspace, work.restart, timeout=None, dependents=False,
                              sink=self._sink)  # fmt: skip
            self._note(f"service(s) {json.dumps(work.restart)} restarted")
        for rule in work.exec:
            for container in self._running(rule.service):
                assert rule.exec is not None
                self._exec(container, rule.exec)

    def _running(self, service: str) -> list[ObservedContainer]:
        found = self._workspace.observe().of_service(service)
        return [c for c in found if c.is_running]

    def _sync(self, service: str, paths: Mapping[str, str]) -> None:
        for container in self._running(service):
            syncing.sync(container, paths)

    def _rebuild(self, services: list[str]) -> None:
        shown = json.dumps(services)
        self._note(f"Rebuilding service(s) {shown} after changes were detected...")
        before = self._images(services)
        options = BuildOptions(environ=self._workspace.choice.environ)
        building.build(self._workspace, services, options, sink=self._sink)
        self._note(f"service(s) {shown} successfully built")
        policy = UpPolicy(services=tuple(services), recreate="force", build="never",
                          recreate_dependencies="never")  # fmt: skip
        reconcile.up(self._workspace, policy, wait=False, wait_timeout=None, sink=self._sink)
        if self._prune:
            images = Images(self._workspace.layout)
            images.prune([image for image in images.prunable() if image.id in before])
        self._initial(services)

    def _images(self, services: Sequence[str]) -> set[str]:
        containers = (c for s in services for c in self._workspace.observe().of_service(s))
        return {c.record.image_id for c in containers}

    def _exec(self, container: ObservedContainer, hook: Hook) -> None:
        """Run the command and tell its output; a failure is told too."""
        record = container.record
        request = ExecRequest(
            container=record.id, argv=hook.command or (), user=hook.user or "",
            environment={k: v or "" for k, v in hook.environment.items()},
            cwd=hook.working_dir or "", privileged=hook.privileged,
        )  # fmt: skip
        reader, writer = os.pipe2(os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        connection = client.open_client(self._workspace.layout, self._workspace.name)
        try:
            connection.request("exec", fds=(null, writer, writer), **asdict(request))
            os.close(writer)
            with os.fdopen(reader, encoding="utf-8", errors="replace") as output:
                for line in output:
                    self._sink(HookOutput(name=record.name, service=record.service,
                                          index=record.index, text=line.rstrip("\n")))  # fmt: skip
            code = connection.result().get("exit_code")
        finally:
            os.close(null)
            connection.close()
        if code != 0:
            self._sink(Warned(message=f"{record.name}: {' '.join(request.argv)} ended with exit "
                                      f"code {code}"))  # fmt: skip
