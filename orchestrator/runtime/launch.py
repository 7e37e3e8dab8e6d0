"""ContainerSpec -> what the keeper is asked to do: `launch`, `adopt` and `exec` messages.

Everything is decided here, outside the child and before it exists: namespaces, cgroups, the ordered
steps.  Pure but for asking where the init binary lies.  Who sends the message, and when, is not
known here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

from orchestrator.errors import CommandNotExecutableError, CommandNotFoundError, LaunchError
from orchestrator.linux import caps, seccomp_default
from orchestrator.runtime import (
    command,
    enter,
    isolation,
    limits,
    material,
    privilege,
    rootfs,
)
from orchestrator.runtime.isolation import Peers
from orchestrator.runtime.limits import Hierarchy, Placement
from orchestrator.runtime.spec import ContainerSpec
from orchestrator.runtime.steps import Step

Request = dict[str, Any]  # JSON has no narrower type
Stdio = Literal["log", "fds", "tty"]

_NO_PEERS: Peers = {}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def launch_request(
    spec: ContainerSpec, *, run_dir: str, log_dir: str, exit_path: str, hierarchy: Hierarchy,
    wait_for_network: bool, stdio: Stdio, peers: Peers = _NO_PEERS, dies_with_parent: bool = False,
) -> Request:
    """The keeper's `launch` message.

    `run_dir` holds the files `hosts`, `resolv.conf` and `hostname` before `go` is sent (before the
    message where `wait_for_network` is false).  `stdio`: `log` moves the output (of a FIFO pair, or
    of a pty where spec.tty) into `log_dir`; `fds` uses the three descriptors sent along; `tty`
    makes a pty that is handed over with `started` and not read by the keeper.  `peers` are the
    containers whose namespaces it shares.  LaunchError where the spec asks for what this machine
    has not.
    """
    placement = placement_of(spec, hierarchy)
    work: list[Step] = [
        *isolation.join(spec, peers),
        *placement.steps,
        *isolation.device_filter(spec, placement),
        *isolation.cgroup_namespace(spec, placement),
        *_init(spec),
        *([command.Fifos(directory=run_dir, stdin=spec.stdin_open)] if _has_fifos(spec, stdio)
          else []),
        *([command.GivenStreams()] if stdio == "fds" else []),
        *rootfs.before_network(spec, placement),
        *([command.WaitForGo()] if wait_for_network else []),
        *rootfs.after_network(spec, run_dir=run_dir),
        *_hostname(spec),
        *([command.DieWithParent()] if dies_with_parent else []),
        *_process(spec, stdio),
    ]
    pid = peers.get("pid")
    return {
        "op": "launch",
        **_kept(spec, placement, run_dir=run_dir, log_dir=log_dir, exit_path=exit_path,
                stdio=stdio),
        "namespaces": isolation.flags(spec),
        "pid_namespace": [pid.pid, pid.start_time] if pid else [],
        "birth_group": placement.birth,
        "wait": wait_for_network,
        "stdin": spec.stdin_open,
        "steps": [step.to_json() for step in work],
    }


def adopt_request(
    spec: ContainerSpec, *, pid: int, start_time: int, run_dir: str, log_dir: str, exit_path: str,
    hierarchy: Hierarchy, stdio: Stdio,
) -> Request:
    """The keeper's `adopt` message for a container another keeper started with the same `stdio`;
    with a pty the master goes along."""
    kept = _kept(spec, placement_of(spec, hierarchy), run_dir=run_dir, log_dir=log_dir,
                 exit_path=exit_path, stdio=stdio)
    return {"op": "adopt", "pid": pid, "start_time": start_time, **kept}


def forget_request(spec: ContainerSpec, *, hierarchy: Hierarchy) -> Request:
    """The keeper's `forget` message: let go of a container that is removed, and of what may be left
    of its cgroups where it ended while no keeper lived."""
    group = hierarchy.group_paths(_group_name(spec), list(limits.CONTROLLERS))
    return {"op": "forget", "id": spec.id, "groups": sorted(set(group.values()))}


def exec_request(
    spec: ContainerSpec, pid: int, *, exec_id: str, hierarchy: Hierarchy, argv: Sequence[str],
    environment: Mapping[str, str], user: str, cwd: str, tty: bool, privileged: bool,
    capture: bool,
) -> Request:
    """The keeper's `exec` message.  Empty `user` and `cwd` are the container's own; with `capture`
    the output comes back with `exec_exited`, else three descriptors go along unless `tty`."""
    placement = placement_of(spec, hierarchy)
    mask = _all_capabilities() if privileged else caps.mask_of(spec.capabilities)
    work: list[Step] = [
        enter.Hide(),
        *([enter.JoinGroups(paths=list(placement.legacy.values()))] if placement.legacy else []),
        enter.EnterNamespaces(),
        privilege.LookUpUser(
            user=user or spec.user, group_add=[] if user else list(spec.group_add)
        ),
        command.Terminal(console=False) if tty else command.GivenStreams(),
        command.OwnStreams(),
        command.WorkingDirectory(path=cwd or spec.cwd, create=False),
        *_limits(spec),
        *([] if privileged else isolation.security_labels(spec)),
        *_seccomp(spec, mask, enabled=spec.seccomp and not privileged),
        privilege.BecomeUser(capabilities=mask),
        command.Execute(argv=list(argv), environment=_environment(spec, environment, tty=tty)),
    ]
    return {
        "op": "exec", "exec_id": exec_id, "id": spec.id, "pid": pid, "capture": capture,
        "birth_group": placement.birth, "steps": [step.to_json() for step in work],
    }  # fmt: skip


def launch_error(event: Mapping[str, Any], *, subject: str, origin: str = "") -> LaunchError:
    """What a `failed` or `exec_failed` event says, as the error a user reads; `subject` is the
    container's name."""
    step, path, text = str(event["step"]), str(event["path"]), str(event["message"])
    what = "run a command in" if event.get("event") == "exec_failed" else "start"
    about = f" {path!r}:" if path and path not in step else ""
    place = f" ({origin})" if origin else ""
    message = f"cannot {what} {subject}: {step}:{about} {text[:1].lower()}{text[1:]}{place}"
    if event.get("kind") == "Execute":
        missing = event["errno"] in (2, 20)
        return (CommandNotFoundError if missing else CommandNotExecutableError)(
            message, hint=_COMMAND_HINTS.get(event["errno"]))
    return LaunchError(message)


_COMMAND_HINTS = {
    2: "check the command, and PATH in the container",
    8: "the file is for another processor, or a script without #! in its first line",
    13: "the file has no x permission, or is a directory",
}


def placement_of(spec: ContainerSpec, hierarchy: Hierarchy) -> Placement:
    """Its cgroups; LaunchError where this machine cannot limit what it says."""
    name = _group_name(spec)
    has_filter = isolation.has_device_filter(spec) and "" not in hierarchy.group_paths(name, [])
    return limits.place(name, spec.resources, hierarchy=hierarchy, subject=spec.name,
                        extra=("devices",) if has_filter else ())  # fmt: skip


def _group_name(spec: ContainerSpec) -> str:
    name = f"pcompose-{spec.project}-{spec.id[:12]}"
    return f"{spec.cgroup_parent.strip('/')}/{name}" if spec.cgroup_parent else name


def _hostname(spec: ContainerSpec) -> list[Step]:
    if spec.namespaces.uts == "host" or not spec.hostname:
        return []
    return [privilege.Hostname(hostname=spec.hostname, domainname=spec.domainname)]


def _has_fifos(spec: ContainerSpec, stdio: Stdio) -> bool:
    return stdio == "log" and not spec.tty


def _kept(
    spec: ContainerSpec, placement: Placement, *, run_dir: str, log_dir: str, exit_path: str,
    stdio: Stdio,
) -> Request:
    """What the keeper has to know as long as the container lives."""
    return {
        "id": spec.id, "run_dir": run_dir, "log_dir": log_dir, "exit_path": exit_path,
        "stdio": "fifos" if _has_fifos(spec, stdio) else "other",
        "pump": stdio == "log", "groups": placement.directories, "oom_file": placement.oom_file,
        # what the kernel does not end together with the first process
        "orphans": {} if isolation.is_own(spec.namespaces.pid) else placement.group,
        "log_max_size": spec.log_max_size, "log_max_files": spec.log_max_files,
    }  # fmt: skip


def _init(spec: ContainerSpec) -> list[Step]:
    if not spec.init:
        return []
    from orchestrator.runtime import initbin

    return [command.OpenInit(path=initbin.path())]


def _process(spec: ContainerSpec, stdio: Stdio) -> list[Step]:
    """From the names to the command; see `runtime.privilege` for the order."""
    mask = caps.mask_of(spec.capabilities)
    terminal = stdio == "tty" or (stdio == "log" and spec.tty)
    return [
        privilege.LookUpUser(user=spec.user, group_add=list(spec.group_add)),
        *([material.OwnMaterial()] if spec.files else []),
        *([command.Terminal(console=True)] if terminal else []),
        command.OwnStreams(),
        command.WorkingDirectory(path=spec.cwd, create=spec.create_cwd),
        *rootfs.read_only(spec),
        *_limits(spec),
        *isolation.security_labels(spec),
        *_seccomp(spec, mask, enabled=spec.seccomp),
        privilege.BecomeUser(capabilities=mask),
        command.Execute(argv=list(spec.argv), environment=_environment(spec, {}, tty=terminal)),
    ]


def _limits(spec: ContainerSpec) -> list[Step]:
    return [
        privilege.Rlimits(limits=[list(limit) for limit in spec.rlimits]),
        privilege.OomScore(value=spec.oom_score_adj),
    ]


def _seccomp(spec: ContainerSpec, mask: int, *, enabled: bool) -> list[Step]:
    no_new = [privilege.NoNewPrivileges()] if spec.no_new_privileges else []
    if not enabled:
        return [*no_new]
    if spec.seccomp_profile:
        program = _own_filter(spec.seccomp_profile, mask)
    else:
        program = _default_filter(mask)
    return [*no_new, privilege.Seccomp(program=program)]


@cache
def _default_filter(mask: int) -> str:
    """Most containers of a machine have the same capabilities."""
    return seccomp_default.default_program(mask).hex()


@cache
def _own_filter(profile: str, mask: int) -> str:
    import json

    from orchestrator.linux import seccomp
    from orchestrator.runtime import seccomp_json

    machine = os.uname()
    version = tuple(int(part) for part in re.findall(r"\d+", machine.release)[:2])
    try:
        filter_ = seccomp_json.read_filter(json.loads(profile), machine=machine.machine,
                                           capabilities=mask, kernel=(version[0], version[1]))
        return seccomp.program(filter_).hex()
    except (ValueError, OSError) as exc:
        raise LaunchError(f"cannot use the seccomp profile: {exc}") from exc


def _environment(
    spec: ContainerSpec, extra: Mapping[str, str], *, tty: bool
) -> dict[str, str]:
    """What Docker sets where nobody has; HOME is set by `LookUpUser`."""
    base = {"PATH": PATH, "HOSTNAME": spec.hostname or os.uname().nodename}
    if tty:
        base["TERM"] = "xterm"
    return {**base, **spec.environment, **extra}


def _all_capabilities() -> int:
    return (1 << (caps.last() + 1)) - 1
