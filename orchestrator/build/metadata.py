"""Instructions that change an image's configuration and none of its files.

ENV, LABEL, CMD, ENTRYPOINT, EXPOSE, VOLUME, USER, WORKDIR (its value), STOPSIGNAL, HEALTHCHECK,
SHELL, ONBUILD; also for `import --change`.  Pure: a configuration in, another out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.build import instructions as kinds
from orchestrator.build import lines, parse, words
from orchestrator.build.fault import fault
from orchestrator.build.instructions import Instruction
from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import BuildError, ImageError
from orchestrator.image import config as configs
from orchestrator.image.config import ImageConfig

DEFAULT_SHELL = ("/bin/sh", "-c")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_MOST_PORTS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an instruction sees."""

    variables: Mapping[str, str]
    escape: str = "\\"

    def expand(self, text: str) -> str:
        """With variables in, quotes off."""
        return words.expand(text, self.variables, escape=self.escape)

    def words(self, text: str) -> list[str]:
        """As `expand`, in words."""
        return words.expand_words(text, self.variables, escape=self.escape)


def changes(instruction: Instruction) -> bool:
    """Whether the instruction is one of these."""
    return type(instruction) in _CHANGES


def apply(config: ImageConfig, instruction: Instruction, scope: Scope) -> ImageConfig:
    """The configuration after the instruction.  BuildError with its place."""
    try:
        return _CHANGES[type(instruction)](config, instruction, scope)
    except ValueError as exc:
        raise fault(instruction.place, f"{instruction.keyword}: {exc}") from exc


def apply_texts(config: ImageConfig, texts: Sequence[str]) -> ImageConfig:
    """The configuration after instructions that stand alone (`import --change`).  ImageError names
    the one that is wrong."""
    for text in texts:
        try:
            found = lines.read(text, file="--change").lines
            made = parse.instruction(found[0]) if len(found) == 1 else None
            if made is None or not changes(made):
                raise ImageError(f"--change: `{text}` is no instruction that can change an image",
                                 hint="known are " + ", ".join(sorted(_KEYWORDS)))
            config = apply(config, made, Scope(variables=dict(config.env)))
        except BuildError as error:
            raise ImageError(f"--change: `{text.strip()}`: {error.problems[0][1]}",
                             hint=error.problems[0][2]) from error
    return config


# ---- one function each ----


def _env(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # a kind of instruction
    return replace(config, env=tuple({**dict(config.env), **_pairs(made, scope)}.items()))


def _label(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    return replace(config, labels={**config.labels, **_pairs(made, scope)})


def _pairs(made: kinds.Pairs, scope: Scope) -> dict[str, str]:
    found = {}
    for name, value in made.items:
        key = scope.expand(name)
        if not key:
            raise ValueError(f"`{name}` is no name")
        found[key] = scope.expand(value)
    return found


def command_words(made: kinds.Command, config: ImageConfig) -> tuple[str, ...]:
    """What is executed: the words, or the shell with the text."""
    return (*(config.shell or DEFAULT_SHELL), *made.words) if made.is_shell else made.words


def _cmd(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    return replace(config, command=command_words(made, config))


def _entrypoint(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    # what an image that is built on had as CMD are arguments of its own entry point
    return replace(config, entrypoint=command_words(made, config))


def _user(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    return replace(config, user=_value(made, scope))


def _value(made: kinds.Value, scope: Scope) -> str:
    value = scope.expand(made.value)
    if not value:
        raise ValueError(f"`{made.value}` is empty")
    return value


def _workdir(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    return replace(config, working_dir=absolute(config, _value(made, scope)))


def absolute(config: ImageConfig, path: str) -> str:
    """The path seen from the working directory."""
    joined = posixpath.normpath(posixpath.join(config.working_dir or "/", path))
    return "/" + joined.lstrip("/")


def _expose(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    found = dict.fromkeys(config.exposed_ports)
    for item in made.items:
        for word in scope.words(item):
            found.update(dict.fromkeys(_ports(word)))
    return replace(config, exposed_ports=tuple(found))


def _ports(word: str) -> list[str]:
    match = _PORT.fullmatch(word)
    first = int(match[1]) if match else 0
    last = int(match[2] or first) if match else 0
    if match is None or not 0 < first <= last < _MOST_PORTS:
        raise ValueError(f"`{word}` is no port")
    protocol = (match[3] or "tcp").lower()
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _volume(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    paths = [scope.expand(item) for item in made.items]
    if not all(path.startswith("/") for path in paths):
        raise ValueError("a volume is an absolute path")
    return replace(config, volumes=tuple(dict.fromkeys((*config.volumes, *paths))))


def _stopsignal(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    import signal  # 4 ms

    word = _value(made, scope)
    name = word.upper().removeprefix("SIG")
    known = hasattr(signal.Signals, f"SIG{name}") or name.startswith(("RTMIN", "RTMAX"))
    is_number = word.isascii() and word.isdigit() and len(word) < 3 and 0 < int(word) <= 64
    if not known and not is_number:
        raise ValueError(f"`{word}` is no signal")
    return replace(config, stop_signal=word)


def _healthcheck(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    check = configs.Healthcheck(
        test=made.test, interval=made.interval or None, timeout=made.timeout or None,
        start_period=made.start_period or None, start_interval=made.start_interval or None,
        retries=made.retries or None,
    )  # fmt: skip
    return replace(config, healthcheck=check)


def _shell(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    return replace(config, shell=made.items)


def _onbuild(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    return replace(config, on_build=(*config.on_build, made.trigger))


def _nothing(config: ImageConfig, made: Any, scope: Scope) -> ImageConfig:  # as above
    return config


Change = Callable[[ImageConfig, Any, Scope], ImageConfig]  # a kind of instruction each
_CHANGES: dict[type[Instruction], Change] = {
    kinds.Cmd: _cmd, kinds.Entrypoint: _entrypoint, kinds.Env: _env, kinds.Expose: _expose,
    kinds.Healthcheck: _healthcheck, kinds.Label: _label, kinds.Maintainer: _nothing,
    kinds.Onbuild: _onbuild, kinds.Shell: _shell, kinds.Stopsignal: _stopsignal,
    kinds.User: _user, kinds.Volume: _volume, kinds.Workdir: _workdir,
}  # fmt: skip
_KEYWORDS = [kind.__name__.upper() for kind in _CHANGES]
