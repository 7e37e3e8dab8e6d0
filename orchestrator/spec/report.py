"""Report: gathers what is wrong with the files, so that all of it is told at once.

Knows how a place is written for the reader; does not decide what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import SpecError
from orchestrator.spec.node import Node

if TYPE_CHECKING:
    from orchestrator.spec.provenance import Trace

Problem = tuple[str, str, str | None]
"""(where, message, hint)"""

_MORE = " more problems"
AT_MOST = 20
"""Problems told at once; more than that hides the first one."""


class Report:
    """Problems and warnings of one load; files are named relative to `root`."""

    def __init__(self, root: str, *, trace: Trace | None = None) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.unset: dict[str, Node] = {}
        """Variables that a template asks for and that have no value, with the first such place."""
        self.trace = trace
        self._aside: list[Problem] = []

    def place(self, node: Node | None) -> str:
        """`compose.yaml:14:5`, or nothing for a value nobody wrote."""
        if node is None or not node.line:
            return ""
        return f"{self.shown(node.file)}:{node.line}:{node.column}"

    def shown(self, file: str) -> str:
        """The file's name as the reader knows it."""
        return "<stdin>" if file == "-" else file.removeprefix(self.root.rstrip("/") + "/")

    def add(self, node: Node | None, message: str, *, hint: str | None = None) -> None:
        problem = (self.place(node), message, hint)
        if problem not in self.problems[-AT_MOST:]:
            self.problems.append(problem)

    def take(self, error: SpecError) -> None:
        """The problems of an error that stopped one part, so that others can be looked at."""
        for problem in error.problems:
            if problem not in self.problems and not problem[1].endswith(_MORE):
                self.problems.append(problem)

    def warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)

    def set_aside(self) -> None:
        """The problems so far do not stop the load here: `check` and `finish` tell them."""
        self._aside += self.problems
        self.problems.clear()

    def finish(self) -> None:
        """Raises SpecError with all problems, those set aside too, in the order of their places."""
        self.problems, self._aside = list(dict.fromkeys((*self._aside, *self.problems))), []
        self.check()

    def check(self) -> None:
        """The same, where there are any that are not set aside."""
        if self.problems:
            raise self._error()

    def _error(self) -> SpecError:
        """All problems; those set aside are told with it."""
        found = sorted(dict.fromkeys((*self._aside, *self.problems)), key=_position)
        self._aside.clear()
        shown = found[:AT_MOST]
        if len(found) > AT_MOST:
            shown.append(("", f"and {len(found) - AT_MOST}{_MORE}", None))
        return SpecError("", problems=tuple(shown))

    def joined(self, error: SpecError) -> SpecError:
        """An error that stopped everything, with the problems set aside before it."""
        if not self._aside:
            return error
        self.problems = []
        self.take(error)
        return self._error()


def _position(problem: Problem) -> tuple[str, int, int]:
    file, *numbers = problem[0].rsplit(":", 2)
    line, column = ([int(n) if n.isdecimal() else 0 for n in numbers] + [0, 0])[:2]
    return file, line, column
