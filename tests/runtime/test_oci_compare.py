"""The same bundle under runc: a program inside finds the same."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.runtime.bundle import Bundles, Config

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("runc") is None, reason="runc is not installed"),
]
LOOK = """
grep -E '^(Cap|NoNew|Seccomp:|Uid|Gid|Groups|Umask|Sig(Ign|Blk))' /proc/self/status
ls -ln /dev | awk '{print $1, $3, $4, $5, $6, $NF}' | grep -v ^total
awk '$5 !~ "^/(sys/fs/cgroup|proc/.|sys/firmware)" {print $5, $6, $(NF-2)}' /proc/self/mountinfo
cat /proc/self/limits; env | sort; pwd; umask; ls /proc/self/fd; cat /proc/self/oom_score_adj
hostname; wc -l < /proc/net/dev; ls -ldn / /dev /dev/shm /dev/pts /srv | cut -c1-20
for f in /proc/keys /proc/timer_list /proc/kcore /sys/firmware/x; do wc -c < $f; done 2>&1
for f in /proc/sys/kernel/domainname /proc/sysrq-trigger /x /usr/x; do touch $f; done 2>&1
cat /proc/1/comm; ps -o pid,args | wc -l; tty; stat -c '%a %u' /proc/self/fd/1
"""


def user(config: Config) -> None:
    config["process"] |= {
        "user": {"uid": 1000, "gid": 10, "additionalGids": [5], "umask": 0o077}, "cwd": "/srv",
        "env": ["PATH=/bin", "A=b"], "oomScoreAdj": 100,
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]}  # fmt: skip


def writable(config: Config) -> None:
    config["root"]["readonly"] = False
    config["process"]["noNewPrivileges"] = False
    few = ["CAP_CHOWN", "CAP_KILL"]
    config["process"]["capabilities"] = dict.fromkeys(
        ("bounding", "permitted", "effective", "inheritable", "ambient"), few)
    config["mounts"].append({"destination": "/srv/t", "type": "tmpfs", "source": "t",
                             "options": ["noexec", "size=1m", "mode=711"]})
    config["linux"] |= {"devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229,
                                     "fileMode": 0o600, "uid": 1, "gid": 2}]}  # fmt: skip


def filtered(config: Config) -> None:
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "chmod"], "action": "SCMP_ACT_ERRNO"}]}  # fmt: skip


@pytest.mark.parametrize("change", [lambda _: None, user, writable, filtered],
                         ids=["template", "user", "writable", "filtered"])  # fmt: skip
def test_a_program_finds_what_it_finds_under_runc(
    bundles: Bundles, change: Callable[[Config], Any]
) -> None:
    def older(config: Config) -> None:
        config["ociVersion"] = "1.0.2"
        config["root"]["readonly"] = True
        change(config)

    config = bundles.config("/bin/sh", "-c", LOOK, change=older)
    ours = bundles.run("c", config)
    theirs = subprocess.run(
        ["runc", "--root", str(bundles.root / "runc"), "run", "-b",
         str(bundles.write("c", config)), f"pcompose-compare-{bundles.root.name}"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60)
    assert theirs.returncode == ours.returncode, theirs.stderr + ours.stderr
    assert ours.stdout.splitlines() == theirs.stdout.splitlines()
