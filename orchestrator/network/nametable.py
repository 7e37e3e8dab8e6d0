"""Who is called what on which network: the names containers find each other by.

A container sees the names on its own networks only.  Names are compared without case.  Pure but
for the shuffling of replicas; changed and read by one thread.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

Memberships = Mapping[str, tuple[Sequence[str], str]]
"""Network -> (the container's names on it, its address on it)."""


class NameTable:
    """The names of one project's containers, and of others on the same networks."""

    def __init__(self) -> None:
        self._addresses: dict[str, dict[str, dict[str, str]]] = {}
        """network -> name -> container -> address"""
        self._containers: dict[str, tuple[str, dict[str, tuple[Sequence[str], str]]]] = {}
        """container -> (its display name, memberships in order of attachment)"""
        self._owners: dict[tuple[str, str], str] = {}
        """(network, address) -> container"""

    def set(self, container: str, networks: Memberships, *, name: str = "") -> None:
        """The container is there, under these names; replaces what was said of it before.  `name`
        is what reverse lookups give (`NAME.NETWORK`); without it the first of its names."""
        self.remove(container)
        self._containers[container] = (name, dict(networks))
        for network, (names, address) in networks.items():
            known = self._addresses.setdefault(network, {})
            for one in names:
                known.setdefault(one.lower(), {})[container] = address
            self._owners[network, address] = container

    def remove(self, container: str) -> None:
        """The container is gone; unknown ones are no error."""
        _, networks = self._containers.pop(container, ("", {}))
        for network, (names, address) in networks.items():
            self._forget(container, network, names)
            if self._owners.get((network, address)) == container:
                del self._owners[network, address]

    def _forget(self, container: str, network: str, names: Sequence[str]) -> None:
        known = self._addresses.get(network, {})
        for one in {n.lower() for n in names}:
            known[one].pop(container, None)
            if not known[one]:
                del known[one]
        if not known:
            self._addresses.pop(network, None)

    def lookup(self, container: str, name: str) -> list[str]:
        """The addresses of `name` as `container` sees it, shuffled: those on the first of its
        networks that knows the name; `NAME.NETWORK` asks one network.  Empty: not known."""
        name = name.lower()
        _, networks = self._containers.get(container, ("", {}))
        for network in networks:
            if found := self._on(network, name):
                return found
        first, _, network = name.rpartition(".")
        while first:
            match = next((n for n in networks if n.lower() == network), None)
            if match is not None:
                return self._on(match, first)
            first, _, more = first.rpartition(".")
            network = f"{more}.{network}"
        return []

    def _on(self, network: str, name: str) -> list[str]:
        found = list({*self._addresses.get(network, {}).get(name, {}).values()})
        random.shuffle(found)
        return found

    def reverse(self, container: str, address: str) -> str | None:
        """`NAME.NETWORK` of the container at `address` on a network of `container`."""
        _, networks = self._containers.get(container, ("", {}))
        for network in networks:
            owner = self._owners.get((network, address))
            if owner is not None:
                name, memberships = self._containers[owner]
                names = memberships[network][0]
                shown = name or (names[0] if names else owner[:12])
                return f"{shown}.{network}"
        return None
