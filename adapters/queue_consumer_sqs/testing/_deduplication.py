"""What was done within the last five minutes, so that it is not done twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Recent"]

INTERVAL = 300.0  # seconds

T = TypeVar("T")


class Recent(Generic[T]):
    """The ids of sends or receives, and what came of them. It does not matter what became of that since."""

    def __init__(self) -> None:
        self._noted: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()  # the oldest first

    def find(self, id: Hashable, now: float) -> T | None:
        """What was noted with this id, if that was not too long ago."""
        while self._noted and now - next(iter(self._noted.values()))[0] >= INTERVAL:
            self._noted.popitem(last=False)
        return self._noted[id][1] if id in self._noted else None

    def note(self, id: Hashable, what: T, now: float) -> None:
        self._noted[id] = now, what
        self._noted.move_to_end(id)
