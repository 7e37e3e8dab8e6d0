"""The steps around the command itself: standard streams, working directory, waiting, exec.

Imported by the keeper.
"""

from __future__ import annotations

import _signal as signals  # type: ignore[import-not-found]  # `signal` costs an import of `enum`
import errno
import fcntl
import os
import stat

from orchestrator.linux import syscalls, tty
from orchestrator.runtime.steps import Child, Step

_F_SETPIPE_SZ = 1031
_PIPE_SIZE = 256 << 10
_NULL = os.makedev(1, 3)


class WaitForGo(Step):
    """Until the keeper says that the network is there; the end of its connection ends us."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        if child.channel.receive() is None:
            raise OSError(errno.ECANCELED, "the keeper is gone")

    def describe(self) -> str:
        return "wait for the network"


class Fifos(Step):
    """stdout and stderr are FIFOs in `directory`, opened for reading too: they live as long as a
    process of the container does, and no writer ever sees EPIPE, even while no keeper lives."""

    __slots__ = ("directory", "stdin")
    directory: str
    stdin: bool

    def execute(self, child: Child) -> None:
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            is_open = self.stdin or name != "stdin"
            path = f"{self.directory}/{name}" if is_open else "/dev/null"
            flags = os.O_RDWR if is_open else os.O_RDONLY
            fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
            if is_open:
                _widen(fd)
            os.dup2(fd, number, inheritable=True)
            os.close(fd)

    def describe(self) -> str:
        return f"output to {self.directory}"


def _widen(fd: int) -> None:
    """More room while no keeper reads; the user's quota of pipe pages may forbid it."""
    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_SIZE)
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.EBUSY):
            raise


class GivenStreams(Step):
    """stdin, stdout and stderr are the descriptors that came with the message."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        if len(child.given) != 3:
            raise OSError(errno.EBADF, f"3 descriptors wanted, {len(child.given)} came")
        for number, fd in enumerate(child.given):
            os.dup2(fd, number, inheritable=True)

    def describe(self) -> str:
        return "standard streams"


class Terminal(Step):
    """A pty of the container's own devpts (after pivot_root): the master goes to the keeper, the
    slave is all three streams and the controlling terminal, and with `console` /dev/console."""

    __slots__ = ("console",)
    console: bool

    def execute(self, child: Child) -> None:
        master, slave = tty.open_pty("/dev/pts/ptmx")
        child.channel.send({"terminal": True}, [master])
        if self.console:
            self._bind_console(tty.pty_number(master))
        os.close(master)
        os.fchown(slave, child.uid, -1)
        tty.make_controlling(slave)
        for number in range(3):
            os.dup2(slave, number, inheritable=True)
        os.close(slave)

    def _bind_console(self, number: int) -> None:
        os.close(os.open("/dev/console", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC))
        syscalls.mount(f"/dev/pts/{number}", "/dev/console", "", syscalls.MS_BIND)

    def describe(self) -> str:
        return "open a terminal"


class OwnStreams(Step):
    """The streams that are pipes or FIFOs belong to the container's user, who may then open
    /dev/stdout again (unless a user namespace does not know their owner); a user's terminal or file
    stays what it is.  The host's /dev/null becomes the container's own, if it has one."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        for fd in range(3):
            status = os.fstat(fd)
            if stat.S_ISFIFO(status.st_mode) and status.st_uid != child.uid:
                try:
                    os.fchown(fd, child.uid, -1)
                except OSError as exc:
                    if exc.errno not in (errno.EPERM, errno.EINVAL):
                        raise
            elif _is_null(status):
                _take_own_null(fd)

    def describe(self) -> str:
        return "owner of the standard streams"


def _is_null(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL


def _take_own_null(fd: int) -> None:
    """Whatever else an image has at /dev/null is left alone."""
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        if not _is_null(os.stat("/dev/null")):
            return
        own = os.open("/dev/null", flags)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    if _is_null(os.fstat(own)):
        os.set_blocking(own, True)
        os.dup2(own, fd, inheritable=True)
    os.close(own)


class WorkingDirectory(Step):
    """chdir inside the root, made where it is missing if `create`."""

    __slots__ = ("create", "path")
    path: str
    create: bool

    def execute(self, child: Child) -> None:
        try:
            os.chdir(self.path)
        except FileNotFoundError:
            if not self.create:
                raise
            os.makedirs(self.path, exist_ok=True)
            os.chdir(self.path)
        os.getcwd()  # ENOENT if it lies outside the root (CVE-2024-21626)

    def describe(self) -> str:
        return f"working directory {self.path}"


class OpenInit(Step):
    """The init binary of the host as a descriptor of a read-only mount of it, before pivot_root:
    nothing in the container can write to it through /proc/1/exe."""

    __slots__ = ("path",)
    path: str

    def execute(self, child: Child) -> None:
        tree = syscalls.open_tree(syscalls.AT_FDCWD, self.path, syscalls.OPEN_TREE_CLONE)
        syscalls.mount_setattr(
            tree, "", syscalls.AT_EMPTY_PATH,
            attr_set=syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NODEV)  # fmt: skip
        child.init_fd = tree

    def describe(self) -> str:
        return "open the init binary"


class DieWithParent(Step):
    """The command is killed when the process that made it ends."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        child.death_signal = signals.SIGKILL

    def describe(self) -> str:
        return "die with the parent"


class Execute(Step):
    """Become the command; a name without a slash is looked up in the container's PATH, after all
    privileges are gone.  With an init (`OpenInit`) it is handed the path that was found."""

    __slots__ = ("argv", "environment")
    argv: list[str]
    environment: dict[str, str]

    def execute(self, child: Child) -> None:
        environment = {**child.environment, **self.environment}
        candidates = _candidates(self.argv[0], environment.get("PATH", ""))
        syscalls.close_range(3, 0xFFFF_FFFF, cloexec=True)
        syscalls.set_parent_death_signal(child.death_signal)
        if child.death_signal:  # which a change of the user has undone for a while
            child.channel.pending()  # EOFError: the parent has ended meanwhile
        failure = OSError(errno.ENOENT, "executable file not found in PATH", self.argv[0])
        for path in candidates:
            try:
                self._become(child, path, environment)
            except OSError as exc:
                if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                    raise OSError(exc.errno, exc.strerror, path) from None
                failure = _worse(failure, exc, path)
        raise failure

    def _become(self, child: Child, path: str, environment: dict[str, str]) -> None:
        if child.init_fd < 0:
            os.execve(path, self.argv, environment)
        _check_executable(path)
        argv = ["pcompose-init", "--", path, *self.argv[1:]]
        os.execve(child.init_fd, argv, environment)

    def describe(self) -> str:
        return f"exec {self.argv[0]}"


def find_executable(name: str, path: str) -> str:
    """Where the command is, as the calling user may execute it; OSError (ENOENT, EACCES)."""
    failure = OSError(errno.ENOENT, "executable file not found in PATH", name)
    for candidate in _candidates(name, path):
        try:
            _check_executable(candidate)
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                raise
            failure = _worse(failure, exc, candidate)
        else:
            return candidate
    raise failure


def _candidates(name: str, path: str) -> list[str]:
    if "/" in name:
        return [name]
    return [os.path.join(directory or ".", name) for directory in path.split(":")] if name else []


def _check_executable(path: str) -> None:
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) or not os.access(path, os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)


def _worse(failure: OSError, exc: OSError, path: str) -> OSError:
    """The failure that says most: found but not allowed before found but without its interpreter
    before not found."""
    if exc.errno == errno.EACCES:
        return OSError(errno.EACCES, os.strerror(errno.EACCES), path)
    if failure.errno == errno.EACCES or not os.path.lexists(path):
        if failure.filename != path and "/" not in failure.filename:
            return failure
        return failure if failure.errno == errno.EACCES else OSError(
            errno.ENOENT, os.strerror(errno.ENOENT), path)  # fmt: skip
    return OSError(errno.ENOENT, "it is there, but its interpreter or loader is not", path)
