"""What two values come to, by the type of the right-hand one.  Pure.

A check answers True or False, or None where the question makes no sense: text that is asked whether it is greater than
five. None is no match, and neither is its negation; the strict API makes an error of it. The table:

| right-hand side | equals | matches | has an order |
|---|---|---|---|
| None | is None | is None, False, 0 or empty | no |
| str | exactly; `''` and None are the same | the regular expression, from the start | no |
| bool | exactly; None is False | truth; `'false'` in any case is False | no |
| int, float, Decimal | in value; numeric text counts as its number; None is no number | as equals | yes |
| date, datetime | to the second; ISO 8601 text counts; no zone is UTC; of a date only dates count | as equals | yes |
| bytes, UUID | exactly; a UUID also as text | as equals | no |
| list, tuple, set | each side has a match for each item of the other; None is empty | the left has all of it | no |
| dict | has the keys, and their values match; further keys do not count; None is empty | as equals | no |

(Collections and mappings are in `_compiling`, since they hold patterns.)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias, TypeGuard
from uuid import UUID

from ._errors import kind_of

__all__ = [
    "ORDERS",
    "Check",
    "DateTime",
    "Number",
    "Verdict",
    "boolean_equals",
    "bytes_equal",
    "is_collection",
    "is_empty",
    "is_mapping",
    "is_true",
    "moment_order",
    "moment_of",
    "null_equals",
    "number_of",
    "number_order",
    "text_equals",
    "uuid_equals",
]

Verdict: TypeAlias = bool | None
Check: TypeAlias = Callable[[Any], Verdict]
Order: TypeAlias = Callable[[Any, Any], bool]

ORDERS: Mapping[str, Order] = {
    "eq": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}

# ---------------------------------------------------------------------- numbers

NUMERIC = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
LONGEST_NUMBER = 1_000  # characters of text that is taken for one
EXACT = 2**53  # up to here a float holds every whole number


def Number(text: str | int | float | Decimal) -> Decimal:  # noqa: N802 - sqs-mega's name for it
    """The number that a text stands for, for patterns that are read from a file: `gt(Number("1.50"))`."""
    number = number_of(text)
    if number is None or number != number:
        raise ValueError(f"Number: text must stand for a number, as '1.5' does; got {text!r}")
    return exact(number)


def number_of(value: Any) -> int | float | Decimal | None:
    """The number that this is or says, or None."""
    kind = kind_of(value)
    if kind is int or kind is float:
        number: int | float = value
        return number
    if isinstance(value, str):
        if len(value) > LONGEST_NUMBER or not NUMERIC.fullmatch(value):
            return None
        return Decimal(str(value))
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Decimal):
        return float("nan") if value.is_nan() else value
    return None


def exact(number: int | float | Decimal) -> Decimal:
    """As people mean it: 0.1 is a tenth, and not the binary fraction next to it."""
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def number_order(function: str, rhs: int | float | Decimal) -> Check:
    """Compare with a number. Text that is numeric counts as its number, and None as none."""
    compare = ORDERS[function]
    of_none = False if function == "eq" else None
    exact_rhs = exact(rhs)
    near = type(rhs) is float or (type(rhs) is int and -EXACT < rhs < EXACT)

    def check(lhs: Any) -> Verdict:
        kind = kind_of(lhs)
        if near and ((kind is int and -EXACT < lhs < EXACT) or kind is float):
            return compare(lhs, rhs)
        if lhs is None:
            return of_none
        number = number_of(lhs)
        if number is None:
            return None
        if number != number:  # NaN is neither equal to anything, nor before or after it
            return False
        return compare(exact(number), exact_rhs)

    return check


# ---------------------------------------------------------------------- moments

ISO = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?P<time>[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?(?:Z|[+-][0-9]{2}(?::?[0-9]{2}(?::[0-9]{2})?)?)?)?"
)
LONGEST_MOMENT = 40


def DateTime(text: str | date) -> date:  # noqa: N802 - sqs-mega's name for it
    """The date, or the date and time, that ISO 8601 text stands for: `gte(DateTime("2020-01-01"))`."""
    moment = moment_of(text)
    if moment is None:
        raise ValueError(f"DateTime: text must be a date, or a date and a time, as ISO 8601 has them; got {text!r}")
    return moment


def moment_of(value: Any) -> date | None:
    """The date or datetime that this is or says in ISO 8601, or None."""
    if isinstance(value, str):
        found = ISO.fullmatch(value) if len(value) <= LONGEST_MOMENT else None
        if found is None:
            return None
        try:
            return datetime.fromisoformat(found[0]) if found["time"] else date.fromisoformat(found[0])
        except ValueError:
            return None
    return value if isinstance(value, date) else None


def day_of(moment: date) -> date:
    """The date of it as it is written, in its own zone."""
    return moment.date() if isinstance(moment, datetime) else moment


def zoned(moment: datetime) -> datetime:
    """What has no zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment.utcoffset() is None else moment


def moment_order(function: str, rhs: date) -> Check:
    """Compare with a date or datetime: equality to the second, order to the microsecond."""
    compare = ORDERS[function]
    of_none = False if function == "eq" else None
    to_the_second = function == "eq"
    day = day_of(rhs)
    instant = zoned(rhs) if isinstance(rhs, datetime) else None
    if instant is not None and to_the_second:
        instant = instant.replace(microsecond=0)

    def check(lhs: Any) -> Verdict:
        moment = moment_of(lhs)
        if moment is None:
            return of_none if lhs is None else None
        if instant is None or not isinstance(moment, datetime):
            return compare(day_of(moment), day)
        own = zoned(moment)
        return compare(own.replace(microsecond=0) if to_the_second else own, instant)

    return check


# ---------------------------------------------------------------------- the rest


def text_equals(rhs: str) -> Check:
    of_none = rhs == ""

    def check(lhs: Any) -> Verdict:
        if type(lhs) is str:
            return lhs == rhs
        if lhs is None:
            return of_none
        return str(lhs) == rhs if isinstance(lhs, str) else None

    return check


def boolean_equals(rhs: bool) -> Check:
    def check(lhs: Any) -> Verdict:
        if lhs is True or lhs is False:
            return lhs is rhs
        return (rhs is False) if lhs is None else None

    return check


def null_equals(lhs: Any) -> Verdict:
    return lhs is None


def bytes_equal(rhs: bytes) -> Check:
    def check(lhs: Any) -> Verdict:
        if lhs is None:
            return not rhs
        return bytes(lhs) == rhs if isinstance(lhs, (bytes, bytearray)) else None

    return check


def uuid_equals(rhs: UUID) -> Check:
    text = str(rhs)

    def check(lhs: Any) -> Verdict:
        if isinstance(lhs, UUID):
            return lhs == rhs
        if lhs is None:
            return False
        return lhs.lower() == text if isinstance(lhs, str) else None

    return check


def is_true(lhs: Any) -> bool:
    """Truth, as `match(True)` has it: the text 'false' is false."""
    return bool(lhs) and not (isinstance(lhs, str) and lhs.lower() == "false")


def is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def is_collection(value: Any) -> TypeGuard[Collection[Any]]:
    kind = kind_of(value)
    if kind is str or kind is int or kind is dict or value is None:  # as nearly always, and quicker than the rest
        return False
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return True
    return isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes, bytearray, memoryview))


def is_empty(lhs: Any) -> bool:
    """None, text or bytes of no length, a collection or mapping of nothing; no number and no boolean is."""
    if lhs is None:
        return True
    if isinstance(lhs, (str, bytes, bytearray)) or is_mapping(lhs) or is_collection(lhs):
        return len(lhs) == 0
    return False
