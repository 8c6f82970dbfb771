"""A server that is killed and comes back with what it had: nothing is lost, and the consumer is not started anew."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from queue_consumer_sqs import SQS
from support.deaths import Line
from support.lifecycle import until
from support.line_pools import COROUTINES, FORKSERVER, THREADS, PoolKind
from support.sqs_handlers import Noting
from support.sqs_servers import Server

COUNT = 150


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Server]:
    """A server of its own, that keeps everything on the disk."""
    server = Server("fauxqs", tmp_path / "server", durable=True)
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("pool", "fifo"),
    [(THREADS, False), (FORKSERVER, False), (COROUTINES, False), (FORKSERVER, True)],
    ids=["threads", "processes", "coroutines", "processes and fifo"],
)
def test_a_server_that_is_killed_and_comes_back(durable: Server, fifo: bool, pool: PoolKind, tmp_path: Path) -> None:
    """Every message is handled, though the server is killed twice meanwhile, and of a group each in its turn.

    Cleanups may be given up on the way, if it takes long to come back; what they were for comes again.
    """
    name = "restarts.fifo" if fifo else "restarts"
    account = SQS(endpoint_url=durable.endpoint_url)
    account.create(name, content_deduplication=fifo)
    queue = account.queue(name, visibility_timeout=3, idle_lease=1, wait_time=2)
    queue.put_many({"body": f"{number % 5}-{number:03}", "group": f"group-{number % 5}"} for number in range(COUNT))
    handler = Noting(tmp_path / "diary")
    with pool.consumer(queue, handler, max_handlers=3) as consumer:
        for done in (40, 90):
            handler.diary.wait_for(partial(has, done))
            durable.kill()
            durable.restart()
        until(lambda: len(set(handler.diary.names())) == COUNT, "all are handled")
        until(lambda: left(account, name) == 0, "all are deleted")
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.revived == 0
    if fifo:
        for group in range(5):
            firsts = list(dict.fromkeys(name for name in handler.diary.names() if name.startswith(f"{group}-")))
            assert firsts == sorted(firsts), "each was handled before those behind it"


def has(count: int, lines: list[Line]) -> bool:
    return len({line.name for line in lines}) >= count


def left(account: SQS, name: str) -> int:
    """How many messages there are, seen or hidden."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = account.client.get_queue_attributes(QueueUrl=account.find(name), AttributeNames=names)
    return sum(map(int, answer["Attributes"].values()))
