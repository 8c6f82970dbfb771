"""From a payload to a body, with the content type that says what it is.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from . import mega
from ._decoding import CONTENT_TYPES
from ._errors import EncodingError
from ._forms import to_base64, to_bson, to_json, to_zlib_json

__all__ = ["Encoded", "Encoding", "encode"]

Encoding: TypeAlias = Literal["json", "bson", "zlib"]
ENCODINGS = ("json", "bson", "zlib")


class Encoded(NamedTuple):
    """A body, and its content type."""

    body: str
    content_type: str


def encode(payload: Any, encoding: Encoding = "json") -> Encoded:
    """A payload as text that can be sent anywhere.

    Args:
        payload: text, sent as it is; bytes, in base64; a mapping or a `mega.Payload`, in this encoding.
        encoding: "json"; "zlib", compressed JSON in base64, the shortest for all but small payloads; "bson", in
            base64, which keeps more types, is larger than JSON most often, and needs the extra `bson`.

    Raises:
        EncodingError: it is none of these, or cannot be written so.
    """
    if encoding not in ENCODINGS:
        raise EncodingError(f"encoding must be one of {', '.join(ENCODINGS)}; got {encoding!r}")
    if payload is None:
        raise EncodingError("Payload can't be null: pass text, bytes, a mapping or a mega.Payload")
    if isinstance(payload, str):
        if encoding != "json":
            raise EncodingError("Can't use binary encoding with a plaintext string: text is sent as it is")
        return Encoded(str(payload), CONTENT_TYPES["text"])
    if isinstance(payload, (bytes, bytearray)):
        return Encoded(to_base64(bytes(payload)), CONTENT_TYPES["binary"])
    if isinstance(payload, mega.Payload):
        payload = mega.serialize_payload(payload)
    if not isinstance(payload, Mapping):
        raise EncodingError(
            f"a payload must be text, bytes, a mapping or a mega.Payload; got a {type(payload).__name__}"
        )
    data = cast("Mapping[str, Any]", payload)
    match encoding:
        case "json":
            body = to_json(data)
        case "zlib":
            body = to_base64(to_zlib_json(data))
        case "bson":
            body = to_base64(to_bson(data))
    return Encoded(body, CONTENT_TYPES[encoding])
