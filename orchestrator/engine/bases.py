"""Where builds get the images they begin with: the store, and registries for what it has not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from orchestrator.errors import ImageError, ImageNotFoundError
from orchestrator.events import Sink
from orchestrator.image import host
from orchestrator.image import platform as platforms
from orchestrator.image import reference as references
from orchestrator.image.manifest import host_platform
from orchestrator.image.store import ImageStore

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace
    from orchestrator.image.registry import crew
    from orchestrator.image.store import Image


class Bases:
    """The base images of one command; each is asked for in a registry once at most, and none any
    more once `stop` is set."""

    def __init__(
        self, workspace: Workspace, store: ImageStore, *, sink: Sink, stop: crew.Stop
    ) -> None:
        self._choice, self._store, self._sink = workspace.choice, store, sink
        self._stop = stop
        self._lock = threading.Lock()
        self._pulled: dict[tuple[str, str], Image] = {}

    def find(self, reference: str, platform: str = "", *, fresh: bool = False) -> Image:
        """The image for the platform (empty: one that runs here), pulled where it is not here, or
        anyway if `fresh`.  ImageNotFoundError says what there is, and why it could not be
        pulled; CancelledError where that was ended."""
        if host.is_host(reference):
            return host.host_image(self._store)
        found = self._store.resolve(reference)
        if (found is not None and _is_for(found, platform)
                and not self._is_due(reference, platform, fresh=fresh)):  # fmt: skip
            return found
        key = (reference, platform)
        with self._lock:
            if key not in self._pulled:
                self._pulled[key] = self._pull(reference, platform, known=found)
            return self._pulled[key]

    def _is_due(self, reference: str, platform: str, *, fresh: bool) -> bool:
        if not fresh or (reference, platform) in self._pulled:
            return False
        if references.image_id(reference) or references.parse(reference).digest:
            return False  # what a digest stands for does not change
        return bool(references.parse(reference).name)

    def _pull(self, reference: str, platform: str, *, known: Image | None) -> Image:
        from orchestrator.engine import pulling

        wanted = platform or str(host_platform())
        try:
            pulling.pull_names(self._choice, self._store, [reference], platform=wanted,
                               sink=self._sink, whole=self._stop)  # fmt: skip
        except ImageError as exc:
            if known is None:
                raise self._not_found(reference, exc) from exc
            if not _is_for(known, platform):
                raise ImageNotFoundError(
                    f"{reference} is here for {known.platform}, not for {wanted}: {exc.message}",
                    hint=exc.hint) from exc
            raise
        found = self._store.resolve(reference)
        assert found is not None, "it was just pulled, and nothing is removed meanwhile"
        return found

    def _not_found(self, reference: str, exc: ImageError) -> ImageNotFoundError:
        from difflib import get_close_matches

        there = sorted({name for image in self._store.images() for name in image.references})
        close = get_close_matches(reference, there, n=1)
        hint = f"did you mean {close[0]}?" if close else exc.hint or (
            "load, import or bootstrap it first, or name a registry that has it")
        return ImageNotFoundError(f"no such image: {reference}: {exc.message}", hint=hint)


def _is_for(image: Image, wanted: str) -> bool:
    """Whether the image is for the platform; empty: for one whose programs run here."""
    has = image.platform
    return platforms.fits(wanted, has) if wanted else platforms.can_run(has)
