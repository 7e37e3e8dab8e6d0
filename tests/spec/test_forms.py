"""Short and long forms of every attribute, and the small grammars inside values."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec import mounts, ports, values
from orchestrator.spec.model import Port
from tests.spec.loading import refused, service


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1m30s", 90), ("1.5h", 5400), ("500ms", 0.5), ("1d", 86400), ("2w", 1209600),
     ("10us", 1e-5), ("0", 0), (".5s", 0.5)],
)  # fmt: skip
def test_a_duration(text: str, seconds: float) -> None:
    assert values.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "1x", "s", "1m 30s", "1..5s", "abc"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        values.parse_duration(text)


@given(st.integers(0, 10**7).map(lambda n: n / 1000))
def test_a_printed_duration_reads_back(seconds: float) -> None:
    assert values.parse_duration(values.format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(("seconds", "text"), [(90, "1m30s"), (86400, "24h0m0s"), (0.5, "500ms"),
                                               (0, "0s"), (1.25, "1.25s")])  # fmt: skip
def test_a_duration_is_printed_as_go_does(seconds: float, text: str) -> None:
    assert values.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [("1k", 1024), ("1KB", 1024), ("1kib", 1024), ("1.5g", 1610612736), ("64 m", 64 << 20), (5, 5),
     ("10", 10), ("10b", 10), ("2T", 2 << 40)],
)  # fmt: skip
def test_a_size(text: object, size: int) -> None:
    assert values.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "1x", "-2", "1 2", "k", True])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="size"):
        values.parse_size(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(8, "8"), (1.1, "1.1"), (1000.0, "1000"), (1e6, "1e+06"), (123456789.5, "1.234567895e+08"),
     (True, "true"), (1e-5, "1e-05"), (float("inf"), "+Inf"), (0.25, "0.25")],
)  # fmt: skip
def test_a_scalar_as_text(value: object, text: str) -> None:
    assert values.format_scalar(value) == text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("echo hi > /x; ls", ["echo", "hi"]), ("a 2>&1 b", ["a"]),
        ("echo $(date)", ["echo", "$(date)"]),
        ("a 'b c' \"d e\" f\\ g", ["a", "b c", "d e", "f g"]), ("a\nb", ["a", "b"]),
        ("a # b", ["a", "#", "b"]), ("a ''", ["a", ""]), ("", []), ("`a b`", ["`a b`"]),
        ("a|b", ["a"]),
    ],
)  # fmt: skip
def test_a_command_line(line: str, words: list[str]) -> None:
    assert values.split_command(line) == words


@pytest.mark.parametrize("line", ["echo (a)", "'a", 'a "b', "a\\", "$(a", "`a"])
def test_what_is_no_command_line(line: str) -> None:
    with pytest.raises(ValueError, match=r"command line|no shell"):
        values.split_command(line)


@given(st.lists(st.text(min_size=1)))
def test_quoted_words_come_back(words: list[str]) -> None:
    line = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    assert values.split_command(line) == words


def short(text: str) -> list[tuple[object, ...]]:
    return [tuple(port) for port in ports.parse_port(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [(80, None, None, "tcp")]), ("8080:80", [(80, "8080", None, "tcp")]),
        ("127.0.0.1:8080:80/udp", [(80, "8080", "127.0.0.1", "udp")]),
        ("127.0.0.1::80", [(80, None, "127.0.0.1", "tcp")]),
        ("[::1]:8080:80", [(80, "8080", "::1", "tcp")]),
        ("8080-8081:80-81/TCP", [(80, "8080", None, "tcp"), (81, "8081", None, "tcp")]),
        ("8100-8200:80", [(80, "8100-8200", None, "tcp")]), ("0:80", [(80, "0", None, "tcp")]),
    ],
)  # fmt: skip
def test_a_port(text: str, expected: list[tuple[object, ...]]) -> None:
    assert short(text) == expected


@pytest.mark.parametrize(
    "text", ["", "80:", ":", "a", "70000", "80/foo", "80-82:90-91", "81-80", "1.2.3:80:80",
     "[::1:80:80",
             "８０", "1e3", "-1", "80:80:80:80"],
)  # fmt: skip
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message depends on the part that is wrong
        ports.parse_port(text)


def test_a_range_of_published_ports_stays_a_choice(tmp_path: Path) -> None:
    found = service(tmp_path,
        "ports: ['8000-8010:80', 443, {target: 53, published: 53, protocol: udp}]")
    assert found.ports == (
        Port(target=80, published="8000-8010"), Port(target=443),
        Port(target=53, published="53", protocol="udp"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("./a:/b", ("bind", "./a", "/b")), ("vol:/b:ro", ("volume", "vol", "/b", True)),
        ("data", ("volume", None, "data")), ("/b/", ("volume", None, "/b")),
        ("~/x:/b//c/..", ("bind", "~/x", "/b")),
        ("vol:/b:nocopy", ("volume", "vol", "/b", False, True)),
        ("/a:/b:rshared,z", ("bind", "/a", "/b", False, False, "rshared", "z")),
        ("c:\\a:/b", ("bind", "c:\\a", "/b")), ("/a:/b:bogus", ("bind", "/a", "/b")),
    ],
)  # fmt: skip
def test_a_mount(text: str, expected: tuple[object, ...]) -> None:
    assert tuple(mounts.parse_mount(text))[: len(expected)] == expected


@pytest.mark.parametrize("text", ["", ":/foo:", "/a:/b:ro:x", "/a::/b"])
def test_what_is_no_mount(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message depends on the part that is wrong
        mounts.parse_mount(text)


def test_long_mounts(tmp_path: Path) -> None:
    found = service(tmp_path, """
        volumes:
          - {type: bind, source: ./x, target: /x,
             bind: {create_host_path: false, propagation: rslave}}
          - {type: tmpfs, target: /t, tmpfs: {size: 64m, mode: 0700}}
          - {type: volume, source: data, target: /v/, volume: {nocopy: true}, read_only: true}
    """).volumes  # fmt: skip
    assert (found[0].source, found[0].create_host_path) == (str(tmp_path / "x"), False)
    assert found[0].propagation == "rslave"
    assert (found[1].tmpfs_size, found[1].tmpfs_mode) == (64 << 20, 0o700)
    assert (found[2].target, found[2].nocopy, found[2].read_only) == ("/v", True, True)


def test_paths_are_absolute_and_home_is_known(tmp_path: Path) -> None:
    lines = "volumes: ['~/a:/a', '../b:/b', '/c/../d:/d', './:/e']"
    found = service(tmp_path, lines, environ={"HOME": "/home/me"}).volumes
    assert [m.source for m in found] == ["/home/me/a", f"{tmp_path.parent}/b", "/c/../d",
        f"{tmp_path}"]


def test_a_healthcheck_in_all_its_forms(tmp_path: Path) -> None:
    found = service(tmp_path, """
        healthcheck: {test: curl -f x, interval: 1m30s, timeout: 500ms, retries: "5",
                      start_period: 1s, start_interval: 100ms}
    """).healthcheck  # fmt: skip
    assert found
    assert found.test == ("CMD-SHELL", "curl -f x")
    assert (found.interval, found.timeout, found.retries) == (90, 0.5, 5)
    assert (found.start_period, found.start_interval) == (1, 0.1)


def test_limits_come_from_both_places(tmp_path: Path) -> None:
    found = service(tmp_path, "mem_limit: 64m\ncpus: 1.5\npids_limit: 10\nshm_size: 1g\nscale: 2")
    assert (found.mem_limit, found.cpus, found.pids_limit, found.scale) == (64 << 20, 1.5, 10, 2)
    text = "deploy: {replicas: 3, resources: {limits: {cpus: '0.5', memory: 1g, pids: 5}}}"
    found = service(tmp_path, text)
    assert (found.mem_limit, found.cpus, found.pids_limit, found.scale) == (1 << 30, 0.5, 5, 3)


def test_nothing_and_less_are_no_limit(tmp_path: Path) -> None:
    found = service(tmp_path, "mem_limit: 0\npids_limit: -1\ncpus: 0\nshm_size: 0")
    assert (found.mem_limit, found.pids_limit, found.cpus, found.shm_size) == (None,) * 4


def test_everything_else_that_is_simple(tmp_path: Path) -> None:
    found = service(tmp_path, """
        entrypoint: sh -c "a b"
        command: []
        ulimits: {nofile: {soft: 1, hard: 2}, core: -1}
        extra_hosts: {b: [1.1.1.1, "::1"], a: host-gateway}
        stop_grace_period: 1m
        labels: [a, b=c=d]
        group_add: [1, x]
        logging: {driver: local, options: {max-size: 1m, max-file: 2}}
        networks: {n: {aliases: [x], ipv4_address: 10.0.0.9, priority: 5}, default: }
        depends_on: []
    """)  # fmt: skip
    assert (found.entrypoint, found.command) == (("sh", "-c", "a b"), ())
    assert [(u.name, u.soft, u.hard) for u in found.ulimits] == [("core", -1, -1), ("nofile", 1, 2)]
    assert found.extra_hosts == (("a", "host-gateway"), ("b", "1.1.1.1"), ("b", "::1"))
    assert (found.stop_grace_period, found.group_add) == (60, ("1", "x"))
    assert found.labels == {"a": "", "b": "c=d"}
    assert found.logging
    assert found.logging.options == {"max-size": "1m", "max-file": "2"}
    assert list(found.networks) == ["n", "default"]


@pytest.mark.parametrize("text", ["", "networks: []", "networks: {}"])
def test_a_service_without_networks_is_on_the_default_one(tmp_path: Path, text: str) -> None:
    assert list(service(tmp_path, text).networks) == ["default"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("ports: ['99999:1', 'a']", "not a port"),
        ("ports: [{published: 1}]", "`target` is missing"),
        ("ports: [80.5]", "not a port"),
        ("ports: ['1-65535:1-65535', '1-65535:1-65535/udp', '3:3', '4:4', '5:5']", "more than"),
        ("volumes: [{type: bind, target: /x}]", "`source` is missing"),
        ("volumes: [{type: tmpfs, target: /t, tmpfs: {mode: '0o7'}}]", "without quotes"),
        ("command: 'a (b)'", "no shell"), ("mem_limit: 5x", "not a size"),
        ("stop_grace_period: '5'", "not a duration"),
        ("healthcheck: {test: [a]}", "must begin with"),
        ("environment: ['A =1']", "blank before"), ("extra_hosts: [abc]", "HOST=ADDRESS"),
        ("scale: -1", "less than 0"), ("cpus: 1e9", "number of processors"),
        ("cpus: .inf", "not a number"),
        ("ulimits: {nofile: abc}", "not an integer"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_read_is_told_with_its_place(
    tmp_path: Path, lines: str, words: str
) -> None:
    error = refused(tmp_path, f"services:\n  s:\n    image: i\n    {lines}\n")
    assert any(words in message for _, message, _ in error.problems)
    assert all(where.startswith("compose.yaml:4:") for where, _, _ in error.problems)


def test_an_empty_item_of_a_list_of_pairs_says_nothing(tmp_path: Path) -> None:
    lines = "labels: ['${NO}', a=1]\nbuild: {context: ., args: ['', b=2], labels: ['']}"
    found = service(tmp_path, lines)
    assert found.build is not None
    assert (found.labels, found.build.args, found.build.labels) == ({"a": "1"}, {"b": "2"}, {})
    error = refused(tmp_path, "services: {s: {image: i, labels: [a=1, '=x']}}")
    assert error.problems[0][0] == "compose.yaml:1:40"


def test_an_ssh_key_may_lie_at_a_path_with_a_colon(tmp_path: Path) -> None:
    found = service(tmp_path, "build: {context: ., ssh: ['a=/x: y', 'b: /z', default]}").build
    assert found is not None
    assert found.ssh == {"a": "/x: y", "b": "/z", "default": None}
