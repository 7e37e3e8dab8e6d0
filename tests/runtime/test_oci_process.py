"""What the process of an OCI container is: ids, capabilities, limits, scheduling, filter, exec."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.linux import caps, fds
from tests.runtime.bundle import COMMAND, Bundles, Config
from tests.runtime.kept import eventually

pytestmark = pytest.mark.kernel


def process(**fields: Any) -> Any:
    return lambda config: config["process"].update(fields)


def linux(**fields: Any) -> Any:
    return lambda config: config["linux"].update(fields)


def status_of(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def test_user_groups_umask_and_working_directory(bundles: Bundles) -> None:
    user = {"uid": 1000, "gid": 10, "additionalGids": [5, 77], "umask": 0o027}
    text = bundles.sh("c", "id -u; id -g; id -G; umask; pwd; echo $HOME; echo $A",
                      process(user=user, cwd="/srv/made/here", env=["PATH=/bin", "A=b=c"]))
    assert text.splitlines() == ["1000", "10", "10 5 77", "0027", "/srv/made/here", "/home/bob",
                                 "b=c"]


def test_capabilities_are_what_the_five_sets_say(bundles: Bundles) -> None:
    few = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]
    sets = {"bounding": few, "permitted": few, "effective": few[:2], "inheritable": few[:1],
            "ambient": few[:1]}
    text = bundles.sh("c", "cat /proc/self/status", process(
        capabilities=sets, user={"uid": 1000, "gid": 1000}, noNewPrivileges=False))
    found = status_of(text)
    masks = {key: caps.names_of(int(found[f"Cap{key}"], 16))
             for key in ("Bnd", "Inh", "Amb", "Prm", "Eff")}
    assert masks == {"Bnd": tuple(few), "Inh": ("CAP_CHOWN",), "Amb": ("CAP_CHOWN",),
                     "Prm": ("CAP_CHOWN",), "Eff": ("CAP_CHOWN",)}
    assert found["NoNewPrivs"] == "0"


def test_root_has_the_bounding_set_and_an_unknown_capability_is_a_warning(bundles: Bundles) -> None:
    few = ["CAP_CHOWN", "CAP_FUTURE"]
    config = bundles.config("/bin/grep", "CapEff", "/proc/self/status", change=process(
        capabilities={"bounding": few, "permitted": few, "effective": few}))
    done = bundles.run("c", config)
    assert done.returncode == 0
    assert done.stdout == "CapEff:\t0000000000000001\n"
    assert "CAP_FUTURE" in done.stderr


def test_without_capabilities_there_are_none(bundles: Bundles) -> None:
    config = bundles.config("/bin/grep", "Cap", "/proc/self/status")
    del config["process"]["capabilities"]
    done = bundles.run("c", config)
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"0" * 16}


def test_limits_and_oom_score(bundles: Bundles) -> None:
    limits = [{"type": f"RLIMIT_{name}", "soft": soft, "hard": hard} for name, soft, hard in (
        ("NOFILE", 100, 200), ("AS", 1 << 30, 1 << 30), ("CORE", 0, 0), ("FSIZE", 4096, 8192),
        ("STACK", 1 << 20, 1 << 21))]
    text = bundles.sh("c", "cat /proc/self/limits; cat /proc/self/oom_score_adj",
                      process(rlimits=limits, oomScoreAdj=500))
    rows = {line[:26].strip(): line[26:].split()[:2] for line in text.splitlines()}
    assert rows["Max open files"] == ["100", "200"]
    assert rows["Max address space"] == ["1073741824", "1073741824"]
    assert rows["Max file size"] == ["4096", "8192"]
    assert rows["Max stack size"] == ["1048576", "2097152"]
    assert text.splitlines()[-1] == "500"


@pytest.mark.parametrize(("fields", "word"), [
    ({"rlimits": [{"type": "RLIMIT_BOGUS", "soft": 1, "hard": 1}]}, "RLIMIT_BOGUS"),
    ({"rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2}, "twice"),
    ({"rlimits": [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]}, "soft above"),
    ({"args": []}, "args"), ({"cwd": "relative"}, "cwd"), ({"cwd": ""}, "cwd"),
    ({"oomScoreAdj": 2000}, "oomScoreAdj"), ({"user": {"uid": -1, "gid": 0}}, "uid"),
    ({"scheduler": {"policy": "SCHED_BOGUS"}}, "SCHED_BOGUS"),
    ({"scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]}}, "flags"),
    ({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 9}}, "priority"),
    ({"terminal": True}, "--console-socket"), ({"env": ["A=\0"]}, "null byte"),
    ({"args": "sh"}, "a list"), ({"noNewPrivileges": 1}, "true or false"),
], ids=str)  # fmt: skip
def test_a_process_that_cannot_be_is_refused(
    bundles: Bundles, fields: Config, word: str
) -> None:
    done = bundles.create("c", bundles.config("true", change=process(**fields)))
    assert done.returncode == 1
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert bundles.leftovers() == []


def test_scheduling_is_what_was_asked(bundles: Bundles) -> None:
    script = ("import os, ctypes; print(os.sched_getscheduler(0), os.getpriority(0, 0)); "
              "print(ctypes.CDLL(None).syscall(252, 1, 0)); "
              "print(ctypes.CDLL(None).personality(0xffffffff))")  # fmt: skip

    def change(config: Config) -> None:
        config["process"] |= {
            "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
            "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}}
        config["linux"]["personality"] = {"domain": "LINUX32"}

    done = bundles.run("c", bundles.config("/usr/bin/python3", "-c", script, change=change))
    assert done.stdout.splitlines() == ["3 5", str(3 << 13), "8"], done.stderr


def test_a_memory_policy_is_taken_or_refused_by_the_kernel(bundles: Bundles) -> None:
    policy = {"mode": "MPOL_BIND", "nodes": "0"}
    text = bundles.sh("c", "cat /proc/self/numa_maps | head -1", linux(memoryPolicy=policy))
    assert "bind:0" in text or text == ""  # a kernel without NUMA has no such file
    for wrong in ({"mode": "MPOL_X", "nodes": "0"}, {"mode": "MPOL_BIND", "nodes": "x"},
                  {"mode": "MPOL_BIND", "nodes": "0", "flags": ["X"]},
                  {"mode": "MPOL_BIND", "nodes": "900"}):  # fmt: skip
        done = bundles.create("c", bundles.config("true", change=linux(memoryPolicy=wrong)))
        assert done.returncode == 1


def seccomp(*rules: Config, default: str = "SCMP_ACT_ALLOW", **fields: Any) -> Any:
    return linux(seccomp={"defaultAction": default, "syscalls": list(rules), **fields})


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_a_filter_refuses_with_the_errno_it_names(
    bundles: Bundles, no_new_privileges: bool
) -> None:
    rules: list[Config] = [
        {"names": ["getcwd", "no_such_call"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28,
         "args": [{"index": 1, "value": 0o700, "op": "SCMP_CMP_EQ"}]},
    ]  # fmt: skip

    def change(config: Config) -> None:
        seccomp(*rules)(config)
        config["process"]["noNewPrivileges"] = no_new_privileges

    script = ("import os\ntry: os.getcwd()\nexcept OSError as e: print(e.errno)\n"
              "try: os.mkdir('/tmp/a', 0o700)\nexcept OSError as e: print(e.errno)\n"
              "os.mkdir('/tmp/b', 0o755)\n"
              "status = open('/proc/self/status').readlines()\n"
              "print([line for line in status if line.startswith(('Seccomp:', 'CapEff'))])")
    done = bundles.run("c", bundles.config("/usr/bin/python3", "-c", script, change=change))
    assert done.stdout.splitlines()[:2] == ["1", "28"], done.stderr
    assert "Seccomp:\\t2" in done.stdout
    assert "0000000020000420" in done.stdout  # nothing of what loading it took is left


@pytest.mark.parametrize(("fields", "word"), [
    ({"defaultAction": "SCMP_ACT_NOPE"}, "SCMP_ACT"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NOPE"]}, "flags"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}, "VAX"),
    ({"defaultAction": "SCMP_ACT_NOTIFY"}, "NOTIFY"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}, "listenerPath"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 1}]}, "errnoRet"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_LOG", "args": [
            {"index": 0, "value": 1, "op": "SCMP_CMP_X"}]}]}, "SCMP_CMP_X"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonexistent", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}, "agent"),
], ids=str)  # fmt: skip
def test_a_filter_that_cannot_be_is_refused(bundles: Bundles, fields: Config, word: str) -> None:
    done = bundles.create("c", bundles.config("true", change=linux(seccomp=fields)))
    assert done.returncode == 1
    assert word in done.stderr
    assert bundles.leftovers() == []


def test_a_seccomp_agent_gets_the_state_and_the_descriptor(bundles: Bundles) -> None:
    path = f"{bundles.root}/agent.sock"
    listener = fds.open_listener(path)
    rules = [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]
    config = bundles.config("/bin/sh", "-c", "echo started; mkdir /tmp/x", change=seccomp(
        *rules, listenerPath=path, listenerMetadata="some=data"))
    config["annotations"] = {"a": "b"}
    bundles.start("c", config)
    fd, _ = listener._accept()  # type: ignore[attr-defined]  # as in runtime.oci.stages
    with socket.socket(fileno=fd) as agent:
        data, given, _, _ = socket.recv_fds(agent, 65536, 4)
    listener.close()
    told = json.loads(data)
    assert told["fds"] == ["seccompFd"]
    assert told["metadata"] == "some=data"
    assert told["state"]["status"] == "creating"
    assert told["state"]["id"] == "c"
    assert told["pid"] == told["state"]["pid"] == bundles.state("c")["pid"]
    assert len(given) == 1
    assert os.readlink(f"/proc/self/fd/{given[0]}") == "anon_inode:seccomp notify"
    os.close(given[0])


def receive_master(listener: Any) -> int:
    fd, _ = listener._accept()
    with socket.socket(fileno=fd) as peer:
        _, given, _, _ = socket.recv_fds(peer, 4096, 4)
    (master,) = given
    return master


def read_until(master: int, end: str) -> str:
    text = ""
    while end not in text:
        text += os.read(master, 4096).decode()
    return text


def test_a_terminal_goes_to_the_console_socket(bundles: Bundles) -> None:
    path = f"{bundles.root}/console.sock"
    listener = fds.open_listener(path)
    script = "tty; stty size; test -t 0 -a -t 1 -a -t 2 && ls /dev/console; echo end"
    config = bundles.config("/bin/sh", "-c", script, change=process(
        terminal=True, consoleSize={"height": 24, "width": 81}))
    assert bundles.create("c", config, "--console-socket", path).returncode == 0
    master = receive_master(listener)
    assert bundles.call("start", "c").returncode == 0
    assert read_until(master, "end").split() == ["/dev/pts/0", "24", "81", "/dev/console", "end"]
    os.close(master)
    bundles.wait("c")
    assert bundles.call("delete", "c").returncode == 0
    plain = bundles.create("c", bundles.config("true"), "--console-socket", path)
    assert plain.returncode == 1
    listener.close()


def test_exec_has_the_container_and_its_own_process(bundles: Bundles) -> None:
    bundles.start("c", bundles.config("sleep", "1000"))
    done = bundles.call("exec", "--env", "A=b", "--cwd", "/tmp", "--user", "1000:10", "c",
                        "/bin/sh", "-c", "echo $A; pwd; id -u; id -g; hostname; cat /proc/1/comm; "
                        "cat /proc/self/cgroup | sort -u | cut -d: -f3 | sort -u; exit 5")
    assert done.returncode == 5
    assert done.stdout.splitlines() == ["b", "/tmp", "1000", "10", "pcompose", "sleep", "/"]
    assert bundles.call("exec", "c", "nonexistent").returncode == 1
    assert bundles.call("exec", "c").returncode == 1
    spec = {"args": ["/bin/sh", "-c", "cat /proc/self/status"], "cwd": "/", "terminal": False,
            "capabilities": {name: ["CAP_KILL"] for name in ("bounding", "permitted", "effective")},
            "env": ["PATH=/bin"], "execCPUAffinity": {"initial": "0", "final": "1"}}
    path = bundles.root / "process.json"
    path.write_text(json.dumps(spec))
    found = status_of(bundles.call("exec", "--process", str(path), "c").stdout)
    assert found["CapEff"] == "0000000000000020"
    assert found["Cpus_allowed_list"] == "1"


def test_exec_detached_writes_its_pid_and_lives_on(bundles: Bundles) -> None:
    bundles.start("c", bundles.config("sleep", "1000"))
    pid_file = bundles.root / "pid"
    done = subprocess.run(
        [*COMMAND, "--root", str(bundles.state_root), "exec", "--detach", "--pid-file",
         str(pid_file), "c", "sleep", "500"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == 0
    pid = int(pid_file.read_text())
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00500\x00"
    assert pid in json.loads(bundles.call("ps", "-f", "json", "c").stdout)
    assert bundles.call("delete", "--force", "c").returncode == 0
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))


def test_exec_needs_a_container_that_has_not_stopped(bundles: Bundles) -> None:
    assert bundles.create("c", bundles.config("true")).returncode == 0
    assert bundles.call("exec", "c", "cat", "/proc/1/mounts").returncode == 0
    assert bundles.status("c") == "created"
    assert bundles.call("start", "c").returncode == 0
    bundles.wait("c")
    assert bundles.call("exec", "c", "true").returncode == 1


def test_no_program_of_the_container_gets_hold_of_the_interpreter(bundles: Bundles) -> None:
    """CVE-2019-5736: an interpreter line that is /proc/self/exe executes what the runtime is."""
    trap = bundles.rootfs / "trap"
    trap.write_text("#!/proc/self/exe\n")
    trap.chmod(0o755)
    bundles.start("c", bundles.config("sleep", "1000"))
    done = bundles.call("exec", "c", "/trap")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: pcompose-init")
