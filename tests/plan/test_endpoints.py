"""Addresses of yesterday against networks of today."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.endpoints import misfits
from orchestrator.state.observed import ObservedNetwork
from tests.state.sample import container_record, network_record

END = {"network": "p_default", "address": "10.210.1.7", "prefix": 24, "gateway": "10.210.1.1"}


def said(end: Any, **network: Any) -> list[str]:
    record = container_record(spec={"endpoints": [end]})
    there = ObservedNetwork(record=network_record(**network), exists=True)
    return misfits(record, {"p_default": there})


@pytest.mark.parametrize(
    ("end", "network", "expected"),
    [
        ({}, {}, []),
        ({}, {"subnet": "10.210.0.0/16"}, []),
        ({}, {"subnet": "10.211.1.0/24"},
         ["address 10.210.1.7 is not in network p_default (10.211.1.0/24)"]),
        ({}, {"subnet": "10.210.1.128/25"},
         ["address 10.210.1.7 is not in network p_default (10.210.1.128/25)"]),
        ({}, {"gateway": "10.210.1.254"},
         ["gateway of network p_default 10.210.1.1 -> 10.210.1.254"]),
        ({}, {"internal": True}, ["network p_default is internal now"]),
        ({"gateway": None}, {}, ["a network it is on is no longer internal"]),
        ({"gateway": None}, {"internal": True}, []),
        ({"network": "elsewhere", "address": "1.2.3.4"}, {}, []),
    ],
)  # fmt: skip
def test_a_misfit_is_told(
    end: dict[str, Any], network: dict[str, Any], expected: list[str]
) -> None:
    assert said({**END, **end}, **network) == expected


def test_one_way_out_of_two_networks_is_enough() -> None:
    other = {**END, "network": "p_back", "address": "10.210.1.8", "gateway": None}
    record = container_record(spec={"endpoints": [END, other]})
    there = {
        name: ObservedNetwork(record=network_record(name), exists=True)
        for name in ("p_default", "p_back")
    }
    assert misfits(record, there) == []


@given(st.dictionaries(st.sampled_from(list(END)), st.none() | st.integers() | st.text()))
def test_a_hostile_endpoint_raises_nothing(end: dict[str, Any]) -> None:
    assert isinstance(said({**END, **end}), list)


@pytest.mark.parametrize("spec", [{}, {"endpoints": None}, {"endpoints": ["x", 1]}])
def test_a_spec_without_endpoints_is_not_judged(spec: dict[str, Any]) -> None:
    assert misfits(container_record(spec=spec), {}) == []
