"""User namespaces for ordinary users: ranges of subordinate ids, and newuidmap(1), newgidmap(1)."""

from __future__ import annotations

import os
import shutil
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Range = tuple[int, int, int]

SUBUID, SUBGID = "/etc/subuid", "/etc/subgid"
TOOLS = ("newuidmap", "newgidmap")


def ranges(text: str, names: Iterable[str]) -> list[tuple[int, int]]:
    """(first id, how many) of these names in a file as subuid(5) has it; what is no such line is
    passed over, as newuidmap does."""
    wanted = set(names)
    found = []
    for line in text.splitlines():
        name, *numbers = line.split(":")
        if name in wanted and len(numbers) == 2 and all(map(str.isdecimal, numbers)):
            first, count = map(int, numbers)
            if count:
                found.append((first, count))
    return found


def own_ranges(path: str, uid: int) -> list[tuple[int, int]]:
    """Those of a user, by name or by number; none where there is no such file."""
    import pwd

    names = [str(uid)]
    try:
        names.append(pwd.getpwuid(uid).pw_name)
    except KeyError:  # an id without a name may still have a range
        pass
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return ranges(stream.read(), names)
    except OSError:
        return []


def mapping(own: int, given: Iterable[tuple[int, int]]) -> list[Range]:
    """(inside, outside, how many): we are 0, and the ranges come one after the other from 1."""
    found, inside = [(0, own, 1)], 1
    for first, count in given:
        found.append((inside, first, count))
        inside += count
    return found


def has_tools() -> bool:
    """Whether both programs are installed."""
    return all(map(shutil.which, TOOLS))


def write_maps(pid: int, uids: list[Range], gids: list[Range]) -> None:
    """Map the ids of a process that waits in its new user namespace, by the programs; OSError with
    what they say."""
    for tool, ids in zip(TOOLS, (uids, gids), strict=True):
        words = [str(number) for each in ids for number in each]
        done = subprocess.run([tool, str(pid), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(1, f"{tool}: {done.stderr.strip().rpartition(': ')[2]}")


def write_single(pid: int, uid: int, gid: int) -> None:
    """Map our own two ids to 0, for which no program is needed (user_namespaces(7)); the process
    can have no other groups then."""
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        fd = os.open(f"/proc/{pid}/{file}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
