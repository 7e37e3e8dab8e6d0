"""ContainerSpec -> the ordered steps that make its file system.

Pure: values in, values out; the steps themselves are in `runtime.filesystem`.  The lists are those
of the OCI defaults and of Docker.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from orchestrator.errors import LaunchError
from orchestrator.linux import syscalls
from orchestrator.runtime import filesystem as fs
from orchestrator.runtime import isolation, joining
from orchestrator.runtime.limits import Placement
from orchestrator.runtime.material import Material
from orchestrator.runtime.populate import Populate
from orchestrator.runtime.roothook import RunHook
from orchestrator.runtime.spec import ContainerSpec, Mount
from orchestrator.runtime.steps import Step

MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
    "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
NODES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2", "core": "/proc/kcore", "ptmx": "pts/ptmx",
}  # fmt: skip
FILES = {"hosts": "/etc/hosts", "resolv.conf": "/etc/resolv.conf", "hostname": "/etc/hostname"}

_QUIET = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
_TMPFS_FLAGS = {
    "ro": (syscalls.MS_RDONLY, True), "rw": (syscalls.MS_RDONLY, False),
    "noexec": (syscalls.MS_NOEXEC, True), "exec": (syscalls.MS_NOEXEC, False),
    "nosuid": (syscalls.MS_NOSUID, True), "suid": (syscalls.MS_NOSUID, False),
    "noatime": (syscalls.MS_NOATIME, True), "atime": (syscalls.MS_NOATIME, False),
    "nodev": (syscalls.MS_NODEV, True), "dev": (syscalls.MS_NODEV, False),
}  # fmt: skip
"""Option -> (flag, whether it sets it); `dev` changes nothing where nodes are dead anyway: see
`runtime.filesystem`."""
_TMPFS_DATA = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks")


def before_network(spec: ContainerSpec, placement: Placement) -> list[Step]:
    """Mounts that need nothing from outside: they are made while the network is."""
    mounts = sorted(spec.mounts, key=lambda m: posixpath.normpath(m.target).count("/"))
    return [
        *_shared(mounts),
        fs.Propagation(),
        *_root(spec),
        *_kernel(spec),
        *_cgroups(spec, placement),
        *isolation.device_nodes(spec),
        *(step for mount in mounts for step in _mount(mount, spec)),
    ]


def _shared(mounts: list[Mount]) -> list[Step]:
    """Sources whose mounts are to show on the host too."""
    return [
        fs.OpenShared(source=mount.source or "", recursive=mount.recursive != "disabled",
                      create_source=mount.create_source)
        for mount in mounts if mount.propagation.removeprefix("r") == "shared"
    ]  # fmt: skip


def after_network(spec: ContainerSpec, *, run_dir: str) -> list[Step]:
    """What comes when the addresses are known, up to pivot_root.  A mount of the user's at the
    same place wins over our files."""
    targets = [*(mount.target for mount in spec.mounts), *(file.target for file in spec.files)]
    taken = {posixpath.normpath(target) for target in targets}
    files = [
        bind(f"{run_dir}/{name}", target) for name, target in FILES.items() if target not in taken
    ]
    hidden: list[Step] = [fs.Mask(paths=list(MASKED)), fs.ReadOnlyPaths(paths=list(READ_ONLY))]
    is_open = spec.privileged or not spec.masked_paths
    return [*_material(spec, f"{run_dir}/material"), *files, *isolation.sysctls(spec),
            *([] if is_open else hidden), *_hooks(spec, f"{run_dir}/bundle"), fs.PivotRoot()]


def _hooks(spec: ContainerSpec, bundle: str) -> list[Step]:
    return [
        RunHook(path=hook.path, args=list(hook.args), timeout=hook.timeout, bundle=bundle,
                environment=[f"{key}={value}" for key, value in hook.environment.items()],
                container=spec.id)
        for hook in spec.root_hooks
    ]  # fmt: skip


def _material(spec: ContainerSpec, directory: str) -> list[Step]:
    """Secrets and configs, after all mounts: they may lie inside of one."""
    if not spec.files:
        return []
    owners: list[list[int | None]] = [[file.mode, file.uid, file.gid] for file in spec.files]
    return [
        Material(directory=directory, sources=[f.source for f in spec.files], owners=owners),
        *(bind(f"{directory}/{number}", file.target, read_only=True)
          for number, file in enumerate(spec.files)),
    ]  # fmt: skip


def look(spec: ContainerSpec, *, volumes: bool) -> list[Step]:
    """For a look into a container that does not run: its root, and with `volumes` what is mounted
    in it and does not vanish with it."""
    mounts = sorted(spec.mounts, key=lambda m: posixpath.normpath(m.target).count("/"))
    kept = [bind(m.source, m.target, read_only=m.read_only) for m in mounts
            if volumes and m.source is not None]  # fmt: skip
    return [fs.Propagation(), *_root(spec), *kept]


def read_only(spec: ContainerSpec) -> list[Step]:
    """The last change of the file system."""
    if not spec.read_only:
        return []
    return [fs.ReadOnlyMounts(targets=["/", "/usr"] if spec.rootfs.host_usr else ["/"])]


def bind(
    source: str, target: str, *, read_only: bool = False, propagation: str = "rprivate",
    recursive: str = "enabled", subpath: str = "", create_source: bool = False,
    nodev: bool = True,
) -> fs.Bind:
    """A bind mount with the defaults of Docker."""
    return fs.Bind(source=source, target=target, subpath=subpath, read_only=read_only,
                   propagation=propagation, recursive=recursive, create_source=create_source,
                   nodev=nodev)


def _root(spec: ContainerSpec) -> list[Step]:
    rootfs, nodev = spec.rootfs, isolation.is_nodev(spec)
    volatile = spec.remove_on_exit and spec.restart == "no"  # else it would be mounted again
    steps: list[Step] = [
        fs.Overlay(lowers=list(rootfs.lowers), upper=rootfs.upper, work=rootfs.work,
                   target=rootfs.target, is_root=True, volatile=volatile, nodev=nodev)
    ]
    if rootfs.host_usr:
        steps.append(
            fs.Overlay(lowers=[*(f"{lower}/usr" for lower in rootfs.lowers), "/usr"],
                       upper=f"{rootfs.upper}-usr", work=f"{rootfs.work}-usr",
                       target="/usr", is_root=False, volatile=volatile, nodev=nodev)
        )
    return steps


def _kernel(spec: ContainerSpec) -> list[Step]:
    no_exec = syscalls.MS_NOSUID | syscalls.MS_NOEXEC
    # `nodev` of /dev itself does not touch the nodes: each is a mount of its own.
    nodev = syscalls.MS_NODEV if isolation.is_nodev(spec) else 0
    return [
        _filesystem("proc", "/proc", _QUIET),
        _filesystem("tmpfs", "/dev", syscalls.MS_NOSUID | nodev | syscalls.MS_STRICTATIME,
                    "mode=755,size=65536k"),
        fs.Devices(nodes=list(NODES), links=dict(LINKS)),
        _filesystem("devpts", "/dev/pts", no_exec, "newinstance,ptmxmode=0666,mode=0620,gid=5"),
        *_shm(spec),
        _filesystem("mqueue", "/dev/mqueue", _QUIET),
        _filesystem("sysfs", "/sys", _QUIET | (0 if spec.privileged else syscalls.MS_RDONLY)),
    ]  # fmt: skip


def _shm(spec: ContainerSpec) -> list[Step]:
    """/dev/shm goes with the ipc namespace."""
    match spec.namespaces.ipc:
        case "none":
            return []
        case "host":
            return [bind("/dev/shm", "/dev/shm")]
        case "private":
            return [_filesystem("tmpfs", "/dev/shm", _QUIET, f"mode=1777,size={spec.shm_size}")]
    return [joining.AttachShm()]


def _filesystem(fstype: str, target: str, flags: int, data: str = "") -> fs.Filesystem:
    return fs.Filesystem(fstype=fstype, target=target, flags=flags, data=data)


def _cgroups(spec: ContainerSpec, placement: Placement) -> list[Step]:
    """The container's own groups, read-only: version 2 alone where it has no other."""
    root, flags = "/sys/fs/cgroup", _QUIET | (0 if spec.privileged else syscalls.MS_RDONLY)
    if not placement.legacy:
        return [_filesystem("cgroup2", root, flags)] if placement.birth else []
    steps: list[Step] = [_filesystem("tmpfs", root, _QUIET, "mode=755,size=64k")]
    steps += [_filesystem("cgroup", f"{root}/{name}", flags, name) for name in placement.legacy]
    if placement.birth:
        steps.append(_filesystem("cgroup2", f"{root}/unified", flags))
    return [*steps, fs.ControllerLinks(target=root)]


def _mount(mount: Mount, spec: ContainerSpec) -> list[Step]:
    if mount.type == "tmpfs":
        flags, data = tmpfs_options(mount, spec)
        return [_filesystem("tmpfs", mount.target, flags, data)]
    if mount.type == "image":
        return [fs.ImageLayers(layers=list(mount.layers), subpath=mount.subpath,
                               target=mount.target)]  # fmt: skip
    assert mount.source is not None
    steps: list[Step] = []
    if mount.populate:
        steps.append(Populate(source=mount.source, target=mount.target))
    steps.append(
        bind(mount.source, mount.target, read_only=mount.read_only,
             propagation=mount.propagation or "rprivate", recursive=mount.recursive,
             subpath=mount.subpath, create_source=mount.create_source,
             nodev=isolation.is_nodev(spec))
    )  # fmt: skip
    return steps


def tmpfs_options(mount: Mount, spec: ContainerSpec) -> tuple[int, str]:
    """(MS_* flags, data) of a tmpfs; without options it is as Docker's: nosuid, nodev, noexec and
    mode 1777.  LaunchError for an option no tmpfs has."""
    flags, data = _QUIET | (syscalls.MS_RDONLY if mount.read_only else 0), {"mode": "1777"}
    for option in _split(mount.options):
        name, _, value = option.partition("=")
        if option in _TMPFS_FLAGS:
            flag, sets = _TMPFS_FLAGS[option]
            flags = flags | flag if sets else flags & ~flag
        elif name in _TMPFS_DATA and value:
            data[name] = value
        else:
            raise LaunchError(
                f"cannot start {spec.name}: tmpfs at {mount.target} has no option {option!r}"
                + (f" ({mount.origin})" if mount.origin else "")
            )
    if isolation.is_nodev(spec):
        flags |= syscalls.MS_NODEV
    return flags, ",".join(f"{name}={value}" for name, value in data.items())


def _split(options: Iterable[str]) -> list[str]:
    return [part for option in options for part in option.split(",") if part]
