"""A machine for tests of an ordinary user: passwd(5), subuid(5), resolv.conf(5) and /dev/net/tun
of its own, and a neighbour behind a cable.  Nothing of it is the real machine's."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

import pytest
import yaml

from tests.e2e.sandbox import Sandbox
from tests.source_tree import ROOT

USER = 61234
FIRST_ID = 200_000
PYTHON = "/usr/bin/python3"
"""Ours may be in a directory of root's."""
PATH = f"{ROOT}:{Path(yaml.__file__).parents[1]}"
OWN, NEIGHBOUR = "192.0.2.2", "192.0.2.1"  # of the block for documentation, RFC 5737
NAME_SERVER = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.53", 53))
    print("ready", flush=True)
    while True:
        question, whom = server.recvfrom(512)
        name = question[12:question.index(0, 12) + 5]
        found = name[-4:] == bytes((0, 1, 0, 1))
        head = question[:2] + bytes((0x81, 0x80, 0, 1, 0, found, 0, 0, 0, 0))
        answer = bytes((0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1))
        server.sendto(head + name + (answer if found else b""), whom)
"""
"""Whatever is asked for has the neighbour's address."""
FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=20).read().decode())"


def lacks(*programs: str) -> str:
    """Why these tests cannot run here; empty if they can."""
    missing = [name for name in ("setpriv", "unshare", *programs) if shutil.which(name) is None]
    if os.geteuid():
        return "root is needed, to become an ordinary user"
    return f"not installed: {', '.join(missing)}" if missing else ""


WAITS = "print('ready', flush=True); input()"
ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[3].encode())
server = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler)
print("ready", flush=True)
server.serve_forever()
"""
"""An HTTP server: address, port, what it says to everything."""


needs_ids = pytest.mark.skipif(bool(lacks("newuidmap", "pasta", "ip")),
                               reason=lacks("newuidmap", "pasta", "ip"))  # fmt: skip


class Machine:
    """Namespaces with one user in them, who has a home and no systemd."""

    def __init__(self, directory: Path) -> None:
        self._sandbox = Sandbox(directory)
        self._directory = directory
        self.home = directory / "home"
        self._etc = directory / "etc"
        self._servers: list[subprocess.Popen[str]] = []
        self.neighbour: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._directory.chmod(0o755)
        for part in (self.home, self.home / "run"):
            part.mkdir()
            os.chown(part, USER, USER)
        self._sandbox.__enter__()
        for part in (self._etc, self._directory / "etc.work"):
            part.mkdir(mode=0o755)
        self.root("mount", "-t", "overlay", "overlay", "-o",
                  f"lowerdir=/etc,upperdir={self._etc},workdir={self._etc}.work", "/etc")
        return self

    def __exit__(self, *details: object) -> None:
        self._end_holder()
        for server in self._servers:
            assert server.stdin is not None
            server.kill()
            server.communicate()
        self._sandbox.__exit__()

    # ---- what a machine may have

    def give_ids(self) -> None:
        """A name for the user, and a range of subordinate ids."""
        entry = f"ordinary:x:{USER}:{USER}::{self.home}:/bin/sh\n"
        self._write("passwd", Path("/etc/passwd").read_text() + entry)
        for file in ("subuid", "subgid"):
            self._write(file, f"ordinary:{FIRST_ID}:65536\n")

    def give_neighbour(self) -> None:
        """A cable to another machine, which is the way to everywhere, and a nameserver on our own
        loopback."""
        self.neighbour = self.serve("unshare", "--net", "--", PYTHON, "-c", WAITS)
        for words in (
            f"link add cable type veth peer name far netns {self.neighbour.pid}",
            f"addr add {OWN}/24 dev cable", "link set cable up",
        ):  # fmt: skip
            self.root("ip", *words.split())
        self.near("ip", "addr", "add", f"{NEIGHBOUR}/24", "dev", "far")
        self.near("ip", "link", "set", "far", "up")
        self.root("ip", "route", "add", "default", "via", NEIGHBOUR)
        node = self._directory / "tun"
        os.mknod(node, 0o20666, os.makedev(10, 200))
        node.chmod(0o666)
        self.root("mount", "--bind", str(node), "/dev/net/tun")
        self._write("resolv.conf", "nameserver 127.0.0.53\n")
        self.serve(PYTHON, "-c", NAME_SERVER)

    def _write(self, name: str, text: str) -> None:
        """A file of /etc, seen from here alone."""
        self._sandbox.run(["sh", "-c", f"rm -f /etc/{name}; umask 022; cat >/etc/{name}"],
                          input=text)  # fmt: skip

    def serve_near(self, *argv: str) -> None:
        """Start a command on the other machine, which says when it is ready."""
        self.serve(*self._enter_neighbour(), *argv)

    def _enter_neighbour(self) -> list[str]:
        assert self.neighbour is not None
        return ["nsenter", "--target", str(self.neighbour.pid), "--net", "--"]

    # ---- what is done on it

    def root(self, *argv: str) -> str:
        """Output of a command of the machine's root."""
        return _output(self._sandbox.run(list(argv)))

    def near(self, *argv: str) -> str:
        """Output of a command on the other machine."""
        return _output(self._sandbox.run([*self._enter_neighbour(), *argv]))

    def serve(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command of root's, which says when it is ready."""
        server = subprocess.Popen(self._sandbox.inside(list(argv)), stdout=subprocess.PIPE,
                                  stdin=subprocess.PIPE, text=True)  # fmt: skip
        self._servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        return server

    def user(self, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A command of the user, in their home, with more variables."""
        become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": PATH,
                       "XDG_RUNTIME_DIR": f"{self.home}/run", "PYTHONDONTWRITEBYTECODE": "1",
                       "COMPOSE_PROJECT_NAME": "ordinary", **more}  # fmt: skip
        return self._sandbox.run([*become, *argv], cwd=self.home, env=environment,
                                 stdin=subprocess.DEVNULL)  # fmt: skip

    def pcompose(self, *words: str, **more: str) -> str:
        """Output of a command that works."""
        return _output(self.user(PYTHON, "-m", "orchestrator", *words, **more))

    def holder(self) -> int:
        """Who holds the user's namespaces, seen from outside; 0: nobody."""
        record = self.home / "run/pcompose/rootless/holder.json"
        if not record.exists():
            return 0
        inside = int(json.loads(record.read_text())["pid"])
        status = Path(f"/proc/{inside}/stat")
        return int(status.read_text().rpartition(")")[2].split()[1]) if status.exists() else 0

    def _end_holder(self) -> None:
        """It stays until it is told, and pasta as long as it does; both are children of ours."""
        holder = self.holder()
        if not holder:
            return
        waiting = [os.pidfd_open(holder)]
        pasta = self.home / "run/pcompose/rootless/pasta.pid"
        if pasta.exists():
            waiting.append(os.pidfd_open(int(pasta.read_text())))
        signal.pidfd_send_signal(waiting[0], signal.SIGTERM)
        for descriptor in waiting:
            assert select.select([descriptor], [], [], 20)[0], "holder or pasta do not end"
            os.close(descriptor)


def _output(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout
