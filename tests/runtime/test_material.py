"""Secrets and configs in real containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.runtime.spec import File

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.kept import Kept

pytestmark = pytest.mark.kernel


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text("hush")
    path.chmod(0o600)
    return str(path)


def file(source: str, target: str, **fields: Any) -> File:
    return File(source=source, target=target, **fields)


def test_owner_and_mode_are_as_said_and_the_file_is_on_a_tmpfs(kept: Kept, secret: str) -> None:
    text = kept.sh("web", "stat -c '%u %g %a' /run/secrets/s; stat -f -c %T /run/secrets/s;"
                          "cat /run/secrets/s",
                   files=(file(secret, "/run/secrets/s", uid=70, gid=71, mode=0o400),))
    assert text.splitlines() == ["70 71 400", "tmpfs", "hush"]


def test_without_an_owner_it_is_the_containers_users(kept: Kept, secret: str) -> None:
    text = kept.sh("web", "stat -c '%U %G %a' /s; stat -c '%u %G' /half; cat /s", user="bob",
                   files=(file(secret, "/s", mode=0o440), file(secret, "/half", uid=7)))
    assert text.splitlines() == ["bob bob 440", "7 bob", "hush"]


def test_a_read_only_root_and_an_empty_file_are_no_obstacle(
    kept: Kept, secret: str, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    text = kept.sh("web", "cat /etc/app/new.conf; stat -c '%s %a' /none; cat /etc/app/new.conf",
                   read_only=True, files=(file(secret, "/etc/app/new.conf"),
                                          file(str(empty), "/none")))
    assert text == "hush0 444\nhush"


def test_nobody_in_there_can_change_it_and_nothing_of_it_is_left_outside(
    kept: Kept, secret: str
) -> None:
    text = kept.sh("web", "echo x 2>/dev/null > /s; chmod 777 /s 2>/dev/null; cat /s;"
                          "grep -c /material /proc/self/mountinfo || true; ls /run/secrets",
                   files=(file(secret, "/s", mode=0o666), file(secret, "/run/secrets/x")))
    assert text == "hush0\nx"
    left = kept.directory("web") / "material"
    assert list(left.rglob("*")) == []


def test_a_program_can_be_a_config(kept: Kept, tmp_path: Path) -> None:
    script = tmp_path / "entry"
    script.write_text("#!/bin/sh\necho ran\n")
    kept.run("web", ("/entry",), files=(file(str(script), "/entry", mode=0o755),))
    assert kept.output("web") == "ran"
