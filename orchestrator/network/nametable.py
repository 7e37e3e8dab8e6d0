"""Who is called what on which network: the names containers find each other by.

A container sees the names on its own networks only, and its own links besides.  Names are compared
without case.  Pure but for the shuffling of replicas; changed and read by one thread.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from orchestrator.dataclass import dataclass, field

Memberships = Mapping[str, tuple[Sequence[str], Sequence[str]]]
"""Network -> (the container's names on it, its addresses on it)."""


@dataclass(slots=True, kw_only=True)
class _Known:
    """What was said of a container."""

    name: str = ""
    """What reverse lookups give."""
    networks: dict[str, tuple[Sequence[str], Sequence[str]]] = field(default_factory=dict)
    """In the order of attachment."""
    links: dict[str, list[str]] = field(default_factory=dict)
    """Alias -> names it stands for, for this container alone."""
    healthy_only: Collection[str] = ()
    """Networks on which it is left out while it is unfit and others are not."""


_NOBODY = _Known()


class Others(Protocol):
    """Who else is on the networks."""

    def addresses(self, network: str, name: str) -> list[str]: ...
    def reverse(self, network: str, address: str) -> str | None: ...


class NameTable:
    """The names of one project's containers, and of `others` on the same networks; `is_fit` tells
    whether a container is as healthy as it should be."""

    def __init__(
        self, others: Others | None = None, *, is_fit: Callable[[str], bool] = bool
    ) -> None:
        self._others, self._is_fit = others, is_fit
        self._addresses: dict[str, dict[str, dict[str, Sequence[str]]]] = {}
        """network -> name -> container -> addresses"""
        self._containers: dict[str, _Known] = {}
        self._owners: dict[tuple[str, str], str] = {}
        """(network, address) -> container"""

    def set(
        self, container: str, networks: Memberships, *, name: str = "",
        links: Sequence[tuple[str, str]] = (), healthy_only: Collection[str] = (),
    ) -> None:  # fmt: skip
        """The container is there, under these names; replaces what was said of it before.  `name`
        is what reverse lookups give (`NAME.NETWORK`); without it the first of its names.  `links`
        are (alias, name): what this container alone may call others.  On networks that are
        `healthy_only` it has its names while it is fit, or nobody of that name is."""
        self.remove(container)
        known = self._containers[container] = _Known(
            name=name, networks=dict(networks), healthy_only=healthy_only,
        )  # fmt: skip
        for alias, target in links:
            known.links.setdefault(alias.lower(), []).append(target.lower())
        for network, (names, addresses) in networks.items():
            table = self._addresses.setdefault(network, {})
            for one in names:
                table.setdefault(one.lower(), {})[container] = addresses
            for address in addresses:
                self._owners[network, address] = container

    def remove(self, container: str) -> None:
        """The container is gone; unknown ones are no error."""
        known = self._containers.pop(container, _NOBODY)
        for network, (names, addresses) in known.networks.items():
            self._forget(container, network, names)
            for address in addresses:
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
        """The addresses, of both families, of `name` as `container` sees it, shuffled: those on the
        first of its networks that knows the name; `NAME.NETWORK` asks one network; an alias of a
        link stands for another name.  Empty: not known."""
        name = name.lower()
        known = self._containers.get(container, _NOBODY)
        for target in known.links.get(name, ()):
            if found := self._seen(known, target):
                return found
        return self._seen(known, name)

    def _seen(self, known: _Known, name: str) -> list[str]:
        for network in known.networks:
            if found := self._on(network, name):
                return found
        first, _, network = name.rpartition(".")
        while first:
            match = next((n for n in known.networks if n.lower() == network), None)
            if match is not None:
                return self._on(match, first)
            first, _, more = first.rpartition(".")
            network = f"{more}.{network}"
        return []

    def _on(self, network: str, name: str) -> list[str]:
        replicas = self._addresses.get(network, {}).get(name, {})
        chosen = [c for c in replicas if not self._is_left_out(c, network)] or replicas
        found = list({address: None for one in chosen for address in replicas[one]})
        if self._others is not None:
            found += self._others.addresses(network, name)
        random.shuffle(found)
        return found

    def _is_left_out(self, container: str, network: str) -> bool:
        return network in self._containers[container].healthy_only and not self._is_fit(container)

    def reverse(self, container: str, address: str) -> str | None:
        """`NAME.NETWORK` of the container at `address` on a network of `container`."""
        for network in self._containers.get(container, _NOBODY).networks:
            owner = self._owners.get((network, address))
            if owner is not None:
                known = self._containers[owner]
                names = known.networks[network][0]
                shown = known.name or (names[0] if names else owner[:12])
                return f"{shown}.{network}"
            other = self._others.reverse(network, address) if self._others else None
            if other is not None:
                return f"{other}.{network}"
        return None

    def names(self, container: str) -> list[str]:
        """All that the container may call others of the project."""
        known = self._containers.get(container, _NOBODY)
        seen = {name for network in known.networks for name in self._addresses.get(network, {})}
        return sorted({*seen, *known.links})
