"""When a job that was not done is tried again."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import queue_consumer
from queue_consumer import Constant, Failure

__all__ = ["DEFAULT_BACKOFF", "IMMEDIATE_RETURN", "Backoff", "DeadLetter", "ExponentialBackoff", "Retry", "delay_by"]

Backoff: TypeAlias = Callable[[int], float]
DeadLetter: TypeAlias = Callable[[Any, Failure], object]

log = logging.getLogger("queue_consumer.jobs")


class Retry(queue_consumer.Retry):
    """Raised by a job: not now. That is no error, and is not logged as one.

    Args:
        delay: seconds before it is tried again.
        backoff: called with the attempt, 1 first, for those seconds. With neither, the task's own back-off says.
    """

    def __init__(self, delay: float | None = None, *, backoff: Backoff | None = None) -> None:
        if delay is not None and backoff is not None:
            raise ValueError(f"Retry: delay and backoff say the same; got delay={delay!r} and backoff={backoff!r}")
        if backoff is not None and not callable(backoff):
            raise TypeError(f"Retry: backoff must be callable with the attempt, or None; got {backoff!r}")
        super().__init__(delay)
        self.backoff = backoff


@dataclass(frozen=True, slots=True)
class ExponentialBackoff:
    """The back-off of sqs-workers: seconds around `min + multiplier * base ** (attempt - 1)`.

    They are drawn from a normal distribution with a tenth of that as its deviation, kept from `min` to `max`, and
    rounded. `Exponential`, in `queue_consumer`, is the one without such history.

    Args:
        base: what the delay is multiplied by for each attempt; at least 1.
        min: the least seconds; at least 0.
        max: the most seconds; at least `min`.
        multiplier: seconds, at least 0.
        random: where chance comes from: a callable of a mean and a deviation.
    """

    base: float = 2
    min: float = 0
    max: float = 30 * 60
    multiplier: float = 1
    random: Callable[[float, float], float] = field(default=random.normalvariate, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, least in (("base", 1.0), ("min", 0.0), ("max", float(self.min)), ("multiplier", 0.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"ExponentialBackoff: {name} must be a number of at least {least:g}; got {value!r}")
            if not math.isfinite(value) or value < least:
                raise ValueError(f"ExponentialBackoff: {name} must be a number of at least {least:g}; got {value!r}")

    def __call__(self, attempt: int) -> float:
        try:
            mean = self.min + self.multiplier * float(self.base) ** max_of(0, attempt - 1)
        except OverflowError:  # a power that no float can hold is beyond any maximum
            mean = math.inf
        if mean >= 2 * self.max:  # ten deviations away; and chance has no numbers for infinity
            return float(round(self.max))
        return float(round(max_of(self.min, min_of(self.max, self.random(mean, mean / 10)))))


max_of, min_of = max, min  # the fields of the class have these names

DEFAULT_BACKOFF = ExponentialBackoff()
IMMEDIATE_RETURN = Constant(0)


def delay_by(backoff: Backoff | None, attempt: int | None) -> float | None:
    """The seconds that a back-off wants; None if there is none, or it fails, and the consumer's shall say."""
    if backoff is None:
        return None
    try:
        delay = float(backoff(1 if attempt is None else attempt))
        if not 0 <= delay < math.inf:
            raise ValueError(f"a back-off must be a number of seconds of at least 0; got {delay!r}")
    except Exception as error:
        log.error("a back-off raised, so that of the consumer is used: %r", error)
        return None
    return delay
