"""The sandbox of the end-to-end tests."""

from tests.e2e.conftest import sandbox, stack

__all__ = ["sandbox", "stack"]
