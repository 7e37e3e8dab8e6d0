"""A build context from elsewhere: a git repository, an archive over HTTP, or a Dockerfile alone.

What comes lies in the store's scratch space until the build is over.
"""

from __future__ import annotations

import os

from orchestrator.build import fetch
from orchestrator.build.fault import Place
from orchestrator.build.fetch import Fetched
from orchestrator.dataclass import dataclass, field
from orchestrator.errors import BuildError, ImageError
from orchestrator.image.store import ImageStore

_GITHUB = "github.com/"
_NOWHERE = Place(file="", line=0, column=0)


def is_remote(context: str) -> bool:
    """Whether the context has to be fetched."""
    return context.startswith(_GITHUB) or fetch.is_remote(context)


@dataclass(slots=True, kw_only=True)
class Remotes:
    """What the builds of one command have fetched, each address once."""

    store: ImageStore
    _fetched: dict[str, tuple[Fetched, str]] = field(default_factory=dict)
    _scratch: list[str] = field(default_factory=list)

    def directory(self, context: str) -> str:
        """The context as a directory; a single file that is no archive lies in it as Dockerfile.
        BuildError, without a place, where it cannot be fetched."""
        known = self._fetched.get(context)
        if known is None:
            known = self._fetched[context] = self._made(context)
        return known[1]

    def _made(self, context: str) -> tuple[Fetched, str]:
        url = f"https://{context}" if context.startswith(_GITHUB) else context
        if url != context and not fetch.is_git(url):
            address, mark, fragment = url.partition("#")
            url = f"{address}.git{mark}{fragment}"
        fetched = Fetched(place=_NOWHERE, url=url, store=self.store, keyword="fetching")
        try:
            directory = fetched.directory()
            if not fetch.is_git(url):
                directory = self._opened(directory)
        except BuildError as exc:
            fetched.close()
            raise BuildError(exc.problems[0][1], hint=exc.hint) from exc
        except ImageError as exc:
            fetched.close()
            raise BuildError(f"{context}: {exc.message}", hint=exc.hint) from exc
        return fetched, directory

    def _opened(self, directory: str) -> str:
        """What the one file in there is: an archive, or a Dockerfile."""
        from orchestrator.build import unpacking

        [name] = os.listdir(directory)
        path = f"{directory}/{name}"
        inside = unpacking.extracted(self.store, path)
        if inside is None:
            os.rename(path, f"{directory}/Dockerfile")
            return directory
        self._scratch.append(inside)
        return inside

    def close(self) -> None:
        """Let go of everything."""
        for fetched, _ in self._fetched.values():
            fetched.close()
        for path in self._scratch:
            self.store.discard(path)
