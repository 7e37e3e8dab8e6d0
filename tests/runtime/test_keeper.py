"""The keeper's own life: output that is never lost, adoption, executions, terminals."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from orchestrator.linux import procfs
from orchestrator.linux.fds import MAX_FDS
from orchestrator.runtime import logs
from orchestrator.runtime.spec import Resources
from tests.runtime.kept import Kept, eventually, kernel_tells_exit_codes

pytestmark = pytest.mark.kernel

COUNT = "i=0; while [ $i -lt 10000 ]; do echo line $i; i=$((i+1)); done"


def read_fd(fd: int) -> bytes:
    parts = []
    try:
        while part := os.read(fd, 1 << 16):
            parts.append(part)
    except OSError:  # EIO of a terminal whose other side is closed
        pass
    os.close(fd)
    return b"".join(parts)


def test_a_megabyte_of_output_is_kept_to_the_byte(kept: Kept, tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    (kept.rootfs / "srv/blob").write_bytes(data)
    kept.run("web", ("cat", "/srv/blob"))
    assert (kept.directory("web") / "log/stdout.0").read_bytes() == data


def test_an_unfinished_last_line_is_kept_apart_from_the_next_start(kept: Kept) -> None:
    kept.sh("web", "printf unfinished")
    assert kept.output("web") == "unfinished"
    kept.sh("web", "echo next")
    assert kept.output("web") == "unfinished\nnext"


def test_every_line_has_the_time_it_was_written(kept: Kept) -> None:
    before = __import__("time").time()
    kept.sh("web", "echo one; sleep 0.3; echo two >&2; sleep 0.3; echo three")
    lines = list(logs.read_log(str(kept.directory("web") / "log")))
    assert [(line.stream, line.text) for line in lines] == [
        ("stdout", "one"), ("stderr", "two"), ("stdout", "three")]  # fmt: skip
    times = [line.time for line in lines]
    assert before <= times[0] < times[1] - 0.25 < times[2] - 0.5


def test_logs_are_rotated_by_size(kept: Kept) -> None:
    kept.sh("web", COUNT, log_max_size=20_000, log_max_files=2)
    directory = kept.directory("web") / "log"
    assert sum(1 for p in directory.glob("stdout.*") if p.suffix != ".idx") == 2
    text = kept.output("web").splitlines()
    assert text[-1] == "line 9999"
    assert text[1:] == [f"line {i}" for i in range(10_001 - len(text), 10_000)]


def test_a_killed_keeper_loses_and_doubles_no_line(kept: Kept) -> None:
    slowly = COUNT.replace("; i=", "; [ $((i % 50)) = 0 ] && sleep 0.005; i=")
    kept.start("web", ("/bin/sh", "-c", f"{slowly}; read x; exit 7"), stdin_open=True)
    for _ in range(5):
        os.kill(kept.keeper_pid, 9)
        kept.reconnect()
        assert kept.adopt("web")["event"] == "adopted"
    assert not kept.output("web").endswith("line 9999"), "it was over before we killed"
    last = "line 9999"
    eventually(lambda: kept.output("web").endswith(last))
    (kept.directory("web") / "run/stdin").write_text("x\n")
    assert kept.exited("web")["exit_code"] in (7, None)
    assert kept.output("web").splitlines() == [f"line {i}" for i in range(10_000)]


def test_an_adopted_containers_exit_code_is_known_where_the_kernel_tells(kept: Kept) -> None:
    kept.start("web", ("/bin/sh", "-c", "read x; exit 7"), stdin_open=True)
    os.kill(kept.keeper_pid, 9)
    kept.reconnect()
    kept.adopt("web")
    (kept.directory("web") / "run/stdin").write_text("x\n")
    code = kept.exited("web")["exit_code"]
    assert code == 7 or (code is None and not kernel_tells_exit_codes())
    eventually(lambda: not any(map(os.path.exists, kept.groups())))


def test_a_container_that_ended_without_a_keeper_is_reported(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"))
    os.kill(kept.keeper_pid, 9)
    os.kill(kept.pids["web"][0], 9)
    eventually(lambda: procfs.start_time(kept.pids["web"][0]) is None)
    kept.reconnect()
    assert kept.adopt("web") | {"time": 0} == {
        "event": "exited", "id": kept.specs["web"].id, "pid": kept.pids["web"][0],
        "start_time": kept.pids["web"][1], "exit_code": None, "oom_killed": False, "time": 0,
    }  # fmt: skip


def test_a_writer_does_not_notice_that_there_is_no_keeper(kept: Kept) -> None:
    kept.start("web", ("/bin/sh", "-c", "read x; echo alone && echo still; read x"),
               stdin_open=True)
    os.kill(kept.keeper_pid, 9)
    stdin = kept.directory("web") / "run/stdin"
    stdin.write_text("go\n")
    eventually(lambda: _waits_for_input(kept.pids["web"][0]))
    kept.reconnect()
    kept.adopt("web")
    eventually(lambda: kept.output("web") == "alone\nstill")


def _waits_for_input(pid: int) -> bool:
    text = procfs.read_text(f"/proc/{pid}/io") or ""
    return any(line.startswith("wchar:") and int(line[6:]) >= 12 for line in text.splitlines())


def test_the_keeper_starts_the_supervisor_again(kept: Kept, tmp_path: Path) -> None:
    mark = tmp_path / "started"
    kept.channel.send({"op": "exit"})
    while kept.channel.receive() is not None:
        pass
    kept.supervisor_argv = ["/bin/sh", "-c", f"echo x >>{mark}"]
    kept.reconnect()
    kept.start("web", ("/bin/sleep", "1000"))
    kept.channel.close()
    eventually(lambda: mark.exists() and len(mark.read_text()) >= 4)
    kept.channel = kept.connect()
    assert [c["id"] for c in kept.ask({"op": "list"}, "list")["containers"]] == [
        kept.specs["web"].id]  # fmt: skip


def test_a_keeper_that_holds_nothing_ends_with_its_supervisor(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    keeper = Kept(tmp_path)
    keeper.channel.close()
    eventually(lambda: procfs.start_time(keeper.keeper_pid) is None)
    assert not os.path.exists(tmp_path / "run/keeper.sock")


def test_descriptors_are_held_for_the_next_supervisor(kept: Kept) -> None:
    ours, theirs = os.pipe()
    kept.start("web", ("/bin/sleep", "1000"))
    kept.channel.send({"op": "store", "name": "dns"}, [theirs])
    os.close(theirs)
    kept.channel.close()
    kept.waiting.clear()
    kept.channel = kept.connect()
    kept.channel.send({"op": "list"})
    message, fds = kept.event_with_fds("list")
    assert message["stored"] == [{"name": "dns", "fds": 1}]
    os.write(fds[0], b"held")
    assert os.read(ours, 9) == b"held"
    kept.channel.send({"op": "unstore", "name": "dns"})
    os.close(fds[0])
    assert read_fd(ours) == b""


def test_more_descriptors_are_held_than_a_message_carries(kept: Kept) -> None:
    ours, theirs = os.pipe()
    many = [theirs] * MAX_FDS
    kept.start("web", ("/bin/sleep", "1000"))
    kept.channel.send({"op": "store", "name": "ports"}, many)
    kept.channel.send({"op": "store", "name": "ports", "also": True}, many[:50])
    kept.channel.send({"op": "list"})
    message, fds = kept.event_with_fds("list")
    more, others = kept.event_with_fds("list_more")
    assert message["stored"] == [{"name": "ports", "fds": MAX_FDS + 50}]
    assert (len(fds), len(others), more["more"]) == (MAX_FDS, 50, False)
    kept.channel.send({"op": "unstore", "name": "ports"})
    for fd in (ours, theirs, *fds, *others):
        os.close(fd)


def test_a_command_enters_a_running_container(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"), environment={"A": "1"}, user="bob", cwd="/srv")
    code, text = kept.exec_output(
        "web", ("/bin/sh", "-c", "echo $A$B; id -u; pwd; hostname; cat /proc/1/comm; exit 4"),
        environment={"B": "2"})  # fmt: skip
    assert (code, text.split()) == (4, ["12", "1000", "/srv", "web", "sleep"])


def test_a_command_is_in_the_groups_of_its_container(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"), resources=Resources(pids=50))
    started, _ = kept.exec("web", ("/bin/sleep", "1000"))
    assert procfs.cgroups(started["pid"]) == procfs.cgroups(kept.pids["web"][0])


def test_a_command_in_a_container_has_its_privileges_or_all(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"))
    show = ("/bin/sh", "-c", "grep -E 'CapEff|Seccomp:' /proc/self/status | cut -f2")
    first = (procfs.read_text(f"/proc/{kept.pids['web'][0]}/status") or "").splitlines()
    effective = next(line.split()[1] for line in first if line.startswith("CapEff"))
    assert kept.exec_output("web", show)[1].split() == [effective, "2"]
    mask, mode = kept.exec_output("web", show, privileged=True)[1].split()
    assert int(mask, 16) > int(effective, 16)
    assert mode == "0"


def test_the_streams_of_a_command_can_be_given(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"))
    stdin, to_stdin = os.pipe()
    from_stdout, stdout = os.pipe()
    from_stderr, stderr = os.pipe()
    started, _ = kept.exec("web", ("/bin/sh", "-c", "cat; echo err >&2"), capture=False,
                           fds=[stdin, stdout, stderr])
    for fd in (stdin, stdout, stderr):
        os.close(fd)
    os.write(to_stdin, b"\0binary\xff")
    os.close(to_stdin)
    assert read_fd(from_stdout) == b"\0binary\xff"
    assert read_fd(from_stderr) == b"err\n"
    assert kept.event("exec_exited", exec_id=started["exec_id"])["exit_code"] == 0


def test_the_streams_of_a_container_can_be_given(kept: Kept) -> None:
    from_stdout, stdout = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    kept.start("web", ("/bin/sh", "-c", "echo direct; echo again >/dev/stdout"), stdio="fds",
               fds=[null, stdout, null], user="bob")
    os.close(stdout)
    os.close(null)
    assert read_fd(from_stdout) == b"direct\nagain\n"
    kept.exited("web")


def test_a_command_that_is_missing_or_killed_says_so(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"))
    failed, _ = kept.exec("web", ("nothing-there",))
    assert (failed["event"], failed["errno"]) == ("exec_failed", 2)
    started, _ = kept.exec("web", ("/bin/sleep", "1000"))
    kept.channel.send({"op": "exec_kill", "exec_id": started["exec_id"], "signal": 15})
    assert kept.event("exec_exited")["exit_code"] == 143
    kept.kill_all()
    kept.exited("web")
    assert kept.exec("web", ("/bin/true",))[0]["event"] == "exec_failed"


def test_commands_end_with_their_container(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"))
    kept.exec("web", ("/bin/sleep", "1000"))
    kept.kill_all()
    assert kept.event("exec_exited")["exit_code"] == 137
    kept.exited("web")


def test_a_probes_output_is_cut(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"))
    code, text = kept.exec_output("web", ("/bin/sh", "-c", "head -c 1000000 /dev/zero; exit 3"))
    assert (code, len(text)) == (3, 4096)


def test_a_terminal_is_handed_over(kept: Kept) -> None:
    kept.channel.send(kept.request("web", ("/bin/sh", "-c", "tty; stty size; ls -l /dev/console; "
                                           "read x; echo got $x"), tty=True, stdio="tty"))
    cloned = kept.event("cloned")
    kept.pids["web"] = (cloned["pid"], cloned["start_time"])
    _, (master,) = kept.event_with_fds("started")
    os.write(master, b"word\n")
    text = read_fd(master).decode().replace("\r\nword", "", 1)  # its echo, whenever it comes
    assert "/dev/pts/0\r\n0 0\r\ncrw--w----" in text
    assert "got word" in text
    assert kept.exited("web")["exit_code"] == 0


def test_the_output_of_a_terminal_is_logged_and_survives_the_keeper(kept: Kept) -> None:
    kept.channel.send(kept.request("web", ("/bin/sh", "-c", "echo one; read x; echo two; read x"),
                                   tty=True))
    cloned = kept.event("cloned")
    kept.pids["web"] = (cloned["pid"], cloned["start_time"])
    _, (master,) = kept.event_with_fds("started")
    eventually(lambda: "one" in kept.output("web"))
    os.kill(kept.keeper_pid, 9)
    kept.reconnect()
    from orchestrator.runtime.launch import adopt_request

    kept.channel.send(
        adopt_request(kept.specs["web"], pid=cloned["pid"], start_time=cloned["start_time"],
                      hierarchy=kept.hierarchy, stdio="log", **kept.paths("web")), [master])
    kept.event("adopted")
    os.write(master, b"x\n")
    eventually(lambda: "two" in kept.output("web"))
    os.close(master)


def test_what_a_short_life_wrote_to_its_terminal_is_logged(kept: Kept) -> None:
    for number in range(10):
        kept.channel.send(kept.request(f"c{number}", ("echo", "brief"), tty=True))
    for number in range(10):
        _, fds = kept.event_with_fds("started", id=kept.specs[f"c{number}"].id)
        os.close(fds[0])
        kept.exited(f"c{number}")
        assert kept.output(f"c{number}") == "brief\r"


def test_a_command_can_have_a_terminal_in_the_container(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"))
    started, (master,) = kept.exec("web", ("tty",), tty=True, capture=False)
    assert read_fd(master) == b"/dev/pts/0\r\n"
    kept.event("exec_exited", exec_id=started["exec_id"])


def test_a_supervisor_that_is_too_busy_to_read_misses_nothing(kept: Kept) -> None:
    """Its socket holds some hundred answers; the keeper goes on without it, and keeps the rest."""
    for _ in range(3000):
        kept.channel.send({"op": "list"})
    kept.start("web", ("/bin/sleep", "1000"))
    answers = [message["event"] for message, _ in kept.waiting]
    assert answers.count("list") == 3000


def test_a_full_disk_stops_no_container(kept: Kept) -> None:
    log = kept.directory("web") / "log"
    log.mkdir()
    (log / "stdout.0").symlink_to("/dev/full")  # refused: links are not followed
    assert kept.run("web", ("/bin/sh", "-c", COUNT))["exit_code"] == 0
    assert "output is lost" in (kept.root / "keeper.log").read_text()


def test_a_log_directory_that_vanishes_stops_no_container(kept: Kept) -> None:
    import shutil

    kept.start("web", ("/bin/sh", "-c", f"echo begun; read x; {COUNT}"), stdin_open=True,
               log_max_size=10_000)
    eventually(lambda: kept.output("web") == "begun")
    shutil.rmtree(kept.directory("web") / "log")
    (kept.directory("web") / "run/stdin").write_text("x\n")
    assert kept.exited("web")["exit_code"] == 0


def test_the_keeper_is_small_and_imports_little(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"))
    fields = (procfs.read_text(f"/proc/{kept.keeper_pid}/status") or "").splitlines()
    resident = next(int(line.split()[1]) for line in fields if line.startswith("RssAnon"))
    assert resident <= 8 << 10
    assert "pcompose-keeper run" in procfs.command_line(kept.keeper_pid)


def test_the_keeper_ignores_the_signals_of_a_terminal(kept: Kept) -> None:
    for number in (1, 2, 15):
        os.kill(kept.keeper_pid, number)
    assert kept.ask({"op": "list"}, "list")["pid"] == kept.keeper_pid
    assert os.getsid(kept.keeper_pid) != os.getsid(0)
    assert sys.executable
