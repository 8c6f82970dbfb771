"""What every queue promises to the line, `AsyncSQSQueue` promises too; run by `test_async.py`, where aiobotocore is."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from queue_consumer_sqs.aio import AsyncSQSQueue
from support.sqs_servers import MakeQueue

contract = runpy.run_path(str(Path(__file__).parents[1] / "test_contract.py"))
Standard: Any = contract["TestStandardQueue"]
Fifo: Any = contract["TestFifoQueue"]
LEASE: int = contract["LEASE"]


class Opened:
    """Where the queues come from, and how they are closed."""

    fifo = False

    @pytest.fixture(autouse=True)
    def opened(self, make_queue: MakeQueue, sqs_server: Any) -> None:
        """Queues are made on the server of the tests."""

        def make() -> AsyncSQSQueue:
            url = make_queue(fifo=True, ContentBasedDeduplication=True) if self.fifo else make_queue()
            return AsyncSQSQueue(
                url.rpartition("/")[2],
                endpoint_url=sqs_server.endpoint_url,
                visibility_timeout=LEASE,
                wait_time=1,
                cleanup_linger=0,
                idle_lease=LEASE,
            )

        self.make = make

    def destroy_queue(self, queue: AsyncSQSQueue) -> None:
        self.call(queue.close)

    def call(self, verb: Any, *args: Any, **kwargs: Any) -> Any:
        return super().call(verb, *args, **kwargs)  # type: ignore[misc]  # of what it is mixed into


class TestStandardQueue(Opened, Standard):  # type: ignore[misc]
    """A standard queue."""


class TestFifoQueue(Opened, Fifo):  # type: ignore[misc]
    """A FIFO queue."""

    fifo = True

    def test_put_hides_an_item_for_its_delay(self) -> None:
        """A FIFO queue delays all of its messages or none, so this is refused."""
        with self.queue() as queue, pytest.raises(ValueError, match="delay must be 0 on a FIFO queue"):
            self.call(queue.put, "later", delay=self.delay)

    def fill(self, queue: AsyncSQSQueue, bodies: Any) -> None:
        """Each in a group of its own, so that none waits for another."""
        entries = [{"body": body, "group": uuid4().hex, "deduplication_id": uuid4().hex} for body in bodies]
        self.call(queue.put_many, entries)
