"""--dry-run changes nothing: files and kernel objects are the same, byte by byte (R-40)."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import leftovers
from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

BEFORE = """
services:
  web: {image: pcompose/host, command: sleep infinity, volumes: [data:/data], ports: ["0:80"]}
  gone: {image: pcompose/host, command: sleep infinity}
  ended: {image: pcompose/host, command: "true"}
volumes: {data: {}}
"""
AFTER = """
services:
  web:
    image: pcompose/host
    command: sleep 1000
    volumes: [data:/data, more:/more]
    networks: [default, other]
    post_start: [{command: touch /hook}]
  ended: {image: pcompose/host, command: "true"}
volumes: {data: {}, more: {}}
networks: {other: {}}
"""
EVERY = (
    "up", "up -d --force-recreate --remove-orphans -V", "up -d --wait web",
    "scale web=3", "run --rm -T web true", "run -d --name x web true",
    "exec -T web touch /x", "cp {here}/compose.yaml web:/x", "cp web:/etc/passwd {here}/taken",
    "export web -o {here}/out.tar", "stop", "kill", "rm -f",
    "rm -fsv", "restart", "start", "down", "down -v --rmi all --remove-orphans", "wait ended",
    "import {here}/compose.yaml x", "load -i {here}/compose.yaml", "attach web",
    "volume create x", "volume prune -f",
)  # fmt: skip


def state(stack: Stack) -> dict[str, object]:
    """Everything that a command could have changed."""
    files = {}
    for top in ("data", "run"):
        for directory, _, names in os.walk(stack.directory.parent / top):
            files[directory] = ""
            for name in names:
                path = Path(directory, name)
                if path.is_file() and "/cache/" not in str(path):
                    info = path.stat()
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    files[str(path)] = f"{digest} {info.st_mtime_ns} {info.st_ino}"
    assert stack.sandbox.holder is not None
    pids = [row["Pid"] for row in stack.ps().values()]
    return {
        "files": files,
        "here": sorted(p.name for p in stack.directory.iterdir()),
        "interfaces": sorted(stack.interfaces()),
        "mounts": [m for m in leftovers.mounts(str(stack.sandbox.holder.pid))
                   if str(stack.directory.parent) in m],
        "cgroups": [c for c in leftovers.cgroups() if f"/pcompose-{stack.name}-" in c],
        "processes": [(p, Path(f"/proc/{p}/stat").read_text().split()[21]) for p in pids if p],
        "rules": stack.sandbox.run(["nft", "list", "ruleset"]).stdout,
    }


def test_a_dry_run_of_any_command_changes_not_a_byte(stack: Stack) -> None:
    stack.write(BEFORE)
    p = ("-p", stack.name)
    stack(*p, "up", "-d")
    stack(*p, "wait", "ended", ok=False)
    for process in ("supervisor_pid", "keeper_pid"):
        assert stack.ls()[process]
    stack.write(AFTER)
    stack(*p, "plan", ok=False)  # fills the cache of validated files
    ended = stack.ps()[f"{stack.name}-ended-1"]["ID"][:12]
    eventually(lambda: not [c for c in leftovers.cgroups() if ended in c], what="its groups go")
    before = state(stack)
    for text in EVERY:
        words = text.format(here=stack.directory).split()
        done = stack(*p, "--dry-run", *words, ok=False)
        assert "internal error" not in done.stderr, f"{text}: {done.stderr}"
        assert done.returncode == 0, f"{text}: {done.stderr}"
        if words[0] != "volume":
            assert done.stdout, text
            assert all(w.startswith("DRY-RUN MODE - ") for w in done.stdout.splitlines()), text
    after = state(stack)
    assert {kind: what for kind, what in after.items() if what != before[kind]} == {}


def test_names_resources_and_limits_as_the_root_flags_say(stack: Stack) -> None:
    stack.write("""
services:
  web: {image: pcompose/host, command: sleep infinity, scale: 3}
networks: {unused: {}}
volumes: {unused: {}}
""")
    p = ("-p", stack.name)
    stack(*p, "--compatibility", "--all-resources", "--parallel", "1", "up", "-d")
    n = stack.name
    assert set(stack.ps()) == {f"{n}_web_1", f"{n}_web_2", f"{n}_web_3"}
    listed = json.loads(stack(*p, "volumes", "--format", "json").stdout)
    assert listed["Name"] == f"{n}_unused"
    assert len(stack.interfaces()) == 1 + 2 + 3, "lo, two bridges, three links"
    stack(*p, "up", "-d")
    assert set(stack.ps()) == {f"{n}_web_1", f"{n}_web_2", f"{n}_web_3"}, "names stay"
    assert stack.execute("web", "true") == ""
    shown = stack(*p, "ps", "--format", "{{.Service}}/{{.State}}").stdout
    assert shown == "web/running\n" * 3
    heads = stack(*p, "ps", "--format", "table {{.Name}}\\t{{.Status}}").stdout.splitlines()[0]
    assert heads.split() == ["NAME", "STATUS"]
    number = stack(*p, "ps", "-q", "--format", "x").stdout.split()
    assert len(number) == 3
    label = stack(*p, "ps", "--format", '{{.Label "com.docker.compose.service"}}').stdout
    assert label == "web\n" * 3
    assert "there is no field Nope" in stack(*p, "ps", "--format", "{{.Nope}}", ok=False).stderr
    assert stack("ls", "--format", "{{.Name}}").stdout == f"{n}\n"
    used = stack(*p, "images", "--format", "{{.Repository}}").stdout.split()
    assert used == ["pcompose/host"] * 3
