"""No key is dropped on the way from the file to what is made: each one, changed, changes the jobs
of an `up` (the ContainerSpecs and the plan) or the request of a build.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from docs import reference
from orchestrator import names
from orchestrator.engine import allocate, buildfile, images, machine, material, translate
from orchestrator.engine.drafting import selected_of
from orchestrator.errors import SpecError
from orchestrator.image.config import ImageConfig
from orchestrator.image.store import Image
from orchestrator.plan import actions
from orchestrator.plan.diff import diff
from orchestrator.plan.policy import UpPolicy
from orchestrator.spec.load import LoadOptions, load
from orchestrator.spec.runnable import runnable
from orchestrator.spec.select import select
from orchestrator.state import material as stored
from orchestrator.state.layout import Layout
from orchestrator.state.observed import Observed, ObservedNetwork
from orchestrator.state.records import VolumeRecord
from orchestrator.state.store import save_network
from orchestrator.supervisor.protocol import job_to_json
from tests.engine import keys, world

Document = dict[str, Any]
SAID_BY_PLACE = ("created_at", "origin", "command_origin", "config", "config_hash",
                 names.LABEL_CONFIG_HASH)  # fmt: skip
"""Fields that say where or when something was written, or repeat what the file says."""
BASE = """
name: p
services:
  s: {image: img}
  t: {image: img, healthcheck: {test: [CMD, x]}}
  base: {image: img, user: base}
  other: {image: img, user: other}
networks: {n: {ipam: {config: [{subnet: 10.7.0.0/16}, {subnet: 'fd07::/64'}]}}, m: }
volumes: {va: , wa: }
secrets: {x: {environment: ONE}, y: {environment: TWO}}
configs: {c: {content: c}, d: {content: d}}
"""
USING = """
services:
  s: {networks: [n], volumes: ['va:/va'], secrets: [x], configs: [c]}
"""
"""What makes a difference of the resources one of the project."""
ENVIRON = {"ONE": "1", "TWO": "2", "HOME": "/root"}
SERVICE, BUILD, TOP = keys.SERVICE, keys.BUILD, keys.TOP
EVERY = {
    **{f"services.*.{key}": pair for key, pair in SERVICE.items()},
    **{f"services.*.build.{key}": pair for key, pair in BUILD.items()},
    **TOP,
}


def merged(document: Document, key: str, piece: str) -> Document:
    """The document with a piece of a pair."""
    said = yaml.safe_load(piece)
    if key.startswith("services.*.build."):
        said = {"services": {"s": {"build": {"context": "one", **said}}}}
    elif key.startswith("services.*."):
        said = {"services": {"s": said}}
    else:
        for section in ("networks", "volumes", "secrets", "configs"):
            if section in said:  # an entry is taken as a whole
                document = {**document, section: {**document[section], **said.pop(section)}}
        document = joined(document, yaml.safe_load(USING))
    whole: Document = joined(document, said)
    return whole


def joined(one: Any, other: Any) -> Any:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other
    return {**one, **{key: joined(one.get(key), value) for key, value in other.items()}}


class Maker:
    """Carries documents as far as one can without touching the kernel."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = itertools.count()
        keys.lay_out(directory)

    def made(self, document: Document) -> str:
        """All that an `up` of it would do, as text that is equal for equal deeds."""
        (self._directory / "compose.yaml").write_text(json.dumps(document, indent=1))
        loaded = load(LoadOptions(cwd=str(self._directory), environ=ENVIRON))
        project = runnable(select(loaded, [], with_dependencies=True), lenient=False)
        layout = Layout(str(self._directory / "data" / str(next(self._count))), "/run")
        for store in (layout.secrets(), layout.configs()):
            for name in ("one", "two"):
                stored.create(store, name, name.encode())
        return self._jobs(project, layout) + self._builds(project)

    def _jobs(self, project: Any, layout: Layout) -> str:
        for network in NETWORKS.values():
            save_network(layout, network.record)
        project = machine.digested(material.Contents(project, layout).digested(project))
        selected = select(project, [], with_dependencies=True)
        found = {key: image(use.reference) for s in selected.services.values()
                 for key, use in images.uses(s).items()}  # fmt: skip
        project = images.digested(selected_of(project, selected), found)
        observed = Observed(project=None, name=project.name, networks=NETWORKS, volumes=VOLUMES)
        plan = diff(project, observed, UpPolicy(), image_ids=images.ids(found))
        made = [node.action for node in plan]
        created = [a.service for a in made if isinstance(a, actions.CreateContainer)]
        allocation = allocate.allocate(
            layout, project, routes=list, command="test",
            create=[a.key for a in made if isinstance(a, actions.CreateNetwork)],
            wanted=translate.wanted(plan, project),
            labels=lambda network: translate.network_labels(project, network),
        )  # fmt: skip
        context = translate.Context(project=project, observed=observed, images=found, layout=layout,
                                    assets=machine.gather(project, created))  # fmt: skip
        jobs = translate.translate(plan, context, allocation)
        parts = [plan.warnings, *map(job_to_json, jobs.jobs), *map(asdict, jobs.created.values()),
                 *(asdict(record) for record in allocation.networks.values())]  # fmt: skip
        return json.dumps([scrubbed(part) for part in parts], default=str).replace(
            layout.data, "/data"
        )

    def _builds(self, project: Any) -> str:
        around = buildfile.Surroundings(
            project=project, options=buildfile.BuildOptions(), cwd=str(self._directory),
            secrets={"x": "/x", "y": "/y"}, fetch=str,
        )  # fmt: skip
        return "".join(str(buildfile.request(service, around))
                       for service in project.services.values() if service.build)  # fmt: skip


NETWORKS = {name: ObservedNetwork(record=world.record(name=name, subnet=f"10.{n}.0.0/16",
                                                      project="", pools=[]), exists=True)
            for n, name in enumerate(("there", "here"), 20)}  # fmt: skip
VOLUMES = {
    name: VolumeRecord(name=name, key=name, project="", labels={}, config_hash="", created_at=0.0,
                       anonymous=False) for name in ("there", "here")
}  # fmt: skip


def image(reference: str) -> Image:
    return Image(
        id=f"sha256:{reference}", references=(reference,), layers=(f"/l/{reference}",), size=1,
        config=ImageConfig(command=("true",)), created=None, platform="linux/amd64", tagged=None,
    )  # fmt: skip


def scrubbed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: scrubbed(v) for k, v in value.items() if k not in SAID_BY_PLACE}
    return [scrubbed(v) for v in value] if isinstance(value, list | tuple) else value


@pytest.fixture(autouse=True)
def counted_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are random, but here."""
    monkeypatch.setattr(names, "new_id", Ids())
    monkeypatch.setattr(allocate, "machine_id", lambda: "0" * 32)


class Ids:
    """64 hexadecimal digits, counted."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return f"{self.count:064x}"

    def again(self) -> None:
        self.count = 0


def made(maker: Maker, document: Document) -> str:
    names.new_id.again()  # type: ignore[attr-defined]
    return maker.made(document)


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("project"))


@pytest.mark.parametrize("key", EVERY)
def test_a_changed_key_changes_what_is_made(maker: Maker, key: str) -> None:
    base = yaml.safe_load(BASE)
    one, other = (made(maker, merged(base, key, piece)) for piece in EVERY[key])
    assert one != other
    assert made(maker, merged(base, key, EVERY[key][1])) == other, "not because of chance"


@given(data=st.data(), key=st.sampled_from(sorted(EVERY)))
@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much])
def test_it_does_so_whatever_else_is_said(maker: Maker, data: st.DataObject, key: str) -> None:
    top = [part.partition(".")[0] for part in [key.removeprefix("services.*.")]]
    others = [other for other in EVERY if not other.removeprefix("services.*.").startswith(top[0])]
    base = yaml.safe_load(BASE)
    for other in data.draw(st.lists(st.sampled_from(sorted(others)), max_size=4, unique=True)):
        base = merged(base, other, data.draw(st.sampled_from(EVERY[other])))
    try:
        one, two = (made(maker, merged(base, key, piece)) for piece in EVERY[key])
    except SpecError:
        assume(False)  # they exclude each other
    assert one != two


def test_every_key_that_works_has_its_pair() -> None:
    """Or one of the keys below it has."""
    known = {*EVERY, *keys.ELSEWHERE}
    without = []
    for pattern in reference.every():
        key = ".".join(pattern)
        if not any(state.startswith("works") for state in reference.states(pattern)):
            continue
        if not any(name == key or name.startswith(f"{key}.") or key.startswith(f"{name}.")
                   for name in known):  # fmt: skip
            without.append(key)
    assert without == []


def test_the_exceptions_are_none_of_the_pairs() -> None:
    assert not set(keys.ELSEWHERE) & set(EVERY)
