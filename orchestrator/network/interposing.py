"""Interposing: a container's link is taken out of its bridge, and put back.

    eth0 in the container == pvID-N     [relay]     pxID-N == prID-N in the bridge

Between pvID-N and pxID-N frames pass only by the relay, which holds a packet socket on each.  Both
answer no ARP, so the host itself is still reached by way of the bridge alone.  Packets are cut to
size before they get there: what is lost, late or counted is one packet.
"""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct

from orchestrator.errors import NetworkError
from orchestrator.linux import netlink
from orchestrator.network import endpoint
from orchestrator.network.endpoint import Link
from orchestrator.network.relay import Crossing

_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 263, 15, 23
_GONE = (errno.ENOENT, errno.ESRCH, errno.ENODEV)
_SIOCETHTOOL, _ETHTOOL_STSO = 0x8946, 0x1F


def interpose(pid: int, link: Link, *, container: str, index: int, hairpin: bool) -> Crossing:
    """Take link `index` of the container, whose process is `pid`, out of its bridge; what is left
    of a relay before is replaced.  NetworkError, and the link as it was, where that cannot be."""
    host, inner, outer = _names(container, index)
    try:
        with netlink.Netlink() as sock:
            bridge = netlink.get_link(sock, link.bridge)
            sock.run([netlink.delete_link(outer)])
            sock.run([
                netlink.create_pair(outer, inner, mtu=bridge.mtu),
                netlink.set_link(inner, arp=False, ipv6_address=False, up=True),
                netlink.set_link(outer, ipv6_address=False, master=bridge.index, up=True),
                netlink.set_port(outer, isolated=link.isolated, hairpin=hairpin),
            ])  # fmt: skip
            try:
                _set_segmentation(outer, offloaded=False)
                with endpoint.inside(pid):
                    _set_segmentation(link.interface, offloaded=False)
                crossing = _open_crossing(host, inner)
                sock.run([netlink.set_link(host, master=0, arp=False, ipv6_address=False)])
            except BaseException:
                sock.run([netlink.delete_link(outer)])
                raise
    except OSError as exc:
        raise NetworkError(f"cannot put a fault on {link.interface} of container "
                           f"{container[:12]}: {exc.strerror}") from exc  # fmt: skip
    return crossing


def restore(pid: int, link: Link, *, container: str, index: int, hairpin: bool) -> None:
    """Put the link back into its bridge.  NetworkError where the kernel refuses; a link that has
    gone is no error."""
    host, _, outer = _names(container, index)
    try:
        with netlink.Netlink() as sock:
            sock.run([netlink.delete_link(outer)])
            bridge = netlink.get_link(sock, link.bridge)
            sock.run([
                netlink.set_link(host, master=bridge.index, arp=True),
                netlink.set_port(host, isolated=link.isolated, hairpin=hairpin),
            ])  # fmt: skip
        with endpoint.inside(pid):
            _set_segmentation(link.interface, offloaded=True)
    except OSError as exc:
        if exc.errno in _GONE:
            return
        raise NetworkError(f"cannot heal {link.interface} of container {container[:12]}: "
                           f"{exc.strerror}") from exc  # fmt: skip


def _names(container: str, index: int) -> tuple[str, str, str]:
    host = endpoint.host_interface(container, index)
    return host, f"px{host[2:]}", f"pr{host[2:]}"


def _open_crossing(inner: str, outer: str) -> Crossing:
    first = _open_packets(inner)
    try:
        return Crossing(first, _open_packets(outer))
    except BaseException:
        first.close()
        raise


def _open_packets(interface: str) -> socket.socket:
    """All that comes in by the interface, with the offloads it was left with (packet(7))."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)  # Linux 4.20
        sock.bind((interface, _ETH_P_ALL))
    except BaseException:
        sock.close()
        raise
    return sock


def _set_segmentation(interface: str, *, offloaded: bool) -> None:
    """Whether TCP hands the interface, of this namespace, more than a packet at once."""
    value = array.array("I", [_ETHTOOL_STSO, int(offloaded)])
    request = struct.pack("16sP16x", interface.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCETHTOOL, request)
