"""The thin calls do what the manual says, also in a child after clone and pivot_root."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from orchestrator.linux import syscalls
from tests.linux.forked import in_child

TEMPORARY = syscalls.CLONE_NEWNS


def test_the_error_names_the_path() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        syscalls.openat2(syscalls.AT_FDCWD, "/nonexistent/x", os.O_PATH)
    assert caught.value.filename == "/nonexistent/x"


@pytest.mark.parametrize("path", ["/tmp\0/x", "\0"])
def test_a_null_byte_never_reaches_the_kernel(path: str) -> None:
    with pytest.raises(OSError, match="null byte"):
        syscalls.openat2(syscalls.AT_FDCWD, path, os.O_PATH)


def test_close_range_closes_or_marks() -> None:
    def work() -> list[bool]:
        fds = [os.dup2(0, number, inheritable=True) for number in (200, 201, 202)]
        syscalls.close_range(200, 200)
        syscalls.close_range(201, 0xFFFF_FFFF, cloexec=True)
        gone = not os.path.exists("/proc/self/fd/200")
        return [gone, *(os.get_inheritable(fd) for fd in fds[1:])]

    assert in_child(work) == [True, False, False]


def test_a_name_is_cut_to_what_the_kernel_takes() -> None:
    def work() -> str:
        syscalls.set_name("a-name-that-is-too-long")
        with open("/proc/self/comm", encoding="ascii") as file:
            return file.read()

    assert in_child(work) == "a-name-that-is-\n"


def test_clone_answers_as_fork_does() -> None:
    pid = syscalls.clone()
    if pid == 0:
        os._exit(7)
    assert os.waitpid(pid, 0) == (pid, 7 << 8)


@pytest.mark.parametrize(("code", "status"), [(0, 0), (3, 3 << 8), (None, 9)])
def test_the_way_a_process_ended_is_known_after_it_was_reaped(
    code: int | None, status: int,
) -> None:
    pid, pidfd = syscalls.clone_with_pidfd()
    if pid == 0:
        if code is not None:
            os._exit(code)
        select.poll().poll()
    assert not os.get_inheritable(pidfd)
    if code is None:
        assert syscalls.pidfd_exit_info(pidfd) is None
        syscalls.pidfd_send_signal(pidfd, 9)
    os.waitpid(pid, 0)
    known = syscalls.pidfd_exit_info(pidfd)
    with pytest.raises(ProcessLookupError):
        syscalls.pidfd_send_signal(pidfd, 0)
    os.close(pidfd)
    if known is None:
        pytest.skip("no PIDFD_INFO_EXIT: needs Linux 6.15")
    assert known == status


def test_a_pidfd_of_no_process_is_refused() -> None:
    with pytest.raises((ProcessLookupError, OSError)):
        syscalls.pidfd_open(2**22 + 1)


@pytest.mark.kernel
def test_a_new_namespace_has_its_own_names_and_pids() -> None:
    def work() -> list[object]:
        syscalls.sethostname("web")
        syscalls.setdomainname("example")
        return [os.uname().nodename, os.uname()[1:2]]

    before = os.uname().nodename
    assert in_child(work, namespaces=syscalls.CLONE_NEWUTS) == ["web", ["web"]]
    assert os.uname().nodename == before
    pid = syscalls.clone(syscalls.CLONE_NEWPID)
    if pid == 0:
        os._exit(os.getpid())
    assert os.waitpid(pid, 0)[1] == 1 << 8


@pytest.mark.kernel
def test_a_root_can_be_left_behind(tmp_path: os.PathLike[str]) -> None:
    root = os.fspath(tmp_path)

    def work() -> list[str]:
        syscalls.mount("tmpfs", root, "tmpfs", syscalls.MS_NODEV, "size=1m")
        os.mkdir(f"{root}/only")
        os.chdir(root)
        syscalls.pivot_root(".", ".")
        syscalls.umount2(".", syscalls.MNT_DETACH)
        os.chdir("/")
        return os.listdir("/")

    assert in_child(work, namespaces=TEMPORARY) == ["only"]


@pytest.mark.kernel
def test_a_bind_is_made_read_only_before_it_is_seen(tmp_path: os.PathLike[str]) -> None:
    target = os.path.join(tmp_path, "target")
    os.mkdir(target)

    def work() -> str:
        tree = syscalls.open_tree(syscalls.AT_FDCWD, "/usr", syscalls.OPEN_TREE_CLONE)
        syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH,
                               attr_set=syscalls.MOUNT_ATTR_RDONLY, propagation=syscalls.MS_PRIVATE)
        syscalls.move_mount(tree, "", syscalls.AT_FDCWD, target, syscalls.MOVE_MOUNT_F_EMPTY_PATH)
        try:
            os.mkdir(f"{target}/x")
        except OSError as exc:
            return str(exc.strerror)
        return "writable"

    assert in_child(work, namespaces=TEMPORARY) == "Read-only file system"


@pytest.mark.kernel
def test_a_file_system_is_made_without_a_path(tmp_path: os.PathLike[str]) -> None:
    target = os.fspath(tmp_path)

    def work() -> int:
        fd = syscalls.fsopen("tmpfs")
        syscalls.fsconfig(fd, syscalls.FSCONFIG_SET_STRING, "mode", "710")
        syscalls.fsconfig(fd, syscalls.FSCONFIG_CMD_CREATE)
        tree = syscalls.fsmount(fd)
        syscalls.move_mount(tree, "", syscalls.AT_FDCWD, target, syscalls.MOVE_MOUNT_F_EMPTY_PATH)
        return os.stat(target).st_mode & 0o777

    assert in_child(work, namespaces=TEMPORARY) == 0o710


@pytest.mark.parametrize(
    "module",
    ["caps", "cgroupfs", "chase", "fds", "inotify", "jsontext", "procfs", "seccomp", "syscalls",
     "tty"],
)  # fmt: skip
def test_a_module_loads_nothing_that_is_slow(module: str) -> None:
    slow = {"typing", "dataclasses", "contextlib", "enum", "signal", "socket", "subprocess", "re",
            "collections", "functools", "pathlib", "json"}
    code = (f"import sys; sys.path.insert(0, {os.getcwd()!r}); "
            f"import orchestrator.linux.{module}; print(*sys.modules)")
    result = subprocess.run([sys.executable, "-SI", "-c", code], check=True, capture_output=True,
                            text=True)
    assert slow.isdisjoint(result.stdout.split())


def test_broken_json_is_a_value_error_where_the_package_is_not_loaded() -> None:
    code = (f"import sys; sys.path.insert(0, {os.getcwd()!r})\n"
            "from orchestrator.linux import jsontext\n"
            "for text in ('{', '[1,', '\"a', '{1:2}', 'nul', b'\\xff', '[' * 100000):\n"
            "    try: jsontext.decode(text)\n"
            "    except ValueError: print('refused')\n"
            "print('json' in sys.modules)")
    result = subprocess.run([sys.executable, "-SI", "-c", code], check=True, capture_output=True,
                            text=True)
    assert result.stdout.split() == ["refused"] * 7 + ["False"]
