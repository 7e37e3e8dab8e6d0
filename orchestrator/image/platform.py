"""Platforms: how they are written, which fits which, and which of them this machine runs."""

from __future__ import annotations

import os

from orchestrator.image.config import Platform
from orchestrator.image.manifest import host_platform

VARIABLE = "DOCKER_DEFAULT_PLATFORM"
"""Of the environment: the platform of images where nothing else is said."""
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386",
            "armhf": "arm", "armel": "arm"}  # fmt: skip
_ALSO = {"amd64": ("386",), "arm64": ("arm",)}
"""What a machine runs besides its own."""
_EMULATORS = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386"}
"""How QEMU calls what has another name there."""
_BINFMT = "/proc/sys/fs/binfmt_misc"


def parts(text: str) -> tuple[str, str, str]:
    """(os, architecture, variant) of `linux/arm64/v8` or of `arm64`."""
    words = [word.lower() for word in text.split("/")]
    if len(words) == 1:
        words = ["linux", *words] if words[0] != "linux" else [*words, ""]
    system, architecture, variant = (*words, "", "")[:3]
    architecture = _ALIASES.get(architecture, architecture)
    return system, architecture, "" if (architecture, variant) == ("arm64", "v8") else variant


def parse(text: str) -> Platform:
    """The platform; empty is this machine's.  ValueError where no image can be for it."""
    if not text:
        return host_platform()
    system, architecture, variant = parts(text)
    if system != "linux" or not architecture or text.count("/") > 2 or text.endswith("/"):
        raise ValueError(f"`{text}` is no platform that images can be built for")
    own = host_platform()
    if not variant and own.architecture == architecture:
        return own
    return Platform(architecture=architecture, variant=variant)


def fits(wanted: str, has: str) -> bool:
    """Whether an image is for a platform that somebody asks for; what is left out fits."""
    one, other = parts(wanted), parts(has)
    same = one[0] == other[0] and one[1] in ("", other[1])
    return same and ("" in (one[2], other[2]) or one[2] == other[2])


def can_run(text: str) -> bool:
    """Whether the kernel runs programs of that platform, its own or through binfmt_misc."""
    architecture, own = parts(text)[1], host_platform().architecture
    if architecture == own or architecture in _ALSO.get(own, ()):
        return True
    return os.path.exists(f"{_BINFMT}/qemu-{_EMULATORS.get(architecture, architecture)}")
