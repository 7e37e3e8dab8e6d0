"""The process that holds a user's namespaces: `python -m … DIRECTORY`, started by `rootless`.

It stays in the namespaces of the host, where it makes sockets for published ports; its child, in
the new ones, only waits for its end.  First line of its output: {"words": […]} or {"error": …}.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

from orchestrator.linux import fds, idmap, netlink, procfs, syscalls
from orchestrator.linux.waiting import ready
from orchestrator.network import files, hostports

_SPACES = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET
_SINGLE = (
    "this user has one id only, as {why}: images with files of other users cannot be unpacked, nor "
    "can containers run as another user than root"
)
_RESOLVER = "169.254.1.1"
"""Where pasta listens for questions to the host's nameserver."""
_PASTA = (
    "--quiet", "--config-net", "--no-map-gw", "--dns-forward", _RESOLVER,
    "-t", "none", "-u", "none", "-T", "none", "-U", "none",
)  # fmt: skip
"""It forwards what goes out and nothing else: neither the host's ports nor its loopback are seen
from inside."""
_NO_WAY_OUT = (
    "pasta is not installed: containers reach each other and are reached at published ports, but "
    "do not reach other machines (apt-get install passt)"
)


def main(directory: str) -> int:
    """Until the child ends, which it does not by itself."""
    try:
        pid, words = _make(directory)
    except OSError as exc:
        _say({"error": exc.strerror})
        return 1
    path = f"{directory}/ports.sock"
    listener = fds.open_listener(path)
    _record(directory, pid)
    _say({"words": words})
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    _serve(socket.socket(fileno=listener.detach()), syscalls.pidfd_open(pid))
    os.unlink(path)
    return 0


def _say(answer: dict[str, object]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def _make(directory: str) -> tuple[int, list[str]]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    ready, done = os.pipe2(os.O_CLOEXEC)
    words: list[str] = []
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.close(ready)
        _wait_inside(reader, done)
    os.close(reader)
    os.close(done)
    try:
        _expect(ready)
        _map(pid, words)
        os.write(writer, b"m")
        _expect(ready)
        os.write(writer, _way_out(pid, directory, words))
        _expect(ready)
    except BaseException:
        os.close(writer)
        os.waitpid(pid, 0)
        raise
    return pid, words  # `writer` stays open: the child ends when we do


def _expect(ready: int) -> None:
    answer = os.read(ready, 16)
    if answer != b"k":
        code = int(answer or b"5")
        raise OSError(code, os.strerror(code))


def _wait_inside(reader: int, done: int) -> None:
    """Make the namespaces, then end when whoever writes to `reader` does."""
    try:
        syscalls.unshare(_SPACES)
        os.write(done, b"k")
        if os.read(reader, 1):
            syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
            with netlink.Netlink() as kernel:
                kernel.run([netlink.set_link("lo", up=True)])
            os.write(done, b"k")
            _stay(reader, done)
    except OSError as exc:
        os.write(done, str(exc.errno).encode())
    finally:
        os._exit(0)


def _stay(reader: int, done: int) -> None:
    """As long as `reader`, whose first word is the answer of `_way_out`, has another end.  Pasta
    would stay, and keep the network namespace."""
    pasta, _, resolver = os.read(reader, 4096).partition(b" ")
    pidfd = syscalls.pidfd_open(int(pasta)) if pasta else -1
    try:
        if resolver:
            syscalls.mount(os.fsdecode(resolver), "/etc/resolv.conf", "", syscalls.MS_BIND)
        os.write(done, b"k")
        os.close(done)
        os.read(reader, 1)
    finally:
        if pasta:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)


def _map(pid: int, words: list[str]) -> None:
    uid, gid = os.geteuid(), os.getegid()
    uids, gids = idmap.own_ranges(idmap.SUBUID, uid), idmap.own_ranges(idmap.SUBGID, uid)
    if uids and gids and idmap.has_tools():
        idmap.write_maps(pid, idmap.mapping(uid, uids), idmap.mapping(gid, gids))
        return
    lacks = "newuidmap is not installed (apt-get install uidmap)"
    if idmap.has_tools():
        lacks = f"{idmap.SUBUID} and {idmap.SUBGID} have no range (usermod --add-subuids)"
    words.append(_SINGLE.format(why=lacks))
    idmap.write_single(pid, uid, gid)


def _way_out(pid: int, directory: str, words: list[str]) -> bytes:
    """Start pasta, where it is installed: its pid, and what its resolv.conf has to be, if not the
    host's."""
    if shutil.which("pasta") is None:
        words.append(_NO_WAY_OUT)
        return b" "
    pid_file = f"{directory}/pasta.pid"
    command = ["pasta", *_PASTA, "--pid", pid_file, str(pid)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)  # fmt: skip
    if done.returncode:
        said = done.stderr.strip().splitlines()
        words.append("pasta fails, so containers do not reach other machines: "
                     + (said[-1] if said else f"exit code {done.returncode}"))
        return b" "
    with open(pid_file, "rb") as stream:
        return stream.read(16).strip() + b" " + os.fsencode(_resolver(directory))


def _resolver(directory: str) -> str:
    """The file where a nameserver on the host's loopback is asked by way of pasta; else empty."""
    text = procfs.read_text("/etc/resolv.conf") or ""
    if not any(server.startswith("127.") or server == "::1" for server in files.nameservers(text)):
        return ""
    with open(f"{directory}/resolv.conf", "w", encoding="utf-8") as stream:
        stream.write(files.resolv_conf(nameservers=(_RESOLVER,), search=files.search_domains(text)))
    return stream.name


def _record(directory: str, pid: int) -> None:
    temporary = f"{directory}/holder.json.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump({"pid": pid, "start_time": procfs.start_time(pid)}, stream)
    os.rename(temporary, f"{directory}/holder.json")


def _serve(listener: socket.socket, pidfd: int) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    while True:
        if pidfd in ready([listener.fileno(), pidfd])[0]:
            return
        connection, _ = listener.accept()
        connection.settimeout(5)
        hostports.serve(connection)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
