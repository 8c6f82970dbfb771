"""The door: an SQS of one's own."""

from __future__ import annotations

import time
from collections.abc import Callable

from ._account import Account
from ._checks import text_of
from ._client import MemoryClient

__all__ = ["MemorySQS"]


class MemorySQS:
    """A whole SQS account in memory, with any number of queues and clients, for any number of threads.

    >>> client = MemorySQS().client()
    >>> url = client.create_queue(QueueName="jobs")["QueueUrl"]
    >>> sent = client.send_message(QueueUrl=url, MessageBody="a body")
    >>> [message] = client.receive_message(QueueUrl=url)["Messages"]
    >>> message["Body"], message["MessageId"] == sent["MessageId"]
    ('a body', True)
    >>> "Messages" in client.receive_message(QueueUrl=url)  # it is in flight
    False

    Args:
        clock: what the time is. A receive that waits also ends when so many real seconds have passed, so that nobody
            waits for ever for a clock that is moved by hand.
        region: of its queues' URLs and ARNs.
        account_id: likewise.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        region: str = "us-east-1",
        account_id: str = "000000000000",
    ) -> None:
        if not callable(clock):
            raise TypeError(f"MemorySQS: clock must be callable; got {clock!r}")
        self._account = Account(
            clock, text_of("MemorySQS: region", region), text_of("MemorySQS: account_id", account_id)
        )

    def client(self) -> MemoryClient:
        """A client of this account, shaped as boto3's."""
        return MemoryClient(self._account)

    @property
    def waiting(self) -> int:
        """How many receives wait for a message at this moment: what tests wait for before they send one."""
        with self._account.lock:
            return self._account.waiting
