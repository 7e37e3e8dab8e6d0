"""Writes docs/compose-reference.md from the schema, the table of what works and the table of
differences: `make docs`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.differences import DIFFERENCES
from orchestrator.spec import schema, support

Pattern = tuple[str, ...]
Source = dict[str, Any]

PAGE = Path(__file__).parent / "compose-reference.md"
HEAD = """# Compose reference

Every attribute of the Compose specification, the forms its value may have, and what it comes to
here. This page is made by `make docs` from the code's own tables (`schemas/compose.json`,
`orchestrator/spec/support.py`, `docs/differences.py`); a test compares.

* **works**: as with `docker compose`, but for what the last column says; with words behind it,
  only those values.
* **no effect**: read, checked, merged and shown by `config`; on Linux nothing is to be done for it.
* **refused**: `up`, `run`, `plan` and whoever else acts stops with `file:line:col`; with
  `--lenient` it is a warning. `config` shows it.

`x-…` keys are allowed in every structure. In a path `*` is a name that you choose and `[]` an item
of a list.
"""
SECTIONS = {
    "Top level": (), "Services": ("services", "*"), "Networks": ("networks", "*"),
    "Volumes": ("volumes", "*"), "Secrets": ("secrets", "*"), "Configs": ("configs", "*"),
    "Models": ("models", "*"), "Include": ("include", "*"),
}  # fmt: skip
NAMES = {
    "object": "a mapping", "array": "a list", "string": "text", "null": "nothing",
    "boolean": "true or false",
}  # fmt: skip


def properties(
    source: Source, root: Source, path: Pattern = ()
) -> Iterator[tuple[Pattern, Source]]:
    """Every property of the schema with its path, what it refers to filled in."""
    source = resolved(source, root)
    for key, child in source.get("properties", {}).items():
        yield (*path, key), resolved(child, root)
        yield from properties(child, root, (*path, key))
    below = [part for key, part in source.get("patternProperties", {}).items() if key != "^x-"]
    for part in (*below, source.get("items")):
        if isinstance(part, dict):
            yield from properties(part, root, (*path, "*"))


def resolved(source: Source, root: Source) -> Source:
    """The part with what it refers to, and beside it what it says itself."""
    if "$ref" not in source:
        return source
    return {**resolved(root["$defs"][source["$ref"].rpartition("/")[2]], root), **source}


def every() -> dict[Pattern, Source]:
    """The properties of our schema."""
    root = json.loads(Path(schema.schema_path()).read_text())
    return dict(properties(root, root))


def states(pattern: Pattern) -> list[str]:
    """What the tables say of a key; one word if they are right."""
    found = []
    works = implemented(pattern)
    if works is not None:
        found.append(works)
    for word, table in (("no effect", support.WITHOUT_EFFECT), ("refused", support.REFUSED)):
        ends = range(1, len(pattern) + 1)
        names = [name for end in ends if (name := ".".join(pattern[:end])) in table]
        found += [f"{word}: {table[name]}" if table[name] else word for name in names]
    return found


def implemented(pattern: Pattern) -> str | None:
    """`works`, with the values where only some do; None if the key does not."""
    keys: Any = support.ROOT
    for part in pattern:
        keys = keys.get("*" if "*" in keys else part, False)
        if keys is False:
            return None
        if isinstance(keys, frozenset):
            return f"works: {', '.join(sorted(str(value).lower() for value in keys))}"
        if keys is None:
            break
    return "works"


def forms(source: Source) -> str:
    """The shapes of a value, in words."""
    if "enum" in source:
        return ", ".join(f"`{word}`" for word in source["enum"])
    if "description" in source:
        return str(source["description"])
    types = source.get("type", [])
    return " or ".join(NAMES.get(t, t) for t in ([types] if isinstance(types, str) else types))


def shown(pattern: Pattern, root: Pattern, properties_: dict[Pattern, Source]) -> str:
    """`ports[].target`, `depends_on.*.condition`."""
    text = ""
    for end in range(len(root) + 1, len(pattern) + 1):
        part = pattern[end - 1]
        parent = properties_.get(pattern[: end - 1], {})
        is_item = part == "*" and "items" in parent and "patternProperties" not in parent
        text += "[]" if is_item else f".{part}" if text else part
    return text


_COLUMNS = "| attribute | value | here | how it differs |\n|---|---|---|---|\n"


def page() -> str:
    """The whole page."""
    found = every()
    parts = [HEAD]
    for title, root in SECTIONS.items():
        parts.append(f"\n## {title}\n\n{_COLUMNS}")
        for pattern, source in found.items():
            depth = len(root)
            if pattern[:depth] != root or not pattern[depth:] or (not root and len(pattern) > 1):
                continue
            name = shown(pattern, root, found)
            cells = (f"`{name}`", forms(source), "; ".join(states(pattern)) or "?",
                     DIFFERENCES.get(".".join(pattern), ""))  # fmt: skip
            parts.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
