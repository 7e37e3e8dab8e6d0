"""What a hostile container tries, from inside: each attempt fails, and the host is as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.linux import procfs
from orchestrator.runtime.spec import Mount, Resources
from tests.runtime.kept import Kept

pytestmark = pytest.mark.kernel

DEFAULT = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT",
    "CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_SETFCAP",
)  # fmt: skip
CALL = """
import ctypes, errno, os, resource, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(action, *arguments):
    try:
        action(*arguments)
    except (OSError, ValueError) as exc:
        return errno.errorcode.get(getattr(exc, "errno", None) or 0, "refused")
    return "ok"
"""


def inside(kept: Kept, script: str, **fields: object) -> list[str]:
    """What a Python script prints in a container with the default capabilities and filter."""
    given = {"capabilities": DEFAULT, **fields}
    message = kept.run("evil", ("/usr/bin/python3", "-c", CALL + script), **given)
    assert message["event"] == "exited", message
    assert message["exit_code"] == 0, kept.output("evil", "stderr")
    return kept.output("evil").splitlines()


@pytest.fixture(autouse=True)
def _has_python() -> None:
    if not os.path.exists("/usr/bin/python3"):
        pytest.skip("the containers of these tests need /usr/bin/python3")
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of system calls here are those of x86_64")


def test_it_cannot_mount_nor_make_namespaces(kept: Kept) -> None:
    found = inside(kept, """
mount = lambda: call(165, b"x", b"/tmp", b"tmpfs", 0, None)
print(mount(), call(430, b"tmpfs", 0), call(428, -100, b"/", 1), call(272, 0x10000000),
      call(272, 0x00020000), call(308, 0, 0), call(155, b"/", b"/tmp"))
""")
    assert found == ["EPERM " * 6 + "EPERM"]


def test_it_cannot_load_modules_reboot_or_set_the_clock(kept: Kept) -> None:
    found = inside(kept, """
print(call(175, None, 0, b""), call(313, 0, b"", 0), call(246, 0, 0, 0, None, 0),
      call(169, 0xfee1dead, 672274793, 0, None), call(227, 0, b"\\0" * 16), call(103, 3, None, 0))
""")
    assert found == ["EPERM " * 5 + "EPERM"]


def test_calls_that_are_blocked_are_blocked(kept: Kept) -> None:
    found = inside(kept, """
print(call(250, 0, 0), call(248, b"user", b"x", b"y", 1, -3), call(425, 8, b"\\0" * 120),
      call(323, 0), call(321, 0, None, 0), call(298, None, 0, -1, -1, 0), call(167, b"x", 0),
      call(304, -100, None, 0), attempt(__import__("socket").socket, 40, 1), call(999))
""")
    assert found == ["EPERM " * 9 + "ENOSYS"]


def test_it_cannot_open_a_raw_disk_or_memory(kept: Kept) -> None:
    disk = sorted(os.listdir("/sys/block"))[0]
    number = Path(f"/sys/block/{disk}/dev").read_text().strip()
    found = inside(kept, f"""
major, minor = {number.replace(":", ", ")}
for where in ("/tmp", "/dev", "/dev/shm", "/srv"):
    os.mknod(where + "/disk", 0o60666, os.makedev(major, minor))
    os.mknod(where + "/mem", 0o20666, os.makedev(1, 1))
    print(attempt(os.open, where + "/disk", os.O_RDWR), attempt(os.open, where + "/mem", 0))
print(attempt(os.open, "/dev/mem", 0), all(os.stat(p).st_rdev == os.makedev(1, 3)
      for p in ("/proc/kcore", "/proc/keys", "/proc/timer_list") if os.path.exists(p)))
""", mounts=(Mount(type="tmpfs", target="/srv"),))
    assert found[:4] == ["EACCES EACCES"] * 4
    assert found[4] == "EACCES True"  # /dev/null lies over them


def test_it_cannot_write_to_proc_sys_and_its_groups(kept: Kept) -> None:
    found = inside(kept, """
paths = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger",
         "/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled"]
groups = [d + "/cgroup.procs" for d, _, files in os.walk("/sys/fs/cgroup")
          if "cgroup.procs" in files]
groups += [d + "/" + f for d, _, files in os.walk("/sys/fs/cgroup") for f in files
           if f in ("release_agent", "pids.max", "memory.max", "memory.limit_in_bytes")]
print(sorted({attempt(os.open, p, os.O_WRONLY) for p in paths + groups if os.path.exists(p)}))
print(bool(groups), os.listdir("/sys/firmware"), attempt(os.mkdir, "/sys/fs/cgroup/x"))
""", resources=Resources(pids=50))
    assert found == ["['EROFS']", "True [] EROFS"]


def test_it_sees_no_process_of_the_host(kept: Kept) -> None:
    found = inside(kept, """
print(sorted(p for p in os.listdir("/proc") if p.isdigit()))
print(sorted({attempt(os.kill, pid, 0) for pid in range(2, 400)}), os.getppid())
""")
    assert found == ["['1']", "['ESRCH'] 0"]


def test_no_descriptor_of_the_runtime_leaks(kept: Kept, tmp_path: Path) -> None:
    found = inside(kept, """
for name in sorted(os.listdir("/proc/self/fd"), key=int):
    try:
        print(name, stat.S_IFMT(os.fstat(int(name)).st_mode))
    except OSError:
        pass
""")
    assert len(found) == 3
    for number in range(3, 40):  # a working directory that was the host's (CVE-2024-21626)
        message = kept.run(f"cwd{number}", ("/bin/ls",), cwd=f"/proc/self/fd/{number}",
                           create_cwd=False)
        assert message["event"] == "failed"


WRITE = """
import os, sys, errno
found = []
for path in sys.argv[1:]:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        try:
            os.close(os.open(path, flags))
            found.append("WRITTEN " + path)
        except OSError as exc:
            found.append(errno.errorcode[exc.errno])
print(sorted(set(found)))
"""


def test_it_cannot_write_to_the_runtime_it_has_become(kept: Kept) -> None:
    """CVE-2019-5736: a command that is a link to /proc/self/exe makes the container the runtime;
    what it is then is on a read-only mount."""
    link = kept.rootfs / "srv/shell"
    link.symlink_to("/proc/self/exe")
    script = kept.rootfs / "srv/script"
    script.write_text(f"#!/proc/self/exe\n{WRITE}")
    script.chmod(0o755)
    keepers = f"/proc/{kept.keeper_pid}/exe"
    before = Path(keepers).read_bytes()
    for name, argv in (("link", ("/srv/shell", "-Sc", WRITE, "/proc/self/exe", "/proc/1/exe")),
                       ("shebang", ("/srv/script", "/proc/self/exe"))):
        message = kept.run(name, argv, environment={"PYTHONHOME": sys.base_prefix},
                           mounts=(Mount(type="bind", source=sys.base_prefix, read_only=True,
                                         target=sys.base_prefix),))  # fmt: skip
        if name == "link" or message["event"] == "exited":
            assert message["event"] == "exited", message
            assert kept.output(name) in ("['EROFS']", "['EROFS', 'ETXTBSY']")
    assert Path(keepers).read_bytes() == before


def test_it_cannot_write_to_its_init_nor_to_who_enters_it(kept: Kept) -> None:
    kept.start("web", ("/bin/sleep", "1000"), init=True)
    code, text = kept.exec_output("web", ("/usr/bin/python3", "-c", WRITE, "/proc/1/exe"))
    assert code == 0
    assert text in ("['EROFS']\n", "['EROFS', 'ETXTBSY']\n")


def test_it_cannot_raise_its_limits(kept: Kept) -> None:
    found = inside(kept, """
print(attempt(resource.setrlimit, resource.RLIMIT_NOFILE, (100, 1000)),
      attempt(resource.prlimit, 1, resource.RLIMIT_NOFILE, (100, 1000)),
      attempt(os.nice, -5), call(251, 1, 0, 1 << 13 | 4))
fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
print(attempt(os.write, fd, b"-999"))
""", rlimits=(("nofile", 100, 100),), oom_score_adj=0)
    assert found == ["refused EPERM EPERM EPERM", "EACCES"]


def test_capabilities_cannot_be_won_back(kept: Kept) -> None:
    (kept.rootfs / "srv/root").write_bytes(b"")
    found = inside(kept, """
import subprocess, shutil
shutil.copy("/usr/bin/id", "/tmp/id")
print(open("/proc/self/status").read().split("CapBnd:\\t")[1].split()[0])
print(call(126, ctypes.byref((ctypes.c_uint32 * 2)(0x20080522, 0)),
           ctypes.byref((ctypes.c_uint32 * 6)(0x200000, 0x200000, 0, 0, 0, 0))))
""")
    assert found == ["00000000a80425fb", "EPERM"]


def swap(path: Path, target: str, stop: threading.Event) -> None:
    """Now a directory, now a link that leads out, without an end."""
    aside, link = path.with_name(".aside"), path.with_name(".link")
    while not stop.is_set():
        try:
            if not link.is_symlink():
                link.symlink_to(target)
            os.rename(path, aside)
            os.rename(link, path)
            path.unlink()
            os.rename(aside, path)
        except OSError:  # the start has made something there in between
            shutil.rmtree(aside, ignore_errors=True)
            path.mkdir(exist_ok=True)


def test_a_link_that_comes_and_goes_leads_no_mount_out(kept: Kept, tmp_path: Path) -> None:
    """Another container of the same volume swaps a directory for a link during the start."""
    victim, shared, evil = tmp_path / "victim", tmp_path / "shared", tmp_path / "evil"
    for directory in (victim, shared / "sub", evil):
        directory.mkdir(parents=True)
    (evil / "planted").touch()
    stop = threading.Event()
    attacker = threading.Thread(target=swap, args=(shared / "sub", str(victim), stop))
    attacker.start()
    try:
        for number in range(12):
            mounts = (Mount(type="bind", source=str(shared), target="/v"),
                      Mount(type="bind", source=str(evil), target="/v/sub/deep"),
                      Mount(type="volume", source=str(shared), target="/s", subpath="sub"))
            message = kept.run(f"web{number}", ("/bin/sh", "-c", f"ls -A {victim} /s"),
                               mounts=mounts)
            assert message["event"] in ("exited", "failed")
            assert list(victim.iterdir()) == []
            if message["event"] == "exited":
                assert "planted" not in kept.output(f"web{number}").split(":")[-1]
    finally:
        stop.set()
        attacker.join()
    assert list(victim.iterdir()) == []


def test_a_link_that_comes_and_goes_leads_no_copy_out(kept: Kept, tmp_path: Path) -> None:
    """What an image has at a volume's target is copied from inside of its root only, into the
    volume only."""
    victim, volume = tmp_path / "victim", tmp_path / "volume"
    victim.mkdir()
    (victim / "secret").write_text("secret")
    image = kept.rootfs / "srv/data"
    (image / "sub").mkdir(parents=True)
    (image / "sub/file").write_text("from the image")
    (image / "link").symlink_to(victim)
    (kept.rootfs / "srv/out").symlink_to(victim)
    stop = threading.Event()
    attacker = threading.Thread(target=swap, args=(image / "sub", str(victim), stop))
    attacker.start()
    try:
        for number in range(8):
            data = volume / str(number) / "_data"
            data.mkdir(parents=True)
            mount = Mount(type="volume", source=str(data), target="/srv/data", populate=True)
            kept.run(f"web{number}", ("/bin/true",), mounts=(mount,))
            copied = subprocess.run(["find", data, "-type", "f"], capture_output=True, text=True,
                                    check=True).stdout  # fmt: skip
            assert "secret" not in copied
    finally:
        stop.set()
        attacker.join()
    data = volume / "out/_data"
    data.mkdir(parents=True)
    out = Mount(type="volume", source=str(data), target="/srv/out", populate=True)
    kept.run("last", ("/bin/true",), mounts=(out,))
    assert list(data.iterdir()) == []
    assert [p.name for p in victim.iterdir()] == ["secret"]


def test_an_end_leaves_no_process_behind(kept: Kept) -> None:
    """A container that forks as fast as it can is gone with its first process."""
    script = "import os\nwhile os.fork() >= 0 and len(os.listdir('/proc')) < 150: pass"
    kept.run("bomb", ("/usr/bin/python3", "-c", script), resources=Resources(pids=60))
    name = f"pcompose-p-{kept.specs['bomb'].id[:12]}"
    assert not [pid for pid in procfs.pids() if name in (procfs.read_text(f"/proc/{pid}/cgroup")
                                                         or "")]  # fmt: skip
