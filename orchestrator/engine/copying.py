"""`cp` and `export`: files into and out of containers, running or not.

A path in a container is resolved inside its root only (`linux.chase`); trees are walked and made by
descriptors (`image.treetar`), so that nobody in the container can lead us out of it meanwhile.
The rules of source and destination are those of docker cp.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from orchestrator.dataclass import dataclass
from orchestrator.engine.lookup import check
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import UsageError
from orchestrator.events import Progress, Sink
from orchestrator.image import treetar
from orchestrator.linux import chase, procfs
from orchestrator.runtime import rootview
from orchestrator.runtime.spec import ContainerSpec
from orchestrator.state.observed import ObservedContainer

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
Place = tuple[str | None, str]
"""(service or None: here, path); path `-` is a tar stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The flags of `cp`."""

    index: int = 0
    archive: bool = False
    """Keep owners."""
    follow: bool = False
    """A source that is a link stands for what it leads to."""
    oneoffs: bool = False


def parse_place(text: str) -> Place:
    """`SERVICE:PATH`, or a path of this machine; one with a colon needs `./` or `/` before it."""
    service, colon, path = text.partition(":")
    if not colon or text.startswith((".", "/")):
        return None, text
    return service, path


def copy(
    workspace: Workspace, source: str, target: str, options: Options, *, stdin: BinaryIO,
    stdout: BinaryIO, sink: Sink,
) -> None:  # fmt: skip
    """Copy one way; UsageError where the two places make no sense."""
    (from_service, from_path), (to_service, to_path) = parse_place(source), parse_place(target)
    if from_service is not None and to_service is not None:
        raise UsageError("copying between services is not supported")
    if not from_path or not to_path:
        raise UsageError("source can not be empty" if not from_path else "no destination")
    if from_service is not None:
        container = containers(workspace, from_service, options)[0]
        with _told(container, sink):
            _out_of(container, from_path, to_path, options, stdout=stdout)
    elif to_service is not None:
        found = containers(workspace, to_service, options)
        if from_path == "-" and len(found) > 1:
            raise UsageError("a stream can be copied into one container only", hint="say --index")
        for container in found:
            with _told(container, sink):
                _into(container, from_path, to_path, options, stdin=stdin)
    else:
        raise UsageError("unknown copy direction", hint="one of the two has to be SERVICE:PATH")


@contextmanager
def _told(container: ObservedContainer, sink: Sink) -> Iterator[None]:
    name = container.record.name
    sink(Progress(kind="Container", name=name, text="Copying", status="Working"))
    try:
        yield
    except BaseException:
        sink(Progress(kind="Container", name=name, text="Error", status="Error"))
        raise
    sink(Progress(kind="Container", name=name, text="Copied", status="Done"))


def containers(
    workspace: Workspace, service: str, options: Options
) -> Sequence[ObservedContainer]:
    """Those of the service: the running first, by number; UsageError where there is none."""
    observed = workspace.observe()
    check(workspace, [service], observed.containers)
    found = [
        c for c in observed.containers if c.record.service == service
        and (options.oneoffs or not c.record.oneoff) and options.index in (0, c.record.index)
    ]  # fmt: skip
    if not found:
        which = f" replica {options.index}" if options.index else ""
        raise UsageError(f'no container of service "{service}"{which}')
    return sorted(found, key=lambda c: (not c.is_running, c.record.oneoff, c.record.index))


@contextmanager
def _view(container: ObservedContainer, *, volumes: bool = True) -> Iterator[int]:
    spec, status = ContainerSpec.from_json(container.record.spec), container.status
    if container.is_running:
        with rootview.of_process(spec, status.pid, status.start_time) as root:
            yield root
    else:
        with rootview.of_stopped(spec, volumes=volumes) as root:
            yield root


# ---- places in a container


def _real(root: int, path: str) -> str:
    """The path without links, as seen from the root; FileNotFoundError."""
    fd = chase.open_inside(root, path)
    try:
        base = os.readlink(f"/proc/self/fd/{root}").rstrip("/")
        return os.readlink(f"/proc/self/fd/{fd}").removeprefix(base) or "/"
    finally:
        os.close(fd)


def _kind(root: int, path: str) -> int | None:
    """The file type of what the path leads to; None where there is nothing."""
    try:
        fd = chase.open_inside(root, path)
    except FileNotFoundError:
        return None
    try:
        return stat.S_IFMT(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class _Source:
    """What is copied: an entry of an open directory."""

    parent: int
    name: str
    top: str
    """What it is called in the archive."""
    is_directory: bool
    wants_contents: bool


@contextmanager
def _source(root: int, path: str, *, follow: bool, subject: str) -> Iterator[_Source]:
    """The source at `path` below the open root."""
    clean = posixpath.normpath("/" + path)
    contents = path in (".", "/") or path.endswith("/.")
    try:
        real = _real(root, clean) if follow or contents or path.endswith("/") else clean
        directory, name = posixpath.split(real)
        parent = chase.open_inside(root, directory, _DIRECTORY)
    except OSError as exc:
        raise _fault(subject, path, exc) from exc
    try:
        info = os.stat(name or ".", dir_fd=parent, follow_symlinks=False)
        top = posixpath.basename(clean) or "."
        yield _Source(parent, name or ".", top, stat.S_ISDIR(info.st_mode), contents)
    except OSError as exc:
        raise _fault(subject, path, exc) from exc
    finally:
        os.close(parent)


def _fault(subject: str, path: str, exc: OSError) -> UsageError:
    return UsageError(f"{subject}{path}: {exc.strerror or exc}")


@dataclass(frozen=True, slots=True)
class _Target:
    """Where it is put: in an open directory, under a name; empty: its contents go there."""

    directory: int
    name: str


@contextmanager
def _target(
    root: int, path: str, *, top: str, is_directory: bool, contents: bool, subject: str
) -> Iterator[_Target]:
    """The destination at `path` below the open root, by the rules of docker cp."""
    try:
        kind = _kind(root, path)
        if kind == stat.S_IFDIR:
            where, name = path, "" if contents or top == "." else top
        elif kind is not None and is_directory:
            raise UsageError(f"{subject}{path}: a directory cannot be copied onto a file")
        elif kind is not None:
            where, name = posixpath.split(_real(root, path))
        elif path.endswith("/") and not is_directory:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        else:
            where, name = posixpath.split(path.rstrip("/"))
        directory = chase.open_inside(root, where or "/", _DIRECTORY)
        if kind is None and is_directory and contents:
            directory, name = _made(directory, name), ""
    except OSError as exc:
        raise _fault(subject, path, exc) from exc
    try:
        yield _Target(directory, name)
    finally:
        os.close(directory)


def _made(parent: int, name: str) -> int:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)


def _renamed(source: _Source, target: _Target) -> treetar.Rename:
    def rename(name: str) -> str:
        below = name.removeprefix("./") if source.top == "." else name
        rest = below.removeprefix(source.top).lstrip("/") if source.top != "." else below
        return f"{target.name}/{rest}" if target.name else rest

    return rename


# ---- the two ways


def _out_of(
    container: ObservedContainer, path: str, target: str, options: Options, *, stdout: BinaryIO
) -> None:
    subject = f"{container.record.name}:"
    with _view(container) as root, _source(root, path, follow=options.follow,
                                           subject=subject) as source:  # fmt: skip
        packed = treetar.pack(source.parent, source.name, top=source.top)
        if target == "-":
            for part in packed:
                stdout.write(part)
            stdout.flush()
            return
        owner = None if options.archive else treetar.Owner(uid=os.geteuid(), gid=os.getegid())
        _put(packed, source, os.path.abspath(target) + "/" * target.endswith("/"), owner=owner)


def _put(
    packed: Iterator[bytes], source: _Source, path: str, *, owner: treetar.Owner | None,
    root: int | None = None, subject: str = "",
) -> None:  # fmt: skip
    """Unpack at the path below the open root; None: of this machine."""
    top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if root is None else root
    try:
        with _target(top, path, top=source.top, is_directory=source.is_directory,
                     contents=source.wants_contents, subject=subject) as target:  # fmt: skip
            treetar.unpack(treetar.Stream(packed), target.directory, owner=owner,
                           rename=_renamed(source, target))  # fmt: skip
    finally:
        if root is None:
            os.close(top)


def _into(
    container: ObservedContainer, source: str, path: str, options: Options, *, stdin: BinaryIO
) -> None:
    subject = f"{container.record.name}:"
    owner = None if options.archive else treetar.Owner(uid=0, gid=0)
    inside = posixpath.join("/", path)
    with _view(container) as root:
        if source == "-":
            _unpack_stream(root, inside, stdin, subject=subject, owner=owner)
            return
        here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            absolute = os.path.join(os.getcwd(), source)
            with _source(here, absolute, follow=options.follow, subject="") as found:
                packed = treetar.pack(found.parent, found.name, top=found.top)
                _put(packed, found, inside, owner=owner, root=root, subject=subject)
        finally:
            os.close(here)


def _unpack_stream(
    root: int, path: str, stdin: BinaryIO, *, subject: str, owner: treetar.Owner | None
) -> None:
    try:
        directory = chase.open_inside(root, path, _DIRECTORY)
    except OSError as exc:
        raise _fault(subject, path, exc) from exc
    try:
        treetar.unpack(stdin, directory, owner=owner)
    finally:
        os.close(directory)


# ---- export


def export(workspace: Workspace, service: str, *, index: int, out: BinaryIO) -> None:
    """The container's root file system as a tar; what is mounted in it is left out."""
    container = containers(workspace, service, Options(index=index))[0]
    mounted = _mounted(container)
    with _view(container, volumes=False) as root:
        directory = os.open(".", _DIRECTORY | os.O_CLOEXEC, dir_fd=root)
        try:
            for part in treetar.pack_inside(directory, skip=lambda path: path in mounted):
                out.write(part)
        finally:
            os.close(directory)
    out.flush()


def _mounted(container: ObservedContainer) -> set[str]:
    """Paths, without the first slash, at which something is mounted in a running container."""
    if not container.is_running:
        return set()
    own = {"/", "/usr"} if container.record.spec["rootfs"].get("host_usr") else {"/"}
    points = {mount.target for mount in procfs.mountinfo(container.status.pid)}
    return {point.lstrip("/") for point in points - own}
