"""The same Dockerfiles with BuildKit, where a docker daemon is installed: the same images come out.

Compared is all that a container would see: every file with its kind, mode, owner, content and hard
links, and the configuration.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator.build.view import Layers, Scratch, mounted
from orchestrator.engine.buildrun import BuildRunner
from orchestrator.image import archive, saving
from orchestrator.image.store import Image
from tests.build.docker import Docker
from tests.build.ground import Ground
from tests.e2e.sandbox import Sandbox

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("dockerd") is None, reason="dockerd is not installed"),
]
MADE_BY_ENGINES = {"proc", "dev", "sys", "etc/hosts", "etc/resolv.conf"}
FILES = {
    "a.txt": "a", "b.txt": "b", "c.md": "c", "d/one": "1", "d/e/two": "2", "d/e/f/three": "3",
    "x y": "space", "keep/this": "k", "keep/not": "n", "empty/.gitkeep": "",
    ".dockerignore": "*.md\nkeep\n!keep/this\n.dockerignore\nDockerfile\n",
}
FILES_OF_TAR = (("in/", 0o750, b""), ("in/tarred", 0o4755, b"tarred"), ("top", 0o600, b"top"))

DOCKERFILES = {
    "variables": """\
ARG BASE=base
ARG TAG=latest
FROM ${BASE}:${TAG} AS one
ARG WITH=default
ARG WITHOUT
ENV A=1 B="two words" C='$A' D=${A}x E=$A/$B F=${WITHOUT:-unset} G=${WITH:+set} \\
    H=a\\ b I="\\"q\\"" J=\\$A
ENV A=2 K=$A
ENV OLD the  rest of "it" $A
ENV PATH=/extra:$PATH
LABEL plain=$A "with space"="v w" multi="a\\
b" quoted='$A'
WORKDIR /w/$A
WORKDIR deeper
RUN echo "$A|$B|$C|$D|$E|$F|$G|$H|$I|$J|$K|$OLD|$PATH|$WITH|$PWD|$HOME" > seen
FROM one
RUN echo "$WITH $A" > inherited
""",
    "copies": """\
FROM base
RUN mkdir -p -m 700 /merged/e && touch /merged/e/old && mkdir -p /there /into/d && \\
    ln -s /there /link && ln -s there /relative && echo old > /there/a.txt
WORKDIR /work
COPY a.txt .
COPY a.txt b.txt many/
COPY *.txt /glob/
COPY d /d
COPY d/ /d2/
COPY d /merged
COPY d /into
COPY d/e /into/d/
COPY a.txt /new/name
COPY a.txt /there
COPY a.txt /link/by-link
COPY b.txt /relative/
COPY ["x y", "a.txt", "/json dir/"]
COPY . /all/
COPY --chown=bob b.txt /bobs
COPY --chown=1234 d /numbered
COPY --chown=bob:wheel a.txt /made/by/bob
COPY --chown=7:8 a.txt b.txt /pair/
""",
    "archives": """\
FROM base
ADD in.tar /plain/
ADD in.tar.gz /zipped
ADD in.tar a.txt /mixed/
COPY in.tar /copied/
ADD d /dir
ADD --chown=5:6 in.tar /owned/
""",
    "stages": """\
FROM base AS first
RUN echo one > /one && mkdir -m 700 /dir && echo in > /dir/in && chmod 4755 /one
RUN ln /one /hard && ln -s one /soft
ONBUILD RUN echo triggered > /triggered
FROM first AS second
RUN rm /hard && rm -r /srv && mkdir /srv && echo new > /srv/new
FROM base AS unused
RUN false
FROM base
COPY --from=first /one /dir /from-first/
COPY --from=1 / /from-second/
COPY --from=first /soft /followed
COPY --from=first --chown=bob /dir /bobs
COPY --from=base /etc/passwd /etc/group /from-image/
""",
    "users": """\
FROM base
USER bob
WORKDIR /home/bob/app
RUN id -u > me && umask 077 && mkdir private && echo $HOME > home
USER 1000:wheel
RUN id -g > group
USER root
WORKDIR /root-made
RUN rm /etc/group; mkdir /deep /deep/er; rm -r /deep/er; touch -d @0 /deep/old
""",
    "configuration": """\
# escape=`
FROM base
MAINTAINER somebody <a@b.c>
EXPOSE 80 443/tcp 53/udp 1000-1002
VOLUME /data /x
VOLUME ["/v1", "/v 2"]
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=1m30s --timeout=3s --start-period=5s --retries=4 CMD check `
    --all
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT exec run
CMD ["a", "b c"]
ONBUILD COPY . /src
USER bob:wheel
LABEL c:\\dir=`$HOME
""",
    "commands": """\
FROM base AS base2
CMD ["inherited"]
FROM base2
ENTRYPOINT ["/entry"]
HEALTHCHECK NONE
""",
    "documents": """\
FROM base
ENV WHO=me
COPY <<one <<"two" <<-three /docs/
$WHO ${WHO} \\$WHO "q" 'q' \\ \\x
one
$WHO "q"
two
\ttabs $WHO
\t\tmore
\tthree
COPY --chmod=640 --chown=bob <<EOF /docs/owned
x
EOF
RUN <<EOF
echo "$WHO \\$WHO" > /ran
set -- a b; echo $2 >> /ran
EOF
RUN <<EOF
#!/bin/sh
echo $0 $WHO > /script
EOF
RUN cat <<A > /both && cat <<B >> /both
one $WHO
A
two
B
RUN <<-"X" sh
\techo of sh $WHO > /piped
\tX
""",
    "links": """\
FROM base AS from
RUN mkdir -m 700 /tree && echo x > /tree/x && ln /tree/x /tree/y
FROM base
COPY --link d /linked
COPY --link --from=from /tree /srv/tree/
COPY --link --chown=7:8 --chmod=600 a.txt /owned
ADD --link in.tar /unpacked/
""",
    "scopes": """\
ARG OUTER=outer
ARG BOTH=both WITH=with
FROM base AS one
ARG OUTER BOTH=own EMPTY=
ARG DERIVED=$OUTER-$BOTH
ENV SHOWN=$OUTER
ARG SHOWN=argument LATER=argument
ENV LATER=$LATER-env
RUN echo "$LATER" > /later; echo "$OUTER|$BOTH|$DERIVED|$SHOWN|${EMPTY-unset}|$WITH" > /one
FROM one AS two
RUN echo "$OUTER|$BOTH|$DERIVED|$SHOWN" > /two
FROM base
COPY --from=two /one /two /
RUN echo "$OUTER|$BOTH|$TARGETARCH" > /three
ARG TARGETARCH TARGETPLATFORM BUILDPLATFORM
RUN echo "$TARGETARCH $TARGETPLATFORM $BUILDPLATFORM" > /four
""",
    "operators": """\
FROM base
ENV A=hel/lo.tar.gz N= \\
    SPACE="a  b"
ENV B=${A#*l} C=${A##*l} D=${A%.*} E=${A%%.*} F=${A/l/L} G=${A//l/L} H=${N:-d} I=${N-d} \\
    J=${N:+s} K=${N+s} L=${A:+${B}x} M=${NONE:-'q $A'} O=${NONE:-"q $A"} P=${A/.t*/-} Q=$A$A
ENV R=$SPACE S='$SPACE' T="$SPACE" U=a\\ b V="a\\ b" W='a\\ b'
RUN for v in B C D E F G H I J K L M O P Q R S T U V W; do eval echo "$v=\\"\\$$v\\""; done > /all
RUN env | grep -v ^HOSTNAME= > /env
""",
    "mounts": """\
FROM base AS tool
RUN mkdir /tool && echo tool > /tool/it
FROM base
RUN mkdir /c /t /b && touch /f
RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t \\
    --mount=from=tool,source=tool,target=/b --mount=target=/f,source=a.txt \\
    cat /b/it /f/a.txt /f > /out; ls / >> /out; touch /c/x /t/y
""",
}


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    with Sandbox(tmp_path_factory.mktemp("docker")) as sandbox, Docker(sandbox) as made:
        yield made


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, docker: Docker) -> Iterator[Ground]:
    """A store whose base image docker has too, and a context with something of everything."""
    path = tmp_path_factory.mktemp("two")
    with BuildRunner() as runner:
        ground = Ground(path, runner)
        ground.add_base()
        with (path / "base.tar").open("wb") as file:
            saving.save(ground.store, ["base"], file.write)
        docker("load", "-q", "-i", str(path / "base.tar"))
        assert docker.id_of("base") == ground.find("base").id
        ground.write(FILES)
        for name, mode in (("in.tar", "w"), ("in.tar.gz", "w:gz")):
            _archive(ground.context / name, mode)
        (ground.context / "d/link").symlink_to("one")
        (ground.context / "d/out").symlink_to("/etc/passwd")
        os.chmod(ground.context / "b.txt", 0o4711)
        yield ground


def _archive(path: Path, mode: Any) -> None:
    with tarfile.open(path, mode) as tar:
        for name, bits, content in FILES_OF_TAR:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.mode, info.uid, info.gid, info.size = bits, 11, 12, len(content)
            tar.addfile(info, io.BytesIO(content))


def seen(ground: Ground, image: Image) -> dict[str, str]:
    """What a container would see: path -> kind, mode, owner, content, other names."""
    scratch = Scratch(path=ground.store.scratch())
    found: dict[str, str] = {}
    try:
        with mounted(Layers(lowers=image.layers), scratch) as root:
            top = f"/proc/self/fd/{root}/"
            names: dict[int, str] = {}
            for directory, below, files in os.walk(top):
                for name in (*below, *files):
                    path = os.path.join(directory, name)
                    found[path.removeprefix(top)] = _said(path, names)
    finally:
        ground.store.discard(scratch.path)
    return {path: said for path, said in sorted(found.items())
            if path not in MADE_BY_ENGINES and not path.endswith(("/proc", "/sys", "/dev"))}


def _said(path: str, names: dict[int, str]) -> str:
    info = os.lstat(path)
    what = ""
    if stat.S_ISLNK(info.st_mode):
        what = f"-> {os.readlink(path)}"
    elif stat.S_ISREG(info.st_mode):
        content = Path(path).read_bytes()
        what = str(content) if len(content) < 500 else hashlib.sha256(content).hexdigest()
        if info.st_nlink > 1:
            what += f" = {names.setdefault(info.st_ino, os.path.basename(path))}"
    return f"{info.st_mode:o} {info.st_uid}:{info.st_gid} {what}"


def brought(ground: Ground, docker: Docker, tag: str) -> Image:
    """The image that docker has, in our store."""
    path = str(ground.root / "theirs.tar")
    docker("save", "-o", path, tag)
    archive.load(ground.store, path)
    found = ground.find(tag)
    assert found.id == docker.id_of(tag)
    return found


@pytest.mark.parametrize("name", DOCKERFILES)
def test_buildkit_makes_the_same_image(two: Ground, docker: Docker, name: str) -> None:
    (two.context / "Dockerfile").write_text(DOCKERFILES[name])
    args = {"WITH": "given"} if name == "variables" else {}
    docker.build(two.context, f"theirs:{name}", args)
    theirs = brought(two, docker, f"theirs:{name}")
    ours = two.build(DOCKERFILES[name], args=args)
    with ThreadPoolExecutor(1) as thread:  # which gets a mount namespace of its own
        assert thread.submit(seen, two, ours).result() == thread.submit(seen, two, theirs).result()
    assert ours.config == theirs.config


def test_docker_runs_what_is_built_here(two: Ground, docker: Docker) -> None:
    image = two.build("FROM base\nRUN echo ours > /ours\nENV WHO=us\n"
                      'ENTRYPOINT ["sh", "-c"]\nCMD ["cat /ours; echo $WHO"]\n')
    two.store.tag(image.id, "ours:1")
    with (two.root / "ours.tar").open("wb") as file:
        saving.save(two.store, ["ours:1"], file.write)
    docker("load", "-q", "-i", str(two.root / "ours.tar"))
    assert docker.id_of("ours:1") == image.id
    assert docker("run", "--rm", "--network", "none", "ours:1") == "ours\nus"
    assert brought(two, docker, "ours:1").id == image.id
