"""The error tree: documented, complete, and the same on both ends of a socket."""

from __future__ import annotations

import pytest

from orchestrator import errors


def every_error() -> list[type[errors.PcomposeError]]:
    found, todo = [], [errors.PcomposeError]
    while todo:
        cls = todo.pop()
        found.append(cls)
        todo += cls.__subclasses__()
    return [cls for cls in found if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_an_error_is_documented_and_has_an_exit_code(cls: type[errors.PcomposeError]) -> None:
    assert cls.__doc__
    assert cls.__name__ in (errors.__doc__ or "")
    assert 1 <= cls.exit_code <= 127


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_an_error_survives_the_socket(cls: type[errors.PcomposeError]) -> None:
    sent = cls("cannot start web-1", hint="try again")
    received = errors.from_json(sent.to_json())
    assert type(received) is cls
    assert (received.message, received.hint) == ("cannot start web-1", "try again")


def test_an_error_of_a_later_version_is_still_an_error() -> None:
    assert isinstance(errors.from_json({"type": "Newer", "message": "x"}), errors.InternalError)


def test_all_problems_of_a_file_are_told() -> None:
    error = errors.SpecError("", problems=(("a.yaml:1:2", "one", None), ("a.yaml:3:4", "two", "h")))
    assert str(error) == "a.yaml:1:2: one\na.yaml:3:4: two"
