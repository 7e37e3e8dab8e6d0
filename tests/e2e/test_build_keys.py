"""What each key of `build:` does to the image and to the commands that make it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.build.ground import base_tar
from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e
DOCKERFILE = """\
FROM base AS seen
ARG FROM_FILE FROM_SHELL FROM_FLAG=none
RUN exec > /seen; echo $FROM_FILE $FROM_SHELL $FROM_FLAG; ulimit -n; grep -c /dev/shm.*size=3072k \\
    /proc/mounts; grep db /etc/hosts; ls /sys/class/net
RUN --mount=type=ssh stat -c '%F %a' $SSH_AUTH_SOCK >> /seen
RUN --mount=type=ssh,id=other,target=/agent test -S /agent
RUN --mount=type=secret,id=renamed cat /run/secrets/renamed >> /seen
RUN --security=insecure grep Seccomp: /proc/self/status >> /seen
COPY --from=directory file /from-directory
COPY --from=picture /etc/passwd /from-image
COPY --from=sister /made /from-service
FROM seen AS wanted
FROM base
RUN false
"""
COMPOSE = """\
services:
  web:
    image: web:1
    build:
      context: .
      dockerfile: dir/Docker.file
      target: wanted
      args: [FROM_FILE=file, FROM_SHELL]
      additional_contexts:
        - directory=./other
        - picture=docker-image://base
        - sister=service:sister
      entitlements: [security.insecure]
      extra_hosts: ["db=10.1.2.3"]
      labels: {own: mine}
      network: none
      secrets: [{source: token, target: renamed}]
      shm_size: 3m
      ssh: [default, other=./other.sock]
      tags: ["web:2", "localhost:5000/web:3"]
      ulimits: {nofile: {soft: 77, hard: 78}}
  sister:
    build:
      dockerfile_inline: |
        FROM base
        RUN --security=insecure echo sister > /made
      privileged: true
      isolation: default
      no_cache: true
secrets: {token: {file: ./token}}
"""


@pytest.fixture
def keys(stack: Stack) -> Iterator[Stack]:
    """The project, with two agents that nobody has to answer for."""
    (stack.directory / "base.tar").write_bytes(base_tar())
    stack("import", "base.tar", "base", "-c", "ENV PATH=/bin")
    stack.write(COMPOSE)
    stack.write(DOCKERFILE, "dir/Docker.file")
    stack.write("of the directory\n", "other/file")
    stack.write("of the secret\n", "token")
    stack.sandbox.environment |= {"FROM_SHELL": "shell",
                                  "SSH_AUTH_SOCK": str(stack.directory / "own.sock")}
    with socket.socket(socket.AF_UNIX) as own, socket.socket(socket.AF_UNIX) as other:
        for agent, name in ((own, "own"), (other, "other")):
            agent.bind(str(stack.directory / f"{name}.sock"))
            agent.listen()
        yield stack


def test_every_key_does_what_it_says(keys: Stack) -> None:
    keys("build", "--build-arg", "FROM_FLAG=flag")
    seen = keys("run", "--rm", "-T", "web", "cat", "/seen", "/from-directory", "/from-service")
    assert seen.stdout.splitlines() == [
        "file shell flag", "77", "1", "10.1.2.3\tdb", "lo", "socket 600", "of the secret",
        "Seccomp:\t0", "of the directory", "sister"]  # fmt: skip
    [image] = json.loads(keys("image", "inspect", "web:1").stdout)
    assert sorted(image["RepoTags"]) == ["localhost:5000/web:3", "web:1", "web:2"]
    assert image["Config"]["Labels"]["own"] == "mine"
    assert "FROM_FILE" not in str(image["Config"]["Env"])
    again = keys("build", "--build-arg", "FROM_FLAG=flag", "--explain")
    assert again.stderr.count("DONE") == 1, "sister wants no cache"
    assert "no cache is wanted" in again.stderr


REFUSED = (
    ("[security.insecure]", "[]", "dir/Docker.file:8:1: RUN needs security.insecure"),
    ("[security.insecure]", "[network.hots]", "web.build.entitlements: there is no entitlement"),
    ("other=./other.sock", "other=./none.sock", "web.build.ssh: other: there is no agent at"),
    ("directory=./other", "directory=./none", "additional_contexts: directory: none is no direc"),
    ("docker-image://base", "oci-layout://base", "cannot use oci-layout://base"),
    ("network: none", "network: shop", "a build cannot join the network shop"),
    ("target: wanted", "target: wnated", "did you mean wanted?"),
    ("context: .", "context: .\n      platforms: [linux/amd64, linux/arm64]",
     "one image is built for one platform at a time"),
    ("context: .", "context: .\n      platforms: [linux/mips64le]",
     "base is here for linux/amd64, not for linux/mips64le"),
)  # fmt: skip


def test_what_cannot_be_is_told(keys: Stack) -> None:
    for was, becomes, told in REFUSED:
        keys.write(COMPOSE.replace(was, becomes))
        assert told in keys("build", "web", ok=False).stderr
