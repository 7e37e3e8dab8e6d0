"""The steps of the first process, in order: from the clone to its root, to readiness, to exec.

Pure but for what `mounts` opens.  Order matters:

* groups before the cgroup namespace, and that before a cgroup is mounted;
* hooks of the runtime's namespaces when all is mounted, those of the container's before pivot_root;
* ids and capabilities before `create` ends, so that it tells what is wrong with them;
* the seccomp filter last, when nothing but execve(2) is to come.
"""

from __future__ import annotations

import os

from orchestrator.linux import jsontext
from orchestrator.runtime import command, initbin, privilege, sysctl
from orchestrator.runtime.groups import CgroupNamespace
from orchestrator.runtime.oci import (
    credentials,
    filters,
    mounting,
    mountoptions,
    netdevices,
    process,
    stages,
)
from orchestrator.runtime.oci.config import SPECIFICATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orchestrator.runtime.oci.config import Config
    from orchestrator.runtime.oci.namespaces import Namespaces
    from orchestrator.runtime.steps import Step

    Warn = Callable[[str], None]


def to_root(
    config: Config, namespaces: Namespaces, mounts: list[Step], *, state: dict[str, Any],
    pivot: bool,
) -> list[Step]:
    """From the clone to the root file system, with the three points at which `create` acts."""
    own_user = "user" in namespaces.new and not namespaces.needs_stage
    first: list[Step] = [stages.Ask(point="map"), stages.BecomeRoot()] if own_user else [
        stages.Hide()]
    cut = next((n for n, step in enumerate(mounts) if _is_cgroup(step)), len(mounts))
    return [
        *first,
        *([netdevices.LoopbackUp()] if "network" in namespaces.new else []),
        *_init(),
        *_names(config),
        *mounts[:cut],
        stages.Ask(point="groups"),
        *([CgroupNamespace()] if "cgroup" in namespaces.new else []),
        *mounts[cut:],
        *_sysctls(config["linux"]),
        stages.Ask(point="hooks"),
        *_hooks(config, "createContainer", state),
        mounting.EnterRoot(pivot=pivot),
        _finish(config),
    ]


def to_ready(config: Config, *, warn: Warn) -> list[Step]:
    """What `process` asks for, up to the ids and capabilities; OciError for what nobody can."""
    wanted = config.get("process")
    if wanted is None:
        return [stages.Ready()]
    size = wanted.get("consoleSize")
    console = stages.Console(bind=True, size=[size["height"], size["width"]] if size else [])
    return [
        *process.identity(wanted),
        *([console] if wanted.get("terminal") else []),
        command.OwnStreams(),
        process.working_directory(wanted),
        *process.scheduled(wanted, config["linux"]),
        *credentials.labels(wanted),
        *([privilege.NoNewPrivileges()] if wanted.get("noNewPrivileges") else []),
        credentials.Umask(mask=wanted.get("user", {}).get("umask", _current_umask())),
        *process.limits(wanted),
        credentials.BecomeProcess(
            masks=process.capability_sets(wanted, warn),
            keep_for_filter="seccomp" in config["linux"] and not wanted.get("noNewPrivileges")),
        stages.CheckCommand(name=wanted["args"][0],
                            path=process.environment(wanted).get("PATH", "")),
        stages.Ready(),
    ]


def to_exec(
    config: Config, *, state: dict[str, Any], listener: int, agent: int, preserve_fds: int
) -> list[Step]:
    """From readiness to the command; `agent` is a socket connected to the seccomp agent or -1."""
    wait = stages.WaitForStart(listener=listener)
    wanted = config.get("process")
    if wanted is None:
        return [wait, stages.NoProcess()]
    environment = process.environment(wanted)
    if preserve_fds and "LISTEN_FDS" in os.environ:
        environment |= {"LISTEN_FDS": os.environ["LISTEN_FDS"], "LISTEN_PID": "1"}
    return [
        wait,
        *_hooks(config, "startContainer", state),
        *seccomp(config["linux"], wanted, state=state, agent=agent),
        stages.Become(argv=wanted["args"], environment=environment, keep=preserve_fds),
    ]


def seccomp(
    linux: dict[str, Any], wanted: dict[str, Any], *, state: dict[str, Any], agent: int
) -> list[Step]:
    """The filter of `linux.seccomp`, if there is one; also of an `exec`."""
    profile = linux.get("seccomp")
    if profile is None:
        return []
    program, flags = filters.build(profile)
    told = {
        "ociVersion": SPECIFICATION, "fds": ["seccompFd"],
        "metadata": profile.get("listenerMetadata", ""), "state": {**state, "status": "creating"},
    }  # fmt: skip
    return [credentials.LoadFilter(
        program=program.hex(), flags=flags, listener=agent, told=jsontext.encode(told),
        masks=process.capability_sets(wanted, lambda _: None))]


def _is_cgroup(step: Step) -> bool:
    return getattr(step, "fstype", "").startswith("cgroup") or getattr(step, "is_cgroup", False)


def _init() -> list[Step]:
    """On a machine we have no init binary for, a container could write to our own executable."""
    return [command.OpenInit(path=initbin.path())]


def _names(config: Config) -> list[Step]:
    names = {key: config.get(key, "") for key in ("hostname", "domainname")}
    return [credentials.Names(**names)] if any(names.values()) else []


def _sysctls(linux: dict[str, Any]) -> list[Step]:
    values = {sysctl.path_of(name): value for name, value in linux.get("sysctl", {}).items()}
    return [credentials.Sysctls(values=values)] if values else []


def _hooks(config: Config, kind: str, state: dict[str, Any]) -> list[Step]:
    found = config.get("hooks", {}).get(kind, [])
    return [stages.RunHooks(hooks=found, kind=kind, state=state)] if found else []


def _finish(config: Config) -> Step:
    wanted = config["linux"].get("rootfsPropagation", "")
    recursive = wanted[1:] in mountoptions.PROPAGATIONS
    kind = wanted[1:] if recursive else wanted
    return mounting.FinishRoot(
        propagation=mountoptions.PROPAGATIONS.get(kind, 0), recursive=recursive,
        read_only=bool(config["root"].get("readonly")))


def _current_umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
