"""Mounting of overlayfs, with as many layers as there are.  Imported by the keeper."""

from __future__ import annotations

import os

from orchestrator.linux import procfs, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE = 4000
"""mount(2) takes one page of options; a little less, to be safe.  It holds more than 200 layers by
their descriptors."""
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def mount(
    target: str, lowers: Sequence[str], *, upper: str, work: str, volatile: bool = False,
    nodev: bool = True,
) -> None:
    """Mount an overlay at `target`, whose `upper` then is a layer that any other machine's
    overlayfs could use: without redirections."""
    options = {"upperdir": upper, "workdir": work}
    if not procfs.is_in_user_namespace():  # where they are off, and must not be said to be
        options["redirect_dir"] = "off"
    if volatile:
        options["volatile"] = ""
    _mount(target, lowers, options, nodev=nodev)


def mount_read_only(target: str, lowers: Sequence[str]) -> None:
    """Mount two layers or more that nobody writes to."""
    _mount(target, lowers, {}, nodev=True)


def _mount(target: str, lowers: Sequence[str], options: dict[str, str], *, nodev: bool) -> None:
    data = _data(lowers, options)
    opened: list[int] = []
    try:
        if len(os.fsencode(data)) >= _PAGE:
            opened += [os.open(lower, _PLACE) for lower in lowers]
            data = _data([f"/proc/self/fd/{fd}" for fd in opened], options)
        syscalls.mount("overlay", target, "overlay", syscalls.MS_NODEV if nodev else 0, data)
    finally:
        for fd in opened:
            os.close(fd)


def _data(lowers: Sequence[str], options: dict[str, str]) -> str:
    joined = ":".join(_escape(lower, ":") for lower in lowers)
    own = {"userxattr": ""} if procfs.is_in_user_namespace() else {}
    return f"lowerdir={_escape(joined, ',')}" + "".join(
        f",{name}={_escape(_escape(value, ''), ',')}" if value else f",{name}"
        for name, value in {**options, **own}.items()
    )


def _escape(path: str, separators: str) -> str:
    """Overlayfs takes a backslash before its separators and before itself."""
    if not separators or separators == ":":
        path = path.replace("\\", "\\\\")
    for separator in separators:
        path = path.replace(separator, "\\" + separator)
    return path
