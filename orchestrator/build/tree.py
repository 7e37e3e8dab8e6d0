"""Trees to copy from: the build's context, a named context, or the files of a stage.

Owns the finding of sources (wild cards, links inside the tree only), the walk and what of a file
counts for the cache: its path, kind, mode and content, never its times.  Knows nothing of targets.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator

from orchestrator.build import ignore
from orchestrator.build.contents import Contents
from orchestrator.build.ignore import MAGIC, Rules
from orchestrator.dataclass import dataclass
from orchestrator.linux import chase, xattr


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a walk."""

    name: str
    """Relative to the source; empty for the source itself."""
    path: str
    """To be opened and asked about."""
    info: os.stat_result

    @property
    def open_flags(self) -> int:
        """The path of a source itself is a link of /proc, to be followed; others are no links."""
        return os.O_NOFOLLOW if self.name else 0

    def attributes(self) -> dict[str, bytes]:
        """The extended attributes that are copied."""
        follow = not self.name
        try:
            names = os.listxattr(self.path, follow_symlinks=follow)
        except OSError:
            return {}  # the file system has none
        return {name: os.getxattr(self.path, name, follow_symlinks=follow)
                for name in sorted(filter(xattr.is_kept, names))}


class Tree:
    """A root directory, what of it counts, and whose its files are."""

    def __init__(
        self, root: int, *, name: str, rules: Rules | None = None, keeps_owners: bool,
        contents: Contents | None = None,
    ) -> None:
        """`root` is a descriptor that stays the caller's."""
        self.root = root
        self.name = name
        self.rules = rules or Rules()
        self.keeps_owners = keeps_owners
        """Files of a context belong to root whoever made them."""
        self._contents = contents or Contents()

    # ---- finding ----

    def find(self, pattern: str) -> list[str]:
        """Paths inside the tree that the source means, sorted; FileNotFoundError where a source
        without wild cards is not there or is left out."""
        parts = [part for part in posixpath.normpath("/" + pattern).split("/") if part]
        if not MAGIC & set(pattern):
            path = "/".join(parts)
            if not self._exists(path):
                raise FileNotFoundError(path)
            return [path]
        found = [""]
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            found = [path for above in found for path in self._matching(above, part)
                     if is_last or os.path.isdir(self._at(path))]
        return sorted(path for path in found if self._exists(path))

    def _matching(self, above: str, part: str) -> list[str]:
        prefix = f"{above}/" if above else ""
        if not MAGIC & set(part):
            return [prefix + part] if os.path.lexists(self._at(prefix + part)) else []
        expression = ignore.segment(part)
        return [prefix + name for name in self.names(above) if expression.fullmatch(name)]

    def names(self, directory: str) -> list[str]:
        """What lies in a directory; nothing where it is none."""
        try:
            fd = chase.open_inside(self.root, directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def _at(self, path: str) -> str:
        return f"/proc/self/fd/{self.root}/{path}"

    def _exists(self, path: str) -> bool:
        try:
            fd = chase.open_inside(self.root, path, os.O_PATH)
        except OSError:
            return False
        try:
            if not path or not self.rules.ignores(path):
                return True
            is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            return is_directory and self.rules.may_hold(path)
        finally:
            os.close(fd)

    # ---- walking ----

    def walk(self, source: str, *, exclude: Rules | None = None) -> Iterator[Entry]:
        """The source and all below it, parents first, names in order.  A link at the source is
        followed inside the tree; links below it are what they are."""
        fd = chase.open_inside(self.root, source, os.O_PATH)
        try:
            yield from _Walk(self, source, f"/proc/self/fd/{fd}", exclude or Rules()).run()
        finally:
            os.close(fd)

    def is_directory(self, source: str) -> bool:
        """Whether the source is a directory, links followed."""
        fd = chase.open_inside(self.root, source, os.O_PATH)
        try:
            return stat.S_ISDIR(os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    # ---- what counts ----

    def describe(self, entry: Entry) -> str:
        """One line that says all that counts of the file, but its name."""
        info = entry.info
        words = [f"{info.st_mode:o}"]
        if stat.S_ISREG(info.st_mode):
            words.append(self._contents.digest(entry.path, info, flags=entry.open_flags))
        elif stat.S_ISLNK(info.st_mode):
            words.append(os.readlink(entry.path))
        elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            words.append(str(info.st_rdev))
        if self.keeps_owners:
            words.append(f"{info.st_uid}:{info.st_gid}")
            words += [f"{name}={value.hex()}" for name, value in entry.attributes().items()]
        return " ".join(words)


class _Walk:
    """One walk, without recursion: the tree may be of any depth."""

    def __init__(self, tree: Tree, source: str, top: str, exclude: Rules) -> None:
        self._tree, self._source, self._top, self._exclude = tree, source, top, exclude
        self._waiting: list[Entry] = []
        """Directories that are left out unless something below them is not."""

    def run(self) -> Iterator[Entry]:
        info = os.stat(self._top)
        first = Entry(name="", path=self._top, info=info)
        if not stat.S_ISDIR(info.st_mode):
            if not self._is_out(first):
                yield first
            return
        yield first
        pending = self._inside("")
        while pending:
            entry = pending.pop()
            is_directory = stat.S_ISDIR(entry.info.st_mode)
            if not self._is_out(entry):
                yield from self._parents_of(entry)
                yield entry
            elif not (is_directory and self._may_hold(entry)):
                continue
            else:
                self._waiting.append(entry)
            if is_directory:
                pending += self._inside(f"{entry.name}/")

    def _inside(self, prefix: str) -> list[Entry]:
        """What is in a directory, the last name first."""
        found = []
        for name in sorted(os.listdir(f"{self._top}/{prefix}"), key=os.fsencode, reverse=True):
            path = f"{self._top}/{prefix}{name}"
            found.append(Entry(name=prefix + name, path=path, info=os.lstat(path)))
        return found

    def _parents_of(self, entry: Entry) -> Iterator[Entry]:
        waiting, self._waiting = self._waiting, []
        yield from (w for w in waiting if entry.name.startswith(f"{w.name}/"))

    def _inner(self, entry: Entry) -> str:
        """The path in the tree's root, as rules know it."""
        return "/".join(part for part in (self._source, entry.name) if part)

    def _is_out(self, entry: Entry) -> bool:
        name = entry.name or posixpath.basename(self._source)
        return self._tree.rules.ignores(self._inner(entry)) or self._exclude.ignores(name)

    def _may_hold(self, entry: Entry) -> bool:
        """Both sets of rules must leave something."""
        inner = self._inner(entry)
        tree = not self._tree.rules.ignores(inner) or self._tree.rules.may_hold(inner)
        own = not self._exclude.ignores(entry.name) or self._exclude.may_hold(entry.name)
        return tree and own
