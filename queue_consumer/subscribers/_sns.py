"""SNS envelopes: what a queue gets from a topic that does not deliver raw.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from ._errors import SnsSchemaError, shown
from ._forms import from_base64
from ._values import is_mapping, moment_of

__all__ = [
    "EmbeddedMessage",
    "SnsNotification",
    "SubscriptionConfirmation",
    "UnsubscribeConfirmation",
    "embedded_in",
    "is_envelope",
]

ENVELOPE = ("MessageId", "TopicArn", "Type", "Timestamp", "Message")  # with all of these it is one
TYPES = ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation")


@dataclass(frozen=True, kw_only=True)
class SnsNotification:
    """What was published to a topic. `attributes` are the publisher's; `message` is the text in the envelope."""

    message_id: str
    topic_arn: str
    timestamp: datetime
    message: str = field(repr=False)
    subject: str | None = None
    unsubscribe_url: str | None = None
    attributes: Mapping[str, str | bytes] = field(default_factory=dict[str, str | bytes])


@dataclass(frozen=True, kw_only=True)
class SubscriptionConfirmation:
    """A topic asks whether this queue wants to be subscribed. To say yes is to visit `subscribe_url`, or to call
    ConfirmSubscription with the `token`; see `SnsPublisher.confirm` of the SQS adapter."""

    message_id: str
    topic_arn: str
    timestamp: datetime
    token: str = field(repr=False)
    subscribe_url: str = field(repr=False)
    raw_message: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class UnsubscribeConfirmation(SubscriptionConfirmation):
    """A topic says that this queue is no longer subscribed; to say yes to this one is to subscribe again."""


EmbeddedMessage: TypeAlias = SnsNotification | SubscriptionConfirmation | UnsubscribeConfirmation


def is_envelope(data: Mapping[str, Any]) -> bool:
    return "TopicArn" in data and all(key in data for key in ENVELOPE)


def embedded_in(envelope: Mapping[str, Any]) -> EmbeddedMessage:
    """What is in an envelope.

    Raises:
        SnsSchemaError: something is missing, or is not as SNS has it.
    """
    kind = envelope["Type"]
    timestamp = moment_of(envelope["Timestamp"])
    if not isinstance(timestamp, datetime):
        raise SnsSchemaError(
            f"Could not deserialize SNS message: Timestamp must be ISO 8601; got {shown(envelope['Timestamp'])}"
        )
    common: dict[str, Any] = {
        "message_id": text(envelope, "MessageId"),
        "topic_arn": text(envelope, "TopicArn"),
        "timestamp": timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC),
    }
    if kind == "Notification":
        return SnsNotification(
            **common,
            message=text(envelope, "Message", empty=True),
            subject=optional_text(envelope, "Subject"),
            unsubscribe_url=optional_text(envelope, "UnsubscribeURL"),
            attributes=attributes_of(envelope.get("MessageAttributes")),
        )
    if kind not in TYPES:
        raise SnsSchemaError(f"Could not deserialize SNS message: Type must be one of {TYPES}; got {shown(kind)}")
    confirmation = SubscriptionConfirmation if kind == "SubscriptionConfirmation" else UnsubscribeConfirmation
    return confirmation(
        **common,
        token=text(envelope, "Token"),
        subscribe_url=text(envelope, "SubscribeURL"),
        raw_message=text(envelope, "Message", empty=True),
    )


def text(envelope: Mapping[str, Any], key: str, *, empty: bool = False) -> str:
    value = envelope.get(key)
    if not isinstance(value, str) or (not value and not empty):
        raise SnsSchemaError(f"Could not deserialize SNS message: {key} must be text; got {shown(value)}")
    return value


def optional_text(envelope: Mapping[str, Any], key: str) -> str | None:
    return None if envelope.get(key) is None else text(envelope, key, empty=True)


def attributes_of(given: Any) -> dict[str, str | bytes]:
    """The publisher's attributes; what is not as SNS has it is left out, since it is not what the message is about."""
    attributes: dict[str, str | bytes] = {}
    if is_mapping(given):
        for name, entry in given.items():
            value: Any = entry.get("Value") if is_mapping(entry) else None
            if isinstance(name, str) and isinstance(value, str):
                binary = str(entry.get("Type")).startswith("Binary")
                attributes[name] = from_base64(value) if binary else value
    return attributes
