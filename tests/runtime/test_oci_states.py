"""The life of an OCI container as a state machine: any order of commands, kills of the first
process in between, and what `state` and exit codes say after each."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from orchestrator.runtime.oci import main as cli
from tests.runtime.bundle import Bundles
from tests.runtime.kept import eventually

pytestmark = pytest.mark.kernel
ABSENT = "absent"


class Life(RuleBasedStateMachine):
    """One container that sleeps; the model is one word."""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        os.chmod(self.directory.name, 0o755)
        self.world = Bundles(Path(self.directory.name))
        self.status = self.beneath = ABSENT

    def does(self, *words: str, from_: set[str], to: str | None = None) -> None:
        """The command works exactly in these states.  `beneath` is what a resume brings back."""
        done = self.world.call(*words)
        fits = self.status in from_
        assert (done.returncode == 0) is fits, (words, self.status, done.stderr)
        assert len(done.stderr.splitlines()) == (0 if fits else 1)
        if fits and to is not None:
            self.status = to
        self.look()

    def look(self) -> None:
        done = self.world.call("state", "c")
        if self.status == ABSENT:
            assert done.returncode == 1
            assert self.world.leftovers() == []
        else:
            assert f'"status":"{self.status}"' in done.stdout

    @rule()
    def create(self) -> None:
        done = self.world.create("c", self.world.config("sleep", "1000"))
        assert (done.returncode == 0) is (self.status == ABSENT)
        if self.status == ABSENT:
            self.status = "created"
        self.look()

    @rule()
    def start(self) -> None:
        self.does("start", "c", from_={"created"}, to="running")

    @rule()
    def pause(self) -> None:
        self.beneath = self.status if self.status in ("created", "running") else self.beneath
        self.does("pause", "c", from_={"created", "running"}, to="paused")

    @rule()
    def resume(self) -> None:
        self.does("resume", "c", from_={"paused"}, to=self.beneath)

    @rule()
    def delete(self) -> None:
        self.does("delete", "c", from_={"stopped"}, to=ABSENT)

    @rule()
    def delete_with_force(self) -> None:
        self.does("delete", "--force", "c",
                  from_={ABSENT, "created", "running", "paused", "stopped"}, to=ABSENT)

    @rule()
    def exec(self) -> None:
        self.does("exec", "c", "true", from_={"created", "running"})

    @rule()
    def update(self) -> None:
        self.does("update", "--pids-limit", "50", "c", from_={"created", "running", "paused"})

    @rule()
    def kill(self) -> None:
        living = {"created", "running", "paused"}
        done = self.world.call("kill", "c", "KILL")
        assert (done.returncode == 0) is (self.status in living)
        if self.status in living:
            self.status = "stopped"
            self.world.wait("c")
        self.look()

    @precondition(lambda self: self.status in ("created", "running"))
    @rule()
    def it_dies(self) -> None:
        pid = self.world.state("c")["pid"]
        os.kill(pid, 9)
        eventually(lambda: self.world.status("c") == "stopped")
        self.status = "stopped"

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.used.add("c")
            self.world.close()
            self.directory.cleanup()


Life.TestCase.settings = settings(
    max_examples=5, stateful_step_count=10, deadline=None,
    suppress_health_check=list(HealthCheck))
TestLife = Life.TestCase


def test_a_create_that_is_killed_leaves_what_force_can_delete(bundles: Bundles) -> None:
    """SIGKILL at any moment: the state says stopped, and delete takes it all away."""
    assert bundles.create("c", bundles.config("true")).returncode == 0
    container = bundles.state_root / "c/state.json"
    text = container.read_text()
    container.write_text(text.replace('"is_complete":true', '"is_complete":false'))
    assert bundles.status("c") == "stopped"
    assert bundles.call("start", "c").returncode == 1
    assert bundles.call("delete", "--force", "c").returncode == 0
    assert bundles.leftovers() == []


def test_a_state_file_that_is_none_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("a", "{"), ("b", "[]"), ("c", "{}"), ("d", '{"pid": "x"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text(text)
        assert cli.main(["--root", str(tmp_path), "state", name]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert cli.main(["--root", str(tmp_path), "list", "-q"]) == 0
