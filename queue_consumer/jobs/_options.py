"""What may be said of one sending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["DEFAULTS", "Options", "check_whole"]


@dataclass(frozen=True, slots=True)
class Options:
    """How a job is sent.

    Args:
        delay: seconds before it can be seen.
        group: its message group: what is kept in order on a FIFO queue.
        deduplication_id: what makes another one within some minutes the same.
        codec: what it is written with, by its name or itself; None: the task's, or the registry's.
        queue: where to; None: the task's, or the registry's.
    """

    delay: float = 0
    group: str | None = None
    deduplication_id: str | None = None
    codec: Any = None
    queue: Any = None

    def __post_init__(self) -> None:
        delay: Any = self.delay
        if isinstance(delay, bool) or not isinstance(delay, (int, float)):
            raise TypeError(f"delay must be a number of seconds of at least 0; got {delay!r}")
        if not 0 <= delay < float("inf"):
            raise ValueError(f"delay must be a number of seconds of at least 0; got {delay!r}")
        for name in ("group", "deduplication_id"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} must be a str, or None; got {value!r}")


DEFAULTS = Options()


def check_whole(name: str, value: Any) -> None:
    """Refuse what is not a whole number of at least 1, in a sentence that names it."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
