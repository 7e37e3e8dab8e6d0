"""What a shell may complete: by value, and in real shells on terminals."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import completion, main
from orchestrator.cli.completion import SCRIPTS
from tests.source_tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

SHELLS = Path(completion.__file__).parent / "shells"
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
        (["--progress", "=", "p"], ["plain"]),
        (["--progress", "="], ["auto", "tty", "plain", "json", "quiet"]),
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


LINES = {
    "pcompose logs we": "logs web ", "pcompose --progress=pl": "--progress=plain ",
    "pcompose scale d": "scale db=", "pcompose cp d": "cp db:",
    "pcompose -f othe": "-f other.yaml ",
}  # fmt: skip


def typed(shell: list[str], setup: str, cwd: Path, lines: dict[str, str]) -> None:
    """An interactive shell, once `setup` is done, makes of each line and a tab what is expected."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.environ.update(TERM="dumb", INPUTRC="/dev/null", PS1="> ",
                          PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        os.execvp(shell[0], shell)
    shown = ""

    def until(text: str) -> None:
        nonlocal shown
        deadline = time.monotonic() + 60
        while text not in shown:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {shown!r}"
            if select.select([master], [], [], left)[0]:
                read = os.read(master, 4096).decode(errors="replace")
                shown += read.replace("\a", "")

    try:
        os.write(master, f"{setup}; PS1='DO''NE> '\n".encode())
        until("DONE> ")
        for line, expected in lines.items():
            shown = ""
            os.write(master, f"\x15{line}\t".encode())  # Ctrl-U: what was typed before goes
            until(expected)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)


def test_a_real_bash_completes(said: object, tmp_path: Path) -> None:
    setup = "source <(pcompose completion bash); bind 'set enable-bracketed-paste off'"
    typed(["bash", "--norc", "--noprofile", "-i"], setup, tmp_path, LINES)


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh here")
@pytest.mark.parametrize("setup", ["compinit -u -D; source <(pcompose completion zsh)",
                                   f"fpath=({SHELLS} $fpath); compinit -u -D"])  # fmt: skip
def test_a_real_zsh_completes(said: object, tmp_path: Path, setup: str) -> None:
    before = "autoload -Uz compinit; unset zle_bracketed_paste; "
    typed(["zsh", "-f", "-i"], before + setup, tmp_path, LINES)


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish here")
def test_a_real_fish_completes(said: object, tmp_path: Path) -> None:
    asked = ["pcompose logs we", "pcompose -f othe", "pcompose up --exit-code-f"]
    script = "pcompose completion fish | source\n" + "".join(f'complete -C "{a}"\n' for a in asked)
    environment = {**os.environ, "HOME": str(tmp_path),
                   "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # fmt: skip
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True,
                          check=True, cwd=tmp_path, env=environment)  # fmt: skip
    found = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert found == ["web", "other.yaml", "--exit-code-from"]


def test_a_wheel_puts_everything_where_shells_and_man_look() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        target = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    installed = target["shared-data"]
    assert {Path(source).name for source in installed} == {"pcompose.1", *SCRIPTS.values()}
    assert all((ROOT / source).is_file() for source in installed)
