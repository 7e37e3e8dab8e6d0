"""SIGKILL of supervisor and keeper at many moments: containers run on, nothing is forgotten."""

from __future__ import annotations

import os
import select
import signal
import time

import pytest

from orchestrator.errors import PcomposeError
from orchestrator.linux import fds, procfs
from orchestrator.runtime.spec import Healthcheck
from orchestrator.supervisor import protocol, starting
from tests.runtime.kept import kernel_tells_exit_codes
from tests.supervisor.ground import Ground

pytestmark = pytest.mark.kernel

FOREVER = "exec sleep 1000"


def test_a_container_outlives_its_supervisor(ground: Ground) -> None:
    web = ground.spec("web", FOREVER)
    ground.up(web)
    pid = ground.status(web).pid
    before = ground.info()
    ground.kill(before["pid"])
    after = ground.info()
    assert after["pid"] != before["pid"]
    assert after["keeper_pid"] == before["keeper_pid"]
    assert ground.ran(web)
    ground.stop(web)
    assert (ground.status(web).state, os.path.exists(f"/proc/{pid}")) == ("exited", False)


def test_a_container_outlives_its_keeper(ground: Ground) -> None:
    script = "trap 'echo last; exit 6' TERM; echo first; while :; do sleep 1000 & wait; done"
    web = ground.spec("web", script)
    ground.up(web)
    ground.until_said(web, "first")
    before = ground.info()
    ground.kill(before["keeper_pid"])
    assert ground.ran(web)
    ground.stop(web)
    assert ground.info()["keeper_pid"] != before["keeper_pid"]
    status = ground.status(web)
    assert status.state == "exited"
    assert status.exit_code == 6 or (status.exit_code is None and not kernel_tells_exit_codes())
    assert ground.log(web) == ["first", "last"]


def test_a_container_outlives_both(ground: Ground) -> None:
    web = ground.spec("web", FOREVER, restart="always")
    ground.up(web)
    before, pid = ground.info(), ground.status(web).pid
    for name in ("keeper_pid", "pid"):
        os.kill(before[name], signal.SIGSTOP)  # so that neither replaces the other meanwhile
    for name in ("keeper_pid", "pid"):
        ground.kill(before[name])
    assert ground.ran(web)
    assert ground.info()["pid"] != before["pid"]
    assert ground.status(web).pid == pid
    ground.kill(pid)
    ground.until(web, lambda s: s.state == "running" and s.pid != pid)


def test_an_exit_nobody_saw_is_handled_by_the_next_supervisor(ground: Ground) -> None:
    web = ground.spec("web", FOREVER, restart="on-failure")
    ground.up(web)
    before, pid = ground.info(), ground.status(web).pid
    for name in ("keeper_pid", "pid"):
        os.kill(before[name], signal.SIGSTOP)
    ground.kill(before["pid"])
    ground.kill(before["keeper_pid"])
    ground.kill(pid)
    ground.info()
    status = ground.until(web, lambda s: s.state == "running" and s.pid != pid)
    assert status.restarts == 1


def test_the_keeper_s_note_gives_the_code_of_an_exit_nobody_saw(ground: Ground) -> None:
    web = ground.spec("web", FOREVER)
    ground.up(ground.spec("other", FOREVER), web)
    before = ground.info()["pid"]
    os.kill(before, signal.SIGSTOP)
    ground.kill(ground.status(web).pid)
    ground.kill(before)
    ground.info()
    assert ground.until(web, lambda s: s.state == "exited").exit_code == 137


def test_a_back_off_goes_on_after_the_supervisor_died(ground: Ground) -> None:
    web = ground.spec("web", "exit 1", restart="always")
    ground.up(web, ground.spec("other", FOREVER))
    ground.until(web, lambda s: s.state == "restarting" and s.restarts >= 2)
    ground.kill(ground.info()["pid"])
    ground.info()
    ground.until(web, lambda s: s.restarts >= 4)


def test_health_goes_on_after_the_supervisor_died(ground: Ground) -> None:
    check = Healthcheck(test=("CMD", "test", "!", "-e", "/tmp/bad"), interval=0.1, retries=2)
    web = ground.spec("web", FOREVER, healthcheck=check)
    ground.up(web)
    ground.until(web, lambda s: s.health == "healthy")
    ground.kill(ground.info()["pid"])
    ground.exec(web, "touch", "/tmp/bad")
    ground.until(web, lambda s: s.health == "unhealthy")
    ground.exec(web, "rm", "/tmp/bad")
    ground.until(web, lambda s: s.health == "healthy")


def test_term_ends_the_supervisor_and_no_container(ground: Ground) -> None:
    web = ground.spec("web", FOREVER)
    ground.up(web)
    before, pid = ground.info(), ground.status(web).pid
    os.kill(before["pid"], signal.SIGTERM)
    ground.until_ended(before["pid"])
    assert ground.info()["keeper_pid"] == before["keeper_pid"]
    assert ground.status(web).pid == pid
    assert ground.ran(web)


@pytest.mark.parametrize("victim", ["pid", "keeper_pid"])
@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.02, 0.03, 0.05])
def test_a_kill_while_containers_start_leaves_what_the_next_up_can_finish(
    ground: Ground, victim: str, delay: float
) -> None:
    specs = [ground.spec("web", FOREVER, index=n) for n in range(1, 7)]
    ground.execute(*(protocol.CreateContainer(number=n, record=ground.record(s).to_json())
                     for n, s in enumerate(specs)))  # fmt: skip
    target = ground.info()[victim]
    lock = ground.lock()
    connection = ground.open()
    jobs = [protocol.StartContainer(number=n, container=s.id) for n, s in enumerate(specs)]
    connection.request("execute", jobs=[protocol.job_to_json(j) for j in jobs], fds=[lock])
    os.close(lock)
    time.sleep(delay)  # the moment is the parameter: nothing is waited for
    ground.kill(target)
    try:
        connection.result()
    except PcomposeError:
        assert victim == "pid", "the loss of a keeper is no error"
    connection.close()
    ground.execute(*jobs)
    pids = {ground.until(s, lambda status: status.state == "running").pid for s in specs}
    assert len(pids) == 6
    assert all(ground.ran(s) for s in specs)
    ground.execute(*(protocol.StopContainer(number=n, container=s.id)
                     for n, s in enumerate(specs)))  # fmt: skip
    assert {ground.status(s).state for s in specs} == {"exited"}


def test_a_second_supervisor_ends_at_once(ground: Ground) -> None:
    ground.up(ground.spec("web", FOREVER))
    assert not starting.start(ground.layout, "p").wait(30)


def test_a_supervisor_outlives_who_started_it(ground: Ground) -> None:
    begun = starting.start(ground.layout, "p")
    begun.wait(0)  # closes its end as the kernel does for a command that was killed
    connection = ground.open()  # without one it ends, and its log is gone
    with open(ground.layout.supervisor_log("p")) as log:
        assert log.read() == ""
    connection.close()


def test_a_supervisor_with_nothing_to_keep_ends_and_is_started_again(ground: Ground) -> None:
    job = ground.spec("job", "exit 0")
    ground.up(job)
    ground.until(job, lambda s: s.state == "exited")
    info = ground.info()
    ground.until_ended(info["pid"])
    assert ground.info()["pid"] != info["pid"]


def test_what_has_begun_as_a_fork_is_as_any_other(ground: Ground) -> None:
    """Of a warm process, which ends before it."""
    starting.keep_warm()
    try:
        ground.up(web := ground.spec("web", FOREVER))
        warm = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
                if f"orchestrator.supervisor.warm {os.getpid()}" in procfs.command_line(pid)]
    finally:
        starting.let_cool()
    info = ground.info()
    assert procfs.parent(info["pid"]) not in (0, os.getpid())
    assert warm
    assert not any("warm" in procfs.command_line(pid) for pid in warm)
    argv = starting.supervisor_argv(ground.layout, ground.project)
    assert procfs.command_line(info["pid"]).startswith(" ".join(argv))
    assert f"pcompose-keeper {ground.project} " in procfs.command_line(info["keeper_pid"])
    assert fds.lock_holder(ground.layout.supervisor_lock("p")).startswith(str(info["pid"]))
    ground.kill(info["pid"])
    assert ground.info()["pid"] != info["pid"]  # the keeper knows how one is started
    assert ground.status(web).state == "running"
    ground.down()


def test_nothing_that_its_starter_has_open_stays_open_with_it(ground: Ground) -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    try:
        ground.up(ground.spec("web", FOREVER))
    finally:
        os.close(theirs)
    assert select.select([ours], [], [], 30)[0]  # at its end
    os.close(ours)
