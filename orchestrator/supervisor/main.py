"""The supervisor of one project: `python -m orchestrator.supervisor.main --project P --data D
--run R [--ready FD]`.

Begins (lock, keeper, adoption, socket) and ends: by itself once nothing runs, nothing is about to
and nobody is connected; by SIGTERM at any time, without touching a container.  FD becomes readable
with one byte when the socket listens, and without when there is another supervisor.
"""

from __future__ import annotations

import _thread
import os
import resource
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from orchestrator.linux import fds, forkserver
from orchestrator.state.layout import Layout
from orchestrator.supervisor.starting import supervisor_argv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.linux.fds import Channel
    from orchestrator.linux.forkserver import ForkServer


class Options:
    """The command line."""

    def __init__(self, arguments: Sequence[str]) -> None:
        pairs = dict(zip(arguments[::2], arguments[1::2], strict=True))
        self.project = pairs.pop("--project")
        self.layout = Layout(os.path.abspath(pairs.pop("--data")),
                             os.path.abspath(pairs.pop("--run")))
        self.ready = int(pairs.pop("--ready", "-1"))
        if pairs:
            raise ValueError(f"unknown: {' '.join(pairs)}")


class KeeperStart:
    """The keeper comes up, on another core, while this process imports."""

    def __init__(self, options: Options, forks: ForkServer | None) -> None:
        self._options, self._forks = options, forks
        self._nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._done = _thread.allocate_lock()
        self._channel: Channel | None = None
        self._error: Exception | None = None

    def begin(self) -> None:
        self._done.acquire()
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._channel = self.connect()
        except Exception as exc:
            self._error = exc
        finally:
            self._done.release()

    def connect(self) -> Channel:
        """Connect now; blocks.  A keeper that is started gets, and gives to containers, the limit
        of open files that we began with; we ourselves take what may be had: each published port is
        two sockets, each connection through a proxy two more."""
        from orchestrator.runtime.keeper_client import connect_keeper

        layout, project = self._options.layout, self._options.project
        forks, self._forks = self._forks, None
        hard = self._nofile[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, self._nofile)
        try:
            return connect_keeper(
                layout.keeper_socket(project), layout.keeper_lock(project),
                supervisor_argv=supervisor_argv(layout, project),
                log_path=layout.supervisor_log(project), forks=forks,
            )  # fmt: skip
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            if forks is not None:
                forks.close()

    def take(self) -> Channel:
        """What `begin` began, the first time; a new connection from then on."""
        self._done.acquire()
        channel, error, self._channel, self._error = self._channel, self._error, None, None
        self._done.release()
        if error is not None:
            raise error
        return channel or self.connect()


def main(arguments: Sequence[str]) -> NoReturn:
    """Become the supervisor, unless there is one."""
    options = Options(arguments)
    if os.fork():
        os._exit(0)  # whoever started us has no child to wait for
    forkserver.close_others(max(options.ready, 2) + 1)
    supervise(options)


def supervise(options: Options, *, forks: ForkServer | None = None) -> NoReturn:
    """The life of this process from here on; `forks` makes its first keeper."""
    _settle(options)
    lock = fds.lock(options.layout.supervisor_lock(options.project), wait=False)
    if lock is None:
        os._exit(0)
    keeper = KeeperStart(options, forks)
    keeper.begin()
    code = 70
    try:
        code = _serve(options, keeper)
    except BaseException as exc:
        from orchestrator.supervisor import faults

        faults.report(exc, doing="supervising")
    finally:
        os._exit(code)  # nothing is left to tidy: the kernel closes what is open, the lock last


def _settle(options: Options) -> None:
    os.makedirs(options.layout.run_project(options.project), mode=0o700, exist_ok=True)
    os.chdir("/")
    os.umask(0o022)


def _serve(options: Options, keeper: KeeperStart) -> int:
    import anyio

    from orchestrator.supervisor.supervise import Supervisor

    supervisor = Supervisor(options.project, layout=options.layout, connect=keeper.take)
    anyio.run(supervisor.run, options.ready)
    return 0


def entry() -> Any:
    """For `-m`."""
    main(sys.argv[1:])


if __name__ == "__main__":
    entry()
