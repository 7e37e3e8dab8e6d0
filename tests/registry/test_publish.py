"""Compose files as an artifact: published, read again as `-f oci://…` and by `include`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.api import Project
from orchestrator.errors import ImageError, PcomposeError, RegistryError, SpecError
from tests.registry.server import MANIFEST, Handler, sha

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.registry.conftest import Ground

TYPE = "application/vnd.docker.compose.project"
EMPTY = "application/vnd.docker.compose.config.empty.v1+json"
FILE = "application/vnd.docker.compose.file+yaml"
ENV = "application/vnd.docker.compose.envfile"
MAIN = """# a comment with ü
services:
  web:
    image: redis:7  # stays as it is: ${TAG}
    env_file: &here web.env
    labels: {made: "${WHO:-nobody}"}
  db:
    extends: {file: ../common/base.yaml, service: base}
    env_file:
      - *here
      - path: "gone.env"
        required: false
volumes: {data: {}}
"""
BASE = "services:\n  base: {image: 'pg:1', env_file: own.env}\n"


@pytest.fixture(autouse=True)
def _data(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCOMPOSE_DATA", str(ground.path / "data"))


def project(ground: Ground, *files: str, **more: str) -> Project:
    elsewhere = ground.path / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    return Project(files=files, environ={**ground.environ, **more}, cwd=str(elsewhere))


def written(ground: Ground, text: str = MAIN) -> Project:
    for name, content in (("app/compose.yaml", text), ("app/web.env", "A=web\n"),
                          ("common/base.yaml", BASE), ("common/own.env", "B=own\n")):
        (ground.path / name).parent.mkdir(exist_ok=True)
        (ground.path / name).write_text(content)
    return project(ground, str(ground.path / "app/compose.yaml"))


def url(ground: Ground, name: str = "team/app:1") -> str:
    return f"oci://{ground.registry.host}/{name}"


def published(ground: Ground, text: str = MAIN, **options: object) -> list[str]:
    """Publish; the questions that were asked."""
    asked: list[str] = []
    assert written(ground, text).publish(
        f"{ground.registry.host}/team/app:1",
        agree=lambda q: not asked.append(q), **options)  # type: ignore[arg-type,func-returns-value]
    return asked


def test_what_is_published_means_the_same_elsewhere(ground: Ground) -> None:
    published(ground, with_env=True)
    there = project(ground, url(ground), WHO="me")
    assert there.name == "app"
    web, db = (there.model.services[name] for name in ("web", "db"))
    assert (web.image, web.environment, web.labels) == ("redis:7", {"A": "web"}, {"made": "me"})
    assert (db.image, db.environment) == ("pg:1", {"A": "web", "B": "own"})
    text = Path(there.model.files[0]).read_text()
    expected = MAIN.splitlines()
    lines = text.splitlines()
    assert [i for i, line in enumerate(lines) if line != expected[i]] == [4, 7, 9]
    assert str(ground.path) not in text


def test_it_has_the_form_that_docker_compose_reads(ground: Ground) -> None:
    published(ground, with_env=True)
    media_type, data = ground.registry.manifests["team/app", "1"]
    root = json.loads(data)
    assert (media_type, root["artifactType"]) == (MANIFEST, TYPE)
    assert root["config"] == {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
                              "digest": sha(b"{}")}  # fmt: skip
    kinds = [(layer["mediaType"], sorted(key.rpartition(".")[2] for key in layer["annotations"]))
             for layer in root["layers"]]
    assert kinds == [(FILE, ["file", "version"]), (FILE, ["extends", "file", "version"]),
                     (ENV, ["envfile", "version"]), (ENV, ["envfile", "version"])]
    assert root["layers"][0]["annotations"]["com.docker.compose.file"] == "compose.yaml"
    published(ground, with_env=True, oci_version="1.0")
    root = json.loads(ground.registry.manifests["team/app", "1"][1])
    assert "artifactType" not in root
    assert root["config"]["mediaType"] == EMPTY
    assert project(ground, url(ground)).model.services["web"].image == "redis:7"


def test_a_registry_that_takes_no_artifact_types_gets_the_older_form(ground: Ground) -> None:
    def old(handler: Handler) -> bool:
        if handler.command != "PUT" or "manifests" not in handler.path:
            return False
        data = handler.body()
        if b"artifactType" in data:
            return handler.refuse(400, "MANIFEST_INVALID")
        ground.registry.put("team/app", "1", MANIFEST, data)
        return handler.answer(201, Docker_Content_Digest=sha(data))

    ground.registry.fault = old
    published(ground, with_env=True)
    assert EMPTY.encode() in ground.registry.manifests["team/app", "1"][1]
    with pytest.raises(RegistryError, match="manifest_invalid"):
        published(ground, with_env=True, oci_version="1.1")


def test_several_files_stay_several_and_pins_come_last(ground: Ground) -> None:
    made = ground.image("web", "1")
    image = f"{ground.registry.host}/web:1"
    written(ground, f"services: {{web: {{image: '{image}'}}}}\n")
    more = ground.path / "common/compose.yaml"
    more.write_text("services: {web: {command: [run]}}\n")
    project(ground, str(ground.path / "app/compose.yaml"), str(more)).publish(
        f"{ground.registry.host}/team/app:1", pinned=True)
    found = project(ground, url(ground)).model
    assert [Path(file).name for file in found.files] == [
        "compose.yaml", "compose-1.yaml", "image-digests.yaml"]
    assert found.services["web"].command == ("run",)
    assert found.services["web"].image == f"{image}@{made.digest}"


def test_images_are_copied_beside_the_files_with_all_their_platforms(ground: Ground) -> None:
    registry = ground.registry
    made = ground.image("other", "1")
    entry = {"mediaType": MANIFEST, "digest": made.digest, "size": len(
        registry.manifests["other", made.digest][1])}
    index = json.dumps({"schemaVersion": 2, "manifests": [
        {**entry, "platform": {"os": "linux", "architecture": "riscv64"}}]}).encode()
    listed = registry.put("other", "2", "application/vnd.oci.image.index.v1+json", index)
    published(ground, f"services: {{a: {{image: '{registry.host}/other:2'}}}}\n", with_images=True)
    assert registry.manifests["team/app", listed][1] == index
    assert ("team/app", made.digest) in registry.manifests
    for layer in made.layers:
        assert ("team/app", sha(layer)) in registry.blobs
    [images] = [json.loads(data) for (name, tag), (_, data) in registry.manifests.items()
                if name == "team/app" and b'"subject"' in data and tag.startswith("sha256")]
    assert [item["digest"] for item in images["manifests"]] == [listed]
    assert images["subject"]["digest"] == sha(registry.manifests["team/app", "1"][1])


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("services: {a: {build: .}}", "compose.yaml:1:16", "only a build"),
        ("services: {a: {image: b, environment: {X: y}}}", "compose.yaml:1:26", "has variables"),
        ("services: {a: {image: b, env_file: web.env}}", "", "has variables"),
        ("include: [web.yaml]\nservices: {a: {image: b}}", "compose.yaml:1:11", "include: a file"),
    ],
)
def test_what_cannot_be_published_is_refused_with_its_place(
    ground: Ground, text: str, place: str, message: str
) -> None:
    made = written(ground, text)
    (ground.path / "app/web.yaml").write_text("services: {b: {image: c}}\n")
    with pytest.raises(SpecError) as failure:
        made.publish(f"{ground.registry.host}/team/app:1")
    [(where, said, _)] = failure.value.problems
    assert message in said
    assert where.endswith(place)
    assert ground.registry.log == []


def test_what_tells_of_this_machine_is_asked_about_and_a_no_publishes_nothing(
    ground: Ground,
) -> None:
    text = ("services:\n  a:\n    image: b\n    environment: {DB_PASSWORD: hunter22}\n"
            "    volumes: ['/srv/data:/data']\n    labels: {u: 'https://me:pw@host/'}\n")
    asked = published(ground, text, with_env=True)
    assert [line for q in asked for line in q.splitlines()[1:-1]] == [
        "a: /srv/data:/data", "compose.yaml:4: DB_PASSWORD: ***", "compose.yaml:6: ://me:pw…",
        "a: DB_PASSWORD"]
    assert "hunter22" not in "".join(asked)
    before = len(ground.registry.log)
    assert written(ground, text).publish(
        f"{ground.registry.host}/x:1", with_env=True, agree=lambda q: False) == ""
    assert len(ground.registry.log) == before


# ---- reading ----


def test_an_application_is_included_under_what_the_file_says(ground: Ground) -> None:
    published(ground, with_env=True)
    (ground.path / "elsewhere").mkdir(exist_ok=True)
    text = f"include: ['{url(ground)}']\nservices: {{web: {{image: 'other:1'}}}}\n"
    (ground.path / "elsewhere/compose.yaml").write_text(text)
    there = project(ground, "compose.yaml")
    found = there.model
    assert there.included_applications() == [url(ground)]
    assert project(ground, url(ground)).included_applications() == []
    assert found.services["web"].image == "other:1"
    assert found.services["web"].environment == {"A": "web"}
    assert found.services["db"].image == "pg:1"
    (ground.path / "elsewhere/compose.yaml").write_text(text.replace(":1'", ":gone'"))
    with pytest.raises(SpecError) as failure:
        project(ground, "compose.yaml").load()
    assert failure.value.problems[0][0] == "compose.yaml:1:11"


def test_a_registry_is_asked_once_and_what_it_does_not_answer_is_here(ground: Ground) -> None:
    published(ground, with_env=True)
    ground.registry.log.clear()
    first = project(ground, url(ground))
    assert (first.name, first.load().model.warnings) == ("app", ())
    asked = len(ground.registry.log)
    again = project(ground, url(ground)).load()
    assert ground.registry.log[asked:] == ["HEAD /v2/team/app/manifests/1"]
    digest = ground.registry.log and sha(ground.registry.manifests["team/app", "1"][1])
    project(ground, url(ground, f"team/app@{digest}")).load()
    assert len(ground.registry.log) == asked + 1

    def hang_up(handler: Handler) -> bool:
        handler.close_connection = True
        return True

    ground.registry.fault = hang_up
    silent = project(ground, url(ground)).load()
    assert silent.model.files == again.model.files
    assert "as it was last seen" in silent.model.warnings[0]
    with pytest.raises(RegistryError):
        project(ground, url(ground, "team/app:2")).load()


def document(ground: Ground, *layers: dict[str, object], **changes: object) -> bytes:
    root = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": TYPE,
            "config": {"mediaType": EMPTY, "digest": sha(b"{}"), "size": 2},
            "layers": [*layers], **changes}  # fmt: skip
    return json.dumps(root).encode()


def layer(ground: Ground, text: str, kind: str = FILE, **annotations: str) -> dict[str, object]:
    data = text.encode()
    ground.registry.blobs["bad", sha(data)] = data
    return {"mediaType": kind, "digest": sha(data), "size": len(data), "annotations": {
        f"com.docker.compose.{key}": value for key, value in annotations.items()}}  # fmt: skip


GOOD = "services: {a: {image: b}}\n"
HOSTILE: dict[str, Callable[[Ground], bytes]] = {
    "an env file elsewhere": lambda g: document(
        g, layer(g, GOOD), layer(g, "A=1", ENV, envfile="../../../evil.env")),
    "an absolute file": lambda g: document(
        g, layer(g, GOOD), layer(g, GOOD, extends="true", file="/tmp/evil.yaml")),
    "no name": lambda g: document(g, layer(g, GOOD), layer(g, "A=1", ENV)),
    "a hidden file": lambda g: document(g, layer(g, GOOD), layer(g, "A=1", ENV, envfile=".env")),
    "the same twice": lambda g: document(
        g, layer(g, GOOD), *[layer(g, f"A={n}", ENV, envfile="a.env") for n in range(2)]),
    "over another": lambda g: document(
        g, layer(g, GOOD, file="compose-0.yaml/"),
        layer(g, GOOD, extends="true", file="compose-0.yaml")),
    "no Compose file": lambda g: document(g, layer(g, "A=1", ENV, envfile="a.env")),
    "too many": lambda g: document(g, *[layer(g, GOOD)] * 300),
    "another size": lambda g: document(g, {**layer(g, GOOD), "size": 3}),
    "an endless size": lambda g: document(g, {**layer(g, GOOD), "size": 1 << 62}),
    "a blob that is not there": lambda g: document(g, {**layer(g, GOOD), "digest": sha(b"x")}),
    "an image": lambda g: document(g, layer(g, GOOD), artifactType="application/x"),
    "no JSON": lambda g: b"services:",
    "no YAML": lambda g: document(g, layer(g, "a: [")),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_application_is_an_error_and_leaves_nothing(ground: Ground, case: str) -> None:
    ground.registry.put("bad", "1", MANIFEST, HOSTILE[case](ground))
    with pytest.raises(PcomposeError):
        project(ground, url(ground, "bad:1")).load()
    kept = list((ground.path / "data").rglob("*.env")) + list(ground.path.glob("*.env"))
    assert kept == []
    assert not Path("/tmp/evil.yaml").exists()


def test_files_with_strange_names_are_read_all_the_same(ground: Ground) -> None:
    ground.registry.put("bad", "1", MANIFEST, document(
        ground, layer(ground, GOOD, file="../up.yaml"),
        layer(ground, "services: {a: {command: [c]}}\n", file=".hidden.yaml")))
    found = project(ground, url(ground, "bad:1")).model
    assert found.services["a"].command == ("c",)
    assert [Path(file).name for file in found.files] == ["compose-0.yaml", "compose-1.yaml"]


def test_what_is_no_reference_is_told(ground: Ground) -> None:
    with pytest.raises(ImageError, match="cannot read oci://UPPER/"):
        project(ground, "oci://UPPER/Case").load()
