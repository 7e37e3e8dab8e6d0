"""A page."""

from collections.abc import Callable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """WSGI (PEP 3333)."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served by python\n"]
