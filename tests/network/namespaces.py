"""Throw-away network namespaces: a test's function runs in one, its guests in others.

Nothing of the machine is visible in there, and everything goes with the processes.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

from orchestrator.linux import netlink, syscalls


def isolated(test: Callable[[], None]) -> Callable[[], None]:
    """The test runs in a child process with a network namespace of its own, loopback up."""

    @wraps(test)
    def wrapper() -> None:
        run_in_child(lambda: _alone(test))

    return wrapper


def _alone(test: Callable[[], None]) -> None:
    syscalls.set_parent_death_signal(9)
    syscalls.unshare(syscalls.CLONE_NEWNET)
    loopback_up()
    test()


def loopback_up() -> None:
    with netlink.Netlink() as sock:
        sock.run([netlink.set_link("lo", up=True)])


def run_in_child(function: Callable[[], Any]) -> Any:  # whatever it returns
    """The result of `function` in a fork; its exception comes back as an AssertionError."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os._exit(_run(function, writer))
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    result, failure = pickle.loads(data) if data else (None, f"died with status {status}")
    assert failure is None, failure
    return result


def _run(function: Callable[[], Any], writer: int) -> int:
    result, failure = None, None
    try:
        result = function()
    except BaseException:
        failure = traceback.format_exc()
    with open(writer, "wb") as file:
        pickle.dump((result, failure), file)
    return 0 if failure is None else 1


class Guest:
    """A process in a fresh network namespace: what a container is before its network is there."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            syscalls.set_parent_death_signal(9)
            syscalls.unshare(syscalls.CLONE_NEWNET)
            os.write(writer, b"!")
            while True:
                signal.pause()
        os.close(writer)
        assert os.read(reader, 1) == b"!"
        os.close(reader)

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *exc: object) -> None:
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)

    def run(self, function: Callable[[], Any]) -> Any:
        """The result of `function` in a process inside the guest's namespace."""
        return run_in_child(lambda: self._inside(function))

    def _inside(self, function: Callable[[], Any]) -> Any:
        with open(f"/proc/{self.pid}/ns/net", "rb") as file:
            syscalls.setns(file.fileno(), syscalls.CLONE_NEWNET)
        return function()

    def open_socket(self, make: Callable[[], socket.socket]) -> socket.socket:
        """A socket made inside the guest's namespace, for this process."""
        here, there = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            os._exit(self._send_socket(make, there))
        there.close()
        _, fds, _, _ = socket.recv_fds(here, 1, 1)
        here.close()
        os.waitpid(pid, 0)
        return socket.socket(fileno=fds[0])

    def _send_socket(self, make: Callable[[], socket.socket], there: socket.socket) -> int:
        try:
            sock = self._inside(make)
            socket.send_fds(there, [b"!"], [sock.fileno()])
        except BaseException:
            traceback.print_exc()
            return 1
        return 0
