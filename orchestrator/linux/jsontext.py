"""JSON without the `json` package, which costs 5-8 ms at start because it imports `re`.

Uses the C scanner and encoder that lie beneath it (`_json`, CPython 3.11 to 3.14), and the package
itself where they are missing.  Knows nothing of what is said in JSON.
"""

from __future__ import annotations

try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner
except ImportError:  # another Python than CPython
    make_scanner = make_encoder = None  # type: ignore[assignment,misc]


class _Syntax:
    """What the scanner wants to know; the names are its own."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> object:
        raise ValueError(f"{name} is not JSON")


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


_scan = None if make_scanner is None else make_scanner(_Syntax())  # type: ignore[arg-type]


def decode(text: str | bytes) -> object:
    """The value; ValueError for anything that is not one JSON value (NaN and the like are not)."""
    try:
        if isinstance(text, bytes):
            text = text.decode()
        text = text.strip(" \t\r\n")
        if _scan is None:
            return _decode_slowly(text)
        value, end = _scan(text, 0)
    except StopIteration as exc:
        raise ValueError(f"no JSON value at offset {exc.value}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (ImportError, SystemError):  # the scanner looks for json.decoder.JSONDecodeError in vain
        raise ValueError("not JSON") from None
    if end != len(text):
        raise ValueError(f"something follows the JSON value at offset {end}")
    return value


def encode(value: object) -> str:
    """One line of ASCII without spaces; TypeError for what JSON has no word for."""
    if make_encoder is None:
        return _encode_slowly(value)
    # The first argument is where it notes what it is inside of, hence a new encoder each time.
    walk = make_encoder({}, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)
    try:
        return "".join(walk(value, 0))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _decode_slowly(text: str) -> object:
    import json

    return json.loads(text, parse_constant=_Syntax.parse_constant)


def _encode_slowly(value: object) -> str:
    import json

    return json.dumps(value, separators=(",", ":"), allow_nan=False)
