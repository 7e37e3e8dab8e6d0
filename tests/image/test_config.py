"""Image configuration: what the document says, and that what we write is read alike."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ImageError
from orchestrator.image import config as configs
from orchestrator.image import manifest
from orchestrator.image.config import ConfigFile, Healthcheck, ImageConfig, Platform
from orchestrator.image.manifest import Descriptor

DIGEST = "sha256:" + "0" * 64


def document(**more: Any) -> bytes:
    return json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []}, **more}
    ).encode()


def test_every_member_is_read() -> None:
    found = configs.parse(document(created="2020-01-02T03:04:05.123456789Z", config={
        "Env": ["B=2", "A=x=y", "E="], "Entrypoint": ["/e"], "Cmd": ["a", "b"],
        "User": "redis:redis",
        "WorkingDir": "/w", "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}},
        "Labels": {"l": "v"}, "StopSignal": "SIGQUIT", "Healthcheck": {
            "Test": ["CMD", "true"], "Interval": 1_500_000_000, "Timeout": 2_000_000_000,
            "StartPeriod": 3_000_000_000, "StartInterval": 0, "Retries": 4}}))  # fmt: skip
    assert found.created == pytest.approx(1577934245.123456)
    check = Healthcheck(
        test=("CMD", "true"), interval=1.5, timeout=2.0, start_period=3.0, retries=4
    )
    assert found.config == ImageConfig(
        env=(("B", "2"), ("A", "x=y"), ("E", "")), entrypoint=("/e",), command=("a", "b"),
        user="redis:redis", working_dir="/w", exposed_ports=("80/tcp",), volumes=("/data",),
        labels={"l": "v"}, stop_signal="SIGQUIT", healthcheck=check,
    )  # fmt: skip


@pytest.mark.parametrize("config", [None, {}, {"Env": None, "Cmd": None, "Healthcheck": None}])
def test_what_is_left_out_is_empty(config: Any) -> None:
    assert configs.parse(document(config=config)).config == ImageConfig()


@pytest.mark.parametrize(("text", "seconds"), [
    ("1970-01-01T00:00:01Z", 1.0), ("1970-01-01T01:00:01+01:00", 1.0),
    ("1970-01-01T00:00:01.5Z", 1.5),
    ("0001-01-01T00:00:00Z", -62135596800.0), ("yesterday", None), ("", None), ("9" * 400, None),
])  # fmt: skip
def test_times_are_read_as_go_writes_them(text: str, seconds: float | None) -> None:
    assert configs.parse_time(text) == seconds


@pytest.mark.parametrize("more", [
    {"config": []}, {"config": {"Env": ["=x"]}}, {"config": {"Env": "A=b"}}, {"os": 1},
    {"config": {"Cmd": [1]}}, {"config": {"Volumes": ["/x"]}}, {"config": {"Labels": {"a": 1}}},
    {"config": {"Healthcheck": {"Interval": -1}}}, {"config": {"Healthcheck": {"Interval": True}}},
    {"config": {"User": "a\0b"}}, {"rootfs": {"diff_ids": ["md5:x"]}}, {"rootfs": {"type": "x"}},
    {"rootfs": []}, {"rootfs": {"diff_ids": [DIGEST] * 501}},
])  # fmt: skip
def test_a_hostile_config_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ImageError):
        configs.parse(document(**more))


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
texts = st.lists(text, max_size=4).map(tuple)
seconds = st.none() | st.integers(1, 10**6).map(lambda n: n / 1000)
checks = st.builds(Healthcheck, test=texts, interval=seconds, timeout=seconds, start_period=seconds,
                   start_interval=seconds, retries=st.none() | st.integers(1, 9))  # fmt: skip
image_configs = st.builds(
    ImageConfig, env=st.lists(st.tuples(st.just("N"), text), max_size=3).map(tuple),
    entrypoint=texts, command=texts, working_dir=text, user=text,
    exposed_ports=st.lists(text, unique=True, max_size=3).map(sorted).map(tuple),
    volumes=st.lists(text, unique=True, max_size=3).map(sorted).map(tuple),
    labels=st.dictionaries(text, text, max_size=3), stop_signal=text,
    healthcheck=st.none() | checks,
)  # fmt: skip


@given(image_configs, st.none() | st.integers(-(10**9), 4 * 10**9).map(float))
def test_what_is_written_is_read_alike(config: ImageConfig, created: float | None) -> None:
    file = ConfigFile(
        platform=Platform(variant="v8"), created=created, config=config, diff_ids=(DIGEST,)
    )
    assert configs.parse(configs.dump(file)) == file


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["config", "Env", "rootfs", "diff_ids", "Healthcheck", "Test", "manifests",
                         "layers", "digest", "size", "schemaVersion", "platform", "os"]), inner),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    data = json.dumps(value).encode()
    for parse in (lambda: configs.parse(data), lambda: manifest.parse(data, what="x")):
        try:
            parse()
        except ImageError:
            continue


def described(*platforms: str) -> list[Descriptor]:
    found = []
    for number, text in enumerate(platforms):
        parts = dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))
        found.append(Descriptor(media_type="", digest=f"sha256:{number:064}", size=0,
                                platform=Platform(**parts) if text else None))  # fmt: skip
    return found


@pytest.mark.parametrize(("wanted", "there", "chosen"), [
    ("linux/amd64", ("linux/arm64", "linux/amd64"), 1), ("linux/amd64", ("",), 0),
    ("linux/arm64/v8", ("linux/arm64/v9", "linux/arm64", "linux/arm64/v8"), 2),
    ("linux/arm64/v8", ("linux/arm64/v9", "linux/arm64"), 1),
    ("linux/amd64", ("unknown/unknown", "windows/amd64", "linux/amd64/v3"), 2),
])  # fmt: skip
def test_the_nearest_platform_is_chosen(wanted: str, there: tuple[str, ...], chosen: int) -> None:
    [target] = described(wanted)
    assert target.platform is not None
    found = manifest.choose(described(*there), wanted=target.platform, what="x")
    assert int(found.digest[7:]) == chosen


def test_no_fitting_platform_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(ImageError, match="linux/amd64") as caught:
        manifest.choose(described("linux/arm64", "linux/s390x"), wanted=Platform(), what="x")
    assert caught.value.hint == "it has linux/arm64, linux/s390x"
