"""Puts a payload together, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from ._errors import SchemaError
from ._model import Event, ObjectData, Payload

__all__ = ["PayloadBuilder"]


class PayloadBuilder:
    """Builds a `Payload`; every call returns the builder, and what is said again replaces what was said before.

    >>> payload = PayloadBuilder().with_event(name="item.added", quantity=5).with_extra(channel="web").build()
    >>> payload.event.quantity, payload.extra
    (5, {'channel': 'web'})
    """

    def __init__(self) -> None:
        self._event: dict[str, Any] = {}
        self._object: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}

    def with_event(self, **fields: Any) -> Self:
        """Fields of `Event`; all others are attributes of it."""
        self._event.update(fields)
        return self

    def with_object(
        self,
        *,
        current: Mapping[str, Any] | None = None,
        type: str | None = None,
        id: str | None = None,
        version: int | None = None,
        previous: Mapping[str, Any] | None = None,
    ) -> Self:
        """Fields of `ObjectData`; there are no others."""
        given = {"current": current, "type": type, "id": id, "version": version, "previous": previous}
        self._object.update({name: value for name, value in given.items() if value is not None})
        return self

    def with_extra(self, **extra: Any) -> Self:
        """More of what travels along."""
        self._extra.update(extra)
        return self

    def build(self, *, now: datetime | None = None) -> Payload:
        """The payload. The builder can go on, and build another one.

        Args:
            now: the timestamp of the event if none was given; None: the time it is.

        Raises:
            SchemaError: something is missing, or not as it must be.
        """
        if "name" not in self._event:
            raise SchemaError("event", "name", "is missing: call with_event(name=…)")
        fields: dict[str, Any] = {"timestamp": now, **self._event}
        return Payload(
            Event(**fields),
            ObjectData(**self._object) if self._object else None,
            self._extra,
        )
