"""A message as one receive gave it: plain data, which goes to other processes as it is."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

__all__ = ["Draft", "SQSMessage"]


@dataclass(frozen=True, slots=True, repr=False)
class SQSMessage:
    """One delivery of a message.

    Attributes:
        id: AWS's, the same at every delivery.
        body: the text.
        receipt_handle: what the service knows this delivery by.
        system: what the service says of it, by AWS's names: `SentTimestamp`, `SenderId`, `AWSTraceHeader`, …
        raw_attributes: what the sender said of it, as on the wire; `attributes` has the values.
        queue: the name of the queue it came from.
        bus, priority: of the queue, if it is on a bus.
        lease: the seconds that the service hid it for.
        received_at: when it came, in seconds since the epoch.
    """

    id: str
    body: str
    receipt_handle: str
    system: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)
    raw_attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]], compare=False)
    queue: str = ""
    bus: str = ""
    priority: float = 0
    lease: float = field(default=0.0, compare=False)
    received_at: float = field(default_factory=time.time, compare=False)

    def __repr__(self) -> str:
        return (
            f"<SQSMessage {self.id} of {self.queue or 'a queue'}, attempt {self.attempt}>"  # the body may be a secret
        )

    @property
    def attributes(self) -> dict[str, str | int | Decimal | bytes]:
        """What the sender said of it: text, numbers, bytes."""
        return {name: value_of(raw) for name, raw in self.raw_attributes.items()}

    @property
    def attempt(self) -> int:
        """How often it was delivered, 1 for the first time (`ApproximateReceiveCount`)."""
        try:
            return max(1, int(self.system["ApproximateReceiveCount"]))
        except (KeyError, TypeError, ValueError):
            return 1

    @property
    def sent_at(self) -> datetime | None:
        """When it was sent, in UTC."""
        return moment(self.system.get("SentTimestamp"))

    @property
    def first_received_at(self) -> datetime | None:
        """When it was delivered for the first time, in UTC."""
        return moment(self.system.get("ApproximateFirstReceiveTimestamp"))

    @property
    def group(self) -> str | None:
        """Its message group: what is kept in order on a FIFO queue, a tenant's share on any other."""
        return self.system.get("MessageGroupId")

    @property
    def deduplication_id(self) -> str | None:
        return self.system.get("MessageDeduplicationId")

    @property
    def sequence_number(self) -> int | None:
        """Its place in a FIFO queue: a number that grows."""
        number = self.system.get("SequenceNumber", "")
        return int(number) if number.isdecimal() else None

    def json(self) -> Any:
        """What the body says, as JSON.

        Raises:
            ValueError: it is not JSON. The sentence has the id of the message, and not its body.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            where = f"at position {error.pos}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "at all"
            raise ValueError(f"the body of message {self.id} is not JSON {where}") from None


class Draft:
    """A message while it is made: to set the fields of what is frozen takes twice as long as to make it of this."""

    __slots__ = tuple(SQSMessage.__dataclass_fields__)

    def __init__(
        self, given: Mapping[str, Any], queue: str, bus: str, priority: float, lease: float, received_at: float
    ) -> None:
        """`given`: what the service says of it."""
        get = given.get
        self.id = get("MessageId", "")
        self.body = get("Body", "")
        self.receipt_handle = get("ReceiptHandle", "")
        self.system = get("Attributes", {})
        self.raw_attributes = get("MessageAttributes", {})
        self.queue = queue
        self.bus = bus
        self.priority = priority
        self.lease = lease
        self.received_at = received_at

    def done(self) -> SQSMessage:
        made: Any = self
        made.__class__ = SQSMessage  # which has the same fields, and no others
        message: SQSMessage = made
        return message


def value_of(raw: Mapping[str, Any]) -> str | int | Decimal | bytes:
    """The value of an attribute; of a number that is none, its text."""
    kind, text = str(raw.get("DataType", "")), raw.get("StringValue")
    if kind.startswith("Binary"):
        return bytes(raw.get("BinaryValue") or b"")
    text = str(text or "")
    if not kind.startswith("Number"):
        return text
    try:
        number = Decimal(text)
        return int(number) if number == number.to_integral_value() and number.adjusted() < 40 else number
    except ArithmeticError:
        return text


def moment(milliseconds: str | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(milliseconds or "") / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
