"""The documentation says what the code does, where that can be compared."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

from docs import reference
from orchestrator.cli import main
from tests.source_tree import ROOT

if TYPE_CHECKING:
    from orchestrator.cli.grammar import Command


def test_the_reference_of_attributes_is_the_one_of_the_code() -> None:
    assert reference.PAGE.read_text() == reference.page(), "run `make docs`"


def test_every_area_of_the_package_is_in_the_layer_table() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    areas = {path.name for path in (ROOT / "orchestrator").iterdir() if path.is_dir()}
    for area in areas - {"__pycache__", "_schemas"}:
        assert f"{area}/" in page, area


def test_links_in_the_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def shown(flags: list[str]) -> str:
    return " ".join(f"`--{name}`" for name in sorted(flags)) or "–"


def row(name: str, command: Command) -> str:
    """The line of a command in docs/commands.md."""
    there = [f.name for f in command.flags if not f.refused and not f.hidden]
    refused = [f.name for f in command.flags if f.refused]
    return f"| `{name}` | {shown(there)} | {shown(refused)} |"


def test_the_table_of_commands_is_the_one_of_the_code() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    assert row("pcompose", main.ROOT) in page
    for name, (module, _) in main.COMMANDS.items():
        command = import_module(f"orchestrator.cli.commands.{module}").COMMAND
        assert row(name, command) in page, row(name, command)
