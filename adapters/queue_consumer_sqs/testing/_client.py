"""What looks like boto3's SQS client: its methods, with the same keyword arguments and the same answers."""

# ruff: noqa: N803  # the arguments are named as boto3's are

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec

from .._boto import service_error
from . import _batches
from ._account import Account
from ._batches import Entry
from ._checks import OF_A_MESSAGE, check_attempt, check_sizes, draft_of, names_of, text_of, texts_of
from ._message import SYSTEM_ATTRIBUTES, Place, sent_as, shown
from ._queue import Queue
from ._refusals import Refused, invalid, whole_of
from ._settings import READABLE

__all__ = ["MemoryClient", "Meta"]

Answer = dict[str, Any]
Attributes = Mapping[str, Mapping[str, Any]]
P = ParamSpec("P")

MOST_TAGS = 50
LONGEST_PAGE = 1000


class Meta(NamedTuple):
    """Where a client's calls go."""

    region_name: str
    endpoint_url: str


def call(
    method: Callable[Concatenate[MemoryClient, P], Mapping[str, Any] | None],
) -> Callable[Concatenate[MemoryClient, P], Answer]:
    """A method of the client: with the account's lock and up to date, its answer and its errors in boto3's form."""
    operation = method.__name__.title().replace("_", "")

    @functools.wraps(method)
    def called(self: MemoryClient, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        try:
            with self.account.lock:
                self.account.settle()
                answer = method(self, *args, **kwargs)
        except Refused as refused:
            raise service_error(refused.code, refused.message, operation) from None
        request = str(uuid.uuid4())
        headers = {"x-amzn-requestid": request, "content-type": "application/x-amz-json-1.0"}
        metadata = {"RequestId": request, "HTTPStatusCode": 200, "HTTPHeaders": headers, "RetryAttempts": 0}
        return {**(answer or {}), "ResponseMetadata": metadata}

    return called


class MemoryClient:
    """A client of a `MemorySQS`, for any number of threads.

    Its methods are those of `boto3.client("sqs")` and raise what they raise. Only what boto3 itself refuses before it
    asks the service, an argument of a wrong name or type, is a TypeError here.

    Attributes:
        account: whose queues these are.
        meta: its `region_name` and `endpoint_url`.
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self._interrupts = 0
        self.meta = Meta(account.region, account.endpoint)

    def interrupt(self) -> None:
        """Let every `receive_message` of this client that waits at this moment return, with nothing."""
        with self.account.lock:
            self._interrupts += 1
            self.account.wake()

    def close(self) -> None:
        """Nothing needs to be let go."""

    # Queues

    @call
    def create_queue(
        self, *, QueueName: str, Attributes: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> Answer:
        attributes = texts_of("Attributes", Attributes or {})
        queue = self.account.create(text_of("QueueName", QueueName), attributes, texts_of("tags", tags or {}))
        return {"QueueUrl": self.account.url(queue)}

    @call
    def get_queue_url(self, *, QueueName: str, QueueOwnerAWSAccountId: str | None = None) -> Answer:
        mine = QueueOwnerAWSAccountId in (None, self.account.account_id)
        return {"QueueUrl": self.account.url(self.account.by_name(text_of("QueueName", QueueName) if mine else ""))}

    @call
    def delete_queue(self, *, QueueUrl: str) -> None:
        self.account.delete(self._queue(QueueUrl))

    @call
    def list_queues(
        self, *, QueueNamePrefix: str = "", MaxResults: int | None = None, NextToken: str | None = None
    ) -> Answer:
        names = [queue for queue in self.account if queue.name.startswith(QueueNamePrefix)]
        return self._page("QueueUrls", names, MaxResults, NextToken)

    @call
    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: Sequence[str] = ()) -> Answer:
        queue = self._queue(QueueUrl)
        check_known(names_of("AttributeNames", AttributeNames), READABLE)
        values = {
            **queue.settings.wire,
            "QueueArn": queue.arn,
            "CreatedTimestamp": self.account.seconds(queue.created),
            "LastModifiedTimestamp": self.account.seconds(queue.modified),
            "ApproximateNumberOfMessages": str(queue.count(Place.VISIBLE)),
            "ApproximateNumberOfMessagesNotVisible": str(queue.count(Place.IN_FLIGHT)),
            "ApproximateNumberOfMessagesDelayed": str(queue.count(Place.DELAYED)),
        }
        found = {name: value for name, value in values.items() if "All" in AttributeNames or name in AttributeNames}
        return {"Attributes": found} if found else {}

    @call
    def set_queue_attributes(self, *, QueueUrl: str, Attributes: Mapping[str, str]) -> None:
        self._queue(QueueUrl).set(texts_of("Attributes", Attributes), self.account.now())

    @call
    def purge_queue(self, *, QueueUrl: str) -> None:
        self._queue(QueueUrl).purge(self.account.now())

    @call
    def tag_queue(self, *, QueueUrl: str, Tags: Mapping[str, str]) -> None:
        queue = self._queue(QueueUrl)
        tags = {**queue.tags, **texts_of("Tags", Tags)}
        if len(tags) > MOST_TAGS:
            raise invalid(f"Too many tags added for queue {queue.name}.")
        queue.tags = tags

    @call
    def untag_queue(self, *, QueueUrl: str, TagKeys: Sequence[str]) -> None:
        queue = self._queue(QueueUrl)
        queue.tags = {name: value for name, value in queue.tags.items() if name not in TagKeys}

    @call
    def list_queue_tags(self, *, QueueUrl: str) -> Answer:
        tags = self._queue(QueueUrl).tags
        return {"Tags": dict(tags)} if tags else {}

    # Messages

    @call
    def send_message(
        self,
        *,
        QueueUrl: str,
        MessageBody: str,
        DelaySeconds: int | None = None,
        MessageAttributes: Attributes | None = None,
        MessageSystemAttributes: Attributes | None = None,
        MessageDeduplicationId: str | None = None,
        MessageGroupId: str | None = None,
    ) -> Answer:
        entry = {
            "MessageBody": MessageBody,
            "DelaySeconds": DelaySeconds,
            "MessageAttributes": MessageAttributes,
            "MessageSystemAttributes": MessageSystemAttributes,
            "MessageDeduplicationId": MessageDeduplicationId,
            "MessageGroupId": MessageGroupId,
        }
        return self._send(self._queue(QueueUrl), entry)

    @call
    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Entry]) -> Answer:
        queue = self._queue(QueueUrl)
        _batches.check_batch(Entries, "SendMessageBatch", required=("MessageBody",), optional=OF_A_MESSAGE)
        check_sizes(Entries)
        return _batches.each(Entries, lambda entry: self._send(queue, entry))

    @call
    def receive_message(
        self,
        *,
        QueueUrl: str,
        AttributeNames: Sequence[str] = (),
        MessageSystemAttributeNames: Sequence[str] = (),
        MessageAttributeNames: Sequence[str] = (),
        MaxNumberOfMessages: int = 1,
        VisibilityTimeout: int | None = None,
        WaitTimeSeconds: int | None = None,
        ReceiveRequestAttemptId: str | None = None,
    ) -> Answer:
        queue = self._queue(QueueUrl)
        most = whole_of("MaxNumberOfMessages", MaxNumberOfMessages, 1, 10)
        visibility, wait = (
            queue.settings.number("VisibilityTimeout"),
            queue.settings.number("ReceiveMessageWaitTimeSeconds"),
        )
        if VisibilityTimeout is not None:
            visibility = whole_of("VisibilityTimeout", VisibilityTimeout, 0, 43_200)
        if WaitTimeSeconds is not None:
            wait = whole_of("WaitTimeSeconds", WaitTimeSeconds, 0, 20)
        system = [
            *names_of("AttributeNames", AttributeNames),
            *names_of("MessageSystemAttributeNames", MessageSystemAttributeNames),
        ]
        check_known(system, {*READABLE, *SYSTEM_ATTRIBUTES})
        custom = names_of("MessageAttributeNames", MessageAttributeNames)
        attempt = check_attempt(queue.settings, ReceiveRequestAttemptId)
        interrupts = self._interrupts
        messages = self.account.receive(queue, most, visibility, wait, attempt, lambda: interrupts != self._interrupts)
        if not messages:
            return {}
        sender, milliseconds = self.account.account_id, self.account.milliseconds
        return {
            "Messages": [
                shown(message, queue.handle(message), system, custom, sender, milliseconds) for message in messages
            ]
        }

    @call
    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:
        self._queue(QueueUrl).delete(text_of("ReceiptHandle", ReceiptHandle))

    @call
    def delete_message_batch(self, *, QueueUrl: str, Entries: Sequence[Entry]) -> Answer:
        queue = self._queue(QueueUrl)
        _batches.check_batch(Entries, "DeleteMessageBatch", required=("ReceiptHandle",))
        return _batches.each(Entries, lambda entry: queue.delete(text_of("ReceiptHandle", entry["ReceiptHandle"])))

    @call
    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:
        self._change(self._queue(QueueUrl), ReceiptHandle, VisibilityTimeout)

    @call
    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: Sequence[Entry]) -> Answer:
        queue = self._queue(QueueUrl)
        _batches.check_batch(
            Entries, "ChangeMessageVisibilityBatch", required=("ReceiptHandle",), optional=("VisibilityTimeout",)
        )
        return _batches.each(
            Entries, lambda entry: self._change(queue, entry["ReceiptHandle"], entry.get("VisibilityTimeout", 0))
        )

    # Dead letters

    @call
    def list_dead_letter_source_queues(
        self, *, QueueUrl: str, MaxResults: int | None = None, NextToken: str | None = None
    ) -> Answer:
        return self._page("queueUrls", self.account.sources(self._queue(QueueUrl)), MaxResults, NextToken)

    @call
    def start_message_move_task(
        self, *, SourceArn: str, DestinationArn: str | None = None, MaxNumberOfMessagesPerSecond: int | None = None
    ) -> Answer:
        rate = MaxNumberOfMessagesPerSecond
        if rate is not None:
            whole_of("MaxNumberOfMessagesPerSecond", rate, 1, 500)
        source = self._resource("SourceArn", SourceArn)
        if not self.account.sources(source):
            raise invalid("Source queue must be configured as a Dead Letter Queue.")
        target = None if DestinationArn is None else self._resource("DestinationArn", DestinationArn)
        move = self.account.moves.start(source, target, rate, self.account.now())
        self.account.wake()  # who waits sleeps no longer than until the first message is moved
        return {"TaskHandle": move.handle}

    @call
    def list_message_move_tasks(self, *, SourceArn: str, MaxResults: int = 1) -> Answer:
        most = whole_of("MaxResults", MaxResults, 1, 10)
        moves = self.account.moves.of(self._resource("SourceArn", SourceArn))
        return {"Results": [move.shown(self.account.milliseconds) for move in moves[:most]]}

    @call
    def cancel_message_move_task(self, *, TaskHandle: str) -> Answer:
        return {"ApproximateNumberOfMessagesMoved": self.account.moves.cancel(text_of("TaskHandle", TaskHandle))}

    # How it is done

    def _queue(self, url: str) -> Queue:
        return self.account.by_url(text_of("QueueUrl", url))

    def _resource(self, parameter: str, arn: str) -> Queue:
        queue = self.account.by_arn(text_of(parameter, arn))
        if queue is None:
            words = f"The resource that you specified for the {parameter} parameter doesn't exist."
            raise Refused("ResourceNotFoundException", words)
        queue.settle(self.account.now())
        return queue

    def _send(self, queue: Queue, entry: Entry) -> Answer:
        draft = draft_of(queue.settings, entry)
        return sent_as(draft, queue.send(draft, self.account.now()))

    def _change(self, queue: Queue, handle: str, seconds: int) -> None:
        whole_of("VisibilityTimeout", seconds, 0, 43_200)
        queue.change_visibility(text_of("ReceiptHandle", handle), seconds, self.account.now())

    def _page(self, key: str, queues: Sequence[Queue], most: int | None, token: str | None) -> Answer:
        """One page of these; where the next begins, the token says, which is the last name of this one."""
        size = LONGEST_PAGE if most is None else whole_of("MaxResults", most, 1, LONGEST_PAGE)
        left = [queue for queue in queues if token is None or queue.name > token]
        answer: Answer = {key: [self.account.url(queue) for queue in left[:size]]} if left or key == "queueUrls" else {}
        if most is not None and len(left) > size:
            answer["NextToken"] = left[size - 1].name
        return answer


def check_known(names: Sequence[str], known: Container[str]) -> None:
    """Attributes may be asked for if there are such attributes."""
    for name in names:
        if name not in known:
            raise Refused("InvalidAttributeName", f"Unknown Attribute {name}.")
