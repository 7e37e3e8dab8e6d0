"""Containers from start to removal, with the real keeper."""

from __future__ import annotations

import os
import time

import pytest

from orchestrator.errors import (
    CommandNotFoundError,
    DependencyError,
    PortInUseError,
    StateError,
    SupervisorError,
)
from orchestrator.runtime.spec import PublishedPort
from orchestrator.supervisor import client, protocol
from tests.supervisor.ground import Ground, words

pytestmark = pytest.mark.kernel

FOREVER = "exec sleep 1000"
TRAPPING = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 1000 & wait; done"


def test_a_container_starts_runs_and_is_removed(ground: Ground) -> None:
    web = ground.spec("web", f"echo hello; {FOREVER}")
    events = ground.up(web)
    assert words(events) == [f"Container p-web-1 {w}" for w in
                             ("Creating", "Created", "Starting", "Started")]  # fmt: skip
    assert ground.status(web).state == "running"
    pid = ground.status(web).pid
    ground.down()
    assert not os.path.exists(f"/proc/{pid}")
    assert not os.path.exists(ground.layout.container("p", web.id))


def test_starting_a_running_container_does_nothing(ground: Ground) -> None:
    web = ground.spec("web", FOREVER)
    ground.up(web)
    pid = ground.status(web).pid
    assert words(ground.start(web)) == ["Container p-web-1 Running"]
    assert ground.status(web).pid == pid


def test_an_exit_code_and_the_output_are_kept(ground: Ground) -> None:
    job = ground.spec("job", "echo out; echo err >&2; exit 7")
    ground.up(job)
    status = ground.until(job, lambda s: s.state == "exited")
    assert (status.exit_code, status.pid) == (7, 0)
    assert sorted(ground.log(job)) == ["err", "out"]


def test_forty_containers_start_together(ground: Ground) -> None:
    specs = [ground.spec("web", FOREVER, index=n) for n in range(1, 41)]
    events = ground.up(*specs)
    last_create = max(n for n, w in enumerate(words(events)) if w.endswith("Starting"))
    first_done = min(n for n, w in enumerate(words(events)) if w.endswith("Started"))
    assert last_create < first_done, "starts do not overlap"
    assert all(ground.ran(spec) for spec in specs)


def test_a_signal_pid_1_ignores_is_not_waited_for(ground: Ground) -> None:
    web = ground.spec("web", "sleep 1000; true", stop_grace_period=30.0)
    ground.up(web)
    began = time.monotonic()
    ground.stop(web)
    assert time.monotonic() - began < 5
    assert ground.status(web).exit_code == 137


def test_a_signal_pid_1_blocks_for_a_moment_only_is_not_waited_for(ground: Ground) -> None:
    web = ground.spec("web", "while :; do /bin/true; done", stop_grace_period=30.0)
    ground.up(web)
    for _ in range(10):
        began = time.monotonic()
        ground.stop(web)
        assert time.monotonic() - began < 10
        assert ground.status(web).exit_code == 137
        ground.start(web)


def test_a_signal_pid_1_fetches_with_sigwait_is_waited_for(ground: Ground) -> None:
    script = (
        "import signal, time; signal.pthread_sigmask(0, [15]); print('ready', flush=True);"
        "signal.sigwait([15]); time.sleep(0.5); raise SystemExit(4)"
    )
    web = ground.spec("web", "", argv=("/usr/bin/python3", "-c", script), stop_grace_period=30.0)
    ground.up(web)
    ground.until_said(web, "ready")
    ground.stop(web)
    assert ground.status(web).exit_code == 4


def test_a_signal_pid_1_handles_is_waited_for(ground: Ground) -> None:
    web = ground.spec("web", TRAPPING, stop_grace_period=30.0)
    ground.up(web)
    ground.until_said(web, "ready")
    ground.stop(web)
    status = ground.status(web)
    assert (status.state, status.exit_code, status.stopped_by_user) == ("exited", 3, True)


def test_the_grace_period_ends_with_a_kill(ground: Ground) -> None:
    web = ground.spec("web", "trap : TERM; while :; do sleep 1000 & wait; done")
    ground.up(web)
    began = time.monotonic()
    ground.stop(web, timeout=0.3)
    assert 0.2 < time.monotonic() - began < 5
    assert ground.status(web).exit_code == 137


def test_watchers_see_docker_s_order_of_events(ground: Ground) -> None:
    watch = ground.watch()
    web = ground.spec("web", TRAPPING)
    ground.up(web)
    ground.until_said(web, "ready")
    ground.stop(web)
    ground.execute(protocol.RemoveContainer(number=1, container=web.id))
    assert watch.actions("destroy") == ["create", "start", "kill", "die", "stop", "destroy"]
    watch.close()


def test_a_stop_between_two_runs_is_told(ground: Ground) -> None:
    watch = ground.watch()
    web = ground.spec("web", "exit 1", restart="always")
    ground.up(web)
    ground.until(web, lambda s: s.state == "restarting" and s.restarts > 2)
    ground.execute(protocol.StopContainer(number=1, container=web.id))
    assert watch.actions("stop")[-2:] == ["die", "stop"]
    assert ground.status(web).state == "exited"
    watch.close()


def test_a_stop_and_a_start_in_one_request_is_a_restart(ground: Ground) -> None:
    web = ground.spec("web", FOREVER)
    ground.up(web)
    watch = ground.watch()
    ground.execute(protocol.StopContainer(number=1, container=web.id),
                   protocol.StartContainer(number=2, after=(1,), container=web.id))
    seen = watch.actions("restart")
    assert [a for a in seen if a != "kill"] == ["die", "stop", "start", "restart"]
    assert ground.ran(web)
    watch.close()


def test_killing_with_a_signal_reaches_pid_1(ground: Ground) -> None:
    web = ground.spec("web", "trap 'exit 9' USR1; echo ready; while :; do sleep 1000 & wait; done")
    ground.up(web)
    ground.execute(protocol.KillContainer(number=1, container=web.id, signal="SIGTERM"))
    assert ground.ran(web)
    ground.execute(protocol.KillContainer(number=1, container=web.id))
    assert ground.until(web, lambda s: s.state == "exited").exit_code == 137


def test_removing_a_running_container_needs_force(ground: Ground) -> None:
    web = ground.spec("web", FOREVER)
    ground.up(web)
    with pytest.raises(StateError, match="it is running"):
        ground.execute(protocol.RemoveContainer(number=1, container=web.id))
    ground.execute(protocol.RemoveContainer(number=1, container=web.id, force=True))
    assert not os.path.exists(ground.layout.container("p", web.id))


# Restart policies


def test_always_starts_again_with_a_longer_delay_each_time(ground: Ground) -> None:
    web = ground.spec("web", "exit 1", restart="always")
    ground.up(web)
    status = ground.until(web, lambda s: s.restarts >= 3)
    assert time.time() - status.started_at < 10
    ground.stop(web)
    assert ground.status(web).state == "exited"


def test_on_failure_gives_up_after_its_retries(ground: Ground) -> None:
    web = ground.spec("web", "exit 4", restart="on-failure", restart_retries=2)
    ground.up(web)
    status = ground.until(web, lambda s: s.state == "exited")
    assert (status.restarts, status.exit_code) == (2, 4)


def test_a_killed_process_comes_back(ground: Ground) -> None:
    web = ground.spec("web", FOREVER, restart="unless-stopped")
    ground.up(web)
    pid = ground.status(web).pid
    ground.kill(pid)
    status = ground.until(web, lambda s: s.state == "running" and s.pid != pid)
    assert status.restarts == 1


def test_a_stop_silences_the_policy_until_the_next_start(ground: Ground) -> None:
    web = ground.spec("web", FOREVER, restart="always")
    ground.up(web)
    ground.stop(web)
    assert ground.status(web).state == "exited"
    ground.start(web)
    pid = ground.status(web).pid
    ground.kill(pid)
    ground.until(web, lambda s: s.state == "running" and s.pid != pid)


# Failures leave what the next up or down handles


def test_a_command_that_is_not_there_is_one_clear_error(ground: Ground) -> None:
    web = ground.spec("web", "", argv=("/no/such",))
    with pytest.raises(CommandNotFoundError, match=r"cannot start p-web-1.*/no/such"):
        ground.up(web)
    status = ground.status(web)
    assert (status.state, status.exit_code) == ("created", 127)
    assert "/no/such" in status.error


def test_an_error_keeps_what_has_not_begun_from_beginning(ground: Ground) -> None:
    bad, good = ground.spec("bad", "", argv=("/no/such",)), ground.spec("good", FOREVER)
    with pytest.raises(CommandNotFoundError):
        ground.execute(
            protocol.CreateContainer(number=1, record=ground.record(bad).to_json()),
            protocol.StartContainer(number=2, after=(1,), container=bad.id),
            protocol.CreateContainer(number=3, after=(2,), record=ground.record(good).to_json()),
        )
    assert not os.path.exists(ground.layout.container("p", good.id))


def test_a_taken_port_names_its_holder_and_nothing_runs(ground: Ground) -> None:
    import socket

    network = ground.network()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        port = PublishedPort(target=80, protocol="tcp", host_ip="127.0.0.1", first=number,
                             last=number, origin="compose.yaml:9")  # fmt: skip
        web = ground.spec("web", FOREVER, ports=(port,), endpoints=(ground.endpoint(network, 2),))
        ground.execute(protocol.CreateNetwork(number=1, record=network.to_json()))
        with pytest.raises(PortInUseError, match=rf"{number}/tcp.*pid {os.getpid()}.*:9"):
            ground.up(web)
    assert ground.status(web).state == "created"


# Waiting


def test_a_wait_ends_when_the_check_passes(ground: Ground) -> None:
    from orchestrator.runtime.spec import Healthcheck

    check = Healthcheck(test=("CMD-SHELL", "test -e /tmp/ready"), interval=30.0)
    db = ground.spec("db", "sleep 0.3; touch /tmp/ready; " + FOREVER, healthcheck=check)
    ground.up(db)
    began = time.monotonic()
    events = ground.wait(db, "service_healthy")
    assert words(events) == ["Container p-db-1 Waiting", "Container p-db-1 Healthy"]
    assert time.monotonic() - began < 3
    assert ground.status(db).health == "healthy"


def test_a_wait_fails_at_once_with_the_last_lines_when_the_container_exits(ground: Ground) -> None:
    db = ground.spec("db", "echo no disk; exit 5")
    ground.up(db)
    ground.until(db, lambda s: s.state == "exited")
    with pytest.raises(DependencyError) as caught:
        ground.wait(db, "running", dependent="web")
    assert "dependency failed to start: container p-db-1 exited (5)" in caught.value.message
    assert "no disk" in caught.value.message


def test_an_unhealthy_container_fails_the_wait_with_the_probe_s_output(ground: Ground) -> None:
    from orchestrator.runtime.spec import Healthcheck

    check = Healthcheck(test=("CMD-SHELL", "echo refused; exit 1"), interval=0.1, retries=2)
    db = ground.spec("db", FOREVER, healthcheck=check)
    ground.up(db)
    with pytest.raises(DependencyError, match=r"(?s)p-db-1 is unhealthy.*exit 1.*refused"):
        ground.wait(db, "service_healthy", dependent="web")


def test_a_probe_that_takes_too_long_is_killed_and_counts(ground: Ground) -> None:
    from orchestrator.runtime.spec import Healthcheck

    check = Healthcheck(test=("CMD", "sleep", "777"), interval=0.1, timeout=0.1, retries=1)
    db = ground.spec("db", FOREVER, healthcheck=check)
    ground.up(db)
    status = ground.until(db, lambda s: s.health == "unhealthy")
    assert "exceeded timeout" in status.probes[-1]["output"]


def test_an_optional_dependency_is_only_a_warning(ground: Ground) -> None:
    db = ground.spec("db", "exit 1")
    ground.up(db)
    events = ground.wait(db, "service_completed_successfully", dependent="web", required=False)
    assert words(events)[-1] == "Container p-db-1 Skipped"


def test_a_completed_service_is_waited_for(ground: Ground) -> None:
    job = ground.spec("job", "exit 0")
    ground.up(job)
    events = ground.wait(job, "service_completed_successfully", dependent="web")
    assert words(events)[-1] == "Container p-job-1 Exited"


# exec and run


def test_exec_gives_output_and_exit_code(ground: Ground) -> None:
    web = ground.spec("web", FOREVER)
    ground.up(web)
    assert ground.exec(web, "/bin/sh", "-c", "echo inside; exit 6") == (6, "inside\n")


def test_exec_in_a_stopped_container_is_refused(ground: Ground) -> None:
    web = ground.spec("web", "exit 0")
    ground.up(web)
    ground.until(web, lambda s: s.state == "exited")
    with pytest.raises(StateError, match="not running"):
        ground.exec(web, "true")


def test_a_client_s_signal_reaches_the_command(ground: Ground) -> None:
    web = ground.spec("web", FOREVER)
    ground.up(web)
    connection = ground.open()
    null = os.open("/dev/null", os.O_RDWR)
    connection.request("exec", container=web.id, argv=["sleep", "1000"], fds=[null] * 3)
    connection.send({"signal": "SIGKILL"})
    assert connection.result() == {"exit_code": 137}
    connection.close()
    os.close(null)


def test_a_one_off_gets_the_client_s_streams_and_goes_when_it_ends(ground: Ground) -> None:
    one = ground.spec("tool", "read x; echo got $x; exit 5", index=0, oneoff=True,
                      remove_on_exit=True)  # fmt: skip
    stdin, feed = os.pipe()
    answer, stdout = os.pipe()
    watch = ground.watch()
    lock = ground.lock()
    connection = ground.open()
    jobs = [
        protocol.CreateContainer(number=1, record=ground.record(one).to_json()),
        protocol.StartContainer(number=2, after=(1,), container=one.id),
    ]
    connection.request("execute", fds=[lock, stdin, stdout, stdout], stdio=2,
                       jobs=[protocol.job_to_json(job) for job in jobs])
    for fd in (lock, stdin, stdout):
        os.close(fd)
    connection.result()
    os.write(feed, b"it\n")
    with open(answer) as file:
        assert file.read() == "got it\n"
    assert watch.until("die").exit_code == 5
    watch.until("destroy")
    for closable in (watch, connection):
        closable.close()
    os.close(feed)
    assert not os.path.exists(ground.layout.container("p", one.id))


# Two clients


def test_a_client_that_vanishes_cancels_what_has_not_begun(ground: Ground) -> None:
    slow, later = ground.spec("slow", FOREVER), ground.spec("later", FOREVER)
    ground.up(slow)
    connection = ground.open()
    lock = ground.lock()
    watch = ground.watch()
    jobs = [
        protocol.WaitFor(number=1, containers=(slow.id,), service="slow", dependent="later",
                         condition="service_completed_successfully"),
        protocol.CreateContainer(number=2, after=(1,), record=ground.record(later).to_json()),
    ]  # fmt: skip
    connection.request("execute", jobs=[protocol.job_to_json(j) for j in jobs], fds=[lock])
    os.close(lock)
    connection.receive()
    connection.close()
    os.close(ground.lock())  # free again only when the supervisor has let go of it
    ground.execute(protocol.KillContainer(number=1, container=slow.id))
    watch.until("die")
    watch.close()
    assert not os.path.exists(ground.layout.container("p", later.id))


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "execute"},
        {"method": "execute", "jobs": [{"job": "Nonsense"}]},
        {"method": "execute", "jobs": ["x"]},
        {"method": "execute", "jobs": [{"job": "StartContainer", "number": 1, "container": "x",
                                        "after": [2]}]},
        {"method": "exec", "container": "x"},
        {"method": "signal"},
        {"method": "none"},
    ],
)  # fmt: skip
def test_bad_requests_get_a_clear_answer(ground: Ground, request_: dict[str, object]) -> None:
    connection = client.open_client(ground.layout, ground.project)
    lock = ground.lock()
    connection.send({"v": protocol.VERSION, **request_}, fds=[lock])
    os.close(lock)
    with pytest.raises(SupervisorError, match="bad request"):
        connection.result()
    connection.close()
