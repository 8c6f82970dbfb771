"""The parts of patterns that have no parts: plain values, orders, regular expressions, callables.  Pure.

Each is a `Node`: a check, and the same in words. Words come from the very check that decides.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

from ._errors import LeftHandSideTypeError, PatternError, PredicateError, RightHandSideTypeError, kind_of, shown
from ._predicates import FUNCTIONS
from ._values import (
    Check,
    Verdict,
    boolean_equals,
    bytes_equal,
    moment_order,
    null_equals,
    number_order,
    text_equals,
    uuid_equals,
)

__all__ = [
    "MISSING",
    "Node",
    "PredicateRaised",
    "Telling",
    "equality",
    "is_expression",
    "leaf",
    "order",
    "predicate",
    "regular_expression",
]

PredicateRaised: TypeAlias = Callable[[str, BaseException], object]
"""Is told where a callable in a pattern stands, and what it raised."""


class Missing(enum.Enum):
    """What stands for the value of a key that is not there."""

    MISSING = "missing"


MISSING = Missing.MISSING


@dataclass(slots=True)
class Telling:
    """What parts of a pattern tell: a line each, and, of those that make no sense, the errors of the strict API."""

    lines: list[str] = field(default_factory=list[str])
    troubles: list[Exception] = field(default_factory=list[Exception])

    def say(self, verdict: Verdict, path: str, words: str) -> None:
        mark = {True: "yes", False: "no ", None: "no "}[verdict]
        self.lines.append(f"{mark} {path + ': ' if path else ''}{words}")


Tell: TypeAlias = Callable[[Any, str, Telling], Verdict]


@dataclass(slots=True, frozen=True)
class Node:
    """A part of a pattern, compiled.

    Attributes:
        check: of a value that is there.
        tell: the same, in words.
        missing: the answer if the key is not there.
        literal: it is a plain value, and asks for equality.
        texts: the only values that it can match, where these are texts, for an index.
    """

    check: Check
    tell: Tell
    missing: bool = False
    literal: bool = False
    texts: tuple[str, ...] | None = None


# ---------------------------------------------------------------------- leaves


def leaf(
    check: Check,
    function: str,
    rhs: Any,
    words: tuple[str, str],
    wanted: str = "",
    *,
    literal: bool = False,
    texts: tuple[str, ...] | None = None,
) -> Node:
    """A part without parts. `words`: what a value does, and what it does not. `wanted`: of what types it must be."""

    def tell(lhs: Any, path: str, telling: Telling) -> Verdict:
        try:
            verdict = check(lhs)
        except Exception:
            verdict = None
        if verdict is None:
            telling.troubles.append(LeftHandSideTypeError(lhs, rhs, function, path, wanted))
            telling.say(
                None,
                path,
                f"{shown(lhs)} is a {type(lhs).__name__}, so that it {words[0]} is no question: that is for {wanted}",
            )
        else:
            telling.say(verdict, path, f"{shown(lhs)} {words[0] if verdict else words[1]}")
        return verdict

    return Node(check, tell, literal=literal, texts=texts)


NUMBERS, MOMENTS = "numbers and numeric text", "dates, datetimes and ISO 8601 text"

ORDER_WORDS: Mapping[str, tuple[str, str]] = {
    "gt": ("is greater than {}", "is not greater than {}"),
    "gte": ("is at least {}", "is less than {}"),
    "lt": ("is less than {}", "is not less than {}"),
    "lte": ("is at most {}", "is greater than {}"),
}


def equality(rhs: Any, where: str) -> Node | None:
    """The leaf that asks for equality with a plain value; None if it is no plain value."""
    words = (f"equals {shown(rhs)}", f"does not equal {shown(rhs)}")
    match rhs:
        case None:
            return leaf(null_equals, "eq", rhs, ("is null", "is not null"), literal=True)
        case bool():
            return leaf(boolean_equals(rhs), "eq", rhs, words, "booleans", literal=True)
        case enum.Enum() if not isinstance(rhs, (str, int, float)):
            value: Any = rhs.value
            return equality(value, where)
        case str():
            texts = (str(rhs),) if rhs else None  # the empty one also equals None
            return leaf(text_equals(str(rhs)), "eq", rhs, words, "text", literal=True, texts=texts)
        case int() | float() | Decimal():
            if rhs != rhs:
                raise PatternError("NaN equals nothing, not even itself, so this could never match", where)
            return leaf(number_order("eq", rhs), "eq", rhs, words, NUMBERS, literal=True)
        case date():
            return leaf(moment_order("eq", rhs), "eq", rhs, words, MOMENTS, literal=True)
        case bytes() | bytearray():
            return leaf(bytes_equal(bytes(rhs)), "eq", rhs, words, "bytes", literal=True)
        case UUID():
            return leaf(uuid_equals(rhs), "eq", rhs, words, "UUIDs and text", literal=True)
        case _:
            return None


def order(function: str, rhs: Any, where: str) -> Node:
    """The leaf that asks for more or less than a value that has an order."""
    words = (ORDER_WORDS[function][0].format(shown(rhs)), ORDER_WORDS[function][1].format(shown(rhs)))
    if isinstance(rhs, (int, float, Decimal)) and not isinstance(rhs, bool):
        if rhs != rhs:
            raise PatternError(f"{function}(NaN) could never match: nothing is before or after NaN", where)
        return leaf(number_order(function, rhs), function, rhs, words, NUMBERS)
    if isinstance(rhs, date):
        return leaf(moment_order(function, rhs), function, rhs, words, MOMENTS)
    hint = "; of text make a number or a moment: Number('1.5'), DateTime('2020-01-01')" if isinstance(rhs, str) else ""
    raise RightHandSideTypeError(
        f"{function} takes a number, a date or a datetime, since nothing else has an order; got {shown(rhs)}{hint}",
        where,
    )


# One repeated atom in a repeated group, as in (a+)+, says what a+ says, in exponentially many ways.
ATOMS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)  # of more than a character
HOPELESS = re.compile(r"\((?:\?:|\?P<\w+>)?[^\\()\[\]{}|*+?^$][*+]\??\)(?:[*+]|\{\d+,\})")


def regular_expression(rhs: Any, where: str) -> Node:
    """The leaf that matches text from its start; of a text, or of what has a `match`, like a compiled `re.Pattern`."""
    expression: Any = rhs
    if isinstance(rhs, str):
        if HOPELESS.search(ATOMS.sub("x", rhs)):
            raise PatternError(
                f"the regular expression {shown(rhs)} repeats what does nothing but repeat, as (a+)+ does, and "
                "can take exponential time with text that does not match: leave the outer repetition out",
                where,
            )
        try:
            expression = re.compile(rhs)
        except (re.error, OverflowError, RecursionError) as error:
            raise PatternError(f"{shown(rhs)} is no regular expression: {error}", where) from error
    source: Any = getattr(expression, "pattern", rhs)
    of_bytes = isinstance(source, bytes)
    matches: Any = expression.match

    def check(lhs: Any) -> Verdict:
        if of_bytes:
            return matches(lhs) is not None if isinstance(lhs, (bytes, bytearray)) else None
        if lhs is None:
            lhs = ""
        return bool(matches(lhs)) if isinstance(lhs, str) else None

    text = shown(source)
    return leaf(check, "match", rhs, (f"matches {text}", f"does not match {text}"), "bytes" if of_bytes else "text")


def is_expression(value: Any) -> bool:
    return isinstance(value, re.Pattern) or (
        not isinstance(value, type) and hasattr(value, "pattern") and callable(getattr(value, "match", None))
    )


def name_of(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or shown(function)
    return "the lambda" if "<lambda>" in name else str(name)


def predicate(function: Callable[[Any], Any], where: str, raised: PredicateRaised | None) -> Node:
    """The leaf of a callable of the user's."""
    check_callable(function, where)
    name = name_of(function)

    def check(lhs: Any) -> Verdict:
        try:
            return bool(function(lhs))
        except Exception as error:
            if raised is not None:
                raised(where, error)
            return None

    def tell(lhs: Any, path: str, telling: Telling) -> Verdict:
        try:
            answer = function(lhs)
            verdict = bool(answer)
        except Exception as error:
            trouble = PredicateError(name, error_words(error), path)
            trouble.__cause__ = error
            telling.troubles.append(trouble)
            telling.say(None, path, f"{name} raised {error_words(error)} for {shown(lhs)}")
            return None
        telling.say(verdict, path, f"{name} says {shown(answer)} of {shown(lhs)}")
        return verdict

    return Node(check, tell)


def error_words(error: BaseException) -> str:
    try:
        words = str(error)
    except Exception:
        words = ""
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def check_callable(function: Any, where: str) -> None:
    """Refuse what cannot be asked about one value, and what would say yes to every one."""
    for own in FUNCTIONS:
        if function is own:
            given = "()" if own.__name__ in ("any_", "empty", "absent") else "(…)"
            raise PatternError(f"{own.__name__} must be called: write {own.__name__}{given}", where)
    code = [function, getattr(kind_of(function), "__call__", None)]  # noqa: B004 - the code of it, not whether there is some
    if any(inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f) for f in code):
        raise PatternError(f"{name_of(function)} is async, and what it returns at once is always true", where)
    if any(map(inspect.isgeneratorfunction, code)):
        raise PatternError(f"{name_of(function)} is a generator function, and what it returns is always true", where)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some built-in functions keep their signature to themselves
    try:
        signature.bind(object())
    except TypeError as error:
        raise PatternError(
            f"a callable is called with one value, which {name_of(function)}{signature} cannot be: {error}", where
        ) from None
