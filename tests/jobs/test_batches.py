"""Jobs that are sent together: in groups, of this context only, and none is lost."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from queue_consumer import MemoryQueue
from queue_consumer.jobs import BatchError, Jobs, Task
from queue_consumer_sqs import SQS
from queue_consumer_sqs.testing import MemorySQS


@dataclass
class Refused:
    """What an adapter says of an entry that it could not send."""

    entry: Mapping[str, Any]
    sender_fault: bool = False


class PartialError(Exception):
    def __init__(self, failed: Sequence[Refused]) -> None:
        super().__init__(f"{len(failed)} were not sent")
        self.failed = failed


class Sink:
    """A queue that keeps the groups that it was given, and fails what it is told to."""

    def __init__(self, many: bool = True) -> None:
        self.groups: list[list[str]] = []
        self.fails: dict[str, Any] = {}  # bodies, and whether it is the sender's fault; or an exception
        self.down = False
        if many:
            self.put_many = self._put_many

    @property
    def bodies(self) -> list[str]:
        return [body for group in self.groups for body in group]

    def put(
        self,
        body: str,
        *,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        error = self.fails.get(body)
        if self.down or error is not None:
            raise error if isinstance(error, Exception) else OSError("no connection")
        self.groups.append([body])
        return "id"

    def _put_many(self, entries: Sequence[Mapping[str, Any]]) -> None:
        if self.down:
            raise OSError("no connection")
        errors = [error for e in entries if isinstance(error := self.fails.get(e["body"]), Exception)]
        if errors:
            raise errors[0]
        failed: list[Refused] = []
        done: list[str] = []
        stopped: set[Any] = set()  # message groups, as on a FIFO queue
        for entry in entries:
            if entry["body"] in self.fails or entry.get("group") in stopped:
                failed.append(Refused(entry, self.fails.get(entry["body"], False)))
                stopped |= {entry["group"]} if "group" in entry else set()
            else:
                done.append(entry["body"])
        if done:
            self.groups.append(done)
        if failed:
            raise PartialError(failed)


def body(number: int) -> str:
    return f'{{"a": {number}}}'


def registry(sink: Any) -> tuple[Jobs, Task[[int], None]]:
    jobs = Jobs(sink)

    @jobs.task
    def add(a: int) -> None: ...

    return jobs, add


def test_jobs_go_in_groups_of_ten_and_the_rest_at_the_end() -> None:
    """Nothing is sent before there are ten; the block's end sends what is left; `delay` knows no id."""
    sink = Sink()
    jobs, add = registry(sink)
    with jobs.batch():
        ids = [add.delay(number) for number in range(25)]
        assert list(map(len, sink.groups)) == [10, 10]
    assert ids == [None] * 25
    assert list(map(len, sink.groups)) == [10, 10, 5]
    assert sink.bodies == [body(number) for number in range(25)]
    with add.batch():
        pass
    assert len(sink.groups) == 3


def test_groups_are_bound_by_bytes() -> None:
    """A group has at most so many bytes, of bodies and attributes; what is larger by itself goes alone."""
    sink = Sink()
    jobs = Jobs(sink)
    with jobs.batch(size=2_000):
        for length in (500, 500, 500, 3_000, 100):
            jobs.send("x", text="x" * length)
    assert [sum(map(len, group)) < 2_000 for group in sink.groups] == [True, False, True]
    assert list(map(len, sink.groups)) == [3, 1, 1]


def test_sqs_is_given_calls_of_a_mebibyte_at_most() -> None:
    """On SQS no call has more than ten messages or 1 MiB, attributes included, and all of them arrive."""
    account = SQS(client=MemorySQS().client())
    queue = account.queue(account.create("jobs"))
    jobs = Jobs(queue)
    with jobs.batch():
        for _ in range(25):
            jobs.send("x", text="x" * 300_000)
    calls = queue.stats()["calls"]
    assert (calls["send_message_batch"], calls["send_message"]) == (8, 1), "three of them fill a call"
    received = 0
    while bulk := queue.receive(wait_time=0):
        received += len(bulk)
    assert received == 25


def test_what_is_too_large_for_sqs_comes_back_and_the_others_are_sent() -> None:
    """A job of more than 1 MiB is refused by itself, as hopeless; its neighbours are sent."""
    account = SQS(client=MemorySQS().client())
    queue = account.queue(account.create("jobs"))
    jobs = Jobs(queue)
    batch = jobs.open_batch()
    for length in (10, 1_100_000, 10):
        jobs.send("x", text="x" * length)
    with pytest.raises(BatchError, match="1 jobs of a batch were not sent; the first because of ValueError") as caught:
        batch.close()
    (failed,) = caught.value.failed
    assert failed.hopeless
    assert len(failed.entry["body"]) > 1_000_000
    assert len(queue.receive()) == 2


def test_blocks_nest() -> None:
    """A block inside another is a part of it: all is sent when the outermost ends."""
    sink = Sink()
    jobs, add = registry(sink)
    with jobs.batch():
        add.delay(1)
        with jobs.batch(), add.batch():
            add.delay(2)
        assert sink.groups == []
        add.delay(3)
    assert sink.groups == [[body(1), body(2), body(3)]]
    add.delay(4)
    assert sink.groups[1:] == [[body(4)]]


def test_a_batch_can_be_opened_and_closed_by_hand() -> None:
    """`open_batch` and `close`, once each; `flush` sends in between."""
    sink = Sink()
    jobs, add = registry(sink)
    batch = jobs.open_batch()
    add.delay(1)
    batch.flush()
    add.delay(2)
    assert sink.groups == [[body(1)]]
    batch.close()
    batch.close()
    assert sink.groups == [[body(1)], [body(2)]]
    add.delay(3)
    assert len(sink.groups) == 3


def test_what_was_given_is_sent_also_when_the_block_raises() -> None:
    """The block's own exception goes on, after what it had sent is sent."""
    sink = Sink()
    jobs, add = registry(sink)
    with pytest.raises(KeyError):
        send_and_raise(jobs, add)
    assert sink.groups == [[body(1)]]


def send_and_raise(jobs: Jobs, add: Task[[int], None]) -> None:
    with jobs.batch():
        add.delay(1)
        raise KeyError("x")


def test_the_error_of_the_block_is_not_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """If sending fails as well, that is logged, and the block's exception is what is raised."""
    sink = Sink()
    jobs, add = registry(sink)
    sink.down = True
    with caplog.at_level(logging.ERROR), pytest.raises(KeyError):
        send_and_raise(jobs, add)
    assert "1 jobs of a batch were not sent" in caplog.text


def test_partial_failures_are_told_and_stay() -> None:
    """The error has the entries that were not sent; those that may succeed stay, and `flush` sends them."""
    sink = Sink()
    jobs, add = registry(sink)
    sink.fails = {body(1): False, body(3): True}
    batch = jobs.open_batch()
    for number in range(5):
        add.delay(number)
    with pytest.raises(BatchError) as caught:
        batch.close()
    assert [(failed.entry["body"], failed.hopeless) for failed in caught.value.failed] == [
        (body(3), True),
        (body(1), False),
    ]
    assert sink.bodies == [body(0), body(2), body(4)]
    sink.fails = {}
    batch.flush()
    assert sink.bodies[3:] == [body(1)]
    batch.flush()
    assert len(sink.bodies) == 4


def test_an_outage_in_the_middle_loses_nothing() -> None:
    """A group that cannot be sent does not raise where a job is added; it is sent with a later one, in order."""
    sink = Sink()
    jobs, add = registry(sink)
    with jobs.batch():
        sink.down = True
        for number in range(12):
            add.delay(number)
        sink.down = False
        for number in range(12, 25):
            add.delay(number)
    assert sink.bodies == [body(number) for number in range(25)]


@pytest.mark.parametrize("many", [True, False])
def test_a_message_group_stays_in_order_over_failures(many: bool) -> None:
    """After a failure nothing of its message group overtakes it; other groups go on."""
    sink = Sink(many)
    jobs, add = registry(sink)
    sink.fails = {body(0): OSError("not now")} if not many else {body(0): False, body(2): False}
    batch = jobs.open_batch(count=4)
    for number in range(8):
        add.options(group="even" if number % 2 == 0 else "odd").delay(number)
    with pytest.raises(BatchError):
        batch.close()
    assert sink.bodies == [body(number) for number in (1, 3, 5, 7)]
    sink.fails = {}
    batch.flush()
    assert sink.bodies[4:] == [body(number) for number in (0, 2, 4, 6)]


def test_a_queue_without_put_many_gets_one_after_the_other() -> None:
    """Where there is only `put`, a batch sends by it, and one that is refused keeps no other back."""
    sink = Sink(many=False)
    jobs, add = registry(sink)
    sink.fails = {body(1): ValueError("no")}
    batch = jobs.open_batch()
    for number in range(3):
        add.delay(number)
    with pytest.raises(BatchError) as caught:
        batch.close()
    assert sink.groups == [[body(0)], [body(2)]]
    assert [failed.hopeless for failed in caught.value.failed] == [True]


def test_other_threads_send_meanwhile() -> None:
    """A batch is of the thread that opened it: what another sends goes at once, or into its own batch."""
    sink = Sink()
    jobs, add = registry(sink)
    opened, sent = threading.Event(), threading.Event()

    def other() -> None:
        opened.wait(10)
        add.delay(100)
        with jobs.batch():
            add.delay(101)
            add.delay(102)
        sent.set()

    thread = threading.Thread(target=other)
    thread.start()
    with jobs.batch():
        add.delay(1)
        opened.set()
        assert sent.wait(10)
        assert sink.groups == [[body(100)], [body(101), body(102)]]
    thread.join()
    assert sink.groups[2:] == [[body(1)]]


def test_many_threads_with_one_batch_lose_nothing() -> None:
    """Threads that run in the context of a batch share it, and each job is sent once."""
    sink = Sink()
    jobs, add = registry(sink)

    def some(first: int) -> None:
        for number in range(first, first + 50):
            add.delay(number)

    with jobs.batch():
        contexts = [contextvars.copy_context() for _ in range(4)]
        threads = [
            threading.Thread(target=context.run, args=(some, first * 50)) for first, context in enumerate(contexts)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(sink.bodies) == sorted(body(number) for number in range(200))


def test_tasks_have_batches_of_their_own() -> None:
    """Coroutines that open batches side by side do not mix; a task that outlives its block sends at once."""
    jobs, add = registry(sink := Sink())
    late = asyncio.Event

    async def one(first: int) -> None:
        async with jobs.batch():
            await add.adelay(first)
            await asyncio.sleep(0)
            await add.adelay(first + 1)

    async def outlives(closed: asyncio.Event) -> None:
        await closed.wait()
        await add.adelay(99)

    async def program() -> None:
        await asyncio.gather(one(10), one(20))
        assert sorted(map(tuple, sink.groups)) == [(body(10), body(11)), (body(20), body(21))]
        closed = late()
        async with jobs.batch():
            task = asyncio.create_task(outlives(closed))
            await add.adelay(1)
        closed.set()
        await task
        assert sink.groups[2:] == [[body(1)], [body(99)]]

    asyncio.run(program())


def test_a_coroutine_queue_takes_batches() -> None:
    """`async with` awaits a queue whose verbs are coroutine functions."""

    class Async(Sink):
        def __init__(self) -> None:
            super().__init__()

            async def put(body: str, *, attributes: Mapping[str, Any] | None = None) -> None:
                self.groups.append([body])

            async def put_many(entries: Sequence[Mapping[str, Any]]) -> None:
                await asyncio.sleep(0)
                self.groups.append([entry["body"] for entry in entries])

            self.put, self.put_many = put, put_many  # type: ignore[assignment]

    sink = Async()
    jobs, add = registry(sink)

    async def program() -> None:
        async with jobs.batch():
            for number in range(12):
                await add.adelay(number)
            assert list(map(len, sink.groups)) == [10]
            add.delay(12)

    asyncio.run(program())
    assert list(map(len, sink.groups)) == [10, 3]


def test_a_memory_queue_takes_batches() -> None:
    """What a batch sends to a `MemoryQueue` is there, attributes and all."""
    queue = MemoryQueue()
    jobs, add = registry(queue)
    with jobs.batch(), jobs.context(ip=1):
        add.delay(1)
        add.options(delay=60).delay(2)
    assert [message.attributes["JobContext"] for message in queue.get()] == ['{"ip": 1}']
    assert queue.stats()["delayed"] == 1
