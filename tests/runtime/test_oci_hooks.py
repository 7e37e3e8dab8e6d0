"""Hooks of OCI bundles: when they run and where, what they are told, what their failure does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.runtime.oci import hooks
from orchestrator.runtime.oci.faults import OciError
from tests.runtime.bundle import Bundles, Config

pytestmark = pytest.mark.kernel
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def note(bundles: Bundles, kind: str, number: int = 0, *, ends: str = "exit 0") -> Config:
    """A hook that writes what it is told into a file of the test; startContainer sees the
    container's root, so its file is in there."""
    place = "/tmp" if kind == "startContainer" else str(bundles.root)
    script = (f"{{ echo {kind}{number}; cat; echo; readlink /proc/self/ns/mnt; env; }} "
              f">> {place}/notes; {ends}")
    return {"path": "/bin/sh", "args": ["hook-name", "-c", script], "env": ["ONLY=this"]}


def configured(bundles: Bundles, *argv: str, **by_kind: list[Config]) -> Config:
    def change(config: Config) -> None:
        config["hooks"] = by_kind
        config["annotations"] = {"a": "b"}

    return bundles.config(*argv, change=change)


class Note:
    """What one hook wrote."""

    def __init__(self, lines: list[str]) -> None:
        self.name = lines[0]
        self.state: dict[str, Any] = json.loads(lines[1])
        self.namespace = lines[2]
        self.environment = set(lines[3:])


def notes(path: Path) -> list[Note]:
    if not path.exists():
        return []
    found: list[list[str]] = []
    for line in path.read_text().splitlines():
        if line.rstrip("0123456789") in KINDS:
            found.append([])
        found[-1].append(line)
    return [Note(lines) for lines in found]


def test_each_kind_runs_in_its_order_place_and_with_the_state(bundles: Bundles) -> None:
    by_kind = {kind: [note(bundles, kind, n) for n in (1, 2)] for kind in KINDS}
    config = configured(bundles, "sleep", "1000", **by_kind)
    assert bundles.create("c", config).returncode == 0
    outside = bundles.root / "notes"
    at_create = notes(outside)
    assert [each.name for each in at_create] == [
        "prestart1", "prestart2", "createRuntime1", "createRuntime2", "createContainer1",
        "createContainer2"]  # fmt: skip
    state = bundles.state("c")
    told = {key: state[key] for key in ("ociVersion", "id", "bundle", "annotations", "pid")}
    assert all(each.state == {**told, "status": "created"} for each in at_create)
    own = os.readlink("/proc/self/ns/mnt")
    theirs = os.readlink(f"/proc/{state['pid']}/ns/mnt")
    assert [each.namespace for each in at_create] == [own] * 4 + [theirs] * 2
    assert "ONLY=this" in at_create[0].environment
    assert not any(text.startswith("PATH=/usr/local") for text in at_create[0].environment)
    assert bundles.call("start", "c").returncode == 0
    after = notes(outside)[6:]
    assert [(each.name, each.state["status"]) for each in after] == [
        ("poststart1", "running"), ("poststart2", "running")]
    inside = notes(bundles.rootfs / "tmp/notes")
    assert [each.name for each in inside] == ["startContainer1", "startContainer2"]
    assert inside[0].namespace == theirs
    assert inside[0].state["pid"] == state["pid"]
    assert bundles.call("delete", "--force", "c").returncode == 0
    last = notes(outside)[8:]
    assert [(each.name, each.state["status"]) for each in last] == [
        ("poststop1", "stopped"), ("poststop2", "stopped")]


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_of_create_undoes_it_and_poststop_runs(bundles: Bundles, kind: str) -> None:
    failing = note(bundles, kind, 1, ends="echo no luck >&2; exit 3")
    config = configured(bundles, "true", **{kind: [failing, note(bundles, kind, 2)],
                                            "poststop": [note(bundles, "poststop")]})
    done = bundles.create("c", config)
    assert done.returncode == 1
    assert f"{kind} hook /bin/sh failed with code 3: no luck" in done.stderr
    assert [each.name for each in notes(bundles.root / "notes")] == [f"{kind}1", "poststop0"]
    assert bundles.leftovers() == []


def test_a_failing_start_container_hook_fails_start(bundles: Bundles) -> None:
    failing = note(bundles, "startContainer", ends="exit 3")
    assert bundles.create("c", configured(
        bundles, "echo", "ran", startContainer=[failing])).returncode == 0
    done = bundles.call("start", "c")
    assert done.returncode == 1
    assert "startContainer hook" in done.stderr
    assert bundles.output("c") == ""
    assert bundles.call("state", "c").returncode == 0


def test_a_failing_poststart_hook_ends_the_container(bundles: Bundles) -> None:
    config = configured(bundles, "sleep", "1000",
                        poststart=[note(bundles, "poststart", ends="exit 3")],
                        poststop=[note(bundles, "poststop")])
    assert bundles.create("c", config).returncode == 0
    assert bundles.call("start", "c").returncode == 1
    assert [each.name for each in notes(bundles.root / "notes")] == ["poststart0", "poststop0"]
    assert bundles.leftovers() == []


def test_a_failing_poststop_hook_is_a_warning(bundles: Bundles) -> None:
    config = configured(bundles, "true", poststop=[
        note(bundles, "poststop", 1, ends="exit 3"), note(bundles, "poststop", 2)])
    done = bundles.run("c", config)
    assert done.returncode == 0
    assert "warning: poststop hook" in done.stderr
    assert [each.name for each in notes(bundles.root / "notes")] == ["poststop1", "poststop2"]


STATE = {"id": "c", "padding": "x" * (1 << 18)}


def test_a_hook_need_not_read_what_it_is_told() -> None:
    hooks.run({"path": "/bin/true"}, STATE, kind="prestart")
    hooks.run({"path": "/bin/sh", "args": ["sh", "-c", "exec <&-; exit 0"]}, STATE, kind="prestart")


@pytest.mark.parametrize(("hook", "words"), [
    ({"path": "/bin/false"}, "failed with code 1"),
    ({"path": "/nonexistent"}, "no such file"),
    ({"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $$"]}, "ended by signal 9"),
    ({"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}, "within 1 s"),
], ids=str)  # fmt: skip
def test_a_hook_that_fails_is_told_with_its_reason(hook: Config, words: str) -> None:
    with pytest.raises(OciError, match=words):
        hooks.run(hook, STATE, kind="prestart")


def test_a_hook_that_leaves_somebody_behind_is_over_when_it_ends() -> None:
    hooks.run({"path": "/bin/sh", "args": ["sh", "-c", "sleep 5 & exit 0"]}, {}, kind="prestart")


def test_a_hook_with_a_relative_path_or_no_time_is_refused(bundles: Bundles) -> None:
    for hook in ({"path": "relative"}, {"path": "/bin/true", "timeout": 0},
                 {"path": "/bin/true", "timeout": -1}):  # fmt: skip
        done = bundles.create("c", configured(bundles, "true", poststop=[hook]))
        assert done.returncode == 1
