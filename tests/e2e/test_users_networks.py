"""What users of Compose tools stumbled over, running stacks: volumes, order, names, addresses.

R-46 is in test_crashes, R-49 in test_network, R-51 in test_refusals, R-52 and R-53 in test_secrets.
"""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.e2e import rootfs
from tests.e2e.sandbox import Stack, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.sandbox import Sandbox

pytestmark = pytest.mark.e2e


def resolved(stack: Stack, service: str, name: str, database: str = "ahostsv4") -> set[str]:
    done = stack("exec", "-T", service, "getent", database, name, ok=False)
    return {line.split()[0] for line in done.stdout.splitlines()}


def image(stack: Stack, said: str) -> None:
    """Import the image `r42`: a shell, ls, touch and sleep, and /data/SAID in a volume."""
    path = stack.directory / "image.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("sh", "ls", "touch", "sleep"):
            rootfs.add_program(tar, name)
        member = tarfile.TarInfo(f"data/{said}")
        tar.addfile(member, io.BytesIO())
    stack("import", "--change", 'VOLUME ["/data"]', "--change", "CMD /bin/sleep infinity",
          str(path), "r42")  # fmt: skip


def test_r42_an_anonymous_volume_is_kept_when_the_image_changes(stack: Stack) -> None:
    image(stack, "first")
    stack.write("services:\n  a: {image: r42}\n"
                "  b: {image: pcompose/host, command: sleep infinity}\n")  # fmt: skip
    stack("-p", stack.name, "up", "-d")
    stack.execute("a", "touch", "/data/mine")
    before = {name: row["ID"] for name, row in stack.ps().items()}
    image(stack, "second")
    told = stack("-p", stack.name, "up", "-d").stderr
    assert f"anonymous volume /data of {stack.name}-a-1 is kept" in told
    assert stack.execute("a", "ls", "/data").split() == ["first", "mine"]
    after = {name: row["ID"] for name, row in stack.ps().items()}
    assert {name for name in before if before[name] != after[name]} == {f"{stack.name}-a-1"}
    stack("-p", stack.name, "up", "-d", "-V")
    assert stack.execute("a", "ls", "/data").split() == ["second"]


def test_r43_down_stops_dependents_before_what_they_depend_on(stack: Stack) -> None:
    stack.write("""
x-one: &one
  image: pcompose/host
  command:
    - python3
    - -c
    - |
      import signal, sys, time
      def end(*_):
          time.sleep(0.2)
          print("end", time.time(), flush=True)
          sys.exit()
      signal.signal(signal.SIGTERM, end)
      print("begin", flush=True)
      while True: signal.pause()
services:
  web: {<<: *one, depends_on: [api]}
  api: {<<: *one, depends_on: [db]}
  db: *one
""")
    stack("-p", stack.name, "up", "-d")
    eventually(lambda: len(stack.logs()) == 3)
    follower = stack.start("-p", stack.name, "events", "--json", "--since", "0")
    stack("-p", stack.name, "down")
    assert follower.stdout is not None
    events: list[dict[str, str]] = []
    while [event["action"] for event in events].count("destroy") < 3:
        events.append(json.loads(follower.stdout.readline()))
    follower.terminate()
    follower.communicate()
    order = [(e["action"], e["service"]) for e in events if e["action"] in ("kill", "die")]
    assert order == [(action, service) for service in ("web", "api", "db")
                     for action in ("kill", "die")]  # fmt: skip


def test_r47_a_static_address_is_on_its_own_network(stack: Stack) -> None:
    stack.write("""
services:
  a:
    image: pcompose/host
    command: sleep infinity
    networks:
      one:
      two: {ipv4_address: 10.76.2.40, mac_address: "02:00:00:00:00:40"}
networks:
  one: {ipam: {config: [{subnet: 10.76.1.0/24}]}}
  two: {ipam: {config: [{subnet: 10.76.2.0/24}]}}
""")
    stack("-p", stack.name, "up", "-d")
    found = {}
    for name in ("one", "two"):
        (network,) = json.loads(stack("network", "inspect", f"{stack.name}_{name}").stdout)
        (member,) = network["Containers"].values()
        found[name] = (member["IPv4Address"], member["MacAddress"])
    assert found["two"] == ("10.76.2.40/24", "02:00:00:00:00:40")
    assert found["one"][0].startswith("10.76.1.")
    shown = stack.execute("a", "sh", "-c", "cat /proc/net/fib_trie; cat /sys/class/net/*/address")
    assert "10.76.2.40" in shown
    assert "02:00:00:00:00:40" in shown


def test_r48_every_name_resolves_from_every_peer_also_on_an_internal_network(stack: Stack) -> None:
    stack.write(f"""
services:
  a:
    image: pcompose/host
    command: sleep infinity
    container_name: {stack.name}-named
    networks: {{one: {{aliases: [only-one]}}, shut: {{aliases: [only-shut]}}}}
  b: {{image: pcompose/host, command: sleep infinity, networks: [one]}}
  c: {{image: pcompose/host, command: sleep infinity, networks: [shut]}}
  d: {{image: pcompose/host, command: sleep infinity, networks: [one, shut]}}
networks: {{one: , shut: {{internal: true}}}}
""")
    stack("-p", stack.name, "up", "-d")
    here = {}
    for peer, alias, other in (("b", "only-one", "only-shut"), ("c", "only-shut", "only-one")):
        (here[peer],) = resolved(stack, peer, "a")
        assert resolved(stack, peer, f"{stack.name}-named") == {here[peer]}
        assert resolved(stack, peer, alias) == {here[peer]}
        assert resolved(stack, peer, other) == set()
    assert here["b"] != here["c"]
    assert resolved(stack, "d", "only-one") == {here["b"]}
    assert resolved(stack, "d", "only-shut") == {here["c"]}


def test_r50_ipv6_needs_no_subnet_and_takes_a_static_address(stack: Stack) -> None:
    stack.write("""
services:
  a: {image: pcompose/host, command: sleep infinity}
  b:
    image: pcompose/host
    command: sleep infinity
    networks: {default: , six: {ipv6_address: "fd76::40"}}
  c: {image: pcompose/host, command: sleep infinity, networks: [six]}
networks:
  default: {enable_ipv6: true}
  six: {enable_ipv6: true, ipam: {config: [{subnet: "fd76::/64"}]}}
""")
    stack("-p", stack.name, "up", "-d")
    (local,) = resolved(stack, "a", "b", "ahostsv6")
    assert local.startswith("fd")
    assert resolved(stack, "c", "b", "ahostsv6") == {"fd76::40"}


@pytest.fixture
def other(sandbox: Sandbox, stack: Stack) -> Iterator[Stack]:
    directory = sandbox.directory / f"{stack.name}o"
    directory.mkdir()
    made = Stack(sandbox, directory, f"{stack.name}o")
    yield made
    made("-p", made.name, "down", "-v", "-t", "0", "--remove-orphans", ok=False)


def test_a_port_of_another_project_is_named_with_it_before_anything_is_made(
    stack: Stack, other: Stack
) -> None:
    text = "services:\n  a:\n    image: pcompose/host\n    command: sleep infinity\n" \
           "    ports: ['18970:80']\n"  # fmt: skip
    other.write(text)
    other("-p", other.name, "up", "-d")
    stack.write(text)
    told = stack("-p", stack.name, "up", "-d", ok=False).stderr
    assert f"the port is held by project {other.name} (pid " in told
    assert "compose.yaml:5" in told
    assert stack("-p", stack.name, "ps", "-a", "-q").stdout == ""
    assert f"{stack.name}_default" not in stack("network", "ls", "-q").stdout


def test_who_depends_with_restart_is_restarted_with_whom_it_depends_on(stack: Stack) -> None:
    text = """
services:
  web:
    image: pcompose/host
    command: sleep infinity
    depends_on: {db: {condition: service_started, restart: true}}
  aside: {image: pcompose/host, command: sleep infinity, depends_on: [db]}
  db: {image: pcompose/host, command: sleep infinity, environment: {GENERATION: "%s"}}
"""
    stack.write(text % "1")
    stack("-p", stack.name, "up", "-d")
    pids = {service: stack.pid(service) for service in ("web", "aside", "db")}
    stack("-p", stack.name, "restart", "-t", "0", "db")
    now = {service: stack.pid(service) for service in pids}
    assert {s for s in pids if pids[s] != now[s]} == {"db", "web"}
    stack.write(text % "2")
    stack("-p", stack.name, "up", "-d", "-t", "0")
    again = {service: stack.pid(service) for service in pids}
    assert {s for s in pids if now[s] != again[s]} == {"db", "web"}
