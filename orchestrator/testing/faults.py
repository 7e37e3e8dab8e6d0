"""Faults as context managers: something is broken inside of the block and mended after it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.testing.stack import Stack


class Faults:
    """The faults of one stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    # ---- on the way between services; of one service: all its traffic ----

    @contextmanager
    def partition(self, *services: str) -> Iterator[None]:
        """No packet passes."""
        with self._stack.project.faults.partition(*services):
            yield

    @contextmanager
    def loss(self, *services: str, percent: float) -> Iterator[None]:
        """So many of a hundred packets do not arrive, in each direction."""
        with self._stack.project.faults.loss(*services, percent=percent):
            yield

    @contextmanager
    def rate(self, *services: str, bits: float) -> Iterator[None]:
        """So many bits per second, in each direction."""
        with self._stack.project.faults.rate(*services, bits=bits):
            yield

    @contextmanager
    def latency(self, *services: str, seconds: float) -> Iterator[None]:
        """Each packet takes so much longer; there and back it is twice that."""
        with self._stack.project.faults.latency(*services, seconds=seconds):
            yield

    # ---- of the containers themselves ----

    @contextmanager
    def pause(self, *services: str) -> Iterator[None]:
        """The processes stand still: connections stay open and nobody answers."""
        with self._stack.paused(*services):
            yield

    @contextmanager
    def kill(self, *services: str) -> Iterator[None]:
        """SIGKILL, as a crash would end them; started again, and awaited, at the end."""
        self._stack.kill(*services)
        try:
            yield
        finally:
            self._stack.start(*services)

    @contextmanager
    def stop(self, *services: str) -> Iterator[None]:
        """An orderly stop; started again, and awaited, at the end."""
        self._stack.stop(*services)
        try:
            yield
        finally:
            self._stack.start(*services)
