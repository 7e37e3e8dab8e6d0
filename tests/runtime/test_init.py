"""`init: true`: a first process that reaps and hands signals on."""

from __future__ import annotations

import os

import pytest

from orchestrator.runtime.process import BLOCKS, DROPS, TAKES, effective_pid1, reaction
from tests.runtime.kept import Kept, eventually

pytestmark = pytest.mark.kernel


def test_orphans_are_reaped_by_the_init(kept: Kept) -> None:
    script = "for i in 1 2 3; do (sleep 0.1 & ) ; done; sleep 0.5; grep -l 'State:.Z' " \
             "/proc/[0-9]*/status | wc -l; cat /proc/1/comm"
    reaped, name = kept.sh("web", script, init=True).splitlines()
    assert reaped == "0"
    assert "init" in name


def test_the_exit_code_and_the_arguments_are_those_of_the_command(kept: Kept) -> None:
    message = kept.run("web", ("sh", "-c", "echo $0 $1; exit 5", "a b", "--"), init=True)
    assert message["exit_code"] == 5
    assert kept.output("web") == "a b --"


def test_a_missing_command_is_found_out_before_the_init_runs(kept: Kept) -> None:
    message = kept.run("web", ("no-such-command",), init=True)
    assert (message["event"], message["errno"]) == ("failed", 2)
    assert kept.run("two", ("/etc/passwd",), init=True)["errno"] == 13


def test_the_init_binary_cannot_be_written_from_inside(kept: Kept) -> None:
    script = "cp /bin/true /tmp/t; cat /tmp/t >/proc/1/exe; cat /proc/1/exe >/dev/null && echo read"
    assert kept.sh("web", script, init=True) == "read"
    assert "Read-only file system" in kept.output("web", "stderr")


WAITING = "import signal as s; s.pthread_sigmask(0, [15]); s.sigwait([15]); raise SystemExit(5)"


def test_a_stop_signal_ends_the_command_below_the_init(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"), init=True)
    pid = kept.pids["web"][0]
    eventually(lambda: effective_pid1(pid, has_init=True) != pid)
    assert reaction(effective_pid1(pid, has_init=True), 15) == TAKES
    os.kill(pid, 15)
    assert kept.exited("web")["exit_code"] == 143


def test_who_drops_a_signal_is_known(kept: Kept) -> None:
    kept.start("deaf", ("/bin/sleep", "1000"))
    kept.start("hears", ("/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"))
    kept.start("waits", ("/usr/bin/python3", "-c", WAITING))
    eventually(lambda: reaction(kept.pids["hears"][0], 15) == TAKES)
    eventually(lambda: reaction(kept.pids["waits"][0], 15) == BLOCKS)
    assert reaction(kept.pids["deaf"][0], 15) == DROPS
    assert reaction(os.getpid(), 15) == TAKES
    os.kill(kept.pids["waits"][0], 15)
    assert kept.exited("waits")["exit_code"] == 5
    os.kill(kept.pids["hears"][0], 15)
    assert kept.exited("hears")["exit_code"] == 0
