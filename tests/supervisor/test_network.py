"""Names and published ports of running containers."""

from __future__ import annotations

import socket

import pytest

from orchestrator.linux import netlink
from orchestrator.runtime.spec import PublishedPort
from orchestrator.state import observe
from orchestrator.state.records import NetworkRecord
from orchestrator.supervisor import protocol
from tests.supervisor.ground import SUBNET, Ground, words

pytestmark = pytest.mark.kernel

FOREVER = "exec sleep 1000"
SERVE = (
    "exec python3 -c 'import socket\n"
    "s = socket.create_server((\"\", 8080))\n"
    "print(\"ready\", flush=True)\n"
    "while True: c, a = s.accept(); c.sendall(b\"hello\"); c.close()'"
)


@pytest.fixture
def network(ground: Ground) -> NetworkRecord:
    record = ground.network()
    events = ground.execute(protocol.CreateNetwork(number=1, record=record.to_json()))
    assert words(events) == ["Network p_default Creating", "Network p_default Created"]
    return record


def port(number: int = 0) -> PublishedPort:
    return PublishedPort(target=8080, protocol="tcp", host_ip="127.0.0.1", first=number,
                         last=number)  # fmt: skip


def hello(number: int) -> bytes:
    """What the service answers; tries again while it does not listen yet."""
    import time

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", number), timeout=5) as sock:
                if answer := sock.recv(100):
                    return answer
        except (ConnectionResetError, TimeoutError):
            continue
    raise AssertionError("no answer")


def test_containers_find_each_other_by_name(ground: Ground, network: NetworkRecord) -> None:
    db = ground.spec("db", FOREVER, endpoints=(ground.endpoint(network, 2, "db", "alias"),))
    web = ground.spec("web", FOREVER, endpoints=(ground.endpoint(network, 3, "web"),))
    ground.up(db, web)
    code, output = ground.exec(web, "getent", "ahostsv4", "alias")
    assert code == 0
    assert output.split()[0] == f"{SUBNET}.2"
    assert ground.exec(web, "getent", "ahostsv4", "nobody")[0] == 2


def test_a_stopped_container_has_no_name(ground: Ground, network: NetworkRecord) -> None:
    db = ground.spec("db", FOREVER, endpoints=(ground.endpoint(network, 2, "db"),))
    web = ground.spec("web", FOREVER, endpoints=(ground.endpoint(network, 3, "web"),))
    ground.up(db, web)
    ground.stop(db)
    assert ground.exec(web, "getent", "ahostsv4", "db")[0] == 2


def test_a_published_port_leads_into_the_container(ground: Ground, network: NetworkRecord) -> None:
    web = ground.spec("web", SERVE, ports=(port(),), endpoints=(ground.endpoint(network, 2),))
    ground.up(web)
    [bound] = ground.status(web).ports
    assert bound["target"] == 8080
    assert hello(bound["published"]) == b"hello"
    ground.stop(web)
    assert ground.status(web).ports == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", bound["published"]))


def test_names_and_ports_survive_the_supervisor(ground: Ground, network: NetworkRecord) -> None:
    ends = (ground.endpoint(network, 2, "web"),)
    web = ground.spec("web", SERVE, ports=(port(),), endpoints=ends)
    ground.up(web)
    number = ground.status(web).ports[0]["published"]
    ground.kill(ground.info()["pid"])
    assert hello(number) == b"hello"
    assert ground.exec(web, "getent", "ahostsv4", "web")[0] == 0


def test_names_and_ports_survive_the_keeper(ground: Ground, network: NetworkRecord) -> None:
    ends = (ground.endpoint(network, 2, "web"),)
    web = ground.spec("web", SERVE, ports=(port(),), endpoints=ends)
    ground.up(web)
    number = ground.status(web).ports[0]["published"]
    ground.kill(ground.info()["keeper_pid"])
    assert hello(number) == b"hello"
    assert ground.exec(web, "getent", "ahostsv4", "web")[0] == 0
    ground.kill(ground.info()["pid"])
    assert hello(number) == b"hello"


def test_a_network_in_use_is_left_with_a_warning(ground: Ground, network: NetworkRecord) -> None:
    web = ground.spec("web", FOREVER, endpoints=(ground.endpoint(network, 2),))
    ground.up(web)
    events = ground.execute(protocol.RemoveNetwork(number=1, name=network.name))
    assert words(events) == ["Network p_default Resource is still in use"]
    assert observe.interface_exists(network.bridge)


def test_removing_everything_leaves_no_interface(ground: Ground, network: NetworkRecord) -> None:
    specs = [ground.spec("web", FOREVER, index=n, endpoints=(ground.endpoint(network, n + 1),))
             for n in range(1, 6)]  # fmt: skip
    ground.up(*specs)
    ground.down()
    with netlink.Netlink() as sock:
        assert [link.name for link in netlink.links(sock)] == ["lo"]


def test_a_bridge_that_is_gone_is_made_again_at_the_start(
    ground: Ground, network: NetworkRecord
) -> None:
    with netlink.Netlink() as sock:
        sock.run([netlink.delete_link(network.bridge)])
    web = ground.spec("web", FOREVER, endpoints=(ground.endpoint(network, 2),))
    ground.up(web)
    assert ground.ran(web)
