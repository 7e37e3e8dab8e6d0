"""The step that runs a program of the host on a container's file system before it becomes the root:
a createContainer hook of the OCI runtime specification, as device vendors' files ask for.

The program gets the state of the container on its standard input, and a bundle whose config.json
says where the root is.  Imported by the keeper.
"""

from __future__ import annotations

import errno
import os

from orchestrator.linux import jsontext
from orchestrator.runtime.steps import Child, Step

_VERSION = "1.2.0"


class RunHook(Step):
    """One program; `environment` are KEY=VALUE words."""

    __slots__ = ("args", "bundle", "container", "environment", "path", "timeout")
    path: str
    args: list[str]
    environment: list[str]
    timeout: float | None
    bundle: str
    container: str

    def execute(self, child: Child) -> None:
        from orchestrator.runtime.oci import faults, hooks

        os.makedirs(self.bundle, mode=0o700, exist_ok=True)
        config = {"ociVersion": _VERSION, "root": {"path": child.root}}
        with open(f"{self.bundle}/config.json", "w", encoding="utf-8") as file:
            file.write(jsontext.encode(config))
        state = {"ociVersion": _VERSION, "id": self.container, "status": "creating",
                 "pid": int(os.readlink("/proc/self")), "bundle": self.bundle}
        hook = {"path": self.path, "args": self.args, "env": self.environment,
                "timeout": self.timeout}
        try:
            hooks.run(hook, state, kind="createContainer")
        except faults.OciError as exc:
            raise OSError(errno.EIO, str(exc)) from exc

    def describe(self) -> str:
        return f"hook {self.path}"
