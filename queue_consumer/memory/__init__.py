"""The reference queue: every verb of the left socket, in memory.

`MemoryQueue` keeps its items in three places: waiting, delayed, held. It stands in `_queue`; what an item is wrapped in
while it is there, in `_parcels`; who has to wait for whom in an ordered queue, in `_groups`; what is given for what
was `put`, in `_message`.
"""

from ._message import MemoryMessage
from ._parcels import Note
from ._queue import MemoryQueue

__all__ = ["MemoryMessage", "MemoryQueue", "Note"]
