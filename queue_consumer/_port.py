"""What the line plugs a queue into: each verb looked up once, bound, and callable from any thread.

A missing verb is None. Coroutine verbs run on the loop and look like any other from here. Queues of the standard
library are recognised by their type and wrapped.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
import multiprocessing.queues
import queue as std
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ._errors import CleanupError
from ._loops import Loop

PATIENCE = 0.02  # seconds that a get on a standard-library queue waits, and so the longest it can delay a stop


class Port:
    """A queue's verbs."""

    def __init__(self, queue: Any, loop: Loop) -> None:
        queue = wrap(queue, loop)
        self.queue = queue
        self._loop = loop
        get = getattr(queue, "get", None)
        if not callable(get):
            raise TypeError(f"queue must have a method get(); {queue!r} has none")
        self.takes_limit = "limit" in parameters(get)
        if not (binds(get, limit=1) if self.takes_limit else binds(get)):
            raise TypeError(f"queue.get must be callable without arguments; got {get!r}")
        verb = self._threaded(get)
        self.get: Callable[[int], Any] = (lambda limit: verb(limit=limit)) if self.takes_limit else (lambda limit: verb())
        self.interrupt = self._verb("interrupt")
        self.cleanup = self._verb("cleanup", [])
        self.release = self._verb("release", [], 0)
        self.attempt = self._verb("attempt", None)
        self.identity = self._verb("identity", None)
        self.stats = self._verb("stats")
        self.close = self._verb("close")
        self.cleanup_limit = self._limit("cleanup_limit")

    def _verb(self, name: str, *arguments: Any) -> Callable[..., Any] | None:
        verb = getattr(self.queue, name, None)
        return self._threaded(verb) if callable(verb) and binds(verb, *arguments) else None

    def _threaded(self, verb: Callable[..., Any]) -> Callable[..., Any]:
        if not is_async(verb):
            return verb
        return lambda *args, **kwargs: self._loop.call(lambda: verb(*args, **kwargs))

    def _limit(self, name: str) -> int | None:
        limit = getattr(self.queue, name, None)
        if limit is None:
            return None
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"queue.{name} must be a whole number of at least 1, or None; got {limit!r}")
        return limit


def is_async(function: Any) -> bool:
    """True for an `async def`, also as a method or as an object's `__call__`."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))


def binds(function: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    """True if the function can be called so, as far as its signature tells."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return True  # some built-in functions keep their signature to themselves
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (ValueError, TypeError):
        return {}


def items_of(answer: Any) -> tuple[list[Any], BaseException | None]:
    """The items in what `get` returned, and what an iterable raised midway; what it gave before is kept."""
    if type(answer) is list or type(answer) is tuple:
        return list(answer), None
    if answer is None:
        return [], None
    if isinstance(answer, (str, bytes, bytearray, memoryview, Mapping)) or not hasattr(answer, "__iter__"):
        return [answer], None
    items: list[Any] = []
    try:
        for item in answer:
            items.append(item)
    except std.Empty:
        pass
    except BaseException as error:  # the getter raises it, once the items are on the belt
        return items, error
    return items, None


def wrap(queue: Any, loop: Loop) -> Any:
    """A standard-library queue in a wrapper that has the verbs; anything else as it is."""
    if isinstance(queue, asyncio.Queue):
        return AsyncioQueue(queue)
    if isinstance(queue, (std.Queue, std.SimpleQueue, multiprocessing.queues.Queue)):
        return StandardQueue(queue)
    return queue


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

    What is released is put back at the end, after its delay, or when the consumer stops; the queue is never closed.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._delayed = Delayed()
        if hasattr(queue, "task_done"):
            self.cleanup = self._done

    def __repr__(self) -> str:
        return repr(self._queue)

    def get(self, limit: int) -> list[Any]:
        self._put(self._delayed.due())
        items: list[Any] = []
        try:
            items.append(self._queue.get(timeout=PATIENCE))
            while len(items) < limit:
                items.append(self._queue.get_nowait())
        except std.Empty:
            pass
        except Exception as error:
            if type(error).__name__ != "ShutDown":  # since 3.13: no more will come, which is no fault
                raise
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
            if hasattr(self._queue, "task_done"):
                self._queue.task_done()


class AsyncioQueue:
    """`asyncio.Queue` and its kin; every verb runs on the loop of the queue's producers."""

    def __init__(self, queue: asyncio.Queue[Any]) -> None:
        self._queue = queue
        self._delayed = Delayed()

    def __repr__(self) -> str:
        return repr(self._queue)

    async def get(self, limit: int) -> list[Any]:
        self._put(self._delayed.due())
        items: list[Any] = []
        try:
            items.append(await asyncio.wait_for(self._queue.get(), PATIENCE))
            while len(items) < limit:
                items.append(self._queue.get_nowait())
        except (asyncio.QueueEmpty, TimeoutError):
            pass
        return items

    async def cleanup(self, items: Iterable[Any]) -> None:
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
            self._queue.task_done()
