"""Dead letters go back: by a task of the service where it has them, by receiving and sending again where not.

Pushing back by hand sends first and deletes what is confirmed, so that whatever breaks off leaves a message in the
dead-letter queue, or in both, never in none. On a FIFO queue it is sent under a deduplication id of its own: under
the old one SQS would take it within five minutes of the first time, drop it in silence, and the copy that is deleted
next would be the last. The new id is made of the old one and of the id of the dead letter, and so is the same when
the same dead letter is pushed back twice, since the first time was not deleted; then the second is dropped, as it
should be.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from queue_consumer import UsageError

from ._errors import FailedEntry, InvalidRequest, SQSError
from ._limits import BATCH_SIZE
from ._send import GROUP, Caller, Calls, Fate, Outcome, batches

__all__ = ["Destinations", "Progress", "PushBack", "RedriveError", "by_task", "is_unknown", "queue_name_of"]

Progress = Callable[[int, int], object]

MOVING = 300  # seconds that a dead letter is hidden while it is moved
LOOK = 1.0  # seconds between two looks at a task
LAST_WAIT = 1  # seconds of the poll that says that the dead-letter queue is empty
UNKNOWN = {"AttributeError", "InvalidAction", "NotImplemented", "UnknownOperationException", "UnsupportedOperation"}
MARK = re.compile(r"~[^~]*\Z")  # what a deduplication id ends in once it was pushed back
TOKEN_LENGTH = 128


class RedriveError(SQSError):
    """Not all dead letters were moved; no message is lost.

    Attributes:
        moved: so many were.
        failed: those that could not be sent, each the message as it was received. They are in the dead-letter queue.
        undeleted: those that were sent, and could not be deleted. They are in both queues.
    """

    def __init__(
        self,
        message: str,
        code: str = "",
        moved: int = 0,
        failed: Sequence[FailedEntry] = (),
        undeleted: Sequence[FailedEntry] = (),
    ) -> None:
        super().__init__(message, code)
        self.moved, self.failed, self.undeleted = moved, list(failed), list(undeleted)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.code, self.moved, self.failed, self.undeleted)


def is_unknown(error: SQSError) -> bool:
    """Whether the server, or the client, does not know the call at all."""
    return error.code.rpartition(".")[2] in UNKNOWN


def queue_name_of(arn: str) -> tuple[str, str]:
    """The name and the account of a queue's ARN."""
    parts = arn.split(":")
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "sqs":
        raise ValueError(f"an ARN of a queue looks like arn:aws:sqs:region:account:name; got {arn!r}")
    return parts[5], parts[4]


# ---------------------------------------------------------------------- by the service


def by_task(
    call: Caller,
    source: str,
    to: str | None,
    *,
    rate: int | None = None,
    on_progress: Progress | None = None,
    stop: threading.Event | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> int:
    """Let the service move them, and look on; return how many it moved.

    Args:
        source: the ARN of the dead-letter queue.
        to: the ARN of the queue to move them to; None: each to where it came from.
        stop: if set, the task is cancelled; as it is by Ctrl-C.

    Raises:
        SQSError: the task was not started; of the kind that `is_unknown` says if the service has none.
        RedriveError: it failed, or was cancelled by someone else.
    """
    asked: dict[str, Any] = {"SourceArn": source}
    if to is not None:
        asked["DestinationArn"] = to
    if rate is not None:
        asked["MaxNumberOfMessagesPerSecond"] = rate
    handle = call("start_message_move_task", **asked).get("TaskHandle")

    def cancel() -> None:
        try:
            call("cancel_message_move_task", TaskHandle=handle)
        except InvalidRequest:
            pass  # it is over already, which the next look will tell

    cancelled = False
    try:
        while True:
            found: list[dict[str, Any]]
            found = call("list_message_move_tasks", SourceArn=source, MaxResults=1).get("Results", [])
            task = found[0] if found else {}  # the newest, and a queue has no two at a time
            status = str(task.get("Status", "RUNNING"))
            moved = int(task.get("ApproximateNumberOfMessagesMoved") or 0)
            if on_progress is not None:
                on_progress(moved, max(moved, int(task.get("ApproximateNumberOfMessagesToMove") or 0)))
            if status == "COMPLETED" or (status == "CANCELLED" and cancelled):
                return moved
            if status in ("FAILED", "CANCELLED"):
                why = task.get("FailureReason") or "it was cancelled"
                raise RedriveError(f"the task that moves messages from {source} ended early: {why}", status, moved)
            if stop is None or cancelled:
                pause(LOOK)
            elif stop.wait(LOOK):
                cancelled = True
                cancel()
    except KeyboardInterrupt:
        if not cancelled:
            cancel()  # or the service would go on with nobody looking
        raise


# ---------------------------------------------------------------------- by hand


def again(message: Mapping[str, Any], *, fifo: bool, delay: int) -> dict[str, Any]:
    """A dead letter as it is sent once more: body, attributes with their types, group, trace."""
    system: Mapping[str, str] = message.get("Attributes") or {}
    entry: dict[str, Any] = {"MessageBody": message["Body"]}
    attributes = message.get("MessageAttributes")
    if attributes:
        entry["MessageAttributes"] = {
            name: {key: value[key] for key in ("DataType", "StringValue", "BinaryValue") if value.get(key)}
            for name, value in attributes.items()
        }
    if "AWSTraceHeader" in system:
        trace = {"DataType": "String", "StringValue": system["AWSTraceHeader"]}
        entry["MessageSystemAttributes"] = {"AWSTraceHeader": trace}
    group = system.get("MessageGroupId", GROUP if fifo else None)
    if group is not None:
        entry["MessageGroupId"] = group
    if fifo:
        entry["MessageDeduplicationId"] = fresh_id(system.get("MessageDeduplicationId", ""), message["MessageId"])
    elif delay:
        entry["DelaySeconds"] = delay
    return entry


def fresh_id(old: str, message_id: str) -> str:
    """A deduplication id that no other message has had, and that this dead letter has every time."""
    mark = f"~{message_id}"
    return MARK.sub("", old)[: TOKEN_LENGTH - len(mark)] + mark


class Destinations:
    """Where a dead letter goes: to the queue that was given, or to where it came from, as it says itself.

    SQS notes that on each message. Where that is missing, the queues are asked which of them this is the dead-letter
    queue of; if that is one, it is that one.
    """

    def __init__(self, call: Caller, find: Callable[[str], str], source: str, to: str | None) -> None:
        self._call = call
        self._find = find
        self._source = source
        self._to = to
        self._urls: dict[str, str] = {}

    def __call__(self, message: Mapping[str, Any]) -> str:
        if self._to is not None:
            return self._to
        system: Mapping[str, str] = message.get("Attributes", {})
        arn = system.get("DeadLetterQueueSourceArn")
        if arn is None:
            self._to = self._only()
            return self._to
        if arn not in self._urls:
            self._urls[arn] = self._find(arn)
        return self._urls[arn]

    def _only(self) -> str:
        try:
            answer = self._call("list_dead_letter_source_queues", QueueUrl=self._source)
            urls = list(answer.get("queueUrls") or ())
        except SQSError as error:
            if not is_unknown(error):
                raise
            urls = []
        if len(urls) != 1:
            raise UsageError(
                f"to must say where the messages of {self._source} go: they do not say where they came from, and "
                f"{len(urls)} queues say that this is their dead-letter queue"
            )
        return str(urls[0])


class PushBack:
    """Moves dead letters by receiving, sending and deleting them.

    Args:
        url: of the dead-letter queue.
        destination: tells the URL of the queue that a message goes to.
        limit: at most so many; None: as many as there were when it began, so that those which fail again meanwhile
            do not go round and round.
        delay: seconds before they are seen, on a standard queue.
        rate: at most so many a second.
        stop: if set, it ends after the messages in hand.
    """

    def __init__(
        self,
        call: Caller,
        url: str,
        destination: Callable[[Mapping[str, Any]], str],
        *,
        limit: int | None = None,
        delay: int = 0,
        rate: int | None = None,
        on_progress: Progress | None = None,
        stop: threading.Event | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._call = call
        self._url = url
        self._destination = destination
        self._limit = limit
        self._delay = delay
        self._rate = rate
        self._on_progress = on_progress
        self._stop = stop
        self._pause = pause
        self._moved = 0
        self._held: dict[str, str] = {}  # message id -> receipt handle, of what was received and is not sent yet
        self._failed: list[FailedEntry] = []
        self._undeleted: list[FailedEntry] = []
        self._error: SQSError | None = None

    def run(self) -> int:
        """Move them, and return how many were moved.

        Raises:
            RedriveError: some were not.
            SQSError: the dead-letter queue failed.
        """
        asked = self._call("get_queue_attributes", QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"])
        there = int(asked["Attributes"]["ApproximateNumberOfMessages"])
        left = there if self._limit is None else self._limit
        total = min(there, left)
        try:
            while left > 0 and not self._over():
                messages = self._receive(min(left, BATCH_SIZE.most))
                if not messages:
                    break
                left -= len(messages)
                self._move(messages)
                if self._on_progress is not None:
                    self._on_progress(self._moved, max(total, self._moved))
                if self._rate is not None:
                    self._pause(len(messages) / self._rate)
        finally:
            self._give_back()
        if self._failed or self._undeleted:
            raise self._told() from self._error
        return self._moved

    def _over(self) -> bool:
        return self._error is not None or (self._stop is not None and self._stop.is_set())

    def _receive(self, count: int) -> list[dict[str, Any]]:
        answer = self._call(
            "receive_message",
            QueueUrl=self._url,
            MaxNumberOfMessages=count,
            WaitTimeSeconds=LAST_WAIT,
            VisibilityTimeout=MOVING,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages") or []
        self._held.update((message["MessageId"], message["ReceiptHandle"]) for message in messages)
        return messages

    def _move(self, messages: Sequence[dict[str, Any]]) -> None:
        by_destination: dict[str, list[dict[str, Any]]] = {}
        for message in messages:
            by_destination.setdefault(self._destination(message), []).append(message)
        for url, group in by_destination.items():
            fifo = url.endswith(".fifo")
            packed = batches(again(message, fifo=fifo, delay=self._delay) for message in group)
            sent = Calls(self._call, "send_message_batch", url, ordered=fifo, pause=self._pause).make(packed)
            self._note(sent)
            self._failed += failures(group, sent)
            self._delete([message for number, message in enumerate(group) if str(number) in sent.done])

    def _delete(self, messages: Sequence[dict[str, Any]]) -> None:
        """What was sent is not given back any more, whether or not it can be deleted: it would come twice."""
        for message in messages:
            self._held.pop(message["MessageId"], None)
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(messages)
        ]
        deleted = Calls(self._call, "delete_message_batch", self._url, pause=self._pause).make([entries])
        self._note(deleted)
        self._undeleted += failures(messages, deleted)
        self._moved += len(deleted.done)

    def _note(self, outcome: Outcome) -> None:
        """What failed a whole call ends it, unless it was for a message that SQS does not like."""
        if outcome.error is not None and not isinstance(outcome.error, InvalidRequest):
            self._error = outcome.error

    def _give_back(self) -> None:
        """Let what was not sent be seen at once, and not only when its visibility timeout has passed."""
        receipts = list(self._held.values())
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
            for number, receipt in enumerate(receipts)
        ]
        size = BATCH_SIZE.most
        packed = [entries[start : start + size] for start in range(0, len(entries), size)]
        Calls(self._call, "change_message_visibility_batch", self._url, pause=self._pause).make(packed)

    def _told(self) -> RedriveError:
        parts: list[str] = []
        if self._failed:
            parts.append(f"{len(self._failed)} could not be sent and are still in the dead-letter queue")
        if self._undeleted:
            parts.append(f"{len(self._undeleted)} were sent and could not be deleted, so that they are in both queues")
        first = (self._failed or self._undeleted)[0]
        return RedriveError(
            f"{self._moved} dead letters were moved; {'; '.join(parts)}; the first because of {first.code}: "
            f"{first.message}",
            first.code,
            self._moved,
            self._failed,
            self._undeleted,
        )


def failures(messages: Iterable[Mapping[str, Any]], outcome: Outcome) -> list[FailedEntry]:
    fates: Mapping[str, Fate] = outcome.failed
    return [
        FailedEntry(message, *fates[str(number)]) for number, message in enumerate(messages) if str(number) in fates
    ]
