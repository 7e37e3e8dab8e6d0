"""What sets a service's containers apart: namespaces, security options, devices, kernel parameters.

Pure: words of the Compose specification become words of `runtime.spec`; SpecError with its place
for what has no meaning.  What is read of the machine for it (profiles, CDI files) comes in as
`Assets`; `engine.machine` gathers it and asks whether the machine has what is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.dataclass import dataclass, field, replace
from orchestrator.engine.places import fault, near
from orchestrator.errors import SpecError
from orchestrator.linux import devicebpf
from orchestrator.runtime import isolation as runtime
from orchestrator.runtime import sysctl
from orchestrator.runtime.spec import Device, Mount, Namespaces, RootHook
from orchestrator.spec.model import Project, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """What was read of the machine for one service."""

    seccomp_profile: str = ""
    """The text of the file in `security_opt`."""
    devices: tuple[Device, ...] = ()
    """Of CDI files, as what follows."""
    mounts: tuple[Mount, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    hooks: tuple[RootHook, ...] = ()


NO_ASSETS = Assets()


def namespaces(service: Service, *, project: Project) -> Namespaces:
    """Whose namespaces its containers are in."""
    if service.userns_mode not in (None, "", "host"):
        raise fault(project, service, "userns_mode", f"userns_mode {service.userns_mode!r} is not "
                    "supported: containers are in the user namespace of pcompose",
                    hint="take it out, or say `host`")  # fmt: skip
    return Namespaces(
        pid=_shared(service, "pid", service.pid, ("host", "private"), project=project),
        ipc=_ipc(service, project=project),
        network=_network(service, project=project),
        uts=_shared(service, "uts", service.uts, ("host", "private"), project=project),
        cgroup=service.cgroup or "private",
    )  # fmt: skip


def _ipc(service: Service, *, project: Project) -> str:
    words = ("host", "private", "none", "shareable")
    value = _shared(service, "ipc", service.ipc, words, project=project)
    return "private" if value == "shareable" else value


def _network(service: Service, *, project: Project) -> str:
    """`bridge` is the default network of the project: there is none of the whole machine."""
    words = ("host", "none", "bridge", "private")
    value = _shared(service, "network_mode", service.network_mode, words, project=project)
    return "private" if value in ("none", "bridge") else value


def _shared(
    service: Service, key: str, value: str | None, words: tuple[str, ...], *, project: Project
) -> str:
    if not value:
        return "private"
    kind, _, whose = value.partition(":")
    if value in words:
        return value
    if kind in ("service", "container") and key != "uts" and whose:
        if whose == service.name and kind == "service":
            raise fault(project, service, key, f"service {service.name} cannot join itself")
        return value
    shown = [*words[:-1], *(("service:NAME", "container:NAME") if key != "uts" else ())]
    hint = f"there are: {', '.join(w for w in shown if w != 'private')}"
    if key == "network_mode":
        hint += "; a network is named under `networks`"
    raise fault(project, service, key, f"unknown {key} {value!r}", hint=hint)


_OF_NAMESPACE = ("ports", "dns", "dns_opt", "dns_search", "extra_hosts", "mac_address")


def check_network_mode(service: Service, *, project: Project) -> None:
    """SpecError for what a container cannot have that has no network of its own."""
    mode = service.network_mode or ""
    kind = mode.partition(":")[0]
    if mode == "none":
        refused: tuple[str, ...] = ("ports", "mac_address")
    elif kind in ("service", "container"):
        refused = _OF_NAMESPACE
    elif mode == "host":
        refused = ("mac_address",)
    else:
        refused = ()
    for key in refused:
        if getattr(service, key):
            raise fault(project, service, key, f"{key} has no meaning with network_mode {mode}",
                        hint=f"say it for {mode.partition(':')[2]}" if ":" in mode else None)


def warnings(service: Service) -> list[str]:
    """What is said and will not be done, where Docker only warns too."""
    if service.network_mode == "host" and service.ports:
        return [f"service {service.name}: its ports are those of the machine (network_mode host), "
                "nothing is published for it"]  # fmt: skip
    return []


# Security


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What `security_opt` says."""

    seccomp: bool = True
    seccomp_file: str = ""
    """As written; empty: the default profile."""
    no_new_privileges: bool = False
    apparmor: str = ""
    selinux_label: str = ""
    masked_paths: bool = True


_OPTIONS = ("no-new-privileges", "seccomp", "apparmor", "label", "systempaths")
_LABEL = {"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"}


def security(service: Service, *, project: Project) -> Security:
    """The options of `security_opt`, `KEY:VALUE` or `KEY=VALUE`.  A privileged container is not
    confined where it does not say so."""
    found = Security(seccomp=not service.privileged)
    label: dict[str, str] = {}
    for number, text in enumerate(service.security_opt):
        place = min((i for i in (text.find(":"), text.find("=")) if i >= 0), default=len(text))
        key, value = text[:place], text[place + 1 :]
        part, _, word = value.partition(":")
        if key == "label" and value == "disable":
            label.clear()
        elif key == "label" and part in _LABEL and word:
            label[part] = word
        else:
            option = _with_option(found, key, value)
            if option is None:
                raise _bad_option(service, number, key, value, project=project)
            found = option
    if label:
        found = replace(found, selinux_label=":".join({**_LABEL, **label}.values()))
    return found


def _with_option(found: Security, key: str, value: str) -> Security | None:
    match key, value:
        case "no-new-privileges", "" | "true" | "false":
            return replace(found, no_new_privileges=value != "false")
        case "seccomp", "unconfined" | "builtin":
            return replace(found, seccomp=value == "builtin", seccomp_file="")
        case "seccomp", _ if value:
            return replace(found, seccomp=True, seccomp_file=value)
        case "apparmor", _ if value:
            return replace(found, apparmor="" if value == "unconfined" else value)
        case "systempaths", "unconfined":
            return replace(found, masked_paths=False)
    return None


def _bad_option(
    service: Service, number: int, key: str, value: str, *, project: Project
) -> SpecError:
    if key in _OPTIONS:
        message, hint = f"security option {key} cannot be {value!r}", None
    else:
        message = f"unknown security option {key!r}"
        hint = near(key, _OPTIONS) or f"there are: {', '.join(_OPTIONS)}"
    return fault(project, service, "security_opt", message, item=number, hint=hint)


# Devices and kernel parameters


def is_cdi(source: str) -> bool:
    """Whether a device is a CDI name, `vendor.com/class=name`, and no path."""
    return not source.startswith("/") and "=" in source


def devices(service: Service, assets: Assets, *, project: Project) -> tuple[Device, ...]:
    """The nodes its containers get."""
    found = []
    for number, device in enumerate(service.devices):
        if is_cdi(device.source):
            continue
        permissions = device.permissions or "rwm"
        if set(permissions) - set("rwm"):
            raise fault(project, service, "devices", f"permissions {permissions!r} of device "
                        f"{device.source} are not some of r, w and m", item=number)  # fmt: skip
        found.append(Device(source=device.source, target=device.target or device.source,
                            permissions=permissions))  # fmt: skip
    return (*found, *assets.devices)


def device_rules(service: Service, *, project: Project) -> tuple[str, ...]:
    """What it may make and use besides."""
    for number, rule in enumerate(service.device_cgroup_rules):
        try:
            devicebpf.parse_rule(rule)
        except ValueError as exc:
            raise fault(project, service, "device_cgroup_rules", str(exc), item=number) from exc
    return service.device_cgroup_rules


def sysctls(service: Service, *, project: Project) -> tuple[tuple[str, str], ...]:
    """Its kernel parameters, each of a namespace the container has for itself."""
    own = namespaces(service, project=project)
    for name in service.sysctls:
        try:
            path = sysctl.path_of(name)
        except ValueError as exc:
            raise fault(project, service, "sysctls", str(exc), item=name) from exc
        owner = sysctl.namespace_of(path)
        if owner is None:
            raise fault(project, service, "sysctls", f"{name} is a parameter of the whole machine, "
                        "not of a container", item=name,
                        hint="set it on the machine: sysctl -w")  # fmt: skip
        if not runtime.is_own(getattr(own, owner)):
            raise fault(project, service, "sysctls", f"{name} is a parameter of the {owner} "
                        f"namespace, which the container shares", item=name)  # fmt: skip
    return tuple(service.sysctls.items())
