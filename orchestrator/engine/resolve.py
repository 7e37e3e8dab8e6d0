"""Service, image configuration, addresses and paths -> ContainerSpec.

Pure; the only place where words of the Compose specification become words of the runtime.  Must not
read files, ask the kernel or choose anything random: whoever calls has done that.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal costs 4 ms
from collections.abc import Mapping, Sequence
from typing import Literal

from orchestrator import names
from orchestrator.dataclass import dataclass
from orchestrator.engine import endpoints, hooks, isolation, limits
from orchestrator.engine.isolation import Assets
from orchestrator.engine.mounting import Mounting
from orchestrator.engine.places import fault, near
from orchestrator.image.config import ImageConfig
from orchestrator.linux import caps
from orchestrator.runtime import spec as runtime
from orchestrator.spec.model import Project, Service
from orchestrator.state.layout import Layout

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE = 10.0
"""Seconds between the stop signal and SIGKILL where nothing is said."""
UNLIMITED = 1 << 62
RestartPolicy = Literal["no", "always", "on-failure", "unless-stopped"]
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the container is."""

    id: str
    name: str
    index: int
    oneoff: bool = False
    remove_on_exit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What is needed of an image."""

    config: ImageConfig
    layers: tuple[str, ...]
    """Unpacked lower directories, top first."""
    host_usr: bool = False
    id: str = ""


_NO_IMAGES: Mapping[int, ImageFacts] = {}


def resolve(
    service: Service, *, project: Project, identity: Identity, image: ImageFacts,
    mounting: Mounting, attachments: Sequence[endpoints.Attachment], layout: Layout,
    labels: Mapping[str, str], use_aliases: bool = True, files: tuple[runtime.File, ...] = (),
    hook_images: Mapping[int, ImageFacts] = _NO_IMAGES, assets: Assets = isolation.NO_ASSETS,
) -> runtime.ContainerSpec:  # fmt: skip
    """The whole container.  SpecError with the place where the service contradicts the image."""
    config = image.config
    hostname = hostname_of(service, identity)
    security = isolation.security(service, project=project)
    policy, retries = restart_policy(service.restart)
    logging = _log_limits(service, project)
    return runtime.ContainerSpec(
        id=identity.id,
        name=identity.name,
        project=project.name,
        service=service.name,
        index=identity.index,
        oneoff=identity.oneoff,
        remove_on_exit=identity.remove_on_exit,
        argv=argv(service, config, project=project),
        environment={**assets.environment, **environment(service, config, hostname=hostname)},
        cwd=service.working_dir or config.working_dir or "/",
        user=service.user or config.user,
        group_add=(*service.group_add, *assets.groups),
        hostname=hostname,
        domainname=service.domainname or "",
        rootfs=_rootfs(image, project=project.name, id_=identity.id, layout=layout),
        mounts=(*mounting.mounts, *assets.mounts),
        files=files,
        read_only=service.read_only,
        shm_size=service.shm_size or 64 << 20,
        init=bool(service.init),
        tty=service.tty,
        stdin_open=service.stdin_open,
        capabilities=capabilities(service, project=project),
        privileged=service.privileged,
        seccomp=security.seccomp,
        seccomp_profile=assets.seccomp_profile,
        no_new_privileges=security.no_new_privileges,
        apparmor=security.apparmor,
        selinux_label=security.selinux_label,
        masked_paths=security.masked_paths and not service.privileged,
        namespaces=isolation.namespaces(service, project=project),
        sysctls=isolation.sysctls(service, project=project),
        devices=isolation.devices(service, assets, project=project),
        device_rules=isolation.device_rules(service, project=project),
        root_hooks=assets.hooks,
        annotations=service.annotations,
        rlimits=limits.rlimits(service, project=project),
        oom_score_adj=service.oom_score_adj,
        resources=limits.resources(service, project=project),
        cgroup_parent=limits.cgroup_parent(service, project=project),
        endpoints=endpoints.endpoints(service, identity, attachments, use_aliases=use_aliases),
        links=tuple((k.alias, k.target) for k in (*service.links, *service.external_links)),
        hosts=service.extra_hosts,
        dns=service.dns,
        dns_search=service.dns_search,
        dns_opt=service.dns_opt,
        ports=endpoints.ports(service, project=project),
        stop_signal=_stop_signal(service, config, project=project),
        stop_grace_period=GRACE if service.stop_grace_period is None else service.stop_grace_period,
        restart=policy,
        restart_retries=retries,
        healthcheck=healthcheck(service, config, project=project),
        pre_start=hooks.before_start(service, image, hook_images, project=project),
        post_start=hooks.beside(service, "post_start", project=project),
        pre_stop=hooks.beside(service, "pre_stop", project=project),
        log_max_size=logging[0],
        log_max_files=logging[1],
        labels=dict(labels),
        origin=project.where("services", service.name),
        command_origin=project.where("services", service.name, command_key(service)),
    )  # fmt: skip


def check(service: Service, config: ImageConfig, *, project: Project) -> None:
    """SpecError for whatever `resolve` would refuse, before anything has been decided."""
    argv(service, config, project=project)
    capabilities(service, project=project)
    isolation.check_network_mode(service, project=project)
    isolation.security(service, project=project)
    isolation.sysctls(service, project=project)
    isolation.devices(service, isolation.NO_ASSETS, project=project)
    isolation.device_rules(service, project=project)
    limits.resources(service, project=project)
    limits.rlimits(service, project=project)
    limits.cgroup_parent(service, project=project)
    _stop_signal(service, config, project=project)
    _log_limits(service, project)


def argv(service: Service, config: ImageConfig, *, project: Project) -> tuple[str, ...]:
    """An `entrypoint` of the service discards the image's CMD too; an empty `command` clears it."""
    if service.entrypoint is not None:
        words = service.entrypoint + (service.command or ())
    else:
        words = config.entrypoint + (config.command if service.command is None else service.command)
    if not words:
        raise fault(project, service, "command",
                     f"service {service.name} has no command: image {service.image} sets none",
                     hint="add `command:` to the service")  # fmt: skip
    return words


def command_key(service: Service) -> str:
    """The key that says what is executed."""
    return "command" if service.entrypoint is None else "entrypoint"


def environment(service: Service, config: ImageConfig, *, hostname: str) -> dict[str, str]:
    """Defaults, then the image's variables, then the service's; a name without a value takes the
    image's variable away."""
    found = {"PATH": DEFAULT_PATH, **({"HOSTNAME": hostname} if hostname else {})}
    if service.tty:
        found["TERM"] = "xterm"
    found.update(config.env)
    for name, value in service.environment.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return found


def _rootfs(image: ImageFacts, *, project: str, id_: str, layout: Layout) -> runtime.Rootfs:
    directory = layout.container(project, id_)
    return runtime.Rootfs(
        lowers=image.layers, upper=f"{directory}/upper", work=f"{directory}/work",
        target=f"{directory}/root", host_usr=image.host_usr,
    )  # fmt: skip


def hostname_of(service: Service, identity: Identity) -> str:
    """The short id where nothing is said; empty: the machine's own name."""
    if service.hostname:
        return service.hostname
    if service.network_mode == "host" or service.uts == "host":
        return ""
    return names.short(identity.id)


def capabilities(service: Service, *, project: Project) -> tuple[str, ...]:
    """The default set with `cap_add` and `cap_drop`, as Docker reads them: `ALL` to add means all
    but the dropped ones, `ALL` to drop means only the added ones; `privileged` is all of them."""
    added = _capability_names(service, "cap_add", service.cap_add, project)
    dropped = _capability_names(service, "cap_drop", service.cap_drop, project)
    if service.privileged:
        kept = set(caps.NAMES)
    elif "ALL" in added:
        kept = set(caps.NAMES) - dropped
    elif "ALL" in dropped:
        kept = added
    else:
        kept = (set(caps.DEFAULT) | added) - dropped
    return tuple(name for name in caps.NAMES if name in kept)


def _capability_names(
    service: Service, key: str, words: Sequence[str], project: Project
) -> set[str]:
    found = set()
    for number, word in enumerate(words):
        name = word.upper()
        if name != "ALL" and not name.startswith("CAP_"):
            name = f"CAP_{name}"
        if name != "ALL" and name not in caps.NAMES:
            raise fault(project, service, key, f"unknown capability {word!r}", item=number,
                         hint=near(name, caps.NAMES))  # fmt: skip
        found.add(name)
    return found


def restart_policy(text: str) -> tuple[RestartPolicy, int]:
    """`on-failure:5` -> ("on-failure", 5)."""
    word, _, count = text.partition(":")
    match word:
        case "always":
            return "always", 0
        case "unless-stopped":
            return "unless-stopped", 0
        case "on-failure":
            return "on-failure", int(count) if count.isdigit() else 0
    return "no", 0


def healthcheck(
    service: Service, config: ImageConfig, *, project: Project
) -> runtime.Healthcheck | None:
    """The service's probe, each field it leaves out taken from the image, then from the default."""
    own, inherited = service.healthcheck, config.healthcheck
    test = (own.test if own is not None and own.test is not None else None) or (
        inherited.test if inherited is not None else None
    )
    if not test or test[0] == "NONE" or (own is not None and own.disable):
        return None
    path, image = ("services", service.name, "healthcheck"), f"image {service.image}"
    said, origins = {}, {}
    for name in ("interval", "timeout", "retries", "start_period", "start_interval"):
        value, origin = getattr(own, name, None), project.where(*path, name)
        if value is None:
            value, origin = getattr(inherited, name, None), image
        if value is not None:
            said[name], origins[name] = value, origin
    whole = project.where(*path) if own is not None else ""
    return runtime.Healthcheck(test=test, origin=whole or image, origins=origins, **said)


def _stop_signal(service: Service, config: ImageConfig, *, project: Project) -> str:
    text = service.stop_signal or config.stop_signal or "SIGTERM"
    name = signal_name(text)
    if name is None:
        raise fault(project, service, "stop_signal", f"unknown signal {text!r}")
    return name


def signal_name(text: str) -> str | None:
    """`term`, `15` and `SIGTERM` -> `SIGTERM`; `RTMIN+3` -> `SIGRTMIN+3`; None: no such signal."""
    if text.isdigit():
        return _signal_of_number(int(text))
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    base, plus, offset = name.partition("+")
    if plus:
        valid = base == "SIGRTMIN" and offset.isdigit() and int(offset) <= 30
        return name if valid else None
    return name if isinstance(getattr(_signal, name, None), int) and "_" not in name else None


def _signal_of_number(number: int) -> str | None:
    if not 0 < number < 65:
        return None
    for name in sorted(dir(_signal)):
        if name.startswith("SIG") and "_" not in name and getattr(_signal, name) == number:
            return name
    return f"SIGRTMIN+{number - _signal.SIGRTMIN}" if number > _signal.SIGRTMIN else None


def _log_limits(service: Service, project: Project) -> tuple[int, int]:
    """(bytes of one file, number of files)."""
    options = service.logging.options if service.logging is not None else {}
    size, files = _LOG_DEFAULT
    if "max-size" in options:
        size = _size(options["max-size"]) or _bad_log_option(project, service, "max-size")
    if "max-file" in options:
        text = options["max-file"]
        files = int(text) if text.isdigit() and int(text) > 0 else _bad_log_option(
            project, service, "max-file")  # fmt: skip
    return size, files


def _bad_log_option(project: Project, service: Service, key: str) -> int:
    value = service.logging.options[key] if service.logging is not None else ""
    raise fault(project, service, "logging", f"bad {key} {value!r} of service {service.name}")


def _size(text: str) -> int:
    """`10m`, `1g`, `4096`; 0 where it is none; -1 is without end."""
    if text == "-1":
        return UNLIMITED
    number = text.strip().lower().removesuffix("b")
    unit = number[-1:] if not number[-1:].isdigit() else ""
    digits = number.removesuffix(unit) if unit else number
    if unit not in _UNITS or not digits.isdigit():
        return 0
    return int(digits) * _UNITS[unit]


_LOG_DEFAULT = (20 << 20, 3)
