"""Exit codes, and where errors go and how they read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import __version__, errors
from orchestrator.cli import failure, main, output
from orchestrator.cli.output import PLAIN, Output, Style, choose_style
from orchestrator.errors import SpecError, UsageError

TERMINAL = Style(mode="tty", colour_out=False, colour_err=False, cursor_err=True)
JSON = Style(mode="json", colour_out=False, colour_err=False, cursor_err=False)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PCOMPOSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PCOMPOSE_RUN", str(tmp_path / "run"))
    for name in ("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROGRESS", "COMPOSE_ANSI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "stdout", "stderr"),
    [
        (["--version"], 0, __version__, ""),
        (["version", "--short"], 0, f"{__version__}\n", ""),
        (["version", "--format", "json"], 0, f'{{"version":"v{__version__}"}}', ""),
        ([], 0, "Commands:", ""),
        (["--help"], 0, "Commands:", ""),
        (["up", "--help"], 0, "Usage:  pcompose up", ""),
        (["help", "ps"], 0, "Usage:  pcompose ps", ""),
        (["upp"], 1, "", "did you mean up?"),
        (["bridge"], 1, "", "command bridge is not available yet"),
        (["--progress", "nice", "ps"], 1, "", 'unsupported --progress value "nice"'),
        (["-p", "Not/Valid", "ps"], 1, "", 'invalid project name "Not/Valid"'),
        (["-p", "p", "ps", "-q"], 0, "", ""),
        (["-p", "p", "ps", "--filter", "name=x"], 1, "", "unknown filter name"),
        (["-p", "p", "up", "--scale", "web"], 1, "", "Should be SERVICE=NUM"),
        (["-p", "p", "up", "--force-recreate", "--no-recreate"], 1, "",
         "--force-recreate and --no-recreate are incompatible"),
        (["-p", "p", "up", "-d", "--attach", "x"], 1, "", "--detach cannot be combined"),
        (["-p", "p", "down", "--rmi", "some"], 1, "", 'invalid value for --rmi: "some"'),
        (["-p", "p", "down"], 0, "", "No resource found to remove"),
        (["-p", "p", "kill"], 0, "", "No container to kill"),
        (["-p", "p", "rm"], 0, "", "No stopped containers"),
        (["-p", "p", "logs", "--index", "1"], 1, "", "--index requires one service"),
        (["-p", "p", "exec", "web", "true"], 1, "", 'service "web" is not running'),
        (["-p", "p", "run", "-P", "-p", "80", "web"], 1, "", "are incompatible"),
        (["ls", "--format", "json"], 0, "[]\n", ""),
        (["ps"], 1, "", "compose.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_ends_with_its_code_and_says_it_on_the_right_stream(
    words: list[str], code: int, stdout: str, stderr: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == code
    said = capsys.readouterr()
    assert stdout in said.out
    assert stderr in said.err
    assert code == 0 or said.out == ""


def test_an_interrupt_is_130_and_a_bug_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: Any) -> int:
        raise KeyboardInterrupt

    def broken(*args: Any) -> int:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(main, "_dispatch", interrupted)
    assert main.main(["ps"]) == 130
    monkeypatch.setattr(main, "_dispatch", broken)
    assert main.main(["ps"]) == 1
    said = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: oh (test_main.py:" in said
    assert "Traceback" not in said


def test_an_error_of_the_file_shows_its_line_with_a_caret_on_a_terminal(elsewhere: Path) -> None:
    (elsewhere / "compose.yaml").write_text("services:\n  web:\n    imagee: x\n")
    error = SpecError("unknown key `imagee`", where="compose.yaml:3:5", hint="did you mean image?")
    assert failure.describe(error, style=TERMINAL) == (
        "compose.yaml:3:5: unknown key `imagee`\n"
        "    3 |     imagee: x\n"
        "      |     ^\n"
        "hint: did you mean image?\n"
    )
    assert failure.describe(error, style=PLAIN).count("\n") == 2


def test_a_place_that_cannot_be_read_is_told_without_its_line() -> None:
    error = SpecError("bad", where="gone.yaml:99:1")
    assert failure.describe(error, style=TERMINAL) == "gone.yaml:99:1: bad\n"


def test_several_problems_are_told_one_by_one() -> None:
    error = SpecError("", problems=(("a:1:1", "one", None), ("a:2:1", "two", "fix it")))
    assert failure.describe(error, style=PLAIN) == "a:1:1: one\na:2:1: two\nhint: fix it\n"


def test_errors_are_json_where_progress_is() -> None:
    error = UsageError("bad\x1b[2J", hint="do")
    data = json.loads(failure.describe(error, style=JSON))
    assert (data["error"], data["message"], data["hint"]) == (True, "bad\x1b[2J", "do")


def test_an_error_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in failure.describe(UsageError("bad\x1b[2J\nline"), style=PLAIN)


def test_every_error_has_the_exit_code_of_its_class() -> None:
    classes = [name for name in dir(errors) if name.endswith("Error")]
    codes = {name: getattr(errors, name).exit_code for name in classes}
    assert {n: c for n, c in codes.items() if c != 1} == {
        "CommandNotFoundError": 127, "CommandNotExecutableError": 126,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ansi", "progress", "terminal", "environ", "mode", "colour"),
    [
        ("auto", "auto", True, {}, "tty", True),
        ("auto", "auto", False, {}, "plain", False),
        ("auto", "auto", True, {"NO_COLOR": "1"}, "tty", False),
        ("auto", "auto", True, {"TERM": "dumb"}, "plain", False),
        ("never", "auto", True, {}, "plain", False),
        ("always", "auto", False, {}, "plain", True),
        ("auto", "none", True, {}, "quiet", True),
        ("auto", "json", True, {}, "json", True),
    ],
)
def test_the_style_follows_flags_terminal_and_environment(
    ansi: str, progress: str, environ: dict[str, str], mode: str, *, terminal: bool, colour: bool
) -> None:
    style = choose_style(ansi=ansi, progress=progress, out_is_terminal=terminal,
                         err_is_terminal=terminal, environ=environ)  # fmt: skip
    assert (style.mode, style.colour_out) == (mode, colour)


@pytest.mark.parametrize(
    ("ansi", "progress", "message"),
    [("never", "tty", "ANSI support is disabled"), ("always", "plain", "ANSI support is forced"),
     ("some", "auto", "unknown ansi mode")],
)  # fmt: skip
def test_styles_that_contradict_each_other_are_refused(
    ansi: str, progress: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        choose_style(ansi=ansi, progress=progress, out_is_terminal=True, err_is_terminal=True,
                     environ={})  # fmt: skip


def test_warnings_read_as_docker_composes_logger_writes_them() -> None:
    stream = io.StringIO()
    Output(stdout=io.StringIO(), stderr=stream).warn('say "x"')
    assert 'level=warning msg="say \\"x\\""' in stream.getvalue()
    assert output.MODES[0] == "auto"
