"""When a call is made again, and after how long: the rules that AWS calls its standard mode."""

from __future__ import annotations

import random
import threading

__all__ = ["Retries", "is_throttling", "is_worth_another"]

LONGEST = 20.0  # seconds of a pause
SLOW, QUICK = 1.0, 0.05  # seconds, the first pause at most: after "fewer calls, please", and after anything else
AT_LEAST_ASKED = 5.0  # seconds that a service may ask for, beyond the pause that it would be

CAPACITY = 500  # so much may be spent on calls that are made again
COST, COST_OF_THROTTLING = 14, 5

THROTTLING = {
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
}
TRANSIENT = {"PriorRequestNotComplete", "RequestTimeout", "RequestTimeoutException"}


def is_throttling(status: int, code: str) -> bool:
    return code in THROTTLING or status == 429


def is_worth_another(status: int, code: str) -> bool:
    """Whether what was answered may be another answer next time."""
    return status in (500, 502, 503, 504) or code in TRANSIENT or is_throttling(status, code)


class Retries:
    """Of all calls together: in a long outage most of them are made once only.

    Each retry costs, each success brings something back; where nothing is left, nothing is tried again.

    Args:
        attempts: the most that are made of one call.
    """

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts
        self._lock = threading.Lock()
        self._left = CAPACITY

    def pause(self, attempt: int, throttling: bool, asked: str | None = None) -> tuple[float, int] | None:
        """How long to wait after this attempt, 1 first, and what it costs; None if it was the last.

        Args:
            throttling: the service wants fewer calls.
            asked: the milliseconds that it wants to be left alone, if it said so.
        """
        cost = COST_OF_THROTTLING if throttling else COST
        with self._lock:
            if attempt >= self.attempts or cost > self._left:
                return None
            self._left -= cost
        pause = random.random() * min(LONGEST, (SLOW if throttling else QUICK) * 2.0 ** (attempt - 1))
        if asked is not None and asked.isascii() and asked.isdigit():
            pause = max(pause, min(int(asked[:9]) / 1000, pause + AT_LEAST_ASKED))
        return pause, cost

    def succeeded(self, cost: int) -> None:
        """A call has its answer; its last retry has cost so much, 0 if there was none."""
        if self._left == CAPACITY:  # as good as always, and a moment's mistake does no harm
            return
        with self._lock:
            self._left = min(CAPACITY, self._left + (cost or 1))
