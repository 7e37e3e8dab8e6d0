"""`dataclass`, `field`, `replace`, `asdict` and `fields` of the standard library, without its cost.

The library compiles six methods for each class (0.35 ms) and imports `inspect` (5 ms): 40 ms of
every command that reads a project.  Here the methods are shared: they walk the fields.  The type
checker sees the library itself; what others ask of a class (`__dataclass_fields__`) is made when
somebody asks.  Every class has slots.  Not there, for nobody here uses it: `__post_init__`,
`InitVar`, order.
"""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Missing:
    """Stands where a field has no default."""


MISSING = _Missing()


class Field:
    """What is known of one field."""

    __slots__ = ("compare", "default", "default_factory", "name", "repr", "type")

    def __init__(
        self, default: object, default_factory: object, *, compare: bool, repr: bool
    ) -> None:
        self.name = ""
        self.type = ""
        """The text of the annotation."""
        self.default = default
        self.default_factory = default_factory
        self.compare = compare
        self.repr = repr


def _field(
    *, default: object = MISSING, default_factory: object = MISSING, compare: bool = True,
    repr: bool = True,
) -> Any:  # fmt: skip
    return Field(default, default_factory, compare=compare, repr=repr)


def _dataclass(
    cls: type | None = None, /, *, frozen: bool = False, slots: bool = True, kw_only: bool = False
) -> Any:
    """Makes the class anew with slots and the shared methods."""
    if cls is None:
        return lambda made: _dataclass(made, frozen=frozen, kw_only=kw_only)
    namespace = dict(cls.__dict__)
    inherited = {
        f.name: f for base in reversed(cls.__mro__[1:])
        for f in base.__dict__.get("_dataclass_fields_", ())
    }  # fmt: skip
    found = {
        name: _taken(namespace, name, kind)
        for name, kind in cls.__dict__.get("__annotations__", {}).items()  # noqa: RUF063 (costs 5 ms)
        if not kind.startswith("ClassVar")
    }
    for name in ("__dict__", "__weakref__"):
        namespace.pop(name, None)
    shared = _FROZEN if frozen else _CHANGEABLE
    namespace.update((name, method) for name, method in shared if name not in cls.__dict__)
    namespace["__qualname__"] = cls.__qualname__
    namespace["__slots__"] = tuple(name for name in found if name not in inherited)
    found = {**inherited, **found}
    namespace["__match_args__"] = () if kw_only else tuple(found)
    namespace["_dataclass_fields_"] = tuple(found.values())
    made = type(cls)(cls.__name__, cls.__bases__, namespace)
    made._puts_ = tuple(  # type: ignore[attr-defined]
        (field.name, getattr(made, field.name).__set__, field.default, field.default_factory)
        for field in found.values()
    )
    return made


def _taken(namespace: dict[str, Any], name: str, kind: str) -> Field:
    """The field of that name; its default makes room for the slot."""
    field = namespace.pop(name, MISSING)
    if not isinstance(field, Field):
        field = Field(field, MISSING, compare=True, repr=True)
    field.name, field.type = name, kind
    return field


def _init(self: Any, /, *given: object, **named: Any) -> None:
    cls = type(self)
    if given:
        _name(cls, given, named)
    for name, put, default, factory in cls._puts_:
        if name in named:
            put(self, named.pop(name))
        elif default is not MISSING:
            put(self, default)
        elif factory is not MISSING:
            put(self, factory())
        else:
            raise TypeError(f"{cls.__name__}() lacks {name!r}")
    if named:
        raise TypeError(f"{cls.__name__}() knows no {', '.join(map(repr, named))}")


def _name(cls: Any, given: tuple[object, ...], named: dict[str, Any]) -> None:
    """Adds arguments given by position to those by name."""
    if len(given) > len(cls.__match_args__):
        raise TypeError(f"{cls.__name__}() takes {len(cls.__match_args__)} arguments by position")
    for name, value in zip(cls.__match_args__, given, strict=False):
        if name in named:
            raise TypeError(f"{cls.__name__}() got {name!r} twice")
        named[name] = value


def _repr(self: Any) -> str:
    shown = (f"{f.name}={getattr(self, f.name)!r}" for f in self._dataclass_fields_ if f.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _compared(self: Any) -> tuple[object, ...]:
    return tuple(getattr(self, f.name) for f in self._dataclass_fields_ if f.compare)


def _eq(self: Any, other: object) -> object:
    if type(other) is not type(self):
        return NotImplemented
    return _compared(self) == _compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _refuse(self: object, name: str, value: object = None) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot change {name!r} of {type(self).__name__}")


def _reduce(self: Any) -> tuple[object, ...]:
    """For copy and pickle, which would set the slots of a frozen value."""
    return _again, (type(self), {f.name: getattr(self, f.name) for f in self._dataclass_fields_})


def _again(cls: type, values: Mapping[str, object]) -> object:
    return cls(**values)


def _replace(value: Any, /, **changes: object) -> Any:
    """A copy with other values in these fields."""
    same = {f.name: getattr(value, f.name) for f in value._dataclass_fields_}
    return type(value)(**{**same, **changes})


class _StandardFields:
    """`__dataclass_fields__`: what the standard library and debuggers know a class by."""

    def __get__(self, instance: object, owner: Any) -> dict[str, Any]:
        import dataclasses

        specs = [
            (f.name, f.type, dataclasses.field(
                **{"default": f.default} if f.default is not MISSING else {},
                **{"default_factory": f.default_factory}
                if f.default_factory is not MISSING else {},
                compare=f.compare, repr=f.repr,
            ))
            for f in owner._dataclass_fields_
        ]  # fmt: skip
        twin: Any = dataclasses.make_dataclass(owner.__name__, specs, kw_only=True)
        found: dict[str, Any] = twin.__dataclass_fields__
        return found


_SHARED: tuple[tuple[str, object], ...] = (
    ("__init__", _init), ("__repr__", _repr), ("__eq__", _eq), ("__reduce__", _reduce),
    ("__replace__", _replace), ("__dataclass_fields__", _StandardFields()),
)  # fmt: skip
_CHANGEABLE = (*_SHARED, ("__hash__", None))
_FROZEN = (
    *_SHARED, ("__hash__", _hash), ("__setattr__", _refuse), ("__delattr__", _refuse),
)  # fmt: skip


def _names(of: Any) -> tuple[Field, ...]:
    """The fields of a class or of one of its values."""
    found: tuple[Field, ...] = of._dataclass_fields_
    return found


def _is_dataclass(value: object) -> bool:
    return hasattr(value, "_dataclass_fields_")


def _asdict(value: Any) -> Any:
    """Plain data: a mapping for every such value, also inside lists, tuples and mappings."""
    if hasattr(type(value), "_dataclass_fields_") and not isinstance(value, tuple):
        return {f.name: _asdict(getattr(value, f.name)) for f in value._dataclass_fields_}
    if isinstance(value, list):
        return [_asdict(item) for item in value]
    if type(value) is tuple:
        return tuple(_asdict(item) for item in value)
    if isinstance(value, Mapping):
        return {_asdict(key): _asdict(item) for key, item in value.items()}
    return value


if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
else:
    asdict, dataclass, field, fields = _asdict, _dataclass, _field, _names
    is_dataclass, replace = _is_dataclass, _replace
__all__ = ["asdict", "dataclass", "field", "fields", "is_dataclass", "replace"]
