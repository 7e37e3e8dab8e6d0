"""RUN: a command in a container of its own, whose writes become a layer.

Owns its mounts and what of it counts for the cache; who runs the container comes in from outside.
"""

from __future__ import annotations

import os
import posixpath
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from orchestrator.build import cachemount
from orchestrator.build.cache import Ingredients, digest
from orchestrator.build.copying import Change, Copier
from orchestrator.build.copystep import OpenTree
from orchestrator.build.fault import Place, fault, near
from orchestrator.build.lines import Heredoc, parse_mark
from orchestrator.build.mountflag import Mount
from orchestrator.build.request import BuildRequest, CancelledError, Drivers, Output, RunRequest
from orchestrator.build.view import Layers, Scratch, like_below, merge_usr, mounted
from orchestrator.errors import BuildError, LaunchError
from orchestrator.linux import chase
from orchestrator.runtime import spec as runtime

_FILES = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname")
_DIRECTORIES = ("/proc", "/dev", "/sys")
_PIPES = "/dev/pipes"
_TAIL = 12
"""Lines of output that an error shows."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PROXIES = frozenset((*_PROXIES, *(name.lower() for name in _PROXIES)))
"""Build arguments that need no ARG, and do not count for the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a bind mount comes from."""

    open: OpenTree
    layers: Layers | None
    """Of a stage or an image; None: a directory, of which a copy is mounted."""
    chain: str
    """Stands for the layers."""


@dataclass(slots=True, kw_only=True)
class RunStep:
    """One RUN."""

    place: Place
    text: str
    request: BuildRequest
    drivers: Drivers
    layers: Layers
    below: str
    argv: tuple[str, ...]
    script: tuple[str, str] | None
    """(name, content) of a here-document that is a program."""
    environment: Mapping[str, str]
    directory: str
    user: str
    mounts: tuple[Mount, ...]
    sources: Mapping[int, Source]
    """By the number of a mount that has one."""
    network: str
    is_insecure: bool
    output: Output

    # ---- for the cache ----

    def ingredients(self) -> Ingredients:
        parts = {
            "instruction": "\0".join(("RUN", *self.argv)), "below": self.below,
            "directory": self.directory, "user": self.user, "network": self.network,
            "security": str(self.is_insecure), "script": "\0".join(self.script or ()),
            "hosts": str(self.request.hosts), "time": str(self.request.date),
            "mounts": str([_said(mount) for mount in self.mounts]),
        }  # fmt: skip
        parts |= {f"variable {n}": v for n, v in self.environment.items() if n not in PROXIES}
        files: dict[str, str] = {}
        for number, source in self.sources.items():
            mount = self.mounts[number]
            if mount.type == "bind":
                files |= self._content(number, mount, source)
        return Ingredients(parts=parts, files=files)

    def _content(self, number: int, mount: Mount, source: Source) -> dict[str, str]:
        """What a bind mount shows; a whole image is told by its layers."""
        path = mount.source.strip("/")
        if source.layers is not None and path in ("", "."):
            return {f"mount {number}": source.chain}
        found = {}
        with source.open() as tree:
            for place in self._found(tree.find, mount):
                for entry in tree.walk(place):
                    name = "/".join(part for part in (place, entry.name) if part)
                    found[name or "."] = tree.describe(entry)
        return found

    def _found(self, find: Callable[[str], list[str]], mount: Mount) -> list[str]:
        try:
            return find(mount.source or "/")
        except FileNotFoundError:
            raise fault(mount.place, f"--mount: there is no `{mount.source}` in "
                        f"{mount.origin or 'the build context'}") from None

    # ---- running ----

    def fill(self, directory: str) -> None:
        scratch = self.drivers.store.scratch()
        lines: deque[bytes] = deque(maxlen=_TAIL)
        try:
            with ExitStack() as stack:
                prepared = self._prepared(directory, scratch, stack)
                tail = _Tail(self.output, lines)
                code = self._run(prepared, tail)
                tail.flush()
            if self.drivers.cancel.is_set():
                raise CancelledError("the build was given up")
            if code:
                raise self._failed(code, lines)
            if self.layers.host_usr:
                merge_usr(f"{directory}-usr", directory)
        finally:
            if os.path.isdir(f"{directory}-usr"):
                self.drivers.store.discard(f"{directory}-usr")
            self.drivers.store.discard(scratch)

    def _run(self, prepared: RunRequest, output: Output) -> int:
        try:
            return self.drivers.run(prepared, output=output, cancel=self.drivers.cancel)
        except LaunchError as exc:
            raise fault(self.place, f"{self.text}: {exc.message}", hint=exc.hint) from exc

    def _failed(self, code: int, lines: deque[bytes]) -> BuildError:
        last = b"\n".join(lines).decode("utf-8", "replace")
        message = f"{self.text}: exit code {code}"
        return fault(self.place, f"{message}\n{last}" if last else message,
                     hint="the program was not found" if code == 127 else None)

    def _prepared(self, directory: str, scratch: str, stack: ExitStack) -> RunRequest:
        layers = self.layers.lowers or (_made(f"{scratch}/nothing"),)
        like_below(directory, layers[0])
        if self.layers.host_usr:
            _made(f"{directory}-usr")
        mounts: list[runtime.Mount] = []
        files: list[runtime.File] = []
        environment = dict(self.environment)
        for number, mount in enumerate(self.mounts):
            self._mount(number, mount, mounts, files, environment, scratch, stack)
        if self.script is not None:
            mounts.append(self._script(scratch))
        stubs = self._stubs(layers, scratch, [
            *((mount.target, self._is_directory(mount)) for mount in mounts),
            *((file.target, False) for file in files),
        ])
        return RunRequest(
            title=self.text, argv=self.argv, environment=environment, cwd=self.directory,
            user=self.user, lowers=(stubs, *layers), upper=directory,
            scratch=_made(f"{scratch}/run"), host_usr=self.layers.host_usr,
            mounts=tuple(mounts), files=tuple(files),
            network=self.network, is_insecure=self.is_insecure, hosts=self.request.hosts,
            shm_size=self.request.shm_size, rlimits=self.request.rlimits,
        )  # fmt: skip

    def _is_directory(self, mount: runtime.Mount) -> bool:
        if mount.type == "image":
            number = next(n for n, m in enumerate(self.mounts) if m.target == mount.target)
            with self.sources[number].open() as tree:
                return tree.is_directory(mount.subpath)
        return mount.source is None or os.path.isdir(mount.source)

    def _stubs(
        self, layers: tuple[str, ...], scratch: str, targets: list[tuple[str, bool]]
    ) -> str:
        """A layer with what is mounted upon and is not there: the container finds everything, and
        none of it stays in the layer that is made."""
        stubs = _made(f"{scratch}/stubs")
        wanted = [*((path, True) for path in _DIRECTORIES), *((path, False) for path in _FILES)]
        with mounted(Layers(lowers=layers), Scratch(path=_made(f"{scratch}/stubbing"),
                                                    upper=stubs)) as root:
            for path, is_directory in (*wanted, *targets):
                if not path.startswith(("/proc/", "/dev/", "/sys/")):
                    os.close(chase.open_or_make(root, path, directory=is_directory))
        return stubs

    # ---- mounts ----

    def _mount(
        self, number: int, mount: Mount, mounts: list[runtime.Mount], files: list[runtime.File],
        environment: dict[str, str], scratch: str, stack: ExitStack,
    ) -> None:
        origin = str(mount.place)
        if mount.type == "tmpfs":
            options = (f"size={mount.size}",) if mount.size else ()
            mounts.append(runtime.Mount(type="tmpfs", target=mount.target, origin=origin,
                                        options=("mode=1777", "exec", *options)))
        elif mount.type == "secret":
            self._secret(mount, files, environment)
        elif mount.type == "ssh":
            self._agent(number, mount, mounts, environment)
        elif mount.type == "cache":
            path = stack.enter_context(self._cache(number, mount))
            mounts.append(runtime.Mount(type="bind", source=path, target=mount.target,
                                        read_only=mount.read_only, origin=origin))
        else:
            mounts.append(self._bind(number, mount, scratch))

    def _bind(self, number: int, mount: Mount, scratch: str) -> runtime.Mount:
        source = self.sources[number]
        path = posixpath.normpath("/" + mount.source).lstrip("/")
        if source.layers is not None and source.layers.lowers and mount.read_only and not (
            source.layers.host_usr):  # fmt: skip
            return runtime.Mount(type="image", layers=source.layers.lowers, subpath=path,
                                 target=mount.target, read_only=True, origin=str(mount.place))
        copy = self._copied(source, mount, _made(f"{scratch}/bind-{number}"))
        return runtime.Mount(type="bind", source=copy, target=mount.target,
                             read_only=mount.read_only, origin=str(mount.place))

    def _copied(self, source: Source, mount: Mount, directory: str) -> str:
        """A copy, so that nothing of the context that is ignored is seen and none of it changes."""
        root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        copier = Copier(root, Change())
        try:
            with source.open() as tree:
                for place in self._found(tree.find, mount):
                    copier.tree(tree, tree.walk(place), "/it")
        finally:
            copier.close()
            os.close(root)
        return f"{directory}/it"

    @contextmanager
    def _cache(self, number: int, mount: Mount) -> Iterator[str]:
        def fill(directory: str) -> None:
            source = self.sources.get(number)
            if source is not None:
                root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                copier = Copier(root, Change())
                try:
                    with source.open() as tree:
                        for place in self._found(tree.find, mount):
                            copier.tree(tree, tree.walk(place), "/")
                finally:
                    copier.close()
                    os.close(root)

        with cachemount.held(self.drivers.store.root, mount, fill, self.drivers.cancel) as path:
            yield path

    def _secret(
        self, mount: Mount, files: list[runtime.File], environment: dict[str, str]
    ) -> None:
        path = self.request.secrets.get(mount.id)
        if path is None:
            if mount.required:
                raise fault(mount.place, f"--mount: the build was given no secret `{mount.id}`",
                            hint=near(mount.id, self.request.secrets)
                            or "name it under `secrets:` of the service's `build`")
            return
        if mount.env:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                environment[mount.env] = file.read()
        if mount.has_path():
            files.append(runtime.File(source=path, target=mount.target, mode=mount.mode,
                                      uid=mount.uid, gid=mount.gid, origin=str(mount.place)))

    def _agent(
        self, number: int, mount: Mount, mounts: list[runtime.Mount], environment: dict[str, str]
    ) -> None:
        socket = self.request.ssh.get(mount.id)
        if socket is None:
            if mount.required:
                raise fault(mount.place, f"--mount: the build was given no ssh agent `{mount.id}`",
                            hint="give it with `ssh:` of the service's `build`, or --ssh")
            return
        target = mount.target or f"/run/buildkit/ssh_agent.{number}"
        mounts.append(runtime.Mount(type="bind", source=socket, target=target,
                                    origin=str(mount.place)))
        environment.setdefault("SSH_AUTH_SOCK", target)

    def _script(self, scratch: str) -> runtime.Mount:
        assert self.script is not None
        name, content = self.script
        directory = _made(f"{scratch}/pipes")
        with open(f"{directory}/{name}", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o755)
        return runtime.Mount(type="bind", source=directory, target=_PIPES, read_only=True)


def _made(path: str) -> str:
    os.makedirs(path, exist_ok=True)
    return path


def _said(mount: Mount) -> str:
    """What of a mount counts: not the content of secrets, nor of caches."""
    return digest([mount.type, mount.target, mount.source, mount.origin, mount.read_only, mount.id,
                   mount.mode, mount.uid, mount.gid, mount.size, mount.env])  # fmt: skip


class _Tail:
    """Passes output on and remembers the last lines."""

    def __init__(self, output: Output, lines: deque[bytes]) -> None:
        self._output, self._lines = output, lines
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-4096:]
        if whole:
            self._lines.extend(whole)
            self._output(b"\n".join(whole))

    def flush(self) -> None:
        """The line that did not end."""
        if self._rest:
            self._lines.append(self._rest)
            self._output(self._rest)


def command(
    words: tuple[str, ...], heredocs: tuple[Heredoc, ...], shell: tuple[str, ...], *,
    is_shell: bool, place: Place,
) -> tuple[tuple[str, ...], tuple[str, str] | None]:
    """(what is executed, the program that a single here-document is)."""
    if not is_shell:
        return words, None
    if not heredocs:
        return (*shell, words[0]), None
    alone = parse_mark(words[0].strip())
    if alone is None or len(heredocs) != 1:
        bodies = "".join(f"\n{doc.content}{doc.name}" for doc in heredocs)
        return (*shell, words[0] + bodies), None
    text = heredocs[0].text()
    if not text.startswith("#!"):
        return (*shell, text), None
    name = heredocs[0].name
    if "/" in name or name in (".", ".."):
        raise fault(place, f"RUN: a here-document that is a program cannot be called `{name}`")
    return (f"{_PIPES}/{name}",), (name, text)
