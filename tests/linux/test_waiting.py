"""Waiting for descriptors, whatever their numbers are."""

from __future__ import annotations

import fcntl
import os
import resource

import pytest

from orchestrator.linux.waiting import ready


def test_what_can_be_read_written_or_has_ended_is_ready() -> None:
    reading, writing = os.pipe()
    try:
        assert ready([reading], [writing], timeout=0) == ([], [writing])
        os.write(writing, b"x")
        assert ready([reading], timeout=None) == ([reading], [])
        os.read(reading, 1)
    finally:
        os.close(writing)
    assert ready([reading]) == ([reading], []), "its end can be read"
    os.close(reading)


def test_there_is_no_highest_descriptor() -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 2048:
        pytest.skip("no descriptor can have such a number here")
    reading, writing = os.pipe()
    high = fcntl.fcntl(reading, fcntl.F_DUPFD, 2000)
    os.write(writing, b"x")
    assert ready([high], timeout=5) == ([high], [])
    for fd in (reading, writing, high):
        os.close(fd)
