"""Plain mappings as text and bytes: JSON, BSON, and JSON in zlib; each bounded on the way back.

JSON has fewer types than Python. What it lacks is written so that patterns read it as what it was: moments in ISO 8601,
`Decimal` and `UUID` as text, sets as lists, bytes in base64. BSON knows moments (to the millisecond), bytes, UUIDs and
`Decimal`.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import enum
import importlib
import json
import re
import zlib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from ._errors import DecodingError, EncodingError, NotInstalled, shown
from ._values import is_mapping

__all__ = [
    "LARGEST",
    "NotJson",
    "from_base64",
    "from_bson",
    "from_json",
    "from_zlib_json",
    "to_base64",
    "to_bson",
    "to_json",
    "to_zlib_json",
]

LARGEST = 16 * 1024 * 1024  # bytes that a body may be when it is unpacked
NOT_EVERYWHERE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")  # characters that XML lacks, or SQS


class NotJson(DecodingError):
    """It is not JSON at all."""


# ---------------------------------------------------------------------- JSON


def to_json(data: Mapping[str, Any]) -> str:
    """The mapping as JSON: short, and in characters that may be sent anywhere.

    Raises:
        EncodingError: there is something in it that JSON has no words for, such as NaN.
    """
    try:
        text = json.dumps(data, default=in_words, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        if NOT_EVERYWHERE.search(text):
            text = json.dumps(data, default=in_words, allow_nan=False, separators=(",", ":"))
        return text
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodingError(f"the payload cannot be written as JSON: {error}") from error


def in_words(value: Any) -> Any:
    """What stands for a value of a type that JSON does not have."""
    match value:
        case datetime.date() | datetime.time():
            return value.isoformat()
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"{value} is no number of JSON's")
            return str(value)
        case UUID():
            return str(value)
        case enum.Enum():
            return value.value
        case bytes() | bytearray():
            return to_base64(bytes(value))
        case set() | frozenset():
            return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case _ if is_mapping(value):
            return dict(value)
        case _:
            raise TypeError(f"{shown(value)} is of no type that can be written")


def refuse_constant(name: str) -> Any:
    raise NotJson(f"{name} is not JSON")


def from_json(text: str | bytes) -> Any:
    """What JSON text says; `NaN` and `Infinity` are not JSON.

    Raises:
        NotJson: it is not JSON.
        DecodingError: it is, but nested too deeply, or with numbers that are too long.
    """
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except NotJson:
        raise
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NotJson(f"it is not JSON: {error}") from error
    except RecursionError:
        raise DecodingError("it is JSON nested too deeply to be read") from None
    except ValueError as error:
        raise DecodingError(f"it is JSON that cannot be read: {error}") from error


# ---------------------------------------------------------------------- bytes as text


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """The bytes that standard base64 stands for, with nothing in between.

    Raises:
        DecodingError: it is not base64.
    """
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodingError(f"it is not base64: {error}") from error


# ---------------------------------------------------------------------- JSON in zlib


def to_zlib_json(data: Mapping[str, Any]) -> bytes:
    """The mapping as JSON, compressed: the shortest form for all but the smallest payloads.

    Raises:
        EncodingError: there is something in it that JSON has no words for.
    """
    return zlib.compress(to_json(data).encode("utf-8"), 9)


def from_zlib_json(data: bytes, largest: int = LARGEST) -> Any:
    """What JSON in zlib says.

    Raises:
        DecodingError: it is no such thing, or more than `largest` bytes when it is unpacked.
    """
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(data, largest)
    except zlib.error as error:
        raise DecodingError(f"it is not zlib's: {error}") from error
    if not unpacking.eof:
        why = f"it is more than {largest:,} bytes" if unpacking.unconsumed_tail else "its end is missing"
        raise DecodingError(f"it cannot be unpacked: {why}")
    if unpacking.unused_data:
        raise DecodingError("it cannot be unpacked: something follows its end")
    return from_json(text)


# ---------------------------------------------------------------------- BSON


@cache
def library() -> tuple[Any, Any]:
    """pymongo's bson, and how we use it: moments with zones, UUIDs as such, `Decimal` for its Decimal128."""
    try:
        bson: Any = importlib.import_module("bson")
        options: Any = importlib.import_module("bson.codec_options")
        decimal128: Any = importlib.import_module("bson.decimal128")
        binary: Any = importlib.import_module("bson.binary")
    except ImportError as error:
        raise NotInstalled("BSON needs pymongo: pip install 'queue-consumer[bson]'") from error

    class AsDecimal(options.TypeCodec):  # type: ignore[misc]  # whatever class the library has
        python_type = Decimal
        bson_type = decimal128.Decimal128

        def transform_python(self, value: Any) -> Any:
            return decimal128.Decimal128(value)

        def transform_bson(self, value: Any) -> Any:
            return value.to_decimal()

    def fallback(value: Any) -> Any:
        return in_words(value)

    registry = options.TypeRegistry([AsDecimal()], fallback_encoder=fallback)
    return bson, options.CodecOptions(
        tz_aware=True, uuid_representation=binary.UuidRepresentation.STANDARD, type_registry=registry
    )


def to_bson(data: Mapping[str, Any]) -> bytes:
    """The mapping as BSON.

    Raises:
        EncodingError: there is something in it that BSON has no words for, such as a very long number.
        NotInstalled: it needs the extra `bson`.
    """
    bson, options = library()
    try:
        encoded: bytes = bson.encode(data, codec_options=options)
        return encoded
    except Exception as error:  # of whatever kind the library finds fitting
        raise EncodingError(f"the payload cannot be written as BSON: {error}") from error


def looks_like_bson(data: bytes) -> bool:
    """Whether these bytes say of themselves how many they are, and end as a document does."""
    return len(data) >= 5 and int.from_bytes(data[:4], "little") == len(data) and data[-1] == 0


def from_bson(data: bytes) -> dict[str, Any]:
    """The document that BSON says.

    Raises:
        DecodingError: it is not BSON.
        NotInstalled: it needs the extra `bson`.
    """
    if not looks_like_bson(data):
        raise DecodingError("it is not BSON: its length is not what it says, or its end is missing")
    bson, options = library()
    try:
        return dict(bson.decode(data, codec_options=options))
    except Exception as error:  # of whatever kind the library finds fitting
        raise DecodingError(f"it is not BSON: {error}") from error
