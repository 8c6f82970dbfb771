"""The functions of patterns. Each makes a piece of data that says what is asked; `_compiling` makes a check of it."""

from __future__ import annotations

from typing import Any, TypeAlias

from ._errors import PatternError, shown

__all__ = [
    "FUNCTIONS",
    "Pattern",
    "Predicate",
    "absent",
    "and_",
    "any_",
    "empty",
    "eq",
    "gt",
    "gte",
    "in_",
    "lt",
    "lte",
    "match",
    "neq",
    "not_",
    "one_of",
    "optional",
    "or_",
]

Pattern: TypeAlias = Any  # a value, a callable, a compiled regular expression, a function of this file; nested at will


class Predicate:
    """What a function of patterns returns: which function, and of what."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: str, arguments: tuple[Pattern, ...] = ()) -> None:
        self.function = function
        self.arguments = arguments

    def __repr__(self) -> str:
        return f"{self.function}({', '.join(map(shown, self.arguments))})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Predicate, (self.function, self.arguments)


def eq(value: Pattern) -> Predicate:
    """Equal, by the table of `_values`; a list wants a list, where a bare one also takes one of its items."""
    return Predicate("eq", (value,))


def neq(value: Pattern) -> Predicate:
    """Not equal, but of a type that could be."""
    return Predicate("neq", (value,))


def match(value: Pattern) -> Predicate:
    """Text: the regular expression matches from its start. A list: all of these are there. Other types: the table."""
    return Predicate("match", (value,))


def gt(value: Pattern) -> Predicate:
    """Greater than a number, later than a date or datetime."""
    return Predicate("gt", (value,))


def gte(value: Pattern) -> Predicate:
    """At least a number, at a date or datetime or later."""
    return Predicate("gte", (value,))


def lt(value: Pattern) -> Predicate:
    """Less than a number, earlier than a date or datetime."""
    return Predicate("lt", (value,))


def lte(value: Pattern) -> Predicate:
    """At most a number, at a date or datetime or earlier."""
    return Predicate("lte", (value,))


def in_(values: Pattern) -> Predicate:
    """Matches one of these, each of which may be a pattern; for a collection of values or patterns."""
    return Predicate("in_", (values,))


def one_of(*values: Pattern) -> Predicate:
    """Matches one of these, each of which may be a pattern.

    Raises:
        PatternError: there is none.
    """
    if not values:
        raise PatternError("one_of takes at least one value or pattern; got none, so it could never match")
    return Predicate("in_", (list(values),))


def not_(pattern: Pattern) -> Predicate:
    """Does not match. Where the pattern makes no sense of a value, or raises, `not_` of it is no match either."""
    return Predicate("not_", (pattern,))


def and_(*patterns: Pattern) -> Predicate:
    """All match, asked from left to right until one does not.

    Raises:
        PatternError: there are fewer than two.
    """
    return Predicate("and_", several("and_", patterns))


def or_(*patterns: Pattern) -> Predicate:
    """At least one matches, asked from left to right until one does.

    Raises:
        PatternError: there are fewer than two.
    """
    return Predicate("or_", several("or_", patterns))


def several(function: str, patterns: tuple[Pattern, ...]) -> tuple[Pattern, ...]:
    if len(patterns) < 2:
        raise PatternError(f"{function} takes at least two values or patterns; got {len(patterns)}")
    return patterns


def any_() -> Predicate:
    """Whatever it is, it is there; null is something."""
    return Predicate("any_")


def empty() -> Predicate:
    """There, and null, or text, bytes, a list or an object with nothing in it."""
    return Predicate("empty")


def absent() -> Predicate:
    """The key is not there. Stands as the value of a key, alone or within `or_`, `and_`, `not_`."""
    return Predicate("absent")


def optional(pattern: Pattern) -> Predicate:
    """The key is not there, or its value matches. Stands as the value of a key."""
    return Predicate("optional", (pattern,))


FUNCTIONS = (eq, neq, match, gt, gte, lt, lte, in_, one_of, not_, and_, or_, any_, empty, absent, optional)
