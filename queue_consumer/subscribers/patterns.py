"""Pattern matching by itself: does this value match, and why?

    >>> cheap = compile_pattern({"price": lt(10), "name": match("tea|milk")})
    >>> cheap.matches({"name": "tea", "price": "4.50", "brand": "x"})
    True
    >>> print(cheap.explain({"name": "salt"}))
    no match
      no  price: the key is missing
      no  name: 'salt' does not match 'tea|milk'

What a value comes to by the types on both sides is the table in `_values`; what parts come to together, that in
`_compiling`. A pattern is partial: what a value has and the pattern does not ask for does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._compiling import Node, PredicateRaised, Telling
from ._compiling import compile_pattern as compiled
from ._errors import LeftHandSideTypeError, PatternError, PredicateError, RightHandSideTypeError, shown
from ._predicates import (
    Pattern,
    absent,
    and_,
    any_,
    empty,
    eq,
    gt,
    gte,
    in_,
    lt,
    lte,
    match,
    neq,
    not_,
    one_of,
    optional,
    or_,
)
from ._values import DateTime, Number, Verdict

__all__ = [
    # a pattern, at work
    "CompiledPattern",
    "Explanation",
    "compile_pattern",
    "evaluate",
    "explain",
    "matches",
    # what patterns are made of
    "DateTime",
    "Number",
    "Pattern",
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
    # what can go wrong
    "LeftHandSideTypeError",
    "PatternError",
    "PredicateError",
    "RightHandSideTypeError",
]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something did or did not match; `str()` of it is the answer in words, a line for each thing asked.

    Attributes:
        matched: whether it did; also the truth of the explanation.
        lines: what was asked, and the answer.
    """

    matched: bool
    lines: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.matched

    def __str__(self) -> str:
        return "\n".join(["match" if self.matched else "no match", *("  " + line for line in self.lines)])


class CompiledPattern:
    """A pattern, compiled; as a part of another pattern it stands for itself. May be used by many threads."""

    __slots__ = ("node", "pattern")

    def __init__(self, pattern: Pattern, node: Node) -> None:
        self.pattern = pattern
        self.node = node

    def __repr__(self) -> str:
        return f"compile_pattern({shown(self.pattern)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return compile_pattern, (self.pattern,)

    def matches(self, value: Any) -> bool:
        """Whether the value matches. Never raises: what makes no sense is no match."""
        try:
            return self.node.check(value) is True
        except Exception:  # of an object that raises when it is looked at
            return False

    def evaluate(self, value: Any) -> bool:
        """Whether the value matches, strictly.

        Raises:
            LeftHandSideTypeError: that depends on a value of a type that cannot be compared so.
            PredicateError: it depends on a callable that raised.
        """
        telling = Telling()
        verdict = self.node.tell(value, "", telling)
        if verdict is None:
            raise telling.troubles[0]
        return verdict

    def explain(self, value: Any) -> Explanation:
        """Why the value matches, or not. Never raises."""
        telling = Telling()
        verdict: Verdict = None
        try:
            verdict = self.node.tell(value, "", telling)
        except Exception as error:
            telling.lines.append(f"no  the value could not be looked at: {type(error).__name__}")
        return Explanation(verdict is True, tuple(telling.lines))


def compile_pattern(
    pattern: Pattern, where: str = "pattern", *, raised: PredicateRaised | None = None
) -> CompiledPattern:
    """Compile a pattern, to match many values with it.

    Args:
        pattern: a value, a callable, a regular expression, a function of this module; nested in mappings, lists, sets.
        where: what errors call it.
        raised: is told where a callable in it stands, and what that raised, when it did.

    Raises:
        PatternError: it cannot work; the sentence says where, and why.
    """
    return CompiledPattern(pattern, compiled(pattern, where, raised))


def matches(pattern: Pattern, value: Any) -> bool:
    """Whether the value matches. What makes no sense is no match; only a pattern that cannot work raises."""
    return compile_pattern(pattern).matches(value)


def evaluate(pattern: Pattern, value: Any) -> bool:
    """Whether the value matches, strictly: what makes no sense is an error; see `CompiledPattern.evaluate`."""
    return compile_pattern(pattern).evaluate(value)


def explain(pattern: Pattern, value: Any) -> Explanation:
    """Why the value matches, or not, in words.

    Args:
        pattern: a pattern, or a subscriber: a class, an instance, or a decorated function.
        value: what is matched; for a subscriber, also a message, or its body.
    """
    told = getattr(pattern, "__explain__", None)
    if told is not None:
        explanation: Explanation = told(value)
        return explanation
    return compile_pattern(pattern).explain(value)
