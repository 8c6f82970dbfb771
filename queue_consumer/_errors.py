"""What we raise, by who must act; and the two signals that a handler may raise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "BackendError",
    "CleanupError",
    "CrashLoop",
    "Drop",
    "LeaseLost",
    "QueueConsumerError",
    "Retry",
    "StuckHandlers",
    "SupervisionError",
    "UsageError",
]


class QueueConsumerError(Exception):
    """Whatever this library raises, but for the `ValueError` and `TypeError` of a bad argument."""


class UsageError(QueueConsumerError, RuntimeError):
    """You called it wrongly; the sentence says what to do instead."""


class SupervisionError(QueueConsumerError, RuntimeError):
    """The line cannot go on. It was stopped cleanly before this was raised; `report` tells how it ended."""

    report: Any = None  # the Report; set when the consumer has stopped


class CrashLoop(SupervisionError):
    """One worker died again and again: more than `Supervision.max_restarts` times in `restart_window` seconds."""

    def __init__(self, worker: str, restarts: int, window: float, error: str) -> None:
        super().__init__(worker, restarts, window, error)
        self.worker, self.restarts, self.window, self.error = worker, restarts, window, error

    def __str__(self) -> str:
        return f"{self.worker} died {self.restarts} times within {self.window:g} s; the last time of: {self.error}"


class StuckHandlers(SupervisionError):
    """More handlers are stuck at once than `stuck_limit` allows."""

    def __init__(self, stuck: int, limit: int) -> None:
        super().__init__(stuck, limit)
        self.stuck, self.limit = stuck, limit

    def __str__(self) -> str:
        return f"Number of stuck handlers {self.stuck} more than limit {self.limit}"


class BackendError(QueueConsumerError):
    """The queue's side failed."""


class CleanupError(BackendError):
    """For queues to raise from `cleanup` or `release`, if it was not done for all items; for the others it was.

    Args:
        failed: it is to be tried again for these.
        reason: in words.
        lost: the leases of these are gone.
        hopeless: for these it will never succeed, however often it is tried.
    """

    def __init__(
        self, failed: Iterable[Any], reason: str = "", lost: Iterable[Any] = (), hopeless: Iterable[Any] = ()
    ) -> None:
        self.failed, self.lost, self.hopeless = list(failed), list(lost), list(hopeless)
        self.reason = reason
        super().__init__(self.failed, reason, self.lost, self.hopeless)

    def __str__(self) -> str:
        count = len(self.failed) + len(self.lost) + len(self.hopeless)
        return f"{count} items were not cleaned up" + (f": {self.reason}" if self.reason else "")

    def __repr__(self) -> str:
        return f"CleanupError({self})"  # how many, and not which: it is logged


class LeaseLost(BackendError):
    """For queues to raise from `extend`: the leases of `items` are gone."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.items = list(items)
        super().__init__(self.items)

    def __str__(self) -> str:
        return f"the leases of {len(self.items)} items are lost"

    def __repr__(self) -> str:
        return f"LeaseLost({self})"


class Retry(Exception):
    """Raised by a handler: not done, give the item back. Not an error, and not logged as one, unless it says so.

    Args:
        delay: seconds before the item is seen again; `None` asks the consumer's back-off.
        error: what made it fail; then it is a failure as if this had been raised, but for the delay.
        about: what the handler was about, for the log of that error.
    """

    def __init__(self, delay: float | None = None, *, error: BaseException | None = None, about: str = "") -> None:
        if delay is not None and not delay >= 0:
            raise ValueError(f"Retry: delay must be at least 0 seconds, or None; got {delay!r}")
        super().__init__(delay)
        self.delay = None if delay is None else float(delay)
        self.error = error
        self.about = about


class Drop(Exception):
    """Raised by a handler: done with this item for good. It is cleaned up, and counted apart."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
