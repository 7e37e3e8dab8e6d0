"""Builds that are killed at any moment, and two that do the same at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.buildrun import BuildRunner
from orchestrator.errors import BuildError
from orchestrator.linux import procfs
from orchestrator.runtime.errand_client import Pool, _Errand
from tests.build.ground import Ground
from tests.e2e.sandbox import eventually
from tests.source_tree import ROOT

pytestmark = pytest.mark.kernel
DOCKERFILE = """\
FROM base AS one
COPY files /files
RUN --mount=type=cache,target=/cache echo ran >> /cache/runs; sleep 0.2; echo one > /one
FROM base AS two
RUN for i in 1 2 3 4 5 6 7 8 9; do echo $i > /two-$i; done; rm /etc/group
WORKDIR /made/here
FROM one
COPY --from=two /two-9 /made /
RUN echo last > /last
LABEL made=whole
"""
BUILD = """
import sys
from pathlib import Path
from tests.build.ground import Ground
from orchestrator.engine.buildrun import BuildRunner

root = Path(sys.argv[1])
with BuildRunner() as runner:
    ground = Ground(root, runner)
    print("go", flush=True)
    image = ground.build(Path(sys.argv[2]).read_text(), date=0)
    ground.store.tag(image.id, "made")
    print(image.id, len(ground.statuses()), flush=True)
"""


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with BuildRunner() as runner:
        made = Ground(tmp_path, runner)
        made.add_base()
        made.write({f"files/{n}": f"{n}" * 50 for n in range(200)})
        (tmp_path / "Dockerfile").write_text(DOCKERFILE)
        yield made


def building(ground: Ground) -> subprocess.Popen[str]:
    """A build in a process of its own, which is at its beginning."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(ground.root), str(ground.root / "Dockerfile")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    return process


def check_whole(ground: Ground) -> str:
    """The next build ends with everything, nothing half made is left and every layer that can be
    seen has the content that its digest says."""
    image = ground.build(DOCKERFILE, date=0)
    assert ground.read(image, "/last") == "last\n"
    assert len(ground.files(image, -2)) == 201
    assert os.listdir(f"{ground.store.root}/tmp") == []
    for layer in ground.store.layers(image):
        assert sum(map(len, ground.store.read_layer(layer.diff_id))) > 0
    return image.id


def test_a_build_that_is_killed_anywhere_is_gone_on_with(ground: Ground, tmp_path: Path) -> None:
    started = time.monotonic()
    with building(ground) as process:
        first, _ = process.communicate(timeout=60)
    whole = time.monotonic() - started
    ground.store.remove("made")
    ground.store.forget_steps()
    chance = random.Random(11)
    for _ in range(8):
        with building(ground) as process:
            try:
                process.wait(chance.uniform(0, whole))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        if chance.random() < 0.25:
            ground.store.drop_unused()
    assert check_whole(ground) == first.split()[0]
    assert not _running(str(tmp_path))


def _running(root: str) -> list[str]:
    """Command lines of processes that have to do with the directory."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path("/proc", name, "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if root in line and int(name) != os.getpid():
            found.append(line)
    return found


def test_builds_at_the_same_time_do_each_step_once(ground: Ground) -> None:
    processes = [building(ground) for _ in range(3)]
    results = [process.communicate(timeout=60)[0].split() for process in processes]
    assert len({image for image, _ in results}) == 1
    [runs] = Path(ground.store.root, "caches").glob("*/runs")
    assert runs.read_text() == "ran\n"
    assert check_whole(ground) == results[0][0]


class _Gone(Pool):
    """Asks for a container and is gone before it is there."""

    def run(self, request: Any, **said: Any) -> int:
        errand = _Errand()
        null = os.open("/dev/null", os.O_RDWR)
        errand.channel.send(request, [null, null, null])
        os.close(null)
        errand.close()  # waits for its end
        return 0


def test_a_command_ends_whose_builder_has_died_before_it_began(ground: Ground) -> None:
    ground.runner._pool = _Gone()
    ground.build(f"FROM base\nRUN echo {ground.root}; sleep 600\n")
    assert not _running(str(ground.root))


def test_a_command_ends_with_the_process_that_waits_for_it(ground: Ground) -> None:
    def kill_errand() -> None:
        eventually(lambda: ground.output(), what="the command runs")
        [errand] = [pid for pid in procfs.children(os.getpid())
                    if Path(f"/proc/{pid}/comm").read_text() == "pcompose-errand\n"]  # fmt: skip
        os.kill(errand, signal.SIGKILL)

    killer = threading.Thread(target=kill_errand)
    killer.start()
    with pytest.raises(BuildError, match="the process that runs it has died"):
        ground.build(f"FROM base\nRUN echo {ground.root}; sleep 600\n")
    killer.join()
    eventually(lambda: not _running(str(ground.root)), what="the command has ended")
