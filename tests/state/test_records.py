"""Records go through JSON and come back; what is not one is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.state.records import ContainerRecord, ContainerStatus
from tests.state.sample import container_record, network_record, volume_record


@pytest.mark.parametrize(
    "record",
    [container_record(), network_record(leases={"p/web/1": "10.210.1.2"}), volume_record(),
     ContainerStatus(state="running", pid=7, started_at=3, ports=[{"published": 80}])],
)  # fmt: skip
def test_a_record_survives_json(record: Any) -> None:
    assert type(record).from_json(json.loads(json.dumps(record.to_json()))) == record


def test_a_record_of_a_later_version_is_read() -> None:
    data = {**container_record().to_json(), "version": 9, "colour": "blue"}
    assert ContainerRecord.from_json(data) == container_record()


@pytest.mark.parametrize("key", ["id", "spec", "config_hash"])
def test_a_record_without_a_needed_key_is_refused(key: str) -> None:
    data = container_record().to_json()
    del data[key]
    with pytest.raises(TypeError):
        ContainerRecord.from_json(data)


@pytest.mark.parametrize(
    ("key", "value"),
    [("id", 5), ("index", "1"), ("index", True), ("oneoff", 1), ("labels", []), ("spec", None)],
)
def test_a_record_with_a_value_of_another_type_is_refused(key: str, value: object) -> None:
    with pytest.raises(TypeError, match=key):
        ContainerRecord.from_json({**container_record().to_json(), key: value})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(st.sampled_from(sorted(ContainerStatus(state="exited").to_json())), json_values)
def test_a_hostile_status_is_a_status_or_refused(key: str, value: object) -> None:
    data = {**ContainerStatus(state="exited").to_json(), key: value}
    try:
        status = ContainerStatus.from_json(data)
    except TypeError:
        return
    assert isinstance(status.pid, int)
    assert isinstance(status.ports, list)
