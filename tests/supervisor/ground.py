"""The ground kernel tests stand on: a real supervisor and keeper in namespaces of their own.

A test's thread is moved into new network and mount namespaces and back; everything it starts stays
there.  Programs of the containers are the machine's own (`host_usr`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import names
from orchestrator.errors import SupervisorError
from orchestrator.events import Event, Progress, StateChanged, from_json
from orchestrator.linux import netlink, procfs, syscalls
from orchestrator.runtime.spec import ContainerSpec, Endpoint, Rootfs
from orchestrator.state import observe, store
from orchestrator.state.layout import Layout
from orchestrator.state.records import ContainerRecord, ContainerStatus, NetworkRecord
from orchestrator.supervisor import client, protocol

PATIENCE = 20.0
SUBNET = "10.201.7"


@contextmanager
def own_namespaces() -> Iterator[None]:
    """This thread and what it starts: a network without a way out, mounts nobody else sees."""
    here = os.getcwd()
    back = [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
    syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS)
    try:
        syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        with netlink.Netlink() as sock:
            sock.run([netlink.set_link("lo", up=True)])
        yield
    finally:
        for fd in back:
            syscalls.setns(fd)
            os.close(fd)
        os.chdir(here)


def skeleton(path: Path) -> str:
    """The lower layer of every container: empty directories and a small /etc."""
    for name in ("etc", "usr", "proc", "sys", "dev", "tmp", "run", "root", "var"):
        (path / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.lexists(f"/{name}"):
            (path / name).symlink_to(f"usr/{name}")
    (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (path / "etc/group").write_text("root:x:0:\n")
    (path / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    return str(path)


@dataclass
class Ground:
    """One project and the words to speak with its supervisor."""

    layout: Layout
    lower: str
    project: str = "p"
    seen: list[Event] = field(default_factory=list)

    # -- making

    def spec(self, service: str, script: str, *, index: int = 1, **more: Any) -> ContainerSpec:
        """A container that runs `/bin/sh -c script`, unless `argv` is given."""
        id_ = names.new_id()
        base = self.layout.container(self.project, id_)
        values: dict[str, Any] = {
            "id": id_, "name": f"{self.project}-{service}-{index}", "project": self.project,
            "service": service, "index": index, "argv": ("/bin/sh", "-c", script),
            "environment": {}, "hostname": id_[:12], "stop_grace_period": 5.0,
            "rootfs": Rootfs(lowers=(self.lower,), upper=f"{base}/upper", work=f"{base}/work",
                             target=f"{base}/root", host_usr=True),
        }  # fmt: skip
        return ContainerSpec(**{**values, **more})

    def record(self, spec: ContainerSpec) -> ContainerRecord:
        return ContainerRecord(
            id=spec.id, name=spec.name, project=self.project, service=spec.service,
            index=spec.index, oneoff=spec.oneoff, created_at=time.time(), config_hash="h",
            config={}, image="i", image_id="", labels={}, spec=spec.to_json(),
            networks={e.key: e.network for e in spec.endpoints},
        )  # fmt: skip

    def network(self, key: str = "default", *, internal: bool = False) -> NetworkRecord:
        name = f"{self.project}_{key}"
        record = NetworkRecord(
            name=name, key=key, project=self.project, bridge=names.bridge_interface(name),
            subnet=f"{SUBNET}.0/24", gateway=f"{SUBNET}.1", internal=internal, config_hash="h",
            config={}, labels={},
        )  # fmt: skip
        store.save_network(self.layout, record)
        return record

    def endpoint(self, network: NetworkRecord, host: int, *called: str) -> Endpoint:
        return Endpoint(
            network=network.name, key=network.key, bridge=network.bridge, interface="eth0",
            address=f"{SUBNET}.{host}", prefix=24, mac=f"02:42:0a:c9:07:{host:02x}",
            gateway=None if network.internal else network.gateway, names=called,
        )  # fmt: skip

    # -- asking

    def open(self) -> client.ControlClient:
        return client.open_client(self.layout, self.project)

    def execute(self, *jobs: protocol.Job, is_last: bool = False) -> list[Event]:
        """Run the jobs; their events, also kept in `seen`.  `is_last` sees the supervisor off."""
        connection = self.open()
        events: list[Event] = []
        lock = store.project_lock(self.layout, self.project, command="test", wait=True)
        try:
            connection.request("execute", fds=[lock.fd],
                               jobs=[protocol.job_to_json(job) for job in jobs])
            lock.close()
            connection.result(events.append)
            if is_last:
                connection.finish()
        finally:
            self.seen += events
            connection.close()
        return events

    def up(self, *specs: ContainerSpec) -> list[Event]:
        """Create and start."""
        jobs: list[protocol.Job] = []
        for spec in specs:
            number = len(jobs) + 1
            jobs.append(protocol.CreateContainer(number=number, record=self.record(spec).to_json()))
            jobs.append(protocol.StartContainer(number=number + 1, after=(number,),
                                                container=spec.id))  # fmt: skip
        return self.execute(*jobs)

    def start(self, spec: ContainerSpec) -> list[Event]:
        return self.execute(protocol.StartContainer(number=1, container=spec.id))

    def stop(self, spec: ContainerSpec, timeout: float | None = None) -> list[Event]:
        return self.execute(protocol.StopContainer(number=1, container=spec.id, timeout=timeout))

    def wait(self, spec: ContainerSpec, condition: str, **more: Any) -> list[Event]:
        return self.execute(protocol.WaitFor(
            number=1, containers=(spec.id,), condition=condition, service=spec.service,
            **{"dependent": "", **more}))  # fmt: skip

    def down(self) -> None:
        """Remove everything of the project and see the supervisor off."""
        ids = observe.container_ids(self.layout, self.project)
        jobs: list[protocol.Job] = [
            protocol.RemoveContainer(number=n, container=id_, volumes=True, force=True)
            for n, id_ in enumerate(ids, start=1)
        ]
        after = tuple(job.number for job in jobs)
        for network in observe.networks(self.layout):
            jobs.append(protocol.RemoveNetwork(number=len(jobs) + 1, after=after,
                                               name=network.record.name))  # fmt: skip
        self.execute(*jobs, is_last=True)

    def exec(self, spec: ContainerSpec, *argv: str) -> tuple[int | None, str]:
        """Exit code and output of a command in the container."""
        ours, theirs = os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        connection = self.open()
        try:
            connection.request("exec", container=spec.id, argv=argv, fds=[null, theirs, theirs])
            os.close(theirs)
            os.close(null)
            code = connection.result()["exit_code"]
            with open(ours, errors="replace", closefd=False) as file:
                return code, file.read()
        finally:
            connection.close()
            os.close(ours)

    def info(self) -> dict[str, Any]:
        connection = self.open()
        connection.request("info")
        try:
            return connection.result()
        finally:
            connection.close()

    # -- looking

    def status(self, spec: ContainerSpec) -> ContainerStatus:
        path = self.layout.container_status(self.project, spec.id)
        found = store.read_record(path, ContainerStatus)
        return found or ContainerStatus(state="created")

    def until(
        self, spec: ContainerSpec, is_so: Callable[[ContainerStatus], bool]
    ) -> ContainerStatus:
        """The status once `is_so`; looks again at each change of the directory."""
        from orchestrator.linux.inotify import IN_MOVED_TO, Inotify

        watch = Inotify()
        watch.add(self.layout.container(self.project, spec.id), IN_MOVED_TO)
        try:
            return self._until(spec, is_so, watch)
        finally:
            watch.close()

    def _until(self, spec: ContainerSpec, is_so: Callable[[ContainerStatus], bool],
               watch: Any) -> ContainerStatus:  # fmt: skip
        import select

        deadline = time.monotonic() + PATIENCE
        while not is_so(status := self.status(spec)):
            ready, _, _ = select.select([watch], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"still {status}"
            watch.read()
        return status

    def ran(self, spec: ContainerSpec) -> bool:
        status = self.status(spec)
        return observe.is_alive(status, boot_id=procfs.boot_id())

    def log(self, spec: ContainerSpec) -> list[str]:
        from orchestrator.runtime import logs

        return [line.text for line in logs.read_log(
            self.layout.container_log(self.project, spec.id))]

    def until_said(self, spec: ContainerSpec, line: str) -> None:
        """Wait until the container has written the line; a program may need a while to begin."""
        deadline = time.monotonic() + PATIENCE
        while line not in self.log(spec):
            assert self.ran(spec)
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def lock(self) -> int:
        """The project lock, as a command holds it; waits for it."""
        return store.project_lock(self.layout, self.project, command="test", wait=True).fd

    def watch(self) -> Watch:
        return Watch(self)

    def kill(self, pid: int) -> None:
        """SIGKILL, and wait until it is gone."""
        fd = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        _await_end(fd)

    def until_ended(self, pid: int) -> None:
        """Wait until the process is gone."""
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        _await_end(fd)


def _await_end(pidfd: int) -> None:
    import select

    ended = select.select([pidfd], [], [], PATIENCE)[0]
    os.close(pidfd)
    assert ended


class Watch:
    """State changes as they come."""

    def __init__(self, ground: Ground) -> None:
        self._client = ground.open()
        self._client.request("watch")
        assert self._client.receive()[0] == {"watching": True}

    def until(self, action: str) -> StateChanged:
        while True:
            message, _ = self._client.receive()
            event = from_json(message)
            assert isinstance(event, StateChanged)
            if event.action == action:
                return event

    def actions(self, last: str) -> list[str]:
        """The actions up to and with `last`."""
        found: list[str] = []
        while not found or found[-1] != last:
            message, _ = self._client.receive()
            found.append(message["action"])
        return found

    def close(self) -> None:
        self._client.close()


def words(events: list[Event]) -> list[str]:
    """`Container p-web-1 Started` of each progress event."""
    return [f"{e.id} {e.text}" for e in events if isinstance(e, Progress)]


def gone(layout: Layout, project: str) -> bool:
    """Whether no supervisor answers any more and nothing is left of its run directory."""
    try:
        found = client.connect(layout, project)
    except SupervisorError:
        found = None
    return found is None and not os.path.exists(layout.run_project(project))
