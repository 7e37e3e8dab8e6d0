"""Who we measure against: how each peer brings N sleeping services up and down."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

COMPOSE = """name: bench{count}
services:
{services}"""
SERVICE = """  s{n}:
    image: {image}
    command: sleep infinity
    init: false
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """One program that reads Compose files."""

    name: str
    command: tuple[str, ...]
    image: str


def compose_text(count: int, image: str) -> str:
    """A Compose file of `count` services that sleep on one network."""
    services = "".join(SERVICE.format(n=n, image=image) for n in range(count))
    return COMPOSE.format(count=count, services=services)


def answers(*command: str) -> bool:
    """Whether a command is there and ends well; asks no network."""
    if shutil.which(command[0]) is None:
        return False
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def installed() -> list[Peer]:
    """pcompose and every peer that works here; a peer's image must be there already."""
    found = [Peer("pcompose", ("pcompose",), "pcompose/host")]
    if answers("docker", "info") and answers("docker", "image", "inspect", "busybox"):
        found.append(Peer("docker compose", ("docker", "compose"), "busybox"))
    if answers("podman-compose", "--version") and answers("podman", "image", "exists", "busybox"):
        found.append(Peer("podman-compose", ("podman-compose",), "busybox"))
    return found


def oci_runtimes() -> list[str]:
    """runc and crun where installed: the cost of one container without anything around it."""
    return [name for name in ("runc", "crun") if answers(name, "--version")]
