"""The facade: what a program can ask of pcompose, and all that the command line calls.

    from orchestrator import api

    project = api.Project(files="compose.yaml")
    project.up(wait=True)
    for container in project.ps():
        print(container.record.name, container.status.state)
    project.down(volumes=True)

Everything is imported when it is first needed.  Errors are those of `orchestrator.errors`;
progress goes to a `Sink` (`orchestrator.events`).  Prints nothing and never exits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from orchestrator.events import ignore

if TYPE_CHECKING:
    from orchestrator.engine.configuration import Configuration
    from orchestrator.engine.diagnosis import Finding
    from orchestrator.engine.faulting import Faults
    from orchestrator.engine.imagestore import Images
    from orchestrator.engine.inventory import ImageRow
    from orchestrator.engine.listing import ProjectRow
    from orchestrator.engine.logs import LogEntry
    from orchestrator.engine.lookup import Miss
    from orchestrator.engine.oneoff import Run, RunOptions
    from orchestrator.engine.registries import Registries
    from orchestrator.engine.session import Exec
    from orchestrator.engine.upping import Attached
    from orchestrator.engine.usage import ProcessRow, Watch
    from orchestrator.engine.volumes import VolumeRow
    from orchestrator.engine.workspace import Workspace
    from orchestrator.events import Sink, StateChanged
    from orchestrator.plan.plan import Plan
    from orchestrator.plan.policy import DownPolicy, UpPolicy
    from orchestrator.spec import model
    from orchestrator.state.observed import Observed, ObservedContainer


def doctor() -> list[Finding]:
    """What this machine can and cannot do."""
    from orchestrator.engine import diagnosis
    from orchestrator.state.layout import Layout

    return diagnosis.examine(Layout.from_environment())


def enter_rootless(*, delegate: bool = True) -> list[str]:
    """Make this process, which must be that of an ordinary user and have one thread, root of the
    user's own namespaces; what does not work in them.  `delegate`: also make limits possible."""
    from orchestrator.engine import rootless

    return rootless.enter(delegate=delegate)


class Project:
    """One application: Compose files, a name, or both.

    `files`, `directory`, `name`, `env_files`, `profiles` and the others are the root flags -f,
    --project-directory, -p, --env-file, --profile, and those of the same name; what is not given
    is found as docker compose finds it.  With `private` no container, network or volume has the
    name that the files choose for it, so that any number of projects can be made from them; the
    file `-` has the content `stdin`."""

    def __init__(
        self, *, files: str | Sequence[str] = (), directory: str | None = None,
        name: str | None = None, env_files: Sequence[str] = (), profiles: Sequence[str] = (),
        lenient: bool = False, compatibility: bool = False, all_resources: bool = False,
        parallel: int = 0, private: bool = False, insecure_registries: Sequence[str] = (),
        cwd: str = "", stdin: bytes | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._choice: dict[str, Any] = {  # keyword arguments of differing types
            "files": (files,) if isinstance(files, str) else tuple(files),
            "project_directory": directory, "project_name": name,
            "env_files": tuple(env_files), "profiles": tuple(profiles), "lenient": lenient,
            "cwd": cwd, "private": private, "stdin": stdin,
            "insecure_registries": tuple(insecure_registries),
            "compatibility": compatibility, "all_resources": all_resources, "parallel": parallel,
        }  # fmt: skip
        if environ is not None:
            self._choice["environ"] = dict(environ)

    @cached_property
    def _workspace(self) -> Workspace:
        from orchestrator.engine.workspace import Choice, Workspace

        return Workspace(Choice(**self._choice))

    def load(self) -> Self:
        """Read and check the files now instead of when they are needed first; SpecError."""
        _ = self.model
        return self

    @property
    def name(self) -> str:
        """The project's name; reads the files only where it must."""
        return self._workspace.name

    @property
    def model(self) -> model.Project:
        """What the files say.  SpecError with file:line:col."""
        return self._workspace.project

    def observe(self) -> Observed:
        """What is: containers, networks, volumes, checked against the kernel."""
        return self._workspace.observe()

    # ---- up ----

    def plan(self, policy: UpPolicy | None = None) -> Plan:
        """What `up` would do; touches nothing."""
        from orchestrator.engine import drafting
        from orchestrator.plan.policy import UpPolicy

        return drafting.draft(self._workspace, policy or UpPolicy()).plan

    def included_applications(self) -> list[str]:
        """The `oci://…` that the files include; not those that are the files."""
        return self._workspace.included

    def changed_volumes(self) -> list[str]:
        """Names of volumes that are another in the files than they were made; they stay as they
        are unless `UpPolicy.renew_volumes` names them."""
        from orchestrator.engine import reconcile

        return reconcile.changed_volumes(self._workspace)

    def up(
        self, policy: UpPolicy | None = None, *, wait: bool = False,
        wait_timeout: float | None = None, sink: Sink = ignore,
    ) -> Plan:  # fmt: skip
        """Create, recreate and start; returns the plan that was carried out.  With `wait` also
        until every service is ready; `wait_timeout` in seconds, DeadlineError after it."""
        from orchestrator.engine import reconcile
        from orchestrator.plan.policy import UpPolicy

        return reconcile.up(self._workspace, policy or UpPolicy(), wait=wait,
                            wait_timeout=wait_timeout, sink=sink).plan  # fmt: skip

    def up_attached(
        self, policy: UpPolicy, *, sink: Sink = ignore, **rules: Any
    ) -> Attached:
        """As `up`, but stay connected to the output; `rules` are those of `engine.upping.Rules`:
        attach, no_attach, attach_dependencies, abort, exit_code_from, timeout."""
        from orchestrator.engine.upping import Attached, Rules

        return Attached(self._workspace, policy, Rules(**rules), sink=sink)

    # ---- images ----

    def build(
        self, services: Sequence[str] = (), *, args: Mapping[str, str] | None = None,
        no_cache: bool = False, pull: bool = False, push: bool = False,
        ssh: Mapping[str, str | None] | None = None, explain: bool = False,
        check_only: bool = False, with_dependencies: bool = False, sink: Sink = ignore,
    ) -> dict[str, str]:  # fmt: skip
        """Build the services that have a `build`, or those named; service -> image id.  `args` go
        before those of the files; `check_only` reads the Dockerfiles and builds nothing."""
        from orchestrator.engine import building
        from orchestrator.engine.buildfile import BuildOptions

        options = BuildOptions(
            args=args or {}, no_cache=no_cache, pull=pull, push=push, ssh=ssh or {},
            explain=explain, check_only=check_only, environ=self._workspace.choice.environ)
        built = building.build(self._workspace, services, options, sink=sink,
                               with_dependencies=with_dependencies)  # fmt: skip
        return {name: image.id for name, image in built.items()}

    def pull(self, services: Sequence[str] = (), *, sink: Sink = ignore, **choices: Any) -> None:
        """Pull the images of the services; `choices` are those of `engine.pulling.pull`: policy,
        ignore_buildable, ignore_failures, with_dependencies."""
        from orchestrator.engine import pulling

        pulling.pull(self._workspace, services, sink=sink, **choices)

    def push(self, services: Sequence[str] = (), *, sink: Sink = ignore, **choices: Any) -> None:
        """Push the images that the services build; `choices` are those of `engine.pushing.push`:
        ignore_failures, with_dependencies."""
        from orchestrator.engine import pushing

        pushing.push(self._workspace, services, sink=sink, **choices)

    def publish(
        self, name: str, *, with_env: bool = False, with_images: bool = False,
        pinned: bool = False, oci_version: str = "", is_insecure: bool = False,
        agree: Callable[[str], bool] = bool, sink: Sink = ignore,
    ) -> str:  # fmt: skip
        """Put the files into a registry as `REPOSITORY[:TAG]`; the digest, or empty where `agree`
        did not agree to a question.  The others are the flags of `publish`."""
        from orchestrator.engine import publishing

        options = publishing.PublishOptions(
            with_env=with_env, with_images=with_images, pinned=pinned,
            version=publishing.parse_version(oci_version),
        )  # fmt: skip
        workspace = self._workspace.trusting(name) if is_insecure else self._workspace
        return publishing.publish(workspace, name, options, agree=agree, sink=sink)

    def bake(self, services: Sequence[str] = ()) -> dict[str, Any]:  # JSON has no narrower type
        """What would be built, in the form of docker buildx bake."""
        from orchestrator.engine import bake

        return bake.bake(self._workspace, services)

    # ---- the rest of a life ----

    def down(
        self, policy: DownPolicy | None = None, *, images: str | None = None,
        sink: Sink = ignore,
    ) -> bool:  # fmt: skip
        """Stop and remove containers and networks, with `policy.volumes` volumes too; `images` is
        None, `local` or `all`.  False where there was nothing."""
        from orchestrator.engine import lifecycle
        from orchestrator.plan.policy import DownPolicy

        return lifecycle.down(self._workspace, policy or DownPolicy(), images=images, sink=sink)

    def preview(self, verb: str, policy: DownPolicy, **more: Any) -> Plan:
        """What down, stop, start, restart, rm or kill (the `verb`) would do; touches nothing.
        `more`: signal and orphans of kill, dependents of restart, stop of rm."""
        from orchestrator.engine import lifecycle

        return lifecycle.preview(self._workspace, verb, policy, **more)

    def stop(self, services: Sequence[str] = (), *, timeout: float | None = None,
             sink: Sink = ignore) -> None:  # fmt: skip
        """Stop running containers, dependents first; `timeout` in seconds until SIGKILL."""
        from orchestrator.engine import lifecycle

        lifecycle.stop(self._workspace, services, timeout=timeout, sink=sink)

    def start(self, services: Sequence[str] = (), *, wait: bool = False,
              wait_timeout: float | None = None, sink: Sink = ignore) -> None:  # fmt: skip
        """Start containers that exist, dependencies first."""
        from orchestrator.engine import lifecycle

        lifecycle.start(self._workspace, services, wait=wait, wait_timeout=wait_timeout, sink=sink)

    def restart(self, services: Sequence[str] = (), *, timeout: float | None = None,
                dependents: bool = True, sink: Sink = ignore) -> None:  # fmt: skip
        """Stop and start; `dependents`: also those that asked for it (`depends_on.restart`)."""
        from orchestrator.engine import lifecycle

        lifecycle.restart(self._workspace, services, timeout=timeout, dependents=dependents,
                          sink=sink)  # fmt: skip

    def kill(self, services: Sequence[str] = (), *, signal: str = "SIGKILL",
             orphans: bool = False, sink: Sink = ignore) -> bool:  # fmt: skip
        """Send a signal to running containers, with `orphans` to one-offs and containers of
        services that are gone too; False where none runs."""
        from orchestrator.engine import lifecycle

        return lifecycle.kill(self._workspace, services, signal=signal, orphans=orphans, sink=sink)

    def pause(self, services: Sequence[str] = (), *, sink: Sink = ignore) -> bool:
        """Let running containers stand still; False where none runs."""
        from orchestrator.engine import lifecycle

        return lifecycle.pause(self._workspace, services, sink=sink)

    def unpause(self, services: Sequence[str] = (), *, sink: Sink = ignore) -> bool:
        """Let paused containers go on; False where none is paused."""
        from orchestrator.engine import lifecycle

        return lifecycle.unpause(self._workspace, services, sink=sink)

    def usage(self, services: Sequence[str] = (), *, all: bool = False) -> Watch:
        """What containers use, each time one looks; with `all` stopped ones too."""
        from orchestrator.engine.usage import Watch

        return Watch(self._workspace, services, everything=all)

    def processes(self, services: Sequence[str] = ()) -> list[ProcessRow]:
        """The processes of the running containers."""
        from orchestrator.engine.usage import processes

        return processes(self._workspace, services)

    def removable(self, services: Sequence[str] = (), *, stop: bool = False) -> list[str]:
        """Names of the containers that `rm` would remove."""
        from orchestrator.engine import lifecycle

        return lifecycle.removable(self._workspace, services, stop=stop)

    def rm(self, services: Sequence[str] = (), *, stop: bool = False, volumes: bool = False,
           sink: Sink = ignore) -> None:  # fmt: skip
        """Remove stopped containers; `stop`: stop them first; `volumes`: anonymous ones too."""
        from orchestrator.engine import lifecycle

        lifecycle.rm(self._workspace, services, stop=stop, volumes=volumes, sink=sink)

    # ---- looking ----

    def ps(self, services: Sequence[str] = (), *, all: bool = False) -> list[ObservedContainer]:
        """The containers by name: running ones, or `all` with stopped and one-off ones."""
        from orchestrator.engine import lookup

        return lookup.containers(self._workspace, services, everything=all)

    def misses(self) -> list[Miss]:
        """Names that running containers asked for and nobody has."""
        from orchestrator.engine import lookup

        return lookup.misses(self._workspace)

    def images(self, services: Sequence[str] = ()) -> list[ImageRow]:
        """The images that the containers were made from."""
        from orchestrator.engine import inventory

        return inventory.used_images(self._workspace, services)

    def logs(
        self, services: Sequence[str] = (), *, since: float | None = None,
        until: float | None = None, tail: int | None = None, index: int | None = None,
    ) -> Iterator[LogEntry]:  # fmt: skip
        """Lines of all replicas merged by time; `since` and `until` in seconds since the epoch,
        `tail` lines of each container."""
        from orchestrator.engine import following

        return following.history(self._workspace, services, since=since, until=until, tail=tail,
                                 index=index)  # fmt: skip

    def log_names(self, services: Sequence[str] = (), *, index: int | None = None) -> list[str]:
        """The names, as shown, of the containers that `logs` would read."""
        from orchestrator.engine import following

        return following.shown_names(self._workspace, services, index=index)

    def follow(
        self, services: Sequence[str] = (), *, since: float | None = None, tail: int | None = None,
        index: int | None = None,
    ) -> Iterator[LogEntry | StateChanged]:  # fmt: skip
        """As `logs`, and then lines and state changes as they come, until no container runs."""
        from orchestrator.engine import following

        return following.follow(self._workspace, services, since=since, tail=tail, index=index)

    def events(
        self, services: Sequence[str] = (), *, since: float | None = None,
        until: float | None = None,
    ) -> Iterator[StateChanged]:  # fmt: skip
        """What happens to containers from now on, or from `since` (seconds since the epoch); ends
        at `until`, else never."""
        from orchestrator.engine import happenings

        return happenings.follow(self._workspace, services, since=since, until=until)

    def wait(self, services: Sequence[str]) -> Iterator[tuple[str, int]]:
        """(full id, exit code) of the running containers of the services, as they end."""
        from orchestrator.engine import ending

        return ending.await_ends(self._workspace, services)

    # ---- faults ----

    @property
    def faults(self) -> Faults:
        """Disturbs the network between services: `with project.faults.partition("web", "db"):`."""
        from orchestrator.engine.faulting import Faults

        return Faults(self._workspace)

    def named_pair(self, text: str) -> tuple[str, ...]:
        """`web-db` as two of the project's services, or one and `host`, where no service is called
        so."""
        from orchestrator.engine.faulting import split_pair

        return split_pair(text, {c.record.service for c in self.observe().containers})

    # ---- processes ----

    def exec(
        self, service: str, argv: Sequence[str], *, index: int = 0, user: str = "", cwd: str = "",
        environment: Mapping[str, str] | None = None, tty: bool = False, privileged: bool = False,
        detach: bool = False, streams: Sequence[int] = (0, 1, 2),
    ) -> Exec:  # fmt: skip
        """Start a command in a running replica, connected to three descriptors; see `interact`."""
        from orchestrator.engine import executing

        return executing.execute(
            self._workspace, service, argv, index=index, user=user, cwd=cwd,
            environment=environment or {}, tty=tty, privileged=privileged, detach=detach,
            streams=streams,
        )  # fmt: skip

    def run(
        self, service: str, options: RunOptions, *, streams: Sequence[int] = (0, 1, 2),
        sink: Sink = ignore,
    ) -> Run:  # fmt: skip
        """Start a one-off container, dependencies first; see `interact`."""
        from orchestrator.engine import oneoff

        return oneoff.run(self._workspace, service, options, streams=streams, sink=sink)

    def preview_run(self, service: str, options: RunOptions) -> Plan:
        """What `run` would do; touches nothing."""
        from orchestrator.engine import oneoff

        return oneoff.preview(self._workspace, service, options)

    def run_options(self, **said: Any) -> RunOptions:
        """RunOptions from what the command line says: short forms of volumes and ports as text."""
        from orchestrator.engine import runline

        return runline.run_options(self._workspace, **said)

    def volumes(self, services: Sequence[str] = ()) -> list[VolumeRow]:
        """The project's volumes by name; with `services` those that their containers have."""
        from orchestrator.engine import volumes

        return volumes.of_project(self._workspace, services)

    def attach(
        self, service: str, *, index: int = 0, stdin: bool = True, signals: bool = True,
        detach_keys: str = "",
    ) -> int | None:  # fmt: skip
        """Connect our own three descriptors to a running replica; its exit code, or None where the
        user left by typing `detach_keys` (`ctrl-p,ctrl-q`)."""
        from orchestrator.engine import attaching

        options = attaching.Options(index=index, stdin=stdin, signals=signals,
                                    detach_keys=detach_keys or attaching.DETACH_KEYS)  # fmt: skip
        return attaching.attach(self._workspace, service, options, stdin=0, stdout=1, stderr=2)

    def copy(
        self, source: str, target: str, *, index: int = 0, archive: bool = False,
        follow: bool = False, oneoffs: bool = False, stdin: BinaryIO, stdout: BinaryIO,
        sink: Sink = ignore,
    ) -> None:  # fmt: skip
        """Copy between `SERVICE:PATH` and a path of this machine, or `-`, a tar through `stdin` or
        `stdout`.  `archive` keeps owners, `follow` takes what a link leads to."""
        from orchestrator.engine import copying

        options = copying.Options(index=index, archive=archive, follow=follow, oneoffs=oneoffs)
        copying.copy(self._workspace, source, target, options, stdin=stdin, stdout=stdout,
                     sink=sink)  # fmt: skip

    def export(self, service: str, out: BinaryIO, *, index: int = 0) -> None:
        """The file system of a container as a tar, without what is mounted in it."""
        from orchestrator.engine import copying

        copying.export(self._workspace, service, index=index, out=out)

    def commit(
        self, service: str, reference: str | None = None, *, index: int = 0, author: str = "",
        message: str = "", changes: Sequence[str] = (), sink: Sink = ignore,
    ) -> str:  # fmt: skip
        """Make an image of what a container has become; its id."""
        from orchestrator.engine import committing

        options = committing.CommitOptions(
            reference=reference, index=index, author=author, message=message, changes=changes)
        return committing.commit(self._workspace, service, options, sink=sink)

    # ---- the files ----

    def configuration(
        self, *, services: Sequence[str] = (), skip: Collection[Any] = (),
        all_resources: bool = False, pinned: bool = False,
    ) -> Configuration:  # fmt: skip
        """The files as `config` shows them: text, names, hashes, variables.  `skip` are phases
        of the load, `pinned` gives images the digest that the store has for them."""
        from orchestrator.engine.configuration import Configuration, View

        view = View(services=tuple(services), skip=frozenset(skip), all_resources=all_resources,
                    pinned=pinned)  # fmt: skip
        return Configuration(self._workspace, view)


def interact(session: Exec | Run, *, stdin: int = 0, stdout: int = 1) -> int:
    """Serve a process of `exec` or `run` until it has ended; its exit code."""
    from orchestrator.engine import session as sessions

    return sessions.interact(session, stdin=stdin, stdout=stdout)


def projects() -> list[ProjectRow]:
    """All projects of this user, by name."""
    from orchestrator.engine import listing

    return listing.projects()


def parse_fault_value(kind: str, text: str) -> float:
    """`10%` of a loss, `1mbit` of a rate, `50ms` of a latency, as `Faults.add` takes them."""
    from orchestrator.engine.faulting import parse_value

    return parse_value(kind, text)


def registries(*, insecure: Sequence[str] = ()) -> Registries:
    """The registries that this user logs in to and looks through."""
    from orchestrator.engine.registries import Registries

    return Registries(insecure=insecure)


def image_store() -> Images:
    """The images of this machine: look at them, name, remove, save, load and make them."""
    from orchestrator.engine.imagestore import Images

    return Images()
