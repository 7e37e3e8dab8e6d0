"""examples/languages: images of common languages and servers, built from packages and run."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.source_tree import ROOT

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e


def outside(stack: Stack, *arguments: str) -> None:
    """`pcompose ARGUMENTS` in the machine's own network, where the package mirrors are."""
    done = subprocess.run(
        ["pcompose", "-p", stack.name, *arguments], cwd=stack.directory, check=False, text=True,
        env=stack.sandbox.environment, capture_output=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="needs mmdebstrap for the base image")
def test_the_dockerfiles_of_common_languages_and_servers_build_and_run(stack: Stack) -> None:
    shutil.copytree(ROOT / "examples/languages", stack.directory, dirs_exist_ok=True)
    outside(stack, "image", "bootstrap", "debian:bookworm")
    outside(stack, "build")
    stack("-p", stack.name, "up", "-d", "--wait")
    address = stack("-p", stack.name, "port", "nginx", "80").stdout.strip()
    for language in ("python", "node", "go", "rust"):
        assert stack.fetch(f"http://{address}/{language}") == f"{language}\n"
    run = ("-p", stack.name, "exec", "-T")
    assert stack(*run, "redis", "redis-cli", "set", "key", "value").stdout == "OK\n"
    asked = ("psql", "-At", "-U", "postgres", "-c", "select 6 * 7")
    assert stack(*run, "postgres", *asked).stdout == "42\n"
