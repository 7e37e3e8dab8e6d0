"""The nf_tables rules of bridge networks: one table of our own, two base chains per network.

    table ip pcompose
      chain BRIDGE-forward   hook forward, accepting:
          oifname BRIDGE iifname != BRIDGE ct state != established,related drop
          internal: iifname BRIDGE oifname != BRIDGE drop   (and its mirror image)
      chain BRIDGE-nat       hook postrouting (srcnat):
          ip saddr SUBNET oifname != BRIDGE masquerade

The first rule keeps networks apart from each other and closed to the outside, whichever bridge or
interface a packet comes from.  Each change is one transaction that gives the same result however
often it is made; other tables are never named.  An accepting chain cannot overrule a drop in
somebody else's table: such is nf_tables.  OSError where the kernel has no nf_tables.
"""

from __future__ import annotations

import _socket
import errno
import struct

from orchestrator.linux import netlink
from orchestrator.linux.netlink import Message, attribute, nested, text

TABLE = "pcompose"

_SUBSYSTEM = 10
_NFPROTO_IPV4 = 2
_BATCH_BEGIN = 0x10
_BATCH_END = 0x11
_NEWTABLE, _GETTABLE, _DELTABLE = 0, 1, 2
_NEWCHAIN, _DELCHAIN, _NEWRULE, _DELRULE = 3, 5, 6, 8
_HOOK_FORWARD, _HOOK_POSTROUTING = 2, 4
_PRIORITY_FILTER, _PRIORITY_SRCNAT = 0, 100
_META_IIFNAME, _META_OIFNAME = 6, 7
_EQUAL, _NOT_EQUAL = 0, 1
_CT_STATE = 0
_CT_STATE_ESTABLISHED, _CT_STATE_RELATED = 2, 4
_NETWORK_HEADER = 1
_SOURCE_ADDRESS_OFFSET = 12
_REGISTER_VERDICT, _REGISTER = 0, 1
_DROP = 0
_IFNAMSIZ = 16


def add_network(bridge: str, *, subnet: str, internal: bool) -> None:
    """Put the rules of a network in place; whatever was there for `bridge` before is replaced.
    `subnet` is `ADDRESS/PREFIX`.  OSError, and no change, where the kernel cannot."""
    _commit([_table(), *_chains(bridge), *_rules(bridge, subnet, internal=internal)])


def remove_network(bridge: str) -> None:
    """Take the rules of a network away, and the table with the last network.  Idempotent."""
    forward, nat = _names(bridge)
    # What is made before it is deleted is deleted without an error, whether it was there or not.
    messages = [_table(), *_chains(bridge), _delete_chain(forward), _delete_chain(nat)]
    count = _count_chains()
    if count > len(_names(bridge)):
        _commit(messages)
    elif count:
        _remove_last(messages)


def _remove_last(messages: list[Message]) -> None:
    # NONREC: refused where another network got its chains meanwhile.
    drop = _message(_DELTABLE, text(1, TABLE), flags=netlink.NLM_F_NONREC,
                    subject=f"table {TABLE}")
    try:
        _commit([*messages, drop])
    except OSError as exc:
        if exc.errno != errno.EBUSY:
            raise
        _commit(messages)


def _count_chains() -> int:
    """How many chains our table has; 0 where there is no table."""
    with netlink.Netlink(netlink.NETLINK_NETFILTER) as sock:
        try:
            answer = sock.get(_message(_GETTABLE, text(1, TABLE), subject=f"table {TABLE}"))
        except FileNotFoundError:
            return 0
    return int.from_bytes(netlink.attributes(answer[4:]).get(3, b""), "big")


# Tables, chains and rules


def _names(bridge: str) -> tuple[str, str]:
    return f"{bridge}-forward", f"{bridge}-nat"


def _message(kind: int, *attributes: bytes, subject: str, flags: int = 0) -> Message:
    body = struct.pack(">BBH", _NFPROTO_IPV4, 0, 0) + b"".join(attributes)
    return Message(_SUBSYSTEM << 8 | kind, body, flags=flags, subject=subject)


def _big(kind: int, value: int) -> bytes:
    """nf_tables numbers are in network byte order."""
    return attribute(kind, struct.pack(">I", value))


def _table() -> Message:
    return _message(_NEWTABLE, text(1, TABLE), flags=netlink.NLM_F_CREATE,
                    subject=f"table {TABLE}")


def _chains(bridge: str) -> list[Message]:
    """Both chains, empty."""
    forward, nat = _names(bridge)
    return [
        _chain(forward, kind="filter", hook=_HOOK_FORWARD, priority=_PRIORITY_FILTER),
        _chain(nat, kind="nat", hook=_HOOK_POSTROUTING, priority=_PRIORITY_SRCNAT),
        _flush(forward),
        _flush(nat),
    ]


def _chain(name: str, *, kind: str, hook: int, priority: int) -> Message:
    where = nested(4, _big(1, hook), _big(2, priority))
    return _message(_NEWCHAIN, text(1, TABLE), text(3, name), where, text(7, kind),
                    flags=netlink.NLM_F_CREATE, subject=f"chain {name}")


def _delete_chain(name: str) -> Message:
    return _message(_DELCHAIN, text(1, TABLE), text(3, name), subject=f"chain {name}")


def _flush(chain: str) -> Message:
    return _message(_DELRULE, text(1, TABLE), text(2, chain), subject=f"rules of {chain}")


def _rules(bridge: str, subnet: str, *, internal: bool) -> list[Message]:
    forward, nat = _names(bridge)
    inwards = [*_interface(_META_OIFNAME, _EQUAL, bridge),
               *_interface(_META_IIFNAME, _NOT_EQUAL, bridge)]
    if internal:
        outwards = [*_interface(_META_IIFNAME, _EQUAL, bridge),
                    *_interface(_META_OIFNAME, _NOT_EQUAL, bridge)]
        return [_rule(forward, *inwards, _drop()), _rule(forward, *outwards, _drop())]
    leaving = [*_source(subnet), *_interface(_META_OIFNAME, _NOT_EQUAL, bridge)]
    return [
        _rule(forward, *inwards, *_uninvited(), _drop()),
        _rule(nat, *leaving, _expression("masq")),
    ]


def _rule(chain: str, *expressions: bytes) -> Message:
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_APPEND
    return _message(_NEWRULE, text(1, TABLE), text(2, chain), nested(4, *expressions),
                    flags=flags, subject=f"rule of {chain}")


# Expressions: load into the register, compare it, act


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *attributes))


def _compare(operator: int, value: bytes) -> bytes:
    data = nested(3, attribute(1, value))
    return _expression("cmp", _big(1, _REGISTER), _big(2, operator), data)


def _mask(value: bytes) -> bytes:
    return _expression(
        "bitwise", _big(1, _REGISTER), _big(2, _REGISTER), _big(3, len(value)),
        nested(4, attribute(1, value)), nested(5, attribute(1, bytes(len(value)))),
    )


def _interface(key: int, operator: int, name: str) -> list[bytes]:
    load = _expression("meta", _big(2, key), _big(1, _REGISTER))
    return [load, _compare(operator, name.encode().ljust(_IFNAMSIZ, b"\0"))]


def _source(subnet: str) -> list[bytes]:
    """The packet comes from `subnet`."""
    address, _, prefix = subnet.partition("/")
    mask = (0xFFFF_FFFF << (32 - int(prefix)) & 0xFFFF_FFFF).to_bytes(4, "big")
    load = _expression("payload", _big(1, _REGISTER), _big(2, _NETWORK_HEADER),
                       _big(3, _SOURCE_ADDRESS_OFFSET), _big(4, 4))
    return [load, _mask(mask), _compare(_EQUAL, _socket.inet_aton(address))]


def _uninvited() -> list[bytes]:
    """The packet belongs to no connection that began on the other side."""
    state = struct.pack("=I", _CT_STATE_ESTABLISHED | _CT_STATE_RELATED)
    load = _expression("ct", _big(2, _CT_STATE), _big(1, _REGISTER))
    return [load, _mask(state), _compare(_EQUAL, bytes(4))]


def _drop() -> bytes:
    verdict = nested(2, nested(2, _big(1, _DROP)))
    return _expression("immediate", _big(1, _REGISTER_VERDICT), verdict)


# The transaction


def _edge(kind: int) -> bytes:
    return Message(kind, struct.pack(">BBH", 0, 0, _SUBSYSTEM)).encode(0)


def _commit(messages: list[Message]) -> None:
    with netlink.Netlink(netlink.NETLINK_NETFILTER) as sock:
        sock.batch(_edge(_BATCH_BEGIN), messages, _edge(_BATCH_END))
