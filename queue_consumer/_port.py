"""What the line plugs a queue into: each verb looked up once, bound, and callable from any thread.

A missing verb is None. Coroutine verbs run on the loop and look like any other from here. Queues of the standard
library are recognised by their type and wrapped.
"""

from __future__ import annotations

import inspect
import queue as std
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from ._loops import Loop
from ._queues import Lane
from ._supervision import check_seconds


class Plug:
    """What the user plugged in: one queue, or an object with `lanes`, which is several."""

    def __init__(self, queue: Any, loop: Loop) -> None:
        self.queue = queue
        self.several = getattr(queue, "lanes", None) is not None
        self.given = checked_lanes(queue) if self.several else [Lane(queue)]
        self.ports = [Port(lane.queue, loop) for lane in self.given]
        self._stats = verb_of(queue, "stats", loop)
        self._close = verb_of(queue, "close", loop)

    def stats(self) -> Mapping[str, Any]:
        """What the queue says of itself; of several, each under its name, unless the whole has something to say."""
        if self.several and self._stats is not None:
            return dict(self._stats())
        figures = {
            lane.name: dict(port.stats())
            for lane, port in zip(self.given, self.ports, strict=True)
            if port.stats is not None
        }
        return figures if self.several else figures.get("", {})

    def closes(self, owned: bool) -> list[Callable[[], Any]]:
        """What is to be called when nothing runs any more; the wrapping of a queue is ours to undo in any case."""
        closes = [port.close for port in self.ports if port.close is not None and (owned or port.wrapped)]
        if self.several and owned and self._close is not None:
            return [port.close for port in self.ports if port.close is not None and port.wrapped] + [self._close]
        return closes


def verb_of(queue: Any, name: str, loop: Loop) -> Callable[..., Any] | None:
    verb = getattr(queue, name, None)
    return threaded(verb, loop) if callable(verb) else None


def threaded(verb: Callable[..., Any], loop: Loop) -> Callable[..., Any]:
    """A verb as one that any thread can call: if it is a coroutine function, it runs on the loop."""
    if not is_async(verb):
        return verb
    return lambda *args, **kwargs: loop.call(lambda: verb(*args, **kwargs))


def checked_lanes(queue: Any) -> list[Lane]:
    if isinstance(queue.lanes, str) or not hasattr(queue.lanes, "__iter__"):
        raise TypeError(f"queue.lanes must be an iterable of Lane(queue, priority, name); got {queue.lanes!r}")
    lanes: list[Any] = list(queue.lanes)
    if not lanes:
        raise ValueError(f"queue.lanes must have at least one Lane; got none from {queue!r}")
    for lane in lanes:
        if not isinstance(lane, Lane):
            raise TypeError(f"queue.lanes must be of Lane(queue, priority, name); got {lane!r}")
    named = [replace(lane, name=lane.name or f"lane-{number}") for number, lane in enumerate(lanes, 1)]
    names = [lane.name for lane in named]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"queue.lanes must have different names; got {twice!r} more than once")
    return named


class Port:
    """A queue's verbs."""

    def __init__(self, queue: Any, loop: Loop) -> None:
        own, queue = queue, wrap(queue, loop)
        self.queue = queue
        self.wrapped = queue is not own  # its `close` is ours, and leaves the queue open
        self._loop = loop
        get = getattr(queue, "get", None)
        if not callable(get):
            raise TypeError(f"queue must have a method get(); {queue!r} has none")
        self.takes_limit = "limit" in parameters(get)
        if not (binds(get, limit=1) if self.takes_limit else binds(get)):
            raise TypeError(f"queue.get must be callable without arguments; got {get!r}")
        self.get = threaded(get, loop)
        self.interrupt = self._verb("interrupt")
        self.cleanup = self._verb("cleanup", [])
        self.release = self._verb("release", [], delay=0)
        self.attempt = self._verb("attempt", None)
        self.identity = self._verb("identity", None)
        self.extend = self._verb("extend", [], 0)
        self.lease = self._lease()
        self.lease_of = self._verb("lease_of", None)
        self.ordering_key = self._verb("ordering_key", None)
        self.stats = self._verb("stats")
        self.close = self._verb("close")
        self.cleanup_limit = self._limit("cleanup_limit")
        self.cleanup_linger = self._linger()

    def _verb(self, name: str, *arguments: Any, **named: Any) -> Callable[..., Any] | None:
        verb = getattr(self.queue, name, None)
        if not callable(verb):
            return None
        if not binds(verb, *arguments, **named):  # it may mean something else in whatever this is besides a queue
            shown = ", ".join([*map(repr, arguments), *(f"{key}={value!r}" for key, value in named.items())])
            sentence = f"queue.{name} cannot be called as {name}({shown}), so it is not used: {verb!r}"
            warnings.warn(sentence, stacklevel=2)
            return None
        return threaded(verb, self._loop)

    def _lease(self) -> float | None:
        lease = getattr(self.queue, "lease", None)
        if lease is not None:
            check_seconds("queue.lease", lease)
        return lease

    def _linger(self) -> float:
        linger = getattr(self.queue, "cleanup_linger", None)
        if linger is None:
            return 0.0
        check_seconds("queue.cleanup_linger", linger)
        return float(linger)

    def _limit(self, name: str) -> int | None:
        limit = getattr(self.queue, name, None)
        if limit is None:
            return None
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"queue.{name} must be a whole number of at least 1, or None; got {limit!r}")
        return limit


def is_async(function: Any) -> bool:
    """True for an `async def`, also as a method or as an object's `__call__`."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call_of(function))


def call_of(function: Any) -> Any:
    """What runs when an object is called as a function is."""
    return getattr(cast(Any, type(function)), "__call__", None)  # noqa: B004 - we want the thing itself, not whether there is one


def binds(function: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    """True if the function can be called so, as far as its signature tells."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return True  # some built-in functions keep their signature to themselves
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (ValueError, TypeError):
        return {}


def items_of(answer: Any) -> tuple[list[Any], BaseException | None]:
    """The items in what `get` returned, and what an iterable raised midway; what it gave before is kept."""
    if type(answer) in (list, tuple):
        return list(answer), None
    if answer is None:
        return [], None
    if isinstance(answer, (str, bytes, bytearray, memoryview, Mapping)) or not hasattr(answer, "__iter__"):
        return [answer], None
    items: list[Any] = []
    try:
        for item in answer:
            items.append(item)
    except std.Empty:
        pass
    except BaseException as error:  # the getter raises it, once the items are on the belt
        return items, error
    return items, None


def wrap(queue: Any, loop: Loop) -> Any:
    """A standard-library queue in a wrapper that has the verbs; anything else as it is."""
    if is_asyncio_queue(queue):
        from ._standard_queues import AsyncioQueue  # only here: asyncio takes long to load

        return AsyncioQueue(queue)
    if isinstance(queue, (std.Queue, std.SimpleQueue)) or is_a(queue, "multiprocessing.queues", "Queue"):
        from ._standard_queues import StandardQueue

        return StandardQueue(queue)
    return queue


def is_asyncio_queue(queue: Any) -> bool:
    return is_a(queue, "asyncio", "Queue")


def is_a(thing: Any, module: str, name: str) -> bool:
    """`isinstance`, without loading the module: nobody can have made one if it is not loaded."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(thing, getattr(loaded, name))
