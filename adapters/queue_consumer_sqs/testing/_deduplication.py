"""What was sent within the last five minutes, so that it is not taken twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from ._message import Sent

__all__ = ["Recent"]

INTERVAL = 300.0  # seconds


class Recent:
    """Deduplication ids, and what was sent with them. It does not matter what became of it since."""

    def __init__(self) -> None:
        self._sent: OrderedDict[Hashable, tuple[float, Sent]] = OrderedDict()  # the oldest first

    def find(self, id: Hashable, now: float) -> Sent | None:
        """What was sent with this id, if that was not too long ago."""
        while self._sent and now - next(iter(self._sent.values()))[0] >= INTERVAL:
            self._sent.popitem(last=False)
        return self._sent[id][1] if id in self._sent else None

    def note(self, id: Hashable, sent: Sent, now: float) -> None:
        self._sent[id] = now, sent
