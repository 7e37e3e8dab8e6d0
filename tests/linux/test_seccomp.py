"""The filter by rules (run by a small interpreter of classic BPF) and in the kernel."""

from __future__ import annotations

import _socket
import ctypes
import errno
import os
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.linux import caps, seccomp, seccomp_default, syscall_table, syscalls
from tests.linux.forked import in_child

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003}
MACHINES = ["aarch64", "x86_64"]
DEFAULT = caps.mask_of(caps.DEFAULT)


def run(program: bytes, number: int, *arguments: int, arch: int) -> tuple[int, int]:
    """(answer, instructions executed) of the program for one call."""
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0,
                       *(argument & (1 << 64) - 1 for argument in (*arguments, *[0] * 6)[:6]))
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = steps = 0
    while True:
        operation, true, false, operand = code[position]
        position, steps = position + 1, steps + 1
        if operation == 0x06:
            return operand, steps
        if operation == 0x20:
            accumulator = struct.unpack_from("=I", data, operand)[0]
        elif operation == 0x54:
            accumulator &= operand
        elif operation == 0x05:
            position += operand
        else:
            holds = {0x15: accumulator == operand, 0x25: accumulator > operand,
                     0x35: accumulator >= operand}[operation]
            position += true if holds else false


def answer(name: str, *arguments: int, machine: str, capabilities: int = DEFAULT) -> int:
    number = syscall_table.numbers(machine)[name]
    of = "x86_64" if machine == "i386" else machine
    program = seccomp_default.default_program(capabilities, machine=of)
    return run(program, number, *arguments, arch=ARCHES[machine])[0]


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_says_of_every_number_what_the_rules_say(machine: str) -> None:
    for mask in (0, DEFAULT, caps.mask_of(caps.NAMES)):
        filter_ = seccomp_default.default_filter(mask, machine=machine)
        program = seccomp.program(filter_)
        for name in filter_.architectures:
            rules = seccomp.answers(filter_, name)
            for number in range(600):
                rule = rules.get(number, [(6, 0, 0, ENOSYS)])
                expected, _ = run(struct.pack("=" + "HBBI" * len(rule), *sum(rule, ())), number,
                                  arch=ARCHES[name])
                assert run(program, number, arch=ARCHES[name])[0] == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_no_call_costs_more_than_a_few_instructions(machine: str) -> None:
    program = seccomp_default.default_program(DEFAULT, machine=machine)
    assert max(run(program, n, arch=ARCHES[machine])[1] for n in range(600)) <= 21
    assert len(program) // 8 < 600


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_another_architecture_is_always_killed(number: int, arch: int) -> None:
    program = seccomp_default.default_program(DEFAULT, machine="x86_64")
    if arch not in (ARCHES["x86_64"], ARCHES["i386"]):
        assert run(program, number, arch=arch)[0] == KILL


@given(st.integers(0x40000000, 2**32 - 1))
def test_x32_calls_are_not_known(number: int) -> None:
    program = seccomp_default.default_program(caps.mask_of(caps.NAMES), machine="x86_64")
    assert run(program, number, arch=ARCHES["x86_64"])[0] == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "capability"),
    [("mount", "SYS_ADMIN"), ("setns", "SYS_ADMIN"), ("unshare", "SYS_ADMIN"),
     ("fsopen", "SYS_ADMIN"), ("open_tree_attr", "SYS_ADMIN"), ("bpf", "BPF"),
     ("bpf", "SYS_ADMIN"), ("perf_event_open", "PERFMON"), ("reboot", "SYS_BOOT"),
     ("init_module", "SYS_MODULE"), ("kcmp", "SYS_PTRACE"),
     ("pidfd_getfd", "SYS_PTRACE"), ("open_by_handle_at", "DAC_READ_SEARCH"),
     ("clock_settime", "SYS_TIME"), ("acct", "SYS_PACCT"), ("syslog", "SYSLOG"),
     ("chroot", "SYS_CHROOT"), ("mbind", "SYS_NICE"), ("vhangup", "SYS_TTY_CONFIG")],
)  # fmt: skip
def test_a_capability_opens_its_calls(name: str, capability: str, machine: str) -> None:
    mask = caps.mask_of([caps.parse_name(capability)])
    assert answer(name, machine=machine, capabilities=0) == EPERM
    assert answer(name, machine=machine, capabilities=mask) == ALLOW


@pytest.mark.parametrize("name", ["keyctl", "io_uring_setup", "userfaultfd", "swapon"])
def test_some_calls_are_never_open(name: str) -> None:
    assert answer(name, machine="x86_64", capabilities=caps.mask_of(caps.NAMES)) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_what_programs_live_by_is_allowed(machine: str) -> None:
    for name in ("read", "execve", "execveat", "futex", "openat2", "statx", "seccomp", "prctl",
                 "capset", "setresuid", "landlock_create_ruleset", "memfd_create", "clock_gettime",
                 "pidfd_open", "close_range", "rseq", "chroot", "mknodat", "setxattr", "ptrace"):
        assert answer(name, machine=machine) == ALLOW, name


def test_programs_of_32_bits_run_under_the_same_rules() -> None:
    for name in ("read", "socketcall", "ipc", "mmap2", "stat64", "clock_gettime64", "waitpid"):
        assert answer(name, machine="i386") == ALLOW, name
    for name in ("mount", "umount", "stime", "keyctl", "vm86", "bpf"):
        assert answer(name, machine="i386") == EPERM, name
    assert answer("clone3", machine="i386") == ENOSYS
    assert answer("clone", 0x10000000, machine="i386") == EPERM


@given(st.integers(0, 2**64 - 1))
def test_clone_makes_no_namespace_without_the_capability(flags: int) -> None:
    spaces = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
    expected = EPERM if any(flags & space for space in spaces) else ALLOW
    assert answer("clone", flags, machine="x86_64") == expected
    everything = caps.mask_of(caps.NAMES)
    assert answer("clone", flags, machine="x86_64", capabilities=everything) == ALLOW


def test_clone3_is_not_there_without_the_capability() -> None:
    assert answer("clone3", machine="x86_64") == ENOSYS
    assert answer("clone3", machine="x86_64", capabilities=1 << 21) == ALLOW


@given(st.integers(0, 2**32 - 1) | st.sampled_from([0, 8, 0x20000, 0x20008, 2**32 - 1]))
def test_a_personality_that_weakens_the_process_is_refused(value: int) -> None:
    expected = ALLOW if value in (0, 8, 0x20000, 0x20008, 2**32 - 1) else EPERM
    assert answer("personality", value, machine="x86_64") == expected


def test_sockets_to_the_hypervisor_are_refused() -> None:
    assert answer("socket", 40, machine="x86_64") == EPERM
    # An int: what is in its upper half is lost on the way.
    assert answer("socket", 40 | 1 << 32, machine="x86_64") == EPERM
    assert answer("socket", 2, machine="x86_64") == ALLOW


@pytest.mark.parametrize(("machine", "header"), [("x86_64", "64"), ("i386", "32")])
def test_the_table_is_that_of_the_headers(machine: str, header: str) -> None:
    path = f"/usr/include/x86_64-linux-gnu/asm/unistd_{header}.h"
    if not os.path.exists(path):
        pytest.skip("no kernel headers here")
    with open(path, encoding="ascii") as file:
        theirs = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", file.read()))
    ours = syscall_table.numbers(machine)
    assert {name: ours.get(name) for name in theirs} == {n: int(v) for n, v in theirs.items()}


def test_the_two_tables_agree_where_numbers_are_common() -> None:
    one, two = (syscall_table.numbers(machine) for machine in MACHINES)
    assert {n: v for n, v in one.items() if v >= 424} == {n: v for n, v in two.items() if v >= 424}
    assert (one["openat"], one["kexec_file_load"], one["wait4"]) == (56, 294, 260)


def test_every_rule_names_a_call_that_exists() -> None:
    known: set[str] = set()
    for machine in ARCHES:
        known |= set(syscall_table.numbers(machine))
    assert set(seccomp_default.ruled()) <= known


numbers = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**32, 2**63])


@given(st.sampled_from(seccomp.OPERATORS), numbers, numbers, numbers, st.integers(0, 5))
def test_a_condition_compares_all_64_bits(
    operator: str, argument: int, value: int, second: int, index: int
) -> None:
    made = seccomp.Filter(default=EPERM, architectures=("x86_64",), rules=[
        (("read",), ALLOW, ((index, operator, value, second),))])  # fmt: skip
    arguments = [0] * 6
    arguments[index] = argument
    holds = {
        "ne": argument != value, "lt": argument < value, "le": argument <= value,
        "eq": argument == value, "ge": argument >= value, "gt": argument > value,
        "masked_eq": argument & value == second, "masked_ne": argument & value != second,
    }[operator]  # fmt: skip
    answered, _ = run(seccomp.program(made), 0, *arguments, arch=ARCHES["x86_64"])
    assert answered == (ALLOW if holds else EPERM)


@given(st.lists(st.tuples(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(seccomp.OPERATORS),
                                             numbers, numbers), max_size=6),
                          st.integers(1, 9)), max_size=5), st.lists(numbers, min_size=6,
                                                                   max_size=6))  # fmt: skip
def test_an_unconditional_rule_decides_else_the_first_that_holds(
    rules: list[tuple[list[tuple[int, str, int, int]], int]], arguments: list[int]
) -> None:
    def holds(index: int, operator: str, value: int, second: int) -> bool:
        one = seccomp.Filter(default=0, architectures=("aarch64",), rules=[
            (("read",), 1, ((index, operator, value, second),))])  # fmt: skip
        number = syscall_table.numbers("aarch64")["read"]
        return run(seccomp.program(one), number, *arguments, arch=ARCHES["aarch64"])[0] == 1

    made = seccomp.Filter(default=99, architectures=("x86_64",), rules=[
        (("write", "read"), action, conditions) for conditions, action in rules])  # fmt: skip
    always = [action for conditions, action in rules if not conditions]
    met = [action for conditions, action in rules if all(holds(*c) for c in conditions)]
    assert run(seccomp.program(made), 0, *arguments, arch=ARCHES["x86_64"])[0] == (
        [*always, *met, 99][0])


def test_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match="no system call table"):
        seccomp_default.default_program(0, machine="vax")


@pytest.mark.kernel
def test_the_kernel_takes_the_filter_and_obeys() -> None:
    def attempt(call: object, *arguments: object) -> str:
        assert callable(call)
        try:
            call(*arguments)
        except OSError as exc:
            return errno.errorcode[exc.errno or 0]
        return "ok"

    def work() -> list[str]:
        syscalls.set_no_new_privs()
        syscalls.seccomp_filter(seccomp_default.default_program(DEFAULT))
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall(435, None, 0)
        clone3 = errno.errorcode[ctypes.get_errno()]
        return [attempt(syscalls.mount, "x", "/", "tmpfs", 0), attempt(syscalls.unshare, 1 << 28),
                attempt(syscalls.clone, syscalls.CLONE_NEWNS), clone3,
                attempt(_socket.socket, 40, 1), attempt(_socket.socket), attempt(os.system, "true")]

    assert in_child(work) == ["EPERM", "EPERM", "EPERM", "ENOSYS", "EPERM", "ok", "ok"]
