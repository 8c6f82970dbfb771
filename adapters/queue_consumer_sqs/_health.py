"""How a queue's service is: what to do after an error, and one line in the log for each change."""

from __future__ import annotations

import logging
import random
import threading
import time

from ._errors import AccessDenied, BadCredentials, QueueNotFound, SQSError, Throttled, Unreachable

__all__ = ["Health"]

log = logging.getLogger("queue_consumer.sqs")

# Seconds before the next try: of the first, and of the last of a row of doubled ones.
PAUSES: tuple[tuple[type[SQSError], float, float], ...] = (
    (Throttled, 0.2, 10.0),
    (Unreachable, 0.1, 10.0),
    (BadCredentials, 1.0, 30.0),
    (AccessDenied, 2.0, 60.0),
    (QueueNotFound, 1.0, 30.0),
    (SQSError, 0.5, 30.0),
)


class Health:
    """Of one queue, as its polls see it. Called by all of its getters."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._kind: type[SQSError] | None = None
        self._row = 0  # errors of this kind, one after the other
        self._since = 0.0
        self.words = "ok"

    def failed(self, error: SQSError) -> float:
        """A poll failed; the seconds to wait before the next."""
        kind, first, longest = next(row for row in PAUSES if isinstance(error, row[0]))
        with self._lock:
            news = kind is not self._kind
            if self._kind is None:
                self._since = time.monotonic()
            self._row = 1 if news else self._row + 1
            self._kind = kind
            self.words = f"{type(error).__name__}: {error}"
            pause = min(longest, first * 2.0 ** min(self._row - 1, 20))
        if news:
            log.warning("queue %s: %s; it is tried again until it works", self._name, error)
        return pause * random.uniform(0.5, 1)

    def answered(self) -> None:
        """A poll was answered."""
        if self._row == 0:
            return
        with self._lock:
            took, row = time.monotonic() - self._since, self._row
            self._kind, self._row, self.words = None, 0, "ok"
        if row:  # and no other getter was faster
            log.warning("queue %s answers again, after %.1f s", self._name, took)
