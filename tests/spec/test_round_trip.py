"""`config | config -f -` is a fixed point, whatever the file says."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec import dump
from orchestrator.spec.load import load
from orchestrator.spec.select import select
from tests.fuzzing.targets import as_json, hashes, read_back
from tests.spec.loading import loaded
from tests.spec.recorded import CORPUS, Case, cases, laid

LOST_IN_JSON = re.compile("^models:|^    blkio_config:", re.MULTILINE)
"""JSON, as the reference prints it, has no models and another spelling of these."""


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside the checkout")
@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_what_config_prints_says_the_same_again(case: Case) -> None:
    with TemporaryDirectory() as name:
        directory = Path(name)
        options = laid(case, directory)
        try:
            project = select(load(options), case.services, with_dependencies=True)
        except SpecError:
            return
        text = dump.to_yaml(project)
        again = read_back(text, Path(options.cwd))
        assert dump.to_yaml(again) == text
        assert hashes(again) == hashes(project)
        assert as_json(again) == as_json(project)
        if not LOST_IN_JSON.search(text):
            from_json = read_back(dump.to_json(project), Path(options.cwd))
            assert as_json(from_json) == as_json(project)


def test_an_empty_mode_of_a_port_is_the_usual_one(tmp_path: Path) -> None:
    ports = '{target: 80, mode: "", protocol: ""}'
    project = loaded(tmp_path, f"services: {{s: {{image: i, ports: [{ports}]}}}}")
    text = dump.to_yaml(project)
    assert "mode: ingress" in text
    assert dump.to_yaml(read_back(text, tmp_path)) == text


def test_an_empty_content_is_a_content(tmp_path: Path) -> None:
    text = "services: {s: {image: i, configs: [k]}}\nconfigs: {k: {content: ''}}"
    project = loaded(tmp_path, text)
    again = read_back(dump.to_yaml(project), tmp_path)
    assert hashes(again) == hashes(project)


def test_less_than_a_nanosecond_is_nothing(tmp_path: Path) -> None:
    health = "{test: [CMD, a], interval: 0.0000001ns}"
    project = loaded(tmp_path, f"services: {{s: {{image: i, healthcheck: {health}}}}}")
    assert hashes(read_back(dump.to_yaml(project), tmp_path)) == hashes(project)
