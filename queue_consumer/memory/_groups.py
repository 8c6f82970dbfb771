"""Who waits for whom in an ordered queue.

A group is a line of messages that keep the places they were put in. It gives from its head, and only while none of it
is out: held by a consumer, or released and still delayed. What comes back stands where it stood. One bulk may take
several of a group, one after the other, since whoever has them has them in order.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Any

from ._message import MemoryMessage, serial
from ._parcels import Parcel


class Seat:
    """Where a message belongs."""

    __slots__ = ("group", "late", "place")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.place = next(serial)  # what was put later has a higher one
        self.late = False  # it is kept for a message that cannot be seen yet


class Group:
    """One group: those in line, and those that are out."""

    __slots__ = ("line", "listed", "name", "out")

    def __init__(self, name: str) -> None:
        self.name = name
        self.line: list[tuple[int, Parcel]] = []
        self.out: set[Parcel] = set()
        self.listed = False  # among those that can be got from

    def head(self) -> Parcel | None:
        """The first in line; None if there is none that can be seen."""
        line = self.line
        while line and line[0][1].gone:
            heapq.heappop(line)
        return line[0][1] if line and not line[0][1].seat.late else None


class Groups:
    """What waits in an ordered queue, for the oldest to be got first. It stands in for the deque of a plain one.

    Its length is that of what can be got now; iterated over, it gives what is kept back as well.
    """

    def __init__(self) -> None:
        self._ready: list[tuple[int, Any]] = []  # groups that can be got from, and entries of no group
        self._groups: dict[str, Group] = {}

    def __len__(self) -> int:
        return len(self._ready)

    def __iter__(self) -> Iterator[Any]:
        yield from (entry for _, entry in self._ready if type(entry) is not Group)
        for group in self._groups.values():
            yield from (parcel for _, parcel in group.line if not parcel.seat.late)

    def keeps_back(self) -> bool:
        """Whether anything waits that cannot be got now."""
        return any(group.line and not group.listed for group in self._groups.values())

    def placed(self, item: Any) -> Any:
        """A new item, at the end of its group if it has one."""
        if type(item) is not MemoryMessage or item.group is None:
            return item
        group = self._groups.get(item.group)
        if group is None:
            group = self._groups[item.group] = Group(item.group)
        return Parcel(item, 0, Seat(group))

    def delay(self, entries: Iterable[Any]) -> None:
        """These come later. New ones take their place in line: nothing that was put later overtakes them."""
        for entry in entries:
            seat: Seat | None = entry.seat if type(entry) is Parcel else None
            if seat is not None and entry not in seat.group.out:
                seat.late = True
                heapq.heappush(seat.group.line, (seat.place, entry))

    def append(self, entry: Any) -> None:
        """Let this be got."""
        seat: Seat | None = entry.seat if type(entry) is Parcel else None
        if seat is None:
            heapq.heappush(self._ready, (next(serial), entry))
        elif not entry.gone:
            seat.group.out.discard(entry)
            if not seat.late:
                heapq.heappush(seat.group.line, (seat.place, entry))
            seat.late = False
            self._open(seat.group)

    def extend(self, entries: Iterable[Any]) -> None:
        for entry in entries:
            self.append(entry)

    def end(self, parcel: Parcel) -> None:
        """This is gone: those behind it wait for it no more."""
        if parcel.seat is not None:
            parcel.seat.group.out.discard(parcel)
            self._open(parcel.seat.group)

    def popleft(self) -> Any:
        """Take out one entry, for a bulk of its own."""
        return self.take(1)[0]

    def take(self, most: int) -> list[Any]:
        """Take out up to `most` entries, for one bulk."""
        taken: list[Any] = []
        opened: list[tuple[int, Group]] = []  # groups that go on, in this bulk only
        while len(taken) < most:
            goes_on = opened and (not self._ready or opened[0][0] < self._ready[0][0])
            if not (goes_on or self._ready):
                break
            entry = heapq.heappop(opened)[1] if goes_on else heapq.heappop(self._ready)[1]
            if type(entry) is not Group:
                taken.append(entry)
                continue
            entry.listed = False
            head = entry.head()
            if head is None:  # its message was cleaned up by an earlier delivery
                self._open(entry)
                continue
            heapq.heappop(entry.line)
            entry.out.add(head)
            taken.append(head)
            follower = entry.head()
            if follower is not None:
                heapq.heappush(opened, (follower.seat.place, entry))
        return taken

    def _open(self, group: Group) -> None:
        """Let the group be got from, if it can be."""
        if group.out or group.listed:
            return
        head = group.head()
        if head is not None:
            group.listed = True
            heapq.heappush(self._ready, (head.seat.place, group))
        elif not group.line and self._groups.get(group.name) is group:
            del self._groups[group.name]
