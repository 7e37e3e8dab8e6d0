"""Why a container is made again, key by key: two canonical trees in, sentences out.

Values of keys that look secret (PASSWORD, SECRET, TOKEN, KEY, CREDENTIAL in their name), of
assignments to such keys inside other values, and passwords inside URLs are shown as ***; that
they changed is said, how is not.  Knows trees and places; knows nothing of containers.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from orchestrator.spec.model import Project

Where = Callable[..., str]
"""Path of a value -> `compose.yaml:14`, or empty."""

_SECRET = re.compile(r"passw|pwd|secret|token|key|credential|passphrase", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"(?i)([\w-]*(?:passw|pwd|secret|token|key|credential|passphrase)[\w-]*[=:]\s*)[^\s\"',;&]+"
)
_IN_URL = re.compile(r"(://[^\s:/@]*:)[^\s@]+(?=@)")
_LONGEST = 60
_WHOLE = {"command", "entrypoint", "test"}
"""Lists that are one sentence: shown whole, joined by spaces."""


def explain(
    old: dict[str, Any], new: dict[str, Any], project: Project, service: str
) -> list[str]:  # trees have no narrower type
    """What differs between two `config_tree`s of a service, in the order of the keys:
    `environment.LOG_LEVEL "info" -> "debug" (compose.yaml:14)`.  Empty where nothing does."""

    def where(*path: str | int) -> str:
        return project.where("services", service, *path)

    return explain_trees(old, new, where=where)


def explain_trees(old: Any, new: Any, *, where: Where) -> list[str]:
    """`explain` for any two trees; `where` says where a path was written."""
    return list(_compare(_plain(old), _plain(new), (), where))


def _plain(value: Any) -> Any:
    """As it would be after a round through JSON: a stored tree is compared with a fresh one."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


Path = tuple[str | int, ...]


def _compare(old: Any, new: Any, path: Path, where: Where) -> Iterator[str]:
    if _text(old) == _text(new):  # as the hash sees it: 1 is not true
        return
    if isinstance(old, dict) and isinstance(new, dict):
        if path[:1] in (("secrets",), ("configs",)) and _only_digest(old, new):
            yield _content(new, path, where)
            return
        for key in sorted({*old, *new}):
            yield from _compare_key(old, new, (*path, key), where)
    elif isinstance(old, list) and isinstance(new, list) and path[-1:] != ("test",):
        yield from _compare_lists(old, new, path, where)
    else:
        yield _sentence(path, f"{_show(old, path)} -> {_show(new, path)}", where)


def _only_digest(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return {**old, "digest": ""} == {**new, "digest": ""}


def _content(grant: dict[str, Any], path: Path, where: Where) -> str:
    written = where(*path)
    said = f"content of {str(path[0])[:-1]} {grant['source']} changed"
    return f"{said} ({written})" if written else said


def _compare_key(
    old: dict[str, Any], new: dict[str, Any], path: Path, where: Where
) -> Iterator[str]:
    key = str(path[-1])
    before, after = old.get(key), new.get(key)
    known = after if before is None else before
    if isinstance(known, dict | list) and key not in _WHOLE:
        # entry by entry, also where the first comes or the last goes
        empty: Any = type(known)()
        said = False
        for sentence in _compare(
            empty if before is None else before, empty if after is None else after, path, where
        ):
            said = True
            yield sentence
        if said:
            return
    if key not in old:
        yield _sentence(path, f"added {_show(new[key], path)}", where)
    elif key not in new:
        yield _sentence(path, f"removed, was {_show(old[key], path)}", where)
    else:
        yield from _compare(old[key], new[key], path, where)


def _compare_lists(old: list[Any], new: list[Any], path: Path, where: Where) -> Iterator[str]:
    if path and path[-1] in _WHOLE:
        yield _sentence(path, f"{_show(old, path)} -> {_show(new, path)}", where)
        return
    gone, come = _only_in(old, new), _only_in(new, old)
    if not gone and not come:
        yield _sentence(path, "in another order", where)
    elif len(gone) == len(come) == 1:
        yield from _compare(old[gone[0]], new[come[0]], (*path, come[0]), where)
    else:
        for index in gone:
            yield _sentence(path, f"removed {_show(old[index], path)}", where)
        for index in come:
            text = f"added {_show(new[index], path)}"
            yield _sentence(path, text, where, place=(*path, index))


def _only_in(these: list[Any], those: list[Any]) -> list[int]:
    """Indexes of the entries of `these` that `those` lacks; equal entries are counted."""
    left = Counter(_text(entry) for entry in those)
    found = []
    for index, entry in enumerate(these):
        left[_text(entry)] -= 1
        if left[_text(entry)] < 0:
            found.append(index)
    return found


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _sentence(path: Path, text: str, where: Where, *, place: Path | None = None) -> str:
    written = where(*(path if place is None else place))
    name = ".".join(map(str, path))
    return f"{name} {text} ({written})" if written else f"{name} {text}"


def _show(value: Any, path: Path) -> str:
    if value is not None and any(isinstance(p, str) and _SECRET.search(p) for p in path):
        return '"***"'
    if isinstance(value, list) and path and path[-1] in _WHOLE:
        value = " ".join(map(str, value))
    text = json.dumps(masked(value), ensure_ascii=False, sort_keys=True)
    return shorten(text)


def looks_secret(name: str) -> bool:
    """Whether the value of a key or variable of that name is not for everybody."""
    return bool(_SECRET.search(name))


def masked(value: Any) -> Any:
    """Plain data without what looks secret: by the name of its key, `--password=…`, in a URL."""
    if isinstance(value, str):
        return _IN_URL.sub(r"\1***", _ASSIGNED.sub(r"\1***", value))
    if isinstance(value, dict):
        return {k: "***" if _SECRET.search(k) else masked(v) for k, v in value.items()}
    if isinstance(value, list):
        return [masked(v) for v in value]
    return value


def shorten(text: str) -> str:
    """`text` with its middle left out where it is long."""
    if len(text) <= _LONGEST:
        return text
    half = (_LONGEST - 1) // 2
    return f"{text[:half]}…{text[-half:]}"
