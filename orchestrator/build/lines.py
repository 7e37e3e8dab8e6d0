"""The lines of a Dockerfile: directives, comments, continuations, here-documents.

Owns the lexical rules of BuildKit's parser; knows which instructions may have a here-document and
nothing else of them.  Pure: text in, logical lines with their places out.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from orchestrator.build import words
from orchestrator.build.fault import Place, fault
from orchestrator.dataclass import dataclass, replace

WITH_HEREDOC = ("RUN", "COPY", "ADD")
_DIRECTIVE = re.compile(r"#[ \t]*([a-zA-Z][a-zA-Z0-9]*)[ \t]*=[ \t]*(.+?)[ \t]*")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]+)")
_WHITE = " \t\r\v\f"
LARGEST = 1 << 20
"""Characters; more is no Dockerfile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """`<<EOF` and what follows it."""

    name: str
    content: str = ""
    """As written, with all newlines."""
    is_expanded: bool
    """The name was not quoted: variables in it are put in."""
    strips_tabs: bool
    """`<<-EOF`."""

    def text(self) -> str:
        """The content as it is meant."""
        if not self.strips_tabs:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One instruction's text, continuation lines joined."""

    text: str
    file: str
    starts: tuple[tuple[int, int, int], ...]
    """(offset in the text, line, column) of each piece, ascending."""
    heredocs: tuple[Heredoc, ...] = ()

    def place(self, offset: int = 0) -> Place:
        """Where the character at `offset` was written."""
        number = bisect_right(self.starts, offset, key=lambda piece: piece[0]) - 1
        start, line, column = self.starts[max(number, 0)]
        return Place(file=self.file, line=line, column=column + offset - start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A file taken apart."""

    directives: dict[str, str]
    escape: str
    lines: tuple[Line, ...]
    empty_continuations: tuple[Place, ...] = ()
    """Empty lines within instructions, which are read as if they were not there."""


def read(text: str, *, file: str) -> Lines:
    """The logical lines of a Dockerfile.  BuildError with line and column."""
    if len(text) > LARGEST:
        raise fault(Place(file=file, line=1, column=1),
                    f"this is no Dockerfile: it has {len(text)} characters")
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        raise fault(Place(file=file, line=line, column=nul - text.rfind("\n", 0, nul)),
                    "a Dockerfile has no NUL characters")
    return _Reader(text.removeprefix("\ufeff"), file).read()


class _Reader:
    """Goes over the physical lines once."""

    def __init__(self, text: str, file: str) -> None:
        self._raw = text.split("\n")
        if self._raw and not self._raw[-1]:
            self._raw.pop()
        self._file = file
        self._next = 0
        self._directives: dict[str, str] = {}
        self._escape = "\\"
        self._empty: list[Place] = []

    def read(self) -> Lines:
        self._read_directives()
        found: list[Line] = []
        while self._next < len(self._raw):
            line = self._logical()
            if line is not None:
                found.append(self._with_heredocs(line))
        return Lines(directives=self._directives, escape=self._escape, lines=tuple(found),
                     empty_continuations=tuple(self._empty))

    # ---- directives ----

    def _read_directives(self) -> None:
        """At the very top only: any other line, a plain comment too, ends them."""
        for number, line in enumerate(self._raw):
            found = _DIRECTIVE.fullmatch(line.strip(_WHITE))
            name = found[1].lower() if found else ""
            if found is None or name not in _DIRECTIVES:
                return
            place = Place(file=self._file, line=number + 1, column=line.index("#") + 1)
            if name in self._directives:
                raise fault(place, f"the directive `{name}` is there twice")
            self._directives[name] = found[2]
            if name == "escape":
                self._set_escape(found[2], place)

    def _set_escape(self, value: str, place: Place) -> None:
        if value not in ("\\", "`"):
            raise fault(place, f"`{value}` cannot be the escape character",
                        hint="it is \\ or `")
        self._escape = value

    # ---- logical lines ----

    def _logical(self) -> Line | None:
        """The next instruction with its continuations; None for an empty line or a comment."""
        parts: list[str] = []
        starts: list[tuple[int, int, int]] = []
        offset, goes_on = 0, True
        while goes_on and self._next < len(self._raw):
            raw = self._raw[self._next]
            self._next += 1
            stripped = raw.strip(_WHITE)
            if not stripped or stripped.startswith("#"):
                if not parts:
                    return None
                if not stripped:
                    self._empty.append(Place(file=self._file, line=self._next, column=1))
                continue  # comments and empty lines do not end an instruction
            text = raw.rstrip("\r") if parts else raw.lstrip(_WHITE).rstrip("\r")
            column = len(raw) - len(raw.lstrip(_WHITE)) + 1 if not parts else 1
            text, goes_on = self._without_continuation(text)
            starts.append((offset, self._next, column))
            parts.append(text)
            offset += len(text)
        joined = "".join(parts)
        if not joined.strip():
            return None
        return Line(text=joined.rstrip(_WHITE), file=self._file, starts=tuple(starts))

    def _without_continuation(self, text: str) -> tuple[str, bool]:
        """An escape at the end, white space after it not counted, joins the next line; escaped
        itself it does not."""
        body = text.rstrip(" \t")
        if not body.endswith(self._escape) or body.endswith(self._escape * 2):
            return text, False
        return body[:-1], True

    # ---- here-documents ----

    def _with_heredocs(self, line: Line) -> Line:
        marks = heredoc_marks(line.text)
        if not marks:
            return line
        found = [self._filled(line, mark) for mark in marks]
        return Line(text=line.text, file=line.file, starts=line.starts, heredocs=tuple(found))

    def _filled(self, line: Line, mark: Heredoc) -> Heredoc:
        begun = self._next
        for number in range(begun, len(self._raw)):
            raw = self._raw[number]
            end = raw.rstrip("\r").lstrip("\t") if mark.strips_tabs else raw.rstrip("\r")
            if end == mark.name:
                self._next = number + 1
                content = "".join(f"{text}\n" for text in self._raw[begun:number])
                return replace(mark, content=content)
        offset = max(line.text.find("<<"), 0)
        raise fault(line.place(offset),
                    f"the here-document is not ended: no line is just `{mark.name}`")


def heredoc_marks(text: str) -> list[Heredoc]:
    """Each `<<NAME` of an instruction that may have some, still without content."""
    if "<<" not in text or not _may_have(text):
        return []
    try:
        found = words.read_words(text, words.Reading(
            variables={}, keep_quotes=True, keep_escapes=True, keep_unset=True))
    except ValueError:
        return []  # an open quote: whoever reads the instruction says so
    return [mark for word in found if (mark := parse_mark(word)) is not None]


def _may_have(text: str) -> bool:
    found = [word.text for word in words.split(text)]
    if found and found[0].upper() == "ONBUILD":
        del found[0]
    if not found or found[0].upper() not in WITH_HEREDOC:
        return False
    first = next((word for word in found[1:] if not word.startswith("--")), "")
    return not first.startswith("[")


def parse_mark(word: str) -> Heredoc | None:
    """What is meant by `<<NAME`, `<<-NAME`, `<<"NAME"`; None where the word is none."""
    found = _HEREDOC.fullmatch(word)
    if found is None or found[1] not in ("", "0"):
        return None
    try:
        plain, quoted = (
            words.read_words(found[3], words.Reading(
                variables={}, keep_quotes=keep, keep_escapes=keep, keep_unset=True))
            for keep in (False, True)
        )  # fmt: skip
    except ValueError:
        return None  # an open quote: in JSON form just a name of a file
    if len(plain) != 1 or "\n" in plain[0]:
        return None
    return Heredoc(name=plain[0], is_expanded=plain == quoted, strips_tabs=bool(found[2]))
