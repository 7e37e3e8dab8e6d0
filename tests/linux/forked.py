"""Run a piece of a test in a child process: namespaces, filters and lost privileges end with it."""

from __future__ import annotations

import json
import os
import traceback
from typing import TYPE_CHECKING, Any

from orchestrator.linux import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable


def in_child(work: Callable[[], Any], *, namespaces: int = 0) -> Any:  # whatever JSON can carry
    """What `work` returns, run in a fork that has unshared `namespaces`; fails as it fails."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _report(work, namespaces, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        text = file.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, text or f"the child ended with wait status {status}"
    return json.loads(text)


def _report(work: Callable[[], Any], namespaces: int, writer: int) -> None:
    code = 1
    try:
        syscalls.unshare(namespaces)
        if namespaces & syscalls.CLONE_NEWNS:
            syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        text, code = json.dumps(work()), 0
    except BaseException:
        text = traceback.format_exc()
    with open(writer, "w", encoding="utf-8") as file:
        file.write(text)
    os._exit(code)
