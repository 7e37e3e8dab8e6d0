"""`linux.seccomp` of config.json -> a program for `syscalls.seccomp_filter`.

The rules are read by `runtime.seccomp_json`; here is what only an OCI config has: flags, and the
agent that is told of calls.
"""

from __future__ import annotations

import os

from orchestrator.linux import seccomp, syscalls
from orchestrator.runtime import seccomp_json
from orchestrator.runtime.oci.faults import OciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": syscalls.SECCOMP_FILTER_FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": syscalls.SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": syscalls.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": syscalls.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}
_OTHERS = (
    "X32", "ARM", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PPC",
    "PPC64", "PPC64LE", "S390", "S390X", "PARISC", "PARISC64", "RISCV64", "LOONGARCH64", "M68K",
    "SH", "SHEB",
)  # fmt: skip
ARCHITECTURES = (*seccomp_json.ARCHITECTURES, *(f"SCMP_ARCH_{name}" for name in _OTHERS))
"""Those of the specification; of the last ones no program runs here."""


def build(profile: dict[str, Any]) -> tuple[bytes, int]:
    """The program and the flags; OciError where the profile is wrong."""
    for name in profile.get("architectures", ()):
        if name not in ARCHITECTURES:
            raise OciError(f"config: linux.seccomp.architectures: {name!r} is unknown")
    try:
        program = seccomp.program(seccomp_json.read_filter(
            profile, machine=os.uname().machine, capabilities=0, kernel=(0, 0)))
    except (ValueError, OSError) as exc:
        raise OciError(f"config: linux.seccomp: {exc}") from exc
    _check_notify(profile)
    flags = 0
    for name in profile.get("flags", ()):
        if name not in FLAGS:
            raise OciError(f"config: linux.seccomp.flags: {name!r} is unknown")
        flags |= FLAGS[name]
    return program, flags


def notifies(profile: dict[str, Any]) -> bool:
    """Whether an agent is to be told of calls."""
    return any(entry["action"] == "SCMP_ACT_NOTIFY" for entry in profile.get("syscalls", ()))


def _check_notify(profile: dict[str, Any]) -> None:
    if profile["defaultAction"] == "SCMP_ACT_NOTIFY":
        raise OciError("config: linux.seccomp: the default action cannot be SCMP_ACT_NOTIFY")
    if not notifies(profile):
        return
    if not profile.get("listenerPath"):
        raise OciError("config: linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath")
    for entry in profile.get("syscalls", ()):
        told = entry["action"] == "SCMP_ACT_NOTIFY"
        if told and "sendmsg" in entry["names"]:  # with which the agent gets its descriptor
            raise OciError("config: linux.seccomp: SCMP_ACT_NOTIFY cannot be for sendmsg")
