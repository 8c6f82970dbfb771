"""A message as the queue keeps it, its receipt handles, and what senders and receivers are told of it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from . import _digests
from ._refusals import Refused

__all__ = ["Draft", "Message", "Place", "Receipt", "SYSTEM_ATTRIBUTES", "Sent", "sent_as", "shown"]

SYSTEM_ATTRIBUTES = (
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
)


class Place(Enum):
    """Where a message is."""

    VISIBLE = "it waits to be received"
    DELAYED = "it was sent to be seen later"
    IN_FLIGHT = "it was received, and its visibility timeout runs"
    GONE = "it was deleted, purged, moved away, or kept for too long"


class Draft(NamedTuple):
    """What is sent, after it was found good."""

    body: str
    attributes: Mapping[str, Mapping[str, Any]]
    delay: float
    group: str | None
    deduplication_id: str | None
    trace: Mapping[str, Any] | None


class Message:
    """One message in one queue. All times are the account's clock's."""

    __slots__ = (
        "attributes",
        "body",
        "deduplication_id",
        "first_received",
        "group",
        "hidden",
        "id",
        "place",
        "receipt",
        "received",
        "receives",
        "sent",
        "sequence",
        "serial",
        "source",
        "trace",
        "tries",
    )

    def __init__(self, id: str, serial: int, draft: Draft, sent: float) -> None:
        self.id = id
        self.serial = serial  # what came into the queue later has a higher one
        self.body = draft.body
        self.attributes = draft.attributes
        self.group = draft.group
        self.deduplication_id = draft.deduplication_id
        self.trace = draft.trace
        self.sent = sent
        self.sequence: str | None = None
        self.source: str | None = None  # of a dead letter: the queue in which it failed
        self.place = Place.GONE
        self.hidden = 0  # the number of the latest hiding
        self.receipt = 0  # the number of its latest receive
        self.received = 0.0
        self.first_received: float | None = None
        self.receives = 0  # in all queues
        self.tries = 0  # in this one


class Receipt(NamedTuple):
    """What a receipt handle says: which receive of which message of which queue."""

    queue: str
    message: str
    number: int

    def handle(self) -> str:
        return base64.urlsafe_b64encode(f"{self.queue}/{self.message}/{self.number}".encode()).decode()

    @classmethod
    def of(cls, handle: str, queue: str) -> Receipt:
        """What this handle says, if it is one of this queue."""
        try:
            parts = base64.b64decode(handle, b"-_", validate=True).decode().split("/")
            receipt = cls(parts[0], parts[1], int(parts[2]))
        except (ValueError, IndexError):  # of base64, of UTF-8, of int
            receipt = None
        if receipt is None or receipt.queue != queue:
            raise Refused(
                "ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.'
            )
        return receipt


class Sent(NamedTuple):
    """What the sender of a message is told: its id and, of a FIFO queue, its sequence number."""

    id: str
    sequence: str | None


def sent_as(draft: Draft, sent: Sent) -> dict[str, Any]:
    """The answer to a send."""
    answer = {"MD5OfMessageBody": _digests.of_body(draft.body), "MessageId": sent.id}
    if draft.attributes:
        answer["MD5OfMessageAttributes"] = _digests.of_attributes(draft.attributes)
    if draft.trace:
        answer["MD5OfMessageSystemAttributes"] = _digests.of_attributes({"AWSTraceHeader": draft.trace})
    if sent.sequence:
        answer["SequenceNumber"] = sent.sequence
    return answer


def shown(
    message: Message,
    handle: str,
    system: Iterable[str],
    custom: Iterable[str],
    sender: str,
    milliseconds: Callable[[float], str],
) -> dict[str, Any]:
    """What a receive gives of this message, with the system attributes and the message attributes asked for."""
    answer: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": handle,
        "MD5OfBody": _digests.of_body(message.body),
        "Body": message.body,
    }
    asked, known = set(system), system_attributes(message, sender, milliseconds)
    found = {name: value for name, value in known.items() if name in asked or "All" in asked}
    if found:
        answer["Attributes"] = found
    wanted = {name: dict(value) for name, value in message.attributes.items() if is_wanted(name, custom)}
    if wanted:
        answer["MessageAttributes"] = wanted
        answer["MD5OfMessageAttributes"] = _digests.of_attributes(wanted)
    return answer


def system_attributes(message: Message, sender: str, milliseconds: Callable[[float], str]) -> dict[str, str]:
    """All that the service itself says about a message that was received."""
    values = {
        "SenderId": sender,
        "SentTimestamp": milliseconds(message.sent),
        "ApproximateReceiveCount": str(message.receives),
        "ApproximateFirstReceiveTimestamp": milliseconds(message.first_received or 0.0),
        "SequenceNumber": message.sequence,
        "MessageDeduplicationId": message.deduplication_id,
        "MessageGroupId": message.group,
        "AWSTraceHeader": message.trace["StringValue"] if message.trace else None,
        "DeadLetterQueueSourceArn": message.source,
    }
    return {name: value for name, value in values.items() if value is not None}


def is_wanted(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of these asks for the message attribute: `All`, `.*`, its name, or `prefix.*`."""
    return any(
        pattern in ("All", ".*", name) or (pattern.endswith(".*") and name.startswith(pattern[:-1]))
        for pattern in patterns
    )
