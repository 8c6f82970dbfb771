"""`max_handlers` is changed while the consumer runs, in every pool, and no item pays for it; and what may be asked."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import Consumer, ConsumerStarted, Lane, MemoryQueue, Supervision, UsageError
from queue_consumer.testing import RecordingObserver
from support.lifecycle import POOLS, ProbeQueue, consumer_of, reconcile, until
from support.lifecycle_handlers import Gate, act, act_async
from support.line_pools import PoolKind

every_pool = pytest.mark.parametrize("pool", POOLS)


class Endless:
    """A queue that always has more, until it is over."""

    def __init__(self) -> None:
        self.over = False
        self.given = self.cleaned = 0

    def get(self, limit: int) -> list[str]:
        count = 0 if self.over else limit
        self.given += count
        return ["ok"] * count

    def cleanup(self, items: list[str]) -> None:
        self.cleaned += len(items)


def has_handlers(consumer: Consumer[Any], count: int) -> bool:
    return len([worker for worker in consumer.workers() if worker.kind == "handler"]) == count


QUICK = Supervision(polling_time=0.02)


@every_pool
def test_more_handlers_come_at_once(pool: str, tmp_path: Path) -> None:
    """After `resize` as many items are handled at the same time as it says."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item] * 3)
    consumer, _ = consumer_of(pool, queue)
    with consumer:
        gate.wait_for(1)
        consumer.resize(3)
        gate.wait_for(3)
        assert [worker.doing for worker in consumer.workers() if worker.kind == "handler"] == ["busy"] * 3
        gate.open()
        assert consumer.wait_idle(20)
    assert reconcile(consumer.shutdown(), queue).cleaned == 3


@every_pool
def test_fewer_handlers_finish_what_they_hold(pool: str, tmp_path: Path) -> None:
    """Who loses his place ends after the call that he is in; what he held is cleaned up, and the others go on."""
    gate, second = Gate(tmp_path), Gate(tmp_path, "second")
    queue = ProbeQueue([gate.item] * 3)
    consumer, _ = consumer_of(pool, queue, max_handlers=3, supervision=QUICK)
    with consumer:
        gate.wait_for(3)
        consumer.resize(1)

        def ending() -> int:
            return [worker.doing for worker in consumer.workers()].count("ending")

        until(lambda: ending() == 2, "two handlers are ending")
        assert consumer.stats().in_flight == 3
        gate.open()
        until(lambda: has_handlers(consumer, 1), "two have ended")
        queue.fill([second.item] * 2)
        second.wait_for(1)
        assert [worker.doing for worker in consumer.workers() if worker.kind == "handler"] == ["busy"]
        second.open()
        assert consumer.wait_idle(20)
    assert reconcile(consumer.shutdown(), queue).cleaned == 5


@every_pool
def test_a_handler_that_leaves_under_load_leaves(pool: Any) -> None:
    """However much waits, a handler that lost its place takes no more; and nothing is lost by coming and going."""
    queue = Endless()
    consumer = PoolKind(pool).consumer(queue, act_async if pool == "coroutines" else act, max_handlers=3)
    with consumer:
        for handlers in (1, 4, 2):
            consumer.resize(handlers)
            until(partial(has_handlers, consumer, handlers), f"there are {handlers} handlers")
        queue.over = True
        assert consumer.wait_idle(20)
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.cleaned == queue.cleaned == report.stats.received == queue.given


def test_a_consumer_can_be_resized_before_it_starts() -> None:
    """Before the start `resize` says how many there will be; paused it stays paused."""
    consumer, events = consumer_of("threads", ProbeQueue())
    consumer.pause()
    consumer.resize(3)
    with consumer:
        (started,) = events.wait_for(ConsumerStarted)
        assert started.handlers == consumer.options.handlers == 3
        until(lambda: consumer.stats().fetching == "paused", "the pause is seen")


def test_a_stuck_thread_that_leaves_is_not_replaced(tmp_path: Path) -> None:
    """A thread that is stuck when its place is taken away is said to be stuck, and nobody takes its place."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item] * 2)
    policy = Supervision(polling_time=0.02, stuck_time=0.3, stuck_limit=5)
    consumer, events = consumer_of("threads", queue, max_handlers=2, supervision=policy)
    with consumer:
        gate.wait_for(2)
        consumer.resize(1)
        until(lambda: consumer.stats().stuck == 2, "both are stuck")
        until(lambda: consumer.stats().revived == 1, "the one that has a place is replaced")
        handlers = [worker for worker in consumer.workers() if worker.kind == "handler"]
        assert sorted(worker.doing for worker in handlers) == ["idle", "stuck", "stuck"]

        def ages() -> list[float]:
            return [worker.seconds for worker in consumer.workers() if worker.doing == "stuck"]

        until(lambda: len(ages()) == 2 and min(ages()) > 0.6, "both grow older")
        gate.open()
        assert consumer.wait_idle(20)
    assert reconcile(consumer.shutdown(), queue).cleaned == 2
    assert len([event for event in events.events if type(event).__name__ == "WorkerRevived"]) == 1


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), ("2", TypeError), (True, TypeError)])
def test_a_wrong_number_is_refused(wrong: object, error: type[Exception]) -> None:
    """`resize` refuses what the constructor refuses, in a sentence."""
    consumer, _ = consumer_of("threads", ProbeQueue())
    with pytest.raises(error, match="max_handlers must be a whole number of at least 1"):
        consumer.resize(wrong)  # type: ignore[arg-type]
    consumer.shutdown()


@every_pool
def test_an_observer_can_be_added_before_the_start(pool: str, tmp_path: Path) -> None:
    """`observe` has observers told of everything, as if they had been given to the constructor."""
    queue = ProbeQueue(["ok"] * 5)
    consumer, first = consumer_of(pool, queue)
    second = RecordingObserver()
    consumer.observe(second)
    with consumer:
        assert consumer.wait_idle(20)
        with pytest.raises(UsageError, match=r"observe\(\) is for a consumer that was not started"):
            consumer.observe(second)
    kinds = [type(event).__name__ for event in second.events]
    assert sorted(kinds) == sorted(type(event).__name__ for event in first.events)
    assert kinds.count("ChunkHandled") == 5


def test_an_unwatched_consumer_is_watched_after_observe() -> None:
    """A consumer that was made without observers tells those that are added."""
    events = RecordingObserver()
    consumer = Consumer(MemoryQueue(["ok"]), handler=list, receipt="return", max_handlers=1).observe(events)
    with consumer:
        assert consumer.wait_idle(20)
    (started,) = events.of(ConsumerStarted)
    assert started.stats is not None
    assert started.stats().cleaned == consumer.stats().cleaned == 1
    assert len([event for event in events.events if type(event).__name__ == "ItemsCleaned"]) == 1


@every_pool
def test_workers_show_what_they_are_busy_with(pool: str, tmp_path: Path) -> None:
    """`workers` tells of each handler its item, for how long it has had it, and where it stands."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item])
    consumer, _ = consumer_of(pool, queue, max_handlers=2, supervision=QUICK)
    assert consumer.workers() == ()
    with consumer:
        gate.wait_for()
        until(lambda: any(worker.seconds > 0 for worker in consumer.workers()), "its time is seen")
        handlers = [worker for worker in consumer.workers(stacks=True) if worker.kind == "handler"]
        (busy,) = [worker for worker in handlers if worker.doing == "busy"]
        assert busy.item == gate.item
        assert "lifecycle_handlers.py" in busy.stack
        assert [worker.stack for worker in handlers if worker.doing == "idle"] == [""]
        gate.open()
    assert consumer.workers() == ()


def test_lanes_show_what_waits(tmp_path: Path) -> None:
    """`lanes` tells for each queue what was fetched and has not begun, and why it does not fetch more."""
    gate = Gate(tmp_path)
    urgent, usual = ProbeQueue([gate.item]), ProbeQueue(["ok"] * 3)

    class Both:
        lanes = (Lane(urgent, 5, "urgent"), Lane(usual, 1, "usual"))

    consumer, _ = consumer_of("threads", Both())
    with consumer:
        gate.wait_for()
        looks = {lane.name: lane for lane in consumer.lanes()}
        assert (looks["urgent"].priority, looks["urgent"].waiting) == (5, 0)
        assert looks["usual"].waiting <= 3
        gate.open()
        assert consumer.wait_idle(20)
    assert {lane.fetching for lane in consumer.lanes()} == {"stopped"}
    assert consumer.queue.lanes == Both.lanes


def start_and_be_interrupted(consumer: Consumer[Any], on_signal: Callable[[], object]) -> None:
    """Start it; a signal comes in the middle of that."""
    before = signal.signal(signal.SIGUSR1, lambda number, frame: on_signal())
    make_pool: Any = consumer._stations.pool

    def interrupted(*args: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return make_pool(*args)

    consumer._stations.pool = interrupted  # type: ignore[method-assign, assignment]
    try:
        consumer.start()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_resize_by_a_signal_handler_in_the_middle_of_start(pool: str) -> None:
    """`start()` goes on with what it had, and the consumer has the new number soon after, and stops."""
    consumer, _ = consumer_of(pool, ProbeQueue(["ok"] * 5), max_handlers=2, supervision=QUICK)
    start_and_be_interrupted(consumer, lambda: consumer.resize(3))
    until(lambda: has_handlers(consumer, 3), "there are three")
    assert consumer.wait_idle(20)
    assert reconcile(consumer.shutdown(), consumer.queue).cleaned == 5


def test_nobody_is_added_in_the_middle_of_start() -> None:
    """A signal handler that would add an observer then is refused: the line is made already."""
    consumer, _ = consumer_of("threads", ProbeQueue(["ok"]))
    refused: list[str] = []

    def add() -> None:
        with pytest.raises(UsageError) as error:
            consumer.observe(RecordingObserver())
        refused.append(str(error.value))

    start_and_be_interrupted(consumer, add)
    assert refused == ["observe() is for a consumer that was not started; this one is starting"]
    consumer.shutdown()


def test_resize_in_the_middle_of_resize() -> None:
    """A signal handler may resize while the main thread does: no deadlock, and one of the two numbers holds."""
    consumer, _ = consumer_of("threads", Endless(), max_handlers=2, supervision=QUICK)
    with consumer:
        belt: Any = consumer._line.belt
        with belt._lock:  # as if interrupted there
            consumer.resize(3)
        until(lambda: has_handlers(consumer, 3), "there are three")
