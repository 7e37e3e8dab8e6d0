"""Fork servers: what a process that is forked on request has, and when the server ends."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from orchestrator.linux import forkserver, procfs, syscalls

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = """
import os, sys
from orchestrator.linux import forkserver

def become(argv):
    with open("/proc/self/cmdline", "rb") as file:
        shown = file.read().rstrip(b"\\0").split(b"\\0")
    os.write(3, repr({
        "argv": argv, "shown": [os.fsdecode(word) for word in shown], "leader": os.getsid(0),
        "pid": os.getpid(), "environment": dict(os.environ),
        "open": [fd for fd in range(50) if os.path.exists(f"/proc/self/fd/{fd}")],
    }).encode())
    os._exit(0)

forkserver.close_others(4)
forkserver.serve(3, become, holder=int(sys.argv[1]))
"""


class Served:
    """A server, and what its forks say."""

    def __init__(self, holder: int) -> None:
        self.server, theirs = forkserver.pair()
        argv = [sys.executable, "-c", SERVER, str(holder), forkserver.PADDING]
        with open(os.devnull, "rb+", buffering=0) as nothing:
            streams = [nothing.fileno(), nothing.fileno(), 2, theirs.fileno()]
            self.pid = forkserver.spawn(argv, os.environ, streams)
        theirs.close()

    def ask(self, argv: list[str], environment: dict[str, str]) -> dict[str, object]:
        ours, theirs = os.pipe()
        with open(ours, "rb") as file:
            try:
                self.server.ask(argv, environment, [0, 1, 2, theirs])
            finally:
                os.close(theirs)
            return dict(eval(file.read()))

    def has_ended(self) -> bool:
        pidfd = syscalls.pidfd_open(self.pid)
        try:
            return bool(select.select([pidfd], [], [], 30)[0])
        finally:
            os.close(pidfd)
            os.waitpid(self.pid, 0)


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served(os.getpid())
    yield made
    made.server.close(wait=True)
    assert made.has_ended()


def test_a_fork_has_what_was_asked_for_and_nothing_else(served: Served) -> None:
    argv = ["program", "--flag", "a b", "\udcff"]
    for word in ("one", "two"):
        found = served.ask(argv, {"WORD": word})
        assert found["argv"] == found["shown"] == argv
        assert found["environment"] == {"WORD": word}
        assert found["leader"] == found["pid"] != served.pid
        assert found["open"] == [0, 1, 2, 3]


def test_a_command_line_longer_than_there_is_room_for_is_cut(served: Served) -> None:
    found = served.ask(["x" * 100_000], {})
    assert len(found["argv"][0]) == 100_000  # type: ignore[index]
    assert 4000 < len(found["shown"][0]) < 6000  # type: ignore[index]


def test_what_is_too_big_for_a_packet_is_refused_and_the_server_lives(served: Served) -> None:
    with pytest.raises(OSError, match="Message too long"):
        served.ask(["x"], {"BIG": "x" * (4 << 20)})
    assert served.ask(["x"], {})["argv"] == ["x"]


def test_it_ends_with_its_holder_also_where_others_have_its_socket() -> None:
    with subprocess.Popen(["sleep", "infinity"]) as holder:
        served = Served(holder.pid)
        assert served.ask(["x"], {})["argv"] == ["x"]
        holder.kill()
    assert served.has_ended()
    with pytest.raises(OSError, match="Broken pipe"):
        served.server.ask(["x"], {}, [0])
    served.server.close()


def test_own_memory_of_arguments() -> None:
    begin, end = procfs.argument_area()
    shown = procfs.command_line(os.getpid())
    assert end - begin >= len(os.fsencode(shown))
