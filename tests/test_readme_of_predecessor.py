"""The example in the README of the predecessor queue-consumer runs as it stands, but for the broker it talks to."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest

from queue_consumer import Consumer, State
from support.line_pools import PATIENCE


class Entry(TypedDict):
    Id: str
    ReceiptHandle: str


@dataclass
class Message:
    """What boto3 gives: an id that stays, a receipt handle that is new with every delivery."""

    message_id: str
    receipt_handle: str
    body: str


class RefusedBatch(Exception):
    """What the broker answers to a batch that breaks its rules; nothing of it is done."""


class StandIn:
    """A boto3 queue in memory, as strict as the real one about what it is asked."""

    def __init__(self, bodies: Iterable[str]) -> None:
        self._waiting = [Message(f"id-{number}", "", body) for number, body in enumerate(bodies)]
        self._in_flight: dict[str, Message] = {}
        self._changed = threading.Condition()
        self._deliveries = 0
        self.deleted: list[str] = []
        self.batches: list[int] = []
        self.refused: list[str] = []

    def receive_messages(
        self,
        *,
        AttributeNames: list[str],  # noqa: N803 - the names are boto3's
        MessageAttributeNames: list[str],  # noqa: N803
        MaxNumberOfMessages: int,  # noqa: N803
        WaitTimeSeconds: int,  # noqa: N803
    ) -> list[Message]:
        assert (AttributeNames, MessageAttributeNames) == (["All"], ["All"])
        assert 1 <= MaxNumberOfMessages <= 10
        assert WaitTimeSeconds == 20
        with self._changed:
            # A long poll of twenty seconds, of which a test need not see more than this.
            self._changed.wait_for(lambda: self._waiting, 0.02)
            given, self._waiting = self._waiting[:MaxNumberOfMessages], self._waiting[MaxNumberOfMessages:]
            messages: list[Message] = []
            for message in given:
                self._deliveries += 1
                messages.append(Message(message.message_id, f"receipt-{self._deliveries}", message.body))
                self._in_flight[f"receipt-{self._deliveries}"] = message
            return messages

    def delete_messages(self, *, Entries: list[Entry]) -> dict[str, Any]:  # noqa: N803
        ids = [entry["Id"] for entry in Entries]
        with self._changed:
            if not Entries:
                self._refuse("EmptyBatchRequest")
            if len(Entries) > 10:
                self._refuse(f"TooManyEntriesInBatchRequest: {len(Entries)}")
            if len(set(ids)) < len(ids):
                self._refuse("BatchEntryIdsNotDistinct")
            self.batches.append(len(Entries))
            for entry in Entries:
                message = self._in_flight.pop(entry["ReceiptHandle"])
                self.deleted.append(message.body)
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def _refuse(self, why: str) -> None:
        self.refused.append(why)
        raise RefusedBatch(why)

    def time_out(self) -> None:
        """Show everything again that nobody deleted."""
        with self._changed:
            self._waiting += self._in_flight.values()
            self._in_flight.clear()
            self._changed.notify_all()


class Queue:
    """The README's queue, word for word, but for the stand-in where it asks `boto3` for the queue of a name."""

    def __init__(self, queue_name: StandIn, max_number_of_messages: int = 10, wait_time_seconds: int = 20) -> None:
        self._max_number_of_messages = max_number_of_messages
        self._wait_time_seconds = wait_time_seconds
        self._sqs = queue_name
        self.done: list[str] = []

    def get(self) -> list[Message]:
        return self._sqs.receive_messages(
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
            MaxNumberOfMessages=self._max_number_of_messages,
            WaitTimeSeconds=self._wait_time_seconds,
        )

    def cleanup(self, messages: list[Message]) -> None:
        self._sqs.delete_messages(
            Entries=[
                {
                    "Id": message.message_id,
                    "ReceiptHandle": message.receipt_handle,
                }
                for message in messages
            ]
        )

    def handler(self, messages: Iterator[Message]) -> None:
        for message in messages:
            self.do_some_stuff(message)

    def do_some_stuff(self, message: Message) -> None:
        if message.body.endswith("!"):
            raise ValueError(message.body)
        self.done.append(message.body)


def wait_for(count: int, sqs: StandIn, consumer: Consumer[Message]) -> None:
    """Wait until so many were deleted and nothing is left to do; one of several getters may bring the last ones."""
    while len(sqs.deleted) < count:
        assert consumer.wait_idle(PATIENCE), repr(consumer)
    assert consumer.wait_idle(PATIENCE), repr(consumer)


BODIES = [f"message {number}" for number in range(157)]


def test_readme_example_runs() -> None:
    """`Consumer(Queue(...))`, `start()`, `supervise(blocking=True)`: all is handled, and deleted in fit batches."""
    sqs = StandIn(BODIES)
    queue = Queue(sqs)
    consumer: Consumer[Message] = Consumer(queue)
    consumer.start()

    def stop_when_done() -> None:
        wait_for(len(BODIES), sqs, consumer)
        consumer.shutdown()

    stopper = threading.Thread(target=stop_when_done)
    stopper.start()
    assert consumer.supervise(blocking=True) is None
    stopper.join(PATIENCE)
    report = consumer.shutdown()
    assert consumer.state is State.STOPPED
    assert report.balanced
    assert (report.stats.received, report.stats.cleaned) == (len(BODIES), len(BODIES))
    assert Counter(queue.done) == Counter(sqs.deleted) == Counter(BODIES)
    assert sqs.refused == []


@pytest.mark.parametrize("bulk_size", [1, 4, 10])
def test_readme_example_by_position(bulk_size: int) -> None:
    """All eight arguments by position, and a handler that is given apart from the queue."""
    sqs, initialised = StandIn(BODIES), list[str]()
    queue = Queue(sqs)
    seen: list[str] = []

    def handler(messages: Iterator[Message]) -> None:
        for message in messages:
            seen.append(message.body)

    consumer: Consumer[Message] = Consumer(queue, handler, 2, 2, bulk_size, 0, lambda: initialised.append("here"), True)
    consumer.start()
    consumer.supervise()
    wait_for(len(BODIES), sqs, consumer)
    report = consumer.shutdown()
    assert report.balanced
    assert Counter(seen) == Counter(sqs.deleted) == Counter(BODIES)
    assert queue.done == []
    assert len(initialised) == 2
    assert sqs.refused == []
    assert max(sqs.batches) <= 10


def test_failed_messages_are_not_deleted() -> None:
    """What the handler raised on stays with the broker, whose time-out brings it again; its neighbours are deleted."""
    bodies = [body + "!" * (number % 10 == 3) for number, body in enumerate(BODIES)]
    good = [body for body in bodies if not body.endswith("!")]
    sqs = StandIn(bodies)
    queue = Queue(sqs)
    failed = len(bodies) - len(good)
    with Consumer(queue, messages_bulk_size=10) as consumer:
        wait_for(len(good), sqs, consumer)
        assert Counter(sqs.deleted) == Counter(good)
        while consumer.stats().left < failed:
            assert consumer.wait_idle(PATIENCE)
        sqs.time_out()
        while consumer.stats().left < 2 * failed:
            assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    assert report.balanced
    assert (report.stats.cleaned, report.stats.left, report.stats.failed) == (
        len(good),
        2 * failed,
        2 * failed,
    )
    assert Counter(queue.done) == Counter(sqs.deleted) == Counter(good)
    assert sqs.refused == []


def test_message_that_comes_twice_in_one_cleanup() -> None:
    """A broker that delivers one message twice gets both receipts, though never two entries with one id in a batch."""
    sqs = StandIn(["once"])
    both: list[Message] = []
    taken = threading.Event()
    again = threading.Event()

    def handler(messages: Iterator[Message]) -> None:
        for message in messages:
            both.append(message)
            taken.set()
            again.wait(PATIENCE)

    queue = Queue(sqs)
    with Consumer(queue, handler, 1, 2) as consumer:
        assert taken.wait(PATIENCE)
        with sqs._changed:
            sqs._waiting.append(Message("id-0", "", "once"))
            sqs._changed.notify_all()
        while len(both) < 2:
            time.sleep(0.001)  # the second delivery is under way in another thread, and rings nobody
        again.set()
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.cleaned == 2
    assert sqs.deleted == ["once", "once"]


def test_shutdown_works_without_supervise() -> None:
    """`shutdown()` returns though nobody called `supervise()`, and nothing is fetched or handled afterwards."""
    sqs = StandIn(BODIES)
    queue = Queue(sqs)
    consumer: Consumer[Message] = Consumer(queue)
    consumer.start()
    wait_for(len(BODIES), sqs, consumer)
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.cleaned == len(BODIES)
    sqs.time_out()
    assert not any(thread.name.startswith("queue_consumer") for thread in threading.enumerate())


def test_supervise_may_come_first() -> None:
    """`supervise()` before `start()` starts the consumer; the `start()` that follows does no harm."""
    sqs = StandIn(BODIES)
    queue = Queue(sqs)
    consumer: Consumer[Message] = Consumer(queue)
    thread = consumer.supervise(polling_time=0.5)
    assert thread is not None
    assert thread.daemon
    consumer.start()
    consumer.start()
    wait_for(len(BODIES), sqs, consumer)
    assert consumer.shutdown().balanced
    assert Counter(sqs.deleted) == Counter(BODIES)
