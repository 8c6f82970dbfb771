"""Other projects, each with its in-memory broker, in the fastest configuration that its documentation offers.

A broker that holds a backlog is filled before the clock starts; what the producer costs is not counted
against it. What does not import here is named in the table instead of measured.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import workloads
from contender import Contender, NotInstalled, Sample, cpus, rate

TOPIC = "throughput"


def peer(module: str) -> Any:
    """The module of another project, or NotInstalled with the reason."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotInstalled(f"{module.partition('.')[0]} is not installed here ({error})") from error


def huey(items: int, *, workers: int) -> Sample:
    """MemoryHuey with consumer threads, without results, periodic tasks and health checks."""
    app = peer("huey").MemoryHuey(results=False)
    done = threading.Event()

    @app.task()  # type: ignore[untyped-decorator,unused-ignore]
    def handle(number: int) -> None:
        if number == items - 1:
            done.set()

    for number in range(items):
        handle(number)
    consumer = app.create_consumer(workers=workers, periodic=False, check_worker_health=False)
    started = perf_counter()
    consumer.start()
    done.wait()
    seconds = perf_counter() - started
    consumer.stop()
    return rate(items, seconds)


def dramatiq(items: int) -> Sample:
    """StubBroker without middleware, and with a longer prefetch than its default of two per thread."""
    os.environ["dramatiq_queue_prefetch"] = "100"  # noqa: SIM112 — its name; read when imported
    package, stub = peer("dramatiq"), peer("dramatiq.brokers.stub")
    broker = stub.StubBroker(middleware=[])
    package.set_broker(broker)
    actor = package.actor(workloads.one)
    for number in range(items):
        actor.send(number)
    worker = package.Worker(broker, worker_threads=cpus())
    started = perf_counter()
    worker.start()
    broker.join(actor.queue_name)
    seconds = perf_counter() - started
    worker.stop()
    return rate(items, seconds)


def taskiq(items: int) -> Sample:
    """InMemoryBroker that awaits in place and casts no arguments. It keeps no backlog: to send is to run."""
    broker = peer("taskiq").InMemoryBroker(cast_types=False, await_inplace=True, max_stored_results=1)

    async def handle(number: int) -> None:
        pass

    task = broker.task(handle)

    async def run() -> float:
        await broker.startup()
        started = perf_counter()
        for number in range(items):
            await task.kiq(number)
        seconds = perf_counter() - started
        await broker.shutdown()
        return seconds

    return rate(items, asyncio.run(run()))


def sqs_workers(items: int, *, workers: int) -> Sample:
    """Raw queues (no codec) on a MemorySession, one thread each, with a backlog of a hundred at a time.

    Its in-memory queue looks at every waiting message on each receive: a long backlog would measure only
    that.
    """
    package, memory = peer("sqs_workers"), peer("sqs_workers.memory_sqs")
    environment = package.SQSEnv(session=memory.MemorySession())
    backlog = min(100, items)
    queues: list[Any] = []
    for number in range(workers):
        raw = environment.queue(f"q{number}", package.RawQueue)
        environment.sqs_resource.create_queue(QueueName=environment.get_sqs_queue_name(raw.name), Attributes={})
        raw.raw_processor()(workloads.one)
        queues.append(raw)
    return emptied(queues, items, backlog, lambda raw, number: raw.add_raw_job(str(number)))


def emptied(queues: list[Any], items: int, backlog: int, add: Callable[[Any, int], object]) -> Sample:
    """Queues of sqs-workers, worked off by a thread each, with a backlog of so many at a time."""

    def work(queue: Any) -> None:
        left = backlog
        while left > 0:
            left -= queue.process_batch().succeeded_count()

    done, seconds = 0, 0.0
    while done < items:
        for queue in queues:
            for number in range(backlog):
                add(queue, number)
        threads = [threading.Thread(target=work, args=(queue,)) for queue in queues[1:]]
        started = perf_counter()
        for thread in threads:
            thread.start()
        work(queues[0])
        for thread in threads:
            thread.join()
        seconds += perf_counter() - started
        done += backlog * len(queues)
    return rate(done, seconds)


def _contender(name: str, measure: Any, items: int) -> Contender:
    return Contender(topic=TOPIC, kind="peer", name=name, measure=measure, items=items, few=200)


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


# A second thread slows some peers down: they are measured with as many workers as the line has, and with
# one.
_WORKERS = sorted({cpus(), 1}, reverse=True)

CONTENDERS = [
    *(_contender(f"huey MemoryHuey, {_threads(n)}", functools.partial(huey, workers=n), 60_000) for n in _WORKERS),
    _contender(f"dramatiq StubBroker, {_threads(cpus())}", dramatiq, 15_000),
    _contender("taskiq InMemoryBroker, 1 loop", taskiq, 15_000),
    *(
        _contender(f"sqs-workers MemorySession, {_threads(n)}", functools.partial(sqs_workers, workers=n), 80_000)
        for n in _WORKERS
    ),
]

DISTRIBUTIONS = ("huey", "dramatiq", "taskiq", "sqs-workers")
