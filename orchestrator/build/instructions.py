"""The instructions of a Dockerfile as values.

What the parser gives and the solver executes: words are as they were written, variables not yet
put in.  Knows no syntax and no effect.
"""

from __future__ import annotations

from orchestrator.build.fault import Place
from orchestrator.build.lines import Heredoc
from orchestrator.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all have in common."""

    place: Place
    text: str
    """As it was written, continuation lines joined."""

    @property
    def keyword(self) -> str:
        """`RUN`."""
        return type(self).__name__.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Instruction):
    """Words to execute, or one text for the shell."""

    words: tuple[str, ...]
    is_shell: bool


class Cmd(Command):
    __slots__ = ()


class Entrypoint(Command):
    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    image: str
    name: str = ""
    """AS, lower case."""
    platform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    items: tuple[tuple[str, str | None], ...]
    """(name, default)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs(Instruction):
    items: tuple[tuple[str, str], ...]
    is_old_form: bool = False
    """`ENV NAME the whole rest`."""


class Env(Pairs):
    __slots__ = ()


class Label(Pairs):
    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MountFlag:
    """One `--mount` of RUN: its `key=value` pairs, checked by name, in order."""

    items: tuple[tuple[str, str], ...]
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Command):
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[MountFlag, ...] = ()
    network: str = "default"
    security: str = "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying(Instruction):
    """COPY and ADD."""

    sources: tuple[str, ...]
    inline: tuple[Heredoc, ...] = ()
    """Files that are written in the Dockerfile itself."""
    target: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Copying):
    origin: str = ""
    """--from: a stage, an image or a named context."""
    parents: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Copying):
    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None
    """None: local archives are unpacked, fetched ones are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value(Instruction):
    value: str


class Workdir(Value):
    __slots__ = ()


class User(Value):
    __slots__ = ()


class Stopsignal(Value):
    __slots__ = ()


class Maintainer(Value):
    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Instruction):
    items: tuple[str, ...]


class Volume(Listing):
    __slots__ = ()


class Expose(Listing):
    __slots__ = ()


class Shell(Listing):
    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """`test` starts with CMD or CMD-SHELL, or is NONE; 0: not said."""

    test: tuple[str, ...]
    interval: float = 0.0
    timeout: float = 0.0
    start_period: float = 0.0
    start_interval: float = 0.0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Instruction):
    trigger: str
    """The instruction's text, for the image's configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """A whole file."""

    file: str
    """For messages: relative to where the user is."""
    directives: dict[str, str]
    escape: str
    instructions: tuple[Instruction, ...]
    empty_continuations: tuple[Place, ...] = ()
    """Empty lines within instructions."""
