"""Idmapped mounts: the mapping is that of a user namespace made for it (mount_setattr(2))."""

from __future__ import annotations

import os
import select

from orchestrator.linux import syscalls
from orchestrator.runtime.groups import write
from orchestrator.runtime.oci.faults import OciError, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Mapping = list[dict[str, int]]


def apply(mappings: Iterable[tuple[int, Mapping, Mapping, bool]]) -> None:
    """Give detached mounts their id mappings: (mount, uid map, gid map, with all below it)."""
    for tree, uids, gids, recursive in mappings:
        fd = open_user_namespace(uids, gids)
        flags = syscalls.AT_EMPTY_PATH | (syscalls.AT_RECURSIVE if recursive else 0)
        try:
            syscalls.mount_setattr(tree, "", flags, attr_set=syscalls.MOUNT_ATTR_IDMAP,
                                   userns_fd=fd)
        except OSError as exc:
            raise OciError(f"cannot map the ids of a mount: {words_of(exc)}; not every file "
                           "system can") from exc
        finally:
            os.close(fd)


def open_user_namespace(uids: Mapping, gids: Mapping) -> int:
    """A user namespace with these maps, which nobody lives in; CLOEXEC."""
    pid, pidfd = syscalls.clone_with_pidfd(syscalls.CLONE_NEWUSER)
    if pid == 0:
        syscalls.set_parent_death_signal(9)
        select.poll().poll()  # until we are ended
        os._exit(1)
    try:
        for name, entries in (("uid", uids), ("gid", gids)):
            rows = [f"{e['containerID']} {e['hostID']} {e['size']}" for e in entries]
            write(f"/proc/{pid}/{name}_map", "\n".join(rows) + "\n")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise OciError(f"cannot map ids: {words_of(exc)}") from exc
    finally:
        syscalls.pidfd_send_signal(pidfd, 9)
        os.waitpid(pid, 0)
        os.close(pidfd)

