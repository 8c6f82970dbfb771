"""Observers that tell the outside: a log for people, and counters for a statsd client."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ._events import (
    BulkReceived,
    CallbackFailed,
    ChunkHandled,
    ChunkStarted,
    CleanupFailed,
    ConsumerStarted,
    ConsumerStopped,
    Event,
    HandlerStuck,
    ItemsCleaned,
    ItemsLost,
    ItemsReleased,
    LeasesBehind,
    Stalled,
    WorkerDied,
    WorkerRevived,
    ids_of,
)

__all__ = ["LogObserver", "StatsdClient", "StatsdObserver"]


class LogObserver:
    """Writes a line for every event: how many items, which if they have an `id`, never what is in them.

    Troubles (what failed, died, is stuck, stalled or lost) are logged as warnings at least, and a `get` that
    brought nothing is not logged.

    Args:
        logger: where to; None: the logger `queue_consumer`.
        level: of what goes well.
        troubles: False leaves the troubles to the line, which logs most of them by itself.

    Each record has facts as attributes (`extra`): `event` and, as the event has them, `worker`, `items` (their ids),
    `count`, `seconds`.
    """

    def __init__(
        self, logger: logging.Logger | None = None, level: int = logging.INFO, *, troubles: bool = True
    ) -> None:
        self._log = logging.getLogger("queue_consumer") if logger is None else logger
        self._level = level
        self._troubles = troubles

    def __call__(self, event: Event) -> None:
        trouble = is_trouble(event)
        level = max(self._level, logging.WARNING) if trouble else self._level
        if self._log.isEnabledFor(level) and (self._troubles or not trouble):
            sentence = sentence_of(event)
            if sentence:
                self._log.log(level, "%s", sentence, extra=facts_of(event))


def facts_of(event: Event) -> dict[str, Any]:
    """What a structured log has of an event: who, which, how many, how long; never what is in an item."""
    facts: dict[str, Any] = {"event": type(event).__name__}
    if worker := getattr(event, "worker", None):
        facts["worker"] = worker
    items = [*getattr(event, "items", ()), *([event.item] if isinstance(event, HandlerStuck) else ())]
    if isinstance(event, ChunkHandled):
        items = [*event.consumed, *event.failed, *event.dropped, *event.handed_on]
    if items:
        facts["count"] = len(items)
        facts["items"] = ids_of(items[:SHOWN])
    for name in ("took", "seconds"):
        if hasattr(event, name):
            facts["seconds"] = getattr(event, name)
    return facts


def is_trouble(event: Event) -> bool:
    match event:
        case (
            WorkerDied()
            | HandlerStuck()
            | Stalled()
            | CleanupFailed()
            | CallbackFailed()
            | ItemsLost()
            | LeasesBehind()
        ):
            return True
        case ChunkHandled():
            return event.failure is not None
        case ConsumerStopped():
            return not event.report.balanced or bool(event.report.leftovers)
        case _:
            return False


def sentence_of(event: Event) -> str:
    """The event in words; empty for one that is not worth a line."""
    match event:
        case ConsumerStarted():
            return f"started: {event.getters} getters, {event.handlers} handlers in {event.pool}"
        case BulkReceived():
            if not event.items:
                return ""
            return f"{event.worker} received {which(event.items)} ({seconds(event.took)})"
        case ChunkStarted():
            return f"{event.worker} was handed {which(event.items)}, after {seconds(event.on_belt)} on the belt"
        case ChunkHandled():
            return handled(event)
        case ItemsCleaned():
            deed = "dropped" if event.dropped else "cleaned up"
            return f"{deed} {which(event.items)} ({seconds(event.took)})"
        case ItemsReleased():
            if event.left:
                return f"left {which(event.items)}: the queue does not take them back"
            return f"released {which(event.items)}, to be seen again after {seconds(event.delay)}"
        case CleanupFailed():
            hope = "it is not tried again" if event.final else "it is tried again"
            what = f"{event.verb} of {which(event.items)}"
            return f"{what} failed (attempt {event.attempt}), {hope}: {event.error}"
        case ItemsLost():
            return f"the leases of {which(event.items)} are lost"
        case LeasesBehind():
            return f"leases are renewed {seconds(event.late)} late, so less is fetched"
        case WorkerDied():
            return f"{event.worker} died, to be revived in {seconds(event.revive_in)}: {event.error}"
        case WorkerRevived():
            return f"{event.worker} was revived (number {event.restarts} in a row)"
        case HandlerStuck():
            fate = "; its place was given to a new one" if event.replaced else ""
            return (
                f"{event.worker} has been busy with {which([event.item])} for {seconds(event.seconds)}, "
                f"longer than {event.limit}{fate}; it stands at:\n{event.stack}".rstrip()
            )
        case Stalled():
            return f"nothing has moved for {seconds(event.seconds)}: {event.reason}"
        case CallbackFailed():
            return f"{event.callback} raised: {event.error}"
        case ConsumerStopped():
            return str(event.report)
        case _:  # an event of a room, whose words may be those of a message
            return type(event).__name__


def handled(event: ChunkHandled) -> str:
    fates = [
        f"{name} {which(items)}"
        for name, items in (
            ("consumed", event.consumed),
            ("dropped", event.dropped),
            ("failed", event.failed),
            ("handed on", event.handed_on),
        )
        if items
    ]
    why = f": {event.failure}" if event.failure else ""
    return f"{event.worker} {', '.join(fates) or 'handled nothing'} ({seconds(event.took)}){why}"


SHOWN = 10  # ids in one line


def which(items: Sequence[Any]) -> str:
    """How many items, and their ids if they have any."""
    ids = ids_of(items[:SHOWN])
    count = f"{len(items)} item" + ("" if len(items) == 1 else "s")
    return count + (f" ({', '.join(ids)}{', …' if len(items) > SHOWN else ''})" if ids else "")


def seconds(duration: float) -> str:
    if duration >= 1:
        return f"{duration:.3g} s" if duration < 1000 else f"{duration:.0f} s"
    return f"{duration * 1000:.3g} ms"


class StatsdClient(Protocol):
    """What a `StatsdObserver` needs of a client."""

    @property
    def increment(self) -> Callable[[str, int], object]: ...
    @property
    def gauge(self) -> Callable[[str, int], object]: ...


class StatsdObserver:
    """Counts under the names that the predecessor of this library used, so that dashboards go on.

    | metric                | kind    | what it counts                                            |
    |-----------------------|---------|-----------------------------------------------------------|
    | `request.messages`    | counter | calls of `get`                                            |
    | `received.messages`   | counter | items that came                                           |
    | `started.messages`    | counter | items given to a handler                                  |
    | `failed.messages`     | counter | items that failed with an error; a `Retry` is none        |
    | `successful.messages` | counter | items cleaned up after they were handled; not the dropped |
    | `revived.workers`     | counter | workers that were replaced                                |
    | `stuck.handlers`      | gauge   | handlers that are stuck at this moment                    |

    All are set to 0 at once, so that they are there before anything happens.

    Args:
        client: anything with `increment(name, value)` and `gauge(name, value)`, that any thread may call.
        prefix: is put before every name, with a dot between.
    """

    def __init__(self, client: StatsdClient, prefix: str = "") -> None:
        for verb in ("increment", "gauge"):
            if not callable(getattr(client, verb, None)):
                raise TypeError(f"StatsdObserver: client must have a method {verb}(name, value); got {client!r}")
        self._client = client
        self._prefix = f"{prefix.removesuffix('.')}." if prefix else ""
        self._stuck: set[str] = set()
        self._lock = threading.Lock()
        for name in ("request", "received", "started", "failed", "successful"):
            self._count(f"{name}.messages", 0)
        self._count("revived.workers", 0)
        self._client.gauge(f"{self._prefix}stuck.handlers", 0)

    def __call__(self, event: Event) -> None:
        match event:
            case BulkReceived():
                self._count("request.messages", 1)
                if event.items:
                    self._count("received.messages", len(event.items))
            case ChunkStarted():
                self._count("started.messages", len(event.items))
            case ChunkHandled():
                if event.failed and event.failure is not None:
                    self._count("failed.messages", len(event.failed))
                self._moves(event.worker)
            case ItemsCleaned():
                if not event.dropped:
                    self._count("successful.messages", len(event.items))
            case WorkerRevived():
                self._count("revived.workers", 1)
                self._moves(event.worker)
            case HandlerStuck():
                self._set_stuck(event.worker, not event.replaced)
            case _:
                pass

    def _count(self, name: str, value: int) -> None:
        self._client.increment(self._prefix + name, value)

    def _moves(self, worker: str) -> None:
        if worker in self._stuck:
            self._set_stuck(worker, False)

    def _set_stuck(self, worker: str, stuck: bool) -> None:
        with self._lock:  # also while the client is told, or an older figure could be told last
            (self._stuck.add if stuck else self._stuck.discard)(worker)
            self._client.gauge(f"{self._prefix}stuck.handlers", len(self._stuck))
