"""Which devices a cgroup may use: rules assembled to an eBPF program of type CGROUP_DEVICE.

Cgroup version 2 has no devices controller; instead the kernel asks a program attached to the group
at each open and mknod (bpf(2), linux/bpf.h).  It also works on the version 2 tree of a hybrid
hierarchy.  Rules are those of the version 1 controller (Documentation/admin-guide/cgroup-v1/
devices.rst), `c 1:3 rwm`.  Imported by the keeper.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from orchestrator.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Rule = tuple[str, int | None, int | None, str]
    """(type: a, b or c; major, minor: None is any; some of r, w, m)"""
    Code = list[tuple[int, int, int, int]]

_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7
_TYPES = {"b": 1, "c": 2}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI = 2
_LOG_SIZE = 1 << 16

# Instructions (linux/bpf.h): code, destination | source << 4, offset, immediate value.
_LOAD_WORD, _AND, _SHIFT_RIGHT, _COPY, _SET, _JUMP, _UNLESS, _EXIT = (
    0x61, 0x54, 0x74, 0xBC, 0xB7, 0x05, 0x55, 0x95)  # fmt: skip
_RESULT, _CONTEXT, _KIND, _WANTED, _MAJOR, _MINOR, _REST = range(7)


def parse_rule(text: str) -> Rule:
    """`c 188:* rwm`, `a *:* rwm` or `a`; ValueError where it is none."""
    words = text.split()
    if words == ["a"]:
        return ("a", None, None, "rwm")
    if len(words) != 3:
        raise ValueError(f"{text!r} is not a device rule such as 'c 188:* rwm'")
    kind, numbers, access = words
    major, colon, minor = numbers.partition(":")
    if kind not in ("a", "b", "c"):
        raise ValueError(f"{text!r}: the type of a device is a, b or c, not {kind!r}")
    if not access or set(access) - set("rwm") or not colon:
        raise ValueError(f"{text!r} is not a device rule such as 'c 188:* rwm'")
    return (kind, _number(major, text), _number(minor, text), access)


def _number(word: str, text: str) -> int | None:
    if word == "*":
        return None
    if not (word.isascii() and word.isdigit()) or int(word) > 0xFFFF_FFFF:
        raise ValueError(f"{text!r}: {word!r} is not the number of a device, nor *")
    return int(word)


def rule_text(rule: Rule) -> str:
    """The rule as a version 1 controller reads it."""
    kind, major, minor, access = rule
    numbers = ("*" if number is None else str(number) for number in (major, minor))
    return f"{kind} {':'.join(numbers)} {access}"


def program(rules: Sequence[tuple[bool, Rule]]) -> bytes:
    """Of (allowed, rule): the last rule that fits decides, and what no rule fits is refused.  An
    allowance fits if it covers all that is asked for, a refusal if it has any of it."""
    code: Code = [
        (_LOAD_WORD, _KIND | _CONTEXT << 4, 0, 0),  # access << 16 | type
        (_COPY, _WANTED | _KIND << 4, 0, 0),
        (_SHIFT_RIGHT, _WANTED, 0, 16),
        (_AND, _KIND, 0, 0xFFFF),
        (_LOAD_WORD, _MAJOR | _CONTEXT << 4, 4, 0),
        (_LOAD_WORD, _MINOR | _CONTEXT << 4, 8, 0),
    ]
    for allowed, rule in reversed(rules):
        code += _section(rule, allowed=allowed)
        if _is_of_all(rule):
            break  # the verifier takes no code that nothing leads to
    else:
        code += [(_SET, _RESULT, 0, 0), (_EXIT, 0, 0, 0)]
    return b"".join(struct.pack("=BBhi", *each) for each in code)


def _is_of_all(rule: Rule) -> bool:
    kind, major, minor, access = rule
    return kind == "a" and major is minor is None and set(access) == set(_ACCESS)


def _section(rule: Rule, *, allowed: bool) -> Code:
    """One rule: its tests leave the section where it does not fit."""
    kind, major, minor, access = rule
    bits = sum(_ACCESS[letter] for letter in set(access))
    tests: Code = [] if kind == "a" else [(_UNLESS, _KIND, 0, _TYPES[kind])]
    if allowed and bits != _ALL:
        tests += [(_COPY, _REST | _WANTED << 4, 0, 0), (_AND, _REST, 0, _ALL & ~bits),
                  (_UNLESS, _REST, 0, 0)]  # fmt: skip
    tests += [(_UNLESS, register, 0, _signed(number))
              for register, number in ((_MAJOR, major), (_MINOR, minor)) if number is not None]
    end: Code = [(_SET, _RESULT, 0, int(allowed)), (_EXIT, 0, 0, 0)]
    if not allowed and bits != _ALL:  # leave it also where nothing of it is asked for
        end = [(_COPY, _REST | _WANTED << 4, 0, 0), (_AND, _REST, 0, bits), (_UNLESS, _REST, 1, 0),
               (_JUMP, 0, len(end), 0), *end]  # fmt: skip
    last = len(tests) - 1 + len(end)
    return [(code, registers, last - place if code == _UNLESS else 0, value)
            for place, (code, registers, _, value) in enumerate(tests)] + end  # fmt: skip


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


def attach(path: str, code: bytes) -> None:
    """Load the program and attach it to the version 2 group at `path`, whose life it shares."""
    loaded = _load(code)
    try:
        group = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            attributes = struct.pack("=IIII", group, loaded, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
            syscalls.bpf(_PROG_ATTACH, attributes)
        finally:
            os.close(group)
    finally:
        os.close(loaded)


def _load(code: bytes) -> int:
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(_LOG_SIZE)
    pointers = [ctypes.addressof(each) for each in (instructions, licence, log)]
    attributes = struct.pack("=IIQQIIQ", _TYPE_CGROUP_DEVICE, len(code) // 8, *pointers[:2],
                             1, _LOG_SIZE, pointers[2])  # fmt: skip
    try:
        return syscalls.bpf(_PROG_LOAD, attributes)
    except OSError as exc:
        if exc.errno == errno.EACCES:  # the verifier
            raise OSError(exc.errno, log.value.decode("ascii", "replace")[-200:]) from exc
        raise
