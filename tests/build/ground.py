"""A store with a small base image, and builds in it with the real runner."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import events
from orchestrator.build import solve
from orchestrator.build.request import BuildRequest, Drivers
from orchestrator.engine.buildrun import BuildRunner
from orchestrator.errors import ImageNotFoundError
from orchestrator.image import archive
from orchestrator.image.config import ImageConfig
from orchestrator.image.store import Image, ImageStore
from tests.e2e.rootfs import add_program

PROGRAMS = ("sh", "cat", "ls", "mkdir", "touch", "rm", "id", "stat", "chmod", "ln", "sleep", "env",
            "grep")
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n"
GROUP = b"root:x:0:\nbob:x:1001:\nwheel:x:10:\n"


def base_tar() -> bytes:
    """A shell, a few programs, two users."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "srv", "usr", "usr/bin"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(info)
        for path, content in {"etc/passwd": PASSWD, "etc/group": GROUP}.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
        for program in PROGRAMS:
            add_program(tar, program)
    return buffer.getvalue()


@dataclass
class Ground:
    """Where the tests of one module build."""

    root: Path
    runner: BuildRunner
    events: list[events.Event] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ImageStore(str(self.root / "store"))
        self.context = self.root / "context"
        self.context.mkdir(exist_ok=True)

    def add_base(self) -> None:
        archive.import_rootfs(self.store, io.BytesIO(base_tar()), "base",
                              config=ImageConfig(env=(("PATH", "/bin"),)))  # fmt: skip

    def write(self, files: Mapping[str, str]) -> None:
        """Files of the context."""
        for name, text in files.items():
            path = self.context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def find(self, name: str, platform: str = "") -> Image:
        found = self.store.resolve(name)
        if found is None:
            raise ImageNotFoundError(f"no such image: {name}")
        return found

    def build(self, text: str, **fields: Any) -> Image:
        """Build; `statuses` then tells what became of each step."""
        self.events.clear()
        ignore = self.context / ".dockerignore"
        request = BuildRequest(**{
            "name": "test", "dockerfile": text, "file": "Dockerfile", "slot": "test",
            "context": str(self.context),
            "ignore": ignore.read_text() if ignore.exists() else None, **fields,
        })  # fmt: skip
        drivers = Drivers(
            store=self.store, find_image=self.find, run=self.runner, sink=self.events.append,
            gate=threading.BoundedSemaphore(2), cancel=threading.Event(),
        )  # fmt: skip
        with self.store.adding():
            return solve.build(request, drivers)

    def statuses(self) -> list[tuple[str, str]]:
        """(instruction, Cached or Done) in order."""
        steps = [e for e in self.events if isinstance(e, events.BuildStep)]
        return [(s.step.partition("] ")[2], s.status) for s in steps if s.status != "Started"]

    def why(self) -> list[str]:
        """Why each step that was not cached was made."""
        steps = [e for e in self.events if isinstance(e, events.BuildStep)]
        return [s.details for s in steps if s.status == "Started"]

    def output(self) -> str:
        """All that commands have written."""
        lines = [e.text for e in self.events if isinstance(e, events.BuildOutput)]
        return "\n".join(lines)

    def files(self, image: Image, number: int = 0) -> set[str]:
        """Paths in a layer, the top one first."""
        top = Path(image.layers[number])
        return {str(path.relative_to(top)) for path in top.rglob("*")}

    def read(self, image: Image, path: str) -> str:
        """A file as a container would see it."""
        from orchestrator.image import merged

        found = merged.find(image.layers, path, host_usr=image.host_usr)
        assert found is not None, path
        return Path(found).read_text()
