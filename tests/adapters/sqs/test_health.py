"""When the service is down, or will not have us: nothing is lost, nothing restarts, little is said, and it is over
as soon as it is over.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from queue_consumer import Consumer, WorkerDied, WorkerRevived, each
from queue_consumer.testing import RecordingObserver
from queue_consumer_sqs import (
    AccessDenied,
    BadCredentials,
    InvalidRequest,
    QueueNotFound,
    SQSError,
    Throttled,
    Unreachable,
)
from queue_consumer_sqs._health import PAUSES, Health
from support.lifecycle import until
from support.proxied import Proxied, Running
from support.sqs_calls import PATIENCE
from support.sqs_faults import (
    BAD_GATEWAY,
    CUT,
    DENIED,
    DONE_BUT_500,
    EXPIRED,
    GONE,
    INTERNAL,
    LOST,
    THROTTLED,
    TRUNCATED,
    UNAVAILABLE,
    Chaos,
    Fault,
)

pytest_plugins = ["support.proxied_fixtures"]

AGAIN = "it is tried again until it works"
OUTAGES: dict[str, tuple[Fault, type[SQSError]]] = {
    "cut": (CUT, Unreachable),
    "answer lost": (LOST, Unreachable),
    "answer truncated": (TRUNCATED, Unreachable),
    "500": (INTERNAL, Unreachable),
    "done, but 500": (DONE_BUT_500, Unreachable),
    "503": (UNAVAILABLE, Unreachable),
    "502 in HTML": (BAD_GATEWAY, Unreachable),
    "429": (Fault(name="slow down", status=429, code="Anything"), Throttled),
    "throttled": (THROTTLED, Throttled),
    "expired": (EXPIRED, BadCredentials),
    "denied": (DENIED, AccessDenied),
    "deleted": (GONE, QueueNotFound),
    "odd": (Fault(name="odd", status=400, code="SomethingNew"), InvalidRequest),
}


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Warnings:
    caplog.set_level(logging.WARNING, "queue_consumer.sqs")
    return Warnings(caplog)


class Warnings:
    """What was said of the health of queues."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def __iter__(self) -> Iterator[str]:
        return iter([record.getMessage() for record in self._caplog.records if record.name == "queue_consumer.sqs"])

    @property
    def kinds(self) -> list[str]:
        return ["again" if "answers again, after" in words else "fails" if AGAIN in words else words for words in self]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between two tries that can be waited for."""
    quicker = tuple((kind, 0.001, 0.02) for kind, _, _ in PAUSES)
    monkeypatch.setattr("queue_consumer_sqs._health.PAUSES", quicker)


# ---------------------------------------------------------------------- polls


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("what", OUTAGES)
def test_outage(proxied: Proxied, warnings: Warnings, what: str) -> None:
    """Polls are tried again until they are answered; it is said once that they fail, and once that they do not."""
    fault, kind = OUTAGES[what]
    url = proxied.make(VisibilityTimeout=1)
    queue = proxied.open(url, wait_time=0, poll_interval=0.05)
    proxied.proxy.always(fault, "ReceiveMessage")
    proxied.send(url, "text")
    running = Running(queue.get)
    proxied.proxy.wait_for("ReceiveMessage", 5, where=lambda call: call.ended)
    assert queue.stats()["state"].startswith(f"{kind.__name__}: ")
    assert running.is_alive()
    proxied.proxy.always(None, "ReceiveMessage")
    # What was in an answer that was lost comes again when its visibility timeout has passed.
    messages = running.result()
    while not messages:
        messages = queue.get()
    assert [message.body for message in messages] == ["text"]
    assert queue.stats()["state"] == "ok"
    assert warnings.kinds == ["fails", "again"]
    first, last = warnings
    assert first.startswith(f"queue {queue.name}: ")
    assert last.startswith(f"queue {queue.name} answers again")
    assert queue.stats()["received"] == 1


@pytest.mark.usefixtures("quick")
def test_keys_are_looked_for_anew(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """After keys were refused those are used that are there by then: nothing needs to be started anew."""
    url = proxied.make()
    queue = proxied.open(url, session=None, wait_time=0, poll_interval=0.05)
    proxied.proxy.always(EXPIRED, "ReceiveMessage")
    proxied.send(url, "text")
    running = Running(queue.get)
    proxied.proxy.wait_for("ReceiveMessage", 3, where=lambda call: call.ended)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")
    proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.signer.startswith("renewed "))
    proxied.proxy.always(None, "ReceiveMessage")
    assert [message.body for message in running.result()] == ["text"]


@pytest.mark.usefixtures("quick")
def test_every_change_is_told_once(proxied: Proxied, warnings: Warnings) -> None:
    """One line for each kind of failure in a row, however long it lasts, and one when it is over."""
    queue = proxied.queue("text")
    proxied.proxy.plan("ReceiveMessage", *[THROTTLED] * 3, *[INTERNAL, CUT] * 2, EXPIRED, EXPIRED, THROTTLED)
    assert len(queue.get()) == 1
    assert warnings.kinds == ["fails", "fails", "fails", "fails", "again"]
    told = list(warnings)
    assert "rate exceeded (ThrottlingException)" in told[0]
    assert "internal failure (InternalFailure)" in told[1]
    assert "expired (ExpiredToken)" in told[2]
    assert "rate exceeded (ThrottlingException)" in told[3]


@pytest.mark.usefixtures("quick")
def test_many_getters_say_it_once(proxied: Proxied, warnings: Warnings) -> None:
    """However many getters see an outage, it is told once, and so is its end."""
    url = proxied.make()
    queue = proxied.open(url)
    proxied.proxy.always(UNAVAILABLE, "ReceiveMessage")
    running = [Running(queue.get) for _ in range(8)]
    proxied.proxy.wait_for("ReceiveMessage", 50)
    proxied.proxy.always(None, "ReceiveMessage")
    proxied.send(url, "text")
    while all(one.is_alive() for one in running):
        running[0].join(0.05)  # any of them may be the first
    while any(one.is_alive() for one in running):
        queue.interrupt()
        for one in running:
            one.join(0.05)  # some may be in a poll that may not be cut, and ends by itself
    assert sorted(message.body for one in running for message in one.result()) == ["text"]
    assert warnings.kinds == ["fails", "again"]


def test_a_queue_that_comes_back(proxied: Proxied, warnings: Warnings) -> None:
    """A queue that was deleted, and is made again, is polled again."""
    url = proxied.make()
    queue = proxied.open(url, wait_time=0, poll_interval=0.05)
    proxied.client.delete_queue(QueueUrl=url)
    running = Running(queue.get)
    proxied.proxy.wait_for("ReceiveMessage", 2, where=lambda call: call.ended)
    assert queue.stats()["state"].startswith("QueueNotFound: ")
    proxied.client.create_queue(QueueName=queue.name)
    proxied.send(url, "text")
    messages = running.result()
    while not messages:
        messages = queue.get()
    assert [message.body for message in messages] == ["text"]
    assert warnings.kinds == ["fails", "again"]


KINDS: list[tuple[SQSError, float, float]] = [
    (Throttled(""), 0.2, 10.0),
    (Unreachable(""), 0.1, 10.0),
    (BadCredentials(""), 1.0, 30.0),
    (AccessDenied(""), 2.0, 60.0),
    (QueueNotFound(""), 1.0, 30.0),
    (InvalidRequest(""), 0.5, 30.0),
    (SQSError(""), 0.5, 30.0),
]


@pytest.mark.parametrize(("error", "first", "longest"), KINDS, ids=lambda value: type(value).__name__)
def test_back_off_grows(error: SQSError, first: float, longest: float) -> None:
    """Pauses double with each failure, up to the longest of their kind, each with half of it left to chance."""
    health = Health("q")
    pauses = [health.failed(error) for _ in range(40)]
    for number, pause in enumerate(pauses):
        whole = min(longest, first * 2.0**number)
        assert whole / 2 <= pause <= whole
    assert len(set(pauses[-10:])) == 10


def test_back_off_begins_anew() -> None:
    """After an answer, or an error of another kind, the first pause is a short one again."""
    health = Health("q")
    for _ in range(10):
        health.failed(Throttled("t"))
    assert health.failed(Unreachable("u")) <= 0.1
    assert health.words == "Unreachable: u"
    for _ in range(10):
        health.failed(Unreachable("u"))
    health.answered()
    assert health.words == "ok"
    assert health.failed(Unreachable("u")) <= 0.1


def test_answers_of_a_queue_that_is_well_are_not_told(warnings: Warnings) -> None:
    """Nothing is said of what works."""
    health = Health("q")
    health.answered()
    health.answered()
    assert list(warnings) == []


# ---------------------------------------------------------------------- with a consumer


class Journal:
    """A handler that writes down what it was given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.handled: Counter[str] = Counter()

    def __call__(self, message: Any) -> None:
        with self._lock:
            self.handled[message.body] += 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("what", ["cut", "503", "throttled", "expired", "deleted"])
def test_an_outage_in_the_life_of_a_consumer(proxied: Proxied, warnings: Warnings, what: str) -> None:
    """A consumer goes on after an outage as if nothing had been: no restart, nothing lost, no "empty" meanwhile."""
    fault, _ = OUTAGES[what]
    queue, journal, events = (
        proxied.queue(*map(str, range(10)), wait_time=1, idle_lease=1),
        Journal(),
        RecordingObserver(),
    )
    everything = {str(number) for number in range(20)}
    with Consumer(queue, each(journal), max_workers=2, max_handlers=2, observers=[events]) as consumer:
        assert consumer.wait_idle(PATIENCE)
        proxied.proxy.always(fault)
        proxied.proxy.hang_up()
        before = len(proxied.proxy.calls("ReceiveMessage"))
        proxied.send(queue.url, *map(str, range(10, 20)))
        proxied.proxy.wait_for("ReceiveMessage", before + 3)
        assert not consumer.wait_idle(0.2)
        assert consumer.stats().queue["state"] != "ok"
        proxied.proxy.always(None)
        # The service may have given some to a poll that was hung up, and hides them from us for the lease of that one.
        until(lambda: set(journal.handled) == everything, "all are handled")
        assert consumer.wait_idle(PATIENCE)
        assert consumer.stats().queue["state"] == "ok"
    assert not events.of(WorkerDied)
    assert not events.of(WorkerRevived)
    # To hang up in the middle of a poll may be told apart from what comes after.
    assert warnings.kinds[-1] == "again"
    assert warnings.kinds.count("again") == 1
    assert len(warnings.kinds) <= 3
    assert proxied.left_in(queue.url) == 0


@pytest.mark.usefixtures("quick")
def test_stop_during_an_outage(proxied: Proxied) -> None:
    """A consumer stops while its queue cannot be reached, and waits for nothing."""
    queue = proxied.queue()
    with Consumer(queue, each(Journal()), max_workers=2, max_handlers=2) as consumer:
        proxied.proxy.always(UNAVAILABLE)
        proxied.proxy.hang_up()
        proxied.proxy.wait_for("ReceiveMessage", 5)
        report = consumer.shutdown()
    assert report.balanced
    assert not report.leftovers


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_nothing_is_lost_in_chaos(proxied: Proxied, fifo: bool) -> None:
    """With a fifth of all calls failing in all ways, all messages are handled and deleted, and the ledger balances."""
    url = proxied.make(fifo=fifo, VisibilityTimeout=2)
    bodies = [f"{number}" for number in range(40)]
    for start in range(0, len(bodies), 10):
        proxied.send(url, *bodies[start : start + 10], group=f"group-{start}")
    queue, journal = proxied.open(url, idle_lease=1, wait_time=1, batch_size=3), Journal()
    faults = (CUT, LOST, TRUNCATED, INTERNAL, DONE_BUT_500, THROTTLED, EXPIRED, BAD_GATEWAY)
    proxied.proxy.script = Chaos(1, dict.fromkeys(faults, 0.025))
    with Consumer(queue, each(journal), max_workers=2, max_handlers=2) as consumer:
        while set(journal.handled) < set(bodies) or proxied.left_in(url):
            consumer.wait_idle(0.3)
        report = consumer.shutdown()
    assert set(journal.handled) == set(bodies)
    assert report.balanced
    assert len({call.fault for call in proxied.proxy.calls()}) > 5
    # Whatever was handled twice had been given twice.
    given = Counter(body for call in proxied.proxy.calls("ReceiveMessage") for body in call.bodies if call.delivered)
    assert all(given[body] >= count for body, count in journal.handled.items())
