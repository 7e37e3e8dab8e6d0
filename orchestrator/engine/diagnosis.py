"""What this machine can and cannot do: each feature of the kernel tried, each program looked for.

Nothing is changed: what has to be tried is tried by a child in namespaces of its own.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator

from orchestrator.dataclass import dataclass
from orchestrator.linux import cgroupfs, idmap, netlink, nftables, overlay, procfs, syscalls
from orchestrator.state.layout import Layout

OK, LIMITED, MISSING = "ok", "limited", "missing"
_ENOUGH = 2 << 30
"""Bytes of disk below which images hardly fit."""
_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
_OLDEST = (5, 11)
"""Linux with overlayfs in user namespaces, and all we call besides."""
_NET, _NS, _USER = syscalls.CLONE_NEWNET, syscalls.CLONE_NEWNS, syscalls.CLONE_NEWUSER


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what, whether it is there, in words, and what to do where it is not."""

    name: str
    state: str
    """ok | limited: something will not work | missing: nothing will."""
    text: str
    hint: str = ""


def examine(layout: Layout) -> list[Finding]:
    """All findings, in the order to read them."""
    found = [_kernel(), _user_namespaces(), _overlay(), _control_groups(), _network(), _nat(),
             _ipv6(), _seccomp(), _modules(), *_disk(layout)]  # fmt: skip
    return found + list(_rootless()) if os.geteuid() else found


def _kernel() -> Finding:
    release = os.uname().release
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdecimal())
    if numbers < _OLDEST:
        return Finding("kernel", MISSING, f"Linux {release}", "Linux 5.11 or later")
    return Finding("kernel", OK, f"Linux {release}, Python {sys.version.split()[0]}")


def _user_namespaces() -> Finding:
    problem = _tried(lambda: syscalls.unshare(_USER))
    if not problem:
        return Finding("user namespaces", OK, "can be made")
    state = MISSING if os.geteuid() else LIMITED
    return Finding("user namespaces", state, problem,
                   "sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and "
                   "kernel.apparmor_restrict_unprivileged_userns")  # fmt: skip


def _overlay() -> Finding:
    with tempfile.TemporaryDirectory(prefix="pcompose-doctor-") as directory:
        problem = _tried(lambda: _mount_overlay(directory), mapped=True)
    if problem:
        return Finding("overlay", MISSING, problem, "modprobe overlay; Linux 5.11 for users")
    return Finding("overlay", OK, "can be mounted")


def _mount_overlay(directory: str) -> None:
    syscalls.unshare(_NS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("tmpfs", directory, "tmpfs", 0)  # not on a file system without its attributes
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(f"{directory}/{name}")
    overlay.mount(f"{directory}/merged", [f"{directory}/lower"], upper=f"{directory}/upper",
                  work=f"{directory}/work")


def _control_groups() -> Finding:
    hierarchy = cgroupfs.Hierarchy.detect()
    there = set(hierarchy.controllers())
    there |= {"io"} if "blkio" in there else set()
    lacking = [name for name in _CONTROLLERS if name not in there]
    mode = {"unified": "version 2", "hybrid": "hybrid", "legacy": "version 1"}[hierarchy.kind]
    if not lacking:
        return Finding("control groups", OK, f"{mode}: {', '.join(_CONTROLLERS)}")
    from orchestrator.linux import systemd

    if os.geteuid() and systemd.manager_socket():
        return Finding("control groups", OK, f"{mode}: what the user's systemd delegates")
    return Finding("control groups", LIMITED, f"{mode}: no limits by {', '.join(lacking)}",
                   "a systemd of the user (loginctl enable-linger) and cgroup version 2"
                   if os.geteuid() else "mount the controllers, or boot with cgroup version 2")


def _network() -> Finding:
    problem = _tried(_make_bridge, mapped=True)
    if problem:
        return Finding("bridges", MISSING, problem, "modprobe bridge veth")
    return Finding("bridges", OK, "can be made")


def _make_bridge() -> None:
    syscalls.unshare(_NET)
    with netlink.Netlink() as kernel:
        kernel.run([netlink.create_bridge("doctor"), netlink.create_pair("a", "b", mtu=1500)])


def _nat() -> Finding:
    problem = _tried(_make_rules, mapped=True)
    if problem:
        return Finding("nf_tables", LIMITED, f"{problem}: ports are proxied, networks are not "
                       "isolated, containers do not reach out", "modprobe nf_tables nft_chain_nat")
    return Finding("nf_tables", OK, "can be used")


def _make_rules() -> None:
    syscalls.unshare(_NET)
    nftables.set_ports("doctor", [])


def _ipv6() -> Finding:
    if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6"):
        return Finding("ipv6", OK, "is there")
    return Finding("ipv6", LIMITED, "is off", "boot without ipv6.disable=1")


def _seccomp() -> Finding:
    actions = procfs.read_text("/proc/sys/kernel/seccomp/actions_avail")
    if not actions:
        return Finding("seccomp", MISSING, "this kernel does not filter system calls",
                       "a kernel with CONFIG_SECCOMP_FILTER")
    return Finding("seccomp", OK, actions.strip())


def _modules() -> Finding:
    enabled = procfs.read_text("/sys/module/apparmor/parameters/enabled") or ""
    modules = [name for name, there in (
        ("AppArmor", enabled.strip() == "Y"), ("SELinux", "selinuxfs" in procfs.filesystems()),
    ) if there]  # fmt: skip
    return Finding("security modules", OK, ", ".join(modules) or "none; nothing needs one")


def _disk(layout: Layout) -> Iterator[Finding]:
    for name, path in (("data", layout.data), ("run", layout.run)):
        there = path
        while not os.path.exists(there):
            there = os.path.dirname(there)
        if not os.access(there, os.W_OK):
            yield Finding(name, MISSING, f"{path}: cannot be written to",
                          f"PCOMPOSE_{name.upper()} names another directory")
            continue
        room = os.statvfs(there)
        free = room.f_bavail * room.f_frsize
        text = f"{path}: {free / (1 << 30):.1f} GiB free"
        if name == "data" and free < _ENOUGH:
            yield Finding(name, LIMITED, text, "PCOMPOSE_DATA names a directory on another disk")
        else:
            yield Finding(name, OK, text)


def _rootless() -> Iterator[Finding]:
    uid = os.geteuid()
    ids = min(sum(count for _, count in idmap.own_ranges(path, uid))
              for path in (idmap.SUBUID, idmap.SUBGID))  # fmt: skip
    if not idmap.has_tools():
        yield Finding("subordinate ids", LIMITED, "newuidmap is not installed: one id only",
                      "apt-get install uidmap")
    elif not ids:
        yield Finding("subordinate ids", LIMITED, "no range: one id only",
                      f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {uid}")
    else:
        yield Finding("subordinate ids", OK, f"{ids} of them")
    if shutil.which("pasta"):
        yield Finding("pasta", OK, "containers reach other machines")
    else:
        yield Finding("pasta", LIMITED, "is not installed: containers do not reach other machines",
                      "apt-get install passt")


def _tried(action: Callable[[], None], *, mapped: bool = False) -> str:
    """Do it in a child, `mapped` as root of a user namespace where we are not root; what went
    wrong, or nothing."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            if mapped and os.geteuid():
                own = os.geteuid(), os.getegid()
                syscalls.unshare(_USER)
                idmap.write_single(os.getpid(), *own)
            action()
        except BaseException as exc:
            word = exc.strerror if isinstance(exc, OSError) and exc.strerror else repr(exc)
            os.write(writer, word.lower().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    return said.decode("utf-8", "replace")
