"""What is on disk, corrected by what lives."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.linux import procfs
from orchestrator.state import observe, store
from orchestrator.state.layout import Layout
from orchestrator.state.records import ContainerStatus, ProjectRecord
from tests.state.sample import container_record, network_record, volume_record


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path / "data"), str(tmp_path / "run"))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def running(pid: int) -> ContainerStatus:
    return ContainerStatus(
        state="running", pid=pid, start_time=procfs.start_time(pid) or 0,
        boot_id=procfs.boot_id(), health="healthy", ports=[{"published": 80}],
    )  # fmt: skip


def put(layout: Layout, status: ContainerStatus | None, id_: str = "id") -> None:
    store.save_container(layout, container_record(id_=id_))
    if status is not None:
        store.save_status(layout, "p", id_, status)


def status_of(layout: Layout) -> ContainerStatus:
    (container,) = observe.observe(layout, "p").containers
    return container.status


def test_nothing_is_an_empty_snapshot(layout: Layout) -> None:
    found = observe.observe(layout, "p")
    assert (found.project, found.containers, found.broken) == (None, (), ())
    assert observe.projects(layout) == []


def test_a_container_without_a_status_is_created(layout: Layout) -> None:
    put(layout, None)
    assert status_of(layout).state == "created"


def test_a_living_process_is_believed(layout: Layout, sleeper: subprocess.Popen[bytes]) -> None:
    put(layout, running(sleeper.pid))
    assert status_of(layout) == running(sleeper.pid)


@pytest.mark.parametrize("change", [{"start_time": 1}, {"boot_id": "other"}, {"pid": 0}])
def test_another_process_of_that_pid_is_not(
    layout: Layout, sleeper: subprocess.Popen[bytes], change: dict[str, object]
) -> None:
    put(layout, replace(running(sleeper.pid), **change))  # type: ignore[arg-type]
    status = status_of(layout)
    assert (status.state, status.exit_code, status.health, status.ports) == ("exited", None, "", [])


def ended() -> ContainerStatus:
    process = subprocess.Popen(["sleep", "1000"])
    status = running(process.pid)
    process.kill()
    process.wait()
    return status


def test_the_keepers_note_gives_the_exit_code(layout: Layout) -> None:
    status = ended()
    put(layout, status)
    note = {"pid": status.pid, "start_time": status.start_time, "exit_code": 137,
            "oom_killed": True, "time": 5.5}  # fmt: skip
    store.write_json(layout.container_exit("p", "id"), note)
    found = status_of(layout)
    assert (found.state, found.exit_code, found.oom_killed, found.finished_at) == (
        "exited", 137, True, 5.5,
    )  # fmt: skip


@pytest.mark.parametrize("note", ['{"pid": 1, "start_time": 1, "exit_code": 0}', "{", "[]"])
def test_a_note_about_another_process_or_a_damaged_one_gives_none(
    layout: Layout, note: str
) -> None:
    put(layout, ended())
    Path(layout.container_exit("p", "id")).write_text(note)
    assert (status_of(layout).state, status_of(layout).exit_code) == ("exited", None)


def test_a_restart_that_was_pending_at_a_reboot_is_over(layout: Layout) -> None:
    put(layout, ContainerStatus(state="restarting", boot_id="before"))
    assert status_of(layout).state == "exited"
    store.save_status(
        layout, "p", "id", ContainerStatus(state="restarting", boot_id=procfs.boot_id())
    )
    assert status_of(layout).state == "restarting"


def test_a_damaged_status_is_an_ended_container(layout: Layout) -> None:
    put(layout, None)
    Path(layout.container_status("p", "id")).write_text('{"state": ')
    assert status_of(layout).state == "exited"
    assert "not JSON" in status_of(layout).error


@pytest.mark.parametrize("text", [None, "{", '{"id": 1}'])
def test_a_container_without_a_readable_record_is_broken(layout: Layout, text: str | None) -> None:
    os.makedirs(layout.container("p", "id"))
    if text is not None:
        Path(layout.container_record("p", "id")).write_text(text)
    found = observe.observe(layout, "p")
    assert (found.containers, found.broken) == ((), ("id",))
    assert observe.projects(layout) == ["p"]


def test_a_record_that_was_copied_from_elsewhere_is_broken(layout: Layout) -> None:
    record = container_record(id_="id")
    store.write_json(layout.container_record("p", "other"), record.to_json())
    store.write_json(layout.container_record("q", "id"), record.to_json())
    assert observe.observe(layout, "p").broken == ("other",)
    assert observe.observe(layout, "q").broken == ("id",)


def test_generations_come_oldest_first(layout: Layout) -> None:
    store.save_container(layout, container_record(id_="a", created_at=2.0))
    store.save_container(layout, container_record(id_="b", created_at=1.0))
    found = observe.observe(layout, "p")
    assert [c.record.id for c in found.of_service("web")] == ["b", "a"]


def test_a_network_exists_while_its_interface_does(layout: Layout) -> None:
    store.save_network(layout, network_record("p_a", bridge="lo"))
    store.save_network(layout, network_record("p_b", bridge="pc-absent"))
    Path(layout.network_record("p_c")).write_text("{")
    Path(layout.network_record("p_d")).write_text(Path(layout.network_record("p_a")).read_text())
    found = observe.observe(layout, "p").networks
    assert {name: n.exists for name, n in found.items()} == {"p_a": True, "p_b": False}


def test_a_volume_is_there_with_its_data_only(layout: Layout) -> None:
    store.write_json(layout.volume_record("p_a"), volume_record("p_a").to_json())
    store.write_json(layout.volume_record("p_b"), volume_record("p_b").to_json())
    os.mkdir(layout.volume_data("p_b"))
    assert list(observe.observe(layout, "p").volumes) == ["p_b"]


def test_projects_are_those_with_a_record_or_containers(layout: Layout) -> None:
    store.save_project(layout, ProjectRecord(name="a", working_dir="/", config_files=[]))
    store.save_container(layout, container_record(project="b"))
    store.project_lock(layout, "only-locked", command="x", wait=False).close()
    os.makedirs(f"{layout.projects()}/Not A Project/containers/x")
    Path(layout.projects(), "file").touch()
    assert observe.projects(layout) == ["a", "b"]


def test_a_hostile_tree_is_read_without_an_error(layout: Layout) -> None:
    os.makedirs(layout.containers("p"))
    Path(layout.containers("p"), "file").write_text("x")
    Path(layout.containers("p"), "link").symlink_to("/")
    os.mkfifo(Path(layout.containers("p"), "fifo"))
    os.makedirs(layout.project_record("p"))
    os.makedirs(layout.networks())
    os.mkfifo(layout.network_record("n"))
    os.makedirs(layout.volume_record("v"))
    found = observe.observe(layout, "p")
    assert (found.project, found.containers, found.broken) == (None, (), ())
    assert not found.networks
    assert not found.volumes
