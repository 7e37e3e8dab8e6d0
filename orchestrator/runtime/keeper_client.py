"""Connect to a project's keeper, or start one where nobody answers.

The caller holds the supervisor's lock, so two never start keepers for one project at a time; the
keeper's own lock keeps a second one from serving anyhow.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Sequence

import orchestrator
from orchestrator.errors import SupervisorError
from orchestrator.linux import fds, forkserver, syscalls
from orchestrator.linux.fds import Channel
from orchestrator.linux.forkserver import ForkServer
from orchestrator.linux.waiting import ready

_START = (
    "import os, sys; os.fork() and os._exit(0); sys.path.insert(0, sys.argv[1]); "
    "from orchestrator.runtime import keeper; keeper.main(sys.argv[3:])"
)
_SERVE = (
    "import os, sys; os.fork() and os._exit(0); sys.path.insert(0, sys.argv[1]); "
    "from orchestrator.linux import forkserver; from orchestrator.runtime import keeper; "
    "forkserver.close_others(4); "
    "forkserver.serve(3, lambda argv: keeper.main(argv[6:]), holder=int(sys.argv[3]))"
)
_READY = 3
"""The descriptor of a keeper that it closes once it listens."""
_PATIENCE = 10.0
"""Seconds; it takes 30 ms on an idle machine."""


def connect_keeper(
    socket_path: str, lock_path: str, *, supervisor_argv: Sequence[str], log_path: str,
    forks: ForkServer | None = None,
) -> Channel:  # fmt: skip
    """A channel to the keeper that serves at `socket_path`; `supervisor_argv` (absolute path first)
    is what a new one starts when the supervisor dies.  `forks` makes it, where given (see
    `start_forks`).  SupervisorError if none comes up."""
    for tries_left in (2, 1, 0):
        try:
            return Channel(fds.connect(socket_path))
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            if not tries_left:
                raise SupervisorError(
                    f"the keeper ended as soon as it was started ({exc.strerror})",
                    hint=f"see {log_path}") from exc
        except OSError as exc:
            raise SupervisorError(f"cannot connect to {socket_path}: {exc.strerror}") from exc
        argv = keeper_argv(socket_path, lock_path, supervisor_argv=supervisor_argv)
        os.makedirs(os.path.dirname(socket_path), exist_ok=True)
        if not _start(argv, log_path=log_path, forks=forks if tries_left > 1 else None):
            holder = fds.lock_holder(lock_path)  # it serves once it has the lock
            raise SupervisorError("the keeper does not start",
                                  hint=f"its lock is held by {holder}" if holder else None)
    raise AssertionError


def start_forks() -> ForkServer:
    """A server whose forks are keepers, for `connect_keeper`; it ends with us.  OSError."""
    server, theirs = forkserver.pair()
    try:
        argv = [sys.executable, "-SI", "-c", _SERVE, _package(), "pcompose-keeper",
                str(os.getpid()), forkserver.PADDING]  # fmt: skip
        with open(os.devnull, "rb") as nothing:
            os.waitpid(_spawn(argv, [nothing.fileno(), 2, 2, theirs.fileno()]), 0)
    finally:
        theirs.close()
    return server


def keeper_argv(
    socket_path: str, lock_path: str, *, supervisor_argv: Sequence[str]
) -> list[str]:
    """The command line of a keeper; `ps` shows `pcompose-keeper PROJECT` in it.

    -S and -I: no site-packages, no user directory, no PYTHON* variables; only what is named here.
    It leaves its parent at once, which must not be bothered with its end.
    """
    project = os.path.basename(os.path.dirname(socket_path))
    return [
        sys.executable, "-SI", "-c", _START, _package(), "pcompose-keeper", project, socket_path,
        lock_path, str(_READY), *supervisor_argv,
    ]  # fmt: skip


def _package() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(orchestrator.__file__ or "")))


def _start(argv: list[str], *, log_path: str, forks: ForkServer | None) -> bool:
    """Start it and wait until it listens: it inherits the end of a pipe, which it then closes.
    Whether it did in time."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        child = _begin(argv, theirs, log_path=log_path, forks=forks)
    except OSError as exc:
        os.close(ours)
        raise SupervisorError(f"cannot start the keeper: {exc.strerror}") from exc
    finally:
        os.close(theirs)
    try:
        return bool(ready([ours], timeout=_PATIENCE)[0])
    finally:
        os.close(ours)
        if child:
            os.waitpid(child, 0)


def _begin(argv: list[str], ready: int, *, log_path: str, forks: ForkServer | None) -> int:
    """The pid of a child that ends at once; 0 where there is none."""
    with open(os.devnull, "rb") as nothing, open(log_path, "ab", opener=_open_log) as log:
        streams = [nothing.fileno(), log.fileno(), log.fileno(), ready]
        try:
            if forks is not None:
                forks.ask(argv, os.environ, streams)
                return 0
        except OSError:
            pass  # it has ended with its holder
        return _spawn(argv, streams)


def _open_log(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o640)


def _spawn(argv: list[str], streams: Sequence[int]) -> int:
    program = _read_only(argv[0])
    try:
        return forkserver.spawn(argv, os.environ, streams,
                                path="" if program < 0 else f"/proc/self/fd/{program}")
    finally:
        if program >= 0:
            os.close(program)


def _read_only(path: str) -> int:
    """The interpreter on a read-only mount of its own, as a descriptor: what runs from there cannot
    be written to through /proc/PID/exe, not even by a container that has got itself to be it
    (CVE-2019-5736).  -1 without the right to mount."""
    try:
        tree = syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE)
    except OSError:
        return -1
    try:
        syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH,
                               attr_set=syscalls.MOUNT_ATTR_RDONLY)  # fmt: skip
        return fcntl.fcntl(tree, fcntl.F_DUPFD_CLOEXEC, forkserver.ABOVE_STREAMS)
    except OSError:
        return -1
    finally:
        os.close(tree)
