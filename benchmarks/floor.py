"""The raw floor: what the kernel itself asks for a container, without any of our code around it.

`python -SI -m`-like use: `python -SI benchmarks/floor.py COUNT PARALLEL`, as root.  Each container
is clone (pid, mount, uts, ipc, net namespaces), an overlay root on /usr, /proc, /dev, pivot_root
and exec of true(1).  Prints seconds for all of them.
"""

from __future__ import annotations

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from orchestrator.linux import syscalls as sc

NAMESPACES = (
    sc.CLONE_NEWPID | sc.CLONE_NEWNS | sc.CLONE_NEWUTS | sc.CLONE_NEWIPC | sc.CLONE_NEWNET
)


def prepare(directory: str, count: int) -> None:
    for n in range(count):
        for name in ("upper/usr", "upper/proc", "upper/dev", "work", "root", "usr-up", "usr-work"):
            os.makedirs(f"{directory}/{n}/{name}")
    os.makedirs(f"{directory}/lower/usr", exist_ok=True)


def become(directory: str) -> None:
    """The child: the fewest mounts that make a root of its own, then exec."""
    root = f"{directory}/root"
    sc.mount("", "/", "", sc.MS_SLAVE | sc.MS_REC)
    lower = f"{os.path.dirname(directory)}/lower"
    overlay = f"lowerdir={lower},upperdir={directory}/upper,workdir={directory}/work"
    sc.mount("overlay", root, "overlay", 0, overlay)
    usr = f"lowerdir=/usr,upperdir={directory}/usr-up,workdir={directory}/usr-work"
    sc.mount("overlay", f"{root}/usr", "overlay", 0, usr)
    sc.mount("proc", f"{root}/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    sc.mount("tmpfs", f"{root}/dev", "tmpfs", sc.MS_NOSUID)
    os.chdir(root)
    sc.pivot_root(".", ".")
    sc.umount2(".", sc.MNT_DETACH)
    for name in ("lib", "lib64", "bin"):
        os.symlink(f"usr/{name}", f"/{name}")
    os.execv("/usr/bin/true", ["true"])


def start(directory: str) -> int:
    pid = sc.clone(NAMESPACES)
    if pid == 0:
        try:
            become(directory)
        finally:
            os._exit(111)
    return pid


def reap(pids: list[int]) -> None:
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        if status:
            raise SystemExit(f"the floor itself failed: wait status {status}")


def main() -> None:
    count, parallel, directory = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    prepare(directory, count)
    begun = time.perf_counter()
    pids: list[int] = []
    for n in range(count):
        pids.append(start(f"{directory}/{n}"))
        if len(pids) == parallel:
            reap(pids)
            pids.clear()
    reap(pids)
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main()
