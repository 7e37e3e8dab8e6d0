"""The grammar of `${…}`, where it applies, what text is converted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec import template
from tests.spec.loading import loaded, refused, service

VALUES = {"SET": "val", "EMPTY": ""}


def filled(text: str) -> str:
    return template.substitute(text, VALUES.get, missing=lambda name: None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$SET ${SET}", "val val"), ("$NO${NO}", ""), ("$$SET $${SET}", "$SET ${SET}"),
        ("${NO:-d}${EMPTY:-d}${SET:-d}", "ddval"), ("${NO-d}${EMPTY-d}${SET-d}", "dval"),
        ("${NO:+a}${EMPTY:+a}${SET:+a}", "a"), ("${NO+a}${EMPTY+a}${SET+a}", "aa"),
        ("${EMPTY?m}${SET:?m}", "val"), ("$1 $ $} 5$", "$1 $ $} 5$"),
        ("${NO:-${NO2:-${SET}}}", "val"), ('${NO:-{"k":1}}', '{"k":1}'), ("${NO:-$$x}", "$x"),
        ("$SET.b $SET-b", "val.b val-b"), ("${NO:-}", ""), ("${NO:-a:b?c}", "a:b?c"),
    ],
)  # fmt: skip
def test_every_operator(text: str, expected: str) -> None:
    assert filled(text) == expected


@pytest.mark.parametrize(
    "text", ["${", "${}", "${ SET}", "${SET }", "${1a}", "${SET/a/b}", "${SET:=d}", "${-x}",
             "${SET:x}", "${a.b}", "${SET:-${}"],
)  # fmt: skip
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(template.TemplateError):
        filled(text)


@pytest.mark.parametrize("text", ["${NO?m}", "${NO:?m}", "${EMPTY:?m}", "${NO:?${NO2:-m}}"])
def test_a_required_variable(text: str) -> None:
    with pytest.raises(template.RequiredError) as caught:
        filled(text)
    assert caught.value.message == "m"


def test_the_branch_not_taken_is_not_looked_at() -> None:
    assert filled("${SET:-${NO:?never}}") == "val"


@given(st.text())
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    assert filled(text.replace("$", "$$")) == text


@given(st.text(alphabet="${}:-?+aA_1 "))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        assert isinstance(filled(text), str)
    except (template.TemplateError, template.RequiredError):
        pass


def test_deep_nesting_is_refused_not_a_stack_overflow() -> None:
    with pytest.raises(template.TemplateError):
        filled("${A:-" * 3000 + "}" * 3000)


def test_keys_are_left_alone_and_values_are_not(tmp_path: Path) -> None:
    found = service(tmp_path, "labels: {'$K': $K}", environ={"K": "v"})
    assert found.labels == {"$K": "v"}


def test_an_unset_variable_is_empty_and_warned_of_once(tmp_path: Path) -> None:
    project = loaded(tmp_path, "services: {s: {image: i, labels: ['a=$U', 'b=$U']}}")
    assert project.services["s"].labels == {"a": "", "b": ""}
    assert project.warnings == ('The "U" variable is not set. Defaulting to a blank string.',)


def test_all_faulty_templates_are_told_with_their_places(tmp_path: Path) -> None:
    error = refused(tmp_path, "services:\n  s:\n    image: ${\n    command: ['${X:?say it}']\n")
    assert [where for where, _, _ in error.problems] == ["compose.yaml:3:5", "compose.yaml:4:15"]
    assert "required variable X is missing a value: say it" in error.problems[1][1]


def test_text_from_variables_becomes_the_type_of_the_key(tmp_path: Path) -> None:
    text = "scale: ${N}\ncpus: ${C}\ntty: ${T}\nulimits: {nofile: '${N}'}"
    text += "\nports: [{target: '${N}'}]"
    found = service(tmp_path, text, environ={"N": "3", "C": "0.5", "T": "TRUE"})
    assert (found.scale, found.cpus, found.tty) == (3, 0.5, True)
    assert found.ulimits[0].soft == found.ports[0].target == 3


def test_the_boolean_words_of_old_yaml_are_warned_of(tmp_path: Path) -> None:
    project = loaded(tmp_path, "services: {s: {image: i, tty: '${T}'}}", environ={"T": "yes"})
    assert project.services["s"].tty
    assert "YAML 1.2" in project.warnings[0]


@pytest.mark.parametrize("key", ["scale: ''", "scale: ten", "tty: maybe", "cpus: half",
                                 "oom_score_adj: '0x10'"])  # fmt: skip
def test_text_of_another_type_is_refused(tmp_path: Path, key: str) -> None:
    error = refused(tmp_path, f"services:\n  s:\n    image: i\n    {key}\n")
    assert error.problems[0][0] == "compose.yaml:4:5"
