"""The running of a RUN step: its mounts, the container, and what an error tells of its output.

Nothing that is mounted stays in the layer: mount points that the image lacks lie in a stub layer
between the image and what the command writes.
"""

from __future__ import annotations

import os
import posixpath
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from orchestrator.build import cachemount
from orchestrator.build.copying import Change, Copier
from orchestrator.build.fault import fault, near
from orchestrator.build.mountflag import Mount
from orchestrator.build.request import CancelledError, Output, RunRequest
from orchestrator.build.runstep import PIPES, RunStep, Source
from orchestrator.build.view import Layers, Scratch, like_below, merge_usr, mounted
from orchestrator.errors import BuildError, LaunchError
from orchestrator.linux import chase
from orchestrator.runtime import spec as runtime

_FILES = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname")
_DIRECTORIES = ("/proc", "/dev", "/sys")
_TAIL = 12
"""Lines of output that an error shows."""


class Running:
    """One step on its way."""

    def __init__(self, step: RunStep, directory: str) -> None:
        self._step, self._directory = step, directory
        self._store = step.drivers.store
        self._scratch = self._store.scratch()
        self._mounts: list[runtime.Mount] = []
        self._files: list[runtime.File] = []
        self._environment = dict(step.environment)

    def run(self) -> None:
        """To its end.  BuildError with its last output where it fails."""
        lines: deque[bytes] = deque(maxlen=_TAIL)
        usr = f"{self._directory}-usr"
        try:
            with ExitStack() as stack:
                request = self._prepared(stack)
                tail = _Tail(self._step.output, lines)
                code = self._executed(request, tail)
                tail.flush()
            if self._step.drivers.cancel.is_set():
                raise CancelledError("the build was given up")
            if code:
                raise self._failed(code, lines)
            if self._step.layers.host_usr:
                merge_usr(usr, self._directory)
        finally:
            if os.path.isdir(usr):
                self._store.discard(usr)
            self._store.discard(self._scratch)

    def _executed(self, request: RunRequest, output: Output) -> int:
        try:
            return self._step.drivers.run(request, output=output, cancel=self._step.drivers.cancel)
        except LaunchError as exc:
            message = f"{self._step.text}: {exc.message}"
            raise fault(self._step.place, message, hint=exc.hint) from exc

    def _failed(self, code: int, lines: deque[bytes]) -> BuildError:
        last = b"\n".join(lines).decode("utf-8", "replace")
        message = f"{self._step.text}: exit code {code}"
        return fault(self._step.place, f"{message}\n{last}" if last else message,
                     hint="the program was not found" if code == 127 else None)

    def _prepared(self, stack: ExitStack) -> RunRequest:
        step = self._step
        layers = step.layers.lowers or (self._made("nothing"),)
        like_below(self._directory, layers[0])
        if step.layers.host_usr:
            os.makedirs(f"{self._directory}-usr", exist_ok=True)
        for number, mount in enumerate(step.mounts):
            self._mount(number, mount, stack)
        if step.script is not None:
            self._mounts.append(self._script(*step.script))
        stubs = self._stubs(layers)
        return RunRequest(
            title=step.text, argv=step.argv, environment=self._environment, cwd=step.directory,
            user=step.user, lowers=(stubs, *layers), upper=self._directory,
            scratch=self._made("run"), host_usr=step.layers.host_usr,
            mounts=tuple(self._mounts), files=tuple(self._files), network=step.network,
            is_insecure=step.is_insecure, hosts=step.request.hosts,
            shm_size=step.request.shm_size, rlimits=step.request.rlimits,
        )  # fmt: skip

    def _is_directory(self, mount: runtime.Mount) -> bool:
        if mount.type == "image":
            number = next(n for n, m in enumerate(self._step.mounts) if m.target == mount.target)
            with self._step.sources[number].open() as tree:
                return tree.is_directory(mount.subpath)
        return mount.source is None or os.path.isdir(mount.source)

    def _stubs(self, layers: tuple[str, ...]) -> str:
        """The stub layer."""
        stubs = self._made("stubs")
        wanted = [
            *((path, True) for path in _DIRECTORIES), *((path, False) for path in _FILES),
            *((mount.target, self._is_directory(mount)) for mount in self._mounts),
            *((file.target, False) for file in self._files),
        ]
        scratch = Scratch(path=self._made("stubbing"), upper=stubs)
        with mounted(Layers(lowers=layers), scratch) as root:
            for path, is_directory in wanted:
                if not path.startswith(("/proc/", "/dev/", "/sys/")):
                    os.close(chase.open_or_make(root, path, directory=is_directory))
        return stubs

    def _made(self, name: str) -> str:
        """A directory for the run only."""
        path = f"{self._scratch}/{name}"
        os.makedirs(path, exist_ok=True)
        return path

    # ---- mounts ----

    def _mount(self, number: int, mount: Mount, stack: ExitStack) -> None:
        origin = str(mount.place)
        if mount.type == "tmpfs":
            options = (f"size={mount.size}",) if mount.size else ()
            self._mounts.append(runtime.Mount(type="tmpfs", target=mount.target, origin=origin,
                                        options=("mode=1777", "exec", *options)))
        elif mount.type == "secret":
            self._secret(mount)
        elif mount.type == "ssh":
            self._agent(number, mount, stack)
        elif mount.type == "cache":
            path = stack.enter_context(self._cache(number, mount))
            self._mounts.append(runtime.Mount(type="bind", source=path, target=mount.target,
                                        read_only=mount.read_only, origin=origin))
        else:
            self._mounts.append(self._bind(number, mount))

    def _bind(self, number: int, mount: Mount) -> runtime.Mount:
        source = self._step.sources[number]
        path = posixpath.normpath("/" + mount.source).lstrip("/")
        if source.layers is not None and source.layers.lowers and mount.read_only and not (
            source.layers.host_usr):  # fmt: skip
            return runtime.Mount(type="image", layers=source.layers.lowers, subpath=path,
                                 target=mount.target, read_only=True, origin=str(mount.place))
        directory = self._made(f"bind-{number}")
        self._copy(source, mount, directory, to="/it")
        return runtime.Mount(type="bind", source=f"{directory}/it", target=mount.target,
                             read_only=mount.read_only, origin=str(mount.place))

    def _copy(self, source: Source, mount: Mount, directory: str, *, to: str) -> None:
        """A copy, so that nothing of the context that is ignored is seen and none of it changes."""
        root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        copier = Copier(root, Change())
        try:
            with source.open() as tree:
                for place in self._step.found(tree.find, mount):
                    copier.tree(tree, tree.walk(place), to)
        finally:
            copier.close()
            os.close(root)

    @contextmanager
    def _cache(self, number: int, mount: Mount) -> Iterator[str]:
        def fill(directory: str) -> None:
            source = self._step.sources.get(number)
            if source is not None:
                self._copy(source, mount, directory, to="/")

        cancel = self._step.drivers.cancel
        with cachemount.held(self._store.root, mount, fill, cancel) as path:
            yield path

    def _secret(self, mount: Mount) -> None:
        path = self._step.request.secrets.get(mount.id)
        if path is None:
            if mount.required:
                raise fault(mount.place, f"--mount: the build was given no secret `{mount.id}`",
                            hint=near(mount.id, self._step.request.secrets)
                            or "name it under `secrets:` of the service's `build`")
            return
        if mount.env:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                self._environment[mount.env] = file.read()
        if mount.has_path():
            self._files.append(runtime.File(source=path, target=mount.target, mode=mount.mode,
                                      uid=mount.uid, gid=mount.gid, origin=str(mount.place)))

    def _agent(self, number: int, mount: Mount, stack: ExitStack) -> None:
        agent = self._step.request.ssh.get(mount.id)
        if agent is None:
            if mount.required:
                raise fault(mount.place, f"--mount: the build was given no ssh agent `{mount.id}`",
                            hint="give it with `ssh:` of the service's `build`, or --ssh")
            return
        from orchestrator.build.agent import AgentSocket

        target = mount.target or f"/run/buildkit/ssh_agent.{number}"
        socket = f"{self._scratch}/agent-{number}"
        stack.callback(AgentSocket(socket, agent, mode=mount.mode, uid=mount.uid,
                                   gid=mount.gid).close)  # fmt: skip
        self._mounts.append(runtime.Mount(type="bind", source=socket, target=target,
                                    origin=str(mount.place)))
        self._environment.setdefault("SSH_AUTH_SOCK", target)

    def _script(self, name: str, content: str) -> runtime.Mount:
        directory = self._made("pipes")
        with open(f"{directory}/{name}", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o755)
        return runtime.Mount(type="bind", source=directory, target=PIPES, read_only=True)


class _Tail:
    """Passes output on and remembers the last lines."""

    def __init__(self, output: Output, lines: deque[bytes]) -> None:
        self._output, self._lines = output, lines
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        *ended, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-4096:]
        whole = [_last(line) for line in ended]
        if whole:
            self._lines.extend(whole)
            self._output(b"\n".join(whole))

    def flush(self) -> None:
        """The line that did not end."""
        if self._rest:
            rest = _last(self._rest)
            self._lines.append(rest)
            self._output(rest)


def _last(line: bytes) -> bytes:
    """What a terminal would show of a line that was written over."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]
