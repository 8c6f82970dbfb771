"""What a registry has to say: facts, for the observers that it was given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from queue_consumer import Event, Failure

from ._decoding import PayloadType
from ._statuses import Action, ProcessStatus

__all__ = ["FatalHandled", "MessageUnmatched", "PredicateFailed", "SubscriberFailed", "Teller"]

log = logging.getLogger("queue_consumer.subscribers")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class MessageUnmatched(Event):
    """Nobody was interested in this message, and `action` was taken: by a policy, or by a callable (`by`)."""

    message_id: Any
    payload_type: PayloadType
    action: Action
    by: str = "policy"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SubscriberFailed(Event):
    """A subscriber did not get a message done. `failure`: what it raised, if it did."""

    message_id: Any
    subscriber: str
    status: ProcessStatus
    failure: Failure | None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FatalHandled(Event):
    """A message of which something failed for good was handed to `on_fatal`, if there is one, and is deleted now."""

    message_id: Any
    subscribers: tuple[str, ...]
    handed_over: bool


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PredicateFailed(Event):
    """A callable in a pattern raised, so the pattern did not match."""

    where: str
    failure: Failure


class Teller:
    """Tells observers; one that raises is logged once and not called again, since it must not hurt a message."""

    def __init__(self, observers: Iterable[Callable[[Event], object]]) -> None:
        self.observers = tuple(observers)
        for observer in self.observers:
            if not callable(observer):
                raise TypeError(f"Subscribers: observers must be callables of one event; got {observer!r}")

    def tell(self, event: Event) -> None:
        for observer in self.observers:
            try:
                observer(event)
            except Exception as error:
                self.observers = tuple(other for other in self.observers if other is not observer)
                say(logging.ERROR, "observer %r raised on %s and is muted: %r", observer, type(event).__name__, error)


def say(level: int, message: str, *args: object, error: BaseException | None = None) -> None:
    """Log; a log handler that raises must not hurt a message either."""
    try:
        log.log(level, message, *args, exc_info=error)
    except Exception:
        pass  # there is nowhere to say so
