"""`build` of a service -> what the builder is asked for.

Owns the finding of the Dockerfile and of .dockerignore, and what each key means here; reads files,
builds nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from orchestrator import names
from orchestrator.build import cache, remote
from orchestrator.build.fault import near
from orchestrator.build.request import BuildRequest
from orchestrator.dataclass import dataclass, field
from orchestrator.engine.places import spot
from orchestrator.errors import BuildError, SpecError
from orchestrator.image import platform

if TYPE_CHECKING:
    from orchestrator.engine.caching import Exchange
    from orchestrator.spec.build_model import Build
    from orchestrator.spec.model import Project, Service

DOCKERFILE = "Dockerfile"
_IMAGE = "docker-image://"
SERVICE = "service:"
_LARGEST = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What the command line says beside the files."""

    args: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    ssh: Mapping[str, str | None] = field(default_factory=dict)
    explain: bool = False
    pull: bool = False
    """Ask the registries for newer base images."""
    push: bool = False
    """Push what was built."""
    check_only: bool = False
    """Read the Dockerfiles and build nothing."""
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a request takes from outside the service."""

    project: Project
    options: BuildOptions
    cwd: str
    secrets: Mapping[str, str]
    """Top-level key -> file."""
    fetch: Callable[[str], str]
    """A context from elsewhere -> the directory it was fetched into."""


def request(service: Service, around: Surroundings) -> BuildRequest:
    """The request for the service's image, still without `images`.  SpecError or BuildError with
    the place of what is wrong."""
    build = service.build
    assert build is not None
    context = _context(service, build, around)
    file, text = _dockerfile(service, build, context, around)
    ignore_file, ignore = _ignore(build, context, around)
    options = around.options
    return BuildRequest(
        name=service.image, dockerfile=text, file=file, context=context, ignore=ignore,
        ignore_file=ignore_file, contexts=_named_contexts(service, build, around),
        slot=cache.digest([build.context or context, file, build.target]),
        args={**build.args, **options.args}, own_args=tuple(build.args),
        target=build.target or "", labels=_labels(service, build, around.project),
        platform=_platform(service, build, around), no_cache=build.no_cache or options.no_cache,
        no_cache_filter=build.no_cache_filter, network=_network(service, build, around),
        hosts=build.extra_hosts, shm_size=build.shm_size or 64 << 20,
        rlimits=tuple((u.name, u.soft, u.hard) for u in build.ulimits),
        entitlements=_entitlements(service, build, around),
        secrets={(g.target or g.source): around.secrets[g.source] for g in build.secrets
                 if g.source in around.secrets},
        ssh=_agents(service, build, around), date=_date(build, options), explain=options.explain,
        inline_cache=_inline_cache(service, build, around),
    )  # fmt: skip


def _fault(service: Service, around: Surroundings, key: str, message: str, *,
           hint: str | None = None) -> SpecError:  # fmt: skip
    where = spot(around.project, "services", service.name, "build", key)
    return SpecError(f"services.{service.name}.build.{key}: {message}", hint=hint, where=where)


def _shown(path: str, cwd: str) -> str:
    """Relative to where the user is, where that is shorter."""
    relative = os.path.relpath(path, cwd)
    return path if relative.startswith("../../") else relative


# ---- files ----


def _context(service: Service, build: Build, around: Surroundings) -> str:
    path = build.context or around.project.working_dir
    if remote.is_remote(path):
        return _fetched(service, around, "context", path)
    if not os.path.isdir(path):
        problem = "is no directory" if os.path.exists(path) else "does not exist"
        raise _fault(service, around, "context", f"{_shown(path, around.cwd)} {problem}")
    return path


def _fetched(service: Service, around: Surroundings, key: str, address: str) -> str:
    try:
        return around.fetch(address)
    except BuildError as exc:
        raise _fault(service, around, key, exc.message, hint=exc.hint) from exc


def _dockerfile(
    service: Service, build: Build, context: str, around: Surroundings
) -> tuple[str, str]:
    """(name for messages, text)."""
    if build.dockerfile_inline is not None:
        return f"dockerfile_inline of {service.name}", build.dockerfile_inline
    path = os.path.join(context, build.dockerfile or DOCKERFILE)
    if not os.path.exists(path) and (build.dockerfile or DOCKERFILE) == DOCKERFILE:
        lower = os.path.join(context, DOCKERFILE.lower())
        path = lower if os.path.exists(lower) else path
    shown = _shown(path, around.cwd)
    if remote.is_remote(build.context or ""):
        shown = f"{build.context}/{os.path.relpath(path, context)}"
    text = _read(path)
    if text is None:
        directory, name = os.path.split(path)
        there = os.listdir(directory) if os.path.isdir(directory) else []
        raise _fault(service, around, "dockerfile", f"{shown} does not exist",
                     hint=near(name, there) or "write one, or name another with `dockerfile:`")
    return shown, text


def _read(path: str) -> str | None:
    """The text of a file; None where it is not there."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise BuildError(f"cannot read {path}: {exc.strerror}") from exc
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise BuildError("this is no UTF-8", where=f"{path}:{line}:1") from exc


def _ignore(build: Build, context: str, around: Surroundings) -> tuple[str, str | None]:
    """The ignore file beside the Dockerfile goes before the one of the context."""
    candidates = [os.path.join(context, ".dockerignore")]
    if build.dockerfile_inline is None:
        own = os.path.join(context, f"{build.dockerfile or DOCKERFILE}.dockerignore")
        candidates.insert(0, own)
    for path in candidates:
        text = _read(path)
        if text is not None:
            return _shown(path, around.cwd), text
    return ".dockerignore", None


def _named_contexts(service: Service, build: Build, around: Surroundings) -> dict[str, str]:
    """Those that are directories; the others are known once their images are."""
    directories: dict[str, str] = {}
    for name, value in build.additional_contexts.items():
        if value.startswith((SERVICE, _IMAGE)):
            continue
        if remote.is_remote(value):
            directories[name] = _fetched(service, around, "additional_contexts", value)
        elif value.startswith("oci-layout://"):
            raise _fault(service, around, "additional_contexts", f"{name}: cannot use {value}",
                         hint="load it with `pcompose load -i`, and name it docker-image://NAME")
        elif not os.path.isdir(value):
            raise _fault(service, around, "additional_contexts",
                         f"{name}: {_shown(value, around.cwd)} is no directory")
        else:
            directories[name] = value
    return directories


def image_contexts(build: Build, *, prefix: str = _IMAGE) -> dict[str, str]:
    """Named contexts that are images: name -> reference, or with the prefix SERVICE the service
    that is built."""
    return {name: value.removeprefix(prefix) for name, value in build.additional_contexts.items()
            if value.startswith(prefix)}


# ---- what keys mean ----


def exchanges(service: Service, around: Surroundings, *, to: bool) -> list[Exchange]:
    """Where the cache comes from, or goes to.  SpecError with the place of what is wrong."""
    from orchestrator.engine import caching

    assert service.build is not None
    texts = service.build.cache_to if to else service.build.cache_from
    try:
        return [caching.parse(text, to=to, directory=around.project.working_dir) for text in texts]
    except ValueError as exc:
        key = "cache_to" if to else "cache_from"
        raise _fault(service, around, key, str(exc)) from exc


def _inline_cache(service: Service, build: Build, around: Surroundings) -> bool:
    """As `cache_to` says, or the build argument that BuildKit knows."""
    said = {**build.args, **around.options.args}.get("BUILDKIT_INLINE_CACHE", "").lower()
    return said in ("1", "true") or any(
        e.kind == "inline" for e in exchanges(service, around, to=True))


def _labels(service: Service, build: Build, project: Project) -> dict[str, str]:
    own = {names.LABEL_PROJECT: project.name, names.LABEL_SERVICE: service.name}
    return {**build.labels, **own}


def _platform(service: Service, build: Build, around: Surroundings) -> str:
    chosen = service.platform or around.options.environ.get(platform.VARIABLE, "")
    if chosen and build.platforms and chosen not in build.platforms:
        raise _fault(service, around, "platforms", f"{chosen} is wanted, which is not among them",
                     hint=f"add it, or unset {platform.VARIABLE}")
    if len(build.platforms) > 1 and not chosen:
        raise _fault(service, around, "platforms", "one image is built for one platform at a time",
                     hint="choose one of them with the service's `platform`, or build on a machine "
                     "of each")
    return chosen or next(iter(build.platforms), "")


def _network(service: Service, build: Build, around: Surroundings) -> str:
    name = build.network or "default"
    if name not in ("default", "none", "host"):
        raise _fault(service, around, "network", f"a build cannot join the network {name}",
                     hint="default, host or none")
    return name


def _entitlements(service: Service, build: Build, around: Surroundings) -> frozenset[str]:
    known = ("network.host", "security.insecure")
    for name in build.entitlements:
        if name not in known:
            raise _fault(service, around, "entitlements", f"there is no entitlement {name}",
                         hint=near(name, known) or "network.host or security.insecure")
    found = set(build.entitlements)
    if build.network == "host":
        found.add("network.host")
    if build.privileged:
        found.add("security.insecure")
    return frozenset(found)


def _agents(service: Service, build: Build, around: Surroundings) -> dict[str, str]:
    found = {}
    for name, path in {**build.ssh, **around.options.ssh}.items():
        socket = path or around.options.environ.get("SSH_AUTH_SOCK", "")
        if not socket or not os.path.exists(socket):
            raise _fault(service, around, "ssh", f"{name}: there is no agent"
                         + (f" at {socket}" if socket else ""),
                         hint="start one: eval $(ssh-agent) && ssh-add")
        if not stat.S_ISSOCK(os.stat(socket).st_mode):
            raise _fault(service, around, "ssh", f"{name}: {socket} is no agent's socket",
                         hint=f"load the key into an agent: ssh-add {socket}")
        found[name] = os.path.realpath(socket)
    return found


def _date(build: Build, options: BuildOptions) -> int | None:
    """SOURCE_DATE_EPOCH of the build arguments, else of the environment."""
    text = {**options.environ, **build.args, **options.args}.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise BuildError(f"SOURCE_DATE_EPOCH is no number of seconds: {text}")
    return int(text)
