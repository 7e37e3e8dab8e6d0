"""Resolve a path inside a root without ever leaving it, whatever its symbolic links say.

An absolute link starts again at the root, `..` stops at it, and the links of /proc that jump
anywhere are refused.  openat2(2) does it in the kernel, which also withstands renames in between;
before Linux 5.6 the path is walked here, one held directory per component.  Whose root it is and
why somebody looks there is not known here.
"""

from __future__ import annotations

import errno
import os
import stat

from orchestrator.linux import syscalls

_MAX_LINKS = 40  # as the kernel's MAXSYMLINKS
_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_RACES = 128  # EAGAIN: somebody renamed just then, and the kernel could not vouch for a `..`
_NEW = os.O_CREAT | os.O_EXCL
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def open_inside(root_fd: int, path: str, flags: int = os.O_PATH, *, mode: int = 0o600) -> int:
    """Open `path` as a process would whose root directory is `root_fd`; CLOEXEC.

    Errors as of open(2).  With O_NOFOLLOW a link at the end is not followed (with O_PATH it is
    opened itself); with O_CREAT a file is made with `mode` less the umask.
    """
    for _ in range(_RACES):
        try:
            return syscalls.openat2(root_fd, path or ".", flags, resolve=_RESOLVE,
                                    mode=mode if flags & os.O_CREAT else 0)
        except OSError as exc:
            if exc.errno == errno.ENOSYS:
                return walk_inside(root_fd, path, flags, mode=mode)
            if exc.errno != errno.EAGAIN:
                raise
    return walk_inside(root_fd, path, flags, mode=mode)


def open_or_make(root_fd: int, path: str, *, directory: bool) -> int:
    """What is at `path`, opened with O_PATH for something to be mounted on it; a directory (0755)
    or an empty file (0644), and its parents, are made where nothing is."""
    return make_directories(root_fd, path) if directory else make_file(root_fd, path)


def make_directories(root_fd: int, path: str, *, mode: int = 0o755) -> int:
    """The directory at `path` opened with O_PATH, made where it is missing, parents too.

    `mode` is what the made directories get, less the umask.  A link that leads nowhere is followed
    and its target made, inside the root.  NotADirectoryError if something else is in the way.
    """
    try:
        return open_inside(root_fd, path, _DIRECTORY)
    except FileNotFoundError:
        return _make_directories(root_fd, path, mode=mode)


def make_file(root_fd: int, path: str, *, mode: int = 0o644) -> int:
    """What is at `path`, opened with O_PATH; an empty file of `mode` and its parents are made if
    nothing is there.  IsADirectoryError if a directory is there."""
    try:
        fd = open_inside(root_fd, path, os.O_PATH)
    except FileNotFoundError:
        parent, _ = os.path.split(path.rstrip("/"))
        os.close(make_directories(root_fd, parent))
        fd = _create(root_fd, path, mode=mode)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return fd


def walk_inside(root_fd: int, path: str, flags: int, *, mode: int = 0o600) -> int:
    """`open_inside` without openat2(2).

    Every directory on the way is held open and `..` goes back to the one we came through, so
    moving directories about meanwhile leads nowhere but into the root.
    """
    way = _Way(root_fd, path)
    try:
        return way.walk(flags, mode)
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, path) from None
    finally:
        way.close()


class _Way:
    """A walk from the root: the directories entered so far and the components still to go."""

    __slots__ = ("held", "links", "rest", "wants_directory")

    def __init__(self, root_fd: int, path: str) -> None:
        if "\0" in path:
            raise OSError(errno.EINVAL, "embedded null byte", path)
        self.held = [os.open(".", _DIRECTORY, dir_fd=root_fd)]
        self.rest = _components(path)
        self.wants_directory = path.endswith(("/", "/.", "/..")) or not self.rest
        self.links = 0

    def close(self) -> None:
        while self.held:
            os.close(self.held.pop())

    def walk(self, flags: int, mode: int) -> int:
        while self.rest:
            name = self.rest.pop()
            if name == "..":
                self._back()
            elif self.rest or self.wants_directory:
                self._enter(name)
            else:
                fd = self._last(name, flags, mode)
                if fd is not None:
                    return fd
        if flags & os.O_CREAT:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return os.open(".", flags | os.O_CLOEXEC, dir_fd=self.held[-1])

    def _back(self) -> None:
        if len(self.held) > 1:
            os.close(self.held.pop())

    def _enter(self, name: str) -> None:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.held[-1])
        kind = os.fstat(fd).st_mode
        if stat.S_ISDIR(kind):
            self.held.append(fd)
            return
        try:
            if not stat.S_ISLNK(kind):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            self._follow(os.readlink("", dir_fd=fd))
        finally:
            os.close(fd)

    def _last(self, name: str, flags: int, mode: int) -> int | None:
        """Open the last component; None if it is a link, whose target is now what is to go."""
        if not flags & os.O_NOFOLLOW and flags & _NEW != _NEW:
            link = self._link(name)
            if link is not None:
                self._follow(link)
                return None
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=self.held[-1])

    def _link(self, name: str) -> str | None:
        try:
            return os.readlink(name, dir_fd=self.held[-1])
        except OSError as exc:
            if exc.errno in (errno.EINVAL, errno.ENOENT):  # not a link; or nothing
                return None
            raise

    def _follow(self, link: str) -> None:
        self.links += 1
        if self.links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if link.startswith("/"):
            while len(self.held) > 1:
                os.close(self.held.pop())
        if not self.rest:
            self.wants_directory |= link.endswith(("/", "/.", "/.."))
        self.rest += _components(link)


def _components(path: str) -> list[str]:
    """The names of the path in reverse, without empty ones and dots."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _make_directories(root_fd: int, path: str, *, mode: int) -> int:
    done, rest, links = "/", _components(path), 0
    while rest:
        name = rest.pop()
        here = os.path.join(done, name)
        try:
            os.close(open_inside(root_fd, here, _DIRECTORY))
            done = here
            continue
        except FileNotFoundError:
            link = _make_directory(root_fd, done, name, mode=mode)
        if link is None:
            done = here
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        done = "/" if link.startswith("/") else done
        rest += _components(link)
    return open_inside(root_fd, done, _DIRECTORY)


def _make_directory(root_fd: int, parent: str, name: str, *, mode: int) -> str | None:
    """Make it; if a link that leads nowhere has the name, what it says."""
    fd = open_inside(root_fd, parent, _DIRECTORY)
    try:
        os.mkdir(name, mode, dir_fd=fd)
    except FileExistsError:
        try:
            return os.readlink(name, dir_fd=fd)
        except OSError as exc:
            if exc.errno in (errno.EINVAL, errno.ENOENT):  # somebody else made or removed it now
                return None
            raise
    finally:
        os.close(fd)
    return None


def _create(root_fd: int, path: str, *, mode: int) -> int:
    """The file a process in the root would create; a link that leads nowhere leads to it."""
    os.close(open_inside(root_fd, path, os.O_CREAT | os.O_WRONLY | os.O_NOCTTY, mode=mode))
    return open_inside(root_fd, path, os.O_PATH)
