"""May the project be carried out?  What does not work yet and what would only fail when the
containers start is refused here, with its place; reading and showing the files needs none of it.
"""

from __future__ import annotations

from orchestrator.dataclass import replace
from orchestrator.spec import check, support
from orchestrator.spec.model import Project
from orchestrator.spec.report import Report


def runnable(project: Project, *, lenient: bool) -> Project:
    """The project, fit to be carried out.  Raises SpecError with every reason against it; if
    `lenient`, keys that do not work yet are warnings of the project instead."""
    if project.tree is None:
        return project
    report = Report(project.reading_dir)
    support.check(project.tree, report)
    found: tuple[str, ...] = ()
    if lenient:
        found = tuple(": ".join(filter(None, problem[:2])) for problem in report.problems)
        report.problems.clear()
    check.check_start(project, project.tree, report)
    report.check()
    return replace(project, warnings=(*project.warnings, *found)) if found else project
