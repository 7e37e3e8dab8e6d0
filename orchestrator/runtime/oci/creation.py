"""`create`: from a bundle to a first process that waits for `start`; all of it or nothing.

What can be refused is refused before anything is made; what was made is taken back when a later
part fails.
"""

from __future__ import annotations

import os

from orchestrator.linux import fds, procfs
from orchestrator.runtime.oci import config as configs
from orchestrator.runtime.oci import (
    consoles,
    credentials,
    filters,
    hooks,
    idmapping,
    netdevices,
    sequence,
)
from orchestrator.runtime.oci.containers import Container, Containers, write_whole
from orchestrator.runtime.oci.faults import OciError, step_error, words_of
from orchestrator.runtime.oci.mounts import Mounts
from orchestrator.runtime.oci.namespaces import Namespaces, map_ids, open_namespaces
from orchestrator.runtime.oci.placing import Place
from orchestrator.runtime.oci.release import release
from orchestrator.runtime.oci.spawning import Born, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orchestrator.runtime.oci.config import Config
    from orchestrator.runtime.steps import Step

    Warn = Callable[[str], None]


class Wishes:
    """What the options of `create` and `run` say."""

    __slots__ = (
        "bundle", "by_systemd", "console_socket", "new_keyring", "no_pivot", "pid_file",
        "preserve_fds", "terminal",
    )  # fmt: skip

    def __init__(
        self, *, bundle: str, console_socket: str = "", pid_file: str = "", preserve_fds: int = 0,
        no_pivot: bool = False, new_keyring: bool = True, by_systemd: bool = False,
        terminal: bool = False,
    ) -> None:
        self.bundle = os.path.abspath(bundle or ".")
        self.console_socket = console_socket
        self.pid_file = pid_file
        self.preserve_fds = preserve_fds
        self.no_pivot = no_pivot
        self.new_keyring = new_keyring
        self.by_systemd = by_systemd
        self.terminal = terminal
        """The caller takes the master itself (`run` in the foreground)."""


class Creation:
    """One `create`, with what it has made so far."""

    def __init__(self, containers: Containers, wishes: Wishes, *, warn: Warn) -> None:
        self._containers = containers
        self._wishes = wishes
        self._warn = warn
        self._config: Config = configs.read(wishes.bundle)
        self._linux: dict[str, Any] = self._config["linux"]
        self._process: dict[str, Any] | None = self._config.get("process")
        self._born: Born | None = None
        self.master = -1
        """With `wishes.terminal`, the terminal's master."""

    def create(self, container_id: str) -> Container:
        """Make it and wait until it waits; OciError, and then nothing of it is left."""
        self._refuse()
        ready = sequence.to_ready(self._config, warn=self._warn)
        namespaces = open_namespaces(self._config)
        try:
            container = self._containers.make(
                container_id, bundle=self._wishes.bundle, document=self._config)
            try:
                self._make(container, namespaces, ready)
            except BaseException as exc:
                self._undo(container)
                if isinstance(exc, OSError):
                    raise OciError(f"cannot create {container_id}: {words_of(exc)}") from exc
                raise
        finally:
            namespaces.close()
        return container

    def _refuse(self) -> None:
        """What this machine or this runtime cannot do."""
        linux, wanted = self._linux, self._process or {}
        if "intelRdt" in linux and not os.path.isdir("/sys/fs/resctrl/info"):
            raise OciError("config: linux.intelRdt: this machine has no resctrl file system")
        if "intelRdt" in linux:
            raise OciError("config: linux.intelRdt is not supported")
        labelled = linux.get("mountLabel") or wanted.get("selinuxLabel")
        if labelled and not credentials.has_selinux():
            self._warn("labels of SELinux are ignored: this machine has it not")
        if wanted.get("apparmorProfile") and not credentials.has_apparmor():
            self._warn("the AppArmor profile is ignored: this machine has it not")
        terminal = wanted.get("terminal", False)
        if self._wishes.console_socket and not terminal:
            raise OciError("--console-socket is for a process with a terminal")
        if terminal and not self._wishes.console_socket and not self._wishes.terminal:
            raise OciError("the process wants a terminal: --console-socket is missing")
        netdevices.check(linux.get("netDevices", {}))
        if "seccomp" in linux:
            filters.build(linux["seccomp"])
        for fd in range(3, 3 + self._wishes.preserve_fds):
            try:
                os.fstat(fd)
            except OSError:
                raise OciError(f"--preserve-fds: descriptor {fd} is not open") from None

    def _make(
        self, container: Container, namespaces: Namespaces, ready: list[Step]
    ) -> None:
        place = Place(self._config, container.id, namespaces, warn=self._warn,
                      by_systemd=self._wishes.by_systemd)
        container.record |= {
            "groups": place.group, "made_groups": place.to_make,
            "own_mount_namespace": "mount" in namespaces.new,
        }  # fmt: skip
        container.save()  # before anything is made: whoever deletes it has to know
        place.before_clone()
        mounts = Mounts(self._config, bundle=self._wishes.bundle, namespaces=namespaces,
                        groups=place.group)
        listener = agent = -1
        sock = fds.open_listener(container.start_socket)
        try:
            listener = os.dup(sock.fileno())
            agent = self._connect_agent()
            state = container.state(status="created")
            pivot = "mount" in namespaces.new and not self._wishes.no_pivot
            steps = [
                *sequence.to_root(self._config, namespaces, mounts.steps(), state=state,
                                  pivot=pivot),
                *([credentials.NewKeyring(name=f"_ses.{container.id}"[:200])]
                  if self._wishes.new_keyring else []),
                *ready,
                *sequence.to_exec(self._config, state=state, listener=listener, agent=agent,
                                  preserve_fds=self._wishes.preserve_fds),
            ]
            idmapping.apply(mounts.id_maps)
            keep = [*range(3, 3 + self._wishes.preserve_fds), *mounts.opened, listener,
                    *([agent] if agent >= 0 else [])]
            self._spawn(container, namespaces, place, steps, keep)
        finally:
            mounts.close()
            for fd in (listener, agent):
                if fd >= 0:
                    os.close(fd)
            sock.close()
        self._accompany(container, namespaces)

    def _spawn(
        self, container: Container, namespaces: Namespaces, place: Place, steps: list[Step],
        keep: list[int],
    ) -> None:
        group_fd = place.open_birth()
        try:
            self._born = spawn(steps, namespaces, keep=keep, group_fd=group_fd)
        finally:
            if group_fd is not None:
                os.close(group_fd)
        container.record["pid"] = self._born.pid
        container.record["start_time"] = procfs.start_time(self._born.pid) or 0
        born_in_group = group_fd is not None and not namespaces.needs_stage
        if "user" in namespaces.new and not self._born.is_mapped:
            self._until(container, "map")
            map_ids(self._born.pid, namespaces)
            self._born.channel.send({"op": "go"})
        place.after_clone(self._born.pid, born=born_in_group)

    def _accompany(self, container: Container, namespaces: Namespaces) -> None:
        """Do our part at each point the first process comes to, until it is ready."""
        assert self._born is not None
        wanted = self._config.get("hooks", {})
        for point in ("groups", "hooks", "ready"):
            self._until(container, point)
            if point == "groups":
                netdevices.move(self._linux.get("netDevices", {}), self._born.pid)
            elif point == "hooks":
                state = container.state(status="created")
                for kind in ("prestart", "createRuntime"):
                    hooks.run_all(wanted.get(kind, []), state, kind=kind)
            else:
                self._complete(container)
            self._born.channel.send({"op": "go", "pid": self._born.pid})
        self._born.close()

    def _until(self, container: Container, point: str) -> None:
        """Hear the first process until it has come to `point`; OciError if it fails before."""
        assert self._born is not None
        while True:
            received = self._born.channel.receive()
            if received is None:
                raise OciError(f"cannot create {container.id}: its first process died")
            message, given = received
            if "errno" in message:
                raise step_error(f"cannot create {container.id}", message)
            if message["at"] == "console":
                self._take_console(given[0])
            elif message["at"] == point:
                return

    def _take_console(self, master: int) -> None:
        if self._wishes.terminal:
            self.master = master
            return
        try:
            consoles.hand_over(master, self._wishes.console_socket)
        finally:
            os.close(master)

    def _complete(self, container: Container) -> None:
        if self._wishes.pid_file:
            write_whole(self._wishes.pid_file, str(container.pid), mode=0o644)
        container.record["is_complete"] = True
        container.save()

    def _undo(self, container: Container) -> None:
        """Take back all that was made; what cannot be is told and does not hide the reason."""
        if self._born is not None:
            self._born.kill()
            self._born.close()
        if self.master >= 0:
            os.close(self.master)
        release(container, warn=self._warn)
        if self._config.get("hooks", {}).get("poststop") and container.pid:
            hooks.run_each(self._config["hooks"]["poststop"], container.state(status="stopped"),
                           kind="poststop", warn=self._warn)

    def _connect_agent(self) -> int:
        profile = self._linux.get("seccomp", {})
        path = profile.get("listenerPath", "")
        if not path or not filters.notifies(profile):
            return -1
        try:
            return fds.connect(path).detach()
        except OSError as exc:
            raise OciError(f"cannot reach the seccomp agent at {path}: {words_of(exc)}") from exc
