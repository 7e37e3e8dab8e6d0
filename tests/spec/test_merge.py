"""Several files into one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.spec import dump, merge
from orchestrator.spec.model import Project, Service
from orchestrator.spec.node import Node, plain
from orchestrator.spec.report import Report
from tests.spec.loading import loaded, refused, write


def both(directory: Path, base: str, other: str, **options: Any) -> Project:
    write(directory, a_yaml=base, b_yaml=other)
    return loaded(directory, files=("a.yaml", "b.yaml"), **options)


def merged(directory: Path, base: str, other: str) -> Service:
    wrap = "services: {{s: {{image: i, {}}}}}\nvolumes: {{vol: }}\nnetworks: {{n: , m: }}\n"
    return both(directory, wrap.format(base), wrap.format(other)).services["s"]


@pytest.mark.parametrize(
    ("base", "other", "field", "expected"),
    [
        ("command: [a, b]", "command: [c]", "command", ("c",)),
        ("command: [a]", "command: ", "command", None),
        ("user: a", "user: ", "user", "a"),
        ("user: a", "user: b", "user", "b"),
        ("cap_add: [A, B]", "cap_add: [B, C]", "cap_add", ("A", "B", "C")),
        ("dns: 1.1.1.1", "dns: [8.8.8.8, 1.1.1.1]", "dns", ("1.1.1.1", "8.8.8.8")),
        ("environment: [A=1, B=2]", "environment: {A: 3, C: }", "environment",
         {"A": "3", "B": "2", "C": None}),
        ("labels: {a: 1}", "labels: [a=2, b]", "labels", {"a": "2", "b": ""}),
        ("expose: [80, '81']", "expose: ['80']", "expose", ("80", "81")),
        ("tmpfs: /a", "tmpfs: [/b]", "tmpfs", ("/a", "/b")),
        ("healthcheck: {test: [CMD, a], retries: 2}", "healthcheck: {test: b}", "healthcheck",
         None),
        ("group_add: [1]", "group_add: [x]", "group_add", ("1", "x")),
        ("extra_hosts: ['h=1.1.1.1']", "extra_hosts: {g: 2.2.2.2}", "extra_hosts",
         (("g", "2.2.2.2"), ("h", "1.1.1.1"))),
    ],
)  # fmt: skip
def test_a_rule(tmp_path: Path, base: str, other: str, field: str, expected: object) -> None:
    found = merged(tmp_path, base, other)
    if field == "healthcheck":
        assert found.healthcheck
        assert (found.healthcheck.test, found.healthcheck.retries) == (("CMD-SHELL", "b"), 2)
    else:
        assert getattr(found, field) == expected


def test_ports_are_the_same_by_address_published_target_and_protocol(tmp_path: Path) -> None:
    found = merged(tmp_path, "ports: ['8080:80', '9000-9002:9000-9002']",
                   "ports: ['9001:9001', '8081:80', {target: 80, published: '8080'}]")  # fmt: skip
    assert [p.published for p in found.ports] == ["8080", "9000", "9001", "9002", "8081"]


def test_mounts_are_the_same_by_target_and_replaced_whole(tmp_path: Path) -> None:
    found = merged(tmp_path, "volumes: ['./a:/x:ro', './b:/y']", "volumes: ['vol:/x']")
    assert [(m.type, m.target, m.read_only) for m in found.volumes] == [
        ("volume", "/x", False), ("bind", "/y", False)]  # fmt: skip


def test_a_list_of_dependencies_resets_only_those_it_names(tmp_path: Path) -> None:
    base = """
        services:
          s: {image: i, depends_on:
              {a: {condition: service_healthy}, b: {condition: service_healthy}}}
          a: {image: i}
          b: {image: i}
    """
    found = both(tmp_path, base, "services: {s: {depends_on: [a]}}").services["s"].depends_on
    assert [found[name].condition for name in "ab"] == ["service_started", "service_healthy"]


def test_networks_merge_deeply(tmp_path: Path) -> None:
    found = merged(tmp_path, "networks: [n]", "networks: {n: {aliases: [x]}, m: {priority: 2}}")
    assert list(found.networks) == ["m", "n"]
    assert found.networks["n"].aliases == ("x",)


def test_logging_of_another_driver_is_replaced(tmp_path: Path) -> None:
    base = "logging: {driver: local, options: {max-file: 3}}"
    same = merged(tmp_path, base, "logging: {options: {max-size: 1m}}").logging
    assert same
    assert dict(same.options) == {"max-file": "3", "max-size": "1m"}
    other = merged(tmp_path, base, "logging: {driver: json-file}").logging
    assert other
    assert dict(other.options) == {}


def test_reset_removes_and_override_replaces(tmp_path: Path) -> None:
    base = "ports: ['1:1'], cap_add: [A], user: u, labels: {a: 1, b: 2}"
    other = "ports: !override ['2:2'], cap_add: !reset [], user: !reset x, labels: {a: !reset 1}"
    found = merged(tmp_path, base, other)
    assert [p.published for p in found.ports] == ["2"]
    assert (found.cap_add, found.user, dict(found.labels)) == ((), None, {"b": "2"})


def test_a_whole_service_may_be_reset(tmp_path: Path) -> None:
    project = both(tmp_path, "services: {a: {image: i}, b: {image: i}}", "services: {b: !reset }")
    assert list(project.services) == ["a"]


def test_subnets_not_repeated_are_gone(tmp_path: Path) -> None:
    text = "services: {s: {image: i, networks: [n]}}\nnetworks: {n: {ipam: {config: [%s]}}}"
    one, two = "{subnet: 10.1.0.0/24}", "{subnet: 10.2.0.0/24}"
    again = "{subnet: 10.2.0.0/24, gateway: 10.2.0.9}"
    project = both(tmp_path, text % f"{one}, {two}", text % again)
    pools = project.networks["n"].ipam
    assert [(p.subnet, p.gateway) for p in pools] == [("10.2.0.0/24", "10.2.0.9")]


def test_a_fault_is_told_in_the_file_that_has_it(tmp_path: Path) -> None:
    write(tmp_path, a_yaml="services: {s: {image: i}}", b_yaml="services:\n  s:\n    ports: {}\n")
    error = refused(tmp_path, files=("a.yaml", "b.yaml"))
    assert error.problems[0][0] == "b.yaml:3:5"


def test_every_value_keeps_the_file_it_came_from(tmp_path: Path) -> None:
    project = both(tmp_path, "services:\n  s: {image: i, user: a}\n",
        "\n\nservices:\n  s: {user: b}\n")
    assert project.where("services", "s", "user") == "b.yaml:4"
    assert project.where("services", "s", "image") == "a.yaml:2"


SCALARS = st.integers() | st.text(max_size=3)
TREES = st.recursive(SCALARS, lambda inner: st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8)


def nodes(tree: object) -> Node:
    if isinstance(tree, dict):
        return Node({key: nodes(value) for key, value in tree.items()}, "f", 1, 1)
    return Node(tree, "f", 1, 1)  # type: ignore[arg-type]


@given(TREES, TREES)
def test_the_later_tree_is_found_in_the_merged_one(base: object, other: object) -> None:
    def within(small: Any, large: Any) -> bool:
        if isinstance(small, dict) and isinstance(large, dict):
            return all(key in large and within(small[key], large[key]) for key in small)
        return bool(small == large)

    report = Report("/")
    merged = plain(merge.merge(nodes(base), nodes(other), report))
    assert within(other, merged) or report.problems


@given(TREES)
def test_merging_a_tree_with_itself_changes_nothing(tree: object) -> None:
    assert plain(merge.merge(nodes(tree), nodes(tree), Report("/"))) == tree


@given(TREES, TREES, TREES)
def test_three_files_merge_the_same_from_either_end(
    one: object, two: object, three: object
) -> None:
    report = Report("/")
    a, b, c = nodes(one), nodes(two), nodes(three)
    left = merge.merge(merge.merge(a, b, report), c, report)
    right = merge.merge(a, merge.merge(b, c, report), report)
    assert plain(left) == plain(right) or report.problems


SERVICES = st.fixed_dictionaries({}, optional={
    "image": st.sampled_from("ij"), "command": st.sampled_from(["a", "b c"]),
    "environment": st.lists(st.sampled_from(["A=1", "A=2", "B=", "C"]), max_size=3)
    | st.dictionaries(st.sampled_from("AB"), st.sampled_from(["1", "2"])),
    "ports": st.lists(st.sampled_from(["80:80", "81:80", "80"]), max_size=3),
    "volumes": st.lists(st.sampled_from(["./a:/a", "./b:/a", "/c"]), max_size=3),
    "dns": st.sampled_from(["1.1.1.1", ["8.8.8.8", "1.1.1.1"]]),
    "depends_on": st.sampled_from([["t"], {"t": {"condition": "service_started"}}]),
    "labels": st.dictionaries(st.sampled_from("xy"), st.sampled_from(["1", "2"])),
})  # fmt: skip


def shown(directory: Path, *services: object) -> str:
    """What `config` prints for these services as files over each other."""
    texts = [json.dumps({"services": {"s": service, "t": {"image": "t"}}}) for service in services]
    text = "\n---\n".join([json.dumps({"services": {"s": {"image": "x"}}}), *texts])
    return dump.to_yaml(loaded(directory, text, project_name="p"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(SERVICES)
def test_a_file_given_twice_is_given_once(tmp_path: Path, service: object) -> None:
    assert shown(tmp_path, service, service) == shown(tmp_path, service)
