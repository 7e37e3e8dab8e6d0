"""config.json of runtime-spec 1.3 for Linux: read, checked, given back as plain data.

What a value means is said where it is used; here only what it may be (config.md, config-linux.md).
Properties of other platforms and unknown ones are dropped, as the specification asks.
"""

from __future__ import annotations

import os

from orchestrator.linux import jsontext
from orchestrator.runtime.oci.faults import OciError, words_of
from orchestrator.runtime.oci.shapes import Number, Table, Word, check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Config = dict[str, Any]  # JSON has no narrower type; its shape is SHAPE

LARGEST = 16 << 20
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
SPECIFICATION = "1.3.0"

_ID = Number(0, 0xFFFF_FFFE)
_U16, _U32, _U64 = (Number(0, (1 << bits) - 1) for bits in (16, 32, 64))
_S32, _S64 = (Number(-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (32, 64))
_MAPPINGS = [{"containerID!": _U32, "hostID!": _U32, "size!": Number(1, 0xFFFF_FFFF)}]
_ACTIONS = Word(*(f"SCMP_ACT_{name}" for name in (
    "KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG", "NOTIFY")))

_PROCESS = {
    "terminal": bool,
    "consoleSize": {"height!": _U16, "width!": _U16},
    "user": {"uid": _ID, "gid": _ID, "umask": Number(0, 0o777), "additionalGids": [_ID]},
    "args": [str],
    "env": [str],
    "cwd!": str,
    "capabilities": {name: [str] for name in CAPABILITY_SETS},
    "rlimits": [{"type!": str, "hard!": _U64, "soft!": _U64}],
    "noNewPrivileges": bool,
    "apparmorProfile": str,
    "oomScoreAdj": Number(-1000, 1000),
    "selinuxLabel": str,
    "scheduler": {
        "policy!": str, "nice": Number(-20, 19), "priority": Number(0, 99), "flags": [str],
        "runtime": _U64, "deadline": _U64, "period": _U64,
    },
    "ioPriority": {
        "class!": Word("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"),
        "priority": Number(0, 7),
    },
    "execCPUAffinity": {"initial": str, "final": str},
}  # fmt: skip

_BLOCK_RATE = [{"major!": _S64, "minor!": _S64, "rate!": _U64}]
RESOURCES = {
    "devices": [{"allow!": bool, "type": Word("a", "c", "b", "u"), "major": _S64, "minor": _S64,
                 "access": str}],
    "memory": {"limit": _S64, "reservation": _S64, "swap": _S64, "kernel": _S64, "kernelTCP": _S64,
               "swappiness": Number(0, 100), "disableOOMKiller": bool, "useHierarchy": bool,
               "checkBeforeUpdate": bool},
    "cpu": {"shares": _U64, "quota": _S64, "burst": _U64, "period": _U64, "realtimeRuntime": _S64,
            "realtimePeriod": _U64, "cpus": str, "mems": str, "idle": Number(0, 1)},
    "pids": {"limit!": _S64},
    "blockIO": {
        "weight": _U16, "leafWeight": _U16,
        "weightDevice": [{"major!": _S64, "minor!": _S64, "weight": _U16, "leafWeight": _U16}],
        "throttleReadBpsDevice": _BLOCK_RATE, "throttleWriteBpsDevice": _BLOCK_RATE,
        "throttleReadIOPSDevice": _BLOCK_RATE, "throttleWriteIOPSDevice": _BLOCK_RATE,
    },
    "hugepageLimits": [{"pageSize!": str, "limit!": _U64}],
    "network": {"classID": _U32, "priorities": [{"name!": str, "priority!": _U32}]},
    "rdma": Table({"hcaHandles": _U32, "hcaObjects": _U32}),
    "unified": Table(str),
}  # fmt: skip

_SECCOMP = {
    "defaultAction!": _ACTIONS, "defaultErrnoRet": _U16, "architectures": [str], "flags": [str],
    "listenerPath": str, "listenerMetadata": str,
    "syscalls": [{
        "names!": [str], "action!": _ACTIONS, "errnoRet": _U16,
        "args": [{"index!": Number(0, 5), "value!": _U64, "valueTwo": _U64, "op!": str}],
    }],
}  # fmt: skip

_LINUX = {
    "namespaces": [{"type!": Word(*NAMESPACES), "path": str}],
    "uidMappings": _MAPPINGS,
    "gidMappings": _MAPPINGS,
    "timeOffsets": Table({"secs": _S64, "nanosecs": _U32}),
    "devices": [{"type!": Word("c", "b", "u", "p"), "path!": str, "major": _S64, "minor": _S64,
                 "fileMode": Number(0, 0o7777), "uid": _ID, "gid": _ID}],
    "netDevices": Table({"name": str}),
    "cgroupsPath": str,
    "resources": RESOURCES,
    "rootfsPropagation": Word(
        "", *(f"{r}{kind}" for r in ("", "r") for kind in (
            "shared", "slave", "private", "unbindable"))),
    "seccomp": _SECCOMP,
    "sysctl": Table(str),
    "maskedPaths": [str],
    "readonlyPaths": [str],
    "mountLabel": str,
    "personality": {"domain!": Word("LINUX", "LINUX32"), "flags": [str]},
    "intelRdt": Table(object),
    "memoryPolicy": {"mode!": str, "nodes": str, "flags": [str]},
}  # fmt: skip

SHAPE = {
    "ociVersion!": str,
    "root!": {"path!": str, "readonly": bool},
    "process": _PROCESS,
    "hostname": str,
    "domainname": str,
    "mounts": [{"destination!": str, "source": str, "type": str, "options": [str],
                "uidMappings": _MAPPINGS, "gidMappings": _MAPPINGS}],
    "hooks": {name: [{"path!": str, "args": [str], "env": [str],
                      "timeout": Number(1, 1 << 31)}] for name in HOOKS},
    "annotations": Table(str),
    "linux": _LINUX,
}  # fmt: skip


def read(bundle: str) -> Config:
    """The bundle's config.json, checked; OciError where it is not as it must be."""
    return checked(read_json(os.path.join(bundle, "config.json")))


def read_json(path: str) -> Any:
    """One JSON document from a regular file of reasonable size."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as exc:
        raise OciError(f"cannot read {words_of(exc)}") from exc
    if len(data) > LARGEST:
        raise OciError(f"{path} is larger than {LARGEST} bytes")
    try:
        return jsontext.decode(data)
    except ValueError as exc:
        raise OciError(f"{path} is not JSON: {exc}") from exc


def checked(document: Any) -> Config:
    """The document without nulls and unknown keys, valid on its own (nothing was looked up)."""
    config: Config = check(document, SHAPE, "config: ")
    _check_version(config["ociVersion"])
    config.setdefault("linux", {})
    config.setdefault("annotations", {})
    if "process" in config:
        check_process(config["process"])
    for index, mount in enumerate(config.get("mounts", ())):
        if not mount["destination"]:
            raise OciError(f"config: mounts[{index}].destination is empty")
    for name, hooks in config.get("hooks", {}).items():
        for hook in hooks:
            if not hook["path"].startswith("/"):
                raise OciError(f"config: hooks.{name}: path {hook['path']!r} is not absolute")
    return config


def check_process(process: dict[str, Any]) -> None:
    """What a shape cannot say of `process`; OciError."""
    if not process["cwd"].startswith("/"):
        raise OciError(f"config: process.cwd {process['cwd']!r} is not an absolute path")
    if not process.get("args") or not process["args"][0]:
        raise OciError("config: process.args is empty")
    kinds = [limit["type"] for limit in process.get("rlimits", ())]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise OciError(f"config: process.rlimits has {kind} twice")
    for limit in process.get("rlimits", ()):
        if limit["soft"] > limit["hard"]:
            raise OciError(f"config: process.rlimits: {limit['type']} is soft above its hard limit")


def process_of(document: Any) -> dict[str, Any]:
    """A process.json of `exec --process`, checked."""
    process: dict[str, Any] = check(document, _PROCESS, "process: ")
    check_process(process)
    return process


def resources_of(document: Any) -> dict[str, Any]:
    """The document of `update --resources`, checked."""
    resources: dict[str, Any] = check(document, RESOURCES, "resources: ")
    return resources


def _check_version(text: str) -> None:
    """Semantic version, of whose major 1 we are; pre-releases (`1.0.2-dev`) are in use."""
    numbers = text.partition("-")[0].partition("+")[0].split(".")
    good = len(numbers) == 3 and all(part.isascii() and part.isdigit() for part in numbers)
    if not good:
        raise OciError(f"config: ociVersion {text!r} is not a version")
    if int(numbers[0]) != 1:
        raise OciError(f"config: ociVersion {text} is not supported (1.0.0 to {SPECIFICATION} are)")
