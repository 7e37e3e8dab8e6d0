"""`driver_opts` of the volume driver `local`, as mount(8) would read them: type, device, o.

Pure.  Sources: Docker's `volume create` for the driver local, mount(8) for the words of `o`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from orchestrator.linux import syscalls

KEYS = ("type", "device", "o")
NO_FILE_SYSTEM = ("", "none", "bind")
"""Values of `type` of a bind mount."""
_FLAGS = {
    "ro": syscalls.MS_RDONLY, "nosuid": syscalls.MS_NOSUID, "nodev": syscalls.MS_NODEV,
    "noexec": syscalls.MS_NOEXEC, "noatime": syscalls.MS_NOATIME, "sync": syscalls.MS_SYNCHRONOUS,
    "nodiratime": syscalls.MS_NODIRATIME, "relatime": syscalls.MS_RELATIME,
    "strictatime": syscalls.MS_STRICTATIME, "dirsync": syscalls.MS_DIRSYNC,
}  # fmt: skip
_NOTHING = ("rw", "defaults", "suid", "dev", "exec", "async", "atime", "diratime", "auto", "user",
            "nouser", "_netdev", "nofail")  # fmt: skip
_BINDS = {"bind": syscalls.MS_BIND, "rbind": syscalls.MS_BIND | syscalls.MS_REC}


class Mounting(NamedTuple):
    """One mount(2)."""

    source: str
    fstype: str
    flags: int
    data: str


def words(options: Mapping[str, str]) -> list[str]:
    """The words of `o`."""
    return [word.strip() for word in options.get("o", "").split(",") if word.strip()]


def is_bind(options: Mapping[str, str]) -> bool:
    """Whether a directory of the host is the volume."""
    return bool(_BINDS.keys() & set(words(options)))


def mounts(options: Mapping[str, str]) -> list[Mounting]:
    """The calls that mount the volume: a bind needs a second one for its flags.  ValueError where
    the options do not fit each other."""
    unknown = sorted(options.keys() - set(KEYS))
    if unknown:
        raise ValueError(f"no option {unknown[0]!r}: the driver local has {', '.join(KEYS)}")
    source, fstype = options.get("device", ""), options.get("type", "")
    flags, bind, data = 0, 0, []
    for word in words(options):
        if word in _FLAGS:
            flags |= _FLAGS[word]
        elif word in _BINDS:
            bind |= _BINDS[word]
        elif word not in _NOTHING:
            data.append(word)
    if not source:
        raise ValueError("no `device` is named")
    if bind:
        if data:
            raise ValueError(f"a bind mount has no option {data[0]!r}")
        again = Mounting("", "", syscalls.MS_BIND | syscalls.MS_REMOUNT | flags, "")
        return [Mounting(source, "", bind, ""), *([again] if flags else [])]
    if fstype in NO_FILE_SYSTEM:
        raise ValueError("neither `type` names a file system, nor `o` says bind")
    return [Mounting(source, fstype, flags, ",".join(data))]
