"""The queues that the line is measured on: as cheap as a queue can be, so that what is left is the line."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Generic, TypeVar

from queue_consumer import Lane

BULK = 10

T = TypeVar("T")


class BulkQueue:
    """Gives `total` integers, ten by each `get()`, and tells when the last one has been cleaned up.

    The integers are made as they are asked for, so that a million of them do not lie about in memory.
    """

    def __init__(self, total: int, *, each_cleanup: Callable[[int], None] | None = None) -> None:
        self.total = total
        self.cleaned = 0
        self.finished_at = 0.0
        self.finished = threading.Event()
        self._next = 0
        self._each_cleanup = each_cleanup
        self._interrupted = threading.Event()
        self._getting = threading.Lock()
        self._cleaning = threading.Lock()

    def get(self) -> Sequence[int]:
        with self._getting:
            first = self._next
            self._next = last = min(first + BULK, self.total)
        if first == last:
            self._interrupted.wait(1)
            return ()
        return list(range(first, last))

    def interrupt(self) -> None:
        self._interrupted.set()

    def cleanup(self, items: Sequence[int]) -> None:
        with self._cleaning:
            self.cleaned += len(items)
            if self._each_cleanup is not None:
                self._each_cleanup(self.cleaned)
            if self.cleaned >= self.total:
                self.finished_at = perf_counter()
                self.finished.set()


class Road(BulkQueue):
    """A `BulkQueue` that says at once that it has come to its end, so that no lower lane waits for its last answer."""

    def __init__(self, total: int, each_cleanup: Callable[[int], None]) -> None:
        super().__init__(total, each_cleanup=each_cleanup)
        self._over = False

    def get(self) -> Sequence[int]:
        if self._next == self.total and not self._over:
            self._over = True
            return ()
        return super().get()


class Lanes:
    """Several queues as lanes of one consumer, with priorities 0, 1, 2, …

    Tells when the last item of all has been cleaned up.
    """

    def __init__(self, total: int, lanes: int) -> None:
        self.finished_at = 0.0
        self.finished = threading.Event()
        self._total = total
        share = total // lanes
        totals = [total - share * (lanes - 1), *[share] * (lanes - 1)]
        self._queues = [Road(each, self._look) for each in totals]
        self.lanes = [Lane(queue, priority, str(priority)) for priority, queue in enumerate(self._queues)]

    @property
    def cleaned(self) -> int:
        return sum([queue.cleaned for queue in self._queues])

    def _look(self, cleaned: int) -> None:
        """Called by a queue that has counted: whoever counts the last sees them all."""
        if self.cleaned >= self._total:
            self.finished_at = perf_counter()
            self.finished.set()


class BlockingQueue(Generic[T]):
    """A `get()` that blocks until there is an item, on the fastest queue of the standard library."""

    def __init__(self, total: int = 0) -> None:
        self.finished = threading.Event()
        self._left = total
        self._items: queue.SimpleQueue[T | None] = queue.SimpleQueue()

    def put(self, item: T) -> None:
        self._items.put(item)

    def get(self) -> Sequence[T]:
        item = self._items.get()
        if item is None:
            self._items.put(None)  # the other getters are to be woken too
            return ()
        return (item,)

    def interrupt(self) -> None:
        self._items.put(None)

    def cleanup(self, items: Sequence[T]) -> None:
        self._left -= len(items)
        if self._left == 0:
            self.finished.set()
