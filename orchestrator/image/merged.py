"""The layers of an image as one tree, read without mounting them.

What overlayfs would show of a path: the topmost layer that has it, whiteouts and opaque directories
obeyed, links followed inside the tree only.  Knows nothing of containers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from orchestrator.linux import xattr

_MOST_LINKS = 40


def exists(layers: Sequence[str], path: str, *, host_usr: bool = False) -> bool:
    """Whether an absolute path leads to something; see `find`."""
    return find(layers, path, host_usr=host_usr) is not None


def find(layers: Sequence[str], path: str, *, host_usr: bool = False) -> str | None:
    """Where an absolute path leads to, in the topmost layer that has it; None: nowhere.  `layers`
    are directories, top first; with `host_usr` the machine's own /usr lies below theirs."""
    real: str | None = layers[0] if layers else None
    waiting = _parts(path)
    found: list[str] = []
    links = 0
    while waiting:
        name = waiting.pop(0)
        if name == "..":
            del found[-1:]
            continue
        real = _topmost(_roots(layers, name, found, host_usr=host_usr), [*found, name])
        if real is None:
            return None
        if os.path.islink(real):
            links += 1
            if links > _MOST_LINKS:
                return None
            target = os.readlink(real)
            found = [] if target.startswith("/") else found
            waiting = _parts(target) + waiting
        else:
            found.append(name)
    return real


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _roots(
    layers: Sequence[str], name: str, found: Sequence[str], *, host_usr: bool
) -> Sequence[str]:
    first = found[0] if found else name
    return (*layers, "/") if host_usr and first == "usr" else layers


def _topmost(roots: Sequence[str], parts: Sequence[str]) -> str | None:
    """The path of what is seen at `parts`, none of whose parents is a link in the whole tree."""
    for root in roots:
        path, hides = _within(root, parts)
        if path is not None or hides:
            return path
    return None


def _within(root: str, parts: Sequence[str]) -> tuple[str | None, bool]:
    """(the path in this layer or None, whether this layer hides the path in those below)."""
    path, hides = root, False
    for number, name in enumerate(parts):
        path = f"{path}/{name}"
        try:
            mode = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None, hides
        if stat.S_ISCHR(mode.st_mode) and mode.st_rdev == 0:
            return None, True  # a whiteout
        is_last = number == len(parts) - 1
        if not is_last:
            if not stat.S_ISDIR(mode.st_mode):
                return None, True
            hides = hides or xattr.is_opaque(path)
    return path, True
