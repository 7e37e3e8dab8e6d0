"""Which platform the stages of a build are for, and whether this machine runs their commands.

A stage without `--platform` is for the platform that the build is for; one that begins with another
stage is for the platform of that.  Only RUN needs a machine that runs programs of the platform.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.build import instructions as kinds
from orchestrator.build.fault import Place, fault
from orchestrator.build.stages import Stage
from orchestrator.errors import BuildError
from orchestrator.image import platform
from orchestrator.image.config import Platform
from orchestrator.image.manifest import host_platform


def of_build(text: str) -> Platform:
    """The platform that an image is built for; empty is this machine's.  BuildError for none."""
    try:
        return platform.parse(text)
    except ValueError as exc:
        raise BuildError(str(exc), hint="for example linux/amd64") from exc


def automatic(target: Platform, stage: str) -> dict[str, str]:
    """The arguments that are there without being given; `stage` is the one that is built."""
    own = host_platform()
    return {
        "TARGETPLATFORM": str(target), "TARGETOS": target.os, "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant, "BUILDPLATFORM": str(own), "BUILDOS": own.os,
        "BUILDARCH": own.architecture, "BUILDVARIANT": own.variant,
        "TARGETSTAGE": stage or "default",
    }  # fmt: skip


def check(stages: Iterable[Stage], target: Platform) -> None:
    """BuildError at the first RUN for a platform that this machine cannot run, before anything is
    built; stages in the order of the file."""
    found: dict[int, Platform] = {}
    for stage in stages:
        inherited = found.get(stage.parent) if stage.parent is not None else None
        found[stage.index] = inherited or of_stage(stage, target)
        check_runs(stage, found[stage.index])


def of_stage(stage: Stage, target: Platform) -> Platform:
    """The platform of a stage that begins with no other stage."""
    return _parsed(stage.platform, stage.place) if stage.platform else target


def of_base(stage: Stage, has: str, wanted: str) -> Platform:
    """The platform of a stage on an image for `has`; where none is wanted, it is the image's."""
    if wanted and not platform.fits(wanted, has):
        raise fault(stage.place, f"FROM {stage.base}: it is for {has}, and {wanted} is wanted")
    found = _parsed(has, stage.place)
    check_runs(stage, found)
    return found


def _parsed(text: str, place: Place) -> Platform:
    try:
        return platform.parse(text)
    except ValueError as exc:
        raise fault(place, f"FROM: {exc}", hint="for example linux/amd64") from exc


def check_runs(stage: Stage, has: Platform) -> None:
    """BuildError at the stage's first RUN where this machine cannot run it."""
    if platform.can_run(str(has)):
        return
    for made in stage.instructions:
        if isinstance(made, kinds.Run):
            raise fault(made.place, f"RUN: this machine cannot run programs for {has}",
                        hint="install qemu-user-static (binfmt_misc), or cross-compile in a stage "
                        "`FROM --platform=$BUILDPLATFORM …` and COPY --from it")
