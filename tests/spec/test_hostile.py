"""Whatever a file says, `load` gives a project or a SpecError with places; nothing else escapes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.spec import dump, hashing, schema
from orchestrator.spec.load import LoadOptions, load
from orchestrator.spec.select import select

SCHEMA = json.loads(Path(schema.schema_path()).read_text())


TEXTS = st.sampled_from([
    "", "a", "b", "s", "1", "-1", "0", "80:80", "1-3:1-3", "./x:/y", "vol:/z:ro", "1g", "5s",
    "true", "no", "A=1", "A", "=", "h=1.1.1.1", "service:b", "$A", "${A:?x}", "a b 'c", "/abs", "~",
    "CMD", "10.0.0.0/8", "on-failure:3", "bridge", "tmpfs", "bind", "\0", "é", "9" * 21,
])  # fmt: skip
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS, "boolean": st.booleans(), "integer": st.integers(-3, 70000),
    "number": st.integers(-3, 70000) | st.floats(), "null": st.none(),
}  # fmt: skip
NAMES = st.sampled_from(["a", "b", "s", "default", "vol", "nofile"])


def shaped(node: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that this part of the schema accepts, and now and then one that it does not."""
    if not isinstance(node, dict) or depth > 9:
        return TEXTS
    if "$ref" in node:
        return shaped(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], depth)
    if "enum" in node:
        return st.sampled_from(node["enum"])
    types = node.get("type", "string")
    choices = [_of_type(kind, node, depth) for kind in ([types] if isinstance(types,
        str) else types)]
    return st.one_of(*choices)


def _of_type(kind: str, node: Any, depth: int) -> st.SearchStrategy[Any]:
    if kind == "array":
        return st.lists(shaped(node.get("items"), depth + 1), max_size=3)
    if kind != "object":
        return KINDS[kind]
    known = {key: shaped(child, depth + 1) for key, child in node.get("properties", {}).items()}
    named = [child for key, child in node.get("patternProperties", {}).items() if key != "^x-"]
    if named or not known:
        return st.dictionaries(NAMES, shaped((named or [node.get("additionalProperties")])[0],
            depth + 1),
                               max_size=2)  # fmt: skip
    required = {key: known.pop(key) for key in node.get("required", ())}
    chosen = st.lists(st.sampled_from(sorted(known)), max_size=5,
        unique=True) if known else st.just([])
    return chosen.flatmap(
        lambda keys: st.fixed_dictionaries({**required, **{key: known[key] for key in keys}})
    )


FILES = st.deferred(lambda: st.fixed_dictionaries(
    {"services": shaped(SCHEMA["properties"]["services"])},
    optional={key: shaped(SCHEMA["properties"][key]) for key in
              ("networks", "volumes", "secrets", "configs", "include", "models")},
))  # fmt: skip


@given(tree=FILES, other=FILES, lenient=st.booleans())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_tree_is_a_project_or_refused_with_a_place(
    tmp_path: Path, tree: object, other: object, lenient: bool
) -> None:
    text = f"{json.dumps(tree)}\n---\n{json.dumps(other)}\n"
    options = LoadOptions(
        files=("-",), stdin=io.BytesIO(text.encode()), cwd=str(tmp_path), lenient=lenient,
        project_name="p",
    )  # fmt: skip
    try:
        project = select(load(options), [], with_dependencies=True)
    except SpecError as exc:
        if not all(message for _, message, _ in exc.problems):
            raise
        return
    dump.to_yaml(project)
    dump.to_json(project)
    for service in project.services.values():
        json.dumps(hashing.config_tree(service), allow_nan=False)
