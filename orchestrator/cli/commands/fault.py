"""`pcompose fault`: partition, loss, rate, latency, ls, heal; for tests of a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import table, verbs
from orchestrator.cli.grammar import Command, switch
from orchestrator.cli.policies import told

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation

COMMAND = Command(
    name="fault",
    usage="fault partition SERVICE... | loss SERVICE... PERCENT | rate SERVICE... RATE | "
          "latency SERVICE... TIME | ls | heal [ID...]",
    summary="Disturb the network between services, for tests",
    flags=(switch("quiet", "q", "ls: ids only"),),
    notes="With one service the fault is about all its traffic, with several about what goes "
          "between them; WEB-DB is another way to write WEB DB.  `host` is the machine, and "
          "whoever comes or is reached by way of it: what goes by published ports.  A fault "
          "outlives restarts and re-creations; `heal` ends it, and so does `down`.",
    examples=(("web and db do not reach each other", "fault partition web db"),
              ("web is not reached from outside, nor reaches out", "fault partition web host"),
              ("one packet of ten is lost", "fault loss web 10%"),
              ("at most a million bits per second", "fault rate web 1mbit"),
              ("each packet takes 50 ms longer", "fault latency web-db 50ms"),
              ("everything is fine again", "fault heal")),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Do what the verb says."""
    return verbs.dispatch(call, {
        "partition": verbs.Verb(_partition, 1, None),
        "loss": verbs.Verb(_measured, 2, None),
        "rate": verbs.Verb(_measured, 2, None),
        "latency": verbs.Verb(_measured, 2, None),
        "ls": verbs.Verb(_list, flags=("quiet",)),
        "heal": verbs.Verb(_heal, 0, None),
    })  # fmt: skip


def _partition(call: Invocation, words: list[str]) -> int:
    return _add(call, "partition", words, 0.0)


def _measured(call: Invocation, words: list[str]) -> int:
    from orchestrator import api

    kind = call.args.operands[0]
    return _add(call, kind, words[:-1], api.parse_fault_value(kind, words[-1]))


def _add(call: Invocation, kind: str, words: list[str], value: float) -> int:
    services = [name for word in words for name in call.project.named_pair(word)]
    if told(call, f"fault {kind} {' '.join(services)}"):
        return 0
    call.out.line(call.project.faults.add(kind, services, value).id)
    return 0


def _list(call: Invocation, _: list[str]) -> int:
    found = call.project.faults.active()
    if call.args.has("quiet"):
        lines = [fault.id for fault in found]
    else:
        lines = table.table(("ID", "FAULT"), [(fault.id, str(fault)) for fault in found])
    for line in lines:
        call.out.line(line)
    return 0


def _heal(call: Invocation, ids: list[str]) -> int:
    if told(call, f"heal {' '.join(ids) or 'all faults'}"):
        return 0
    ended = call.project.faults.heal(ids or None)
    for fault in ended:
        call.out.line(fault.id)
    missing = [one for one in ids if one not in {fault.id for fault in ended}]
    for one in missing:
        call.out.warn(f"no such fault: {one}")
    return 1 if missing else 0
