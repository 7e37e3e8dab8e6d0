"""What `config` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.spec import dump
from orchestrator.spec.select import select
from tests.spec.loading import loaded


def printed(directory: Path, text: str) -> str:
    project = select(loaded(directory, text), [], with_dependencies=True)
    return dump.to_yaml(project)


def test_the_whole_of_a_small_project(tmp_path: Path) -> None:
    text = """
        x-late: {z: 1}
        volumes: {data: , unused: }
        services:
          web:
            ports: ["8080:80"]
            image: "i:$$1"
            depends_on: [db]
            environment: [B=no, A]
            mem_limit: 1.5g
            stop_grace_period: 90s
          db: {image: i, volumes: ["data:/d", "./x:/x:ro"], healthcheck: {test: a, interval: 5s}}
        name: p
    """
    assert printed(tmp_path, text) == f"""\
name: p
services:
  db:
    healthcheck:
      test:
        - CMD-SHELL
        - a
      interval: 5s
    image: i
    networks:
      default: null
    volumes:
      - type: volume
        source: data
        target: /d
        volume: {{}}
      - type: bind
        source: {tmp_path}/x
        target: /x
        read_only: true
        bind:
          create_host_path: true
  web:
    depends_on:
      db:
        condition: service_started
        required: true
    environment:
      A: null
      B: "no"
    image: i:$$1
    mem_limit: "1610612736"
    networks:
      default: null
    ports:
      - mode: ingress
        target: 80
        published: "8080"
        protocol: tcp
    stop_grace_period: 1m30s
networks:
  default:
    name: p_default
volumes:
  data:
    name: p_data
x-late:
  z: 1
"""


def test_what_is_printed_loads_to_the_same_project(tmp_path: Path) -> None:
    text = """
        name: p
        services:
          a: {image: "i$$x", command: "echo '$$HOME' \\"a  b\\"",
              environment: {K: "l1\\nl2\\n", N: "08"},
              volumes: ["./d:/d", "vol:/v"], ports: ["1-3:1-3", "9000-9010:90"], scale: 2,
              healthcheck: {test: "x # y", start_period: 1h}, extra_hosts: ["h:1.1.1.1"],
              logging: {driver: local, options: {max-size: 1m}}, ulimits: {nofile: 5}}
        volumes: {vol: {name: other, labels: [a]}}
    """
    project = loaded(tmp_path, text)
    (tmp_path / "again").mkdir()
    again = loaded(tmp_path / "again", dump.to_yaml(project))
    assert again.services == project.services
    assert (again.networks, again.volumes) == (project.networks, project.volumes)


def test_a_rate_without_a_value_is_printed_as_none_of_it(tmp_path: Path) -> None:
    text = "services: {a: {image: i, blkio_config: {device_read_bps: [{path: /x}, {rate: 1k}]}}}"
    found = json.loads(dump.to_json(loaded(tmp_path, text)))["services"]["a"]["blkio_config"]
    rates = [{"Path": "/x", "Rate": "0"}, {"Path": "", "Rate": "1024"}]
    assert found == {"device_read_bps": rates}


def test_json_has_its_own_order_and_always_some_keys(tmp_path: Path) -> None:
    project = loaded(tmp_path, "name: p\nservices: {a: {image: i, x-a: 1}}\nx-top: 1\n")
    data = json.loads(dump.to_json(project))
    assert list(data) == ["name", "networks", "services", "x-top"]
    assert data["services"]["a"] == {
        "command": None, "entrypoint": None, "image": "i", "networks": {"default": None},
    }  # fmt: skip
    assert data["networks"]["default"] == {"name": "p_default", "ipam": {}}


def test_keys_that_do_not_work_yet_are_printed(tmp_path: Path) -> None:
    found = printed(tmp_path, "services: {a: {image: i, privileged: true, sysctls: [a=1]}}")
    assert "    privileged: true\n" in found
    assert '    sysctls:\n      a: "1"\n' in found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"), ("yes", '"yes"'), ("1", '"1"'), ("", '""'), ("true", '"true"'),
        ("#b", "'#b'"), ("x ", "'x '"), ("a: b", "'a: b'"), ("it's", "it's"),
        ("a\nb", "|-\n  a\n  b"),
        ("a\n", "|\n  a"), ("12:30", '"12:30"'), ("2020-01-01", '"2020-01-01"'),
        ("😀", '"\\U0001F600"'),
        ("~", '"~"'), ("- a", "'- a'"), ("-a", "-a"), ("é", "é"), ("a\tb", "'a\tb'"),
        ("\x07", '"\\a"'),
    ],
)  # fmt: skip
def test_a_scalar_is_quoted_as_the_reference_does(value: str, text: str) -> None:
    assert dump.yaml_text({"k": value}) == f"k: {text}\n"


def test_keys_sort_by_their_numbers() -> None:
    assert sorted(["a10", "a9", "b", "a_", "a", "A", "a1b", "a1-"], key=dump.natural) == [
        "A", "a", "a_", "a1b", "a1-", "a9", "a10", "b"]  # fmt: skip
