"""What the tests of leases and identity share: a queue whose leases end on command, and handlers that can ask.

Child processes import the handlers from here. What a handler did is told by its diary alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from queue_consumer import Consumer, MemoryQueue, Report, Stats, Supervision, current
from queue_consumer.memory import MemoryMessage
from queue_consumer.testing import ManualClock, RecordingObserver
from support.deaths import Diary
from support.lifecycle import until
from support.line_pools import PoolKind

PATIENCE = 20.0  # seconds after which a test that waits has failed; never waited for in one that passes
LOOK = 0.002  # seconds between two looks at a gate or a flag, which ring no bell
LEASE = 1.2  # seconds, where nothing runs out by itself


class Extension(NamedTuple):
    """One call of `extend`."""

    items: list[Any]
    seconds: float


class LeasedQueue(MemoryQueue[Any]):
    """A `MemoryQueue` of messages that writes down each call, and has what a test wants done in the middle of it.

    Its clock stands still, so that with it no lease runs out by itself, however slow the machine: `expire` ends one,
    `redeliver` gives one a second time. What the line must never do it notes as a violation.

    Args:
        bodies: of the messages in it.
        on_extend, on_cleanup, on_release: called with the items before the deed; what they raise the verb raises.
        identity: in the place of the queue's own.
        without: verbs that it is not to have.
        options: those of `MemoryQueue`.
    """

    cleanup_limit: int | None = None

    def __init__(
        self,
        bodies: Iterable[Any] = (),
        *,
        on_extend: Callable[[list[Any]], object] | None = None,
        on_cleanup: Callable[[list[Any]], object] | None = None,
        on_release: Callable[[list[Any], float], object] | None = None,
        identity: Callable[[Any], Any] | None = None,
        without: Iterable[str] = (),
        cleanup_limit: int | None = None,
        **options: Any,
    ) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.given: list[MemoryMessage] = []
        self.extensions: list[Extension] = []
        self.cleanups: list[list[Any]] = []  # calls, refused ones too
        self.releases: list[tuple[list[Any], float]] = []
        self.done: list[Any] = []  # what was cleaned up
        self.violations: list[str] = []
        self._running: list[list[Any]] = []  # calls of extend
        self._on_extend, self._on_cleanup, self._on_release = on_extend, on_cleanup, on_release
        self.clock = ManualClock()
        options = {"wait": 0.05, "lease": LEASE, "clock": self.clock, **options}
        super().__init__(**options)
        if self.extend is not None:
            self.extend = self.extending
        if identity is not None:
            self.identity = identity  # type: ignore[method-assign, assignment]
        self.cleanup_limit = cleanup_limit
        for verb in without:
            setattr(self, verb, None)
        self.put_many([{"body": body} for body in bodies])

    def get(self, limit: int | None = None) -> list[Any]:
        bulk = super().get(limit)
        with self.changed:
            self.given += bulk
            self.changed.notify_all()
        return bulk

    def extending(self, items: Sequence[Any], seconds: float) -> None:
        call = list(items)
        with self.changed:
            if not call:
                self.violations.append("extend() was called with no items")
            if any(among(item, running) for item in call for running in self._running):
                self.violations.append(f"extend() of {call} while another one of the same runs")
            self._running.append(call)
            self.extensions.append(Extension(call, seconds))
            self.changed.notify_all()
        try:
            if self._on_extend is not None:
                self._on_extend(call)
            self._extend(call, seconds)
        finally:
            with self.changed:
                self._running = [other for other in self._running if other is not call]
                self.changed.notify_all()

    def cleanup(self, items: Sequence[Any]) -> None:
        call = list(items)
        with self.changed:
            self.cleanups.append(call)
            self.changed.notify_all()
        if self._on_cleanup is not None:
            self._on_cleanup(call)
        super().cleanup(call)
        with self.changed:
            self.done += call
            self.changed.notify_all()

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        call = list(items)
        with self.changed:
            if any(among(item, running) for item in call for running in self._running):
                self.violations.append(f"release() of {call} while an extend() of the same runs")
            self.releases.append((call, delay))
            self.changed.notify_all()
        if self._on_release is not None:
            self._on_release(call, delay)
        super().release(call, delay)

    # What tests ask.

    def delivery(self, body: str, attempt: int = 1) -> MemoryMessage:
        """Wait for a delivery of the message with this body; the object that `get` gave."""

        def those() -> list[MemoryMessage]:
            return [item for item in self.given if (item.body, item.attempt) == (body, attempt)]

        self.wait_for(those, f"delivery {attempt} of {body!r}")
        return those()[0]

    def extended(self, item: Any) -> int:
        """How often this very delivery was in a call of `extend`."""
        return sum(among(item, call.items) for call in list(self.extensions))

    def running(self, item: Any) -> bool:
        """Whether a call of `extend` with this delivery runs now."""
        return any(among(item, call) for call in self._running)

    def extending_now(self) -> int:
        """How many calls of `extend` run now."""
        return len(self._running)

    def was_given_back(self, item: Any) -> list[float]:
        """The delays that this delivery was released with."""
        return [delay for call, delay in list(self.releases) if among(item, call)]

    def asked_to_clean(self, item: Any) -> int:
        """How often this delivery was in a call of `cleanup`."""
        return sum(among(item, call) for call in list(self.cleanups))

    def cleaned(self, item: Any) -> bool:
        """Whether this delivery was cleaned up."""
        return among(item, self.done)

    def wait_for(self, fact: Callable[[], object], what: str) -> None:
        """Wait until something is true of the calls."""
        with self.changed:
            assert self.changed.wait_for(fact, PATIENCE), f"waited {PATIENCE:g} s in vain for {what}: {self!r}"

    def wait_for_renewals(self, *items: Any, times: int = 1) -> None:
        """Wait until each of these was extended so many times more than it was until now."""
        before = [self.extended(item) for item in items]
        self.wait_for(
            lambda: all(self.extended(item) >= then + times for item, then in zip(items, before, strict=True)),
            f"{times} renewals of {items}",
        )


def among(item: Any, items: Iterable[Any]) -> bool:
    """Whether it is one of these very objects."""
    return any(item is one for one in items)


def books(report: Report | Stats, queue: LeasedQueue) -> Stats:
    """Compare the ledger of a consumer that has stopped with the calls that its queue wrote down."""
    stats = report.stats if isinstance(report, Report) else report
    assert stats.balanced, str(stats)
    assert stats.in_flight == 0, str(stats)
    assert not queue.violations, queue.violations
    assert stats.received == len(queue.given), (stats, queue.given)
    twice = [item for item, count in Counter(map(id, queue.done)).items() if count > 1]
    assert not twice, "the same delivery was cleaned up twice"
    assert len(queue.done) == stats.cleaned + stats.dropped, (stats, queue.done)
    released = Counter(id(item) for call, _ in queue.releases for item in call)
    assert sum(released.values()) == stats.released, (stats, queue.releases)
    assert not released.keys() & set(map(id, queue.done)), "a delivery was cleaned up, and released as well"
    return stats


def at_rest(queue: LeasedQueue) -> None:
    """Fail unless everything that was put in is cleaned up, by whichever delivery."""
    now = queue.stats()
    assert (now["cleaned"], now["waiting"], now["delayed"]) == (now["put"], 0, 0), now


class Jobs:
    """A handler that does what the body of each message says: a verb, perhaps a gate, and a name.

    "ok 1" is done at once. "hold 1" waits until the gate is opened, "hold:b 1" until gate b is. "watch 1" waits until
    its lease is lost. "hold-fail" and "watch-fail" fail after it, the first time that they are delivered.

    The diary gets "begun …" and "done …", or "lost …" if the lease was lost by then, with the attempt.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.diary = Diary(folder / "diary")
        self.over = folder / "over"  # the test has failed, and waits for nothing any more

    def __call__(self, items: Iterator[Any]) -> None:
        for _ in self.steps(items):
            time.sleep(LOOK)  # the gate may be opened by another process

    def steps(self, items: Iterable[Any]) -> Generator[None]:
        for item in items:
            head, _, _ = item.body.partition(" ")
            verb, _, gate = head.partition(":")
            what, _, end = verb.partition("-")
            self.note("begun", item)
            while what == "hold" and not self.gate(gate).exists() and not self.over.exists():
                yield
            while what == "watch" and not current().lost and not self.over.exists():
                yield
            self.note("lost" if current().lost else "done", item)
            if end == "fail" and item.attempt == 1:
                raise ConnectionError("as told")

    def note(self, what: str, item: Any) -> None:
        self.diary.write(f"{what} {item.body} #{item.attempt}")

    def gate(self, name: str = "") -> Path:
        return self.folder / f"gate-{name}"

    # What tests ask.

    def open(self, name: str = "") -> None:
        """Let through those who wait at this gate, and whoever comes to it."""
        self.gate(name).touch()

    def notes(self, what: str) -> list[str]:
        """Of all that was begun, done or lost: which, in order."""
        return [name.partition(" ")[2] for name in self.diary.names() if name.startswith(f"{what} ")]

    def handled(self) -> list[str]:
        """All that was handled to its end, in order."""
        return [name.partition(" ")[2] for name in self.diary.names() if not name.startswith("begun ")]

    def wait(self, *notes: str) -> None:
        """Wait until all these stand in the diary."""
        self.diary.wait_for(lambda lines: set(notes) <= {line.name for line in lines})


class AsyncJobs(Jobs):
    """The same, as a coroutine."""

    async def __call__(self, items: AsyncIterator[Any]) -> None:  # type: ignore[override]
        for _ in self.steps(items):  # type: ignore[arg-type]  # a plain loop works as well
            await asyncio.sleep(LOOK)


def jobs_of(pool: PoolKind, folder: Path) -> Jobs:
    """The handler for this kind of pool."""
    return AsyncJobs(folder) if pool.pool == "coroutines" else Jobs(folder)


def line_of(pool: PoolKind, queue: Any, handler: Jobs, **options: Any) -> tuple[Consumer[Any], RecordingObserver]:
    """A consumer with one getter and one handler, unless said otherwise, and room for all; and what it tells."""
    events = RecordingObserver()
    arguments: dict[str, Any] = {"max_handlers": 1, "prefetch": 100, "backoff": at_once, **options}
    supervision = arguments.get("supervision") or Supervision()
    arguments["supervision"] = supervision.but(polling_time=0.05, restart_base=0.001)
    arguments["observers"] = [events, *arguments.get("observers", ())]
    return pool.consumer(queue, handler, **arguments), events


@contextlib.contextmanager
def at_work(consumer: Consumer[Any], jobs: Jobs) -> Generator[None]:
    """Let the consumer run; if the test fails meanwhile, its handlers are kept waiting no longer."""
    with consumer:
        try:
            yield
        except BaseException:
            jobs.over.touch()
            raise


def pause(consumer: Consumer[Any]) -> None:
    """Stop fetching, and wait until no `get` runs any more."""
    consumer.pause()
    until(lambda: consumer.stats().fetching == "paused", "it is paused")


def at_once(attempt: int) -> float:
    """A back-off for queues whose clock stands still."""
    return 0.0
