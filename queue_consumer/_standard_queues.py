"""Queues of the standard library, with the verbs of the left socket."""

from __future__ import annotations

import asyncio
import heapq
import queue as std
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ._errors import CleanupError

PATIENCE = 0.02  # seconds that a get on such a queue waits, and so the longest it can delay a stop


class Delayed:
    """Items to be put back, each when its time has come; thread-safe."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any]] = []
        self._count = 0
        self._lock = threading.Lock()

    def add(self, items: Sequence[Any], delay: float) -> None:
        with self._lock:
            for item in items:
                self._count += 1  # breaks ties, so that the items themselves are never compared
                heapq.heappush(self._heap, (time.monotonic() + delay, self._count, item))

    def due(self, everything: bool = False) -> list[Any]:
        """Take out those whose time has come."""
        if not self._heap:
            return []
        now = time.monotonic()
        due: list[Any] = []
        with self._lock:
            while self._heap and (everything or self._heap[0][0] <= now):
                due.append(heapq.heappop(self._heap)[2])
        return due


class StandardQueue:
    """`queue.Queue` and its kin, `queue.SimpleQueue`, `multiprocessing.Queue`.

    What is released is put back at the end, after its delay, or when the consumer stops; the queue is never
    closed.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._delayed = Delayed()
        if hasattr(queue, "task_done"):
            self.cleanup = self._done

    def __repr__(self) -> str:
        return repr(self._queue)

    def get(self, limit: int) -> Iterable[Any]:
        try:
            self._put(self._delayed.due())
        except CleanupError as error:
            self._delayed.add(error.failed, PATIENCE)
        items: list[Any] = []
        try:
            items.append(self._queue.get(timeout=PATIENCE))
            while len(items) < limit:
                items.append(self._queue.get_nowait())
        except std.Empty:
            pass
        except Exception as error:
            if type(error).__name__ != "ShutDown":  # since 3.13: no more will come, which is no fault
                return and_raise(items, error)
        return items

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        if delay > 0:
            self._delayed.add(items, delay)
        else:
            self._put(items)

    def close(self) -> None:
        """The line is done: whatever still waits for its time goes back now. The queue itself stays open."""
        self._put(self._delayed.due(everything=True), patience=5)

    def _done(self, items: Sequence[Any]) -> None:
        for _ in items:
            self._queue.task_done()

    def _put(self, items: Sequence[Any], patience: float = 0) -> None:
        """Put back; where the queue is full, later. `task_done` evens out what `put` counts once more."""
        for position, item in enumerate(items):
            try:
                if patience:
                    self._queue.put(item, timeout=patience)
                else:
                    self._queue.put(item, block=False)
            except std.Full:
                if patience:
                    raise CleanupError(items[position:], "the queue is full and cannot take them back") from None
                self._delayed.add(items[position:], PATIENCE)
                return
            except Exception as error:  # it is shut down or closed; those before are back, and must not go twice
                raise CleanupError(items[position:], repr(error)) from error
            if hasattr(self._queue, "task_done"):
                self._queue.task_done()


def and_raise(items: list[Any], error: Exception) -> Iterator[Any]:
    """These items, which must not be lost, and then the error."""
    yield from items
    raise error


class AsyncioQueue:
    """`asyncio.Queue` and its kin; every verb runs on the loop of the queue's producers."""

    def __init__(self, queue: asyncio.Queue[Any]) -> None:
        self._queue = queue
        self._delayed = Delayed()

    def __repr__(self) -> str:
        return repr(self._queue)

    async def get(self, limit: int) -> Iterable[Any]:
        try:
            self._put(self._delayed.due())
        except CleanupError as error:
            self._delayed.add(error.failed, PATIENCE)
        items: list[Any] = []
        try:
            items.append(await asyncio.wait_for(self._queue.get(), PATIENCE))
            while len(items) < limit:
                items.append(self._queue.get_nowait())
        except (asyncio.QueueEmpty, TimeoutError):
            pass
        except Exception as error:
            if type(error).__name__ != "QueueShutDown":  # since 3.13, as above
                return and_raise(items, error)
        return items

    async def cleanup(self, items: Sequence[Any]) -> None:
        for _ in items:
            self._queue.task_done()

    async def release(self, items: Sequence[Any], delay: float = 0) -> None:
        if delay > 0:
            self._delayed.add(items, delay)
        else:
            self._put(items)

    async def close(self) -> None:
        for item in self._delayed.due(everything=True):
            await asyncio.wait_for(self._queue.put(item), 5)
            self._queue.task_done()

    def _put(self, items: Sequence[Any]) -> None:
        for position, item in enumerate(items):
            try:
                self._queue.put_nowait(item)
            except asyncio.QueueFull:
                self._delayed.add(items[position:], PATIENCE)
                return
            except Exception as error:
                raise CleanupError(items[position:], repr(error)) from error
            self._queue.task_done()
