"""`pcompose network`: create, ls, inspect, rm, prune; the networks of the whole machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator.cli import table, verbs
from orchestrator.cli.grammar import Command, many, option, switch
from orchestrator.cli.questions import confirmed
from orchestrator.errors import PcomposeError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.engine.networks import NetworkRow


COMMAND = Command(
    name="network",
    usage="network create NAME | ls | inspect NAME... | rm NAME... | prune",
    summary="Networks of this machine, of whatever project",
    flags=(
        switch("force", "f", "prune: do not ask; rm: a missing one is no error"),
        option("format", "", "ls: table or json"),
        many("gateway", "", "create: one for each subnet, in order", metavar="address"),
        switch("internal", "", "create: no way out"),
        many("ip-range", "", "create: one for each subnet, in order", metavar="range"),
        switch("ipv6", "", "create: IPv6 too, by a subnet of its own choice if none is given"),
        many("label", "", "create: KEY=VALUE", metavar="label"),
        many("opt", "o", "create: an option of the driver bridge", metavar="option"),
        switch("quiet", "q", "ls: names only"),
        many("subnet", "", "create: ADDRESS/PREFIX", metavar="subnet"),
    ),
    notes="A network that a container is on, running or not, is never removed.",
)  # fmt: skip


def run(call: Invocation) -> int:
    """Do what the verb says."""
    made_of = ("gateway", "internal", "ip-range", "ipv6", "label", "opt", "subnet")
    return verbs.dispatch(call, {
        "create": verbs.Verb(_create, 1, 1, made_of),
        "ls": verbs.Verb(_list, flags=("quiet", "format")),
        "inspect": verbs.Verb(_inspect, 1, None),
        "rm": verbs.Verb(_remove, 1, None, ("force",)),
        "prune": verbs.Verb(_prune, flags=("force",)),
    })  # fmt: skip


def _create(call: Invocation, names: list[str]) -> int:
    from orchestrator import shared

    args = call.args
    subnets, gateways, ranges = (args.all(f) for f in ("subnet", "gateway", "ip-range"))
    if max(len(gateways), len(ranges)) > len(subnets):
        raise UsageError("--gateway and --ip-range need a --subnet each")
    if not call.is_dry_run:
        warning = shared.create_network(
            names[0], internal=args.has("internal"), ipv6=args.has("ipv6"), subnets=subnets,
            gateways=gateways, ranges=ranges, labels=verbs.pairs(call, "label"),
            options=verbs.pairs(call, "opt"),
        )  # fmt: skip
        if warning:
            call.out.warn(warning)
    call.out.line(names[0])
    return 0


def _list(call: Invocation, _: list[str]) -> int:
    from orchestrator import shared

    found = shared.networks()
    form = call.args.text("format") or "table"
    if call.args.has("quiet"):
        lines = [row.record.name for row in found]
    elif form == "json":
        lines = [json.dumps(_fields(row), separators=(",", ":")) for row in found]
    elif form == "table":
        cells = [(row.id[:12], row.record.name, "bridge", "local") for row in found]
        lines = table.table(("NETWORK ID", "NAME", "DRIVER", "SCOPE"), cells)
    else:
        raise UsageError(f'unsupported format "{form}"', hint="table or json")
    for line in lines:
        call.out.line(line)
    return 0


def _fields(row: NetworkRow) -> dict[str, str]:
    record = row.record
    pools = record.all_pools()
    return {
        "Driver": "bridge", "ID": row.id[:12],
        "IPv4": str(any(not pool.is_ipv6 for pool in pools)).lower(),
        "IPv6": str(any(pool.is_ipv6 for pool in pools)).lower(),
        "Internal": str(record.internal).lower(),
        "Labels": ",".join(f"{k}={v}" for k, v in sorted(record.labels.items())),
        "Name": record.name, "Project": record.project, "Scope": "local",
    }  # fmt: skip


def _inspect(call: Invocation, names: list[str]) -> int:
    from orchestrator import shared

    found = [_whole(row) for row in shared.chosen_networks(names)]
    call.out.line(json.dumps(found, indent=4))
    return 0


def _whole(row: NetworkRow) -> dict[str, Any]:  # JSON has no narrower type
    record, pools = row.record, row.record.all_pools()
    return {
        "Name": record.name, "Id": row.id, "Scope": "local", "Driver": "bridge",
        "EnableIPv4": any(not pool.is_ipv6 for pool in pools),
        "EnableIPv6": any(pool.is_ipv6 for pool in pools),
        "IPAM": {"Driver": "default", "Config": [
            {"Subnet": pool.subnet, **({"IPRange": pool.ip_range} if pool.ip_range else {}),
             "Gateway": pool.gateway} for pool in pools
        ]},
        "Internal": record.internal, "Interface": record.bridge, "Project": record.project,
        "Containers": {
            member.id: {"Name": member.name, "MacAddress": member.mac,
                        "IPv4Address": member.address, "IPv6Address": member.address6}
            for member in row.members
        },
        "Options": record.options, "Labels": record.labels,
    }  # fmt: skip


def _remove(call: Invocation, names: list[str]) -> int:
    """All that can be removed; the others are told, and make it a failure."""
    from orchestrator import shared

    failed = False
    for name in names:
        try:
            if call.is_dry_run:
                shared.chosen_networks([name])
            else:
                shared.remove_network(name)
            call.out.line(name)
        except PcomposeError as exc:
            if call.args.has("force") and exc.message.startswith("no such network"):
                continue
            call.out.warn(exc.message)
            failed = True
    return 1 if failed else 0


def _prune(call: Invocation, _: list[str]) -> int:
    from orchestrator import shared

    found = shared.prunable_networks()
    if call.is_dry_run:
        for row in found:
            call.out.line(row.record.name)
        return 0
    question = "This will remove all networks that no container is on"
    if not call.args.has("force") and not confirmed(call.out, question):
        return 0
    removed = shared.prune_networks(found)
    if removed:
        call.out.line("Deleted Networks:")
    for name in removed:
        call.out.line(name)
    return 0
