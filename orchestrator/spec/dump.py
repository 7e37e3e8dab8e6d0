"""Project -> text: the `config` command.  YAML is written here, not by PyYAML: the quoting is
that of the reference, and `config` needs no library.
"""

from __future__ import annotations

import re
from typing import Any

from orchestrator.spec import values, yaml
from orchestrator.spec.model import Project
from orchestrator.spec.printed import Date, Keyed, Shown, printed, raw

_OLD_BOOLEANS = frozenset(
    word
    for lower in ("y", "n", "yes", "no", "on", "off")
    for word in (lower, lower.capitalize(), lower.upper())
)
LONGEST_KEY = 128
"""Characters of a key that needs no `?` before it; a parser looks no farther than 1024 for the
colon, and the reference's emitter stops here."""
WHOLE = 1e21
"""From here on Go's JSON, the reference's, writes whole numbers with an exponent."""
_SEXAGESIMAL = r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"


def text(project: Project, shown: Shown) -> str:
    """The project as YAML or JSON, with a newline at the end."""
    data = raw(project, shown) if shown.is_raw else _escaped(printed(project, shown))
    return data_text(_for_json(data, top=True) if shown.as_json else data, as_json=shown.as_json)


def to_yaml(project: Project) -> str:
    """The canonical model as YAML, with a newline at the end."""
    return text(project, Shown(as_json=False))


def to_json(project: Project) -> str:
    """The canonical model as JSON, indented by two, with a newline at the end."""
    return text(project, Shown(as_json=True))


def data_text(data: dict[str, Any], *, as_json: bool) -> str:
    """Any JSON data as JSON indented by two or as YAML, with a newline at the end.  In JSON what
    YAML takes for the end of a line is escaped, so that it reads back as itself."""
    if not as_json:
        return yaml_text(data) if data else "{}\n"
    import json

    text = json.dumps(data, indent=2, ensure_ascii=False)
    return re.sub("[\x85\u2028\u2029]", lambda c: f"\\u{ord(c[0]):04x}", text) + "\n"


def yaml_text(data: dict[str, Any]) -> str:
    """Any JSON data as YAML that reads back as itself."""
    lines: list[str] = []
    _mapping(data, "", lines)
    return "\n".join(lines) + "\n"


def _escaped(value: Any) -> Any:
    """Every `$` doubled, so that the output reads back as itself."""
    if isinstance(value, str):
        return value.replace("$", "$$") if "$" in value else value
    if isinstance(value, dict):
        return type(value)({_escaped(key): _escaped(child) for key, child in value.items()})
    if isinstance(value, list):
        return [_escaped(child) for child in value]
    return value


def _for_json(value: Any, *, top: bool = False) -> Any:
    """User's keys sorted by code point; `x-` keys of structures are not shown in JSON.  A whole
    number is written as one."""
    if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE:
        return int(value)
    if isinstance(value, Keyed):
        return {key: _for_json(value[key]) for key in sorted(value)}
    if isinstance(value, dict):
        return {
            key: _for_json(child)
            for key, child in value.items() if top or not key.startswith("x-")
        }  # fmt: skip
    return [_for_json(child) for child in value] if isinstance(value, list) else value


def natural(key: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts as the reference's YAML does: signs, then numbers by value, then letters; but a letter
    right behind a number comes first."""
    found: list[tuple[int, int, str]] = []
    behind_number = False
    for part in re.findall(r"[0-9]+|[^0-9]", key):
        is_number = part.isascii() and part.isdecimal()
        if is_number:
            found.append((1, int(part[:300]), f"{len(part):05}"))
        else:
            letter = 0 if behind_number else 2
            found.append((letter if part.isalpha() else 1, -1, part))
        behind_number = is_number
    return tuple(found)


def _mapping(data: dict[str, Any], indent: str, lines: list[str]) -> None:
    entries = data.items()
    for key, value in sorted(entries, key=_by_key) if isinstance(data, Keyed) else entries:
        written = _scalar(key, indent)
        if len(written) > LONGEST_KEY or "\n" in written:
            lines.append(f"{indent}? {written}")
            written = ""
        _entry(f"{indent}{written}:", value, indent, lines)


def _by_key(entry: tuple[str, Any]) -> tuple[tuple[int, int, str], ...]:
    return natural(entry[0])


def _entry(start: str, value: Any, indent: str, lines: list[str]) -> None:
    if isinstance(value, dict) and value:
        lines.append(start)
        _mapping(value, indent + "  ", lines)
    elif isinstance(value, list) and value:
        lines.append(start)
        _sequence(value, indent + "  ", lines)
    else:
        lines.append(f"{start} {_scalar(value, indent)}")


def _sequence(data: list[Any], indent: str, lines: list[str]) -> None:
    for item in data:
        if isinstance(item, dict | list) and item:
            at = len(lines)
            write: Any = _mapping if isinstance(item, dict) else _sequence
            write(item, indent + "  ", lines)
            lines[at] = f"{indent}- {lines[at][len(indent) + 2 :]}"
        else:
            lines.append(f"{indent}- {_scalar(item, indent)}")


def _scalar(value: Any, indent: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return values.format_scalar(value)
    if isinstance(value, str):
        return value if isinstance(value, Date) else _text(value, indent)
    return "{}" if isinstance(value, dict) else "[]"


def _text(text: str, indent: str) -> str:
    if not isinstance(yaml.resolve(text), str) or text in ("<<", "="):
        return _double(text)
    if text in _OLD_BOOLEANS or re.fullmatch(_SEXAGESIMAL, text) or _looks_like_date(text):
        return _double(text)
    if "\n" in text:
        return _literal(text, indent)
    if not _is_shown(text, "\t"):
        return _double(text)
    return text if _is_plain(text) else "'" + text.replace("'", "''") + "'"


def _looks_like_date(text: str) -> bool:
    return text[:4].isdecimal() and text[4:5] == "-" and yaml.resolve(text) != text


def _is_plain(text: str) -> bool:
    if text[0] in "#,[]{}&*!|>'\"%@`" or (text[0] in "-?:" and text[1:2] in ("", " ", "\t")):
        return False
    if text != text.strip() or text[:3] in ("---", "..."):
        return False
    return not (": " in text or " #" in text or text.endswith(":") or "\t" in text)


def _is_shown(text: str, also: str) -> bool:
    """Whether no character needs an escape: the reference escapes all above U+FFFF."""
    if text.isascii() and text.isprintable():
        return True
    return all((c.isprintable() and c <= "\uffff") or c in also for c in text)


def _double(text: str) -> str:
    parts = ['"']
    for character in text:
        if character in '"\\':
            parts.append("\\" + character)
        elif character in _ESCAPES:
            parts.append(_ESCAPES[character])
        elif _is_shown(character, ""):
            parts.append(character)
        else:
            code = ord(character)
            form = "\\x%02X" if code < 0x100 else "\\u%04X" if code < 0x10000 else "\\U%08X"
            parts.append(form % code)
    return "".join([*parts, '"'])


_ESCAPES = {
    "\0": "\\0", "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f",
    "\r": "\\r", "\x1b": "\\e", "\x85": "\\N", "\xa0": "\\_", "\u2028": "\\L", "\u2029": "\\P",
}  # fmt: skip


def _literal(text: str, indent: str) -> str:
    if not _is_shown(text, "\n\t"):
        return _double(text)
    body = text.rstrip("\n")
    kept = len(text) - len(body)
    chomp = "-" if kept == 0 else "" if kept == 1 and body else "+"
    hint = "2" if text[0] in " \n" else ""
    lines = body.split("\n") + [""] * max(0, kept - 1)
    return f"|{hint}{chomp}\n" + "\n".join(f"{indent}  {line}" if line else "" for line in lines)
