"""Every event, with its fields; observers that hurt nobody; and a logger that leaves all to the program."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import queue_consumer
from queue_consumer import (
    BulkReceived,
    CallbackFailed,
    ChunkHandled,
    ChunkStarted,
    CleanupFailed,
    Constant,
    Consumer,
    ConsumerStarted,
    ConsumerStopped,
    Event,
    HandlerStuck,
    ItemsCleaned,
    ItemsLost,
    ItemsReleased,
    Report,
    Stalled,
    Supervision,
    WorkerDied,
    WorkerRevived,
)
from queue_consumer.testing import RecordingObserver
from support.lifecycle import PATIENCE, POOLS, ProbeQueue, consumer_of, reconcile, until

every_pool = pytest.mark.parametrize("pool", POOLS)
ITEMS = [f"ok-{number}" for number in range(20)]
KINDS = [
    kind
    for kind in vars(queue_consumer).values()
    if inspect.isclass(kind) and issubclass(kind, Event) and kind is not Event
]
SECRET = "ok:the body of an item"


def durations(event: Event) -> dict[str, float]:
    """The fields of an event that are seconds."""
    names = ("waited", "took", "on_belt", "delay", "revive_in", "seconds")
    return {name: getattr(event, name) for name in names if hasattr(event, name)}


def told(pool: str, items: list[Any], **options: Any) -> tuple[RecordingObserver, Report]:
    """All that is told of one consumer that handles these items."""
    queue = ProbeQueue(items, **options.pop("queue", {}))
    consumer, events = consumer_of(pool, queue, **options)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    reconcile(report, queue)
    return events, report


# Events are values


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_events_are_frozen_keyword_only_values(kind: type[Event]) -> None:
    """An event cannot be changed, is made by keywords only, and equals another with the same facts."""
    fields = [field.name for field in dataclasses.fields(kind)]
    event = kind(**dict.fromkeys(fields, 1))
    assert event == kind(**dict.fromkeys(fields, 1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, fields[0], 2)
    with pytest.raises(TypeError):
        kind(*[1] * len(fields))


def test_every_event_of_the_contract_is_there() -> None:
    """The names of the contract are names of `queue_consumer`."""
    names = (
        "ConsumerStarted BulkReceived ChunkStarted ChunkHandled ItemsCleaned ItemsReleased CleanupFailed ItemsLost "
        "WorkerDied WorkerRevived HandlerStuck Stalled ConsumerStopped"
    )
    assert {kind.__name__ for kind in KINDS} >= set(names.split())
    assert ItemsLost in KINDS


# What is told


@every_pool
def test_the_events_of_a_good_day(pool: str) -> None:
    """Each station tells what it did: received, started, handled, cleaned; every item is in each of them once."""
    events, report = told(pool, ITEMS, messages_bulk_size=3, queue={"bulk": 7})
    received = [item for event in events.of(BulkReceived) for item in event.items]
    started = [item for event in events.of(ChunkStarted) for item in event.items]
    consumed = [item for event in events.of(ChunkHandled) for item in event.consumed]
    cleaned = [item for event in events.of(ItemsCleaned) for item in event.items]
    assert received == started == consumed == ITEMS
    assert sorted(cleaned) == sorted(ITEMS)
    assert {event.worker for event in events.of(BulkReceived)} == {"getter-1"}
    assert {event.worker for event in events.of(ChunkStarted)} == {"handler-1"}
    assert {event.worker for event in events.of(ChunkHandled)} == {"handler-1"}
    assert {len(event.items) for event in events.of(ChunkStarted)} <= {1, 2, 3}
    for event in events.of(ChunkHandled):
        assert (event.failed, event.dropped, event.handed_on, event.failure) == ((), (), (), None)
    assert {event.dropped for event in events.of(ItemsCleaned)} == {False}
    assert events.of(ItemsReleased) == []
    assert isinstance(events.events[0], ConsumerStarted)
    assert (events.events[0].pool, events.events[0].getters, events.events[0].handlers) == (pool, 1, 1)
    assert events.events[-1] == ConsumerStopped(report=report)


@every_pool
def test_durations_are_seconds_of_at_least_nothing(pool: str) -> None:
    """Every duration is a float of at least 0, of a clock that does not go back."""
    events, _ = told(pool, [*ITEMS, "raise", "retry:900", "drop"], backoff=Constant(900))
    seen = {type(event) for event in events.events if durations(event)}
    assert seen >= {BulkReceived, ChunkStarted, ChunkHandled, ItemsCleaned, ItemsReleased}
    for event in events.events:
        for name, seconds in durations(event).items():
            assert isinstance(seconds, (int, float)), (event, name)
            assert 0 <= seconds < 1000, (event, name)


@every_pool
def test_the_events_of_a_bad_day(pool: str) -> None:
    """What failed, was dropped, asked for a retry or was handed on is told, with why, and where it went."""
    events, _ = told(
        pool,
        ["ok-1", "raise:so bad", "drop:spam", "retry:7", "ok-2"],
        messages_bulk_size=5,
        queue={"bulk": 5},
        backoff=Constant(900),
    )
    handled = events.of(ChunkHandled)
    assert [(h.consumed, h.failed, h.dropped) for h in handled] == [
        (("ok-1",), ("raise:so bad",), ()),
        ((), (), ("drop:spam",)),
        ((), ("retry:7",), ()),
        (("ok-2",), (), ()),
    ]
    assert handled[0].handed_on == ("drop:spam", "retry:7", "ok-2")
    failure = handled[0].failure
    assert failure is not None
    assert (failure.kind, failure.message) == ("ValueError", "so bad")
    assert "in do" in failure.traceback
    assert [h.failure for h in handled[1:]] == [None] * 3
    assert {(e.items, e.delay, e.left) for e in events.of(ItemsReleased)} == {
        (("raise:so bad",), 900, False),
        (("retry:7",), 7, False),
    }
    assert [e.items for e in events.of(ItemsCleaned) if e.dropped] == [("drop:spam",)]


def test_empty_answers_are_told_too() -> None:
    """A `get` that brought nothing is a BulkReceived without items; one that raised is one, too."""

    def on_get(number: int) -> None:
        if number == 1:
            raise ConnectionError("down")

    queue = ProbeQueue([], on_get=on_get, wait=0)
    consumer, events = consumer_of("threads", queue)
    with consumer:
        events.wait_for(BulkReceived, 3)
    assert [event.items for event in events.of(BulkReceived)[:3]] == [(), (), ()]
    reconcile(consumer.shutdown(), queue)


def test_the_events_of_the_supervisor(tmp_path: Any) -> None:
    """Deaths, revivals, stuck handlers, failed cleanups, stalls and broken callbacks are told where they happen."""
    let_go, stalled = threading.Event(), threading.Event()
    failing = [OSError("not now")]

    def on_get(number: int) -> None:
        if number == 1:
            raise ConnectionError("down")

    def on_cleanup(items: list[Any]) -> None:
        if failing:
            raise failing.pop()
        assert stalled.wait(PATIENCE)

    def handler(items: Iterator[Any]) -> None:
        for _ in items:
            assert let_go.wait(PATIENCE)

    queue = ProbeQueue(["one"], on_get=on_get, on_cleanup=on_cleanup)
    consumer, events = consumer_of(
        "threads",
        queue,
        handler=handler,
        time_limit=0.1,
        supervision=Supervision(polling_time=0.02, stall_time=0.1),
        observers=[lambda event: 1 / 0],
    )
    with consumer:
        events.wait_for(HandlerStuck)
        let_go.set()
        events.wait_for(CleanupFailed)
        events.wait_for(Stalled)
        stalled.set()
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    assert reconcile(report, queue).cleaned == 1
    (died,), (revived,), (stuck,) = events.of(WorkerDied), events.of(WorkerRevived), events.of(HandlerStuck)
    assert (died.worker, died.error) == ("getter-1", "ConnectionError('down')")
    assert (revived.worker, revived.restarts) == ("getter-1", 1)
    assert (stuck.worker, stuck.item, stuck.limit, stuck.replaced) == ("handler-1", "one", "time_limit", False)
    assert "let_go.wait" in stuck.stack
    (failed,) = events.of(CleanupFailed)
    assert (failed.verb, failed.items, failed.attempt, failed.final) == ("cleanup", ("one",), 1, False)
    (muted,) = events.of(CallbackFailed)
    assert muted.callback.startswith("observer ")
    assert "ZeroDivisionError" in muted.error
    assert {kind for event in events.events for kind in [type(event)]} == {
        ConsumerStarted,
        BulkReceived,
        ChunkStarted,
        ChunkHandled,
        ItemsCleaned,
        CleanupFailed,
        WorkerDied,
        WorkerRevived,
        HandlerStuck,
        Stalled,
        CallbackFailed,
        ConsumerStopped,
    }


def test_events_are_told_on_the_thread_that_did_the_deed() -> None:
    """Observers are called synchronously: each station tells of its own deeds, on its own thread."""
    threads: dict[type[Event], set[str]] = {}

    def observer(event: Event) -> None:
        threads.setdefault(type(event), set()).add(threading.current_thread().name)

    told("threads", ITEMS, observers=[observer])
    assert threads[BulkReceived] == {"queue_consumer-getter-1"}
    assert threads[ChunkStarted] == threads[ChunkHandled] == {"queue_consumer-handler-1"}
    assert threads[ItemsCleaned] == {"queue_consumer-cleaner-1"}
    assert threads[ConsumerStopped] == {"queue_consumer-supervisor"}


# Observers


@every_pool
def test_where_nobody_listens_no_event_is_made(pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without observers no event is made for an item: it costs nothing."""
    from support.lifecycle_handlers import act, act_async

    made: list[str] = []
    for kind in (BulkReceived, ChunkStarted, ChunkHandled, ItemsCleaned):
        init = kind.__init__

        def counted(self: Any, *args: Any, _init: Any = init, **kwargs: Any) -> None:
            made.append(type(self).__name__)
            _init(self, *args, **kwargs)

        monkeypatch.setattr(kind, "__init__", counted)
    queue = ProbeQueue(ITEMS)
    handler: Any = act_async if pool == "coroutines" else act
    consumer = Consumer[Any](queue, handler, max_workers=1, max_handlers=1, pool=pool)  # type: ignore[arg-type]
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)
    assert made == []


@every_pool
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_an_observer_that_raises_is_muted_and_hurts_nobody(pool: str, error: BaseException, caplog: Any) -> None:
    """It is logged once with its traceback, told to the others, and not called again; no item's fate changes."""
    calls: list[Event] = []

    def broken(event: Event) -> None:
        calls.append(event)
        if isinstance(event, BulkReceived):
            raise error

    events, report = told(pool, ITEMS, observers=[broken])
    assert report.stats.cleaned == len(ITEMS)
    assert report.stats.revived == 0
    assert len([event for event in calls if isinstance(event, BulkReceived)]) == 1
    assert isinstance(calls[-1], BulkReceived)
    (muted,) = events.of(CallbackFailed)
    assert "broken" in muted.callback
    assert muted.error == repr(error)
    assert len(events.of(ItemsCleaned)) > 0
    logged = [record for record in caplog.records if "is muted" in record.getMessage()]
    assert [record.levelname for record in logged] == ["ERROR"]
    assert logged[0].exc_info


def test_an_observer_may_ask_and_pause() -> None:
    """An observer may call what does not wait: stats, pause, resume, stop."""
    seen: list[int] = []

    def observer(event: Event) -> None:
        if isinstance(event, ItemsCleaned):
            seen.append(consumer.stats().received)
            consumer.pause()
            consumer.resume()

    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of("threads", queue, observers=[observer])
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    assert seen
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)


@pytest.mark.parametrize(
    "observers", [5, [None], [lambda: None], "print"], ids=["number", "none", "of nothing", "text"]
)
def test_observers_must_be_callables_of_one_event(observers: Any) -> None:
    """What is no observer is refused when the consumer is made."""
    with pytest.raises(TypeError, match=r"^observers must be "):
        Consumer[Any](ProbeQueue(), lambda items: None, observers=observers)


def test_an_event_handler_that_is_slow_delays_only_its_own_station() -> None:
    """An observer that hangs at one station leaves the others at work."""
    let_go, inside = threading.Event(), threading.Event()

    def observer(event: Event) -> None:
        if isinstance(event, ItemsCleaned) and not inside.is_set():
            inside.set()
            assert let_go.wait(PATIENCE)

    queue = ProbeQueue(["first"])
    consumer, events = consumer_of("threads", queue, observers=[observer])
    with consumer:
        assert inside.wait(PATIENCE)
        queue.fill(["second"])
        until(lambda: len(events.of(ChunkHandled)) == 2, "the second is handled")
        let_go.set()
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == 2


# The logger


def test_the_logger_is_left_to_the_program() -> None:
    """`queue_consumer` has a NullHandler and no level, and importing it configures nothing else."""
    script = (
        "import logging, queue_consumer\n"
        "log = logging.getLogger('queue_consumer')\n"
        "print([type(handler).__name__ for handler in log.handlers], log.level, log.propagate, log.disabled)\n"
        "print(logging.getLogger().handlers)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "['NullHandler'] 0 True False\n[]\n"
    assert done.stderr == ""


@every_pool
def test_bodies_are_not_logged(pool: str, caplog: Any) -> None:
    """What the line itself logs about items has numbers and ids, never the items."""
    caplog.set_level(logging.DEBUG, logger="queue_consumer")
    failing = [OSError("not now")] * 2

    def fail_twice(*_: Any) -> None:
        if failing:
            raise failing.pop()

    options: dict[str, Any] = {"on_cleanup": fail_twice, "on_release": fail_twice}
    told(pool, [SECRET, f"raise:{len(SECRET)}", SECRET], queue=options, backoff=Constant(900))
    assert caplog.records
    for record in caplog.records:
        assert SECRET not in record.getMessage()
        assert "body" not in record.getMessage()


@every_pool
def test_a_failure_is_logged_once_with_its_traceback(pool: str, caplog: Any) -> None:
    """A handler's exception is one ERROR with the traceback of the handler; a good item logs nothing."""
    told(pool, ["ok-1", "raise:so bad", "ok-2"], backoff=Constant(900))
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.levelname == "ERROR"
    assert "ValueError: so bad" in record.getMessage()
    assert "lifecycle_handlers.py" in record.getMessage()
