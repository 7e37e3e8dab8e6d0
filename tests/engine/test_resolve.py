"""Service + image -> ContainerSpec, by value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.resolve import (
    DEFAULT_PATH,
    UNLIMITED,
    capabilities,
    restart_policy,
    signal_name,
)
from orchestrator.errors import SpecError
from orchestrator.image.config import Healthcheck as ImageHealthcheck
from orchestrator.image.config import ImageConfig
from orchestrator.linux import caps
from orchestrator.runtime.spec import ContainerSpec
from orchestrator.spec.model import (
    Healthcheck,
    Logging,
    Port,
    ServiceNetwork,
    Ulimit,
)
from tests.engine.world import ID, attachment, project, resolved, service

ENTRY = ImageConfig(entrypoint=("entry",), command=("cmd", "arg"))


@pytest.mark.parametrize(
    ("said", "argv"),
    [
        ({}, ("entry", "cmd", "arg")),
        ({"command": ("mine",)}, ("entry", "mine")),
        ({"command": ()}, ("entry",)),
        ({"entrypoint": ("own",)}, ("own",)),
        ({"entrypoint": ("own",), "command": ("mine",)}, ("own", "mine")),
        ({"entrypoint": (), "command": ("mine",)}, ("mine",)),
    ],
)
def test_entrypoint_and_command_combine_as_the_specification_says(
    said: dict[str, Any], argv: tuple[str, ...]
) -> None:
    assert resolved(service(**said), config=ENTRY).argv == argv


def test_a_container_without_any_command_is_refused_with_its_place() -> None:
    with pytest.raises(SpecError, match=r"compose.yaml:3:5: service web has no command"):
        resolved(service(entrypoint=()), config=ENTRY)


def test_the_services_variables_win_over_the_images_and_null_takes_one_away() -> None:
    config = ImageConfig(command=("x",), env=(("A", "image"), ("B", "image"), ("PATH", "/own")))
    spec = resolved(service(environment={"A": "mine", "B": None}, tty=True), config=config)
    assert spec.environment == {
        "PATH": "/own", "HOSTNAME": "0123456789ab", "TERM": "xterm", "A": "mine",
    }  # fmt: skip


def test_an_image_without_variables_gets_a_path_and_no_term_without_tty() -> None:
    assert resolved(service()).environment == {
        "PATH": DEFAULT_PATH, "HOSTNAME": "0123456789ab",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), set(caps.DEFAULT)),
        (("SYS_ADMIN",), (), {*caps.DEFAULT, "CAP_SYS_ADMIN"}),
        ((), ("cap_chown",), set(caps.DEFAULT) - {"CAP_CHOWN"}),
        (("ALL",), ("SYS_ADMIN",), set(caps.NAMES) - {"CAP_SYS_ADMIN"}),
        (("net_bind_service",), ("ALL",), {"CAP_NET_BIND_SERVICE"}),
    ],
)
def test_capabilities_are_added_and_dropped_as_docker_does(
    add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]
) -> None:
    made = service(cap_add=add, cap_drop=drop)
    assert set(capabilities(made, project=project(made))) == expected


def test_an_unknown_capability_is_refused_with_what_was_meant() -> None:
    with pytest.raises(SpecError, match="unknown capability 'SYS_ADMN'") as caught:
        resolved(service(cap_add=("SYS_ADMN",)))
    assert caught.value.hint == "did you mean CAP_SYS_ADMIN?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("no", ("no", 0)), ("always", ("always", 0)), ("unless-stopped", ("unless-stopped", 0)),
     ("on-failure", ("on-failure", 0)), ("on-failure:5", ("on-failure", 5))],
)  # fmt: skip
def test_restart_policies_are_split(text: str, expected: tuple[str, int]) -> None:
    assert restart_policy(text) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [("SIGTERM", "SIGTERM"), ("term", "SIGTERM"), ("15", "SIGTERM"), ("9", "SIGKILL"),
     ("RTMIN+3", "SIGRTMIN+3"), ("sigrtmin+31", None), ("37", "SIGRTMIN+3"), ("0", None),
     ("65", None), ("SIG_DFL", None), ("nonsense", None), ("", None), ("34", "SIGRTMIN")],
)  # fmt: skip
def test_signals_are_known_by_name_and_number(text: str, name: str | None) -> None:
    assert signal_name(text) == name


IMAGE_CHECK = ImageHealthcheck(test=("CMD", "probe"), interval=7.0, retries=9)


def test_a_probe_takes_what_it_does_not_say_from_the_image_then_from_the_default() -> None:
    config = ImageConfig(command=("x",), healthcheck=IMAGE_CHECK)
    check = resolved(service(healthcheck=Healthcheck(timeout=2.0)), config=config).healthcheck
    assert check is not None
    assert (check.test, check.interval, check.timeout, check.retries, check.start_interval) == (
        ("CMD", "probe"), 7.0, 2.0, 9, 5.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "said", [Healthcheck(disable=True), Healthcheck(test=("NONE",))], ids=["disable", "NONE"]
)
def test_a_probe_of_the_image_can_be_switched_off(said: Healthcheck) -> None:
    config = ImageConfig(command=("x",), healthcheck=IMAGE_CHECK)
    assert resolved(service(healthcheck=said), config=config).healthcheck is None


def test_a_probe_without_a_test_anywhere_is_none() -> None:
    assert resolved(service(healthcheck=Healthcheck(interval=1.0))).healthcheck is None


def test_ports_become_ranges_of_host_ports() -> None:
    spec = resolved(service(ports=(
        Port(target=80, published="8080"), Port(target=81, published="9000-9010"),
        Port(target=53, protocol="udp", host_ip="127.0.0.1"),
    )))  # fmt: skip
    assert [(p.target, p.protocol, p.first, p.last) for p in spec.ports] == [
        (80, "tcp", 8080, 8080), (81, "tcp", 9000, 9010), (53, "udp", 0, 0),
    ]  # fmt: skip
    assert spec.ports[2].host_ip == "127.0.0.1"
    assert spec.ports[0].origin == "compose.yaml:3"


def test_only_the_first_network_with_a_way_out_has_a_gateway() -> None:
    made = service(networks={
        "inner": ServiceNetwork(network="inner", aliases=("db",)),
        "outer": ServiceNetwork(network="outer", mac_address="02:00:00:00:00:01"),
        "third": ServiceNetwork(network="third"),
    })  # fmt: skip
    spec = resolved(made, attachments=(
        attachment("inner", internal=True), attachment("outer"), attachment("third"),
    ))  # fmt: skip
    assert [(e.interface, e.gateway) for e in spec.endpoints] == [
        ("eth0", None), ("eth1", "10.1.2.1"), ("eth2", None),
    ]  # fmt: skip
    assert spec.endpoints[0].names == ("p-web-1", "web", "db", "0123456789ab")
    assert spec.endpoints[1].mac == "02:00:00:00:00:01"


def test_a_one_off_answers_to_no_name_of_the_service_unless_asked() -> None:
    spec = resolved(service(), attachments=(attachment(),), oneoff=True, use_aliases=False)
    assert spec.endpoints[0].names == ("p-web-1", "0123456789ab")


def test_limits_of_zero_and_below_are_no_limits() -> None:
    spec = resolved(service(mem_limit=0, pids_limit=-1, cpus=0.0))
    assert (spec.resources.memory, spec.resources.pids, spec.resources.cpus) == (None, None, None)


def test_log_limits_are_read_from_the_driver_options() -> None:
    options = {"max-size": "10m", "max-file": "5"}
    spec = resolved(service(logging=Logging(options=options)))
    assert (spec.log_max_size, spec.log_max_files) == (10 << 20, 5)
    endless = resolved(service(logging=Logging(options={"max-size": "-1"})))
    assert endless.log_max_size == UNLIMITED


@pytest.mark.parametrize("bad", ["", "ten", "10x", "m", "-5"])
def test_a_bad_log_size_is_refused(bad: str) -> None:
    with pytest.raises(SpecError, match="max-size"):
        resolved(service(logging=Logging(options={"max-size": bad})))


def test_places_on_disk_follow_the_layout() -> None:
    spec = resolved(service())
    home = f"/data/projects/p/containers/{ID}"
    assert spec.rootfs.lowers == ("/l/top", "/l/low")
    assert (spec.rootfs.upper, spec.rootfs.target) == (f"{home}/upper", f"{home}/root")
    assert spec.origin == "compose.yaml:3"


words = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3).map(tuple)


@given(
    environment=st.dictionaries(st.text(min_size=1, max_size=5), st.none() | st.text(max_size=5)),
    command=words, ulimit=st.integers(-1, 1 << 40), dns=words, tty=st.booleans(),
)  # fmt: skip
def test_a_spec_survives_json(
    environment: dict[str, str | None], command: tuple[str, ...], ulimit: int,
    dns: tuple[str, ...], *, tty: bool,
) -> None:  # fmt: skip
    import json

    spec = resolved(
        service(environment=environment, command=command, dns=dns, tty=tty,
                ulimits=(Ulimit(name="nofile", soft=ulimit, hard=ulimit),)),
        attachments=(attachment(),),
    )  # fmt: skip
    assert ContainerSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
