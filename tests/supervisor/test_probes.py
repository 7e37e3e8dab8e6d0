"""Probes that the time is over for."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, cast

import anyio

from orchestrator.supervisor import probes

if TYPE_CHECKING:
    from orchestrator.supervisor.link import Conversation


class Slow:
    """A keeper that begins with the probe only when nobody waits for its result any more."""

    def __init__(self, probe: subprocess.Popen[bytes]) -> None:
        self._probe = probe
        self._is_late = False
        self._has_begun = False

    async def next(self) -> tuple[dict[str, Any], list[int]]:
        try:
            if not self._is_late:
                await anyio.sleep_forever()
        finally:
            self._is_late = True
        if not self._has_begun:
            self._has_begun = True
            return {"event": "exec_started", "pid": self._probe.pid}, []
        code = await anyio.to_thread.run_sync(self._probe.wait)
        return {"event": "exec_exited", "exit_code": code, "output": "said"}, []


def test_a_probe_that_begins_when_its_time_is_over_is_killed_and_counts() -> None:
    with subprocess.Popen(["sleep", "777"], start_new_session=True) as probe:
        found = anyio.run(probes._result, cast("Conversation", Slow(probe)), 0.05)
    assert found == (-1, "Health check exceeded timeout (0.05s)\nsaid")
    assert probe.returncode == -9
