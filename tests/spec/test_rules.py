"""Do the parts fit together, and what is refused because it does not work yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.spec.check import find_cycle
from tests.spec.loading import acted_on, loaded, not_acted_on, refused


@pytest.mark.parametrize(
    ("text", "where", "words", "hint"),
    [
        ("a: {image: i, depends_on: [dbb]}\n  db: {image: i}", "2:30", "no service is called dbb",
         "`db`"),
        ("a: {image: i, networks: [fornt]}\nnetworks: {front: }", "2:28", "no network is called",
         "`front`"),
        ("a: {image: i, volumes: ['dat:/x']}\nvolumes: {data: }", "2:27", "no volume is called",
         "`data`"),
        ("a: {image: i, volumes: ['src:/x']}", "2:27", "no volume is called src", "./src"),
        ("a: {image: ''}", "2:3", "neither an image nor a build context", "image"),
        ("a: {image: i, depends_on: [b]}\n  b: {image: i, profiles: [dev]}", "2:30",
         "only in profile dev", "--profile dev"),
        ("a: {image: i, container_name: foo, scale: 2}", "2:17", "cannot be given to 2",
         "scale to 1"),
        ("a: {image: i, container_name: foo}\n  b: {image: i, container_name: foo}", "3:17",
         "already the name of service a", None),
        ("a: {image: i, tmpfs: [/t], volumes: ['./x:/t']}", "2:40", "already mounted by tmpfs",
         None),
        ("a: {image: i, volumes: ['v:/x']}", "2:27", "absolute path", "drive"),
        ("a: {image: i, ports: [{target: 0}]}", "2:26", "not a port from 1", None),
        ("a: {image: i, ports: ['80:0']}", "2:25", "is missing a target port", None),
        ("a: {image: i, devices: [{source: /dev/null}]}", "2:27", "devices.0: has no target", None),
        ("a: {image: i, expose: [80, 0.5]}", "2:30", "0.5 is neither text nor whole", None),
        ("a: {image: i, network_mode: host, networks: [n]}\nnetworks: {n: }", "2:17",
         "exclude each other", None),
        ("a: {image: i, ports: [{target: 1, published: x}]}", "2:37", "not a port", None),
        ("a: {image: i, models: [m]}\nmodels: {mm: {model: x}}", "2:26", "no model is called m",
         "`mm`"),
        ("a: {image: i, secrets: [s]}", "2:27", "no secret is called s", None),
        ("a: {build: {context: ., secrets: [s]}}", "2:37", "no secret is called s", None),
        ("a: {image: i, configs: [s]}", "2:27", "no config is called s", None),
        ("a: {build: {dockerfile: D, dockerfile_inline: x}}", "2:30", "exclude each other", None),
        ("a: {platform: p, build: {context: ., platforms: [q]}}", "2:40", "lacks the platform",
         None),
        ("a: {build: {context: ., additional_contexts: {x: 'service:b'}}}\n  b: {image: i}", "2:49",
         "b is not built", "build"),
        ("a: {build: {context: ., additional_contexts: {x: 'service:c'}}}", "2:49",
         "no service is called c", None),
        ("a: {build: ., develop: {watch: [{path: ., action: sync}]}}", "2:35", "needs a `target`",
         None),
        ("a: {image: i, mem_reservation: 1m, deploy: {resources: {reservations: {memory: 2m}}}}",
         "2:17", "differs from", "once"),
        ("a: {image: i, tmpfs: [/a, '/a:size=1m']}", "2:29", "already mounted", None),
        ("a: {image: i, secrets: [s]}\nsecrets: {s: {file: a, environment: B}}", "3:11",
         "mutually exclusive", None),
        ("a: {image: i, configs: [c]}\nconfigs: {c: {}}", "3:11", "must be set", None),
        ("a: {image: i, gpus: [{count: 1, device_ids: ['0']}]}", "2:24", "exclude each other",
         None),
        ("a: {image: i, links: [b]}\n  b: {image: i, ipc: 'service:a'}", "2:25",
         "wait for each other", None),
        ("a: {image: i, network_mode: 'service:gone'}", "2:17", "no service is called gone", None),
        ("a: {image: i, restart: alwayz}", "2:17", "must be no, always", "`always`"),
        ("a: {image: i, restart: 'always:3'}", "2:17", "on-failure:N", None),
        ("a: {image: i, cpus: 1, deploy: {resources: {limits: {cpus: 2}}}}", "2:17", "differs from",
         "once"),
        ("a: {image: i, scale: 2, deploy: {replicas: 3}}", "2:17", "differs from deploy.replicas",
         "once"),
        ("a: {image: i, healthcheck: {start_interval: 1s}}", "2:31", "start_period", None),
        ("a: {image: i, depends_on: {b: {condition: service_healthy}}}\n"
         "  b: {image: i, healthcheck: {disable: true}}", "2:34", "never becomes healthy", None),
        ("a: {image: i, extra_hosts: ['h=nope']}", "2:17", "not the address of h", "host-gateway"),
        ("a: {image: i, scale: 2, networks: {n: {ipv4_address: 10.0.0.2}}}\nnetworks: {n: }",
         "2:42",
         "one address", None),
        ("a: {image: i, volumes: ['vol:/x']}\nvolumes: {vol: {external: true, labels: {a: b}}}",
         "3:33",
         "only a name", None),
    ],
)  # fmt: skip
def test_a_rule(tmp_path: Path, text: str, where: str, words: str, hint: str | None) -> None:
    error = not_acted_on(tmp_path, f"services:\n  {text}\n")
    place, message, told = error.problems[0]
    assert place == f"compose.yaml:{where}"
    assert words in message
    assert hint is None or (told and hint in told)


def test_all_faults_of_fit_are_told_at_once(tmp_path: Path) -> None:
    text = "services:\n  a: {image: i, depends_on: [x], networks: [y], volumes: ['zz:/z']}\n"
    assert len(refused(tmp_path, text).problems) == 3


def test_a_cycle_is_shown_as_a_path(tmp_path: Path) -> None:
    text = """
        services:
          a: {image: i, depends_on: [b]}
          b: {image: i, depends_on: [c]}
          c: {image: i, depends_on: [b]}
    """
    where, message, _ = refused(tmp_path, text).problems[0]
    assert "b -> c -> b" in message
    assert where == "compose.yaml:4:30"


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({}, None), ({"a": ["a"]}, ["a", "a"]), ({"a": ["b", "c"], "b": ["c"], "c": []}, None),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, ["a", "b", "c", "a"]), ({"a": ["gone"]}, None),
    ],
)  # fmt: skip
def test_a_cycle_is_found(graph: dict[str, list[str]], cycle: list[str] | None) -> None:
    assert find_cycle(graph) == cycle


def test_a_very_long_chain_is_no_cycle() -> None:
    assert find_cycle({str(n): [str(n + 1)] for n in range(20_000)}) is None


UNSUPPORTED = """
    services:
      a:
        image: i
        deploy: {mode: global}
        logging: {driver: syslog}
        ports: [{target: 1, protocol: sctp}]
    networks: {n: {driver: macvlan}}
    volumes: {v: {driver: other}}
    secrets: {s: {file: x, driver: x}}
    configs: {c: {content: x, template_driver: y}}
"""
NAMED = [
    "services.a.logging.driver: syslog", "services.a.ports.0.protocol: sctp",
    "networks.n.driver: macvlan", "volumes.v.driver: other",
    "secrets.s.driver", "configs.c.template_driver",
]  # fmt: skip


def test_what_does_not_work_yet_is_refused_by_name_all_at_once(tmp_path: Path) -> None:
    problems = not_acted_on(tmp_path, UNSUPPORTED).problems
    assert [message.split(": not")[0].split(" is not")[0] for _, message, _ in problems] == NAMED
    assert all(where.startswith("compose.yaml:") and hint for where, _, hint in problems)


def test_lenient_loading_warns_instead(tmp_path: Path) -> None:
    project = acted_on(tmp_path, UNSUPPORTED, lenient=True)
    assert len(project.warnings) == len(NAMED)
    said = "services.a.logging.driver: syslog is not supported yet"
    assert f"compose.yaml:6:15: {said}" in project.warnings


def test_a_key_that_asks_for_nothing_passes(tmp_path: Path) -> None:
    text = "services: {a: {image: i, privileged: false, devices: [], sysctls: {}}}"
    assert acted_on(tmp_path, text).warnings == ()


def test_version_is_accepted_with_a_warning(tmp_path: Path) -> None:
    project = loaded(tmp_path, "version: '3.8'\nservices: {a: {image: i}}")
    assert "`version` is obsolete" in project.warnings[0]


def test_what_is_wrong_in_several_files_is_told_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "inc.yaml").write_text("services: {c: {imag: i}}")
    (tmp_path / "bad.yaml").write_text("services: [\n")
    text = """
        include: [inc.yaml, bad.yaml, gone.yaml]
        services:
          a: {image: i, comand: x}
          b: {extends: c}
    """
    found = refused(tmp_path, text).problems
    assert [where.rpartition(":")[0] for where, _, _ in found] == [
        "bad.yaml:2", "compose.yaml:2", "compose.yaml:4", "inc.yaml:1",
    ]  # fmt: skip


def test_an_extends_that_fails_hides_nothing_else(tmp_path: Path) -> None:
    text = "services: {a: {extends: b, image: i, comand: x}}"
    assert [message for _, message, _ in refused(tmp_path, text).problems] == [
        "services.a.extends: no service is called b in compose.yaml",
        "services.a.comand: unknown key",
    ]


def test_phases_can_be_left_out(tmp_path: Path) -> None:
    text = """
        services:
          s: {image: "i:$T", volumes: ["./a:/a"], env_file: none, networks: [nope]}
    """
    free = loaded(tmp_path, text, skip=frozenset({"paths", "environment", "consistency"}))
    assert free.services["s"].volumes[0].source == "./a"
    raw = loaded(tmp_path, text, skip=frozenset({"interpolation"}))
    assert not raw.services
    assert raw.tree is not None
    image = raw.tree.get("services", "s", "image")
    assert image is not None
    assert image.value == "i:$T"
