"""What `pcompose-oci` says of itself, and what it refuses."""

from __future__ import annotations

import json

import pytest

from orchestrator.runtime import oci


def test_the_version_names_program_and_specification(capsys: pytest.CaptureFixture[str]) -> None:
    assert oci.main(["--version"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("pcompose-oci version ")
    assert second.startswith("spec: ")


def test_features_are_json_and_claim_no_hooks(capsys: pytest.CaptureFixture[str]) -> None:
    assert oci.main(["features"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["hooks"] == []
    assert found["linux"]["cgroup"]["v2"] is True
    assert "CAP_SYS_ADMIN" in found["linux"]["capabilities"]


@pytest.mark.parametrize("words", [["create", "x"], ["bogus"], [], ["--root", "/x", "state", "y"]])
def test_everything_else_is_refused_in_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert oci.main(words) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
