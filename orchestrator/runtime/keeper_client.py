"""Connect to a project's keeper, or start one where nobody answers.

The caller holds the supervisor's lock, so two never start keepers for one project at a time; the
keeper's own lock keeps a second one from serving anyhow.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
from collections.abc import Sequence

import orchestrator
from orchestrator.errors import SupervisorError
from orchestrator.linux import fds, syscalls
from orchestrator.linux.fds import Channel

_START = (
    "import os, sys; os.fork() and os._exit(0); sys.path.insert(0, sys.argv[1]); "
    "from orchestrator.runtime import keeper; keeper.main(sys.argv[3:])"
)
_ABOVE_STREAMS = 10
"""The lowest descriptor that the keeper's own do not replace."""
_PATIENCE = 10.0
"""Seconds; it takes 30 ms on an idle machine."""


def connect_keeper(
    socket_path: str, lock_path: str, *, supervisor_argv: Sequence[str], log_path: str
) -> Channel:
    """A channel to the keeper that serves at `socket_path`; `supervisor_argv` (absolute path first)
    is what a new one starts when the supervisor dies.  SupervisorError if none comes up."""
    for attempt in range(2):
        try:
            return Channel(fds.connect(socket_path))
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            if attempt:
                raise SupervisorError(
                    f"the keeper ended as soon as it was started ({exc.strerror})",
                    hint=f"see {log_path}") from exc
        except OSError as exc:
            raise SupervisorError(f"cannot connect to {socket_path}: {exc.strerror}") from exc
        _start(socket_path, lock_path, supervisor_argv=supervisor_argv, log_path=log_path)
    raise AssertionError


def keeper_argv(
    socket_path: str, lock_path: str, *, supervisor_argv: Sequence[str], ready_fd: int
) -> list[str]:
    """The command line of a keeper; `ps` shows `pcompose-keeper PROJECT` in it.

    -S and -I: no site-packages, no user directory, no PYTHON* variables; only what is named here.
    It leaves its parent at once, which must not be bothered with its end.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(orchestrator.__file__ or "")))
    project = os.path.basename(os.path.dirname(socket_path))
    return [
        sys.executable, "-SI", "-c", _START, package, "pcompose-keeper", project, socket_path,
        lock_path, str(ready_fd), *supervisor_argv,
    ]  # fmt: skip


def _start(
    socket_path: str, lock_path: str, *, supervisor_argv: Sequence[str], log_path: str
) -> None:
    """Start it and wait until it listens: it inherits the end of a pipe, which it then closes."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        pid = _spawn(socket_path, lock_path, supervisor_argv, log_path, theirs)
    except OSError as exc:
        os.close(ours)
        raise SupervisorError(f"cannot start the keeper: {exc.strerror}") from exc
    finally:
        os.close(theirs)
    try:
        ready, _, _ = select.select([ours], [], [], _PATIENCE)
    finally:
        os.close(ours)
        os.waitpid(pid, 0)
    if not ready:  # it waits for the lock, and serves once that is free
        holder = fds.lock_holder(lock_path)
        raise SupervisorError(
            "the keeper does not start", hint=f"its lock is held by {holder}" if holder else None
        )


def _spawn(
    socket_path: str, lock_path: str, supervisor_argv: Sequence[str], log_path: str, ready: int
) -> int:
    """In a session of its own, with nothing inherited but `ready`."""
    os.makedirs(os.path.dirname(socket_path), exist_ok=True)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    number = 3
    argv = keeper_argv(socket_path, lock_path, supervisor_argv=supervisor_argv, ready_fd=number)
    actions = [
        (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2),
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, ready, number),
    ]  # fmt: skip
    program = _read_only(argv[0])
    path = argv[0] if program < 0 else f"/proc/self/fd/{program}"
    try:
        return os.posix_spawn(path, argv, dict(os.environ), file_actions=actions, setsid=True)
    finally:
        os.close(log)
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
        return fcntl.fcntl(tree, fcntl.F_DUPFD_CLOEXEC, _ABOVE_STREAMS)
    except OSError:
        return -1
    finally:
        os.close(tree)
