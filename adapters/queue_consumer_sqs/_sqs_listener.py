"""For those who come from sqs-mega: a listener, which is an `SQSQueue`, a `Consumer` and `Subscribers` in one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Unpack

from queue_consumer import Consumer, Event, Report, Stats, UsageError
from queue_consumer.subscribers import Subscribers

from ._access import Access, ReachOptions
from ._limits import VISIBILITY_TIMEOUT
from ._message import SQSMessage
from ._queue import SQSQueue
from ._receiver import check_settings
from ._sqs_publisher import check_url

__all__ = ["SqsListener"]


class SqsListener:
    """Listens to a queue, and gives its messages to subscribers.

        listener = SqsListener(queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/orders")
        listener.register_subscriber(ItemAdded)
        listener.listen()

    One message is handled at a time, unless `max_handlers` says otherwise; `Consumer(SQSQueue(…), Subscribers([…]))`
    has more to choose from, processes and coroutines for instance. The lease of a message is renewed for as long as
    its subscribers take.

    Args:
        aws_access_key_id, aws_secret_access_key, region_name: None: as boto3 finds them; the region also from the URL.
        queue_url: the queue.
        max_number_of_messages: the most of one receive, 1 to 10.
        wait_time_seconds: that a receive waits for a message, 0 to 20.
        visibility_timeout: seconds that a message is hidden from others, renewed while it is held.
        subscribers: a registry with options of its own; None: one with those of sqs-mega.
        max_handlers: messages that are handled at once, each in a thread.
        backoff: called with how often a message was delivered; gives the seconds before a kept one is seen again.
        stop_when: asked, with `Stats`, whether to stop: `Idle(seconds)`, `MaxItems(n)`.
        observers: callables of one event, of the consumer's.
        profile, session_token, endpoint_url, retries, session, client: see `Access`.

    Raises:
        TypeError, ValueError: for a wrong argument. That the queue is there is seen by `listen()`.
    """

    def __init__(
        self,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        region_name: str | None = None,
        queue_url: str | None = None,
        max_number_of_messages: int = 1,
        wait_time_seconds: float = 20,
        visibility_timeout: float = 30,
        *,
        subscribers: Subscribers | None = None,
        max_handlers: int = 1,
        backoff: Callable[[int], float] | None = None,
        stop_when: Callable[[Stats], bool] | None = None,
        observers: Iterable[Callable[[Event], object]] = (),
        **reached_by: Unpack[ReachOptions],
    ) -> None:
        keys = {
            "region": region_name,
            "access_key_id": aws_access_key_id,
            "secret_access_key": aws_secret_access_key,
        }
        Access.of("SqsListener", reached_by, ReachOptions, **keys)
        self._reached_by: dict[str, Any] = {**keys, **reached_by}
        if queue_url is None:
            raise ValueError("Missing Queue URL")
        check_settings(max_number_of_messages, wait_time_seconds, visibility_timeout)
        if not visibility_timeout:
            raise ValueError(f"visibility_timeout must be above 0 ({VISIBILITY_TIMEOUT.allowed}), or nothing is hidden")
        self.queue_url = check_url(queue_url)
        self.subscribers = Subscribers() if subscribers is None else subscribers
        self._reading: dict[str, Any] = {
            "batch_size": max_number_of_messages,
            "wait_time": wait_time_seconds,
            "visibility_timeout": visibility_timeout,
        }
        self._options: dict[str, Any] = {
            "max_handlers": max_handlers,
            "backoff": backoff,
            "stop_when": stop_when,
            "observers": tuple(observers),
        }
        self._lock = threading.Lock()
        self._consumer: Consumer[SQSMessage] | None = None
        self._asked = False

    def __repr__(self) -> str:
        return f"<SqsListener of {self.queue_url}>"

    def register_subscriber(self, subscriber: Any) -> None:
        """Add a subscriber: a class, whose constructor needs no arguments, an instance, or a decorated function.

        Raises:
            UsageError: it is registered already, or the listener listens.
            TypeError: it is no subscriber.
        """
        if self._consumer is not None:
            raise UsageError("register_subscriber: the listener listens already; register before that")
        self.subscribers.register(subscriber)

    def listen(self) -> Report:
        """Handle messages until `stop()`, SIGINT or SIGTERM; what is being handled then is finished.

        Returns:
            What became of the messages.

        Raises:
            UsageError: it was called before.
            SQSError: the queue is not there, or cannot be used.
        """
        with self._lock:
            if self._consumer is not None:
                raise UsageError("listen: it was called before; make another listener")
            queue = SQSQueue(self.queue_url, **self._reached_by, **self._reading)
            try:
                self._consumer = Consumer(queue, self.subscribers, max_workers=1, **self._options)
            except BaseException:
                queue.close()
                raise
            if self._asked:
                self._consumer.stop()
        try:
            return self._consumer.run()
        except UsageError:
            if not self._asked:
                raise
            queue.close()  # it was stopped before it could begin
            return self._consumer.shutdown()

    def stop(self) -> None:
        """Ask `listen()` to return, from anywhere."""
        self._asked = True
        if self._consumer is not None:
            self._consumer.stop()

    def stats(self) -> Stats | None:
        """A snapshot of the figures; None before `listen()`."""
        return None if self._consumer is None else self._consumer.stats()
