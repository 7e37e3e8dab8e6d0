"""What of a service is asked of this machine before anything is made: profiles are read, devices
and kernel features looked for, limits tried on its control groups.

The supervisor meets the same faults again at each start and reports them in the same words.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256

from orchestrator.dataclass import replace
from orchestrator.engine import cdi, isolation, limits
from orchestrator.engine.isolation import Assets
from orchestrator.engine.places import fault, spot
from orchestrator.errors import LaunchError, SpecError
from orchestrator.linux import procfs
from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.runtime import devices
from orchestrator.runtime import limits as runtime
from orchestrator.runtime.spec import Resources
from orchestrator.spec.model import DeviceRequest, Project, Service

_LARGEST_PROFILE = 4 << 20
_NO_LIMITS = Resources()


ENFORCE = "/sys/fs/selinux/enforce"
"""There where SELinux is in use."""


def digested(project: Project) -> Project:
    """The project with the digest of its seccomp profiles, so that a changed one makes the
    containers of its users again."""
    return replace(
        project,
        services={name: _digested(s, project) for name, s in project.services.items()},
        disabled={name: _digested(s, project) for name, s in project.disabled.items()},
    )  # fmt: skip


def _digested(service: Service, project: Project) -> Service:
    if not service.security_opt:
        return service
    try:
        text = _profile(service, project=project)
    except SpecError:  # said by `gather`, where a container is made with it
        return service
    digest = sha256(text.encode()).hexdigest() if text else ""
    return replace(service, seccomp_digest=digest)


def gather(project: Project, services: Iterable[str]) -> dict[str, Assets]:
    """What is read for the containers of these services; SpecError with every place."""
    found: dict[str, Assets] = {}
    registry = cdi.Registry()
    problems = Problems()
    for name in services:
        service = project.services[name]
        problems.attempt(partial(_gather, service, project, registry, found))
    problems.finish()
    return found


def _gather(
    service: Service, project: Project, registry: cdi.Registry, found: dict[str, Assets]
) -> None:
    edits = _edits(service, project, registry)
    found[service.name] = Assets(
        seccomp_profile=_profile(service, project=project), devices=edits.devices,
        mounts=edits.mounts, environment=edits.environment, groups=edits.groups,
        hooks=edits.hooks,
    )  # fmt: skip


def _edits(service: Service, project: Project, registry: cdi.Registry) -> cdi.Edits:
    """What its CDI devices and its graphics processors do to a container."""
    names: list[str] = []
    for key, number, wanted in _described(service, project):
        try:
            found = [wanted] if isinstance(wanted, str) else registry.requested(wanted)
            registry.edits(found)
        except ValueError as exc:
            hint = "a vendor's tool writes the file, such as nvidia-ctk cdi generate"
            raise fault(project, service, key, str(exc), item=number, hint=hint) from exc
        names += found
    return registry.edits(names) if names else cdi.Edits()


def _described(
    service: Service, project: Project
) -> Iterator[tuple[str, int, str | DeviceRequest]]:
    """(key, its item, the CDI name or what is asked for)"""
    for number, device in enumerate(service.devices):
        if isolation.is_cdi(device.source):
            yield "devices", number, device.source
    tree = project.tree.get("services", service.name, "gpus") if project.tree else None
    own = len(tree.items) if tree else 0
    for number, request in enumerate(service.gpus):
        yield ("gpus" if number < own else "deploy"), number, request


def _profile(service: Service, *, project: Project) -> str:
    """The text of its seccomp profile, which is one for this machine; empty: the default."""
    file = isolation.security(service, project=project).seccomp_file
    if not file:
        return ""
    path = os.path.join(project.working_dir, os.path.expanduser(file))
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read(_LARGEST_PROFILE)
        _check_profile(text)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise fault(project, service, "security_opt", f"seccomp profile {path}: {reason}") from exc
    return text


def _check_profile(text: str) -> None:
    import json

    from orchestrator.runtime.seccomp_json import read_filter

    read_filter(json.loads(text), machine=os.uname().machine, capabilities=0, kernel=(6, 0))


def check(project: Project, services: Iterable[str]) -> None:
    """SpecError with the place of everything this machine does not have."""
    problems = Problems()
    hierarchy: list[Hierarchy] = []
    for name in services:
        service = project.services[name]
        problems.attempt(partial(_check_devices, service, project))
        problems.attempt(partial(_check_modules, service, project))
        problems.attempt(partial(_check_limits, service, project, hierarchy))
    problems.finish()


class Problems:
    """What is wrong, told together."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str, str | None]] = []

    def attempt(self, action: Callable[[], None]) -> None:
        """Do it, and remember the SpecError."""
        try:
            action()
        except SpecError as exc:
            self._found += list(exc.problems)

    def finish(self) -> None:
        """SpecError if there was anything."""
        if self._found:
            _, message, hint = self._found[0]
            raise SpecError(message, hint=hint, problems=tuple(dict.fromkeys(self._found)))


def _check_devices(service: Service, project: Project) -> None:
    for number, device in enumerate(service.devices):
        if isolation.is_cdi(device.source):
            continue
        try:
            found = devices.device_nodes(device.source)
        except OSError as exc:
            reason = (exc.strerror or "").lower()
            raise fault(project, service, "devices", f"device {device.source}: {reason}",
                        item=number) from exc  # fmt: skip
        if not found:
            raise fault(project, service, "devices", f"{device.source} is no device, nor a "
                        "directory with devices", item=number)  # fmt: skip


def _check_modules(service: Service, project: Project) -> None:
    """Whether the security module that is to confine the container is there."""
    wanted = isolation.security(service, project=project)
    if wanted.apparmor and not _has_apparmor():
        raise fault(project, service, "security_opt", "this kernel has no AppArmor, so no profile "
                    f"{wanted.apparmor!r}", hint="take the option out")  # fmt: skip
    if wanted.selinux_label and "selinuxfs" not in procfs.filesystems():
        raise fault(project, service, "security_opt", "this kernel has no SELinux, so no label "
                    f"{wanted.selinux_label!r}", hint="take the option out")  # fmt: skip
    for number, mount in enumerate(service.volumes):
        if mount.selinux and os.path.exists(ENFORCE):
            raise fault(project, service, "volumes", "files are not given labels of SELinux here",
                        item=number, hint="label them with chcon, and take the option z or Z out")


def _has_apparmor() -> bool:
    text = procfs.read_text("/sys/module/apparmor/parameters/enabled")
    return (text or "").strip() == "Y"


def _check_limits(service: Service, project: Project, hierarchy: list[Hierarchy]) -> None:
    """Whether the control groups of this machine can enforce what is said."""
    wanted = limits.resources(service, project=project)
    if wanted == _NO_LIMITS:
        return
    if not hierarchy:
        hierarchy.append(Hierarchy.detect())
    try:
        runtime.place("x", wanted, hierarchy=hierarchy[0], subject=f"service {service.name}")
    except LaunchError as exc:
        where = spot(project, "services", service.name)
        raise SpecError(exc.message, hint=exc.hint, where=where) from exc
