"""What comes again: a message that is done with is cleaned up on sight, and one that is held is not handled twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_consumer import (
    CallbackFailed,
    CleanupFailed,
    Consumer,
    Drop,
    Failure,
    ItemsCleaned,
    ItemsLost,
    ItemsReleased,
    MemoryQueue,
    each,
)
from queue_consumer import _cleaner as cleaner_module
from queue_consumer._custody import Memory
from support.custody import PATIENCE, LeasedQueue, at_once, at_rest, at_work, books, jobs_of, line_of
from support.handlers import Item, read_all
from support.lifecycle import until
from support.line_pools import MOST_POOLS, THREADS, PoolKind, most_pools
from support.line_queues import ScriptedQueue

HOUR = 3600.0


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleanups are tried again after a thousandth of the usual time."""
    monkeypatch.setattr(cleaner_module, "FIRST_RETRY", 0.0001)


def waits_for(event: threading.Event) -> Callable[[list[Any]], object]:
    """A cleanup that takes until then."""
    return lambda items: event.wait(PATIENCE)


def queue_of(*bodies: str, **options: Any) -> LeasedQueue:
    """A queue without leases: identity is a matter of its own."""
    options.setdefault("lease", None)
    return LeasedQueue(bodies, **options)


def refuse(last: int = 1) -> Callable[[list[Any]], None]:
    """A cleanup that always fails, but for deliveries that came after this one."""

    def cleanup(items: list[Any]) -> None:
        if any(item.attempt <= last for item in items):
            raise OSError("not now")

    return cleanup


# ---------------------------------------------------------------------------- what was done, and not cleaned up


@most_pools
def test_a_success_whose_cleanup_failed_is_not_handled_twice(pool: PoolKind, tmp_path: Path) -> None:
    """It is tombstoned and remembered; when the message comes again it is cleaned up on sight, and not handled."""
    queue = queue_of("ok 1", on_cleanup=refuse())
    jobs = jobs_of(pool, tmp_path)
    consumer, events = line_of(pool, queue, jobs)
    with at_work(consumer, jobs):
        events.wait_for(CleanupFailed, timeout=PATIENCE, where=lambda event: event.final)
        queue.redeliver(queue.delivery("ok 1"))
        events.wait_for(ItemsCleaned, timeout=PATIENCE)
        assert consumer.wait_idle(PATIENCE)
    assert jobs.notes("begun") == ["ok 1 #1"]
    assert queue.cleaned(queue.delivery("ok 1", 2))
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.tombstoned, stats.duplicates) == (2, 1, 1, 1)
    at_rest(queue)


def test_a_tombstone_outlives_a_cleanup_on_sight_that_fails(tmp_path: Path) -> None:
    """If the cleanup on sight fails as well, it is remembered still, and the next delivery is cleaned up."""
    queue = queue_of("ok 1", on_cleanup=refuse(2))
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        for attempt in (1, 2):
            events.wait_for(CleanupFailed, attempt, PATIENCE, where=lambda event: event.final)
            queue.redeliver(queue.delivery("ok 1", attempt))
        events.wait_for(ItemsCleaned, timeout=PATIENCE)
        assert consumer.wait_idle(PATIENCE)
    assert jobs.notes("begun") == ["ok 1 #1"]
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.tombstoned, stats.duplicates) == (3, 1, 2, 2)
    at_rest(queue)


def test_a_dropped_item_whose_cleanup_failed_is_not_handled_twice() -> None:
    """What was dropped is done with as well."""
    seen: list[int] = []

    @each
    def drop(item: Any) -> None:
        seen.append(item.attempt)
        raise Drop("never")

    queue = queue_of("ok 1", on_cleanup=refuse())
    consumer = Consumer(queue, drop, 1, 1)
    with consumer:
        until(lambda: consumer.stats().tombstoned == 1, "it is given up")
        queue.redeliver(queue.delivery("ok 1"))
        until(lambda: queue.cleaned(queue.delivery("ok 1", 2)), "it is cleaned up on sight")
        assert consumer.wait_idle(PATIENCE)
    assert seen == [1]
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned + stats.dropped, stats.tombstoned, stats.duplicates) == (2, 1, 1, 1)
    at_rest(queue)


@pytest.mark.parametrize("without", [True, False], ids=["no identity", "identity is None"])
def test_what_has_no_identity_is_not_recognised(without: bool, tmp_path: Path) -> None:
    """Without `identity`, or where it is None, there is no memory: what comes again is handled again."""
    identity: dict[str, Any] = {"without": ["identity"]} if without else {"identity": nothing}
    queue = queue_of("ok 1", "ok 2", on_cleanup=refuse(), **identity)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        until(lambda: consumer.stats().tombstoned == 2, "both are given up")
        for body in ("ok 1", "ok 2"):
            queue.redeliver(queue.delivery(body))
            queue.delivery(body, 2)
        assert consumer.wait_idle(PATIENCE)
    assert sorted(jobs.handled()) == ["ok 1 #1", "ok 1 #2", "ok 2 #1", "ok 2 #2"]
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.tombstoned, stats.duplicates) == (4, 2, 2, 0)
    at_rest(queue)


def test_what_failed_and_comes_again_is_handled_again(tmp_path: Path) -> None:
    """A delivery that was given back is no duplicate of the next one."""
    queue = queue_of("hold-fail 1", lease=None)
    jobs = jobs_of(THREADS, tmp_path)
    jobs.open()
    consumer, _ = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        jobs.wait("done hold-fail 1 #2")
        assert consumer.wait_idle(PATIENCE)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.released, stats.duplicates) == (2, 1, 1, 0)
    at_rest(queue)


# ---------------------------------------------------------------------------- what comes again while it is held


@most_pools
@pytest.mark.parametrize("end", ["hold", "hold-fail"])
def test_what_comes_again_while_it_is_handled(pool: PoolKind, end: str, tmp_path: Path) -> None:
    """It is not handled twice: the older delivery is lost at once, the newer one is cleaned up, or given back."""
    body = f"{end} 1"
    queue = queue_of(body)
    jobs = jobs_of(pool, tmp_path)
    consumer, events = line_of(pool, queue, jobs, max_handlers=2)
    with at_work(consumer, jobs):
        jobs.wait(f"begun {body} #1")
        first = queue.delivery(body)
        queue.redeliver(first)
        second = queue.delivery(body, 2)
        until(lambda: (consumer.stats().lost, consumer.stats().duplicates) == (1, 1), "it is counted")
        assert consumer.stats().in_flight == 1
        assert jobs.notes("begun") == [f"{body} #1"]
        jobs.open()
        jobs.wait(f"done {body} #1" if end == "hold" else f"done {body} #3")
        assert consumer.wait_idle(PATIENCE)
    assert not queue.asked_to_clean(first)
    assert not queue.was_given_back(first)
    [lost] = events.of(ItemsLost)
    assert lost.items == (first,)
    stats = books(consumer.shutdown(), queue)
    if end == "hold":
        assert jobs.handled() == [f"{body} #1"]
        assert queue.cleaned(second)
        assert (stats.received, stats.cleaned, stats.released, stats.lost, stats.duplicates) == (2, 1, 0, 1, 1)
    else:
        assert jobs.handled() == [f"{body} #1", f"{body} #3"]
        assert queue.was_given_back(second) == [0]
        assert (stats.received, stats.cleaned, stats.released, stats.lost, stats.duplicates) == (3, 1, 1, 1, 1)
    at_rest(queue)


@most_pools
def test_what_comes_again_while_it_waits_on_the_belt(pool: PoolKind, tmp_path: Path) -> None:
    """It is handled once, and the newer delivery is cleaned up."""
    queue = queue_of("hold 0", "ok 1", "ok 2")
    jobs = jobs_of(pool, tmp_path)
    consumer, _ = line_of(pool, queue, jobs)
    with at_work(consumer, jobs):
        jobs.wait("begun hold 0 #1")
        first = queue.delivery("ok 1")
        queue.redeliver(first)
        second = queue.delivery("ok 1", 2)
        until(lambda: (consumer.stats().lost, consumer.stats().duplicates) == (1, 1), "it is counted")
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    assert len([note for note in jobs.notes("begun") if note.startswith("ok 1")]) == 1
    assert queue.cleaned(second)
    assert not queue.asked_to_clean(first)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (4, 3, 1, 1)
    at_rest(queue)


def test_what_comes_again_while_it_waits_for_cleanup(tmp_path: Path) -> None:
    """It is not handled again, and the newer delivery is cleaned up."""
    unblock = threading.Event()
    queue = queue_of("ok 1", "ok 2", on_cleanup=waits_for(unblock), cleanup_limit=1)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        jobs.wait("done ok 2 #1")
        queue.wait_for(lambda: queue.cleanups, "the first is being cleaned up")
        first = queue.delivery("ok 2")
        queue.redeliver(first)
        second = queue.delivery("ok 2", 2)
        until(lambda: (consumer.stats().lost, consumer.stats().duplicates) == (1, 1), "it is counted")
        unblock.set()
        assert consumer.wait_idle(PATIENCE)
    assert jobs.notes("begun") == ["ok 1 #1", "ok 2 #1"]
    assert queue.cleaned(second)
    assert not queue.asked_to_clean(first)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (3, 2, 1, 1)
    at_rest(queue)


def test_what_comes_again_while_it_is_being_cleaned_up(tmp_path: Path) -> None:
    """In the middle of the call: it is not handled again, and whatever is left of it is cleaned up."""
    inside, unblock = threading.Event(), threading.Event()

    def cleanup(items: list[Any]) -> None:
        inside.set()
        unblock.wait(PATIENCE)

    queue = queue_of("ok 1", on_cleanup=cleanup)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        assert inside.wait(PATIENCE)
        queue.redeliver(queue.delivery("ok 1"))
        queue.delivery("ok 1", 2)
        until(lambda: consumer.stats().duplicates == 1, "it is counted")
        unblock.set()
        assert consumer.wait_idle(PATIENCE)
    assert jobs.notes("begun") == ["ok 1 #1"]
    stats = consumer.shutdown().stats
    assert stats.balanced
    assert (stats.received, stats.in_flight, stats.duplicates, stats.failed) == (2, 0, 1, 0)
    assert not queue.violations
    at_rest(queue)


def test_what_comes_again_while_its_cleanup_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two attempts of a cleanup that fails: the newer delivery is cleaned up, and the older is let go."""
    monkeypatch.setattr(cleaner_module, "FIRST_RETRY", 0.3)
    queue = queue_of("ok 1", on_cleanup=refuse())
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        events.wait_for(CleanupFailed, timeout=PATIENCE)
        queue.redeliver(queue.delivery("ok 1"))
        queue.delivery("ok 1", 2)
        assert consumer.wait_idle(PATIENCE)
    assert jobs.notes("begun") == ["ok 1 #1"]
    assert queue.cleaned(queue.delivery("ok 1", 2))
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.duplicates, stats.tombstoned + stats.lost) == (2, 1, 1, 1)
    at_rest(queue)


@pytest.mark.parametrize("pool", MOST_POOLS, ids=str)
def test_what_comes_again_and_again(pool: PoolKind, tmp_path: Path) -> None:
    """Of many deliveries of what is being handled the latest counts, and each other one is lost."""
    queue = queue_of("hold 1")
    jobs = jobs_of(pool, tmp_path)
    consumer, _ = line_of(pool, queue, jobs)
    with at_work(consumer, jobs):
        jobs.wait("begun hold 1 #1")
        for attempt in range(1, 5):
            queue.redeliver(queue.delivery("hold 1", attempt))
            queue.delivery("hold 1", attempt + 1)
        until(lambda: (consumer.stats().lost, consumer.stats().duplicates) == (4, 4), "they are counted")
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    assert jobs.handled() == ["hold 1 #1"]
    assert [item.attempt for item in queue.done] == [5]
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (5, 1, 4, 4)
    at_rest(queue)


def test_what_is_got_again_before_its_release_has_returned(tmp_path: Path) -> None:
    """A delivery that is given back is given up: when the message comes again before the call has returned, that is no
    duplicate, and it is handled.
    """

    class Slow(LeasedQueue):
        def release(self, items: Sequence[Any], delay: float = 0) -> None:
            super().release(items, delay)
            self.delivery("hold-fail 1", items[0].attempt + 1)

    queue = Slow(["hold-fail 1"], lease=None)
    jobs = jobs_of(THREADS, tmp_path)
    jobs.open()
    consumer, _ = line_of(THREADS, queue, jobs, max_workers=2)
    with at_work(consumer, jobs):
        jobs.wait("done hold-fail 1 #2")
        assert consumer.wait_idle(PATIENCE)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.released, stats.lost, stats.duplicates) == (2, 1, 1, 0, 0)
    at_rest(queue)


def test_what_was_abandoned_is_held_no_more(tmp_path: Path) -> None:
    """When it comes again after the consumer has stopped without its handler, run_once() handles it."""
    queue = queue_of("hold 1")
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs)
    consumer.start()
    jobs.wait("begun hold 1 #1")
    assert consumer.shutdown(0).stats.abandoned == 1
    queue.redeliver(queue.delivery("hold 1"))
    jobs.open()
    assert consumer.run_once().succeeded == 1
    assert queue.cleaned(queue.delivery("hold 1", 2))
    stats = books(consumer.stats(), queue)
    assert (stats.received, stats.cleaned, stats.abandoned, stats.lost, stats.duplicates) == (2, 1, 1, 0, 0)


@most_pools
def test_the_same_message_twice_in_one_bulk(pool: PoolKind, tmp_path: Path) -> None:
    """Two deliveries in one answer are handled once, and cleaned up once."""

    class Twice(LeasedQueue):
        def get(self, limit: int | None = None) -> list[Any]:
            bulk = super().get(limit)
            for item in [item for item in bulk if item.attempt == 1]:
                self.redeliver(item)
                bulk += super().get(1)
            return bulk

    queue = Twice(["ok 1"], lease=None)
    jobs = jobs_of(pool, tmp_path)
    consumer, _ = line_of(pool, queue, jobs)
    with at_work(consumer, jobs):
        queue.wait_for(lambda: queue.done, "it is cleaned up")
        assert consumer.wait_idle(PATIENCE)
    assert len(jobs.handled()) == 1
    assert [item.attempt for item in queue.done] == [2]
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (2, 1, 1, 1)
    at_rest(queue)


def test_what_is_given_back_at_the_end_is_the_newer_delivery(tmp_path: Path) -> None:
    """When the line stops, what waits on the belt goes back by its newer delivery."""
    queue = queue_of("hold 0", "ok 1")
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs)
    consumer.start()
    jobs.wait("begun hold 0 #1")
    first = queue.delivery("ok 1")
    queue.redeliver(first)
    second = queue.delivery("ok 1", 2)
    until(lambda: consumer.stats().duplicates == 1, "it is counted")
    consumer.stop()
    queue.wait_for(lambda: queue.was_given_back(second), "the belt is released")
    jobs.open()
    stats = books(consumer.shutdown(), queue)
    assert queue.was_given_back(second) == [0]
    assert not queue.was_given_back(first)
    assert (stats.received, stats.cleaned, stats.released, stats.lost) == (3, 1, 1, 1)


# ---------------------------------------------------------------------------- identities that cannot be told


def nothing(item: Any) -> Any:
    return None


def raising(item: Any) -> Any:
    raise LookupError("who knows")


def unhashable(item: Any) -> Any:
    return [item.id]


def interrupting(item: Any) -> Any:
    raise KeyboardInterrupt


def odd(item: Any) -> Any:
    return Odd()


class Odd:
    """A value whose hash raises something of its own."""

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


every_trouble = pytest.mark.parametrize("trouble", [raising, unhashable, interrupting, odd])


@every_trouble
def test_an_identity_that_cannot_be_told_fails_its_item(trouble: Callable[[Any], Any], tmp_path: Path) -> None:
    """The item is given back with its back-off and counts as failed, no handler having seen it; its neighbours in
    the bulk go on.
    """

    def identity(item: Any) -> Any:
        return trouble(item) if (item.body, item.attempt) == ("ok 2", 1) else item.id

    queue = queue_of("ok 1", "ok 2", "ok 3", identity=identity)
    jobs = jobs_of(THREADS, tmp_path)
    asked: list[int] = []

    def backoff(attempt: int) -> float:
        asked.append(attempt)
        return 0.0

    consumer, events = line_of(THREADS, queue, jobs, backoff=backoff)
    with at_work(consumer, jobs):
        jobs.wait("done ok 2 #2")
        assert consumer.wait_idle(PATIENCE)
    assert sorted(jobs.handled()) == ["ok 1 #1", "ok 2 #2", "ok 3 #1"]
    assert asked == [1]
    assert events.of(CallbackFailed, lambda event: "identity" in event.callback)
    [released] = events.of(ItemsReleased)
    assert released.items == (queue.delivery("ok 2"),)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.released, stats.failed, stats.duplicates) == (4, 3, 1, 1, 0)
    assert stats.revived == 0
    at_rest(queue)


class Uncomparable:
    """A value that has a hash, and cannot be compared."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")


def test_identities_that_cannot_be_compared_cost_no_item(tmp_path: Path) -> None:
    """Whatever an identity raises when it is looked for, each item comes to its end, and the books balance."""

    def identity(item: Any) -> Any:
        return Uncomparable() if item.attempt == 1 else item.id

    queue = queue_of("ok 1", "ok 2", "ok 3", identity=identity)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        queue.wait_for(lambda: len(queue.done) == 3, "all are cleaned up")
        assert consumer.wait_idle(PATIENCE)
    stats = books(consumer.shutdown(), queue)
    assert stats.cleaned == 3
    at_rest(queue)


def test_one_object_twice_whose_identity_is_told_once() -> None:
    """The same object may be given twice in one answer; if its identity can be told only once, each has its end."""
    item = Item("twice")
    calls: list[None] = []

    def identity(_: Any) -> Any:
        calls.append(None)
        if len(calls) <= 2:  # in the look at both, and in that at the first alone
            raise LookupError("who knows")
        return 7

    queue: Any = ScriptedQueue([[item, item]])
    queue.identity = identity
    consumer = Consumer(queue, read_all, 1, 1, backoff=at_once)
    with consumer:
        queue.wait_until_spent()
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    queue.reconcile(report)
    assert (report.stats.received, report.stats.cleaned, report.stats.released) == (2, 1, 1)


def test_an_identity_that_never_can_be_told_is_a_dead_letter(tmp_path: Path) -> None:
    """An item that fails by its identity at its last attempt goes where all go that fail for the last time."""
    dead: list[tuple[int, str]] = []

    def bury(item: Any, failure: Failure) -> None:
        dead.append((item.attempt, failure.told()))

    queue = queue_of("ok 1", identity=raising)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs, max_attempts=2, dead_letter=bury)
    with at_work(consumer, jobs):
        until(lambda: consumer.stats().dropped == 1, "it is buried")
        assert consumer.wait_idle(PATIENCE)
    assert not jobs.handled()
    assert [attempt for attempt, _ in dead] == [2]
    assert "who knows" in dead[0][1]
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.dropped, stats.released, stats.failed) == (2, 1, 1, 2)
    at_rest(queue)


# ---------------------------------------------------------------------------- run_once


def test_run_once_remembers(tmp_path: Path) -> None:
    """What one run_once() could not clean up the next one does, on sight; and so does the line, once it is started."""
    queue = queue_of("ok 1", on_cleanup=refuse(2))
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs, messages_bulk_size=10)
    assert consumer.run_once().succeeded == 0
    queue.redeliver(queue.delivery("ok 1"))
    assert consumer.run_once().succeeded == 0
    queue.redeliver(queue.delivery("ok 1", 2))
    with at_work(consumer, jobs):
        queue.wait_for(lambda: queue.done, "it is cleaned up")
        assert consumer.wait_idle(PATIENCE)
    assert consumer.run_once().succeeded == 0
    assert jobs.notes("begun") == ["ok 1 #1"]
    stats = books(consumer.stats(), queue)
    assert (stats.received, stats.cleaned, stats.tombstoned, stats.duplicates) == (3, 1, 2, 2)
    at_rest(queue)


def test_run_once_handles_nothing_twice(tmp_path: Path) -> None:
    """Two deliveries of one message in the bulk of a run_once(): handled once, the newer one cleaned up."""

    class Twice(LeasedQueue):
        def get(self, limit: int | None = None) -> list[Any]:
            bulk = super().get(limit)
            self.redeliver(bulk[0])
            return bulk + super().get(1)

    queue = Twice(["ok 1", "ok 2"], lease=None)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs, messages_bulk_size=10)
    result = consumer.run_once()
    assert (result.succeeded, result.failed) == (2, 1)
    assert len(jobs.handled()) == 2
    assert sorted((item.body, item.attempt) for item in queue.done) == [("ok 1", 2), ("ok 2", 1)]
    stats = books(consumer.stats(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (3, 2, 1, 1)
    at_rest(queue)


@every_trouble
def test_run_once_fails_what_cannot_be_identified(trouble: Callable[[Any], Any], tmp_path: Path) -> None:
    """In run_once() too an identity that cannot be told fails its item, and no other."""

    def identity(item: Any) -> Any:
        return trouble(item) if item.body == "ok 1" and item.attempt == 1 else item.id

    queue = queue_of("ok 1", "ok 2", identity=identity)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs, messages_bulk_size=10)
    result = consumer.run_once()
    assert (result.succeeded, result.failed) == (1, 1)
    assert jobs.handled() == ["ok 2 #1"]
    assert consumer.run_once().succeeded == 1
    stats = books(consumer.stats(), queue)
    assert (stats.received, stats.cleaned, stats.released, stats.failed) == (3, 2, 1, 1)
    at_rest(queue)


def test_consumers_share_no_memory(tmp_path: Path) -> None:
    """What one consumer has done another one handles, if it comes to it: there is nothing global."""
    queue = queue_of("ok 1", on_cleanup=refuse())
    jobs = jobs_of(THREADS, tmp_path)
    first, _ = line_of(THREADS, queue, jobs, owns_queue=False)
    assert first.run_once().succeeded == 0
    queue.redeliver(queue.delivery("ok 1"))
    second, _ = line_of(THREADS, queue, jobs)
    assert second.run_once().succeeded == 1
    assert jobs.handled() == ["ok 1 #1", "ok 1 #2"]
    assert (first.stats().tombstoned, second.stats().cleaned, second.stats().duplicates) == (1, 1, 0)
    assert first.stats().balanced
    assert second.stats().balanced


# ---------------------------------------------------------------------------- memory


def test_memory_holds_so_many() -> None:
    """10,000 identities are remembered, and of more the youngest; by default, and by number."""
    memory = Memory()
    for number in range(25_000):
        memory.add(number, 0.0)
    assert len(memory) == 10_000
    assert [memory.has(number, 1.0) for number in (14_999, 15_000, 24_999)] == [False, True, True]
    few = Memory(most=2, seconds=HOUR)
    for name in "abc":
        few.add(name, 0.0)
    assert [few.has(name, 0.0) for name in "abc"] == [False, True, True]


def test_memory_lasts_an_hour() -> None:
    """An identity is forgotten after an hour, or as long as it was told to last."""
    memory = Memory()
    memory.add("a", 100.0)
    assert memory.has("a", 100.0 + HOUR - 1)
    assert not memory.has("a", 100.0 + HOUR + 1)
    short = Memory(most=10, seconds=5.0)
    short.add("a", 0.0)
    short.add("b", 3.0)
    assert [short.has(name, 6.0) for name in "ab"] == [False, True]


def test_what_is_remembered_again_is_young() -> None:
    """An identity that is added once more has all its time before it, and is not the first to be pushed out."""
    memory = Memory(most=2, seconds=10.0)
    memory.add("a", 0.0)
    memory.add("b", 1.0)
    memory.add("a", 8.0)
    memory.add("c", 8.0)
    assert [memory.has(name, 9.0) for name in "abc"] == [True, False, True]
    assert memory.has("a", 17.0)


@given(
    deeds=st.lists(st.tuples(st.integers(0, 9), st.floats(0, 5), st.booleans()), max_size=60),
    most=st.integers(1, 6),
    seconds=st.floats(0.5, 20),
)
def test_memory_is_that_of_the_last_additions(deeds: list[tuple[int, float, bool]], most: int, seconds: float) -> None:
    """It has an identity exactly if it is among the last `most` different ones added, and was added less than
    `seconds` ago.
    """
    memory = Memory(most=most, seconds=seconds)
    added: dict[int, float] = {}
    now = 0.0
    for identity, passed, asks in deeds:
        now += passed
        if asks:
            young = list(added)[-most:]
            expected = identity in young and added[identity] + seconds > now
            assert memory.has(identity, now) == expected
        else:
            added.pop(identity, None)
            added[identity] = now
            memory.add(identity, now)
        assert len(memory) <= most


def test_the_memory_of_a_line_is_bounded() -> None:
    """However many successes cannot be cleaned up, what a consumer keeps of them does not grow beyond its bound."""
    count = 300

    class Grim(MemoryQueue[Any]):
        def cleanup(self, items: Any) -> None:
            raise OSError("never")

    queue = Grim(bulk=100)
    queue.put_many([{"body": number} for number in range(count)])
    memory = Memory(most=50)
    consumer = Consumer(queue, read_all, 1, 1)
    for lane in consumer._lanes:
        assert lane.custody is not None
        lane.custody._memory = memory
    with consumer:
        until(lambda: consumer.stats().tombstoned == count, "all are given up")
    report = consumer.shutdown()
    assert report.balanced
    assert len(memory) == 50
