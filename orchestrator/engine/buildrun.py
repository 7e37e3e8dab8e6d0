"""How a build's RUN is executed: a container of our own runtime, without a supervisor.

Translates what the builder asks for into a ContainerSpec and runs it to its end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from orchestrator import names
from orchestrator.build.request import Output, RunRequest
from orchestrator.linux import caps
from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.network import endpoint, files
from orchestrator.runtime.errand_client import Pool
from orchestrator.runtime.launch import launch_request
from orchestrator.runtime.spec import ContainerSpec, Namespaces, Rootfs

if TYPE_CHECKING:
    from orchestrator.runtime.launch import Request

HOSTNAME = "build"


class BuildRunner:
    """Runs the commands of builds; a context manager, for any number of threads."""

    def __init__(self) -> None:
        self._pool = Pool()

    def __enter__(self) -> BuildRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.__exit__(*exc)

    def __call__(
        self, request: RunRequest, *, output: Output, cancel: threading.Event
    ) -> int:
        """The exit code."""
        spec = container_spec(request, id_=names.new_id())
        directory = f"{request.scratch}/files"
        os.mkdir(directory)
        _write_files(directory, request)
        is_alone = request.network == "none"
        message: Request = launch_request(
            spec, run_dir=directory, log_dir="", exit_path="", hierarchy=_hierarchy(),
            wait_for_network=is_alone, stdio="fds", dies_with_parent=True,
        )  # fmt: skip
        connect: Callable[[int], None] | None = None
        if is_alone:
            def connect(pid: int) -> None:  # a loopback interface and nothing else
                endpoint.attach(pid, (), container=spec.id, dns=False)

        return self._pool.run(message, subject=spec.name, output=output, cancel=cancel,
                              cloned=connect)


@cache
def _hierarchy() -> Hierarchy:
    return Hierarchy.detect()


def container_spec(request: RunRequest, *, id_: str) -> ContainerSpec:
    """The container of one RUN."""
    insecure = request.is_insecure
    return ContainerSpec(
        id=id_, name=request.title, project="build", service="build", index=0, oneoff=True,
        remove_on_exit=True, argv=request.argv, environment=dict(request.environment),
        cwd=request.cwd, user=request.user, hostname=HOSTNAME,
        rootfs=Rootfs(lowers=request.lowers, upper=request.upper, work=f"{request.scratch}/work",
                      target=f"{request.scratch}/root", host_usr=request.host_usr),
        mounts=request.mounts, files=request.files, shm_size=request.shm_size,
        capabilities=caps.NAMES if insecure else caps.DEFAULT, privileged=insecure,
        seccomp=not insecure, masked_paths=not insecure, rlimits=request.rlimits,
        namespaces=Namespaces(network="private" if request.network == "none" else "host"),
    )  # fmt: skip


def _write_files(directory: str, request: RunRequest) -> None:
    """The names that the command can look up: the machine's, and those of the build."""
    is_alone = request.network == "none"
    extra = [(name, "127.0.0.1" if ip == "host-gateway" else ip) for name, ip in request.hosts]
    hosts = files.hosts_file(hostname=HOSTNAME, extra_hosts=extra)
    found = {"hosts": hosts, "hostname": files.hostname_file(HOSTNAME),
             "resolv.conf": "" if is_alone else _read("/etc/resolv.conf")}  # fmt: skip
    if not is_alone:
        found["hosts"] = _read("/etc/hosts") + "".join(f"{ip}\t{name}\n" for name, ip in extra)
    for name, text in found.items():
        with open(f"{directory}/{name}", "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return ""
    return text if not text or text.endswith("\n") else f"{text}\n"
