"""What an image says about the containers made of it: ImageConfig, and the image's config file.

Owns the reading and writing of the config JSON (OCI image-spec config.md, Docker schema 2; the two
agree where it matters).  Knows nothing of Compose files and nothing of layers but their diff ids.
"""

from __future__ import annotations

import json
from typing import Any

from orchestrator.dataclass import dataclass, field
from orchestrator.errors import ImageError
from orchestrator.image import digest, document

NANOSECONDS = 1_000_000_000
MOST_LAYERS = 500
"""The kernel stacks 500 lower layers at most (OVL_MAX_STACK)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """HEALTHCHECK of the image; None and 0: not said, whoever runs the container has a default."""

    test: tuple[str, ...] = ()
    """Starts with CMD or CMD-SHELL; `("NONE",)` switches an inherited probe off."""
    interval: float | None = None
    timeout: float | None = None
    start_period: float | None = None
    start_interval: float | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """The defaults of a container; times in seconds."""

    env: tuple[tuple[str, str], ...] = ()
    """In the order of the image."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    """`6379/tcp`."""
    volumes: tuple[str, ...] = ()
    """Container paths that want an anonymous volume."""
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] = ()
    """SHELL of whoever builds on the image; empty: /bin/sh -c."""
    on_build: tuple[str, ...] = ()
    """Instructions that a build on the image begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How one layer, or one change of the configuration, came to be."""

    created: float | None = None
    created_by: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """`linux/amd64`, `linux/arm64/v8`."""

    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """The whole config document of an image."""

    platform: Platform
    created: float | None
    """Seconds since the epoch."""
    config: ImageConfig
    diff_ids: tuple[str, ...]
    """Digests of the uncompressed layer tars, lowest first."""
    history: tuple[History, ...] = ()
    """Oldest first; empty where the image does not say."""
    author: str = ""

    def whole_history(self) -> tuple[History, ...]:
        """The history with an entry for each layer, also those it says nothing of: who builds on
        the image, Buildah above all, counts them."""
        said = sum(not item.empty_layer for item in self.history)
        return (*[History()] * (len(self.diff_ids) - said), *self.history)


def parse(data: bytes, *, what: str = "image config") -> ConfigFile:
    """The config file in `data`; ImageError where it is none."""
    root = document.parse(data, what=what)
    rootfs = root.get("rootfs")
    if rootfs.get("type").text("layers") != "layers":
        raise ImageError(f"{what}: unknown rootfs type {rootfs.get('type').value!r}")
    diff_ids = rootfs.get("diff_ids").texts()
    if not all(digest.is_digest(item) for item in diff_ids):
        raise ImageError(f"{what}: rootfs.diff_ids holds something that is no digest")
    if len(diff_ids) > MOST_LAYERS:
        raise ImageError(f"{what} has {len(diff_ids)} layers, more than {MOST_LAYERS}")
    return ConfigFile(
        platform=parse_platform(root),
        created=parse_time(root.get("created").text("")),
        config=_container(root.get("config")),
        diff_ids=diff_ids,
        history=tuple(_history(item) for item in root.get("history").items()),
        author=root.get("author").text(""),
    )


def _history(node: document.Node) -> History:
    return History(
        created=parse_time(node.get("created").text("")),
        created_by=node.get("created_by").text(""), comment=node.get("comment").text(""),
        empty_layer=node.get("empty_layer").value is True,
    )  # fmt: skip


def parse_platform(node: document.Node) -> Platform:
    """os, architecture and variant of a config or an index entry."""
    return Platform(
        os=node.get("os").text("linux"),
        architecture=node.get("architecture").text(""),
        variant=node.get("variant").text(""),
    )


def _container(node: document.Node) -> ImageConfig:
    if node.is_absent:
        return ImageConfig()
    return ImageConfig(
        env=tuple(_variable(item) for item in node.get("Env").items()),
        entrypoint=_words(node.get("Entrypoint")),
        command=_words(node.get("Cmd")),
        working_dir=node.get("WorkingDir").text(""),
        user=node.get("User").text(""),
        exposed_ports=tuple(key for key, _ in node.get("ExposedPorts").members()),
        volumes=tuple(key for key, _ in node.get("Volumes").members()),
        labels=node.get("Labels").mapping(),
        stop_signal=node.get("StopSignal").text(""),
        healthcheck=_healthcheck(node.get("Healthcheck")),
        shell=_words(node.get("Shell")),
        on_build=node.get("OnBuild").texts(),
    )


def _words(node: document.Node) -> tuple[str, ...]:
    # very old images carry one text where a list is meant
    return (node.value,) if isinstance(node.value, str) else node.texts()


def _variable(node: document.Node) -> tuple[str, str]:
    name, _, value = node.text().partition("=")
    if not name:
        raise node.fault("NAME=value")
    return name, value


def _healthcheck(node: document.Node) -> Healthcheck | None:
    if node.is_absent:
        return None
    return Healthcheck(
        test=node.get("Test").texts(),
        interval=_seconds(node.get("Interval")),
        timeout=_seconds(node.get("Timeout")),
        start_period=_seconds(node.get("StartPeriod")),
        start_interval=_seconds(node.get("StartInterval")),
        retries=node.get("Retries").number(0) or None,
    )


def _seconds(node: document.Node) -> float | None:
    return node.number(0) / NANOSECONDS or None


def parse_time(text: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; None where there is none or it is no time."""
    if not text:
        return None
    from datetime import UTC, datetime

    # fromisoformat of 3.11 knows Z but at most six digits of fraction; Go writes nine
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:
        parsed = datetime.fromisoformat(f"{head}{dot}{digits[:6]}{rest[len(digits):]}")
        return parsed.replace(tzinfo=parsed.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def format_time(seconds: float) -> str:
    """RFC 3339 in UTC."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def dump(file: ConfigFile) -> bytes:
    """The config document, the same bytes for the same value: their digest is the image id."""
    root: dict[str, Any] = {  # JSON has no narrower type
        "architecture": file.platform.architecture,
        "os": file.platform.os,
        "config": _container_json(file.config),
        "rootfs": {"type": "layers", "diff_ids": list(file.diff_ids)},
    }
    if file.platform.variant:
        root["variant"] = file.platform.variant
    if file.created is not None:
        root["created"] = format_time(file.created)
    if file.history:
        root["history"] = [_history_json(item) for item in file.history]
    if file.author:
        root["author"] = file.author
    return json.dumps(root, sort_keys=True, separators=(",", ":")).encode()


def _history_json(item: History) -> dict[str, Any]:  # JSON has no narrower type
    members = {
        "created": None if item.created is None else format_time(item.created),
        "created_by": item.created_by, "comment": item.comment, "empty_layer": item.empty_layer,
    }  # fmt: skip
    return {key: value for key, value in members.items() if value}


def _container_json(config: ImageConfig) -> dict[str, Any]:  # JSON has no narrower type
    members = {
        "Env": [f"{name}={value}" for name, value in config.env],
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "WorkingDir": config.working_dir,
        "User": config.user,
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Volumes": {path: {} for path in config.volumes},
        "Labels": config.labels,
        "StopSignal": config.stop_signal,
        "Healthcheck": _healthcheck_json(config.healthcheck),
        "Shell": list(config.shell),
        "OnBuild": list(config.on_build),
    }
    return {key: value for key, value in members.items() if value}


def _healthcheck_json(check: Healthcheck | None) -> dict[str, Any]:  # JSON has no narrower type
    if check is None:
        return {}
    times = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
    }
    found: dict[str, Any] = {"Test": list(check.test)}  # as above
    found.update({k: round(v * NANOSECONDS) for k, v in times.items() if v})
    if check.retries:
        found["Retries"] = check.retries
    return found
