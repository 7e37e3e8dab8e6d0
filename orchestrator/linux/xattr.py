"""Extended attributes: which of them a copy keeps, and the marks of overlayfs on files of a layer.

trusted.overlay.* takes CAP_SYS_ADMIN of the machine; an overlay mounted in a user namespace has
user.overlay.* instead (option userxattr of overlayfs.rst, Linux 5.11).  Imported by the keeper.
"""

from __future__ import annotations

import os

from orchestrator.linux import procfs

OVERLAY = ("trusted.overlay.", "user.overlay.")
_KEPT = ("user.", "security.capability", "system.posix_acl_access", "system.posix_acl_default")


def is_kept(name: str) -> bool:
    """Capabilities, access lists and what programs store.  Never overlayfs's own attributes, by
    which a layer could show other directories, nor security labels of another machine."""
    return name.startswith(_KEPT) and not name.startswith(OVERLAY)


def mark(name: str) -> str:
    """The whole name of a mark in the overlays that this process mounts."""
    return OVERLAY[procfs.is_in_user_namespace()] + name


def make_opaque(directory: int) -> None:
    """Hide what lower layers have in the open directory."""
    os.setxattr(directory, mark("opaque"), b"y")


def is_opaque(path: str) -> bool:
    """Whether a directory of a layer hides what lower layers have in it."""
    try:
        return os.getxattr(path, mark("opaque"), follow_symlinks=False) == b"y"
    except OSError:
        return False


def is_moved(path: str) -> bool:
    """Whether what a layer has there is to be looked for below it by another name."""
    names = os.listxattr(path, follow_symlinks=False)
    return mark("redirect") in names or mark("metacopy") in names
