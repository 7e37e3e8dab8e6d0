"""Scopes of systemd: a process is put into a cgroup that the system's or the user's manager knows.

Speaks D-Bus (dbus.freedesktop.org, Specification) directly over the manager's own socket, as
systemctl(1) does, so neither a bus daemon nor a library is needed.  Knows one method and one
signal of org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import errno
import os
import struct
from _socket import AF_UNIX, SOCK_STREAM, socket

_CALL, _RETURN, _ERROR, _SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = (
    1, 2, 3, 4, 5, 6, 8)  # fmt: skip
_PATIENCE = 30.0
_LARGEST = 1 << 20

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Value = str | bool | int | list[int]


def manager_socket() -> str | None:
    """The socket of the manager we belong to: root's is the system's; None: there is none."""
    private = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")
    path = f"{private}/systemd/private" if os.geteuid() else "/run/systemd/private"
    return path if os.path.exists(path) else None


def slice_path(name: str) -> str:
    """`a-b.slice` -> `a.slice/a-b.slice`, as systemd.slice(5) nests them; ValueError."""
    stem = name.removesuffix(".slice")
    parts = stem.split("-")
    if stem == name or "" in parts or "/" in name:
        raise ValueError(f"{name!r} is not the name of a slice")
    return "/".join(f"{'-'.join(parts[:n])}.slice" for n in range(1, len(parts) + 1))


def start_scope(
    socket_path: str, unit: str, *, slice_name: str, pid: int, limits: Mapping[str, int]
) -> None:
    """Put the process into a new scope with delegated controllers, and wait until it is there.
    `limits` are properties of systemd.resource-control(5) that are numbers, such as `MemoryMax`.
    OSError with what systemd says."""
    properties: dict[str, tuple[str, Value]] = {
        "Description": ("s", f"container {unit}"), "Slice": ("s", slice_name),
        "Delegate": ("b", True), "DefaultDependencies": ("b", False),
        "CollectMode": ("s", "inactive-or-failed"), "PIDs": ("au", [pid]),
        **{name: ("t", value) for name, value in limits.items()},
    }  # fmt: skip
    body = _Writer()
    body.string(unit)
    body.string("fail")
    body.properties(properties)
    body.array(8, b"")  # no auxiliary units
    with _Connection(socket_path) as manager:
        manager.call("StartTransientUnit", "ssa(sv)a(sa(sv))", bytes(body.data))
        manager.wait_for_job(unit)


class _Writer:
    """Values in D-Bus's marshalling, little endian, each at its alignment."""

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def number(self, value: int) -> None:
        self.align(4)
        self.data += struct.pack("<I", value)

    def string(self, text: str) -> None:
        encoded = text.encode()
        self.number(len(encoded))
        self.data += encoded + b"\0"

    def signature(self, text: str) -> None:
        self.data += bytes([len(text)]) + text.encode() + b"\0"

    def array(self, alignment: int, content: bytes) -> None:
        """Of elements marshalled from an aligned place on."""
        self.number(len(content))
        self.align(alignment)
        self.data += content

    def variant(self, kind: str, value: Value) -> None:
        self.signature(kind)
        if kind == "s":
            self.string(str(value))
        elif kind == "b":
            self.number(int(bool(value)))
        elif kind == "t":
            self.align(8)
            self.data += struct.pack("<Q", value)
        else:
            assert isinstance(value, list)
            self.array(4, struct.pack(f"<{len(value)}I", *value))

    def properties(self, values: Mapping[str, tuple[str, Value]]) -> None:
        """a(sv)."""
        inner = _Writer()
        for name, (kind, value) in values.items():
            inner.align(8)
            inner.string(name)
            inner.variant(kind, value)
        self.array(8, bytes(inner.data))


class _Message:
    """What of a received message is of use: its kind, some header fields, its strings."""

    def __init__(self, data: bytes) -> None:
        self.kind = data[1]
        size, _, fields = struct.unpack_from("<III", data, 4)
        self.fields: dict[int, str | int] = {}
        end = 16 + fields
        at = 16
        while at < end:
            at += -at % 8
            code, kind = data[at], chr(data[at + 2])
            at += 4
            if kind in "so":
                text, at = _string(data, at)
                self.fields[code] = text
            elif kind == "g":
                self.fields[code] = data[at + 1 : at + 1 + data[at]].decode()
                at += data[at] + 2
            else:
                at += -at % 4
                self.fields[code] = struct.unpack_from("<I", data, at)[0]
                at += 4
        self.body = data[len(data) - size :]

    def strings(self) -> list[str]:
        """The values of the body, which are numbers, strings and object paths."""
        found, at = [], 0
        for kind in str(self.fields.get(_SIGNATURE, "")):
            if kind == "u":
                found.append(str(struct.unpack_from("<I", self.body, at + -at % 4)[0]))
                at += -at % 4 + 4
            elif kind in "so":
                text, at = _string(self.body, at)
                found.append(text)
            else:
                break
        return found


def _string(data: bytes, at: int) -> tuple[str, int]:
    at += -at % 4
    size = struct.unpack_from("<I", data, at)[0]
    return data[at + 4 : at + 4 + size].decode(errors="replace"), at + 4 + size + 1


class _Connection:
    """Authenticated, to the manager itself."""

    def __init__(self, path: str) -> None:
        self._socket = socket(AF_UNIX, SOCK_STREAM)
        self._socket.settimeout(_PATIENCE)
        self._serial = 0
        self._ended: dict[str, str] = {}
        try:
            self._authenticate(path)
        except BaseException:
            self._socket.close()
            raise

    def _authenticate(self, path: str) -> None:
        self._socket.connect(path)
        uid = str(os.geteuid()).encode().hex()
        self._socket.sendall(f"\0AUTH EXTERNAL {uid}\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n"):
            answer += self._some(1)
        if not answer.startswith(b"OK"):
            raise PermissionError(errno.EACCES, "systemd does not take us", path)
        self._socket.sendall(b"BEGIN\r\n")

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def call(self, member: str, signature: str, body: bytes) -> None:
        """Call a method of the manager and wait for its answer."""
        self._serial += 1
        fields = _Writer()
        for code, kind, text in (
            (_PATH, "o", "/org/freedesktop/systemd1"), (_MEMBER, "s", member),
            (_INTERFACE, "s", "org.freedesktop.systemd1.Manager"),
            (_DESTINATION, "s", "org.freedesktop.systemd1"), (_SIGNATURE, "g", signature),
        ):  # fmt: skip
            fields.align(8)
            fields.data.append(code)
            fields.signature(kind)
            (fields.signature if kind == "g" else fields.string)(text)
        head = _Writer()
        head.data += struct.pack("<cBBBII", b"l", _CALL, 0, 1, len(body), self._serial)
        head.array(8, bytes(fields.data))
        head.align(8)
        self._socket.sendall(bytes(head.data) + body)
        while True:
            message = self._receive()
            if message.fields.get(_REPLY_SERIAL) != self._serial:
                continue
            if message.kind == _ERROR:
                raise OSError(errno.EIO, f"systemd: {' '.join(message.strings())}")
            return

    def wait_for_job(self, unit: str) -> None:
        """Until the job of the unit has ended; OSError if not well."""
        while unit not in self._ended:
            self._receive()
        if self._ended[unit] != "done":
            raise OSError(errno.EIO, f"systemd: the job of {unit} ended as {self._ended[unit]}")

    def _receive(self) -> _Message:
        head = self._exactly(16)
        size, _, fields = struct.unpack_from("<III", head, 4)
        if head[:1] != b"l" or size > _LARGEST or fields > _LARGEST:
            raise OSError(errno.EPROTO, "systemd answers what is no D-Bus message")
        message = _Message(head + self._exactly(fields + -fields % 8 + size))
        if message.kind == _SIGNAL and message.fields.get(_MEMBER) == "JobRemoved":
            _, _, unit, result = message.strings()
            self._ended[unit] = result
        return message

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self._some(size - len(data))
        return data

    def _some(self, size: int) -> bytes:
        data = self._socket.recv(size)
        if not data:
            raise OSError(errno.ECONNRESET, "systemd closed the connection")
        return data
