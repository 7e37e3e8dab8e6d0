"""A start that is given up: what the child itself has said of its failure is the reason told."""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_STREAM, socketpair
from collections.abc import Iterator

import pytest

from orchestrator.linux.fds import Channel
from orchestrator.runtime.kept import Container

WORDS = {"step": "bind /a -> /x", "kind": "Bind", "errno": 22, "path": "/x", "message": "no"}
REQUEST = {"id": "web", "exit_path": "", "groups": [], "oom_file": "", "wait": True}


@pytest.fixture
def started() -> Iterator[tuple[Container, Channel]]:
    """A container that waits for its `go`, and the child's end of their channel."""
    ours, theirs = map(Channel, socketpair(AF_UNIX, SOCK_STREAM))
    container = Container(REQUEST, pid=os.getpid(), pidfd=-1, channel=ours)
    yield container, theirs
    theirs.close()
    container.close()


def test_words_heard_before_it_was_given_up_stay(started: tuple[Container, Channel]) -> None:
    container, child = started
    child.send(WORDS)
    container.listen()  # the child is not gone yet, so nobody has been told
    container.give_up()
    assert container.failure == WORDS


def test_words_said_before_it_was_given_up_are_heard(started: tuple[Container, Channel]) -> None:
    container, child = started
    child.send(WORDS)
    container.give_up()
    container.listen()
    assert container.failure == WORDS


def test_without_words_it_was_given_up(started: tuple[Container, Channel]) -> None:
    container, _ = started
    container.give_up()
    assert container.failure is not None
    assert container.failure["kind"] == "Abort"
