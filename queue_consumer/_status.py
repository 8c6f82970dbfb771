"""How a running consumer looks to those who watch it: its workers and its lanes, as values.

A look is taken from outside, without a lock, and costs the line nothing; what moves meanwhile may be a moment old.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["LaneStatus", "WorkerStatus"]


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """One getter or handler.

    Attributes:
        name: as in events; a replacement has the same.
        kind: "getter" or "handler".
        doing: in words. Of a handler "idle", "busy", "stuck", "ending" (its place was taken away), or what it died of.
        item: what it is busy with.
        seconds: for how long, as far as the supervisor has seen; it looks every `polling_time`.
        stack: where it stands, if that was asked for.
    """

    name: str
    kind: str
    doing: str
    item: Any = None
    seconds: float = 0.0
    stack: str = ""


@dataclass(frozen=True, kw_only=True)
class LaneStatus:
    """One queue's place at the line; of a consumer of one queue, the only one, without a name.

    Attributes:
        waiting: items that were fetched and no handler has begun.
        fetching: "yes", or why not, in words.
    """

    name: str
    priority: float
    waiting: int
    fetching: str
