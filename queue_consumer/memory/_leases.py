"""Until when what is held is held."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


class Leases:
    """The leases of items, by their identity as objects."""

    def __init__(self) -> None:
        self._until: dict[int, tuple[float, Any]] = {}
        self.soonest = math.inf  # none ends before that

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, item: Any) -> bool:
        return id(item) in self._until

    def give(self, items: Iterable[Any], until: float) -> None:
        """These are held until then, whatever was said before."""
        for item in items:
            self._until[id(item)] = until, item
        self.soonest = min(self.soonest, until)

    def end(self, item: Any) -> None:
        """It has none any more."""
        self._until.pop(id(item), None)

    def overdue(self, now: float) -> list[Any]:
        """The items whose time has come."""
        if now < self.soonest:
            return []
        over = [item for until, item in self._until.values() if until <= now]
        # Looked through only now and then: no more often than one of them ends.
        self.soonest = min((until for until, _ in self._until.values() if until > now), default=math.inf)
        return over
