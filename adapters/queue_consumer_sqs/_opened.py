"""A queue that was found: its options, checked; what the service says of it; and all that needs no call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Unpack
from urllib.parse import urlsplit

from ._access import Access, AccessOptions
from ._aws import Client
from ._errors import AccessDenied, QueueNotFound
from ._judging import Judging
from ._limits import BATCH_SIZE, VISIBILITY_TIMEOUT, WAIT_TIME, check_queue_name
from ._message import Draft, SQSMessage
from ._polling import Polling

__all__ = ["Opened"]

SHORT_POLLS = 1.0  # seconds between two that bring nothing
MOST_AT_ONCE = 100  # messages of one get


class Opened:
    """What `SQSQueue` and `AsyncSQSQueue` have in common; see there.

    The two differ in how calls are made, and nothing else. What is done stands in `Polling` and `Judging`.
    """

    ordering_key: Callable[[SQSMessage], str | None] | None

    def __init__(
        self,
        queue: str,
        *,
        wait_time: float = 20,
        poll_interval: float | None = None,
        batch_size: int = 10,
        visibility_timeout: float | None = None,
        cleanup_linger: float = 0.2,
        idle_lease: float = 5,
        **reached_by: Unpack[AccessOptions],
    ) -> None:
        access = Access.of(type(self).__name__, reached_by)
        given: Any = queue
        if not isinstance(given, str) or not given:
            raise TypeError(f"queue must be the name or the URL of a queue; got {queue!r}")
        WAIT_TIME.check(wait_time)
        poll_interval = (0 if wait_time else SHORT_POLLS) if poll_interval is None else poll_interval
        check_seconds("poll_interval", poll_interval)
        check_patience(access.client, wait_time)
        if poll_interval and wait_time:
            raise ValueError(
                f"poll_interval is for short polls: with it wait_time must be 0; got poll_interval={poll_interval!r} "
                f"and wait_time={wait_time!r}"
            )
        whole_number("batch_size", batch_size, 1, MOST_AT_ONCE)
        if visibility_timeout is not None:
            VISIBILITY_TIMEOUT.check(visibility_timeout)
            if not visibility_timeout:
                raise ValueError("visibility_timeout must be above 0, or None; with 0 a message is never hidden")
        check_seconds("cleanup_linger", cleanup_linger)
        check_seconds("idle_lease", idle_lease)

        self.bus, self.priority = "", 0.0
        self.wait_time, self.poll_interval = wait_time, poll_interval
        self._check(access)
        finder = Client(access.at(queue))
        try:
            self.name, self.url = found(finder, queue)
            self.fifo = self.name.endswith(".fifo")
            facts = facts_of(finder, self.url, visibility_timeout)
            self._take_over(finder)
        except BaseException as error:
            finder.close()
            if isinstance(error, QueueNotFound):
                raise QueueNotFound(
                    f"there is no queue {access.prefix if '://' not in queue else ''}{queue}, or none that may be seen "
                    f"({error.code}): create it, or see that region, endpoint_url, account_id and prefix are right",
                    error.code,
                ) from error
            raise
        self.arn = facts.get("QueueArn", "")
        self.lease = float(math.ceil(visibility_timeout or int(facts["VisibilityTimeout"]))) or 1.0
        self.cleanup_limit = BATCH_SIZE.most
        self.cleanup_linger = min(cleanup_linger, self.lease / 10) or None
        self.ordering_key = self._group if self.fifo else None
        self._meter = finder.meter
        self._meter.fifo = self.fifo
        self._judging = Judging(self.url)
        self._polling = Polling(
            name=self.name,
            url=self.url,
            fifo=self.fifo,
            lease=self.lease,
            idle_lease=idle_lease,
            wait_time=wait_time,
            poll_interval=poll_interval,
            batch_size=batch_size,
            message=self._message,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    # ------------------------------------------------------------------ what the line does

    def attempt(self, item: SQSMessage) -> int:
        return item.attempt

    def identity(self, item: SQSMessage) -> str:
        return item.id

    def lease_of(self, item: SQSMessage) -> float:
        return item.lease

    def _group(self, item: SQSMessage) -> str | None:
        return item.group

    def stats(self) -> dict[str, Any]:
        """What its calls come to (see `Meter.stats`), and its `state`: "ok", or what polls fail of."""
        return {"state": self._polling.health.words, **self._meter.stats()}

    # ------------------------------------------------------------------ for those who make the calls

    def _check(self, access: Access) -> None:
        """Refuse an access that these calls cannot be made with."""

    def _take_over(self, finder: Client) -> None:
        """The queue is found: keep what found it, or make of it what is needed."""
        raise NotImplementedError

    def _message(self, given: Mapping[str, Any], lease: float, came: float) -> SQSMessage:
        return Draft(given, self.name, self.bus, self.priority, lease, came).done()


def found(finder: Client, queue: str) -> tuple[str, str]:
    """The queue's name without prefix, and its URL."""
    access = finder.access
    if "://" in queue:
        name = urlsplit(queue).path.rpartition("/")[2]
        check_queue_name(name, "queue, the end of its URL,")
        return name.removeprefix(access.prefix), queue
    check_queue_name(access.prefix + queue, "queue" if not access.prefix else "prefix and queue")
    arguments = {"QueueOwnerAWSAccountId": access.account_id} if access.account_id else {}
    answer = finder.call("get_queue_url", QueueName=access.prefix + queue, **arguments)
    return queue, answer["QueueUrl"]


def facts_of(finder: Client, url: str, visibility_timeout: float | None) -> dict[str, str]:
    """What the service says of the queue."""
    try:
        answer = finder.call("get_queue_attributes", QueueUrl=url, AttributeNames=["QueueArn", "VisibilityTimeout"])
    except AccessDenied as error:
        if visibility_timeout is None:
            raise AccessDenied(
                f"{error}. Allow sqs:GetQueueAttributes, or pass visibility_timeout=, since how long messages are "
                "hidden must be known",
                error.code,
            ) from error
        return {}
    facts: dict[str, str] = answer.get("Attributes", {})
    return {"VisibilityTimeout": "30", **facts}


def check_patience(client: Any, wait_time: float) -> None:
    """Refuse a client that would hang up on every poll before it is answered."""
    timeout: Any = getattr(getattr(getattr(client, "meta", None), "config", None), "read_timeout", None)
    if isinstance(timeout, (int, float)) and timeout <= wait_time:
        raise ValueError(
            f"wait_time must be less than the read_timeout of the client, which is {timeout:g} s, or no poll would be "
            f"answered; got {wait_time!r}"
        )


def check_seconds(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds; got {value!r}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number of seconds of at least 0; got {value!r}")


def whole_number(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number from {least} to {most}; got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}; got {value!r}")
