"""Dead letters: handled where they are, or sent back to where they came from, all of them."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from queue_consumer import Constant, Consumer, MaxItems, MemoryQueue
from queue_consumer.jobs import Jobs, PushBack, push_back
from queue_consumer.testing import ManualClock
from queue_consumer_sqs import SQS
from queue_consumer_sqs.testing import MemorySQS


def test_dead_letters_are_handled_in_place() -> None:
    """The same registry, or a copy with other policies, works on the dead letters' queue."""
    dead = MemoryQueue(wait=0)
    queue = MemoryQueue(max_attempts=1, dead_letters=dead, wait=0)
    broken = [True]
    seen: list[int] = []
    jobs = Jobs(queue)

    @jobs.task
    def add(a: int) -> None:
        if broken[0]:
            raise ValueError("the bug")
        seen.append(a)

    for number in range(3):
        add.delay(number)
    Consumer(queue, jobs, max_handlers=1, messages_bulk_size=10, backoff=Constant(0)).run_once()
    assert dead.stats()["waiting"] == 3
    broken[0] = False
    again = jobs.copy(dead, backoff=Constant(5))
    Consumer(dead, again, max_handlers=1, messages_bulk_size=10).run_once()
    assert seen == [0, 1, 2]
    assert dead.empty()


def test_a_whole_queue_goes_back_with_progress() -> None:
    """Bodies, attributes and groups are what they were; progress counts up; the delay is the caller's."""
    clock = ManualClock()
    dead, queue = MemoryQueue(), MemoryQueue(clock=clock, wait=0)
    jobs = Jobs(dead)
    for number in range(23):
        with jobs.context(number=number):
            jobs.send("add", a=number)
    told: list[int] = []
    report = push_back(dead, queue, delay=30, progress=told.append, stop_when=MaxItems(23))
    assert report.stats.cleaned == 23
    assert told[-1] == 23
    assert told == sorted(told)
    assert dead.empty()
    assert queue.get() == []
    clock.advance(30)
    messages = [message for _ in range(3) for message in queue.get()]
    assert [(m.body, m.attributes) for m in messages] == [
        (f'{{"a": {n}}}', {"JobName": "add", "ContentType": "json", "JobContext": f'{{"number": {n}}}'})
        for n in range(23)
    ]


@pytest.fixture
def account() -> SQS:
    return SQS(client=MemorySQS().client())


def test_fifo_letters_are_not_taken_for_their_first_sending(account: SQS) -> None:
    """On a FIFO queue, within its five minutes, what is pushed back is a new message; order and types are kept."""
    account.create("dead.fifo")
    account.create("jobs.fifo")
    dead, queue = account.queue("dead.fifo"), account.queue("jobs.fifo", wait_time=0)
    ids = [f"id-{number}" for number in range(12)]
    for number, id in enumerate(ids):
        queue.put(str(number), group="g", deduplication_id=id, attributes={"n": number, "raw": b"\0"})
    sent = []
    while bulk := queue.receive(wait_time=0):
        for message in bulk:  # what a redrive policy does
            dead.put(message.body, group="g", deduplication_id=message.deduplication_id, attributes=message.attributes)
            sent.append(message.body)
        queue.cleanup(bulk)
    assert len(sent) == 12

    push_back(dead, queue, stop_when=MaxItems(12))
    back = []
    while bulk := queue.receive(wait_time=0):
        back += [(message.body, message.group, message.attributes) for message in bulk]
        assert not {message.deduplication_id for message in bulk} & set(ids)
        queue.cleanup(bulk)
    assert back == [(str(number), "g", {"n": number, "raw": b"\0"}) for number in range(12)]


def test_what_does_not_go_back_stays(caplog: pytest.LogCaptureFixture) -> None:
    """A message is deleted from the dead letters only when the other queue has it."""

    class Full:
        def __init__(self) -> None:
            self.bodies: list[Any] = []

        def put(self, body: Any, *, attributes: Mapping[str, Any] | None = None) -> None:
            if len(self.bodies) == 2:
                raise OSError("full")
            self.bodies.append(body)

    dead, full = MemoryQueue(range(5), wait=0), Full()
    handler = PushBack(full)
    with caplog.at_level(logging.ERROR):
        result = Consumer(
            dead, handler, max_handlers=1, messages_bulk_size=10, backoff=Constant(600), owns_queue=False
        ).run_once()
    assert (result.succeeded, result.failed, handler.moved) == (2, 3, 2)
    assert full.bodies == [0, 1]
    assert dead.stats()["delayed"] == 3
    assert "is not back: OSError: full" in caplog.text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"delay": -1}, "delay must be"), ({"delay": "x"}, "delay must be"), ({"progress": 3}, "progress must be")],
)
def test_mistakes_are_refused(options: dict[str, Any], sentence: str) -> None:
    """What makes no sense is refused before anything moves."""
    with pytest.raises((TypeError, ValueError), match=sentence):
        PushBack(MemoryQueue(), **options)
