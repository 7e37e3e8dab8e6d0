"""What changes a service's hash, and what never does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.spec.hashing import config_hash, config_tree, network_tree, volume_tree
from orchestrator.spec.model import Network, Volume
from tests.spec.loading import loaded, service


def digest(directory: Path, lines: str, **options: object) -> str:
    return config_hash(config_tree(service(directory, lines, **options)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("environment: {A: 1, B: 2}", "environment: [B=2, A=1]"),
        ("labels: {b: x, a: y}", "labels: [a=y, b=x]"),
        ("ports: ['80:80']", "ports: [{target: 80, published: 80, protocol: tcp, mode: ingress}]"),
        ("volumes: ['./d:/d']", "volumes: [{type: bind, source: d, target: /d/}]"),
        ("networks: [n, default]", "networks: {default: , n: }"),
        ("command: echo a", "command: [echo, a]"),
        ("healthcheck: {test: a, interval: 1m}",
         "healthcheck: {interval: 60s, test: [CMD-SHELL, a]}"),
        ("mem_limit: 1g", "deploy: {resources: {limits: {memory: 1024m}}}"),
        ("dns: 1.1.1.1", "dns: [1.1.1.1]"),
        ("ulimits: {a: 1, b: 2}", "ulimits: {b: {soft: 2, hard: 2}, a: 1}"),
        ("extra_hosts: {a: 1.1.1.1, b: 2.2.2.2}", "extra_hosts: ['b:2.2.2.2', a=1.1.1.1]"),
        ("cap_add: [A, B]", "cap_add: [B, A]"), ("", "tty: false\nread_only: false\ncap_add: []"),
        ("", "scale: 3\nprofiles: []\npull_policy: never\nattach: false\ndepends_on: []"),
        ("", "env_file: []"), ("x-a: 1", "x-a: 2"),
    ],
)  # fmt: skip
def test_two_ways_to_say_the_same(tmp_path: Path, one: str, other: str) -> None:
    assert digest(tmp_path, one) == digest(tmp_path, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("environment: {A: 1}", "environment: {A: 2}"),
        ("environment: {A: ''}", "environment: {A: }"),
        ("command: []", ""), ("ports: ['80:80']", "ports: ['81:80']"), ("tty: true", ""),
        ("volumes: ['./d:/d']", "volumes: ['./d:/d:ro']"), ("init: false", ""),
        ("tmpfs: [/a]", "tmpfs: [/b]"), ("networks: [n]", ""), ("user: a", "user: b"),
        ("command: [a, b]", "command: [b, a]"), ("stop_grace_period: 1s", "stop_grace_period: 2s"),
    ],
)  # fmt: skip
def test_two_different_things(tmp_path: Path, one: str, other: str) -> None:
    assert digest(tmp_path, one) != digest(tmp_path, other)


def test_an_absolute_path_is_the_same_as_the_relative_one(tmp_path: Path) -> None:
    absolute = f"volumes: ['{tmp_path}/d:/d']"
    assert digest(tmp_path, "volumes: ['./d:/d']") == digest(tmp_path, absolute)


def test_an_empty_target_of_a_secret_is_the_usual_one(tmp_path: Path) -> None:
    one, other, elsewhere = (
        loaded(tmp_path, f"services: {{s: {{image: i, secrets: [{grant}]}}}}\n"
                         "secrets: {m: {file: x}}").services["s"]
        for grant in ("{source: m, target: ''}", "m", "{source: m, target: /t}")
    )  # fmt: skip
    assert config_tree(one) == config_tree(other) != config_tree(elsewhere)


def test_a_value_from_an_env_file_counts_as_if_written(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\n")
    assert digest(tmp_path, "env_file: a.env") == digest(tmp_path, "environment: {A: 1}")


NAMES = st.dictionaries(
    st.text("abcXYZ_", min_size=1, max_size=5), st.text("abc19 =:é", max_size=5), max_size=6
)


@given(variables=NAMES, data=st.data())
@settings(max_examples=30, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_and_form_of_the_environment_never_count(
    tmp_path: Path, variables: dict[str, str], data: st.DataObject
) -> None:
    names = data.draw(st.permutations(sorted(variables)))
    as_map = json.dumps(variables)
    as_list = json.dumps([f"{name}={variables[name]}" for name in names])
    one = digest(tmp_path, f"environment: {as_map}\nlabels: {as_map}\nuser: u")
    other = digest(tmp_path, f"user: u\nlabels: {as_list}\nenvironment: {as_list}")
    assert one == other


def test_the_tree_is_json_and_names_what_was_said(tmp_path: Path) -> None:
    tree = config_tree(service(tmp_path, "environment: {B: 2, A: 1}"))
    assert json.loads(json.dumps(tree)) == tree
    assert tree["environment"] == {"A": "1", "B": "2"}
    assert set(tree) == {"version", "image", "environment", "networks"}


def test_networks_and_volumes_differ_by_what_they_are(tmp_path: Path) -> None:
    one = Network(key="a", name="x", labels={"b": "1", "a": "2"})
    same = Network(key="b", name="x", driver="bridge", labels={"a": "2", "b": "1"})
    other = Network(key="a", name="x", internal=True)
    assert config_hash(network_tree(one)) == config_hash(network_tree(same))
    assert config_hash(network_tree(one)) != config_hash(network_tree(other))
    plain, local = Volume(key="v", name="v"), Volume(key="w", name="v", driver="local")
    assert config_hash(volume_tree(plain)) == config_hash(volume_tree(local))


def test_hashes_of_a_project_do_not_depend_on_the_order_of_services(tmp_path: Path) -> None:
    one = loaded(tmp_path, "services: {a: {image: i}, b: {image: j}}").services
    other = loaded(tmp_path, "services: {b: {image: j}, a: {image: i}}").services
    assert [config_tree(s) for s in one.values()] == [config_tree(s) for s in other.values()]
