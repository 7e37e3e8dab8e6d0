"""What commands print, whole, with only ids, times and sizes put out of the way."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import __version__

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

FILE = """
name: %s
services:
  db:
    image: pcompose/host
    command: sh -c "echo up; exec sleep infinity"
    healthcheck: {test: "true"}
    volumes: ["data:/data"]
    labels: {a.b: c}
    stop_signal: SIGKILL
  web:
    image: pcompose/host
    command: sleep infinity
    ports: ["8080:80", "9000:9000/udp"]
    stop_signal: SIGKILL
volumes: {data: }
"""

PLACES = (
    (r"\b[0-9a-f]{64}\b", "<ID>"), (r"\b[0-9a-f]{12}\b", "<SHORT>"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<TIME>"), (r"\d{4}-\d\d-\d\d [\d:.]+( \+0000 UTC)?", "<TIME>"),
    (r"(Less than a|\d+) (second|minute|hour)s?( ago)?", "<AGE>"),
    (r"\b\d+(\.\d+)?(B|kB|MB|GB|KiB|MiB|GiB)\b", "<SIZE>"), (r"\d+\.\d\d%", "<PER CENT>"),
    (r"\d\d:\d\d(:\d\d)?", "<CLOCK>"),
)  # fmt: skip


@pytest.fixture
def up(stack: Stack) -> Stack:
    stack.write(FILE % stack.name)
    stack("up", "-d", "--wait")
    return stack


def shown(stack: Stack, *arguments: str) -> list[str]:
    """Lines without what differs from run to run; runs of blanks are one, as widths differ."""
    text = str(stack(*arguments).stdout).replace(stack.name, "p")
    text = text.replace(str(stack.directory.parent), "")
    for pattern, name in PLACES:
        text = re.sub(pattern, name, text)
    return [re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines()]


def objects(stack: Stack, *arguments: str) -> list[dict[str, Any]]:
    text = str(stack(*arguments).stdout)
    return [json.loads(line) for line in text.splitlines()]


def test_tables(up: Stack) -> None:
    assert shown(up, "ps") == [
        "NAME  IMAGE  COMMAND  SERVICE  CREATED  STATUS  PORTS",
        'p-db-1  pcompose/host  "sh -c \'echo up; exe…"  db  <AGE>  Up <AGE> (healthy)',
        'p-web-1  pcompose/host  "sleep infinity"  web  <AGE>  Up <AGE>  0.0.0.0:8080->80/tcp, '
        "[::]:8080->80/tcp, 0.0.0.0:9000->9000/udp, [::]:9000->9000/udp",
    ]
    assert shown(up, "ls") == ["NAME  STATUS  CONFIG FILES", "p  running(2)  /p/compose.yaml"]
    assert shown(up, "images") == [
        "CONTAINER  REPOSITORY  TAG  PLATFORM  IMAGE ID  SIZE  CREATED",
        "p-db-1  pcompose/host  latest  linux/amd64  <SHORT>  <SIZE>  <AGE>",
        "p-web-1  pcompose/host  latest  linux/amd64  <SHORT>  <SIZE>  <AGE>",
    ]
    assert shown(up, "volumes") == ["DRIVER  VOLUME NAME", "local  p_data"]
    assert shown(up, "stats", "--no-stream") == [
        "CONTAINER ID  NAME  CPU %  MEM USAGE / LIMIT  MEM %  NET I/O  BLOCK I/O  PIDS",
        *(f"<SHORT>  p-{name}-1  <PER CENT>  <SIZE> / <SIZE>  <PER CENT>  <SIZE> / <SIZE>  "
          "<SIZE> / <SIZE>  1" for name in ("db", "web")),
    ]  # fmt: skip
    head, *rows = up("top").stdout.splitlines()
    assert head.split() == ["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME",
                            "CMD"]  # fmt: skip
    assert [(r.split()[0], r.split()[1], r.split()[2], r.split()[9:]) for r in rows] == [
        ("db", "1", "root", ["sleep", "infinity"]), ("web", "1", "root", ["sleep", "infinity"])]
    assert shown(up, "port", "web", "80") == ["0.0.0.0:8080"]
    assert shown(up, "port", "--protocol", "udp", "web", "9000") == ["0.0.0.0:9000"]
    assert up("version").stdout == f"pcompose version v{__version__}\n"
    assert up("version", "--short").stdout == f"{__version__}\n"
    assert shown(up, "events", "--since", "5m", "--until", "0s", "db") == [
        f"<TIME> container {action} <ID> (a.b=c, image=pcompose/host, name=p-db-1, "
        "pcompose.host=sha256:<ID>)" if action else ""
        for action in ("create", "", "start", "", "health_status: healthy", "")
    ]


def test_objects(up: Stack) -> None:
    db, web = objects(up, "ps", "--format", "json")
    keys = ["Command", "CreatedAt", "ExitCode", "Health", "ID", "Image", "Labels", "LocalVolumes",
            "Mounts", "Name", "Names", "Networks", "Pid", "Ports", "Project", "Publishers",
            "RunningFor", "Service", "Size", "State", "Status"]  # fmt: skip
    assert list(db) == keys
    assert [db[k] for k in ("Health", "State", "Service", "ExitCode", "Publishers", "Mounts")] == [
        "healthy", "running", "db", 0, [], f"{up.name}_data"]  # fmt: skip
    publishers = web["Publishers"]
    assert publishers[0] == {"URL": "0.0.0.0", "TargetPort": 80, "PublishedPort": 8080,
                             "Protocol": "tcp"}  # fmt: skip
    assert [p["TargetPort"] for p in publishers] == [80, 80, 9000, 9000]
    labels = str(db["Labels"]).split(",")
    reserved = {label.split("=")[0] for label in labels if label.startswith("com.docker.compose.")}
    assert reserved == {f"com.docker.compose.{name}" for name in (
        "config-hash", "container-number", "depends_on", "image", "oneoff", "project",
        "project.config_files", "project.working_dir", "service", "version")}  # fmt: skip

    (row,) = json.loads(up("ls", "--format", "json").stdout)
    assert list(row)[:3] == ["Name", "Status", "ConfigFiles"]
    images = json.loads(up("images", "--format", "json").stdout)
    assert list(images[0]) == ["ID", "ContainerName", "Repository", "Tag", "Platform", "Size",
                               "Created", "LastTagTime"]  # fmt: skip
    assert list(objects(up, "volumes", "--format", "json")[0]) == [
        "Availability", "Driver", "Group", "Labels", "Links", "Mountpoint", "Name", "Scope",
        "Size", "Status"]  # fmt: skip
    assert list(objects(up, "stats", "--no-stream", "--format", "json")[0]) == [
        "BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"]
    assert up("version", "--format", "json").stdout == f'{{"version":"v{__version__}"}}\n'
    told = objects(up, "events", "--json", "--since", "5m", "--until", "0s")
    assert list(told[0]) == ["action", "attributes", "id", "service", "time", "type"]
    assert [e["action"] for e in told if e["service"] == "db"] == [
        "create", "start", "health_status: healthy"]
    assert all("com.docker.compose" not in str(e["attributes"]) for e in told)
