"""`exec`, `run` and the attached `up`, with and without a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

SLEEPER = "services:\n  s: {image: pcompose/host, command: sleep infinity, stop_grace_period: 2s}\n"


class Terminal:
    """A command on a pseudo terminal, read as text until something appears."""

    def __init__(self, stack: Stack, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            stack.sandbox.inside(["pcompose", *arguments]), cwd=stack.directory,
            env={**stack.sandbox.environment, "TERM": "xterm"},
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: control(slave),
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def write(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, text: str, *, timeout: float = 15) -> str:
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
            if not select.select([self.master], [], [], 0.2)[0]:
                continue
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                break
        assert text in self.seen, f"no {text!r} in {self.seen!r}"
        return self.seen

    def code(self) -> int:
        while self.process.poll() is None:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    break
        return self.process.wait(timeout=20)


def control(terminal: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def test_exec_gives_output_input_and_code_of_the_command(stack: Stack) -> None:
    stack.write(SLEEPER)
    stack("-p", stack.name, "up", "-d")
    done = stack("exec", "-T", "s", "sh", "-c", "cat; echo err >&2; exit 42", ok=False, input="hi")
    assert (done.stdout, done.stderr, done.returncode) == ("hi", "err\n", 42)
    assert stack("exec", "-T", "s", "no-such", ok=False).returncode == 127
    assert stack("exec", "-T", "s", "/etc/passwd", ok=False).returncode == 126
    assert stack.execute("s", "sh", "-c", "kill -9 $$", ok=False) == ""


def test_exec_options_change_user_directory_and_environment(stack: Stack) -> None:
    stack.write(SLEEPER)
    stack("-p", stack.name, "up", "-d")
    shown = stack("exec", "-T", "-u", "daemon", "-w", "/tmp", "-e", "X=y", "s",
                  "sh", "-c", "id -un; pwd; echo $X").stdout  # fmt: skip
    assert shown.split() == ["daemon", "/tmp", "y"]


def test_exec_on_a_terminal_is_a_terminal(stack: Stack) -> None:
    stack.write(SLEEPER)
    stack("-p", stack.name, "up", "-d")
    terminal = Terminal(stack, "-p", stack.name, "exec", "s", "sh")
    terminal.write("tty; stty size; exit 9\n")
    terminal.until("/dev/pts/")
    assert terminal.code() == 9


def test_run_returns_the_code_and_leaves_nothing_with_rm(stack: Stack) -> None:
    stack.write(SLEEPER)
    script = "echo out; exit 3"
    done = stack("-p", stack.name, "run", "--rm", "-T", "s", "sh", "-c", script, ok=False)
    assert (done.stdout, done.returncode) == ("out\n", 3)
    assert stack.ps() == {}


def test_a_name_is_had_by_one_container_of_the_machine(stack: Stack) -> None:
    stack.write(f"name: {stack.name}\n{SLEEPER.replace('{', '{container_name: fixed, ')}")
    stack("up", "-d")
    stack("up", "-d", "--force-recreate")
    stack("run", "-d", "--name", "mine", "s", "sleep", "infinity")
    for name, why in (("mine", "is in use by s of"), ("fixed", "is in use by s of"),
                      ("../x", "invalid container name")):  # fmt: skip
        done = stack("run", "--name", name, "s", "true", ok=False)
        assert (done.returncode, why in done.stderr) == (1, True)
    other = stack("-p", f"{stack.name}-other", "up", "-d", ok=False)
    assert "compose.yaml:3:7: container name fixed is in use by s of project" in other.stderr
    assert set(stack.ps()) == {"fixed", "mine"}
    assert stack.ls()["Status"] == "running(2)"


def test_run_quiet_shows_the_command_alone(stack: Stack) -> None:
    stack.write(f"name: {stack.name}\n{SLEEPER}")
    done = stack("run", "--rm", "--quiet", "s", "echo", "alone")
    assert (done.stdout, done.stderr) == ("alone\n", "")


def test_run_passes_input_to_its_end(stack: Stack) -> None:
    stack.write(SLEEPER)
    done = stack("-p", stack.name, "run", "--rm", "-T", "s", "wc", "-c", input="x" * 100_000)
    assert done.stdout.strip() == "100000"


def test_run_starts_the_dependencies_and_waits_for_them(stack: Stack) -> None:
    stack.write("""
services:
  db:
    image: pcompose/host
    command: sh -c "sleep 0.3; touch /tmp/ready; sleep infinity"
    healthcheck: {test: [CMD, test, -f, /tmp/ready]}
  job:
    image: pcompose/host
    command: getent hosts db
    depends_on: {db: {condition: service_healthy}}
""")
    done = stack("-p", stack.name, "run", "--rm", "-T", "job")
    assert "db" in done.stdout
    assert stack.ps()[f"{stack.name}-db-1"]["Health"] == "healthy"


def test_a_signal_to_run_reaches_the_container(stack: Stack) -> None:
    stack.write(SLEEPER)
    script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    running = stack.start("-p", stack.name, "run", "--rm", "-T", "s", "sh", "-c", script)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGTERM)
    out, _ = running.communicate(timeout=10)
    assert (out, running.returncode) == ("caught\n", 5)


def test_run_on_a_terminal_is_a_terminal(stack: Stack) -> None:
    stack.write(SLEEPER)
    terminal = Terminal(stack, "-p", stack.name, "run", "--rm", "s", "sh")
    terminal.write("tty; exit 4\n")
    terminal.until("/dev/")
    assert terminal.code() == 4


def test_attached_up_shows_logs_and_ends_with_its_containers(stack: Stack) -> None:
    stack.write("services:\n  a: {image: pcompose/host, command: sh -c \"echo one; sleep 0.1\"}\n")
    done = stack("-p", stack.name, "up")
    assert "a-1  | one" in done.stdout
    assert "a-1 exited with code 0" in done.stdout


def test_interrupting_an_attached_up_stops_in_order_and_gives_130(stack: Stack) -> None:
    script = "trap 'date +%s%N; exit' TERM; echo up; while :; do sleep 0.05; done"
    stack.write(f"""
services:
  web: {{image: pcompose/host, command: [sh, -c, "{script}"], depends_on: [db]}}
  db: {{image: pcompose/host, command: [sh, -c, "{script}"], restart: always}}
""")
    terminal = Terminal(stack, "-p", stack.name, "up")
    terminal.until("web-1")
    eventually(lambda: len(stack.logs()) == 2)
    terminal.write("\x03")
    assert terminal.code() == 130
    rows = stack.ps()
    assert {row["State"] for row in rows.values()} == {"exited"}
    times = {line.split("|")[0].strip(): int(line.split("|")[1])
             for line in stack.logs("--tail", "1")}  # fmt: skip
    assert times["web-1"] < times["db-1"]


def test_interrupting_twice_kills(stack: Stack) -> None:
    stack.write("""
services:
  deaf:
    image: pcompose/host
    command: [sh, -c, "trap '' TERM; echo armed; while :; do sleep 0.05; done"]
    stop_grace_period: 1m
""")
    terminal = Terminal(stack, "-p", stack.name, "up")
    terminal.until("armed")
    terminal.write("\x03")
    terminal.until("press Ctrl+C again to force")
    terminal.write("\x03")
    begun = time.monotonic()
    assert terminal.code() == 130
    assert time.monotonic() - begun < 5
    assert stack.ps()[f"{stack.name}-deaf-1"]["ExitCode"] == 137


@pytest.mark.parametrize(
    ("flags", "code", "server"),
    [
        (("--exit-code-from", "test"), 3, 143),
        (("--exit-code-from", "server"), 143, 143),
        (("--abort-on-container-exit",), 0, 143),
        (("--abort-on-container-failure",), 3, 143),
    ],
)
def test_who_ends_up_and_with_which_code(
    stack: Stack, flags: tuple[str, ...], code: int, server: int
) -> None:
    """R-11: `init` ends first and well, then `test` fails, `server` is stopped."""
    stack.write("""
services:
  init:
    image: pcompose/host
    command: "true"
    depends_on: {server: {condition: service_healthy}}
  test:
    image: pcompose/host
    command: sh -c "sleep 0.2; exit 3"
    depends_on: {init: {condition: service_completed_successfully}}
  server:
    image: pcompose/host
    command: sh -c "trap 'exit 143' TERM; touch /tmp/up; while :; do sleep 0.05; done"
    healthcheck: {test: [CMD, test, -f, /tmp/up]}
""")
    done = stack("-p", stack.name, "up", *flags, ok=False, timeout=60)
    assert done.returncode == code
    row = stack.ps()[f"{stack.name}-server-1"]
    assert (row["State"], row["ExitCode"]) == ("exited", server)
