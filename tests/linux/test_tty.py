"""Pseudo terminals: size, raw mode, controlling terminal."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from orchestrator.linux import syscalls, tty
from tests.linux.forked import in_child

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pty() -> Iterator[tuple[int, int]]:
    master, slave = tty.open_pty()
    assert not os.get_inheritable(master)
    assert not os.get_inheritable(slave)
    yield master, slave
    os.close(master)
    os.close(slave)


def test_the_size_is_what_was_set(pty: tuple[int, int]) -> None:
    master, slave = pty
    assert tty.window_size(slave) == (0, 0)
    tty.set_window_size(master, rows=24, columns=80)
    assert tty.window_size(slave) == (24, 80)
    tty.set_window_size(master, rows=-1, columns=1_000_000)
    assert tty.window_size(slave) == (0, 65535)


def test_raw_mode_passes_bytes_unchanged_and_can_be_undone(pty: tuple[int, int]) -> None:
    master, slave = pty
    saved = tty.enter_raw_mode(slave)
    os.write(master, b"\x03\r\n\x7f")
    assert os.read(slave, 10) == b"\x03\r\n\x7f"
    os.write(slave, b"a\n")
    assert os.read(master, 10) == b"a\n"
    tty.restore_mode(slave, saved)
    os.write(slave, b"a\n")
    assert os.read(master, 10) == b"a\r\n"


def test_the_slave_is_that_of_the_master(pty: tuple[int, int]) -> None:
    master, slave = pty
    assert os.ttyname(slave) == f"/dev/pts/{tty.pty_number(master)}"
    assert tty.is_terminal(slave)
    assert not tty.is_terminal(2**20)


def test_a_controlling_terminal_sends_ctrl_c() -> None:
    def work() -> int:
        master, slave = tty.open_pty()
        os.setsid()
        tty.make_controlling(slave)
        got: list[int] = []
        signal.signal(signal.SIGINT, lambda number, _: got.append(number))
        os.write(master, b"\x03")
        os.read(master, 2)  # the echo ^C: the terminal has worked on it
        return got[0]

    assert in_child(work) == signal.SIGINT


@pytest.mark.kernel
def test_a_terminal_can_live_in_a_devpts_of_its_own(tmp_path: os.PathLike[str]) -> None:
    def work() -> list[object]:
        syscalls.mount("devpts", os.fspath(tmp_path), "devpts", 0, "newinstance,ptmxmode=0666")
        master, slave = tty.open_pty(os.path.join(tmp_path, "ptmx"))
        there = os.stat(os.path.join(tmp_path, "0")).st_dev == os.fstat(slave).st_dev
        return [tty.pty_number(master), there]

    assert in_child(work, namespaces=syscalls.CLONE_NEWNS) == [0, True]
