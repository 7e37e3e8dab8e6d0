"""`--format`: the part of Go's templates that scripts use."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli import formats
from orchestrator.cli.gotemplate import Template
from orchestrator.errors import UsageError

ROW: dict[str, Any] = {
    "Name": "p-web-1", "State": "running", "ExitCode": 0, "Health": "", "Labels": "a=b,c=d",
    "Publishers": [{"URL": "0.0.0.0", "PublishedPort": 80}, {"URL": "::", "PublishedPort": 81}],
    "Label": {"x": "y"}.get,
}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}}", "p-web-1"),
        ("{{ .Name }}: {{.State}} ({{.ExitCode}})", "p-web-1: running (0)"),
        ("{{json .Name}}", '"p-web-1"'),
        ("{{json .Publishers}}", json.dumps(ROW["Publishers"], separators=(",", ":"))),
        ("{{.Name | upper}}", "P-WEB-1"),
        ("{{.Name | printf \"%s!\"}}", "p-web-1!"),
        ("{{if eq .State \"running\" \"paused\"}}up{{else}}down{{end}}", "up"),
        ("{{if .Health}}{{.Health}}{{else if .State}}-{{end}}", "-"),
        ("{{if and .State (not .Health)}}yes{{end}}", "yes"),
        ("{{range .Publishers}}{{.URL}}:{{.PublishedPort}} {{end}}", "0.0.0.0:80 :::81 "),
        ("{{range .Publishers}}{{$.Name}} {{end}}", "p-web-1 p-web-1 "),
        ("{{with .Publishers}}{{len .}}{{end}}", "2"),
        ("{{(index .Publishers 1).URL}}", None),
        ("{{index .Publishers 1 \"URL\"}}", "::"),
        ("{{join (split .Labels \",\") \";\"}}", "a=b;c=d"),
        ("a {{- .ExitCode -}} b", "a0b"),
        ("{{.Label \"x\"}}{{.Label \"none\"}}", None),
        ("{{/* nothing */}}x{{\"\\t\"}}y", "x\ty"),
        ("{{gt .ExitCode 0}} {{.Publishers}}",
         "false [map[PublishedPort:80 URL:0.0.0.0] map[PublishedPort:81 URL:::]]"),
    ],
)  # fmt: skip
def test_templates_say_what_go_s_would(template: str, text: str | None) -> None:
    if text is None:  # what we do not know is said, not guessed
        try:
            Template(template).render(ROW)
        except UsageError:
            return
    else:
        assert Template(template).render(ROW) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Nope}}", "there is no field Nope"),
        ("{{.Name.First}}", "there is no field First"),
        ("{{nope .Name}}", 'function "nope" not defined'),
        ("{{if .Name}}", "has no {{end}}"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{.Name", "an action is not closed"),
        ("{{.Name !}}", "unexpected '!'"),
        ("{{}}", None),
        ("{{.Name .State}}", "a value is no function"),
        ("{{index .Publishers 9}}", "index out of range"),
        ("{{" + "(" * 200 + ".Name" + ")" * 200 + "}}", "nested too deeply"),
        ("{{if .Name}}" * 200, "nested too deeply"),
        ("{{range .ExitCode}}x{{end}}", None),
    ],
)
def test_what_is_wrong_is_told(template: str, message: str | None) -> None:
    if message is None:
        assert Template(template).render(ROW) == ""
        return
    with pytest.raises(UsageError) as caught:
        Template(template).render(ROW)
    assert message in caught.value.message


@given(st.text(st.sampled_from("{{}} .|()\"`$-NameifendrangewithelseL\\n0"), max_size=40))
def test_whatever_is_typed_is_a_text_or_a_usage_error(template: str) -> None:
    try:
        Template(template).render(ROW)
    except UsageError:
        return


def test_a_table_has_the_heads_of_its_fields() -> None:
    rows = [{"Name": "a", "RunningFor": "1 second ago"}, {"Name": "longer-name", "RunningFor": "x"}]
    assert formats.lines("table {{.Name}}\\t{{.RunningFor}}", rows) == [
        "NAME          CREATED", "a             1 second ago", "longer-name   x",
    ]  # fmt: skip
    assert formats.lines("raw", rows[:1]) == ["Name: a", "RunningFor: 1 second ago", ""]
    assert formats.lines("{{.Name}}", rows) == ["a", "longer-name"]
    with pytest.raises(UsageError, match="could not be parsed"):
        formats.lines("yaml", [])
