"""How threads of the line sleep and are woken: a bell for one sleeper, a latch for any number.

Neither holds a lock while somebody waits or rings, so that a signal handler, which runs in the middle of
whatever the main thread was doing, may ring, wait and look without a deadlock.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol


class Ringable(Protocol):
    """What wakes a sleeper: a `Bell` for a thread, its counterpart on an event loop for a task."""

    def ring(self) -> None: ...


class Bell:
    """Wakes one thread. A ring while nobody sleeps is kept for the next sleeper; more rings are one."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until rung, `timeout` seconds at most; True if it was rung."""
        if timeout is None:
            return self._lock.acquire()
        return self._lock.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX))

    def ring(self) -> None:
        """Wake the sleeper, now or when it comes to sleep."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # rung already, and not heard yet


class Latch:
    """Opens once, and lets everybody through from then on."""

    __slots__ = ("_open", "_waiting")

    def __init__(self) -> None:
        self._open = False
        self._waiting: deque[Ringable] = deque()

    def __bool__(self) -> bool:
        return self._open

    def open(self) -> None:
        self._open = True
        for bell in list(self._waiting):
            bell.ring()

    def will_ring(self, bell: Ringable) -> None:
        """Ring this bell when it opens, or now if it is open."""
        self._waiting.append(bell)
        if self._open:
            bell.ring()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is open, `timeout` seconds at most; True if it is."""
        bell = Bell()
        self._waiting.append(bell)
        try:
            if not self._open:  # looked at after we joined the queue, so that no opening is missed
                bell.wait(timeout)
        finally:
            self._waiting.remove(bell)
        return self._open
