"""MEGA on the wire, version 1: from a payload to a plain mapping, and back.  Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .._errors import shown
from .._values import is_mapping, moment_of
from ._errors import SchemaError
from ._model import Event, ObjectData, Payload, mapping_of

__all__ = ["PROTOCOL", "VERSION", "deserialize_payload", "matches_payload", "serialize_payload"]

PROTOCOL, VERSION = "mega", 1
EVENT_FIELDS = ("name", "version", "domain", "subject", "publisher")  # beside the timestamp and the attributes
OBJECT_FIELDS = ("type", "id", "version", "current", "previous")


def is_version(value: Any) -> bool:
    """1 or "1", and nothing else: neither True nor 1.0."""
    if isinstance(value, str):
        return value == str(VERSION)
    return isinstance(value, int) and not isinstance(value, bool) and value == VERSION


def matches_payload(data: object) -> bool:
    """Whether this says of itself that it is a MEGA event of version 1; whether it is a good one is not looked at."""
    return is_mapping(data) and data.get("protocol") == PROTOCOL and is_version(data.get("version"))


def serialize_payload(payload: Payload) -> dict[str, Any]:
    """The plain mapping of a payload. What is not there is left out; values stay as they are, but for the timestamp."""
    event = payload.event
    sections: dict[str, Any] = {
        "protocol": PROTOCOL,
        "version": VERSION,
        "event": told(
            domain=event.domain,
            name=event.name,
            version=event.version,
            timestamp=event.timestamp.isoformat(),
            subject=event.subject,
            publisher=event.publisher,
            attributes=dict(event.attributes) or None,
        ),
    }
    if payload.object is not None:
        about = payload.object
        sections["object"] = told(
            type=about.type, id=about.id, version=about.version, current=about.current, previous=about.previous
        )
    if payload.extra:
        sections["extra"] = dict(payload.extra)
    return sections


def told(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def deserialize_payload(data: object) -> Payload:
    """The payload that a plain mapping stands for.

    What is unknown is left out, but for unknown keys of the event, which are attributes of it; where there is an
    attribute of that name too, that one counts.

    Raises:
        SchemaError: it is no MEGA event of version 1; `section` and `field` say what is wrong with it.
    """
    wire = mapping_of("payload", "", data)
    if wire.get("protocol") != PROTOCOL:
        raise SchemaError("payload", "protocol", f"must be {PROTOCOL!r}; got {shown(wire.get('protocol'))}")
    if not is_version(wire.get("version")):
        raise SchemaError("payload", "version", f"must be {VERSION}; got {shown(wire.get('version'))}")
    if wire.get("event") is None:
        raise SchemaError("event", "", "is missing")
    return Payload(event_of(wire["event"]), object_of(wire.get("object")), mapping_of("extra", "", wire.get("extra")))


def event_of(data: Any) -> Event:
    fields = mapping_of("event", "", data)
    known = {name: fields.pop(name, None) for name in EVENT_FIELDS}
    if known["name"] is None:
        raise SchemaError("event", "name", "is missing")
    timestamp = timestamp_of(fields.pop("timestamp", None))
    attributes = mapping_of("event", "attributes", fields.pop("attributes", None))
    return Event(**known, timestamp=timestamp, attributes={**fields, **attributes})


def timestamp_of(value: Any) -> datetime:
    if value is None:
        raise SchemaError("event", "timestamp", "is missing")
    moment = moment_of(value)
    if not isinstance(moment, datetime):
        raise SchemaError("event", "timestamp", f"must be a date and a time as ISO 8601 has them; got {shown(value)}")
    return moment


def object_of(data: Any) -> ObjectData | None:
    fields = mapping_of("object", "", data)
    return ObjectData(**{name: fields.get(name) for name in OBJECT_FIELDS}) if fields else None
