"""Whole trees watched by inotify(7): which files have changed, as absolute paths.

A directory that appears is watched from then on, and what is in it by then has changed.  When the
kernel has lost events the whole tree has changed.  Knows nothing of why somebody watches.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable

from orchestrator.errors import StateError
from orchestrator.linux import inotify

MASK = (inotify.IN_CLOSE_WRITE | inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED_FROM
        | inotify.IN_MOVED_TO | inotify.IN_ATTRIB | inotify.IN_EXCL_UNLINK)  # fmt: skip
_GONE = inotify.IN_DELETE | inotify.IN_MOVED_FROM


class TreeWatch:
    """Watches directories (with all below that `enters` wants) and single files."""

    def __init__(self, roots: Iterable[str], *, enters: Callable[[str], bool]) -> None:
        self._inotify = inotify.Inotify()
        self._enters = enters
        self._directories: dict[int, str] = {}
        """Watch descriptor -> path."""
        self._files: set[str] = set()
        """Watched by their directory, because editors replace them."""
        self._whole: set[str] = set()
        self._roots = list(roots)
        for root in self._roots:
            if os.path.isdir(root):
                self._enter(root)
            else:
                self._files.add(root)
                self._add(os.path.dirname(root))

    def fileno(self) -> int:
        return self._inotify.fileno()

    def close(self) -> None:
        """Ends all watches."""
        self._inotify.close()

    def read(self) -> set[str]:
        """What has changed since the last call: files that were written, made, moved or removed,
        and directories that are there no more."""
        changed: set[str] = set()
        for wd, mask, name in self._inotify.read():
            if mask & inotify.IN_Q_OVERFLOW:
                changed |= self._everything()
            elif mask & inotify.IN_IGNORED:
                self._whole.discard(self._directories.pop(wd, ""))
            elif wd in self._directories and name:
                changed |= self._event(self._directories[wd], mask, name)
        return changed

    def _event(self, directory: str, mask: int, name: str) -> set[str]:
        path = os.path.join(directory, name)
        if directory not in self._whole:
            return {path} & self._files
        if not mask & inotify.IN_ISDIR:
            if mask & inotify.IN_CREATE and not os.path.islink(path) and _is_being_written(path):
                return set()  # its close is told too
            return {path}
        if mask & _GONE:
            self._leave(path)
            return {path}
        if mask & inotify.IN_ATTRIB:
            return set()
        return self._enter(path)

    def _everything(self) -> set[str]:
        found = set(self._files)
        for root in self._roots:
            if os.path.isdir(root):
                found |= self._enter(root)
        return found

    def _enter(self, directory: str) -> set[str]:
        """Watch a tree; the files in it."""
        found: set[str] = set()
        todo = [directory]
        while todo:
            here = todo.pop()
            if not self._enters(here) or not self._add(here):
                continue
            self._whole.add(here)
            found |= self._look(here, todo)
        return found

    def _look(self, directory: str, todo: list[str]) -> set[str]:
        found = set()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        found.add(entry.path)
        except OSError:  # it has gone, or is not ours to read
            return set()
        return found

    def _add(self, path: str) -> bool:
        try:
            self._directories[self._inotify.add(path, MASK)] = path
        except OSError as exc:
            if exc.errno == errno.ENOSPC:
                raise StateError(
                    f"cannot watch {path}: too many watches",
                    hint="ignore what needs no watching, or raise fs.inotify.max_user_watches",
                ) from exc
            return False
        return True

    def _leave(self, directory: str) -> None:
        """What was moved away is another tree now."""
        prefix = directory + "/"
        for wd, path in list(self._directories.items()):
            if path == directory or path.startswith(prefix):
                del self._directories[wd]
                self._whole.discard(path)
                self._inotify.remove(wd)


def _is_being_written(path: str) -> bool:
    """A file that was just made is told again when it is closed; one more name of a file is not."""
    try:
        return os.lstat(path).st_nlink == 1
    except OSError:
        return False
