"""The loader's memory on disk: small entries named by a hash, the oldest forgotten.

A cache that cannot be read or written costs time and is never an error.
"""

from __future__ import annotations

import os

MOST = 200
"""Entries of one kind that are kept."""


def entry(cache_dir: str, kind: str, content: bytes) -> str:
    """The path of the entry of this kind that belongs to `content`."""
    from hashlib import sha256  # 3 ms; nothing is hashed without a cache

    return os.path.join(cache_dir, kind, sha256(content).hexdigest())


def read(path: str) -> bytes | None:
    """The entry's bytes, or None."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return None


def write(path: str, content: bytes) -> None:
    """Writes the entry whole; may as well not."""
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(temporary, "wb") as stream:
            stream.write(content)
        os.replace(temporary, path)
        _forget(os.path.dirname(path))
    except OSError:
        return


def _forget(directory: str) -> None:
    with os.scandir(directory) as entries:
        found = [(found.stat().st_mtime_ns, found.path) for found in entries]
    for _, path in sorted(found)[: max(0, len(found) - MOST)]:
        os.unlink(path)
