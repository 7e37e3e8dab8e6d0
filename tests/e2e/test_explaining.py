"""`graph`, `analyze` and `report` of a running stack."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

FILE = """
name: %s
services:
  db:
    image: pcompose/host
    command: [sh, -c, "cat /run/secrets/token; echo url=postgres://u:hunter22@db/x $$DB_PASSWORD; touch /tmp/up; exec sleep infinity"]
    environment: {DB_PASSWORD: open-sesame, PLAIN: visible-nowhere}
    healthcheck: {test: [CMD, test, -f, /tmp/up]}
    secrets: [token]
    volumes: ["data:/data"]
    stop_signal: SIGKILL
  web:
    image: pcompose/host
    command: sleep infinity
    depends_on: {db: {condition: service_healthy}}
    stop_signal: SIGKILL
volumes: {data: }
secrets: {token: {file: ./token}}
configs: {inline: {content: "quite-confidential"}}
"""  # noqa: E501


def test_a_stack_is_drawn_analysed_and_reported(stack: Stack) -> None:
    stack.write(FILE % stack.name)
    stack.write("s3cr3t-token\n", "token")
    refused = stack("analyze", ok=False)
    assert "nothing is known of an up" in refused.stderr
    stack("up", "-d", "--wait")

    drawn = stack("graph").stdout
    assert drawn.startswith("web  running\n└─ db  running (healthy)  [service_healthy]\n")
    assert "data: db:/data" in drawn
    ElementTree.fromstring(stack("graph", "--format", "svg").stdout)
    assert "unsupported format" in stack("graph", "--format", "png", ok=False).stderr

    blame = stack("analyze").stdout.splitlines()
    assert {line.split()[0] for line in blame} == {"SERVICE", "db", "web"}
    chain = stack("analyze", "chain").stdout
    assert "db service_healthy awaited" in chain
    assert f"{stack.name}-db-1 started" in chain
    data = json.loads(stack("analyze", "--format", "json").stdout)
    row = data["services"]["db"]
    assert 0 < row["first probe"] <= row["healthy"] < row["total"] <= data["took"] + 1
    ElementTree.fromstring(stack("analyze", "svg").stdout)
    stack("up", "-d", "--force-recreate", "--no-deps", "web")
    assert f"{stack.name}-web-1 removed" in stack("analyze", "chain").stdout

    path = stack("report", "-o", "r.tar.gz").stdout.strip()
    assert (stack.directory / path).stat().st_mode & 0o077 == 0
    assert "File exists" in stack("report", "-o", "r.tar.gz", ok=False).stderr
    with tarfile.open(stack.directory / path) as archive:
        parts = {m.name.partition("/")[2]: archive.extractfile(m) for m in archive.getmembers()}
        texts = {name: part.read().decode() for name, part in parts.items() if part}
    assert {"README.txt", "machine.json", "containers.json", "config.yaml", "events.jsonl",
            "last-up.json", "networks.json", "volumes.json", "supervisor.log"} <= set(texts)
    (log,) = (text for name, text in texts.items() if name.startswith(f"logs/{stack.name}-db-1"))
    assert "***" in log
    assert '"DB_PASSWORD": "***"' in texts["containers.json"]
    whole = "\n".join(texts.values())
    for secret in ("s3cr3t-token", "open-sesame", "visible-nowhere", "quite-confidential"):
        assert secret not in whole, secret


def test_an_attached_up_is_analysed_too_and_a_graph_needs_no_file(stack: Stack) -> None:
    stack.write(f"""
name: {stack.name}
services:
  one: {{image: pcompose/host, command: "true"}}
  two: {{image: pcompose/host, command: "true", depends_on: {{one: {{condition: service_completed_successfully}}}}}}
""")  # noqa: E501
    stack("up")
    assert "one service_completed_successfully awaited" in stack("analyze", "chain").stdout
    (stack.directory / "compose.yaml").unlink()
    assert stack("-p", stack.name, "graph").stdout.splitlines()[:2] == [
        "two  exited (0)", "└─ one  exited (0)  [service_completed_successfully]"]
