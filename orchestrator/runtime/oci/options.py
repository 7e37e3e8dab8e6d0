"""The grammar of the command line, as a table: each command's options and positional arguments.

`argparse` costs 10 ms of every call.  Options may stand anywhere before `--` except with `exec`,
where they end with the id, since what follows is another command's.
"""

from __future__ import annotations

from orchestrator.runtime.oci.faults import OciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Spec = Mapping[str, str]
    """Option -> its kind: "" takes no value, "=" one, "*" one each time, "#" a number."""

_BUNDLE = {
    "--bundle": "=", "-b": "--bundle", "--console-socket": "=", "--pid-file": "=",
    "--preserve-fds": "#", "--no-pivot": "", "--no-new-keyring": "",
}  # fmt: skip
GLOBAL: Spec = {
    "--root": "=", "--log": "=", "--log-format": "=", "--log-level": "=", "--debug": "",
    "--systemd-cgroup": "", "--rootless": "=", "--criu": "=", "--help": "", "-h": "--help",
    "--version": "", "-v": "--version",
}  # fmt: skip
COMMANDS: dict[str, tuple[Spec, str, str]] = {  # command -> options, positional ones, what it does
    "create": (_BUNDLE, "ID", "make a container from a bundle; it waits for start"),
    "delete": ({"--force": "", "-f": "--force"}, "ID", "release all a stopped container has"),
    "events": ({"--stats": "", "--interval": "="}, "ID", "print statistics, once or until the end"),
    "exec": ({
        "--process": "=", "-p": "--process", "--detach": "", "-d": "--detach", "--tty": "",
        "-t": "--tty", "--user": "=", "-u": "--user", "--additional-gids": "*",
        "-g": "--additional-gids", "--env": "*", "-e": "--env", "--cwd": "=", "--cap": "*",
        "-c": "--cap", "--no-new-privs": "", "--pid-file": "=", "--console-socket": "=",
        "--preserve-fds": "#", "--cgroup": "=", "--apparmor": "=", "--process-label": "=",
        "--ignore-paused": "",
     }, "ID COMMAND...", "run another command in a container"),
    "features": ({}, "", "say what this runtime can do, as JSON"),
    "kill": ({"--all": "", "-a": "--all"}, "ID [SIGNAL]", "send a signal (TERM)"),
    "list": ({"--format": "=", "-f": "--format", "--quiet": "", "-q": "--quiet"}, "",
             "list the containers"),
    "pause": ({}, "ID", "freeze all processes"),
    "ps": ({"--format": "=", "-f": "--format"}, "ID [...]", "list the processes of a container"),
    "resume": ({}, "ID", "let frozen processes go on"),
    "run": ({**_BUNDLE, "--detach": "", "-d": "--detach", "--keep": "", "--no-subreaper": ""},
            "ID", "create and start, and wait for its end"),
    "spec": ({"--bundle": "=", "-b": "--bundle", "--rootless": ""}, "",
             "write a config.json to begin with"),
    "start": ({}, "ID", "run the command of a created container"),
    "state": ({}, "ID", "print the state of a container"),
    "update": ({
        "--resources": "=", "-r": "--resources", "--blkio-weight": "#", "--cpu-period": "#",
        "--cpu-quota": "#", "--cpu-share": "#", "--cpu-rt-period": "#", "--cpu-rt-runtime": "#",
        "--cpu-burst": "#", "--cpuset-cpus": "=", "--cpuset-mems": "=", "--memory": "=",
        "--memory-reservation": "=", "--memory-swap": "=", "--pids-limit": "#",
     }, "ID", "change limits of a container"),
}  # fmt: skip


class Options:
    """What was given; an option that was not has the value of its kind: "", [] or 0."""

    __slots__ = ("_given", "command", "positional")

    def __init__(self, command: str) -> None:
        self.command = command
        self.positional: list[str] = []
        self._given: dict[str, list[str]] = {}

    def add(self, name: str, value: str) -> None:
        self._given.setdefault(name, []).append(value)

    def has(self, name: str) -> bool:
        return name in self._given and self._given[name][-1] != "false"

    def text(self, name: str) -> str:
        return self._given.get(name, [""])[-1]

    def list(self, name: str) -> list[str]:
        return self._given.get(name, [])

    def number(self, name: str) -> int:
        return int(self.text(name) or 0)

    @property
    def id(self) -> str:
        if not self.positional:
            raise OciError(f"{self.command}: the container id is missing")
        return self.positional[0]


def parse(words: Sequence[str]) -> tuple[Options, Options]:
    """(global options, the command with its own); OciError."""
    top, rest = Options(""), list(words)
    _take(top, GLOBAL, rest, until_positional=True)
    if not rest:
        return top, Options("")
    name = rest.pop(0)
    if name == "help":
        top.add("--help", "")
        return top, Options("")
    if name not in COMMANDS:
        raise OciError(f"unknown command {name!r}; there are: {', '.join(COMMANDS)}")
    spec, usage, _ = COMMANDS[name]
    found = Options(name)
    spec = {**spec, "--help": "", "-h": "--help"}
    _take(found, spec, rest, until_positional=name == "exec")
    found.positional += rest
    if found.has("--help"):
        return top, found
    most = 99999 if "..." in usage else len(usage.split())
    if len(found.positional) > most:
        raise OciError(f"{name}: unexpected argument {found.positional[most]!r}")
    return top, found


def _take(found: Options, spec: Spec, rest: list[str], *, until_positional: bool) -> None:
    """Move options from `rest`; with `until_positional` stop at the first other word."""
    while rest:
        word = rest[0]
        if word == "--":
            del rest[0]
            return
        if not word.startswith("-") or word == "-":
            if until_positional:
                return
            found.positional.append(rest.pop(0))
            continue
        del rest[0]
        name, equals, value = word.partition("=")
        kind = spec.get(name)
        if kind is not None and kind.startswith("--"):
            name, kind = kind, spec[kind]
        if kind is None:
            raise OciError(f"unknown option {word.partition('=')[0]}")
        if kind and not equals:
            if not rest:
                raise OciError(f"option {name} needs a value")
            value = rest.pop(0)
        if kind == "#" and not value.lstrip("-").isdigit():
            raise OciError(f"option {name} needs a number, not {value!r}")
        found.add(name, value)


def usage(command: str = "") -> str:
    """What --help prints."""
    if command:
        spec, positional, purpose = COMMANDS[command]
        names = [name for name, kind in spec.items() if not kind.startswith("--")]
        lines = [f"pcompose-oci {command} [OPTIONS] {positional}".rstrip(), f"  {purpose}", ""]
        return "\n".join([*lines, *(f"  {n}{' VALUE' if spec[n] else ''}" for n in names)]) + "\n"
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {purpose}" for name, (_, _, purpose) in COMMANDS.items()]
    names = [name for name, kind in GLOBAL.items() if not kind.startswith("--")]
    return "\n".join(["pcompose-oci [GLOBAL OPTIONS] COMMAND [OPTIONS] ...", "", *lines, "",
                      "global options: " + " ".join(names)]) + "\n"
