"""The nf_tables rules of bridge networks and published ports: one table of our own.

    table inet pcompose
      map leaving, entering              interface -> jump BRIDGE-leaving, BRIDGE-entering
      chain forward          hook forward, accepting:
          iifname vmap leaving
          oifname vmap entering
      chain BRIDGE-leaving, where internal:
          oifname != BRIDGE drop
      chain BRIDGE-entering, where internal:
          iifname != BRIDGE drop
      chain BRIDGE-entering, where not:
          ct status dnat accept
          iifname != BRIDGE ct state != established,related drop
      chain BRIDGE-nat       hook postrouting (srcnat), for each subnet:
          saddr SUBNET oifname != BRIDGE masquerade
          saddr SUBNET oifname BRIDGE ct status dnat masquerade
      chain NAME-ports, for each port:
          l4proto PROTOCOL, dport PORT, daddr local and no loopback: dnat to ADDRESS:PORT
      chain NAME-coming, NAME-own        hooks prerouting and output (dstnat): jump NAME-ports

What is forwarded looks its interfaces up: hundreds of networks cost a packet what one does.  The
chains of address translation see but the first packet of a connection.

The first rules keep networks apart from each other and closed to the outside, whichever bridge or
interface a packet comes from.  The second masquerade brings the answer of a peer on the same
bridge, that was asked by the host's address, back the way the question went.  Each change is one
transaction that gives the same result however often it is made; other tables are never named.  An
accepting chain cannot overrule a drop in somebody else's table: such is nf_tables.  OSError where
the kernel has no nf_tables.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import os
import struct
from contextlib import contextmanager

from orchestrator.linux import netlink
from orchestrator.linux.netlink import Message, attribute, nested, text

TYPE_CHECKING = False  # as in typing, which is not imported at run time
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Place = tuple[int, int]

TABLE = "pcompose"

_SUBSYSTEM = 10
_INET, _IPV4, _IPV6 = 1, 2, 10
_BATCH_BEGIN = 0x10
_BATCH_END = 0x11
_NEWTABLE, _GETTABLE, _DELTABLE = 0, 1, 2
_NEWCHAIN, _GETCHAIN, _DELCHAIN, _NEWRULE, _DELRULE = 3, 4, 5, 6, 8
_NEWSET, _DELSET, _NEWSETELEM, _DELSETELEM = 9, 11, 12, 14
_SET_MAP, _DATA_VERDICT = 8, 0xFFFF_FF00
_TYPE_INTERFACE = 41
"""What nft(8) calls an interface name; the kernel keeps the number for it."""
_HOOK_PREROUTING, _HOOK_FORWARD, _HOOK_OUTPUT, _HOOK_POSTROUTING = 0, 2, 3, 4
_PRIORITY_DSTNAT, _PRIORITY_FILTER, _PRIORITY_SRCNAT = -100, 0, 100
_META_IIFNAME, _META_OIFNAME, _META_NFPROTO, _META_L4PROTO = 6, 7, 15, 16
_EQUAL, _NOT_EQUAL = 0, 1
_CT_STATE, _CT_STATUS = 0, 2
_CT_STATE_ESTABLISHED, _CT_STATE_RELATED = 2, 4
_CT_STATUS_DNAT = 1 << 5
_FIB_RESULT_ADDRTYPE, _FIB_DADDR, _RTN_LOCAL = 3, 2, 2
_NAT_DNAT = 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_DESTINATION_PORT_OFFSET = 2
_REGISTER_VERDICT, _REGISTER, _REGISTER_2 = 0, 1, 2
_DROP, _ACCEPT, _JUMP = 0, 1, -3
_IFNAMSIZ = 16

_FORWARD, _LEAVING, _ENTERING = "forward", "leaving", "entering"
_DISPATCH = {_LEAVING: _META_IIFNAME, _ENTERING: _META_OIFNAME}
_SHARED = 1 + len(_DISPATCH)
"""What the table has beside the chains of networks and ports: the chain, and the maps."""


class Redirect:
    """A published port: what comes to `published` of the host goes to `target` of `address`.
    `host_ip` is one address of the host, or empty: every address of the family of `address`."""

    __slots__ = ("address", "host_ip", "protocol", "published", "target")

    def __init__(
        self, *, protocol: str, host_ip: str, published: int, address: str, target: int
    ) -> None:
        self.protocol = protocol
        self.host_ip = host_ip
        self.published = published
        self.address = address
        self.target = target


def add_network(
    bridge: str, *, subnets: Sequence[str], internal: bool, masquerade: bool = True
) -> None:
    """Put the rules of a network in place; whatever was there for `bridge` before is replaced.
    `subnets` are `ADDRESS/PREFIX` of either family.  OSError, and no change, where the kernel
    cannot."""
    rules = _guard(bridge, internal=internal)
    for subnet in () if internal else subnets:
        rules += _way_out(bridge, subnet, masquerade=masquerade)
    _commit([_table(), *_dispatch(), *_network_chains(bridge), *rules])


def remove_network(bridge: str) -> None:
    """Take the rules of a network away, and the table with the last of them.  Idempotent."""
    _remove([*_dispatch(), *_network_chains(bridge), *_undirect(bridge)], _network_names(bridge))


def set_ports(name: str, redirects: Sequence[Redirect]) -> None:
    """Let exactly these published ports lead to containers, in one transaction; `name` tells one
    owner of ports from another (at most 120 characters).  None: its chains go."""
    if not redirects:
        _remove(_port_chains(name), _port_names(name))
        return
    ports, coming, own = _port_names(name)
    rules = [_redirect(ports, each) for each in redirects]
    jumps = [_rule(chain, _verdict(_JUMP, chain=ports)) for chain in (coming, own)]
    _commit([_table(), *_port_chains(name), *rules, *jumps])


def foreign_forward_drop() -> str | None:
    """The name of a table of somebody else that drops whatever is forwarded and not accepted there:
    such as Docker's, and those of firewalls.  What our rules let in would be lost in it."""
    message = Message(_SUBSYSTEM << 8 | _GETCHAIN, bytes(4), subject="chains")  # of all families
    with _netfilter() as sock:
        answers = sock.dump(message)
    for answer in answers:
        found = netlink.attributes(answer[4:])
        table = found.get(1, b"").rstrip(b"\0").decode(errors="replace")
        hook = netlink.attributes(found.get(4, b"")).get(1, b"")
        drops = found.get(5) == struct.pack(">I", _DROP)
        if hook == struct.pack(">I", _HOOK_FORWARD) and drops and table != TABLE:
            return table
    return None


def _remove(chains: list[Message], names: tuple[str, ...]) -> None:
    # What is made before it is deleted is deleted without an error, whether it was there or not.
    messages = [_table(), *chains, *(_delete_chain(name) for name in reversed(names))]
    count = _count_uses()
    if count > len(names) + _SHARED:
        _commit(messages)
    elif count:
        _remove_last(messages)


def _remove_last(messages: list[Message]) -> None:
    # NONREC: refused where another network got its chains meanwhile.
    drop = _message(_DELTABLE, text(1, TABLE), flags=netlink.NLM_F_NONREC,
                    subject=f"table {TABLE}")
    shared = [*_dispatch(), _flush(_FORWARD), _delete_chain(_FORWARD), *map(_delete_map, _DISPATCH)]
    try:
        _commit([*messages, *shared, drop])
    except OSError as exc:
        if exc.errno != errno.EBUSY:
            raise
        _commit(messages)


def _count_uses() -> int:
    """How many chains and maps our table has; 0 where there is no table."""
    with _netfilter() as sock:
        try:
            answer = sock.get(_message(_GETTABLE, text(1, TABLE), subject=f"table {TABLE}"))
        except FileNotFoundError:
            return 0
    return int.from_bytes(netlink.attributes(answer[4:]).get(3, b""), "big")


# Tables, chains and rules


def _network_names(bridge: str) -> tuple[str, ...]:
    return f"{bridge}-{_LEAVING}", f"{bridge}-{_ENTERING}", f"{bridge}-nat"


def _port_names(name: str) -> tuple[str, ...]:
    return f"{name}-ports", f"{name}-coming", f"{name}-own"


def _message(kind: int, *attributes: bytes, subject: str, flags: int = 0) -> Message:
    body = struct.pack(">BBH", _INET, 0, 0) + b"".join(attributes)
    return Message(_SUBSYSTEM << 8 | kind, body, flags=flags, subject=subject)


def _big(kind: int, value: int) -> bytes:
    """nf_tables numbers are in network byte order."""
    return attribute(kind, struct.pack(">I", value & 0xFFFF_FFFF))


def _table() -> Message:
    return _message(_NEWTABLE, text(1, TABLE), flags=netlink.NLM_F_CREATE,
                    subject=f"table {TABLE}")


def _dispatch() -> list[Message]:
    """The chain that all forwarded packets pass, with its rules, and the maps it looks into."""
    return [
        *map(_map, _DISPATCH),
        _chain(_FORWARD, kind="filter", hook=_HOOK_FORWARD, priority=_PRIORITY_FILTER),
        _flush(_FORWARD),
        *(_rule(_FORWARD, _load(key), _look_up(name)) for name, key in _DISPATCH.items()),
    ]


def _network_chains(bridge: str) -> list[Message]:
    """The chains of a network, empty, and its elements of the maps."""
    leaving, entering, nat = _network_names(bridge)
    return [
        _branch(leaving),
        _branch(entering),
        _chain(nat, kind="nat", hook=_HOOK_POSTROUTING, priority=_PRIORITY_SRCNAT),
        *map(_flush, (leaving, entering, nat)),
        _element(_LEAVING, bridge, jump=leaving),
        _element(_ENTERING, bridge, jump=entering),
    ]


def _undirect(bridge: str) -> list[Message]:
    """Nothing leads to the chains of the network any more."""
    return [_element(name, bridge, jump=f"{bridge}-{name}", kind=_DELSETELEM)
            for name in _DISPATCH]


def _port_chains(name: str) -> list[Message]:
    """The chains of an owner of ports, empty: what comes in, and what the host itself sends."""
    ports, coming, own = _port_names(name)
    return [
        _branch(ports),
        _chain(coming, kind="nat", hook=_HOOK_PREROUTING, priority=_PRIORITY_DSTNAT),
        _chain(own, kind="nat", hook=_HOOK_OUTPUT, priority=_PRIORITY_DSTNAT),
        _flush(coming),
        _flush(own),
        _flush(ports),
    ]


def _chain(name: str, *, kind: str, hook: int, priority: int) -> Message:
    where = nested(4, _big(1, hook), _big(2, priority))
    return _message(_NEWCHAIN, text(1, TABLE), text(3, name), where, text(7, kind),
                    flags=netlink.NLM_F_CREATE, subject=f"chain {name}")


def _branch(name: str) -> Message:
    """A chain that others jump to."""
    return _message(_NEWCHAIN, text(1, TABLE), text(3, name), flags=netlink.NLM_F_CREATE,
                    subject=f"chain {name}")


def _delete_chain(name: str) -> Message:
    return _message(_DELCHAIN, text(1, TABLE), text(3, name), subject=f"chain {name}")


def _flush(chain: str) -> Message:
    return _message(_DELRULE, text(1, TABLE), text(2, chain), subject=f"rules of {chain}")


def _map(name: str) -> Message:
    """From interfaces to what is to be done with the packet."""
    number = list(_DISPATCH).index(name) + 1  # has to differ within a transaction, no more
    return _message(
        _NEWSET, text(1, TABLE), text(2, name), _big(3, _SET_MAP), _big(4, _TYPE_INTERFACE),
        _big(5, _IFNAMSIZ), _big(6, _DATA_VERDICT), _big(10, number),
        flags=netlink.NLM_F_CREATE, subject=f"map {name}",
    )  # fmt: skip


def _delete_map(name: str) -> Message:
    return _message(_DELSET, text(1, TABLE), text(2, name), subject=f"map {name}")


def _element(name: str, interface: str, *, jump: str, kind: int = _NEWSETELEM) -> Message:
    """Of the map `name`: what goes by the interface goes through the chain `jump`."""
    key = nested(1, attribute(1, _padded(interface)))
    element = nested(1, key, nested(2, _code(_JUMP, chain=jump)))
    return _message(kind, text(1, TABLE), text(2, name), nested(3, element),
                    flags=netlink.NLM_F_CREATE, subject=f"element {interface} of {name}")


def _guard(bridge: str, *, internal: bool) -> list[Message]:
    leaving, entering, _ = _network_names(bridge)
    from_others = _interface(_META_IIFNAME, _NOT_EQUAL, bridge)
    if internal:
        to_others = _interface(_META_OIFNAME, _NOT_EQUAL, bridge)
        return [_rule(leaving, *to_others, _verdict(_DROP)),
                _rule(entering, *from_others, _verdict(_DROP))]
    return [
        _rule(entering, *_was_redirected(), _verdict(_ACCEPT)),
        _rule(entering, *from_others, *_uninvited(), _verdict(_DROP)),
    ]


def _way_out(bridge: str, subnet: str, *, masquerade: bool) -> list[Message]:
    *_, nat = _network_names(bridge)
    leaving = [*_source(subnet), *_interface(_META_OIFNAME, _NOT_EQUAL, bridge)]
    turning = [*_source(subnet), *_interface(_META_OIFNAME, _EQUAL, bridge), *_was_redirected()]
    found = [_rule(nat, *turning, _expression("masq"))]
    return [_rule(nat, *leaving, _expression("masq")), *found] if masquerade else found


def _redirect(chain: str, port: Redirect) -> Message:
    family = _family(port.address)
    number = _socket.IPPROTO_TCP if port.protocol == "tcp" else _socket.IPPROTO_UDP
    return _rule(
        chain,
        *_is(_META_L4PROTO, bytes([number])),
        *_destination_port(port.published),
        *_is(_META_NFPROTO, bytes([_NFPROTO[family]])),
        *(_destination(family, _packed(port.host_ip)) if port.host_ip else _any_local(family)),
        *_translate(family, port.address, port.target),
    )


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


def _load(key: int) -> bytes:
    """The packet's meta `key`."""
    return _expression("meta", _big(2, key), _big(1, _REGISTER))


def _look_up(name: str) -> bytes:
    """Do what the map says of the register's content; nothing where it says nothing."""
    return _expression("lookup", text(1, name), _big(2, _REGISTER), _big(3, _REGISTER_VERDICT))


def _padded(interface: str) -> bytes:
    return interface.encode().ljust(_IFNAMSIZ, b"\0")


def _interface(key: int, operator: int, name: str) -> list[bytes]:
    return [_load(key), _compare(operator, _padded(name))]


def _is(key: int, value: bytes) -> list[bytes]:
    """The packet's meta `key` is `value`."""
    return [_load(key), _compare(_EQUAL, value)]


_NFPROTO = {_socket.AF_INET: _IPV4, _socket.AF_INET6: _IPV6}
_SOURCE = {_socket.AF_INET: (12, 4), _socket.AF_INET6: (8, 16)}
_DESTINATION = {_socket.AF_INET: (16, 4), _socket.AF_INET6: (24, 16)}
"""Offset and length in the header."""
_LOOPBACK = {
    _socket.AF_INET: (b"\xff\0\0\0", b"\x7f\0\0\0"),
    _socket.AF_INET6: (b"\xff" * 16, bytes(15) + b"\1"),
}
"""Mask and network."""


def _family(address: str) -> int:
    return _socket.AF_INET6 if ":" in address else _socket.AF_INET


def _packed(address: str) -> bytes:
    return _socket.inet_pton(_family(address), address)


def _payload(header: int, offset: int, length: int) -> bytes:
    return _expression("payload", _big(1, _REGISTER), _big(2, header), _big(3, offset),
                       _big(4, length))


def _source(subnet: str) -> list[bytes]:
    """The packet comes from `subnet`."""
    address, _, prefix = subnet.partition("/")
    family = _family(address)
    offset, length = _SOURCE[family]
    ones = (1 << int(prefix)) - 1 << (length * 8 - int(prefix))
    return [*_is(_META_NFPROTO, bytes([_NFPROTO[family]])),
            _payload(_NETWORK_HEADER, offset, length), _mask(ones.to_bytes(length, "big")),
            _compare(_EQUAL, _packed(address))]


def _destination(family: int, packed: bytes) -> list[bytes]:
    return [_payload(_NETWORK_HEADER, *_DESTINATION[family]), _compare(_EQUAL, packed)]


def _any_local(family: int) -> list[bytes]:
    """The packet goes to an address of this machine, and not to its loopback: what goes there
    cannot leave through a bridge."""
    mask, loopback = _LOOPBACK[family]
    return [
        _expression("fib", _big(1, _REGISTER), _big(2, _FIB_RESULT_ADDRTYPE), _big(3, _FIB_DADDR)),
        _compare(_EQUAL, struct.pack("=I", _RTN_LOCAL)),
        _payload(_NETWORK_HEADER, *_DESTINATION[family]), _mask(mask),
        _compare(_NOT_EQUAL, loopback),
    ]


def _destination_port(number: int) -> list[bytes]:
    return [_payload(_TRANSPORT_HEADER, _DESTINATION_PORT_OFFSET, 2),
            _compare(_EQUAL, struct.pack(">H", number))]


def _translate(family: int, address: str, port: int) -> list[bytes]:
    def load(register: int, value: bytes) -> bytes:
        return _expression("immediate", _big(1, register), nested(2, attribute(1, value)))

    to = (_big(3, _REGISTER), _big(4, _REGISTER), _big(5, _REGISTER_2), _big(6, _REGISTER_2))
    return [
        load(_REGISTER, _packed(address)), load(_REGISTER_2, struct.pack(">H", port)),
        _expression("nat", _big(1, _NAT_DNAT), _big(2, _NFPROTO[family]), *to),
    ]


def _uninvited() -> list[bytes]:
    """The packet belongs to no connection that began on the other side."""
    state = struct.pack("=I", _CT_STATE_ESTABLISHED | _CT_STATE_RELATED)
    load = _expression("ct", _big(2, _CT_STATE), _big(1, _REGISTER))
    return [load, _mask(state), _compare(_EQUAL, bytes(4))]


def _was_redirected() -> list[bytes]:
    """The packet belongs to a connection that came to a published port."""
    load = _expression("ct", _big(2, _CT_STATUS), _big(1, _REGISTER))
    return [load, _mask(struct.pack("=I", _CT_STATUS_DNAT)), _compare(_NOT_EQUAL, bytes(4))]


def _verdict(code: int, *, chain: str = "") -> bytes:
    return _expression("immediate", _big(1, _REGISTER_VERDICT),
                       nested(2, _code(code, chain=chain)))


def _code(code: int, *, chain: str = "") -> bytes:
    return nested(2, _big(1, code), text(2, chain) if chain else b"")


# The transaction


def _edge(kind: int) -> bytes:
    return Message(kind, struct.pack(">BBH", 0, 0, _SUBSYSTEM)).encode(0)


def _commit(messages: list[Message]) -> None:
    with _netfilter() as sock:
        sock.batch(_edge(_BATCH_BEGIN), messages, _edge(_BATCH_END))


_lock = _thread.allocate_lock()
_kept: tuple[Place, netlink.Netlink] | None = None


@contextmanager
def _netfilter() -> Iterator[netlink.Netlink]:
    """The socket of this process for the network namespace of the calling thread.  It stays open:
    closing one waits until the kernel has freed what the last transactions have replaced, some 40
    ms."""
    global _kept
    with _lock:
        place = (os.getpid(), os.stat("/proc/thread-self/ns/net").st_ino)
        if _kept is None or _kept[0] != place:
            _kept = (place, netlink.Netlink(netlink.NETLINK_NETFILTER))
        try:
            yield _kept[1]
        except BaseException:  # answers to what has failed may still come
            _kept = None
            raise
