"""Who a container runs as: `name|uid[:group|gid]` looked up in the texts of its own passwd and
group files.

Pure: texts in, ids out; where the files lie is not known here.  Imported by the keeper.  Lines that
are not as passwd(5) and group(5) say are skipped, as the C library does.
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LARGEST = 0xFFFF_FFFE
"""(uid_t) -1 means "do not change"."""


class Identity:
    """The ids a process gets, and where its user lives."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, *, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        """Supplementary groups, sorted, without doubles."""
        self.home = home

    def __repr__(self) -> str:
        return f"Identity({self.uid}:{self.gid}, groups={self.groups}, home={self.home!r})"


def identify(user: str, *, group_add: Iterable[str], passwd: str, group: str) -> Identity:
    """The identity of `user`; empty is 0.

    A name must be in the file; a number need not be.  Supplementary groups are those of the group
    file that have the user as a member, unless a group was given, and always `group_add`.
    OSError(ENOENT) for a name that is not there, OSError(EINVAL) for a number out of range.
    """
    who, colon, group_name = user.partition(":")
    entry = _find(who or "0", _lines(passwd, 7))
    groups = _lines(group, 4)
    if entry is None:
        uid, gid, home, name = _number(who, "user"), 0, "/", ""
    else:
        uid, gid, home, name = int(entry[2]), int(entry[3]), entry[5] or "/", entry[0]
    supplementary = set()
    if colon and group_name:
        gid = _group(group_name, groups)
    elif name:
        supplementary = {int(g[2]) for g in groups if name in g[3].split(",")}
    supplementary.update(_group(g, groups) for g in group_add)
    return Identity(uid=uid, gid=gid, groups=sorted(supplementary), home=home)


def _lines(text: str, fields: int) -> list[list[str]]:
    """The whole lines with good numbers in the third field (and the fourth of passwd)."""
    rows = [line.split(":") for line in text.splitlines()]
    numbers = 2 if fields == 7 else 1
    return [r for r in rows if len(r) == fields and all(map(_is_id, r[2:2 + numbers]))]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _LARGEST


def _find(wanted: str, rows: list[list[str]]) -> list[str] | None:
    """The first row of that name, else the first of that number."""
    for row in rows:
        if row[0] == wanted:
            return row
    if _is_id(wanted):
        return next((row for row in rows if int(row[2]) == int(wanted)), None)
    return None


def _group(wanted: str, rows: list[list[str]]) -> int:
    row = _find(wanted, rows)
    return _number(wanted, "group") if row is None else int(row[2])


def _number(text: str, kind: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise OSError(errno.ENOENT, f"no {kind} of this name in the container", text)
    if not _is_id(text):
        raise OSError(errno.EINVAL, f"{kind} id out of range", text)
    return int(text)
