"""rtnetlink(7): links, addresses and routes as declarative messages, and the socket for them.

A message is a value made by `create_bridge`, `create_veth`, `set_link`, … and knows which of the
kernel's refusals are as good as success (`accept`).  `Netlink.run` sends many in one sendmsg and
collects every answer.  Knows numbers and structs of the kernel; decides nothing.  OSError carries
the errno, the kernel's own explanation where it gives one, and the object.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct
import sys

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_NONREC = 0x100
NLM_F_DUMP = 0x300
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
_NLM_F_CAPPED = 0x100
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1
_NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_NEWROUTE = 24
RTM_GETROUTE = 26

IFF_UP = 1
_IFF_NOARP = 0x80

IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_MASTER = 10
IFLA_LINKINFO = 18
IFLA_AF_SPEC = 26
IFLA_GROUP = 27
IFLA_NET_NS_FD = 28
IFLA_EXT_MASK = 29
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_IFLA_INET6_ADDR_GEN_MODE = 8
_IN6_ADDR_GEN_MODE_NONE = 1
_RTEXT_FILTER_SKIP_STATS = 8
_VETH_INFO_PEER = 1
_IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA = 4, 5
_IFLA_BRPORT_MODE, _IFLA_BRPORT_ISOLATED = 4, 33

_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_BROADCAST = 4
_IFA_F_NODAD = 2
_RT_SCOPE_LINK = 253

_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RT_TABLE_MAIN = 254
_RTPROT_BOOT = 3
_RTN_UNICAST = 1

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11

_HEADER = struct.Struct("=IHHII")
_IFINFOMSG = struct.Struct("=BxHiII")
_IFADDRMSG = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_INT = struct.Struct("=i")

_SEND_BUFFER = 65536
"""Fits into a send buffer of default size, bookkeeping included."""
_SO_SNDBUFFORCE = 32

_BATCH = 64
"""Messages per sendmsg: their answers fit in a receive buffer of default size."""


class Message:
    """One request: everything but its sequence number."""

    __slots__ = ("accept", "body", "flags", "kind", "subject")

    def __init__(
        self, kind: int, body: bytes, *, flags: int = 0, subject: str = "",
        accept: tuple[int, ...] = (),
    ) -> None:
        self.kind = kind
        self.flags = flags
        self.body = body
        self.subject = subject
        self.accept = accept

    def encode(self, sequence: int) -> bytes:
        """The bytes of the message, padded to a multiple of four."""
        flags = self.flags | NLM_F_REQUEST
        header = _HEADER.pack(16 + len(self.body), self.kind, flags, sequence, 0)
        return header + self.body + bytes(-len(self.body) % 4)


class Link:
    """An interface as the kernel describes it."""

    __slots__ = ("index", "kind", "master", "mtu", "name")

    def __init__(self, *, index: int, name: str, mtu: int, master: int, kind: str) -> None:
        self.index = index
        self.name = name
        self.mtu = mtu
        self.master = master
        self.kind = kind


class Route:
    """A route of the main table; `destination` is empty for the default route."""

    __slots__ = ("destination", "gateway", "interface", "prefix")

    def __init__(
        self, *, destination: str, prefix: int, gateway: str | None, interface: int
    ) -> None:
        self.destination = destination
        self.prefix = prefix
        self.gateway = gateway
        self.interface = interface


# Attributes


def attribute(kind: int, value: bytes) -> bytes:
    """struct nlattr with its value, padded."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def text(kind: int, value: str) -> bytes:
    """A NUL-terminated string."""
    return attribute(kind, os.fsencode(value) + b"\0")


def number(kind: int, value: int) -> bytes:
    """An unsigned 32-bit number in the byte order of the machine."""
    return attribute(kind, value.to_bytes(4, sys.byteorder))


def nested(kind: int, *attributes: bytes) -> bytes:
    """Attributes inside an attribute."""
    return attribute(kind | _NLA_F_NESTED, b"".join(attributes))


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in `data` by type; ends at the first that does not fit."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            break
        found[kind & _NLA_TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


# Messages


def _ifinfo(
    *attributes: bytes, index: int = 0, up: bool | None = None, arp: bool | None = None
) -> bytes:
    change = (0 if up is None else IFF_UP) | (0 if arp is None else _IFF_NOARP)
    flags = (IFF_UP if up else 0) | (_IFF_NOARP if arp is False else 0)
    return _IFINFOMSG.pack(0, 0, index, flags, change) + b"".join(attributes)


def _hardware(mac: str | None) -> bytes:
    return attribute(IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))) if mac else b""


def _optional(kind: int, value: int | None) -> bytes:
    return b"" if value is None else number(kind, value)


def _no_ipv6_address() -> bytes:
    """No link-local address is made up when the interface goes up."""
    mode = attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes([_IN6_ADDR_GEN_MODE_NONE]))
    return nested(IFLA_AF_SPEC, nested(_socket.AF_INET6, mode))


def create_bridge(name: str, *, mac: str | None = None, mtu: int | None = None) -> Message:
    """A bridge, down; EEXIST where the name is taken."""
    body = _ifinfo(
        text(IFLA_IFNAME, name), _hardware(mac), _optional(IFLA_MTU, mtu),
        nested(IFLA_LINKINFO, text(_IFLA_INFO_KIND, "bridge")),
    )
    return Message(RTM_NEWLINK, body, flags=NLM_F_CREATE | NLM_F_EXCL, subject=name)


def create_veth(
    name: str, *, master: int, peer: str, peer_mac: str, peer_netns: int, mtu: int | None = None
) -> Message:
    """A pair: `name` here, up and a port of the bridge with index `master`; `peer` in the network
    namespace of the descriptor `peer_netns`, down.  The pair exists whole or not at all."""
    end = _ifinfo(
        text(IFLA_IFNAME, peer), _hardware(peer_mac), number(IFLA_NET_NS_FD, peer_netns),
        _optional(IFLA_MTU, mtu),
    )
    info = nested(
        IFLA_LINKINFO, text(_IFLA_INFO_KIND, "veth"),
        nested(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, end)),
    )
    here = (text(IFLA_IFNAME, name), number(IFLA_MASTER, master), _optional(IFLA_MTU, mtu), info)
    return Message(RTM_NEWLINK, _ifinfo(*here, up=True), flags=NLM_F_CREATE | NLM_F_EXCL,
                   subject=name)


def create_pair(name: str, peer: str, *, mtu: int) -> Message:
    """A veth pair with both ends here, down."""
    end = _ifinfo(text(IFLA_IFNAME, peer), number(IFLA_MTU, mtu))
    info = nested(
        IFLA_LINKINFO, text(_IFLA_INFO_KIND, "veth"),
        nested(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, end)),
    )
    body = _ifinfo(text(IFLA_IFNAME, name), number(IFLA_MTU, mtu), info)
    return Message(RTM_NEWLINK, body, flags=NLM_F_CREATE | NLM_F_EXCL, subject=name)


def set_link(
    name: str, *, up: bool | None = None, arp: bool | None = None, master: int | None = None,
    group: int | None = None, mtu: int | None = None, ipv6_address: bool = True,
    accept: tuple[int, ...] = (),
) -> Message:
    """Change an interface; what is None stays.  `master` 0 takes a port out of its bridge; `arp`:
    whether it asks for and answers about neighbours; `ipv6_address` False: no link-local address
    from now on."""
    body = _ifinfo(
        text(IFLA_IFNAME, name), _optional(IFLA_MASTER, master), _optional(IFLA_GROUP, group),
        _optional(IFLA_MTU, mtu), b"" if ipv6_address else _no_ipv6_address(), up=up, arp=arp,
    )
    return Message(RTM_NEWLINK, body, subject=name, accept=accept)


def delete_link(name: str, *, accept: tuple[int, ...] = (errno.ENODEV,)) -> Message:
    """Delete an interface; one that is gone is as good as deleted."""
    return Message(RTM_DELLINK, _ifinfo(text(IFLA_IFNAME, name)), subject=name, accept=accept)


def delete_group(group: int) -> Message:
    """Delete all interfaces of the group at once: one wait for all readers, not one each."""
    body = _ifinfo(number(IFLA_GROUP, group))
    return Message(RTM_DELLINK, body, subject=f"group {group}", accept=(errno.ENODEV,))


def add_address(
    index: int, address: str, prefix: int, *, accept: tuple[int, ...] = ()
) -> Message:
    """An address on the interface `index`: IPv4 with its broadcast address, IPv6 for use at once
    (without the second that looking for a duplicate takes)."""
    family = _family(address)
    packed = _socket.inet_pton(family, address)
    is_local = family == _socket.AF_INET6 and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80
    scope = _RT_SCOPE_LINK if is_local or packed[:2] == b"\xa9\xfe" else 0
    flags = _IFA_F_NODAD if family == _socket.AF_INET6 else 0
    body = _IFADDRMSG.pack(family, prefix, flags, scope, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    if prefix < 31 and family == _socket.AF_INET:
        host = (1 << (32 - prefix)) - 1
        broadcast = (int.from_bytes(packed, "big") | host).to_bytes(4, "big")
        body += attribute(_IFA_BROADCAST, broadcast)
    return Message(RTM_NEWADDR, body, flags=NLM_F_CREATE | NLM_F_EXCL,
                   subject=f"{address}/{prefix}", accept=accept)


def _family(address: str) -> int:
    return _socket.AF_INET6 if ":" in address else _socket.AF_INET


def set_port(name: str, *, isolated: bool = False, hairpin: bool = False) -> Message:
    """A port of a bridge: `isolated` exchanges frames with the bridge itself only, not with other
    ports that are so (Linux 4.18); with `hairpin` a frame may leave where it came in."""
    flags = [_IFLA_BRPORT_ISOLATED] * isolated + [_IFLA_BRPORT_MODE] * hairpin
    info = nested(
        IFLA_LINKINFO, text(_IFLA_INFO_SLAVE_KIND, "bridge"),
        nested(_IFLA_INFO_SLAVE_DATA, *(attribute(flag, b"\1") for flag in flags)),
    )
    return Message(RTM_NEWLINK, _ifinfo(text(IFLA_IFNAME, name), info), subject=name)


def add_default_route(gateway: str, index: int) -> Message:
    """The default route by `gateway`, of its family, through the interface `index`."""
    family = _family(gateway)
    head = _RTMSG.pack(family, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, 0, _RTN_UNICAST, 0)
    packed = _socket.inet_pton(family, gateway)
    body = head + attribute(_RTA_GATEWAY, packed) + number(_RTA_OIF, index)
    return Message(RTM_NEWROUTE, body, flags=NLM_F_CREATE | NLM_F_EXCL, subject=f"via {gateway}")


# The socket


class Netlink:
    """A netlink socket in the network namespace of the calling thread; close it by `with`."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        self._socket = _socket.socket(_socket.AF_NETLINK, kind, protocol)
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        except BaseException:
            self._socket.close()
            raise
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def run(self, messages: list[Message]) -> None:
        """Send all and wait for all; the kernel works on each even if one before it failed.
        OSError of the first refusal that its message does not accept."""
        failures: list[OSError] = []
        for start in range(0, len(messages), _BATCH):
            failures += self._run(messages[start : start + _BATCH])
        if failures:
            raise failures[0]

    def _run(self, messages: list[Message]) -> list[OSError]:
        data, waiting = self._encode(messages)
        self._socket.sendto(data, (0, 0))
        return self._collect(waiting)

    def _encode(self, messages: list[Message]) -> tuple[bytes, dict[int, Message]]:
        """All messages, each asking for an answer, and what to wait for by sequence number."""
        first = self._sequence + 1
        self._sequence += len(messages)
        for message in messages:
            message.flags |= NLM_F_ACK
        waiting = dict(enumerate(messages, first))
        return b"".join(m.encode(sequence) for sequence, m in waiting.items()), waiting

    def _collect(self, waiting: dict[int, Message]) -> list[OSError]:
        failures = []
        while waiting:
            for _kind, flags, sequence, body in self._receive():
                code = -_INT.unpack_from(body)[0]
                message = waiting.pop(sequence, None)
                if message is None:
                    if code and sequence == 0:
                        # The frame of a transaction was refused, so nothing in it is answered.
                        return [_failure(code, flags, body, "")]
                elif code and code not in message.accept:
                    failures.append(_failure(code, flags, body, message.subject))
        return failures

    def _ask(self, message: Message) -> None:
        self._sequence += 1
        self._socket.sendto(message.encode(self._sequence), (0, 0))

    def dump(self, message: Message) -> list[bytes]:
        """The bodies of all answers to a request for a list; EINTR by the kernel (the list changed
        meanwhile) is not seen here, so what is listed may be a moment old."""
        message.flags |= NLM_F_DUMP
        self._ask(message)
        found: list[bytes] = []
        while True:
            for kind, flags, sequence, body in self._receive():
                if sequence != self._sequence:
                    continue
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    code = -_INT.unpack_from(body)[0] if len(body) >= 4 else 0
                    if code > 0:
                        raise _failure(code, flags, body, message.subject)
                    return found
                found.append(body)

    def get(self, message: Message) -> bytes:
        """The body of the one answer."""
        self._ask(message)
        while True:
            for kind, flags, sequence, body in self._receive():
                if sequence == self._sequence:
                    if kind == NLMSG_ERROR:
                        code = -_INT.unpack_from(body)[0]
                        raise _failure(code, flags, body, message.subject)
                    return body

    def batch(self, begin: bytes, messages: list[Message], end: bytes) -> None:
        """A transaction of nfnetlink: `begin` and `end` are encoded messages with sequence 0.
        OSError of the first refusal; then nothing was changed."""
        first = self._sequence + 1
        self._sequence += len(messages)
        # Whatever is refused is told; one answer more, to the last, says that all were looked at.
        messages[-1].flags |= NLM_F_ACK
        sent = dict(enumerate(messages, first))
        data = b"".join(m.encode(sequence) for sequence, m in sent.items())
        self._make_room(len(begin) + len(data) + len(end))
        self._socket.sendto(begin + data + end, (0, 0))
        failures = self._collect_last(sent)
        if failures:
            raise failures[0]

    def _make_room(self, size: int) -> None:
        """One message must fit into the send buffer whole; who may change the packet filter may
        also have a larger one."""
        if size > _SEND_BUFFER:
            try:
                self._socket.setsockopt(_socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * size)
            except PermissionError:  # in a user namespace: what net.core.wmem_max allows
                self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, 2 * size)

    def _collect_last(self, sent: dict[int, Message]) -> list[OSError]:
        failures = []
        last = max(sent)
        while True:
            for _kind, flags, sequence, body in self._receive():
                code = -_INT.unpack_from(body)[0]
                message = sent.get(sequence)
                if code and (message is None or code not in message.accept):
                    subject = message.subject if message else ""
                    failures.append(_failure(code, flags, body, subject))
                if sequence == last or (code and message is None):
                    return failures

    def _receive(self) -> list[tuple[int, int, int, bytes]]:
        """(type, flags, sequence, body) of each message in the next datagram from the kernel."""
        while True:
            data, sender = self._socket.recvfrom(1 << 16)
            if sender[0] == 0:
                return split(data)


def split(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """(type, flags, sequence, body) of each whole message in `data`."""
    found = []
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > len(data):
            break
        found.append((kind, flags, sequence, data[offset + 16 : offset + length]))
        offset += (length + 3) & ~3
    return found


def _failure(code: int, flags: int, body: bytes, subject: str) -> OSError:
    reason = os.strerror(code)
    if flags & _NLM_F_ACK_TLVS:
        start = 20
        if not flags & _NLM_F_CAPPED and len(body) >= 8:
            start = 4 + int.from_bytes(body[4:8], sys.byteorder)
        said = attributes(body[(start + 3) & ~3 :]).get(_NLMSGERR_ATTR_MSG, b"")
        if said:
            reason += f" ({said.rstrip(bytes(1)).decode(errors='replace')})"
    return OSError(code, reason, subject or None)


# Questions


def delete_links(netlink: Netlink, names: list[str]) -> None:
    """One link by name; several at once by making them a group of a number nobody else has.  Those
    that are not there are no error."""
    if len(names) < 2:
        netlink.run([delete_link(name) for name in names])
        return
    group = int.from_bytes(os.urandom(4), "big") >> 1 | 1 << 30
    gone = (errno.ENODEV,)
    netlink.run([set_link(name, group=group, accept=gone) for name in names])
    netlink.run([delete_group(group)])


def get_link(netlink: Netlink, name: str) -> Link:
    """An interface by name; OSError ENODEV where there is none."""
    body = _ifinfo(text(IFLA_IFNAME, name), number(IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS))
    return _link(netlink.get(Message(RTM_GETLINK, body, subject=name)))


def links(netlink: Netlink) -> list[Link]:
    """All interfaces."""
    body = _ifinfo(number(IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS))
    return [_link(answer) for answer in netlink.dump(Message(RTM_GETLINK, body))]


def _link(body: bytes) -> Link:
    index = _IFINFOMSG.unpack_from(body)[2]
    found = attributes(body[16:])
    kind = attributes(found.get(IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND, b"")
    return Link(
        index=index,
        name=os.fsdecode(found.get(IFLA_IFNAME, b"").rstrip(b"\0")),
        mtu=int.from_bytes(found.get(IFLA_MTU, b""), sys.byteorder),
        master=int.from_bytes(found.get(IFLA_MASTER, b""), sys.byteorder),
        kind=os.fsdecode(kind.rstrip(b"\0")),
    )


def routes(netlink: Netlink, *, family: int = _socket.AF_INET) -> list[Route]:
    """The routes of the main table."""
    body = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    answers = netlink.dump(Message(RTM_GETROUTE, body))
    return [_route(a) for a in answers if len(a) >= 12 and a[4] == _RT_TABLE_MAIN]


def _route(body: bytes) -> Route:
    found = attributes(body[12:])
    destination, gateway = found.get(_RTA_DST), found.get(_RTA_GATEWAY)
    return Route(
        destination=_socket.inet_ntop(body[0], destination) if destination else "",
        prefix=body[1],
        gateway=_socket.inet_ntop(body[0], gateway) if gateway else None,
        interface=int.from_bytes(found.get(_RTA_OIF, b""), sys.byteorder),
    )
