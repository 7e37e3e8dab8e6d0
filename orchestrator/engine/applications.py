"""Applications in registries as files of this machine: `-f oci://…`, and `include` of one.

    DATA/applications/KEY/NAME/…      the files of one digest of a repository; NAME is its last part
    DATA/applications/KEY/files.json  which of them are merged, in their order
    DATA/applications/KEY.json        what a tag stood for when it was last asked for

KEY is the digest of a name.  A registry is asked once in a command; what it does not answer, or
what a digest stands for, is taken from here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.dataclass import replace
from orchestrator.errors import ImageError, StateError
from orchestrator.image import digest
from orchestrator.image import reference as references
from orchestrator.spec.inputs import OCI
from orchestrator.state import store

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Choice
    from orchestrator.image.artifact import File
    from orchestrator.image.reference import Reference
    from orchestrator.image.registry.client import Repository
    from orchestrator.state.layout import Layout


class Applications:
    """Those that one command has to do with."""

    def __init__(self, choice: Choice, layout: Layout) -> None:
        self._choice, self._root = choice, layout.applications()
        self._known: dict[str, Sequence[str]] = {}
        self.warnings: list[str] = []

    @property
    def urls(self) -> list[str]:
        """What was asked for so far."""
        return list(self._known)

    def files(self, url: str) -> Sequence[str]:
        """The Compose files of `oci://NAME[:TAG][@DIGEST]`, in the order in which they are merged.
        ImageError, RegistryError."""
        found = self._known.get(url)
        if found is None:
            try:
                found = self._files(references.parse(url.removeprefix(OCI)).tagged())
            except ImageError as exc:
                raise exc.about(f"cannot read {url}") from exc
            self._known[url] = found
        return found

    def _files(self, reference: Reference) -> Sequence[str]:
        if reference.digest:
            return self._here(reference) or self._fetched(reference)
        tag = f"{self._path(reference)}.json"
        before = store.read_json(tag)
        last = replace(reference, digest=str(before["digest"])) if before else reference
        from orchestrator.image.registry.transport import UnansweredError

        try:
            return self._newest(reference, tag)
        except UnansweredError as exc:
            found = self._here(last)
            if found is None:
                raise
            self.warnings.append(f"{exc.message}: {reference.familiar} is as it was last seen")
            return found

    def _newest(self, reference: Reference, tag: str) -> Sequence[str]:
        with self._repository(reference) as repository:
            now = replace(reference, digest=repository.current_digest(reference.tag))
        found = self._here(now) or self._fetched(now)
        store.write_json(tag, {"name": reference.canonical, "digest": now.digest})
        return found

    @contextmanager
    def _repository(self, reference: Reference) -> Iterator[Repository]:
        from orchestrator.engine import registries

        choice = self._choice
        with registries.open_session(choice.environ, insecure=choice.insecure_registries) as opened:
            yield opened.repository(reference)

    def _path(self, reference: Reference) -> str:
        return f"{self._root}/{digest.of_bytes(reference.canonical.encode())[7:39]}"

    def _here(self, reference: Reference) -> Sequence[str] | None:
        path = self._path(reference)
        listed = store.read_json(f"{path}/files.json")
        if listed is None:
            return None
        return tuple(f"{path}/{_last(reference)}/{name}" for name in listed["files"])

    def _fetched(self, reference: Reference) -> Sequence[str]:
        from orchestrator.image.registry import application

        with self._repository(reference) as repository:
            files = application.fetch(repository, reference.digest)
        self._keep(reference, files)
        found = self._here(reference)
        assert found is not None, "it was just written"
        return found

    def _keep(self, reference: Reference, files: Sequence[File]) -> None:
        """Write them, all or none."""
        path = self._path(reference)
        temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            store.make_directory(temporary)
            os.mkdir(f"{temporary}/{_last(reference)}")
            for file in files:
                with open(f"{temporary}/{_last(reference)}/{file.name}", "xb") as out:
                    out.write(file.data)
            main = [file.name for file in files if file.role == "compose"]
            store.write_json(f"{temporary}/files.json", {"files": main})
            os.rename(temporary, path)
        except OSError as exc:
            if not os.path.exists(path):  # else somebody else was quicker, with the same
                raise StateError(f"cannot write {path}: {exc.strerror}") from exc
        finally:
            store.remove_tree(temporary)


def _last(reference: Reference) -> str:
    return reference.path.rpartition("/")[2]
