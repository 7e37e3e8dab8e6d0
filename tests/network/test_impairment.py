"""What a fault does to frames, by value."""

from __future__ import annotations

import socket

import pytest

from orchestrator.network.impairment import Direction, Line, Rule, peer_of

ME, PEER = "10.1.0.2", "10.1.0.3"


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def frame(source: str, destination: str, size: int = 100) -> bytes:
    if ":" in source:
        head = bytes(12) + b"\x86\xdd" + bytes(8)
    else:
        head = bytes(12) + b"\x08\x00" + bytes(12)
    return (head + packed(source) + packed(destination)).ljust(size, b"\0")


ARP = bytes(12) + b"\x08\x06" + bytes(14) + packed(ME) + bytes(6) + packed(PEER)


@pytest.mark.parametrize(
    ("data", "direction", "peer"),
    [
        (frame(ME, PEER), "out", packed(PEER)),
        (frame(PEER, ME), "in", packed(PEER)),
        (frame("fd00::2", "fd00::3"), "out", packed("fd00::3")),
        (frame("fd00::3", "fd00::2"), "in", packed("fd00::3")),
        (ARP, "out", packed(PEER)),
        (ARP, "in", packed(ME)),
        (b"", "out", None),
        (bytes(12) + b"\x88\xcc" + bytes(40), "in", None),
    ],
)
def test_the_other_end_is_found(data: bytes, direction: Direction, peer: bytes | None) -> None:
    assert peer_of(data, direction) == peer


def test_a_cut_is_for_its_peers_alone() -> None:
    line = Line((Rule(peers=frozenset([packed(PEER)]), cut=True),))
    assert line.due(frame(ME, PEER), "out", 5.0) is None
    assert line.due(frame(PEER, ME), "in", 5.0) is None
    assert line.due(frame(ME, "10.1.0.4"), "out", 5.0) == 5.0


def test_a_cut_from_the_host_spares_the_peers_and_how_neighbours_find_each_other() -> None:
    peers = frozenset([packed(PEER), packed("fd00::3")])
    line = Line((Rule(peers=peers, is_about_others=True, cut=True),))
    for other in ("10.1.0.1", "198.51.100.7"):
        assert line.due(frame(ME, other), "out", 5.0) is None
        assert line.due(frame(other, ME), "in", 5.0) is None
    assert line.due(frame("fd00::2", "fd00::1"), "out", 5.0) is None
    for near in (PEER, "224.0.0.1", "255.255.255.255", "ff02::1:ff00:3", "fe80::3", "fd00::3"):
        assert line.due(frame("fd00::2" if ":" in near else ME, near), "out", 5.0) == 5.0
    assert line.due(ARP, "out", 5.0) == 5.0


def test_loss_is_by_chance() -> None:
    rolls = iter([0.09, 0.11])
    line = Line((Rule(loss=0.1),), chance=lambda: next(rolls))
    assert line.due(frame(ME, PEER), "out", 0.0) is None
    assert line.due(frame(ME, PEER), "out", 0.0) == 0.0


def test_delays_add_up_in_their_directions() -> None:
    line = Line((Rule(delay=0.05, directions=("out",)), Rule(delay=0.01)))
    assert line.due(frame(ME, PEER), "out", 1.0) == pytest.approx(1.06)
    assert line.due(frame(PEER, ME), "in", 1.0) == pytest.approx(1.01)


def test_a_rate_sends_one_after_the_other_and_loses_what_waits_too_long() -> None:
    line = Line((Rule(rate=8000.0),))  # a frame of 100 bytes takes 0.1 s
    dues = [line.due(frame(ME, PEER), "out", 0.0) for _ in range(7)]
    assert dues[:6] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert dues[6] is None
    assert line.due(frame(PEER, ME), "in", 0.0) == pytest.approx(0.1)  # its own direction
    assert line.due(frame(ME, PEER), "out", 10.0) == pytest.approx(10.1)
