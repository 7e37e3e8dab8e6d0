"""`features`: what this runtime knows, in the words of features.md (runtime-spec 1.3).

Says what the runtime can do, not what this machine has; touches nothing and needs no rights.
"""

from __future__ import annotations

from orchestrator.linux import caps
from orchestrator.runtime import seccomp_json
from orchestrator.runtime.oci import config, filters, mountoptions, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def features() -> dict[str, Any]:
    """The document, ready to be printed."""
    flags = sorted(filters.FLAGS)
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": config.SPECIFICATION,
        "hooks": list(config.HOOKS),
        "mountOptions": list(mountoptions.NAMES),
        "linux": {
            "namespaces": sorted(config.NAMESPACES),
            "capabilities": list(caps.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True,
                       "rdma": True},
            "seccomp": {
                "enabled": True, "actions": sorted(seccomp_json.ACTIONS),
                "operators": sorted(seccomp_json.OPERATORS), "archs": list(filters.ARCHITECTURES),
                "knownFlags": flags, "supportedFlags": flags,
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "memoryPolicy": {"modes": list(process.MEMORY_MODES),
                             "flags": list(process.MEMORY_FLAGS)},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": [],
    }  # fmt: skip
