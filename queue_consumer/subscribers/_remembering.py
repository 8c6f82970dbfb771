"""Which subscribers have succeeded with a message that was kept, so that they are skipped when it comes again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Any, Protocol

__all__ = ["Memory", "Remembered"]


class Memory(Protocol):
    """Where successes are remembered. What it raises is logged, and then nothing is remembered."""

    def succeeded(self, message_id: Any, /) -> Collection[str]:
        """The names of the subscribers that have succeeded with this message."""
        ...

    def add(self, message_id: Any, subscriber: str, /) -> None:
        """This subscriber has succeeded with it. Called at once, before the next one is asked."""
        ...

    def forget(self, message_id: Any, /) -> None:
        """The message is done with, and does not come again."""
        ...


class Remembered:
    """A memory in this process, of so many messages, for so long; many threads may use it.

    Where handlers are processes, each has its own, and a message may come to another one. For these, and to remember
    over a restart, write a `Memory` of three methods on a store that all of them share.

    Args:
        most: messages that are remembered; beyond that the oldest are forgotten.
        seconds: for how long.
        clock: what the time is.
    """

    def __init__(
        self, most: int = 10_000, seconds: float = 3600, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if isinstance(most, bool) or most < 1:
            raise ValueError(f"Remembered: most must be a whole number of at least 1; got {most!r}")
        if not seconds > 0:
            raise ValueError(f"Remembered: seconds must be a number above 0; got {seconds!r}")
        self._most, self._seconds, self._clock = most, seconds, clock
        self._known: OrderedDict[Hashable, tuple[float, set[str]]] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Remembered, (self._most, self._seconds)  # what it knows stays in this process

    def __len__(self) -> int:
        return len(self._known)

    def succeeded(self, message_id: Hashable, /) -> Collection[str]:
        if not self._known:
            return ()
        with self._lock:
            self._forget_old()
            found = self._known.get(message_id)
            return () if found is None else tuple(found[1])

    def add(self, message_id: Hashable, subscriber: str, /) -> None:
        with self._lock:
            found = self._known.get(message_id)
            if found is None:
                found = self._known[message_id] = (self._clock(), set())
            found[1].add(subscriber)
            self._forget_old()
            while len(self._known) > self._most:
                self._known.popitem(last=False)

    def forget(self, message_id: Hashable, /) -> None:
        with self._lock:
            self._known.pop(message_id, None)

    def _forget_old(self) -> None:
        too_old = self._clock() - self._seconds
        while self._known:
            oldest = next(iter(self._known))
            if self._known[oldest][0] > too_old:
                return
            del self._known[oldest]
