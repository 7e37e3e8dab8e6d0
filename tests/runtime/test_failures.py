"""Starts that fail: each names its step and its path, and leaves nothing."""

from __future__ import annotations

import os

import pytest

from orchestrator.errors import CommandNotExecutableError, CommandNotFoundError
from orchestrator.runtime.launch import launch_error
from tests.runtime.kept import Kept, eventually

pytestmark = pytest.mark.kernel


def test_a_command_that_is_not_there(kept: Kept) -> None:
    message = kept.run("web", ("no-such-command",))
    error = launch_error(message, subject="web-1", origin="compose.yaml:3")
    assert isinstance(error, CommandNotFoundError)
    assert error.message == (
        "cannot start web-1: exec no-such-command: executable file not found in PATH "
        "(compose.yaml:3)"
    )
    eventually(lambda: not any(map(os.path.exists, kept.groups())))
    assert not (kept.directory("web") / "exit.json").exists()


@pytest.mark.parametrize("command", ["/etc/passwd", "/etc"])
def test_a_command_that_cannot_be_executed(kept: Kept, command: str) -> None:
    error = launch_error(kept.run("web", (command,)), subject="web-1")
    assert isinstance(error, CommandNotExecutableError)
    assert "ermission denied" in error.message


def test_a_script_whose_interpreter_is_missing(kept: Kept) -> None:
    script = kept.rootfs / "srv/script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    error = launch_error(kept.run("web", ("/srv/script",)), subject="web-1")
    assert isinstance(error, CommandNotFoundError)
    assert "interpreter" in error.message


def test_a_script_without_its_first_line(kept: Kept) -> None:
    script = kept.rootfs / "srv/script"
    script.write_text("echo hello\n")
    script.chmod(0o755)
    error = launch_error(kept.run("web", ("/srv/script",)), subject="web-1")
    assert isinstance(error, CommandNotExecutableError)
    assert error.hint is not None
    assert "#!" in error.hint


def test_a_user_that_is_not_there(kept: Kept) -> None:
    message = kept.run("web", ("/bin/true",), user="nobody-knows")
    assert message["step"] == "user nobody-knows"
    assert "no user of this name" in message["message"]


def test_a_limit_that_cannot_be_raised(kept: Kept) -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    message = kept.run("web", ("/bin/true",), rlimits=(("bogus", 1, 1),))
    assert message["path"] == "bogus=1:1"
    too_soft = (("nofile", hard + 1, hard),)
    assert kept.run("two", ("/bin/true",), rlimits=too_soft)["event"] == "failed"


def test_a_missing_layer(kept: Kept) -> None:
    from dataclasses import replace

    spec = kept.spec("probe", ())
    rootfs = replace(spec.rootfs, lowers=("/no/such/layer",))
    message = kept.run("web", ("/bin/true",), rootfs=rootfs)
    assert message["step"] == "overlay of 1 layers at /"


def test_a_container_that_runs_is_not_started_twice(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"))
    spec = kept.specs["web"]
    from orchestrator.runtime.launch import launch_request

    again = launch_request(spec, hierarchy=kept.hierarchy, wait_for_network=False, stdio="log",
                           **kept.paths("web"))
    kept.channel.send(again)
    assert "already" in kept.event("failed")["message"]


def test_a_start_that_is_given_up_leaves_nothing(kept: Kept) -> None:
    kept.channel.send(kept.request("web", ("/bin/true",), wait=True))
    pid = kept.event("cloned")["pid"]
    kept.channel.send({"op": "abort", "id": kept.specs["web"].id})
    assert kept.event("failed")["step"] == "abort"
    assert not os.path.exists(f"/proc/{pid}")


def test_the_command_waits_for_the_network(kept: Kept) -> None:
    kept.channel.send(kept.request("web", ("/bin/echo", "hello"), wait=True))
    kept.event("cloned")
    assert kept.ask({"op": "list"}, "list")["containers"] == []
    kept.channel.send({"op": "go", "id": kept.specs["web"].id})
    kept.event("started")
    kept.exited("web")
    assert kept.output("web") == "hello"


def test_a_keeper_that_dies_takes_a_start_that_waits_along(kept: Kept) -> None:
    kept.channel.send(kept.request("web", ("/bin/true",), wait=True))
    pid = kept.event("cloned")["pid"]
    os.kill(kept.keeper_pid, 9)
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    kept.reconnect()
    for group in kept.groups():
        eventually(lambda path=group: _remove(path))


def _remove(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "message",
    [{"op": "launch"}, {"op": "launch", "id": "x"}, {"op": "exec", "exec_id": "y"}, {"op": "?"}, {},
     {"op": "adopt", "id": []}, {"op": "go", "id": "none"}, {"op": "exec_kill"},
     {"op": "store"}, {"op": "launch", "id": "z", "stdio": "x", "steps": [{"step": "Bogus"}],
                       "namespaces": 0, "birth_group": ""}],
    ids=str,
)  # fmt: skip
def test_a_bad_message_is_survived(kept: Kept, message: dict[str, object]) -> None:
    kept.channel.send(message)
    assert kept.ask({"op": "list"}, "list")["pid"] == kept.keeper_pid
    assert kept.sh("web", "echo well") == "well"


def test_a_supervisor_that_dies_takes_the_starts_along_that_wait_for_it(kept: Kept) -> None:
    kept.start("other", ("/bin/sleep", "1000"))
    kept.channel.send(kept.request("web", ("/bin/true",), wait=True))
    pid = kept.event("cloned", id=kept.specs["web"].id)["pid"]
    kept.channel.close()
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    kept.channel = kept.connect()
    assert [c["id"] for c in kept.ask({"op": "list"}, "list")["containers"]] == [
        kept.specs["other"].id]  # fmt: skip
