"""Files are written whole, read with suspicion, and locked by one command at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import LockHeldError, StateError
from orchestrator.state import store
from orchestrator.state.layout import Layout
from orchestrator.state.records import ContainerStatus, NetworkRecord, ProjectRecord
from tests.state.sample import container_record, network_record


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path / "data"), str(tmp_path / "run"))


def test_what_is_written_is_read_and_nothing_else_lies_there(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "b.json")
    store.write_json(path, {"x": "é\udcff", "n": [1]})
    store.write_json(path, {"x": "é\udcff", "n": [2]})
    assert store.read_json(path) == {"x": "é\udcff", "n": [2]}
    assert os.listdir(tmp_path / "a") == ["b.json"]
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_an_absent_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert store.read_json(str(tmp_path / "absent")) is None
    assert store.read_json(str(tmp_path / "file" / "below")) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": ' * 100_000, "\0", "\xff{}"])
def test_a_damaged_file_is_an_error_with_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StateError, match=r"r\.json") as caught:
        store.read_json(str(path))
    assert caught.value.hint


def test_a_fifo_or_a_link_in_place_of_a_record_does_not_hold_us_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "dir").mkdir()
    for name in ("fifo", "link", "dir"):
        with pytest.raises(StateError):
            store.read_json(str(tmp_path / name))


def test_a_late_status_does_not_bring_a_removed_container_back(layout: Layout) -> None:
    with pytest.raises(StateError, match="gone"):
        store.save_status(layout, "p", "id", ContainerStatus(state="exited"))
    assert not os.path.exists(layout.container("p", "id"))


def test_a_forgotten_container_leaves_nothing(layout: Layout) -> None:
    store.save_container(layout, container_record(id_="id"))
    store.forget_container(layout, "p", "id")
    store.forget_container(layout, "p", "id")
    assert not os.path.exists(layout.container("p", "id"))


def test_a_project_is_forgotten_only_without_containers(layout: Layout) -> None:
    store.save_project(layout, ProjectRecord(name="p", working_dir="/", config_files=[]))
    store.save_container(layout, container_record(id_="id"))
    assert not store.forget_project(layout, "p")
    store.forget_container(layout, "p", "id")
    assert store.forget_project(layout, "p")
    assert not os.path.exists(layout.project("p"))


def test_who_waits_for_a_project_that_is_forgotten_has_it_anew(layout: Layout) -> None:
    """Each finds, as long as it has the lock, what it has written, and the last leaves nothing."""
    record = ProjectRecord(name="p", working_dir="/", config_files=[])

    def take_turns(_: int) -> None:
        for _ in range(40):
            with store.project_lock(layout, "p", command="test", wait=True):
                store.save_project(layout, record)
                time.sleep(0)
                assert store.read_record(layout.project_record("p"), ProjectRecord) == record
                assert store.forget_project(layout, "p")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take_turns, range(4)))
    assert not os.path.exists(layout.project("p"))


def test_a_settled_network_keeps_the_leases_given_meanwhile(layout: Layout) -> None:
    decided = network_record(config_hash="h", leases={"p/web/1": "10.210.1.2"})
    store.settle_network(layout, decided)
    meanwhile = replace(decided, config_hash="", leases={"q/web/1": "10.210.1.3"})
    store.save_network(layout, meanwhile)
    store.settle_network(layout, decided)
    leases = {"p/web/1": "10.210.1.2", "q/web/1": "10.210.1.3"}
    path = layout.network_record("p_default")
    assert store.read_record(path, NetworkRecord) == replace(decided, leases=leases)
    store.save_network(layout, replace(meanwhile, subnet="10.9.0.0/24"))
    store.settle_network(layout, decided)
    assert store.read_record(path, NetworkRecord) == decided


def test_a_held_lock_names_its_holder(layout: Layout) -> None:
    with store.project_lock(layout, "p", command="pcompose up", wait=False):
        with pytest.raises(LockHeldError) as caught:
            store.project_lock(layout, "p", command="pcompose down", wait=False)
        expected = f"project p is being changed by `pcompose up` (pid {os.getpid()})"
        assert caught.value.message == expected
    store.project_lock(layout, "p", command="pcompose down", wait=False).close()


def test_a_lock_held_on_behalf_of_a_dead_command_says_so(layout: Layout) -> None:
    with store.project_lock(layout, "p", command="pcompose up", wait=False) as lock:
        ended = subprocess.Popen(["true"])
        ended.wait()
        Path(lock.path).write_text(f"{ended.pid} pcompose up\n")
        with pytest.raises(LockHeldError, match="which has ended"):
            store.project_lock(layout, "p", command="pcompose down", wait=False)


def test_a_lock_ends_with_its_holder(layout: Layout) -> None:
    program = (
        "import sys, os; from orchestrator.state import store; from orchestrator.state.layout"
        " import Layout; store.project_lock(Layout(*sys.argv[1:]), 'p', command='x', wait=False);"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, layout.data, layout.run], check=False)
    assert done.returncode == -9
    store.project_lock(layout, "p", command="y", wait=False).close()


def test_who_waits_is_told_for_whom_and_gets_the_lock(layout: Layout) -> None:
    said = threading.Event()
    words: list[str] = []

    def waiting(message: str) -> None:
        words.append(message)
        said.set()

    def second() -> None:
        store.project_lock(layout, "p", command="b", wait=True, waiting=waiting).close()

    first = store.project_lock(layout, "p", command="a", wait=False)
    thread = threading.Thread(target=second)
    thread.start()
    assert said.wait(10)
    assert store.forget_project(layout, "p")  # as a down that ends does
    first.close()
    thread.join(10)
    assert not thread.is_alive()
    assert words == [f"project p is being changed by `a` (pid {os.getpid()})"]
    assert store.holder(layout.project_lock("p")) == (os.getpid(), "b")


@pytest.mark.parametrize("text", ["", "x y", "-1 z", "99999999999999999999 a", "\u0665 a"])
def test_nonsense_in_a_lock_file_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)
    assert store.holder(str(tmp_path / "lock")) == (0, "")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\0b", "x" * 201])
def test_a_name_cannot_lead_out_of_its_directory(layout: Layout, name: str) -> None:
    for path in (layout.network_record, layout.volume, layout.project, layout.run_project):
        with pytest.raises(StateError):
            path(name)
