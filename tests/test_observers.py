"""What the observers in the box tell the outside."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest

from queue_consumer import (
    BulkReceived,
    CallbackFailed,
    ChunkHandled,
    ChunkStarted,
    CleanupFailed,
    Consumer,
    ConsumerStarted,
    ConsumerStopped,
    Event,
    Failure,
    HandlerStuck,
    ItemsCleaned,
    ItemsLost,
    ItemsReleased,
    LeasesBehind,
    Leftover,
    MemoryQueue,
    Observer,
    Report,
    Stalled,
    State,
    Stats,
    WorkerDied,
    WorkerRevived,
    each,
)
from queue_consumer.observers import LogObserver, StatsdObserver

FAILURE = Failure("ValueError", "no good")


@dataclass
class Message:
    """An item with an id, and a body that no log may show."""

    id: str
    body: str = "SECRET"


A, B = Message("a"), Message("b")
MANY = tuple(Message(f"m{number}") for number in range(12))


def received(*items: Any) -> BulkReceived:
    return BulkReceived(worker="getter-1", items=items, waited=0, took=0.0012)


def started(*items: Any) -> ChunkStarted:
    return ChunkStarted(worker="handler-1", items=items, on_belt=0.25)


def handled(worker: str = "handler-1", **fates: Any) -> ChunkHandled:
    facts: dict[str, Any] = dict.fromkeys(("consumed", "failed", "dropped", "handed_on"), ())
    facts |= {"worker": worker, "failure": None, "took": 2.0, **fates}
    return ChunkHandled(**facts)


def stuck(worker: str = "handler-1", *, replaced: bool = False) -> HandlerStuck:
    return HandlerStuck(worker=worker, item=A, seconds=61, stack="line 1", limit="stuck_time", replaced=replaced)


def stopped(*, leftovers: tuple[Leftover, ...] = (), balanced: bool = True) -> ConsumerStopped:
    stats = Stats(state=State.STOPPED, received=2, cleaned=2)
    return ConsumerStopped(report=Report(stats=stats, balanced=balanced, leftovers=leftovers))


LINES: list[tuple[Event, int, str]] = [
    (
        ConsumerStarted(pool="threads", getters=2, handlers=4),
        logging.INFO,
        "started: 2 getters, 4 handlers in threads",
    ),
    (received(A, B), logging.INFO, "getter-1 received 2 items (a, b) (1.2 ms)"),
    (received(1), logging.INFO, "getter-1 received 1 item (1.2 ms)"),
    (
        received(*MANY),
        logging.INFO,
        "getter-1 received 12 items (m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, …) (1.2 ms)",
    ),
    (started(A), logging.INFO, "handler-1 was handed 1 item (a), after 250 ms on the belt"),
    (
        handled(consumed=(A,), handed_on=(B,)),
        logging.INFO,
        "handler-1 consumed 1 item (a), handed on 1 item (b) (2 s)",
    ),
    (handled(), logging.INFO, "handler-1 handled nothing (2 s)"),
    (handled(failed=(A,)), logging.INFO, "handler-1 failed 1 item (a) (2 s)"),
    (
        handled(failed=(A,), dropped=(B,), failure=FAILURE),
        logging.WARNING,
        "handler-1 dropped 1 item (b), failed 1 item (a) (2 s): ValueError: no good",
    ),
    (ItemsCleaned(items=(A,), dropped=False, took=0.5), logging.INFO, "cleaned up 1 item (a) (500 ms)"),
    (ItemsCleaned(items=(A,), dropped=True, took=0.5), logging.INFO, "dropped 1 item (a) (500 ms)"),
    (
        ItemsReleased(items=(A, B), delay=1500, left=False),
        logging.INFO,
        "released 2 items (a, b), to be seen again after 1500 s",
    ),
    (
        ItemsReleased(items=(A,), delay=0, left=True),
        logging.INFO,
        "left 1 item (a): the queue does not take them back",
    ),
    (
        CleanupFailed(verb="cleanup", items=(A,), attempt=2, error="TimeoutError()", final=False),
        logging.WARNING,
        "cleanup of 1 item (a) failed (attempt 2), it is tried again: TimeoutError()",
    ),
    (
        CleanupFailed(verb="release", items=(A,), attempt=5, error="TimeoutError()", final=True),
        logging.WARNING,
        "release of 1 item (a) failed (attempt 5), it is not tried again: TimeoutError()",
    ),
    (ItemsLost(items=(A,)), logging.WARNING, "the leases of 1 item (a) are lost"),
    (LeasesBehind(late=1.5), logging.WARNING, "leases are renewed 1.5 s late, so less is fetched"),
    (
        WorkerDied(worker="getter-1", error="OSError()", revive_in=0.1),
        logging.WARNING,
        "getter-1 died, to be revived in 100 ms: OSError()",
    ),
    (
        WorkerRevived(worker="getter-1", restarts=3),
        logging.INFO,
        "getter-1 was revived (number 3 in a row)",
    ),
    (
        stuck(),
        logging.WARNING,
        "handler-1 has been busy with 1 item (a) for 61 s, longer than stuck_time; it stands at:\nline 1",
    ),
    (
        stuck(replaced=True),
        logging.WARNING,
        "handler-1 has been busy with 1 item (a) for 61 s, longer than stuck_time; "
        "its place was given to a new one; it stands at:\nline 1",
    ),
    (
        Stalled(reason="no getter gets", seconds=30),
        logging.WARNING,
        "nothing has moved for 30 s: no getter gets",
    ),
    (CallbackFailed(callback="backoff", error="E()"), logging.WARNING, "backoff raised: E()"),
    (stopped(), logging.INFO, "stopped: received=2 cleaned=2 in_flight=0"),
    (
        stopped(balanced=False),
        logging.WARNING,
        "stopped: received=2 cleaned=2 in_flight=0 - THE LEDGER DOES NOT BALANCE",
    ),
]


@pytest.mark.parametrize(("event", "level", "line"), LINES)
def test_log_has_a_line_for_every_event(event: Event, level: int, line: str, caplog: pytest.LogCaptureFixture) -> None:
    """Counts and ids, never bodies; what is trouble is a warning."""
    caplog.set_level(logging.DEBUG, "queue_consumer")
    LogObserver()(event)
    assert caplog.record_tuples == [("queue_consumer", level, line)]
    assert "SECRET" not in caplog.text


def test_log_has_a_line_for_every_kind_of_event() -> None:
    """An event that is added to the line is added to the log."""
    kinds = {kind.__name__ for kind in Event.__subclasses__() if kind.__module__ == Event.__module__}  # rooms have more
    assert {type(event).__name__ for event, _, _ in LINES} == kinds


@dataclass(frozen=True, kw_only=True)
class OfARoom(Event):
    """An event that the line does not know."""

    message: str


def test_log_shows_nothing_of_events_that_it_does_not_know(caplog: pytest.LogCaptureFixture) -> None:
    """Only their names, since what they carry may be a body."""
    with caplog.at_level(logging.INFO, logger="queue_consumer"):
        LogObserver()(OfARoom(message="SECRET"))
    assert caplog.messages == ["OfARoom"]


def test_log_is_silent_about_empty_gets(caplog: pytest.LogCaptureFixture) -> None:
    """An idle consumer fills no log."""
    caplog.set_level(logging.DEBUG, "queue_consumer")
    LogObserver()(received())
    assert caplog.records == []


def test_log_goes_where_and_as_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Logger and level can be chosen; trouble stays a warning, or becomes what is worse."""
    logger = logging.getLogger("mine")
    caplog.set_level(logging.DEBUG, "mine")
    LogObserver(logger, logging.DEBUG)(received(A))
    LogObserver(logger, logging.DEBUG)(stuck())
    LogObserver(logger, logging.ERROR)(stuck())
    assert [(name, level) for name, level, _ in caplog.record_tuples] == [
        ("mine", logging.DEBUG),
        ("mine", logging.WARNING),
        ("mine", logging.ERROR),
    ]


class Client:
    """A statsd client that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []

    def increment(self, name: str, value: int) -> None:
        self.calls.append(("increment", name, value))

    def gauge(self, name: str, value: int) -> None:
        self.calls.append(("gauge", name, value))

    def total(self, name: str) -> int:
        return sum(value for verb, called, value in self.calls if (verb, called) == ("increment", name))

    @property
    def stuck(self) -> list[int]:
        return [value for verb, _, value in self.calls if verb == "gauge"]


COUNTERS = [
    *("request.messages", "received.messages", "started.messages"),
    *("failed.messages", "successful.messages", "revived.workers"),
]


def test_statsd_starts_every_metric_at_zero() -> None:
    """All metrics are there before anything has happened, as with the predecessor."""
    client = Client()
    StatsdObserver(client)
    assert client.calls == [*(("increment", name, 0) for name in COUNTERS), ("gauge", "stuck.handlers", 0)]


COUNTS: list[tuple[Event, dict[str, int]]] = [
    (received(), {"request.messages": 1}),
    (received(A, B), {"request.messages": 1, "received.messages": 2}),
    (started(A, B), {"started.messages": 2}),
    (handled(consumed=(A, B)), {}),
    (handled(consumed=(A,), failed=(B,), failure=FAILURE), {"failed.messages": 1}),
    (handled(failed=(A,)), {}),
    (ItemsCleaned(items=(A, B), dropped=False, took=0), {"successful.messages": 2}),
    (ItemsCleaned(items=(A, B), dropped=True, took=0), {}),
    (ItemsReleased(items=(A,), delay=0, left=False), {}),
    (CleanupFailed(verb="cleanup", items=(A,), attempt=1, error="", final=False), {}),
    (WorkerRevived(worker="getter-1", restarts=1), {"revived.workers": 1}),
    (WorkerDied(worker="getter-1", error="", revive_in=0), {}),
    (stopped(), {}),
]


@pytest.mark.parametrize(("event", "counts"), COUNTS)
def test_statsd_counts(event: Event, counts: dict[str, int]) -> None:
    """Each metric counts what it counted in the predecessor: items, real failures, real successes."""
    client = Client()
    StatsdObserver(client)(event)
    assert {name: client.total(name) for name in COUNTERS if client.total(name)} == counts


def test_statsd_gauges_the_handlers_that_are_stuck_now() -> None:
    """A handler that moves again, or is replaced, is not stuck any more."""
    client = Client()
    observer = StatsdObserver(client)
    for event in (
        stuck("handler-1"),
        stuck("handler-2"),
        stuck("handler-2"),
        handled("handler-3"),
        handled("handler-1"),
        WorkerRevived(worker="handler-2", restarts=0),
        stuck("handler-1"),
        stuck("handler-1", replaced=True),
    ):
        observer(event)
    assert client.stuck == [0, 1, 2, 2, 1, 0, 1, 0]


@pytest.mark.parametrize("prefix", ["app.consumer", "app.consumer."])
def test_statsd_prefixes_every_name(prefix: str) -> None:
    """A prefix stands before every name, with one dot between."""
    client = Client()
    StatsdObserver(client, prefix)(received(A))
    assert {name for _, name, _ in client.calls} == {f"app.consumer.{name}" for name in (*COUNTERS, "stuck.handlers")}


@pytest.mark.parametrize("missing", ["increment", "gauge"])
def test_statsd_needs_a_client_with_both_verbs(missing: str) -> None:
    """What is no statsd client is refused at once, not by silence later."""
    client: Any = Client()
    setattr(client, missing, None)
    with pytest.raises(TypeError, match=rf"client must have a method {missing}\(name, value\)"):
        StatsdObserver(client)


def test_observers_of_a_consumer(caplog: pytest.LogCaptureFixture) -> None:
    """On a whole line the metrics agree with the ledger, and the log tells it from start to stop."""
    caplog.set_level(logging.INFO, "told")

    @each
    def handler(item: int) -> bool:
        return item % 10 != 9

    client = Client()
    observers: list[Observer] = [StatsdObserver(client), LogObserver(logging.getLogger("told"))]
    consumer = Consumer(
        MemoryQueue(range(50)),
        handler,
        2,
        2,
        messages_bulk_size=4,
        observers=observers,
        backoff=lambda attempt: 1000,
    )
    with consumer:
        assert consumer.wait_idle(20)
    report = consumer.shutdown()
    assert report.balanced, report
    assert client.total("received.messages") == client.total("started.messages") == report.stats.received == 50
    assert client.total("successful.messages") == report.stats.cleaned == 45
    assert client.total("failed.messages") == report.stats.failed == 5
    assert client.total("request.messages") > 5
    told = [message for name, _, message in caplog.record_tuples if name == "told"]
    assert told[0] == "started: 2 getters, 2 handlers in threads"
    assert told[-1] == str(report)
