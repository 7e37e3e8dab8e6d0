"""`build:` in a Compose file, through the installed command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.build.ground import base_tar
from tests.e2e.sandbox import Stack
from tests.image.archives import layer

pytestmark = pytest.mark.e2e

DOCKERFILE = """\
ARG GREETING=hello
FROM base AS build
ARG GREETING
WORKDIR /src
COPY words .
RUN --mount=type=secret,id=token cat words > out && echo "$GREETING" >> out && \\
    cat /run/secrets/token >> out
FROM base AS unused
RUN false
FROM base
COPY --from=build /src/out /out
COPY --from=lib /lib.txt /lib.txt
CMD ["sh", "-c", "cat /out /lib.txt; sleep 600"]
"""
COMPOSE = """\
services:
  web:
    build:
      context: web
      args: {GREETING: hi}
      secrets: [token]
      additional_contexts: {lib: "service:lib"}
      tags: ["web:extra"]
    init: true
    stop_grace_period: 0s
  lib:
    image: lib:1
    build:
      dockerfile_inline: |
        FROM base
        RUN echo from lib > /lib.txt
    command: ["id"]
secrets:
  token: {environment: TOKEN}
"""


@pytest.fixture
def built(stack: Stack) -> Iterator[Stack]:
    """A project with two images to build, one from the other."""
    (stack.directory / "base.tar").write_bytes(base_tar())
    stack("import", "base.tar", "base", "-c", "ENV PATH=/bin")
    stack.write(COMPOSE)
    stack.write(DOCKERFILE, "web/Dockerfile")
    stack.write("some words\n", "web/words")
    stack.sandbox.environment["TOKEN"] = "s3cret\n"
    yield stack
    stack("down", "-t", "0")


def test_up_builds_what_is_missing_and_again_when_told(built: Stack) -> None:
    built("up", "-d")
    assert built.logs("web") == [f"web-1  | {line}" for line in
                                 ("some words", "hi", "s3cret", "from lib")]
    assert f"{built.name}-web" in built("images", "-a").stdout
    before = built.ps()[f"{built.name}-web-1"]["ID"]
    again = built("up", "-d", "--build")
    assert built.ps()[f"{built.name}-web-1"]["ID"] == before
    assert "DONE" not in again.stderr
    built.write("other words\n", "web/words")
    changed = built("up", "-d", "--build")
    assert "not in the cache: file words has changed" in changed.stderr
    assert built.ps()[f"{built.name}-web-1"]["ID"] != before
    rows = json.loads(built("images", "-a", "--format", "json").stdout)
    assert {("web", "extra"), (f"{built.name}-web", "latest")} <= {
        (row["Repository"], row["Tag"]) for row in rows}


def test_a_build_can_be_asked_for_alone_and_what_it_needs_comes_first(built: Stack) -> None:
    done = built("build", "-q", "web")
    assert len(done.stdout.split()) == 2
    heeded = built("build", "--progress", "quiet", "--memory", "1g", "--builder", "b", "web")
    assert "DONE" not in heeded.stderr
    assert heeded.stderr.count("is ignored") == 2
    assert built("build", "--build-arg", "GREETING=moin", "web").stderr.count("DONE") == 3
    assert built("run", "--rm", "-T", "web", "cat", "/out").stdout.splitlines()[1] == "moin"


def test_mistakes_are_told_with_their_place(built: Stack) -> None:
    built.write(DOCKERFILE.replace("COPY --from=build", "COPY --form=build"), "web/Dockerfile")
    failed = built("build", ok=False)
    assert failed.returncode == 1
    assert failed.stderr.endswith("web/Dockerfile:11:6: COPY: unknown flag: --form\n"
                                  "hint: did you mean --from?\n")  # fmt: skip
    built.write(DOCKERFILE.replace("cat words", "cat nothing"), "web/Dockerfile")
    failed = built("up", "-d", ok=False)
    assert "web/Dockerfile:6:1: RUN" in failed.stderr
    assert built.ps() == {}
    built.write(COMPOSE.replace("context: web", "context: wbe"))
    assert "compose.yaml:4:7" in built("build", ok=False).stderr


def test_images_are_looked_at_named_saved_and_removed(built: Stack) -> None:
    built("up", "-d", "--quiet-build")
    name = f"{built.name}-web"
    rows = [json.loads(line) for line in
            built("image", "history", "--format", "json", name).stdout.splitlines()]
    assert [row["CreatedBy"].partition(" ")[0] for row in rows][:3] == ["CMD", "COPY", "COPY"]
    assert rows[0]["ID"] == json.loads(built("image", "inspect", name).stdout)[0]["Id"]
    built("image", "rm", "web:extra")
    refused = built("image", "rm", name, ok=False)
    assert f"used by container {built.name}-web-1" in refused.stderr
    built("image", "tag", name, "copy:1")
    built("image", "save", "-o", "copy.tar", "copy:1")
    built("down", "-t", "0")
    built("image", "rm", "-f", rows[0]["ID"])
    assert name not in built("image", "ls").stdout
    assert "copy:1" in built("load", "-i", "copy.tar").stdout
    assert built("image", "ls", "-q").stdout.count(rows[0]["ID"][7:]) == 1
    pruned = built("image", "prune", "-a", "-f", "--build-cache").stdout
    assert "Deleted build steps: 6" in pruned
    assert built("image", "ls", "-q").stdout == ""
    assert not list((built.directory.parent / "data/images/l").iterdir())


def test_a_container_becomes_an_image_with_what_it_has_written(built: Stack) -> None:
    built("up", "-d", "--quiet-build")
    built.execute("web", "sh", "-c", "echo more > /srv/more; rm /lib.txt; mkdir -m 700 /own")
    id_ = built("commit", "-m", "by hand", "-c", "CMD cat /srv/more", "web", "changed:1").stdout
    assert built.execute("web", "cat", "/srv/more") == "more\n", "it goes on"
    [found] = json.loads(built("image", "inspect", "changed:1").stdout)
    assert (found["Id"], found["Config"]["Cmd"][-1]) == (id_.strip(), "cat /srv/more")
    last = json.loads(built("image", "history", "--format", "json", "changed:1").stdout
                      .splitlines()[0])  # fmt: skip
    assert (last["Comment"], last["CreatedBy"]) == ("by hand", f"commit of {built.name}-web-1")
    built("down", "-t", "0")
    built.write("services: {one: {image: 'changed:1'}}")
    assert built("run", "--rm", "-T", "one").stdout == "more\n"
    seen = built("run", "--rm", "-T", "one", "sh", "-c", "ls /lib.txt; stat -c %a /own", ok=False)
    assert (seen.stdout, "No such file" in seen.stderr) == ("700\n", True)
    rows = [row.split()[0] for row in built("image", "df").stdout.splitlines()[1:]]
    assert rows == ["Images", "Build", "Cache"]


def test_a_container_on_the_machine_becomes_an_image_too(stack: Stack) -> None:
    stack.write("services: {a: {image: pcompose/host, command: sleep 600, stop_grace_period: 0s}}")
    stack("up", "-d")
    stack.execute("a", "sh", "-c", "echo mine > /usr/local/bin/mine; echo yours > /etc/yours")
    stack("commit", "a", "changed:1")
    stack("down", "-t", "0")
    stack.write("services: {a: {image: 'changed:1', command: cat /usr/local/bin/mine /etc/yours}}")
    assert stack("run", "--rm", "-T", "a").stdout == "mine\nyours\n"


def test_a_context_may_come_from_elsewhere(built: Stack) -> None:
    served = built.directory / "served"
    served.mkdir()
    (served / "app.tar").write_bytes(layer(
        ("Dockerfile", b"FROM base\nCOPY words /\nCMD cat /words\n"), ("words", b"from afar\n")))
    server = subprocess.Popen(
        built.sandbox.inside([sys.executable, "-u", "-m", "http.server", "-b", "127.0.0.1", "-d",
                              str(served), "8000"]),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    assert server.stdout is not None
    try:
        assert "Serving" in server.stdout.readline()
        built.write("services: {web: {build: 'http://127.0.0.1:8000/app.tar'}}")
        built("build")
        assert built("run", "--rm", "-T", "web").stdout == "from afar\n"
        assert built("build").stderr.count("DONE") == 0
        built.write("services:\n  web:\n    build:\n      context: http://127.0.0.1:8000/none\n")
        assert "compose.yaml:4:7: services.web.build.context: fetching: cannot fetch" in (
            built("build", ok=False).stderr)
    finally:
        server.terminate()
        server.communicate()


CACHED = """\
services:
  web:
    build:
      context: .
      cache_from: ["type=local,src=taken"]
      cache_to: ["type=local,dest=given,mode=max"]
"""


def test_what_was_built_is_given_to_another_machine(built: Stack) -> None:
    built.write("FROM base AS one\nRUN echo one > /one\nFROM base\nCOPY --from=one /one /\n"
                "WORKDIR /made\n", "Dockerfile")
    built.write(CACHED)
    first = built("build")
    assert "cache_from" in first.stderr, "there is none yet"
    assert first.stderr.count("DONE") == 3
    id_ = built("build", "-q").stdout
    (built.directory / "given").rename(built.directory / "taken")
    shutil.rmtree(built.directory.parent / "data" / "images")
    built("import", "base.tar", "base", "-c", "ENV PATH=/bin")
    again = built("build", "--explain")
    assert (again.stderr.count("DONE"), again.stderr.count("CACHED")) == (0, 3)
    rows = json.loads(built("images", "-a", "--format", "json").stdout)
    assert {row["Repository"] for row in rows} == {"base", f"{built.name}-web"}
    built.write(CACHED.replace("type=local,src=taken", "type=gha"))
    refused = built("build", ok=False).stderr
    assert "compose.yaml:5:7: services.web.build.cache_from: `gha` is no kind of cache" in refused
    assert id_
