"""`root`, `mounts`, `linux.devices` and the path lists of config.json -> the steps that make them.

Opens what lies on the host (it runs before the clone, with the host's privileges); what is opened
belongs to the caller's `opened` list.
"""

from __future__ import annotations

import os
import posixpath
import stat

from orchestrator.linux import chase, syscalls
from orchestrator.runtime import filesystem as fs
from orchestrator.runtime.oci import mounting, mountoptions
from orchestrator.runtime.oci.faults import OciError, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.runtime.oci.config import Config
    from orchestrator.runtime.oci.mountoptions import MountOptions
    from orchestrator.runtime.oci.namespaces import Namespaces
    from orchestrator.runtime.steps import Step

DEVICES: tuple[tuple[str, int, int], ...] = (
    ("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0),
)  # fmt: skip
_LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
}  # fmt: skip


class Mounts:
    """The translation of one config: `steps` in order, and what was opened for them."""

    def __init__(
        self, config: Config, *, bundle: str, namespaces: Namespaces, groups: dict[str, str],
    ) -> None:
        self._config = config
        self._bundle = bundle
        self._namespaces = namespaces
        self._groups = groups
        self._read_only: list[str] = []
        self._root_tree = -1
        self._covered: list[str] = []
        self.opened: list[int] = []
        """Detached mounts, for the child; to be closed here after the clone."""
        self.id_maps: list[tuple[int, list[dict[str, int]], list[dict[str, int]], bool]] = []
        """Trees that get an id mapping before they are attached: (tree, uid map, gid map,
        recursive)."""

    def steps(self) -> list[Step]:
        """Up to, but without, pivot_root; OciError where a source is not there."""
        linux = self._config["linux"]
        steps: list[Step] = [mounting.DetachHost()] if "mount" in self._namespaces.new else []
        steps.append(self._root())
        mounts = self._config.get("mounts", [])
        for index, mount in enumerate(mounts):
            made = self._mount(mount, mounts[index + 1:])
            self._make_mount_point(_target(mount), made)
            steps += made
        if not any(_target(m) == "/dev" and _is_bind(m) for m in mounts):
            steps += self._devices()
        if "process" in self._config:
            self._make_mount_point(self._config["process"]["cwd"], [])
        if self._read_only:
            steps.append(mounting.ReadOnly(targets=self._read_only))
        for name in ("maskedPaths", "readonlyPaths"):
            for path in linux.get(name, ()):
                if not path.startswith("/"):
                    raise OciError(f"config: linux.{name}: {path!r} is not an absolute path")
        if linux.get("readonlyPaths"):
            steps.append(fs.ReadOnlyPaths(paths=linux["readonlyPaths"]))
        if linux.get("maskedPaths"):
            steps.append(fs.Mask(paths=linux["maskedPaths"]))
        return steps

    def close(self) -> None:
        for fd in self.opened:
            os.close(fd)
        self.opened = []

    def _make_mount_point(self, target: str, made: list[Step]) -> None:
        """In a user namespace the root file system is another's: what is missing in it is made
        here, unless another mount comes before it."""
        below_another = any(f"{target}/".startswith(f"{path.rstrip('/')}/")
                            for path in self._covered)
        self._covered.append(target)
        if "user" not in self._namespaces.new or below_another:
            return
        directory = not (made and isinstance(made[0], mounting.Tree)
                         and not stat.S_ISDIR(os.fstat(made[0].tree).st_mode))
        try:
            os.close(chase.open_or_make(self._root_tree, target, directory=directory))
        except OSError as exc:
            raise OciError(f"cannot make the mount point {target}: {words_of(exc)}") from exc

    def _open_tree(self, path: str, *, recursive: bool, what: str) -> int:
        flags = syscalls.OPEN_TREE_CLONE | (syscalls.AT_RECURSIVE if recursive else 0)
        try:
            tree = syscalls.open_tree(syscalls.AT_FDCWD, path, flags)
        except OSError as exc:
            raise OciError(f"cannot open {what} {words_of(exc)}") from exc
        self.opened.append(tree)
        return tree

    def _root(self) -> Step:
        path = os.path.join(self._bundle, self._config["root"]["path"])
        if not os.path.isdir(path):
            raise OciError(f"config: root.path {path} is not a directory")
        tree = self._root_tree = self._open_tree(path, recursive=True, what="the root")
        wanted = self._config["linux"].get("rootfsPropagation", "")
        kind = syscalls.MS_SLAVE if wanted.endswith("slave") else syscalls.MS_PRIVATE
        syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE,
                               propagation=kind)
        own = "mount" in self._namespaces.new
        return mounting.Root(tree=tree, target="/" if own else path)

    def _mount(self, mount: dict[str, Any], later: list[dict[str, Any]]) -> list[Step]:
        options = mountoptions.parse(mount.get("options", []))
        if options.is_bind or mount.get("type") == "bind":
            return [self._bind(mount, options)]
        fstype = mount.get("type", "")
        if not fstype or fstype == "none":
            raise OciError(f"config: the mount at {mount['destination']} has no type")
        if options.idmap or mount.get("uidMappings") or mount.get("gidMappings"):
            raise OciError(f"config: the mount at {mount['destination']} has id mappings, which "
                           "only bind mounts can have")
        target = _target(mount)
        if options.flags & syscalls.MS_RDONLY and _is_filled_later(target, later):
            options.flags &= ~syscalls.MS_RDONLY
            self._read_only.append(target)
        if fstype in ("cgroup", "cgroup2"):
            return self._cgroups(target, options)
        return [_new(fstype, mount.get("source", fstype), target, options)]

    def _bind(self, mount: dict[str, Any], options: MountOptions) -> Step:
        source = os.path.join(self._bundle, mount.get("source", ""))
        if not mount.get("source"):
            raise OciError(f"config: the bind mount at {mount['destination']} has no source")
        tree = self._open_tree(source, recursive=options.is_recursive, what="the source of a mount")
        self._note_mapping(mount, options, tree)
        whole = syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE
        kind = options.recursive_propagation or options.propagation or syscalls.MS_PRIVATE
        depth = whole if options.recursive_propagation or not options.propagation else (
            syscalls.AT_EMPTY_PATH)
        syscalls.mount_setattr(tree, "", depth, propagation=kind)
        for (set_bits, clear_bits), flags in (
            (options.attributes, syscalls.AT_EMPTY_PATH), (options.recursive, whole),
        ):
            if set_bits or clear_bits:
                syscalls.mount_setattr(tree, "", flags, attr_set=set_bits, attr_clr=clear_bits)
        return mounting.Tree(tree=tree, source=source, target=_target(mount), is_cgroup=False)

    def _note_mapping(self, mount: dict[str, Any], options: MountOptions, tree: int) -> None:
        uids, gids = mount.get("uidMappings", []), mount.get("gidMappings", [])
        if bool(uids) != bool(gids):
            raise OciError(f"config: the mount at {mount['destination']} needs both uidMappings "
                           "and gidMappings")
        if not uids and not options.idmap:
            return
        if not uids:
            uids, gids = self._namespaces.uid_map, self._namespaces.gid_map
        if not uids:
            raise OciError(f"config: the mount at {mount['destination']} has option "
                           f"{options.idmap} but no mapping, nor has the container")
        self.id_maps.append((tree, uids, gids, options.idmap == "ridmap"))

    def _cgroups(self, target: str, options: MountOptions) -> list[Step]:
        """The container's own groups.  In a cgroup namespace of its own they are mounted, else
        bound."""
        unified = self._groups.get("")
        legacy: dict[str, list[str]] = {}
        for name, path in self._groups.items():
            if name and path != unified:
                legacy.setdefault(path, []).append(name)
        if not legacy:
            return [self._group("cgroup2", unified, target, options, "")] if unified else []
        flags = options.flags & ~syscalls.MS_RDONLY
        steps: list[Step] = [fs.Filesystem(fstype="tmpfs", target=target, flags=flags,
                                           data="mode=755")]
        for path, names in legacy.items():
            joined = ",".join(names)
            steps.append(self._group("cgroup", path, f"{target}/{joined}", options, joined))
        if unified:
            steps.append(self._group("cgroup2", unified, f"{target}/unified", options, ""))
        if options.flags & syscalls.MS_RDONLY:
            self._read_only.append(target)
        return steps

    def _group(
        self, fstype: str, path: str, target: str, options: MountOptions, data: str
    ) -> Step:
        if "cgroup" in self._namespaces:
            return fs.Filesystem(fstype=fstype, target=target, flags=options.flags, data=data)
        tree = self._open_tree(path, recursive=False, what="the cgroup")
        syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, attr_set=options.attributes[0],
                               propagation=syscalls.MS_PRIVATE)
        return mounting.Tree(tree=tree, source=path, target=target, is_cgroup=True)

    def _devices(self) -> list[Step]:
        nodes: dict[str, list[int | str]] = {
            path: [path, "c", major, minor, 0o666, 0, 0] for path, major, minor in DEVICES
        }
        for device in self._config["linux"].get("devices", ()):
            path = device["path"]
            if not path.startswith("/"):
                raise OciError(f"config: linux.devices: {path!r} is not an absolute path")
            kind = device["type"]
            if kind != "p" and not {"major", "minor"} <= device.keys():
                raise OciError(f"config: linux.devices: {path} has no major and minor number")
            major, minor = (0, 0) if kind == "p" else (device["major"], device["minor"])
            nodes[path] = [path, kind, major, minor, device.get("fileMode", 0o666),
                           device.get("uid", 0), device.get("gid", 0)]
        trees = {}
        if "user" in self._namespaces or os.geteuid():  # mknod(2) is the host's privilege
            trees = {path: self._host_node(*node) for path, node in nodes.items()
                     if node[1] != "p"}
        return [mounting.DeviceNodes(nodes=list(nodes.values()), trees=trees),
                mounting.DeviceLinks(links=dict(_LINKS))]

    def _host_node(self, path: Any, kind: Any, major: Any, minor: Any, *_: Any) -> int:
        tree = self._open_tree(str(path), recursive=False, what="the device")
        status = os.fstat(tree)
        wanted = stat.S_IFBLK if kind == "b" else stat.S_IFCHR
        if stat.S_IFMT(status.st_mode) != wanted or status.st_rdev != os.makedev(major, minor):
            raise OciError(f"cannot make device {path}: in a user namespace it is the host's, "
                           "which is another one")
        return tree


def _new(fstype: str, source: str, target: str, options: MountOptions) -> Step:
    return mounting.Mounted(
        fstype=fstype, source=source, target=target, flags=options.flags,
        data=",".join(options.data), change=options.recursive,
        propagation=options.recursive_propagation or options.propagation,
        copy_up=options.copy_up and fstype == "tmpfs",
    )


def _is_bind(mount: dict[str, Any]) -> bool:
    return mount.get("type") == "bind" or bool({"bind", "rbind"} & set(mount.get("options", ())))


def _target(mount: dict[str, Any]) -> str:
    """A relative destination is relative to `/`."""
    return posixpath.normpath(f"/{mount['destination']}".replace("//", "/"))


def _is_filled_later(target: str, later: list[dict[str, Any]]) -> bool:
    """Whether something has to be made in the mount after it."""
    below = target.rstrip("/") + "/"
    return target == "/dev" or any(_target(mount).startswith(below) for mount in later)
