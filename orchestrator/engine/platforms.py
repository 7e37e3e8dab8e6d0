"""Whether an image is for this machine, and for the platform its service asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from orchestrator.engine.machine import Problems
from orchestrator.engine.places import fault
from orchestrator.image import platform
from orchestrator.image.manifest import host_platform
from orchestrator.image.store import Image
from orchestrator.spec.model import Project, Service


def check(project: Project, services: Iterable[str], images: Mapping[str, Image]) -> None:
    """SpecError with the place of each image that is for another platform."""
    problems = Problems()
    for name in services:
        service, image = project.services[name], images[name]
        problems.attempt(partial(_check, service, image, project))
    problems.finish()


def _check(service: Service, image: Image, project: Project) -> None:
    if service.platform and not platform.fits(service.platform, image.platform):
        raise fault(project, service, "platform", f"image {service.image} is for {image.platform}, "
                    f"not for {service.platform}", hint="load or build it for that platform")
    if not platform.can_run(image.platform):
        raise fault(project, service, "image", f"image {service.image} is for {image.platform}, "
                    f"this machine is {host_platform()}",
                    hint="`pcompose pull` fetches that of this machine where there is one; "
                    "qemu-user with binfmt_misc would run it")  # fmt: skip
