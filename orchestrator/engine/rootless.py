"""An ordinary user's namespaces: in them the user is root, of what is there alone.

One process per user holds a user, a mount and a network namespace for as long as somebody may
need them, and makes sockets of the host for published ports.  A command enters before it does
anything; all that it starts stays inside.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

from orchestrator.errors import LaunchError
from orchestrator.linux import fds, procfs, syscalls, systemd
from orchestrator.network import hostports
from orchestrator.runtime.process import Process
from orchestrator.state.layout import Layout

_SPACES = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET
_SLICE = "app.slice"


def enter(*, delegate: bool) -> list[str]:
    """Enter them, made first where nobody has; what does not work in them, to be told.

    With `delegate` this process goes into a scope of the user's systemd before, so that groups may
    be made for containers.  LaunchError where the machine does not let users do this.
    """
    layout = Layout.from_environment()
    directory = f"{layout.run}/rootless"
    os.makedirs(directory, mode=0o700, exist_ok=True)
    words: list[str] = []
    process = _holder(directory, words)
    if delegate:
        _delegate(words)
    os.environ["PCOMPOSE_DATA"], os.environ["PCOMPOSE_RUN"] = layout.data, layout.run
    os.environ[hostports.VARIABLE] = f"{directory}/ports.sock"
    try:
        place = os.getcwd()
        syscalls.setns(process.pidfd, _SPACES)
        os.chdir(place)
    except OSError as exc:
        hint = "a program enters while it has one thread" if exc.errno == errno.EINVAL else None
        raise LaunchError(f"cannot enter the namespaces of this user: {exc.strerror}",
                          hint=hint) from exc
    finally:
        process.close()
    return words


def _holder(directory: str, words: list[str]) -> Process:
    lock = fds.lock(f"{directory}/lock", wait=True)
    try:
        found = _living(directory)
        if found is None:
            words += _start(directory)
            found = _living(directory)
    finally:
        if lock is not None:
            os.close(lock)
    if found is None:
        raise LaunchError("the process that holds this user's namespaces has ended at once")
    return found


def _living(directory: str) -> Process | None:
    try:
        with open(f"{directory}/holder.json", encoding="utf-8") as stream:
            record = json.load(stream)
        return Process.adopt(record["pid"], record["start_time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _start(directory: str) -> list[str]:
    """Start the holder; what it has to say."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONPATH": package}
    with open(f"{directory}/holder.log", "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.engine.rootless_holder", directory],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment,
            start_new_session=True, text=True, cwd="/",
        )  # fmt: skip
    assert child.stdout is not None
    with child.stdout:
        answer = json.loads(child.stdout.readline() or '{"error": "it ended without a word"}')
    if "error" in answer:
        child.wait()
        raise LaunchError(f"cannot make namespaces for this user: {answer['error']}",
                          hint="pcompose doctor says what this machine lacks")
    child.returncode = 0  # it lives on: nobody waits for it
    return list(answer["words"])


def _delegate(words: list[str]) -> None:
    """Into a scope below user@UID.service, unless that is where we are."""
    own = procfs.cgroups().get("", "")
    if f"/user@{os.geteuid()}.service/" in own + "/":
        return
    manager = systemd.manager_socket()
    try:
        if manager is None:
            raise OSError(2, "this user has no systemd")
        systemd.start_scope(manager, f"pcompose-{os.getpid()}.scope", slice_name=_SLICE,
                            pid=os.getpid(), limits={})
    except OSError as exc:
        words.append(f"limits of containers cannot be enforced: {exc.strerror}")
