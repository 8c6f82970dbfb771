"""What tests wait on, so that they never sleep: an observer that remembers, a clock moved by hand."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from typing_extensions import TypeVar

from queue_consumer import Event

__all__ = ["ManualClock", "RecordingObserver"]

E = TypeVar("E", bound=Event, default=Event)


class RecordingObserver:
    """Remembers every event, and lets any thread wait for one.

    It is given to a consumer like any other observer:

        events = RecordingObserver()
        with Consumer(queue, handler, observers=[events]):
            events.wait_for(WorkerRevived)
        assert len(events.of(WorkerDied)) == 1
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        # Reentrant: a signal handler may stop a consumer, and so tell us something, while we are being asked.
        self._told = threading.Condition(threading.RLock())

    def __call__(self, event: Event) -> None:
        with self._told:
            self._events.append(event)
            self._told.notify_all()

    @property
    def events(self) -> list[Event]:
        """All so far, in the order in which they were told."""
        with self._told:
            return list(self._events)

    def of(self, kind: type[E], where: Callable[[E], object] | None = None) -> list[E]:
        """Those of one kind so far, and of them those for which `where` is true."""
        return [event for event in self.events if isinstance(event, kind) and (where is None or where(event))]

    def wait_for(
        self,
        kind: type[E],
        count: int = 1,
        timeout: float = 5,
        where: Callable[[E], object] | None = None,
    ) -> list[E]:
        """Wait until there are `count` events of one kind, and for which `where` is true; all such events.

        Those that were told before count too.

        Raises:
            AssertionError: there were not within `timeout` seconds; the sentence says what there was instead.
        """
        found: list[E] = []

        def enough() -> bool:
            found[:] = self.of(kind, where)
            return len(found) >= count

        with self._told:
            if not self._told.wait_for(enough, timeout):
                told = Counter(type(event).__name__ for event in self._events)
                told_of = ", ".join(f"{number} {name}" for name, number in told.items()) or "nothing"
                raise AssertionError(
                    f"waited {timeout:g} s for {count} {kind.__name__}{' as asked for' if where else ''}, "
                    f"and there were {len(found)}; told of: {told_of}"
                )
        return found


class ManualClock:
    """A clock that stands still until it is moved; whoever waits for a time is told of it.

    clock = ManualClock()
    queue = MemoryQueue(clock=clock)
    queue.put("later", delay=60)
    clock.advance(60)
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._watchers: list[Callable[[], object]] = []

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        if not seconds >= 0:
            raise ValueError(f"ManualClock.advance: seconds must be at least 0; got {seconds!r}")
        with self._lock:
            self._now += seconds
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher()

    def watch(self, watcher: Callable[[], object]) -> None:
        """Call this, without arguments, whenever the clock was moved."""
        with self._lock:
            self._watchers.append(watcher)
