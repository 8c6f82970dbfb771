"""The attributes of a queue: which there are, what they may be, and what they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from ._refusals import Refused, invalid, value_of

__all__ = ["NAME", "Redrive", "Settings", "check_name"]

NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
FIFO = ".fifo"


class Whole(NamedTuple):
    """A setting that is a whole number."""

    default: int | None
    least: int
    most: int


NUMBERS: Mapping[str, Whole] = {
    "VisibilityTimeout": Whole(30, 0, 43_200),
    "MaximumMessageSize": Whole(1_048_576, 1_024, 1_048_576),
    "MessageRetentionPeriod": Whole(345_600, 60, 1_209_600),
    "DelaySeconds": Whole(0, 0, 900),
    "ReceiveMessageWaitTimeSeconds": Whole(0, 0, 20),
    "KmsDataKeyReusePeriodSeconds": Whole(None, 60, 86_400),
}
CHOICES: Mapping[str, tuple[str, ...]] = {"SqsManagedSseEnabled": ("true", "false")}
FIFO_CHOICES: Mapping[str, tuple[str, ...]] = {
    "ContentBasedDeduplication": ("false", "true"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
TEXTS = ("KmsMasterKeyId",)
DOCUMENTS = ("Policy", "RedrivePolicy", "RedriveAllowPolicy")
COMPUTED = (
    "QueueArn",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
READABLE = {"All", "FifoQueue", *COMPUTED, *NUMBERS, *CHOICES, *FIFO_CHOICES, *TEXTS, *DOCUMENTS}


class Redrive(NamedTuple):
    """Where messages go that were received so often, and more."""

    target: str
    most: int


class Settings:
    """The attributes of one queue that can be set, as they go over the wire, and what is made of them."""

    def __init__(self, fifo: bool) -> None:
        self.fifo = fifo
        self.wire = {name: str(number.default) for name, number in NUMBERS.items() if number.default is not None}
        self.wire.update({name: values[0] for name, values in CHOICES.items()})
        if fifo:
            self.wire["FifoQueue"] = "true"
            self.wire.update({name: values[0] for name, values in FIFO_CHOICES.items()})
        self.redrive: Redrive | None = None

    def number(self, name: str) -> int:
        return int(self.wire[name])

    def is_on(self, name: str) -> bool:
        return self.wire.get(name) == "true"

    @property
    def by_group(self) -> bool:
        """Whether deduplication ids of different groups have nothing to do with each other."""
        return self.wire.get("DeduplicationScope") == "messageGroup"

    def change(self, given: Mapping[str, str]) -> None:
        """Set these, all of them or, if one is wrong, none. An empty document takes away the one there was."""
        for name, value in given.items():
            self._check(name, value)
        after = {**self.wire, **given}
        if after.get("FifoThroughputLimit") == "perMessageGroupId" and after["DeduplicationScope"] != "messageGroup":
            raise invalid(
                "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup."
            )
        redrive = redrive_of(after.get("RedrivePolicy", ""))
        self.wire = {name: value for name, value in after.items() if value}
        self.redrive = redrive

    def differing(self, given: Mapping[str, str]) -> str | None:
        """The first of these that is not as it is here."""
        return next((name for name, value in given.items() if self.wire.get(name, "") != value), None)

    def allows(self, source: str) -> bool:
        """Whether that queue may send its dead letters here."""
        policy: dict[str, Any] = json.loads(self.wire.get("RedriveAllowPolicy", "{}"))
        permission = policy.get("redrivePermission", "allowAll")
        return permission == "allowAll" or (permission == "byQueue" and source in policy.get("sourceQueueArns", ()))

    def _check(self, name: str, value: str) -> None:
        wrong = Refused("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
        number, choices = NUMBERS.get(name), CHOICES.get(name)
        if self.fifo:
            choices = choices or FIFO_CHOICES.get(name)
        if number is not None:
            if not re.fullmatch("[0-9]{1,9}", value) or not number.least <= int(value) <= number.most:
                raise wrong
        elif choices is not None:
            if value not in choices:
                raise wrong
        elif name == "FifoQueue" and self.fifo:
            if value != "true":
                raise wrong
        elif name in DOCUMENTS:
            if value and document(value) is None:
                raise wrong
        elif name not in TEXTS:
            raise Refused("InvalidAttributeName", f"Unknown Attribute {name}.")


def document(text: str) -> dict[str, Any] | None:
    """The JSON object that this is; None if it is not."""
    try:
        found: object = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def redrive_of(policy: str) -> Redrive | None:
    """What a redrive policy says."""
    found = document(policy) if policy else None
    if found is None:
        return None
    for name in ("maxReceiveCount", "deadLetterTargetArn"):
        if name not in found:
            raise value_of("RedrivePolicy", policy, f"Redrive policy does not contain mandatory attribute: {name}.")
    most = str(found["maxReceiveCount"])
    if not re.fullmatch("[0-9]{1,4}", most) or not 1 <= int(most) <= 1000:
        reason = f"Invalid value for maxReceiveCount: {most}, valid values are from 1 to 1000 both inclusive."
        raise value_of("RedrivePolicy", policy, reason)
    return Redrive(str(found["deadLetterTargetArn"]), int(most))


def check_name(name: str, fifo: bool) -> None:
    """A name is 1 to 80 letters, digits, hyphens and underscores; a FIFO queue's ends in `.fifo`, no other's does."""
    stem = name.removesuffix(FIFO) if fifo else name
    if len(name) > 80 or not NAME.fullmatch(stem) or (fifo and stem == name):
        ends = ", must end with .fifo suffix and be" if fifo else "."
        raise invalid(
            f"The name of a {'FIFO' if fifo else 'standard'} queue can only include alphanumeric characters, hyphens, "
            f"or underscores{ends} 1 to 80 in length."
        )
