"""An SQS queue as the line's left socket: polls that can be ended, and all verbs in batches.

**How a poll ends.** A long poll cannot be called back. Who hangs up in the middle of one leaves the service waiting in
his name, and what it then gives to nobody is hidden for a whole visibility timeout. So a poll that may wait long, since
the last one brought nothing, asks for a short lease only, `idle_lease`; what it brings and is held for longer is
renewed to the whole one, as leases are. Such a poll can be cut without a second thought: what is lost with it is seen
again soon. A poll after one that brought something asks for the whole lease, waits a second at most, and is not cut.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from queue_consumer import CleanupError, LeaseLost

from ._access import Access
from ._aws import Client
from ._cut import Cut, Poll
from ._errors import AccessDenied, SQSError, Unreachable
from ._health import Health
from ._limits import BATCH_SIZE, VISIBILITY_TIMEOUT, WAIT_TIME, check_queue_name
from ._message import SQSMessage
from ._send import Fate, Sender

if TYPE_CHECKING:
    from ._account import SQS

__all__ = ["SQSQueue"]

CALL = BATCH_SIZE.most  # entries of one call
BUSY_WAIT = 1  # seconds that a poll waits after one that brought something
PATIENCE = 0.5  # seconds beyond that until it is cut all the same
LONGEST_HOLD = 43_200  # seconds since its receipt that a message can be hidden for, all in all
MOST_AT_ONCE = 100  # messages of one get
GONE = {  # the lease is not ours any more
    "InvalidParameterValue",
    "InvalidReceiptHandle",
    "MessageNotInflight",
    "ReceiptHandleIsInvalid",
}


class SQSQueue:
    """One queue, standard or FIFO, for `Consumer`, and for whoever sends to it.

    Args:
        queue: its name, or its URL.
        region, profile, account_id, access_key_id, secret_access_key, session_token, endpoint_url, retries, session,
            client, prefix: see `Access`.
        wait_time: seconds that a poll waits for a message, 0 to 20. 0 is a short poll.
        poll_interval: seconds between short polls while they bring nothing.
        batch_size: the most messages of one `get`; more than 10 take several receives.
        visibility_timeout: seconds that a message is hidden from others once it was received, and renewed while it is
            held; None: as the queue is set up.
        cleanup_linger: seconds that a message that is done waits for others to be deleted with, ten in a call.
        idle_lease: seconds that a message is hidden for at first if it comes by a poll that had to wait.

    Attributes:
        name: of the queue, without its `prefix`.
        url: AWS's.
        arn: AWS's; "" if it may not be asked for.
        fifo: whether it is a FIFO queue.
        bus, priority: what its messages say; set by the `Bus` that it is on.
        lease: seconds, the `visibility_timeout` in force.
        client: makes calls of the service, counts them, and has errors of the kinds of `SQSError`.

    The queue is looked up at once.

    Raises:
        TypeError, ValueError: for a wrong argument, with its name, its value, and what is allowed.
        QueueNotFound, AccessDenied, BadCredentials, Unreachable, NotInstalled: it cannot be used.
    """

    ordering_key: Callable[[SQSMessage], str | None] | None

    def __init__(
        self,
        queue: str,
        *,
        region: str | None = None,
        profile: str | None = None,
        account_id: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        endpoint_url: str | None = None,
        retries: Mapping[str, Any] | None = None,
        session: Any = None,
        client: Any = None,
        prefix: str = "",
        wait_time: float = 20,
        poll_interval: float = 0,
        batch_size: int = 10,
        visibility_timeout: float | None = None,
        cleanup_linger: float = 0.2,
        idle_lease: float = 5,
    ) -> None:
        access = Access(
            region=region,
            profile=profile,
            account_id=account_id,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            session_token=session_token,
            endpoint_url=endpoint_url,
            retries=retries,
            session=session,
            client=client,
            prefix=prefix,
        )
        given: Any = queue
        if not isinstance(given, str) or not given:
            raise TypeError(f"queue must be the name or the URL of a queue; got {queue!r}")
        WAIT_TIME.check(wait_time)
        check_number("poll_interval", poll_interval)
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
        check_number("cleanup_linger", cleanup_linger)
        check_number("idle_lease", idle_lease)

        self.client = Client(access.at(queue))
        self.bus, self.priority = "", 0.0
        try:
            self.name, self.url = self._found(queue, access)
            self.fifo = self.name.endswith(".fifo")
            facts = self._facts(visibility_timeout)
        except BaseException:
            self.client.close()
            raise
        self.client.meter.fifo = self.fifo
        self.arn = facts.get("QueueArn", "")
        self.lease = float(math.ceil(visibility_timeout or int(facts["VisibilityTimeout"]))) or 1.0
        self.cleanup_limit = CALL
        self.cleanup_linger = min(cleanup_linger, self.lease / 10) or None
        self.ordering_key = self._group if self.fifo else None
        self._sender = Sender(self.client.call, self.url, self.fifo)
        self._wait_time = math.ceil(wait_time)
        self._poll_interval = poll_interval
        self._batch_size = batch_size
        self._visibility = visibility_timeout is not None
        self._idle_lease = math.ceil(idle_lease) or 1
        self._health = Health(self.name)
        self._pace = Pace()
        self._idle = True  # the last poll brought nothing
        self._next_poll = 0.0  # not before
        self._changed = threading.Condition()
        self._interrupts = 0
        self._polls: dict[Poll, float] = {}  # those that run, and when each may be cut

    def __repr__(self) -> str:
        return f"<SQSQueue {self.name}>"

    # ------------------------------------------------------------------ what the line does

    def get(self, limit: int | None = None) -> list[SQSMessage]:
        """The next messages, waited for as long as a poll does.

        What goes wrong is logged, and tried again until it works or `interrupt` is called: an outage is no empty
        queue. At a pace at which a batch of ten is gone in a moment, ten are asked for whatever the limit, since each
        call costs the same.
        """
        want = self._batch_size if limit is None else min(max(limit, self._pace.bulk), self._batch_size)
        with self._changed:
            interrupts = self._interrupts
        if not self._pause(self._next_poll - time.monotonic(), interrupts):
            return []
        messages = self._poll(min(want, CALL), self._wait_time, interrupts)
        brought = len(messages)
        while brought == CALL and len(messages) < want and interrupts == self._interrupts:
            more = self._poll(min(want - len(messages), CALL), 0, interrupts)
            brought = len(more)
            messages += more
        if not messages and self._poll_interval:
            self._next_poll = time.monotonic() + self._poll_interval
        return messages

    def interrupt(self) -> None:
        """Let every `get` that waits return soon."""
        with self._changed:
            self._interrupts += 1
            now = time.monotonic()
            polls = [poll for poll, until in self._polls.items() if until <= now]
            self._changed.notify_all()
        for poll in polls:
            poll.cut()
        self.client.interrupt()

    def cleanup(self, items: Sequence[SQSMessage]) -> None:
        """Delete these.

        Raises:
            CleanupError: some were not: because they are not ours any more (`lost`), because that will not change
                (`hopeless`), or for another reason (`failed`).
        """
        self._pace.done(len(items))
        self._judged("delete_message_batch", items, lambda message: {})

    def release(self, items: Sequence[SQSMessage], delay: float = 0) -> None:
        """Let these be seen again after `delay` seconds, or after what is left of the 12 hours that AWS allows.

        Raises:
            CleanupError: as `cleanup` does.
        """
        self._judged(
            "change_message_visibility_batch",
            items,
            lambda message: {"VisibilityTimeout": min(math.ceil(delay), seconds_left(message))},
        )

    def extend(self, items: Sequence[SQSMessage], seconds: float) -> None:
        """Hide these for so many seconds from now, within the 12 hours that AWS allows.

        Raises:
            LeaseLost: some are not ours any more.
        """
        over = [message for message in items if seconds_left(message) <= 0]
        try:
            self._judged(
                "change_message_visibility_batch",
                [message for message in items if not any(message is other for other in over)],
                lambda message: {"VisibilityTimeout": min(math.ceil(seconds), seconds_left(message))},
            )
        except CleanupError as error:
            if error.failed or error.hopeless:
                raise SQSError(error.reason) from error  # once more, with those that are lost
            over += error.lost
        if over:
            raise LeaseLost(over)

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
        return {"state": self._health.words, **self.client.meter.stats()}

    def close(self) -> None:
        """Close the connections. If anything is called after that, new ones are opened."""
        self.client.close()

    # ------------------------------------------------------------------ what scripts and senders do

    @property
    def account(self) -> SQS:
        """The account that it is in, for making, finding, emptying and deleting queues, and for sending back what is
        in dead-letter queues."""
        from ._account import SQS  # which opens queues

        return SQS.of(self.client)

    def receive(self, limit: int = 10, *, wait_time: float | None = None) -> list[SQSMessage]:
        """One receive of up to 10 messages, hidden for the whole `lease`.

        Raises:
            SQSError: it failed.
        """
        most = BATCH_SIZE.check(limit, "limit")
        wait = self._wait_time if wait_time is None else WAIT_TIME.check(wait_time)
        arguments = self._arguments(most, wait, math.ceil(self.lease) if self._visibility else None)
        return self._messages(self.client.receive(Poll(), **arguments), self.lease)

    def put(
        self,
        body: str,
        *,
        delay: float = 0,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Send one message; its id.

        Args:
            delay: seconds until it can be seen, up to 900; not on a FIFO queue.
            group: its message group; on a FIFO queue, `"default"` if none is given.
            deduplication_id: what makes another one within five minutes the same.
            attributes: up to 10: str, int, float, Decimal or bytes, or as SQS has them.
        """
        return self._sender.put(
            body, delay=delay, group=group, deduplication_id=deduplication_id, attributes=attributes
        )

    send = put

    def put_many(self, entries: Iterable[Mapping[str, Any]]) -> list[str]:
        """Send many, in calls of ten and of 1 MiB at most; their ids. An entry maps `put`'s parameters to arguments.

        Raises:
            SendError: some were not sent, which it tells; the others were.
        """
        return self._sender.put_many(entries)

    # ------------------------------------------------------------------ how it is done

    def _found(self, queue: str, access: Access) -> tuple[str, str]:
        """The queue's name without prefix, and its URL."""
        if "://" in queue:
            name = urlsplit(queue).path.rpartition("/")[2]
            check_queue_name(name, "queue, the end of its URL,")
            return name.removeprefix(access.prefix), queue
        check_queue_name(access.prefix + queue, "queue" if not access.prefix else "prefix and queue")
        arguments = {"QueueOwnerAWSAccountId": access.account_id} if access.account_id else {}
        answer = self.client.call("get_queue_url", QueueName=access.prefix + queue, **arguments)
        return queue, answer["QueueUrl"]

    def _facts(self, visibility_timeout: float | None) -> dict[str, str]:
        try:
            answer = self.client.call(
                "get_queue_attributes", QueueUrl=self.url, AttributeNames=["QueueArn", "VisibilityTimeout"]
            )
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

    def _poll(self, most: int, wait: int, interrupts: int) -> list[SQSMessage]:
        """One answer, however often it must be asked for; nothing if interrupted."""
        attempt_id = uuid.uuid4().hex if self.fifo else None
        while True:
            idle = self._idle and wait > 0
            lease: float = min(self.lease, self._idle_lease) if idle else self.lease
            seconds = wait if idle else min(wait, BUSY_WAIT)
            visibility = math.ceil(lease) if self._visibility or lease < self.lease else None
            arguments = self._arguments(most, seconds, visibility)
            if attempt_id is not None:
                arguments["ReceiveRequestAttemptId"] = attempt_id
            poll = Poll()
            with self._changed:
                if interrupts != self._interrupts:
                    return []
                self._polls[poll] = 0.0 if idle else time.monotonic() + seconds + PATIENCE
            try:
                answer = self.client.receive(poll, **arguments)
            except Cut:
                return []
            except SQSError as error:
                if not isinstance(error, Unreachable) and attempt_id is not None:
                    attempt_id = uuid.uuid4().hex  # it is for an answer that did not arrive
                if not self._pause(self._health.failed(error), interrupts):
                    return []
                continue
            finally:
                with self._changed:
                    del self._polls[poll]
            self._health.answered()
            messages = self._messages(answer, lease)
            self._idle = not messages
            return messages

    def _pause(self, seconds: float, interrupts: int) -> bool:
        """Wait; False if interrupted."""
        until = time.monotonic() + seconds
        with self._changed:
            while interrupts == self._interrupts and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return interrupts == self._interrupts

    def _arguments(self, most: int, wait: int, visibility: int | None) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "QueueUrl": self.url,
            "MaxNumberOfMessages": most,
            "WaitTimeSeconds": wait,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        if visibility is not None:
            arguments["VisibilityTimeout"] = visibility
        return arguments

    def _messages(self, answer: Mapping[str, Any], lease: float) -> list[SQSMessage]:
        now = time.time()
        return [
            SQSMessage(
                id=given.get("MessageId", ""),
                body=given.get("Body", ""),
                receipt_handle=given.get("ReceiptHandle", ""),
                system=given.get("Attributes", {}),
                raw_attributes=given.get("MessageAttributes", {}),
                queue=self.name,
                bus=self.bus,
                priority=self.priority,
                lease=lease,
                received_at=now,
            )
            for given in answer.get("Messages") or ()
        ]

    def _judged(
        self, operation: str, items: Sequence[SQSMessage], more: Callable[[SQSMessage], Mapping[str, Any]]
    ) -> None:
        """A call for every ten of these, and what became of each."""
        by_handle: dict[str, list[SQSMessage]] = {}
        for item in items:
            by_handle.setdefault(item.receipt_handle, []).append(item)
        handles = list(by_handle)
        failed: list[SQSMessage] = []
        lost: list[SQSMessage] = []
        hopeless: list[SQSMessage] = []
        why = ""
        cause: SQSError | None = None
        for start in range(0, len(handles), CALL):
            part = handles[start : start + CALL]
            entries = [
                {"Id": str(position), "ReceiptHandle": handle, **more(by_handle[handle][0])}
                for position, handle in enumerate(part)
            ]
            try:
                answer = self.client.call(operation, QueueUrl=self.url, Entries=entries)
            except SQSError as error:
                cause, why = error, str(error)
                for handle in part:
                    failed += by_handle[handle]
                continue
            done = {entry.get("Id") for entry in answer.get("Successful") or ()}
            fates = {entry.get("Id"): Fate.of(entry) for entry in answer.get("Failed") or ()}
            for position, handle in enumerate(part):
                fate = fates.get(str(position))
                if fate is None and str(position) in done:
                    continue
                if fate is None:
                    failed += by_handle[handle]
                elif fate.code.rpartition(".")[2] in GONE:
                    lost += by_handle[handle]
                else:
                    (hopeless if fate.sender_fault else failed).extend(by_handle[handle])
                why = why or (f"{fate.code}: {fate.message}" if fate else "the answer does not say")
        if failed or lost or hopeless:
            raise CleanupError(failed, why, lost, hopeless) from cause


class Pace:
    """How fast messages are done, of late."""

    WINDOW = 1.0  # seconds
    MOMENT = 0.2  # seconds

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._count = 0
        self.bulk = 1  # the most that are gone in a moment

    def done(self, count: int) -> None:
        with self._lock:
            self._count += count
            took = time.monotonic() - self._began
            if took >= self.WINDOW:
                self.bulk = CALL if self._count / took * self.MOMENT >= CALL else 1
                self._began, self._count = time.monotonic(), 0


def seconds_left(message: SQSMessage) -> int:
    """For how long it can still be hidden."""
    return max(0, math.floor(LONGEST_HOLD - (time.time() - message.received_at)))


def check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds; got {value!r}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number of seconds of at least 0; got {value!r}")


def whole_number(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number from {least} to {most}; got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}; got {value!r}")
