"""The build checks that look at the instructions of one stage, one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from orchestrator.build import instructions as kinds
from orchestrator.build import words
from orchestrator.build.fault import Place, near
from orchestrator.build.instructions import Instruction
from orchestrator.dataclass import dataclass, field, replace

_SECRET = re.compile(r"(?:^|_)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)"
                     r"(?:_|$)", re.IGNORECASE)  # fmt: skip
_NO_SECRET = re.compile(r"(?:^|_)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_ONCE = (kinds.Cmd, kinds.Entrypoint, kinds.Healthcheck)
"""Of several in a stage, only the last counts."""


class Finding(NamedTuple):
    """One remark."""

    place: Place
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.rule}: {self.text}"


@dataclass(slots=True, kw_only=True)
class Seen:
    """What a stage has so far."""

    variables: set[str] | None
    """Names that have a value or were declared; None: the base image's are not known."""
    has_shell: bool = False
    """SHELL was said: who does that wants the shell form."""
    has_directory: bool = False
    last: dict[type[Instruction], Place] = field(default_factory=dict)
    """Where the instructions of _ONCE were."""

    def child(self) -> Seen:
        """The beginning of a stage that is built on this one."""
        variables = None if self.variables is None else set(self.variables)
        return replace(self, variables=variables, last={})


def check(instructions: Iterable[Instruction], seen: Seen, *, escape: str) -> Iterator[Finding]:
    """The findings in a stage; `seen` is what it has at its end afterwards."""
    for made in instructions:
        yield from _variables(made, seen, escape)
        yield from _form(made, seen)
        yield from _secrets(made)
        yield from _once(made, seen)
        _note(made, seen)


def meant(name: str, known: Iterable[str]) -> str:
    """` (did you mean …?)`, or nothing."""
    hint = near(name, known)
    return f" ({hint})" if hint else ""


def _note(made: Instruction, seen: Seen) -> None:
    names = []
    if isinstance(made, kinds.Arg | kinds.Env):
        names = [name for name, _ in made.items]
    if seen.variables is not None:
        seen.variables.update(names)
    seen.has_shell |= isinstance(made, kinds.Shell)
    seen.has_directory |= isinstance(made, kinds.Workdir)
    if isinstance(made, _ONCE):
        seen.last[type(made)] = made.place


# ---- the rules ----


def _variables(made: Instruction, seen: Seen, escape: str) -> Iterator[Finding]:
    if seen.variables is None:
        return
    found = [name for text in _expanded(made)
             for name in words.unset(text, seen.variables, escape=escape)]  # fmt: skip
    for doc in made.inline if isinstance(made, kinds.Copying) else ():
        if doc.is_expanded:
            found += words.unset(doc.content, seen.variables, has_quotes=False)
    for name in dict.fromkeys(found):
        yield Finding(made.place, "UndefinedVar",
                      f"${name} has no value here{meant(name, seen.variables)}")


def _expanded(made: Instruction) -> list[str]:
    """The texts of an instruction that variables are put into."""
    match made:
        case kinds.Copying():
            return [*made.sources, made.target, made.chown, made.chmod, *made.exclude]
        case kinds.Pairs():
            return [text for pair in made.items for text in pair]
        case kinds.Arg():
            return [default for _, default in made.items if default is not None]
        case kinds.Volume() | kinds.Expose():
            return list(made.items)
        case kinds.Workdir() | kinds.User() | kinds.Stopsignal():
            return [made.value]
        case kinds.Run():
            return [value for mount in made.mounts for _, value in mount.items]
    return []


def _form(made: Instruction, seen: Seen) -> Iterator[Finding]:
    if isinstance(made, kinds.Cmd | kinds.Entrypoint) and made.is_shell and not seen.has_shell:
        yield Finding(made.place, "JSONArgsRecommended", f"{made.keyword} as a JSON array would get"
                      " signals itself; now a shell does")  # fmt: skip
    if isinstance(made, kinds.Pairs) and made.is_old_form:
        yield Finding(made.place, "LegacyKeyValueFormat",
                      f"`{made.keyword} name=value` says the same more clearly")
    if isinstance(made, kinds.Workdir) and not seen.has_directory and made.value[:1] not in "/$":
        yield Finding(made.place, "WorkdirRelativePath",
                      f"where `{made.value}` is depends on the base image")
    for port in made.items if isinstance(made, kinds.Expose) else ():
        protocol = port.partition("/")[2]
        if protocol != protocol.lower() and "$" not in protocol:
            yield Finding(made.place, "ExposeProtoCasing", f"`{port}`: protocols have no capitals")


def _secrets(made: Instruction) -> Iterator[Finding]:
    if not isinstance(made, kinds.Arg | kinds.Env):
        return
    for name, _ in made.items:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            yield Finding(made.place, "SecretsUsedInArgOrEnv", f"what {made.keyword} {name} has "
                          "stays in the image; RUN --mount=type=secret does not")


def _once(made: Instruction, seen: Seen) -> Iterator[Finding]:
    before = seen.last.get(type(made))
    if before is not None:
        yield Finding(before, "MultipleInstructionsDisallowed",
                      f"another {made.keyword} follows in line {made.place.line}: this one does "
                      "nothing")  # fmt: skip
