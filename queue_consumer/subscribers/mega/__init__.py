"""MEGA, version 1: a common envelope for events, as JSON, BSON, or JSON in zlib.

    {"protocol": "mega", "version": 1,
     "event":  {"name", "version", "timestamp", "domain", "subject", "publisher", "attributes": {…}},
     "object": {"type", "id", "version", "current": {…}, "previous": {…}},          optional
     "extra":  {…}}                                                                 optional

`_model` is an event in memory, `_builder` puts one together, `_schema` is the wire, `_forms` its text and bytes.
"""

from . import event
from ._builder import PayloadBuilder
from ._errors import SchemaError
from ._forms import from_bson, from_json, from_zlib_json, to_bson, to_json, to_zlib_json
from ._model import Event, ObjectData, Payload
from ._schema import PROTOCOL, VERSION, deserialize_payload, matches_payload, serialize_payload

__all__ = [
    "Event",
    "ObjectData",
    "PROTOCOL",
    "Payload",
    "PayloadBuilder",
    "SchemaError",
    "VERSION",
    "deserialize_payload",
    "event",
    "from_bson",
    "from_json",
    "from_zlib_json",
    "matches_payload",
    "serialize_payload",
    "to_bson",
    "to_json",
    "to_zlib_json",
]
