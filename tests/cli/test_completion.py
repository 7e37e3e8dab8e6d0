"""What a shell may complete, from words; and the script of bash in a real bash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import main
from orchestrator.cli.completion import SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = """
name: shop
services:
  web: {image: i, profiles: [front]}
  worker: {image: i}
  db: {image: pg}
"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
         capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:  # fmt: skip
    """Candidates for the last word, without what explains them."""
    (tmp_path / "compose.yaml").write_text(FILE)
    (tmp_path / "other.yaml").write_text("name: o\nservices: {lonely: {image: i}}")
    monkeypatch.chdir(tmp_path)
    for name in ("DATA", "RUN"):
        monkeypatch.setenv(f"PCOMPOSE_{name}", str(tmp_path / name))

    def complete(*words: str) -> list[str]:
        assert main.main(["__complete", *words]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return [line.partition("\t")[0] for line in out.splitlines()]

    return complete


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["ver"], ["version"]),
        (["up", "w"], ["web", "worker"]),
        (["up", "-d", "web", "w"], ["worker"]),
        (["-f", "other.yaml", "logs", ""], ["lonely"]),
        (["logs", "--no-log"], ["--no-log-prefix"]),
        (["up", "--exit-code-from", "d"], ["db"]),
        (["up", "--exit-code-from=d"], ["--exit-code-from=db"]),
        (["--progress", "p"], ["plain"]),
        (["--profile", ""], ["front"]),
        (["scale", "d"], ["db="]),
        (["cp", "d"], [":files", "db:"]),
        (["-f", ""], [":files"]),
        (["exec", "d"], ["db"]),
        (["exec", "db", ""], [":files"]),
        (["analyze", "c"], ["chain"]),
        (["port", "web", ""], []),
        (["-f", "absent.yaml", "up", ""], []),
        (["nonsense", ""], []),
    ],
)  # fmt: skip
def test_candidates(said: Callable[..., list[str]], words: list[str], found: list[str]) -> None:
    if words[0] == "nonsense":
        assert "up" in said(*words)  # whatever was mistyped, commands come next
    else:
        assert said(*words) == found


def test_what_is_hidden_or_refused_is_not_offered(said: Callable[..., list[str]]) -> None:
    flags = said("--")
    assert "--file" in flags
    assert not {"--no-ansi", "--workdir", "--verbose"} & set(flags)


@pytest.mark.parametrize(
    ("line", "reply"),
    [("pcompose up w", "web worker"), ("pcompose cp d", "db:"),
     ("pcompose up --exit-code-from = d", "db")],
)  # fmt: skip
def test_bash_gets_what_is_offered(said: object, line: str, reply: str) -> None:
    words = line.split()
    script = (
        f"export PATH={Path(sys.executable).parent}:$PATH; source /dev/stdin; "
        f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _pcompose; echo \"${{COMPREPLY[*]}}\""
    )
    done = subprocess.run(["bash", "-c", script], input=SCRIPTS["bash"], text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == (reply, "")


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_the_script_is_one_of_its_shell(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (tmp_path / "script").write_text(SCRIPTS[shell])
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)
