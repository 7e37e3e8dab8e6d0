"""System call filters: rules as data, assembled to classic BPF.

A `Filter` says what is to be done with each call of each architecture; `program` makes of it what
`syscalls.seccomp_filter` loads.  A call its rules do not name gets the default; one the tables do
not know (newer than `syscall_table`) gets `unknown`, so that libraries fall back to an older call.
Knows nothing of containers; the rules of ours are in `seccomp_default`.

The program is one section per architecture, each a binary search over the ranges of numbers with
the same answer, 7 comparisons deep; calls that are allowed without a look at their arguments cost
nothing anyway, since the kernel (5.11) finds out about them when the filter is loaded.
"""

from __future__ import annotations

import errno
import os
import struct

from orchestrator.linux import syscall_table

ALLOW = 0x7FFF_0000
LOG = 0x7FFC_0000
TRACE = 0x7FF0_0000
NOTIFY = 0x7FC0_0000
ERRNO = 0x0005_0000
TRAP = 0x0003_0000
KILL_THREAD = 0
KILL_PROCESS = 0x8000_0000
"""SECCOMP_RET_*; ERRNO and TRACE take 16 bits of data."""

REFUSE = ERRNO | errno.EPERM
UNKNOWN = ERRNO | errno.ENOSYS

ARCHITECTURES = {"x86_64": 0xC000_003E, "i386": 0x4000_0003, "aarch64": 0xC000_00B7}
"""AUDIT_ARCH_* of those `syscall_table` knows."""
OWN = {"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64",)}
"""Machine -> the architectures whose programs it runs."""
_X32_BIT = 0x4000_0000
_MOST = 4096
"""Instructions the kernel takes: BPF_MAXINSNS."""

OPERATORS = ("ne", "lt", "le", "eq", "ge", "gt", "masked_eq", "masked_ne")

# Classic BPF (linux/bpf_common.h), and the offsets in struct seccomp_data.
_LOAD, _JUMP, _EQUAL, _ABOVE, _AT_LEAST, _AND, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x54, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Code = list[tuple[int, int, int, int]]
    """Instructions: operation, jump if true, jump if false, operand."""
    Condition = tuple[int, str, int, int]
    """(argument 0-5, operator, value, second value): the two masked operators compare the argument
    under the mask `value` with the second value; the others ignore it.  Numbers are 64-bit."""
    Rule = tuple[Sequence[str], int, Sequence[Condition]]
    """(names of calls, action, conditions that must all hold)."""


class Filter:
    """What is to be done with each call.

    Of the rules for one call an unconditional one decides alone; else the first whose conditions
    hold, and where none does the default.  A name an architecture does not have is skipped there.
    """

    __slots__ = ("architectures", "default", "rules", "unknown")

    def __init__(
        self, *, default: int, rules: Iterable[Rule], architectures: Sequence[str],
        unknown: int = UNKNOWN,
    ) -> None:
        self.default = default
        self.rules = list(rules)
        self.architectures = architectures
        """Of `ARCHITECTURES`; a call of any other ends the process."""
        self.unknown = unknown


def own_architectures(machine: str = "") -> tuple[str, ...]:
    """Those of this machine; OSError with ENOTSUP where we have no table for it."""
    machine = machine or os.uname().machine
    if machine not in OWN:
        raise OSError(errno.ENOTSUP, "no system call table for this machine", machine)
    return OWN[machine]


def program(filter_: Filter) -> bytes:
    """The filter as an array of struct sock_filter; OSError with E2BIG if it is larger than the
    kernel takes."""
    code: Code = [(_LOAD, 0, 0, _ARCH)]
    for name in filter_.architectures:
        section: Code = [(_LOAD, 0, 0, _NUMBER)]
        if name == "x86_64":
            section += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, filter_.unknown)]
        section += _search(_ranges(answers(filter_, name), filter_.unknown))
        code += [(_EQUAL, 1, 0, ARCHITECTURES[name]), (_JUMP, 0, 0, len(section)), *section]
    code.append((_RETURN, 0, 0, KILL_PROCESS))
    if len(code) > _MOST:
        raise OSError(errno.E2BIG, f"the seccomp filter has {len(code)} instructions")
    return struct.pack("=" + "HBBI" * len(code), *(part for each in code for part in each))


def answers(filter_: Filter, architecture: str) -> dict[int, Code]:
    """What is to be done for each number of the table, as instructions that end in a return."""
    rules: dict[str, list[tuple[int, Sequence[Condition]]]] = {}
    for names, action, conditions in filter_.rules:
        for name in names:
            rules.setdefault(name, []).append((action, conditions))
    default: Code = [(_RETURN, 0, 0, filter_.default)]
    return {
        number: _decide(rules[name], filter_.default) if name in rules else default
        for name, number in syscall_table.numbers(architecture).items()
    }


def _decide(rules: list[tuple[int, Sequence[Condition]]], default: int) -> Code:
    always = next((action for action, conditions in rules if not conditions), None)
    if always is not None:
        return [(_RETURN, 0, 0, always)]
    code: Code = []
    for action, conditions in rules:
        tail: Code = [(_RETURN, 0, 0, action)]
        for condition in reversed(conditions):
            tail = [*_test(condition, len(tail)), *tail]
        code += tail
    return [*code, (_RETURN, 0, 0, default)]


def _test(condition: Condition, rest: int) -> Code:
    """Go on if the condition holds, else over the `rest` instructions after it."""
    index, operator, value, second = condition
    mask = value if operator.startswith("masked") else (1 << 64) - 1
    wanted = second if operator.startswith("masked") else value
    high, low = _halves(_ARGUMENTS + 8 * index, mask)
    above, equal, below = _OUTCOMES[operator]
    met = {True: 0, False: rest}
    last = _compare(low, wanted & 0xFFFF_FFFF, (met[above], met[equal], met[below]))
    if mask >> 32 == wanted >> 32 == 0:
        return last
    over = len(last)
    return _compare(high, wanted >> 32, (met[above] + over, 0, met[below] + over)) + last


_OUTCOMES = {
    "eq": (False, True, False), "ne": (True, False, True), "masked_eq": (False, True, False),
    "masked_ne": (True, False, True), "gt": (True, False, False), "ge": (True, True, False),
    "lt": (False, False, True), "le": (False, True, True),
}  # fmt: skip
"""Whether the condition holds where the argument is above, equal to or below the value."""


def _halves(offset: int, mask: int) -> tuple[Code, Code]:
    """Load the high and the low 32 bits of an argument (little endian), under the mask."""
    def load(at: int, bits: int) -> Code:
        masked: Code = [] if bits == 0xFFFF_FFFF else [(_AND, 0, 0, bits)]
        return [(_LOAD, 0, 0, at), *masked]

    return load(offset + 4, mask >> 32), load(offset, mask & 0xFFFF_FFFF)


def _compare(load: Code, value: int, distances: tuple[int, int, int]) -> Code:
    """Compare what `load` brings and jump from the end of this code over so many instructions where
    it is above, equal to or below the value."""
    above, equal, below = distances
    if above == below:
        return [*load, (_EQUAL, equal, above, value)]
    return [*load, (_ABOVE, above + 1, 0, value), (_EQUAL, equal, below, value)]


def _ranges(answer: dict[int, Code], unknown: int) -> list[tuple[int, Code]]:
    """(first number, what to do) in ascending order; the last one has no end."""
    not_known: Code = [(_RETURN, 0, 0, unknown)]
    ranges: list[tuple[int, Code]] = []
    for number in range(max(answer) + 2):
        code = answer.get(number, not_known)
        if not ranges or ranges[-1][1] != code:
            ranges.append((number, code))
    return ranges


def _search(ranges: list[tuple[int, Code]]) -> Code:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    left, right = _search(ranges[:middle]), _search(ranges[middle:])
    first = ranges[middle][0]
    if len(left) <= 255:
        return [(_AT_LEAST, len(left), 0, first), *left, *right]
    return [(_AT_LEAST, 0, 1, first), (_JUMP, 0, 0, len(left)), *left, *right]
