"""Jobs per second: a task that does nothing, called by name with one argument in JSON, in threads, from memory.

Everybody has a backlog before the clock starts, but for taskiq, which runs where it sends. Ours ends with the cleanup
of the last message, by the queue's own count; theirs as soon as they have nothing left. Our queue gives a hundred at
once, as many as wait at a time in the queue of sqs-workers; and, as SQS does, ten: then four threads of ours fight for
its lock.
"""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import peers
from contender import Contender, Sample, cpus, rate
from queue_consumer import Consumer, MemoryMessage, MemoryQueue
from queue_consumer.jobs import Jobs

TOPIC = "jobs"


class CountingQueue(MemoryQueue[MemoryMessage]):
    """A `MemoryQueue` that tells when the last of so many messages has been cleaned up."""

    def __init__(self, total: int, bulk: int) -> None:
        super().__init__(bulk=bulk)
        self.left = total
        self.finished = threading.Event()
        self.finished_at = 0.0
        self._counting = threading.Lock()

    def cleanup(self, items: Sequence[MemoryMessage]) -> None:
        super().cleanup(items)
        with self._counting:
            self.left -= len(items)
            if not self.left:
                self.finished_at = perf_counter()
                self.finished.set()


def nothing(number: int) -> None:
    """The job."""


def ours(items: int, *, chunk: int, bulk: int = 100) -> Sample:
    """A registry as the handler of a consumer with default options, and a queue that gives so many at once."""
    queue = CountingQueue(items, bulk)
    jobs = Jobs(queue)
    task = jobs.connect("nothing", nothing)
    for number in range(items):
        task.delay(number=number)
    consumer: Consumer[Any] = Consumer(queue, jobs, messages_bulk_size=chunk)
    gc.collect()
    started = perf_counter()
    consumer.start()
    queue.finished.wait()
    seconds = queue.finished_at - started
    report = consumer.shutdown()
    if not report.balanced or report.stats.cleaned != items:
        raise AssertionError(f"{items} jobs were sent; {report}")
    return rate(items, seconds)


def sqs_workers(items: int, *, workers: int) -> Sample:
    """Job queues with the codec JSON on a MemorySession, one thread each, with a backlog of a hundred at a time.

    Its in-memory queue looks at every waiting message on each receive: a long backlog would measure only that.
    """
    package, memory = peers.peer("sqs_workers"), peers.peer("sqs_workers.memory_sqs")
    environment = package.SQSEnv(session=memory.MemorySession(), codec="json")
    backlog = min(100, items)
    queues: list[Any] = []
    for number in range(workers):
        queue = environment.queue(f"q{number}")
        environment.sqs_resource.create_queue(QueueName=environment.get_sqs_queue_name(queue.name), Attributes={})
        queue.connect_processor("nothing", nothing)
        queues.append(queue)
    return peers.emptied(queues, items, backlog, lambda queue, number: queue.add_job("nothing", number=number))


def _peer(name: str, measure: Any, items: int) -> Contender:
    return Contender(topic=TOPIC, kind="peer", name=name, measure=measure, items=items, few=200)


_WORKERS = sorted({cpus(), 1}, reverse=True)


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


CONTENDERS = [
    *(_peer(f"huey MemoryHuey, {_threads(n)}", functools.partial(peers.huey, workers=n), 60_000) for n in _WORKERS),
    _peer(f"dramatiq StubBroker, {_threads(cpus())}", peers.dramatiq, 15_000),
    _peer("taskiq InMemoryBroker, 1 loop", peers.taskiq, 15_000),
    *(
        _peer(f"sqs-workers MemorySession, {_threads(n)}", functools.partial(sqs_workers, workers=n), 30_000)
        for n in _WORKERS
    ),
    *(
        Contender(
            topic=TOPIC,
            kind="ours",
            name=f"Jobs, chunk of {chunk}" + (", in bulks of 10" if bulk == 10 else ""),
            measure=functools.partial(ours, chunk=chunk, bulk=bulk),
            items=100_000,
            few=500,
        )
        for chunk, bulk in ((1, 100), (10, 100), (1, 10))
    ),
]
