"""What a queue's calls come to, held against what the proxy has seen of them."""

from __future__ import annotations

import re
import threading
from collections import Counter

import pytest

from queue_consumer import Consumer, each
from queue_consumer_sqs import QueueNotFound, SQSMessage, Unreachable
from queue_consumer_sqs._meter import PRICE, PRICE_FIFO, Meter
from support.proxied import Proxied, Running
from support.sqs_calls import PATIENCE
from support.sqs_faults import INTERNAL

pytest_plugins = ["support.proxied_fixtures"]

KIB = 1024
ONCE = {"total_max_attempts": 1}


def ignore(message: SQSMessage) -> None:
    """A handler that has nothing to do."""


def snake(operation: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()


def seen(proxied: Proxied) -> dict[str, int]:
    """How many calls of each kind went through the proxy."""
    return dict(Counter(snake(call.operation) for call in proxied.proxy.calls()))


def test_all_calls_are_counted(proxied: Proxied) -> None:
    """Calls by kind, from the first that looks the queue up, are those that the proxy has seen."""
    queue = proxied.queue()
    queue.put("a")
    queue.put_many({"body": str(number)} for number in range(15))
    messages = queue.receive()
    queue.extend(messages, 60)
    queue.cleanup(messages[:5])
    queue.release(messages[5:])
    assert queue.receive(1)
    empty = proxied.queue(wait_time=0, poll_interval=0)
    assert empty.get() == empty.get() == []
    figures = [queue.stats(), empty.stats()]
    calls: Counter[str] = Counter()
    for figure in figures:
        calls.update(figure["calls"])
    assert dict(calls) == seen(proxied)
    assert figures[0]["calls"] == {
        "get_queue_url": 1,
        "get_queue_attributes": 1,
        "send_message": 1,
        "send_message_batch": 2,
        "receive_message": 2,
        "change_message_visibility_batch": 2,
        "delete_message_batch": 1,
    }
    received = sum(len(call.messages) for call in proxied.proxy.calls("ReceiveMessage"))
    assert figures[0]["received"] == received == len(messages) + 1
    assert figures[0]["calls_per_message"] == pytest.approx(10 / received)
    assert (figures[0]["empty_receives"], figures[1]["empty_receives"]) == (0, 1)
    assert figures[1]["calls_per_message"] is None
    assert figures[0]["dollars"] == pytest.approx(10 * PRICE)


def test_figures_of_a_consumer(proxied: Proxied) -> None:
    """A consumer's figures have its queue's; all that it called, of many threads, is there."""
    queue = proxied.queue(*map(str, range(100)), wait_time=1)
    with Consumer(queue, each(ignore), max_workers=2, max_handlers=2) as consumer:
        assert consumer.wait_idle(PATIENCE)
        running = consumer.stats().queue
        report = consumer.shutdown()
    figures = report.stats.queue
    assert running["state"] == figures["state"] == "ok"
    # A poll that was cut is a call like any other; but it may have been cut before it left us.
    unseen = figures["calls"]["receive_message"] - seen(proxied)["receive_message"]
    assert unseen in (0, 1, 2)
    assert figures["calls"] == {**seen(proxied), "receive_message": figures["calls"]["receive_message"]}
    receives = proxied.proxy.calls("ReceiveMessage")
    assert figures["received"] == sum(len(call.messages) for call in receives) == 100
    # And it is none that brought nothing.
    in_vain = [call for call in receives if call.delivered and not call.messages]
    assert figures["empty_receives"] == pytest.approx(len(in_vain) / (len(receives) + unseen))
    assert figures["calls_per_message"] == pytest.approx((len(proxied.proxy.calls()) + unseen) / 100)


def test_calls_that_fail_are_counted(proxied: Proxied) -> None:
    """A call that failed is a call, and is paid for; a poll that was cut is one, too."""
    queue = proxied.queue(retries=ONCE)
    proxied.proxy.plan("SendMessage", INTERNAL)
    with pytest.raises(Unreachable):
        queue.put("text")
    proxied.proxy.plan("ReceiveMessage", INTERNAL)
    poll = Running(queue.get)
    proxied.proxy.wait_for("ReceiveMessage", 2, where=lambda call: call.sent or call.ended)
    while poll.is_alive():
        queue.interrupt()
        poll.join(0.05)  # it may be on its way into its poll, and then did not hear
    assert poll.result() == []
    assert queue.stats()["calls"] == seen(proxied)
    assert queue.stats()["empty_receives"] == 0
    with pytest.raises(QueueNotFound):
        proxied.open("there-is-none")


@pytest.mark.parametrize(
    ("size", "requests"), [(0, 1), (1, 1), (64 * KIB, 1), (64 * KIB + 1, 2), (256 * KIB, 4), (1024 * KIB, 16)]
)
def test_every_64_kib_is_a_request(size: int, requests: int) -> None:
    """A payload is paid for by its 64 KiB, whether it is one message or many, sent or received."""
    sent, batch, received, empty = Meter(), Meter(), Meter(), Meter()
    sent.count("send_message", {"MessageBody": "a" * size})
    assert sent.stats()["dollars"] == pytest.approx(requests * PRICE)
    batch.count(
        "send_message_batch",
        {"Entries": [{"MessageBody": "a" * (size // 2)}, {"MessageBody": "a" * (size - size // 2)}]},
    )
    assert batch.stats()["dollars"] == pytest.approx(requests * PRICE)
    received.count("receive_message", {})
    received.received([{"Body": "a" * size}])
    assert received.stats()["dollars"] == pytest.approx(requests * PRICE)
    empty.count("receive_message", {})
    empty.received([])
    assert empty.stats()["dollars"] == pytest.approx(PRICE)


def test_fifo_costs_more(proxied: Proxied) -> None:
    """Requests of a FIFO queue have a price of their own."""
    queue = proxied.queue(fifo=True)
    queue.put("text", deduplication_id="once")
    assert queue.stats()["dollars"] == pytest.approx(3 * PRICE_FIFO)


def test_nothing_was_called() -> None:
    """Where nothing was called there are no shares, and it cost nothing."""
    assert Meter().stats() == {
        "calls": {},
        "received": 0,
        "calls_per_message": None,
        "empty_receives": None,
        "dollars": 0,
    }


def test_counts_of_many_threads() -> None:
    """No call is lost, whoever counts it."""
    meter = Meter()

    def count() -> None:
        for _ in range(1000):
            meter.count("receive_message", {})
            meter.received([{"Body": "a"}])

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures = meter.stats()
    assert (figures["calls"], figures["received"]) == ({"receive_message": 8000}, 8000)
