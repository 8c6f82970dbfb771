"""What the tests of a line's life share: a queue that can be scripted, and how its books are compared with ours."""

from __future__ import annotations

import itertools
import queue as std
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypedDict

import pytest
from typing_extensions import Unpack

from queue_consumer import Consumer, Event, Failure, MemoryQueue, Report, Stats, Supervision
from queue_consumer._supervisor import Supervisor
from queue_consumer.testing import RecordingObserver
from support.lifecycle_handlers import act, act_async

POOLS = ("threads", "coroutines", "processes")
PATIENCE = 20.0  # seconds after which a test that waits has failed; never waited for in one that passes


class ProbeQueue(MemoryQueue[Any]):
    """A `MemoryQueue` that writes down each call, and has what a test wants done in the middle of it.

    Args:
        items: what is in it.
        on_get, on_cleanup, on_release, on_interrupt, on_close: called first, with what the verb was called with
            (`get`: with the number of the call, 1 first); what they raise is what the verb raises.
        without: verbs that it is not to have.
        options: those of `MemoryQueue`.
    """

    def __init__(
        self,
        items: Iterable[Any] = (),
        *,
        on_get: Callable[[int], object] | None = None,
        on_cleanup: Callable[[list[Any]], object] | None = None,
        on_release: Callable[[list[Any], float], object] | None = None,
        on_interrupt: Callable[[], object] | None = None,
        on_close: Callable[[], object] | None = None,
        without: Iterable[str] = (),
        **options: Any,
    ) -> None:
        options.setdefault("wait", 0.05)
        super().__init__(items, **options)
        self.calls: list[tuple[Any, ...]] = []
        self._numbers = itertools.count(1)
        self._on_get, self._on_cleanup, self._on_release = on_get, on_cleanup, on_release
        self._on_interrupt, self._on_close = on_interrupt, on_close
        for verb in without:
            setattr(self, verb, None)

    def called(self, verb: str) -> list[tuple[Any, ...]]:
        """The calls of one verb so far, with their arguments."""
        return [call[1:] for call in list(self.calls) if call[0] == verb]

    def get(self, limit: int | None = None) -> list[Any]:
        number = next(self._numbers)
        self.calls.append(("get", number))
        if self._on_get is not None:
            self._on_get(number)
        return super().get(limit)

    def cleanup(self, items: Sequence[Any]) -> None:
        self.calls.append(("cleanup", list(items)))
        if self._on_cleanup is not None:
            self._on_cleanup(list(items))
        super().cleanup(items)

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        self.calls.append(("release", list(items), delay))
        if self._on_release is not None:
            self._on_release(list(items), delay)
        super().release(items, delay)

    def interrupt(self) -> None:
        self.calls.append(("interrupt",))
        if self._on_interrupt is not None:
            self._on_interrupt()
        super().interrupt()

    def close(self) -> None:
        self.calls.append(("close",))
        if self._on_close is not None:
            self._on_close()
        self.closed += 1


class Script:
    """A queue whose `get` gives one answer after the other, as they are put in; between them it blocks."""

    def __init__(self) -> None:
        self._answers: std.SimpleQueue[Any] = std.SimpleQueue()
        self.inside = 0
        self._changed = threading.Condition()
        self._over = threading.Event()
        self.gets = 0

    def get(self) -> Any:
        with self._changed:
            self.gets += 1
            self.inside += 1
            self._changed.notify_all()
        try:
            return [] if self._over.is_set() else self._answers.get()
        finally:
            with self._changed:
                self.inside -= 1
                self._changed.notify_all()

    def interrupt(self) -> None:
        self._over.set()
        with self._changed:
            for _ in range(self.inside):
                self._answers.put([])

    def is_at(self, gets: int, inside: int) -> bool:
        return (self.gets, self.inside) == (gets, inside)

    def answer(self, items: Any) -> None:
        self._answers.put(items)

    def wait_for(self, fact: Callable[[], object]) -> None:
        """Wait until something is true of the calls of `get`."""
        with self._changed:
            assert self._changed.wait_for(fact, PATIENCE), f"{self.gets} gets, {self.inside} inside"


class Options(TypedDict, total=False):
    """Those arguments of a `Consumer` that tests here pass."""

    handler: Callable[..., object]
    max_workers: int
    max_handlers: int
    messages_bulk_size: int
    worker_polling_time: float
    pool_initializer: Callable[[], object]
    prefetch: int
    backoff: Callable[[int], float]
    time_limit: float
    max_attempts: int
    dead_letter: Callable[[Any, Failure], object]
    stop_when: Callable[[Stats], bool]
    supervision: Supervision
    observers: Sequence[Callable[[Event], object]]
    mp_context: str
    owns_queue: bool


def consumer_of(pool: str, queue: Any, **options: Unpack[Options]) -> tuple[Consumer[Any], RecordingObserver]:
    """A consumer whose handlers do what the items say, and what it tells; one of each worker unless said otherwise."""
    events = RecordingObserver()
    arguments: dict[str, Any] = {
        "handler": act_async if pool == "coroutines" else act,
        "max_workers": 1,
        "max_handlers": 1,
        "pool": pool,
        **options,
        "observers": (events, *options.get("observers", ())),
    }
    return Consumer(queue, **arguments), events


def reconcile(report: Report | Stats, queue: MemoryQueue[Any]) -> Stats:
    """Compare the ledger with the queue's own counts, of a consumer that has stopped and was alone with the queue."""
    stats = report.stats if isinstance(report, Report) else report
    assert stats.balanced, str(stats)
    assert stats.in_flight == 0, str(stats)
    own = queue.stats()
    assert own["got"] == stats.received, (own, stats)
    if callable(queue.cleanup):  # a ProbeQueue may be without
        assert own["cleaned"] == stats.cleaned + stats.dropped, (own, stats)
    assert own["released"] + own["buried"] == stats.released, (own, stats)
    if callable(queue.cleanup):
        assert own["in_flight"] == stats.left + stats.tombstoned + stats.lost + stats.abandoned, (own, stats)
    return stats


def in_thread(call: Callable[[], Any]) -> Deed:
    """Do this in another thread."""
    deed = Deed(call)
    deed.start()
    return deed


class Deed(threading.Thread):
    """A thread, and what its call came to."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # raised where the result is asked for
            self._error = error

    def result(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive(), "it has not returned"
        if self._error is not None:
            raise self._error
        return self._result


def count_walks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts the supervisor's walks round the line."""
    walks: list[None] = []
    mind = Supervisor.mind

    def counted(self: Supervisor) -> None:
        walks.append(None)
        mind(self)

    monkeypatch.setattr(Supervisor, "mind", counted)
    return lambda: len(walks)


def until(fact: Callable[[], object], what: str) -> None:
    """Wait for what nothing announces, such as a thread's end or a state."""
    limit = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < limit, f"waited {PATIENCE:g} s in vain until {what}"
        time.sleep(0.002)  # it is not announced to anybody
