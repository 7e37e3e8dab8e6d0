"""D-Bus as far as a scope needs it, against a manager played by the test; the real one is met in
tests/runtime/test_oci_commands.py where there is one."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.linux import fds, systemd

UNIT = "oci-c.scope"


def message(kind: int, body: bytes, fields: list[tuple[int, str, Any]]) -> bytes:
    """One message as the specification writes it, independent of the code under test."""
    packed = b""
    for code, signature, value in fields:
        packed += bytes(-len(packed) % 8) + bytes([code, 1]) + signature.encode() + b"\0"
        if signature == "u":
            packed += struct.pack("<I", value)
        elif signature == "g":
            packed += bytes([len(value)]) + value.encode() + b"\0"
        else:
            packed += struct.pack("<I", len(value)) + value.encode() + b"\0"
    head = b"l" + bytes([kind, 0, 1]) + struct.pack("<III", len(body), 7, len(packed)) + packed
    return head + bytes(-len(head) % 8) + body


def text(value: str, at: int = 0) -> bytes:
    return bytes(-at % 4) + struct.pack("<I", len(value)) + value.encode() + b"\0"


def removed(result: str) -> bytes:
    body = struct.pack("<I", 9)
    for value in ("/job/9", UNIT, result):
        body += text(value, len(body))
    return message(4, body, [(1, "o", "/org/freedesktop/systemd1"), (3, "s", "JobRemoved"),
                             (8, "g", "uoss")])


RETURN = message(2, text("/job/9"), [(5, "u", 1), (8, "g", "o")])
REFUSAL = message(3, text("Unit exists."), [(5, "u", 1), (4, "s", "org.x.Exists"), (8, "g", "s")])


class Manager:
    """Plays a manager that answers one call with these bytes."""

    def __init__(self, directory: Path) -> None:
        self.path = f"{directory}/private"
        self.listener = fds.open_listener(self.path)
        self.answer = b""
        self.heard: list[bytes] = []
        self.thread = threading.Thread(target=self.serve)

    def serve(self) -> None:
        fd, _ = self.listener._accept()  # type: ignore[attr-defined]
        with socket.socket(fileno=fd) as peer:
            line = b""
            while not line.endswith(b"\r\n"):
                line += peer.recv(1)
            peer.sendall(b"OK 0123\r\n")
            data = b""
            while b"BEGIN\r\n" not in data or len(data) < 200:
                data += peer.recv(4096)
            self.heard += [line, data]
            peer.sendall(self.answer)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(tmp_path)
    found.thread.start()
    yield found
    found.thread.join()
    found.listener.close()


def start(path: str) -> None:
    systemd.start_scope(path, UNIT, slice_name="a-b.slice", pid=77, limits={"TasksMax": 5})


@pytest.mark.parametrize("answer", [RETURN + removed("done"), removed("done") + RETURN])
def test_a_scope_is_there_when_its_job_has_ended(manager: Manager, answer: bytes) -> None:
    manager.answer = answer
    start(manager.path)
    heard = manager.heard
    assert heard[0].startswith(b"\0AUTH EXTERNAL ")
    for word in (b"StartTransientUnit", b"ssa(sv)a(sa(sv))", UNIT.encode(), b"a-b.slice", b"PIDs"):
        assert word in heard[1]
    assert b"TasksMax\0\x01t\0" in heard[1]


@pytest.mark.parametrize(("answer", "words"), [
    (REFUSAL, "Unit exists"), (RETURN + removed("failed"), "ended as failed"),
    (b"x" * 64, "no D-Bus message"),
])  # fmt: skip
def test_what_systemd_refuses_is_told(manager: Manager, answer: bytes, words: str) -> None:
    manager.answer = answer
    with pytest.raises(OSError, match=words):
        start(manager.path)


def test_slices_are_nested_by_their_names() -> None:
    assert systemd.slice_path("a-b-c.slice") == "a.slice/a-b.slice/a-b-c.slice"
    for name in ("a", "-a.slice", "a--b.slice", "a/b.slice", ".slice"):
        with pytest.raises(ValueError, match="slice"):
            systemd.slice_path(name)
