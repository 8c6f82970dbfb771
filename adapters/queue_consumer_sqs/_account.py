"""The queues of an account: made, found, listed, emptied, deleted, and their dead letters sent back.

Names are given without the prefix of the access, and come back without it. Wherever a queue is asked for, its URL
will do too.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

from ._access import Access, AccessOptions
from ._aws import Client
from ._errors import InvalidRequest, QueueNotFound, SQSError, Throttled
from ._limits import (
    BATCH_SIZE,
    DELAY,
    KMS_REUSE,
    MAX_RECEIVES,
    MESSAGE_SIZE,
    MOVE_LIMIT,
    MOVE_RATE,
    RETENTION,
    VISIBILITY_TIMEOUT,
    WAIT_TIME,
    check_prefix,
    check_queue_name,
)
from ._redrive import Destinations, Progress, PushBack, by_task, is_unknown, queue_name_of
from ._send import Calls

if TYPE_CHECKING:
    from ._queue import SQSQueue

__all__ = ["SQS", "PurgeInProgress", "QueueExists"]

PAGE = 1000  # the most names that SQS lists at once
EMPTYING = 60  # seconds that a message is hidden before it is deleted by drain


class QueueExists(InvalidRequest):
    """There is a queue of that name, and it is another one.

    Attributes:
        differs: what was asked for and what is there, by AWS's name of the attribute.
    """

    def __init__(
        self, message: str, code: str = "", differs: Mapping[str, tuple[str, str | None]] | None = None
    ) -> None:
        super().__init__(message, code)
        self.differs = dict(differs or {})

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.code, self.differs)


class PurgeInProgress(Throttled):
    """The queue was purged less than 60 seconds ago."""


class SQS:
    """The queues that one access reaches.

    Args:
        access: see `SQSQueue`, which has the same: region, profile, account_id, access_key_id, secret_access_key,
            session_token, endpoint_url, retries, session, client, prefix, transport.
    """

    def __init__(self, **access: Unpack[AccessOptions]) -> None:
        self._set_up(Client(Access.of("SQS", access)))

    @classmethod
    def of(cls, client: Client) -> SQS:
        """The account that a client reaches, through the connections of that client."""
        account = cls.__new__(cls)
        account._set_up(client)
        return account

    def _set_up(self, client: Client) -> None:
        self._calls = client
        self._access = client.access
        self._pause: Callable[[float], object] = time.sleep
        check_prefix(self._access.prefix)

    def __repr__(self) -> str:
        return f"SQS({self._access!r})"

    @property
    def prefix(self) -> str:
        return self._access.prefix

    @property
    def client(self) -> Any:
        """The boto3 client that calls are made with."""
        return self._calls.raw

    def close(self) -> None:
        """Close the connections; what was made from here by `queue` has its own."""
        self._calls.close()

    def __enter__(self) -> SQS:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ finding

    def queue(self, name: str, **options: Any) -> SQSQueue:
        """The queue, ready to be consumed; see `SQSQueue` for the options."""
        from ._queue import SQSQueue  # here, since a queue knows its account

        access = {field.name: getattr(self._access, field.name) for field in fields(self._access)}
        return SQSQueue(name, **{**access, **options})

    def find(self, name: str) -> str:
        """The URL of a queue, by its name, its ARN, or its URL.

        Raises:
            QueueNotFound: there is none.
        """
        kind = kind_of(name)
        if kind == "url":
            return name
        full, owner = queue_name_of(name) if kind == "arn" else (self._full(name), self._access.account_id)
        asked = {"QueueName": full} if owner is None else {"QueueName": full, "QueueOwnerAWSAccountId": owner}
        try:
            return str(self._calls.call("get_queue_url", **asked)["QueueUrl"])
        except QueueNotFound as error:
            whose = "" if owner is None else f" of account {owner}"
            raise QueueNotFound(
                f"there is no queue {full!r}{whose}, or none that these credentials may see; create it, or check its "
                f"name, the region, account_id and prefix",
                error.code,
            ) from error

    def names(self, prefix: str = "") -> list[str]:
        """The names of all queues that begin with `prefix`, however many there are."""
        check_prefix(prefix)
        return [url.rpartition("/")[2].removeprefix(self.prefix) for url in self._urls(self.prefix + prefix)]

    def _urls(self, prefix: str) -> Iterator[str]:
        asked: dict[str, Any] = {"MaxResults": PAGE}  # without it SQS gives the first 1000, and no way to the others
        if prefix:
            asked["QueueNamePrefix"] = prefix
        while True:
            answer = self._calls.call("list_queues", **asked)
            yield from answer.get("QueueUrls") or ()
            if not answer.get("NextToken"):
                return
            asked["NextToken"] = answer["NextToken"]

    def _full(self, name: Any, *, fifo: bool | None = None) -> str:
        if name == "":
            raise ValueError("name must be the name of a queue; got ''")
        return check_queue_name(self.prefix + name if isinstance(name, str) else name, fifo=fifo)

    def _arn(self, queue: str) -> str:
        return queue if kind_of(queue) == "arn" else self._attributes(self.find(queue), "QueueArn")["QueueArn"]

    def _attributes(self, url: str, *names: str) -> dict[str, str]:
        answer = self._calls.call("get_queue_attributes", QueueUrl=url, AttributeNames=list(names))
        found: dict[str, str] = answer.get("Attributes") or {}
        return found

    # ------------------------------------------------------------------ making

    def create(
        self,
        name: str,
        *,
        fifo: bool | None = None,
        visibility_timeout: float | None = None,
        retention: float | None = None,
        delay: float | None = None,
        wait_time: float | None = None,
        max_size: int | None = None,
        dead_letter: str | None = None,
        max_receives: int | None = None,
        content_deduplication: bool = False,
        tags: Mapping[str, str] | None = None,
        kms_key: str | None = None,
        kms_key_reuse: float | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """Create a queue and return its URL; one that is there already with these attributes will do.

        Args:
            name: it is a FIFO queue if it ends in `.fifo`.
            fifo: what the name must say; None: whatever it says.
            visibility_timeout: seconds that a received message is hidden; AWS's default is 30.
            retention: seconds that a message is kept, 60 to 14 days; AWS's default is 4 days.
            delay: seconds before a message is seen, up to 900.
            wait_time: seconds that a receive waits which does not say; up to 20.
            max_size: bytes of a message, up to 1 MiB.
            dead_letter: the queue, by name, ARN or URL, that messages move to after `max_receives` receives. It must
                exist, and be a FIFO queue if this one is, and only then.
            content_deduplication: on a FIFO queue, messages with the same body within 5 minutes are one.
            tags: put on the queue if it is new.
            kms_key: the id or alias of the key to encrypt with.
            kms_key_reuse: seconds that a data key is used again, 60 to 86400.
            attributes: others, by AWS's names, as they are.

        Raises:
            TypeError, ValueError: SQS would not take it.
            QueueExists: there is one with other attributes.
        """
        full = self._full(name, fifo=fifo)
        is_fifo = full.endswith(".fifo")
        if content_deduplication and not is_fifo:
            raise ValueError(f"content_deduplication needs a FIFO queue, whose name ends in .fifo; got name={name!r}")
        if (dead_letter is None) != (max_receives is None):
            raise ValueError(
                f"dead_letter and max_receives go together; got dead_letter={dead_letter!r}, "
                f"max_receives={max_receives!r}"
            )
        if kms_key_reuse is not None and kms_key is None:
            raise ValueError(f"kms_key_reuse needs a kms_key; got kms_key_reuse={kms_key_reuse!r} alone")
        asked = {
            "FifoQueue": "true" if is_fifo else None,
            "ContentBasedDeduplication": "true" if content_deduplication else None,
            "VisibilityTimeout": VISIBILITY_TIMEOUT.check_given(visibility_timeout),
            "MessageRetentionPeriod": RETENTION.check_given(retention),
            "DelaySeconds": DELAY.check_given(delay),
            "ReceiveMessageWaitTimeSeconds": WAIT_TIME.check_given(wait_time),
            "MaximumMessageSize": MESSAGE_SIZE.check_given(max_size),
            "KmsMasterKeyId": kms_key,
            "KmsDataKeyReusePeriodSeconds": KMS_REUSE.check_given(kms_key_reuse),
        }
        given = {key: str(value) for key, value in asked.items() if value is not None}
        for key, value in (attributes or {}).items():
            if key in given:
                raise ValueError(f"attributes must not have what another parameter says already; got {key!r}")
            given[key] = str(value)
        if dead_letter is not None:
            if dead_letter.endswith(".fifo") != is_fifo:
                raise ValueError(
                    f"dead_letter must {'' if is_fifo else 'not '}be a FIFO queue, as {full!r} is"
                    f"{'' if is_fifo else ' none'}; got {dead_letter!r}"
                )
            given["RedrivePolicy"] = self.redrive_policy(dead_letter, max_receives)
        more: dict[str, Any] = {"tags": dict(tags)} if tags else {}
        try:
            return str(self._calls.call("create_queue", QueueName=full, Attributes=given, **more)["QueueUrl"])
        except InvalidRequest as error:
            if error.code.rpartition(".")[2] not in ("QueueAlreadyExists", "QueueNameExists"):
                raise
            raise self._exists(full, given, error) from error

    def _exists(self, full: str, given: Mapping[str, str], error: SQSError) -> QueueExists:
        try:
            url = self._calls.call("get_queue_url", QueueName=full)["QueueUrl"]
            there = self._attributes(url, "All")
        except SQSError:
            return QueueExists(f"there is a queue {full!r} already, with other attributes", error.code)
        differs = {name: (value, there.get(name)) for name, value in given.items() if not same(value, there.get(name))}
        told = ", ".join(
            f"{name} is {'not set' if found is None else found}, and {value} was asked for"
            for name, (value, found) in differs.items()
        )
        return QueueExists(
            f"there is a queue {full!r} already, with other attributes: {told or error.message}", error.code, differs
        )

    def redrive_policy(self, dead_letter: str, max_receives: int | None) -> str:
        """What makes messages move to the queue `dead_letter` after `max_receives` receives, as SQS's JSON."""
        receives = MAX_RECEIVES.check(max_receives)
        return json.dumps({"deadLetterTargetArn": self._arn(dead_letter), "maxReceiveCount": str(receives)})

    # ------------------------------------------------------------------ emptying

    def delete(self, name: str) -> None:
        """Delete a queue with all that is in it. AWS takes a minute, and lets no other have its name meanwhile."""
        self._calls.call("delete_queue", QueueUrl=self.find(name))

    def purge(self, name: str) -> None:
        """Delete all that is in a queue, held by consumers or not. AWS takes a minute.

        Raises:
            PurgeInProgress: it was purged less than 60 seconds ago.
        """
        try:
            self._calls.call("purge_queue", QueueUrl=self.find(name))
        except SQSError as error:
            if not error.code.rpartition(".")[2].startswith("PurgeQueueInProgress"):
                raise
            raise PurgeInProgress(
                f"queue {name!r} was purged less than 60 seconds ago, and SQS does not purge it again before; wait, or "
                f"drain it",
                error.code,
            ) from error

    def drain(self, name: str, *, wait_time: float = 1, on_progress: Callable[[int], object] | None = None) -> int:
        """Delete what is in a queue message by message, without a purge, until it is empty; return how many.

        What consumers hold, and what is delayed, stays.

        Args:
            wait_time: seconds of the poll that says that it is empty. With 0, SQS may say so too early.
            on_progress: called with the number of those deleted, after each batch.

        Raises:
            SQSError: some could not be deleted; they are seen again when their visibility timeout has passed.
        """
        url, waits = self.find(name), WAIT_TIME.check(wait_time)
        done = 0
        while True:
            messages = self._calls.call(
                "receive_message",
                QueueUrl=url,
                MaxNumberOfMessages=BATCH_SIZE.most,
                WaitTimeSeconds=waits,
                VisibilityTimeout=EMPTYING,
            ).get("Messages")
            if not messages:
                return done
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ]
            deleted = Calls(self._calls.call, "delete_message_batch", url, pause=self._pause).make([entries])
            done += len(deleted.done)
            if on_progress is not None:
                on_progress(done)
            if deleted.failed:
                first = next(iter(deleted.failed.values()))
                raise SQSError(
                    f"{done} messages of queue {name!r} were deleted, and {len(deleted.failed)} could not be; the "
                    f"first because of {first.code}: {first.message}",
                    first.code,
                ) from deleted.error

    # ------------------------------------------------------------------ dead letters

    def redrive(
        self,
        dead_letter: str,
        to: str | None = None,
        *,
        rate: int | None = None,
        limit: int | None = None,
        delay: float = 0,
        own: bool | None = None,
        on_progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> int:
        """Move dead letters back to where they came from, or to another queue; return how many were moved.

        The service does it where it has StartMessageMoveTask. Where it has not, and where `limit` or `delay` ask for
        what it cannot do, they are pushed back by hand: received, sent, and deleted when they are sent, 10 at a time.
        At most as many as there are when it begins are moved by hand, so that it ends even if all fail again.

        Args:
            dead_letter: the dead-letter queue.
            to: the queue to move them to; None: each to where it came from.
            rate: at most so many a second, up to 500.
            limit: at most so many.
            delay: seconds before they are seen, on standard queues.
            own: by hand, or not; None: by hand where need be. The service moves nothing out of a queue that is not the
                dead-letter queue of another queue, but of a topic or a function: that has to be by hand.
            on_progress: called with how many were moved, and how many there were.
            stop: when it is set, no more are moved.

        Raises:
            RedriveError: not all were moved; none is lost.
            UsageError: nobody knows where they came from.
        """
        speed = MOVE_RATE.check_given(rate)
        seconds = DELAY.check(delay)
        most = MOVE_LIMIT.check_given(limit)
        by_hand = most is not None or seconds > 0
        if own is False and by_hand:
            raise ValueError(f"limit and delay need own=True: SQS has neither; got limit={limit!r}, delay={delay!r}")
        source = self.find(dead_letter)
        if seconds and (to or dead_letter).endswith(".fifo"):
            raise ValueError(f"delay must be 0 for a FIFO queue, which has no delays of messages; got {delay!r}")
        target = None if to is None else self.find(to)
        if not own and not by_hand:
            try:
                return by_task(
                    self._calls.call,
                    self._arn(dead_letter),
                    None if target is None else self._arn(target),
                    rate=speed,
                    on_progress=on_progress,
                    stop=stop,
                    pause=self._pause,
                )
            except SQSError as error:
                if own is False or not is_unknown(error):
                    raise
        return PushBack(
            self._calls.call,
            source,
            Destinations(self._calls.call, self.find, source, target),
            limit=most,
            delay=seconds,
            rate=speed,
            on_progress=on_progress,
            stop=stop,
            pause=self._pause,
        ).run()


def kind_of(name: Any) -> Literal["url", "arn", "name"]:
    """What a queue is called by."""
    if isinstance(name, str) and "://" in name:
        return "url"
    return "arn" if isinstance(name, str) and name.startswith("arn:") else "name"


def same(asked: str, there: str | None) -> bool:
    """Whether two values of an attribute say the same; JSON may be spaced otherwise, and numbers in it be text."""
    if there is None or asked == there:
        return asked == there
    try:
        return bool(as_text(json.loads(asked)) == as_text(json.loads(there)))
    except ValueError:
        return False


def as_text(value: Any) -> Any:
    """JSON with its numbers and truths as text."""
    if isinstance(value, dict):
        return {key: as_text(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [as_text(inner) for inner in cast("list[object]", value)]
    return str(value)
