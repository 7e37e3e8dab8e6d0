"""Names beyond those of services: links, other projects, and names that nobody has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import Stack, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.sandbox import Sandbox

pytestmark = pytest.mark.e2e


@pytest.fixture
def other(sandbox: Sandbox, stack: Stack) -> Iterator[Stack]:
    """A second project beside `stack`."""
    directory = sandbox.directory / f"{stack.name}o"
    directory.mkdir()
    made = Stack(sandbox, directory, f"{stack.name}o")
    yield made
    made("-p", made.name, "down", "-v", "-t", "0", "--remove-orphans", ok=False)


def resolved(stack: Stack, service: str, name: str) -> set[str]:
    done = stack("exec", "-T", service, "getent", "ahostsv4", name, ok=False)
    return {line.split()[0] for line in done.stdout.splitlines()}


def test_projects_on_one_network_find_each_other_and_nothing_else(
    stack: Stack, other: Stack
) -> None:
    stack.write(f"""
services:
  db: {{image: pcompose/host, command: sleep infinity, networks: [shared, default]}}
  own: {{image: pcompose/host, command: sleep infinity}}
networks:
  shared: {{name: {stack.name}-shared}}
""")
    other.write(f"""
services:
  web:
    image: pcompose/host
    command: sleep infinity
    networks: [shared]
    external_links: ["{stack.name}-db-1:database"]
  apart: {{image: pcompose/host, command: sleep infinity}}
networks:
  shared: {{name: {stack.name}-shared, external: true}}
""")
    stack("-p", stack.name, "up", "-d")
    other("-p", other.name, "up", "-d")
    there = resolved(other, "web", "db")
    assert len(there) == 1
    assert resolved(other, "web", "database") == there
    assert resolved(other, "web", f"{stack.name}-db-1") == there
    assert len(resolved(stack, "db", "web")) == 1
    reverse = other.execute("web", "getent", "hosts", next(iter(there)))
    assert f"{stack.name}-db-1.{stack.name}-shared" in reverse
    assert resolved(other, "web", "own") == set()
    assert resolved(stack, "own", "web") == set()
    assert resolved(other, "apart", "db") == set()
    stack("-p", stack.name, "stop", "-t", "0", "db")
    assert resolved(other, "web", "db") == set()
    stack("-p", stack.name, "up", "-d", "--force-recreate")
    assert resolved(other, "web", "db") == there
    refused = stack("-p", stack.name, "down", "-t", "0")
    assert "Resource is still in use" in refused.stderr
    other("-p", other.name, "down", "-t", "0")
    stack("-p", stack.name, "down", "-t", "0")


def test_links_are_names_for_one_service_alone(stack: Stack) -> None:
    stack.write("""
services:
  web: {image: pcompose/host, command: sleep infinity, links: ["db:database", cache]}
  db: {image: pcompose/host, command: sleep infinity, scale: 2}
  cache: {image: pcompose/host, command: sleep infinity}
""")
    stack("-p", stack.name, "up", "-d")
    assert len(resolved(stack, "web", "database")) == 2
    assert resolved(stack, "web", "database") == resolved(stack, "cache", "db")
    assert resolved(stack, "cache", "database") == set()


def test_names_nobody_has_are_counted_and_explained(stack: Stack) -> None:
    stack.write("""
services:
  web: {image: pcompose/host, command: sleep infinity}
  postgres: {image: pcompose/host, command: sleep infinity, networks: [inner, default]}
  shut: {image: pcompose/host, command: sleep infinity, networks: [inner]}
networks: {inner: {internal: true}}
""")
    stack("-p", stack.name, "up", "-d")
    for _ in range(3):
        assert resolved(stack, "web", "postgress") == set()
    assert resolved(stack, "shut", "example.org") == set()
    told = stack("-p", stack.name, "ps", "--verbose").stdout
    assert re.search(f'{stack.name}-web-1 asked for "postgress" [0-9]+ times: nobody has that '
                     r"name \(did you mean postgres\?\)", told)
    assert "example.org" not in told
    happened = stack("-p", stack.name, "events", "--until", "0s", "--since", "10m", ok=False).stdout
    assert happened.count("dns_miss") == 1


def test_a_name_may_stand_for_healthy_replicas_and_follows_scale_at_once(stack: Stack) -> None:
    stack.write("""
services:
  web:
    image: pcompose/host
    command: sleep infinity
    scale: 2
    healthcheck: {test: "test ! -e /ill", interval: 100ms, retries: 1}
    networks: [choosy, all]
  asks: {image: pcompose/host, command: sleep infinity, networks: [choosy]}
  too: {image: pcompose/host, command: sleep infinity, networks: [all]}
networks:
  choosy: {driver_opts: {pcompose.dns.healthy: "true"}}
  all:
""")
    stack("-p", stack.name, "up", "-d", "--wait")
    both = resolved(stack, "asks", "web")
    assert len(both) == 2
    stack("-p", stack.name, "exec", "-T", "--index", "1", "web", "touch", "/ill")
    (left,) = eventually(lambda: len(found := resolved(stack, "asks", "web")) == 1 and found)
    assert resolved(stack, "asks", f"{stack.name}-web-2") == {left}
    assert len(resolved(stack, "too", "web")) == 2
    for count in (1, 3):
        stack("-p", stack.name, "scale", f"web={count}")
        assert len(resolved(stack, "too", "web")) == count
