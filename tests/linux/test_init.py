"""PID 1 of a container with `init: true`: what it starts, hands on, reaps and gives back."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from orchestrator.linux import procfs, syscalls, tty
from orchestrator.runtime import initbin
from tests.linux.forked import in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module", params=["shipped", "rebuilt"])
def init(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The shipped binary, and one made now by the command in the source."""
    shipped = initbin.path()
    if request.param == "shipped":
        return shipped
    machine = os.uname().machine
    if shutil.which(f"{machine}-linux-gnu-gcc") is None:
        pytest.skip("no compiler to rebuild it with")
    directory = tmp_path_factory.mktemp("init")
    shutil.copy(os.path.join(os.path.dirname(shipped), "init.c"), directory)
    with open(os.path.join(directory, "init.c")) as source:
        lines = [line[3:].rstrip("\\\n") for line in source if line.startswith(" *         ")]
    command = f"cpu={machine}; {''.join(lines)}"
    subprocess.run(command, shell=True, check=True, cwd=directory)
    return os.path.join(directory, f"init.{machine}")


@pytest.fixture
def start(init: str) -> Iterator[Callable[..., int]]:
    """Starts init as PID 1 of a new namespace, executed by descriptor as the runtime does."""
    pids = []

    def begin(*argv: str, stdout: int = 1, prepare: Callable[[], None] = lambda: None) -> int:
        pid = syscalls.clone(syscalls.CLONE_NEWPID)
        if pid == 0:
            try:
                prepare()
                os.dup2(stdout, 1)
                os.execve(os.open(init, os.O_RDONLY), ["pcompose-init", "--", *argv], {"A": "b"})
            finally:
                os._exit(99)
        pids.append(pid)
        return pid

    yield begin
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def code_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def output_of(start: Callable[..., int], *argv: str) -> str:
    reader, writer = os.pipe()
    pid = start(*argv, stdout=writer)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    assert code_of(pid) == 0
    return text


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 5", 5), ("exit 255", 255), ("kill -KILL $$", 137),
     ("kill -TERM $$", 143), ("kill -SEGV $$", 139)],
)  # fmt: skip
def test_the_exit_code_is_that_of_the_command(
    start: Callable[..., int], script: str, code: int
) -> None:
    assert code_of(start("/bin/sh", "-c", script)) == code


def test_a_command_that_cannot_be_executed_has_the_code_of_a_shell(
    start: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert code_of(start("/nonexistent")) == 127
    assert code_of(start("/etc/passwd/x")) == 127
    assert code_of(start("/etc")) == 126
    assert "pcompose-init: cannot execute /nonexistent\n" in capfd.readouterr().err


def test_the_command_gets_its_arguments_environment_and_signals(start: Callable[..., int]) -> None:
    script = 'echo "$0 $1 $A $$ $(cut -d" " -f5 /proc/self/stat)"; grep SigBlk /proc/self/status'
    text = output_of(start, "/bin/sh", "-c", script, "x y", "z")
    first, blocked = text.splitlines()
    assert first.startswith("x y z b 2 ")
    assert int(blocked.split()[1], 16) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGWINCH,
                                    signal.SIGRTMIN + 3])
def test_a_signal_reaches_the_command(start: Callable[..., int], number: int) -> None:
    reader, writer = os.pipe()
    script = f"import os,signal; signal.signal({number:d}, lambda *_: os._exit(42)); print('up',"
    pid = start(sys.executable, "-SIc", f"{script} flush=True); signal.pause()", stdout=writer)
    assert os.read(reader, 10) == b"up\n"
    os.kill(pid, number)
    assert code_of(pid) == 42
    os.close(reader)
    os.close(writer)


def test_orphans_are_reaped(start: Callable[..., int]) -> None:
    reader, writer = os.pipe()
    script = "for n in 1 2 3 4 5; do (/bin/true &); done; echo done; exec sleep 60"
    pid = start("/bin/sh", "-c", script, stdout=writer)
    assert os.read(reader, 10) == b"done\n"
    deadline = time.monotonic() + 10
    while len(procfs.children(pid)) > 1 and time.monotonic() < deadline:
        os.sched_yield()
    assert len(procfs.children(pid)) == 1  # the command; no zombie of the five beside it
    os.kill(pid, signal.SIGTERM)
    assert code_of(pid) == 143
    os.close(reader)
    os.close(writer)


def test_what_outlives_the_command_ends_with_it(start: Callable[..., int]) -> None:
    reader, writer = os.pipe()
    pid = start("/bin/sh", "-c", "sleep 600 & echo up", stdout=writer)
    os.close(writer)
    assert code_of(pid) == 0
    poll = select.poll()
    poll.register(reader, select.POLLHUP)
    assert os.read(reader, 10) == b"up\n"
    assert poll.poll(5000) == [(reader, select.POLLHUP)]
    os.close(reader)


def test_the_command_owns_the_terminal(init: str) -> None:
    def work() -> list[int]:
        master, slave = tty.open_pty()
        pid = syscalls.clone(syscalls.CLONE_NEWPID)
        if pid == 0:
            os.setsid()
            tty.make_controlling(slave)
            os.dup2(slave, 0)
            os.dup2(slave, 1)
            script = "trap 'exit 9' INT; echo up; while :; do read x; done"
            os.execv(init, ["init", "--", "/bin/sh", "-c", script])
        seen = b""
        while b"up" not in seen:
            seen += os.read(master, 100)
        os.write(master, b"\x03")
        return [code_of(pid)]

    assert in_child(work) == [9]


def test_it_is_small_and_needs_nothing(init: str) -> None:
    with open(init, "rb") as file:
        data = file.read()
    assert len(data) < 4096
    assert b"/lib" not in data


def test_without_a_command_it_says_how_it_is_used(init: str) -> None:
    result = subprocess.run([init, "x"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: pcompose-init -- PATH [ARGUMENT]...")


def test_with_x_it_becomes_the_command_and_closes_the_descriptor(init: str) -> None:
    reading, writing = os.pipe()
    script = "echo $0 $1; ls -l /proc/self/fd | grep -c pipe:"
    result = subprocess.run(
        [init, "-x", str(writing), "/bin/sh", "name", "-c", script, "zero", "one"],
        pass_fds=(writing,), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    os.close(writing)
    assert result.stdout == "zero one\n2\n"  # our two pipes, for stdout and stderr
    assert os.read(reading, 100) == b""
    os.close(reading)


@pytest.mark.parametrize(("path", "number"), [("/nonexistent", 2), ("/etc/passwd", 13)])
def test_with_x_it_says_why_it_could_not(init: str, path: str, number: int) -> None:
    reading, writing = os.pipe()
    words = [init, "-x", str(writing), path, path]
    result = subprocess.run(words, pass_fds=(writing,), check=False)
    os.close(writing)
    assert result.returncode == 126
    assert json.loads(os.read(reading, 100)) == {"errno": number}
    os.close(reading)


def test_the_one_for_aarch64_does_the_same(tmp_path: Path) -> None:
    emulator = shutil.which("qemu-aarch64")
    if emulator is None:
        pytest.skip("no qemu-aarch64 to run it with")
    binary = os.path.join(os.path.dirname(initbin.path()), "init.aarch64")
    command = [emulator, binary, "--", "/bin/sh", "-c", "exit 7"]
    assert subprocess.run(command, check=False).returncode == 7
