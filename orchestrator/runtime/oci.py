"""`pcompose-oci`: the OCI runtime command line over this runtime.

So far it says who it is and what it can do (`--version`, `features`); the verbs that drive a
container from a bundle are refused by name, so that no engine takes it for a whole runtime.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from orchestrator import __version__
from orchestrator.linux import caps

VERBS = ("create", "start", "state", "kill", "delete", "run", "exec", "list", "ps", "pause",
         "resume", "update", "spec")  # fmt: skip
_SPECIFICATION = "1.2.0"


def features() -> dict[str, Any]:  # JSON has no narrower type
    """What holds of this runtime, in the words of runtime-spec's features.md."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": _SPECIFICATION,
        "hooks": [],
        "mountOptions": ["ro", "rprivate", "private", "rslave", "slave", "rbind", "bind"],
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "uts"],
            "capabilities": list(caps.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False,
                       "rdma": False},
            "seccomp": {"enabled": True},
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
        },
        "potentiallyUnsafeConfigAnnotations": [],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0, or 1 with one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    match words:
        case ["--version" | "-v"]:
            sys.stdout.write(f"pcompose-oci version {__version__}\nspec: {_SPECIFICATION}\n")
            return 0
        case ["features"]:
            sys.stdout.write(json.dumps(features(), indent=2) + "\n")
            return 0
    verb = next((word for word in words if not word.startswith("-")), "")
    known = "is not supported yet" if verb in VERBS else "is no command of an OCI runtime"
    sys.stderr.write(f"pcompose-oci: {verb!r} {known}; there are: --version, features\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
