"""Subnets, addresses and interfaces as the file asks for them, IPv4 and IPv6."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

ADDRESSES = (
    "import socket, fcntl, json;"
    "s = socket.socket();"
    "f = lambda n: fcntl.ioctl(s, 0x8927, n.encode().ljust(40, b'\\0'))[18:24].hex(':');"
    "six = [l.split() for l in open('/proc/net/if_inet6')];"
    "g = lambda n: [socket.inet_ntop(10, bytes.fromhex(l[0])) for l in six if l[5] == n];"
    "print(json.dumps({n: [f(n), *g(n)] for _, n in socket.if_nameindex() if n != 'lo'}))"
)
ROUTES = (
    "print([l.split()[0] for l in open('/proc/net/route') if l.split()[1] == '00000000']);"
    "print([l.split()[-1] for l in open('/proc/net/ipv6_route') if l.split()[1] == '00' "
    "and l.split()[-1] != 'lo' and l.startswith('0' * 32)])"
)


def interfaces(stack: Stack, service: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(stack.execute(service, "python3", "-c", ADDRESSES))
    return found


def resolved(stack: Stack, service: str, name: str, database: str = "ahosts") -> set[str]:
    done = stack("exec", "-T", service, "getent", database, name, ok=False)
    return {line.split()[0] for line in done.stdout.splitlines()}


def inspect(stack: Stack, network: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(stack("network", "inspect", network).stdout)
    return found[0]


def test_everything_a_service_may_ask_of_its_networks(stack: Stack) -> None:
    stack.write("""
services:
  a:
    image: pcompose/host
    command: sleep infinity
    networks:
      back:
        ipv4_address: 10.77.1.66
        ipv6_address: fd77::66
        mac_address: "02:00:00:00:00:66"
        interface_name: lan
        link_local_ips: [169.254.8.9, "fe80::66"]
        gw_priority: 5
        driver_opts: {com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.log_martians=1}
      front: {priority: 7, aliases: [Portal]}
  b: {image: pcompose/host, command: sleep infinity, networks: [front, back], mac_address: "02:00:00:00:00:77"}
networks:
  front: {driver_opts: {com.docker.network.driver.mtu: "1400"}}
  back:
    enable_ipv6: true
    ipam:
      config:
        - {subnet: 10.77.1.0/24, ip_range: 10.77.1.64/30, gateway: 10.77.1.254, aux_addresses: {router: 10.77.1.65}}
        - {subnet: "fd77::/64"}
""")  # noqa: E501
    stack("-p", stack.name, "up", "-d")
    mine = interfaces(stack, "a")
    assert set(mine) == {"eth0", "lan"}
    assert mine["lan"][0] == "02:00:00:00:00:66"
    assert {"fd77::66", "fe80::66"} <= set(mine["lan"])
    assert interfaces(stack, "b")["eth0"][0] == "02:00:00:00:00:77"
    assert stack.execute("a", "python3", "-c", ROUTES).split() == ["['lan']", "['lan']"]
    assert stack.execute("a", "cat", "/sys/class/net/eth0/mtu") == "1400\n"
    martians = stack.execute("a", "cat", "/proc/sys/net/ipv4/conf/lan/log_martians")
    assert martians == "1\n"
    assert {"10.77.1.66", "fd77::66"} <= resolved(stack, "b", f"a.{stack.name}_back")
    [free] = resolved(stack, "b", f"b.{stack.name}_back", "ahostsv4")
    assert free in ("10.77.1.64", "10.77.1.67")  # which of them, the name of the project decides
    front = resolved(stack, "b", f"a.{stack.name}_front")
    assert resolved(stack, "b", "portal") == front
    assert resolved(stack, "b", "fd77::66", "hosts") == {"fd77::66"}


def test_the_options_of_the_driver_do_what_they_say(stack: Stack) -> None:
    stack.write("""
services:
  a: {image: pcompose/host, command: "python3 -m http.server 80", ports: ["18990:80"]}
  b: {image: pcompose/host, command: sleep infinity}
networks:
  default:
    driver_opts:
      com.docker.network.bridge.name: br-mine
      com.docker.network.bridge.enable_icc: "false"
      com.docker.network.bridge.host_binding_ipv4: 127.0.0.1
      com.docker.network.container_iface_prefix: lan
""")
    stack("-p", stack.name, "up", "-d")
    assert "br-mine" in stack.interfaces()
    assert set(interfaces(stack, "a")) == {"lan0"}
    assert stack("-p", stack.name, "port", "a", "80").stdout == "127.0.0.1:18990\n"
    eventually(lambda: stack.fetch("http://127.0.0.1:18990"))
    reach = "import socket; socket.create_connection(('a', 80), 0.5)"
    refused = stack("exec", "-T", "b", "python3", "-c", reach, ok=False)
    assert "Error" in refused.stderr


def test_an_ipv6_network_without_subnets_gets_a_local_one_that_stays(stack: Stack) -> None:
    stack.write("""
services:
  a: {image: pcompose/host, command: sleep infinity}
  only: {image: pcompose/host, command: sleep infinity, networks: [six]}
  too: {image: pcompose/host, command: sleep infinity, networks: [six]}
networks:
  default: {enable_ipv6: true}
  six: {enable_ipv6: true, enable_ipv4: false}
""")
    stack("-p", stack.name, "up", "-d")
    first = [address for address in interfaces(stack, "a")["eth0"] if address.startswith("fd")]
    assert len(first) == 1
    assert resolved(stack, "only", "too", "ahostsv4") == set()
    there = resolved(stack, "only", "too").pop()
    assert there.startswith("fd")
    reach = f"import socket; socket.create_connection(('{there}', 9), 3)"
    refused = stack("exec", "-T", "only", "python3", "-c", reach, ok=False)
    assert "ConnectionRefusedError" in refused.stderr  # so somebody was there
    stack("-p", stack.name, "down")
    stack("-p", stack.name, "up", "-d")
    assert first[0] in interfaces(stack, "a")["eth0"]


def test_networks_are_made_listed_shared_and_pruned_by_hand(stack: Stack) -> None:
    name = f"{stack.name}-outer"
    stack("network", "create", "--subnet", "10.78.0.0/24", "--label", "of=all", name)
    stack.write(f"""
services:
  a: {{image: pcompose/host, command: sleep infinity, networks: [outer]}}
networks:
  outer: {{external: true, name: {name}}}
""")
    stack("-p", stack.name, "up", "-d")
    told = inspect(stack, name)
    assert told["IPAM"]["Config"] == [{"Subnet": "10.78.0.0/24", "Gateway": "10.78.0.1"}]
    assert told["Labels"]["of"] == "all"
    assert [c["Name"] for c in told["Containers"].values()] == [f"{stack.name}-a-1"]
    refused = stack("network", "rm", name, ok=False)
    assert f"container {stack.name}-a-1 is on it" in refused.stderr
    stack("network", "prune", "-f")
    stack("-p", stack.name, "down")
    assert stack("network", "ls", "-q").stdout == f"{name}\n"  # external: not ours to remove
    assert stack("network", "prune", "-f").stdout == f"Deleted Networks:\n{name}\n"
    assert stack("network", "ls", "-q").stdout == ""


@pytest.mark.parametrize(
    ("network", "endpoint", "place", "words"),
    [
        ("{driver_opts: {com.docker.network.bridge.what: x}}", "", "5:", "has no option"),
        ("{ipam: {config: [{subnet: 10.79.0.0/31}]}}", "", "5:", "too small"),
        ("{ipam: {config: [{subnet: 10.79.0.0/24, gateway: 10.80.0.1}]}}", "", "5:",
         "gateway 10.80.0.1 is no address"),
        ("{enable_ipv4: false}", "", "5:", "neither IPv4 nor IPv6"),
        ("{}", "ipv6_address: 'fd00::1'", "3:", "it has none of that family"),
        ("{}", "mac_address: '01:00:00:00:00:01'", "3:", "no MAC address of one interface"),
        ("{}", "interface_name: 'far/too'", "3:", "cannot be the name of an interface"),
        ("{}", "link_local_ips: [10.0.0.1]", "3:", "no link-local address"),
        ("{}", "driver_opts: {x: y}", "3:", "an endpoint has no option 'x'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    stack: Stack, network: str, endpoint: str, place: str, words: str
) -> None:
    stack.write(f"""
services:
  a: {{image: pcompose/host, command: sleep infinity, networks: {{n: {{{endpoint}}}}}}}
networks:
  n: {network}
""")
    told = stack("-p", stack.name, "up", "-d", ok=False).stderr
    assert f"compose.yaml:{place}" in told, told
    assert words in told, told
    assert stack.remains() == {}
