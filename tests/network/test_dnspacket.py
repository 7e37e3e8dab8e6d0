"""DNS messages by value, and by every byte an attacker may send."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.network import dnspacket
from orchestrator.network.dnspacket import MalformedError

QUERY = dnspacket.query(0x1234, "Web.Example.test", dnspacket.A)
HEADER = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0)

label = st.text("abcxyz019-_", min_size=1, max_size=12)
domain = st.lists(label, min_size=1, max_size=6).map(".".join)


def test_a_query_is_read() -> None:
    question = dnspacket.parse(QUERY)
    assert (question.id, question.name, question.type) == (0x1234, "web.example.test", 1)
    assert (question.class_, question.edns, question.size) == (1, False, 512)
    assert not question.is_response


def test_edns_tells_what_the_client_takes() -> None:
    question = dnspacket.parse(dnspacket.query(1, "a", dnspacket.A, size=4096))
    assert (question.edns, question.size) == (True, 4096)
    assert dnspacket.parse(dnspacket.query(1, "a", dnspacket.A, size=100)).size == 512


def test_an_answer_repeats_the_question_and_holds_the_addresses() -> None:
    question = dnspacket.parse(QUERY)
    packed = [socket.inet_aton("10.0.0.2"), socket.inet_aton("10.0.0.3")]
    reply = dnspacket.answer(question, addresses=packed, ttl=10)
    assert reply[:2] == b"\x12\x34"
    assert reply[12 : 12 + len(question.raw)] == QUERY[12:]
    assert [(n, t, d) for n, t, d in dnspacket.read_answers(reply)] == [
        ("web.example.test", dnspacket.A, data) for data in packed
    ]
    said = dnspacket.parse(reply)
    assert (said.is_response, said.code, said.is_truncated) == (True, 0, False)


def test_an_answer_that_does_not_fit_sends_the_client_to_tcp() -> None:
    question = dnspacket.parse(QUERY)
    addresses = [bytes([10, 0, 0, n]) for n in range(60)]
    reply = dnspacket.answer(question, addresses=addresses, limit=512)
    assert dnspacket.parse(reply).is_truncated
    assert dnspacket.read_answers(reply) == []
    assert len(dnspacket.read_answers(dnspacket.answer(question, addresses=addresses))) == 60


def test_edns_is_answered_with_edns() -> None:
    question = dnspacket.parse(dnspacket.query(1, "a", dnspacket.A, size=4096))
    assert dnspacket.answer(question).endswith(struct.pack(">BHHIH", 0, 41, 1232, 0, 0))


@pytest.mark.parametrize(
    "data",
    [
        b"", HEADER[:11], HEADER, HEADER + b"\xc0\x0c\0\1\0\1",
        HEADER + b"\xc0\x0e\xc0\x0c\0\1\0\1", HEADER + b"\x01a\xc0\x0c\0\1\0\1",
        HEADER + b"\x05abc", HEADER + b"\x40a\0\0\1\0\1", HEADER + b"\xc0", HEADER + b"\0\0\1\0",
        HEADER + b"\x3f" + b"a" * 63 + (b"\x3f" + b"a" * 63) * 3 + b"\0\0\1\0\1",
        struct.pack(">HHHHHH", 7, 0, 2, 0, 0, 0) + b"\0\0\1\0\1" * 2,
        struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 2) + b"\0\0\1\0\1" + (b"\0\0\x29" + bytes(8)) * 2,
        struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 1) + b"\0\0\1\0\1" + b"\0\0\x29\0\0\0\0\0\0\0\x09",
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        dnspacket.parse(data)


def test_a_message_with_a_header_gets_a_format_error() -> None:
    assert dnspacket.format_error(b"short") is None
    assert dnspacket.format_error(dnspacket.answer(dnspacket.parse(QUERY))) is None
    reply = dnspacket.format_error(HEADER)
    assert reply is not None
    assert (reply[:2], reply[3] & 15) == (HEADER[:2], dnspacket.FORMERR)


@given(st.binary(max_size=80), st.booleans())
@example(b"\xc0\x0c", True)
def test_random_bytes_raise_nothing_but_our_own_error(data: bytes, headed: bool) -> None:
    packet = HEADER + data if headed else data
    try:
        question = dnspacket.parse(packet)
        dnspacket.answer(question, addresses=[b"\1\2\3\4"])
        dnspacket.read_answers(packet)
    except MalformedError:
        dnspacket.format_error(packet)


@given(st.binary(min_size=1, max_size=60), st.integers(0, 59))
def test_a_name_anywhere_ends_or_is_refused(data: bytes, offset: int) -> None:
    try:
        name, end = dnspacket.read_name(data, offset)
    except MalformedError:
        return
    assert offset < end <= len(data)
    assert len(name) <= 4 * 255


@given(domain, st.integers(0, 65535), st.integers(0, 65535))
def test_a_query_comes_back_as_it_was(name: str, id_: int, type_: int) -> None:
    question = dnspacket.parse(dnspacket.query(id_, name, type_))
    assert (question.id, question.name, question.type) == (id_, name, type_)


@given(domain)
def test_a_pointer_record_comes_back_as_it_was(name: str) -> None:
    reply = dnspacket.answer(dnspacket.parse(QUERY), pointers=[name])
    ((_, type_, data),) = dnspacket.read_answers(reply)
    assert (type_, dnspacket.read_name(data, 0)[0]) == (dnspacket.PTR, name)


@pytest.mark.parametrize("name", ["a..b", "a" * 64, ".a", "ключ", ".".join(["abcdefg"] * 33)])
def test_a_name_that_cannot_be_written_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        dnspacket.write_name(name)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("2.5.20.172.in-addr.arpa", "172.20.5.2"), ("1.0.0.127.in-addr.arpa", "127.0.0.1"),
        ("5.20.172.in-addr.arpa", None), ("2.5.20.256.in-addr.arpa", None),
        ("02.5.20.172.in-addr.arpa", None), ("x.5.20.172.in-addr.arpa", None),
        ("²5.20.172.1.in-addr.arpa", None), ("1.1.ip6.arpa", None), ("", None),
    ],
)  # fmt: skip
def test_a_reverse_name_stands_for_an_address(name: str, address: str | None) -> None:
    assert dnspacket.reverse_address(name) == address


def test_a_dot_inside_a_label_is_not_a_separator() -> None:
    packet = HEADER + b"\x03a.b\x01c\0" + b"\0\1\0\1"
    assert dnspacket.parse(packet).name == "a\\.b.c"
