"""A Lambda function behind an SQS queue, with partial batch failures: what failed comes again, the rest is deleted.

In the event source mapping, set `FunctionResponseTypes` to `ReportBatchItemFailures`. The service receives and deletes;
here an event is a queue with one bulk in it. On a FIFO queue what stands behind a failure in its group is given back
unhandled, so that the order is kept.

Not run: in Lambda itself. The test calls the function with events as the documentation of the service shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from queue_consumer import Consumer, each

Record = dict[str, Any]


class Batch:
    """The records of one event."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._records: list[Record] = list(event["Records"])
        self.failed: list[str] = []

    def get(self) -> list[Record]:
        records, self._records = self._records, []
        return records

    def attempt(self, record: Record) -> int:
        return int(record["attributes"]["ApproximateReceiveCount"])

    def ordering_key(self, record: Record) -> str | None:
        group: str | None = record["attributes"].get("MessageGroupId")
        return group if record["eventSourceARN"].endswith(".fifo") else None

    def cleanup(self, records: Sequence[Record]) -> None:
        """The service deletes what is not said to have failed."""

    def release(self, records: Sequence[Record], delay: float = 0) -> None:
        self.failed += [record["messageId"] for record in records]


@each
def handle(record: Record) -> None:
    """What you do with one message."""
    print("packed", int(record["body"]))


def lambda_handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    batch = Batch(event)
    Consumer(batch, handle).run_once()
    return {"batchItemFailures": [{"itemIdentifier": id} for id in batch.failed]}
