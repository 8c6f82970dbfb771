"""The left socket: what a queue must do, which is `get`, and what it may do.

Nothing here needs to be inherited. A verb is there if the queue has a callable of that name that takes the
arguments shown; the consumer looks once, when it is made, and does without what is missing. Every verb may be a
coroutine function. Verbs are called by threads of the line, several at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from typing_extensions import TypeVar

T = TypeVar("T", default=Any)
T_co = TypeVar("T_co", covariant=True, default=Any)
T_contra = TypeVar("T_contra", contravariant=True, default=Any)


@dataclass(frozen=True, slots=True)
class Lane:
    """One of several queues that feed a consumer. An object with an attribute `lanes`, which gives these, is passed
    to `Consumer` as its queue.

    Args:
        queue: any queue; its verbs are its own.
        priority: the greater, the sooner its items are handled; those of equal priority take turns.
        name: what `current().lane` and `Stats.queue` call it; none, and it is numbered.
    """

    queue: Any
    priority: float = 0
    name: str = ""

    def __post_init__(self) -> None:
        priority: Any = self.priority
        name: Any = self.name
        if isinstance(priority, bool) or not isinstance(priority, (int, float)):
            raise TypeError(f"Lane: priority must be a number; got {priority!r}")
        if priority != priority:
            raise ValueError(f"Lane: priority must be a number that can be compared; got {priority!r}")
        if not isinstance(name, str):
            raise TypeError(f"Lane: name must be a str; got {name!r}")


@runtime_checkable
class SupportsLanes(Protocol):
    @property
    def lanes(self) -> Iterable[Lane]:
        """The queues that this one is; its own `get` is not called."""
        ...


@runtime_checkable
class Queue(Protocol[T_co]):
    """The one verb that is needed."""

    def get(self) -> Iterable[T_co] | None:
        """Give the next items, or none.

        Called again and again, by every getter at once; may block for seconds. An empty iterable, `None` and
        `queue.Empty` all mean nothing; a `str`, `bytes`, mapping, or anything that cannot be iterated over is one
        item. Any other exception is a broken getter: it dies and is revived with growing delays. If the method has
        a parameter named `limit`, it is told how many items there is room for.
        """
        ...


@runtime_checkable
class SupportsInterrupt(Protocol):
    def interrupt(self) -> None:
        """Make every blocked `get` return soon. Called once or more, when the consumer stops."""
        ...


@runtime_checkable
class SupportsCleanup(Protocol[T_contra]):
    def cleanup(self, items: Sequence[T_contra]) -> None:
        """These items, the very objects that `get` gave, are done with.

        Never called with none, nor again for an item once it has returned. May raise `CleanupError(failed=...)` to
        say which were not; any exception is tried again, five times in all.

        A queue that has an attribute `cleanup_limit` is given at most so many at once; with an attribute
        `cleanup_linger`, what is fewer waits for company, so many seconds at most.
        """
        ...


@runtime_checkable
class SupportsRelease(Protocol[T_contra]):
    def release(self, items: Sequence[T_contra], delay: float = 0) -> None:
        """Take these back, and show them again after `delay` seconds."""
        ...


@runtime_checkable
class SupportsAttempt(Protocol[T_contra]):
    def attempt(self, item: T_contra) -> int:
        """How often this item was delivered, 1 for the first time."""
        ...


@runtime_checkable
class SupportsIdentity(Protocol[T_contra]):
    def identity(self, item: T_contra) -> Any:
        """What makes it the same message when it comes again: hashable, and never its content."""
        ...


@runtime_checkable
class SupportsExtend(Protocol[T_contra]):
    def extend(self, items: Sequence[T_contra], seconds: float) -> None:
        """Hide these from others for `seconds` from now. May raise `LeaseLost(items)`.

        The queue says in an attribute `lease` for how long it hides what it gives. If it hid an item for less than
        that, its `lease_of` says so; what is held for half of that is renewed to a whole `lease`.
        """
        ...


@runtime_checkable
class SupportsLeaseOf(Protocol[T_contra]):
    def lease_of(self, item: T_contra) -> float:
        """For how many seconds this item was hidden, if that may be less than `lease`."""
        ...


@runtime_checkable
class SupportsOrderingKey(Protocol[T_contra]):
    def ordering_key(self, item: T_contra) -> Any:
        """Items of equal keys are handled one at a time and in order; `None` is no key."""
        ...


@runtime_checkable
class SupportsPut(Protocol):
    def put(
        self,
        body: Any,
        *,
        delay: float = 0,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send one. For senders; the line never calls it."""
        ...


@runtime_checkable
class SupportsStats(Protocol):
    def stats(self) -> Mapping[str, Any]:
        """Figures of the queue's own, shown in `Stats.queue`."""
        ...


@runtime_checkable
class SupportsClose(Protocol):
    def close(self) -> None:
        """Called once, last, by the consumer that owns the queue."""
        ...


@runtime_checkable
class Message(Protocol):
    """An item that carries a payload for jobs and subscribers."""

    @property
    def id(self) -> str: ...
    @property
    def body(self) -> str | bytes: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...
