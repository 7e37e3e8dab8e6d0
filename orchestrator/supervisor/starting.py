"""Starting: how a supervisor comes to be: a new interpreter, or the fork of a process that has
imported everything (`warm.py`), where this one keeps such a process.

Quick to import, as commands need it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from orchestrator.errors import SupervisorError
from orchestrator.linux import forkserver
from orchestrator.linux.waiting import ready

if TYPE_CHECKING:
    from orchestrator.state.layout import Layout

_READY = 3
"""The descriptor of a supervisor that says that it listens."""


def supervisor_argv(layout: Layout, project: str) -> list[str]:
    """The command that runs the supervisor of a project."""
    return [sys.executable, "-m", "orchestrator.supervisor.main",
            "--project", project, "--data", layout.data, "--run", layout.run]  # fmt: skip


def supervisor_environment() -> dict[str, str]:
    """The environment for it: the same package, whether installed or run from a checkout."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    others = os.environ.get("PYTHONPATH", "")
    paths = [root, *(p for p in others.split(os.pathsep) if p and p != root)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class Starting:
    """A supervisor on its way; `wait` for it, once."""

    def __init__(self, ready: int, child: int) -> None:
        self._ready, self._child = ready, child

    def wait(self, timeout: float) -> bool:
        """Whether it listens now, and is not one that found another there."""
        try:
            readable = bool(ready([self._ready], timeout=timeout)[0])
            listens = readable and os.read(self._ready, 1) != b""
        finally:
            os.close(self._ready)
        if self._child:  # forks once and ends, or ends
            os.waitpid(self._child, 0 if readable else os.WNOHANG)
        return listens


def start(layout: Layout, project: str) -> Starting:
    """Start a supervisor without waiting, for a head start while files are read;
    `client.open_client` does it all.  SupervisorError."""
    for tries_left in (2, 1, 0):
        os.makedirs(layout.run_project(project), mode=0o700, exist_ok=True)
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            return Starting(ours, _begin(layout, project, theirs))
        except OSError as exc:
            os.close(ours)
            # ENOENT: one that has just ended took the directory away between the two calls
            if not isinstance(exc, FileNotFoundError) or not tries_left:
                raise SupervisorError(f"cannot start the supervisor: {exc.strerror}") from exc
        finally:
            os.close(theirs)
    raise AssertionError("the last try returns or raises")


def _begin(layout: Layout, project: str, ready: int) -> int:
    """The pid of a child that ends at once; 0 where there is none."""
    argv = [*supervisor_argv(layout, project), "--ready", str(_READY)]
    with open(os.devnull, "rb+", buffering=0) as nothing, open(
        layout.supervisor_log(project), "ab", opener=_open_log
    ) as log:  # fmt: skip
        streams = [nothing.fileno(), nothing.fileno(), log.fileno(), ready]
        if _warm is not None and _warm.take(argv, streams):
            return 0
        return forkserver.spawn(argv, supervisor_environment(), streams)


def _open_log(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


class _Warm:
    """A fork server of ours; of use as long as we are in the namespaces that it was started in."""

    def __init__(self) -> None:
        self._server, theirs = forkserver.pair()
        self._namespaces = _namespaces()
        argv = [sys.executable, "-m", "orchestrator.supervisor.warm", str(os.getpid()),
                forkserver.PADDING]  # fmt: skip
        try:
            with open(os.devnull, "rb+", buffering=0) as nothing:  # ours may be somebody's pipe
                streams = [*[nothing.fileno()] * 3, theirs.fileno()]
                self._child = forkserver.spawn(argv, supervisor_environment(), streams)
        finally:
            theirs.close()

    def take(self, argv: list[str], streams: list[int]) -> bool:
        """Whether a supervisor begins."""
        self._reap(os.WNOHANG)
        if _namespaces() != self._namespaces:
            return False
        try:
            self._server.ask(argv, supervisor_environment(), streams)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """It has ended when this returns."""
        self._server.close(wait=True)
        self._reap(0)

    def _reap(self, options: int) -> None:
        """Our child left it alone at once."""
        if self._child and os.waitpid(self._child, options)[0]:
            self._child = 0


_warm: _Warm | None = None
_wishes = 0


def keep_warm() -> None:
    """From now on the supervisors that this process starts are forks of one that has imported
    everything, until each who has called this has called `let_cool`: of use to whoever starts
    many."""
    global _warm, _wishes
    _wishes += 1
    if _warm is None:
        _warm = _Warm()


def let_cool() -> None:
    """No more of that; supervisors that run are not touched."""
    global _warm, _wishes
    _wishes -= 1
    if _wishes == 0 and _warm is not None:
        was, _warm = _warm, None
        was.close()


def _namespaces() -> list[int]:
    """Those that decide about what a supervisor does."""
    names = ("mnt", "net", "pid", "user", "cgroup", "ipc", "uts")
    return [os.stat(f"/proc/thread-self/ns/{name}").st_ino for name in names]
