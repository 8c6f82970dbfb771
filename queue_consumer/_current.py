"""The item being handled, for whoever is called by the handler and was not told."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._chunk import Chunk
from ._errors import UsageError


@dataclass(frozen=True, slots=True)
class Current:
    """What `current()` gives.

    Attributes:
        item: the item taken last.
        attempt: how often it was delivered, 1 first; None where the queue does not say.
        lane: the name of the lane it came from.
        lost: true once its lease is lost.
    """

    item: Any
    attempt: int | None
    lane: str
    lost: bool


_held: contextvars.ContextVar[Sequence[Chunk]] = contextvars.ContextVar("queue_consumer.held")


def current() -> Current:
    """The item that the calling handler holds, in threads, processes and coroutines alike.

    Raises:
        UsageError: outside a handler, or before it took its first item.
    """
    held = _held.get(())
    chunk = held[0] if held else None
    if chunk is None or not chunk.taken:
        raise UsageError("current() has an answer only in a handler that has taken an item")
    item = chunk.items[chunk.taken - 1]
    return Current(item=item, attempt=chunk.lane.attempt_of(item), lane=chunk.lane.name, lost=chunk.lane.lost(item))


def entered(context: contextvars.Context, held: Sequence[Chunk]) -> contextvars.Context:
    """A copy of the context in which `current()` looks at what `held` holds."""
    context = context.copy()
    context.run(_held.set, held)
    return context
