"""Jobs on their way: what the supervisor says is heard when it is said."""

from __future__ import annotations

import json
import os
import socket
import time

from orchestrator import events
from orchestrator.engine.submit import Submission
from orchestrator.linux.fds import Channel
from orchestrator.supervisor.client import ControlClient


def test_events_that_come_together_are_all_told_before_the_next_wait() -> None:
    ours, theirs = socket.socketpair()
    told: list[events.Event] = []
    lock = os.open(os.devnull, os.O_RDONLY)
    try:
        submission = Submission(ControlClient(Channel(ours)), [], lock=lock, sink=told.append)
        said = [events.Warned(message="one"), events.Warned(message="two")]
        theirs.sendall("".join(json.dumps(events.to_json(e)) + "\n" for e in said).encode())
        assert submission.wait(deadline=time.monotonic() + 0.2) is False
        assert told == said
        theirs.sendall(b'{"event": "Warned", "message": "three"}\n{"result": {}}\n')
        assert submission.wait(deadline=time.monotonic() + 30) is True
        submission.close()
    finally:
        os.close(lock)
        theirs.close()
