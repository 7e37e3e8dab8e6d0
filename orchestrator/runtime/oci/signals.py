"""Signal names of signal(7) as people and engines write them, without SIG, and their numbers on
Linux (the same on x86_64 and aarch64).  A table: `signal` costs the import of `enum`."""

from __future__ import annotations

from orchestrator.runtime.oci.faults import OciError

_NAMES = """
    HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP
    TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS
"""
NUMBERS = {name: number for number, name in enumerate(_NAMES.split(), 1)}
NUMBERS |= {"IOT": NUMBERS["ABRT"], "CLD": NUMBERS["CHLD"], "POLL": NUMBERS["IO"]}
RTMIN, RTMAX = 34, 64


def signal_number(word: str) -> int:
    """`KILL`, `SIGKILL`, `9`, `RTMIN+3` -> 9; 0 only asks whether it lives.  OciError."""
    name = word.upper().removeprefix("SIG")
    if name.isascii() and name.isdigit() and int(name) <= RTMAX:
        return int(name)
    for base, start_at, sign, mark in (("RTMIN", RTMIN, 1, "+"), ("RTMAX", RTMAX, -1, "-")):
        if name == base or (name.startswith(base + mark) and name[6:].isdigit()):
            number = start_at + sign * int(name[6:] or 0)
            if RTMIN <= number <= RTMAX:
                return number
    if name not in NUMBERS:
        raise OciError(f"unknown signal {word!r}")
    return NUMBERS[name]
