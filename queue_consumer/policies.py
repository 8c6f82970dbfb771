"""When a failed item is seen again, and when a consumer has done enough.  Pure: values in, a value out.

A back-off is any callable of the attempt, 1 for the first delivery, that returns seconds. A stop condition is
any callable of the `Stats` that returns whether to stop; those made here also combine, with `&` and `|`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ._ledger import Stats

__all__ = ["Constant", "Exponential", "Idle", "MaxItems", "StopCondition"]


@dataclass(frozen=True, slots=True)
class Constant:
    """The same delay after every attempt.

    Args:
        seconds: at least 0.
    """

    seconds: float

    def __post_init__(self) -> None:
        number("Constant: seconds", self.seconds, least=0)

    def __call__(self, attempt: int) -> float:
        return float(self.seconds)


@dataclass(frozen=True, slots=True)
class Exponential:
    """A delay that grows with every attempt: `base * factor ** (attempt - 1)`, and never beyond `max`.

    With jitter the delay is drawn between one half of that and all of it, so that items that failed together
    do not come back together, and none comes back at once.

    Args:
        base: seconds after the first attempt; at least 0.
        factor: what each delay is multiplied by for the next; at least 1.
        max: the longest delay in seconds; at least `base`.
        jitter: draw the delay at random.
        random: where chance comes from: a callable that returns a float from 0 up to 1.
    """

    base: float = 1
    factor: float = 2
    max: float = 300
    jitter: bool = True
    random: Callable[[], float] = field(default=random.random, repr=False, compare=False)

    def __post_init__(self) -> None:
        number("Exponential: base", self.base, least=0)
        number("Exponential: factor", self.factor, least=1)
        number("Exponential: max", self.max, least=self.base, called="base")
        flag("Exponential: jitter", self.jitter)
        function("Exponential: random", self.random)

    def __call__(self, attempt: int) -> float:
        delay = self.longest(attempt)
        return delay * (1 + self.random()) / 2 if self.jitter else delay

    def longest(self, attempt: int) -> float:
        """The delay without jitter. An attempt below 1 counts as the first."""
        try:
            return min(float(self.max), self.base * float(self.factor) ** max(0, attempt - 1))
        except OverflowError:  # a power that no float can hold is beyond any maximum
            return float(self.max) if self.base else 0.0


class StopCondition:
    """A question to the `Stats`, asked by the supervisor: has this consumer done enough?

    `one & other` holds when both do, `one | other` when either does; `other` may be any callable of the
    `Stats`.

        Consumer(queue, handler, stop_when=Idle(30) | MaxItems(10_000))
    """

    __slots__ = ()

    def __call__(self, stats: Stats) -> bool:
        raise NotImplementedError

    def __and__(self, other: Callable[[Stats], object]) -> StopCondition:
        return joined(Both, self, other)

    def __rand__(self, other: Callable[[Stats], object]) -> StopCondition:
        return joined(Both, other, self)

    def __or__(self, other: Callable[[Stats], object]) -> StopCondition:
        return joined(Either, self, other)

    def __ror__(self, other: Callable[[Stats], object]) -> StopCondition:
        return joined(Either, other, self)


@dataclass(frozen=True, slots=True)
class Both(StopCondition):
    """Holds when both do."""

    one: Callable[[Stats], object]
    other: Callable[[Stats], object]

    def __call__(self, stats: Stats) -> bool:
        return bool(self.one(stats)) and bool(self.other(stats))


@dataclass(frozen=True, slots=True)
class Either(StopCondition):
    """Holds when at least one does."""

    one: Callable[[Stats], object]
    other: Callable[[Stats], object]

    def __call__(self, stats: Stats) -> bool:
        return bool(self.one(stats)) or bool(self.other(stats))


def joined(how: type[Both] | type[Either], one: Any, other: Any) -> StopCondition:
    return how(one, other) if callable(one) and callable(other) else NotImplemented


@dataclass(frozen=True, slots=True)
class Idle(StopCondition):
    """Holds when there has been nothing to do for `seconds`: nothing came, and nothing is in flight.

    Args:
        seconds: at least 0; with 0 the first quiet moment is enough.
    """

    seconds: float

    def __post_init__(self) -> None:
        number("Idle: seconds", self.seconds, least=0)

    def __call__(self, stats: Stats) -> bool:
        return stats.in_flight == 0 and stats.idle >= self.seconds


@dataclass(frozen=True, slots=True)
class MaxItems(StopCondition):
    """Holds when `n` items have come to an end for good.

    Every end counts except being released: what was released comes again. The consumer may go on for a moment
    while it stops, so that a few more than `n` can have been handled.

    Args:
        n: at least 1.
    """

    n: int

    def __post_init__(self) -> None:
        whole("MaxItems: n", self.n, least=1)

    def __call__(self, stats: Stats) -> bool:
        return stats.ended - stats.released >= self.n


def number(name: str, value: object, *, least: float, called: str | None = None) -> None:
    """Refuse what is not a finite number of at least `least`, in a sentence that names it."""
    allowed = f"must be a number of at least {least:g}" + (f" ({called})" if called else "")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} {allowed}; got {value!r}")
    if not math.isfinite(value) or value < least:
        raise ValueError(f"{name} {allowed}; got {value!r}")


def whole(name: str, value: object, *, least: int) -> None:
    """Refuse what is not a whole number of at least `least`, in a sentence that names it."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number of at least {least}; got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")


def flag(name: str, value: object) -> None:
    """Refuse what is neither True nor False, in a sentence that names it."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False; got {value!r}")


def function(name: str, value: object) -> None:
    """Refuse what cannot be called, in a sentence that names it."""
    if not callable(value):
        raise TypeError(f"{name} must be callable; got {value!r}")
