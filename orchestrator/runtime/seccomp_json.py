"""Seccomp profiles in JSON -> `linux.seccomp.Filter`: the form of the OCI runtime specification
(config-linux.md, "Seccomp") and that of Docker and Podman, which adds archMap, includes and
excludes.

Pure: data in, a filter out; everything wrong in the profile is a ValueError that says where.
"""

from __future__ import annotations

import errno

from orchestrator.linux import caps, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Json = Any  # what a profile holds is looked at piece by piece

ACTIONS = {
    "SCMP_ACT_ALLOW": seccomp.ALLOW, "SCMP_ACT_LOG": seccomp.LOG, "SCMP_ACT_TRACE": seccomp.TRACE,
    "SCMP_ACT_NOTIFY": seccomp.NOTIFY, "SCMP_ACT_ERRNO": seccomp.ERRNO,
    "SCMP_ACT_TRAP": seccomp.TRAP, "SCMP_ACT_KILL": seccomp.KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": seccomp.KILL_THREAD, "SCMP_ACT_KILL_PROCESS": seccomp.KILL_PROCESS,
}  # fmt: skip
OPERATORS = {
    "SCMP_CMP_NE": "ne", "SCMP_CMP_LT": "lt", "SCMP_CMP_LE": "le", "SCMP_CMP_EQ": "eq",
    "SCMP_CMP_GE": "ge", "SCMP_CMP_GT": "gt", "SCMP_CMP_MASKED_EQ": "masked_eq",
}  # fmt: skip
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_X86": "i386", "SCMP_ARCH_AARCH64": "aarch64",
}  # fmt: skip
"""Those we have tables of; x32 is answered as unknown, whoever lists it."""
_GO_NAMES = {"x86_64": ("amd64",), "i386": ("x86", "386"), "aarch64": ("arm64",)}
"""What includes.arches calls them."""
_WITH_DATA = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_MOST_ERRNO = 4095


def read_filter(
    profile: Json, *, machine: str, capabilities: int, kernel: tuple[int, int]
) -> seccomp.Filter:
    """The filter of a profile for this machine, these capabilities (a mask) and this kernel.
    ValueError where the profile is wrong, OSError with ENOTSUP for a machine without a table."""
    top = _mapping(profile, "the profile")
    default = _action(top, "defaultAction", "defaultErrnoRet", "the profile")
    own = seccomp.own_architectures(machine)
    rules = []
    for number, entry in enumerate(_list(top, "syscalls", "the profile")):
        where = f"syscalls[{number}]"
        rule = _mapping(entry, where)
        if _applies(rule, where, machine=machine, capabilities=capabilities, kernel=kernel):
            rules += _rules(rule, where)
    # As runc: a call newer than the profile is unknown, not forbidden, where errors are the default
    unknown = seccomp.UNKNOWN if default & 0xFFFF_0000 == seccomp.ERRNO else default
    return seccomp.Filter(default=default, rules=rules, unknown=unknown,
                          architectures=_architectures(top, own))  # fmt: skip


def _architectures(top: Mapping[str, Json], own: Sequence[str]) -> tuple[str, ...]:
    """Of those the machine runs, the ones the profile names; its own always."""
    named = {str(name) for name in _list(top, "architectures", "the profile")}
    for entry in _list(top, "archMap", "the profile"):
        one = _mapping(entry, "archMap")
        if ARCHITECTURES.get(str(one.get("architecture"))) == own[0]:
            named |= {str(name) for name in _list(one, "subArchitectures", "archMap")}
    wanted = {ARCHITECTURES.get(name) for name in named}
    return tuple(name for name in own if name == own[0] or name in wanted)


def _rules(rule: Mapping[str, Json], where: str) -> list[seccomp.Rule]:
    """One, or as runc has it one per condition where several look at the same argument."""
    names = [str(name) for name in _list(rule, "names", where)]
    if rule.get("name"):
        names.append(str(rule["name"]))
    if not names:
        raise ValueError(f"{where} names no system call")
    action = _action(rule, "action", "errnoRet", where)
    conditions = [
        _condition(_mapping(entry, f"{where}.args[{number}]"), f"{where}.args[{number}]")
        for number, entry in enumerate(_list(rule, "args", where))
    ]
    if len({index for index, *_ in conditions}) < len(conditions):
        return [(names, action, [condition]) for condition in conditions]
    return [(names, action, conditions)]


def _condition(entry: Mapping[str, Json], where: str) -> seccomp.Condition:
    operator = OPERATORS.get(str(entry.get("op")))
    if operator is None:
        raise ValueError(f"{where}: unknown operator {entry.get('op')!r}")
    index = _number(entry, "index", where, most=5)
    return (index, operator, _number(entry, "value", where), _number(entry, "valueTwo", where))


def _action(entry: Mapping[str, Json], key: str, data_key: str, where: str) -> int:
    name = str(entry.get(key))
    if name not in ACTIONS:
        raise ValueError(f"{where}: unknown {key} {entry.get(key)!r}")
    data = entry.get(data_key)
    if name not in _WITH_DATA:
        if data:
            raise ValueError(f"{where}: {data_key} has no meaning with {name}")
        return ACTIONS[name]
    if data is None:
        return ACTIONS[name] | errno.EPERM
    return ACTIONS[name] | _number(entry, data_key, where, most=_MOST_ERRNO)


def _applies(
    rule: Mapping[str, Json], where: str, *, machine: str, capabilities: int,
    kernel: tuple[int, int],
) -> bool:  # fmt: skip
    """Docker's `includes` (all must hold) and `excludes` (none may)."""
    includes = _mapping(rule.get("includes") or {}, f"{where}.includes")
    excludes = _mapping(rule.get("excludes") or {}, f"{where}.excludes")
    held = {name for name in caps.NAMES if capabilities & caps.mask_of((name,))}
    ours = _GO_NAMES.get(machine, ())
    included, excluded = (
        [{str(word) for word in _list(side, key, where)} for key in ("caps", "arches")]
        for side in (includes, excludes)
    )
    if not included[0] <= held or (included[1] and not included[1].intersection(ours)):
        return False
    if kernel < _version(includes.get("minKernel"), where):
        return False
    if excluded[0] & held or excluded[1].intersection(ours):
        return False
    return not excludes.get("minKernel") or kernel < _version(excludes["minKernel"], where)


def _version(text: Json, where: str) -> tuple[int, int]:
    if not text:
        return (0, 0)
    major, _, minor = str(text).partition(".")
    if not (major.isdigit() and minor.isdigit()):
        raise ValueError(f"{where}: minKernel {text!r} is no version such as 4.8")
    return int(major), int(minor)


def _mapping(value: Json, where: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not a mapping")
    return value


def _list(entry: Mapping[str, Json], key: str, where: str) -> list[Json]:
    value = entry.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{where}: {key} is not a list")
    return value


def _number(entry: Mapping[str, Json], key: str, where: str, *, most: int = (1 << 64) - 1) -> int:
    value = entry.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"{where}: {key} {value!r} is not a number from 0 to {most}")
    return value
