"""The documentation says what the code does, where that can be compared."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess

import pytest

from docs import commandpages, reference
from orchestrator.cli import main
from tests.source_tree import ROOT


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


def test_the_table_of_commands_is_the_one_of_the_code() -> None:
    page = commandpages.COMMANDS.read_text()
    assert commandpages.row("pcompose", main.ROOT) in page, "run `make docs`"
    for name, _, command in commandpages.every():
        assert commandpages.row(name, command) in page, "run `make docs`"


def test_every_command_is_in_the_reference_and_in_the_manual() -> None:
    page, manual = commandpages.PAGE.read_text(), commandpages.MANUAL.read_text()
    for name, _, _ in commandpages.every():
        assert f"\n## {name}\n" in page, "run `make docs`"
        assert f".SS {commandpages.escaped(name)}\n" in manual, "run `make docs`"
    made, written = commandpages.reference(), commandpages.manual()
    assert made.startswith(page[: page.index("```text")])
    assert written.startswith(manual[: manual.index(".SH COMMANDS")])


def test_make_docs_would_change_nothing() -> None:
    page = commandpages.COMMANDS.read_text()
    assert commandpages.with_table(page) == page, "run `make docs`"
    for path, made in ((commandpages.PAGE, commandpages.reference()),
                       (commandpages.MANUAL, commandpages.manual())):  # fmt: skip
        assert path.read_text() == made, "run `make docs`"


@pytest.mark.skipif(not shutil.which("mandoc"), reason="no mandoc here")
def test_the_manual_page_has_no_fault() -> None:
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(commandpages.MANUAL)],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.stdout == ""


def texts_of_the_code() -> str:
    """Every text constant of the package."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "orchestrator").rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return "\n".join(str(node.value) for node in nodes)


def test_the_messages_of_troubleshooting_are_those_of_the_code() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    texts = texts_of_the_code()
    messages = re.findall(r"\*\*`([^`]+)`\*\*", page)
    assert len(messages) > 15
    for message in messages:
        phrases = re.split(r"\b[A-Z]\b|\b\d+\b|…|\"[^\"]*\"|[()<>;]|: |services\S+", message)
        phrase = max(phrases, key=len).strip(" ,'")
        assert phrase in texts, f"{message}: {phrase!r} is nowhere in the code"
