"""The text of /etc/hosts, /etc/resolv.conf and /etc/hostname of a container; pure.

Formats: hosts(5), resolv.conf(5), hostname(5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

HOST_GATEWAY = "host-gateway"

_LOCAL = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


def hosts_file(
    *, hostname: str, domainname: str = "", addresses: Iterable[str] = (),
    extra_hosts: Iterable[tuple[str, str]] = (), gateway: str | None = None,
) -> str:
    """/etc/hosts: the loopback names, `extra_hosts` as (name, address), then the container's own
    addresses with its names.  `host-gateway` becomes `gateway`; an entry that needs a gateway
    where there is none is left out."""
    lines = list(_LOCAL)
    for name, address in extra_hosts:
        resolved = gateway if address == HOST_GATEWAY else address
        if resolved:
            lines.append((resolved, name))
    names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
    lines += [(address, names) for address in addresses]
    return "".join(f"{address}\t{text}\n" for address, text in lines)


def resolv_conf(
    *, nameservers: Iterable[str], search: Sequence[str] = (), options: Sequence[str] = (),
) -> str:
    """/etc/resolv.conf.  A search list of `.` alone means: none.  `ndots:0` is added unless
    `options` sets ndots, so that a service's name is asked for as it is first."""
    domains = [domain for domain in search if domain != "."]
    chosen = list(options)
    if not any(option.startswith("ndots:") for option in chosen):
        chosen.append("ndots:0")
    lines = [f"nameserver {address}" for address in nameservers]
    lines += [f"search {' '.join(domains)}"] if domains else []
    lines.append(f"options {' '.join(chosen)}")
    return "".join(f"{line}\n" for line in lines)


def hostname_file(hostname: str) -> str:
    """/etc/hostname."""
    return f"{hostname}\n"


def nameservers(text: str) -> list[str]:
    """The addresses of the `nameserver` lines of a resolv.conf, in order."""
    words = (line.split() for line in text.splitlines())
    return [w[1] for w in words if len(w) >= 2 and w[0] == "nameserver"]


def search_domains(text: str) -> list[str]:
    """The search list of a resolv.conf: its last `search` or `domain` line."""
    words = [line.split() for line in text.splitlines()]
    found = [w[1:] for w in words if len(w) >= 2 and w[0] in ("search", "domain")]
    return found[-1] if found else []
