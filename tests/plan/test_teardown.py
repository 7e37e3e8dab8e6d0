"""World -> the whole text of down, stop, start, restart, kill, rm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import PlanError
from orchestrator.plan import teardown
from orchestrator.plan.actions import KillContainer, RemoveContainer, StopContainer
from orchestrator.plan.plan import Plan
from orchestrator.plan.policy import DownPolicy
from orchestrator.spec.model import Project
from orchestrator.state.records import ProjectRecord
from tests.plan.world import World, kinds, project, service, text, world
from tests.state.sample import volume_record

DB = service("db", volumes="data")
CHAIN = project(DB, service("api", needs="db:healthy"), service("web", needs="api+restart"))


def down(there: World, declared: Project | None = None, **policy: Any) -> Plan:
    return teardown.down(there.observed(), DownPolicy(**policy), declared=declared)


def test_down_stops_dependents_before_what_they_need() -> None:
    assert (
        text(down(world(CHAIN)))
        == """
[] -> #1 StopContainer p-web-1
[1] -> #2 StopContainer p-api-1
[2] -> #3 StopContainer p-db-1
[2] -> #4 RemoveContainer p-api-1 api1-2
[3] -> #5 RemoveContainer p-db-1 db1-1
[1] -> #6 RemoveContainer p-web-1 web1-3
[4,5,6] -> #7 RemoveNetwork p_default
"""
    )


def test_services_that_do_not_know_each_other_stop_side_by_side() -> None:
    there = world(project(service("a"), service("b"), service("c", scale=2)))
    stops = [n for n in down(there) if isinstance(n.action, StopContainer)]
    assert len(stops) == 4
    assert all(n.after == () for n in stops)


def test_the_order_holds_across_a_service_that_has_ended_already() -> None:
    there = world(CHAIN)
    there.set(there.id_of("p-api-1"), state="exited")
    assert str(down(there)).splitlines()[:2] == [
        "[] -> #1 StopContainer p-web-1", "[1] -> #2 StopContainer p-db-1",
    ]  # fmt: skip


def test_a_pending_restart_is_stopped() -> None:
    there = world(project(DB))
    there.set(there.id_of("p-db-1"), state="restarting")
    assert kinds(down(there), [StopContainer]) == ["StopContainer p-db-1"]


def test_down_of_one_service_takes_its_dependents_and_nothing_else() -> None:
    plan = down(world(CHAIN), CHAIN, services=("api",))
    assert kinds(plan) == [
        "StopContainer p-web-1", "StopContainer p-api-1",
        "RemoveContainer p-api-1", "RemoveContainer p-web-1",
    ]  # fmt: skip


def test_down_with_volumes_removes_declared_and_forgotten_anonymous_ones() -> None:
    there = world(CHAIN)
    there.volumes["anon"] = volume_record("anon", anonymous=True)
    there.volumes["foreign"] = volume_record("foreign", project="q")
    plan = down(there, volumes=True)
    assert kinds(plan)[-3:] == [
        "RemoveNetwork p_default",
        "RemoveVolume anon",
        "RemoveVolume p_data",
    ]
    assert all(n.action.volumes for n in plan if isinstance(n.action, RemoveContainer))


def test_anonymous_volumes_of_a_container_go_with_it_not_by_themselves() -> None:
    there = world(project(DB))
    (made,) = there.containers.values()
    there.put(replace(made.record, anonymous_volumes={"/x": "anon"}), state="running")
    there.volumes["anon"] = volume_record("anon", anonymous=True)
    assert "RemoveVolume anon" not in kinds(down(there, volumes=True))


def test_down_without_volumes_keeps_them() -> None:
    there = world(CHAIN)
    there.apply(down(there))
    assert list(there.volumes) == ["p_data"]


def test_networks_of_others_stay() -> None:
    there = world(project(DB))
    there.networks["shared"] = replace(
        there.networks["p_default"],
        record=replace(there.networks["p_default"].record, name="shared", project="q"),
    )
    assert kinds(down(there))[-1] == "RemoveNetwork p_default"


def test_a_network_whose_record_is_lost_is_removed_by_the_projects_record() -> None:
    there = world(project(DB))
    del there.networks["p_default"]
    record = ProjectRecord(
        name="p", working_dir="/", config_files=[], networks={"default": "p_default"}
    )
    observed = replace(there.observed(), project=record)
    plan = teardown.down(observed, DownPolicy(), declared=None)
    assert "RemoveNetwork p_default" in kinds(plan)


def test_orphans_stay_with_a_warning_and_hold_their_network() -> None:
    there = world(CHAIN)
    plan = down(there, project(DB))
    assert kinds(plan) == ["StopContainer p-db-1", "RemoveContainer p-db-1"]
    assert plan.warnings[0] == "Network p_default Resource is still in use"
    assert plan.warnings[1].startswith("Found orphan containers (p-api-1, p-web-1)")
    there.apply(down(there, project(DB), remove_orphans=True))
    assert not there.containers


def test_orphans_that_depend_on_a_service_stop_before_it() -> None:
    plan = down(world(CHAIN), project(DB), remove_orphans=True)
    assert kinds(plan, [StopContainer]) == [
        "StopContainer p-web-1", "StopContainer p-api-1", "StopContainer p-db-1",
    ]  # fmt: skip


def test_a_service_of_an_inactive_profile_goes_down_too() -> None:
    there = world(CHAIN)
    there.apply(down(there, project(DB, disabled=dict(CHAIN.services))))
    assert not there.containers


@pytest.mark.parametrize("remove", [False, True])
def test_one_offs_go_only_when_asked(remove: bool) -> None:
    there = world(project(DB))
    (made,) = there.containers.values()
    there.put(replace(made.record, id="run", name="p-run", oneoff=True, index=0), state="running")
    there.apply(down(there, remove_orphans=remove))
    assert ("run" in there.containers) is not remove
    assert ("p_default" in there.networks) is not remove


def test_a_one_off_that_has_ended_holds_no_network() -> None:
    there = world(project(DB))
    (made,) = there.containers.values()
    there.put(replace(made.record, id="run", name="p-run", oneoff=True, index=0), state="exited")
    there.apply(down(there))
    assert list(there.containers) == ["run"]
    assert not there.networks


def test_a_broken_leftover_goes_down() -> None:
    there = world(project(DB))
    there.broken = ("0123456789abcdef",)
    there.apply(down(there))
    assert not there.broken


def test_every_generation_goes_down() -> None:
    there = world(project(DB))
    wish = project(replace(DB, image="new"))
    there.act(there.plan(wish).nodes[0].action, wish)
    there.apply(down(there))
    assert not there.containers


def test_nothing_to_remove_is_said() -> None:
    plan = down(World())
    assert not plan
    assert plan.warnings == ('Warning: No resource found to remove for project "p".',)


def test_a_service_that_no_file_declares_is_refused_but_without_a_file_ignored() -> None:
    with pytest.raises(PlanError, match="no such service: x"):
        down(world(CHAIN), CHAIN, services=("x",))
    assert not down(world(CHAIN), services=("x",))


def test_records_that_contradict_each_other_still_go_down() -> None:
    there = world(project(DB, service("web", needs="db")))
    (db,) = [c for c in there.containers.values() if c.record.service == "db"]
    there.put(replace(db.record, depends_on={"web": {}}), state="running")
    there.apply(down(there))
    assert not there.containers


def test_hostile_relations_in_a_record_are_read_as_plain_ones() -> None:
    there = world(project(DB, service("web", needs="db")))
    (web,) = [c for c in there.containers.values() if c.record.service == "web"]
    hostile = {"db": {"condition": 7, "restart": "yes", "required": None}, "nobody": {}}
    there.put(replace(web.record, depends_on=hostile), state="running")
    related = teardown.relations(there.observed(), None)
    assert related["web"]["db"].condition == "service_started"
    assert not related["web"]["db"].restart


# stop, start, restart


def test_stop_takes_only_what_is_named() -> None:
    there = world(CHAIN)
    plan = teardown.stop(there.observed(), DownPolicy(services=("db",), timeout=2.0))
    assert str(plan) == "[] -> #1 StopContainer p-db-1"
    assert [n.action.timeout for n in plan if isinstance(n.action, StopContainer)] == [2.0]


def test_stop_of_all_is_in_reverse_order() -> None:
    plan = teardown.stop(world(CHAIN).observed(), DownPolicy())
    assert (
        text(plan)
        == """
[] -> #1 StopContainer p-web-1
[1] -> #2 StopContainer p-api-1
[2] -> #3 StopContainer p-db-1
"""
    )


def test_start_waits_for_the_recorded_conditions() -> None:
    there = world(CHAIN)
    there.apply(teardown.stop(there.observed(), DownPolicy()))
    assert (
        text(teardown.start(there.observed()))
        == """
[] -> #1 StartContainer p-db-1 (exited)
[1] -> #2 WaitFor db service_healthy (needed by api)
[2] -> #3 StartContainer p-api-1 (exited)
[3] -> #4 StartContainer p-web-1 (exited)
"""
    )


def test_start_of_one_service_starts_what_it_needs_unless_told_otherwise() -> None:
    there = world(CHAIN)
    there.apply(teardown.stop(there.observed(), DownPolicy()))
    observed = there.observed()
    assert kinds(teardown.start(observed, services=("api",)))[0] == "StartContainer p-db-1"
    alone = teardown.start(observed, services=("api",), with_dependencies=False)
    assert str(alone) == "[] -> #1 StartContainer p-api-1 (exited)"


def test_start_of_a_service_without_containers_is_an_error() -> None:
    with pytest.raises(PlanError, match="service cache has no container to start"):
        teardown.start(world(CHAIN).observed(), services=("cache",))


def test_start_of_what_runs_does_nothing() -> None:
    assert not teardown.start(world(CHAIN).observed())


def test_restart_takes_dependents_with_restart_only() -> None:
    there = world(CHAIN)
    plan = teardown.restart(there.observed(), DownPolicy(services=("api",)))
    assert (
        text(plan)
        == """
[] -> #1 StopContainer p-web-1
[1] -> #2 StopContainer p-api-1
[2] -> #3 StartContainer p-api-1 (restart)
[3] -> #4 StartContainer p-web-1 (restart)
"""
    )
    alone = teardown.restart(there.observed(), DownPolicy(services=("db",)))
    assert {a.split()[1] for a in kinds(alone)} == {"p-db-1"}


def test_restart_of_all_waits_for_conditions() -> None:
    plan = teardown.restart(world(CHAIN).observed(), DownPolicy())
    assert "WaitFor api" in kinds(plan)


def test_restart_with_no_deps_is_alone_and_starts_what_has_stopped() -> None:
    there = world(CHAIN)
    there.set(there.id_of("p-api-1"), state="exited")
    policy = DownPolicy(services=("api",))
    plan = teardown.restart(there.observed(), policy, with_dependents=False)
    assert str(plan) == "[] -> #1 StartContainer p-api-1 (restart)"


# kill, rm


def test_kill_sends_the_signal_to_what_runs() -> None:
    there = world(CHAIN)
    there.set(there.id_of("p-api-1"), state="exited")
    plan = teardown.kill(there.observed(), signal="SIGHUP")
    assert (
        text(plan)
        == """
[] -> #1 KillContainer p-db-1 SIGHUP
[] -> #2 KillContainer p-web-1 SIGHUP
"""
    )


def test_kill_takes_orphans_when_asked() -> None:
    observed = world(CHAIN).observed()
    plan = teardown.kill(observed, declared=project(DB))
    assert kinds(plan, [KillContainer]) == ["KillContainer p-db-1"]
    assert len(teardown.kill(observed, declared=project(DB), remove_orphans=True).nodes) == 3


def test_nothing_to_kill_or_to_remove_is_said() -> None:
    observed = World().observed()
    assert teardown.kill(observed).warnings == ("No container to kill",)
    assert teardown.rm(observed, DownPolicy()).warnings == ("No stopped containers",)


def test_rm_keeps_what_runs() -> None:
    there = world(CHAIN)
    there.set(there.id_of("p-api-1"), state="exited")
    assert str(teardown.rm(there.observed(), DownPolicy())) == (
        "[] -> #1 RemoveContainer p-api-1 api1-2"
    )


def test_rm_with_stop_stops_first() -> None:
    plan = teardown.rm(world(CHAIN).observed(), DownPolicy(services=("web",)), stop=True)
    assert (
        text(plan)
        == """
[] -> #1 StopContainer p-web-1
[1] -> #2 RemoveContainer p-web-1 web1-3
"""
    )


def test_a_volume_that_is_to_be_made_again_takes_who_has_it_along() -> None:
    holder = service("db", volumes="data")
    there = world(project(holder, service("web", needs="db"), service("cache")))
    plan = teardown.drop_volumes(there.observed(), ["p_data"])
    assert kinds(plan) == [
        "StopContainer p-db-1", "RemoveContainer p-db-1", "RemoveVolume p_data"]
    there.apply(plan)
    again = there.plan(project(holder, service("web", needs="db"), service("cache")))
    assert {"CreateVolume p_data", "CreateContainer p-db-1"} <= set(kinds(again))
