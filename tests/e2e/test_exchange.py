"""Images that are built here and run by podman and runc, and theirs that run here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from tests.build.ground import base_tar
from tests.e2e.sandbox import Stack
from tests.image.podman import LIMITS, Podman

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (shutil.which("podman") and shutil.which("runc")),
                       reason="podman or runc is not installed"),
]
DOCKERFILE = """\
FROM base
COPY --chmod=640 --chown=bob words /words
RUN rm /etc/group; ln /words /hard; ln -s words /soft; mkdir -m 1770 /made
ENV WHO=us
USER bob
WORKDIR /made
ENTRYPOINT ["sh", "-c"]
CMD ["id -u; pwd; echo $WHO; cat /soft; stat -c '%a %h' /hard /made; test -e /etc/group || \\
    echo gone"]
"""
SAID = "1000\n/made\nus\nwords\n640 2\n1770 2\ngone"
THEIRS = """\
FROM localhost/exchange
USER 0
RUN echo theirs > /srv/theirs && rm /soft
ENV WHO=them
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["cat /srv/theirs; echo $WHO; ls /"]
"""


@pytest.fixture
def podman() -> Iterator[Podman]:
    with Podman() as made:
        yield made


def test_what_is_built_here_runs_there_and_what_is_built_there_runs_here(
    stack: Stack, podman: Podman
) -> None:
    (stack.directory / "base.tar").write_bytes(base_tar())
    stack("import", "base.tar", "base", "-c", "ENV PATH=/bin")
    stack.write("services: {a: {image: localhost/exchange, build: .}}")
    stack.write(DOCKERFILE, "Dockerfile")
    stack.write("words\n", "words")
    ours = stack("build", "-q").stdout.strip()
    stack("image", "save", "-o", "ours.tar", "localhost/exchange")
    podman("load", "-q", "-i", str(stack.directory / "ours.tar"))
    assert podman.id_of("localhost/exchange") == ours
    run = ("run", "--rm", "--network", "none", *LIMITS, "localhost/exchange")
    assert podman(*run) == stack("run", "--rm", "-T", "a").stdout.strip() == SAID

    stack.write(THEIRS, "Theirs")
    podman("build", "-q", "--isolation", "chroot", "-f", "Theirs", "-t", "localhost/theirs", ".",
           cwd=stack.directory)
    archive = str(stack.directory / "theirs.tar")
    podman("save", "-q", "--format", "oci-archive", "-o", archive, "localhost/theirs")
    stack("load", "-q", "-i", archive)
    [found] = json.loads(stack("image", "inspect", "localhost/theirs").stdout)
    assert found["Id"] == podman.id_of("localhost/theirs")
    stack.write("services: {a: {image: localhost/theirs}}")
    said = stack("run", "--rm", "-T", "a").stdout.split()
    assert said[:2] == ["theirs", "them"]
    assert {"soft", "hard"} & set(said) == {"hard"}
