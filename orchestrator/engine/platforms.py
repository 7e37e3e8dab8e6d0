"""Whether an image is for this machine, and for the platform its service asks for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial

from orchestrator.engine.machine import Problems
from orchestrator.engine.places import fault
from orchestrator.image.manifest import host_platform
from orchestrator.image.store import Image
from orchestrator.spec.model import Project, Service

_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386",
            "armhf": "arm", "armel": "arm"}  # fmt: skip
_ALSO = {"amd64": ("386",), "arm64": ("arm",)}
"""What a machine runs besides its own."""
_EMULATORS = {"amd64": "qemu-x86_64", "arm64": "qemu-aarch64", "386": "qemu-i386",
              "arm": "qemu-arm"}  # fmt: skip
_BINFMT = "/proc/sys/fs/binfmt_misc"


def check(project: Project, services: Iterable[str], images: Mapping[str, Image]) -> None:
    """SpecError with the place of each image that is for another platform."""
    problems = Problems()
    for name in services:
        service, image = project.services[name], images[name]
        problems.attempt(partial(_check, service, image, project))
    problems.finish()


def _check(service: Service, image: Image, project: Project) -> None:
    has = parts(image.platform)
    if service.platform and not fits(service.platform, image.platform):
        raise fault(project, service, "platform", f"image {service.image} is for {image.platform}, "
                    f"not for {service.platform}", hint="load or build it for that platform")
    own = parts(str(host_platform()))
    if has[1] == own[1] or has[1] in _ALSO.get(own[1], ()) or _is_emulated(has[1]):
        return
    raise fault(project, service, "image", f"image {service.image} is for {image.platform}, this "
                f"machine is {host_platform()}", hint="qemu-user with binfmt_misc would run it")


def parts(platform: str) -> tuple[str, str, str]:
    """(os, architecture, variant) of `linux/arm64/v8` or of `arm64`."""
    words = [word.lower() for word in platform.split("/")]
    if len(words) == 1:
        words = ["linux", *words] if words[0] != "linux" else [*words, ""]
    system, architecture, variant = (*words, "", "")[:3]
    architecture = _ALIASES.get(architecture, architecture)
    return system, architecture, "" if (architecture, variant) == ("arm64", "v8") else variant


def fits(platform: str, image: str) -> bool:
    """Whether an image is for a platform that somebody asks for."""
    wanted, has = parts(platform), parts(image)
    same = wanted[0] == has[0] and wanted[1] in ("", has[1])
    return same and ("" in (wanted[2], has[2]) or wanted[2] == has[2])


def _is_emulated(architecture: str) -> bool:
    return os.path.exists(f"{_BINFMT}/{_EMULATORS.get(architecture, 'none')}")
