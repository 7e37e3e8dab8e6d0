"""What a test may leave behind on the machine, as a comparable snapshot."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Sets of names; two snapshots of a tidy session are equal."""

    mounts: frozenset[str]
    cgroups: frozenset[str]
    interfaces: frozenset[str]
    processes: frozenset[str]
    run_files: frozenset[str]

    def added(self, later: Snapshot) -> dict[str, set[str]]:
        """What `later` has and this one has not, by kind; empty kinds left out."""
        differences = {
            name: set(getattr(later, name) - getattr(self, name)) for name in self.__slots__
        }
        return {name: found for name, found in differences.items() if found}


def mounts(pid: str = "self") -> frozenset[str]:
    """Mount points of a mount namespace."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return frozenset(line.split()[4] for line in lines)


def cgroups() -> frozenset[str]:
    """Groups of ours, `pcompose-PROJECT-ID`, at the top of every cgroup hierarchy; not those of a
    project that another checkout's tests keep just now."""
    roots = (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/"))
    found = {path for root in roots for path in root.glob("pcompose-*/")}
    theirs = tuple(f"pcompose-{project}-" for project in _foreign_projects()) if found else ()
    return frozenset(str(path) for path in found if not path.name.startswith(theirs))


def _foreign_projects() -> set[str]:
    """Projects whose supervisor runs on another interpreter."""
    found = set()
    for words in _commands().values():
        command, _, rest = words.partition(" --project ")
        if "orchestrator.supervisor" in command and not command.startswith(sys.prefix):
            found.add(rest.split(" ")[0])
    return found


def _commands() -> dict[str, str]:
    """pid -> command line of every process."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
        found[entry] = words
    return found


def processes() -> frozenset[str]:
    """`pid command` of each supervisor and keeper that runs on the interpreter of these tests."""
    return frozenset(
        f"{pid} {words}" for pid, words in _commands().items()
        if ("pcompose-keeper" in words or "orchestrator.supervisor" in words)
        and words.startswith(sys.prefix)
    )  # fmt: skip


def take() -> Snapshot:
    """The machine as it is now."""
    run = Path("/run/pcompose")
    return Snapshot(
        mounts=mounts(),
        cgroups=cgroups(),
        interfaces=frozenset(name for _, name in socket.if_nameindex()),
        processes=processes(),
        run_files=frozenset(str(path) for path in run.rglob("*")) if run.is_dir() else frozenset(),
    )
