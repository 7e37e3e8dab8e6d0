"""Warm: a fork server whose forks are supervisors, for a process that starts many of them.

`python -m orchestrator.supervisor.warm HOLDER PADDING`, its socket at descriptor 3; started by
`starting.keep_warm`.  Their keepers are forks too, of a process that has a keeper's few imports.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import NoReturn

from orchestrator.linux import forkserver
from orchestrator.runtime.keeper_client import start_forks
from orchestrator.supervisor.main import Options, supervise

_SOCKET = 3
_USED = ("orchestrator.supervisor.supervise", "encodings.ascii", "shutil")
"""What every supervisor imports sooner or later."""


def main(arguments: list[str]) -> NoReturn:
    """Serve until the holder ends or lets go."""
    if os.fork():
        os._exit(0)  # the holder has no child for life
    forkserver.close_others(_SOCKET + 1)
    forkserver.show_command_line([*sys.orig_argv[:3], arguments[0]])
    keepers = start_forks()
    _import_all()

    def become(argv: list[str]) -> None:
        supervise(Options(argv[3:]), forks=keepers)

    forkserver.serve(_SOCKET, become, holder=int(arguments[0]))
    keepers.close(wait=True)
    os._exit(0)


def _import_all() -> None:
    import anyio

    for name in _USED:
        import_module(name)
    anyio.run(anyio.sleep, 0)  # it imports its backend as it begins
    _ = anyio.open_signal_receiver  # and others when they are asked for


if __name__ == "__main__":
    main(sys.argv[1:])
