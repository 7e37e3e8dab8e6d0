"""Profiles in the form of Docker and of the OCI runtime specification, read and run."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.linux import caps, seccomp, syscall_table
from orchestrator.runtime.seccomp_json import read_filter
from tests.linux.test_seccomp import ALLOW, ARCHES, EPERM, run

PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
    ],
    "syscalls": [
        {"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 0x10, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
         "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
        {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"name": "getcwd", "action": "SCMP_ACT_ERRNO", "errnoRet": 22},
        {"names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS"},
    ],
}


def answer(
    name: str, *arguments: int, machine: str = "x86_64", capabilities: int = 0,
    kernel: tuple[int, int] = (6, 1), profile: Any = None, of: str = "x86_64",
) -> int:  # fmt: skip
    made = read_filter(PROFILE if profile is None else profile, machine=of,
                       capabilities=capabilities, kernel=kernel)  # fmt: skip
    number = syscall_table.numbers(machine)[name]
    return run(seccomp.program(made), number, *arguments, arch=ARCHES[machine])[0]


def test_names_actions_and_errors_are_those_of_the_profile() -> None:
    assert answer("read") == ALLOW
    assert answer("open") == EPERM
    assert answer("getcwd") == 0x50000 | 22
    assert answer("kill") == 0x80000000


def test_includes_and_excludes_depend_on_capabilities_architecture_and_kernel() -> None:
    admin = caps.mask_of(["CAP_SYS_ADMIN"])
    assert (answer("mount"), answer("mount", capabilities=admin)) == (EPERM, ALLOW)
    assert (answer("clone"), answer("clone", 0x10), answer("clone", capabilities=admin)) == (
        ALLOW, EPERM, EPERM)  # fmt: skip
    assert answer("arch_prctl") == ALLOW
    assert answer("ptrace", machine="aarch64", of="aarch64") == ALLOW
    assert answer("ptrace", kernel=(4, 7)) == EPERM


def test_a_32_bit_program_runs_only_where_the_profile_names_its_architecture() -> None:
    assert answer("read", machine="i386") == ALLOW
    oci = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]}
    assert answer("read", profile=oci) == ALLOW
    assert answer("read", machine="i386", profile=oci) == 0x80000000


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ([], "the profile is not a mapping"),
        ({}, "unknown defaultAction None"),
        ({"defaultAction": "SCMP_ACT_ALOW"}, "unknown defaultAction 'SCMP_ACT_ALOW'"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}, "has no meaning"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}, "syscalls is not a list"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [3]}, r"syscalls\[0\] is not a mapping"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_LOG"}]},
         r"syscalls\[0\] names no system call"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"op": "EQ"}]}]},
         r"syscalls\[0\]\.args\[0\]: unknown operator 'EQ'"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_LOG",
             "args": [{"op": "SCMP_CMP_EQ", "index": 6}]}]}, "index 6 is not a number"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}, "not a number from 0"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_LOG", "includes": {"minKernel": "new"}}]},
         "no version"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(profile: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_filter(profile, machine="x86_64", capabilities=0, kernel=(6, 1))
