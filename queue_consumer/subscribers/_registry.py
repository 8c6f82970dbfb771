"""The registry: decodes a message, finds who is interested, asks them in turn, and says what becomes of it.

    a message ─▶ decode ─▶ who matches? ─▶ each processes it ─▶ what the answers come to ─▶ delete · drop · keep
                   │            └ nobody: delete, keep, transform and match again, or hand to a callable
                   └ cannot be: a fatal failure of this one message

It is a handler: `Consumer(queue, Subscribers([…]))`. Nothing that is in a message can raise out of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from queue_consumer import Drop, Event, Failure, Receipts, Retry, UsageError

from ._decoding import Decoder, PayloadType
from ._errors import shown
from ._events import FatalHandled, MessageUnmatched, PredicateFailed, SubscriberFailed, Teller, say
from ._received import Received, received
from ._remembering import Memory, Remembered
from ._routes import Call, Index, Policy, Route, caller_of, exceptions, name_of, route_to
from ._rules import rules_of_nothing
from ._sinks import FatalFailure, FatalSink
from ._statuses import Answer, Outcome, ProcessStatus, outcome_of
from ._subscribers import explained
from .patterns import Explanation

__all__ = ["AsyncSubscribers", "RetriableError", "Subscribers", "Transform"]

Unmatched: TypeAlias = "Policy | Transform | Callable[..., Any]"
POLICIES = ("delete", "keep")
CHOICE = "'delete', 'keep', a callable or Transform(…)"
Step: TypeAlias = tuple[Route, Received]  # a route to call, with a message
Passage: TypeAlias = Generator[Step, Any, Outcome]  # is sent what the call returned, or thrown what it raised


class RetriableError(Exception):
    """A subscriber returned `RETRIABLE_ERROR`, or something that is no status at all."""


class FatalError(Exception):
    """A subscriber returned `FATAL_ERROR`."""


@dataclass(frozen=True, slots=True)
class Transform:
    """For messages that nobody took: make data of them, and match again.

    Args:
        function: called with the payload, and the message if it takes that; returns a mapping, a `mega.Payload`, or a
            body to be decoded; None if it cannot make anything of it.
        otherwise: what is done then, or if nobody wants what it made: "delete", "keep", or a callable to hand it to.
    """

    function: Callable[..., Any]
    otherwise: Literal["delete", "keep"] | Callable[..., Any] = "delete"


class Subscribers:
    """Subscribers, and what becomes of messages between them.

    A message goes to all subscribers that match, in the order of registration, and is deleted when all of them are
    done with it; `_statuses` has the table. Each may raise what it likes.

    Args:
        subscribers: classes, which are instantiated without arguments; instances; decorated functions. Each once.
        unmatched: what to do with a message that nobody takes: "delete"; "keep" it, so that it comes again; a callable
            that it is handed to, as a subscriber; or `Transform(function)`, to match what that makes of it.
        text, blobs: the same for plain text and for bytes; None: as `unmatched`.
        retry_on: exceptions that mean for every subscriber that the message is to come again.
        retry_delay: seconds before a message comes again that a subscriber put off; None: the consumer's back-off.
        fatal: what to do with a message of which something failed for good: "delete" or "keep".
        on_fatal: is called with that message and its failures before it is deleted: `DeadLetters(queue)`,
            `ToFile(path)`, or a callable. If it raises, the message is kept.
        remember: skip subscribers that have succeeded with a message when it comes again: True, for a `Remembered` of
            this process, or any `Memory`.
        decoder: makes payloads of bodies.
        observers: callables of one event: `MessageUnmatched`, `SubscriberFailed`, `FatalHandled`, `PredicateFailed`.

    Raises:
        TypeError, ValueError: for a wrong argument, with its name, its value, and what is allowed.
        PatternError: a pattern cannot work.
        UsageError: a subscriber cannot be called as it must be, or is there twice.
    """

    receipt: Literal["explicit"] = "explicit"
    _may_be_async = False

    def __init__(
        self,
        subscribers: Iterable[Any] = (),
        *,
        unmatched: Unmatched = "delete",
        text: Unmatched | None = None,
        blobs: Unmatched | None = None,
        retry_on: type[Exception] | tuple[type[Exception], ...] = (),
        retry_delay: float | None = None,
        fatal: Policy = "delete",
        on_fatal: FatalSink | None = None,
        remember: bool | Memory = False,
        decoder: Decoder | None = None,
        observers: Iterable[Callable[[Event], object]] = (),
    ) -> None:
        observers = tuple(observers)
        self._options: dict[str, Any] = {
            "unmatched": unmatched,
            "text": text,
            "blobs": blobs,
            "retry_on": retry_on,
            "retry_delay": retry_delay,
            "fatal": fatal,
            "on_fatal": on_fatal,
            "remember": remember,
            "decoder": decoder,
            "observers": observers,
        }
        if fatal not in POLICIES:
            raise ValueError(f"Subscribers: fatal must be 'delete' or 'keep'; got {fatal!r}")
        if on_fatal is not None and not callable(cast(Any, on_fatal)):
            raise TypeError(f"Subscribers: on_fatal must be callable with a message and its failures; got {on_fatal!r}")
        if retry_delay is not None and not retry_delay >= 0:
            raise ValueError(f"Subscribers: retry_delay must be at least 0 seconds, or None; got {retry_delay!r}")
        self._keep_fatal = fatal == "keep"
        self._on_fatal = on_fatal
        self._retry_on = exceptions("Subscribers: retry_on", retry_on)
        self._retry_delay = retry_delay
        self._memory: Memory | None = Remembered() if remember is True else None if remember is False else remember
        for verb in ("succeeded", "add", "forget"):
            if self._memory is not None and not callable(getattr(self._memory, verb, None)):
                raise TypeError(f"Subscribers: remember must be True, False or a Memory; got {remember!r}")
        self._decoder = decoder or Decoder()
        self._teller = Teller(observers)
        self._unmatched = self._leftover("unmatched", unmatched)
        self._leftovers = {
            PayloadType.PLAINTEXT: self._unmatched if text is None else self._leftover("text", text),
            PayloadType.BINARY: self._unmatched if blobs is None else self._leftover("blobs", blobs),
        }
        self._raised_before: set[str] = set()
        self._subscribers: list[Any] = []
        self._names: set[str] = set()
        self._index = Index()
        for subscriber in subscribers:
            self.register(subscriber)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._subscribers)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return remade, (type(self), tuple(self._subscribers), self._options)

    def __len__(self) -> int:
        return len(self._subscribers)

    def register(self, subscriber: Any) -> None:
        """Add one more; not while messages are being dispatched.

        Raises:
            UsageError: it is there already, or cannot be called as it must be.
            TypeError: it is no subscriber.
            PatternError: a pattern of it cannot work.
        """
        route = route_to(subscriber, len(self._subscribers), self._predicate_raised, may_be_async=self._may_be_async)
        if route.name in self._names:
            raise UsageError(f"{route.name} is registered already: a subscriber is a set of rules, and is there once")
        self._names.add(route.name)
        self._index.add(route)
        self._subscribers.append(subscriber)

    # ------------------------------------------------------------------ the handler

    def __call__(self, items: Receipts[Any]) -> Any:
        """What a `Consumer` calls."""
        check_receipts(self, items)
        for item in items:
            settle(items, item, self.dispatch(item))

    def dispatch(self, item: Any) -> Outcome:
        """Give one message to all who are interested, and say what becomes of it. Nothing is deleted here.

        Args:
            item: a message with `id`, `body` and `attributes`, or a body: text, bytes, a mapping, a `mega.Payload`.
        """
        passage = self._passage(item)
        try:
            step = next(passage)
            while True:
                route, message = step
                try:
                    result = route.call(message.payload, message)
                except (Exception, SystemExit) as error:
                    step = passage.throw(error)
                else:
                    step = passage.send(result)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    # ------------------------------------------------------------------ questions

    def matching(self, item: Any) -> list[str]:
        """The names of the subscribers that a message would go to."""
        return [route.name for route in self._matching(received(item, self._decoder))]

    def explain(self, item: Any) -> dict[str, Explanation]:
        """Why a message would go to each subscriber, or not."""
        message = received(item, self._decoder)
        return {name_of(subscriber): explained(subscriber, message.decoded) for subscriber in self._subscribers}

    # ------------------------------------------------------------------ one message

    def _matching(self, message: Received) -> list[Route]:
        payload = message.payload
        matching: list[Route] = []
        try:
            for route in self._index.candidates(message.payload_type, payload):
                if self._is_for(route, payload):
                    matching.append(route)
        except Exception as error:  # of a payload that raises when it is looked at
            say(logging.WARNING, "message %s cannot be looked at: %s", message.message_id, type(error).__name__)
        return matching

    def _is_for(self, route: Route, payload: Any) -> bool:
        try:
            if not route.rules.matches(payload):
                return False
        except Exception:  # of a value that raises when it is compared
            return False
        if route.accepts is None:
            return True
        try:
            return bool(route.accepts(payload))
        except Exception as error:
            self._predicate_raised(f"{route.name}.accepts", error)
            return False

    def _passage(self, item: Any) -> Passage:
        message = received(item, self._decoder)
        if message.payload_type is PayloadType.INVALID:
            return self._undecodable(message)
        matching = self._matching(message)
        if not matching:
            policy = self._leftovers.get(message.payload_type, self._unmatched)
            if isinstance(policy, TransformRoute):
                made = yield from self._transformed(policy, message)
                if isinstance(made, Outcome):
                    return made
                message, matching, policy = made, self._matching(made), policy.otherwise
            if not matching:
                if not isinstance(policy, Route):
                    return self._left(message, "keep" if policy == "keep" else "delete")
                self._teller.tell(unmatched(message, "delete", policy.name))
                matching = [policy]
        answers = yield from self._asked(matching, message)
        return self._concluded(message, answers)

    def _asked(self, matching: list[Route], message: Received) -> Generator[Step, Any, list[Answer]]:
        """All of them, one after the other; those that have succeeded before are skipped."""
        succeeded = self._succeeded(message)
        answers: list[Answer] = []
        for route in matching:
            if route.name in succeeded:
                answers.append(Answer(route.name, ProcessStatus.DONE, skipped=True))
                continue
            try:
                result = yield route, message
            except (Exception, SystemExit) as error:
                answer = self._answer_of_error(route, error)
            else:
                answer = answer_of_result(route, result)
            answers.append(answer)
            if answer.status is ProcessStatus.DONE and len(matching) > 1:
                self._remember(message, route.name)
            if answer.error is not None:
                self._say_failed(message, answer)
        return answers

    def _transformed(self, policy: TransformRoute, message: Received) -> Generator[Step, Any, Received | Outcome]:
        """What the user's function makes of the message: another one, or, if it failed, an outcome."""
        try:
            made = yield policy.route, message
        except (Exception, SystemExit) as error:
            answer = self._answer_of_error(policy.route, error)
            self._say_failed(message, answer)
            return self._concluded(message, [answer])
        if made is None:
            return message
        decoded = self._decoder.decode(made)
        again = Received(message.item, message.message_id, message.body, message.attributes, decoded)
        return self._undecodable(again) if decoded.payload_type is PayloadType.INVALID else again

    def _concluded(self, message: Received, answers: list[Answer]) -> Outcome:
        outcome = outcome_of(answers, keep_fatal=self._keep_fatal)
        fatal = [answer for answer in answers if answer.status is ProcessStatus.FATAL_ERROR]
        if outcome.action == "keep":
            if outcome.error is None and outcome.delay is None and self._retry_delay is not None:
                outcome = Outcome("keep", self._retry_delay, None, outcome.answers, outcome.reason)
            return outcome
        if fatal:
            failures = [FatalFailure(one.subscriber, Failure.of(one.error or FatalError())) for one in fatal]
            trouble = self._hand_over(message, failures)
            if trouble is not None:
                return Outcome("keep", None, trouble, outcome.answers, "on_fatal failed")
        self._forget(message)
        return outcome

    def _undecodable(self, message: Received) -> Outcome:
        """A message that cannot be decoded has failed for good; but not for want of a library or a certificate."""
        error = message.error or FatalError("the body could not be decoded")
        keep = self._keep_fatal or message.decoded.blameless
        answer = Answer("decoding", ProcessStatus.RETRIABLE_ERROR if keep else ProcessStatus.FATAL_ERROR, error)
        self._say_failed(message, answer)
        return self._concluded(message, [answer])

    def _left(self, message: Received, policy: Policy) -> Outcome:
        """Nobody took it."""
        self._teller.tell(unmatched(message, "drop" if policy == "delete" else "keep"))
        kind = message.payload_type.name
        say(logging.INFO, "message %s (%s) matches no subscriber: %s", message.message_id, kind, policy)
        if policy == "delete":
            return Outcome("drop", reason="no subscriber matches")
        return Outcome("keep", self._retry_delay, reason="no subscriber matches")

    # ------------------------------------------------------------------ what may go wrong

    def _answer_of_error(self, route: Route, error: BaseException) -> Answer:
        if isinstance(error, Retry):
            return Answer(route.name, ProcessStatus.RETRY_LATER, delay=error.delay)
        if isinstance(error, Drop):
            return Answer(route.name, ProcessStatus.DONE, dropped=True)
        retriable = isinstance(error, (*route.retry_on, *self._retry_on, RetriableError))
        return Answer(route.name, ProcessStatus.RETRIABLE_ERROR if retriable else ProcessStatus.FATAL_ERROR, error)

    def _hand_over(self, message: Received, failures: list[FatalFailure]) -> BaseException | None:
        """Hand a message over before it is deleted; what was raised, if it was not taken."""
        if self._on_fatal is not None:
            try:
                self._on_fatal(message, tuple(failures))
            except (Exception, SystemExit) as error:
                say(logging.ERROR, "on_fatal raised, so message %s is kept", message.message_id, error=error)
                return error
        names = tuple(failure.subscriber for failure in failures)
        self._teller.tell(
            FatalHandled(message_id=message.message_id, subscribers=names, handed_over=self._on_fatal is not None)
        )
        return None

    def _say_failed(self, message: Received, answer: Answer) -> None:
        fatal = answer.status is ProcessStatus.FATAL_ERROR
        # What is kept is logged by the line, with its traceback; what is deleted only here.
        level = logging.ERROR if fatal else logging.INFO
        words = "%s: %s with message %s"
        say(
            level,
            words,
            answer.subscriber,
            answer.status.value,
            message.message_id,
            error=answer.error if fatal else None,
        )
        if self._teller.observers:
            failure = None if answer.error is None else Failure.of(answer.error)
            self._teller.tell(
                SubscriberFailed(
                    message_id=message.message_id, subscriber=answer.subscriber, status=answer.status, failure=failure
                )
            )

    def _predicate_raised(self, where: str, error: BaseException) -> None:
        """Said aloud once for each place, for there may be a message a millisecond."""
        first = where not in self._raised_before
        self._raised_before.add(where)
        level = logging.WARNING if first else logging.DEBUG
        say(level, "%s raised, so that is no match: %s", where, shown(error), error=error if first else None)
        if self._teller.observers:
            self._teller.tell(PredicateFailed(where=where, failure=Failure.of(error)))

    # ------------------------------------------------------------------ memory

    def _succeeded(self, message: Received) -> Iterable[str]:
        if self._memory is None or message.message_id is None:
            return ()
        try:
            return frozenset(self._memory.succeeded(message.message_id))
        except Exception as error:
            say(logging.ERROR, "the memory raised, so all subscribers get message %s", message.message_id, error=error)
            return ()

    def _remember(self, message: Received, name: str) -> None:
        if self._memory is not None and message.message_id is not None:
            try:
                self._memory.add(message.message_id, name)
            except Exception as error:
                say(logging.ERROR, "the memory raised, so %s may get a message twice", name, error=error)

    def _forget(self, message: Received) -> None:
        if self._memory is not None and message.message_id is not None:
            try:
                self._memory.forget(message.message_id)
            except Exception as error:
                say(logging.ERROR, "the memory raised, and remembers a message that is done", error=error)

    # ------------------------------------------------------------------ arguments

    def _leftover(self, name: str, policy: Any) -> Policy | Route | TransformRoute:
        """What to do with messages that nobody takes, ready to be done."""
        if isinstance(policy, str) and policy in POLICIES:
            return "keep" if policy == "keep" else "delete"
        if isinstance(policy, Transform):
            otherwise = self._leftover(f"{name}: otherwise", policy.otherwise)
            if isinstance(otherwise, TransformRoute):
                raise TypeError(f"Subscribers: {name}: otherwise must be no Transform; got {policy!r}")
            return TransformRoute(self._as_route(f"{name}: Transform", policy.function), otherwise)
        if not callable(policy):
            kind = ValueError if isinstance(policy, str) else TypeError
            raise kind(f"Subscribers: {name} must be {CHOICE}; got {policy!r}")
        return self._as_route(name, policy)

    def _as_route(self, name: str, function: Any) -> Route:
        if not callable(function):
            raise TypeError(f"Subscribers: {name} must be callable with a payload; got {function!r}")
        call, is_async = caller_of(function, f"Subscribers: {name}")
        if is_async and not self._may_be_async:
            raise UsageError(f"Subscribers: {name} is async, for which there is AsyncSubscribers")
        return policy_route(name, call, is_async)


class AsyncSubscribers(Subscribers):
    """The same for `pool="coroutines"`: subscribers whose `process` is an `async def` are awaited, others called."""

    _may_be_async = True

    async def __call__(self, items: Receipts[Any]) -> None:
        check_receipts(self, items)
        for item in items:
            settle(items, item, await self.adispatch(item))

    async def adispatch(self, item: Any) -> Outcome:
        """As `dispatch`, awaited."""
        passage = self._passage(item)
        try:
            step = next(passage)
            while True:
                route, message = step
                try:
                    result = route.call(message.payload, message)
                    if route.is_async:
                        result = await result
                except (Exception, SystemExit) as error:
                    step = passage.throw(error)
                else:
                    step = passage.send(result)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def dispatch(self, item: Any) -> Outcome:
        raise UsageError("AsyncSubscribers.dispatch: await adispatch(item) instead, for subscribers may be async")


@dataclass(frozen=True, slots=True)
class TransformRoute:
    """`Transform`, ready to be done."""

    route: Route
    otherwise: Policy | Route


def policy_route(name: str, call: Call, is_async: bool) -> Route:
    done = Answer(name, ProcessStatus.DONE)
    return Route(-1, name, frozenset(PayloadType), rules_of_nothing("all"), None, call, (), is_async, done)


def remade(kind: type[Subscribers], subscribers: tuple[Any, ...], options: Mapping[str, Any]) -> Subscribers:
    """In another process: patterns are compiled anew."""
    return kind(subscribers, **options)


def unmatched(message: Received, action: Literal["delete", "drop", "keep"], by: str = "policy") -> MessageUnmatched:
    return MessageUnmatched(message_id=message.message_id, payload_type=message.payload_type, action=action, by=by)


def answer_of_result(route: Route, result: Any) -> Answer:
    """What a subscriber returned: a status, or None, which is DONE; for anything else its message is kept."""
    if result is None or result is ProcessStatus.DONE:
        return route.done
    if result is ProcessStatus.RETRY_LATER:
        return Answer(route.name, ProcessStatus.RETRY_LATER)
    if result is ProcessStatus.FATAL_ERROR:
        return Answer(route.name, ProcessStatus.FATAL_ERROR, FatalError(f"{route.name} returned FATAL_ERROR"))
    if result is ProcessStatus.RETRIABLE_ERROR:
        error = RetriableError(f"{route.name} returned RETRIABLE_ERROR")
    elif any(hasattr(cast(Any, type(result)), verb) for verb in ("__await__", "send")):
        close = getattr(result, "close", None)
        if callable(close):
            close()  # it never runs, and should not be warned about in some other place
        error = RetriableError(f"{route.name} returned a {type(result).__name__}, so nothing of it has run")
    else:
        error = RetriableError(f"{route.name} must return a ProcessStatus or None; got {shown(result)}")
    return Answer(route.name, ProcessStatus.RETRIABLE_ERROR, error)


def check_receipts(handler: Subscribers, items: object) -> None:
    if not hasattr(items, "ack"):
        raise UsageError(
            f"{handler!r} says of each message what became of it: it needs receipt='explicit', which it brings along, "
            "and is called by a Consumer"
        )


def settle(items: Receipts[Any], item: Any, outcome: Outcome) -> None:
    """Tell the line."""
    if outcome.action == "delete":
        items.ack(item)
    elif outcome.action == "drop":
        items.fail(item, error=Drop(outcome.reason))
    elif outcome.error is None:
        items.fail(item, error=Retry(outcome.delay))
    else:
        items.fail(item, outcome.delay, error=outcome.error)
