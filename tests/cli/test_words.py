"""Tables, times, sizes, states, and moments on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli import containers, moments, table
from orchestrator.cli.attach import stamp
from orchestrator.cli.policies import variables
from orchestrator.errors import UsageError
from orchestrator.state.observed import ObservedContainer
from orchestrator.state.records import ContainerRecord, ContainerStatus


def test_columns_are_at_least_as_wide_as_told() -> None:
    assert table.table(("A", "LONG"), [("x" * 12, "y")], least=5, gap=3) == [
        "A              LONG", "xxxxxxxxxxxx   y",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (61, "About a minute"),
     (600, "10 minutes"), (3700, "About an hour"), (8000, "2 hours"), (3 * 86400, "3 days"),
     (20 * 86400, "2 weeks"), (90 * 86400, "3 months"), (800 * 86400, "2 years")],
)  # fmt: skip
def test_ages_are_rounded_as_docker_does(seconds: float, text: str) -> None:
    assert table.ago(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (7_800_000, "7.8MB"), (1_234_567_890, "1.23GB"), (12_345, "12.3kB")],
)
def test_sizes_have_three_digits(count: int, text: str) -> None:
    assert table.size(count) == text


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"state": "running", "started_at": 97.0}, "Up 3 seconds"),
        ({"state": "running", "started_at": 97.0, "health": "healthy"}, "Up 3 seconds (healthy)"),
        ({"state": "running", "started_at": 97.0, "health": "starting"},
         "Up 3 seconds (health: starting)"),
        ({"state": "exited", "exit_code": 1, "finished_at": 95.0}, "Exited (1) 5 seconds ago"),
        ({"state": "exited", "finished_at": 95.0}, "Exited (unknown) 5 seconds ago"),
        ({"state": "restarting", "exit_code": 7, "finished_at": 95.0},
         "Restarting (7) 5 seconds ago"),
        ({"state": "created"}, "Created"),
    ],
)  # fmt: skip
def test_a_state_is_told_in_dockers_words(said: dict[str, Any], text: str) -> None:
    assert containers.status_text(ContainerStatus(**said), now=100.0) == text


def observed(**said: Any) -> ObservedContainer:
    record = ContainerRecord(
        id="i" * 64, name="p-web-1", project="p", service="web", index=1, oneoff=False,
        created_at=0.0, config_hash="", config={}, image="img", image_id="",
        labels={"b": "2", "a": "1"},
        named_volumes={"/data": "p_data"}, networks={"default": "p_default"},
        spec={"argv": ["sleep", "infinity and more"], "mounts": [
            {"type": "volume", "target": "/data", "source": "/x"},
            {"type": "bind", "target": "/y", "source": "/srv"},
            {"type": "tmpfs", "target": "/z", "source": None},
        ]},
    )  # fmt: skip
    status = ContainerStatus(**{"state": "running", "pid": 7, "ports": PORTS, **said})
    return ObservedContainer(record=record, status=status)


PORTS = [
    {"host_ip": "0.0.0.0", "published": 8081, "target": 81, "protocol": "tcp"},
    {"host_ip": "::", "published": 8080, "target": 80, "protocol": "tcp"},
]


def test_json_has_its_keys_in_order_and_the_pid() -> None:
    fields = containers.fields(observed(), now=60.0)
    assert list(fields) == sorted(fields)
    assert fields["Pid"] == 7
    assert fields["Labels"] == "a=1,b=2"
    assert fields["Mounts"] == "p_data,/srv"
    assert fields["Ports"] == "[::]:8080->80/tcp, 0.0.0.0:8081->81/tcp"
    assert fields["Publishers"][0] == {
        "URL": "::", "TargetPort": 80, "PublishedPort": 8080, "Protocol": "tcp",
    }  # fmt: skip


def test_a_stopped_container_has_no_ports_and_no_pid() -> None:
    fields = containers.fields(observed(state="exited", exit_code=None), now=60.0)
    assert (fields["Pid"], fields["Publishers"], fields["ExitCode"]) == (0, [], 0)


def test_a_long_command_is_cut_in_the_table() -> None:
    assert containers.row(observed(), now=0.0, cut=True)[2] == '"sleep \'infinity and…"'
    assert containers.row(observed(), now=0.0, cut=False)[2] == '"sleep \'infinity and more\'"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("10m", 400.0), ("1h30m", -4400.0), ("1.5s", 998.5), ("1700000000", 1.7e9),
     ("1970-01-01T00:00:10Z", 10.0), ("1970-01-01T00:00:10.123456789Z", 10.123456)],
)  # fmt: skip
def test_a_moment_is_a_time_or_a_duration_back(text: str | None, expected: float | None) -> None:
    assert moments.parse(text, now=1000.0) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "soon", "10x", "1970-13-01T00:00:00Z", "m10"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid time"):
        moments.parse(text, now=0.0)


def test_stamps_have_nanoseconds() -> None:
    assert stamp(1.5) == "1970-01-01T00:00:01.500000000Z"


def test_a_variable_without_a_value_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "here")
    monkeypatch.delenv("NOT_MINE", raising=False)
    assert variables(["A=b=c", "MINE", "NOT_MINE", "E="]) == {
        "A": "b=c", "MINE": "here", "NOT_MINE": None, "E": "",
    }  # fmt: skip
