"""What is given for what was `put`: one object for each delivery."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from ..policies import number

NOTHING: Mapping[str, Any] = MappingProxyType({})
serial = itertools.count(1)  # never the same twice, and ever more: ids, and places in a line


class MemoryMessage:
    """One delivery of what was `put` into a `MemoryQueue`.

    Each delivery is an object of its own, as with a broker: `id` says whether two are the same message.
    Equality is that of objects. It pickles if its body and attributes do.

    Attributes:
        id: the message's own, the same in every delivery, and in no other message of this process.
        body: what was put.
        attributes: what was put beside it.
        group: the message group it was put into, or None.
        attempt: how often it had been delivered when it was delivered as this, 1 for the first time.
    """

    __slots__ = ("attempt", "attributes", "body", "group", "id")

    def __init__(
        self,
        id: str,
        body: Any,
        attributes: Mapping[str, Any] = NOTHING,
        group: str | None = None,
        attempt: int = 1,
    ) -> None:
        self.id = id
        self.body = body
        self.attributes = attributes
        self.group = group
        self.attempt = attempt

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryMessage, (self.id, self.body, dict(self.attributes), self.group, self.attempt)

    def __repr__(self) -> str:  # without the body: this is what logs show
        return f"<MemoryMessage {self.id}, attempt {self.attempt}>"


class Draft(NamedTuple):
    """A message about to be put in."""

    message: MemoryMessage
    delay: float
    deduplication_id: str | None


def message_of(
    body: Any,
    delay: float = 0,
    group: str | None = None,
    deduplication_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Draft:
    """What these arguments of `put` make."""
    number("put: delay", delay, least=0)
    message = MemoryMessage(f"memory-{next(serial)}", body, dict(attributes) if attributes else NOTHING, group)
    return Draft(message, delay, deduplication_id)


def draft_of(entry: Any) -> Draft:
    """What an entry of `put_many` makes."""
    if not isinstance(entry, Mapping) or "body" not in entry:
        raise ValueError(
            f"put_many: each entry must map put's parameters to its arguments, body among them; got {entry!r}"
        )
    arguments: dict[str, Any] = dict(cast("Mapping[str, Any]", entry))
    return message_of(**arguments)


def delivery(message: MemoryMessage, attempt: int) -> MemoryMessage:
    """The same message, delivered once more."""
    return MemoryMessage(message.id, message.body, message.attributes, message.group, attempt)


def anew(item: Any) -> Any:
    """The item as it goes into another queue, where it has not been delivered yet."""
    return delivery(item, 1) if type(item) is MemoryMessage else item
