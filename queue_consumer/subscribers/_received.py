"""A message as subscribers see it: what the queue gave, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from . import mega
from ._decoding import NOTHING, Decoded, Decoder, PayloadType
from ._errors import DecodingError
from ._sns import EmbeddedMessage
from ._values import is_mapping

__all__ = ["Received", "received"]


@dataclass(frozen=True, slots=True)
class Received:
    """A message and its payload.

    Attributes:
        item: what the queue gave.
        message_id: its `id`; None if it has none.
        body: as the queue gave it.
        attributes: what the sender said beside it; of a message in an SNS envelope, what the publisher said.
        payload_type, payload, embedded_message, error: see `Decoded`.
    """

    item: Any = field(repr=False)
    message_id: Any
    body: Any = field(repr=False)
    attributes: Mapping[str, Any] = field(repr=False)
    decoded: Decoded

    @property
    def payload_type(self) -> PayloadType:
        return self.decoded.payload_type

    @property
    def payload(self) -> Any:
        """Text, bytes, a dict or a `mega.Payload`; of kind NONE the confirmation of SNS's."""
        return self.decoded.embedded_message if self.decoded.payload_type is PayloadType.NONE else self.decoded.payload

    @property
    def embedded_message(self) -> EmbeddedMessage | None:
        return self.decoded.embedded_message

    @property
    def error(self) -> Exception | None:
        return self.decoded.error


def received(item: Any, decoder: Decoder) -> Received:
    """An item, decoded: a message with a `body`, or something that is a body itself. Never raises."""
    try:
        if isinstance(item, (mega.Payload, str, bytes, bytearray, Mapping)):
            body: Any = cast(Any, item)
            return Received(item, None, body, NOTHING, decoder.decode(body))
        return of_message(item, decoder)
    except Exception as error:  # of an item that raises when it is looked at
        trouble = DecodingError(f"the item has no body that can be read: {type(error).__name__}")
        return Received(item, id_of(item), None, NOTHING, Decoded(PayloadType.INVALID, None, None, trouble))


def of_message(item: Any, decoder: Decoder) -> Received:
    body: Any = item.body
    attributes: Any = getattr(item, "attributes", NOTHING)
    decoded = decoder.decode(body, attributes)
    if decoded.embedded_message is not None:
        attributes = getattr(decoded.embedded_message, "attributes", NOTHING)
    return Received(item, id_of(item), body, attributes if is_mapping(attributes) else NOTHING, decoded)


def id_of(item: Any) -> Any:
    """The item's id; None if it has none that can be remembered."""
    try:
        id: Any = getattr(item, "id", None)
        hash(id)
    except Exception:
        return None
    return id
