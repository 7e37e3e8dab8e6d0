"""Capabilities by name, and what is left of them in a process that gave some up."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.linux import caps, syscalls
from tests.linux.forked import in_child


@given(st.sets(st.sampled_from(caps.NAMES)))
def test_names_and_bits_are_two_forms_of_the_same(names: set[str]) -> None:
    assert set(caps.names_of(caps.mask_of(names))) == names


def test_the_bits_are_those_of_the_kernel() -> None:
    assert caps.mask_of(["CAP_SYS_ADMIN"]) == 1 << 21
    assert caps.mask_of(["CAP_CHECKPOINT_RESTORE"]) == 1 << 40
    assert caps.names_of(1 << 60) == ("CAP_60",)
    assert caps.last() >= 37
    assert len(caps.DEFAULT) == 14


@pytest.mark.parametrize("word", ["net_admin", "NET_ADMIN", "CAP_NET_ADMIN", "cap_net_admin"])
def test_the_words_of_a_compose_file_are_names(word: str) -> None:
    assert caps.parse_name(word) == "CAP_NET_ADMIN"
    assert caps.parse_name("all") == "ALL"


@pytest.mark.parametrize("word", ["", "CAP_", "CAP_ALL", "NET ADMIN", "CAP_CAP_CHOWN"])
def test_a_word_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="no such capability"):
        caps.parse_name(word)


def status() -> list[int]:
    names = ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh")
    found = {}
    with open("/proc/thread-self/status", encoding="utf-8") as file:
        for line in file:
            key, _, value = line.partition(":")
            found[key] = value.strip()
    return [int(found[name], 16) for name in names]


@pytest.mark.kernel
def test_root_keeps_what_it_is_given() -> None:
    mask = caps.mask_of(caps.DEFAULT)

    def work() -> list[int]:
        caps.become(0, 0, [], bounding=mask, permitted=mask, effective=mask)
        return status()

    assert in_child(work) == [mask, mask, mask, 0, 0]


@pytest.mark.kernel
def test_another_user_has_nothing_after_exec_but_the_bound() -> None:
    mask = caps.mask_of(caps.DEFAULT)

    def work() -> list[object]:
        caps.become(1234, 2345, [3456], bounding=mask, permitted=0, effective=0)
        return [*status(), *os.getresuid(), *os.getresgid(), os.getgroups()]

    assert in_child(work) == [0, 0, mask, 0, 0, 1234, 1234, 1234, 2345, 2345, 2345, [3456]]


@pytest.mark.kernel
def test_ambient_capabilities_survive_exec_as_another_user() -> None:
    one = caps.mask_of(["CAP_NET_BIND_SERVICE"])

    def work() -> str:
        caps.become(1234, 1234, [], bounding=one, permitted=one, effective=one, inheritable=one,
                    ambient=one)
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.dup2(writer, 1)
            os.execv("/bin/grep", ["grep", "CapEff", "/proc/self/status"])
        os.close(writer)
        return os.read(reader, 100).decode()

    assert int(in_child(work).split()[1], 16) == one


@pytest.mark.kernel
def test_what_was_given_up_does_not_come_back() -> None:
    def work() -> list[object]:
        caps.apply(bounding=0, permitted=0, effective=0)
        try:
            syscalls.capset(effective=1, permitted=1, inheritable=0)
        except PermissionError as exc:
            return [caps.bounding(), syscalls.capget(), str(exc.strerror)]
        return []

    assert in_child(work) == [0, [0, 0, 0], "Operation not permitted"]
