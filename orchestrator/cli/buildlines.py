"""Progress of builds as lines: `#3 [web build 2/5] RUN make`, `#3 CACHED`, `#3 its output`.

The form is that of BuildKit's plain progress, which people and their scripts know.
"""

from __future__ import annotations

from orchestrator.cli import terminal
from orchestrator.events import BuildOutput, BuildStep


class BuildLines:
    """Numbers the steps as they appear."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def lines(self, event: BuildStep | BuildOutput) -> list[str]:
        """What to print for an event."""
        key = (event.build, event.step)
        is_new = key not in self._numbers
        number = self._numbers.setdefault(key, len(self._numbers) + 1)
        found = [f"#{number} [{event.build} {event.step[1:]}"] if is_new else []
        if isinstance(event, BuildOutput):
            found += [f"#{number} {line}" for line in event.text.split("\n")]
        elif event.status == "Cached":
            found.append(f"#{number} CACHED")
        elif event.status == "Done":
            found.append(f"#{number} DONE {event.details}")
        elif event.details:
            found.append(f"#{number} not in the cache: {event.details}")
        return [terminal.visible(line) for line in found]
