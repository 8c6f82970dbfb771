"""A MEGA event in memory: values that check themselves, so that whatever there is can be sent.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from .._errors import shown
from .._values import is_mapping
from ._errors import SchemaError

__all__ = ["Event", "ObjectData", "Payload"]


class Section:
    """Values that are equal if what they hold is, and are not to be changed."""

    __slots__: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is not to be changed: build another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is not to be changed: build another one")

    def _values(self) -> tuple[Any, ...]:
        return tuple(object.__getattribute__(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]  # it holds mappings

    def __repr__(self) -> str:
        told = zip(self.__slots__, self._values(), strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in told if value is not None)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuilt, (type(self), dict(zip(self.__slots__, self._values(), strict=True)))


def rebuilt(kind: type[Any], values: dict[str, Any]) -> Any:
    return kind(**values)


def put(section: Section, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(section, name, value)


class Event(Section):
    """What happened.

    Its attributes can be reached as attributes of Python's: `event.item_id` is `event.attributes["item_id"]`, unless
    the event has a field of that name.

    Args:
        name: what happened, as `item.added`; not empty.
        version: of the event's own schema, a whole number from 1.
        timestamp: when; None: now. Without a zone it is in UTC.
        domain: of the business: `shopping_cart`.
        subject: whom or what it is about, most often an id.
        publisher: who says so.
        attributes: what else there is to say of it; those in `more` win.

    Raises:
        SchemaError: one of them is not so.
    """

    __slots__ = ("attributes", "domain", "name", "publisher", "subject", "timestamp", "version")

    name: str
    version: int
    timestamp: datetime
    domain: str | None
    subject: str | None
    publisher: str | None
    attributes: dict[str, Any]

    def __init__(
        self,
        name: str,
        version: int | None = None,
        timestamp: datetime | None = None,
        domain: str | None = None,
        subject: str | None = None,
        publisher: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        if not isinstance(cast(Any, name), str) or not name:
            raise SchemaError("event", "name", f"must be text, and not empty; got {shown(name)}")
        if timestamp is not None and not isinstance(cast(Any, timestamp), datetime):
            raise SchemaError("event", "timestamp", f"must be a datetime; got {shown(timestamp)}")
        put(
            self,
            name=str(name),
            version=version_of("event", version),
            timestamp=datetime.now(UTC) if timestamp is None else timestamp,
            domain=text_of("event", "domain", domain),
            subject=text_of("event", "subject", subject),
            publisher=text_of("event", "publisher", publisher),
            attributes={**mapping_of("event", "attributes", attributes), **more},
        )

    def __getattr__(self, name: str) -> Any:
        # Called only for what is no field.
        if not name.startswith("__"):
            attributes: dict[str, Any] = object.__getattribute__(self, "attributes")
            if name in attributes:
                return attributes[name]
        raise AttributeError(f"the event has no attribute {name!r}")


class ObjectData(Section):
    """The object that the event is about, as it is now and as it was before.

    Args:
        current: as it is now; not an empty mapping.
        type: what it is: `shopping_cart`.
        id: which one.
        version: of the object's schema, a whole number from 1.
        previous: as it was before the event.

    Raises:
        SchemaError: one of them is not so.
    """

    __slots__ = ("current", "id", "previous", "type", "version")

    current: dict[str, Any] | None
    type: str | None
    id: str | None
    version: int
    previous: dict[str, Any] | None

    def __init__(
        self,
        current: Mapping[str, Any] | None = None,
        type: str | None = None,
        id: str | None = None,
        version: int | None = None,
        previous: Mapping[str, Any] | None = None,
    ) -> None:
        if current is not None and not mapping_of("object", "current", current):
            raise SchemaError("object", "current", "must not be empty: leave it out where there is nothing")
        put(
            self,
            current=mapping_of("object", "current", current) or None,
            type=text_of("object", "type", type),
            id=text_of("object", "id", id),
            version=version_of("object", version),
            previous=mapping_of("object", "previous", previous) or None,
        )


class Payload(Section):
    """A MEGA event with all that belongs to it.

    Args:
        event: what happened.
        object: what it happened to.
        extra: whatever else is to travel along; what is in `more` wins.

    Raises:
        SchemaError: one of them is not so.
    """

    __slots__ = ("event", "extra", "object")

    event: Event
    object: ObjectData | None
    extra: dict[str, Any]

    def __init__(
        self,
        event: Event,
        object: ObjectData | None = None,
        extra: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        if not isinstance(cast(Any, event), Event):
            raise SchemaError("payload", "event", f"must be an Event; got {shown(event)}")
        if object is not None and not isinstance(cast(Any, object), ObjectData):
            raise SchemaError("payload", "object", f"must be an ObjectData, or None; got {shown(object)}")
        put(self, event=event, object=object, extra={**mapping_of("extra", "", extra), **more})


def version_of(section: str, value: Any) -> int:
    if value is None or (type(value) is int and value == 0):
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SchemaError(section, "version", f"must be a whole number of at least 1; got {shown(value)}")
    return int(value)


def text_of(section: str, field: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise SchemaError(section, field, f"must be text; got {shown(value)}")
    return str(value)


def mapping_of(section: str, field: str, value: Any) -> dict[str, Any]:
    """A copy of the mapping; None is an empty one."""
    if value is None:
        return {}
    if not is_mapping(value):
        raise SchemaError(section, field, f"must be a mapping; got {shown(value)}")
    copied: dict[Any, Any] = dict(value)
    for key in copied:
        if not isinstance(key, str):
            raise SchemaError(section, field, f"must have keys that are text; got the key {shown(key)}")
    return copied
