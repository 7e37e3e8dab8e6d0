"""Small inputs that stand for much, and inputs without an end: refused soon, in little memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import PcomposeError, SpecError
from orchestrator.plan.diff import diff
from orchestrator.plan.policy import UpPolicy
from orchestrator.spec import reading
from orchestrator.state.observed import Observed
from tests.spec.loading import acted_on, loaded, refused, service, write

MEMORY = 1 << 30
"""Address space beyond what the test begins with: a bomb fails here instead of on the machine."""
SERVICE = "services: {s: {image: i}}\n"


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A named pipe into which nobody writes."""
    monkeypatch.setattr(reading, "PATIENCE", 0.01)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("include: [pipe]", "compose.yaml:1:11"),
        ("services: {s: {extends: {file: pipe, service: x}}}", "compose.yaml:1:26"),
        ("services: {s: {image: i, env_file: pipe}}", "compose.yaml:1:26"),
        ("services: {s: {image: i, label_file: pipe}}", "compose.yaml:1:26"),
    ],
)
def test_a_pipe_nobody_writes_to_is_refused_where_it_is_named(
    tmp_path: Path, pipe: Path, text: str, place: str
) -> None:
    with pytest.raises(SpecError) as caught:
        acted_on(tmp_path, text)
    assert [where for where, _, _ in caught.value.problems] == [place]


def test_a_pipe_nobody_writes_to_is_no_file_of_variables_nor_a_project(
    tmp_path: Path, pipe: Path
) -> None:
    for options in ({"env_files": ("pipe",)}, {"files": ("pipe",)}):
        assert "nobody writes to it" in str(refused(tmp_path, SERVICE, **options))


@pytest.mark.parametrize(
    "text",
    ["include: [/dev/zero]", "services: {s: {extends: {file: /dev/zero, service: x}}}",
     "services: {s: {image: i, env_file: /dev/zero}}",
     "services: {s: {image: i, label_file: /dev/zero}}"],
)  # fmt: skip
def test_an_endless_device_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError, match=r"larger than|not a file"):
        acted_on(tmp_path, text)


def test_endless_input_is_refused_as_a_project_and_as_variables(tmp_path: Path) -> None:
    assert "larger than" in str(refused(tmp_path, files=("/dev/zero",)))
    assert "larger than" in str(refused(tmp_path, SERVICE, env_files=("/dev/zero",)))
    with open("/dev/zero", "rb") as endless:
        assert "larger than" in str(refused(tmp_path, files=("-",), stdin=endless))


def test_a_pipe_is_read_once_and_to_its_end(tmp_path: Path) -> None:
    descriptor, writer = os.pipe()
    with open(descriptor, "rb"), open(writer, "wb") as into:
        def write_slowly() -> None:
            for piece in (b"A=", b"piped\n"):
                into.write(piece)
                into.flush()
            into.close()

        thread = threading.Thread(target=write_slowly)
        thread.start()
        found = service(tmp_path, "environment: [A]", env_files=(f"/dev/fd/{descriptor}",))
        thread.join()
    assert found.environment == {"A": "piped"}


def test_files_that_include_each_other_twice_on_every_level_are_refused(tmp_path: Path) -> None:
    for n in range(40):
        write(tmp_path, **{f"f{n}_yaml": f"include: [f{n + 1}.yaml, {{path: f{n + 1}.yaml}}]\n"})
    write(tmp_path, f40_yaml=SERVICE)
    assert "more than 1000 entries" in str(refused(tmp_path, "include: [f0.yaml]"))


def test_services_that_inherit_much_each_are_refused(tmp_path: Path) -> None:
    many = ", ".join(f"L{n}: x" for n in range(10_000))
    heirs = "\n".join(f"  s{n}: {{extends: base}}" for n in range(300))
    text = f"services:\n  base: {{image: i, labels: {{{many}}}}}\n{heirs}\n"
    assert "larger than 500000 values" in str(refused(tmp_path, text))


def test_ranges_of_ports_are_added_up_before_they_are_made(tmp_path: Path) -> None:
    heirs = "\n".join(f"  s{n}: *s" for n in range(100))
    text = f"x-s: &s {{image: i, ports: ['1-65535:1-65535']}}\nservices:\n{heirs}\n"
    assert "more than 200000 ports" in str(refused(tmp_path, text))


@pytest.mark.parametrize("form", ["{0}=${1}${1}", '{0}="${1}${1}"', "{0}=${{{1}}}${{{1}:-x}}"])
def test_variables_that_double_with_every_line_are_refused(tmp_path: Path, form: str) -> None:
    lines = ["V0=" + "x" * 100, *(form.format(f"V{n + 1}", f"V{n}") for n in range(60))]
    (tmp_path / ".env").write_text("\n".join(lines))
    place, message, _ = refused(tmp_path, SERVICE).problems[0]
    assert place.startswith(".env:")
    assert "longer than 16 MiB" in message


def test_a_file_that_says_a_long_variable_often_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("V=" + "x" * (1 << 20))
    labels = {f"l{n}": "$V$V$V" for n in range(99)}
    for said, bound in (({"labels": labels}, "64 MiB"), ({"hostname": "$V" * 99}, "16 MiB")):
        text = json.dumps({"services": {"s": {"image": "i", **said}}})
        assert f"longer than {bound}" in str(refused(tmp_path, text))


@pytest.mark.parametrize("count", [49, 3000, 200_000])
@pytest.mark.parametrize("place", ["file", ".env"])
def test_defaults_in_defaults_end(tmp_path: Path, count: int, place: str) -> None:
    nested = "".join(f"${{A{n}:-" for n in range(count)) + "end" + "}" * count
    (tmp_path / ".env").write_text(f"V={nested}\n" if place == ".env" else "")
    text = json.dumps({"services": {"s": {"image": "$V" if place == ".env" else nested}}})
    if count < 50:
        assert loaded(tmp_path, text).services["s"].image == "end"
    else:
        assert "nested deeper than 50" in str(refused(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    ["A=1\n" * (1 << 17), "A=" + "$" * (1 << 20), "#" * (3 << 20),
     "A=" + "x" * (3 << 20), "A='" + "\n" * (1 << 20) + "'"],
    ids=["lines", "value", "comment", "long", "quoted"],
)  # fmt: skip
def test_a_huge_env_file_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_text(text)
    assert list(loaded(tmp_path, SERVICE).services) == ["s"]


@pytest.mark.parametrize(
    "text",
    ['A="' + '\\"' * (1 << 20), "A" * (3 << 20) + "$", "A='" + "\n" * (1 << 20), "#" * (5 << 20),
     "A=" + "${" * (1 << 20), "$" * (1 << 20)],
    ids=["quotes", "name", "lines", "size", "open", "dollars"],
)  # fmt: skip
def test_what_is_wrong_with_a_huge_env_file_is_told_in_short(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_text(text)
    assert len(str(refused(tmp_path, SERVICE))) < 300


@pytest.mark.parametrize(
    "key",
    ["scale: 1e30", "scale: 99999999999999999999", "mem_limit: 1e300", "cpu_shares: 1e308",
     "pids_limit: -99999999999999999999", "stop_grace_period: 9999999999999h",
     "healthcheck: {retries: 1e99}", "ulimits: {nofile: 1e99}", f"shm_size: {'9' * 400}g",
     f"healthcheck: {{interval: {'9' * 400}h}}", f"cpus: '{'9' * 400}'", "ports: [1e99]",
     "secrets: [{source: s, mode: 1e99}]", "secrets: [{source: s, mode: -1}]", "scale: 100000000",
     "deploy: {replicas: 4000000000}"],
)  # fmt: skip
def test_a_huge_number_is_refused_where_it_is_written(tmp_path: Path, key: str) -> None:
    with pytest.raises(SpecError) as caught:
        acted_on(tmp_path, f"services:\n  s:\n    image: i\n    {key}\nsecrets: {{s: {{file: x}}}}")
    place, message, _ = caught.value.problems[0]
    assert place.startswith("compose.yaml:4:")
    assert len(message) < 200


LONG_KEYS = (
    "stop_grace_period: %s", "healthcheck: {test: x, interval: %s}", "mem_limit: %s",
    "shm_size: %s", "cpus: %s", "cpu_percent: %s", "scale: %s", "ports: [%s]", "mem_swappiness: %s",
    "pids_limit: %s", "privileged: %s", "volumes: [%s]", "user: %s", "container_name: %s",
    "devices: [%s]", "pull_policy: %s", "restart: %s", "network_mode: %s", "ulimits: {nofile: %s}",
    "deploy: {resources: {limits: {cpus: %s}}}", "secrets: [{source: s, mode: %s}]", "labels: [%s]",
    "environment: [%s]", "extra_hosts: [%s]", "build: {context: %s}", "platform: %s", "image: %s",
    "build: {context: ., ssh: [%s]}", "env_file: [%s]", "volumes_from: [%s]", "links: [%s]",
    "networks: {default: {ipv4_address: %s}}", "blkio_config: {weight: %s}", "command: %s",
)  # fmt: skip


@pytest.mark.parametrize("piece", ["1", "1.", ".", "a", "-", "1s", "1h ", ":", "=", "/", "$$"])
def test_a_long_text_takes_time_in_proportion_to_its_length(tmp_path: Path, piece: str) -> None:
    """A pattern that tries every split needs hours here; seconds of this process are counted."""
    def too_slow(number: int, frame: object) -> None:
        raise TimeoutError("a text of 200 kB takes more than 30 s of computing time")

    before = signal.signal(signal.SIGVTALRM, too_slow)
    try:
        for key in LONG_KEYS:
            signal.setitimer(signal.ITIMER_VIRTUAL, 30)
            said = json.dumps(piece * (200_000 // len(piece)) + "!")
            text = f"services:\n  s:\n    {key % said}\nsecrets: {{s: {{file: x}}}}"
            with contextlib.suppress(SpecError):
                acted_on(tmp_path, text)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_a_huge_scale_of_the_command_line_is_refused(tmp_path: Path) -> None:
    project = loaded(tmp_path, SERVICE)
    policy = UpPolicy(scale={"s": 10**9})
    with pytest.raises(PcomposeError, match="cannot be scaled"):
        diff(project, Observed(project=None, name="p"), policy, image_ids={})


def test_a_document_after_the_bound_is_not_read(tmp_path: Path) -> None:
    stream = io.BytesIO(SERVICE.encode() + b"# " + b"x" * (33 << 20))
    assert "larger than 32 MiB" in str(refused(tmp_path, files=("-",), stdin=stream))
