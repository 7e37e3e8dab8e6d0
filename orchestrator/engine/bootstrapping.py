"""`image bootstrap`: a base image of Debian or Ubuntu from their packages, without a registry.

mmdebstrap does the work, a program of Debian that needs no root file system to begin with; its tar
becomes a layer while it is written.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence

from orchestrator.dataclass import dataclass
from orchestrator.engine.images import open_store
from orchestrator.errors import ImageError, UsageError
from orchestrator.events import Sink
from orchestrator.image import archive, reference
from orchestrator.image.config import ImageConfig
from orchestrator.state.layout import Layout

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SUITES = {
    "debian": {"11": "bullseye", "12": "bookworm", "13": "trixie", "latest": "bookworm"},
    "ubuntu": {"22.04": "jammy", "24.04": "noble", "latest": "noble"},
}
"""Tags that are numbers; other tags are suites themselves."""
_SUITE = re.compile(r"[a-z][a-z-]*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+:-]*")
_SLIM = ("doc", "man", "info", "locale", "lintian", "linda", "groff")
_TAIL = 6
"""Lines of mmdebstrap that an error shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What is to be made."""

    distribution: str
    suite: str
    is_slim: bool
    """Without documentation and translations."""


def base_of(name: str) -> Base:
    """What `debian:bookworm-slim` asks for.  UsageError where nobody knows."""
    parsed = reference.parse(name)
    distribution = parsed.repository
    tags = _SUITES.get(distribution)
    if tags is None:
        raise UsageError(f"cannot make {name}: it is no distribution that is known here",
                         hint="debian:bookworm, debian:12-slim, ubuntu:24.04 and the like")
    tag = parsed.tag or "latest"
    plain = tag.removesuffix("-slim")
    suite = tags.get(plain, plain)
    if not _SUITE.fullmatch(suite):
        raise UsageError(f"cannot make {name}: {distribution} has no suite {plain}",
                         hint="known numbers are " + ", ".join(sorted(tags)))
    return Base(distribution=distribution, suite=suite, is_slim=plain != tag)


def bootstrap(
    name: str, *, packages: Sequence[str] = (), mirror: str | None = None, sink: Sink,
) -> str:
    """Make the image; its id.  ImageError with the end of what mmdebstrap says where it fails."""
    base = base_of(name)
    argv = command(base, packages=packages, mirror=mirror)
    if shutil.which(argv[0]) is None:
        raise ImageError("a base image is made by mmdebstrap, which is not installed",
                         hint="apt-get install mmdebstrap")
    if os.geteuid() != 0:
        raise ImageError("making a base image needs root")
    store = open_store(Layout.from_environment())
    config = ImageConfig(env=(("PATH", PATH),), command=("bash",))
    with _Making(argv) as making:
        return archive.import_rootfs(store, making, name, config=config, sink=sink).id


def command(base: Base, *, packages: Sequence[str], mirror: str | None) -> list[str]:
    """The command line of mmdebstrap that writes the tar to its standard output.  UsageError for a
    package that cannot be one."""
    for package in packages:
        if not _PACKAGE.fullmatch(package):
            raise UsageError(f"{package!r} cannot be the name of a package")
    found = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar",
             "--aptopt=Apt::Install-Recommends \"false\"",
             "--aptopt=Acquire::Languages \"none\"",
             "--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/*.bin"]
    if base.is_slim:
        found += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _SLIM]
        found.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    if base.distribution == "ubuntu":
        found.append("--components=main,universe")
    if packages:
        found.append("--include=" + ",".join(packages))
    return [*found, base.suite, "-", *([mirror] if mirror else [])]


class _Making:
    """mmdebstrap and its output, whose end counts only if it has succeeded."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv

    def __enter__(self) -> _Making:
        import tempfile

        self._said = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said,
            start_new_session=True,  # it removes what it has mounted when it is told to end
        )  # fmt: skip
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()
        self._said.close()

    def read(self, size: int = -1, /) -> bytes:
        """As a pipe.  ImageError at the end of one that has failed."""
        assert self._process.stdout is not None
        data = self._process.stdout.read(size)
        if not data and self._process.wait():
            self._said.seek(0)
            lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
            raise ImageError("mmdebstrap failed:\n" + "\n".join(lines[-_TAIL:]),
                             hint="is the mirror within reach? --mirror names another")
        return data
