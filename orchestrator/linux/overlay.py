"""Mounting of overlayfs, with as many layers as there are.  Imported by the keeper."""

from __future__ import annotations

import os

from orchestrator.linux import procfs, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE = 4000
"""mount(2) takes one page of options; a little less, to be safe."""


def mount(
    target: str, lowers: Sequence[str], *, upper: str, work: str, volatile: bool = False,
    nodev: bool = True,
) -> None:
    """Mount an overlay at `target`, whose `upper` then is a layer that any other machine's
    overlayfs could use: without redirections."""
    options = {"upperdir": upper, "workdir": work}
    if procfs.is_in_user_namespace():
        options["userxattr"] = ""  # which has redirections off, and must not be told so
    else:
        options["redirect_dir"] = "off"
    if volatile:
        options["volatile"] = ""
    _mount(target, lowers, options, nodev=nodev)


def _mount(target: str, lowers: Sequence[str], options: dict[str, str], *, nodev: bool) -> None:
    joined = ":".join(_escape(lower, ":") for lower in lowers)
    data = f"lowerdir={_escape(joined, ',')}" + "".join(
        f",{name}={_escape(_escape(value, ''), ',')}" if value else f",{name}"
        for name, value in options.items()
    )
    if len(os.fsencode(data)) < _PAGE:
        flags = syscalls.MS_NODEV if nodev else 0
        syscalls.mount("overlay", target, "overlay", flags, data)
    else:
        _mount_many(target, lowers, options, nodev=nodev)


def _mount_many(
    target: str, lowers: Sequence[str], options: dict[str, str], *, nodev: bool
) -> None:
    """Layer by layer (`lowerdir+`, Linux 6.8): more layers than fit into a page."""
    fd = syscalls.fsopen("overlay")
    try:
        text = syscalls.FSCONFIG_SET_STRING
        for lower in lowers:
            syscalls.fsconfig(fd, text, "lowerdir+", lower)
        for name, value in options.items():
            if value:
                syscalls.fsconfig(fd, text, name, _escape(value, ""))
            else:
                syscalls.fsconfig(fd, syscalls.FSCONFIG_SET_FLAG, name)
        syscalls.fsconfig(fd, syscalls.FSCONFIG_CMD_CREATE)
        attributes = syscalls.MOUNT_ATTR_NODEV if nodev else 0
        tree = syscalls.fsmount(fd, attributes=attributes)
    finally:
        os.close(fd)
    try:
        syscalls.move_mount(tree, "", syscalls.AT_FDCWD, target, syscalls.MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(tree)


def _escape(path: str, separators: str) -> str:
    """Overlayfs takes a backslash before its separators and before itself."""
    if not separators or separators == ":":
        path = path.replace("\\", "\\\\")
    for separator in separators:
        path = path.replace(separator, "\\" + separator)
    return path
