"""The belt's parcel, and the receipt rule.  Pure: no thread, no clock, no queue.

*Asking for the next item is the receipt for the last.*  A handler gets an iterator over a chunk; the chunk notes
how many items the handler took, and whether it asked past the end. From those two facts and from how the call
ended, `judge` says of each item what becomes of it. This function is the promise "only what was consumed is
cleaned up"; threads, processes and coroutines all come here for it.

Why a raise after the end condemns the whole chunk: a handler that has seen the end may be committing all it read,
or may have read everything first (`list(items)`) and failed on any of it. Nothing is proven, so nothing is
consumed.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, Self, TypeAlias

from typing_extensions import TypeVar

from ._errors import Drop, Retry

T = TypeVar("T")

Receipt: TypeAlias = Literal["advance", "return", "explicit"]
FRAMES = 50
RECEIPTS: tuple[Receipt, ...] = ("advance", "return", "explicit")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item failed, as plain values: the user's exception itself never travels.

    Attributes:
        kind: the exception's qualified name.
        message: its text.
        traceback: the formatted traceback, for a log; empty where there is none.
        about: what the handler says that it failed at, for a log; empty where it does not say.
    """

    kind: str
    message: str
    traceback: str = ""
    about: str = ""

    @classmethod
    def of(cls, error: BaseException, about: str = "") -> Failure:
        name = type(error).__qualname__
        module = type(error).__module__
        try:
            message = str(error)
        except Exception as worse:  # an exception that cannot say what it is still fails only its own item
            message = f"<its message cannot be shown: {type(worse).__name__}>"
        # An exception that is raised again and again grows a frame each time, so only the last ones are told.
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-FRAMES))
        return cls(name if module == "builtins" else f"{module}.{name}", message, text, about)

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else self.kind

    def told(self) -> str:
        """With what it is about and its traceback, where there are any."""
        said = f"{self.about}: {self}" if self.about else str(self)
        return f"{said}\n{self.traceback.rstrip()}" if self.traceback else said


class Failed(Generic[T]):
    """Returned by a handler: these items, the very objects it was given, were not done; the others it took were."""

    __slots__ = ("items",)

    def __init__(self, items: Sequence[T]) -> None:
        self.items = list(items)


class Chunk:
    """At most `messages_bulk_size` items in the hands of one handler call, and how far the call has come.

    One writer at a time: the worker that handles it. The supervisor reads `taken` and sets `halted`.
    """

    __slots__ = ("at", "counted", "exhausted", "halted", "items", "keys", "lane", "passes", "singly", "taken")

    def __init__(
        self, items: list[Any], lane: Any, at: float = 0.0, passes: int = 0, keys: list[Any] | None = None
    ) -> None:
        self.items = items
        self.keys = keys  # one for each item, where items have keys: while the chunk is about, no other has them
        self.lane = lane  # where the items came from, and where they go home to
        self.at = at  # when it was put on the belt
        self.passes = passes  # how many handlers have returned without taking these
        self.singly = False  # to be pickled item by item, since something went wrong with the run it was in
        self.counted = False  # among the chunks of its lane that handlers have
        self.taken = 0
        self.exhausted = False  # the handler asked past the end
        self.halted = False  # the iterator is to end at the next item boundary

    def feed(self) -> Iterator[Any]:
        """The handler's iterator. A generator, because nothing tracks an item for less."""
        for taken, item in enumerate(self.items, 1):
            if self.halted:
                break
            self.taken = taken
            yield item
        self.exhausted = True

    def feed_one(self, item: Any) -> Iterator[Any]:
        """The same for a chunk of this one, for less."""
        if not self.halted:
            self.taken = 1
            yield item
        self.exhausted = True


class Feed(Generic[T]):
    """A handler's iterator for plain `for` and for `async for`; like `Chunk.feed`, with room for more verbs."""

    __slots__ = ("_chunk", "decided")

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self.decided: dict[int, Fate] = {}

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        chunk = self._chunk
        if chunk.halted or chunk.taken >= len(chunk.items):
            chunk.exhausted = True
            raise StopIteration
        chunk.taken += 1
        item: T = chunk.items[chunk.taken - 1]
        return item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return self.__next__()
        except StopIteration:
            raise StopAsyncIteration from None


class Receipts(Feed[T]):
    """What a handler with explicit receipts iterates over: it says of each item what became of it.

    What was taken and neither acknowledged nor failed when the handler ends is failed; what was never taken goes
    to another handler. Items are told apart by identity: pass the very objects that the iterator gave.
    """

    __slots__ = ()

    def ack(self, item: T) -> None:
        """This item is consumed, whatever happens to the handler afterwards."""
        self._decide(item, CONSUMED)

    def fail(self, item: T, delay: float | None = None, error: BaseException | None = None) -> None:
        """This item is not done: give it back, to be seen again after `delay` seconds (None: the back-off's)."""
        if delay is not None and not delay >= 0:
            raise ValueError(f"fail: delay must be at least 0 seconds, or None; got {delay!r}")
        delay = None if delay is None else float(delay)
        match error:
            case Retry():
                self._decide(item, retried(error, delay))
            case Drop():
                self._decide(item, Fate("dropped"))
            case None:
                self._decide(item, Fate("failed", delay, Failure("Failed", "the handler failed it")))
            case _:
                self._decide(item, Fate("failed", delay, Failure.of(error)))

    def _decide(self, item: T, fate: Fate) -> None:
        items = self._chunk.items
        for index in range(self._chunk.taken - 1, -1, -1):  # most often it is the one just taken
            if items[index] is item and index not in self.decided:
                self.decided[index] = fate
                return
        raise ValueError("not an item of this chunk that was taken and is undecided; pass the object the iterator gave")


class Fate(NamedTuple):
    """What becomes of one item.

    `delay`: seconds, or None for the back-off's. `failure`: None for a plain retry.
    """

    name: Literal["consumed", "failed", "dropped"]
    delay: float | None = None
    failure: Failure | None = None


CONSUMED = Fate("consumed")


class Ending(NamedTuple):
    """How a handler call ended, as plain values that may cross a process boundary.

    Attributes:
        how: "returned"; "raised"; "died" (its process did, at an unknown line of it); "refused" (what it returned
            shows that it cannot have handled anything); "unopened" (it was never called, for an item that cannot
            be brought to it).
        failure: why, unless it returned or asked for a retry.
        signal: what `Retry` or `Drop` wants for the item held; None for any other end.
        decided: what explicit receipts and `Failed` say of single items, by position.
    """

    how: Literal["returned", "raised", "died", "refused", "unopened"]
    failure: Failure | None = None
    signal: Fate | None = None
    decided: Mapping[int, Fate] = {}


RETURNED = Ending("returned")


def returned(result: object, items: Sequence[Any], decided: dict[int, Fate]) -> Ending:
    """The ending of a call that returned `result`; only `Failed` has a meaning, other values are ignored."""
    if result is None:
        return Ending("returned", decided=decided) if decided else RETURNED
    kind = type(result)  # and nothing of the object itself, which may be of a kind that answers to anything, or raises
    if hasattr(kind, "__await__") or (hasattr(kind, "send") and hasattr(kind, "throw")):
        if inspect.iscoroutine(result):
            result.close()  # it never runs, and should not be warned about in some other place
        return Ending("refused", Failure("TypeError", NOTHING_RAN.format(type(result).__name__)))
    if not (issubclass(kind, Failed) and isinstance(result, Failed)):
        return Ending("returned", decided=decided) if decided else RETURNED
    failed = Failure("Failed", "the handler returned it as failed")
    acknowledged, decided = decided, dict(decided)
    for item in result.items:  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        found = [i for i, own in enumerate(items) if own is item and (i not in decided or decided[i] is CONSUMED)]
        if not found:
            stranger = Failure("ValueError", "Failed() names an object that is not an item of this chunk")
            return Ending("raised", stranger, decided=acknowledged)
        decided[found[0]] = Fate("failed", None, failed)
    return Ending("returned", decided=decided)


NOTHING_RAN = (
    "the handler returned a {}, so nothing of it has run: a handler must do its work before it returns "
    "(a plain function, or an async def with pool='coroutines'), and loop over the items instead of yielding"
)


def raised(error: BaseException, decided: dict[int, Fate]) -> Ending:
    """The ending of a call that raised."""
    match error:
        case Retry():
            return Ending("raised", None, retried(error), decided)
        case Drop():
            return Ending("raised", None, Fate("dropped"), decided)
        case _:
            return Ending("raised", Failure.of(error), None, decided)


def retried(retry: Retry, delay: float | None = None) -> Fate:
    """What a retry wants for its item: a failure, if it is for an error."""
    failure = None if retry.error is None else Failure.of(retry.error, retry.about)
    return Fate("failed", retry.delay if delay is None else delay, failure)


@dataclass(slots=True)
class Verdict:
    """What becomes of the items of a chunk, by position. Every position is in exactly one of the four."""

    consumed: list[int] = field(default_factory=list[int])
    dropped: list[int] = field(default_factory=list[int])
    failed: list[tuple[int, Fate]] = field(default_factory=list[tuple[int, Fate]])
    rest: list[int] = field(default_factory=list[int])  # not taken: handed on, or given back
    passed: bool = False  # the rest was there for the taking, and the handler returned without it


def is_consumed(receipt: Receipt, size: int, taken: int, ending: Ending) -> bool:
    """True if all is, as nearly always, so that no verdict is needed."""
    if ending.how != "returned" or taken != size:
        return False
    if receipt != "explicit":
        return not ending.decided
    return len(ending.decided) == size and all(fate.name == "consumed" for fate in ending.decided.values())


def judge(receipt: Receipt, size: int, taken: int, exhausted: bool, ending: Ending) -> Verdict:
    """Say what becomes of each of `size` items, of which `taken` were given to the handler."""
    verdict = Verdict()
    for index, fate in {**undecided(receipt, size, taken, exhausted, ending), **ending.decided}.items():
        match fate.name:
            case "consumed":
                verdict.consumed.append(index)
            case "dropped":
                verdict.dropped.append(index)
            case "failed":
                verdict.failed.append((index, fate))
    verdict.consumed.sort()
    verdict.dropped.sort()
    verdict.failed.sort(key=lambda pair: pair[0])
    settled = {*verdict.consumed, *verdict.dropped, *(index for index, _ in verdict.failed)}
    verdict.rest = [index for index in range(size) if index not in settled]
    verdict.passed = bool(verdict.rest) and ending.how == "returned"
    return verdict


# For endings that bring no failure along, where there is one all the same.
UNSAID = {
    "raised": Failure("Drop", "raised when it was not clear of which item: before the first, or after the last"),
    "died": Failure("Died", "its worker died while it held the item"),
}


def undecided(receipt: Receipt, size: int, taken: int, exhausted: bool, ending: Ending) -> dict[int, Fate]:
    """The fates of those items that the handler itself said nothing of; a position left out was not taken."""
    failed = Fate("failed", None, ending.failure or UNSAID.get(ending.how))
    open_ = [index for index in range(taken) if index not in ending.decided]
    match ending.how, receipt:
        case "refused", _:
            return dict.fromkeys(range(size), failed)
        case "unopened", _:
            return {}
        case "returned", "explicit":
            why = Failure("Unacknowledged", "the handler ended without ack() or fail() for it")
            return {index: Fate("failed", None, why) for index in open_}
        case "returned", _:
            return dict.fromkeys(open_, CONSUMED)
        case _:
            pass
    # It raised, or its process died.
    held = taken - 1
    if taken == 0:
        # A signal speaks of the item held, and none was; but the first must not be offered for ever.
        retry = ending.signal is not None and ending.signal.name == "failed"
        return {0: ending.signal if retry and ending.signal else failed} if 0 not in ending.decided else {}
    if exhausted and taken > 1:
        whole = ending.signal if ending.signal and ending.signal.name == "failed" else failed
        return dict.fromkeys(open_, whole)
    fates = dict.fromkeys(open_, failed)
    if receipt == "advance":
        fates |= {index: CONSUMED for index in open_ if index < held}
    elif ending.signal:  # nothing is proven of the others, and nothing is wrong with them
        fates |= {index: Fate("failed", ending.signal.delay) for index in open_}
    if ending.signal and held in fates:
        fates[held] = ending.signal
    return fates
