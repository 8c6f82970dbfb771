"""What `each` makes of a function of one item."""

from __future__ import annotations

import asyncio
import functools
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, assert_type

import pytest

from queue_consumer import Consumer, Drop, MemoryQueue, Receipts, Retry, UsageError, each
from queue_consumer._chunk import Chunk, Fate
from queue_consumer.handlers import Each, EachAsync
from support import each_handlers


def run(handler: Any, items: list[Any]) -> dict[Any, Fate]:
    """Call a handler as the line would; the fate of each item."""
    receipts: Receipts[Any] = Receipts(Chunk(items, lane=None))
    finish(handler(receipts))
    return {items[index]: fate for index, fate in sorted(receipts.decided.items())}


def finish(result: Any) -> None:
    if asyncio.iscoroutine(result):
        asyncio.run(result)


def fate_of(function: Callable[[Any], Any], *, asynchronous: bool) -> Fate:
    """What becomes of one item that is given to the function."""
    if asynchronous:

        async def awaited(item: Any) -> Any:
            return function(item)

        return run(each(awaited), ["item"])["item"]
    return run(each(function), ["item"])["item"]


class Raises:
    """A function that raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, item: object) -> None:
        raise self.error


FATES: list[tuple[Callable[[Any], Any], Fate]] = [
    (lambda item: None, Fate("consumed")),
    (lambda item: True, Fate("consumed")),
    (lambda item: 0, Fate("consumed")),
    (lambda item: [], Fate("consumed")),
    (Raises(Retry(7)), Fate("failed", 7)),
    (Raises(Retry()), Fate("failed", None)),
    (Raises(Drop("of no use")), Fate("dropped")),
]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("function", "fate"), FATES)
def test_fate_of_an_item(function: Callable[[Any], Any], fate: Fate, asynchronous: bool) -> None:
    """Only `False` means failed; a retry is no error; what is dropped is done with."""
    assert fate_of(function, asynchronous=asynchronous) == fate


FAILURES: list[tuple[Callable[[Any], Any], str, str]] = [
    (lambda item: False, "queue_consumer.handlers.ReturnedFalse", "returned False"),
    (Raises(ValueError("no good")), "ValueError", "no good"),
    (Raises(SystemExit(3)), "SystemExit", "3"),
    (Raises(StopIteration()), "StopIteration", ""),
]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("function", "kind", "message"), FAILURES)
def test_failure_of_an_item(function: Callable[[Any], Any], kind: str, message: str, asynchronous: bool) -> None:
    """`False` and exceptions fail the item, with a reason that can be shown."""
    if asynchronous and kind == "StopIteration":
        kind, message = "RuntimeError", "coroutine raised StopIteration"  # what Python makes of it
    fate = fate_of(function, asynchronous=asynchronous)
    assert (fate.name, fate.delay) == ("failed", None)
    assert fate.failure is not None
    assert fate.failure.kind == kind
    assert message in fate.failure.message


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_next_item_goes_on(asynchronous: bool) -> None:
    """Whatever becomes of one item, the others have their own fate."""
    errors = {2: ValueError(), 3: Retry(1), 4: Drop(), 5: SystemExit()}

    def function(item: int) -> bool:
        if item in errors:
            raise errors[item]
        return item != 6

    async def awaited(item: int) -> bool:
        return function(item)

    fates = run(each(awaited) if asynchronous else each(function), [1, 2, 3, 4, 5, 6, 7])
    assert [fate.name for fate in fates.values()] == [
        *("consumed", "failed", "failed", "dropped", "failed", "failed", "consumed")
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_what_ends_the_program_ends_the_loop(error: type[BaseException]) -> None:
    """An interrupt or a cancellation does not speak of the item, so it goes on up; what was done is done."""
    receipts: Receipts[int] = Receipts(Chunk([1, 2, 3], lane=None))

    def function(item: int) -> None:
        if item == 2:
            raise error

    with pytest.raises(error):
        each(function)(receipts)
    assert receipts.decided == {0: Fate("consumed")}


def late_coroutine() -> Callable[[int], object]:
    async def handle(item: int) -> None:
        raise AssertionError("never runs")

    return lambda item: handle(item)


def late_generator() -> Callable[[int], object]:
    def handle(item: int) -> Iterator[int]:
        yield item

    return lambda item: handle(item)


def late_async_generator() -> Callable[[int], object]:
    async def handle(item: int) -> AsyncIterator[int]:
        yield item

    return lambda item: handle(item)


@pytest.mark.parametrize(
    ("late", "kind"),
    [(late_coroutine, "coroutine"), (late_generator, "generator"), (late_async_generator, "async_generator")],
)
def test_a_result_that_has_yet_to_run_fails_the_item(late: Callable[[], Any], kind: str) -> None:
    """What turns out to return a coroutine or a generator has done nothing, and must not count as done."""
    failure = run(each(late()), [1])[1].failure
    assert failure is not None
    assert f"returned a {kind}, so nothing of it has run" in failure.message


def generator(item: int) -> Iterator[int]:
    yield item


async def async_generator(item: int) -> AsyncIterator[int]:
    yield item


class Generators:
    def __call__(self, item: int) -> Iterator[int]:
        yield item


@pytest.mark.parametrize("function", [generator, async_generator, Generators()])
def test_generator_functions_are_refused(function: Any) -> None:
    """Nothing of a generator function would ever run; that is said when the handler is made."""
    with pytest.raises(TypeError, match="is a generator function, so calling it runs nothing of it: do the work in it"):
        each(function)


def of_none() -> None: ...
def of_two(one: int, two: int) -> None: ...
def of_a_keyword(*, item: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (of_none, r"of_none\(\) .*does not \(too many positional arguments\)"),
        (of_two, r"of_two\(one: .*, two: .*\) .*does not \(missing a required argument: 'two'\)"),
        (of_a_keyword, r"of_a_keyword\(\*, item: .*\) .*does not"),
    ],
)
def test_wrong_arities_are_refused(function: Any, shown: str) -> None:
    """A function that cannot be called with one item is found when the handler is made, not later."""
    with pytest.raises(TypeError, match=f"the function must take one item, and .*{shown}.*functools.partial"):
        each(function)


def test_what_cannot_be_called_is_refused() -> None:
    """The sentence names what was given."""
    wrong: Any = 42
    with pytest.raises(TypeError, match="each: function must be callable with one item; got 42"):
        each(wrong)


def add(totals: list[int], item: int, factor: int = 1) -> None:
    totals.append(item * factor)


async def add_later(totals: list[int], item: int) -> None:
    totals.append(item)


class Adder:
    def __init__(self) -> None:
        self.totals: list[int] = []

    def __call__(self, item: int) -> None:
        self.totals.append(item)


class LaterAdder(Adder):
    async def __call__(self, item: int) -> None:  # type: ignore[override]
        self.totals.append(item)


@pytest.mark.parametrize("kind", [Adder, LaterAdder])
def test_any_callable_will_do(kind: type[Adder]) -> None:
    """Objects with `__call__`, partials, built-in functions and methods are functions too."""
    adder = kind()
    run(each(adder), [1, 2])
    run(each(functools.partial(add, adder.totals, factor=10)), [3])
    run(each(functools.partial(add_later, adder.totals)), [4])
    run(each(adder.totals.append), [5])
    assert adder.totals == [1, 2, 30, 4, 5]


def test_handler_says_what_it_is() -> None:
    """The handler brings its receipt, and is called like its function."""
    handler = each(each_handlers.plain)
    assert handler.receipt == "explicit"
    assert repr(handler) == "each(plain)"
    assert (handler.__name__, handler.__module__) == ("plain", "support.each_handlers")
    assert handler.__doc__ == each_handlers.plain.__doc__


def test_key_is_passed_on() -> None:
    """A function that says what its items are ordered by says so through the handler."""
    assert each(each_handlers.keyed).key is each_handlers.keyed.key
    assert not hasattr(each(each_handlers.plain), "key")


@pytest.mark.parametrize(
    "handler",
    [
        each(each_handlers.plain),
        each(functools.partial(add, [])),
        each_handlers.decorated,
        each_handlers.decorated_async,
    ],
)
def test_handler_pickles(handler: Any) -> None:
    """What `each` makes can be sent to another process, also where it took its function's name."""
    copy = pickle.loads(pickle.dumps(handler))
    assert type(copy) is type(handler)
    assert repr(copy) == repr(handler)


def test_decorated_function_pickles_by_its_name() -> None:
    """A decorated function is found under its name, and is the same there."""
    assert pickle.loads(pickle.dumps(each_handlers.decorated)) is each_handlers.decorated


def test_handler_of_a_lambda_does_not_pickle() -> None:
    """What cannot be found by name cannot be pickled; that is the function's doing, and its error."""
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(each(lambda item: None))


@pytest.mark.parametrize("function", [each_handlers.plain, functools.partial(add_later, [])])
def test_handler_wants_its_receipts(function: Callable[[Any], Any]) -> None:
    """Called with something else than a Consumer's iterator, it says so before it does anything."""
    not_receipts: Any = iter([1])
    with pytest.raises(UsageError, match="needs receipt='explicit'"):
        finish(each(function)(not_receipts))


def test_types_of_handlers_are_known() -> None:
    """A handler knows the type of its items, and whether it is asynchronous, for type checkers too."""

    async def awaited(item: str) -> bool:
        return True

    assert_type(each(each_handlers.plain), Each[int])
    assert_type(each(awaited), EachAsync[str])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_each_in_a_consumer(asynchronous: bool) -> None:
    """The whole way: each item ends as its own call says, and the ledger balances."""
    handled: list[int] = []

    def function(item: int) -> bool:
        if item % 10 == 9:
            raise Drop("of no use")
        if item % 10 == 8:
            raise Retry(1000)
        handled.append(item)
        return item % 10 != 7

    async def awaited(item: int) -> bool:
        await asyncio.sleep(0)
        return function(item)

    queue = MemoryQueue(range(100))
    handler: Any = each(awaited) if asynchronous else each(function)
    with Consumer(queue, handler, messages_bulk_size=7, backoff=lambda attempt: 1000) as consumer:
        assert consumer.wait_idle(20)
    report = consumer.shutdown()
    assert report.balanced, report
    assert (report.stats.cleaned, report.stats.dropped, report.stats.released) == (70, 10, 20)
    assert sorted(handled) == [item for item in range(100) if item % 10 < 8]
