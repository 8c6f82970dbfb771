"""Jobs that are sent together: kept until there are enough of them, or the block ends.

A batch belongs to the context that opened it: what another thread sends meanwhile is none of its business. Tasks that
were started inside have it too, until it is closed; so it has a lock. An entry is taken out of it once the queue has
it, and not before.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from ._errors import BatchError, Unsent
from ._options import check_whole
from ._outlet import Deed, Entry, Outlet, carried_out, carried_out_async

__all__ = ["Batch", "Entered"]

COUNT = 10  # what SQS takes in one call, and
SIZE = 2**20  # bytes: of all entries of a call

log = logging.getLogger("queue_consumer.jobs")


@dataclass
class Pile:
    """What waits for one queue, in its order: first what could not be sent when it was tried."""

    outlet: Outlet
    stuck: list[Unsent] = field(default_factory=list[Unsent])
    waiting: list[Entry] = field(default_factory=list[Entry])
    size: int = 0


class Batch:
    """Keeps what is sent in this context, and sends it in groups: at most `count` jobs, and `size` bytes.

    What cannot be sent stays in it, in its order, and is tried again with the next group, and when it is closed.

    Args:
        variable: where the registry looks for the batch of a context.
        count: most jobs of a group.
        size: most bytes of a group, of bodies and attributes.
    """

    def __init__(self, variable: contextvars.ContextVar[Batch | None], count: int = COUNT, size: int = SIZE) -> None:
        check_whole("batch: count", count)
        check_whole("batch: size", size)
        self._variable = variable
        self._count = count
        self._size = size
        self._lock = threading.Lock()  # of what follows
        self._flushing = threading.Lock()  # held while groups are sent, so that they keep their order
        self._piles: dict[int, Pile] = {}
        self._hopeless: list[Unsent] = []
        self._open = True
        self._depth = 1

    def __repr__(self) -> str:
        with self._lock:
            waiting = sum(len(pile.waiting) + len(pile.stuck) for pile in self._piles.values())
        return f"<batch with {waiting} jobs to send, {'open' if self._open else 'closed'}>"

    def add(self, outlet: Outlet, entry: Entry) -> bool:
        """Keep an entry, and send the group if it is full; False if the batch is closed."""
        full = self._add(outlet, entry)
        if full and not outlet.is_async:
            carried_out(self._flush(outlet, everything=False))
        return full is not None

    async def add_async(self, outlet: Outlet, entry: Entry) -> bool:
        """The same for a coroutine."""
        full = self._add(outlet, entry)
        if full:
            await carried_out_async(self._flush(outlet, everything=False))
        return full is not None

    def _add(self, outlet: Outlet, entry: Entry) -> bool | None:
        with self._lock:
            if not self._open:
                return None
            pile = self._piles.setdefault(id(outlet), Pile(outlet))
            pile.waiting.append(entry)
            pile.size += size_of(entry)
            return len(pile.waiting) >= self._count or pile.size > self._size

    # ------------------------------------------------------------------ sending

    def flush(self) -> None:
        """Send all that is in it.

        Raises:
            BatchError: some were not sent. Those that may succeed are in it still.
        """
        for pile in list(self._piles.values()):
            carried_out(self._flush(pile.outlet, everything=True))
        self._say()

    async def aflush(self) -> None:
        """The same for a coroutine."""
        for pile in list(self._piles.values()):
            await carried_out_async(self._flush(pile.outlet, everything=True))
        self._say()

    def _flush(self, outlet: Outlet, *, everything: bool) -> Generator[Deed, Any, None]:
        """Send what could not be sent before, then what forms a group; all of it, or as long as there are full ones."""
        pile = self._piles[id(outlet)]
        while not self._flushing.acquire(blocking=False):
            if not everything:
                return  # whoever is at it sends this too, or the next one does
            yield Deed(time.sleep, (0.005,), {})  # not waited for, since a coroutine that waits may be cancelled
        try:
            if pile.stuck:
                tried = list(pile.stuck)
                failed = yield from outlet.putting_many([one.entry for one in tried])
                self._settle(pile, tried, failed)
            while group := self._next(pile, everything):
                failed = yield from outlet.putting_many(group)
                with self._lock:
                    del pile.waiting[: len(group)]
                    pile.size = sum(map(size_of, pile.waiting))
                self._keep(pile, failed)
        finally:
            self._flushing.release()

    def _next(self, pile: Pile, everything: bool) -> list[Entry]:
        """The next group to send: what is of a message group that is stuck joins it instead."""
        with self._lock:
            groups = {one.entry.get("group"): one.error for one in pile.stuck} if pile.stuck else {}
            groups.pop(None, None)
            for entry in [entry for entry in pile.waiting if entry.get("group") in groups]:
                pile.stuck.append(Unsent(entry, groups[entry["group"]]))
                pile.waiting.remove(entry)
            pile.size = sum(map(size_of, pile.waiting))
            if not (everything or len(pile.waiting) >= self._count or pile.size > self._size):
                return []
            group: list[Entry] = []
            size = 0
            for entry in pile.waiting[: self._count]:
                size += size_of(entry)
                if group and size > self._size:
                    break
                group.append(entry)
            return group

    def _settle(self, pile: Pile, tried: list[Unsent], failed: list[Unsent]) -> None:
        with self._lock:
            del pile.stuck[: len(tried)]
            later, pile.stuck = pile.stuck, []
        self._keep(pile, failed)
        with self._lock:
            pile.stuck += later

    def _keep(self, pile: Pile, failed: list[Unsent]) -> None:
        with self._lock:
            self._hopeless += [one for one in failed if one.hopeless]
            pile.stuck += [one for one in failed if not one.hopeless]

    def _say(self) -> None:
        with self._lock:
            hopeless, self._hopeless = self._hopeless, []
            failed = hopeless + [one for pile in self._piles.values() for one in pile.stuck]
        if failed:
            raise BatchError(failed)

    # ------------------------------------------------------------------ opening and closing

    def enter(self) -> None:
        """Another block of the same context."""
        with self._lock:
            self._depth += 1

    def leave(self) -> bool:
        """A block has ended; whether it was the outermost, and the batch is closed."""
        with self._lock:
            self._depth -= 1
            if self._depth > 0:
                return False
        if self._variable.get() is self:
            self._variable.set(None)
        with self._lock:
            self._open = False
        return True


class Entered:
    """What `jobs.batch()` returns: for `with`, for `async with`, and `close()` by itself.

    Inside another batch of the same context it is a part of that one, and what is in it is sent with it.
    """

    def __init__(self, variable: contextvars.ContextVar[Batch | None], count: int, size: int) -> None:
        self._variable = variable
        self._limits = count, size
        self._batch: Batch | None = None
        Batch(variable, count, size)  # a mistake shows here

    def open(self) -> Self:
        """Begin to keep what this context sends."""
        found = self._variable.get()
        if found is None:
            found = Batch(self._variable, *self._limits)
            self._variable.set(found)
        else:
            found.enter()
        self._batch = found
        return self

    def close(self) -> None:
        """Send what is kept. Closing twice does nothing.

        Raises:
            BatchError: some were not sent. `flush()` tries once more those that may succeed.
        """
        batch, self._closed = self._batch, self._batch or getattr(self, "_closed", None)
        self._batch = None
        if batch is not None and batch.leave():
            batch.flush()

    async def aclose(self) -> None:
        """The same for a coroutine."""
        batch, self._closed = self._batch, self._batch or getattr(self, "_closed", None)
        self._batch = None
        if batch is not None and batch.leave():
            await batch.aflush()

    def flush(self) -> None:
        """Send what is kept so far, or could not be sent when it was closed.

        Raises:
            BatchError: some were not sent.
        """
        batch: Batch | None = self._batch or getattr(self, "_closed", None)
        if batch is not None:
            batch.flush()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except BatchError as unsent:
            if error is None:
                raise
            log.error("a batch whose block raised: %s", unsent)  # and what it raised is not to be replaced

    async def __aenter__(self) -> Self:
        return self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        except BatchError as unsent:
            if error is None:
                raise
            log.error("a batch whose block raised: %s", unsent)


def size_of(entry: Entry) -> int:
    """The bytes of an entry as SQS counts them: of its body, and of its attributes with their names and types."""
    body: Any = entry["body"]
    size = len(body.encode()) if isinstance(body, str) else len(body)
    attributes: dict[str, Any] = entry.get("attributes") or {}
    for name, value in attributes.items():
        size += len(name) + len("String") + len(str(value).encode())
    return size
