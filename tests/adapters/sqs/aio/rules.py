"""What is `AsyncSQSQueue`'s own: how it is cut and cancelled, and on which loop it is; run by `test_async.py`."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from queue_consumer import CleanupError, Consumer, LeaseLost, each
from queue_consumer_sqs import (
    AccessDenied,
    BadCredentials,
    Bus,
    PriorityBuses,
    QueueNotFound,
    SendError,
    SQSError,
    SQSMessage,
    Throttled,
    Unreachable,
)
from queue_consumer_sqs.aio import AsyncSQSQueue
from queue_consumer_sqs.aio._client import Lender
from support.proxied import Proxied
from support.sqs_calls import PATIENCE, Call
from support.sqs_faults import (
    BAD_GATEWAY,
    CUT,
    DENIED,
    EXPIRED,
    GONE,
    LOST,
    THROTTLED,
    TRUNCATED,
    UNAVAILABLE,
    Fault,
    Gate,
    failing,
)

pytest_plugins = ["support.proxied_fixtures"]

Open = Callable[..., AsyncSQSQueue]


@pytest.fixture
def open_queue(proxied: Proxied) -> Open:
    """Opens a queue by its URL, through the proxy."""
    proxied.proxy.tells = True  # what a server does that does not hear of a cut is asked elsewhere

    def open_queue(url: str, **options: Any) -> AsyncSQSQueue:
        return AsyncSQSQueue(url.rpartition("/")[2], endpoint_url=proxied.proxy.endpoint_url, **options)

    return open_queue


def run(queue: AsyncSQSQueue, program: Callable[[AsyncSQSQueue], Coroutine[Any, Any, Any]]) -> None:
    """A program with one queue, which is closed at its end."""

    async def main() -> None:
        try:
            await asyncio.wait_for(program(queue), PATIENCE * 2)
        finally:
            await queue.close()

    asyncio.run(main())


async def called(proxied: Proxied, operation: str, count: int = 1) -> Any:
    """The last of so many calls, once they have gone on to the server, or were answered by the proxy."""

    def gone_on(call: Call) -> object:
        return call.sent or call.ended

    return (await asyncio.to_thread(proxied.proxy.wait_for, operation, count, where=gone_on))[-1]


# ---------------------------------------------------------------------- how a poll ends


def test_a_poll_that_waits_is_cut(proxied: Proxied, open_queue: Open) -> None:
    """A poll that may wait long hides what it brings for a short while only; an interrupt hangs up in its middle."""

    async def program(queue: AsyncSQSQueue) -> None:
        getting = asyncio.create_task(queue.get(limit=10))
        receive = await called(proxied, "ReceiveMessage")
        assert receive.arguments["WaitTimeSeconds"] == 20
        assert receive.arguments["VisibilityTimeout"] == 5
        queue.interrupt()
        assert await getting == []
        assert (await queue.receive(1, wait_time=0)) == []  # and goes on working

    run(open_queue(proxied.make()), program)
    assert proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.hung_up)[0].number == 3


def test_new_keys_leave_calls_alone(proxied: Proxied, open_queue: Open) -> None:
    """After keys were refused new connections are opened; a call that runs on an old one comes to its end."""
    url = proxied.make()
    proxied.send(url, "text")
    gate = Gate()

    async def program(queue: AsyncSQSQueue) -> None:
        messages = await queue.receive()
        proxied.proxy.plan("DeleteMessageBatch", Fault(gate_after=gate))
        deleting = asyncio.create_task(queue.cleanup(messages))
        await called(proxied, "DeleteMessageBatch")
        proxied.proxy.plan("ReceiveMessage", EXPIRED)
        with pytest.raises(BadCredentials):
            await queue.receive()
        assert await queue.receive(wait_time=0) == []
        gate.open()
        await deleting

    run(open_queue(url), program)
    assert len(proxied.proxy.calls("DeleteMessageBatch")) == 1


def test_a_poll_after_messages_is_not_cut(proxied: Proxied, open_queue: Open) -> None:
    """A poll that hides what it brings for the whole lease waits a second at most, and an interrupt waits for it."""
    url = proxied.make()
    proxied.send(url, "a")

    async def program(queue: AsyncSQSQueue) -> None:
        assert [message.body for message in await queue.get(limit=10)] == ["a"]
        getting = asyncio.create_task(queue.get(limit=10))
        receive = await called(proxied, "ReceiveMessage", 2)
        assert receive.arguments["WaitTimeSeconds"] == 1
        assert receive.arguments["VisibilityTimeout"] == 30
        queue.interrupt()
        proxied.send(url, "b")
        assert [message.body for message in await getting] == ["b"]

    run(open_queue(url), program)
    assert not any(call.hung_up for call in proxied.proxy.calls("ReceiveMessage"))


def test_a_cancelled_get_takes_its_poll_along(proxied: Proxied, open_queue: Open) -> None:
    """Who cancels a `get` gets his cancellation, and no poll is left behind that would take messages for nobody."""

    async def program(queue: AsyncSQSQueue) -> None:
        getting = asyncio.create_task(queue.get())
        await called(proxied, "ReceiveMessage")
        getting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await getting
        await asyncio.to_thread(proxied.proxy.wait_for, "ReceiveMessage", where=lambda call: call.hung_up)

    run(open_queue(proxied.make()), program)


def test_an_interrupt_ends_the_wait_after_an_error(proxied: Proxied, open_queue: Open) -> None:
    """While the service denies a poll, `get` waits between its attempts, and an interrupt ends that too."""
    proxied.proxy.always(DENIED, "ReceiveMessage")

    async def program(queue: AsyncSQSQueue) -> None:
        getting = asyncio.create_task(queue.get())
        await called(proxied, "ReceiveMessage", 2)
        while not getting.done():
            queue.interrupt()
            await asyncio.sleep(0.01)  # that the wait has begun is not announced to anybody
        assert await getting == []
        assert queue.stats()["state"].startswith("AccessDenied: ")

    run(open_queue(proxied.make()), program)


# ---------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (THROTTLED, Throttled),
        (EXPIRED, BadCredentials),
        (DENIED, AccessDenied),
        (GONE, QueueNotFound),
        (UNAVAILABLE, Unreachable),
        (BAD_GATEWAY, Unreachable),
        (CUT, Unreachable),
        (LOST, Unreachable),
        (TRUNCATED, Unreachable),
    ],
    ids=lambda given: given.name.replace(" ", "-") if isinstance(given, Fault) else given.__name__,
)
def test_errors_are_ours(fault: Fault, kind: type[SQSError], proxied: Proxied, open_queue: Open) -> None:
    """What aiobotocore and aiohttp raise comes as an error that says who must act, from what they raised."""
    queue = open_queue(proxied.make())
    proxied.proxy.always(fault, "ReceiveMessage")

    async def program(queue: AsyncSQSQueue) -> None:
        with pytest.raises(kind) as caught:
            await queue.receive(1, wait_time=0)
        assert type(caught.value) is kind
        assert caught.value.__cause__ is not None

    run(queue, program)


def test_get_goes_on_until_it_is_answered(proxied: Proxied, open_queue: Open, caplog: pytest.LogCaptureFixture) -> None:
    """An outage is no empty queue: polls are tried again, with one line in the log as it begins and one as it ends."""
    url = proxied.make()
    proxied.send(url, "a")
    queue = open_queue(url, idle_lease=1)
    proxied.proxy.plan("ReceiveMessage", CUT, UNAVAILABLE, TRUNCATED)

    async def program(queue: AsyncSQSQueue) -> None:
        messages = await queue.get(limit=1)
        while not messages:  # the truncated answer had it, which is hidden for the short lease
            messages = await queue.get(limit=1)
        assert [message.body for message in messages] == ["a"]
        assert queue.stats()["state"] == "ok"

    with caplog.at_level(logging.INFO, logger="queue_consumer.sqs"):
        run(queue, program)
    told = [record.getMessage() for record in caplog.records if record.name == "queue_consumer.sqs"]
    assert len(told) == 2
    assert "it is tried again" in told[0]
    assert "answers again" in told[1]


def test_each_entry_is_judged(proxied: Proxied, open_queue: Open) -> None:
    """Of a batch that failed in part, the error has just those messages, apart by what they failed of."""
    url = proxied.make()
    proxied.send(url, *map(str, range(12)))

    async def program(queue: AsyncSQSQueue) -> None:
        messages: list[SQSMessage] = []
        while len(messages) < 12:
            messages += await queue.get()
        bad = messages[3]

        def is_bad(entry: Any) -> bool:
            return bool(entry["ReceiptHandle"] == bad.receipt_handle)

        proxied.proxy.plan("DeleteMessageBatch", failing(is_bad))
        with pytest.raises(CleanupError) as failed:
            await queue.cleanup(messages[:10])
        assert failed.value.failed == [bad]
        proxied.proxy.plan("ChangeMessageVisibilityBatch", failing(is_bad, "ReceiptHandleIsInvalid", sender_fault=True))
        with pytest.raises(LeaseLost) as lost:
            await queue.extend([bad, *messages[10:]], 30)
        assert list(lost.value.items) == [bad]
        await queue.release(messages[10:], 0)
        await queue.cleanup([bad])

    run(open_queue(url), program)
    assert sorted(proxied.seen(url)) == ["10", "11"] or proxied.left_in(url) == 2


# ---------------------------------------------------------------------- where it is


def test_each_loop_has_connections_of_its_own(proxied: Proxied, open_queue: Open) -> None:
    """One queue serves several loops, one after the other and side by side; each closes what is its own as it ends."""
    queue = open_queue(proxied.make())

    async def put_and_get(body: str) -> None:
        await queue.put(body)
        messages = await queue.get(limit=10)
        await queue.cleanup(messages)

    async def main() -> None:
        await put_and_get("here")
        thread = threading.Thread(target=lambda: asyncio.run(put_and_get("there")))
        thread.start()
        await asyncio.to_thread(thread.join, PATIENCE)
        await put_and_get("here")
        await queue.close()
        await put_and_get("here again")  # with new connections, which end with the loop

    asyncio.run(main())
    asyncio.run(put_and_get("elsewhere"))
    assert proxied.left_in(queue.url) == 0


def test_deletes_do_not_wait_for_polls(proxied: Proxied, open_queue: Open) -> None:
    """However many polls wait, there is a connection for a delete."""
    polls = 60  # more than one pool has

    async def program(queue: AsyncSQSQueue) -> None:
        receiving = [asyncio.create_task(queue.receive(wait_time=20)) for _ in range(polls)]
        await called(proxied, "ReceiveMessage", 50)
        assert await queue.put("a")
        while not any(task.done() for task in receiving):
            await asyncio.wait(receiving, return_when=asyncio.FIRST_COMPLETED)
        (messages,) = [task.result() for task in receiving if task.done() and task.result()]
        await queue.cleanup(messages)
        for task in receiving:
            task.cancel()

    run(open_queue(proxied.make()), program)


def test_one_poll_waits_at_an_idle_queue(proxied: Proxied, open_queue: Open) -> None:
    """The others wait for its end, then for the next one; an interrupt ends them all."""

    async def program(queue: AsyncSQSQueue) -> None:
        getting = [asyncio.create_task(queue.get()) for _ in range(3)]
        await called(proxied, "ReceiveMessage", 1)
        proxied.proxy.hang_up()
        await called(proxied, "ReceiveMessage", 2)
        getting[1].cancel()
        queue.interrupt()
        assert list(await asyncio.gather(getting[0], getting[2])) == [[], []]

    run(open_queue(proxied.make()), program)
    assert len(proxied.proxy.calls("ReceiveMessage")) == 2


def test_a_client_is_refused(proxied: Proxied) -> None:
    """A client belongs to one loop, so that it is made there, and not taken."""
    with pytest.raises(ValueError, match="client must be None for an AsyncSQSQueue"):
        AsyncSQSQueue("orders", client=proxied.client)


def test_a_poll_that_is_cancelled_gives_its_turn_back(proxied: Proxied, open_queue: Open) -> None:
    """At once, and not when what came of it is forgotten."""

    async def program(queue: AsyncSQSQueue) -> None:
        getting = [asyncio.create_task(queue.get()) for _ in range(2)]
        await called(proxied, "ReceiveMessage", 1)
        for task in getting:
            task.cancel()
        held = await asyncio.gather(*getting, return_exceptions=True)
        await queue.put("text")
        assert [message.body for message in await asyncio.wait_for(queue.get(), PATIENCE)] == ["text"]
        assert [type(error) for error in held] == [asyncio.CancelledError] * 2

    run(open_queue(proxied.make()), program)


def test_the_lean_transport_is_refused() -> None:
    """Calls are made by aiobotocore, so that nobody is to believe that something else makes them."""
    with pytest.raises(ValueError, match="transport must be None or 'boto3' for an AsyncSQSQueue"):
        AsyncSQSQueue("orders", transport="lean")


def test_credentials_are_lent_by_boto3() -> None:
    """What boto3 has found is used, and what it renews is asked for anew, before each call, off the loop."""
    threads: list[threading.Thread] = []

    class Renewed:
        method = "made up"

        def __init__(self) -> None:
            self.times = 0

        def refresh_needed(self) -> bool:
            return True

        def get_frozen_credentials(self) -> Any:
            threads.append(threading.current_thread())
            self.times += 1
            return SimpleNamespace(access_key=f"key-{self.times}", secret_key="secret", token="token")

    renewed = Renewed()

    async def main() -> None:
        lent = await Lender(SimpleNamespace(get_credentials=lambda: renewed)).load_credentials()
        assert (await lent.get_frozen_credentials()).access_key == "key-2"
        assert (await lent.get_frozen_credentials()).access_key == "key-3"
        assert await Lender(SimpleNamespace(get_credentials=lambda: None)).load_credentials() is None

    asyncio.run(main())
    assert threading.main_thread() not in threads


def test_keys_are_looked_for_anew(proxied: Proxied, open_queue: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """After keys were refused those are used that are there by then, without a new queue."""
    url = proxied.make()
    proxied.send(url, "a")
    queue = open_queue(url, idle_lease=1)
    proxied.proxy.plan("ReceiveMessage", EXPIRED)

    async def program(queue: AsyncSQSQueue) -> None:
        with pytest.raises(BadCredentials):
            await queue.receive()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")
        await queue.cleanup(await queue.get())

    run(queue, program)
    receives = proxied.proxy.calls("ReceiveMessage", "DeleteMessageBatch")
    assert [call.signer.partition(" ")[0] for call in receives] == ["test", "renewed", "renewed"]


def test_it_can_be_on_a_bus(proxied: Proxied, open_queue: Open) -> None:
    """Priority buses take it as they take an `SQSQueue`: messages say where they come from."""
    urls = {name: proxied.make() for name in ("low", "high")}
    for name, url in urls.items():
        proxied.send(url, *(f"{name}-{number}" for number in range(3)))
    handled: list[tuple[str, float]] = []

    async def main() -> None:
        all_done = asyncio.Event()

        @each
        async def handler(message: SQSMessage) -> None:
            handled.append((message.bus, message.priority))
            if len(handled) == 6:
                all_done.set()

        buses = PriorityBuses(
            [Bus(name, priority, [open_queue(urls[name])]) for name, priority in (("low", 1), ("high", 10))]
        )
        consumer = Consumer(buses, handler, max_handlers=1, loop=asyncio.get_running_loop())
        async with consumer:
            await asyncio.wait_for(all_done.wait(), PATIENCE)
        assert consumer.stats().cleaned == 6

    asyncio.run(main())
    assert sorted(handled) == [("high", 10)] * 3 + [("low", 1)] * 3


# ---------------------------------------------------------------------- sending


def test_what_is_sent_arrives(proxied: Proxied, open_queue: Open) -> None:
    """Bodies and attributes arrive as they were sent, one by one or many at once, with their ids."""

    async def program(queue: AsyncSQSQueue) -> None:
        attributes = {"text": "x", "number": 1, "exact": Decimal("1.5"), "bytes": b"\x00"}
        one = await queue.put("one", attributes=attributes)
        (message,) = await queue.get(limit=1)
        assert (message.id, message.body, message.attributes) == (one, "one", attributes)
        await queue.cleanup([message])
        ids = await queue.put_many({"body": str(number)} for number in range(25))
        assert len(set(ids)) == 25
        got: dict[str, str] = {}
        while len(got) < 25:
            messages = await queue.get()
            got.update({message.id: message.body for message in messages})
            await queue.cleanup(messages)
        assert [got[id] for id in ids] == [str(number) for number in range(25)]

    run(open_queue(proxied.make()), program)
    assert len(proxied.proxy.calls("SendMessageBatch")) == 3


def test_what_is_not_sent_is_told(proxied: Proxied, open_queue: Open) -> None:
    """Entries that the service refuses come back in the error, and the others are sent."""
    queue = open_queue(proxied.make())
    proxied.proxy.always(failing(lambda entry: entry["MessageBody"] == "2", sender_fault=True), "SendMessageBatch")

    async def program(queue: AsyncSQSQueue) -> None:
        with pytest.raises(SendError) as caught:
            await queue.put_many({"body": str(number)} for number in range(5))
        assert [failed.entry for failed in caught.value.failed] == [{"body": "2"}]
        assert len(caught.value.sent) == 4

    run(queue, program)
    assert proxied.left_in(queue.url) == 4


def test_calls_are_counted(proxied: Proxied, open_queue: Open) -> None:
    """`stats()` has all calls of the queue, as the proxy has seen them, those by which it was found among them."""

    async def program(queue: AsyncSQSQueue) -> None:
        await queue.put("a")
        await queue.cleanup(await queue.get())

    queue = open_queue(proxied.make())
    run(queue, program)
    seen = ["GetQueueUrl", "GetQueueAttributes", "SendMessage", "ReceiveMessage", "DeleteMessageBatch"]
    assert [call.operation for call in proxied.proxy.calls()] == seen
    names = ["get_queue_url", "get_queue_attributes", "send_message", "receive_message", "delete_message_batch"]
    assert queue.stats()["calls"] == dict.fromkeys(names, 1)
    assert queue.stats()["received"] == 1
