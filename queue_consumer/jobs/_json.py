"""Jobs in JSON: nothing in a message can make it run anything.

What plain JSON can say is written as plain JSON, content type `json`, which anybody reads. What it cannot say
(dates, decimals, UUIDs, bytes, sets, keys that are no text) is written as an object of one name that begins with `$`,
content type `json-tagged`, and comes back as it was. Dataclasses, enums and models are written as the plain data that
they are made of, and come back by the annotations of the function that receives them: a message names no class.

Reading is strict: what could be understood in two ways, or would cost more than it may, is refused.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast

from ._errors import BadMessage
from ._letter import Written

__all__ = ["DEPTH", "Json"]

DEPTH = 100  # of lists and objects in each other; more is an attack, or a mistake
DIGITS = 4300  # of a number: Python's own limit, which a program may have lifted
PLAIN, TAGGED = "json", "json-tagged"


class Json:
    """The codec `json`.

    What is not said here comes back as JSON has it: a tuple as a list, a dataclass as a dict. NaN and infinity are
    refused, both ways; so are, in what comes, two equal names in one object, numbers of more than 4,300 digits, and
    more than 100 levels.
    """

    reads: tuple[str, ...] = (PLAIN, TAGGED)

    def __repr__(self) -> str:
        return "Json()"

    def encode(self, job: str, arguments: Any, context: Mapping[str, Any]) -> Written:
        typed = False
        kind = PLAIN
        if not (is_plain(arguments, DEPTH) and is_plain(context, DEPTH)):
            writer = Lowering()
            arguments, context = writer.lower(arguments, DEPTH), writer.lower(context, DEPTH)
            typed = writer.typed
            kind = TAGGED if writer.tagged else PLAIN
        try:
            return Written(kind, json.dumps(arguments, allow_nan=False), json.dumps(context, allow_nan=False), typed)
        except ValueError as error:
            raise ValueError(f"the arguments of job {job!r} cannot be written in JSON: {error}") from None

    def decode(self, job: str, content_type: str, body: str, context: str) -> tuple[Any, Any]:
        arguments = parsed(body)
        values: Any = {} if context == "{}" or not context else parsed(context)
        if content_type == TAGGED:
            try:
                arguments, values = raised(arguments), raised(values)
            except BadMessage:
                raise
            except Exception as error:
                raise BadMessage(f"a tagged value in the message cannot be read: {error}") from error
        return arguments, values


# ---------------------------------------------------------------------- writing


def is_plain(value: Any, levels: int) -> bool:
    """Whether JSON says just this."""
    kind = cast(Any, type(value))
    if kind is str or kind is int or kind is float or kind is bool or value is None:
        return True
    if levels <= 0:
        raise ValueError(f"the arguments of a job must have at most {DEPTH} levels of lists and objects")
    if kind is dict:
        pairs = value.items()
        return all(type(name) is str and is_plain(item, levels - 1) for name, item in pairs)
    return kind is list and all(is_plain(item, levels - 1) for item in value)


class Lowering:
    """Makes plain data of what is not.

    Attributes:
        tagged: some of it is tagged.
        typed: some of it comes back only by annotations.
    """

    def __init__(self) -> None:
        self.tagged = False
        self.typed = False

    def lower(self, value: Any, levels: int) -> Any:
        kind = cast(Any, type(value))
        if kind is str or kind is int or kind is float or kind is bool or value is None:
            return value
        if levels <= 0:
            raise ValueError(f"the arguments of a job must have at most {DEPTH} levels of lists and objects")
        if isinstance(value, enum.Enum):
            self.typed = True
            return self.lower(value.value, levels - 1)
        write = WRITERS.get(kind)
        if write is not None:
            self.tagged = True
            tag, content = write(value)
            parts: Any = content
            return {tag: [self.lower(one, levels - 1) for one in parts] if isinstance(content, list) else content}
        if isinstance(value, Mapping):
            return self.lower_mapping(cast("Mapping[object, Any]", value), levels)
        if isinstance(value, (list, tuple)):
            self.typed = self.typed or hasattr(kind, "_fields")
            return [self.lower(item, levels - 1) for item in cast("list[Any]", value)]
        plain = self.lower_model(value, levels)
        if plain is not None:
            return plain
        for base in (bool, str, int, float, datetime.datetime, datetime.date, bytes):
            if isinstance(value, base):  # of a class of its own, and comes back as what that is
                return self.lower(lowered_to(base, value), levels)
        raise TypeError(
            f"a value of type {kind.__qualname__} has no form in JSON: send what it is made of (its id, its fields), "
            "or name another codec in Jobs(codec=...)"
        )

    def lower_mapping(self, value: Mapping[object, Any], levels: int) -> Any:
        if any(type(name) is not str for name in value):
            self.tagged = True
            pairs = [[self.lower(k, levels - 1), self.lower(item, levels - 1)] for k, item in value.items()]
            return {"$map": pairs}
        plain = {str(name): self.lower(item, levels - 1) for name, item in value.items()}
        if len(plain) == 1 and next(iter(plain)).startswith("$"):  # not to be taken for a tag
            self.tagged = True
            return {"$is": plain}
        return plain

    def lower_model(self, value: Any, levels: int) -> Any:
        """The plain data of a dataclass or model; None if it is none."""
        msgspec, pydantic = sys.modules.get("msgspec"), sys.modules.get("pydantic")
        if msgspec is not None and isinstance(value, msgspec.Struct):
            plain: Any = msgspec.to_builtins(value)
        elif pydantic is not None and isinstance(value, pydantic.BaseModel):
            plain = value.model_dump(mode="json")
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            plain = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        else:
            return None
        self.typed = True
        return self.lower(plain, levels - 1)


def lowered_to(base: Any, value: Any) -> Any:
    if base is datetime.datetime:
        return datetime.datetime.fromisoformat(datetime.datetime.isoformat(value))
    if base is datetime.date:
        return datetime.date(value.year, value.month, value.day)
    return base(value) if base is not str else str.__str__(value)


def finite(value: decimal.Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"a Decimal in the arguments of a job must be finite; got {value}")
    return str(value)


WRITERS: dict[type, Callable[[Any], tuple[str, Any]]] = {
    datetime.datetime: lambda value: ("$datetime", value.isoformat()),
    datetime.date: lambda value: ("$date", value.isoformat()),
    datetime.time: lambda value: ("$time", value.isoformat()),
    datetime.timedelta: lambda value: ("$timedelta", [value.days, value.seconds, value.microseconds]),
    decimal.Decimal: lambda value: ("$decimal", finite(value)),
    uuid.UUID: lambda value: ("$uuid", str(value)),
    bytes: lambda value: ("$bytes", base64.b64encode(value).decode()),
    bytearray: lambda value: ("$bytes", base64.b64encode(value).decode()),
    set: lambda value: ("$set", list(value)),
    frozenset: lambda value: ("$frozenset", list(value)),
}


# ---------------------------------------------------------------------- reading


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadMessage("the message has an object with two equal names, which readers understand in different ways")
    return found


def no_constant(name: str) -> NoReturn:
    raise BadMessage(f"the message has the number {name}, which is none in JSON")


def whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise BadMessage(f"the message has a number of {len(digits)} digits, and {DIGITS} are allowed")
    return int(digits)


def fraction(digits: str) -> float:
    if len(digits) > DIGITS:
        raise BadMessage(f"the message has a number of {len(digits)} digits, and {DIGITS} are allowed")
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise BadMessage("the message has a number that is too large for a float")
    return number


guarded = json.JSONDecoder(object_pairs_hook=unique, parse_constant=no_constant, parse_float=fraction)
lifted = json.JSONDecoder(object_pairs_hook=unique, parse_constant=no_constant, parse_float=fraction, parse_int=whole)
# What is left of a decoder without its looking for blanks, which nobody writes around a job.
scan_guarded: Callable[[str, int], tuple[Any, int]] = cast(Any, guarded).scan_once
scan_lifted: Callable[[str, int], tuple[Any, int]] = cast(Any, lifted).scan_once
digits_allowed = sys.get_int_max_str_digits


def parsed(text: Any) -> Any:
    """What the text says.

    Raises:
        BadMessage: it is no JSON, or more than may be.
    """
    if type(text) is not str:
        text = as_text(text)
    # Python itself guards against huge numbers, and for less; unless the program has told it not to.
    guard = 0 < digits_allowed() <= DIGITS
    value: Any = None
    try:
        try:
            value, end = (scan_guarded if guard else scan_lifted)(text, 0)
        except StopIteration:
            end = -1
        if end != len(text):  # blanks around it, or something else, or nothing
            value = (guarded if guard else lifted).decode(text)
    except BadMessage:
        raise
    except RecursionError:
        raise BadMessage(too_deep()) from None
    except ValueError as error:
        where = f" at position {error.pos}: {error.msg}" if isinstance(error, json.JSONDecodeError) else f": {error}"
        raise BadMessage(f"the message cannot be read as JSON{where}") from None
    if len(text) > DEPTH and text.count("[") + text.count("{") > DEPTH and is_deeper(value, DEPTH):
        raise BadMessage(too_deep())
    return value


def as_text(text: Any) -> str:
    if not isinstance(text, (bytes, str)):
        raise BadMessage(f"the message must be text; got a value of type {type(text).__name__}")
    try:
        return text.decode() if isinstance(text, bytes) else str(text)
    except UnicodeDecodeError:
        raise BadMessage("the body of the message must be text in UTF-8") from None


def too_deep() -> str:
    return f"the message has more than {DEPTH} levels of lists and objects"


def is_deeper(value: Any, levels: int) -> bool:
    waiting: list[tuple[Any, int]] = [(value, levels)]
    while waiting:
        found, left = waiting.pop()
        if isinstance(found, (dict, list)):
            if left <= 0:
                return True
            inside: Any = found.values() if isinstance(found, dict) else found  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            waiting += [(item, left - 1) for item in inside]
    return False


def raised(value: Any) -> Any:
    """What tagged data stands for."""
    if isinstance(value, list):
        return [raised(item) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    given = cast("dict[str, Any]", value)
    if len(given) == 1:
        (name,) = given
        if name == "$is":
            inner: Any = given[name]
            return {key: raised(item) for key, item in inner.items()}
        if name.startswith("$"):
            read = READERS.get(name)
            if read is None:
                raise BadMessage(f"the message has a value with the tag {name[:30]!r}, which is not known here")
            return read(raised(given[name]))
    return {key: raised(item) for key, item in given.items()}


READERS: dict[str, Callable[[Any], Any]] = {
    "$datetime": datetime.datetime.fromisoformat,
    "$date": datetime.date.fromisoformat,
    "$time": datetime.time.fromisoformat,
    "$timedelta": lambda value: datetime.timedelta(*value),
    "$decimal": lambda value: decimal.Decimal(value),
    "$uuid": uuid.UUID,
    "$bytes": lambda value: base64.b64decode(value, validate=True),
    "$set": set,
    "$frozenset": frozenset,
    "$map": dict,
}
