"""DNS messages (RFC 1035, EDNS0 of RFC 6891): what a resolver must read of them, and can write.

Pure.  Every input may be hostile: whatever is wrong raises `MalformedError`, nothing else.  Names
are lower-case text without the last dot; a dot inside a label is written `\\.`.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from orchestrator.dataclass import dataclass

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP = 0, 1, 2, 3, 4

PLAIN_SIZE = 512
"""What a client without EDNS0 takes over UDP."""
OUR_SIZE = 1232
"""What we say we take over UDP: fits one Ethernet frame on any path."""

_QR, _TC, _RD, _RA, _AA = 0x8000, 0x0200, 0x0100, 0x0080, 0x0400
_HEADER = struct.Struct(">HHHHHH")
_FIXED = struct.Struct(">HHIH")
_NAME_LIMIT = 255
_POINTER_TO_QUESTION = 0xC00C


class MalformedError(ValueError):
    """The bytes are no DNS message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The header and the one question of a message."""

    id: int
    flags: int
    name: str
    type: int
    class_: int
    raw: bytes
    """The question section as it was sent."""
    size: int
    """The largest answer the sender takes over UDP."""
    edns: bool

    @property
    def is_response(self) -> bool:
        return bool(self.flags & _QR)

    @property
    def is_truncated(self) -> bool:
        return bool(self.flags & _TC)

    @property
    def opcode(self) -> int:
        return self.flags >> 11 & 15

    @property
    def code(self) -> int:
        return self.flags & 15


def parse(data: bytes) -> Question:
    """The question of a query or a response with exactly one."""
    if len(data) < 12:
        raise MalformedError("shorter than a header")
    id_, flags, questions, *counts = _HEADER.unpack_from(data)
    if questions != 1:
        raise MalformedError(f"{questions} questions")
    name, end = read_name(data, 12)
    if end + 4 > len(data):
        raise MalformedError("question cut short")
    type_, class_ = struct.unpack_from(">HH", data, end)
    size = None if flags & _QR else _edns_size(data, end + 4, sum(counts))
    return Question(
        id=id_, flags=flags, name=name, type=type_, class_=class_, raw=data[12 : end + 4],
        size=max(PLAIN_SIZE, size or 0), edns=size is not None,
    )  # fmt: skip


def _edns_size(data: bytes, offset: int, count: int) -> int | None:
    """The payload size of the OPT record; None without one."""
    found = None
    for _ in range(count):
        name, offset = read_name(data, offset)
        if offset + 10 > len(data):
            raise MalformedError("record cut short")
        type_, class_, _ttl, length = _FIXED.unpack_from(data, offset)
        offset += 10 + length
        if offset > len(data):
            raise MalformedError("record data cut short")
        if type_ == OPT:
            if name or found is not None:
                raise MalformedError("a second OPT record, or one with a name")
            found = class_
    return found


def read_name(data: bytes, offset: int) -> tuple[str, int]:
    """The name at `offset` and the offset after it.  A compression pointer must lead strictly
    backwards, so following them ends."""
    labels: list[str] = []
    length = 1
    end = None
    barrier = offset
    while True:
        if offset >= len(data):
            raise MalformedError("name cut short")
        size = data[offset]
        if size >= 0xC0:
            if offset + 2 > len(data):
                raise MalformedError("pointer cut short")
            end = end or offset + 2
            offset = (size & 0x3F) << 8 | data[offset + 1]
            if not 12 <= offset < barrier:
                raise MalformedError("pointer not backwards")
            barrier = offset
        elif size >= 0x40:
            raise MalformedError("unknown kind of label")
        else:
            label = data[offset + 1 : offset + 1 + size]
            length += size + 1
            offset += size + 1
            if size == 0:
                return ".".join(labels), end or offset
            if len(label) < size or length > _NAME_LIMIT:
                raise MalformedError("label cut short or name too long")
            labels.append(_label_text(label))


def _label_text(label: bytes) -> str:
    return label.decode("latin-1").lower().replace("\\", "\\\\").replace(".", "\\.")


def write_name(name: str) -> bytes:
    """The name without compression; MalformedError where a label is empty or too long."""
    if not name:
        return b"\0"
    try:
        labels = [label.encode("latin-1") for label in name.split(".")]
    except UnicodeEncodeError as exc:
        raise MalformedError(f"{name!r} is no name") from exc
    if any(not 0 < len(label) < 64 for label in labels) or len(name) > _NAME_LIMIT - 2:
        raise MalformedError(f"{name!r} is no name")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def query(id_: int, name: str, type_: int, *, size: int | None = None) -> bytes:
    """A recursive query; `size` adds EDNS0."""
    head = _HEADER.pack(id_, _RD, 1, 0, 0, int(size is not None))
    body = write_name(name) + struct.pack(">HH", type_, IN)
    return head + body + (b"" if size is None else _opt(size))


def answer(
    question: Question, *, code: int = NOERROR, addresses: Iterable[bytes] = (),
    pointers: Iterable[str] = (), ttl: int = 0, limit: int | None = None,
) -> bytes:
    """A response with A and AAAA records of packed `addresses`, or PTR records to `pointers`; cut
    to none and marked truncated where it would be longer than `limit`."""
    records = [_record(A if len(a) == 4 else AAAA, ttl, a) for a in addresses]
    records += [_record(PTR, ttl, write_name(name)) for name in pointers]
    whole = _response(question, code, records, authoritative=True)
    if limit is not None and len(whole) > limit:
        return truncated(question)
    return whole


def truncated(question: Question, code: int = NOERROR) -> bytes:
    """An empty response that sends the client to TCP."""
    return _response(question, code, [], truncation=_TC)


def failure(question: Question, code: int) -> bytes:
    """A response with an error code and nothing else."""
    return _response(question, code, [])


def format_error(data: bytes) -> bytes | None:
    """The response to a query that could not be parsed; None where even that makes no sense."""
    if len(data) < 12 or data[2] & 0x80:
        return None
    id_, flags, *_ = _HEADER.unpack_from(data)
    return _HEADER.pack(id_, _QR | _RA | flags & (_RD | 0x7800) | FORMERR, 0, 0, 0, 0)


def _response(
    question: Question, code: int, records: list[bytes], *, truncation: int = 0,
    authoritative: bool = False,
) -> bytes:
    flags = _QR | _RA | question.flags & (_RD | 0x7800) | code | truncation
    if authoritative:
        flags |= _AA
    extra = _opt(OUR_SIZE) if question.edns else b""
    head = _HEADER.pack(question.id, flags, 1, len(records), 0, int(question.edns))
    return head + question.raw + b"".join(records) + extra


def _record(type_: int, ttl: int, data: bytes) -> bytes:
    fixed = _FIXED.pack(type_, IN, ttl, len(data))
    return struct.pack(">H", _POINTER_TO_QUESTION) + fixed + data


def _opt(size: int) -> bytes:
    return b"\0" + _FIXED.pack(OPT, size, 0, 0)


def answers(data: bytes) -> int:
    """How many records the answer section of a whole message has."""
    return int.from_bytes(data[6:8], "big")


def read_answers(data: bytes) -> list[tuple[str, int, bytes]]:
    """(name, type, data) of each record of the answer section."""
    question = parse(data)
    offset = 12 + len(question.raw)
    found = []
    for _ in range(answers(data)):
        name, offset = read_name(data, offset)
        if offset + 10 > len(data):
            raise MalformedError("record cut short")
        type_, _class, _ttl, length = _FIXED.unpack_from(data, offset)
        offset += 10 + length
        if offset > len(data):
            raise MalformedError("record data cut short")
        found.append((name, type_, data[offset - length : offset]))
    return found


def with_id(data: bytes, id_: int) -> bytes:
    """The message under another id."""
    return struct.pack(">H", id_) + data[2:]


def reverse_address(name: str) -> str | None:
    """The address a name under in-addr.arpa or ip6.arpa stands for; None for other names."""
    labels = name.split(".")
    if labels[-2:] == ["ip6", "arpa"]:
        return _reverse_address6(labels[:-2])
    if len(labels) != 6 or labels[4:] != ["in-addr", "arpa"]:
        return None
    numbers = labels[3::-1]
    if not all(n.isascii() and n.isdigit() and str(int(n)) == n and int(n) < 256
               for n in numbers):
        return None
    return ".".join(numbers)


def _reverse_address6(nibbles: list[str]) -> str | None:
    if len(nibbles) != 32 or not all(len(n) == 1 and n in "0123456789abcdef" for n in nibbles):
        return None
    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex("".join(reversed(nibbles))))
