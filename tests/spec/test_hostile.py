"""Whatever a file says, `load` gives a project or a SpecError with places; nothing else escapes."""

from __future__ import annotations

import io
import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from orchestrator.errors import SpecError
from orchestrator.spec import dump, hashing, schema
from orchestrator.spec.load import LoadOptions, load
from orchestrator.spec.select import select
from tests.spec import documents

SCHEMA = json.loads(Path(schema.schema_path()).read_text())


FILES = documents.files(SCHEMA)


@given(tree=FILES, other=FILES)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_tree_is_a_project_or_refused_with_a_place(
    tmp_path: Path, tree: object, other: object
) -> None:
    text = f"{json.dumps(tree)}\n---\n{json.dumps(other)}\n"
    options = LoadOptions(
        files=("-",), stdin=io.BytesIO(text.encode()), cwd=str(tmp_path),
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
