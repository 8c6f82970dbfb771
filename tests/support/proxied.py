"""Queues that are reached through a `Proxy`, and a client of the same server that is not."""

from __future__ import annotations

import functools
import json
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from queue_consumer_sqs import SQSQueue
from support.sqs_calls import PATIENCE
from support.sqs_proxy import Proxy


class Proxied:
    """A proxy, queues that are reached through it, and a client that is not.

    Attributes:
        proxy: with the log of what the queues under test have called.
        client: goes to the server itself.
    """

    def __init__(self, endpoint_url: str, client: Any, session: Any) -> None:
        self.endpoint_url = endpoint_url
        self.client = client
        self.session = session
        self.proxy = Proxy(endpoint_url)
        self._opened = ExitStack()
        self._opened.callback(self.proxy.stop)

    def __enter__(self) -> Proxied:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def make(self, *, fifo: bool = False, **attributes: object) -> str:
        """The URL of a new queue; it is deleted after the test."""
        name = f"test-{uuid.uuid4().hex}{'.fifo' if fifo else ''}"
        if fifo:
            attributes["FifoQueue"] = True
        given = {key: value if isinstance(value, str) else json.dumps(value) for key, value in attributes.items()}
        url: str = self.client.create_queue(QueueName=name, Attributes=given)["QueueUrl"]
        self._opened.callback(self.client.delete_queue, QueueUrl=url)
        return url

    def open(self, url: str, **options: Any) -> SQSQueue:
        """The queue, through the proxy."""
        given: dict[str, Any] = {"endpoint_url": self.proxy.endpoint_url, "session": self.session, **options}
        queue = SQSQueue(url.rpartition("/")[2], **given)
        self._opened.callback(queue.close)
        self._opened.callback(queue.interrupt)  # of a test that failed in the middle of a get
        return queue

    def queue(self, *bodies: str, fifo: bool = False, **options: Any) -> SQSQueue:
        """A new queue, with these in it, through the proxy."""
        url = self.make(fifo=fifo)
        self.send(url, *bodies)
        return self.open(url, **options)

    def send(self, url: str, *bodies: str, group: str = "default") -> None:
        """Not through the proxy; into a FIFO queue one after the other."""
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(number), "MessageBody": body, **(fifo(group) if url.endswith(".fifo") else {})}
                for number, body in enumerate(bodies[start : start + 10])
            ]
            answer = self.client.send_message_batch(QueueUrl=url, Entries=entries)
            assert not answer.get("Failed")

    def left_in(self, url: str) -> int:
        """How many messages the queue has, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        figures = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(figures[name]) for name in names)

    def seen(self, url: str, *, wait: int = 10) -> list[str]:
        """What another consumer receives, one receive long."""
        answer = self.client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait)
        return [message["Body"] for message in answer.get("Messages", [])]


def fifo(group: str) -> dict[str, str]:
    return {"MessageGroupId": group, "MessageDeduplicationId": uuid.uuid4().hex}


class Running(threading.Thread):
    """A function that runs meanwhile; what it returned, or raised, is `result()`."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(daemon=True)
        self._function = functools.partial(function, *args, **kwargs)
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        """Raises an AssertionError if it does not end."""
        self.join(PATIENCE)
        assert not self.is_alive(), "it does not end"
        if self._error is not None:
            raise self._error
        return self._result
