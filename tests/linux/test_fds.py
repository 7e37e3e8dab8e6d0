"""Messages and descriptors between two processes, of which one may be hostile."""

from __future__ import annotations

import _socket
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.linux import fds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def open_count() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def pair() -> Iterator[tuple[fds.Channel, _socket.socket]]:
    """A channel and the bare socket of its peer; whatever the test leaves open is a failure."""
    before = open_count()
    ours, theirs = _socket.socketpair()
    channel = fds.Channel(_socket.socket(fileno=ours.detach()))
    yield channel, theirs
    channel.close()
    theirs.close()
    assert open_count() == before


Pair = tuple[fds.Channel, _socket.socket]


def rights(*numbers: int) -> list[tuple[int, int, bytes]]:
    data = b"".join(number.to_bytes(4, "little") for number in numbers)
    return [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, data)] if numbers else []


def is_null(fd: int) -> bool:
    return os.fstat(fd).st_rdev == os.stat("/dev/null").st_rdev


def test_a_message_arrives_as_it_was_sent(pair: Pair) -> None:
    channel, peer = pair
    other = fds.Channel(_socket.socket(fileno=os.dup(peer.fileno())))
    other.send({"op": "list", "text": "ü\n\x00"})
    assert channel.receive() == ({"op": "list", "text": "ü\n\x00"}, [])
    other.close()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3000)), max_size=12))
@settings(max_examples=30, deadline=None)
def test_descriptors_belong_to_the_message_that_announced_them(
    shapes: list[tuple[int, int]],
) -> None:
    ours, theirs = _socket.socketpair()
    sender, receiver = fds.Channel(ours), fds.Channel(theirs)
    before = open_count()
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    for number, (count, size) in enumerate(shapes):
        sender.send({"n": number, "pad": "x" * size}, files[:count])
    for fd in files:
        os.close(fd)
    got = receiver.pending()
    assert [(m["n"], len(m["pad"]), len(came)) for m, came in got] == [
        (number, size, count) for number, (count, size) in enumerate(shapes)]
    for _, came in got:
        assert all(is_null(fd) and not os.get_inheritable(fd) for fd in came)
        for fd in came:
            os.close(fd)
    assert open_count() == before
    sender.close()
    receiver.close()


@given(st.lists(st.integers(1, 7), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_a_message_may_come_in_any_pieces(cuts: list[int]) -> None:
    ours, theirs = _socket.socketpair()
    receiver = fds.Channel(theirs)
    null = os.open("/dev/null", os.O_RDONLY)
    data, ancillary = b'{"a":1,"fds":1}\n{"b":2}\n{"c":3,"fds":2}\n', rights(null)
    got = []
    for cut in [*cuts, 100]:
        if b'{"c"' in data and data.index(b'{"c"') == 0:
            break
        ours.sendmsg([data[:min(cut, data.index(b'{"c"'))]], ancillary)
        data, ancillary = data[min(cut, data.index(b'{"c"')):], []
        got += receiver.pending()
    ours.sendmsg([data], rights(null, null))
    got += receiver.pending()
    assert [(message, len(came)) for message, came in got] == [
        ({"a": 1}, 1), ({"b": 2}, 0), ({"c": 3}, 2)]
    for fd in [null, *(fd for _, came in got for fd in came)]:
        os.close(fd)
    ours.close()
    receiver.close()


def test_a_big_message_waits_for_room(pair: Pair) -> None:
    channel, peer = pair
    other = fds.Channel(_socket.socket(fileno=os.dup(peer.fileno())))
    null = os.open("/dev/null", os.O_RDONLY)
    message = {"text": "x" * (4 << 20)}
    thread = threading.Thread(target=other.send, args=(message, [null] * fds.MAX_FDS))
    thread.start()
    got = channel.receive()
    thread.join()
    assert got is not None
    assert got[0] == message
    assert len(got[1]) == fds.MAX_FDS
    other.close()
    for fd in [null, *got[1]]:
        os.close(fd)


def test_a_non_blocking_socket_waits_too(pair: Pair) -> None:
    channel, peer = pair
    peer.setblocking(False)
    other = fds.Channel(_socket.socket(fileno=os.dup(peer.fileno())))
    thread = threading.Thread(target=other.send, args=({"text": "x" * (1 << 20)},))
    thread.start()
    assert channel.receive() is not None
    thread.join()
    other.close()


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b"1", b"\xff", b'{"fds":1}', b'{"fds":-1}', b'{"fds":true}', b'{"fds":"1"}',
     b'{"fds":1e9}', b"[" * 100_000, b""],
)  # fmt: skip
def test_what_is_no_message_is_a_value_error(pair: Pair, line: bytes) -> None:
    channel, peer = pair
    peer.sendall(line + b"\n")
    with pytest.raises(ValueError, match=r"."):
        channel.pending()


def test_descriptors_nobody_announced_are_closed(pair: Pair) -> None:
    channel, peer = pair
    null = os.open("/dev/null", os.O_RDONLY)
    before = open_count()
    peer.sendmsg([b'{"a":1}\n'], rights(null, null))
    assert channel.pending() == [({"a": 1}, [])]
    assert open_count() == before
    os.close(null)


def test_descriptors_of_a_message_without_end_are_bounded(pair: Pair) -> None:
    channel, peer = pair
    null = os.open("/dev/null", os.O_RDONLY)
    before = open_count()
    for _ in range(3):
        peer.sendmsg([b"x"], rights(*[null] * 200))
    with pytest.raises(ValueError, match="too big"):
        channel.pending()
    channel.close()
    os.close(null)
    assert open_count() <= before - 1


def test_a_line_without_end_is_refused(pair: Pair) -> None:
    channel, peer = pair

    def flood() -> None:
        try:
            peer.sendall(b"x" * (fds.MAX_MESSAGE + (1 << 20)))
        except OSError:
            pass

    thread = threading.Thread(target=flood)
    thread.start()
    with pytest.raises(ValueError, match="too big"):
        channel.receive()
    channel.close()
    thread.join()


def test_what_came_before_a_broken_line_does_not_leak(pair: Pair) -> None:
    channel, peer = pair
    null = os.open("/dev/null", os.O_RDONLY)
    peer.sendmsg([b'{"a":1,"fds":1}\n{\n'], rights(null))
    os.close(null)
    with pytest.raises(ValueError, match=r"."):
        channel.pending()


def test_the_end_comes_after_the_last_message(pair: Pair) -> None:
    channel, peer = pair
    peer.sendall(b'{"a":1}\n{"half":')
    peer.shutdown(_socket.SHUT_WR)
    assert channel.pending() == [({"a": 1}, [])]
    with pytest.raises(EOFError):
        channel.pending()
    assert channel.receive() is None


def test_receive_leaves_the_rest_for_pending(pair: Pair) -> None:
    channel, peer = pair
    peer.sendall(b'{"a":1}\n{"b":2}\n')
    assert channel.receive() == ({"a": 1}, [])
    assert channel.pending() == [({"b": 2}, [])]
    assert channel.pending() == []


def test_sending_to_nobody_is_an_os_error(pair: Pair) -> None:
    channel, peer = pair
    peer.close()
    with pytest.raises(BrokenPipeError):
        channel.send({"a": 1})


def test_what_cannot_be_sent_is_refused(pair: Pair) -> None:
    channel, _ = pair
    with pytest.raises(ValueError, match="'fds' is taken"):
        channel.send({"fds": 1})
    with pytest.raises(ValueError, match="too many"):
        channel.send({}, [0] * 254)
    with pytest.raises(ValueError, match="too big"):
        channel.send({"text": "x" * fds.MAX_MESSAGE})


@pytest.mark.parametrize("depth", [0, 4])
def test_a_listener_answers_at_paths_of_any_length(tmp_path: Path, depth: int) -> None:
    directory = tmp_path.joinpath(*["d" * 60] * depth)
    directory.mkdir(parents=True, exist_ok=True)
    path = str(directory / "control.sock")
    for _ in range(2):  # the second one replaces the first one's file
        listener = fds.open_listener(path)
        client = fds.connect(path)
        with socket.socket(fileno=listener.detach()) as whole:
            whole.accept()[0].close()
        client.close()
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(directory) == ["control.sock"]
    with pytest.raises(ConnectionRefusedError):
        fds.connect(path)


def test_nobody_answers_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fds.connect(str(tmp_path / "x"))


def test_a_lock_has_one_holder_who_says_who_he_is(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "lock")
    assert fds.lock_holder(path) == ""
    held = fds.lock(path, wait=False)
    assert held is not None
    assert fds.lock_holder(path).startswith(f"{os.getpid()} ")
    assert not os.get_inheritable(held)
    assert fds.lock(path, wait=False) is None
    os.close(held)
    again = fds.lock(path, wait=True)
    assert again is not None
    os.close(again)


def test_a_lock_lives_as_long_as_its_last_copy(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    held = fds.lock(path, wait=False)
    assert held is not None
    copy = os.dup(held)
    os.close(held)
    assert fds.lock(path, wait=False) is None
    os.close(copy)
    again = fds.lock(path, wait=False)
    assert again is not None
    os.close(again)


def test_a_lock_waited_for_is_that_of_the_file_which_is_there_now(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    held = fds.lock(path, wait=False)
    assert held is not None
    got: list[int | None] = []
    thread = threading.Thread(target=lambda: got.append(fds.lock(path, wait=True)))
    thread.start()
    os.unlink(path)
    os.close(held)
    thread.join()
    assert got[0] is not None
    assert os.path.samestat(os.fstat(got[0]), os.stat(path))
    os.close(got[0])


def test_a_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    os.symlink("elsewhere", tmp_path / "lock")
    with pytest.raises(OSError, match="symbolic links"):
        fds.lock(str(tmp_path / "lock"), wait=False)
    assert not os.path.exists(tmp_path / "elsewhere")
