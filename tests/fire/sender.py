"""Who sends the messages of a run: the queue's own `put_many`, through the same fire as all the others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fire.evidence import SENDER
from fire.plan import Task
from queue_consumer_sqs import SendError, SQSError, SQSQueue


class Sender:
    """Of one queue, which is there.

    Args:
        access: how the queue is reached, but for the keys, which are the sender's own.
        batch: what makes the deduplication ids of a FIFO queue unlike those of others.
    """

    def __init__(self, name: str, batch: str, **access: Any) -> None:
        self._queue = opened(name, access_key_id=SENDER, secret_access_key="secret", **access)
        self._batch = batch

    def send(self, tasks: Sequence[Task]) -> None:
        """All of them, whatever happens meanwhile; what may have been sent is sent again."""
        left = [self._entry(task) for task in tasks]
        while left:
            try:
                self._queue.put_many(left)
                left = []
            except SendError as error:
                left = [failed.entry for failed in error.failed]
            except SQSError:
                pass  # none of them

    def close(self) -> None:
        self._queue.close()

    def _entry(self, task: Task) -> dict[str, Any]:
        if not self._queue.fifo:
            return {"body": task.body}
        return {"body": task.body, "group": task.group, "deduplication_id": f"{self._batch}-{task.number}"}


def transported(transport: str) -> dict[str, str]:
    """The option of a queue, if it is not left to the queue."""
    return {"transport": transport} if transport else {}


def opened(name: str, kind: Any = SQSQueue, **options: Any) -> Any:
    """The queue, as soon as there is somebody who can be asked."""
    while True:
        try:
            return kind(name, **options)
        except SQSError:
            time.sleep(0.1)  # a server that was killed tells nobody when it is there again
