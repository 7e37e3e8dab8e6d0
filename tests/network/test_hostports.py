"""Sockets that somebody else makes for us, in the network namespace where they shall be."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from orchestrator.linux import fds
from orchestrator.network import hostports

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def serving(path: Path) -> Iterator[None]:
    """Answers one request."""
    listener = socket.socket(fileno=fds.open_listener(str(path)).detach())
    thread = Thread(target=lambda: hostports.serve(listener.accept()[0]))
    thread.start()
    yield
    thread.join()
    listener.close()


def test_a_socket_of_the_family_and_kind_comes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hostports.VARIABLE, str(tmp_path / "s"))
    with serving(tmp_path / "s"), hostports.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_DGRAM)
        assert not sock.getblocking()
        sock.bind(("127.0.0.1", 0))


def test_why_there_is_none_comes_over_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hostports.VARIABLE, str(tmp_path / "s"))
    with serving(tmp_path / "s"), pytest.raises(OSError, match=os.strerror(errno.EAFNOSUPPORT)):
        hostports.make_socket(199, socket.SOCK_STREAM)


@pytest.mark.parametrize("request_", [{}, {"family": "x", "kind": 1}, {"family": 2, "kind": None}])
def test_what_is_no_request_gets_no_answer(tmp_path: Path, request_: dict[str, object]) -> None:
    with serving(tmp_path / "s"):
        channel = fds.Channel(fds.connect(str(tmp_path / "s")))
        channel.send(request_)
        assert channel.receive() is None
        channel.close()


def test_without_the_variable_it_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(hostports.VARIABLE, raising=False)
    with hostports.make_socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        assert sock.type == socket.SOCK_STREAM
