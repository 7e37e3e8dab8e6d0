"""Bad input: one clear message with place and hint, the documented code, nothing half-made."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

HOST = "image: pcompose/host"
FAULTS = {
    "broken yaml": ("services:\n  web:\n   image: x\n  bad: [", "compose.yaml:5:1", 1),
    "unknown key": (f"services:\n  web:\n    {HOST}\n    imagee: x\n", "compose.yaml:4:5", 1),
    "required variable": ("services:\n  web:\n    image: ${TAG:?set a tag}\n", "set a tag", 1),
    "undefined volume": (
        f"services:\n  web:\n    {HOST}\n    volumes: [data:/data]\n", "compose.yaml:4", 1,
    ),
    "undefined network": (
        f"services:\n  web:\n    {HOST}\n    networks: [back]\n", "compose.yaml:4", 1,
    ),
    "cycle": (
        f"services:\n  a:\n    {HOST}\n    depends_on: [b]\n"
        f"  b:\n    {HOST}\n    depends_on: [a]\n",
        "a -> b -> a", 1,
    ),
    "missing image": ("services:\n  web:\n    image: nowhere/nothing:1\n", "nowhere/nothing:1", 1),
    "missing bind source": (
        f"services:\n  web:\n    {HOST}\n    volumes:\n"
        "      - {type: bind, source: ./none, target: /x, bind: {create_host_path: false}}\n",
        "none", 1,
    ),
    "missing bind file": (
        f"services:\n  web:\n    {HOST}\n    volumes: [./nginx.conf:/etc/nginx.conf]\n",
        "nginx.conf", 1,
    ),
    "key that is refused": (f"services:\n  web:\n    {HOST}\n    runtime: kata\n",
                               "compose.yaml:4:5", 1),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_file_is_told_with_its_place_and_makes_nothing(
    stack: Stack, fault: str
) -> None:
    text, expected, code = FAULTS[fault]
    stack.write(text)
    done = stack("-p", stack.name, "up", "-d", ok=False)
    assert done.returncode == code
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert stack.remains() == {}
    assert [path.name for path in stack.directory.iterdir()] == ["compose.yaml"]


def test_a_command_that_is_not_there_is_told_with_127_and_makes_nothing(stack: Stack) -> None:
    stack.write(f"services:\n  web:\n    {HOST}\n    command: [no-such-command]\n")
    done = stack("-p", stack.name, "up", "-d", ok=False)
    assert done.returncode == 127
    assert "exec no-such-command: executable file not found in PATH" in done.stderr
    assert "compose.yaml:4" in done.stderr
    assert stack.remains() == {}


def test_a_file_that_cannot_be_executed_is_told_with_126(stack: Stack) -> None:
    stack.write(f"services:\n  web:\n    {HOST}\n    command: [/etc/passwd]\n")
    done = stack("-p", stack.name, "up", "-d", ok=False)
    assert done.returncode == 126
    assert "/etc/passwd" in done.stderr
    assert "compose.yaml:4" in done.stderr
    stack("-p", stack.name, "down", "-v")
    assert stack.remains() == {}


HOLD_PORT = (
    "import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', 18080)); s.listen();"
    "print('held', flush=True); sys.stdin.read()"
)


def test_a_taken_port_names_its_holder_and_the_line(stack: Stack) -> None:
    stack.write(
        f"services:\n  web:\n    {HOST}\n    command: sleep infinity\n"
        "    ports:\n      - 127.0.0.1:18080:80\n"
    )
    holder = subprocess.Popen(
        stack.sandbox.inside([sys.executable, "-c", HOLD_PORT]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    done = stack("-p", stack.name, "up", "-d", ok=False)
    holder.communicate()
    assert done.returncode == 1
    assert "127.0.0.1:18080" in done.stderr
    assert f"pid {holder.pid}" in done.stderr
    assert "compose.yaml:6" in done.stderr
    stack("-p", stack.name, "down", "-v")
    assert stack.remains() == {}


@pytest.mark.parametrize("flag", ["--menu", "--nonsense"])
def test_a_flag_that_does_nothing_here_is_refused(stack: Stack, flag: str) -> None:
    stack.write(f"services:\n  web:\n    {HOST}\n")
    done = stack("-p", stack.name, "up", flag, ok=False)
    assert done.returncode == 1
    assert flag in done.stderr


def test_a_name_that_is_no_project_name_is_refused(stack: Stack) -> None:
    stack.write(f"services:\n  web:\n    {HOST}\n")
    done = stack("-p", "Not/Valid", "config", ok=False)
    assert done.returncode == 1
    assert 'invalid project name "Not/Valid"' in done.stderr


def test_a_socket_in_the_place_of_the_file_is_told(stack: Stack) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(stack.directory / "compose.yaml"))
        done = stack("-p", stack.name, "up", "-d", ok=False)
    assert done.returncode == 1
    assert "compose.yaml" in done.stderr
    assert "Traceback" not in done.stderr
