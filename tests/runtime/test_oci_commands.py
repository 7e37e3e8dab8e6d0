"""`pcompose-oci` as engines call it: the life of a container, errors, logs, other commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from orchestrator.linux import procfs, systemd
from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.runtime.oci import main as cli
from tests.runtime.bundle import COMMAND, Bundles
from tests.runtime.kept import eventually

pytestmark = pytest.mark.kernel


def test_a_container_is_created_started_killed_and_deleted(bundles: Bundles) -> None:
    config = bundles.config("/bin/sh", "-c", "echo begun; exec sleep 1000")
    config["annotations"] = {"com.example.key": "value"}
    pid_file = bundles.root / "pid"
    done = bundles.create("c", config, "--pid-file", str(pid_file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    state = bundles.state("c")
    assert state["status"] == "created"
    assert pid_file.read_text() == str(state["pid"])
    assert state["annotations"] == {"com.example.key": "value"}
    assert state["bundle"] == str(bundles.root / "bundles/c")
    assert bundles.call("start", "c").returncode == 0
    assert bundles.status("c") == "running"
    assert bundles.call("delete", "c").returncode == 1
    assert bundles.call("kill", "c", "KILL").returncode == 0
    bundles.wait("c")
    assert bundles.output("c") == "begun\n"
    before = bundles.call("state", "c").stdout
    assert bundles.call("kill", "c", "KILL").returncode == 1
    assert bundles.call("start", "c").returncode == 1
    assert bundles.call("state", "c").stdout == before
    assert bundles.call("delete", "c").returncode == 0
    assert bundles.call("state", "c").returncode == 1


def test_start_works_once_and_an_id_is_taken_once(bundles: Bundles) -> None:
    config = bundles.config("sleep", "1000")
    bundles.start("c", config)
    assert bundles.call("start", "c").returncode == 1
    again = bundles.create("c", config)
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert bundles.status("c") == "running"


@pytest.mark.parametrize("words", [
    ["create"], ["start"], ["state"], ["kill"], ["delete"], ["start", "none"], ["state", "none"],
    ["kill", "none"], ["delete", "none"], ["bogus"], ["state", "--bogus", "x"], ["state", "a", "b"],
    ["create", "../x"], ["state", "a/b"], ["delete", "--force", ".."], ["pause", "none"],
    ["exec", "none", "true"], ["ps", "none"], ["update", "none", "--pids-limit", "x"],
    ["--log-format", "yaml", "list"],
], ids=" ".join)  # fmt: skip
def test_what_cannot_be_is_one_line_and_code_1(bundles: Bundles, words: list[str]) -> None:
    done = bundles.call(*words)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_delete_with_force_of_nothing_is_no_error(bundles: Bundles) -> None:
    assert bundles.call("delete", "--force", "none").returncode == 0


def test_an_error_goes_into_the_log_as_engines_read_it(bundles: Bundles) -> None:
    log = bundles.root / "log.json"
    done = bundles.call("state", "none", log=str(log))
    (line,) = log.read_text().splitlines()
    entry = json.loads(line)
    assert entry["level"] == "error"
    assert entry["msg"] in done.stderr
    assert set(entry) == {"level", "msg", "time"}


def test_a_scope_of_systemd_holds_the_container(bundles: Bundles) -> None:
    config = bundles.config("sleep", "1000")
    config["linux"] |= {"cgroupsPath": "pcompose-test.slice:oci:c",
                        "resources": {"pids": {"limit": 50}}}
    bundles.used.add("c")
    bundle = bundles.write("c", config)
    with open(bundle / "out", "w") as out:
        done = subprocess.run(
            [*COMMAND, "--root", str(bundles.state_root), "--systemd-cgroup", "run", "-d", "-b",
             str(bundle), "c"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False)
    if Hierarchy.detect().kind != "unified" or systemd.manager_socket() is None:
        assert done.returncode == 1
        assert "--systemd-cgroup needs" in (bundle / "out").read_text()
        assert bundles.leftovers() == []
        return
    assert done.returncode == 0, (bundle / "out").read_text()
    group = procfs.cgroups(bundles.state("c")["pid"])[""]
    assert group.endswith("/pcompose.slice/pcompose-test.slice/oci-c.scope")
    found = json.loads(bundles.call("events", "--stats", "c").stdout)["data"]
    assert found["pids"]["limit"] == 50
    assert bundles.call("exec", "c", "true").returncode == 0
    assert bundles.call("delete", "--force", "c").returncode == 0
    assert not os.path.exists(f"/sys/fs/cgroup{group}")
    subprocess.run(["systemctl", "stop", "pcompose.slice"], check=True)  # as it stays otherwise


def test_run_gives_the_exit_code_and_leaves_nothing(bundles: Bundles) -> None:
    done = bundles.run("c", bundles.config("/bin/sh", "-c", "echo out; echo err >&2; exit 7"))
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert bundles.leftovers() == []
    config = bundles.config("/bin/sh", "-c", "kill -9 $$")
    config["linux"]["namespaces"].remove({"type": "pid"})  # else it is the immortal first one
    assert bundles.run("c", config).returncode == 137


def test_run_detached_returns_and_the_container_stays(bundles: Bundles) -> None:
    bundle = bundles.write("c", bundles.config("sleep", "1000"))
    bundles.used.add("c")
    with open(bundle / "out", "w") as out:

        done = subprocess.run(
            [*COMMAND, "--root", str(bundles.state_root), "run", "-d", "-b", str(bundle), "c"],
            stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False, timeout=60)
    assert done.returncode == 0
    assert bundles.status("c") == "running"


def test_a_command_that_is_not_there_fails_create(bundles: Bundles) -> None:
    for argv, word in ((["nonexistent"], "not found"), (["/etc/passwd"], "ermission denied")):
        done = bundles.create("c", bundles.config(*argv))
        assert done.returncode == 1
        assert word in done.stderr
        assert bundles.leftovers() == []


def test_what_the_kernel_will_not_execute_fails_start(bundles: Bundles) -> None:
    bad = bundles.rootfs / "bad"
    bad.write_bytes(b"\x7fELF nonsense")
    bad.chmod(0o755)
    done = bundles.create("c", bundles.config("/bad"))
    assert done.returncode == 0, done.stderr
    done = bundles.call("start", "c")
    assert done.returncode == 1
    assert "xec format error" in done.stderr
    bundles.wait("c")


def test_without_a_process_create_works_and_start_does_not(bundles: Bundles) -> None:
    config = bundles.config("true", change=lambda c: c.pop("process"))
    assert bundles.create("c", config).returncode == 0
    assert bundles.status("c") == "created"
    done = bundles.call("start", "c")
    assert done.returncode == 1
    assert "no process" in done.stderr


def test_what_config_says_after_create_does_not_matter(bundles: Bundles) -> None:
    assert bundles.create("c", bundles.config("echo", "first")).returncode == 0
    bundles.write("c", bundles.config("echo", "second"))
    assert bundles.call("start", "c").returncode == 0
    bundles.wait("c")
    assert bundles.output("c") == "first\n"


def test_pause_and_resume(bundles: Bundles) -> None:
    bundles.start("c", bundles.config("sleep", "1000"))
    assert bundles.call("resume", "c").returncode == 1
    assert bundles.call("pause", "c").returncode == 0
    assert bundles.status("c") == "paused"
    assert bundles.call("exec", "c", "true").returncode == 1
    assert bundles.call("resume", "c").returncode == 0
    assert bundles.status("c") == "running"
    assert bundles.call("pause", "c").returncode == 0
    assert bundles.call("kill", "c", "9").returncode == 0
    bundles.wait("c")


def test_list_and_ps_show_what_runs(bundles: Bundles) -> None:
    bundles.start("c", bundles.config("/bin/sh", "-c", "sleep 1000; true"))
    (row,) = json.loads(bundles.call("list", "-f", "json").stdout)
    assert row["id"] == "c"
    assert row["status"] == "running"
    assert bundles.call("list", "-q").stdout == "c\n"
    assert bundles.call("list").stdout.splitlines()[1].split()[:3] == [
        "c", str(row["pid"]), "running"]
    eventually(lambda: len(json.loads(bundles.call("ps", "-f", "json", "c").stdout)) == 2)
    assert "sleep 1000" in bundles.call("ps", "c").stdout


def test_update_changes_limits_and_events_tells_them(bundles: Bundles) -> None:
    bundles.start("c", bundles.config("sleep", "1000"))
    assert bundles.call("update", "--pids-limit", "77", "--memory", "64m", "c").returncode == 0
    found = json.loads(bundles.call("events", "--stats", "c").stdout)["data"]
    assert found["pids"] == {"current": 1, "limit": 77}
    assert found["memory"]["usage"]["limit"] == 64 << 20
    path = bundles.root / "r.json"
    path.write_text('{"pids": {"limit": -1}}')
    assert bundles.call("update", "-r", str(path), "c").returncode == 0
    found = json.loads(bundles.call("events", "--stats", "c").stdout)["data"]
    assert found["pids"]["limit"] == 0


def test_kill_takes_names_numbers_and_all(bundles: Bundles) -> None:
    script = "trap 'echo usr1' USR1; trap 'echo rt' 37; echo ready; while :; do sleep 0.1; done"
    bundles.start("c", bundles.config("/bin/sh", "-c", script))
    eventually(lambda: "ready" in bundles.output("c"))
    for word, said in (("USR1", "usr1"), ("SIGUSR1", "usr1\nusr1"), ("RTMIN+3", "rt")):
        assert bundles.call("kill", "c", word).returncode == 0
        eventually(lambda said=said: said in bundles.output("c"))
    assert bundles.call("kill", "c", "NOPE").returncode == 1
    assert bundles.call("kill", "--all", "c", "KILL").returncode == 0
    bundles.wait("c")


def test_signals_in_the_foreground_reach_the_container(bundles: Bundles) -> None:

    script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    bundle = bundles.write("c", bundles.config("/bin/sh", "-c", script))
    bundles.used.add("c")
    with subprocess.Popen(
        [*COMMAND, "--root", str(bundles.state_root), "run", "-b", str(bundle), "c"],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 9


def test_spec_writes_a_config_that_is_taken(bundles: Bundles) -> None:
    place = bundles.root / "new"
    place.mkdir()
    assert bundles.call("spec", "--bundle", str(place)).returncode == 0
    assert bundles.call("spec", "--bundle", str(place)).returncode == 1
    assert json.loads((place / "config.json").read_text())["ociVersion"] == "1.3.0"


def test_descriptors_are_kept_from_the_command_unless_preserved(bundles: Bundles) -> None:
    reading, writing = os.pipe()
    script = "ls /proc/self/fd | grep -vc '^[012]$'; echo kept >&3"
    bundle = bundles.write("c", bundles.config("/bin/sh", "-c", script))
    bundles.used.add("c")

    def prepare() -> None:
        os.dup2(writing, 3)
        os.dup2(0, 9)

    done = subprocess.run(
        [*COMMAND, "--root", str(bundles.state_root), "run", "--preserve-fds", "1",
         "-b", str(bundle), "c"],
        capture_output=True, text=True, check=False, pass_fds=(3, 9), stdin=subprocess.DEVNULL,
        timeout=60, preexec_fn=prepare)  # fmt: skip
    os.close(writing)
    assert done.returncode == 0, done.stderr
    assert os.read(reading, 100) == b"kept\n"
    assert done.stdout == "2\n"  # the preserved one, and that of the listing itself
    os.close(reading)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert "\nspec: 1.3.0\n" in capsys.readouterr().out
    assert cli.main(["--help"]) == 0
    assert "create" in capsys.readouterr().out
    assert cli.main(["run", "--help"]) == 0
    assert "--detach" in capsys.readouterr().out


def test_features_are_json_and_touch_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["--root", str(tmp_path / "none"), "features"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ociVersionMax"] == "1.3.0"
    assert found["hooks"] == ["prestart", "createRuntime", "createContainer", "startContainer",
                              "poststart", "poststop"]
    assert "rro" in found["mountOptions"]
    assert "CAP_SYS_ADMIN" in found["linux"]["capabilities"]
    assert not (tmp_path / "none").exists()
