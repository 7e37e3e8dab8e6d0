"""Redirects: the published ports of a project on the kernel's way, all in one transaction.

The sockets of `network.ports` stay bound behind the rules: they hold the ports, serve the loopback
addresses, which no packet leaves, and everything where the kernel's way is closed: no nf_tables, or
somebody else's rules that drop what is forwarded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import lowlevel

from orchestrator.linux import nftables
from orchestrator.linux.nftables import Redirect
from orchestrator.supervisor import faults

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.network.ports import Bound
    from orchestrator.runtime.spec import ContainerSpec
    from orchestrator.supervisor.project import Project

_LONGEST_NAME = 100


class Redirects:
    """The rules of one project."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._wanted: dict[str, list[Redirect]] = {}
        """container -> its redirects"""
        self._is_due = False
        self._told = ""

    def put(self, spec: ContainerSpec, bound: Sequence[Bound]) -> None:
        """The container serves from now on."""
        self._wanted[spec.id] = list(_redirects(spec, bound))
        self.renew()

    def remove(self, id_: str) -> None:
        """The container has ended."""
        if self._wanted.pop(id_, None) is not None:
            self.renew()

    def renew(self) -> None:
        """Put the rules in place, soon: those of all that start or end at this moment together."""
        if not self._is_due:
            self._is_due = True
            self._project.group.start_soon(self._renew_soon)

    async def _renew_soon(self) -> None:
        await lowlevel.checkpoint()
        self._is_due = False
        wanted = [each for redirects in self._wanted.values() for each in redirects]
        try:
            stranger = nftables.foreign_forward_drop() if wanted else None
            nftables.set_ports(f"p.{self._project.name[:_LONGEST_NAME]}",
                               [] if stranger else wanted)
        except OSError as exc:
            self._tell(f"nf_tables: {exc.strerror}" if wanted else "")
        else:
            self._tell(f"table {stranger} drops what is forwarded" if stranger else "")

    def _tell(self, reason: str) -> None:
        if reason and reason != self._told:
            faults.note(f"published ports go through a proxy: {reason}")
        self._told = reason


def _redirects(spec: ContainerSpec, bound: Iterable[Bound]) -> Iterable[Redirect]:
    """Those that have a way to the container in their own family."""
    way = next((e for e in spec.endpoints if e.gateway is not None), None)
    way6 = next((e for e in spec.endpoints if e.gateway6 is not None), None)
    for one in bound:
        is_ipv6 = ":" in one.host_ip
        end = way6 if is_ipv6 else way
        if end is None or one.host_ip.startswith("127.") or one.host_ip == "::1":
            continue
        yield Redirect(
            protocol=one.protocol, published=one.published, target=one.target,
            host_ip="" if one.host_ip in ("0.0.0.0", "::") else one.host_ip,
            address=end.address6 if is_ipv6 else end.address,
        )  # fmt: skip
