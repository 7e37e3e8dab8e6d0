"""A real keeper in a temporary directory and containers of a small root file system, for the tests
that need the kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.linux.fds import Channel
from orchestrator.runtime import logs
from orchestrator.runtime.isolation import Peer
from orchestrator.runtime.keeper_client import connect_keeper
from orchestrator.runtime.launch import (
    Stdio,
    adopt_request,
    exec_request,
    forget_request,
    launch_request,
)
from orchestrator.runtime.spec import ContainerSpec, Rootfs

CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_SYS_CHROOT",
)  # fmt: skip
PASSWD = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n"
GROUP = "root:x:0:\nbob:x:1000:\nwheel:x:10:bob\ntty:x:5:\n"
PATIENCE = 20.0

Message = dict[str, Any]  # JSON has no narrower type


def kernel_tells_exit_codes() -> bool:
    """Whether the exit code of a process is told to others than its parent (PIDFD_GET_INFO)."""
    return tuple(int(number) for number in os.uname().release.split(".")[:2]) >= (6, 15)


def make_rootfs(path: Path) -> Path:
    """What an image of nothing but links into the host's /usr has."""
    for name in ("usr", "etc", "tmp", "root", "var", "srv", "home/bob"):
        (path / name).mkdir(parents=True)
    (path / "tmp").chmod(0o1777)
    for name in ("bin", "lib", "lib64", "sbin"):
        (path / name).symlink_to(f"usr/{name}")
    (path / "etc/passwd").write_text(PASSWD)
    (path / "etc/group").write_text(GROUP)
    return path


class Kept:
    """A keeper, and what the tests do with it."""

    def __init__(self, root: Path, *, supervisor_argv: Sequence[str] = ("/bin/false",)) -> None:
        self.root = root
        self.rootfs = make_rootfs(root / "rootfs")
        self.hierarchy = Hierarchy.detect()
        self.specs: dict[str, ContainerSpec] = {}
        self.pids: dict[str, tuple[int, int]] = {}
        self.supervisor_argv = list(supervisor_argv)
        self.waiting: list[tuple[Message, list[int]]] = []
        self.channel = self.connect()
        self.keeper_pid: int = self.ask({"op": "list"}, "list")["pid"]

    def connect(self) -> Channel:
        return connect_keeper(
            f"{self.root}/run/keeper.sock", f"{self.root}/run/keeper.lock",
            supervisor_argv=self.supervisor_argv, log_path=f"{self.root}/keeper.log")

    def reconnect(self) -> None:
        """To a new keeper, once the old one, which was killed, is gone."""
        self.channel.close()
        eventually(lambda: _start_time(self.keeper_pid) is None)
        self.waiting.clear()
        self.channel = self.connect()
        self.keeper_pid = self.ask({"op": "list"}, "list")["pid"]

    def directory(self, name: str) -> Path:
        path = self.root / "c" / name
        (path / "run").mkdir(parents=True, exist_ok=True)
        return path

    def spec(self, name: str, argv: Sequence[str], **fields: Any) -> ContainerSpec:
        """A specification with the defaults of these tests."""
        path = self.directory(name)
        rootfs = Rootfs(lowers=(str(self.rootfs),), upper=f"{path}/upper", work=f"{path}/work",
                        target=f"{path}/root", host_usr=True)
        given = {
            "id": os.urandom(32).hex(), "name": name, "project": "p", "service": name, "index": 1,
            "argv": tuple(argv), "environment": {}, "hostname": name, "rootfs": rootfs,
            "capabilities": CAPABILITIES, **fields,
        }  # fmt: skip
        self.specs[name] = ContainerSpec(**given)
        return self.specs[name]

    def paths(self, name: str) -> dict[str, Any]:
        path = self.directory(name)
        for file in ("hosts", "resolv.conf", "hostname"):
            (path / "run" / file).write_text(f"{file} of {name}\n")
        return {"run_dir": f"{path}/run", "log_dir": f"{path}/log",
                "exit_path": f"{path}/exit.json"}

    def request(
        self, name: str, argv: Sequence[str], *, stdio: Stdio = "log", wait: bool = False,
        peers: Mapping[str, str] | None = None, **fields: Any,
    ) -> Message:
        """`peers`: `pid`, `ipc`, `network` -> the name of another container of this test."""
        spec = self.spec(name, argv, **fields)
        given = {kind: Peer(name=other, pid=self.pids[other][0], start_time=self.pids[other][1])
                 for kind, other in (peers or {}).items()}
        return launch_request(spec, hierarchy=self.hierarchy, wait_for_network=wait, stdio=stdio,
                              peers=given, **self.paths(name))

    def start(
        self, name: str, argv: Sequence[str], *, fds: Sequence[int] = (), stdio: Stdio = "log",
        **fields: Any,
    ) -> Message:
        """Launch and wait until it has begun or failed."""
        self.channel.send(self.request(name, argv, stdio=stdio, **fields), fds)
        message = self.event("cloned", "failed", id=self.specs[name].id)
        if message["event"] == "failed":
            return message
        self.pids[name] = (message["pid"], message["start_time"])
        return self.event("started", "failed", id=self.specs[name].id)

    def run(self, name: str, argv: Sequence[str], **fields: Any) -> Message:
        """Launch and wait for the end; the failure if there is one."""
        started = self.start(name, argv, **fields)
        return self.exited(name) if started["event"] == "started" else started

    def exited(self, name: str) -> Message:
        return self.event("exited", id=self.specs[name].id)

    def exited_pid_is_gone(self, pid: int) -> bool:
        """Whether a process of the host's pid namespace ends."""
        eventually(lambda: _start_time(pid) is None)
        return True

    def output(self, name: str, stream: str = "stdout") -> str:
        """All lines of a stream."""
        lines = logs.read_log(f"{self.directory(name)}/log")
        return "\n".join(line.text for line in lines if line.stream == stream)

    def sh(self, name: str, script: str, **fields: Any) -> str:
        """The output of a shell script in a container of its own."""
        message = self.run(name, ("/bin/sh", "-c", script), **fields)
        assert message["event"] == "exited", message
        return self.output(name)

    def exec(
        self, name: str, argv: Sequence[str], *, environment: Mapping[str, str] | None = None,
        user: str = "", cwd: str = "", tty: bool = False, privileged: bool = False,
        fds: Sequence[int] = (), capture: bool = True,
    ) -> tuple[Message, list[int]]:
        """Send an `exec`; its first answer and what came with it."""
        exec_id = os.urandom(8).hex()
        self.channel.send(
            exec_request(
                self.specs[name], self.pids[name][0], exec_id=exec_id, hierarchy=self.hierarchy,
                argv=argv, environment=environment or {}, user=user, cwd=cwd, tty=tty,
                privileged=privileged, capture=capture),
            fds)  # fmt: skip
        return self.event_with_fds("exec_started", "exec_failed", exec_id=exec_id)

    def exec_output(self, name: str, argv: Sequence[str], **options: Any) -> tuple[int, str]:
        """Exit code and output of a captured command."""
        started, _ = self.exec(name, argv, **options)
        assert started["event"] == "exec_started", started
        message = self.event("exec_exited", exec_id=started["exec_id"])
        return message["exit_code"], message["output"]

    def adopt(self, name: str) -> Message:
        pid, start_time = self.pids[name]
        self.channel.send(
            adopt_request(self.specs[name], pid=pid, start_time=start_time, stdio="log",
                          hierarchy=self.hierarchy, **self._existing_paths(name)))
        return self.event("adopted", "exited", id=self.specs[name].id)

    def _existing_paths(self, name: str) -> dict[str, Any]:
        path = self.directory(name)
        return {"run_dir": f"{path}/run", "log_dir": f"{path}/log",
                "exit_path": f"{path}/exit.json"}

    def ask(self, message: Message, *events: str) -> Message:
        self.channel.send(message)
        return self.event(*events)

    def event(self, *events: str, **fields: Any) -> Message:
        return self.event_with_fds(*events, **fields)[0]

    def event_with_fds(self, *events: str, **fields: Any) -> tuple[Message, list[int]]:
        """The next event of one of these kinds with these fields; others stay for later."""
        def fits(message: Message) -> bool:
            return message["event"] in events and fields.items() <= message.items()

        for number, (message, fds) in enumerate(self.waiting):
            if fits(message):
                del self.waiting[number]
                return message, fds
        while True:
            received = self.channel.receive()
            assert received is not None, (self.root / "keeper.log").read_text()
            if fits(received[0]):
                return received
            self.waiting.append(received)

    def kill_all(self) -> None:
        for pid, start_time in self.pids.values():
            if _start_time(pid) == start_time:
                os.kill(pid, 9)

    def close(self) -> None:
        """End containers and keeper, and see that nothing is left."""
        self.kill_all()
        eventually(lambda: not self.ask({"op": "list"}, "list")["containers"])
        eventually(lambda: not any(map(os.path.exists, self.groups())))
        self.channel.send({"op": "exit"})
        while self.channel.receive() is not None:
            pass
        self.channel.close()
        eventually(lambda: _start_time(self.keeper_pid) is None)

    def groups(self) -> list[str]:
        """Every cgroup directory the containers of this test may have had."""
        found = []
        for spec in self.specs.values():
            found += forget_request(spec, hierarchy=self.hierarchy)["groups"]
        return found


def _start_time(pid: int) -> int | None:
    from orchestrator.linux import procfs

    return procfs.start_time(pid)


def eventually(check: Any, *, patience: float = PATIENCE) -> None:
    """Until the check holds; the kernel finishes some things after it has answered."""
    end = time.monotonic() + patience
    while not check():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
