"""Real containers through a real keeper: what a process sees, may and may not."""

from __future__ import annotations

import json
import os

import pytest

from orchestrator.linux import procfs
from orchestrator.runtime.spec import Resources
from tests.runtime.kept import Kept, eventually

pytestmark = pytest.mark.kernel


def test_command_environment_directory_and_names_are_as_specified(kept: Kept) -> None:
    text = kept.sh("web", "echo $GREETING $HOME $HOSTNAME; pwd; hostname; echo $0 $1; echo $$",
                   environment={"GREETING": "hällo"}, cwd="/srv/new")
    assert text.splitlines() == ["hällo /root web", "/srv/new", "web", "/bin/sh", "1"]


def test_a_user_of_the_image_gets_its_ids_groups_and_home(kept: Kept) -> None:
    text = kept.sh("web", "id; echo $HOME", user="bob")
    assert text == "uid=1000(bob) gid=1000(bob) groups=1000(bob),10(wheel)\n/home/bob"


def test_a_group_given_with_the_user_replaces_those_of_the_file(kept: Kept) -> None:
    assert kept.sh("web", "id -G", user="1000:5", group_add=("wheel",)) == "5 10"


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("sh -c 'kill -9 $$'; exit $?", 137)]
)
def test_exit_codes_are_those_of_a_shell(kept: Kept, script: str, code: int) -> None:
    message = kept.run("web", ("/bin/sh", "-c", script))
    assert message["exit_code"] == code
    written = json.loads((kept.directory("web") / "exit.json").read_text())
    assert written["exit_code"] == code
    assert written["pid"] == kept.pids["web"][0]


def test_a_killed_container_has_128_plus_the_signal(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"))
    os.kill(kept.pids["web"][0], 9)
    assert kept.exited("web")["exit_code"] == 137


def test_the_files_of_the_run_directory_are_in_etc(kept: Kept) -> None:
    text = kept.sh("web", "cat /etc/hosts /etc/resolv.conf /etc/hostname")
    assert text == "hosts of web\nresolv.conf of web\nhostname of web"


def test_nothing_of_the_host_is_left_in_the_mounts(kept: Kept) -> None:
    targets = kept.sh("web", "cut -d' ' -f5 /proc/self/mountinfo").splitlines()
    assert targets[0] == "/"
    known = ("/usr", "/proc", "/dev", "/sys", "/etc/h", "/etc/r")
    assert all(target.startswith(known) for target in targets[1:]), targets


def test_no_descriptor_but_the_three_streams_is_inherited(kept: Kept) -> None:
    assert kept.sh("web", "ls /proc/self/fd | tr '\\n' ' '") == "0 1 2 3 "


def test_signals_are_neither_blocked_nor_ignored(kept: Kept) -> None:
    text = kept.sh("web", "grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f2")
    of_the_c_library = 3 << 31  # 32 and 33: nobody can reset them
    assert [int(line, 16) & ~of_the_c_library for line in text.splitlines()] == [0, 0]


def test_capabilities_are_the_given_ones_for_root_and_none_for_a_user(kept: Kept) -> None:
    show = "grep -E 'Cap(Eff|Bnd|Amb)' /proc/self/status | cut -f2 | tr '\\n' ' '"
    capabilities = ("CAP_CHOWN", "CAP_SETUID", "CAP_SETGID")
    mask, none = "00000000000000c1", "0" * 16
    assert kept.sh("one", show, capabilities=capabilities) == f"{mask} {mask} {none} "
    assert kept.sh("two", show, user="bob", capabilities=capabilities) == f"{none} {mask} {none} "


def test_no_new_privileges_is_set_only_if_asked_for(kept: Kept) -> None:
    show = "grep NoNewPrivs /proc/self/status | cut -f2"
    assert kept.sh("one", show) == "0"
    assert kept.sh("two", show, no_new_privileges=True) == "1"


def test_the_default_filter_is_loaded_and_refuses_what_it_should(kept: Kept) -> None:
    script = "grep ^Seccomp: /proc/self/status | cut -f2; unshare --mount true 2>&1"
    capabilities = ("CAP_SYS_ADMIN",)
    assert "not permitted" in kept.sh("one", script)
    assert kept.sh("two", script, capabilities=capabilities) == "2"
    assert kept.sh("three", script, capabilities=capabilities, seccomp=False) == "0"


def test_limits_are_set_and_others_are_those_the_keeper_began_with(kept: Kept) -> None:
    text = kept.sh("web", "ulimit -n; ulimit -Hn; ulimit -c",
                   rlimits=(("nofile", 100, 200), ("core", 0, 0)))
    assert text.split() == ["100", "200", "0"]
    import resource

    assert kept.sh("two", "ulimit -n") == str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def test_the_oom_score_is_set(kept: Kept) -> None:
    assert kept.sh("web", "cat /proc/self/oom_score_adj", oom_score_adj=321) == "321"


def test_its_processes_see_only_each_other_and_their_own_network(kept: Kept) -> None:
    text = kept.sh("web", "ls -d /proc/[0-9]* | wc -l; ls /sys/class/net; cat /proc/self/cgroup",
                   resources=Resources(pids=50))
    processes, *rest = text.splitlines()
    assert int(processes) <= 3
    assert rest[0] == "lo"
    assert all(line.endswith(":/") for line in rest[1:] if "pids" in line or line[:2] == "0:")


def test_limits_of_resources_hold_and_their_groups_go(kept: Kept) -> None:
    script = "i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; wait"
    message = kept.run("web", ("/bin/sh", "-c", script), resources=Resources(pids=10))
    assert message["exit_code"] == 2
    assert "fork" in kept.output("web", "stderr")
    eventually(lambda: not any(map(os.path.exists, kept.groups())))


def test_a_container_killed_for_want_of_memory_is_said_to_be(kept: Kept) -> None:
    script = "head -c 300M /dev/zero | tail >/dev/null; exit 9"
    message = kept.run("web", ("/bin/sh", "-c", script), resources=Resources(memory=32 << 20))
    assert message["oom_killed"] is True


def test_the_limit_of_processor_time_is_written(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"), resources=Resources(cpus=0.5))
    spec = kept.specs["web"]
    name = f"pcompose-{spec.project}-{spec.id[:12]}"
    path = kept.hierarchy.group_paths(name, ["cpu"])["cpu"]
    quota = procfs.read_text(f"{path}/cpu.cfs_quota_us") or procfs.read_text(f"{path}/cpu.max")
    assert quota is not None
    assert quota.split()[0] == "50000"


def test_a_node_made_in_the_container_is_dead(kept: Kept) -> None:
    script = "mknod /tmp/n c 1 5 && head -c1 /tmp/n; mknod /dev/n c 1 5 && head -c1 /dev/n"
    message = kept.run("web", ("/bin/sh", "-c", script))
    assert message["exit_code"] != 0
    assert kept.output("web", "stderr").count("ermission denied") == 2


def test_the_usual_devices_work_also_for_a_user(kept: Kept) -> None:
    script = "head -c4 /dev/zero | wc -c; head -c4 /dev/urandom | wc -c; echo x >/dev/null; " \
             "echo out >/dev/stdout; echo err >/dev/stderr"
    assert kept.sh("web", script, user="bob").split() == ["4", "4", "out"]
    assert kept.output("web", "stderr") == "err"


def test_what_is_masked_cannot_be_read_and_sysctls_cannot_be_written(kept: Kept) -> None:
    script = "cat /proc/timer_list /proc/keys | wc -c; ls /sys/firmware | wc -l; " \
             "echo x >/proc/sys/kernel/hostname; mkdir /sys/fs/cgroup/x"
    text = kept.sh("web", script)
    assert text.split() == ["0", "0"]
    assert kept.output("web", "stderr").count("Read-only file system") == 2


def test_standard_input_is_null_or_stays_open(kept: Kept) -> None:
    assert kept.sh("one", "cat; echo end") == "end"
    kept.start("two", ("/bin/sh", "-c", "read line; echo got $line"), stdin_open=True)
    with open(kept.directory("two") / "run/stdin", "w") as stream:
        stream.write("this\n")
    kept.exited("two")
    assert kept.output("two") == "got this"
