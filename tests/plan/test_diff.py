"""Project + world -> the whole text of the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import CycleError, PlanError
from orchestrator.names import LABEL_CONFIG_FILES
from orchestrator.plan.actions import CreateContainer, StopContainer
from orchestrator.spec.model import IpamPool, Network, Service, Volume, VolumesFrom
from orchestrator.spec.tree import Mark
from tests.plan.world import World, kinds, project, service, text, world

DB = service("db", volumes="data")
WEB = service("web", needs="db:healthy")
CACHE = service("cache")
STACK = project(DB, WEB, CACHE)


def changed(*others: Service, **environment: str) -> Any:
    return replace(others[0], environment=environment)


def test_a_first_up_makes_everything_side_by_side() -> None:
    assert (
        text(World().plan(STACK))
        == """
[] -> #1 CreateNetwork p_default (missing)
[] -> #2 CreateVolume p_data (missing)
[1] -> #3 CreateContainer p-cache-1 (new)
[1,2] -> #4 CreateContainer p-db-1 (new)
[1] -> #5 CreateContainer p-web-1 (new)
[3] -> #6 StartContainer p-cache-1
[4] -> #7 StartContainer p-db-1
[7] -> #8 WaitFor db service_healthy (needed by web)
[5,8] -> #9 StartContainer p-web-1
"""
    )


def test_a_second_up_does_nothing_and_says_what_runs() -> None:
    plan = world(STACK).plan(STACK)
    assert text(plan) == "\n"
    assert plan.unchanged == ("p-cache-1", "p-db-1", "p-web-1")
    assert not plan.warnings


def test_a_changed_service_is_recreated_alone_and_says_why() -> None:
    marks = {("services", "cache", "environment", "A"): Mark("/srv/p/compose.yaml", 14, 9)}
    there = world(STACK)
    plan = there.plan(project(DB, WEB, changed(CACHE, A="1"), marks=marks))
    assert (
        text(plan)
        == """
[] -> #1 CreateContainer p-cache-1 (environment.A added "1" (compose.yaml:14))
[1] -> #2 StopContainer p-cache-1 (replaced)
[2] -> #3 RemoveContainer p-cache-1 cache1-1 (replaced)
[3] -> #4 StartContainer p-cache-1
"""
    )
    assert plan.reasons() == ('recreate cache: environment.A added "1" (compose.yaml:14)',)
    assert plan.unchanged == ("p-db-1", "p-web-1")


def test_the_new_container_inherits_from_the_old_one() -> None:
    there = world(STACK)
    action = there.plan(project(DB, WEB, changed(CACHE, A="1"))).nodes[0].action
    assert isinstance(action, CreateContainer)
    assert (action.replaces, action.inherit_volumes) == (there.id_of("p-cache-1"), True)


def test_a_new_image_says_that_an_anonymous_volume_is_still_the_old_one() -> None:
    there = world(STACK)
    id_ = there.id_of("p-cache-1")
    cache = there.containers[id_]
    record = replace(cache.record, anonymous_volumes={"/modules": "v"})
    there.containers[id_] = replace(cache, record=record)
    assert not there.plan(project(DB, WEB, changed(CACHE, A="1"))).warnings
    there.image = "sha256:2"
    assert there.plan(STACK).warnings == (
        "anonymous volume /modules of p-cache-1 is kept from image 1 (-V makes a new one)",
    )
    assert not there.plan(STACK, renew_anonymous_volumes=True).warnings


def test_a_changed_dependency_leaves_its_dependents_alone() -> None:
    plan = world(STACK).plan(project(changed(DB, A="1"), WEB, CACHE))
    assert {a.split()[1] for a in kinds(plan)} == {"p-db-1"}


def test_a_dependent_with_restart_is_restarted_around_it() -> None:
    web = service("web", needs="db:healthy+restart")
    there = world(project(DB, web))
    assert (
        text(there.plan(project(changed(DB, A="1"), web)))
        == """
[] -> #1 CreateContainer p-db-1 (environment.A added "1")
[] -> #2 StopContainer p-web-1 (restarted with db)
[1,2] -> #3 StopContainer p-db-1 (replaced)
[3] -> #4 RemoveContainer p-db-1 db1-1 (replaced)
[4] -> #5 StartContainer p-db-1
[5] -> #6 WaitFor db service_healthy (needed by web)
[6] -> #7 StartContainer p-web-1 (restarted)
"""
    )


def test_it_is_restarted_also_when_only_the_dependency_is_named_but_not_with_no_deps() -> None:
    web = service("web", needs="db+restart")
    there = world(project(DB, web))
    wish = project(changed(DB, A="1"), web)
    assert "StopContainer p-web-1" in kinds(there.plan(wish, services=("db",)))
    alone = there.plan(wish, services=("db",), with_dependencies=False)
    assert {a.split()[1] for a in kinds(alone)} == {"p-db-1"}


def test_a_dependent_that_is_recreated_too_stops_first_and_starts_last() -> None:
    web = service("web", needs="db+restart")
    there = world(project(DB, web))
    plan = there.plan(project(changed(DB, A="1"), changed(web, A="1")))
    assert (
        text(plan)
        == """
[] -> #1 CreateContainer p-db-1 (environment.A added "1")
[] -> #2 StopContainer p-web-1 (restarted with db)
[1,2] -> #3 StopContainer p-db-1 (replaced)
[3] -> #4 RemoveContainer p-db-1 db1-1 (replaced)
[] -> #5 CreateContainer p-web-1 (environment.A added "1")
[2,5] -> #6 RemoveContainer p-web-1 web1-2 (replaced)
[4] -> #7 StartContainer p-db-1
[6,7] -> #8 StartContainer p-web-1
"""
    )


def test_an_image_of_another_id_recreates() -> None:
    there = world(project(CACHE))
    there.image = "sha256:" + "b" * 64
    assert there.plan(project(CACHE)).reasons() == (
        "recreate cache: image digest sha256:1 -> sha256:bbbbbbbbbbbb…",
    )


@pytest.mark.parametrize("change", [
    {"scale": 1, "profiles": ("x",)}, {"pull_policy": "always"}, {"depends_on": {}},
])  # fmt: skip
def test_what_no_container_sees_recreates_nothing(change: dict[str, Any]) -> None:
    assert not world(STACK).plan(project(DB, replace(WEB, **change), CACHE))


def test_a_hash_of_another_version_recreates_nothing() -> None:
    there = world(project(CACHE))
    (container,) = there.containers.values()
    there.put(replace(container.record, config_hash="of another version"), state="running")
    assert not there.plan(project(CACHE))


def test_no_recreate_leaves_it() -> None:
    plan = world(STACK).plan(project(changed(DB, A="1"), WEB, CACHE), recreate="never")
    assert not plan
    assert plan.unchanged == ("p-cache-1", "p-db-1", "p-web-1")


def test_force_recreates_what_is_named_and_leaves_dependencies() -> None:
    plan = world(STACK).plan(STACK, services=("web",), recreate="force")
    assert plan.reasons() == ("recreate web: forced",)
    assert plan.unchanged == ("p-db-1",)


def test_dependencies_are_recreated_where_that_is_asked() -> None:
    plan = world(STACK).plan(STACK, services=("web",), recreate_dependencies="force")
    assert plan.reasons() == ("recreate db: forced",)


def test_anonymous_volumes_are_renewed_by_recreation() -> None:
    plan = world(STACK).plan(STACK, services=("db",), renew_anonymous_volumes=True)
    action = plan.nodes[0].action
    assert isinstance(action, CreateContainer)
    assert not action.inherit_volumes
    assert action.cause == "its anonymous volumes are renewed"


def test_naming_a_service_touches_it_and_what_it_needs_only() -> None:
    assert kinds(World().plan(STACK, services=("db",)), [CreateContainer]) == [
        "CreateContainer p-db-1"
    ]
    two = service("other", networks="back", volumes="more")
    assert "p_back" not in str(
        World().plan(project(*STACK.services.values(), two), services=("web",))
    )


def test_no_deps_neither_brings_up_nor_waits() -> None:
    assert (
        text(World().plan(STACK, services=("web",), with_dependencies=False))
        == """
[] -> #1 CreateNetwork p_default (missing)
[1] -> #2 CreateContainer p-web-1 (new)
[2] -> #3 StartContainer p-web-1
"""
    )


def test_a_running_dependency_is_waited_for_without_being_touched() -> None:
    there = world(project(DB))
    assert (
        text(there.plan(STACK, services=("web",)))
        == """
[] -> #1 CreateContainer p-web-1 (new)
[] -> #2 WaitFor db service_healthy (needed by web)
[1,2] -> #3 StartContainer p-web-1
"""
    )


def test_no_start_only_makes() -> None:
    assert kinds(World().plan(project(CACHE), start=False)) == [
        "CreateNetwork p_default", "CreateContainer p-cache-1",
    ]  # fmt: skip


def test_what_was_made_is_started_later() -> None:
    there = world(project(CACHE), start=False)
    assert str(there.plan(project(CACHE))) == "[] -> #1 StartContainer p-cache-1 (created)"


def test_what_has_ended_is_started_again_under_its_id() -> None:
    there = world(STACK)
    there.set(there.id_of("p-db-1"), state="exited", exit_code=1)
    assert str(there.plan(STACK)) == "[] -> #1 StartContainer p-db-1 (exited)"


def test_what_is_about_to_be_restarted_by_policy_is_left() -> None:
    there = world(STACK)
    there.set(there.id_of("p-db-1"), state="restarting")
    assert not there.plan(STACK)


def test_after_a_reboot_interfaces_are_made_and_all_is_started_with_its_id() -> None:
    there = world(STACK)
    ids = set(there.containers)
    there.reboot()
    assert (
        text(there.plan(STACK))
        == """
[] -> #1 CreateNetwork p_default (its interface is gone)
[1] -> #2 StartContainer p-cache-1 (exited)
[1] -> #3 StartContainer p-db-1 (exited)
[3] -> #4 WaitFor db service_healthy (needed by web)
[4] -> #5 StartContainer p-web-1 (exited)
"""
    )
    there.up(STACK)
    assert set(there.containers) == ids


def test_a_diamond_waits_for_both_sides() -> None:
    wish = project(service("a"), service("b", needs="a"), service("c", needs="a:completed"),
                   service("d", needs="b c:healthy?"))  # fmt: skip
    lines = str(World().plan(wish)).splitlines()
    assert lines[5:] == [
        "[2] -> #6 StartContainer p-a-1",
        "[3,6] -> #7 StartContainer p-b-1",
        "[6] -> #8 WaitFor a service_completed_successfully (needed by c)",
        "[4,8] -> #9 StartContainer p-c-1",
        "[9] -> #10 WaitFor c service_healthy (needed by d)",
        "[5,7,10] -> #11 StartContainer p-d-1",
    ]


def test_the_order_goes_through_services_that_have_nothing_to_start() -> None:
    wish = project(service("a"), service("b", needs="a"), service("c", needs="b"))
    there = world(wish)
    plan = there.plan(project(
        changed(wish.services["a"], X="1"), wish.services["b"],
        changed(wish.services["c"], X="1"),
    ))  # fmt: skip
    start_a, start_c = plan.nodes[-2:]
    assert start_a.number in start_c.after


# scale


def test_scaling_up_takes_numbers_beyond_the_highest() -> None:
    there = world(project(CACHE), scale={"cache": 3})
    there.apply(there.plan(project(CACHE)), project(CACHE))
    assert there.names() == ["p-cache-1"]
    assert kinds(there.plan(project(CACHE), scale={"cache": 3}), [CreateContainer]) == [
        "CreateContainer p-cache-2", "CreateContainer p-cache-3",
    ]  # fmt: skip


def test_gaps_are_not_filled() -> None:
    there = world(project(CACHE), scale={"cache": 3})
    del there.containers[there.id_of("p-cache-2")]
    plan = there.plan(project(CACHE), scale={"cache": 3})
    assert (
        text(plan)
        == """
[] -> #1 CreateContainer p-cache-4 (scale 2 -> 3)
[1] -> #2 StartContainer p-cache-4
"""
    )


def test_scaling_down_removes_the_highest() -> None:
    there = world(project(CACHE), scale={"cache": 3})
    assert (
        text(there.plan(project(CACHE), scale={"cache": 1}))
        == """
[] -> #1 StopContainer p-cache-2 (scale 3 -> 1)
[1] -> #2 RemoveContainer p-cache-2 cache2-2 (scale 3 -> 1)
[] -> #3 StopContainer p-cache-3 (scale 3 -> 1)
[3] -> #4 RemoveContainer p-cache-3 cache3-3 (scale 3 -> 1)
"""
    )


def test_scaling_down_never_drops_an_up_to_date_one_for_an_outdated_one() -> None:
    there = world(project(CACHE), scale={"cache": 2})
    fresh = changed(CACHE, A="1")
    there.up(project(fresh), recreate="never", scale={"cache": 3})
    there.up(project(fresh), scale={"cache": 1})
    assert there.names() == ["p-cache-3"]


def test_scale_zero_removes_all_and_nobody_waits_for_it() -> None:
    there = world(project(DB, WEB))
    there.up(project(DB, WEB), scale={"db": 0})
    assert there.names() == ["p-web-1"]
    plan = World().plan(project(DB, WEB), scale={"db": 0})
    assert "WaitFor" not in str(plan)


@pytest.mark.parametrize(("made", "scale", "why"), [
    (replace(CACHE, container_name="c"), 2, "container_name c"), (CACHE, -1, "-1"),
])  # fmt: skip
def test_a_scale_that_cannot_be_is_refused(made: Service, scale: int, why: str) -> None:
    with pytest.raises(PlanError, match=why):
        World().plan(project(made), scale={"cache": scale})


def test_container_name_is_the_name() -> None:
    plan = World().plan(project(replace(CACHE, container_name="mine")))
    assert kinds(plan, [CreateContainer]) == ["CreateContainer mine"]


# what an interrupted up leaves


def test_a_replacement_that_was_interrupted_is_finished() -> None:
    there = world(project(CACHE))
    wish = project(changed(CACHE, A="1"))
    there.act(there.plan(wish).nodes[0].action, wish)
    assert (
        text(there.plan(wish))
        == """
[] -> #1 StopContainer p-cache-1 (left over by an interrupted up)
[1] -> #2 RemoveContainer p-cache-1 cache1-1 (left over by an interrupted up)
[2] -> #3 StartContainer p-cache-1 (created)
"""
    )


def test_a_broken_leftover_is_removed_whatever_it_is() -> None:
    there = world(project(CACHE))
    there.broken = ("0123456789abcdef",)
    assert str(there.plan(project(CACHE))) == (
        "[] -> #1 RemoveContainer 0123456789ab 0123456789ab (its record cannot be read)"
    )


# orphans


def test_orphans_are_told_in_the_words_scripts_know() -> None:
    plan = world(STACK).plan(project(DB))
    assert plan.warnings == (
        "Found orphan containers (p-cache-1, p-web-1) for this project. If you removed or renamed "
        "this service in your compose file, you can run this command with the --remove-orphans "
        "flag to clean it up.",
    )
    assert not plan


def test_orphans_are_removed_or_ignored_as_asked() -> None:
    there = world(project(DB, CACHE))
    assert not there.plan(project(DB), ignore_orphans=True).warnings
    assert not there.plan(project(DB), ignore_orphans=True, remove_orphans=True)
    plan = there.plan(project(DB), remove_orphans=True)
    assert (
        text(plan)
        == """
[] -> #1 StopContainer p-cache-1 (orphan)
[1] -> #2 RemoveContainer p-cache-1 cache1-1 (orphan)
"""
    )


def test_a_service_whose_profile_is_inactive_is_no_orphan() -> None:
    plan = world(project(DB, CACHE)).plan(project(DB, disabled={"cache": CACHE}))
    assert not plan.warnings


@pytest.mark.parametrize(("state", "orphan"), [("running", False), ("exited", True)])
def test_a_one_off_is_an_orphan_once_it_has_ended(state: Any, orphan: bool) -> None:
    there = world(project(DB))
    (made,) = there.containers.values()
    there.put(replace(made.record, id="run", name="p-db-run-1", oneoff=True, index=0), state=state)
    assert bool(there.plan(project(DB)).warnings) is orphan
    assert bool(there.plan(project(DB), remove_orphans=True)) is orphan


def of_files(there: World, name: str, files: str) -> None:
    (made,) = [c for c in there.containers.values() if c.record.name == name]
    there.put(replace(made.record, labels={LABEL_CONFIG_FILES: files}), state="running")


def test_what_other_files_made_that_are_still_there_is_left_alone() -> None:
    there = world(project(DB, CACHE))
    of_files(there, "p-cache-1", "/x/other.yaml")
    here = replace(project(DB), files=("/x/compose.yaml",))
    there.files = frozenset({"/x/other.yaml"})
    for remove in (False, True):
        plan = there.plan(here, remove_orphans=remove)
        assert not plan
        assert [w.split(" are left")[0] for w in plan.warnings] == [
            "containers p-cache-1 of project p were made from /x/other.yaml and"]
    there.files = frozenset()  # the file was renamed or removed: nobody's any more
    assert there.plan(here, remove_orphans=True)


@pytest.mark.parametrize(
    "change",
    [
        {"restart": "always"},
        {"volumes_from": (VolumesFrom(service="db", read_only=True),)},
        {"stop_signal": "SIGINT"},
    ],
)
def test_a_change_that_is_easily_overlooked_recreates(change: dict[str, Any]) -> None:
    sharing = service("web", needs="db", volumes_from=(VolumesFrom(service="db"),))
    plan = world(project(DB, sharing)).plan(project(DB, replace(sharing, **change)))
    assert kinds(plan, [CreateContainer]) == ["CreateContainer p-web-1"]


# host ports


def test_a_port_is_taken_after_its_former_holder_has_stopped() -> None:
    there = world(project(service("old", ports="8080")))
    there.set(there.id_of("p-old-1"), ports=[
        {"host_ip": "0.0.0.0", "published": 8080, "target": 80, "protocol": "tcp"},
    ])  # fmt: skip
    wish = project(service("new", ports="8079-8081"), service("other", ports="9000"))
    plan = there.plan(wish, remove_orphans=True)
    (stop,) = (n.number for n in plan if isinstance(n.action, StopContainer))
    starts = {n.action.subject: n.after for n in plan.nodes[-2:]}
    assert stop in starts["p-new-1"]
    assert stop not in starts["p-other-1"]


# networks and volumes


def test_a_changed_network_is_made_again_with_everybody_on_it() -> None:
    there = world(project(CACHE, DB))
    default = Network(key="default", name="p_default", internal=True)
    assert (
        text(there.plan(project(CACHE, DB, networks=(default,)), services=("cache",)))
        == """
[] -> #1 StopContainer p-cache-1 (network p_default is made again)
[] -> #2 StopContainer p-db-1 (network p_default is made again)
[1,2] -> #3 RemoveNetwork p_default (internal false -> true)
[3] -> #4 CreateNetwork p_default (internal false -> true)
[4] -> #5 CreateContainer p-cache-1 (network p_default: internal false -> true)
[5] -> #6 RemoveContainer p-cache-1 cache1-1 (replaced)
[4] -> #7 CreateContainer p-db-1 (network p_default: internal false -> true)
[7] -> #8 RemoveContainer p-db-1 db1-2 (replaced)
[6] -> #9 StartContainer p-cache-1
[8] -> #10 StartContainer p-db-1
"""
    )


def test_no_recreate_leaves_a_changed_network() -> None:
    default = Network(key="default", name="p_default", internal=True)
    plan = world(project(CACHE)).plan(project(CACHE, networks=(default,)), recreate="never")
    assert not plan
    assert plan.warnings == (
        "network p_default stays as it is (--no-recreate): internal false -> true",
    )


def test_a_changed_network_that_another_project_uses_stays() -> None:
    there = world(project(CACHE))
    shared = there.networks["p_default"]
    leases = {"p/cache/1": "10.1.0.2", "q/web/1": "10.1.0.3"}
    there.networks["p_default"] = replace(shared, record=replace(shared.record, leases=leases))
    ipam = (IpamPool(subnet="10.1.0.0/16"),)
    plan = there.plan(
        project(CACHE, networks=(Network(key="default", name="p_default", ipam=ipam),))
    )
    assert not plan
    assert "project q uses it too" in plan.warnings[0]


def test_a_one_off_on_a_network_that_is_made_again_is_stopped_with_a_warning() -> None:
    there = world(project(CACHE))
    (made,) = there.containers.values()
    there.put(replace(made.record, id="run", name="p-run", oneoff=True, index=0), state="running")
    default = Network(key="default", name="p_default", internal=True)
    plan = there.plan(project(CACHE, networks=(default,)))
    assert "StopContainer p-run" in kinds(plan)
    assert "p-run is stopped" in plan.warnings[0]


def test_a_renamed_network_or_volume_recreates_its_users() -> None:
    there = world(STACK)
    renamed = project(DB, WEB, CACHE, volumes=(Volume(key="data", name="elsewhere"),))
    plan = there.plan(renamed)
    assert plan.reasons() == ('recreate db: volume at /data "p_data" -> "elsewhere"',)
    assert "CreateVolume elsewhere" in kinds(plan)
    moved = project(CACHE, networks=(Network(key="default", name="other"),))
    assert world(project(CACHE)).plan(moved).reasons() == (
        'recreate cache: network default "p_default" -> "other"',
    )


def test_a_network_whose_record_was_lost_is_made_with_its_users() -> None:
    there = world(project(CACHE))
    del there.networks["p_default"]
    assert there.plan(project(CACHE)).reasons() == ("recreate cache: network p_default was lost",)


def test_a_changed_volume_is_left_with_a_warning() -> None:
    labelled = Volume(key="data", name="p_data", labels={"a": "b"})
    plan = world(STACK).plan(project(DB, WEB, CACHE, volumes=(labelled,)))
    assert not plan
    assert "volume p_data stays as it is" in plan.warnings[0]


def test_what_another_project_made_is_used_with_a_warning() -> None:
    there = world(STACK)
    for name, network in there.networks.items():
        there.networks[name] = replace(network, record=replace(network.record, project="q"))
    there.volumes["p_data"] = replace(there.volumes["p_data"], project="q")
    plan = there.plan(STACK)
    assert not plan
    assert [w.split(" and is")[0] for w in plan.warnings] == [
        "network p_default was made by project q", "volume p_data was made by project q",
    ]  # fmt: skip


def test_missing_external_resources_are_all_named_with_their_places() -> None:
    wish = project(
        DB, networks=(Network(key="default", name="shared", external=True),),
        volumes=(Volume(key="data", name="disk", external=True),),
        marks={("networks", "default"): Mark("/srv/p/compose.yaml", 7, 3)},
    )  # fmt: skip
    with pytest.raises(PlanError) as caught:
        World().plan(wish)
    assert caught.value.message.splitlines() == [
        "external network shared does not exist (compose.yaml:7)",
        "external volume disk does not exist",
    ]


def test_an_external_network_is_used_and_never_changed() -> None:
    there = world(project(CACHE))
    external = Network(key="default", name="p_default", external=True, internal=True)
    assert not there.plan(project(CACHE, networks=(external,)))


# wishes that cannot be


def test_a_service_that_is_not_there_is_refused() -> None:
    with pytest.raises(PlanError, match="no such service: wep") as caught:
        World().plan(STACK, services=("wep",))
    assert caught.value.hint == "declared are: cache, db, web"


def test_a_service_of_an_inactive_profile_is_refused_by_name() -> None:
    hidden = replace(CACHE, profiles=("dev",))
    with pytest.raises(PlanError) as caught:
        World().plan(project(DB, disabled={"cache": hidden}), services=("cache",))
    assert "profiles is active (dev)" in str(caught.value.hint)


def test_a_required_dependency_that_is_not_there_is_refused_with_its_place() -> None:
    marks = {("services", "web"): Mark("/srv/p/compose.yaml", 5, 3)}
    with pytest.raises(PlanError, match=r"web depends on db, .* \(compose\.yaml:5\)"):
        World().plan(project(WEB, marks=marks))
    optional = project(service("web", needs="db:healthy?"))
    assert "WaitFor" not in str(World().plan(optional))


def test_services_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(CycleError, match="a -> b -> a"):
        World().plan(project(service("a", needs="b"), service("b", needs="a")))


def test_the_stop_of_a_replaced_container_has_the_asked_timeout() -> None:
    plan = world(project(CACHE)).plan(project(CACHE), recreate="force", timeout=3.0)
    (stop,) = (n.action for n in plan if isinstance(n.action, StopContainer))
    assert stop.timeout == 3.0


def test_a_plan_is_json() -> None:
    import json

    first = json.loads(json.dumps(World().plan(STACK).to_json()))[0]
    assert (first["action"], first["subject"], first["after"]) == ("CreateNetwork", "p_default", [])
