"""WORKDIR where the directory is not there yet: a layer with the directory."""

from __future__ import annotations

from orchestrator.build.cache import Ingredients
from orchestrator.build.copying import Change, Copier
from orchestrator.build.fault import Place
from orchestrator.build.view import Layers, Scratch, mounted
from orchestrator.dataclass import dataclass
from orchestrator.image.store import ImageStore


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryStep:
    """One WORKDIR."""

    place: Place
    text: str
    store: ImageStore
    layers: Layers
    below: str
    path: str
    owner: tuple[int, int] | None
    """Of what is made; None: root."""
    date: int | None

    def ingredients(self) -> Ingredients:
        """The path, its owner and what is below."""
        parts = {"instruction": "WORKDIR", "below": self.below, "directory": self.path,
                 "owner": str(self.owner), "time": str(self.date)}
        return Ingredients(parts=parts, files={})

    def fill(self, directory: str) -> None:
        """Make the directory with its parents."""
        scratch = Scratch(path=self.store.scratch(), upper=directory)
        try:
            with mounted(self.layers, scratch) as root:
                copier = Copier(root, Change(owner=self.owner))
                copier.directory(self.path)
                copier.close()
        finally:
            self.store.discard(scratch.path)
