"""`--format` of lists: table, `table TEMPLATE`, json, raw, or a Go template, one row each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.cli import table
from orchestrator.errors import UsageError

Row = Mapping[str, Any]
"""The fields of a row as `--format json` has them."""

_HEADS = {"ID": "CONTAINER ID", "RunningFor": "CREATED", "CreatedAt": "CREATED AT",
          "ConfigFiles": "CONFIG FILES", "LocalVolumes": "LOCAL VOLUMES",
          "ExitCode": "EXIT CODE", "Names": "NAMES"}  # fmt: skip


def is_template(form: str) -> bool:
    """Whether it is neither of the words that commands know themselves."""
    return form not in ("", "table", "json", "raw", "pretty", "yaml")


def lines(form: str, rows: Sequence[Row], *, least: int = 10) -> list[str]:
    """The rows by a template, `table TEMPLATE`, or as `raw`: `name: value`, an empty line after
    each.  UsageError where the template is wrong, also if there is no row."""
    from orchestrator.cli.gotemplate import Template  # 10 ms: only who asks pays

    if form == "raw":
        return [line for row in rows for line in (*_raw(row), "")]
    is_table = form.startswith("table ")
    text = _escaped(form.removeprefix("table ") if is_table else form)
    if "{{" not in text:
        raise UsageError(f'format value "{form}" could not be parsed',
                         hint="table, json, or a template such as {{.Name}}")
    template = Template(text)
    found = [template.render(row) for row in rows]
    if not is_table:
        return found
    heads = [_head(name) for name in template.fields()]
    cells = [line.split("\t") for line in found]
    width = max([len(heads), *map(len, cells)])
    padded = [[*row, *[""] * (width - len(row))] for row in (heads, *cells)]
    return table.table(padded[0], padded[1:], least=least)


def _escaped(text: str) -> str:
    r"""`\t` and `\n` as a shell passes them."""
    return text.replace("\\t", "\t").replace("\\n", "\n")


def _head(name: str) -> str:
    return _HEADS.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).upper()


def _raw(row: Row) -> list[str]:
    return [
        f"{name}: {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in row.items() if not callable(value)
    ]
