"""Queues that are broken, each in just one way, so that the contract has something to find."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from queue_consumer import CleanupError, MemoryQueue
from queue_consumer.memory import MemoryMessage


class Broken(MemoryQueue[Any]):
    """A queue that works; its children do not."""

    cleanup_limit: int | None = None


class ReleaseTakesNoDelay(Broken):
    def release(self, items: Sequence[Any]) -> None:  # type: ignore[override]
        super().release(items)


class LosesOne(Broken):
    """Whatever is put in as the third never comes out."""

    def put(self, body: Any, **kwargs: Any) -> str:
        if body == "item-2":
            return "lost"
        return super().put(body, **kwargs)


class GivesTwice(Broken):
    def put(self, body: Any, **kwargs: Any) -> str:
        super().put(body, **kwargs)
        return super().put(body, **kwargs)


class RaisesWhenEmpty(Broken):
    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        if not items:
            raise LookupError("nothing there")
        return items


class HangsWhenEmpty(Broken):
    """An empty `get` never returns, and nothing interrupts it."""

    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        while not items:
            threading.Event().wait(60)
        return items


class IgnoresTheLimit(Broken):
    def get(self, limit: int | None = None) -> list[Any]:
        return super().get()


class ShowsAgainAtOnce(Broken):
    """As if there were no lease: what was given stays visible."""

    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        for item in items:
            if item.attempt < 3:
                self.redeliver(item)
        return items


class RacesBetweenThreads(Broken):
    """Looks first and takes later, as if there were no other thread."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._items: list[Any] = []

    def get(self, limit: int | None = None) -> list[Any]:
        self._items += super().get()
        seen = self._items[: limit or self.bulk]
        threading.Event().wait(0.001)  # the window in which the other threads look
        del self._items[: len(seen)]
        return seen


class CannotBeInterrupted(Broken):
    def get(self, limit: int | None = None) -> list[Any]:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            items = super().get(limit)
            if items:
                return items
        return []

    def interrupt(self) -> None:
        pass


class EndsWithTheInterrupt(Broken):
    """After an interrupt no `get` gives anything any more."""

    interrupted = False

    def interrupt(self) -> None:
        self.interrupted = True
        super().interrupt()

    def get(self, limit: int | None = None) -> list[Any]:
        return [] if self.interrupted else super().get(limit)


class CleansUpNothing(Broken):
    def cleanup(self, items: Sequence[Any]) -> None:
        self.release(items)


class CleansUpEverything(Broken):
    """Cleans up all that is held, whatever it was asked for."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._given: list[Any] = []

    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        self._given += items
        return items

    def cleanup(self, items: Sequence[Any]) -> None:
        super().cleanup(self._given)
        self._given = []

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        super().release([item for item in items if item in self._given], delay)


class CleansUpOneBulkAtATime(Broken):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._bulk: list[Any] = []

    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        if items:
            self._bulk = items
        return items

    def cleanup(self, items: Sequence[Any]) -> None:
        strangers = [item for item in items if item not in self._bulk]
        if strangers:
            raise LookupError(f"not of the last bulk: {strangers}")
        super().cleanup(items)


class FailsWithoutSayingWhich(Broken):
    def cleanup(self, items: Sequence[Any]) -> None:
        try:
            super().cleanup(items)
        except CleanupError:
            raise ConnectionError("some could not be cleaned up") from None


class KeepsQuietAboutFailures(Broken):
    def cleanup(self, items: Sequence[Any]) -> None:
        try:
            super().cleanup(items)
        except CleanupError:
            pass


class BlamesAll(Broken):
    def cleanup(self, items: Sequence[Any]) -> None:
        try:
            super().cleanup(items)
        except CleanupError:
            raise CleanupError(items) from None


class ClaimsTooHighALimit(Broken):
    cleanup_limit = 10

    def cleanup(self, items: Sequence[Any]) -> None:
        if len(items) > 5:
            raise ValueError("at most 5 items")
        super().cleanup(items)


class HasAnOddLimit(Broken):
    cleanup_limit = 0


class ReleasesNothing(Broken):
    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        pass


class NeedsADelay(Broken):
    def release(self, items: Sequence[Any], delay: float) -> None:  # type: ignore[override]
        super().release(items, delay)


class ForgetsTheDelay(Broken):
    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        super().release(items)

    def put(self, body: Any, *, delay: float = 0, **kwargs: Any) -> str:
        return super().put(body, **kwargs)


class HidesForEver(Broken):
    """What is delayed never comes back."""

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        super().release(items, delay * 1000)


class ReleasesEverything(CleansUpEverything):
    """Takes back all that is held, whatever it was asked for."""

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        MemoryQueue.release(self, self._given, delay)
        self._given = []


class CountsFromZero(Broken):
    def attempt(self, item: Any) -> int:
        return super().attempt(item) - 1


class CountsAllTogether(Broken):
    """Counts its own gets, not the deliveries of the item."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._gets = 0

    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        self._gets += bool(items)
        return items

    def attempt(self, item: Any) -> int:
        return self._gets


class IdentifiesDeliveries(Broken):
    """Gives each delivery an identity of its own, as with a receipt handle."""

    def identity(self, item: Any) -> Any:
        return f"{item.id}/{item.attempt}"


class HasUnhashableIdentities(Broken):
    def identity(self, item: Any) -> Any:
        return [item.id]


class IdentifiesByContent(Broken):
    def identity(self, item: Any) -> Any:
        return item.body


class PutChangesTheBody(Broken):
    def put(self, body: Any, **kwargs: Any) -> str:
        return super().put(body.upper(), **kwargs)


class ForgetsAttributes(Broken):
    def put(self, body: Any, *, attributes: Mapping[str, Any] | None = None, **kwargs: Any) -> str:
        return super().put(body, **kwargs)


class PutsTenAtMost(Broken):
    def put_many(self, entries: Iterable[Mapping[str, Any]]) -> list[str]:
        return super().put_many(itertools.islice(entries, 10))


class StatsIsText(Broken):
    def stats(self) -> Any:
        return "all is well"


class StatsTakesItems(Broken):
    def stats(self) -> Any:
        return {"items": len(self.get())}


class CannotBeClosed(Broken):
    def close(self) -> None:
        raise RuntimeError("still in use")


class HangsWhenClosed(Broken):
    def close(self) -> None:
        threading.Event().wait(60)


class Locked(MemoryMessage):
    """A message with something in it that cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle '_thread.lock' object")


class GivesWhatCannotBePickled(Broken):
    def get(self, limit: int | None = None) -> list[Any]:
        return [Locked(item.id, item.body) for item in super().get(limit)]


class NumbersItsMessages(Broken):
    """The id of a message is a number."""

    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        for item in items:
            item.id = 7
        return items


class HasNoAttributes(Broken):
    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        for item in items:
            item.attributes = None
        return items


class GivesCopies(Broken):
    """Knows only its own objects, and gives others: no cleanup of them can succeed."""

    def get(self, limit: int | None = None) -> list[Any]:
        return [MemoryMessage(item.id, item.body) for item in super().get(limit)]


class BuriesAtOnce(Broken):
    """What is released once never comes back."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, max_attempts=1)


class OnlyEmpty(Broken):
    """Says that it is empty by an exception, as `queue.Queue` does; nothing is wrong with that."""

    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        if not items:
            raise queue.Empty
        return items
