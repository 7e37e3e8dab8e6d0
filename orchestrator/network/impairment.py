"""What a fault does to a frame: lets it go on, now or later, or not at all.

Pure but for the dice.  Frames are those of an Ethernet link, as a packet socket gives them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from orchestrator.dataclass import dataclass, field

Direction = Literal["out", "in"]
"""As the container sees it."""

HOST = "host"
"""Where services are named: the machine, and whoever comes or is reached by way of it."""
_TYPE_OFFSET = 12
_PLACES = {
    b"\x08\x00": (26, 30, 4),  # IPv4: where its source and its destination lie, their size
    b"\x86\xdd": (22, 38, 16),  # IPv6
    b"\x08\x06": (28, 38, 4),  # ARP: of the sender and of whom it asks for
}
_QUEUE = 0.5
"""Seconds that a frame waits for its turn at a limited rate; beyond them it is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fault as it applies to one link."""

    peers: frozenset[bytes] | None = None
    """Packed addresses of those whose frames it is about; None: everybody's."""
    is_about_others: bool = False
    """It is about the frames of everybody but `peers`."""
    directions: tuple[Direction, ...] = ("out", "in")
    cut: bool = False
    loss: float = 0.0
    """Of all frames, from 0 to 1."""
    rate: float = 0.0
    """Bits per second, each direction by itself; 0: no limit."""
    delay: float = 0.0
    """Seconds."""


@dataclass(slots=True)
class Line:
    """One link under its rules, and when each limited rate is free again."""

    rules: tuple[Rule, ...] = ()
    chance: Callable[[], float] = random.random
    _free: dict[tuple[Rule, Direction], float] = field(default_factory=dict)

    def due(self, frame: bytes, direction: Direction, now: float) -> float | None:
        """When the frame goes on (`now` or later), or None: it is lost."""
        at = now
        peer = peer_of(frame, direction)
        for rule in self.rules:
            if direction not in rule.directions or not _is_about(rule, peer):
                continue
            if rule.cut or (rule.loss and self.chance() < rule.loss):
                return None
            if rule.rate:
                turn = self._turn(rule, direction, at, size=len(frame))
                if turn is None:
                    return None
                at = turn
            at += rule.delay
        return at

    def _turn(self, rule: Rule, direction: Direction, now: float, *, size: int) -> float | None:
        """When the frame has passed at the rate."""
        begin = max(now, self._free.get((rule, direction), now))
        if begin - now > _QUEUE:
            return None
        self._free[rule, direction] = end = begin + size * 8 / rule.rate
        return end


def _is_about(rule: Rule, peer: bytes | None) -> bool:
    if rule.peers is None or not rule.is_about_others:
        return rule.peers is None or peer in rule.peers
    return peer is not None and peer not in rule.peers and not _stays_near(peer)


def _stays_near(peer: bytes) -> bool:
    """An address that no router passes on: multicast, broadcast, link-local of IPv6.  By these
    neighbours find each other, and it is not said who they are."""
    if len(peer) == 4:
        return peer[0] >= 224
    return peer[0] == 0xFF or (peer[0] == 0xFE and peer[1] & 0xC0 == 0x80)


def peer_of(frame: bytes, direction: Direction) -> bytes | None:
    """The packed address at the other end; None where the frame has none."""
    place = _PLACES.get(frame[_TYPE_OFFSET : _TYPE_OFFSET + 2])
    if place is None:
        return None
    source, destination, size = place
    offset = destination if direction == "out" else source
    return frame[offset : offset + size]
