"""What the dashboard remembers of a consumer: the last failures, and how fast things went, look by look."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from queue_consumer import ChunkHandled, Event, HandlerStuck, Stalled, WorkerDied

from ._target import Target

__all__ = ["Chronicle"]

SHOWN = 50  # failures
LOOKS = 600  # points of the curves: five minutes
SAMPLES = 2000  # durations between two looks, of which the percentiles are


class Chronicle:
    """An observer of one consumer, with a memory."""

    def __init__(self, target: Target, clock: Callable[[], float] = time.time) -> None:
        self.target = target
        self._clock = clock
        self._lock = threading.Lock()
        self._took: list[float] = []
        self._handled = 0
        self.failures: deque[dict[str, Any]] = deque(maxlen=SHOWN)
        self.points: deque[dict[str, Any]] = deque(maxlen=LOOKS)
        self._before: tuple[float, int, int] | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case ChunkHandled():
                self._chunk(event)
            case WorkerDied():
                self._fail(event.worker, "died", event.error, [])
            case HandlerStuck():
                self._fail(event.worker, "stuck", f"for {event.seconds:.1f} s ({event.limit})", [event.item])
            case Stalled():
                self._fail("the line", "stalled", event.reason, [])
            case _:
                pass

    def _chunk(self, event: ChunkHandled) -> None:
        count = len(event.consumed) + len(event.failed) + len(event.dropped)
        with self._lock:
            self._handled += count
            if count and len(self._took) < SAMPLES:
                self._took += [event.took / count] * min(count, SAMPLES - len(self._took))
        if event.failed and event.failure is not None:
            self._fail(event.worker, event.failure.kind, event.failure.message, event.failed)

    def _fail(self, worker: str, kind: str, reason: str, items: Any) -> None:
        ids = [str(item.id) for item in items[:5] if isinstance(getattr(item, "id", None), (str, int))]
        told = {"at": self._clock(), "worker": worker, "kind": kind, "reason": reason[:300], "items": ids}
        self.failures.appendleft(told)

    def look(self) -> dict[str, Any]:
        """One more point of the curves."""
        now, stats = self._clock(), self.target.consumer.stats()
        with self._lock:
            took, self._took = sorted(self._took), []
        point: dict[str, Any] = {"at": now, "in": 0.0, "out": 0.0}
        if self._before is not None and now > self._before[0]:
            seconds = now - self._before[0]
            point["in"] = (stats.received - self._before[1]) / seconds
            point["out"] = (stats.ended - self._before[2]) / seconds
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            point[name] = took[min(len(took) - 1, int(len(took) * share))] if took else None
        self._before = now, stats.received, stats.ended
        self.points.append(point)
        return point
