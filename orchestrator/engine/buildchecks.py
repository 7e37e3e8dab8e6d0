"""What the build checks say of a service's Dockerfile, and to whom: a warning, or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.build import checks, parse, platforms
from orchestrator.errors import ImageError
from orchestrator.events import Sink, Warned

if TYPE_CHECKING:
    from orchestrator.build.request import BuildRequest
    from orchestrator.image.config import ImageConfig
    from orchestrator.image.store import ImageStore

Problem = tuple[str, str, str | None]


class Checker:
    """Reads the Dockerfiles of one command."""

    def __init__(self, store: ImageStore, *, is_strict: bool, sink: Sink) -> None:
        """`is_strict`: everything that is found is a problem, as for `build --check`."""
        self._store, self._is_strict, self._sink = store, is_strict, sink
        self._told: set[str] = set()

    def problems(self, request: BuildRequest) -> list[Problem]:
        """What must end the build.  BuildError where the file cannot be read; what is only worth
        a warning is told once, also where several services have the same file."""
        file = parse.parse(request.dockerfile, file=request.file)
        target = platforms.of_build(request.platform)
        found = checks.check(file, checks.Around(
            args=request.args, automatic=platforms.automatic(target, request.target),
            image=lambda name: self._config(request, name)))  # fmt: skip
        if self._is_strict or (found and checks.options(file, request.args).is_error):
            return [(str(one.place), f"{one.rule}: {one.text}", None) for one in found]
        for text in map(str, found):
            if text not in self._told:
                self._told.add(text)
                self._sink(Warned(message=text))
        return []

    def _config(self, request: BuildRequest, name: str) -> ImageConfig | None:
        """Of an image that is here: nothing is pulled to look at it."""
        if name in request.contexts:
            return None
        image = request.images.get(name)
        try:
            image = image or self._store.resolve(name)
        except ImageError:
            return None  # no name of an image: whoever builds it is told
        return image.config if image is not None else None
