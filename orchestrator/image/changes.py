"""Dockerfile instructions that change an image's configuration, as `import --change` takes them.

Owns the small grammar of CMD, ENTRYPOINT, ENV, WORKDIR, USER, EXPOSE, VOLUME, LABEL, STOPSIGNAL
and HEALTHCHECK (Dockerfile reference); not FROM, RUN, COPY and whatever else builds.
"""

from __future__ import annotations

import json
import posixpath
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.errors import ImageError
from orchestrator.image.config import Healthcheck, ImageConfig

_SHELL = ("/bin/sh", "-c")
_VARIABLE = re.compile(r"\\(.)|\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")
_WORD = re.compile(r"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s'"\\])+""", re.DOTALL)
_PIECE = re.compile(r"""\\(.)|'([^']*)'|"((?:\\.|[^"\\])*)"|([^\\'"]+)""", re.DOTALL)
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

Change = Callable[[ImageConfig, str], ImageConfig]


def apply(config: ImageConfig, instructions: Sequence[str]) -> ImageConfig:
    """The configuration after all instructions; ImageError names the one that is wrong."""
    for text in instructions:
        word, _, rest = text.strip().partition(" ")
        change = _CHANGES.get(word.upper())
        if change is None:
            raise ImageError(
                f"--change: `{word}` is no instruction that can change an image",
                hint="known are " + ", ".join(sorted(_CHANGES)),
            )
        try:
            config = change(config, rest.strip())
        except ValueError as exc:
            raise ImageError(f"--change: `{text.strip()}`: {exc}") from exc
    return config


def _command(config: ImageConfig, rest: str) -> ImageConfig:
    return replace(config, command=_words_or_shell(rest))


def _entrypoint(config: ImageConfig, rest: str) -> ImageConfig:
    # as a Dockerfile does: a new entry point has no use for the arguments of the old one
    return replace(config, entrypoint=_words_or_shell(rest))


def _words_or_shell(rest: str) -> tuple[str, ...]:
    words = _json_words(rest)
    if words is not None:
        return words
    return (*_SHELL, rest) if rest else ()


def _json_words(rest: str) -> tuple[str, ...] | None:
    if not rest.startswith("["):
        return None
    try:
        words = json.loads(rest)
    except (ValueError, RecursionError):
        return None  # a shell command may begin with a bracket
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return tuple(words)


def _environment(config: ImageConfig, rest: str) -> ImageConfig:
    known = dict(config.env)
    known.update(_pairs(rest, dict(config.env)))
    return replace(config, env=tuple(known.items()))


def _label(config: ImageConfig, rest: str) -> ImageConfig:
    return replace(config, labels={**config.labels, **_pairs(rest, dict(config.env))})


def _pairs(rest: str, variables: dict[str, str]) -> dict[str, str]:
    """`a=1 b="x y"`, or the old form `a the whole rest`."""
    words = _split(rest)
    if not words:
        raise ValueError("needs NAME=value")
    if "=" not in words[0]:
        name, _, value = rest.partition(" ")
        if not value.strip():
            raise ValueError("needs NAME=value")
        return {name: _expand(value.strip(), variables)}
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(f"`{word}` is not NAME=value")
        found[_unquote(name, variables)] = _unquote(value, variables)
    return found


def _split(rest: str) -> list[str]:
    if _WORD.sub("", rest).strip():
        raise ValueError("a quotation mark is not closed")
    words: list[str] = _WORD.findall(rest)
    return words


def _unquote(word: str, variables: dict[str, str]) -> str:
    """The word without its quotes; variables are put in except between single ones."""
    parts = []
    for piece in _PIECE.finditer(word):
        escaped, single, double, plain = piece.groups()
        if escaped is not None:
            parts.append(escaped)
        elif single is not None:
            parts.append(single)
        else:
            parts.append(_expand(plain if double is None else double, variables))
    return "".join(parts)


def _expand(text: str, variables: dict[str, str]) -> str:
    """$NAME, ${NAME}, ${NAME:-word}, ${NAME:+word}; a backslash takes the meaning away."""

    def put(found: re.Match[str]) -> str:
        escaped, braced, operator, word, bare = found.groups()
        if escaped is not None:
            return escaped if escaped in '$"\\' else f"\\{escaped}"
        value = variables.get(braced or bare, "")
        if operator == "-":
            return value or str(word)
        return (str(word) if value else "") if operator == "+" else value

    return _VARIABLE.sub(put, text)


def _working_dir(config: ImageConfig, rest: str) -> ImageConfig:
    path = _one(config, rest)
    joined = posixpath.normpath(posixpath.join(config.working_dir or "/", path))
    return replace(config, working_dir="/" + joined.lstrip("/"))


def _user(config: ImageConfig, rest: str) -> ImageConfig:
    return replace(config, user=_one(config, rest))


def _one(config: ImageConfig, rest: str) -> str:
    value = _unquote(rest, dict(config.env))
    if not value:
        raise ValueError("needs a value")
    return value


def _expose(config: ImageConfig, rest: str) -> ImageConfig:
    found = dict.fromkeys(config.exposed_ports)
    for word in _some(config, rest):
        match = _PORT.fullmatch(word)
        if match is None:
            raise ValueError(f"`{word}` is no port")
        first = int(match[1])
        last = int(match[2] or first)
        if not 0 < first <= last < 1 << 16:
            raise ValueError(f"`{word}` is no port")
        protocol = (match[3] or "tcp").lower()
        found.update(dict.fromkeys(f"{port}/{protocol}" for port in range(first, last + 1)))
    return replace(config, exposed_ports=tuple(found))


def _volume(config: ImageConfig, rest: str) -> ImageConfig:
    words = _json_words(rest) or _some(config, rest)
    if not all(word.startswith("/") for word in words):
        raise ValueError("a volume is an absolute path")
    return replace(config, volumes=tuple(dict.fromkeys((*config.volumes, *words))))


def _some(config: ImageConfig, rest: str) -> tuple[str, ...]:
    words = tuple(_unquote(word, dict(config.env)) for word in _split(rest))
    if not words:
        raise ValueError("needs a value")
    return words


def _stop_signal(config: ImageConfig, rest: str) -> ImageConfig:
    word = _one(config, rest)
    name = word.upper().removeprefix("SIG")
    known = hasattr(signal.Signals, f"SIG{name}") or name.startswith(("RTMIN", "RTMAX"))
    if not known and not (word.isdigit() and 0 < int(word) <= 64):
        raise ValueError(f"`{word}` is no signal")
    return replace(config, stop_signal=word)


_TIMES = {
    "--interval": "interval", "--timeout": "timeout", "--start-period": "start_period",
    "--start-interval": "start_interval",
}  # fmt: skip


def _healthcheck(config: ImageConfig, rest: str) -> ImageConfig:
    check = Healthcheck()
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        rest = rest.strip()
        check = _with_flag(check, *flag.partition("=")[::2])
    kind, _, command = rest.partition(" ")
    if kind.upper() == "NONE" and not command.strip() and check == Healthcheck():
        return replace(config, healthcheck=Healthcheck(test=("NONE",)))
    if kind.upper() != "CMD" or not command.strip():
        raise ValueError("expected [--flag=value …] CMD command, or NONE")
    words = _json_words(command.strip())
    test = ("CMD", *words) if words else ("CMD-SHELL", command.strip())
    return replace(config, healthcheck=replace(check, test=test))


def _with_flag(check: Healthcheck, flag: str, value: str) -> Healthcheck:
    if flag == "--retries":
        if not value.isdigit():
            raise ValueError(f"`{value}` is no number of retries")
        return replace(check, retries=int(value) or None)
    if flag not in _TIMES:
        raise ValueError(f"unknown flag {flag}")
    seconds = _seconds(value) or None
    if flag == "--interval":
        return replace(check, interval=seconds)
    if flag == "--timeout":
        return replace(check, timeout=seconds)
    if flag == "--start-period":
        return replace(check, start_period=seconds)
    return replace(check, start_interval=seconds)


def _seconds(text: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(n + unit for n, unit in parts) != text:
        raise ValueError(f"`{text}` is no duration")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


_CHANGES: dict[str, Change] = {
    "CMD": _command,
    "ENTRYPOINT": _entrypoint,
    "ENV": _environment,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _working_dir,
}
