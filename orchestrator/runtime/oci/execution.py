"""`exec`: another process in a running container.

It joins the container's groups and enters, through the pidfd of the first process, those of its
namespaces that are not ours anyway; then it is what `process` says, as the first one was.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_STREAM, socketpair

from orchestrator.linux import procfs, syscalls
from orchestrator.linux.fds import Channel
from orchestrator.runtime import child as child_side
from orchestrator.runtime import command, initbin, privilege
from orchestrator.runtime.oci import consoles, credentials, groups, process, sequence, stages
from orchestrator.runtime.oci.containers import Container, write_whole
from orchestrator.runtime.oci.faults import OciError, step_error, words_of
from orchestrator.runtime.oci.namespaces import FILES, FLAGS, become_root
from orchestrator.runtime.oci.spawning import Born
from orchestrator.runtime.oci.stages import OciChild
from orchestrator.runtime.process import Process
from orchestrator.runtime.steps import Child, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Warn = Callable[[str], None]


class Enter(Step):
    """Enter the namespaces (CLONE_NEW* flags) of the process `pidfd` is of, and the root it has,
    which `root` is: where its mount namespace is not its own, that is not the namespace's."""

    __slots__ = ("flags", "pidfd", "root")
    pidfd: int
    flags: int
    root: int

    def execute(self, child: Child) -> None:
        syscalls.set_dumpable(0)
        others = self.flags & ~syscalls.CLONE_NEWUSER
        if self.flags & syscalls.CLONE_NEWUSER:
            try:
                syscalls.setns(self.pidfd, self.flags)
            except PermissionError:
                syscalls.setns(self.pidfd, others)
                syscalls.setns(self.pidfd, syscalls.CLONE_NEWUSER)
            become_root()
            syscalls.set_dumpable(0)
        elif others:
            syscalls.setns(self.pidfd, others)
        os.fchdir(self.root)
        os.chroot(".")

    def describe(self) -> str:
        return "enter the container"


class Executed:
    """A process that has become its command: pid, pidfd (ours), and the terminal's master if we
    were to keep it."""

    __slots__ = ("master", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int, master: int) -> None:
        self.pid, self.pidfd, self.master = pid, pidfd, master


class Execution:
    """One `exec`; `process` is as in config.json."""

    def __init__(
        self, container: Container, wanted: dict[str, Any], *, console_socket: str = "",
        keep_terminal: bool = False, preserve_fds: int = 0, group: str = "", warn: Warn,
    ) -> None:
        self._container = container
        self._wanted = wanted
        self._console_socket = console_socket
        self._preserve_fds = preserve_fds
        self._keep_terminal = keep_terminal
        self._group = group
        self._warn = warn
        self._master = -1

    def run(self, *, pid_file: str = "") -> Executed:
        """Until the command has begun; OciError, and then no process is left."""
        if self._container.status() not in ("created", "running"):
            raise OciError(f"cannot exec in container {self._container.id}: "
                           f"it is {self._container.status()}")
        if self._wanted.get("terminal") and not (self._console_socket or self._keep_terminal):
            raise OciError("the process wants a terminal: --console-socket is missing")
        first = Process.adopt(self._container.pid, self._container.record["start_time"])
        if first is None:
            raise OciError(f"cannot exec in container {self._container.id}: it is stopped")
        try:
            born = self._spawn(first)
            try:
                self._accompany(born)
                if pid_file:
                    write_whole(pid_file, str(born.pid), mode=0o644)
            except BaseException:
                born.kill()
                born.close()
                raise
        except OSError as exc:
            raise OciError(f"cannot exec in container {self._container.id}: "
                           f"{words_of(exc)}") from exc
        finally:
            first.close()
        born.channel.close()
        return Executed(born.pid, born.pidfd, self._master)

    def _spawn(self, first: Process) -> Born:
        root = os.open(f"/proc/{first.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        steps = self._steps(first, root)
        ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        channel, far = Channel(ours), Channel(theirs)
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        keep = [*range(3, 3 + self._preserve_fds), first.pidfd, root]
        try:
            syscalls.setns(first.pidfd, syscalls.CLONE_NEWPID)
            pid, pidfd = syscalls.clone_with_pidfd()
            if pid == 0:
                _become_child(steps, far, keep)
            syscalls.setns(own, syscalls.CLONE_NEWPID)
        except BaseException:
            channel.close()
            raise
        finally:
            far.close()
            os.close(own)
            os.close(root)
        return Born(pid, pidfd, channel, is_mapped=True)

    def _accompany(self, born: Born) -> None:
        while True:
            received = born.channel.receive()
            if received is None:
                if not procfs.has_executed(born.pid):
                    raise OciError(f"cannot exec in container {self._container.id}: "
                                   "the process died")
                return
            message, given = received
            if "errno" in message:
                message.setdefault("step", f"exec {self._wanted['args'][0]}")
                message.setdefault("message", os.strerror(message["errno"]))
                raise step_error(f"cannot exec in container {self._container.id}", message)
            if message["at"] == "console":
                self._take_console(given[0])
                continue
            groups.enter(self._groups(), born.pid, born=False)
            born.channel.send({"op": "go", "pid": born.pid})

    def _groups(self) -> dict[str, str]:
        found = self._container.groups
        if not self._group:
            return found
        parts = self._group.strip("/").split("/")
        if ".." in parts:
            raise OciError(f"--cgroup {self._group!r} leaves the container's")
        return {name: os.path.join(path, *parts) for name, path in found.items()}

    def _take_console(self, master: int) -> None:
        if self._keep_terminal:
            self._master = master
            return
        try:
            consoles.hand_over(master, self._console_socket)
        finally:
            os.close(master)

    def _steps(self, first: Process, root: int) -> list[Step]:
        wanted, config = self._wanted, self._container.config()
        linux = {"seccomp": config["linux"]["seccomp"]} if "seccomp" in config["linux"] else {}
        affinity = wanted.get("execCPUAffinity", {})
        masks = process.capability_sets(wanted, self._warn)
        size = wanted.get("consoleSize")
        console = stages.Console(bind=False, size=[size["height"], size["width"]] if size else [])
        return [
            *_affinity(affinity.get("initial", ""), "initial"),
            stages.Ask(point="groups"),
            *_affinity(affinity.get("final", ""), "final"),
            command.OpenInit(path=initbin.path()),
            Enter(pidfd=first.pidfd, root=root, flags=_foreign_namespaces(first.pid)),
            *process.identity(wanted),
            *([console] if wanted.get("terminal") else []),
            command.OwnStreams(),
            process.working_directory(wanted),
            *process.scheduled(wanted, {}),
            *credentials.labels(wanted),
            *([privilege.NoNewPrivileges()] if wanted.get("noNewPrivileges") else []),
            credentials.Umask(mask=wanted.get("user", {}).get("umask", 0o022)),
            *process.limits(wanted),
            credentials.BecomeProcess(
                masks=masks,
                keep_for_filter=bool(linux) and not wanted.get("noNewPrivileges")),
            stages.CheckCommand(name=wanted["args"][0],
                                path=process.environment(wanted).get("PATH", "")),
            stages.Detach(),
            *sequence.seccomp(linux, wanted, state={}, agent=-1),
            stages.Become(argv=wanted["args"], environment=process.environment(wanted),
                          keep=self._preserve_fds),
        ]


def _become_child(steps: list[Step], channel: Channel, keep: list[int]) -> None:
    try:
        child_side.run(OciChild(channel, keep=keep), steps)
    finally:
        os._exit(1)


def _affinity(text: str, which: str) -> list[Step]:
    if not text:
        return []
    processors = process.number_list(text, f"process.execCPUAffinity.{which}")
    return [credentials.Affinity(processors=sorted(processors))]


def _foreign_namespaces(pid: int) -> int:
    """Those of the process that we are not in: entering one's own user namespace is an error, and
    what the container shares with us needs no entering."""
    flags = 0
    for kind, name in FILES.items():
        try:
            same = os.path.samestat(os.stat(f"/proc/{pid}/ns/{name}"),
                                    os.stat(f"/proc/self/ns/{name}"))
        except FileNotFoundError:  # a kernel without it
            continue
        if not same and kind != "pid":
            flags |= FLAGS[kind]
    return flags


def process_for(
    container: Container, *, argv: list[str], cwd: str, environment: list[str], user: str,
    additional_gids: list[str], capabilities: list[str], terminal: bool, no_new_privileges: bool,
) -> dict[str, Any]:
    """The process of an `exec` that names only what differs from the container's own."""
    own = dict(container.config().get("process") or {"cwd": "/"})
    own["args"] = argv
    own["terminal"] = terminal
    own.pop("consoleSize", None)
    if cwd:
        own["cwd"] = cwd
    own["env"] = [*own.get("env", []), *environment]
    if user:
        uid, _, gid = user.partition(":")
        if not uid.isdigit() or (gid and not gid.isdigit()):
            raise OciError(f"--user {user!r} must be UID or UID:GID")
        own["user"] = {"uid": int(uid), "gid": int(gid or own.get("user", {}).get("gid", 0))}
    if additional_gids:
        numbers = [int(word) for word in additional_gids if word.isdigit()]
        own["user"] = {**own.get("user", {}), "additionalGids": numbers}
    if capabilities:
        sets = own.get("capabilities", {})
        own["capabilities"] = {
            name: sorted({*sets.get(name, ()), *capabilities})
            for name in ("bounding", "effective", "permitted")} | {
            name: sets.get(name, []) for name in ("inheritable", "ambient")}
    if no_new_privileges:
        own["noNewPrivileges"] = True
    return own

