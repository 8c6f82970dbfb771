"""What may be sent: a body, message attributes, ids. Whatever is wrong is refused as AWS refuses it.

The limits are written down here once more, and not taken from the adapter's own table: so a wrong one shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from ._message import Draft
from ._refusals import PREFIXED, Refused, invalid, missing, value_of, whole_of
from ._settings import Settings

__all__ = ["OF_A_MESSAGE", "check_attempt", "check_sizes", "draft_of", "names_of", "text_of", "texts_of"]

OF_A_MESSAGE = (
    "DelaySeconds",
    "MessageAttributes",
    "MessageSystemAttributes",
    "MessageDeduplicationId",
    "MessageGroupId",
)
LONGEST = 1_048_576  # bytes of a message, and of all messages of one call
MOST_ATTRIBUTES = 10
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ATTRIBUTE_NAME = re.compile(r"(?!(?i:aws|amazon)\.)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
ID = re.compile(r"[!-~]{1,128}")
WRONG_QUEUE_TYPE = "The request include parameter that is not valid for this queue type."
ALLOWED = "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"


def text_of(parameter: str, value: object) -> str:
    """The value if it is a str; boto3 sends nothing else."""
    if not isinstance(value, str):
        raise TypeError(f"{parameter} must be a str; got {value!r}")
    return value


def texts_of(parameter: str, value: Mapping[str, str]) -> dict[str, str]:
    """A copy of the mapping if all of it are strs."""
    return {
        text_of(f"{parameter}: a name", name): text_of(f"{parameter}[{name!r}]", given) for name, given in value.items()
    }


def names_of(parameter: str, value: Sequence[str]) -> list[str]:
    """A copy of the list if all of it are strs."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{parameter} must be a list; got {value!r}")
    return [text_of(parameter, name) for name in value]


def draft_of(settings: Settings, entry: Mapping[str, Any]) -> Draft:
    """What is sent to a queue with these settings, if it may be."""
    body = body_of(entry["MessageBody"])
    given: Mapping[str, Mapping[str, Any]] = entry.get("MessageAttributes") or {}
    attributes = {name: attribute_of(name, value) for name, value in given.items()}
    if len(attributes) > MOST_ATTRIBUTES:
        raise invalid(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MOST_ATTRIBUTES}]."
        )
    longest = settings.number("MaximumMessageSize")
    if size_of(body, attributes) > longest:
        raise invalid(f"One or more parameters are invalid. Reason: Message must be shorter than {longest} bytes.")
    group, deduplication_id = entry.get("MessageGroupId"), entry.get("MessageDeduplicationId")
    check_ids(settings, deduplication_id, group)
    trace = trace_of(entry.get("MessageSystemAttributes") or {})
    return Draft(body, attributes, delay_of(settings, entry.get("DelaySeconds")), group, deduplication_id, trace)


def check_sizes(entries: Sequence[Mapping[str, Any]]) -> None:
    """All messages of one call are no larger than one may be."""
    size = sum(size_of(entry["MessageBody"], entry.get("MessageAttributes") or {}) for entry in entries)
    if size > LONGEST:
        raise Refused(
            f"{PREFIXED}BatchRequestTooLong",
            f"Batch requests cannot be longer than {LONGEST} bytes. You have sent {size} bytes.",
        )


def delay_of(settings: Settings, delay: int | None) -> int:
    """The message's own delay, which a FIFO queue does not know, or the queue's."""
    seconds = settings.number("DelaySeconds") if delay is None else whole_of("DelaySeconds", delay, 0, 900)
    if settings.fifo and delay:
        raise value_of("DelaySeconds", delay, WRONG_QUEUE_TYPE)
    return seconds


def body_of(body: object) -> str:
    text = text_of("MessageBody", body)
    if not text:
        raise missing("MessageBody")
    if FORBIDDEN.search(text):
        raise Refused("InvalidMessageContents", f"Invalid characters found. Valid unicode characters are {ALLOWED}.")
    return text


def check_ids(settings: Settings, deduplication_id: str | None, group: str | None) -> None:
    """A FIFO queue needs a group, and a deduplication id unless it makes one; a standard queue may have a group."""
    if settings.fifo and group is None:
        raise missing("MessageGroupId")
    if not settings.fifo and deduplication_id is not None:
        raise value_of("MessageDeduplicationId", deduplication_id, WRONG_QUEUE_TYPE)
    for parameter, value in (("MessageGroupId", group), ("MessageDeduplicationId", deduplication_id)):
        check_id(parameter, value)
    if settings.fifo and deduplication_id is None and not settings.is_on("ContentBasedDeduplication"):
        raise invalid(
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided "
            "explicitly"
        )


def check_attempt(settings: Settings, attempt: str | None) -> str | None:
    """An attempt to receive from a FIFO queue may have an id."""
    if attempt is not None and not settings.fifo:
        raise value_of("ReceiveRequestAttemptId", attempt, WRONG_QUEUE_TYPE)
    check_id("ReceiveRequestAttemptId", attempt)
    return attempt


def check_id(parameter: str, value: str | None) -> None:
    if value is not None and not ID.fullmatch(text_of(parameter, value)):
        reason = f"{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        raise value_of(parameter, value, reason)


def attribute_of(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """One message attribute as it is kept."""
    if not ATTRIBUTE_NAME.fullmatch(name) or len(name) > 256:
        raise invalid(
            f"The message attribute name '{name}' is invalid. It has 1 to 256 letters, digits, hyphens, underscores "
            "and single periods between them, and does not begin with AWS. or Amazon."
        )
    if value.get("StringListValues") or value.get("BinaryListValues"):
        raise invalid(f"Message attribute list values in SendMessage operation are not supported: '{name}'.")
    kind = text_of(f"MessageAttributes[{name!r}]['DataType']", value.get("DataType"))
    base = kind.partition(".")[0]
    if base not in ("String", "Number", "Binary") or len(kind) > 256:
        raise invalid(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes "
            "is Binary, Number, and String."
        )
    field = "BinaryValue" if base == "Binary" else "StringValue"
    content = value.get(field)
    if not content:
        raise invalid(
            f"The message attribute '{name}' must contain non-empty message attribute value for message attribute type "
            f"'{kind}'."
        )
    if field == "BinaryValue":
        return {"BinaryValue": binary_of(name, content), "DataType": kind}
    text = text_of(f"MessageAttributes[{name!r}]['StringValue']", content)
    if FORBIDDEN.search(text):
        raise invalid(
            f"Invalid characters found in the message attribute '{name}'. Valid unicode characters are {ALLOWED}."
        )
    if base == "Number":
        check_number(name, text)
    return {"StringValue": text, "DataType": kind}


def binary_of(name: str, content: object) -> bytes:
    """The bytes that boto3 would send."""
    if isinstance(content, (bytes, bytearray)):
        return bytes(content)
    if isinstance(content, str):
        return content.encode()
    raise TypeError(f"MessageAttributes[{name!r}]['BinaryValue'] must be bytes; got {content!r}")


def check_number(name: str, text: str) -> None:
    """A number has at most 38 digits, and is between 10^-128 and 10^126, or 0."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise invalid(f"Can't cast the value of message (user) attribute '{name}' to a number.")
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0")
    if number and not (-128 <= number.adjusted() <= 126 and len(digits) <= 38):
        raise invalid(f"Number attribute value {text} should be in range (-10**128..10**126)")


def trace_of(system: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The one system attribute that can be sent."""
    for name, value in system.items():
        if name != "AWSTraceHeader":
            raise invalid(f"Message system attribute name '{name}' is invalid.")
        if value.get("DataType") != "String" or not value.get("StringValue"):
            raise invalid(f"The message system attribute '{name}' must be a String, and not empty.")
    found = system.get("AWSTraceHeader")
    return (
        None
        if found is None
        else {"StringValue": text_of("AWSTraceHeader", found["StringValue"]), "DataType": "String"}
    )


def size_of(body: str, attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """The bytes that count: of the body, and of each attribute its name, type and value."""
    size = len(encoded(body))
    for name, value in attributes.items():
        content = value.get("BinaryValue") or value.get("StringValue") or b""
        size += len(encoded(name)) + len(encoded(value.get("DataType", ""))) + len(encoded(content))
    return size


def encoded(content: str | bytes) -> bytes:
    # What is no character is refused by itself, in a sentence of its own.
    return content.encode(errors="replace") if isinstance(content, str) else content
