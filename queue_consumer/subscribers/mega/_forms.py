"""A payload as text and bytes."""

from __future__ import annotations

from .. import _forms as forms
from ._model import Payload
from ._schema import deserialize_payload, serialize_payload

__all__ = ["from_bson", "from_json", "from_zlib_json", "to_bson", "to_json", "to_zlib_json"]


def to_json(payload: Payload) -> str:
    """The payload as JSON.

    Raises:
        EncodingError: there is something in it that JSON has no words for.
    """
    return forms.to_json(serialize_payload(payload))


def from_json(text: str | bytes) -> Payload:
    """The payload that JSON says.

    Raises:
        DecodingError: it is not JSON; if that is a `SchemaError`, it is no MEGA event.
    """
    return deserialize_payload(forms.from_json(text))


def to_bson(payload: Payload) -> bytes:
    """The payload as BSON, for which the extra `bson` is needed.

    Raises:
        EncodingError: there is something in it that BSON has no words for.
    """
    return forms.to_bson(serialize_payload(payload))


def from_bson(data: bytes) -> Payload:
    """The payload that BSON says.

    Raises:
        DecodingError: it is not BSON; if that is a `SchemaError`, it is no MEGA event.
    """
    return deserialize_payload(forms.from_bson(data))


def to_zlib_json(payload: Payload) -> bytes:
    """The payload as JSON, compressed.

    Raises:
        EncodingError: there is something in it that JSON has no words for.
    """
    return forms.to_zlib_json(serialize_payload(payload))


def from_zlib_json(data: bytes) -> Payload:
    """The payload that compressed JSON says.

    Raises:
        DecodingError: it is no such thing; if that is a `SchemaError`, it is no MEGA event.
    """
    return deserialize_payload(forms.from_zlib_json(data))
