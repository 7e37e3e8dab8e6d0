"""The steps that make a container's file system: overlay, kernel file systems, devices, binds,
masks, pivot_root.

All targets are resolved inside the new root with `linux.chase`, and what is mounted is moved onto a
descriptor, never onto a path: the links of an image are hostile.  Imported by the keeper.

Devices are limited on every cgroup hierarchy without a devices controller: every mount that a
container can write to (root, binds, volumes, tmpfs, shm, and /dev itself) is `nodev`, so a node
made with CAP_MKNOD is dead; the usable nodes are mounts of the host's own, one by one.
"""

from __future__ import annotations

import errno
import os
import stat

from orchestrator.linux import chase, overlay, procfs, syscalls
from orchestrator.runtime.steps import Child, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass


class Propagation(Step):
    """Nothing mounted from here on shows on the host; what the host unmounts goes here too."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)

    def describe(self) -> str:
        return "make all mounts slaves of the host's"


class Overlay(Step):
    """An overlay at `target`: a host path for the root (`is_root`), else inside the root.

    `volatile` (Linux 5.10): nothing is synchronised to the disk, neither by fsync(2) nor, which
    takes long on a busy machine, when the container ends; for a layer that is thrown away then."""

    __slots__ = ("is_root", "lowers", "nodev", "target", "upper", "volatile", "work")
    lowers: list[str]
    upper: str
    work: str
    target: str
    is_root: bool
    volatile: bool
    nodev: bool

    def execute(self, child: Child) -> None:
        for directory in (self.upper, self.work):
            os.makedirs(directory, mode=0o755, exist_ok=True)
        if self.is_root:
            os.makedirs(self.target, exist_ok=True)
            self._mount(self.target, self.lowers)
            child.root = self.target
            child.root_fd = os.open(self.target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            return
        fd = child.open_target(self.target, directory=True)
        # the layers of an image that is built on the machine's /usr need not all have one
        self._mount(f"/proc/self/fd/{fd}", [lower for lower in self.lowers if os.path.isdir(lower)])
        os.close(fd)

    def _mount(self, target: str, lowers: list[str]) -> None:
        overlay.mount(target, lowers, upper=self.upper, work=self.work, volatile=self.volatile,
                      nodev=self.nodev)

    def describe(self) -> str:
        return f"overlay of {len(self.lowers)} layers at {'/' if self.is_root else self.target}"


_TTY_GROUP = ",gid=5"


class Filesystem(Step):
    """A new file system of `fstype` at `target` inside the root; `flags` are MS_*."""

    __slots__ = ("data", "flags", "fstype", "target")
    fstype: str
    target: str
    flags: int
    data: str

    def execute(self, child: Child) -> None:
        fd = child.open_target(self.target, directory=True)
        _refuse_proc(child, fd, self.target)
        try:
            self._mount(fd, self.data)
        except OSError as exc:
            if exc.errno != errno.EINVAL or _TTY_GROUP not in self.data:
                raise
            self._mount(fd, self.data.replace(_TTY_GROUP, ""))  # not mapped in a user namespace
        os.close(fd)
        if self.fstype == "proc":
            child.proc_device = _device_at(child, self.target)

    def _mount(self, fd: int, data: str) -> None:
        syscalls.mount(self.fstype, f"/proc/self/fd/{fd}", self.fstype, self.flags, data)

    def describe(self) -> str:
        return f"mount {self.fstype} at {self.target}"


def _device_at(child: Child, target: str) -> int:
    fd = child.open_existing(target)
    if fd is None:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), target)
    device = os.fstat(fd).st_dev
    os.close(fd)
    return device


def _refuse_proc(child: Child, fd: int, target: str) -> None:
    """A link of the image must not lead a mount into /proc, over what is masked there; who wants
    that says it (`/proc/…`, as lxcfs does)."""
    inside = target == "/proc" or target.startswith("/proc/")
    if not inside and os.fstat(fd).st_dev == child.proc_device:
        raise OSError(errno.ELOOP, "a symbolic link of the image leads into /proc", target)


class Devices(Step):
    """Nodes of the host bound into the container's fresh /dev, and the usual links."""

    __slots__ = ("links", "nodes")
    nodes: list[str]
    links: dict[str, str]

    def execute(self, child: Child) -> None:
        directory = child.open_target("/dev", directory=True)
        here = os.open(f"/proc/self/fd/{directory}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.close(directory)
        for name in self.nodes:
            target = _make_file(here, name, mode=0o666)
            attach(clone_tree(f"/dev/{name}", recursive=False), target)
            os.close(target)
        for name, target_path in self.links.items():
            os.symlink(target_path, name, dir_fd=here)
        os.close(here)

    def describe(self) -> str:
        return "devices in /dev"


def _make_file(directory: int, name: str, *, mode: int) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    os.close(os.open(name, flags, mode, dir_fd=directory))
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def clone_tree(path: str, *, recursive: bool) -> int:
    flags = syscalls.OPEN_TREE_CLONE | (syscalls.AT_RECURSIVE if recursive else 0)
    return syscalls.open_tree(syscalls.AT_FDCWD, path, flags)


def attach(tree: int, target: int) -> None:
    """Move a detached mount onto an O_PATH descriptor, and close the mount's."""
    flags = syscalls.MOVE_MOUNT_F_EMPTY_PATH | syscalls.MOVE_MOUNT_T_EMPTY_PATH
    syscalls.move_mount(tree, "", target, "", flags)
    os.close(tree)


_PROPAGATIONS = {
    "private": syscalls.MS_PRIVATE, "slave": syscalls.MS_SLAVE, "shared": syscalls.MS_SHARED,
    "unbindable": syscalls.MS_UNBINDABLE,
}  # fmt: skip


class OpenShared(Step):
    """Hold the source of a bind mount whose mounts are to show on the host too, while the mounts we
    have are still peers of the host's: before `Propagation`."""

    __slots__ = ("create_source", "recursive", "source")
    source: str
    recursive: bool
    create_source: bool

    def execute(self, child: Child) -> None:
        tree = open_source(self.source, recursive=self.recursive, create=self.create_source)
        fd = os.open(self.source, os.O_PATH | os.O_CLOEXEC)
        number = _mount_id(fd)
        os.close(fd)
        mounted = next(m for m in procfs.mountinfo() if m.mount_id == number)
        if not any(word.startswith("shared:") for word in mounted.propagation):
            raise OSError(errno.EINVAL, "it is not on a shared mount of this machine", self.source)
        child.shared[self.source] = tree

    def describe(self) -> str:
        return f"share mounts below {self.source} with the host"


def _mount_id(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))


class Bind(Step):
    """A host path at `target`, or with `subpath` what lies below it, which no link leads out of.

    `recursive`: `disabled` leaves the mounts below behind, `writable` leaves them writable where
    the mount is read-only."""

    __slots__ = (
        "create_source", "nodev", "propagation", "read_only", "recursive", "source", "subpath",
        "target",
    )  # fmt: skip
    source: str
    target: str
    subpath: str
    read_only: bool
    propagation: str
    recursive: str
    create_source: bool
    nodev: bool

    def execute(self, child: Child) -> None:
        tree = child.shared.pop(self.source, -1)
        if tree < 0:
            tree = self._open_source()
        deep = syscalls.AT_RECURSIVE if self.recursive != "disabled" else 0
        if self.nodev:
            _set(tree, deep, syscalls.MOUNT_ATTR_NODEV)
        if self.read_only:
            _set(tree, deep if self.recursive != "writable" else 0, syscalls.MOUNT_ATTR_RDONLY)
        kind = self.propagation.removeprefix("r")
        _set(tree, deep if kind != self.propagation else 0, 0, propagation=_PROPAGATIONS[kind])
        directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        target = child.open_target(self.target, directory=directory)
        _refuse_proc(child, target, self.target)
        attach(tree, target)
        os.close(target)

    def _open_source(self) -> int:
        recursive = self.recursive != "disabled"
        if not self.subpath:
            return open_source(self.source, recursive=recursive, create=self.create_source)
        return clone_below(self.source, self.subpath, recursive=recursive)

    def describe(self) -> str:
        mode = " [readonly]" if self.read_only else ""
        below = f" ({self.subpath})" if self.subpath else ""
        return f"bind {self.source}{below} -> {self.target}{mode}"


def _set(tree: int, flags: int, attributes: int, *, propagation: int = 0) -> None:
    syscalls.mount_setattr(tree, "", flags | syscalls.AT_EMPTY_PATH, attr_set=attributes,
                           propagation=propagation)  # fmt: skip


def open_source(source: str, *, recursive: bool, create: bool) -> int:
    """A detached copy of the mount at `source`, which is made where it is missing if `create`."""
    try:
        return clone_tree(source, recursive=recursive)
    except FileNotFoundError:
        if not create:
            raise
    _make_like_parent(source)
    return clone_tree(source, recursive=recursive)


def clone_below(directory: str, subpath: str, *, recursive: bool) -> int:
    """A detached copy of the mount at `subpath` inside of a directory somebody else writes to."""
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = chase.open_inside(root, subpath)
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, f"{directory}/{subpath}") from None
    finally:
        os.close(root)
    flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH
    tree = syscalls.open_tree(fd, "", flags | (syscalls.AT_RECURSIVE if recursive else 0))
    os.close(fd)
    return tree


class ImageLayers(Step):
    """The files of an image, read-only, at `target`: all of them, or what lies at `subpath`."""

    __slots__ = ("layers", "subpath", "target")
    layers: list[str]
    subpath: str
    target: str

    def execute(self, child: Child) -> None:
        tree = self._tree()
        attributes = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NODEV
        _set(tree, 0, attributes, propagation=syscalls.MS_PRIVATE)
        if self.subpath:
            tree = self._narrowed(tree)
        directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        target = child.open_target(self.target, directory=directory)
        _refuse_proc(child, target, self.target)
        attach(tree, target)
        os.close(target)

    def _tree(self) -> int:
        """Overlayfs wants two layers where nothing is to be written.  Its mount is there for a
        moment only: before Linux 6.5 it cannot be made without a place."""
        top = self.layers[0]
        if len(self.layers) == 1:
            return clone_tree(top, recursive=False)
        overlay.mount_read_only(top, self.layers)
        tree = clone_tree(top, recursive=False)
        syscalls.umount2(top, syscalls.MNT_DETACH)
        return tree

    def _narrowed(self, tree: int) -> int:
        """Over a layer in our own mount namespace for a moment: before Linux 6.15 what is mounted
        nowhere cannot be copied."""
        place = os.open(self.layers[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        attach(tree, place)
        os.close(place)
        narrow = clone_below(self.layers[0], self.subpath, recursive=False)
        syscalls.umount2(self.layers[0], syscalls.MNT_DETACH)
        return narrow

    def describe(self) -> str:
        return f"mount an image at {self.target}"


def _make_like_parent(path: str) -> None:
    """Make a directory and its parents, owned by who owns the first parent that is there: the user
    who keeps the project in it."""
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    owner = os.stat(path)
    for directory in reversed(missing):
        try:
            os.mkdir(directory, 0o755)
        except FileExistsError:  # another container of the project was quicker
            continue
        os.chown(directory, owner.st_uid, owner.st_gid)


class Mask(Step):
    """Nothing to read behind these: /dev/null over files, an empty read-only tmpfs over
    directories; what is not there is skipped."""

    __slots__ = ("paths",)
    paths: list[str]

    def execute(self, child: Child) -> None:
        for path in self.paths:
            target = child.open_existing(path)
            if target is None:
                continue
            if stat.S_ISDIR(os.fstat(target).st_mode):
                attach(_empty_tmpfs(), target)
            else:
                # The host's node: the container's own /dev could have been mounted over.
                attach(clone_tree("/dev/null", recursive=False), target)
            os.close(target)

    def describe(self) -> str:
        return "mask paths of /proc and /sys"


def _empty_tmpfs() -> int:
    fd = syscalls.fsopen("tmpfs")
    syscalls.fsconfig(fd, syscalls.FSCONFIG_SET_STRING, "mode", "755")
    syscalls.fsconfig(fd, syscalls.FSCONFIG_CMD_CREATE)
    tree = syscalls.fsmount(fd, attributes=syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NODEV)
    os.close(fd)
    return tree


class ReadOnlyPaths(Step):
    """These and all below them cannot be written; what is not there is skipped."""

    __slots__ = ("paths",)
    paths: list[str]

    def execute(self, child: Child) -> None:
        for path in self.paths:
            target = child.open_existing(path)
            if target is None:
                continue
            flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE
            tree = syscalls.open_tree(target, "", flags)
            syscalls.mount_setattr(
                tree, "", syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE,
                attr_set=syscalls.MOUNT_ATTR_RDONLY)  # fmt: skip
            attach(tree, target)
            os.close(target)

    def describe(self) -> str:
        return "make paths of /proc read-only"


class PivotRoot(Step):
    """The new root becomes `/`; the host's mounts are gone."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        os.chdir(child.root)
        os.close(child.root_fd)
        syscalls.pivot_root(".", ".")
        syscalls.umount2(".", syscalls.MNT_DETACH)
        os.chdir("/")
        child.root, child.root_fd = "/", -1

    def describe(self) -> str:
        return "pivot_root"


class ReadOnlyMounts(Step):
    """These mounts (not what is mounted below them) cannot be written; after pivot_root."""

    __slots__ = ("targets",)
    targets: list[str]

    def execute(self, child: Child) -> None:
        for target in self.targets:
            syscalls.mount_setattr(
                syscalls.AT_FDCWD, target, syscalls.AT_SYMLINK_NOFOLLOW,
                attr_set=syscalls.MOUNT_ATTR_RDONLY)  # fmt: skip

    def describe(self) -> str:
        return "make the root read-only"


class ControllerLinks(Step):
    """The tmpfs at /sys/fs/cgroup of a hybrid hierarchy becomes read-only once all is in it."""

    __slots__ = ("target",)
    target: str

    def execute(self, child: Child) -> None:
        fd = child.open_target(self.target, directory=True)
        syscalls.mount_setattr(
            fd, "", syscalls.AT_EMPTY_PATH, attr_set=syscalls.MOUNT_ATTR_RDONLY)  # fmt: skip
        os.close(fd)

    def describe(self) -> str:
        return f"make {self.target} read-only"
