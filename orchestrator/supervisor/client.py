"""ControlClient: a command's end of `control.sock`, with a supervisor at the other.

Synchronous and quick to import: no anyio, no asyncio.  Knows the protocol, not what the supervisor
does with it.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from orchestrator import events
from orchestrator.errors import SupervisorError, from_json
from orchestrator.linux import fds
from orchestrator.linux.waiting import ready
from orchestrator.supervisor import starting
from orchestrator.supervisor.protocol import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.events import Sink
    from orchestrator.state.layout import Layout


class ControlClient:
    """One connection, one request."""

    def __init__(self, channel: fds.Channel) -> None:
        self._channel = channel

    def fileno(self) -> int:
        """For `select`: readable when a message or the end is there."""
        return self._channel.fileno()

    def request(self, method: str, *, fds: Sequence[int] = (), **params: Any) -> None:
        """Send the request; SupervisorError when the supervisor is gone."""
        self.send({"v": VERSION, "method": method, **params}, fds=fds)

    def send(self, message: dict[str, Any], *, fds: Sequence[int] = ()) -> None:
        """A message of a running request, such as {"signal": "SIGINT"}."""
        try:
            self._channel.send(message, fds)
        except OSError as exc:
            raise SupervisorError(f"the supervisor went away: {exc.strerror}") from exc

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """The next answer and its descriptors, which are the caller's; an error answer is raised,
        the end of the connection is SupervisorError."""
        try:
            received = self._channel.receive()
        except (OSError, ValueError) as exc:
            raise SupervisorError(f"the supervisor went away: {exc}") from exc
        if received is None:
            raise SupervisorError(
                "the supervisor went away before it had answered",
                hint="run the command again; supervisor.log in the run directory may say why",
            )
        message, descriptors = received
        if "error" in message:
            for fd in descriptors:
                os.close(fd)
            raise from_json(message["error"])
        return message, descriptors

    def pending(self) -> list[tuple[dict[str, Any], list[int]]]:
        """What has arrived, without waiting, error answers included; SupervisorError at the end of
        the connection.  For those who poll several sources."""
        try:
            return self._channel.pending()
        except EOFError:
            return [self.receive()]  # says what the end of the connection means
        except (OSError, ValueError) as exc:
            raise SupervisorError(f"the supervisor went away: {exc}") from exc

    def answers(self, sink: Sink) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """Answers up to and with the result; events go to `sink` and are not yielded."""
        while True:
            message, descriptors = self.receive()
            if "event" in message:
                sink(events.from_json(message))
                continue
            yield message, descriptors
            if "result" in message:
                return

    def result(self, sink: Sink = events.ignore) -> dict[str, Any]:
        """The result, after all events; raises the error the supervisor answered with."""
        for message, descriptors in self.answers(sink):
            for fd in descriptors:
                os.close(fd)
            if "result" in message:
                return dict(message["result"])
        raise AssertionError("answers() ends with a result or raises")

    def close(self) -> None:
        """End the connection: cancels what has not begun."""
        self._channel.close()

    def finish(self, *, timeout: float = 5.0) -> None:
        """Close, and where nothing is left to keep, wait until the supervisor has ended with all
        its files."""
        import socket

        sock = socket.socket(fileno=os.dup(self._channel.fileno()))
        try:
            sock.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + timeout
            while ready([sock], timeout=max(deadline - time.monotonic(), 0))[0]:
                if not sock.recv(4096):
                    break
        except OSError:
            pass  # it is gone: that is what was waited for
        finally:
            sock.close()
            self.close()


def connect(layout: Layout, project: str, *, timeout: float = 10.0) -> ControlClient | None:
    """A connection to the running supervisor, None where there is none or where it is about to
    end.  SupervisorError when one is there and does not answer."""
    try:
        channel = fds.Channel(fds.connect(layout.control_socket(project)))
    except OSError:
        return None
    try:
        if _is_greeted(channel, timeout=timeout):
            return ControlClient(channel)
    except (OSError, ValueError):
        pass
    except SupervisorError:
        channel.close()
        raise
    channel.close()
    return None


def _is_greeted(channel: fds.Channel, *, timeout: float) -> bool:
    """Whether the supervisor has accepted us; it serves everybody it has accepted."""
    if not ready([channel], timeout=timeout)[0]:
        raise SupervisorError("the supervisor does not answer", hint="is it stopped?")
    greeting = channel.receive()
    return greeting is not None and "hello" in greeting[0]


def open_client(layout: Layout, project: str, *, timeout: float = 10.0) -> ControlClient:
    """A connection, with a supervisor started if none answers.  SupervisorError when it does not
    come up."""
    deadline = time.monotonic() + timeout
    while True:
        client = connect(layout, project)
        if client is not None:
            return client
        if time.monotonic() > deadline:
            raise SupervisorError(
                f"the supervisor of project {project} does not answer",
                hint=f"see {layout.supervisor_log(project)}",
            )
        if not starting.start(layout, project).wait(max(deadline - time.monotonic(), 0)):
            time.sleep(0.01)  # another one held the lock: it begins to listen, or ends, soon
