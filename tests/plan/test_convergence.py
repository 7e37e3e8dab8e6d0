"""Whatever is interrupted, the next `up` arrives: random projects, edits, crashes, against the
model of the world in `world.py`, which refuses what the real one would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orchestrator.plan import teardown
from orchestrator.plan.plan import Plan
from orchestrator.plan.policy import DownPolicy
from orchestrator.spec.model import Dependency, Hook, Network, Project, Service
from orchestrator.state.observed import ObservedContainer
from tests.plan.world import World, project, service, world

HOOKS = (Hook(command=("true",)),)
NAMES = ("a", "b", "c", "d")


@st.composite
def services(draw: st.DrawFn) -> Service:
    """A service that may depend on those before it in the alphabet, in any way."""
    name = draw(st.sampled_from(NAMES))
    before = NAMES[: NAMES.index(name)]
    chosen = draw(st.lists(st.sampled_from(before), unique=True)) if before else []
    conditions: Any = st.sampled_from(["service_started", "service_healthy"])
    made = service(
        name,
        networks=draw(st.sampled_from(["default", "default back", "back"])),
        volumes=draw(st.sampled_from(["", "data", "data more"])),
        scale=draw(st.integers(0, 3)),
        environment={"X": draw(st.sampled_from("123"))},
    )
    some = st.sampled_from([(), HOOKS])
    made = replace(made, pre_start=draw(some), post_start=draw(some), pre_stop=draw(some))
    depends = {
        n: Dependency(service=n, condition=draw(conditions), restart=draw(st.booleans()))
        for n in chosen
    }
    return replace(made, depends_on=depends)


@st.composite
def projects(draw: st.DrawFn) -> Project:
    """Up to four services; a dependency that is not declared is not depended on."""
    chosen = draw(st.lists(services(), min_size=1, max_size=4, unique_by=lambda s: s.name))
    names = {s.name for s in chosen}
    kept = [
        replace(s, depends_on={n: d for n, d in s.depends_on.items() if n in names}) for s in chosen
    ]
    back = Network(key="back", name="p_back", internal=draw(st.booleans()))
    return project(*kept, networks=(back,))


def cut(data: st.DataObject, plan: Plan) -> list[Any]:
    """The actions that were carried out before a crash: any set that respects the edges, in any
    order that does."""
    waiting = {n.number: set(n.after) for n in plan}
    actions = {n.number: n.action for n in plan}
    done: list[Any] = []
    for _ in range(data.draw(st.integers(0, len(waiting)))):
        free = sorted(n for n, after in waiting.items() if not after)
        number = data.draw(st.sampled_from(free))
        done.append(actions[number])
        del waiting[number]
        for after in waiting.values():
            after.discard(number)
    return done


def assert_is_up(there: World, wish: Project) -> None:
    for name, wanted in wish.services.items():
        containers = there.observed().of_service(name)
        assert len(containers) == wanted.scale
        assert len({c.record.index for c in containers}) == wanted.scale
        assert all(c.is_running for c in containers)
        for container in containers:
            assert container.record.config.get("environment", {}) == dict(wanted.environment)
            assert_is_connected(there, container)
    assert not there.plan(wish)


def assert_is_connected(there: World, container: ObservedContainer) -> None:
    ends = container.record.spec["endpoints"]
    records = [there.networks[end["network"]].record for end in ends]
    for end, record in zip(ends, records, strict=True):
        assert end["address"].rpartition(".")[0] == record.gateway.rpartition(".")[0]
    ways_out = [end["gateway"] for end in ends if end["gateway"]]
    assert len(ways_out) == (not all(record.internal for record in records))


@given(st.data(), projects(), projects())
@settings(max_examples=80, deadline=None)
def test_an_up_cut_off_anywhere_is_finished_by_the_next(
    data: st.DataObject, before: Project, after: Project
) -> None:
    there = world(before)
    plan = there.plan(after, remove_orphans=True)
    there.begin(plan, after)
    for action in cut(data, plan):
        there.act(action, after)
    there.up(after, remove_orphans=True)
    assert_is_up(there, after)
    assert len(there.containers) == sum(s.scale for s in after.services.values())


@given(st.data(), projects())
@settings(max_examples=40, deadline=None)
def test_after_a_crash_of_down_both_down_and_up_arrive(data: st.DataObject, wish: Project) -> None:
    there = world(wish)
    policy = DownPolicy(volumes=True)
    for action in cut(data, teardown.down(there.observed(), policy, declared=None)):
        there.act(action)
    if data.draw(st.booleans()):
        there.up(wish)
        assert_is_up(there, wish)
    there.apply(teardown.down(there.observed(), policy, declared=wish))
    assert not there.containers
    assert not there.networks
    assert not there.volumes


@given(projects())
@settings(max_examples=40, deadline=None)
def test_a_second_up_does_nothing(wish: Project) -> None:
    there = world(wish)
    plan = there.plan(wish)
    assert str(plan) == ""
    assert sorted(plan.unchanged) == there.names()


class Life(RuleBasedStateMachine):
    """A project that is edited, brought up, cut off, rebooted, scaled, taken down."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.wish = project(service("a"))

    @rule(wish=projects())
    def edit(self, wish: Project) -> None:
        self.wish = wish

    @rule(data=st.data(), recreate=st.sampled_from(["diverged", "force", "never"]))
    def up_cut_off(self, data: st.DataObject, recreate: str) -> None:
        plan = self.world.plan(self.wish, recreate=recreate, recreate_dependencies=recreate)
        self.world.begin(plan, self.wish)
        for action in cut(data, plan):
            self.world.act(action, self.wish)

    @rule(data=st.data(), deps=st.booleans())
    def up_one(self, data: st.DataObject, deps: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.wish.services)))
        others = {c.record.id for c in self.world.running() if c.record.service > name}
        stale = self.world.plan(self.wish, services=(name,), with_dependencies=deps)
        self.world.apply(stale, self.wish)
        found = self.world.observed().of_service(name)
        assert [c.is_running for c in found] == [True] * self.wish.services[name].scale
        if not any(n.action.subject.startswith("p_") for n in stale):
            # who does not depend on it in a restarting way is not even touched
            assert others <= set(self.world.containers)

    @rule()
    def up(self) -> None:
        self.world.up(self.wish, remove_orphans=True)
        assert_is_up(self.world, self.wish)

    @rule()
    def reboot(self) -> None:
        self.world.reboot()

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        up = sorted(c.record.id for c in self.world.running())
        if up:
            self.world.set(data.draw(st.sampled_from(up)), state="exited", exit_code=1)

    @rule()
    def stop_and_start(self) -> None:
        declared = self.wish
        observed = self.world.observed()
        self.world.apply(teardown.stop(observed, DownPolicy(), declared=None))
        assert not self.world.running()
        networks_gone = any(not n.exists for n in self.world.networks.values())
        if not networks_gone:
            self.world.apply(teardown.start(self.world.observed(), declared=declared))

    @rule(volumes=st.booleans())
    def down(self, volumes: bool) -> None:
        policy = DownPolicy(volumes=volumes)
        self.world.apply(teardown.down(self.world.observed(), policy, declared=None))
        assert not self.world.containers
        assert not self.world.networks

    @invariant()
    def one_generation_runs(self) -> None:
        running = [(c.record.service, c.record.index) for c in self.world.running()]
        assert len(running) == len(set(running))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
