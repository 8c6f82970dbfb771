"""AWS's limits as a table, and the checks: what is beyond them is refused here, in a sentence, before it is sent.

Durations are seconds and may be fractions; SQS knows whole seconds only, so they are rounded up: nothing is seen
earlier than it was asked for, and what is above 0 never becomes 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple, cast

__all__ = [
    "BATCH_BYTES",
    "BATCH_SIZE",
    "DELAY",
    "KMS_REUSE",
    "MAX_RECEIVES",
    "MESSAGE_BYTES",
    "MESSAGE_SIZE",
    "MOVE_LIMIT",
    "MOVE_RATE",
    "RETENTION",
    "VISIBILITY_TIMEOUT",
    "WAIT_TIME",
    "Limit",
    "check_attribute_names",
    "check_body",
    "check_number",
    "check_prefix",
    "check_queue_name",
    "check_text",
    "check_token",
]


class Limit(NamedTuple):
    """A parameter with a least and a most value.

    Attributes:
        parameter: what it is called unless a check says otherwise.
        what: the sort of number.
        fractions: it may be a fraction, and is rounded up.
    """

    parameter: str
    what: str
    least: int
    most: int
    fractions: bool = False

    @property
    def allowed(self) -> str:
        return f"{self.what} from {self.least} to {self.most}"

    def check(self, value: Any, parameter: str = "", *, optional: bool = False) -> int:
        """The value as it goes on the wire, or a sentence that says what is allowed.

        Raises:
            TypeError: it is not such a number.
            ValueError: it is outside the limits.
        """
        sentence = (
            f"{parameter or self.parameter} must be {self.allowed}{', or None' if optional else ''}; got {value!r}"
        )
        kinds = (int, float) if self.fractions else (int,)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise TypeError(sentence)
        if not self.least <= value <= self.most:  # NaN is not within either
            raise ValueError(sentence)
        return math.ceil(value)

    def check_given(self, value: Any, parameter: str = "") -> int | None:
        """As `check`, and None stays None."""
        return None if value is None else self.check(value, parameter, optional=True)


BATCH_SIZE = Limit("batch_size", "a whole number", 1, 10)
WAIT_TIME = Limit("wait_time", "a number of seconds", 0, 20, True)
VISIBILITY_TIMEOUT = Limit("visibility_timeout", "a number of seconds", 0, 43_200, True)
DELAY = Limit("delay", "a number of seconds", 0, 900, True)
RETENTION = Limit("retention", "a number of seconds", 60, 1_209_600, True)
MESSAGE_SIZE = Limit("max_size", "a whole number of bytes", 1_024, 1_048_576)
MAX_RECEIVES = Limit("max_receives", "a whole number", 1, 1_000)
KMS_REUSE = Limit("kms_key_reuse", "a number of seconds", 60, 86_400, True)
MOVE_RATE = Limit("rate", "a whole number of messages a second", 1, 500)
MOVE_LIMIT = Limit("limit", "a whole number of messages", 1, 1_000_000_000)

MESSAGE_BYTES = 1_048_576  # of one message: its body, and the names, types and values of its attributes
BATCH_BYTES = 1_048_576  # of all messages of one call
ATTRIBUTES = 10  # of one message
NUMBER_DIGITS, NUMBER_EXPONENTS = 38, range(-128, 127)

QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|(?=.{6,80}\Z)[A-Za-z0-9_-]+\.fifo")
PREFIX = re.compile(r"[A-Za-z0-9_-]{0,79}")
TOKEN = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")  # ASCII, no spaces
ATTRIBUTE_NAME = re.compile(r"(?!(?i:aws|amazon)\.)(?=.{1,256}\Z)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
DATA_TYPE = re.compile(r"(?:String|Number|Binary)(?:\.[^\x00-\x1f]+)?")
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_queue_name(name: Any, parameter: str = "name", *, fifo: bool | None = None) -> str:
    """Refuse what cannot be the name of a queue, or of a FIFO queue, or of one that is not."""
    if not isinstance(name, str):
        raise TypeError(f"{parameter} must be the name of a queue, a str; got {name!r}")
    if not QUEUE_NAME.fullmatch(name):
        raise ValueError(
            f"{parameter} must have 1 to 80 characters, letters, digits, _ and - only, and end in .fifo if the queue "
            f"is FIFO; got {name!r}"
        )
    if fifo is not None and name.endswith(".fifo") != fifo:
        raise ValueError(
            f"{parameter} must {'end' if fifo else 'not end'} in .fifo, since the queue is to be "
            f"{'FIFO' if fifo else 'a standard one'}; got {name!r}"
        )
    return name


def check_prefix(prefix: Any, parameter: str = "prefix") -> str:
    """Refuse what no name of a queue can begin with."""
    if not isinstance(prefix, str):
        raise TypeError(f"{parameter} must be a str; got {prefix!r}")
    if not PREFIX.fullmatch(prefix):
        raise ValueError(f"{parameter} must have at most 79 characters, letters, digits, _ and - only; got {prefix!r}")
    return prefix


def check_token(value: Any, parameter: str) -> str:
    """Refuse what can be neither a message group nor a deduplication id."""
    if not isinstance(value, str):
        raise TypeError(f"{parameter} must be a str, or None; got {value!r}")
    if not TOKEN.fullmatch(value):
        raise ValueError(
            f"{parameter} must have 1 to 128 characters: ASCII letters, digits, punctuation, no spaces; got {value!r}"
        )
    return value


def check_text(value: str, parameter: str) -> str:
    """Refuse text that SQS would not carry: none at all, or with characters that XML does not have."""
    if not value:
        raise ValueError(f"{parameter} must not be empty: SQS has no empty messages and no empty attributes")
    found = FORBIDDEN.search(value)
    if found:
        raise ValueError(
            f"{parameter} must have only characters that XML has, so no control characters but tab, newline and "
            f"carriage return; got {found.group()!r} at position {found.start()}. Encode it, with base64 for instance"
        )
    return value


def check_body(body: Any, parameter: str = "body") -> str:
    """Refuse what cannot be the body of a message."""
    if not isinstance(body, str):
        raise TypeError(
            f"{parameter} must be a str; got {type(body).__name__}. Encode it, with json.dumps for instance"
        )
    return check_text(body, parameter)


def check_attribute_names(attributes: Any, parameter: str = "attributes") -> Mapping[str, Any]:
    """Refuse more attributes than a message may have, and names that SQS does not allow."""
    if not isinstance(attributes, Mapping):
        raise TypeError(f"{parameter} must be a mapping of names to values, or None; got {attributes!r}")
    named = cast("Mapping[object, Any]", attributes)
    if len(named) > ATTRIBUTES:
        raise ValueError(f"{parameter} must be at most {ATTRIBUTES}; got {len(named)}")
    for name in named:
        if not isinstance(name, str):
            raise TypeError(f"{parameter} must have names that are str; got {name!r}")
        if not ATTRIBUTE_NAME.fullmatch(name):
            raise ValueError(
                f"{parameter} must have names of 1 to 256 characters, letters, digits, _, - and single periods inside, "
                f"that do not begin with AWS. or Amazon.; got {name!r}"
            )
    return cast("Mapping[str, Any]", named)


def check_number(value: int | float | Decimal, parameter: str) -> str:
    """The number in plain digits, or a sentence that says which numbers SQS has."""
    number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    digits = 0 if not number.is_finite() else len("".join(map(str, number.as_tuple().digits)).strip("0"))
    if not number.is_finite() or digits > NUMBER_DIGITS or (digits and number.adjusted() not in NUMBER_EXPONENTS):
        shown = f"one with {digits}" if digits > NUMBER_DIGITS else f"{number:E}"
        raise ValueError(
            f"{parameter} must be a number with at most {NUMBER_DIGITS} digits, from 1E-128 to 1E+126; got {shown}"
        )
    return format(number, "f")
