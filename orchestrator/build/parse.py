"""Text -> instructions: flags, the JSON form, and the grammar of each instruction.

As BuildKit reads it.  Every instruction is read, so that all mistakes of a file are told at once.
Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TypedDict

from orchestrator.build import instructions as kinds
from orchestrator.build import lines, mountflag, words
from orchestrator.build.fault import Place, fault, near
from orchestrator.build.instructions import Command, Dockerfile, Instruction, Run
from orchestrator.build.lines import Line
from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import BuildError

STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NETWORKS = ("default", "none", "host")
_SECURITIES = ("sandbox", "insecure")
_MOST_FAULTS = 20


def parse(text: str, *, file: str) -> Dockerfile:
    """The file's instructions.  BuildError with every place where something is wrong."""
    found = lines.read(text, file=file)
    made: list[Instruction] = []
    problems: list[tuple[str, str, str | None]] = []
    for line in found.lines:
        try:
            made.append(instruction(line, escape=found.escape))
        except BuildError as error:
            problems += error.problems
            if len(problems) >= _MOST_FAULTS:
                break
    if problems:
        raise BuildError(problems[0][1], problems=tuple(problems))
    return Dockerfile(file=file, directives=found.directives, escape=found.escape,
                      instructions=tuple(made), empty_continuations=found.empty_continuations)


class _Common(TypedDict):
    place: Place
    text: str


@dataclass(slots=True, kw_only=True)
class _Flag:
    name: str
    value: str | None
    place: Place


@dataclass(slots=True, kw_only=True)
class _Source:
    """One instruction's parts, before its own grammar looks at them."""

    line: Line
    keyword: str
    escape: str
    flags: list[_Flag]
    rest: str
    offset: int
    """Where `rest` begins in the line."""

    @property
    def common(self) -> _Common:
        return {"place": self.line.place(), "text": self.line.text}

    def fault(self, message: str, *, at: int = 0, hint: str | None = None) -> BuildError:
        """`at` counts from the beginning of `rest`."""
        return fault(self.line.place(self.offset + at), f"{self.keyword}: {message}", hint=hint)

    def words(self) -> list[words.Word]:
        return words.split(self.rest, escape=self.escape)

    def json(self) -> tuple[str, ...] | None:
        """The words of the JSON form; None where it is the other one."""
        if not self.rest.startswith("["):
            return None
        try:
            value = json.loads(self.rest)
        except (ValueError, RecursionError):
            return None  # a shell command may begin with a bracket
        if not isinstance(value, list):
            return None
        if not all(isinstance(item, str) for item in value):
            raise self.fault("a JSON array here holds strings only")
        if any("\0" in item or not _is_text(item) for item in value):
            raise self.fault("a word has a character that no file name or argument can have")
        return tuple(value)

    # ---- flags ----

    def one(self, name: str, default: str = "") -> str:
        found = [flag for flag in self.flags if flag.name == name]
        if len(found) > 1:
            raise fault(found[1].place, f"{self.keyword}: --{name} is there twice")
        if found and found[0].value is None:
            raise fault(found[0].place, f"{self.keyword}: --{name} needs a value")
        return str(found[0].value) if found else default

    def many(self, name: str) -> tuple[str, ...]:
        for flag in self.flags:
            if flag.name == name and flag.value is None:
                raise fault(flag.place, f"{self.keyword}: --{name} needs a value")
        return tuple(str(flag.value) for flag in self.flags if flag.name == name)

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        value = self.one(name, known[0])
        if value not in known and "$" not in value:
            place = next(flag.place for flag in self.flags if flag.name == name)
            raise fault(place, f"{self.keyword}: --{name} cannot be `{value}`",
                        hint=near(value, known) or "one of " + ", ".join(known))
        return value

    def switch(self, name: str) -> bool | None:
        """None: not said."""
        found = [flag for flag in self.flags if flag.name == name]
        if not found:
            return None
        text = "true" if found[0].value is None else found[0].value
        if text not in ("true", "false"):
            raise fault(found[0].place, f"{self.keyword}: --{name} is true or false, not `{text}`")
        return text == "true"


def _is_text(item: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in item)


def instruction(line: Line, *, escape: str = "\\") -> Instruction:
    """The instruction of one logical line."""
    word = words.split(line.text, escape=escape)[0]
    keyword = word.text.upper()
    known = _GRAMMARS.get(keyword)
    if known is None:
        raise fault(line.place(word.offset), f"unknown instruction: {word.text}",
                    hint=near(keyword, _GRAMMARS))
    allowed, grammar = known
    source = _Source(line=line, keyword=keyword, escape=escape, flags=[], rest="",
                     offset=word.offset + len(word.text))
    _take_flags(source, allowed)
    if not source.rest and keyword not in ("CMD", "ENTRYPOINT"):
        raise source.fault("needs an argument")
    return grammar(source)


def _take_flags(source: _Source, allowed: tuple[str, ...]) -> None:
    text = source.line.text[source.offset:]
    start = len(text)
    for word in words.split(text, escape=source.escape):
        if not allowed or not word.text.startswith("--"):
            start = word.offset
            break
        if word.text == "--":
            start = word.offset + 2
            break
        name, equals, value = word.text[2:].partition("=")
        place = source.line.place(source.offset + word.offset)
        if name not in allowed:
            raise fault(place, f"{source.keyword}: unknown flag: --{name}",
                        hint=near(name, allowed, prefix="--"))
        plain = _unquoted(source, value, place) if equals else None
        source.flags.append(_Flag(name=name, value=plain, place=place))
    rest = text[start:]
    source.offset += start + len(rest) - len(rest.lstrip())
    source.rest = rest.strip()


def _unquoted(source: _Source, value: str, place: Place) -> str:
    """A flag's value without quotes; its variables are put in when it is used."""
    if not any(char in value for char in "'\"" + source.escape):
        return value
    try:
        reading = words.Reading(variables={}, escape=source.escape, keep_unset=True)
        return " ".join(words.read_words(value, reading))
    except ValueError as exc:
        raise fault(place, f"{source.keyword}: {exc}") from exc


# ---- one grammar each ----


def _from(source: _Source) -> Instruction:
    found = source.words()
    if len(found) not in (1, 3) or (len(found) == 3 and found[1].text.upper() != "AS"):
        at = found[1].offset if len(found) > 1 else 0
        raise source.fault("expected `FROM image` or `FROM image AS name`", at=at)
    name = found[2].text.lower() if len(found) == 3 else ""
    if name and not STAGE_NAME.fullmatch(name):
        raise source.fault(f"`{found[2].text}` cannot name a stage", at=found[2].offset,
                           hint="letters, digits, `-`, `_` and `.`, beginning with a letter")
    return kinds.From(**source.common, image=found[0].text, name=name,
                      platform=source.one("platform"))


def _arg(source: _Source) -> Instruction:
    items: list[tuple[str, str | None]] = []
    for word in source.words():
        name, equals, value = word.text.partition("=")
        if not name or name[0] in "'\"$":
            raise source.fault(f"`{word.text}` is not NAME or NAME=default", at=word.offset)
        items.append((name, value if equals else None))
    return kinds.Arg(**source.common, items=tuple(items))


class _Pairs(TypedDict):
    items: tuple[tuple[str, str], ...]
    is_old_form: bool


def _pairs(source: _Source) -> _Pairs:
    """`a=1 b="x y"`, or the old form `a the whole rest`."""
    found = source.words()
    if "=" not in found[0].text:
        if len(found) < 2:
            raise source.fault(f"`{found[0].text}` has no value", hint="NAME=value")
        return {"items": ((found[0].text, source.rest[found[1].offset:]),), "is_old_form": True}
    items = []
    for word in found:
        name, equals, value = word.text.partition("=")
        if not equals or not name:
            raise source.fault(f"`{word.text}` is not NAME=value", at=word.offset,
                               hint="put quotes around a value with white space")
        items.append((name, value))
    return {"items": tuple(items), "is_old_form": False}


def _env(source: _Source) -> Instruction:
    return kinds.Env(**source.common, **_pairs(source))


def _label(source: _Source) -> Instruction:
    return kinds.Label(**source.common, **_pairs(source))


def _command(source: _Source) -> Command:
    listed = source.json()
    if listed is None:
        return Command(**source.common, words=(source.rest,) if source.rest else (),
                       is_shell=bool(source.rest))
    return Command(**source.common, words=listed, is_shell=False)


def _cmd(source: _Source) -> Instruction:
    made = _command(source)
    return kinds.Cmd(**source.common, words=made.words, is_shell=made.is_shell)


def _entrypoint(source: _Source) -> Instruction:
    made = _command(source)
    return kinds.Entrypoint(**source.common, words=made.words, is_shell=made.is_shell)


def _run(source: _Source) -> Instruction:
    made = _command(source)
    if not made.words:
        raise source.fault("there is nothing to run")
    for flag in source.flags:
        if flag.name == "device":
            raise fault(flag.place, "RUN: --device: no device of the machine is given to builds",
                        hint="use it when the container runs: `devices:` of the service")
    mounts = tuple(
        mountflag.read(str(flag.value or ""), place=flag.place)
        for flag in source.flags if flag.name == "mount"
    )
    return Run(
        **source.common, words=made.words, is_shell=made.is_shell, heredocs=source.line.heredocs,
        mounts=mounts, network=source.choice("network", _NETWORKS),
        security=source.choice("security", _SECURITIES),
    )


def _paths(source: _Source) -> tuple[tuple[str, ...], str]:
    """(sources that are no here-documents, target)."""
    listed = source.json()
    found = listed if listed is not None else tuple(word.text for word in source.words())
    if len(found) < 2:
        raise source.fault("needs a source and a destination",
                           hint=f"{source.keyword} source… destination")
    marks = iter(source.line.heredocs)
    plain = [word for word in found[:-1]
             if listed is not None or lines.parse_mark(word) is None or next(marks, None) is None]
    if lines.parse_mark(found[-1]) is not None and source.line.heredocs and listed is None:
        raise source.fault("the destination cannot be a here-document")
    return tuple(plain), found[-1]


def _copy(source: _Source) -> Instruction:
    sources, target = _paths(source)
    origin = source.one("from")
    if origin and source.line.heredocs:
        raise source.fault("a here-document cannot come --from somewhere")
    _no_variables(source, "from", origin)
    return kinds.Copy(
        **source.common, sources=sources, inline=source.line.heredocs, target=target,
        chown=source.one("chown"), chmod=source.one("chmod"), link=source.switch("link") or False,
        exclude=source.many("exclude"), origin=origin, parents=source.switch("parents") or False,
    )


def _no_variables(source: _Source, name: str, value: str) -> None:
    if "$" in value:
        raise source.fault(f"--{name} takes no variables", hint=mountflag.ALIAS)


def _add(source: _Source) -> Instruction:
    sources, target = _paths(source)
    return kinds.Add(
        **source.common, sources=sources, inline=source.line.heredocs, target=target,
        chown=source.one("chown"), chmod=source.one("chmod"), link=source.switch("link") or False,
        exclude=source.many("exclude"), checksum=source.one("checksum"),
        keep_git_dir=source.switch("keep-git-dir") or False, unpack=source.switch("unpack"),
    )


def _value(kind: type[kinds.Value]) -> Callable[[_Source], Instruction]:
    def grammar(source: _Source) -> Instruction:
        return kind(**source.common, value=source.rest)

    return grammar


def _volume(source: _Source) -> Instruction:
    listed = source.json()
    items = listed if listed is not None else tuple(word.text for word in source.words())
    if not items or not all(item.strip() for item in items):
        raise source.fault("a volume needs a path")
    return kinds.Volume(**source.common, items=items)


def _expose(source: _Source) -> Instruction:
    return kinds.Expose(**source.common, items=tuple(word.text for word in source.words()))


def _shell(source: _Source) -> Instruction:
    listed = source.json()
    if not listed:
        raise source.fault("needs its words as a JSON array", hint='SHELL ["/bin/bash", "-c"]')
    return kinds.Shell(**source.common, items=listed)


_TIMES = ("interval", "timeout", "start-period", "start-interval")


def _healthcheck(source: _Source) -> Instruction:
    kind = source.words()[0]
    rest = source.rest[len(kind.text):].strip()
    if kind.text.upper() == "NONE":
        if rest or source.flags:
            raise source.fault("NONE takes neither arguments nor flags")
        return kinds.Healthcheck(**source.common, test=("NONE",))
    if kind.text.upper() != "CMD" or not rest:
        raise source.fault("expected CMD and a command, or NONE",
                           hint=near(kind.text.upper(), ("CMD", "NONE")))
    inner = replace(source, rest=rest, offset=source.offset + source.rest.rindex(rest))
    listed = inner.json()
    test = ("CMD", *listed) if listed else ("CMD-SHELL", rest)
    times = {name.replace("-", "_"): _seconds(source, name) for name in _TIMES}
    return kinds.Healthcheck(**source.common, test=test, retries=_retries(source), **times)


def _seconds(source: _Source, name: str) -> float:
    text = source.one(name)
    parts = _DURATION.findall(text)
    if text and (not parts or "".join(n + unit for n, unit in parts) != text):
        raise source.fault(f"--{name}: `{text}` is no duration", hint="for example 30s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _retries(source: _Source) -> int:
    text = source.one("retries", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise source.fault(f"--retries: `{text}` is no number of retries")
    return int(text)


def _onbuild(source: _Source) -> Instruction:
    keyword = source.words()[0].text.upper()
    if keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise source.fault(f"{keyword} cannot be a trigger")
    start = source.offset
    inner = Line(text=source.rest, file=source.line.file, heredocs=source.line.heredocs,
                 starts=_shifted(source.line, start))
    instruction(inner, escape=source.escape)  # its mistakes are told here, not in a later build
    bodies = "".join(f"\n{doc.content}{doc.name}" for doc in source.line.heredocs)
    return kinds.Onbuild(**source.common, trigger=source.rest + bodies)


def _shifted(line: Line, start: int) -> tuple[tuple[int, int, int], ...]:
    """The pieces of a line whose first `start` characters are cut off."""
    place = line.place(start)
    later = [(offset - start, number, column) for offset, number, column in line.starts
             if offset > start]
    return ((0, place.line, place.column), *later)


_COPYING = ("chown", "chmod", "link", "exclude")
_GRAMMARS: dict[str, tuple[tuple[str, ...], Callable[[_Source], Instruction]]] = {
    "ADD": ((*_COPYING, "checksum", "keep-git-dir", "unpack"), _add),
    "ARG": ((), _arg),
    "CMD": ((), _cmd),
    "COPY": ((*_COPYING, "from", "parents"), _copy),
    "ENTRYPOINT": ((), _entrypoint),
    "ENV": ((), _env),
    "EXPOSE": ((), _expose),
    "FROM": (("platform",), _from),
    "HEALTHCHECK": ((*_TIMES, "retries"), _healthcheck),
    "LABEL": ((), _label),
    "MAINTAINER": ((), _value(kinds.Maintainer)),
    "ONBUILD": ((), _onbuild),
    "RUN": (("mount", "network", "security", "device"), _run),
    "SHELL": ((), _shell),
    "STOPSIGNAL": ((), _value(kinds.Stopsignal)),
    "USER": ((), _value(kinds.User)),
    "VOLUME": ((), _volume),
    "WORKDIR": ((), _value(kinds.Workdir)),
}
"""Keyword -> (flags, what reads the rest)."""
