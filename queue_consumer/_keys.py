"""Items of one key, one at a time and in order; different keys side by side.  Pure: whoever calls holds a lock.

A pile is what waits of one lane. A keyed pile keeps a queue for every key, and a key is *held* by the chunk that one
of its items is in, from the moment that the chunk is taken until its handler call has ended. A chunk never holds two
items of one key: so when an item fails, nothing that must come after it has been shown to the handler.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from ._chunk import Chunk


class Pile(Protocol):
    """What waits of one lane, in order."""

    def push(self, chunk: Chunk, /) -> None: ...

    def push_front(self, chunk: Chunk, /) -> None:
        """Put back what was taken and not begun; it keeps its keys."""
        ...

    def pop(self) -> Chunk: ...

    def free(self, keys: Iterable[Hashable]) -> None:
        """The handler call that held these keys has ended."""
        ...

    def sweep(self, key: Hashable) -> list[Any]:
        """Take out all the items of this key that wait."""
        ...

    def sift(self, gone: Callable[[Any], bool]) -> list[Any]:
        """Take out those items, wherever they stand."""
        ...

    def clear(self) -> list[Chunk]: ...

    def __len__(self) -> int:
        """So many chunks could be taken now, at least one if any can."""
        ...

    def blocked(self) -> int:
        """So many items wait for their key."""
        ...

    def __iter__(self) -> Iterator[Chunk]: ...


class PlainPile:
    """First in, first out."""

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()
        self.push = self._chunks.append
        self.push_front = self._chunks.appendleft
        self.pop = self._chunks.popleft

    def free(self, keys: Iterable[Hashable]) -> None:
        """There are none."""

    def sweep(self, key: Hashable) -> list[Any]:
        return []

    def sift(self, gone: Callable[[Any], bool]) -> list[Any]:
        found, _ = sifted(self._chunks, gone)
        return found

    def clear(self) -> list[Chunk]:
        chunks = list(self._chunks)
        self._chunks.clear()
        return chunks

    def __len__(self) -> int:
        return len(self._chunks)

    def blocked(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Chunk]:
        return iter(list(self._chunks))


class KeyedPile:
    """First in, first out, but for what waits for its key.

    `family`: the piles of all lanes that have the same keys, this one too.
    """

    def __init__(self, size: int, family: list[KeyedPile]) -> None:
        family.append(self)
        self._family = family
        self._size = size
        self._front: deque[Chunk] = deque()  # put back; each still holds its keys
        self._waiting: dict[Hashable, deque[tuple[Any, float]]] = {}
        self._ready: deque[Hashable] = deque()  # keys that are not held and have something waiting, each once
        self._held: set[Hashable] = family[0]._held if len(family) > 1 else set()
        self._lane: Any = None

    def push(self, chunk: Chunk) -> None:
        self._lane = chunk.lane
        # One that cannot be compared raises here, before anything is done.
        self._held.isdisjoint(chunk.keys or ())
        self._waiting.keys().isdisjoint(chunk.keys or ())
        for item, key in zip(chunk.items, chunk.keys or (), strict=True):
            if key is None:
                key = Unkeyed()
            waiting = self._waiting.get(key)
            if waiting is None:
                waiting = self._waiting[key] = deque()
                if key not in self._held:
                    self._ready.append(key)
            waiting.append((item, chunk.at))

    def push_front(self, chunk: Chunk) -> None:
        self._front.appendleft(chunk)

    def pop(self) -> Chunk:
        if self._front:
            return self._front.popleft()
        items: list[Any] = []
        keys: list[Hashable] = []
        at = 0.0
        while self._ready and len(items) < self._size:
            key = self._ready.popleft()
            waiting = self._waiting[key]
            item, at = waiting.popleft()
            if not waiting:
                del self._waiting[key]
            self._held.add(key)
            for other in self._family:
                if other is not self and key in other._waiting:
                    other._ready.remove(key)
            items.append(item)
            keys.append(key)
        if not items:
            raise IndexError
        return Chunk(items, self._lane, at, keys=keys)

    def free(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            self._held.discard(key)
            for pile in self._family:
                if key in pile._waiting:
                    pile._ready.append(key)

    def sweep(self, key: Hashable) -> list[Any]:
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return []
        if key not in self._held:
            self._ready.remove(key)
        return [item for item, _ in waiting]

    def sift(self, gone: Callable[[Any], bool]) -> list[Any]:
        found, keys = sifted(self._front, gone)
        self.free(keys)
        for key in list(self._waiting):
            theirs = self._waiting[key]
            found += [item for item, _ in theirs if gone(item)]
            stay = deque((item, at) for item, at in theirs if not gone(item))
            if stay:
                self._waiting[key] = stay
            else:
                self.sweep(key)
        return found

    def clear(self) -> list[Chunk]:
        chunks = [*self]
        self._front.clear()
        self._waiting.clear()
        self._ready.clear()
        return chunks

    def __len__(self) -> int:
        return len(self._front) + len(self._ready)

    def blocked(self) -> int:
        return sum([len(waiting) for waiting in self._waiting.values()]) - len(self._ready)

    def __iter__(self) -> Iterator[Chunk]:
        yield from list(self._front)
        for key, waiting in list(self._waiting.items()):
            yield Chunk([item for item, _ in waiting], self._lane, keys=[key] * len(waiting))


def sifted(chunks: deque[Chunk], gone: Callable[[Any], bool]) -> tuple[list[Any], list[Hashable]]:
    """Take those items out of these chunks; the items, and the keys that they had."""
    found: list[Any] = []
    keys: list[Hashable] = []
    for chunk in list(chunks):
        out = [index for index, item in enumerate(chunk.items) if gone(item)]
        if not out:
            continue
        stay = [index for index in range(len(chunk.items)) if index not in out]
        found += [chunk.items[index] for index in out]
        keys += keys_of(chunk, out) or ()
        chunk.items, chunk.keys = [chunk.items[index] for index in stay], keys_of(chunk, stay)
        if not stay:
            chunks.remove(chunk)
    return found, keys


class Unkeyed:
    """The key of one item that has none."""

    __slots__ = ()


def keys_of(chunk: Chunk, indices: Sequence[int]) -> list[Hashable] | None:
    """The keys of some of a chunk's items."""
    return None if chunk.keys is None else [chunk.keys[index] for index in indices]
