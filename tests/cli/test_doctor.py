"""`pcompose doctor`: what is said about this machine, and when it is an error."""

from __future__ import annotations

import json

import pytest

from orchestrator import api
from orchestrator.cli.main import main
from orchestrator.engine.diagnosis import LIMITED, MISSING, OK, Finding


def test_every_finding_is_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--format", "json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"kernel", "overlay", "control groups", "nf_tables", "data"} <= {r["Name"] for r in rows}
    assert all(row["Hint"] for row in rows if row["State"] != OK)


@pytest.mark.parametrize(("state", "code"), [(OK, 0), (LIMITED, 0), (MISSING, 1)])
def test_only_what_nothing_works_without_is_an_error(
    state: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(api, "doctor", lambda: [Finding("thing", state, "words", "do this")])
    assert main(["doctor"]) == code
    assert capsys.readouterr().out.split() == [state, "thing:", "words", "->", "do", "this"]


@pytest.mark.kernel
def test_what_containers_need_is_found_where_they_run() -> None:
    found = {finding.name: finding.state for finding in api.doctor()}
    assert {found[name] for name in ("overlay", "bridges", "nf_tables", "seccomp")} == {OK}
