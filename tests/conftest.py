"""For every test: tests for root are skipped with a reason, a session leaves nothing behind."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator


# The check of a commit says the same each time; `make fuzz` looks for what nobody has met yet.
# Time is no verdict on a machine that others use too.
hypothesis.settings.register_profile(
    "commit", derandomize=True, deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)  # fmt: skip
hypothesis.settings.register_profile(
    "fuzz", max_examples=20_000, deadline=None, print_blob=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "commit"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root: namespaces, mounts and cgroups without rootless")
    for item in items:
        if item.get_closest_marker("kernel") or item.get_closest_marker("e2e"):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fails the session if a mount, cgroup, interface, process or run-time file stays.

    Supervisors end a moment after their last container; they get ten seconds to be gone.
    """
    before = leftovers.take()
    yield
    deadline = time.monotonic() + 10
    while (added := before.added(leftovers.take())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert added == {}
