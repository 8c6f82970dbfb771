"""What this room raises. None of it comes out of dispatch: there a message that cannot be decoded, compared or
processed has a fate of its own, and its neighbours never notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from queue_consumer import QueueConsumerError

__all__ = [
    "DecodingError",
    "EncodingError",
    "LeftHandSideTypeError",
    "NotInstalled",
    "PatternError",
    "PredicateError",
    "RightHandSideTypeError",
    "SignatureError",
    "SnsSchemaError",
]


class PatternError(QueueConsumerError, ValueError):
    """A pattern that cannot work, refused when it is declared; `where` is its place: `pattern['user']['id']`."""

    def __init__(self, problem: str, where: str = "") -> None:
        super().__init__(problem, where)
        self.problem, self.where = problem, where

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" if self.where else self.problem

    def at(self, where: str) -> PatternError:
        """The same, where it is."""
        return type(self)(self.problem, where)


class RightHandSideTypeError(PatternError, TypeError):
    """A value of a type that this function of patterns has no meaning for, such as `gt(None)`."""


class LeftHandSideTypeError(QueueConsumerError, TypeError):
    """Strict matching only: a value was compared with a pattern of another type; in dispatch that is no match.

    Attributes:
        lhs: the value.
        rhs: what it was compared with.
        function_type: by which function: "eq", "gt", …
        where: the way to it.
    """

    def __init__(self, lhs: Any, rhs: Any, function_type: str, where: str = "", wanted: str = "") -> None:
        super().__init__(lhs, rhs, function_type, where, wanted)
        self.lhs, self.rhs, self.function_type, self.where, self.wanted = lhs, rhs, function_type, where, wanted

    def __str__(self) -> str:
        sentence = (
            f"[{self.function_type}] Could not apply left-hand side <{type(self.lhs).__name__}> ({shown(self.lhs)}) to "
            f"right-hand side <{type(self.rhs).__name__}> ({shown(self.rhs)})"
        )
        wanted = f": {self.wanted}" if self.wanted else ""
        return (f"{self.where}: " if self.where else "") + sentence + wanted


class PredicateError(QueueConsumerError, RuntimeError):
    """Strict matching only: a callable in a pattern raised, which is the `__cause__`; in dispatch that is no match."""

    def __init__(self, predicate: str, error: str, where: str = "") -> None:
        super().__init__(predicate, error, where)
        self.predicate, self.error, self.where = predicate, error, where

    def __str__(self) -> str:
        return (f"{self.where}: " if self.where else "") + f"{self.predicate} raised {self.error}"


class DecodingError(QueueConsumerError, ValueError):
    """A body is not what it says it is, or more than we are ready to read."""


class EncodingError(QueueConsumerError, ValueError):
    """A payload cannot be written in this form."""


class SnsSchemaError(DecodingError):
    """An SNS envelope that lacks something, or has something wrong."""


class SignatureError(DecodingError):
    """An SNS envelope that SNS has not signed, or not for us."""


class NotInstalled(QueueConsumerError, ImportError):
    """A library that this needs is not installed; the sentence says which extra has it."""


kind_of: Callable[[Any], Any] = type  # type checkers make too much of the type of what may be anything

LONGEST_SHOWN = 60  # characters of a value in a sentence


def shown(value: Any) -> str:
    """A value for a sentence: short, and whatever it is, no exception."""
    try:
        kind = kind_of(value)
        if kind in (str, bytes) and len(value) > LONGEST_SHOWN:
            return repr(value[:LONGEST_SHOWN]) + "…"
        if kind in (list, tuple, set, frozenset, dict) and len(value) > 3:
            return f"a {kind.__name__} of {len(value)}"
        if kind is int and value.bit_length() > 200:
            return "a very long number"
        text = repr(value)
    except Exception as error:  # a value that cannot show itself is no reason to fail
        return f"<{type(value).__name__}, which cannot be shown: {type(error).__name__}>"
    return text if len(text) <= 2 * LONGEST_SHOWN else text[: 2 * LONGEST_SHOWN] + "…"
