"""How platforms are written and compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.image import platform
from orchestrator.image.config import Platform


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An amd64 machine without emulators; where they would be."""
    monkeypatch.setattr(platform, "host_platform", Platform)
    monkeypatch.setattr(platform, "_BINFMT", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "read"),
    [("", "linux/amd64"), ("linux/x86_64", "linux/amd64"), ("aarch64", "linux/arm64"),
     ("linux/arm64/v8", "linux/arm64"), ("LINUX/ARM/v7", "linux/arm/v7")],
)  # fmt: skip
def test_a_platform_is_read(text: str, read: str) -> None:
    assert str(platform.parse(text)) == read


@pytest.mark.parametrize("text", ["windows/amd64", "linux", "linux/", "a/b/c/d", "/"])
def test_what_no_image_can_be_for_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no platform"):
        platform.parse(text)


def test_an_emulator_makes_programs_of_another_platform_run(machine: Path) -> None:
    assert platform.can_run("linux/amd64")
    assert platform.can_run("linux/386")
    for name, emulator in (("arm64/v8", "aarch64"), ("arm/v7", "arm"), ("s390x", "s390x")):
        assert not platform.can_run(f"linux/{name}")
        (machine / f"qemu-{emulator}").touch()
        assert platform.can_run(f"linux/{name}")
