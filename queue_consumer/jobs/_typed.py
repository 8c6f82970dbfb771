"""Arguments as their annotations have them: what plain JSON cannot say, the signature of the receiver does.

A converter is a function of a value as it came; no annotation that plain JSON can say (`str`, `int`, `list[str]`) has
one, so what is not asked for costs nothing. A value that is already of its type is left alone. Models of msgspec and
pydantic are made by these, which nobody has to have: who annotates with one has it.
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import functools
import inspect
import sys
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Union, cast

__all__ = ["Mismatch", "converter_of", "converters_of"]

Convert = Callable[[Any], Any]


class Mismatch(Exception):
    """A value cannot be made what an annotation says."""


def converters_of(function: Callable[..., object], names: Mapping[str, inspect.Parameter]) -> dict[str, Convert]:
    """The converters of a function's parameters, by name; those without one are left out."""
    hints = hints_of(function, names)
    found = {name: converter_of(hints[name]) for name in names if name in hints}
    for name, parameter in names.items():
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            found.pop(name, None)  # its annotation is that of each of many
    return {name: convert for name, convert in found.items() if convert is not None}


def hints_of(function: Callable[..., object], names: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """The annotations of parameters; one that cannot be found where the function is, is none."""
    plain: Any = inspect.unwrap(function)
    while isinstance(plain, functools.partial):
        plain = plain.func  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not hasattr(plain, "__globals__") and not inspect.ismethod(plain):
        plain = getattr(cast(Any, type(plain)), "__call__", plain)  # noqa: B004 - the thing itself
    try:
        return typing.get_type_hints(plain, include_extras=True)
    except Exception:  # a name that only type checkers import; the other annotations hold all the same
        scope = getattr(plain, "__globals__", {})
        found: dict[str, Any] = {}
        for name, parameter in names.items():
            annotation = parameter.annotation
            if isinstance(annotation, str):
                try:
                    annotation = eval(annotation, scope)  # the source of the program itself, as typing does
                except Exception:
                    continue
            found[name] = annotation
        return found


def converter_of(annotation: Any) -> Convert | None:
    """What makes a value what the annotation says; None if nothing needs to be done."""
    while True:
        if hasattr(annotation, "__value__"):  # type Alias = …
            annotation = annotation.__value__
        elif hasattr(annotation, "__supertype__"):  # NewType
            annotation = annotation.__supertype__
        elif typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        else:
            break
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return of_union(arguments)
    if isinstance(origin, type):
        return of_container(origin, arguments)
    return of_class(annotation) if isinstance(annotation, type) else None


# ---------------------------------------------------------------------- by shape


def of_union(members: tuple[Any, ...]) -> Convert | None:
    converters = [(member, converter_of(member)) for member in members if member is not type(None)]
    if not any(convert for _, convert in converters):
        return None
    plain = tuple(
        kind
        for member, convert in converters
        if convert is None and isinstance(kind := typing.get_origin(member) or member, type)
    )
    optional = len(converters) < len(members)
    makers = [convert for _, convert in converters if convert is not None]

    def convert(value: Any) -> Any:
        if (value is None and optional) or (plain and isinstance(value, plain)):
            return value
        errors: list[str] = []
        for make in makers:
            try:
                return make(value)
            except Mismatch as error:
                errors.append(str(error))
        raise Mismatch(", nor ".join(errors))

    return convert


def of_container(origin: type, arguments: tuple[Any, ...]) -> Convert | None:
    if origin is tuple:
        return of_tuple(arguments)
    if issubclass(origin, collections.abc.Mapping):
        return of_mapping(arguments)
    sets = issubclass(origin, collections.abc.Set)
    if not sets and not (issubclass(origin, collections.abc.Iterable) and len(arguments) == 1):
        return of_class(origin)
    convert = converter_of(arguments[0]) if arguments else None
    make: Any = (frozenset if origin is frozenset else set) if sets else list
    if convert is None and not sets:
        return None

    def collected(value: Any) -> Any:
        items = items_of(value, "a list")
        return make(items if convert is None else map(convert, items))

    return guarded(collected, origin)


def of_tuple(members: tuple[Any, ...]) -> Convert:
    if len(members) == 2 and members[1] is ...:
        each = converter_of(members[0]) or unchanged
        return guarded(lambda value: tuple(map(each, items_of(value, "a list"))), tuple)
    makers = [converter_of(member) or unchanged for member in members]

    def convert(value: Any) -> Any:
        items = items_of(value, "a list")
        if makers and len(items) != len(makers):
            raise Mismatch(f"must have {len(makers)} values; got {len(items)}")
        return tuple(make(item) for make, item in zip(makers, items, strict=True)) if makers else tuple(items)

    return guarded(convert, tuple)


def of_mapping(members: tuple[Any, ...]) -> Convert | None:
    if len(members) != 2:
        return None
    numbers: dict[Any, Convert] = {int: int, float: float}  # JSON has no keys but text
    key = converter_of(members[0]) or numbers.get(members[0])
    value = converter_of(members[1])
    if key is None and value is None:
        return None
    as_key: Convert = key or unchanged
    as_value: Convert = value or unchanged

    def convert(given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise Mismatch(f"must be an object; got {shown(given)}")
        pairs = cast("Mapping[object, Any]", given).items()
        return {as_key(name): as_value(item) for name, item in pairs}

    return guarded(convert, dict)


# ---------------------------------------------------------------------- by class


def of_class(kind: Any) -> Convert | None:
    if kind in SCALARS:
        return typed(kind, SCALARS[kind])
    if kind in (tuple, set, frozenset):
        make: Any = kind
        return guarded(lambda value: make(items_of(value, "a list")), kind)
    if issubclass(kind, enum.Enum):
        return typed(kind, kind)
    model = of_model(kind)
    if model is not None:
        return model
    if dataclasses.is_dataclass(kind):
        return of_dataclass(kind)
    names = dir(kind)
    if issubclass(kind, dict) and "__required_keys__" in names:  # a TypedDict
        return of_typed_dict(kind)
    if issubclass(kind, tuple) and "_fields" in names:  # a NamedTuple
        return of_named_tuple(kind)
    return None


def of_model(kind: Any) -> Convert | None:
    """Of a class of msgspec's or pydantic's; nobody can have made one where they are not loaded."""
    msgspec, pydantic = sys.modules.get("msgspec"), sys.modules.get("pydantic")
    if msgspec is not None and issubclass(kind, msgspec.Struct):
        return typed(kind, lambda value: msgspec.convert(value, kind))
    if pydantic is not None and issubclass(kind, pydantic.BaseModel):
        return typed(kind, kind.model_validate)
    return None


def of_dataclass(kind: Any) -> Convert:
    fields = [field for field in dataclasses.fields(kind) if field.init]
    required = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    converters = LazyConverters(kind)

    def make(value: Any) -> Any:
        if not isinstance(value, dict):
            raise Mismatch(f"must be an object for {kind.__name__}; got {shown(value)}")
        given = cast("dict[str, Any]", value)
        missing = [name for name in required if name not in given]
        if missing:
            raise Mismatch(f"must have {missing[0]!r} for {kind.__name__}")
        return kind(**{f.name: converters.convert(f.name, given[f.name]) for f in fields if f.name in given})

    return typed(kind, make)


def of_typed_dict(kind: Any) -> Convert | None:
    converters = LazyConverters(kind)

    def make(value: Any) -> Any:
        if not isinstance(value, dict):
            raise Mismatch(f"must be an object for {kind.__name__}; got {shown(value)}")
        given = cast("dict[str, Any]", value)
        return {name: converters.convert(name, item) for name, item in given.items()}

    return guarded(make, kind)


def of_named_tuple(kind: Any) -> Convert:
    converters = LazyConverters(kind)

    def make(value: Any) -> Any:
        items = items_of(value, "a list")
        return kind(*(converters.convert(name, item) for name, item in zip(kind._fields, items, strict=False)))

    return typed(kind, make)


class LazyConverters:
    """The converters of a class's fields, looked up when the first value comes: a class may name itself in them."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._found: dict[str, Convert | None] | None = None

    def convert(self, name: str, value: Any) -> Any:
        if self._found is None:
            try:
                hints = typing.get_type_hints(self._kind, include_extras=True)
            except Exception:  # as for functions: what only type checkers know is not converted
                hints = {}
            self._found = {field: converter_of(hint) for field, hint in hints.items()}
        convert = self._found.get(name)
        if convert is None:
            return value
        try:
            return convert(value)
        except Mismatch as error:
            raise Mismatch(f"with {name!r} that {error}") from error


# ---------------------------------------------------------------------- values


def typed(kind: Any, make: Convert) -> Convert:
    """A converter that leaves alone what is of its class already."""

    def convert(value: Any) -> Any:
        return value if isinstance(value, kind) else make(value)

    return guarded(convert, kind)


def guarded(convert: Convert, kind: Any) -> Convert:
    """Whatever goes wrong in it is a mismatch, in a sentence."""

    def safe(value: Any) -> Any:
        try:
            return convert(value)
        except Mismatch:
            raise
        except Exception as error:  # a class of the user's may raise anything
            raise Mismatch(f"cannot be made a {kind.__name__} of {shown(value)}: {error}") from error

    return safe


def unchanged(value: Any) -> Any:
    return value


def items_of(value: Any, what: str) -> list[Any]:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise Mismatch(f"must be {what}; got {shown(value)}")
    return list(cast("list[Any]", value))


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Mismatch(f"must be text; got {shown(value)}")
    return value


def shown(value: Any) -> str:
    """What was given, by its type: errors are logged, and what is in a job is nobody's business."""
    return f"a value of type {type(value).__name__}"


def decimal_of(value: Any) -> decimal.Decimal:
    number = decimal.Decimal(str(value) if isinstance(value, float) else value)
    if not number.is_finite():
        raise Mismatch("must be a finite number")
    return number


def bytes_of(value: Any) -> bytes:
    try:
        return base64.b64decode(text(value), validate=True)
    except (binascii.Error, ValueError):
        raise Mismatch("must be text in base64") from None


SCALARS: dict[type, Convert] = {
    datetime.datetime: lambda value: datetime.datetime.fromisoformat(text(value)),
    datetime.date: lambda value: datetime.date.fromisoformat(text(value)),
    datetime.time: lambda value: datetime.time.fromisoformat(text(value)),
    datetime.timedelta: lambda value: datetime.timedelta(seconds=value),
    decimal.Decimal: decimal_of,
    uuid.UUID: lambda value: uuid.UUID(text(value)),
    bytes: bytes_of,
}
