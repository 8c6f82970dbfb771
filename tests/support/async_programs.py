"""What an asyncio program may expect of a consumer of an SQS queue, whichever kind of queue it is: tests to inherit.

A test module subclasses `AsyncPrograms`, and has a fixture `opener`, which opens a queue by its URL.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from queue_consumer import Constant, Consumer, State, each
from queue_consumer_sqs import QueueNotFound, SQSMessage
from support.lifecycle import PATIENCE
from support.sqs_servers import MakeQueue

Opener = Callable[..., Any]

MANY = 300  # handlers at once


def send(client: Any, url: str, bodies: Sequence[str]) -> None:
    for start in range(0, len(bodies), 10):
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies[start : start + 10])]
        assert not client.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")


def seen_and_hidden(client: Any, url: str) -> tuple[int, int]:
    """How many messages of the queue are visible, and how many are not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    figures = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(figures[names[0]]), int(figures[names[1]])


class AsyncPrograms:
    """An asyncio program with `async def` handlers."""

    def test_hundreds_of_messages_are_handled_at_once_on_one_loop(
        self, client: Any, make_queue: MakeQueue, opener: Opener
    ) -> None:
        """As many handlers run at once as are allowed, all of them on the loop of the program."""
        url = make_queue(VisibilityTimeout=600)
        send(client, url, [str(number) for number in range(MANY)])
        loops: set[object] = set()
        inside: list[int] = [0]

        async def main() -> None:
            loop = asyncio.get_running_loop()
            all_there = asyncio.Event()

            @each
            async def handler(message: SQSMessage) -> None:
                loops.add(asyncio.get_running_loop())
                inside[0] += 1
                if inside[0] == MANY:
                    all_there.set()
                await asyncio.wait_for(all_there.wait(), PATIENCE)  # so that none ends before all have begun

            async with Consumer(opener(url), handler, max_handlers=MANY, loop=loop) as consumer:
                await asyncio.wait_for(all_there.wait(), PATIENCE)
            assert loops == {loop}
            assert consumer.stats().cleaned == MANY

        asyncio.run(main())
        assert inside == [MANY]
        assert seen_and_hidden(client, url) == (0, 0)

    def test_the_event_ends_the_run(self, client: Any, make_queue: MakeQueue, opener: Opener) -> None:
        """What is handled when the event is set is finished and deleted; what is not begun is visible again."""
        url = make_queue(VisibilityTimeout=600)
        send(client, url, [str(number) for number in range(10)])
        finished: list[str] = []

        async def main() -> None:
            shutdown_signal, begun = asyncio.Event(), asyncio.Barrier(2)

            @each
            async def handler(message: SQSMessage) -> None:
                await asyncio.wait_for(begun.wait(), PATIENCE)
                shutdown_signal.set()
                finished.append(message.body)

            loop = asyncio.get_running_loop()
            # One getter: another one's poll may be cut while its answer is on the way, which is seen again later.
            consumer = Consumer(opener(url), handler, max_workers=1, max_handlers=2, loop=loop)
            report = await consumer.arun(stop=shutdown_signal)
            assert report.balanced
            assert report.stats.cleaned == len(finished)
            assert report.stats.failed == 0

        asyncio.run(main())
        assert 2 <= len(finished) <= 10
        assert seen_and_hidden(client, url) == (10 - len(finished), 0)

    def test_an_idle_run_ends_in_the_middle_of_its_poll(self, make_queue: MakeQueue, opener: Opener) -> None:
        """A run that waits for messages ends when the event is set, and before the poll would: nobody waits for it."""
        url = make_queue()

        async def main() -> None:
            shutdown_signal = asyncio.Event()

            @each
            async def handler(message: SQSMessage) -> None:
                raise AssertionError("there is none")

            consumer = Consumer(opener(url, wait_time=20), handler, loop=asyncio.get_running_loop())
            running = asyncio.create_task(consumer.arun(stop=shutdown_signal))
            while consumer.stats().fetching != "yes":
                await asyncio.sleep(0.01)  # that a poll begins is not announced to anybody
            shutdown_signal.set()
            report = await asyncio.wait_for(running, 15)  # of the 20 that the poll would wait
            assert report.balanced

        asyncio.run(main())

    def test_a_cancelled_run_drains_and_lets_the_cancellation_through(
        self, client: Any, make_queue: MakeQueue, opener: Opener
    ) -> None:
        """Who cancels the task that runs the consumer waits for what runs, and the task is then cancelled indeed."""
        url = make_queue(VisibilityTimeout=600)
        send(client, url, ["a"])
        finished: list[str] = []

        async def main() -> None:
            begun = asyncio.Event()

            @each
            async def handler(message: SQSMessage) -> None:
                begun.set()
                await asyncio.sleep(0.1)  # the work
                finished.append(message.body)

            consumer = Consumer(opener(url), handler, max_workers=1, loop=asyncio.get_running_loop())
            running = asyncio.create_task(consumer.arun())
            await asyncio.wait_for(begun.wait(), PATIENCE)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert running.cancelled()
            assert consumer.state is State.STOPPED
            assert consumer.stats().in_flight == 0

        asyncio.run(main())
        assert finished in (["a"], [])
        assert seen_and_hidden(client, url) == (1 - len(finished), 0)

    def test_time_limits_and_task_groups_work(self, client: Any, make_queue: MakeQueue, opener: Opener) -> None:
        """A time limit around a run is told by its TimeoutError; a task that fails ends the run that is beside it."""
        url = make_queue()

        async def main() -> None:
            loop = asyncio.get_running_loop()
            begun = asyncio.Event()

            @each
            async def handler(message: SQSMessage) -> None:
                begun.set()

            async def with_a_limit(consumer: Consumer[SQSMessage]) -> None:
                async with asyncio.timeout(None) as limit:
                    running = asyncio.create_task(expire(limit))
                    await consumer.arun()
                await running

            async def expire(limit: asyncio.Timeout) -> None:
                await asyncio.wait_for(begun.wait(), PATIENCE)
                limit.reschedule(loop.time())

            async def with_a_sibling(consumer: Consumer[SQSMessage]) -> None:
                async with asyncio.TaskGroup() as group:
                    group.create_task(consumer.arun())
                    group.create_task(fail())

            async def fail() -> None:
                await asyncio.wait_for(begun.wait(), PATIENCE)
                raise LookupError("the sibling's own")

            send(client, url, ["a"])
            consumer = Consumer(opener(url, idle_lease=1), handler, loop=loop)
            with pytest.raises(TimeoutError):
                await with_a_limit(consumer)
            assert consumer.state is State.STOPPED

            begun.clear()
            send(client, url, ["b"])
            consumer = Consumer(opener(url, idle_lease=1), handler, loop=loop)
            with pytest.raises(ExceptionGroup) as caught:
                await with_a_sibling(consumer)
            assert [type(error) for error in caught.value.exceptions] == [LookupError]
            assert consumer.state is State.STOPPED

        asyncio.run(main())

    def test_what_a_handler_says_decides(
        self, client: Any, make_queue: MakeQueue, opener: Opener, caplog: pytest.LogCaptureFixture
    ) -> None:
        """False and errors keep the message, a body that is no JSON among them; all else deletes it, and all go on."""
        url = make_queue(VisibilityTimeout=600)
        bodies = ["true", "null", "false", '"raises"', "no JSON"]
        send(client, url, bodies)

        @each
        async def handler(message: SQSMessage) -> Any:
            order = json.loads(message.body)
            if order == "raises":
                raise LookupError("no such order")
            return order

        async def main() -> None:
            consumer = Consumer(
                opener(url),
                handler,
                backoff=Constant(60),
                loop=asyncio.get_running_loop(),
                stop_when=lambda stats: stats.cleaned + stats.released == len(bodies),
            )
            report = await consumer.arun()
            assert (report.stats.cleaned, report.stats.failed, report.stats.released) == (2, 3, 3)
            assert report.balanced

        with caplog.at_level(logging.ERROR, logger="queue_consumer"):
            asyncio.run(main())
        assert seen_and_hidden(client, url) == (0, 3)
        told = "\n".join(record.getMessage() for record in caplog.records)
        assert "no such order" in told

    def test_a_missing_queue_is_an_error_before_anything_runs(self, make_queue: MakeQueue, opener: Opener) -> None:
        """Whoever opens it is told at once, by an error of its own kind that names the queue, for him to decide."""
        url = make_queue()
        with pytest.raises(QueueNotFound, match="no-such-queue") as caught:
            opener(f"{url.rpartition('/')[0]}/no-such-queue")
        assert caught.value.code.endswith(("NonExistentQueue", "QueueDoesNotExist"))
