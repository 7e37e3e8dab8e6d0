"""Faults on a project's network, for tests: what may be asked, and a handle that heals.

    with project.faults.partition("web", "db"):
        ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from orchestrator.dataclass import dataclass, field
from orchestrator.engine import lookup, submit
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import SupervisorError, UsageError
from orchestrator.network.impairment import HOST
from orchestrator.state import store

_RATE = re.compile(r"([0-9.]+)(|k|m|g)bit")
_TIME = re.compile(r"([0-9.]+)(us|ms|s)")
_PERCENT = re.compile(r"([0-9.]+)%")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_LONGEST_DELAY = 60.0


@dataclass(slots=True, kw_only=True)
class Fault:
    """A fault that holds, until `heal`, the end of its `with`, or `down`."""

    id: str
    kind: str
    """partition, loss, rate or latency."""
    services: tuple[str, ...]
    value: float
    """loss: of all packets, 0 to 1; rate: bits per second; latency: seconds."""
    _faults: Faults = field(repr=False)

    def heal(self) -> None:
        """End it; it may have ended."""
        self._faults.heal([self])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.heal()

    def __str__(self) -> str:
        what = {"partition": "", "loss": f" {self.value * 100:g}%",
                "rate": f" {_rate(self.value)}", "latency": f" {self.value * 1000:g}ms"}
        return f"{self.kind} {' '.join(self.services)}{what[self.kind]}"


class Faults:
    """The faults of one project.  With one service they are about all that goes between its
    containers and anybody; with several, about what goes between these alone.  `host`, where no
    service is called so, is the machine and whoever comes or is reached by way of it, such as by a
    published port."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def partition(self, *services: str) -> Fault:
        """No packet passes."""
        return self.add("partition", services)

    def loss(self, *services: str, percent: float) -> Fault:
        """So many of a hundred packets do not arrive, of each direction."""
        return self.add("loss", services, percent / 100)

    def rate(self, *services: str, bits: float) -> Fault:
        """So many bits per second, for each direction of each container's interface."""
        return self.add("rate", services, bits)

    def latency(self, *services: str, seconds: float) -> Fault:
        """Each packet takes so much longer; there and back it is twice that."""
        return self.add("latency", services, seconds)

    def add(self, kind: str, services: Sequence[str], value: float = 0.0) -> Fault:
        """Any of them.  UsageError where a service has nothing that runs on a network of its own,
        or the value means nothing."""
        _check(kind, services, value)
        self._check_services(services)
        told = self._ask(add={"kind": kind, "services": list(services), "value": value})
        if told is None:
            raise SupervisorError(f"no container of project {self._workspace.name} runs")
        return self._fault(told["added"])

    def active(self) -> list[Fault]:
        """Those that hold, the oldest first."""
        told = self._ask()
        found = self._written() if told is None else told["active"]
        return [self._fault(one) for one in found]

    def heal(self, faults: Iterable[Fault | str] | None = None) -> list[Fault]:
        """End these (or their ids), or all; those that have ended."""
        ids = None if faults is None else [f if isinstance(f, str) else f.id for f in faults]
        told = self._ask(heal=ids)
        ended = self._forget(ids) if told is None else told["ended"]
        return [self._fault(one) for one in ended]

    # Where nothing runs there is no supervisor, but a fault that waits for the next start.

    def _written(self) -> list[dict[str, Any]]:
        return list((store.read_json(self._path) or {}).get("faults", ()))

    def _forget(self, ids: list[str] | None) -> list[dict[str, Any]]:
        known = self._written()
        ended = [one for one in known if ids is None or one["id"] in ids]
        if ended:
            store.write_json(self._path, {"faults": [one for one in known if one not in ended]})
        return ended

    @property
    def _path(self) -> str:
        return self._workspace.layout.faults(self._workspace.name)

    def _check_services(self, services: Sequence[str]) -> None:
        observed = self._workspace.observe()
        known = {c.record.service for c in observed.containers}
        services = [name for name in services if name != HOST or name in known]
        lookup.check(self._workspace, services, observed.containers)
        for name in services:
            mine = [c for c in observed.containers if c.record.service == name]
            if not any(c.is_running for c in mine):
                raise UsageError(f'service "{name}" is not running',
                                 hint=f"start it with `pcompose up -d {name}`")  # fmt: skip
            if not any(c.record.spec.get("endpoints") for c in mine):
                raise UsageError(f"service {name} has no network of its own",
                                 hint="what it shares has its faults")  # fmt: skip

    def _ask(self, **params: Any) -> dict[str, Any] | None:
        return submit.ask(self._workspace.layout, self._workspace.name, "fault", **params)

    def _fault(self, told: dict[str, Any]) -> Fault:
        return Fault(id=told["id"], kind=told["kind"], services=tuple(told["services"]),
                     value=told["value"], _faults=self)  # fmt: skip


def _check(kind: str, services: Sequence[str], value: float) -> None:
    if not services:
        raise UsageError(f"{kind} needs a service")
    if kind not in ("partition", "loss", "rate", "latency"):
        raise UsageError(f"no fault is called {kind}", hint="partition, loss, rate or latency")
    fine = {"partition": True, "loss": 0 < value <= 1, "rate": value >= 1000,
            "latency": 0 < value <= _LONGEST_DELAY}
    if not fine[kind]:
        raise UsageError(f"{kind} of {value:g} is out of range", hint=_RANGES[kind])


_RANGES = {"loss": "more than 0% and up to 100%", "rate": "1kbit or more",
           "latency": f"more than 0 and up to {_LONGEST_DELAY:g}s"}
_FORMS = {"loss": (_PERCENT, "10%"), "rate": (_RATE, "1mbit"), "latency": (_TIME, "50ms")}


def parse_value(kind: str, text: str) -> float:
    """`10%` as 0.1, `1mbit` as bits per second, `50ms` as seconds; UsageError."""
    form, example = _FORMS[kind]
    match = form.fullmatch(text)
    try:
        number = float(match[1]) if match else None
    except ValueError:
        number = None
    if match is None or number is None:
        raise UsageError(f"{kind} {text!r} is not understood", hint=f"such as {example}")
    return number / 100 if kind == "loss" else number * _UNITS[match[2]]


def split_pair(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """`web-db` as two services, one of which may be `host`; a service of that very name is itself.
    UsageError where it can be read in two ways."""
    names = {HOST, *known}
    if text in names:
        return (text,)
    cuts = [n for n, letter in enumerate(text) if letter == "-"]
    pairs = [(text[:n], text[n + 1 :]) for n in cuts]
    found = [pair for pair in pairs if names.issuperset(pair)]
    if len(found) > 1:
        raise UsageError(f"{text} may mean {' or '.join(f'{a} and {b}' for a, b in found)}",
                         hint="write them as two words")  # fmt: skip
    return found[0] if found else (text,)


def _rate(bits: float) -> str:
    for unit, size in (("g", 1e9), ("m", 1e6), ("k", 1e3)):
        if bits >= size:
            return f"{bits / size:g}{unit}bit"
    return f"{bits:g}bit"
