"""A registered subscriber, ready to be called; and the index that finds those which a payload may concern."""

from __future__ import annotations

import heapq
import inspect
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from queue_consumer import UsageError

from ._compiling import PredicateRaised
from ._decoding import PayloadType
from ._errors import kind_of
from ._rules import Rules
from ._statuses import Answer, ProcessStatus
from ._subscribers import FunctionSubscriber, MessageSubscriber, check_kinds, check_subscriber, rules_for

__all__ = ["Index", "Route", "caller_of", "name_of", "route_to"]

Call = Callable[[Any, Any], Any]  # with the payload, and the message


@dataclass(frozen=True, slots=True)
class Route:
    """The way to one subscriber.

    Attributes:
        number: its place in the order of registration.
        name: what it is called, in logs, events and memories.
        kinds: of payloads that it takes.
        rules: that they must match.
        accepts: and what it says itself; None: nothing.
        call: processes one.
        retry_on: exceptions that mean that the message is to come again.
        is_async: `call` returns something to be awaited.
        done: its answer, as nearly always.
    """

    number: int
    name: str
    kinds: frozenset[PayloadType]
    rules: Rules
    accepts: Callable[[Any], bool] | None
    call: Call
    retry_on: tuple[type[BaseException], ...]
    is_async: bool
    done: Answer


def name_of(subscriber: Any) -> str:
    """Its full name, which is the same in every process and after a restart."""
    own = isinstance(subscriber, type) or issubclass(kind_of(subscriber), FunctionSubscriber)
    thing: Any = subscriber if own else kind_of(subscriber)
    return f"{thing.__module__}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def exceptions(name: str, given: Any) -> tuple[type[BaseException], ...]:
    """Exceptions, checked; one of them stands for itself."""
    several: tuple[Any, ...] = tuple(given) if isinstance(given, (tuple, list, set, frozenset)) else (given,)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    for kind in several:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise TypeError(f"{name} must be exceptions, or a tuple of them; got {given!r}")
    return several


def route_to(subscriber: Any, number: int, raised: PredicateRaised, *, may_be_async: bool) -> Route:
    """The way to a subscriber: a class, of which an instance is made; an instance; or a decorated function.

    Raises:
        TypeError: it is no subscriber, or its class cannot be instantiated without arguments.
        UsageError: it cannot be called as it must be.
        PatternError: a rule of it cannot work.
    """
    check_subscriber(subscriber)
    name = name_of(subscriber)
    if isinstance(subscriber, type):
        try:
            instance: Any = subscriber()
        except TypeError as error:
            raise TypeError(
                f"{name} must be made without arguments, or be registered as an instance: {error}"
            ) from error
    else:
        instance = subscriber
    kind = kind_of(instance)
    decorated = issubclass(kind, FunctionSubscriber)
    function = instance.function if decorated else instance.process
    call, is_async = caller_of(function, name, static_process(kind))
    if is_async and not may_be_async:
        raise UsageError(f"{name} has an async def, for which there is AsyncSubscribers, with pool='coroutines'")
    from_base = kind.accepts is MessageSubscriber.accepts
    return Route(
        number,
        name,
        check_kinds(name, instance.payload_types),
        rules_for(instance, raised),
        None if from_base else instance.accepts,
        call,
        exceptions(f"{name}.retry_on", instance.retry_on),
        is_async,
        Answer(name, ProcessStatus.DONE),
    )


def static_process(kind: Any) -> Any:
    """The `process` of a class whose author left out `self`: a function of the payload alone."""
    found = inspect.getattr_static(kind, "process", None)
    return found if inspect.isfunction(found) else None


def caller_of(function: Any, name: str, raw: Any = None) -> tuple[Call, bool]:
    """How to call a function with a payload, and, if it has a place for it, the message; and whether it is async.

    Raises:
        UsageError: it cannot be called so, or calling it would run nothing.
    """
    code: list[Any] = [function, getattr(kind_of(function), "__call__", None)]  # noqa: B004 - the code of it, not whether there is some
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in code):
        raise UsageError(f"{name}: it is a generator function, so calling it runs nothing of it: return, do not yield")
    is_async = any(inspect.iscoroutinefunction(f) for f in code)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return lambda payload, message: function(payload), is_async
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if not places and not rest and raw is not None and len(inspect.signature(raw).parameters) == 1:
        return lambda payload, message: raw(payload), is_async
    demanded = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    required = [p for p in places if p.default is p.empty]
    if demanded or len(required) > 2 or not (places or rest):
        raise UsageError(
            f"{name} must take the payload, and may take the message; it takes {inspect.signature(function)}"
        )
    if len(places) > 1 and (len(required) == 2 or places[1].name == "message"):
        return lambda payload, message: function(payload, message), is_async
    return lambda payload, message: function(payload), is_async


class Index:
    """Finds the subscribers that a payload may concern, in the order of registration, without asking all of them.

    Those that ask for literal text, of an event in its name, of data under a key, are found by that text.
    """

    def __init__(self) -> None:
        self._by_text: dict[str, dict[str, list[Route]]] = {}  # of data: key -> text -> routes
        self._by_name: dict[str, list[Route]] = {}
        self._others: dict[PayloadType, list[Route]] = {kind: [] for kind in PayloadType}

    def add(self, route: Route) -> None:
        keys = route.rules.keys
        for kind in route.kinds:
            if keys is None:
                self._others[kind].append(route)
            elif kind is PayloadType.MEGA:
                for _, text in keys:
                    self._by_name.setdefault(text, []).append(route)
            else:
                for key, text in keys:
                    self._by_text.setdefault(key, {}).setdefault(text, []).append(route)

    def candidates(self, kind: PayloadType, payload: Any) -> Iterator[Route] | list[Route]:
        """Those that may match; each still has to be asked."""
        others = self._others[kind]
        if kind is PayloadType.MEGA:
            found = self._by_name.get(payload.event.name)
            if not found:
                return others
            return heapq.merge(found, others, key=NUMBER) if others else found
        if kind is PayloadType.DATA and self._by_text:
            lists = [others]
            for key, texts in self._by_text.items():
                value = payload.get(key)
                if isinstance(value, str) and (found := texts.get(value)):
                    lists.append(found)
            return heapq.merge(*lists, key=NUMBER) if len(lists) > 1 else others
        return others


NUMBER: Callable[[Route], int] = operator.attrgetter("number")
Policy = Literal["delete", "keep"]
