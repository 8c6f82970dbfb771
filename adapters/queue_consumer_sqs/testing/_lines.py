"""In which order messages are received: as they come, or one group after the other.

Both kinds of line have the same verbs, and hold what can be seen; when that is, the queue says.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from typing import Protocol

from ._message import Message, Place

__all__ = ["Groups", "Line", "Plain"]


class Line(Protocol):
    """What waits to be received."""

    def join(self, message: Message) -> None:
        """This is new in the queue. It may have to be delayed yet."""

    def show(self, message: Message) -> None:
        """This can be seen now: at last, or again."""

    def take(self, most: int) -> list[Message]:
        """The next that can be received together. They are out until they are shown again, or leave."""
        ...

    def leave(self, message: Message) -> None:
        """This is in the queue no more."""


class Plain:
    """Of a standard queue: nobody waits for anybody, whatever the group ids."""

    def __init__(self) -> None:
        self._visible: deque[Message] = deque()

    def join(self, message: Message) -> None:
        pass

    def show(self, message: Message) -> None:
        self._visible.append(message)

    def take(self, most: int) -> list[Message]:
        taken: list[Message] = []
        while self._visible and len(taken) < most:
            message = self._visible.popleft()
            if message.place is Place.VISIBLE:
                taken.append(message)
        return taken

    def leave(self, message: Message) -> None:
        pass  # it is found to be gone when its turn comes


class Group:
    """One message group: all its messages in their order, those that are out as well."""

    __slots__ = ("line", "listed", "name", "out")

    def __init__(self, name: str) -> None:
        self.name = name
        self.line: OrderedDict[int, Message] = OrderedDict()  # a dict is slow to lose its first many times
        self.out: set[int] = set()
        self.listed = False  # among those that can be received from

    def head(self) -> Message | None:
        """The message whose turn it is; None while there is none, or another is out, or it cannot be seen yet."""
        first = next(iter(self.line.values()), None)
        return None if self.out or first is None or first.place is not Place.VISIBLE else first


class Groups:
    """Of a FIFO queue: of each group the oldest first, and none while another of the group is out.

    One receive takes as many of a group as it can before it goes on to the next, as AWS does.
    """

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self._ready: list[tuple[int, Group]] = []  # by the serial number of the head, when it was listed

    def join(self, message: Message) -> None:
        name = message.group or ""
        group = self._groups.setdefault(name, Group(name))
        group.line[message.serial] = message

    def show(self, message: Message) -> None:
        group = self._groups[message.group or ""]
        group.out.discard(message.serial)
        self._list(group)

    def take(self, most: int) -> list[Message]:
        taken: list[Message] = []
        while self._ready and len(taken) < most:
            _, group = heapq.heappop(self._ready)
            group.listed = False
            for message in group.line.values():
                if len(taken) == most or message.place is not Place.VISIBLE:
                    break
                taken.append(message)
                group.out.add(message.serial)
        return taken

    def leave(self, message: Message) -> None:
        group = self._groups[message.group or ""]
        group.out.discard(message.serial)
        del group.line[message.serial]
        if group.line:
            self._list(group)
        else:
            del self._groups[group.name]

    def _list(self, group: Group) -> None:
        head = group.head()
        if head is not None and not group.listed:
            group.listed = True
            heapq.heappush(self._ready, (head.serial, group))
