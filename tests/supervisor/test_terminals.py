"""Containers and commands with a terminal."""

from __future__ import annotations

import os
import select

import pytest

from orchestrator.supervisor import protocol
from tests.supervisor.ground import Ground

pytestmark = pytest.mark.kernel


def read_until(master: int, text: bytes) -> bytes:
    """What the terminal shows up to and with `text`."""
    seen = b""
    while text not in seen:
        assert select.select([master], [], [], 10)[0], seen
        seen += os.read(master, 4096)
    return seen


def test_a_one_off_with_a_terminal_hands_its_master_to_the_client(ground: Ground) -> None:
    one = ground.spec("tool", "tty; read x; echo got $x; exit 4", index=0, oneoff=True, tty=True)
    watch, lock, connection = ground.watch(), ground.lock(), ground.open()
    jobs = [
        protocol.CreateContainer(number=1, record=ground.record(one).to_json()),
        protocol.StartContainer(number=2, after=(1,), container=one.id),
    ]
    connection.request("execute", fds=[lock], stdio=2,
                       jobs=[protocol.job_to_json(job) for job in jobs])
    os.close(lock)
    [(message, [master]), _] = connection.answers(lambda event: None)
    connection.close()
    assert message == {"tty": one.id}
    read_until(master, b"/dev/pts/0")
    os.write(master, b"it\n")
    read_until(master, b"got it")
    assert watch.until("die").exit_code == 4
    watch.close()
    os.close(master)


def test_the_output_of_a_terminal_is_logged(ground: Ground) -> None:
    web = ground.spec("web", "tty; exec sleep 1000", tty=True)
    ground.up(web)
    ground.exec(web, "true")
    ground.stop(web)
    assert [line.rstrip() for line in ground.log(web)] == ["/dev/pts/0"]


@pytest.mark.parametrize("victim", ["pid", "keeper_pid"])
def test_a_container_with_a_terminal_is_not_hung_up(ground: Ground, victim: str) -> None:
    web = ground.spec("web", "exec sleep 1000", tty=True)
    ground.up(web)
    pid = ground.status(web).pid
    ground.kill(ground.info()[victim])
    ground.info()
    assert ground.ran(web)
    assert ground.status(web).pid == pid


def test_exec_with_a_terminal_gives_a_master_and_the_code(ground: Ground) -> None:
    web = ground.spec("web", "exec sleep 1000")
    ground.up(web)
    connection = ground.open()
    connection.request("exec", container=web.id, tty=True,
                       argv=["/bin/sh", "-c", "tty; read x; exit $x"])
    answers = connection.answers(lambda event: None)
    message, [master] = next(answers)
    assert message["started"] > 0
    read_until(master, b"/dev/pts/")
    os.write(master, b"7\n")
    assert next(answers)[0] == {"result": {"exit_code": 7}}
    connection.close()
    os.close(master)


def test_a_client_that_leaves_hangs_its_command_up(ground: Ground) -> None:
    web = ground.spec("web", "exec sleep 1000")
    ground.up(web)
    connection = ground.open()
    null = os.open("/dev/null", os.O_RDWR)
    connection.request("exec", container=web.id, argv=["sleep", "1000"], fds=[null] * 3)
    os.close(null)
    pid = connection.receive()[0]["started"]
    connection.close()
    ground.until_ended(pid)
