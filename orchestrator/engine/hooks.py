"""Hooks of a service -> hooks of its container: commands, users and, for pre_start, whole roots.

Pure, as `resolve`, which calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.errors import SpecError
from orchestrator.runtime import spec as runtime

if TYPE_CHECKING:
    from orchestrator.engine.resolve import ImageFacts
    from orchestrator.spec.model import Hook, Project, Service


def beside(service: Service, key: str, *, project: Project) -> tuple[runtime.Hook, ...]:
    """`post_start` and `pre_stop`: run in the container, so what is not said is the container's."""
    hooks: tuple[Hook, ...] = getattr(service, key)
    return tuple(
        runtime.Hook(
            argv=hook.command or (), environment=_said(hook), user=hook.user or "",
            cwd=hook.working_dir or "", privileged=hook.privileged,
            origin=project.where("services", service.name, key, number),
        )
        for number, hook in enumerate(hooks)
    )  # fmt: skip


def before_start(
    service: Service, image: ImageFacts, others: Mapping[int, ImageFacts], *, project: Project
) -> tuple[runtime.Hook, ...]:
    """`pre_start`: containers of their own; `others`: images of those hooks that name one.
    SpecError where there is nothing to execute."""
    return tuple(
        _before_start(service, number, others.get(number, image), project=project)
        for number in range(len(service.pre_start))
    )


def _before_start(
    service: Service, number: int, image: ImageFacts, *, project: Project
) -> runtime.Hook:
    from orchestrator.engine.places import spot
    from orchestrator.engine.resolve import environment

    hook, config = service.pre_start[number], image.config
    argv = config.entrypoint + (config.command if hook.command is None else hook.command)
    if not argv:
        raise SpecError(
            f"pre_start[{number}] of service {service.name} has no command: its image sets none",
            hint="add `command:` to the hook",
            where=spot(project, "services", service.name, "pre_start", number),
        )
    return runtime.Hook(
        argv=argv, environment={**environment(service, config, hostname=""), **_said(hook)},
        user=hook.user or service.user or config.user,
        cwd=hook.working_dir or service.working_dir or config.working_dir or "/",
        privileged=hook.privileged, image=hook.image or service.image, image_id=image.id,
        lowers=image.layers, host_usr=image.host_usr,
        origin=project.where("services", service.name, "pre_start", number),
    )  # fmt: skip


def _said(hook: Hook) -> dict[str, str]:
    return {name: value for name, value in hook.environment.items() if value is not None}
