"""Subscribers: what they are interested in, and what they do with it.

A subscriber is a class with rules and a method `process`, or a function under a decorator with the rules. Rules are
compiled where they are declared: a pattern that cannot work is refused by the `class` statement, or the decorator.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, ClassVar, Generic, TypeGuard

from typing_extensions import TypeVar

from queue_consumer import UsageError

from ._compiling import PredicateRaised
from ._decoding import Decoded, Decoder, PayloadType
from ._errors import PatternError, shown
from ._predicates import Pattern
from ._rules import FIELDS, Rules, rules_of_data, rules_of_event, rules_of_nothing
from .patterns import Explanation

__all__ = [
    "DataSubscriber",
    "EventSubscriber",
    "FunctionSubscriber",
    "MessageSubscriber",
    "data_subscriber",
    "event_subscriber",
    "message_subscriber",
    "rules_for",
]

F = TypeVar("F", bound=Callable[..., Any])

KINDS = frozenset(PayloadType) - {PayloadType.INVALID}
ATTRIBUTES = tuple(name for row in FIELDS for name in (row.attribute, row.alias) if name)


class MessageSubscriber:
    """Takes messages of the kinds that it names, whatever they say: subclass it for text, for blobs, for confirmations
    of SNS's, or for rules of your own in `accepts`.

    Attributes:
        payload_types: which kinds of payload it takes; by default all that can be decoded.
        retry_on: exceptions of `process` that mean that the message is to come again.
    """

    payload_types: ClassVar[Collection[PayloadType]] = KINDS
    retry_on: ClassVar[type[Exception] | tuple[type[Exception], ...]] = ()

    def accepts(self, payload: Any, /) -> bool:
        """Whether this one is to be processed, of those that the rules let through. One that raises does not."""
        return True

    def process(self, payload: Any, /) -> Any:
        """Do what is to be done. Returns a `ProcessStatus`; None is `DONE`.

        Args:
            payload: text, bytes, a dict, a `mega.Payload`, or a confirmation of SNS's. A method with a second
                parameter, named `message` or without a default, is given the `Received` message there.
        """
        raise NotImplementedError

    @classmethod
    def __explain__(cls, value: Any) -> Explanation:
        return explained(cls, value)


class DataSubscriber(MessageSubscriber):
    """Takes data objects.

    Attributes:
        pattern: what they must be like, a mapping; None: all of them are taken.
    """

    payload_types: ClassVar[Collection[PayloadType]] = frozenset({PayloadType.DATA})
    pattern: ClassVar[Pattern] = None

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        rules_for(cls)


class EventSubscriber(MessageSubscriber):
    """Takes MEGA events that match all the patterns which its class attributes are: the table is in `_rules`.

    With no such attribute it takes all of them.
    """

    payload_types: ClassVar[Collection[PayloadType]] = frozenset({PayloadType.MEGA})

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        rules_for(cls)


class FunctionSubscriber(MessageSubscriber, Generic[F]):
    """A function as a subscriber; it can still be called as the function it is."""

    __name__: str
    __qualname__: str

    def __init__(
        self,
        function: F,
        rules: Callable[[PredicateRaised | None], Rules],
        payload_types: Collection[PayloadType],
        retry_on: type[Exception] | tuple[type[Exception], ...],
    ) -> None:
        functools.update_wrapper(self, function)
        self.function: F = function
        self.payload_types = payload_types  # type: ignore[misc]  # each has its own
        self.retry_on = retry_on  # type: ignore[misc]
        self.make_rules = rules
        rules(None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<subscriber {getattr(self, '__qualname__', self.function)}>"

    def __reduce__(self) -> str:
        name: str = getattr(self, "__qualname__", "")
        return name  # it has the place of the function in its module

    def __explain__(self, value: Any) -> Explanation:  # type: ignore[override]
        return explained(self, value)


# ---------------------------------------------------------------------- decorators


def event_subscriber(
    *, retry_on: type[Exception] | tuple[type[Exception], ...] = (), **rules: Pattern
) -> Callable[[F], FunctionSubscriber[F]]:
    """Make an event subscriber of a function of the payload: `@event_subscriber(domain="user", name=match("login"))`.

    Args:
        retry_on: exceptions that mean that the message is to come again.
        rules: the attributes of an `EventSubscriber`.

    Raises:
        PatternError: one of them cannot work.
        TypeError: there is no such attribute.
    """
    unknown = sorted(set(rules) - set(ATTRIBUTES))
    if unknown:
        raise TypeError(f"event_subscriber: there is no rule {unknown[0]!r}; there are {', '.join(ATTRIBUTES)}")

    def decorate(function: F) -> FunctionSubscriber[F]:
        owner = getattr(function, "__qualname__", "event_subscriber")
        return FunctionSubscriber(
            function, lambda raised: rules_of_event(rules, owner, raised), frozenset({PayloadType.MEGA}), retry_on
        )

    return decorate


def data_subscriber(
    pattern: Pattern = None, *, retry_on: type[Exception] | tuple[type[Exception], ...] = ()
) -> Callable[[F], FunctionSubscriber[F]]:
    """Make a data subscriber of a function of the dict: `@data_subscriber({"type": "order"})`.

    Args:
        pattern: what data must be like, a mapping; None: all data.
        retry_on: exceptions that mean that the message is to come again.

    Raises:
        PatternError: it cannot work.
    """

    def decorate(function: F) -> FunctionSubscriber[F]:
        where = f"{getattr(function, '__qualname__', 'data_subscriber')}: pattern"
        return FunctionSubscriber(
            function, lambda raised: rules_of_data(pattern, where, raised), frozenset({PayloadType.DATA}), retry_on
        )

    return decorate


def message_subscriber(
    *payload_types: PayloadType, retry_on: type[Exception] | tuple[type[Exception], ...] = ()
) -> Callable[[F], FunctionSubscriber[F]]:
    """Make a subscriber of a function for all messages of these kinds: `@message_subscriber(PayloadType.PLAINTEXT)`.

    Args:
        payload_types: which; none: all that can be decoded.
        retry_on: exceptions that mean that the message is to come again.
    """
    kinds = frozenset(payload_types) or KINDS
    return lambda function: FunctionSubscriber(
        function, lambda raised: rules_of_nothing("all messages of its kinds"), kinds, retry_on
    )


# ---------------------------------------------------------------------- what the registry asks


def declared(subscriber: Any, name: str) -> Any:
    """A rule as it was written; a lambda in a class body is no method. Raises AttributeError if there is none."""
    found: Any = inspect.getattr_static(subscriber, name)
    return getattr(found, "__func__", found)  # of a static method, what is in it


def is_function(subscriber: Any) -> TypeGuard[FunctionSubscriber[Any]]:
    return isinstance(subscriber, FunctionSubscriber)


def rules_for(subscriber: Any, raised: PredicateRaised | None = None) -> Rules:
    """The rules of a subscriber, class or instance, compiled.

    Raises:
        PatternError: one of them cannot work.
    """
    kind = subscriber if isinstance(subscriber, type) else type(subscriber)
    if is_function(subscriber):
        return subscriber.make_rules(raised)
    if issubclass(kind, DataSubscriber):
        return rules_of_data(declared(subscriber, "pattern"), f"{kind.__qualname__}.pattern", raised)
    if issubclass(kind, EventSubscriber):
        given: dict[str, Any] = {}
        for name in ATTRIBUTES:
            try:
                given[name] = declared(subscriber, name)
            except AttributeError:
                continue
        return rules_of_event(given, kind.__qualname__, raised)
    return rules_of_nothing("all messages of its kinds")


def explained(subscriber: Any, value: Any) -> Explanation:
    """Why a subscriber takes a payload, a body or a message, or not."""
    decoded = value if isinstance(value, Decoded) else None
    if decoded is None:
        body: Any = getattr(value, "body", value)
        decoded = Decoder().decode(body, getattr(value, "attributes", {}))
    if decoded.payload_type not in subscriber.payload_types:
        wanted = ", ".join(sorted(kind.name for kind in subscriber.payload_types))
        why = f" ({decoded.error})" if decoded.error is not None else ""
        return Explanation(False, (f"no  the payload is {decoded.payload_type.name}{why}, and {wanted} is taken",))
    return rules_for(subscriber).explain(decoded.payload)


def check_subscriber(subscriber: Any) -> None:
    """Refuse what is no subscriber, and one that would leave its messages undone."""
    kind = subscriber if isinstance(subscriber, type) else type(subscriber)
    if not issubclass(kind, MessageSubscriber):
        raise TypeError(
            "a subscriber must be a subclass of MessageSubscriber, DataSubscriber or EventSubscriber, an instance of "
            f"one, or a function under a decorator of theirs; got {shown(subscriber)}"
        )
    if not issubclass(kind, FunctionSubscriber) and kind.process is MessageSubscriber.process:
        raise UsageError(f"{kind.__qualname__} must define process(self, payload), or its messages would go undone")


def check_kinds(name: str, kinds: Any) -> frozenset[PayloadType]:
    if isinstance(kinds, PayloadType):
        kinds = (kinds,)
    if not isinstance(kinds, Collection) or not all(isinstance(kind, PayloadType) for kind in kinds):  # pyright: ignore[reportUnknownVariableType]
        raise PatternError(f"payload_types must be of PayloadType; got {shown(kinds)}", name)
    return frozenset(kinds)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
