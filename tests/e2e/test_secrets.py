"""Secrets and configs, from every source, as a service sees them and as nobody else does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

HUSH = "hush-hush-4711"


def everything(directory: Path) -> str:
    """What lies below a directory and others may read, and all logs."""
    return "\n".join(
        path.read_text(errors="replace") for path in directory.rglob("*")
        if not path.is_symlink() and path.is_file() and "images" not in path.parts
        and (path.stat().st_mode & 0o044 or path.suffix == ".log")
    )  # fmt: skip


def test_every_source_owner_mode_and_target(stack: Stack) -> None:
    stack.write(HUSH, "token.txt")
    stack.sandbox.environment["API_KEY"] = "from-environment"
    stack("secrets", "create", "shared", str(stack.write("from-store", "shared.txt")))
    stack("configs", "create", "site", "-", input="from stdin")
    stack.write("""
services:
  web:
    image: pcompose/host
    command: sleep infinity
    user: "1000"
    read_only: true
    secrets:
      - token
      - {source: key, target: /opt/key, uid: "70", gid: "71", mode: 0400}
      - {source: outer, target: renamed, mode: 0440}
    configs:
      - plain
      - {source: empty, target: /etc/app/empty.conf, mode: 0555}
      - site
secrets:
  token: {file: ./token.txt}
  key: {environment: API_KEY}
  outer: {external: true, name: shared}
configs:
  plain: {content: "user=${API_KEY} cost=$$5\\n"}
  empty: {content: ""}
  site: {external: true}
""")
    up = stack("-p", stack.name, "up", "-d")
    show = ("for f in /run/secrets/token /opt/key /run/secrets/renamed /plain /site"
            " /etc/app/empty.conf; do stat -c '%u %g %a %s' $f; cat $f; echo; done")  # fmt: skip
    seen = stack("exec", "-T", "--user", "0", "web", "sh", "-c", show).stdout
    assert seen.splitlines() == [
        "1000 0 444 14", HUSH, "70 71 400 16", "from-environment", "1000 0 440 10", "from-store",
        "1000 0 444 30", "user=from-environment cost=$5", "", "1000 0 444 10", "from stdin",
        "1000 0 555 0", "",
    ]  # fmt: skip
    refused = stack("exec", "-T", "web", "cat", "/opt/key", ok=False)
    assert "Permission denied" in refused.stderr
    told = up.stdout + up.stderr + stack("config").stdout
    told += everything(stack.sandbox.directory / "run")
    told += everything(stack.sandbox.directory / "data")
    assert HUSH not in told
    assert "from-store" not in told


def test_a_changed_content_makes_its_users_again_and_nobody_else(stack: Stack) -> None:
    stack.write("one", "token.txt")
    stack.write("""
services:
  uses: {image: pcompose/host, command: sleep infinity, secrets: [token]}
  lives: {image: pcompose/host, command: sleep infinity, configs: [page]}
  apart: {image: pcompose/host, command: sleep infinity}
secrets: {token: {file: token.txt}}
configs: {page: {content: "first"}}
""")
    stack("-p", stack.name, "up", "-d")
    before = {name: row["ID"] for name, row in stack.ps().items()}
    stack.write("two", "token.txt")
    told = stack("-p", stack.name, "plan", ok=False).stdout
    assert "content of secret token changed (compose.yaml:3)" in told
    stack("-p", stack.name, "up", "-d")
    after = {name: row["ID"] for name, row in stack.ps().items()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"{stack.name}-uses-1"}
    assert stack.execute("uses", "cat", "/run/secrets/token") == "two"
    material = Path(stack.sandbox.directory, "data/projects", stack.name, "material")
    assert len(list(material.iterdir())) == 2  # the old one is gone


def test_a_secret_that_cannot_be_had_stops_up_before_anything_is_made(stack: Stack) -> None:
    stack.write("""
services:
  web: {image: pcompose/host, command: sleep infinity, secrets: [a, b, c]}
secrets:
  a: {file: ./absent}
  b: {environment: SURELY_NOT_SET}
  c: {external: true}
""")
    told = stack("-p", stack.name, "up", "-d", ok=False).stderr
    assert "compose.yaml:5:" in told
    assert "absent: No such file or directory" in told
    assert "variable SURELY_NOT_SET is not set" in told
    assert "pcompose secrets create c FILE" in told
    assert stack.remains() == {}


def test_the_store_lists_and_removes(stack: Stack) -> None:
    stack("secrets", "create", "one", "-", input="x")
    assert stack("secrets", "ls", "-q").stdout == "one\n"
    assert "one" in stack("secrets", "ls").stdout
    assert stack("configs", "ls", "-q").stdout == ""
    again = stack("secrets", "create", "one", "-", input="y", ok=False)
    assert "one is there already" in again.stderr
    assert stack("secrets", "rm", "one").stdout == "one\n"
    assert stack("secrets", "rm", "one", ok=False).returncode == 1
