"""config.json as data: what is let through, what is refused, and what limits become."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.linux import syscalls as sc
from orchestrator.runtime.oci import config, mountoptions, options, resources, signals
from orchestrator.runtime.oci.faults import OciError
from orchestrator.runtime.oci.features import features
from orchestrator.runtime.oci.template import template

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.text(max_size=8)
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=3),
    max_leaves=6)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at]
    if isinstance(value, dict):
        for key in value:
            found += places(value[key], (*at, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            found += places(value[index], (*at, index))
    return found


def put(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    copied = copy.copy(document)
    copied[at[0]] = put(document[at[0]], at[1:], value)
    return copied


@given(st.sampled_from(places(template())), JSON)
def test_any_value_anywhere_is_taken_or_refused(at: tuple[Any, ...], value: Any) -> None:
    try:
        checked = config.checked(put(template(), at, value))
    except OciError:
        return
    assert config.checked(json.loads(json.dumps(checked))) == checked


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.2.1", "1.3.0", "1.9.0+x"])
def test_versions_we_take(version: str) -> None:
    assert config.checked(template() | {"ociVersion": version})["ociVersion"] == version


@pytest.mark.parametrize("version", ["invalid", "", "2.0.0", "0.9.0", "1.0", "1.0.0.0", "1.x.0", 1])
def test_versions_we_do_not_take(version: Any) -> None:
    with pytest.raises(OciError, match="ociVersion"):
        config.checked(template() | {"ociVersion": version})


def test_nulls_and_unknown_keys_are_as_if_they_were_not_there() -> None:
    plain = config.checked(template())
    more = template() | {"hooks": None, "windows": {"x": 1}, "future": []}
    more["process"] |= {"rlimits": None, "selinuxLabel": None, "future": 1}
    plain["process"].pop("rlimits")
    assert config.checked(more) == plain


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '"x"', "{}", "[" * 100_000, "NaN", '{"ociVersion": NaN}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(OciError):
            config.read(str(tmp_path))
    with pytest.raises(OciError, match="no such file"):
        config.read(str(tmp_path / "none"))


@pytest.mark.parametrize(("words", "flags", "data"), [
    (["ro", "nosuid", "mode=755"], sc.MS_RDONLY | sc.MS_NOSUID, ["mode=755"]),
    (["ro", "rw", "noatime", "atime", "defaults"], 0, []),
    (["sync", "dirsync", "iversion", "lazytime", "silent"],
     sc.MS_SYNCHRONOUS | sc.MS_DIRSYNC | sc.MS_I_VERSION | sc.MS_LAZYTIME | sc.MS_SILENT, []),
    (["strictatime", "nostrictatime", "relatime"], sc.MS_RELATIME, []),
], ids=str)  # fmt: skip
def test_mount_options(words: list[str], flags: int, data: list[str]) -> None:
    found = mountoptions.parse(words)
    assert (found.flags, found.data) == (flags, data)


def test_recursive_options_and_propagation() -> None:
    found = mountoptions.parse(["rbind", "rro", "rnosuid", "rsuid", "rprivate", "rnoatime"])
    assert (found.is_bind, found.is_recursive) == (True, True)
    assert found.recursive_propagation == sc.MS_PRIVATE
    set_bits, clear_bits = found.recursive
    assert set_bits == sc.MOUNT_ATTR_RDONLY | sc.MOUNT_ATTR_NOATIME
    assert clear_bits == sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR__ATIME


def test_every_option_that_features_names_is_one() -> None:
    for name in features()["mountOptions"]:
        assert mountoptions.parse([name]).data == []


LIMITS = {
    "memory": {"limit": 100, "swap": 300, "reservation": 50, "swappiness": 0},
    "cpu": {"shares": 1024, "quota": 5000, "period": 10000, "cpus": "0-1", "burst": 7},
    "pids": {"limit": 0}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
    "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]},
    "rdma": {"mlx": {"hcaHandles": 3}},
}  # fmt: skip


def test_limits_as_files_of_version_1() -> None:
    legacy = {"memory", "cpu", "cpuset", "pids", "blkio", "hugetlb", "rdma", "net_cls", ""}
    assert resources.writes(LIMITS, legacy=legacy) == [
        ("memory", "memory.limit_in_bytes", "100"),
        ("memory", "memory.memsw.limit_in_bytes", "300"),
        ("memory", "memory.soft_limit_in_bytes", "50"), ("memory", "memory.swappiness", "0"),
        ("cpu", "cpu.shares", "1024"), ("cpu", "cpu.cfs_period_us", "10000"),
        ("cpu", "cpu.cfs_quota_us", "5000"), ("cpu", "cpu.cfs_burst_us", "7"),
        ("cpuset", "cpuset.cpus", "0-1"), ("pids", "pids.max", "0"),
        ("blkio", "blkio.weight", "10"),
        ("blkio", "blkio.throttle.read_bps_device", "8:0 5"),
        ("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "4"),
        ("hugetlb", "hugetlb.2MB.limit_in_bytes", "4"), ("rdma", "rdma.max", "mlx hca_handle=3"),
    ]  # fmt: skip


def test_limits_as_files_of_version_2() -> None:
    unified = {"unified": {"memory.high": "77", "cgroup.freeze": "0"}}
    assert resources.writes(LIMITS | unified, legacy=()) == [
        ("memory", "memory.max", "100"), ("memory", "memory.swap.max", "200"),
        ("memory", "memory.low", "50"), ("cpu", "cpu.weight", "39"),
        ("cpu", "cpu.max", "5000 10000"),
        ("cpu", "cpu.max.burst", "7"), ("cpuset", "cpuset.cpus", "0-1"), ("pids", "pids.max", "0"),
        ("io", "io.bfq.weight", "10"), ("io", "io.max", "8:0 rbps=5"),
        ("hugetlb", "hugetlb.2MB.rsvd.max", "4"), ("hugetlb", "hugetlb.2MB.max", "4"),
        ("rdma", "rdma.max", "mlx hca_handle=3"), ("memory", "memory.high", "77"),
        ("", "cgroup.freeze", "0"),
    ]  # fmt: skip


@pytest.mark.parametrize(("wanted", "legacy"), [
    ({"memory": {"limit": 100, "swap": 50}}, {"memory"}),
    ({"memory": {"swap": 50}}, ()), ({"cpu": {"realtimeRuntime": 5}}, ()),
    ({"network": {"classID": 5}}, ()), ({"unified": {"memory.max": "1"}}, {""}),
    ({"unified": {"../x.y": "1"}}, ()), ({"unified": {"nodot": "1"}}, ()),
    ({"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}, ()),
], ids=str)  # fmt: skip
def test_limits_that_a_version_does_not_have_are_refused(wanted: Any, legacy: Any) -> None:
    with pytest.raises(OciError):
        resources.writes(wanted, legacy=legacy)


def test_an_empty_object_limits_nothing() -> None:
    assert resources.writes({"cpu": {}, "memory": {}, "blockIO": {}}, legacy={"cpu"}) == []


def test_device_rules_have_stars_for_what_is_not_said() -> None:
    rules = [{"allow": False}, {"allow": True, "type": "c", "major": 1, "access": "r"},
             {"allow": True, "type": "b", "major": -1, "minor": 3}]
    assert resources.device_rules({"devices": rules}) == [
        (False, "a *:* rwm"), (True, "c 1:* r"), (True, "b *:3 rwm")]
    with pytest.raises(OciError):
        resources.device_rules({"devices": [{"allow": True, "access": "x"}]})


@pytest.mark.parametrize(("word", "number"), [
    ("KILL", 9), ("sigterm", 15), ("9", 9), ("RTMIN", 34), ("RTMIN+1", 35), ("RTMAX-1", 63),
    ("SIGRTMAX", 64), ("SYS", 31), ("64", 64),
])  # fmt: skip
def test_signals(word: str, number: int) -> None:
    assert signals.signal_number(word) == number


@pytest.mark.parametrize("word", ["", "65", "-9", "NOPE", "RTMIN+31", "RTMIN-1", "SIG", "9x"])
def test_what_is_no_signal(word: str) -> None:
    with pytest.raises(OciError):
        signals.signal_number(word)


def test_options_stand_before_and_after_the_id_but_not_in_a_command() -> None:
    top, found = options.parse(["--root=/r", "kill", "c", "--all", "9"])
    assert (top.text("--root"), found.positional, found.has("--all")) == ("/r", ["c", "9"], True)
    words = ["exec", "-t", "--env", "A=b", "-e", "C=d", "c", "ls", "-l", "--", "x"]
    _, found = options.parse(words)
    assert found.list("--env") == ["A=b", "C=d"]
    assert found.positional == ["c", "ls", "-l", "--", "x"]


WORDS = ("create", "kill", "exec", "--bundle", "-b", "--all", "--root", "c", "", "-", "--", "--x=y",
         "-h", "--preserve-fds", "3", "--help")  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=6))
def test_any_command_line_is_parsed_or_refused(words: list[str]) -> None:
    try:
        _, found = options.parse(words)
    except OciError:
        return
    assert found.command in ("", *options.COMMANDS)
