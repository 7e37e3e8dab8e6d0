"""Whether an image has the command it is asked to run, before a container is made of it.

Only what is certain is refused: where a mount covers a place the command may be in, or the file is
there but cannot be executed, the start itself will tell.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from orchestrator.engine.resolve import argv, command_key, environment
from orchestrator.errors import CommandNotFoundError
from orchestrator.image import merged
from orchestrator.image.store import Image
from orchestrator.spec.model import Project, Service


def check(
    service: Service, image: Image, *, project: Project, is_from_file: bool = True
) -> None:
    """CommandNotFoundError, with the place of the command if it `is_from_file`."""
    command = argv(service, image.config, project=project)[0]
    covers = [*_mounted(service), *image.config.volumes]
    for path in _candidates(command, service, image):
        if any(_is_below(path, cover) for cover in covers):
            return
        if merged.exists(image.layers, path, host_usr=image.host_usr):
            return
    place = project.where("services", service.name, command_key(service)) if is_from_file else ""
    where = f" ({place})" if place else ""
    what = "no such file" if "/" in command else "executable file not found in PATH"
    raise CommandNotFoundError(
        f"cannot start service {service.name}: exec {command}: {what} in image "
        f"{service.image}{where}",
        hint="check the command, and PATH in the image",
    )


def _candidates(command: str, service: Service, image: Image) -> Iterator[str]:
    cwd = service.working_dir or image.config.working_dir or "/"
    if "/" in command:
        yield os.path.normpath(f"{cwd}/{command}") if command[0] != "/" else command
        return
    path = environment(service, image.config, hostname="").get("PATH", "")
    for directory in path.split(":"):
        yield f"{directory or cwd}/{command}"


def _mounted(service: Service) -> Iterator[str]:
    yield from (volume.target for volume in service.volumes)
    yield from (entry.partition(":")[0] for entry in service.tmpfs)


def _is_below(path: str, cover: str) -> bool:
    top = cover.rstrip("/")
    return path == top or path.startswith(f"{top}/")
