"""Stopping in the middle of a poll of twenty seconds, on each server: how long it takes, and what it hides.

Right after the stop a message is sent. Where the server gives it to the poll that has hung up, it is hidden until the
short lease of that poll is over; how long another consumer waits for it is measured, and not judged.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any

from contender import Contender, Sample
from queue_consumer import Consumer
from queue_consumer_sqs import SQSQueue
from queue_consumer_sqs.testing import MemorySQS
from sqs_stand import BODY, Plain, Stand

TOPIC = "SQS stop"
SERVERS = ("ministack", "fauxqs", "localstack")
MEMORY = "memory"
WORKERS = 4
INSIDE = 0.5  # seconds that the poll has lasted


def ignore(messages: Any) -> None:
    """There are none."""


def line(queue: SQSQueue) -> Consumer[Any]:
    return Consumer[Any](queue, ignore, WORKERS, 1).start()


def stop(consumer: Consumer[Any]) -> float:
    began = monotonic()
    report = consumer.shutdown()
    if not report.balanced:
        raise AssertionError(str(report))
    return monotonic() - began


def hidden(plain: Plain, url: str) -> float:
    """Sends a message; the seconds until another consumer has it."""
    sent = monotonic()
    plain.send(url, [BODY])
    while not plain.receive(url, wait=20):
        pass
    return monotonic() - sent


def on(server: str, times: int) -> Sample:
    """Starts so many lines on it, waits for their polls, stops one after the other, and sends each queue a message."""
    with Stand(server, pinned=False) as stand:
        names = [stand.queue() for _ in range(times)]
        lines = [line(SQSQueue(name, endpoint_url=stand.endpoints[0])) for name in names]
        while stand.open_polls() < times:
            time.sleep(0.02)  # it can only be asked
        time.sleep(INSIDE)  # they are to be in the middle of it
        stops: list[float] = []
        with ThreadPoolExecutor(times) as waiting:
            found: list[Future[float]] = []
            for name, consumer in zip(names, lines, strict=True):
                stops.append(stop(consumer))
                found.append(waiting.submit(hidden, Plain(stand.server), stand.url(name)))
            return sample(stops, [each.result() for each in found])


def in_memory(times: int) -> Sample:
    """The same, one after the other, on the server that is a part of this process."""
    client = MemorySQS().client()
    url = client.create_queue(QueueName="idle")["QueueUrl"]
    stops: list[float] = []
    hides: list[float] = []
    for _ in range(times):
        consumer = line(SQSQueue("idle", client=client))
        time.sleep(INSIDE)  # it is to be in the middle of a poll
        stops.append(stop(consumer))
        sent = monotonic()
        client.send_message(QueueUrl=url, MessageBody=BODY)
        while not (messages := client.receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages")):
            pass
        hides.append(monotonic() - sent)
        client.delete_message(QueueUrl=url, ReceiptHandle=messages[0]["ReceiptHandle"])
    return sample(stops, hides)


def sample(stops: Sequence[float], hides: Sequence[float]) -> Sample:
    return {
        "items": len(stops),
        "stop": statistics.median(stops),
        "slowest": max(stops),
        "hidden": statistics.median(hides),
        "longest_hidden": max(hides),
    }


CONTENDERS = [
    Contender(
        topic=TOPIC,
        name=server,
        kind="ours",
        measure=in_memory if server == MEMORY else functools.partial(on, server),
        items=5,
        few=1,
        rounds=1,
    )
    for server in (*SERVERS, MEMORY)
]
