"""The steps that mount what a bundle asks for; executed in the container's mount namespace.

What lies on the host (root, bind sources) was opened as detached mounts before the clone, with the
host's privileges: no directory on the way has to be open to the container's user, and no process of
the container can exchange it.  All targets are resolved inside the new root with `linux.chase`.
"""

from __future__ import annotations

import errno
import os
import stat

from orchestrator.linux import chase, syscalls
from orchestrator.runtime import populate
from orchestrator.runtime.filesystem import attach
from orchestrator.runtime.steps import Child, Step

_NOT_OURS = ("sysfs", "mqueue")
"""Can only be mounted by the owner of the network or ipc namespace; a joined one is another's."""
_HOST_PATH = {"sysfs": "/sys", "mqueue": "/dev/mqueue"}


class DetachHost(Step):
    """Nothing we mount shows on the host."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)

    def describe(self) -> str:
        return "make all mounts slaves of the host's"


class Root(Step):
    """The root, a detached mount, at `target`: over `/` in a mount namespace of our own, where
    nobody looks through it before pivot_root; over its own directory in another's."""

    __slots__ = ("target", "tree")
    tree: int
    target: str

    def execute(self, child: Child) -> None:
        syscalls.move_mount(self.tree, "", syscalls.AT_FDCWD, self.target,
                            syscalls.MOVE_MOUNT_F_EMPTY_PATH)
        child.root_fd = self.tree

    def describe(self) -> str:
        return "mount the root"


class Tree(Step):
    """A detached mount at `target` inside the root; `is_cgroup`: the container's own group."""

    __slots__ = ("is_cgroup", "source", "target", "tree")
    is_cgroup: bool
    tree: int
    source: str
    target: str

    def execute(self, child: Child) -> None:
        directory = stat.S_ISDIR(os.fstat(self.tree).st_mode)
        target = child.open_target(self.target, directory=directory)
        attach(self.tree, target)
        os.close(target)

    def describe(self) -> str:
        return f"bind {self.source} -> {self.target}"


class Mounted(Step):
    """A new file system at `target` inside the root; `flags` are MS_*, `change` is what
    mount_setattr is to set and clear on all of it, `propagation` its kind (0: private)."""

    __slots__ = ("change", "copy_up", "data", "flags", "fstype", "propagation", "source", "target")
    fstype: str
    source: str
    target: str
    flags: int
    data: str
    change: tuple[int, int]
    propagation: int
    copy_up: bool

    def execute(self, child: Child) -> None:
        target = self._open_target(child)
        tree = self._foreign() if self.fstype in _NOT_OURS else -1
        below = os.open(f"/proc/self/fd/{target}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syscalls.mount(self.source, f"/proc/self/fd/{target}", self.fstype, self.flags,
                           self.data)
        except PermissionError:
            if tree < 0:
                raise
            attach(tree, target)
        os.close(target)
        mounted = chase.open_inside(child.root_fd, self.target, os.O_RDONLY | os.O_DIRECTORY)
        if self.copy_up:
            populate.copy_directory(below, mounted, {})
        os.close(below)
        set_bits, clear_bits = self.change
        if set_bits or clear_bits or self.propagation:
            syscalls.mount_setattr(
                mounted, "", syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE, attr_set=set_bits,
                attr_clr=clear_bits, propagation=self.propagation)  # fmt: skip
        os.close(mounted)

    def _open_target(self, child: Child) -> int:
        target = child.open_target(self.target, directory=True)
        if self.fstype in ("proc", "sysfs"):  # a link of the image would put it elsewhere
            os.close(target)
            return syscalls.openat2(
                child.root_fd, self.target, os.O_PATH | os.O_DIRECTORY,
                resolve=syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS)  # fmt: skip
        return target

    def _foreign(self) -> int:
        """The host's own, for a user namespace that does not own what it shows."""
        flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE
        try:
            return syscalls.open_tree(syscalls.AT_FDCWD, _HOST_PATH[self.fstype], flags)
        except OSError:
            return -1

    def describe(self) -> str:
        return f"mount {self.fstype} at {self.target}"


class ReadOnly(Step):
    """Mounts become read-only after something was made in them; before pivot_root."""

    __slots__ = ("targets",)
    targets: list[str]

    def execute(self, child: Child) -> None:
        for path in self.targets:
            target = chase.open_inside(child.root_fd, path)
            syscalls.mount_setattr(target, "", syscalls.AT_EMPTY_PATH,
                                   attr_set=syscalls.MOUNT_ATTR_RDONLY)
            os.close(target)

    def describe(self) -> str:
        return f"make {', '.join(self.targets)} read-only"


class DeviceNodes(Step):
    """`linux.devices` and the default ones: [path, type, major, minor, mode, uid, gid], the mode as
    it is given whatever the umask.  `trees` has, where we may not mknod, the host's own node as a
    detached mount."""

    __slots__ = ("nodes", "trees")
    nodes: list[list[int | str]]
    trees: dict[str, int]

    def execute(self, child: Child) -> None:
        os.umask(0)
        for path, kind, major, minor, mode, uid, gid in self.nodes:
            assert isinstance(path, str)
            self._make(child, path, kind, os.makedev(int(major), int(minor)), int(mode),
                       int(uid), int(gid))
        os.umask(0o022)

    def _make(
        self, child: Child, path: str, kind: int | str, number: int, mode: int, uid: int, gid: int
    ) -> None:
        parent_path, name = os.path.split(path.rstrip("/"))
        parent = chase.make_directories(child.root_fd, parent_path)
        here = os.open(f"/proc/self/fd/{parent}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.close(parent)
        try:
            if path in self.trees:
                target = chase.make_file(child.root_fd, path)
                attach(self.trees[path], target)
                os.close(target)
                return
            _make_node(here, name, _KINDS[str(kind)], number, mode, path)
            os.chown(name, uid, gid, dir_fd=here, follow_symlinks=False)
            os.chmod(name, mode, dir_fd=here)  # chown clears set-id bits
        finally:
            os.close(here)

    def describe(self) -> str:
        return "make the devices"


_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def _make_node(here: int, name: str, kind: int, number: int, mode: int, path: str) -> None:
    try:
        os.mknod(name, kind | mode, number, dir_fd=here)
        return
    except FileExistsError:
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
    same = stat.S_IFMT(found.st_mode) == kind and (kind == stat.S_IFIFO or found.st_rdev == number)
    if not same:
        raise FileExistsError(errno.EEXIST, "something else than this device is there", path)


class DeviceLinks(Step):
    """The usual links in /dev, where nothing has their names."""

    __slots__ = ("links",)
    links: dict[str, str]

    def execute(self, child: Child) -> None:
        directory = chase.make_directories(child.root_fd, "/dev")
        for name, target in self.links.items():
            try:
                os.symlink(target, name, dir_fd=directory)
            except FileExistsError:
                if name != "ptmx" or os.path.islink(f"/proc/self/fd/{directory}/ptmx"):
                    continue
                os.unlink(name, dir_fd=directory)
                os.symlink(target, name, dir_fd=directory)
        os.close(directory)

    def describe(self) -> str:
        return "links in /dev"


class EnterRoot(Step):
    """The new root becomes `/`: by pivot_root where the mount namespace is ours, else by chroot."""

    __slots__ = ("pivot",)
    pivot: bool

    def execute(self, child: Child) -> None:
        os.fchdir(child.root_fd)
        os.close(child.root_fd)
        if self.pivot:
            syscalls.pivot_root(".", ".")
            syscalls.umount2(".", syscalls.MNT_DETACH)
        else:
            os.chroot(".")
        os.chdir("/")
        child.root, child.root_fd = "/", -1

    def describe(self) -> str:
        return "pivot_root" if self.pivot else "chroot"


class FinishRoot(Step):
    """After pivot_root: the propagation of `/` (and, with `recursive`, of all below), and whether
    it can be written."""

    __slots__ = ("propagation", "read_only", "recursive")
    propagation: int
    recursive: bool
    read_only: bool

    def execute(self, child: Child) -> None:
        if self.read_only:
            syscalls.mount_setattr(syscalls.AT_FDCWD, "/", 0,
                                   attr_set=syscalls.MOUNT_ATTR_RDONLY)
        if self.propagation:
            syscalls.mount_setattr(
                syscalls.AT_FDCWD, "/", syscalls.AT_RECURSIVE if self.recursive else 0,
                propagation=self.propagation)  # fmt: skip

    def describe(self) -> str:
        return "finish the root"
