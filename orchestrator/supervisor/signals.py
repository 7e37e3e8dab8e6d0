"""Names and numbers of signals, without the `signal` module's classes."""

from __future__ import annotations

from orchestrator.errors import UsageError

HUP, INT, KILL, TERM = 1, 2, 9, 15
_HIGHEST = 64

_NAMES = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
)
"""signal(7), x86 and ARM: the first is 1."""
_NUMBERS = {name: number for number, name in enumerate(_NAMES, start=1)} | {"POLL": 29, "IOT": 6}


def number(name: str | int) -> int:
    """The number of `SIGTERM`, `term`, `15`, `SIGRTMIN+3` or `RTMAX-1`; UsageError."""
    text = str(name).strip().upper().removeprefix("SIG")
    if text.isascii() and text.isdigit():
        found = int(text)
    elif text.startswith("RT"):
        found = _real_time(text)
    else:
        found = _NUMBERS.get(text, 0)
    if not 0 < found <= _HIGHEST:
        raise UsageError(f"no signal is called {name!r}", hint="try SIGTERM, SIGKILL or a number")
    return found


def _real_time(text: str) -> int:
    for word, start in (("RTMIN", 34), ("RTMAX", 64)):  # as glibc counts them
        rest = text.removeprefix(word)
        if rest != text:
            return start + (int(rest) if rest and rest.lstrip("+-").isdigit() else 0)
    return 0
