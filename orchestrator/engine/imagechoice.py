"""Which images of the store are meant: the filters of `image ls` and `image prune`, as docker has
them.  Pure but for names that are looked up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import ImageNotFoundError, UsageError
from orchestrator.image.store import Image

FILTERS = ("dangling", "label", "label!", "before", "since", "reference")
PRUNE_FILTERS = ("dangling", "label", "label!")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an image has to be."""

    dangling: bool | None = None
    """Without a name, or with one."""
    labels: tuple[tuple[str, str | None], ...] = ()
    """(key, value), None: any."""
    lacking: tuple[tuple[str, str | None], ...] = ()
    """Labels that it may not have."""
    before: str = ""
    """Made before this image."""
    since: str = ""
    until: float | None = None
    """Made before this moment, seconds since the epoch."""
    patterns: tuple[str, ...] = ()
    """One of these has to be its name; `*` is any part of a name without a slash."""


def parse(
    texts: Sequence[str], *, until: float | None = None, known: Sequence[str] = FILTERS
) -> Choice:
    """What `KEY=VALUE` say together.  UsageError names the one that is wrong."""
    choice = Choice(until=until)
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise UsageError(f"invalid --filter {text!r}", hint=f"KEY=VALUE, KEY being one of: "
                             f"{', '.join(known)}, until")  # fmt: skip
        choice = _with(choice, key, value)
    return choice


def _with(choice: Choice, key: str, value: str) -> Choice:
    if key == "dangling":
        if value.lower() not in (*_TRUE, *_FALSE):
            raise UsageError(f"invalid --filter dangling={value}", hint="true or false")
        return replace(choice, dangling=value.lower() in _TRUE)
    if key in ("label", "label!"):
        name, equals, wanted = value.partition("=")
        label = (name, wanted if equals else None)
        if key == "label":
            return replace(choice, labels=(*choice.labels, label))
        return replace(choice, lacking=(*choice.lacking, label))
    if key == "reference":
        return replace(choice, patterns=(*choice.patterns, value))
    return replace(choice, before=value) if key == "before" else replace(choice, since=value)


def chosen(
    images: Sequence[Image], choice: Choice, *, resolve: Callable[[str], Image | None]
) -> list[Image]:
    """Those that fit, each with the names that fit.  ImageNotFoundError where `before` or `since`
    name an image that is not here."""
    latest = _created(choice.before, resolve) if choice.before else None
    earliest = _created(choice.since, resolve) if choice.since else None
    tests = [_regex(pattern) for pattern in choice.patterns]
    found = []
    for image in images:
        made = image.created or 0
        if choice.dangling is not None and choice.dangling is bool(image.references):
            continue
        if (latest is not None and made >= latest) or (earliest is not None and made <= earliest):
            continue
        if choice.until is not None and made >= choice.until:
            continue
        if not _has_labels(image, choice):
            continue
        if tests:
            fitting = tuple(name for name in image.references if _fits(name, tests))
            if not fitting:
                continue
            image = replace(image, references=fitting)
        found.append(image)
    return found


def _created(name: str, resolve: Callable[[str], Image | None]) -> float:
    image = resolve(name)
    if image is None:
        raise ImageNotFoundError(f"no such image: {name}")
    return image.created or 0


def _has_labels(image: Image, choice: Choice) -> bool:
    def has(label: tuple[str, str | None]) -> bool:
        found = image.config.labels.get(label[0])
        return found is not None and label[1] in (None, found)

    return all(map(has, choice.labels)) and not any(map(has, choice.lacking))


def _fits(name: str, tests: Sequence[re.Pattern[str]]) -> bool:
    """Whether a pattern is that of the whole name, or of the name without its tag."""
    repository, _, last = name.rpartition("/")
    bare = f"{repository}/" * bool(repository) + re.split("[:@]", last)[0]
    return any(test.fullmatch(word) for test in tests for word in (name, bare))


def _regex(pattern: str) -> re.Pattern[str]:
    """`*`, `?` and `[a-z]` as Go's path.Match has them: none of them is a slash."""
    def part(text: str) -> str:
        if text[:1] in ("*", "?"):
            return "[^/]*" if text[0] == "*" else "[^/]"
        return text if text[:1] == "[" and text[-1] == "]" else re.escape(text)

    try:
        return re.compile("".join(map(part, re.split(r"(\*+|\?|\[\^?[^\]\\[]+\])", pattern))))
    except re.error as exc:
        raise UsageError(f"invalid --filter reference={pattern}: {exc.msg}") from exc
