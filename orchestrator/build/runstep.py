"""RUN: a command in a container of its own, whose writes become a layer.

Owns its mounts and what of it counts for the cache; who runs the container comes in from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.build.cache import Ingredients, digest
from orchestrator.build.copystep import OpenTree
from orchestrator.build.fault import Place, fault
from orchestrator.build.lines import Heredoc, parse_mark
from orchestrator.build.mountflag import Mount
from orchestrator.build.request import BuildRequest, Drivers, Output
from orchestrator.build.view import Layers
from orchestrator.dataclass import dataclass

PIPES = "/dev/pipes"
"""Where BuildKit puts here-documents that are programs."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PROXIES = frozenset((*_PROXIES, *(name.lower() for name in _PROXIES)))
"""Build arguments that need no ARG, and do not count for the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a bind mount comes from."""

    open: OpenTree
    layers: Layers | None
    """Of a stage or an image; None: a directory, of which a copy is mounted."""
    chain: str
    """Stands for the layers."""


@dataclass(slots=True, kw_only=True)
class RunStep:
    """One RUN."""

    place: Place
    text: str
    request: BuildRequest
    drivers: Drivers
    layers: Layers
    below: str
    argv: tuple[str, ...]
    script: tuple[str, str] | None
    """(name, content) of a here-document that is a program."""
    environment: Mapping[str, str]
    directory: str
    user: str
    mounts: tuple[Mount, ...]
    sources: Mapping[int, Source]
    """By the number of a mount that has one."""
    network: str
    is_insecure: bool
    output: Output

    # ---- for the cache ----

    def ingredients(self) -> Ingredients:
        parts = {
            "instruction": "\0".join(("RUN", *self.argv)), "below": self.below,
            "directory": self.directory, "user": self.user, "network": self.network,
            "security": str(self.is_insecure), "script": "\0".join(self.script or ()),
            "hosts": str(self.request.hosts), "time": str(self.request.date),
            "mounts": str([_said(mount) for mount in self.mounts]),
        }  # fmt: skip
        parts |= {f"variable {n}": v for n, v in self.environment.items() if n not in PROXIES}
        files: dict[str, str] = {}
        for number, source in self.sources.items():
            mount = self.mounts[number]
            if mount.type == "bind":
                files |= self._content(number, mount, source)
        return Ingredients(parts=parts, files=files)

    def _content(self, number: int, mount: Mount, source: Source) -> dict[str, str]:
        """What a bind mount shows; a whole image is told by its layers."""
        path = mount.source.strip("/")
        if source.layers is not None and path in ("", "."):
            return {f"mount {number}": source.chain}
        found = {}
        with source.open() as tree:
            for place in self.found(tree.find, mount):
                for entry in tree.walk(place):
                    name = "/".join(part for part in (place, entry.name) if part)
                    found[name or "."] = tree.describe(entry)
        return found

    def found(self, find: Callable[[str], list[str]], mount: Mount) -> list[str]:
        """What a mount's source is in its tree.  BuildError where it is not there."""
        try:
            return find(mount.source or "/")
        except FileNotFoundError:
            raise fault(mount.place, f"--mount: there is no `{mount.source}` in "
                        f"{mount.origin or 'the build context'}") from None

    # ---- running ----

    def fill(self, directory: str) -> None:
        """Run it; what it writes goes to the directory."""
        from orchestrator.build import running  # the runtime: only where something is run

        running.Running(self, directory).run()


def _said(mount: Mount) -> str:
    """What of a mount counts: not the content of secrets, nor of caches."""
    return digest([mount.type, mount.target, mount.source, mount.origin, mount.read_only, mount.id,
                   mount.mode, mount.uid, mount.gid, mount.size, mount.env])  # fmt: skip


def command(
    words: tuple[str, ...], heredocs: tuple[Heredoc, ...], shell: tuple[str, ...], *,
    is_shell: bool, place: Place,
) -> tuple[tuple[str, ...], tuple[str, str] | None]:
    """(what is executed, the program that a single here-document is)."""
    if not is_shell:
        return words, None
    if not heredocs:
        return (*shell, words[0]), None
    alone = parse_mark(words[0].strip())
    if alone is None or len(heredocs) != 1:
        bodies = "".join(f"\n{doc.content}{doc.name}" for doc in heredocs)
        return (*shell, words[0] + bodies), None
    text = heredocs[0].text()
    if not text.startswith("#!"):
        return (*shell, text), None
    name = heredocs[0].name
    if "/" in name or name in (".", ".."):
        raise fault(place, f"RUN: a here-document that is a program cannot be called `{name}`")
    return (f"{PIPES}/{name}",), (name, text)
