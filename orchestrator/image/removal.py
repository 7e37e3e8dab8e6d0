"""Deleting a directory tree of any depth: a stranger made it.

Neither recursion nor path length grows with the depth: each directory met inside is first moved
beside the top one, then emptied there.  Knows nothing of images; for private directories only,
nobody else may be moving things in them.
"""

from __future__ import annotations

import os


def remove_tree(path: str) -> None:
    """Delete the directory `path` and all below it.  Siblings named `path.N` may remain if it is
    interrupted; whoever sweeps the parent finds them."""
    pending = [path]
    count = 0
    while pending:
        directory = pending.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    count += 1
                    moved = f"{path}.{count}"
                    os.rename(entry.path, moved)
                    pending.append(moved)
                else:
                    os.unlink(entry.path)
        os.rmdir(directory)


def tree_size(path: str) -> int:
    """Bytes of the files of a tree, as removing it would free them; what others remove meanwhile
    does not count."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(f"{directory}/{name}").st_size
            except OSError:
                continue
    return total
