"""The journal: what is written is read, in order, whatever happens to the files meanwhile."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.state import journal
from orchestrator.state.journal import Reader, Watch, Writer


@given(st.lists(st.booleans(), max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_reader_that_keeps_up_misses_nothing(tmp_path: Path, looks: list[bool]) -> None:
    path = str(tmp_path / "j")
    writer, reader, seen = Writer(path), Reader(path), list[int]()
    old = journal.LIMIT
    journal.LIMIT = 200
    try:
        for number, look in enumerate(looks):
            writer.append({"n": number, "text": "x" * (number % 7)})
            if look or number % 5 == 4:
                seen += [entry["n"] for entry in reader.news()]
        seen += [entry["n"] for entry in reader.news()]
        assert seen == list(range(len(looks)))
        other = Reader(path)
        past = [entry["n"] for entry in other.past()]
        other.close()
        assert past == list(range(len(looks)))[-len(past) or len(looks) :]
    finally:
        journal.LIMIT = old
        writer.close()
        reader.close()
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()


def test_a_project_that_goes_and_comes_again_is_followed(tmp_path: Path) -> None:
    directory = tmp_path / "projects/p"
    path = str(directory / "j")
    writer, reader, watch = Writer(path), Reader(path), Watch(path)
    writer.append({"n": 0})
    assert list(reader.news()) == [], "there is no directory, so nothing is written"
    watch.prepare()
    for number in (1, 2):
        directory.mkdir(parents=True)
        writer.append({"n": number})
        watch.wait(5)
        watch.prepare()
        assert [entry["n"] for entry in reader.news()] == [number]
        shutil.rmtree(tmp_path / "projects")
    watch.close()
    reader.close()
    writer.close()


def test_what_a_full_disk_has_cut_off_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"n":1}\n{"n":\n[]\n{"n":2}\n{"n":3')
    reader = Reader(str(path))
    assert [entry["n"] for entry in reader.past()] == [1, 2]
    with open(path, "ab") as file:
        file.write(b"}\n")
    assert [entry["n"] for entry in reader.news()] == [3]
    reader.close()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    os.symlink("victim", tmp_path / "j")
    with pytest.raises(OSError, match="Too many levels"):
        Writer(str(tmp_path / "j")).append({"n": 1})
    assert (tmp_path / "victim").read_text() == ""
