"""What an item is wrapped in while a `MemoryQueue` has it, where it does not stand for itself.

Most items are got once and cleaned up, and there is nothing to know of them: they stand for themselves, which
costs next to nothing. What comes again is in a `Parcel` that knows its attempt, and so is what has a place in a
group; an object that is held more than once stands for itself in a `Stack` of attempts.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

Deed: TypeAlias = Literal["put", "got", "cleaned", "released", "buried", "extended", "expired"]


class Note(NamedTuple):
    """A line of the journal: what was done, to which object, at which attempt, with what delay.

    For "extended" the delay is the new lease, from that moment on.
    """

    deed: Deed
    item: Any
    attempt: int
    delay: float = 0


class Parcel:
    """An item that was delivered before, or is of a group."""

    __slots__ = ("attempt", "gone", "item", "seat", "waits")

    def __init__(self, item: Any, attempt: int, seat: Any = None) -> None:
        self.item = item  # for a message: the latest delivery of it
        self.attempt = attempt
        # Of a message there may be another delivery about:
        self.gone = False  # although it is cleaned up or buried,
        self.waits = False  # or although it waits to be delivered again.
        self.seat = seat  # in its group, if it is of one


class Stack(list[int]):
    """The attempts of a plain object that is held more than once, or not for the first time."""


class Nobody:
    """Stands where nothing is held."""


NOBODY = Nobody()


def is_alive(entry: Any) -> bool:
    return type(entry) is not Parcel or not entry.gone
