"""COPY and ADD: which files, to where, and what of them counts for the cache."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from orchestrator.build import ignore
from orchestrator.build.cache import Ingredients, described
from orchestrator.build.copying import Change, Copier
from orchestrator.build.fault import Place, fault, near
from orchestrator.build.ignore import Rules
from orchestrator.build.modes import ModeChange
from orchestrator.build.tree import Entry, Tree
from orchestrator.build.view import Layers, Scratch, mounted
from orchestrator.dataclass import dataclass, field
from orchestrator.image.steps import StepRecords
from orchestrator.image.store import ImageStore

OpenTree = Callable[[], AbstractContextManager[Tree]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where sources come from."""

    open: OpenTree
    title: str
    """`the build context`, `stage build`."""
    missing: Callable[[str], str | None]
    """A hint for a source that is not there."""
    chain: str = ""
    """Stands for layers that never change; empty for a directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One source, wild cards resolved."""

    path: str
    """In its tree."""
    below: str
    """Where it goes below the target, for --parents; else empty."""
    is_directory: bool


@dataclass(slots=True, kw_only=True)
class CopyStep:
    """One COPY, or an ADD of files that are here."""

    place: Place
    text: str
    keyword: str
    store: ImageStore
    layers: Layers
    below: str
    """The chain of the layers below; empty for --link."""
    origin: Origin
    sources: tuple[str, ...]
    inline: tuple[tuple[str, bytes], ...] = ()
    """Here-documents: name and content."""
    target: str
    """Absolute; ends in a slash where it must be a directory."""
    owner: tuple[int, int] | None = None
    mode: ModeChange | None = None
    mode_text: str = ""
    exclude: Rules = field(default_factory=Rules)
    exclude_texts: tuple[str, ...] = ()
    parents: bool = False
    date: int | None = None
    unpack: Callable[[Tree, str], AbstractContextManager[Tree | None]] | None = None
    """ADD: an archive as the tree of what is in it; None where the file is none."""
    fetched: Callable[[], dict[str, str]] | None = None
    """ADD: what counts of sources that come from elsewhere."""
    records: StepRecords
    warn: Callable[[str], None]

    # ---- for the cache ----

    def ingredients(self) -> Ingredients:
        files = self._source_files() if self.sources else {}
        for name, content in self.inline:
            files[f"<<{name}"] = _of_bytes(content)
        return Ingredients(parts=self._parts(), files=files)

    def _source_files(self) -> dict[str, str]:
        if self.fetched is not None:
            return self.fetched()
        if not self.origin.chain:
            return self._described()
        said: list[object] = [self.origin.chain, self.sources, self.exclude_texts, self.parents]
        return described(self.records, said, self._described)

    def _described(self) -> dict[str, str]:
        found: dict[str, str] = {}
        with self.origin.open() as tree:
            for item in self._find(tree):
                for entry in tree.walk(item.path, exclude=self.exclude):
                    name = "/".join(part for part in (item.path, entry.name) if part)
                    found[name or "."] = tree.describe(entry)
        return found

    def _parts(self) -> dict[str, str]:
        return {
            "instruction": self.keyword, "below": self.below, "source": "\0".join(self.sources),
            "target": self.target, "owner": str(self.owner), "mode": self.mode_text,
            "excluded": "\0".join(self.exclude_texts), "parents": str(self.parents),
            "unpacked": str(self.unpack is not None), "time": str(self.date),
        }  # fmt: skip

    # ---- finding ----

    def _find(self, tree: Tree) -> list[Found]:
        found = []
        for source in self.sources:
            try:
                paths = tree.find(source)
            except FileNotFoundError:
                raise self._missing(tree, source) from None
            except ValueError as exc:
                raise fault(self.place, f"{self.keyword}: {exc}") from exc
            if not paths:
                self.warn(f"{self.place}: {self.keyword} {source}: nothing in "
                          f"{self.origin.title} fits")
            found += [self._one(tree, source, path) for path in paths]
        return found

    def _one(self, tree: Tree, source: str, path: str) -> Found:
        below = ""
        if self.parents:
            before, pivot, _ = source.partition("/./")
            skipped = len([p for p in before.split("/") if p not in ("", ".")]) if pivot else 0
            below = "/".join(path.split("/")[skipped:])
        return Found(path=path, below=below, is_directory=tree.is_directory(path))

    def _missing(self, tree: Tree, source: str) -> Exception:
        above, name = posixpath.split(posixpath.normpath("/" + source))
        hint = self.origin.missing(source) or near(name, tree.names(above.lstrip("/")))
        return fault(self.place, f"{self.keyword}: `{source}` is not in {self.origin.title}",
                     hint=hint)

    # ---- making ----

    def fill(self, directory: str) -> None:
        scratch = Scratch(path=self.store.scratch(), upper=directory)
        try:
            with mounted(self.layers, scratch) as root:
                copier = Copier(root, Change(owner=self.owner, mode=self.mode))
                try:
                    self._copy(copier)
                finally:
                    copier.close()
        finally:
            self.store.discard(scratch.path)

    def _copy(self, copier: Copier) -> None:
        with self._tree() as tree:
            found = self._find(tree) if tree else []
            count = len(found) + len(self.inline)
            for item in found:
                assert tree is not None
                self._copy_one(copier, tree, item, is_alone=count == 1)
        for name, content in self.inline:
            copier.content(content, self._file_target(copier, name, is_alone=count == 1))

    @contextmanager
    def _tree(self) -> Iterator[Tree | None]:
        if not self.sources:
            yield None
            return
        with self.origin.open() as tree:
            yield tree

    def _copy_one(self, copier: Copier, tree: Tree, item: Found, *, is_alone: bool) -> None:
        if self.unpack is not None and not item.is_directory:
            with self.unpack(tree, item.path) as inside:
                if inside is not None:
                    copier.unpacked(inside, inside.walk(""), self.target.rstrip("/") or "/")
                    return
        entries: Iterator[Entry] = tree.walk(item.path, exclude=self.exclude)
        if self.parents:
            target = posixpath.join(self.target, item.below)
        elif item.is_directory:
            target = self.target.rstrip("/") or "/"
        else:
            target = self._file_target(copier, os.path.basename(item.path), is_alone=is_alone)
        copier.tree(tree, entries, target)

    def _file_target(self, copier: Copier, name: str, *, is_alone: bool) -> str:
        into = self.target.endswith("/") or not is_alone or copier.is_directory(self.target)
        return posixpath.join(self.target, name) if into else self.target


def _of_bytes(content: bytes) -> str:
    from hashlib import sha256

    return sha256(content).hexdigest()


def rules_of(texts: tuple[str, ...], place: Place) -> Rules:
    """The patterns of --exclude."""
    try:
        return Rules(rule for text in texts if (rule := ignore.rule(text)) is not None)
    except ValueError as exc:
        raise fault(place, f"--exclude: {exc}") from exc


def mode_of(text: str, place: Place) -> ModeChange | None:
    """The change that --chmod asks for."""
    try:
        return ModeChange(text) if text else None
    except ValueError as exc:
        raise fault(place, f"--chmod: {exc}", hint="for example 644 or u=rwX,go=rX") from exc


def check_target(sources: int, target: str, place: Place, keyword: str) -> None:
    """Several sources need a directory."""
    if sources > 1 and not target.endswith("/"):
        raise fault(place, f"{keyword}: several sources need a directory as destination",
                    hint=f"write `{target}/`")
