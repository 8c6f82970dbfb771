"""Facts about the line, and how they reach those who listen.

Events are delivered synchronously, on the thread that did the deed. An observer must be quick, and it cannot hurt
the line: one that raises is logged once and not called again. Where nobody listens, no event is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

from ._chunk import Failure


class Log:
    """The logger of the line. What a log handler or filter of the program's raises must not hurt the line either.

    `facts` become attributes of the record, for those who log structures: `event`, `worker`, `items` (ids), …
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def log(self, level: int, message: str, *args: object, exc_info: bool = False, **facts: Any) -> None:
        try:
            self._logger.log(level, message, *args, exc_info=exc_info, stacklevel=3, extra=facts)
        except Exception:
            pass  # there is nowhere to say so

    def debug(self, message: str, *args: object) -> None:
        self.log(logging.DEBUG, message, *args)

    def warning(self, message: str, *args: object, **facts: Any) -> None:
        self.log(logging.WARNING, message, *args, **facts)

    def error(self, message: str, *args: object, **facts: Any) -> None:
        self.log(logging.ERROR, message, *args, **facts)

    def exception(self, message: str, *args: object) -> None:
        self.log(logging.ERROR, message, *args, exc_info=True)


log = Log(logging.getLogger("queue_consumer"))


def ids_of(items: Iterable[Any]) -> list[str]:
    """The ids of those that have one; never what is in them."""
    return [str(item.id) for item in items if isinstance(getattr(item, "id", None), (str, int))]


E = TypeVar("E")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def fact(kind: type[E]) -> type[E]:
    """A frozen dataclass with keywords only. What it is shown as and compared by it has from `Event`: code that is
    made for
    each of them anew would be most of what it takes to import this package."""
    return dataclass(frozen=True, kw_only=True, repr=False, eq=False)(kind)


@fact
class Event:
    """Something that has happened on the line. Durations are seconds of a monotonic clock."""

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self) if field.compare)

    def __repr__(self) -> str:
        shown = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.repr)
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._values() == self._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))


@fact
class ConsumerStarted(Event):
    """The line is running: its getters, its pool, its cleaner, its supervisor.

    `stats`: the consumer's own, for observers that show more than events tell.
    """

    pool: str
    getters: int
    handlers: int
    stats: Callable[[], Any] | None = field(default=None, repr=False, compare=False)


@fact
class BulkReceived(Event):
    """One `get()` came back, with items or with none. `waited`: for room, before it; `took`: the call itself."""

    worker: str
    items: tuple[Any, ...]
    waited: float
    took: float


@fact
class ChunkStarted(Event):
    """A handler call begins. `on_belt`: how long the chunk had waited for it.

    With processes: the chunk was put into the hands of a child.
    """

    worker: str
    items: tuple[Any, ...]
    on_belt: float


@fact
class ChunkHandled(Event):
    """A handler call has ended, and this is what it came to.

    `handed_on`: were never shown to the handler, or not taken by it, and go to another. `failure`: why `failed`
    failed; None where nothing did, or where the handler asked for a retry.
    """

    worker: str
    consumed: tuple[Any, ...]
    failed: tuple[Any, ...]
    dropped: tuple[Any, ...]
    handed_on: tuple[Any, ...]
    failure: Failure | None
    took: float


@fact
class ItemsCleaned(Event):
    """These are done with: the queue's `cleanup` returned, or it has none.

    `dropped`: by `Drop` or to the dead letters.
    """

    items: tuple[Any, ...]
    dropped: bool
    took: float


@fact
class ItemsReleased(Event):
    """These went back to the queue, to be seen again after `delay` seconds.

    `left`: it has no `release`, or that failed.
    """

    items: tuple[Any, ...]
    delay: float
    left: bool


@fact
class CleanupFailed(Event):
    """The queue's `cleanup` or `release` raised.

    `final`: it is not tried again; the items are tombstoned, or left.
    """

    verb: str
    items: tuple[Any, ...]
    attempt: int
    error: str
    final: bool


@fact
class ItemsLost(Event):
    """The leases of these were lost; they are not cleaned up."""

    items: tuple[Any, ...]


@fact
class LeasesBehind(Event):
    """Leases are renewed `late` seconds after they were due, so less is fetched until that has changed."""

    late: float


@fact
class WorkerDied(Event):
    """A getter, cleaner or pool worker ended though it should not have."""

    worker: str
    error: str
    revive_in: float


@fact
class WorkerRevived(Event):
    """A new worker stands in the place of a dead or stuck one.

    `restarts`: how often in a row, within a quiet minute.
    """

    worker: str
    restarts: int


@fact
class HandlerStuck(Event):
    """A handler has been busy with one item for `seconds`. `stack`: where it stands now.

    `limit`: "stuck_time" or "time_limit". `replaced`: its place was given to a new worker.
    """

    worker: str
    item: Any
    seconds: float
    stack: str
    limit: str
    replaced: bool


@fact
class Stalled(Event):
    """Nothing moved for `seconds`, though it could have."""

    reason: str
    seconds: float


@fact
class CallbackFailed(Event):
    """A callable of the user's, not the handler, raised; the line went on with its default."""

    callback: str
    error: str


@fact
class ConsumerStopped(Event):
    """Nothing of this consumer runs any more, but for what `report` names."""

    report: Any


Observer = Callable[[Event], object]


class Observers:
    """Tells every observer every event; false when there is none, so that events are not even made."""

    __slots__ = ("_observers",)

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def add(self, observers: Iterable[Observer]) -> None:
        self._observers += tuple(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, event: Event) -> None:
        for observer in self._observers:
            try:
                observer(event)
            except BaseException as error:  # an observer must not hurt the line: the item's fate is decided elsewhere
                self._observers = tuple(other for other in self._observers if other is not observer)
                log.exception("observer %r raised on %s and is muted: %r", observer, type(event).__name__, error)
                self.tell(CallbackFailed(callback=f"observer {observer!r}", error=repr(error)))
