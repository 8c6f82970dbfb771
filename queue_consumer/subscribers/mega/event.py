"""The model under the name that it has in sqs-mega: `mega.event.Payload`, `mega.event.PayloadBuilder`."""

from ._builder import PayloadBuilder
from ._errors import SchemaError
from ._model import Event, ObjectData, Payload
from ._schema import deserialize_payload, matches_payload, serialize_payload

__all__ = [
    "Event",
    "ObjectData",
    "Payload",
    "PayloadBuilder",
    "SchemaError",
    "deserialize_payload",
    "matches_payload",
    "serialize_payload",
]
