"""Files of this machine brought into running containers, or removed there, one by one.

What is removed here is removed there.  Paths in the container are resolved inside its root only,
and nothing of it is followed out of it (`linux.chase`).  New files belong to whom the container's
main process belongs to, so that it can change them.
"""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Iterator, Mapping

from orchestrator.errors import ImageError, StateError
from orchestrator.image import treetar
from orchestrator.linux import chase, procfs
from orchestrator.runtime import rootview
from orchestrator.runtime.spec import ContainerSpec
from orchestrator.state.observed import ObservedContainer

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def sync(container: ObservedContainer, paths: Mapping[str, str]) -> None:
    """`paths` here -> there.  StateError where the container has ended, ImageError where something
    cannot be written."""
    spec, status = ContainerSpec.from_json(container.record.spec), container.status
    with rootview.of_process(spec, status.pid, status.start_time) as root:
        owner = _owner(status.pid)
        for here, there in paths.items():
            if os.path.lexists(here):
                _put(root, here, there, owner=owner)
            else:
                _remove(root, there, name=spec.name)


def files(root: str) -> Iterator[str]:
    """All files below a directory, or the file itself."""
    if not os.path.isdir(root):
        yield root
        return
    for directory, _, names in os.walk(root):
        yield from (os.path.join(directory, name) for name in names)


def _owner(pid: int) -> treetar.Owner:
    uid, gid = procfs.owner(pid)
    return treetar.Owner(uid=uid, gid=gid)


def _put(root: int, here: str, there: str, *, owner: treetar.Owner) -> None:
    parent, name = os.path.split(here)
    try:
        source = os.open(parent, _DIRECTORY)
    except OSError:
        return  # it has gone meanwhile: that is told next
    try:
        where, called = posixpath.split(there)
        directory = chase.make_directories(root, where or "/")
        try:
            packed = treetar.pack(source, name, top=called)
            treetar.unpack(treetar.Stream(packed), directory, owner=owner)
        finally:
            os.close(directory)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ImageError(f"cannot write {there}: {exc.strerror}") from exc
    finally:
        os.close(source)


def _remove(root: int, there: str, *, name: str) -> None:
    where, called = posixpath.split(there.rstrip("/"))
    if not called:
        raise StateError(f"refusing to remove the root of {name}")
    try:
        directory = chase.open_inside(root, where or "/", _DIRECTORY)
    except OSError:
        return  # there is nothing
    try:
        os.unlink(called, dir_fd=directory)
    except IsADirectoryError:
        shutil.rmtree(called, dir_fd=directory, ignore_errors=True)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ImageError(f"cannot remove {there}: {exc.strerror}") from exc
    finally:
        os.close(directory)
