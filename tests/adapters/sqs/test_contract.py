"""What every queue promises to the line, an SQS queue promises too: standard and FIFO, on whatever server."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from queue_consumer.testing import QueueContract
from queue_consumer_sqs import SQSQueue
from support.sqs_servers import MakeQueue

VERBS = {
    "interrupt",
    "cleanup",
    "release",
    "attempt",
    "identity",
    "extend",
    "lease",
    "cleanup_limit",
    "put",
    "put_many",
    "stats",
    "close",
}
LEASE = 2  # seconds, the shortest that still has a half; SQS has whole ones


class Opened(QueueContract):
    """The contract, with queues on the server."""

    patience = 10.0
    delay = 3.0
    soon = 1.0
    fifo: ClassVar = False

    @pytest.fixture(autouse=True)
    def opened(self, make_queue: MakeQueue, open_queue: Callable[..., SQSQueue]) -> None:
        """Queues are made on the server of the tests."""

        def make() -> SQSQueue:
            attributes: dict[str, object] = {"ContentBasedDeduplication": True} if self.fifo else {}
            url = make_queue(None, fifo=self.fifo, **attributes)
            return open_queue(url, visibility_timeout=LEASE, wait_time=1, cleanup_linger=0, idle_lease=LEASE)

        self.make = make

    def make_queue(self) -> SQSQueue:
        return self.make()

    @pytest.mark.gap("ministack", "fauxqs", "localstack", reason="lets a message be hidden anew that is visible again")
    def test_extend_says_which_are_lost(self) -> None:
        """Those whose visibility timeout is over are lost, and the others are hidden for longer."""
        super().test_extend_says_which_are_lost()

    @pytest.mark.gap("localstack", reason="deletes by the handle of an older delivery")
    def test_late_cleanup_ends_no_newer_delivery(self) -> None:
        """A delete by an old receipt handle does nothing."""
        super().test_late_cleanup_ends_no_newer_delivery()

    @pytest.mark.gap("localstack", reason="changes the visibility of a newer delivery by the handle of an older one")
    def test_late_release_shows_no_newer_delivery(self) -> None:
        """A release by an old receipt handle does nothing."""
        super().test_late_release_shows_no_newer_delivery()


class TestStandardQueue(Opened):
    """A standard queue."""

    verbs: ClassVar = VERBS


class TestFifoQueue(Opened):
    """A FIFO queue."""

    verbs: ClassVar = VERBS | {"ordering_key"}
    fifo: ClassVar = True
    holds_keys = True

    @pytest.mark.gap("localstack", reason="shows a FIFO message again when the timeout is over that was extended")
    def test_extend_concerns_no_other_item(self) -> None:
        """What is extended stays hidden, and the others do not."""
        super().test_extend_concerns_no_other_item()

    def test_put_hides_an_item_for_its_delay(self) -> None:
        """A FIFO queue delays all of its messages or none, so this is refused."""
        with self.queue() as queue, pytest.raises(ValueError, match="delay must be 0 on a FIFO queue"):
            queue.put("later", delay=self.delay)

    def fill(self, queue: Any, bodies: Any) -> None:
        """Each in a group of its own, so that none waits for another."""
        queue.put_many(
            {"body": body, "group": uuid.uuid4().hex, "deduplication_id": uuid.uuid4().hex} for body in bodies
        )
