"""Where hooks stand in plans."""

from __future__ import annotations

from dataclasses import replace

from orchestrator import names
from orchestrator.plan import teardown
from orchestrator.plan.policy import DownPolicy
from orchestrator.spec.model import Hook
from tests.plan.world import World, project, service, text, world
from tests.state.sample import container_record

HOOK = (Hook(command=("true",)),)
WEB = service("web", networks="", pre_start=HOOK, post_start=HOOK, pre_stop=HOOK, scale=2)
STACK = project(WEB, service("last", needs="web", networks=""))


def test_pre_start_holds_back_every_replica_and_post_start_those_who_depend() -> None:
    assert (
        text(World().plan(STACK))
        == """
[] -> #1 CreateContainer p-web-1 (new)
[] -> #2 CreateContainer p-web-2 (new)
[] -> #3 CreateContainer p-last-1 (new)
[1] -> #4 RunHooks p-web-1 pre_start
[4] -> #5 StartContainer p-web-1
[5] -> #6 RunHooks p-web-1 post_start
[2,4] -> #7 StartContainer p-web-2
[7] -> #8 RunHooks p-web-2 post_start
[3,6,8] -> #9 StartContainer p-last-1
"""
    )


def test_a_replica_that_runs_makes_pre_start_needless() -> None:
    there = world(STACK)
    more = project(replace(WEB, scale=3), STACK.services["last"])
    assert (
        text(there.plan(more))
        == """
[] -> #1 CreateContainer p-web-3 (scale 2 -> 3)
[1] -> #2 StartContainer p-web-3
[2] -> #3 RunHooks p-web-3 post_start
"""
    )


def test_who_is_replaced_or_scaled_away_has_no_pre_stop() -> None:
    there = world(STACK)
    changed = project(replace(WEB, environment={"A": "1"}, scale=1), STACK.services["last"])
    plan = str(there.plan(changed))
    assert "pre_stop" not in plan
    assert "pre_start" in plan


def test_pre_stop_comes_before_each_stop_and_not_for_orphans() -> None:
    there = world(STACK)
    stop = teardown.stop(there.observed(), DownPolicy(services=("web",)), declared=STACK)
    assert (
        text(stop)
        == """
[] -> #1 RunHooks p-web-1 pre_stop
[1] -> #2 StopContainer p-web-1
[] -> #3 RunHooks p-web-2 pre_stop
[3] -> #4 StopContainer p-web-2
"""
    )
    other = project(STACK.services["last"])
    down = teardown.down(there.observed(), DownPolicy(remove_orphans=True), declared=other)
    assert "RunHooks" not in str(down)
    assert "RunHooks" in str(teardown.down(there.observed(), DownPolicy(), declared=None))


def test_start_and_restart_run_what_belongs_to_them() -> None:
    there = world(project(replace(WEB, scale=1)))
    assert (
        text(teardown.restart(there.observed(), DownPolicy()))
        == """
[] -> #1 RunHooks p-web-1 pre_stop
[1] -> #2 StopContainer p-web-1
[2] -> #3 StartContainer p-web-1 (restart)
[3] -> #4 RunHooks p-web-1 post_start
"""
    )
    there.set(there.id_of("p-web-1"), state="exited")
    assert (
        text(teardown.start(there.observed()))
        == """
[] -> #1 RunHooks p-web-1 pre_start
[1] -> #2 StartContainer p-web-1 (exited)
[2] -> #3 RunHooks p-web-1 post_start
"""
    )


def with_leftover() -> World:
    there = world(STACK)
    for container in there.running():
        there.set(container.record.id, state="exited")
    labels = {names.LABEL_HOOK: "pre_start"}
    left = container_record("web", 0, id_="left", name="p-web-1-pre_start-0", oneoff=True,
                            labels=labels)  # fmt: skip
    there.put(left, state="exited")
    return there


def test_what_a_failed_hook_left_is_no_orphan_and_is_cleared_away_first() -> None:
    there = with_leftover()
    plan = there.plan(STACK)
    assert not plan.warnings
    assert str(plan).splitlines()[:2] == [
        "[] -> #1 RemoveContainer p-web-1-pre_start-0 left (left over by a failed start)",
        "[1] -> #2 RunHooks p-web-1 pre_start",
    ]
    assert "[1] -> #2 RunHooks p-web-1 pre_start" in str(teardown.start(there.observed()))
    down = teardown.down(there.observed(), DownPolicy(services=("web",)), declared=STACK)
    assert "RemoveContainer p-web-1-pre_start-0" in str(down)


def test_another_image_of_a_hook_is_another_container() -> None:
    hooked = project(service("web", pre_start=(Hook(image="tool"),)))
    there = world(hooked)
    from orchestrator.plan.diff import diff
    from orchestrator.plan.policy import UpPolicy
    from orchestrator.plan.replicas import hook_key

    ids = {"web": there.image, hook_key("web", 0): "sha256:2"}
    plan = diff(hooked, there.observed(), UpPolicy(), image_ids=ids)
    assert plan.reasons() == ("recreate web: image digest of pre_start.0 none -> sha256:2",)
