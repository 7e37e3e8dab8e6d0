"""Dockerfiles in the style of the official images are built and run: `make images`.

Needs the registries of Debian, PyPI and npm while it builds, and nothing of them while it runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.sandbox import Sandbox, Stack
from tests.source_tree import ROOT

HERE = ROOT / "tests/official"
BASE = ROOT / ".cache/official/base.tar"
SERVERS = ("nginx", "node", "postgres", "python", "redis")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif("PCOMPOSE_OFFICIAL" not in os.environ, reason="takes long: make images"),
    pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="needs mmdebstrap"),
]


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The project with all images built; only what is run is cut off from the network."""
    with Sandbox(tmp_path_factory.mktemp("official")) as sandbox:
        directory = sandbox.directory / "project"
        shutil.copytree(HERE, directory)
        stack = Stack(sandbox, directory, "official")
        if BASE.exists():
            outside(stack, "load", "-i", str(BASE))
        else:
            outside(stack, "image", "bootstrap", "debian:bookworm-slim")
            BASE.parent.mkdir(parents=True, exist_ok=True)
            outside(stack, "image", "save", "-o", str(BASE), "debian:bookworm-slim")
        outside(stack, "build")
        yield stack
        stack("down", "-v")
        assert stack.remains() == {}


def outside(stack: Stack, *arguments: str) -> str:
    """The command where the machine's network is."""
    done = subprocess.run(["pcompose", *arguments], cwd=stack.directory, text=True, timeout=900,
                          env=stack.sandbox.environment, capture_output=True, check=False)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr[-4000:]}"
    return done.stdout


def test_what_is_built_runs(official: Stack) -> None:
    official("up", "-d", "--wait")
    assert {row["Service"]: row["Health"] for row in official.ps().values()
            if row["Service"] in SERVERS} == dict.fromkeys(SERVERS, "healthy")
    assert official.execute("redis", "redis-cli", "set", "a", "1").strip() == "OK"
    asked = official.execute("postgres", "psql", "-U", "postgres", "-tAc", "show server_version",
                             "shop")
    assert asked.startswith("15.")
    page = official.execute("nginx", "curl", "-s", "http://127.0.0.1/")
    assert page == "<p>served by nginx</p>\n"
    assert official.execute("nginx", "ls", "/usr/share/nginx/html") == "index.html\n"
    assert official.logs("go", "rust") == ["go-1    | hello from go, uid 65534",
                                           "rust-1  | hello from rust"]
    assert official.execute("redis", "stat", "-c", "%U", "/proc/1").strip() == "redis"
    inspected = json.loads(official("image", "inspect", "official/go").stdout)[0]
    assert len(inspected["RootFS"]["Layers"]) == 1, "one static program, and nothing else"


def test_a_second_build_is_all_cached_and_gives_the_same(official: Stack) -> None:
    before = outside(official, "build", "-q")
    again = subprocess.run(["pcompose", "build"], cwd=official.directory, text=True, check=True,
                           env=official.sandbox.environment, capture_output=True, timeout=300)
    assert "DONE" not in again.stderr
    assert outside(official, "build", "-q") == before


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_takes_them_with_the_same_digests(official: Stack, tmp_path: Path) -> None:
    names = ["official/go", "official/redis"]
    outside(official, "image", "save", "-o", str(tmp_path / "all.tar"), *names)
    for name in names:
        shown = subprocess.run(
            ["skopeo", "inspect", "--config", f"docker-archive:{tmp_path}/all.tar:{name}:latest"],
            capture_output=True, text=True, check=True)
        ours = json.loads(official("image", "inspect", name).stdout)[0]
        assert json.loads(shown.stdout)["rootfs"]["diff_ids"] == ours["RootFS"]["Layers"]
