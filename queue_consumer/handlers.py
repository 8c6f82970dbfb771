"""Handlers made of simpler functions.

A handler takes an iterator of items. Most work is about one item at a time, and then the loop, the receipts
and what becomes of a bad item are always the same: `each` is that loop.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Generic, overload

from typing_extensions import TypeVar

from ._chunk import Receipt, Receipts
from ._errors import UsageError

__all__ = ["each"]

T = TypeVar("T")


class ReturnedFalse(Exception):
    """The function of one item returned False: the item is not done."""


class NothingRan(TypeError):
    """The function of one item returned something that has yet to run."""


@overload
def each(function: Callable[[T], Awaitable[object]]) -> EachAsync[T]: ...  # type: ignore[overload-overlap]
@overload
def each(function: Callable[[T], object]) -> Each[T]: ...
def each(function: Callable[[Any], Any]) -> Each[Any] | EachAsync[Any]:
    """Make a handler of a function of one item.

    | the function …             | the item is                                                     |
    |----------------------------|-----------------------------------------------------------------|
    | returns `False`            | failed                                                          |
    | returns anything else      | done                                                            |
    | raises `Retry(delay)`      | given back, to be seen again after `delay`; that is not an error |
    | raises `Drop(reason)`      | dropped                                                         |
    | raises anything else       | failed; so does `SystemExit`                                    |

    Whatever becomes of one item, the next one goes on; only `KeyboardInterrupt` and a cancellation end the
    loop, for they do not speak of the item. Of an `async def` it makes an asynchronous handler, for
    `pool="coroutines"`.

    The result can be used where a handler can, is as picklable as the function (as a decorator, too), and
    carries the function's `key`, if it has one.

        @each
        def add_up(item):
            totals[item.customer] += item.amount

        Consumer(queue, add_up)

    Raises:
        TypeError: the function does not take one item, or is a generator function.
    """
    if not callable(function):
        raise TypeError(f"each: function must be callable with one item; got {function!r}")
    code = [
        function,
        type(function).__call__,
    ]  # that of a function, or of an object that can be called like one
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in code):
        raise TypeError(
            f"each: {name_of(function)} is a generator function, so calling it runs nothing of it: "
            "do the work in it and return, instead of yielding"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        pass  # some built-in functions keep their signature to themselves
    else:
        try:
            signature.bind(object())
        except TypeError as error:
            raise TypeError(
                f"each: the function must take one item, and {name_of(function)}{signature} does not "
                f"({error}): bind what else it needs with functools.partial"
            ) from None
    if any(inspect.iscoroutinefunction(f) for f in code):
        return EachAsync(function)
    return Each(function)


class OfOne(Generic[T]):
    """What `each` returns, but for the loop."""

    receipt: Receipt = "explicit"

    def __init__(self, function: Callable[[T], object]) -> None:
        self.function = function
        self.__name__: str = getattr(function, "__name__", type(function).__name__)
        self.__qualname__: str = getattr(function, "__qualname__", self.__name__)
        self.__module__: str = getattr(function, "__module__", None) or type(self).__module__
        self.__doc__ = function.__doc__
        key = getattr(function, "key", None)
        if key is not None:
            self.key: Callable[[T], Any] = key

    def __repr__(self) -> str:
        return f"each({name_of(self.function)})"

    def __reduce__(self) -> str | tuple[Any, ...]:
        # As a decorator, each() takes the function's name in its module, so that the function itself cannot
        # be pickled any more, which is by that name; but then we can.
        found: Any = sys.modules.get(self.__module__)
        for name in self.__qualname__.split("."):
            found = getattr(found, name, None)
        return self.__qualname__ if found is self else (each, (self.function,))


class Each(OfOne[T]):
    """A handler that calls a function with one item after the other."""

    def __call__(self, items: Receipts[T]) -> None:
        function = self.function
        check_receipts(self, items)
        for item in items:
            try:
                result = function(item)
                if result is not None:
                    check_result(self, result)
            except (Exception, SystemExit) as error:
                items.fail(item, error=error)
            else:
                items.ack(item)


class EachAsync(OfOne[T]):
    """An asynchronous handler that awaits a function of one item after the other."""

    function: Callable[[T], Awaitable[object]]

    async def __call__(self, items: Receipts[T]) -> None:
        function = self.function
        check_receipts(self, items)
        for item in items:
            try:
                result = await function(item)
                if result is not None:
                    check_result(self, result)
            except (Exception, SystemExit) as error:
                items.fail(item, error=error)
            else:
                items.ack(item)


def check_receipts(handler: OfOne[Any], items: object) -> None:
    if not hasattr(items, "ack"):
        raise UsageError(
            f"{handler!r} says of each item what became of it: it needs receipt='explicit', which "
            "it brings along, and is called by a Consumer"
        )


def check_result(handler: OfOne[Any], result: object) -> None:
    """Raise if the function's result says that the item is not done."""
    if result is False:
        raise ReturnedFalse(f"{name_of(handler.function)} returned False")
    if (
        hasattr(result, "__await__")
        or hasattr(result, "__anext__")
        or (hasattr(result, "send") and hasattr(result, "throw"))
    ):
        close = getattr(result, "close", None)
        if close is not None:
            close()  # it never runs, and should not be warned about in some other place
        raise NothingRan(
            f"{name_of(handler.function)} returned a {type(result).__name__}, so nothing of it has run: "
            "give each() a plain function that does its work before it returns, or an async def"
        )


def name_of(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
