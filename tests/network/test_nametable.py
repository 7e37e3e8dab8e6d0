"""Names of containers: who sees whom."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from orchestrator.network.nametable import NameTable


@pytest.fixture
def table() -> NameTable:
    table = NameTable()
    table.set("c1", {"front": (["web", "p-web-1"], ["10.0.0.2"])}, name="p-web-1")
    table.set("c2", {"front": (["web", "p-web-2"], ["10.0.0.3"])}, name="p-web-2")
    table.set("c3", {"back": (["db"], ["10.1.0.2"]), "front": (["DB", "store"], ["10.0.0.4"])})
    table.set("c4", {"back": (["db-client"], ["10.1.0.3"])})
    return table


def test_a_service_is_all_its_replicas(table: NameTable) -> None:
    assert sorted(table.lookup("c3", "web")) == ["10.0.0.2", "10.0.0.3"]
    assert {tuple(table.lookup("c3", "web")) for _ in range(99)} == {
        ("10.0.0.2", "10.0.0.3"), ("10.0.0.3", "10.0.0.2"),
    }  # fmt: skip


def test_case_does_not_matter(table: NameTable) -> None:
    assert table.lookup("c1", "dB") == ["10.0.0.4"]
    assert table.lookup("c1", "P-WEB-1") == ["10.0.0.2"]


def test_a_container_sees_its_own_networks_only(table: NameTable) -> None:
    assert table.lookup("c4", "web") == []
    assert table.lookup("c1", "db-client") == []
    assert table.lookup("stranger", "web") == []
    assert table.reverse("c4", "10.0.0.2") is None


def test_the_first_network_that_knows_the_name_answers(table: NameTable) -> None:
    assert table.lookup("c3", "db") == ["10.1.0.2"]
    assert table.lookup("c1", "db") == ["10.0.0.4"]


def test_a_name_may_be_asked_for_on_one_network(table: NameTable) -> None:
    assert table.lookup("c3", "db.front") == ["10.0.0.4"]
    assert table.lookup("c3", "db.back") == ["10.1.0.2"]
    assert table.lookup("c1", "db.back") == []
    assert table.lookup("c3", ".back") == []


def test_reverse_gives_the_container_and_its_network(table: NameTable) -> None:
    assert table.reverse("c3", "10.0.0.2") == "p-web-1.front"
    assert table.reverse("c4", "10.1.0.2") == "db.back"
    assert table.reverse("c1", "10.9.9.9") is None


def test_a_removed_container_is_not_known(table: NameTable) -> None:
    table.remove("c1")
    table.remove("c1")
    assert table.lookup("c3", "web") == ["10.0.0.3"]
    assert table.reverse("c3", "10.0.0.2") is None


def test_a_successor_at_the_same_address_outlives_its_predecessor(table: NameTable) -> None:
    table.set("new", {"front": (["web"], ["10.0.0.2"])})
    table.remove("c1")
    assert sorted(table.lookup("c3", "web")) == ["10.0.0.2", "10.0.0.3"]
    assert table.reverse("c3", "10.0.0.2") == "web.front"


def test_a_link_is_a_name_for_one_container_alone(table: NameTable) -> None:
    table.set("c5", {"front": (["app"], ["10.0.0.9"])}, links=[("Database", "db"), ("w", "web")])
    assert table.lookup("c5", "database") == ["10.0.0.4"]
    assert len(table.lookup("c5", "w")) == 2
    assert table.lookup("c1", "database") == []


def test_both_families_are_known(table: NameTable) -> None:
    table.set("c6", {"front": (["dual"], ["10.0.0.8", "fd00::8"])}, name="p-dual-1")
    assert sorted(table.lookup("c1", "dual")) == ["10.0.0.8", "fd00::8"]
    assert table.reverse("c1", "fd00::8") == "p-dual-1.front"
    table.remove("c6")
    assert table.reverse("c1", "fd00::8") is None


class Table(RuleBasedStateMachine):
    """Against a list of who is there."""

    def __init__(self) -> None:
        super().__init__()
        self.table = NameTable()
        self.there: dict[str, dict[str, tuple[list[str], list[str]]]] = {}

    containers = st.sampled_from(["a", "b", "c"])
    memberships = st.dictionaries(
        st.sampled_from(["n", "m"]),
        st.tuples(st.lists(st.sampled_from(["x", "X", "y"]), max_size=3),
                  st.lists(st.sampled_from(["10.0.0.1", "fd00::2"]), unique=True)),
    )  # fmt: skip

    @rule(container=containers, networks=memberships)
    def set(self, container: str, networks: dict[str, tuple[list[str], list[str]]]) -> None:
        self.table.set(container, networks)
        self.there[container] = networks

    @rule(container=containers)
    def remove(self, container: str) -> None:
        self.table.remove(container)
        self.there.pop(container, None)

    @rule(container=containers, name=st.sampled_from(["x", "Y", "z"]))
    def lookup(self, container: str, name: str) -> None:
        expected: set[str] = set()
        for network in self.there.get(container, {}):
            expected = {
                address for others in self.there.values() if network in others
                and name.lower() in [n.lower() for n in others[network][0]]
                for address in others[network][1]
            }  # fmt: skip
            if expected:
                break
        found = self.table.lookup(container, name)
        assert set(found) == expected
        assert len(found) == len(expected)


TestTable = Table.TestCase
TestTable.settings = settings(max_examples=50, stateful_step_count=20)


def test_the_unfit_are_left_out_as_long_as_somebody_is_fit() -> None:
    unfit = {"one"}
    table = NameTable(is_fit=lambda container: container not in unfit)
    for container, address in (("one", "10.0.0.1"), ("two", "10.0.0.2")):
        table.set(container, {"net": (["web"], [address]), "all": (["web"], [address])},
                  healthy_only=["net"])  # fmt: skip
    table.set("asks", {"net": ([], []), "all": ([], [])})
    assert table.lookup("asks", "web") == ["10.0.0.2"]
    assert set(table.lookup("asks", "web.all")) == {"10.0.0.1", "10.0.0.2"}
    unfit.add("two")
    assert set(table.lookup("asks", "web")) == {"10.0.0.1", "10.0.0.2"}
    unfit.clear()
    assert set(table.lookup("asks", "web")) == {"10.0.0.1", "10.0.0.2"}
