"""What a contract's tests are made of: questions to the author of a queue, and deeds done to it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import queue as std
import threading
import time
import unittest
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar, cast

VERBS: Mapping[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "get": ((), {}),
    "interrupt": ((), {}),
    "cleanup": (([],), {}),
    "release": (([], 0), {}),
    "attempt": ((None,), {}),
    "identity": ((None,), {}),
    "extend": (([], 1.0), {}),
    "ordering_key": ((None,), {}),
    "put": (("",), {"delay": 0, "group": None, "deduplication_id": None, "attributes": None}),
    "put_many": (([],), {}),
    "stats": ((), {}),
    "close": ((), {}),
}
"""Each verb with the arguments that it must take, to be found."""

FIGURES = ("cleanup_limit", "lease")
"""What a queue says of itself beside its verbs."""

Test = TypeVar("Test", bound=Callable[..., None])


def needs(*verbs: str) -> Callable[[Test], Test]:
    """The test is about queues that have these verbs, and is left out for others."""

    def marked(test: Test) -> Test:
        @functools.wraps(test)
        def run(self: Workbench) -> None:
            missing = [verb for verb in verbs if verb not in self.verbs_found()]
            if missing:
                raise unittest.SkipTest(f"this queue has no {missing[0]}")  # pytest takes it for a skip, too
            test(self)

        run.needs = verbs  # type: ignore[attr-defined]
        return cast("Test", run)

    return marked


class Workbench:
    """What an author says about a queue, and what the tests do with it. Each makes a queue of its own."""

    verbs: ClassVar[Collection[str] | None] = None
    patience: float = 10
    soon: float = 2
    delay: float = 1
    picklable: bool = False
    holds_keys: bool = False

    def make_queue(self) -> Any:
        """A new, empty queue."""
        raise NotImplementedError("make_queue() must be overridden, to return a new, empty queue")

    def destroy_queue(self, queue: Any) -> None:
        """Called with each queue when its test has ended."""

    def fill(self, queue: Any, bodies: Sequence[str]) -> None:
        """Put these bodies into the queue. By default by its `put`."""
        put = getattr(queue, "put", None)
        if not callable(put):
            raise NotImplementedError("fill() must be overridden for a queue without put()")
        for body in bodies:
            self.call(put, body)

    def fill_group(self, queue: Any, bodies: Sequence[str], group: str) -> None:
        """Put these bodies into the queue, into one group. By default by its `put`."""
        for body in bodies:
            self.call(queue.put, body, group=group)

    def body_of(self, item: Any) -> Any:
        """What was put in, of an item that came out. By default its `body`, if it has one, or the item."""
        return getattr(item, "body", item)

    def wait_until_visible(self, queue: Any, seconds: float) -> None:
        """Let so much time pass that an item delayed by `seconds` is visible. If you can, move a clock."""
        time.sleep(seconds)

    def spoil(self, queue: Any, item: Any) -> None:
        """Make `cleanup` of this item fail. If you override it, it is tested what `cleanup` says then."""
        raise NotImplementedError

    # How it is done.

    @contextmanager
    def queue(self, bodies: Sequence[str] = ()) -> Generator[Any]:
        """A new queue with these bodies in it."""
        queue = self.make_queue()
        try:
            if bodies:
                self.fill(queue, bodies)
            yield queue
        finally:
            self.destroy_queue(queue)

    def verbs_found(self) -> Collection[str]:
        if self.verbs is not None:
            return {*self.verbs, "get"}
        with self.queue() as queue:
            found = {verb for verb in VERBS if callable(getattr(queue, verb, None))}
            return found | {figure for figure in FIGURES if getattr(queue, figure, None) is not None}

    def call(self, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a verb, which may be a coroutine function."""
        if not inspect.iscoroutinefunction(verb):
            return verb(*args, **kwargs)
        return asyncio.run_coroutine_threadsafe(verb(*args, **kwargs), loop()).result()

    def drain(self, queue: Any, count: int) -> list[Any]:
        """Call `get` until it has given so many items; what there is when patience ends."""
        items: list[Any] = []
        until = time.monotonic() + self.patience
        while len(items) < count and time.monotonic() < until:
            items += listed_or_empty(lambda: self.get(queue))
        assert len(items) >= count, (
            f"get() should give {count} items, and has given {len(items)} within {self.patience:g} s"
        )
        return items

    def ask(self, queue: Any) -> Any:
        """One `get`, called as the line calls it."""
        return self.call(queue.get, limit=10) if takes_limit(queue.get) else self.call(queue.get)

    def get(self, queue: Any) -> Any:
        """One `get`, that must return within the patience there is."""
        getting = self.background(lambda: self.ask(queue))
        getting.join(self.patience)
        assert not getting.is_alive(), f"get() has not returned after {self.patience:g} s"
        if getting.error is not None:
            raise getting.error
        return getting.result

    def finish(self, queue: Any, items: Sequence[Any]) -> None:
        """These are done with, as far as that means anything to the queue."""
        if items and "cleanup" in self.verbs_found():
            self.call(queue.cleanup, items)

    def drain_and_finish(self, queue: Any, count: int) -> list[Any]:
        """Get so many items, and be done with each bulk before the next."""
        items: list[Any] = []
        until = time.monotonic() + self.patience
        while len(items) < count and time.monotonic() < until:
            bulk = listed_or_empty(lambda: self.get(queue))
            self.finish(queue, bulk)
            items += bulk
        assert len(items) >= count, (
            f"get() should give {count} items, each when those before it are done with, "
            f"and has given {len(items)} within {self.patience:g} s"
        )
        return items

    def get_one(self, queue: Any) -> list[Any]:
        """The items of one `get` that gives any, and if it can be asked for that, just one."""
        until = time.monotonic() + self.patience
        limit = {"limit": 1} if takes_limit(queue.get) else {}
        while time.monotonic() < until:
            items = listed_or_empty(lambda: self.call(queue.get, **limit))
            if items:
                return items
        raise AssertionError(f"get() has given nothing within {self.patience:g} s")

    def expect_nothing(self, queue: Any, but: str) -> None:
        """Fail with the sentence `but` if there is something to be got."""
        try:
            items = listed_or_empty(lambda: self.get(queue))
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"get() of a queue that has nothing to give raises {error!r}") from error
        assert not items, f"{but} {len(items)}: {[self.body_of(item) for item in items]!r}"

    def until(self, happened: Callable[[], object]) -> None:
        """Wait for it, as long as patience lasts. If it did not happen, what is asserted next will fail."""
        until = time.monotonic() + self.patience
        while not happened() and time.monotonic() < until:
            time.sleep(0.005)  # the handler of a stranger's queue has nothing that could be waited on

    def background(self, function: Callable[[], Any]) -> Background:
        """Do this in a thread that may stay behind if it hangs."""
        thread = Background(function)
        thread.start()
        return thread


class Background(threading.Thread):
    """A thread that keeps what its function returned, or raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:  # told to whoever waits for the result
            self.error = error


def names(count: int) -> list[str]:
    return [f"item-{number}" for number in range(count)]


def at_once(attempt: int) -> float:
    return 0


def takes_limit(get: Callable[..., Any]) -> bool:
    try:
        return "limit" in inspect.signature(get).parameters
    except ValueError:
        return False


def listed(answer: Any) -> list[Any]:
    """The items in what `get` returned."""
    if answer is None:
        return []
    if isinstance(answer, (str, bytes, bytearray, memoryview, Mapping)) or not hasattr(answer, "__iter__"):
        return [answer]
    return list(answer)


def listed_or_empty(get: Callable[[], Any]) -> list[Any]:
    """The items that a call of `get` gives."""
    try:
        return listed(get())
    except std.Empty:
        return []


def same(items: Sequence[Any], bodies: Sequence[Any], bench: Workbench, sentence: str) -> None:
    """Fail if these are not just the items with these bodies, in whatever order."""
    given = [bench.body_of(item) for item in items]
    missing: list[Any] = [*bodies]
    surplus: list[Any] = []
    for body in given:
        if body in missing:
            missing.remove(body)
        else:
            surplus.append(body)
    if missing or surplus:
        twice = [body for body in surplus if body in bodies]
        strange = [body for body in surplus if body not in bodies]
        facts = [
            f"{word} {some!r}" for word, some in (("not", missing), ("twice", twice), ("instead", strange)) if some
        ]
        raise AssertionError(f"{sentence} {len(given)} items, and should give {len(bodies)}: {'; '.join(facts)}")


@functools.cache
def loop() -> asyncio.AbstractEventLoop:
    """One loop in one thread, for all verbs that are coroutines."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop
