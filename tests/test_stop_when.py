"""`stop_when`: the supervisor asks it with Stats, and the consumer stops when it says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from queue_consumer import CallbackFailed, Idle, MaxItems, State, Stats
from support.lifecycle import PATIENCE, POOLS, ProbeQueue, consumer_of, reconcile
from support.lifecycle_handlers import Gate

every_pool = pytest.mark.parametrize("pool", POOLS)
ITEMS = [f"ok-{number}" for number in range(20)]


def all_cleaned(stats: Stats) -> bool:
    return stats.cleaned == len(ITEMS)


@every_pool
def test_max_items_stops_the_consumer(pool: str) -> None:
    """`MaxItems(n)` ends `run()` when at least n items have come to an end."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of(pool, queue, stop_when=MaxItems(len(ITEMS)))
    assert reconcile(consumer.run(), queue).cleaned == len(ITEMS)


@every_pool
def test_idle_stops_the_consumer(pool: str) -> None:
    """`Idle(seconds)` ends `run()` when there has been nothing to do for so long, and not before all is done."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of(pool, queue, stop_when=Idle(0.1))
    report = consumer.run()
    assert report.stats.idle >= 0.1
    assert reconcile(report, queue).cleaned == len(ITEMS)


def test_idle_does_not_count_while_something_is_handled(tmp_path: Any) -> None:
    """A slow handler is no idleness: while it holds an item, `Idle` does not hold however often it is asked."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item])
    answers: list[bool] = []
    asked = threading.Event()
    idle = Idle(0)

    def condition(stats: Stats) -> bool:
        if stats.received:
            answers.append(idle(stats))
            if len(answers) == 5:
                asked.set()
        return False

    consumer, _ = consumer_of("threads", queue, stop_when=condition)
    with consumer:
        gate.wait_for()
        answers.clear()
        asked.clear()
        assert asked.wait(PATIENCE)
        assert not any(answers[:5])
        gate.open()
        assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), queue)


@pytest.mark.parametrize(
    "condition",
    [
        MaxItems(len(ITEMS)) & all_cleaned,
        MaxItems(10**9) | all_cleaned,
        Idle(10**6) | MaxItems(len(ITEMS)),
        all_cleaned,
    ],
    ids=["and", "or", "both in the box", "a callable"],
)
def test_conditions_combine(condition: Callable[[Stats], bool]) -> None:
    """Conditions combine with & and |, with each other and with any callable of Stats."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of("threads", queue, stop_when=condition)
    assert reconcile(consumer.run(), queue).cleaned == len(ITEMS)


def test_stop_when_is_asked_on_the_supervisors_thread() -> None:
    """It is asked with `Stats` on the supervisor's thread, until it says yes, and not again."""
    asked: list[tuple[str, State]] = []

    def condition(stats: Stats) -> bool:
        asked.append((threading.current_thread().name, stats.state))
        return len(asked) == 3

    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of("threads", queue, stop_when=condition)
    reconcile(consumer.run(), queue)
    assert asked == [("queue_consumer-supervisor", State.RUNNING)] * 3


def test_stop_when_stops_a_consumer_that_nobody_waits_for() -> None:
    """It works the same whether somebody blocks in `run()` or not, and while the consumer is paused."""
    queue = ProbeQueue(ITEMS)
    go = threading.Event()
    consumer, _ = consumer_of("threads", queue, stop_when=lambda stats: go.is_set())
    consumer.pause()
    thread = consumer.supervise()
    assert thread is not None
    go.set()
    thread.join(PATIENCE)
    assert consumer.state is State.STOPPED
    assert reconcile(consumer.shutdown(), queue).received == 0


@pytest.mark.parametrize("error", [ValueError("no idea"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_stop_when_that_raises_is_told_of_once(error: BaseException) -> None:
    """A condition that raises says nothing: the consumer goes on, is supervised still, and tells of it once."""
    asked: list[None] = []
    often = threading.Event()

    def condition(stats: Stats) -> bool:
        asked.append(None)
        if len(asked) > 5:
            often.set()
        raise error

    queue = ProbeQueue(ITEMS)
    consumer, events = consumer_of("threads", queue, stop_when=condition)
    with consumer:
        assert often.wait(PATIENCE)
        assert consumer.state is State.RUNNING
        assert consumer.wait_idle(PATIENCE)
    (failed,) = events.of(CallbackFailed)
    assert (failed.callback, failed.error) == ("stop_when", repr(error))
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)


@pytest.mark.parametrize("condition", [5, "idle", lambda: True], ids=["a number", "a string", "no argument"])
def test_stop_when_must_be_callable_with_stats(condition: Any) -> None:
    """What cannot be asked is refused when the consumer is made."""
    with pytest.raises(TypeError, match=r"^stop_when must be callable with Stats, or None; got "):
        consumer_of("threads", ProbeQueue(), stop_when=condition)
