"""Whatever handlers, items and observers raise: one item pays for it, nothing is lost, and the line goes on."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from queue_consumer import (
    CallbackFailed,
    ChunkHandled,
    Constant,
    ConsumerStopped,
    Event,
    MemoryQueue,
    WorkerDied,
    each,
)
from queue_consumer.testing import RecordingObserver
from support.handlers import (
    SHARED,
    Deadly,
    Failing,
    Item,
    Odd,
    Stubborn,
    Unopenable,
    Unpicklable,
    Unspeakable,
    follow,
    follow_and_ack,
    read_all,
)
from support.line_pools import (
    FORKSERVER,
    PATIENCE,
    PROCESSES,
    THREADS,
    PoolKind,
    every_pool,
    in_process,
    most_pools,
    run_to_rest,
)
from support.line_queues import ScriptedQueue

DEEDS = ("raise", "exit", "interrupt", "raise odd", "raise unspeakable", "raise stubborn", "raise shared")


# ---------------------------------------------------------------------------- what handlers raise


@every_pool
def test_whatever_is_raised_costs_one_item(pool: PoolKind) -> None:
    """SystemExit, KeyboardInterrupt, exceptions of any make: the item held fails, and no worker dies of it."""
    bulks = [[Item(f"{deed} {index}", deed if index == 2 else "") for index in range(5)] for deed in DEEDS * 3]
    queue = ScriptedQueue(bulks)
    events = RecordingObserver()
    consumer = pool.consumer(queue, follow, max_handlers=1, messages_bulk_size=5, observers=[events])
    report = run_to_rest(consumer)
    queue.reconcile(report)
    assert {id(item) for item in queue.returned()} == {id(bulk[2]) for bulk in bulks}
    assert report.stats.failed == len(bulks)
    assert not events.of(WorkerDied)
    assert report.stats.revived == 0


@every_pool
def test_failures_are_told_as_plain_values(pool: PoolKind) -> None:
    """Of what was raised the kind, the words and the traceback are told, in every pool alike."""
    queue = ScriptedQueue([[Item(deed, deed)] for deed in DEEDS])
    events = RecordingObserver()
    queue.reconcile(run_to_rest(pool.consumer(queue, follow, max_handlers=1, observers=[events])))
    told = {event.failed[0].name: event.failure for event in events.of(ChunkHandled)}
    failures = {name: failure for name, failure in told.items() if failure is not None}
    assert {name: (failure.kind, failure.message) for name, failure in failures.items()} == {
        "raise": ("support.handlers.Failing", "as told"),
        "exit": ("SystemExit", "3"),
        "interrupt": ("KeyboardInterrupt", ""),
        "raise odd": ("support.handlers.Odd", "7: odd"),
        "raise unspeakable": ("support.handlers.Unspeakable", "<its message cannot be shown: RuntimeError>"),
        "raise stubborn": ("support.handlers.Stubborn", failures["raise stubborn"].message),
        "raise shared": ("support.handlers.Failing", "one instance for all"),
    }
    assert all("in deed" in failure.traceback for failure in failures.values())


@most_pools
def test_failure_is_logged_with_its_traceback(pool: PoolKind, caplog: pytest.LogCaptureFixture) -> None:
    """What a handler raised is an ERROR in the log, once, with the traceback of where it was raised."""
    queue = ScriptedQueue([[Item("1"), Item("2", "raise odd"), Item("3")]])
    with caplog.at_level(logging.ERROR, logger="queue_consumer"):
        queue.reconcile(run_to_rest(pool.consumer(queue, follow, messages_bulk_size=3)))
    [record] = [record for record in caplog.records if "Odd" in record.getMessage()]
    assert record.name == "queue_consumer"
    assert "Traceback" in record.getMessage()
    assert "raise error" in record.getMessage()


def test_retry_and_drop_are_not_logged_as_errors(caplog: pytest.LogCaptureFixture) -> None:
    """`Retry` and `Drop` say what is to become of an item; they are no errors, and nobody is woken for them."""
    queue = ScriptedQueue([[Item("1", "retry")], [Item("2", "drop")]])
    with caplog.at_level(logging.WARNING, logger="queue_consumer"):
        report = run_to_rest(THREADS.consumer(queue, follow))
    queue.reconcile(report)
    assert caplog.records == []
    assert report.stats.failed == 0


def test_failure_under_each_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What a function of one item raised is logged like what any other handler raises."""

    @each
    def one(item: Item) -> None:
        follow(iter([item]))

    queue = ScriptedQueue([[Item("1"), Item("2", "raise odd"), Item("3", "raise"), Item("4")]])
    with caplog.at_level(logging.ERROR, logger="queue_consumer"):
        queue.reconcile(run_to_rest(THREADS.consumer(queue, one, messages_bulk_size=4)))
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == 2
    assert any("7: odd" in message and "Traceback" in message for message in logged)


def test_item_that_was_neither_acknowledged_nor_failed_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """An item that an explicit handler forgot comes back, and the log says why."""
    queue = ScriptedQueue([[Item("1"), Item("2", "forget"), Item("3")]])
    with caplog.at_level(logging.ERROR, logger="queue_consumer"):
        report = run_to_rest(THREADS.consumer(queue, follow_and_ack, messages_bulk_size=3, receipt="explicit"))
    queue.reconcile(report)
    assert report.stats.failed == 1
    assert "without ack() or fail()" in caplog.text


# ---------------------------------------------------------------------------- the user's exception


ERRORS: dict[str, Callable[[], BaseException]] = {
    "plain": lambda: Failing("as told"),
    "odd": lambda: Odd(7, "odd"),
    "stubborn": Stubborn,
    "unspeakable": Unspeakable,
    "without arguments": ValueError,
    "with a cause": lambda: caused(KeyError("inner")),
    "exit": lambda: SystemExit(3),
    "group": lambda: ExceptionGroup("many", [ValueError(1), TypeError(2)]),
}


def caused(cause: BaseException) -> BaseException:
    error = Failing("outer")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS)
@in_process
def test_exception_is_not_touched(pool: PoolKind, make: Callable[[], BaseException]) -> None:
    """An exception that a handler raised keeps its arguments, its notes, its cause: nothing is smuggled into it."""
    error = make()
    before = (
        error.args,
        error.__cause__,
        error.__context__,
        dict(vars(error)),
        getattr(error, "__notes__", None),
    )

    def handler(items: Iterator[Any]) -> None:
        next(items)
        raise error

    queue = ScriptedQueue([[Item("1"), Item("2")], [Item("3")]])
    queue.reconcile(run_to_rest(pool.consumer(queue, handler, messages_bulk_size=2)))
    after = (
        error.args,
        error.__cause__,
        error.__context__,
        dict(vars(error)),
        getattr(error, "__notes__", None),
    )
    assert after == before
    assert all(one is other for one, other in zip(error.args, before[0], strict=True))


@most_pools
def test_shared_exception_instance(pool: PoolKind) -> None:
    """One instance raised by several handlers at once mixes up nobody's items."""
    bulks = [[Item("good"), Item("bad", "raise shared"), Item("good")] for _ in range(40)]
    queue = ScriptedQueue(bulks)
    report = run_to_rest(pool.consumer(queue, follow, max_handlers=4, messages_bulk_size=3))
    queue.reconcile(report)
    assert {id(item) for item in queue.returned()} == {id(bulk[1]) for bulk in bulks}
    assert SHARED.args == ("one instance for all",)


def test_exception_is_raised_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a handler raises is never raised again: not in another thread, not out of `shutdown`, not out of `with`."""
    loose: list[object] = []
    monkeypatch.setattr(threading, "excepthook", loose.append)
    monkeypatch.setattr(sys, "unraisablehook", loose.append)
    queue = ScriptedQueue([[Item(deed, deed)] for deed in DEEDS])
    queue.reconcile(run_to_rest(THREADS.consumer(queue, follow)))
    assert loose == []


def test_exception_in_flight_is_not_replaced() -> None:
    """Leaving `with` by an exception lets that one through, whatever the consumer has to say."""
    queue = ScriptedQueue([[Item("1")]])
    consumer = THREADS.consumer(queue, read_all)

    def leave() -> None:
        with consumer:
            assert consumer.wait_idle(PATIENCE)
            raise Failing("the caller's own")

    with pytest.raises(Failing, match="the caller's own"):
        leave()
    queue.reconcile(consumer.shutdown())


@in_process
def test_handler_keeps_nothing_alive(pool: PoolKind) -> None:
    """An item that failed is not kept by its exception's traceback: the line lets go of both."""
    import gc
    import weakref

    class Tracked(Item):
        pass

    references: list[weakref.ref[Tracked]] = []

    def bulk() -> list[Tracked]:
        made = [Tracked("1", "raise"), Tracked("2")]
        references.extend(weakref.ref(item) for item in made)
        return made

    waiting = [bulk() for _ in range(10)]

    class Forgetful:
        def get(self) -> list[Tracked]:
            return waiting.pop() if waiting else []

    consumer = pool.consumer(Forgetful(), follow, messages_bulk_size=2)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
        # Each handler may still hold what it did last, until something else comes.
        gc.collect()
        alive = [reference for reference in references if reference() is not None]
        assert len(alive) <= 2 * 2 + 2
    assert consumer.shutdown().balanced


# ---------------------------------------------------------------------------- what cannot travel

TRAVELLERS: dict[str, type[Item]] = {"unpicklable": Unpicklable, "unopenable": Unopenable}
every_process_pool = pytest.mark.parametrize("pool", PROCESSES, ids=str)


@pytest.mark.parametrize("kind", TRAVELLERS.values(), ids=TRAVELLERS)
@every_process_pool
def test_item_that_cannot_travel_fails_alone(
    pool: PoolKind, kind: type[Item], caplog: pytest.LogCaptureFixture
) -> None:
    """An item that cannot be pickled, or cannot be unpickled, fails with a sentence; its neighbours are handled."""
    bulks = [
        [kind("bad") if index == bad else Item(f"{index}") for index in range(size)]
        for size in (1, 2, 10)
        for bad in {0, size // 2, size - 1}
    ]
    queue = ScriptedQueue(bulks)
    report = run_to_rest(pool.consumer(queue, read_all, max_handlers=1, messages_bulk_size=10))
    queue.reconcile(report)
    assert {item.name for item in queue.returned()} == {"bad"}
    assert (report.stats.released, report.stats.failed) == (len(bulks), len(bulks))
    assert report.stats.revived == 0
    assert "the item cannot be" in caplog.text


@pytest.mark.parametrize("receipt", ["advance", "return", "explicit"])
def test_item_that_kills_whoever_opens_it(receipt: Any) -> None:
    """A chunk whose items kill the child before the handler was called is never cleaned up for it."""
    # Far more chunks than a child can have in hand, so that every place for a receipt has been used before.
    peaceful = [[Item(f"{index}")] for index in range(1500)]
    deadly = [Deadly("bad")]
    queue = ScriptedQueue([*peaceful, deadly])
    handler = follow_and_ack if receipt == "explicit" else read_all
    report = run_to_rest(FORKSERVER.consumer(queue, handler, max_handlers=1, receipt=receipt))
    queue.reconcile(report)
    assert queue.returned() == deadly
    assert (report.stats.cleaned, report.stats.failed) == (1500, 1)
    assert report.stats.revived in (1, 2)  # once with others, so that nobody knows who it was, and once alone


@every_process_pool
def test_what_a_handler_returns_need_not_travel(pool: PoolKind) -> None:
    """The value that a handler returns is ignored, even one that cannot be sent anywhere."""
    from support.handlers import returns_what_cannot_travel

    queue = ScriptedQueue([[Item("1"), Item("2")], [Item("3")]])
    report = run_to_rest(pool.consumer(queue, returns_what_cannot_travel, messages_bulk_size=2))
    queue.reconcile(report)
    assert report.stats.cleaned == 3


# ---------------------------------------------------------------------------- observers


class Raising:
    """An observer that raises when it is told of a certain kind of event, and counts how often it was told at all."""

    def __init__(self, kind: type[Event] | None, error: BaseException) -> None:
        self.kind = kind
        self.error = error
        self.told = 0
        self.raised = 0

    def __call__(self, event: Event) -> None:
        self.told += 1
        if self.kind is None or isinstance(event, self.kind):
            self.raised += 1
            raise self.error


@pytest.mark.parametrize("error", [Failing("mute me"), SystemExit(1), KeyboardInterrupt()], ids=repr)
@most_pools
def test_observer_that_raises_is_muted(pool: PoolKind, error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """An observer that raises is logged once and not told again; the others are, and the line is not hurt."""
    raising, events = Raising(None, error), RecordingObserver()
    queue = ScriptedQueue([[Item("1"), Item("2", "raise"), Item("3")] for _ in range(5)])
    report = run_to_rest(pool.consumer(queue, follow, messages_bulk_size=3, observers=[raising, events]))
    queue.reconcile(report)
    assert raising.told == 1
    assert [record.getMessage() for record in caplog.records if "is muted" in record.getMessage()] != []
    assert len([record for record in caplog.records if "is muted" in record.getMessage()]) == 1
    assert len(events.of(ConsumerStopped)) == 1
    assert len(events.of(CallbackFailed)) == 1
    assert (report.stats.cleaned, report.stats.failed) == (10, 5)


@pytest.mark.parametrize("kind", Event.__subclasses__(), ids=lambda kind: kind.__name__)
def test_observer_that_raises_of_each_event(kind: type[Event]) -> None:
    """Whichever event an observer raises of, no item is lost, handled twice, or left without its end."""
    raising = Raising(kind, Failing("of all things"))
    queue = ScriptedQueue([[Item("1"), Item("2", "raise"), Item("3", "drop")] for _ in range(5)])
    report = run_to_rest(THREADS.consumer(queue, follow, messages_bulk_size=3, observers=[raising]))
    queue.reconcile(report)
    stats = report.stats
    assert (stats.cleaned, stats.dropped, stats.released) == (5, 5, 5)
    assert raising.raised <= 1


# ---------------------------------------------------------------------------- room is given back


@pytest.mark.parametrize("deed", ["raise", "exit", "interrupt", "retry", "drop", "return", "after raise"])
@in_process
def test_no_ending_keeps_room(pool: PoolKind, deed: str) -> None:
    """However a call ends, its place and its room are given back: a hundred bad ones pass where six have room."""

    queue = ScriptedQueue([[Item(f"{index}", deed)] for index in range(100)])
    consumer = pool.consumer(queue, follow, max_handlers=2, messages_bulk_size=3, prefetch=0)
    queue.reconcile(run_to_rest(consumer))
    assert len(queue.given) == 100  # with six places for items, of which not one may be lost on the way


def test_failing_items_come_back_until_they_are_done() -> None:
    """With a queue that takes back, every item is handled in the end, however often it failed before."""
    tries: dict[int, int] = {}

    def handler(numbers: Iterator[int]) -> None:
        for number in numbers:
            tries[number] = tries.get(number, 0) + 1
            if tries[number] <= number % 4:
                raise Failing(number)

    queue = MemoryQueue(range(100), journal=True)
    consumer = THREADS.consumer(queue, handler, max_handlers=1, messages_bulk_size=10, backoff=Constant(0))
    report = run_to_rest(consumer)
    assert tries == {number: number % 4 + 1 for number in range(100)}
    assert (report.stats.cleaned, report.stats.failed) == (100, report.stats.released)
    assert report.stats.failed == sum(number % 4 for number in range(100))
    assert queue.stats()["cleaned"] == 100
