"""The mount options of config.md (Linux), as flags of mount(2) and mount_setattr(2).

Pure: words in, numbers out.  A word that is none of them is data for the file system.
"""

from __future__ import annotations

from orchestrator.linux import syscalls as sc

_FLAGS = {  # option -> (flag, whether it sets it)
    "async": (sc.MS_SYNCHRONOUS, False), "sync": (sc.MS_SYNCHRONOUS, True),
    "atime": (sc.MS_NOATIME, False), "noatime": (sc.MS_NOATIME, True),
    "dev": (sc.MS_NODEV, False), "nodev": (sc.MS_NODEV, True),
    "diratime": (sc.MS_NODIRATIME, False), "nodiratime": (sc.MS_NODIRATIME, True),
    "dirsync": (sc.MS_DIRSYNC, True),
    "exec": (sc.MS_NOEXEC, False), "noexec": (sc.MS_NOEXEC, True),
    "iversion": (sc.MS_I_VERSION, True), "noiversion": (sc.MS_I_VERSION, False),
    "lazytime": (sc.MS_LAZYTIME, True), "nolazytime": (sc.MS_LAZYTIME, False),
    "loud": (sc.MS_SILENT, False), "silent": (sc.MS_SILENT, True),
    "mand": (sc.MS_MANDLOCK, True), "nomand": (sc.MS_MANDLOCK, False),
    "norelatime": (sc.MS_RELATIME, False), "relatime": (sc.MS_RELATIME, True),
    "nostrictatime": (sc.MS_STRICTATIME, False), "strictatime": (sc.MS_STRICTATIME, True),
    "nosuid": (sc.MS_NOSUID, True), "suid": (sc.MS_NOSUID, False),
    "nosymfollow": (sc.MS_NOSYMFOLLOW, True), "symfollow": (sc.MS_NOSYMFOLLOW, False),
    "remount": (sc.MS_REMOUNT, True),
    "ro": (sc.MS_RDONLY, True), "rw": (sc.MS_RDONLY, False),
}  # fmt: skip
PROPAGATIONS = {
    "private": sc.MS_PRIVATE, "shared": sc.MS_SHARED, "slave": sc.MS_SLAVE,
    "unbindable": sc.MS_UNBINDABLE,
}  # fmt: skip
_STRICTATIME = 0x20  # MOUNT_ATTR_STRICTATIME; relatime is no bit at all
_ATTRIBUTES = {  # option without its r -> (bits to set, bits to clear)
    "ro": (sc.MOUNT_ATTR_RDONLY, 0), "rw": (0, sc.MOUNT_ATTR_RDONLY),
    "nosuid": (sc.MOUNT_ATTR_NOSUID, 0), "suid": (0, sc.MOUNT_ATTR_NOSUID),
    "nodev": (sc.MOUNT_ATTR_NODEV, 0), "dev": (0, sc.MOUNT_ATTR_NODEV),
    "noexec": (sc.MOUNT_ATTR_NOEXEC, 0), "exec": (0, sc.MOUNT_ATTR_NOEXEC),
    "nodiratime": (sc.MOUNT_ATTR_NODIRATIME, 0), "diratime": (0, sc.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (sc.MOUNT_ATTR_NOSYMFOLLOW, 0), "symfollow": (0, sc.MOUNT_ATTR_NOSYMFOLLOW),
    "noatime": (sc.MOUNT_ATTR_NOATIME, sc.MOUNT_ATTR__ATIME), "atime": (0, sc.MOUNT_ATTR__ATIME),
    "relatime": (0, sc.MOUNT_ATTR__ATIME), "norelatime": (_STRICTATIME, sc.MOUNT_ATTR__ATIME),
    "strictatime": (_STRICTATIME, sc.MOUNT_ATTR__ATIME), "nostrictatime": (0, sc.MOUNT_ATTR__ATIME),
}  # fmt: skip
NAMES = tuple(sorted({
    "bind", "rbind", "defaults", "idmap", "ridmap", "tmpcopyup", *_FLAGS, *PROPAGATIONS,
    *(f"r{name}" for name in (*PROPAGATIONS, *_ATTRIBUTES)),
}))  # fmt: skip
"""What `features` lists."""


class MountOptions:
    """Options taken apart."""

    __slots__ = (
        "attributes", "copy_up", "data", "flags", "idmap", "is_bind", "is_recursive",
        "propagation", "recursive", "recursive_propagation",
    )  # fmt: skip

    def __init__(self) -> None:
        self.flags = 0
        """MS_*, for mount(2)."""
        self.attributes = (0, 0)
        """The same for a mount that is there already: MOUNT_ATTR_* to set, to clear."""
        self.recursive = (0, 0)
        """To set and to clear on the mount and all below it."""
        self.propagation = 0
        self.recursive_propagation = 0
        self.is_bind = self.is_recursive = self.copy_up = False
        self.idmap = ""
        """idmap or ridmap."""
        self.data: list[str] = []


def parse(options: list[str]) -> MountOptions:
    """Later words win over earlier ones, as in mount(8)."""
    found = MountOptions()
    for option in options:
        if option in ("bind", "rbind"):
            found.is_bind, found.is_recursive = True, option == "rbind"
        elif option in _FLAGS:
            _plain(found, option)
        elif option in PROPAGATIONS:
            found.propagation = PROPAGATIONS[option]
        elif option[:1] == "r" and option[1:] in PROPAGATIONS:
            found.recursive_propagation = PROPAGATIONS[option[1:]]
        elif option[:1] == "r" and option[1:] in _ATTRIBUTES:
            found.recursive = _merge(found.recursive, _ATTRIBUTES[option[1:]])
        elif option in ("idmap", "ridmap"):
            found.idmap = option
        elif option == "tmpcopyup":
            found.copy_up = True
        elif option != "defaults" and option:
            found.data.append(option)
    return found


def _plain(found: MountOptions, option: str) -> None:
    flag, sets = _FLAGS[option]
    found.flags = found.flags | flag if sets else found.flags & ~flag
    if option in _ATTRIBUTES:
        found.attributes = _merge(found.attributes, _ATTRIBUTES[option])


def _merge(old: tuple[int, int], new: tuple[int, int]) -> tuple[int, int]:
    """The kernel clears first and then sets."""
    (set_old, clear_old), (set_new, clear_new) = old, new
    return set_old & ~clear_new | set_new, clear_old & ~set_new | clear_new
