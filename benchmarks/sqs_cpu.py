"""What a message costs the client: CPU, calls and time, from a full queue, with handlers that do nothing.

The CPU is that of the client's process alone (`process_time`), from before the first receive of the measured messages
until after the last delete; imports, clients and the first connection are made before that. The calls are the proxy's.
"""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, process_time
from typing import Any

from contender import Contender, NotInstalled, Sample
from peers import peer
from queue_consumer import Consumer
from queue_consumer_sqs import SQSQueue
from sqs_stand import CALL, REGION, Seen, Stand, client_of, counted

TOPIC = "SQS cost"
BARE, ONE_BY_ONE = "bare loop of boto3", "bare loop of boto3, deleted one by one"
OURS, LEAN = "queue_consumer", "queue_consumer, lean transport"
WARM = 50  # messages that are not measured
LISTENER = Path(__file__).resolve().parent / "sqs_listener.py"

Run = Callable[[str, int], object]
"""Consumes so many messages of a queue."""


def measured(stand: Stand, items: int, run: Run) -> Sample:
    """What so many messages cost, after a few that are not measured."""
    name = stand.queue(WARM)
    run(name, WARM)
    stand.fill(name, items)
    since, before = monotonic(), process_time()
    run(name, items)
    return sample(stand, items, process_time() - before, since)


def sample(stand: Stand, items: int, cpu: float, since: float = 0.0) -> Sample:
    """What the proxy has seen of it, and the CPU that it took."""
    calls = [call for call in stand.calls(since=since) if call.status == 200]
    deleted = counted(calls)
    if deleted != items:
        raise AssertionError(f"{deleted} of {items} messages were deleted")
    useful = [call for call in calls if call.count]
    seconds = max(call.ended for call in useful) - min(call.began for call in useful)
    return {
        "items": items,
        "seconds": seconds,
        "rate": items / seconds,
        "cpu": cpu / items,
        "calls": len(trimmed(calls)) / items,
    }


def trimmed(calls: list[Seen]) -> list[Seen]:
    """Without the polls after the last message, which say that there are no more, and are not of any message."""
    last = max(call.began for call in calls if call.operation == "ReceiveMessage" and call.count)
    return [call for call in calls if call.operation != "ReceiveMessage" or call.began <= last]


def bare(items: int, *, one_by_one: bool) -> Sample:
    """A single thread that receives ten, calls the handler for each, and deletes them, in one call or one by one."""
    with Stand() as stand:
        client = client_of(stand.endpoints[0])

        def run(name: str, count: int) -> None:
            url = client.get_queue_url(QueueName=name)["QueueUrl"]
            while count > 0:
                answer = client.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=CALL,
                    WaitTimeSeconds=20,
                    MessageSystemAttributeNames=["All"],
                    MessageAttributeNames=["All"],
                )
                messages = answer.get("Messages", [])
                for message in messages:
                    handle(message)
                if one_by_one:
                    for message in messages:
                        client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                elif messages:
                    entries = [
                        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                        for number, message in enumerate(messages)
                    ]
                    client.delete_message_batch(QueueUrl=url, Entries=entries)
                count -= len(messages)

        return measured(stand, items, run)


def handle(message: Any) -> None:
    """Nothing."""


def ours(items: int, *, handlers: int = 1, chunk: int = 1, transport: str = "boto3") -> Sample:
    """A whole consumer, from `start()` to the end of `shutdown()`."""
    options: dict[str, Any] = {"transport": transport}
    with Stand() as stand:
        queues: dict[str, SQSQueue] = {}

        def run(name: str, count: int) -> None:
            if name not in queues:
                queues[name] = SQSQueue(name, endpoint_url=stand.endpoints[0], **options)
            consume(queues[name], count, handlers, chunk)

        return measured(stand, items, run)


def consume(queue: SQSQueue, items: int, handlers: int, chunk: int) -> None:
    finished = threading.Event()
    numbers = itertools.count(1)

    def handler(messages: Iterator[Any]) -> None:
        for _ in messages:
            if next(numbers) == items:
                finished.set()

    consumer = Consumer(queue, handler, handlers, handlers, chunk, owns_queue=False)
    consumer.start()
    finished.wait()
    report = consumer.shutdown()
    if not report.balanced or report.stats.cleaned != items:
        raise AssertionError(str(report))


def sqs_workers(items: int) -> Sample:
    """A raw queue of sqs-workers: `process_batch` over and over, which is what its `process_queue` does."""
    package = peer("sqs_workers")
    with Stand() as stand:
        access = {"endpoint_url": stand.endpoints[0], "region_name": REGION}
        boto3 = peer("boto3")
        environment = package.SQSEnv(
            sqs_client=boto3.client("sqs", **access), sqs_resource=boto3.resource("sqs", **access)
        )

        def run(name: str, count: int) -> None:
            queue = environment.queue(name, package.RawQueue)
            queue.connect_raw_processor(handle)
            while count > 0:
                count -= queue.process_batch(wait_seconds=10).succeeded_count()

        return measured(stand, items, run)


def multi_sqs_listener(items: int) -> Sample:
    """multi_sqs_listener in an environment of its own, with one queue; it says itself what CPU it took."""
    place = Path(sys.prefix).parent / "servers" / "multi_sqs_listener"
    if not (place / ".made").exists():
        raise NotInstalled("multi_sqs_listener is not installed here (tools/servers.sh multi_sqs_listener)")
    with Stand() as stand:
        name = stand.queue(items)
        command = [str(place / "bin" / "python"), str(LISTENER), stand.endpoints[0], REGION, name, str(items)]
        answer = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
        found = dict(sample(stand, items, 0.0))
        found["cpu"] = answer["cpu"] / answer["items"]
        return found


def _contender(name: str, kind: str, measure: Any, items: int, few: int) -> Contender:
    return Contender(topic=TOPIC, name=name, kind=kind, measure=measure, items=items, few=few)


# Neighbours are measured one after the other: those that a bar compares stand side by side.
CONTENDERS = [
    _contender(ONE_BY_ONE, "bare", functools.partial(bare, one_by_one=True), 600, 20),
    _contender(OURS, "ours", ours, 2_500, 50),
    _contender(BARE, "bare", functools.partial(bare, one_by_one=False), 2_500, 20),
    _contender(LEAN, "ours", functools.partial(ours, transport="lean"), 5_000, 50),
    _contender(f"{OURS}, 4 handlers", "ours", functools.partial(ours, handlers=4), 2_500, 50),
    _contender(f"{OURS}, chunks of 10", "ours", functools.partial(ours, chunk=10), 2_500, 50),
    _contender("sqs-workers, raw queue", "peer", sqs_workers, 2_500, 20),
    _contender("multi_sqs_listener", "peer", multi_sqs_listener, 20, 5),
]
