"""A container's file system for somebody outside of it: `cp` and `export`.

What runs is seen through /proc/PID/root, with everything that is mounted there.  What does not run
is mounted again, in the mount namespace of a thread that lives as long as the view: nobody else
sees it, and nothing stays when we are killed.  Gives a descriptor of the root; whoever resolves
paths below it uses `linux.chase`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from orchestrator.errors import StateError
from orchestrator.linux import syscalls
from orchestrator.linux.fds import Channel
from orchestrator.runtime import rootfs
from orchestrator.runtime.process import Process
from orchestrator.runtime.spec import ContainerSpec
from orchestrator.runtime.steps import Child


@contextmanager
def of_process(spec: ContainerSpec, pid: int, start_time: int) -> Iterator[int]:
    """The root of a running container, as it sees it; StateError where it has ended."""
    process = Process.adopt(pid, start_time)
    if process is None:
        raise StateError(f"container {spec.name} has ended just now", hint="try again")
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not process.is_alive():  # then the pid may have been another's already
                raise StateError(f"container {spec.name} has ended just now", hint="try again")
            yield root
        finally:
            os.close(root)
    except OSError as exc:
        raise _failed(spec, exc) from exc
    finally:
        process.close()


@contextmanager
def of_stopped(spec: ContainerSpec, *, volumes: bool) -> Iterator[int]:
    """The root of a container that does not run; `volumes`: with what is mounted in it."""
    mounting = _Mounting(spec, volumes=volumes)
    mounting.start()
    mounting.ready.wait()
    try:
        if mounting.error is not None:
            raise _failed(spec, mounting.error) from mounting.error
        yield mounting.root
    finally:
        mounting.done.set()
        mounting.join()


def _failed(spec: ContainerSpec, exc: OSError) -> StateError:
    hint = "that needs root" if isinstance(exc, PermissionError) else None
    path = f" {exc.filename}" if exc.filename else ""
    return StateError(f"cannot look into container {spec.name}:{path} {exc.strerror}", hint=hint)


class _Mounting(threading.Thread):
    """Holds the mounts."""

    def __init__(self, spec: ContainerSpec, *, volumes: bool) -> None:
        super().__init__(name="rootview", daemon=True)
        self._spec, self._volumes = spec, volumes
        self.ready, self.done = threading.Event(), threading.Event()
        self.root = -1
        self.error: OSError | None = None

    def run(self) -> None:
        child = Child(cast("Channel", None), oom_score_adj=None, nofile=(0, 0))  # no step asks
        try:
            syscalls.unshare(syscalls.CLONE_FS | syscalls.CLONE_NEWNS)
            for step in rootfs.look(self._spec, volumes=self._volumes):
                step.execute(child)
            self.root = child.root_fd
        except OSError as exc:
            self.error = exc
        self.ready.set()
        self.done.wait()
        if child.root_fd >= 0:
            os.close(child.root_fd)
