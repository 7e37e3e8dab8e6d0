"""What is left of a container whose processes are dead, and its removal."""

from __future__ import annotations

from orchestrator.linux import procfs, syscalls
from orchestrator.runtime.oci import groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.runtime.oci.containers import Container

    Warn = Callable[[str], None]


def release(container: Container, *, warn: Warn) -> None:
    """Remove what lies about of a container whose processes are dead: cgroups, mounts in the
    host's name space, the state directory."""
    groups.remove(container.groups, container.record["made_groups"], warn=warn)
    if not container.record.get("own_mount_namespace", True):
        _unmount(container.record["rootfs"])
    container.forget()


def _unmount(path: str) -> None:
    """Take away what was mounted on `path` and below it in our own mount namespace."""
    targets = {mount.target for mount in procfs.mountinfo()}
    if path in targets:
        try:
            syscalls.umount2(path, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
        except FileNotFoundError:
            pass
