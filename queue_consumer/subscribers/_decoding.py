"""From a body to what it says: text, bytes, data, a MEGA event, or what SNS wrapped around one of these.

The content type decides, where the sender gave one in an attribute `Content-Type`. Without one, or with one that says
nothing here, the body is looked at (sniffed), for as much as is switched on:

| the body | is taken for |
|---|---|
| a JSON object | data; a MEGA event, if it says so |
| base64 of BSON | the same |
| base64 of a JSON object in zlib | the same |
| anything else | text, as it stands: `123`, `[1]` and `"x"` too |

Words are not taken for base64: it must be the base64 *of something*. A JSON object with the keys of an SNS envelope is
opened, once, and what is in it is decoded by the same rules. Nothing raises: what cannot be decoded is `INVALID`, with
the error, and is the trouble of this one message.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

from . import mega
from ._errors import DecodingError, NotInstalled, shown
from ._forms import LARGEST, NotJson, from_base64, from_bson, from_json, from_zlib_json, looks_like_bson
from ._signatures import CertificateUnavailable
from ._sns import EmbeddedMessage, SnsNotification, embedded_in, is_envelope
from ._values import is_mapping

__all__ = ["CONTENT_TYPES", "Decoded", "Decoder", "PayloadType", "SNIFFERS", "content_type_of"]

Verify: TypeAlias = Callable[[Mapping[str, Any]], object]
NOTHING: Mapping[str, Any] = {}

CONTENT_TYPES: Mapping[str, str] = {
    "json": "application/json",
    "bson": "application/bson",
    "zlib": "application/json+zlib",
    "text": "text/plain",
    "binary": "application/octet-stream",
}
FORMS = {kind: form for form, kind in CONTENT_TYPES.items()}
SNIFFERS = ("json", "bson", "zlib")
ATTRIBUTES = ("content-type", "contenttype", "content_type")
BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)


class PayloadType(enum.IntEnum):
    """What kind of payload a message has; the numbers are sqs-mega's, but for the last."""

    NONE = 0  # a confirmation of SNS's
    BINARY = 1
    PLAINTEXT = 2
    DATA = 4
    MEGA = 5
    INVALID = 6


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a body says.

    Attributes:
        payload_type: which kind.
        payload: bytes, text, a dict, a `mega.Payload`; None for NONE and INVALID.
        embedded_message: what SNS wrapped around it, if it did.
        error: why it is INVALID.
    """

    payload_type: PayloadType
    payload: Any = field(repr=False)
    embedded_message: EmbeddedMessage | None = None
    error: Exception | None = None

    @property
    def blameless(self) -> bool:
        """It is INVALID for want of a library or a certificate, which is not the fault of the message."""
        return isinstance(self.error, (NotInstalled, CertificateUnavailable))


class Decoder:
    """Decodes bodies.

    Args:
        sniff: what bodies without a content type are looked at for: True for all of "json", "bson" and "zlib", False
            for none, or some of them.
        sns: open SNS envelopes.
        verify: called with each SNS envelope; raises if it is not to be trusted, as `SnsSignatures` does.
        largest: the most bytes that a compressed body may have when it is unpacked.
    """

    def __init__(
        self,
        *,
        sniff: bool | Collection[str] = True,
        sns: bool = True,
        verify: Verify | None = None,
        largest: int = LARGEST,
    ) -> None:
        given: Any = sniff
        if isinstance(given, str) or (not isinstance(given, bool) and not set(given) <= set(SNIFFERS)):
            raise ValueError(f"Decoder: sniff must be True, False, or some of {', '.join(SNIFFERS)}; got {sniff!r}")
        if verify is not None and not callable(cast(Any, verify)):
            raise TypeError(f"Decoder: verify must be callable with an envelope; got {verify!r}")
        if isinstance(cast(Any, largest), bool) or not isinstance(cast(Any, largest), int) or largest < 1:
            raise ValueError(f"Decoder: largest must be a whole number of bytes of at least 1; got {largest!r}")
        self._sniff: frozenset[str] = frozenset(SNIFFERS if given is True else given or ())
        self._sns = sns
        self._verify = verify
        self._largest = largest

    def decode(self, body: Any, attributes: Mapping[str, Any] = NOTHING) -> Decoded:
        """What a body says. Never raises.

        Args:
            body: text, bytes, or what is decoded already: a mapping or a `mega.Payload`.
            attributes: of the message; a content type is looked for in them.
        """
        try:
            return self._opened(self._decode(body, content_type_of(attributes)))
        except (DecodingError, NotInstalled) as error:
            return invalid(error)
        except Exception as error:  # of a body that raises when it is looked at
            return invalid(DecodingError(f"the body cannot be looked at: {type(error).__name__}: {shown(error)}"))

    def _decode(self, body: Any, content_type: str) -> Decoded:
        if isinstance(body, mega.Payload):
            return Decoded(PayloadType.MEGA, body)
        if is_mapping(body):
            return of_object(body)
        if not isinstance(body, (str, bytes, bytearray)):
            raise DecodingError(f"a body is text, bytes or a mapping; got {shown(body)}")
        content = body if isinstance(body, str) else bytes(body)
        form = FORMS.get(content_type, "text" if content_type.startswith("text/") else "")
        return self._read(content, form) if form else self._sniffed(content)

    def _read(self, content: str | bytes, form: str) -> Decoded:
        """The body is what the sender says it is, or it is invalid."""
        match form:
            case "text":
                return Decoded(PayloadType.PLAINTEXT, content if isinstance(content, str) else in_utf8(content))
            case "json":
                data = from_json(content)
            case "binary":
                return Decoded(PayloadType.BINARY, bytes_of(content))
            case "bson":
                data = from_bson(bytes_of(content))
            case _:
                data = from_zlib_json(bytes_of(content), self._largest)
        if not is_mapping(data):
            raise DecodingError(f"data is an object with keys; got {shown(data)}")
        return of_object(data)

    def _sniffed(self, content: str | bytes) -> Decoded:
        if isinstance(content, bytes):
            found = self._sniffed_bytes(content)
            if found is not None:
                return found
            try:
                content = content.decode("utf-8")
            except UnicodeDecodeError:
                return Decoded(PayloadType.BINARY, content)
        if "json" in self._sniff and content.lstrip(" \t\r\n")[:1] == "{":
            try:
                data = from_json(content)
            except NotJson:
                return Decoded(PayloadType.PLAINTEXT, content)
            return of_object(data)
        if len(content) % 4 == 0 and BASE64.fullmatch(content):
            found = self._sniffed_bytes(from_base64(content))
            if found is not None:
                return found
        return Decoded(PayloadType.PLAINTEXT, content)

    def _sniffed_bytes(self, data: bytes) -> Decoded | None:
        """What these bytes say of themselves to be, if they are; None where they may be anything."""
        if "bson" in self._sniff and looks_like_bson(data):
            try:
                return of_object(from_bson(data))
            except DecodingError as error:
                if isinstance(error, mega.SchemaError):
                    raise
                return None
        if "zlib" in self._sniff and data[:1] == b"x":
            try:
                unpacked = from_zlib_json(data, self._largest)
            except DecodingError:
                return None
            return of_object(unpacked) if is_mapping(unpacked) else None
        return None

    def _opened(self, decoded: Decoded) -> Decoded:
        """What is in the envelope, if it is one of SNS's. What is in that is not opened again."""
        if not self._sns or decoded.payload_type is not PayloadType.DATA or not is_envelope(decoded.payload):
            return decoded
        if self._verify is not None:
            self._verify(decoded.payload)
        embedded = embedded_in(decoded.payload)
        if not isinstance(embedded, SnsNotification):
            return Decoded(PayloadType.NONE, None, embedded)
        try:
            return replace(
                self._decode(embedded.message, content_type_of(embedded.attributes)), embedded_message=embedded
            )
        except (DecodingError, NotInstalled) as error:
            return invalid(error, embedded)


def invalid(error: Exception, embedded: EmbeddedMessage | None = None) -> Decoded:
    return Decoded(PayloadType.INVALID, None, embedded, error)


def of_object(data: Mapping[str, Any]) -> Decoded:
    """Data, or a MEGA event if it says so; then it must be a good one."""
    if mega.matches_payload(data):
        return Decoded(PayloadType.MEGA, mega.deserialize_payload(data))
    return Decoded(PayloadType.DATA, data)


def bytes_of(content: str | bytes) -> bytes:
    """Bytes as they are; text is base64 of them."""
    return content if isinstance(content, bytes) else from_base64(content)


def in_utf8(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodingError(f"it is not text: {error}") from error


def content_type_of(attributes: Any) -> str:
    """What the sender says that the body is: "application/json"; "" if nothing."""
    if not is_mapping(attributes):
        return ""
    for name, value in attributes.items():
        if isinstance(name, str) and isinstance(value, str) and name.lower() in ATTRIBUTES:
            return value.partition(";")[0].strip().lower()
    return ""
