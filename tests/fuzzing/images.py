"""Images, archives and Dockerfiles, spoiled by chance, and everything that reads them.

What comes out is a result or a PcomposeError: never a traceback or a hang, and never a file outside
of the store.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import importlib.util
import io
import json
import lzma
import os
import random
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from orchestrator.build import checks, ignore, metadata, parse, stages
from orchestrator.build.instructions import Dockerfile
from orchestrator.build.metadata import Scope
from orchestrator.dataclass import replace
from orchestrator.errors import BuildError, ImageError
from orchestrator.image import archive, artifact, manifest
from orchestrator.image import config as configs
from orchestrator.image.config import ImageConfig
from orchestrator.image.store import ImageStore
from orchestrator.image.tar import BLOCK
from tests.fuzzing.targets import Wrong, told
from tests.image.archives import Layout, config, docker_archive, info, layer, name, pack, zstd

LARGEST = 1 << 18
"""Bytes of a spoiled input."""

DOCKERFILES = (
    r"""# syntax=docker/dockerfile:1
# escape=\
ARG VERSION=1 BASE=scratch
FROM --platform=$BUILDPLATFORM $BASE AS build
ARG VERSION
ENV A=1 B="x y" C='$A' D=${A:-b} E=${A:+${B}} F=${VERSION%.*} G=${A/x/y} \
    # a comment
    H=$A\ $B
WORKDIR /src/$A
COPY --chown=1:1 --chmod=u=rwX,go=rX --link --parents --exclude=*.md a b/./c ["x y", "/z/"]
ADD --checksum=sha256:0123 --keep-git-dir=true https://example.com/a.git#main:b /c
RUN --mount=type=cache,target=/c,sharing=locked,id=$A --mount=type=secret,id=s,env=S,required \
    --mount=type=bind,from=build,source=/a,target=/b,rw --mount=type=tmpfs,target=/t,size=1m \
    --mount=type=ssh --network=none --security=sandbox make && \
    make install
RUN <<EOF cat <<-"E2" > /x
one $A
EOF
	two
E2
COPY <<a <<'b' /dir/
$A
a
$B
b
FROM build
ONBUILD RUN ["echo", "a\u00e9"]
HEALTHCHECK --interval=1m30s --timeout=.5s --start-period=0s --retries=3 CMD curl -f x || exit 1
HEALTHCHECK NONE
EXPOSE 80 443/tcp 1000-1010/udp ${A}
VOLUME ["/data", "/x"]
USER 1000:wheel
LABEL a=b "c d"='e' f
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/x", "-c"]
CMD echo $A
MAINTAINER someone <a@b>
COPY --from=build /src /src
COPY --from=0 /a /b
""",
    "# escape=`\nFROM windows\nRUN dir `\n c:\\\nCOPY a `\n\n#x\n b c\n",
    "from a\nrun [\"a\", 'b']\nrun <<e\n#!/bin/sh\necho\ne\nenv a b c  d\n",
)
IGNORES = (
    "# c\n*\n!src\nsrc/**/*.o\n**/node_modules\n/a/../b\n[a-z]?[^x]\\*\n!**\n  \n!\n/\n..\n[\n",
    "**/**/**/**/a\n*a*a*a*a*a*a*b\n!*/b/\n",
)
PATHS = ("a", "src/a.o", "x/node_modules/y", "a" * 200, "/".join("a" * 50), "src", "b", "é")
TOKENS = (
    b"$", b"${", b"${A:-", b"${A/", b"}", b"<<", b"<<-E", b"<<'E'", b"\\", b"\\\n", b"`", b'"',
    b"'", b"[", b"]", b'["', b"--", b"--from=", b"--mount=", b"--mount=type=", b"=", b",", b"#",
    b"\n", b"\n\n", b"\r\n", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"../",
    b"/", b"**", b"!", b"[^", b"[a-", b"\\\\", b"FROM ", b"ONBUILD ", b"HEALTHCHECK ", b"ARG ",
    b"COPY --", b"0" * 40, b"9" * 400, b"-1", b"1e999", b"null", b"{}", b"[]", b"true",
    b'"\\u0000"', b'"\\ud800"', b"sha256:", b"sha512:", b"NaN",
)  # fmt: skip


class Case(NamedTuple):
    """A kind of input: what it begins as, and who reads it."""

    name: str
    seeds: tuple[bytes, ...]
    read: Callable[[bytes, Path], None]
    is_tar: bool = False


# ---- those who read


def _dockerfile(data: bytes, directory: Path) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with accepted(places="Dockerfile"):
        file = parse.parse(text, file="Dockerfile")
        checks.check(file, checks.Around(args={}, automatic={}, image=lambda name: ImageConfig()))
        _planned(file)


def _planned(file: Dockerfile) -> None:
    planned = stages.plan(file, args={"BASE": "img"}, platform={"TARGETARCH": "amd64"},
                          target="", triggers=lambda *_: ("RUN a", "COPY x y"))
    for stage in planned.needed:
        made = ImageConfig(env=(("A", "1"),))
        for step in stage.instructions:
            if metadata.changes(step):
                scope = Scope(variables=dict(made.env), escape=planned.escape)
                made = metadata.apply(made, step, scope)
        configs.dump(configs.ConfigFile(
            platform=manifest.host_platform(), created=None, config=made, diff_ids=()))


def _ignore(data: bytes, directory: Path) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ValueError):
        rules = ignore.read(text)
        for path in PATHS:
            rules.ignores(path)
            rules.may_hold(path)


def _document(data: bytes, directory: Path) -> None:
    with accepted():
        found = manifest.parse(data, what="manifest")
        if isinstance(found, manifest.Index):
            manifest.choose(found.manifests, wanted=manifest.host_platform(), what="index")
    with accepted():
        for part in artifact.parse(data, what="application"):
            if part.name in ("", ".", "..") or part.name.startswith(".") or "/" in part.name:
                raise Wrong(f"a file of an application is called {part.name!r}")
    with accepted():
        parsed = configs.parse(data)
        if configs.parse(configs.dump(parsed)) != parsed:
            raise Wrong("a config does not read back as the same")


def _layer(data: bytes, directory: Path) -> None:
    into_store(directory, lambda store: archive.import_rootfs(store, io.BytesIO(data), "fuzz"))


def _archive(data: bytes, directory: Path) -> None:
    into_store(directory, lambda store: archive.load(store, io.BytesIO(data)))


def into_store(directory: Path, add: Callable[[ImageStore], object]) -> None:
    """Nothing may come to lie outside of the store, and in it nothing that is half made."""
    (directory / "victim").write_bytes(b"untouched")
    store = ImageStore(str(directory / "store"))
    before = set(os.listdir("/"))
    with accepted():
        add(store)
    if (set(os.listdir("/")) - before or (directory / "victim").read_bytes() != b"untouched"
            or sorted(os.listdir(directory)) != ["store", "victim"]):  # fmt: skip
        raise Wrong("something lies outside of the store")
    if os.listdir(f"{store.root}/tmp"):
        raise Wrong("something half made was left")
    for image in store.images():
        for one in store.layers(image):
            with accepted():
                for _ in store.read_layer(one.diff_id):
                    pass


@contextlib.contextmanager
def accepted(*, places: str = "") -> Iterator[None]:
    """Errors that say something are a result; with `places`, each has its place in that file."""
    try:
        yield
    except (BuildError, ImageError) as exc:
        told(exc)
        for where, _, _ in exc.problems if places and isinstance(exc, BuildError) else ():
            if not where.startswith(f"{places}:"):
                raise Wrong(f"an error without its place: {exc}") from exc


# ---- what they begin with


def _tars() -> tuple[bytes, ...]:
    long = "d" * 90 + "/" + "f" * 150
    plain = layer(("a", None), ("a/b", b"x" * 700), (long, b"y"), ("a/.wh.c", b""),
                  ("a/.wh..wh..opq", b""))  # fmt: skip
    odd = pack(
        (info("d", type=tarfile.DIRTYPE, mode=0o755), b""),
        (info("d/link", type=tarfile.SYMTYPE, linkname="../../victim"), b""),
        (info("d/link/x", type=tarfile.REGTYPE), b"leads out"),
        (info("../../victim", type=tarfile.REGTYPE), b"out"),
        (info("/fuzz-was-here", type=tarfile.REGTYPE), b"out"),
        (info("d/hard", type=tarfile.LNKTYPE, linkname="../../victim"), b""),
        (info("d/fifo", type=tarfile.FIFOTYPE), b""),
        (info("d/x", type=tarfile.REGTYPE, pax_headers={
            "SCHILY.xattr.user.a": "b", "mtime": "1.5", "path": "d/é" * 30}), b"x"),
    )
    gnu = pack((info(long * 2, type=tarfile.REGTYPE), b"long"),
               (info("s", type=tarfile.SYMTYPE, linkname=long), b""), format=tarfile.GNU_FORMAT)
    packed = [gzip.compress(plain), bz2.compress(odd), lzma.compress(gnu)]
    if importlib.util.find_spec("backports.zstd"):
        packed.append(zstd(plain))
    return plain, odd, gnu, *packed


def _archives() -> tuple[bytes, ...]:
    one, two = layer(("a", None), ("a/b", b"x")), layer(("c", b"y" * 600))
    with tempfile.TemporaryDirectory() as directory:
        layout = Layout(Path(directory))
        layout.image([one, two], **name("app:2"))
        return docker_archive({"app:1": [one, two]}), layout.tar()


def _documents() -> tuple[bytes, ...]:
    made = config([b"one"], Env=["A=1"], Cmd=["a"], ExposedPorts={"80/tcp": {}}, User="x",
                  Healthcheck={"Test": ["CMD", "a"], "Interval": 10**9}, Labels={"a": "b"})
    one = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 3,
           "digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "amd64"},
           "annotations": {"a": "b"}}  # fmt: skip
    index = {"schemaVersion": 2, "manifests": [one]}
    image = {"schemaVersion": 2, "config": one, "layers": [one, one]}
    file = artifact.File(name="compose.yaml", role="compose", data=b"services: {}")
    more = [replace(file, name=f"{role}.x", role=role) for role in ("extends", "env")]
    application = artifact.written([file, *more], version="1.1", maker="0")
    return made, application, *(json.dumps(value, indent=1).encode() for value in (index, image))


def cases() -> tuple[Case, ...]:
    """All kinds of input."""
    return (
        Case("Dockerfile", tuple(text.encode() for text in DOCKERFILES), _dockerfile),
        Case("dockerignore", tuple(text.encode() for text in IGNORES), _ignore),
        Case("document.json", _documents(), _document),
        Case("layer.tar", _tars(), _layer, is_tar=True),
        Case("archive.tar", _archives(), _archive, is_tar=True),
    )


# ---- how chance spoils it


def spoiled(chance: random.Random, known: tuple[Case, ...]) -> tuple[Case, bytes]:
    """One input with a few changes."""
    case = chance.choice(known)
    data = chance.choice(case.seeds)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        change = chance.choice(_CHANGES + (_field,) * 5 if case.is_tar else _CHANGES)
        data = change(chance, data, chance.choice(case.seeds))[:LARGEST]
    return case, data


def _token(chance: random.Random, data: bytes, other: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(TOKENS) + data[at + chance.choice((0, 0, 1, 4)):]


def _byte(chance: random.Random, data: bytes, other: bytes) -> bytes:
    if not data:
        return b"\0"
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1:]


def _cut(chance: random.Random, data: bytes, other: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at + chance.choice((1, 10, BLOCK, 10 * BLOCK, LARGEST)):]


def _splice(chance: random.Random, data: bytes, other: bytes) -> bytes:
    at, start = chance.randrange(len(data) + 1), chance.randrange(len(other) + 1)
    return data[:at] + other[start:]


def _repeat(chance: random.Random, data: bytes, other: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    piece = data[at : at + chance.choice((1, 2, 30, BLOCK, 2 * BLOCK))]
    piece = chance.choice((piece, piece, b"[", b'{"a":', b"${A:-", b"**/", b"\\\n", b"ONBUILD "))
    return data[:at] + piece * chance.choice((2, 50, 3000)) + data[at:]


_FIELDS = ((0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100),
           (257, 8), (329, 8), (345, 155))  # fmt: skip
"""(offset, length) of what a header has (tar(5))."""
_VALUES = (
    b"", b"../../victim", b"/fuzz-was-here", b"a/../../../victim", b"d/link/y", b"..", b".",
    b"/", b"a//b/./c", b"a", b"d", b"d/link", b".wh...", b".wh.", b".wh..wh..opq",
    b"77777777777", b"00000000000", b"-1", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"0", b"1",
    b"2", b"3", b"5", b"6", b"7", b"L", b"K", b"S", b"x", b"g", b"V", b"\0" * 12,
    b"00007777777",
)  # fmt: skip


def _field(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """One field of a header becomes another value, the checksum right again."""
    heads = [at for at in range(0, len(data) - BLOCK, BLOCK)
             if data[at + 257 : at + 262] == b"ustar"]  # fmt: skip
    if not heads:
        return _byte(chance, data, other)
    at = chance.choice(heads)
    offset, length = chance.choice(_FIELDS)
    value = chance.choice(_VALUES)[:length].ljust(length, b"\0")
    block = data[at : at + offset] + value + data[at + offset + length : at + BLOCK]
    blank = block[:148] + b" " * 8 + block[156:]
    return data[:at] + blank[:148] + b"%06o\0 " % sum(blank) + blank[156:] + data[at + BLOCK:]


_CHANGES = (_token, _token, _byte, _cut, _splice, _repeat)
