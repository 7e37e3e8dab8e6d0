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
