"""The entry of `pcompose`: root flags, the table of commands, exit codes.

The only place that turns errors into exit codes and meets KeyboardInterrupt.  A command's module is
imported when the command is used; what a command does is its own affair.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal costs 4 ms
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from orchestrator.cli import grammar, output, terminal
from orchestrator.cli.grammar import Arguments, Command, many, number, option, switch
from orchestrator.cli.output import Output
from orchestrator.errors import InternalError, PcomposeError, UsageError

TYPE_CHECKING = False  # that of typing costs every command 5 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.api import Project
    from orchestrator.live import LiveProject

COMMANDS: dict[str, tuple[str, str]] = {
    "analyze": ("analyze", "Show where the time of the last up went"),
    "attach": ("attach", "Connect this terminal to the main process of a container"),
    "build": ("build", "Build the images of services that have a `build`"),
    "commit": ("commit", "Make an image of what a container has become"),
    "completion": ("completion", "Print what makes a shell complete commands and services"),
    "config": ("config", "Check the files and print what they mean"),
    "configs": ("configs", "Keep configs for `external: true` on this machine"),
    "cp": ("cp", "Copy files between a service's containers and this machine"),
    "create": ("create", "Create containers without starting them"),
    "doctor": ("doctor", "Say what this machine can and cannot do, and what to install"),
    "down": ("down", "Stop and remove containers and networks"),
    "events": ("events", "Show what happens to containers, as it happens"),
    "exec": ("exec", "Run a command in a running container"),
    "export": ("export", "Write the file system of a container as a tar"),
    "image": ("image", "Images of this machine, of whatever project"),
    "fork": ("fork", "Bring up more projects that begin with what a snapshot has"),
    "graph": ("graph", "Draw services, networks and volumes, with their states"),
    "images": ("images", "List images of the project's containers, or all of the store"),
    "import": ("import_image", "Make an image of a root file system archive"),
    "kill": ("kill", "Send a signal to running containers"),
    "load": ("load", "Load images from a docker archive or an OCI layout"),
    "login": ("login", "Log in to a registry"),
    "logout": ("logout", "Log out of a registry"),
    "logs": ("logs", "Show the output of containers"),
    "ls": ("ls", "List projects"),
    "fault": ("fault", "Disturb the network between services, for tests"),
    "network": ("network", "Networks of this machine, of whatever project"),
    "pause": ("pause", "Let containers stand still"),
    "plan": ("plan", "Show what up would do, and why"),
    "port": ("port", "Print the host address of a published port"),
    "ps": ("ps", "List containers"),
    "publish": ("publish", "Put the Compose files into a registry"),
    "pull": ("pull", "Pull the images of services"),
    "push": ("push", "Push the images that services build"),
    "report": ("report", "Bundle what is known of a stack for a bug report, without secrets"),
    "restart": ("restart", "Restart containers"),
    "rm": ("rm", "Remove stopped containers"),
    "run": ("run", "Run a one-off command in a new container of a service"),
    "scale": ("scale", "Change the number of replicas of services"),
    "search": ("search", "Search a registry for images"),
    "secrets": ("secrets", "Keep secrets for `external: true` on this machine"),
    "snapshot": ("snapshot", "Keep what volumes and containers have in them, and bring it back"),
    "start": ("start", "Start containers that exist"),
    "stats": ("stats", "Show what containers use, again and again"),
    "stop": ("stop", "Stop containers"),
    "top": ("top", "Show the processes of running containers"),
    "ui": ("ui", "Serve a page with graph, states, logs and plan on loopback"),
    "unpause": ("unpause", "Let paused containers go on"),
    "up": ("up", "Create and start containers"),
    "version": ("version", "Print the version"),
    "volume": ("volume", "Volumes of this machine, of whatever project"),
    "volumes": ("volumes", "List the project's volumes, or those of services"),
    "wait": ("wait", "Wait until the containers of services have ended"),
    "watch": ("watch", "Bring changes of files into containers, as `develop.watch` says"),
}
REFERENCE = (
    "alpha", "attach", "bridge", "build", "commit", "config", "cp", "create", "down", "events",
    "exec", "export", "images", "kill", "logs", "ls", "pause", "port", "ps", "publish", "pull",
    "push", "restart", "rm", "run", "scale", "start", "stats", "stop", "top", "unpause", "up",
    "version", "volumes", "wait", "watch",
)  # fmt: skip
"""The commands of docker compose."""
LACKING = tuple(name for name in REFERENCE if name not in COMMANDS)
"""Those that this version does not have."""

ROOT = Command(
    name="",
    usage="[OPTIONS] COMMAND",
    summary="Bring up stacks of the Compose Specification, with nothing else installed",
    interspersed=False,
    flags=(
        option("ansi", "", 'Escape sequences: "never", "always" or "auto"'),
        many("env-file", "", "Variables for the files, instead of .env", metavar="file"),
        many("file", "f", "Compose file, - for standard input", metavar="file"),
        switch("lenient", "", "Warn about keys that do not work yet instead of refusing them"),
        many("profile", "", "Enable a profile", metavar="name"),
        option("progress", "", "Progress: auto, tty, plain, json or quiet"),
        option("project-directory", "", "Directory that relative paths start from", metavar="dir"),
        option("project-name", "p", "Project name", metavar="name"),
        switch("version", "v", "Print the version"),
        switch("verbose", "", "Show where an internal error happened", hidden=True),
        switch("no-ansi", "", hidden=True),
        option("workdir", ""),
        switch("all-resources", "", "Also networks and volumes that no service uses"),
        switch("compatibility", "", "Names of containers with _; config: as --no-normalize"),
        many("insecure-registry", "", "Registry that needs no certificate, nor TLS",
             metavar="host"),
        number("parallel", "", "Most things done at once; -1: no limit"),
    ),
)  # fmt: skip

OUTSIDE = ("config", "doctor", "login", "logout", "search", "version")
"""What needs nothing of the runtime; all else enters an ordinary user's namespaces."""
LOOKING = ("events", "images", "logs", "ls", "network", "port", "ps", "top", "volumes")
"""What starts nothing that goes on when the command has ended."""

INTERRUPTED = 130
Runner = Callable[["Invocation"], int]


class Invocation:
    """What a command's `run` gets: its arguments, where to write, and the project it means."""

    def __init__(self, root: Arguments, args: Arguments, out: Output) -> None:
        self.root, self.args, self.out = root, args, out
        self._project: Project | None = None

    def show_progress(self, mode: str) -> None:
        """As --progress `mode` before the command."""
        self.out.style = _style(self.root, progress=mode)

    def renewed(self) -> Invocation:
        """The same with the files to be read anew."""
        return Invocation(self.root, self.args, self.out)

    @property
    def is_dry_run(self) -> bool:
        """Whether --dry-run was given, before or after the command."""
        return self.root.has("dry-run") or self.args.has("dry-run")

    @property
    def is_compatible(self) -> bool:
        """Whether --compatibility was given, or COMPOSE_COMPATIBILITY asks for it."""
        return self.root.has("compatibility") or (
            os.environ.get("COMPOSE_COMPATIBILITY", "").lower() in ("1", "t", "true")
        )

    @property
    def project(self) -> Project:
        """The project that the root flags mean."""
        if self._project is None:
            from orchestrator import api

            self._project = api.Project(**self._said())
        return self._project

    @property
    def live(self) -> LiveProject:
        """The same, for commands about what a running stack has in it."""
        from orchestrator.live import LiveProject

        return LiveProject(**self._said())

    def _said(self) -> dict[str, Any]:  # keyword arguments of differing types
        root = self.root
        return {
            "files": root.all("file"), "name": root.text("project-name"),
            "directory": root.text("project-directory") or root.text("workdir"),
            "env_files": root.all("env-file"), "profiles": root.all("profile"),
            "lenient": root.has("lenient"), "compatibility": self.is_compatible,
            "all_resources": root.has("all-resources"), "parallel": _parallel(root),
            "insecure_registries": root.all("insecure-registry"),
        }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    words = sys.argv[1:] if argv is None else argv
    out = Output()
    root: Arguments | None = None
    try:
        root = grammar.parse(ROOT, words)
        out = Output(style=_style(root))
        return _dispatch(root, out)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _broken_pipe()
    except PcomposeError as error:
        out.error(error)
        return error.exit_code
    except Exception as exc:  # the last line of defence: a bug of ours is told, not shown
        if root is not None and root.has("verbose"):
            raise
        out.error(_internal(exc))
        return InternalError.exit_code
    finally:
        _flush(out)


def _parallel(root: Arguments) -> int:
    said = root.number("parallel")
    text = os.environ.get("COMPOSE_PARALLEL_LIMIT", "")
    if said is not None or not text:
        return said or 0
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"COMPOSE_PARALLEL_LIMIT must be an integer (found: {text!r})") from None


def _internal(exc: Exception) -> InternalError:
    from traceback import extract_tb

    last = extract_tb(exc.__traceback__)[-1]
    place = f"{os.path.basename(last.filename)}:{last.lineno}"
    return InternalError(
        f"internal error: {type(exc).__name__}: {exc} ({place})",
        hint="this is a bug of pcompose: please report it with the output of --verbose",
    )


def _flush(out: Output) -> None:
    try:
        out.flush()
    except BrokenPipeError:
        _broken_pipe()


def _broken_pipe() -> int:
    """Whoever read our output has left; nothing more may be written to it, also not at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    return 128 + int(_signal.SIGPIPE)


def _style(root: Arguments, *, progress: str | None = None) -> output.Style:
    if root.has("no-ansi") and root.said("ansi"):
        raise UsageError(
            'cannot specify DEPRECATED "--no-ansi" and "--ansi". Please use only "--ansi"'
        )
    if root.text("workdir") and root.text("project-directory"):
        raise UsageError('cannot specify DEPRECATED "--workdir" and "--project-directory". '
                         'Please use only "--project-directory"')
    ansi = "never" if root.has("no-ansi") else root.text("ansi")
    return output.choose_style(
        ansi=ansi or os.environ.get("COMPOSE_ANSI") or "auto",
        progress=progress or root.text("progress") or os.environ.get("COMPOSE_PROGRESS") or "auto",
        out_is_terminal=terminal.is_terminal(1), err_is_terminal=terminal.is_terminal(2),
        environ=os.environ,
    )  # fmt: skip


def _dispatch(root: Arguments, out: Output) -> int:
    if root.has("version"):
        return _run(root, out, "version", [])
    if not root.operands or root.has("help"):
        out.line(grammar.help_text(ROOT, extra=_command_list()))
        return 0
    name, *rest = root.operands
    if name == "__complete":
        return _complete(out, rest)
    if name == "help":
        return _run(root, out, rest[0], ["--help"]) if rest else _dispatch_help(out)
    return _run(root, out, name, rest)


def _dispatch_help(out: Output) -> int:
    out.line(grammar.help_text(ROOT, extra=_command_list()))
    return 0


def _command_list() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}   {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(["Commands:", *lines])


def _complete(out: Output, words: list[str]) -> int:
    """For the scripts of `completion`."""
    from orchestrator.cli import completion

    def project(said: Sequence[str]) -> Invocation:
        return Invocation(grammar.parse(ROOT, list(said)), Arguments(ROOT), out)

    for word, text in completion.complete(words, ROOT, COMMANDS, project):
        out.line(f"{word}\t{text}" if text else word)
    return 0


def _run(root: Arguments, out: Output, name: str, words: list[str]) -> int:
    if name not in COMMANDS:
        raise _unknown(name)
    module: Any = import_module(f"orchestrator.cli.commands.{COMMANDS[name][0]}")
    command: Command = module.COMMAND
    run: Runner = module.run
    args = grammar.parse(command, words)
    if args.has("help"):
        out.line(grammar.help_text(command))
        return 0
    _signal.signal(_signal.SIGTERM, _signal.default_int_handler)
    if os.geteuid() and name not in OUTSIDE:
        from orchestrator import api

        for word in api.enter_rootless(delegate=name not in LOOKING):
            out.warn(word)
    return run(Invocation(root, args, out))


def _unknown(name: str) -> UsageError:
    if name in LACKING:
        return UsageError(f"command {name} is not available yet")
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    return UsageError(f'unknown command: "pcompose {name}"',
                      hint=f"did you mean {near[0]}?" if near else "see 'pcompose --help'")
