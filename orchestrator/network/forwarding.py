"""Whether the kernel forwards packets: turned on when it is needed, and back when it is not.

What was changed is kept in a file, a line `PATH VALUE` for each: a crash restores what is so
already.
"""

from __future__ import annotations

import os

from orchestrator.errors import NetworkError

_IPV4 = "/proc/sys/net/ipv4/ip_forward"
_IPV6 = "/proc/sys/net/ipv6/conf"


def enable(marker_path: str, *, ipv6: bool = False) -> None:
    """Let the kernel forward IPv4 packets, and with `ipv6` those too.  NetworkError where that is
    not allowed."""
    wanted = [(_IPV4, "1"), *(_for_ipv6() if ipv6 else ())]
    try:
        missing = [(path, value) for path, value in wanted if _read(path) != value]
        if not missing:
            return
        os.makedirs(os.path.dirname(marker_path) or ".", exist_ok=True)
        known = _marked(marker_path)
        changed = {path: _read(path) for path, _ in missing} | known
        # The marker first: a crash in between then restores what is so already.
        _write(marker_path, "".join(f"{path} {value}\n" for path, value in changed.items()))
        for path, value in missing:
            _write(path, f"{value}\n")
    except OSError as exc:
        family = "IPv6" if ipv6 else "IPv4"
        name = "net.ipv6.conf.all.forwarding" if ipv6 else "net.ipv4.ip_forward"
        raise NetworkError(
            f"cannot enable {family} forwarding: {exc.strerror}", hint=f"set {name}=1"
        ) from exc


def _for_ipv6() -> list[tuple[str, str]]:
    """A machine that forwards no longer learns its own default route from advertisements, unless
    its interfaces are told to (`accept_ra` 2, Documentation/networking/ip-sysctl.rst)."""
    if _read(f"{_IPV6}/all/forwarding") == "1":
        return []
    listening = [
        (f"{_IPV6}/{name}/accept_ra", "2") for name in sorted(os.listdir(_IPV6))
        if name not in ("all", "default", "lo") and _read(f"{_IPV6}/{name}/accept_ra") == "1"
    ]  # fmt: skip
    return [*listening, (f"{_IPV6}/all/forwarding", "1")]


def restore(marker_path: str) -> None:
    """Put back what `enable` changed; to be called when the last network is gone."""
    try:
        if not os.path.exists(marker_path):
            return
        for path, value in reversed(_marked(marker_path).items()):
            if os.path.exists(path):  # an interface may have gone
                _write(path, f"{value}\n")
        os.unlink(marker_path)
    except OSError as exc:
        raise NetworkError(f"cannot restore forwarding: {exc.strerror}") from exc


def _marked(marker_path: str) -> dict[str, str]:
    try:
        lines = _read(marker_path).splitlines()
    except FileNotFoundError:
        return {}
    pairs = [line.partition(" ") for line in lines]
    return {path: value for path, _, value in pairs if path.startswith("/proc/sys/net/")}


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
