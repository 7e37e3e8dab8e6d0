"""What a command loads is paid by every call of it: asserted on `sys.modules`, not on a clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.source_tree import ROOT

HEAVY = {"jsonschema", "networkx", "anyio", "asyncio", "hypothesis", "pytest"}

REPORT = """
import atexit, json, os, sys
fd = os.dup(2)
atexit.register(lambda: os.write(fd, ("\\nMODULES" + json.dumps(sorted(sys.modules))).encode()))
from orchestrator.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def loaded_by(*arguments: str, cwd: str, environment: dict[str, str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    return set(json.loads(done.stderr.rpartition("MODULES")[2]))


@pytest.fixture
def project(tmp_path: object) -> dict[str, str]:
    with open(f"{tmp_path}/compose.yaml", "w") as file:
        file.write("name: startup\nservices:\n  web:\n    image: pcompose/host\n")
    return {"PCOMPOSE_DATA": f"{tmp_path}/data", "PCOMPOSE_RUN": f"{tmp_path}/run",
            "HERE": f"{tmp_path}"}


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["up", "--help"], ["ls"], ["-p", "startup", "ps"],
     ["-p", "startup", "logs"], ["-p", "startup", "exec", "web", "true"],
     ["-p", "startup", "down"], ["images"]],
    ids=" ".join,
)  # fmt: skip
def test_a_quick_command_loads_no_heavy_library(
    project: dict[str, str], arguments: list[str]
) -> None:
    loaded = loaded_by(*arguments, cwd=project["HERE"], environment=project)
    assert loaded & HEAVY == set()


def test_a_file_that_was_parsed_before_is_not_parsed_again(project: dict[str, str]) -> None:
    first = loaded_by("config", cwd=project["HERE"], environment=project)
    second = loaded_by("config", cwd=project["HERE"], environment=project)
    assert "yaml" in first
    assert second & {*HEAVY, "yaml"} == set()


def test_help_loads_next_to_nothing(project: dict[str, str]) -> None:
    loaded = loaded_by("--help", cwd=project["HERE"], environment=project)
    assert loaded & {"typing", "dataclasses", "inspect", "argparse"} == set()


def test_importing_the_package_imports_nothing() -> None:
    code = "import sys; a = set(sys.modules); import orchestrator; print(set(sys.modules) - a)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.stdout.strip() == "{'orchestrator'}"


def test_the_pytest_plugin_loads_pytest_and_the_standard_library_only() -> None:
    code = """
import json, sys
import pytest
before = set(sys.modules)
import orchestrator.testing.plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    roots = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert roots - set(sys.stdlib_module_names) == {"orchestrator"}
    ours = {name for name in json.loads(done.stdout) if name.startswith("orchestrator.")}
    assert all(name.startswith("orchestrator.testing") for name in ours), ours
