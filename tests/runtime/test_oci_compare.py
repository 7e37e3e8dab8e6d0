"""The same bundle under runc: a program inside finds the same, what is refused is refused, and each
command succeeds or fails as theirs does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.bundle import COMMAND, Bundles, Config
from tests.runtime.kept import eventually

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("runc") is None, reason="runc is not installed"),
]
LOOK = """
grep -E '^(Cap|NoNew|Seccomp:|Uid|Gid|Groups|Umask|Sig(Ign|Blk))' /proc/self/status
ls -ln /dev | mawk '{print $1, $3, $4, $5, $6, $NF}' | grep -v ^total
mawk '$5 !~ "^/(sys/fs/cgroup|proc/.|sys/firmware)" {print $5, $6, $(NF-2)}' /proc/self/mountinfo
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
    look_with_both(bundles, LOOK, change)


def look_with_both(bundles: Bundles, script: str, change: Callable[[Config], Any]) -> None:
    def older(config: Config) -> None:
        config["ociVersion"] = "1.0.2"
        config["root"]["readonly"] = True
        change(config)

    config = bundles.config("/bin/sh", "-c", script, change=older)
    found = [runtime("run", "-b", str(bundles.write("c", config)), "ID")
             for runtime in both(bundles)]  # fmt: skip
    assert found[0].returncode == found[1].returncode, found
    assert found[0].stdout.splitlines() == found[1].stdout.splitlines()


class Runtime:
    """A command line; the word ID stands for a container that no other has."""

    def __init__(self, *command: str, name: str, output: Path) -> None:
        self._command, self._id, self._output = command, name, output

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        given = [word.replace("ID", self._id) for word in words]
        errors = self._output.with_suffix(".errors")
        with self._output.open("w") as out, errors.open("w") as err:  # kept open by a container
            done = subprocess.run([*self._command, *given], stdout=out, stderr=err,
                                  stdin=subprocess.DEVNULL, check=False, timeout=60)
        return subprocess.CompletedProcess(given, done.returncode, self._output.read_text(),
                                           errors.read_text())  # fmt: skip


def both(bundles: Bundles) -> tuple[Runtime, Runtime]:
    """Ours and theirs."""
    bundles.used.add("c")
    return (
        Runtime(*COMMAND, "--root", str(bundles.state_root), name="c",
                output=bundles.root / "ours"),
        Runtime("runc", "--root", str(bundles.root / "runc"), output=bundles.root / "theirs",
                name=f"pcompose-compare-{bundles.root.name}"),
    )  # fmt: skip


def limited(config: Config) -> None:
    """Every limit there is, parameters, and paths that are masked, /etc/passwd among them."""
    sizes = {"AS": 1 << 30, "CORE": 0, "DATA": 1 << 30, "FSIZE": 1 << 30, "STACK": 1 << 23,
             "CPU": 60, "NOFILE": 1024, "NPROC": 4000, "MEMLOCK": 0, "SIGPENDING": 10,
             "MSGQUEUE": 9, "NICE": 0, "RTPRIO": 0, "LOCKS": 5, "RSS": 1, "RTTIME": 9}  # fmt: skip
    config["process"]["rlimits"] = [
        {"type": f"RLIMIT_{name}", "soft": size, "hard": size} for name, size in sizes.items()]
    config["linux"] |= {
        "sysctl": {"net.ipv4.ip_forward": "1", "kernel/shmmax": "1000000"},
        "maskedPaths": ["/etc/passwd", "/srv", "/nonexistent", "/tmp/x", "/dev/zero"],
        "readonlyPaths": ["/etc", "/dev/null", "/tmp", "/none"]}  # fmt: skip


def mapped(config: Config) -> None:
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"] |= {"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 2000}],
                        "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 3000}]}


def mounted(config: Config) -> None:
    kinds = ("rprivate", "private", "rshared", "shared", "rslave", "slave", "unbindable")
    config["mounts"] += [{"destination": f"/srv/{kind}", "type": "bind", "source": "/usr/share",
                          "options": ["rbind", "ro", kind, "size=1k"]} for kind in kinds]
    config["mounts"] += [
        {"destination": "/srv/a", "type": "tmpfs", "options": ["noatime", "nosuid"]},
        {"destination": "/srv/file", "type": "bind", "source": "/etc/fstab", "options": ["bind"]},
        {"destination": "srv/relative", "type": "tmpfs"}]  # fmt: skip
    config["root"]["readonly"] = False


@pytest.mark.parametrize(("change", "script"), [
    (limited, "cat /proc/self/limits /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax; "
              "wc -c </etc/passwd; ls /srv | wc -l; head -c 9 /dev/zero | wc -c; touch /tmp/x"),
    (mapped, "id; cat /proc/self/[ug]id_map; stat -c '%u %g %n' / /dev /dev/null /usr; echo >/x"),
    (mounted, "mawk '$5 ~ \"^/srv\" {print $5, $6, $7, $8}' /proc/self/mountinfo | "
              "sed 's/:[0-9]*//' | sort; wc -l /srv/file"),
], ids=["limited", "mapped", "mounted"])  # fmt: skip
def test_more_of_a_config_does_what_it_does_under_runc(
    bundles: Bundles, change: Callable[[Config], Any], script: str
) -> None:
    look_with_both(bundles, script, change)


def in_namespace(**fields: str) -> Callable[[Config], Any]:
    """The uts namespace is another."""
    def change(config: Config) -> None:
        config["linux"]["namespaces"].remove({"type": "uts"})
        config["linux"]["namespaces"].append({"type": "uts", **fields})

    return change


BAD: dict[str, Callable[[Config], Any]] = {
    "an unknown limit": lambda c: c["process"].update(
        rlimits=[{"type": "RLIMIT_TEST", "soft": 1, "hard": 1}]),
    "a parameter of the host": lambda c: c["linux"].update(sysctl={"vm.swappiness": "10"}),
    "a parameter that is not there": lambda c: c["linux"].update(sysctl={"net.none": "1"}),
    "a namespace of the wrong kind": in_namespace(path="/proc/1/ns/ipc"),
    "a namespace that is none": in_namespace(path="/etc/passwd"),
    "a namespace that is twice": lambda c: c["linux"]["namespaces"].append({"type": "uts"}),
    "an unknown device": lambda c: c["linux"].update(
        devices=[{"path": "/dev/x", "type": "x", "major": 1, "minor": 3}]),
    "a relative directory": lambda c: c["process"].update(cwd="tmp"),
    "no arguments": lambda c: c["process"].update(args=[]),
    "a root that is not there": lambda c: c["root"].update(path="/nonexistent"),
    "a source that is not there": lambda c: c["mounts"].append(
        {"destination": "/srv/x", "type": "bind", "source": "/nonexistent", "options": ["bind"]}),
    "a terminal and nobody to take it": lambda c: c["process"].update(terminal=True),
    "a hook that fails": lambda c: c.update(hooks={"prestart": [{"path": "/bin/false"}]}),
}  # fmt: skip


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_what_runc_refuses_is_refused(bundles: Bundles, change: Callable[[Config], Any]) -> None:
    bundle = str(bundles.write("c", bundles.config("true", change=change)))
    for runtime in both(bundles):
        assert runtime("create", "-b", bundle, "ID").returncode == 1
        assert runtime("state", "ID").returncode == 1


LIFE = """
create; create -b /nonexistent ID; create -b BUNDLE ../ID; create -b BUNDLE ID; create -b BUNDLE ID
state; state nope; state ID; start; start nope; kill ID 0; kill ID NOPE; kill nope KILL
exec ID true; pause ID; start ID; resume ID; start ID; start ID; exec ID true; exec ID false
delete ID; delete nope; delete --force nope; kill ID KILL; WAIT; kill ID KILL; start ID; pause ID
state ID; delete ID; delete ID; state ID; list; spec one two; create --nonsense ID
"""


def test_each_command_succeeds_or_fails_as_it_does_under_runc(bundles: Bundles) -> None:
    config = bundles.config("sleep", "1000", change=lambda c: c.update(ociVersion="1.0.2"))
    bundle = str(bundles.write("c", config))
    codes = []
    for line in LIFE.replace("BUNDLE", bundle).replace("\n", ";").split(";"):
        words = line.split()
        if words == ["WAIT"]:
            for runtime in both(bundles):
                eventually(lambda of=runtime: '"stopped"' in of("state", "ID").stdout)
        elif words:
            found = [runtime(*words).returncode for runtime in both(bundles)]
            codes.append((line.strip(), *found))
    assert [(line, ours) for line, ours, _ in codes] == [(line, other) for line, _, other in codes]
