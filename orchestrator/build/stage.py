"""The instructions of one stage, one after the other.

Puts variables in, decides what each instruction means for files and configuration, and leaves the
making of layers to the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from orchestrator.build import copystep, fetch, metadata, mountflag, runstep, words
from orchestrator.build import instructions as kinds
from orchestrator.build.copystep import CopyStep, Origin
from orchestrator.build.directorystep import DirectoryStep
from orchestrator.build.fault import Place, fault
from orchestrator.build.fetch import Fetched
from orchestrator.build.instructions import Instruction
from orchestrator.build.metadata import Scope
from orchestrator.build.mountflag import Mount
from orchestrator.build.origins import Origins
from orchestrator.build.request import BuildRequest, Drivers
from orchestrator.build.runstep import RunStep, Source
from orchestrator.build.stages import Stage, expanded
from orchestrator.build.step import State, Steps
from orchestrator.dataclass import replace
from orchestrator.events import Warned
from orchestrator.image import merged
from orchestrator.image.steps import StepRecords
from orchestrator.runtime.user import identify


class StageBuild:
    """Builds one stage."""

    def __init__(
        self, request: BuildRequest, drivers: Drivers, stage: Stage, *, records: StepRecords,
        origins: Origins, known: Mapping[str, str], escape: str,
    ) -> None:
        """`known` are the arguments before the first FROM."""
        self._request, self._drivers, self._stage = request, drivers, stage
        self._records, self._origins = records, origins
        self._known, self._escape = known, escape
        filtered = {name.lower() for name in request.no_cache_filter}
        self._steps = Steps(
            request, drivers, records=records, title=stage.title, total=len(stage.instructions),
            use_cache=not request.no_cache and stage.title.lower() not in filtered,
        )
        self.used_args: set[str] = set()

    def run(self, state: State) -> None:
        """Execute every instruction on the state."""
        for made in self._stage.instructions:
            self._steps.begin()
            self._execute(state, made)

    def _execute(self, state: State, made: Instruction) -> None:
        match made:
            case kinds.Run():
                self._run(state, made)
            case kinds.Copy():
                self._copy(state, made)
            case kinds.Add():
                self._add(state, made)
            case kinds.Arg():
                self._arg(state, made)
            case kinds.Workdir():
                self._workdir(state, made)
            case _:
                self._configure(state, made)

    def _scope(self, state: State) -> Scope:
        return Scope(variables=state.variables(), escape=self._escape)

    def _expand(self, state: State, text: str, place: Place) -> str:
        return expanded(text, state.variables(), place, self._escape)

    # ---- configuration ----

    def _configure(self, state: State, made: Instruction) -> None:
        scope = self._scope(state)
        state.config = metadata.apply(state.config, made, scope)
        for name, _ in made.items if isinstance(made, kinds.Env) else ():
            state.args.pop(scope.expand(name), None)  # what is said last counts
        if isinstance(made, kinds.Cmd):
            state.has_own_command = True
        if isinstance(made, kinds.Entrypoint) and not state.has_own_command:
            state.config = replace(state.config, command=())  # it was for another entry point
        if isinstance(made, kinds.Maintainer):
            state.author = self._expand(state, made.value, made.place)
        self._steps.note(state, made.text)

    def _arg(self, state: State, made: kinds.Arg) -> None:
        for name, default in made.items:
            self.used_args.add(name)
            if name in self._request.args:
                state.args[name] = self._request.args[name]
            elif default is not None:
                state.args[name] = self._expand(state, default, made.place)
            elif name in self._known:
                state.args[name] = self._known[name]
        self._steps.note(state, made.text)

    def _workdir(self, state: State, made: kinds.Workdir) -> None:
        state.config = metadata.apply(state.config, made, self._scope(state))
        path = state.config.working_dir
        layers = self._steps.layers(state)
        found = merged.find(layers.lowers, path, host_usr=layers.host_usr)
        if found is not None:
            self._steps.note(state, made.text)
            return
        self._steps.make(state, DirectoryStep(
            place=made.place, text=made.text, store=self._drivers.store, layers=layers,
            below=state.chain, path=path, date=self._request.date,
            owner=self._identified(state, state.config.user, made)))

    # ---- COPY and ADD ----

    def _copy(self, state: State, made: kinds.Copy) -> None:
        sources = tuple(self._expand(state, text, made.place) for text in made.sources)
        origin = self._origins.copy_origin(made.origin, made.place)
        self._steps.make(state, self._copying(state, made, sources, origin, parents=made.parents))

    def _add(self, state: State, made: kinds.Add) -> None:
        sources = tuple(self._expand(state, text, made.place) for text in made.sources)
        remote = [source for source in sources if fetch.is_remote(source)]
        local = tuple(source for source in sources if source not in remote)
        if made.checksum and len(sources) != 1:
            raise fault(made.place, "ADD: --checksum needs exactly one source")
        if made.checksum and not remote:
            raise fault(made.place, "ADD: --checksum is for sources that are fetched")
        if local or made.inline:
            step = self._copying(state, made, local, self._origins.copy_origin("", made.place))
            step.unpack = None if made.unpack is False else self._unpack
            self._steps.make(state, step)
        for source in remote:
            self._add_remote(state, made, source)

    def _unpack(self, tree: Any, path: str) -> Any:  # as CopyStep.unpack says
        from orchestrator.build import unpacking

        return unpacking.unpacked(self._drivers.store, tree, path)

    def _add_remote(self, state: State, made: kinds.Add, source: str) -> None:
        with ExitStack() as stack:
            checksum = self._expand(state, made.checksum, made.place)
            fetched = Fetched(place=made.place, url=source, store=self._drivers.store,
                              checksum=checksum, keep_git_dir=made.keep_git_dir)
            stack.callback(fetched.close)
            origin = Origin(open=fetched.open, title=source, missing=lambda _: None)
            step = self._copying(state, made, (fetched.source(),), origin)
            if step.target.endswith("/"):
                fetched.check_name()
            step.fetched = fetched.described
            step.unpack = self._unpack if made.unpack else None
            self._steps.make(state, step)

    def _copying(
        self, state: State, made: kinds.Copying, sources: tuple[str, ...], origin: Origin, *,
        parents: bool = False,
    ) -> CopyStep:
        layers = self._steps.layers(state)
        target = self._target(state, made)
        copystep.check_target(len(made.sources) + len(made.inline), target, made.place,
                              made.keyword)
        mode = self._expand(state, made.chmod, made.place)
        exclude = tuple(self._expand(state, text, made.place) for text in made.exclude)
        return CopyStep(
            place=made.place, text=made.text, keyword=made.keyword, store=self._drivers.store,
            records=self._records, layers=layers if not made.link else replace(layers, lowers=()),
            below="" if made.link else state.chain, origin=origin, sources=sources,
            inline=tuple(self._inline(state, made)), target=target,
            owner=self._owner(state, made), mode=copystep.mode_of(mode, made.place),
            mode_text=mode, exclude=copystep.rules_of(exclude, made.place), exclude_texts=exclude,
            parents=parents, date=self._request.date, warn=self._warn,
        )  # fmt: skip

    def _warn(self, message: str) -> None:
        self._drivers.sink(Warned(message=message))

    def _target(self, state: State, made: kinds.Copying) -> str:
        text = self._expand(state, made.target, made.place)
        if not text:
            raise fault(made.place, f"{made.keyword}: the destination `{made.target}` is empty")
        path = metadata.absolute(state.config, text)
        is_directory = text.endswith(("/", "/.", "/..")) or text in (".", "..")
        return f"{path.rstrip('/')}/" if is_directory else path

    def _inline(self, state: State, made: kinds.Copying) -> list[tuple[str, bytes]]:
        found = []
        for doc in made.inline:
            text = doc.text()
            if doc.is_expanded:
                text = self._expand_document(state, text, made.place)
            if "/" in doc.name or doc.name in (".", ".."):
                raise fault(made.place, f"{made.keyword}: `{doc.name}` is no name of a file")
            found.append((doc.name, text.encode("utf-8", "surrogateescape")))
        return found

    def _expand_document(self, state: State, text: str, place: Place) -> str:
        try:
            return words.expand_document(text, state.variables())
        except ValueError as exc:
            raise fault(place, f"here-document: {exc}") from exc

    def _owner(self, state: State, made: kinds.Copying) -> tuple[int, int] | None:
        return self._identified(state, self._expand(state, made.chown, made.place), made)

    def _identified(self, state: State, user: str, made: Instruction) -> tuple[int, int] | None:
        """(uid, gid) of a user of the image; None where none is named."""
        if not user:
            return None
        if user.isdigit():
            user = f"{user}:{user}"
        layers = self._steps.layers(state)
        files = [self._read(layers.lowers, path, host_usr=layers.host_usr)
                 for path in ("/etc/passwd", "/etc/group")]
        try:
            found = identify(user, passwd=files[0], group=files[1], group_add=())
        except OSError as exc:
            raise fault(made.place, f"{made.keyword}: user {user}: {exc.strerror}: "
                        f"{exc.filename}", hint="names are looked up in the image's /etc/passwd "
                        "and /etc/group") from exc
        return found.uid, found.gid

    def _read(self, lowers: tuple[str, ...], path: str, *, host_usr: bool) -> str:
        found = merged.find(lowers, path, host_usr=host_usr)
        if found is None:
            return ""
        try:
            with open(found, encoding="utf-8", errors="surrogateescape") as file:
                return file.read(16 << 20)
        except OSError:
            return ""

    # ---- RUN ----

    def _run(self, state: State, made: kinds.Run) -> None:
        self._check_granted(made)
        expand: Callable[[str], str] = self._scope(state).expand
        cwd = state.config.working_dir or "/"
        mounts: list[Mount] = []
        for flag in made.mounts:
            try:
                mounts.append(mountflag.resolve(flag, expand, cwd=cwd))
            except ValueError as exc:
                raise fault(flag.place, f"--mount: {exc}") from exc
        argv, script = runstep.command(
            made.words, made.heredocs, state.config.shell or metadata.DEFAULT_SHELL,
            is_shell=made.is_shell, place=made.place)
        proxies = {n: v for n, v in self._request.args.items() if n in runstep.PROXIES}
        self._steps.make(state, RunStep(
            place=made.place, text=made.text, request=self._request, drivers=self._drivers,
            layers=self._steps.layers(state), below=state.chain, argv=argv, script=script,
            environment={**proxies, **state.variables()}, directory=cwd, user=state.config.user,
            mounts=tuple(mounts), sources=self._sources(mounts), network=self._network(made),
            is_insecure=made.security == "insecure", output=self._steps.output(made.text),
        ))  # fmt: skip

    def _network(self, made: kinds.Run) -> str:
        return self._request.network if made.network == "default" else made.network

    def _check_granted(self, made: kinds.Run) -> None:
        needed = {"network.host": made.network == "host",
                  "security.insecure": made.security == "insecure"}
        for name, is_needed in needed.items():
            if is_needed and name not in self._request.entitlements:
                raise fault(made.place, f"RUN needs {name}, which this build is not granted",
                            hint=f"put `{name}` under `entitlements:` of the service's `build`")

    def _sources(self, mounts: list[Mount]) -> dict[int, Source]:
        return {
            number: self._origins.source(mount.origin, mount.place)
            for number, mount in enumerate(mounts)
            if mount.type == "bind" or (mount.type == "cache" and mount.origin)
        }
