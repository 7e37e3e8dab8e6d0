"""Resources as cgroup files, on the three kinds of hierarchy."""

from __future__ import annotations

import pytest

from orchestrator.errors import LaunchError
from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.runtime.limits import place
from orchestrator.runtime.spec import Resources

ALL = Resources(memory=64 << 20, cpus=1.5, pids=20)
UNIFIED = Hierarchy(kind="unified", unified="/cg", unified_controllers=["cpu", "memory", "pids"],
                    legacy={})
HYBRID = Hierarchy(kind="hybrid", unified="/cg/unified", unified_controllers=[],
                   legacy={name: f"/cg/{name}" for name in ("cpu", "memory", "pids")})
LEGACY = Hierarchy(kind="legacy", unified=None, unified_controllers=[], legacy=HYBRID.legacy)


def test_version_2_has_one_group_that_the_process_is_born_in() -> None:
    placement = place("x", ALL, hierarchy=UNIFIED, subject="web-1")
    assert placement.birth == "/cg/x"
    assert placement.legacy == {}
    assert placement.directories == ["/cg/x"]
    assert placement.oom_file == "/cg/x/memory.events"
    (step,) = placement.steps
    assert step.writes == [
        ("memory.max", "67108864", True), ("memory.swap.max", "67108864", False),
        ("cpu.max", "150000 100000", True), ("pids.max", "20", True),
    ]  # fmt: skip
    assert step.enable == ["memory", "cpu", "pids"]
    assert not step.join


def test_a_hybrid_hierarchy_limits_in_version_1() -> None:
    placement = place("x", ALL, hierarchy=HYBRID, subject="web-1")
    assert placement.birth == "/cg/unified/x"
    assert [(s.path, s.join, s.enable) for s in placement.steps] == [
        ("/cg/memory/x", True, []), ("/cg/cpu/x", True, []), ("/cg/pids/x", True, [])]  # fmt: skip
    assert placement.steps[0].writes == [
        ("memory.limit_in_bytes", "67108864", True),
        ("memory.memsw.limit_in_bytes", "134217728", False)]  # fmt: skip
    assert placement.steps[1].writes == [
        ("cpu.cfs_period_us", "100000", True), ("cpu.cfs_quota_us", "150000", True)]  # fmt: skip
    assert placement.oom_file == "/cg/memory/x/memory.oom_control"


def test_without_limits_no_version_1_group_is_made() -> None:
    placement = place("x", Resources(), hierarchy=HYBRID, subject="web-1")
    assert placement.directories == ["/cg/unified/x"]
    assert (placement.steps, placement.oom_file) == ((), "")
    assert place("x", Resources(), hierarchy=LEGACY, subject="web-1").directories == []


def test_version_1_alone_works() -> None:
    placement = place("x", Resources(pids=5), hierarchy=LEGACY, subject="web-1")
    assert placement.birth == ""
    assert placement.directories == ["/cg/pids/x"]


def test_controllers_that_share_a_tree_share_a_group() -> None:
    both = Hierarchy(kind="legacy", unified=None, unified_controllers=[],
                     legacy={"cpuacct": "/cg/both", "cpu": "/cg/both", "memory": "/cg/memory"})
    placement = place("x", Resources(cpus=1, memory=1 << 20), hierarchy=both, subject="web-1")
    assert placement.legacy == {"cpu,cpuacct": "/cg/both/x", "memory": "/cg/memory/x"}


def test_a_limit_that_cannot_hold_is_an_error_that_names_it() -> None:
    bare = Hierarchy(kind="unified", unified="/cg", unified_controllers=["pids"], legacy={})
    with pytest.raises(LaunchError, match="cannot limit memory, cpu of web-1"):
        place("x", ALL, hierarchy=bare, subject="web-1")


@pytest.mark.parametrize(("pids", "text"), [(-1, "max"), (0, "max"), (7, "7")])
def test_no_limit_of_processes_is_max(pids: int, text: str) -> None:
    (step,) = place("x", Resources(pids=pids), hierarchy=UNIFIED, subject="w").steps
    assert step.writes == [("pids.max", text, True)]


def test_a_tiny_share_of_a_processor_is_the_least_the_kernel_takes() -> None:
    (step,) = place("x", Resources(cpus=0.001), hierarchy=UNIFIED, subject="w").steps
    assert step.writes == [("cpu.max", "1000 100000", True)]
