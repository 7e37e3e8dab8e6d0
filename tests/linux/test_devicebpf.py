"""Device rules as eBPF: by rules (run by a small interpreter) and in the kernel."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.linux import cgroupfs, devicebpf
from tests.linux.forked import in_child

NUMBERS = st.integers(0, 3)
RULES = st.tuples(
    st.sampled_from("abc"), st.none() | NUMBERS, st.none() | NUMBERS,
    st.sets(st.sampled_from("rwm"), min_size=1).map(lambda letters: "".join(sorted(letters))),
)  # fmt: skip
BITS = {"m": 1, "r": 2, "w": 4}


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> int:
    context = [sum(BITS[a] for a in access) << 16 | {"b": 1, "c": 2}[kind], major, minor]
    registers = [0] * 11
    code = list(struct.iter_unpack("=BBhi", program))
    position = 0
    while True:
        operation, operands, offset, value = code[position]
        target, source = operands & 15, operands >> 4
        position += 1
        match operation:
            case 0x61:
                registers[target] = context[offset // 4]
            case 0xBC:
                registers[target] = registers[source]
            case 0x54:
                registers[target] &= value
            case 0x74:
                registers[target] >>= value
            case 0xB7:
                registers[target] = value
            case 0x05:
                position += offset
            case 0x55:
                position += offset if registers[target] != value else 0
            case 0x95:
                return registers[0]


@given(
    st.lists(st.tuples(st.booleans(), RULES), max_size=6), st.sampled_from("bc"), NUMBERS, NUMBERS,
    st.sets(st.sampled_from("rwm"), min_size=1),
)  # fmt: skip
def test_the_last_rule_that_fits_decides(
    rules: list[tuple[bool, devicebpf.Rule]], kind: str, major: int, minor: int, access: set[str]
) -> None:
    expected = 0
    for allowed, (of, its_major, its_minor, letters) in rules:
        same = of in ("a", kind) and its_major in (None, major) and its_minor in (None, minor)
        if same and (access <= set(letters) if allowed else access & set(letters)):
            expected = int(allowed)
    assert run(devicebpf.program(rules), kind, major, minor, "".join(access)) == expected


@pytest.mark.parametrize("text", ["c 188:* rwm", "b 8:0 r", "a *:* rwm", "c *:3 wm"])
def test_a_rule_is_read_and_written(text: str) -> None:
    assert devicebpf.rule_text(devicebpf.parse_rule(text)) == text


@pytest.mark.parametrize("text", ["", "c", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 rx", "c 1:-3 r",
                                  "c 1:4294967296 r", "c 1:3 r w", "c x:3 r"])  # fmt: skip
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="device"):
        devicebpf.parse_rule(text)


@pytest.mark.kernel
def test_the_kernel_obeys_the_program(tmp_path: Path) -> None:
    place = cgroupfs.Hierarchy.detect().unified
    if place is None:
        pytest.skip("no cgroup version 2 here")
    group = f"{place}/pcompose-test-{os.getpid()}"
    os.mkdir(group)
    null, zero = (1, 3), (1, 5)
    code = devicebpf.program([
        (True, ("a", None, None, "rwm")), (False, ("a", None, None, "rwm")),
        (True, ("c", None, None, "m")), (True, ("c", *null, "rwm")), (True, ("c", *zero, "r"))])

    def attempt(path: str, flags: int) -> str:
        try:
            os.close(os.open(path, flags))
        except OSError as exc:
            return errno.errorcode[exc.errno or 0]
        return "ok"

    def work() -> list[str]:
        devicebpf.attach(group, code)
        cgroupfs.write(group, "cgroup.procs", "0")
        os.mknod(tmp_path / "node", 0o20666, os.makedev(1, 8))
        return [attempt("/dev/null", os.O_RDWR), attempt("/dev/zero", os.O_RDONLY),
                attempt("/dev/zero", os.O_RDWR), attempt(str(tmp_path / "node"), os.O_RDONLY)]

    try:
        assert in_child(work) == ["ok", "ok", "EPERM", "EPERM"]
    finally:
        cgroupfs.remove({"": group})
