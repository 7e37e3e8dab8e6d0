"""ADD of a local archive: a tar, compressed or not, as the tree of what is in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.build.tree import Tree
from orchestrator.errors import ImageError
from orchestrator.image import compression, layers, tar
from orchestrator.image.store import ImageStore
from orchestrator.linux import chase


@contextmanager
def unpacked(store: ImageStore, tree: Tree, path: str) -> Iterator[Tree | None]:
    """The files of the archive at `path`; None where the file is none."""
    fd = chase.open_inside(tree.root, path, os.O_RDONLY | os.O_NONBLOCK)
    with open(fd, "rb", buffering=0) as file:
        if not _is_archive(file.fileno(), path):
            yield None
            return
        directory = store.scratch()
        try:
            file.seek(0)
            layers.unpack(compression.opened(file, what=path), directory)
            root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield Tree(root, name=path, keeps_owners=True)
            finally:
                os.close(root)
        finally:
            store.discard(directory)


def extracted(store: ImageStore, path: str) -> str | None:
    """A scratch directory with the files of the archive; None where the file is none."""
    with open(path, "rb", buffering=0) as file:
        if not _is_archive(file.fileno(), path):
            return None
        directory = store.scratch()
        try:
            file.seek(0)
            os.chmod(directory, 0o755)
            layers.unpack(compression.opened(file, what="the archive"), directory)
        except BaseException:
            store.discard(directory)
            raise
        return directory


def _is_archive(fd: int, path: str) -> bool:
    """Whether it begins as a tar does, once it is uncompressed."""
    with open(os.dup(fd), "rb", buffering=0) as file:
        try:
            return next(tar.read(compression.opened(file, what=path)), None) is not None
        except ImageError:
            return False
