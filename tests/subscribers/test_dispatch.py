"""Dispatch: what several answers come to, what nobody takes, what fails for good, and what is remembered."""

# Patterns are lambdas and values of every type, in tables; that these are of unknown types is what is meant.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from queue_consumer import Drop, Event, MemoryQueue, Retry, UsageError
from queue_consumer.subscribers import (
    AsyncSubscribers,
    DataSubscriber,
    DeadLetters,
    Decoder,
    EventSubscriber,
    FatalFailure,
    FatalHandled,
    MessageSubscriber,
    MessageUnmatched,
    PayloadType,
    PredicateFailed,
    ProcessStatus,
    Received,
    Remembered,
    SignatureError,
    SubscriberFailed,
    Subscribers,
    ToFile,
    Transform,
    data_subscriber,
    mega,
    message_subscriber,
    not_,
)
from support.subscriber_fuzz import Loud

DONE, LATER = ProcessStatus.DONE, ProcessStatus.RETRY_LATER
FATAL, RETRIABLE = ProcessStatus.FATAL_ERROR, ProcessStatus.RETRIABLE_ERROR


class Item(NamedTuple):
    """A message as a queue gives it."""

    body: Any
    id: Any = "m-1"
    attributes: Any = {}  # noqa: RUF012 - it is not changed


class Busy(Exception):
    """Comes again."""


class Down(Exception):
    """Comes again, for everybody."""


class Bug(Exception):
    """Does not."""


def subscriber(name: str, do: Callable[[Any], Any], base: type = DataSubscriber, **rules: Any) -> Any:
    """A class of this name that does this."""
    made = type(name, (base,), {"process": lambda self, payload: do(payload), "retry_on": Busy, **rules})
    made.__qualname__ = name
    return made


def answering(how: Any) -> Callable[[Any], Any]:
    """Returns that, or raises it."""

    def do(payload: Any) -> Any:
        if isinstance(how, BaseException):
            raise how
        return how

    return do


# ---------------------------------------------------------------------- what answers come to

ANSWERS: list[tuple[Any, ProcessStatus]] = [
    (None, DONE),
    (DONE, DONE),
    (LATER, LATER),
    (Retry(), LATER),
    (RETRIABLE, RETRIABLE),
    (Busy("busy"), RETRIABLE),
    (Down("down"), RETRIABLE),
    (FATAL, FATAL),
    (Bug("bug"), FATAL),
    (SystemExit(1), FATAL),
    (StopIteration(), FATAL),
    ("nonsense", RETRIABLE),
    (True, RETRIABLE),
]


@pytest.mark.parametrize(("one", "other"), list(itertools.product(ANSWERS, ANSWERS)))
def test_the_matrix_of_two(one: Any, other: Any) -> None:
    """Whatever one says, the other is asked; any wish to keep the message keeps it; else it is deleted."""
    registry = Subscribers(
        [subscriber("One", answering(one[0])), subscriber("Other", answering(other[0]))], retry_on=Down
    )
    outcome = registry.dispatch(Item({"a": 1}))
    assert [answer.status for answer in outcome.answers] == [one[1], other[1]]
    statuses = {one[1], other[1]}
    if RETRIABLE in statuses:
        assert outcome.action == "keep"
        assert outcome.error is not None
    elif LATER in statuses:
        assert (outcome.action, outcome.error) == ("keep", None)
    elif FATAL in statuses:
        assert (outcome.action, outcome.error is not None) == ("drop", True)
    else:
        assert (outcome.action, outcome.error) == ("delete", None)


def test_a_message_goes_to_all_who_match() -> None:
    """In the order of registration; to nobody else."""
    asked: list[str] = []

    def asks(name: str, **rules: Any) -> Any:
        return subscriber(name, lambda payload: asked.append(name), **rules)

    others = {"pattern": {"a": 2}}
    registry = Subscribers(
        [asks("A"), asks("B", pattern={"a": 1}), asks("C", **others), asks("D", pattern={"a": not_(2)})]
    )
    assert registry.dispatch(Item({"a": 1})).action == "delete"
    assert asked == ["A", "B", "D"]


@pytest.mark.parametrize(
    ("answers", "retry_delay", "delay"),
    [
        ([Retry(5), Retry(3), None], None, 3),
        ([Retry()], None, None),
        ([LATER], 7, 7),
        ([Retry(5)], 7, 5),
        ([Retry(5), RETRIABLE], None, None),
    ],
)
def test_delays(answers: list[Any], retry_delay: float | None, delay: float | None) -> None:
    """The shortest that was asked for; else the registry's; after an error the consumer's back-off."""
    made = [subscriber(f"S{index}", answering(answer)) for index, answer in enumerate(answers)]
    assert Subscribers(made, retry_delay=retry_delay).dispatch(Item({})).delay == delay


def test_dropped_messages_are_deleted_and_counted_apart() -> None:
    """`Drop` is no error, and does not keep others from keeping the message."""
    drops = subscriber("Drops", answering(Drop("not ours")))
    assert Subscribers([drops]).dispatch(Item({})).action == "drop"
    assert Subscribers([drops, subscriber("Later", answering(LATER))]).dispatch(Item({})).action == "keep"


async def never() -> None:
    """Is not awaited."""


def test_what_is_no_status_keeps_the_message() -> None:
    """What a subscriber returns must say what it means; what has yet to run has not run."""
    for result, words in (("done", "must return a ProcessStatus or None; got 'done'"), (False, "got False")):
        outcome = Subscribers([subscriber("S", answering(result))]).dispatch(Item({}))
        assert (outcome.action, words in str(outcome.error)) == ("keep", True)
    outcome = Subscribers([subscriber("S", lambda payload: never())]).dispatch(Item({}))
    assert (outcome.action, "so nothing of it has run" in str(outcome.error)) == ("keep", True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
def test_what_does_not_speak_of_the_message_goes_through(error: type[BaseException]) -> None:
    """Ctrl-C and cancellations are for the program."""
    with pytest.raises(error):
        Subscribers([subscriber("S", answering(error()))]).dispatch(Item({}))


# ---------------------------------------------------------------------- what nobody takes

NOBODY: list[tuple[Any, PayloadType]] = [
    ("text", PayloadType.PLAINTEXT),
    (b"\xff", PayloadType.BINARY),
    ({"a": 1}, PayloadType.DATA),
    (mega.Payload(mega.Event("x")), PayloadType.MEGA),
]


@pytest.mark.parametrize(("body", "kind"), NOBODY)
@pytest.mark.parametrize(("policy", "action"), [("delete", "drop"), ("keep", "keep")])
def test_what_nobody_takes_is_deleted_or_kept_and_said_aloud(body: Any, kind: Any, policy: Any, action: Any) -> None:
    """By default it is deleted; either way an event says so."""
    events: list[Event] = []
    registry = Subscribers(unmatched=policy, observers=[events.append])
    assert registry.dispatch(Item(body)).action == action
    assert events == [MessageUnmatched(message_id="m-1", payload_type=kind, action=action)]
    if policy == "delete":
        assert Subscribers().dispatch(Item(body)).action == "drop"


@pytest.mark.parametrize(("body", "kind"), NOBODY)
def test_text_and_blobs_have_policies_of_their_own(body: Any, kind: Any) -> None:
    """For what is no data; else they are as others."""
    registry = Subscribers(unmatched="keep", text="delete", blobs="delete")
    expected = "drop" if kind in (PayloadType.PLAINTEXT, PayloadType.BINARY) else "keep"
    assert registry.dispatch(Item(body)).action == expected


def test_what_nobody_takes_can_be_handed_to_a_callable() -> None:
    """As to a subscriber: with the message if it takes that; what it returns or raises counts."""
    seen: list[Any] = []
    events: list[Event] = []
    registry = Subscribers(
        unmatched=lambda payload, message: seen.append((payload, message.message_id)),
        text=answering(Bug("bug")),
        blobs=answering(LATER),
        observers=[events.append],
    )
    assert registry.dispatch(Item({"a": 1})).action == "delete"
    assert seen == [({"a": 1}, "m-1")]
    assert events == [
        MessageUnmatched(message_id="m-1", payload_type=PayloadType.DATA, action="delete", by="unmatched")
    ]
    assert registry.dispatch(Item("text")).action == "drop"
    assert registry.dispatch(Item(b"\xff")).action == "keep"


def pairs(text: str) -> Any:
    """`a=1 b=2` as data."""
    if text == "bug":
        raise Bug("bug")
    if text == "busy":
        raise Retry(3)
    if text == "broken":
        return '{"protocol": "mega", "version": 1}'
    return dict(pair.split("=") for pair in text.split()) if "=" in text else None


@pytest.mark.parametrize(
    ("text", "otherwise", "action", "seen"),
    [
        ("a=1", "delete", "delete", [{"a": "1"}]),
        ("b=1", "delete", "drop", []),
        ("b=1", "keep", "keep", []),
        ("x", "delete", "drop", []),
        ("x", "keep", "keep", []),
        ("x", lambda payload: None, "delete", []),
        ("b=1", lambda payload: DONE, "delete", []),
        ("bug", "delete", "drop", []),
        ("busy", "delete", "keep", []),
        ("broken", "delete", "drop", []),
    ],
)
def test_text_can_be_made_data_of_and_matched_again(text: str, otherwise: Any, action: str, seen: list[Any]) -> None:
    """By a callable; if it makes nothing of it, or nobody wants what it made, there is a policy for that."""
    taken: list[Any] = []
    registry = Subscribers([subscriber("A", taken.append, pattern={"a": not_(2)})], text=Transform(pairs, otherwise))
    assert registry.dispatch(Item(text)).action == action
    assert taken == seen


# ---------------------------------------------------------------------- what fails for good


def test_what_fails_for_good_is_handed_over_before_it_is_deleted() -> None:
    """Once, with the message and all that failed for good; not while somebody wants it to come again."""
    handed: list[tuple[Received, Sequence[FatalFailure]]] = []
    events: list[Event] = []
    bugs = [
        subscriber("One", answering(Bug("one"))),
        subscriber("Good", answering(None)),
        subscriber("Two", answering(FATAL)),
    ]
    registry = Subscribers(
        bugs, on_fatal=lambda message, failures: handed.append((message, failures)), observers=[events.append]
    )
    assert registry.dispatch(Item('{"a": 1}')).action == "drop"
    ((message, failures),) = handed
    assert (message.message_id, message.body, message.payload) == ("m-1", '{"a": 1}', {"a": 1})
    assert [(one.subscriber.rpartition(".")[2], one.failure.message.rpartition(" ")[2]) for one in failures] == [
        ("One", "one"),
        ("Two", "FATAL_ERROR"),
    ]
    assert [type(event) for event in events] == [SubscriberFailed, SubscriberFailed, FatalHandled]
    later = Subscribers([*bugs, subscriber("Later", answering(LATER))], on_fatal=lambda message, failures: 1 / 0)
    assert later.dispatch(Item({})).action == "keep"


def test_a_message_that_is_not_taken_over_is_kept() -> None:
    """If `on_fatal` raises, nothing is deleted."""
    events: list[Event] = []

    def full(message: Received, failures: Sequence[FatalFailure]) -> None:
        raise OSError("the disk is full")

    registry = Subscribers([subscriber("One", answering(Bug()))], on_fatal=full, observers=[events.append])
    outcome = registry.dispatch(Item({}))
    assert (outcome.action, str(outcome.error)) == ("keep", "the disk is full")
    assert FatalHandled not in [type(event) for event in events]


@pytest.mark.parametrize("body", [{}, '{"protocol": "mega", "version": 1}'])
def test_fatal_failures_can_be_kept(body: Any) -> None:
    """With `fatal="keep"` nothing is deleted that failed, nor handed over."""
    registry = Subscribers(
        [subscriber("One", answering(Bug()))], fatal="keep", on_fatal=lambda *_: pytest.fail("it was")
    )
    outcome = registry.dispatch(Item(body))
    assert (outcome.action, outcome.error is not None) == ("keep", True)


def unreachable(envelope: Any) -> None:
    raise SignatureError("forged")


def test_what_cannot_be_decoded_fails_for_good() -> None:
    """It is handed over and deleted; its neighbours notice nothing."""
    handed: list[Any] = []
    registry = Subscribers(on_fatal=lambda message, failures: handed.append((message.body, failures[0].subscriber)))
    body = '{"protocol": "mega", "version": 1}'
    assert registry.dispatch(Item(body)).action == "drop"
    assert handed == [(body, "decoding")]


def test_what_cannot_be_decoded_for_want_of_something_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the fault of the message that a library is missing."""
    from queue_consumer.subscribers import NotInstalled

    def missing(envelope: Any) -> None:
        raise NotInstalled("install it")

    envelope = {
        "Type": "Notification",
        "MessageId": "m",
        "TopicArn": "t",
        "Timestamp": "2020-01-01T00:00",
        "Message": "x",
    }
    kept = Subscribers(decoder=Decoder(verify=missing), on_fatal=lambda *_: pytest.fail("it was handed over"))
    assert kept.dispatch(Item(envelope)).action == "keep"
    assert Subscribers(decoder=Decoder(verify=unreachable)).dispatch(Item(envelope)).action == "drop"


def test_fatal_messages_go_to_another_queue() -> None:
    """With their attributes, and what they failed of."""
    dead = MemoryQueue()
    registry = Subscribers([subscriber("One", answering(Bug("ação")))], on_fatal=DeadLetters(dead))
    registry.dispatch(Item('{"a": 1}', attributes={"tenant": "t"}))
    (letter,) = dead.get()
    assert letter.body == '{"a": 1}'
    assert letter.attributes == {"tenant": "t", "Failure": f"{__name__}.One: {__name__}.Bug"}
    with pytest.raises(TypeError, match="queue must have put"):
        DeadLetters(object())  # type: ignore[arg-type]
    full = {f"a{index}": "x" for index in range(10)}
    Subscribers([subscriber("One", answering(Bug()))], on_fatal=DeadLetters(dead)).dispatch(Item({}, attributes=full))
    (letter,) = dead.get()
    assert letter.attributes == full


def test_fatal_messages_go_to_a_file(tmp_path: Path) -> None:
    """A line for each, with all that is needed to send it again."""
    path = tmp_path / "fatal.jsonl"
    sink = pickle.loads(pickle.dumps(ToFile(path)))
    registry = Subscribers([subscriber("One", answering(Bug("bug")), MessageSubscriber)], on_fatal=sink)
    for body in ("text", b"\xff", {"a": 1}):
        assert registry.dispatch(Item(body, attributes={"raw": b"\x00"})).action == "drop"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["body"] for line in lines] == ["text", {"base64": "/w=="}, {"a": 1}]
    (failure,) = lines[0]["failures"]
    assert (failure["kind"], failure["message"]) == (f"{__name__}.Bug", "bug")
    assert (lines[0]["id"], lines[0]["attributes"]) == ("m-1", {"raw": {"base64": "AA=="}})
    assert (
        Subscribers([subscriber("One", answering(Bug()))], on_fatal=ToFile(tmp_path)).dispatch(Item({})).action
        == "keep"
    )


# ---------------------------------------------------------------------- memory


class Turns:
    """Answers in turn."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls = 0

    def __call__(self, payload: Any) -> Any:
        self.calls += 1
        return answering(self.answers.pop(0))(payload)


def test_who_has_succeeded_is_skipped_when_the_message_comes_again() -> None:
    """Only with that message, only those, and only until it is done with."""
    good, late, bug = Turns(None, None), Turns(LATER, Busy(), None), Turns(Bug(), Bug(), None)
    memory = Remembered()
    made = [subscriber("Good", good), subscriber("Late", late), subscriber("Bug", bug)]
    registry = Subscribers(made, remember=memory)
    outcomes = [registry.dispatch(Item({"a": 1})) for _ in range(3)]
    assert [outcome.action for outcome in outcomes] == ["keep", "keep", "delete"]
    assert (good.calls, late.calls, bug.calls) == (1, 3, 3)
    assert [answer.skipped for answer in outcomes[1].answers] == [True, False, False]
    assert len(memory) == 0
    late.answers, bug.answers = [None], [None]
    assert registry.dispatch(Item({"a": 1}, "m-2")).action == "delete"
    assert good.calls == 2


def test_without_memory_all_are_asked_again() -> None:
    """So it is unless it is asked for, and for messages without an id."""
    for remember, id in ((False, "m-1"), (True, None)):
        good = Turns(None, None)
        registry = Subscribers([subscriber("Good", good), subscriber("Late", Turns(LATER, None))], remember=remember)
        for _ in range(2):
            registry.dispatch(Item({}, id))
        assert good.calls == 2


class Failing:
    """A memory that does not work."""

    def succeeded(self, message_id: Any) -> Any:
        raise OSError("no")

    def add(self, message_id: Any, subscriber: str) -> None:
        raise OSError("no")

    def forget(self, message_id: Any) -> None:
        raise OSError("no")


def test_a_memory_that_fails_remembers_nothing() -> None:
    """And keeps no message from anybody."""
    registry = Subscribers([subscriber("A", answering(None)), subscriber("B", answering(None))], remember=Failing())
    assert registry.dispatch(Item({})).action == "delete"


def test_memory_has_its_limits() -> None:
    """So many messages, for so long."""
    now = [0.0]
    memory = Remembered(most=2, seconds=10, clock=lambda: now[0])
    for id in ("a", "b", "c"):
        memory.add(id, "S")
    assert [bool(memory.succeeded(id)) for id in ("a", "b", "c")] == [False, True, True]
    now[0] = 11
    assert not memory.succeeded("c")
    assert len(memory) == 0
    for most, seconds in ((0, 1), (True, 1), (1, 0)):
        with pytest.raises(ValueError, match="Remembered: "):
            Remembered(most, seconds)
    assert len(pickle.loads(pickle.dumps(memory))) == 0


# ---------------------------------------------------------------------- said aloud


def test_what_a_subscriber_failed_of_is_said_aloud() -> None:
    """In an event, with the failure as plain values."""
    events: list[Any] = []
    made = [
        subscriber("One", answering(Bug("bug"))),
        subscriber("Two", answering(LATER)),
        subscriber("Three", answering(None)),
    ]
    Subscribers(made, observers=[events.append]).dispatch(Item({}))
    (failed,) = events
    assert isinstance(failed, SubscriberFailed)
    assert (failed.subscriber.rpartition(".")[2], failed.status, failed.message_id) == ("One", FATAL, "m-1")
    assert failed.failure is not None
    assert failed.failure.message == "bug"


def test_a_broken_predicate_is_said_aloud_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """With its place; and it is no match, nor is its negation."""
    events: list[Any] = []
    made = subscriber("One", answering(None), pattern={"a": not_(answering(Bug("bug")))})
    registry = Subscribers([made], observers=[events.append])
    with caplog.at_level(logging.INFO, "queue_consumer"):
        for _ in range(3):
            assert registry.dispatch(Item({"a": 1})).action == "drop"
    failed = [event for event in events if isinstance(event, PredicateFailed)]
    assert [(event.where, event.failure.message) for event in failed] == [("One.pattern['a']", "bug")] * 3
    assert len([record for record in caplog.records if "One.pattern" in record.getMessage()]) == 1


def test_an_observer_that_raises_is_muted() -> None:
    """And the message has its fate; the other observers go on."""
    events: list[Event] = []
    registry = Subscribers(observers=[lambda event: 1 / 0, events.append])
    for _ in range(2):
        assert registry.dispatch(Item("x")).action == "drop"
    assert len(events) == 2


def test_bodies_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever becomes of a message, the log has its id."""
    with caplog.at_level(logging.DEBUG, "queue_consumer"):
        for body in ('{"secret": 1}', "secret", '{"protocol": "mega", "version": 1, "secret": 5}'):
            Subscribers([subscriber("One", answering(Bug()))]).dispatch(Item(body, "m-7"))
    assert "m-7" in caplog.text
    assert "secret" not in caplog.text


# ---------------------------------------------------------------------- items


class Awkward:
    """An item that cannot be looked at."""

    @property
    def body(self) -> Any:
        raise Bug("no body")

    id = property(lambda self: [])  # has no hash


def test_items_may_be_anything() -> None:
    """Messages with a body; or bodies themselves; what is neither is invalid."""
    seen: list[Any] = []
    registry = Subscribers([subscriber("All", seen.append, MessageSubscriber)])
    for item in ("text", b"\xff", {"a": 1}, mega.Payload(mega.Event("x")), Item("y")):
        assert registry.dispatch(item).action == "delete"
    assert seen == ["text", b"\xff", {"a": 1}, seen[3], "y"]
    for odd in (5, None, Awkward(), object(), Loud(), [Loud()]):
        assert registry.dispatch(odd).action == "drop"


def test_confirmations_go_to_those_who_take_them() -> None:
    """As the objects they are."""
    seen: list[Any] = []

    @message_subscriber(PayloadType.NONE)
    def confirm(confirmation: Any) -> None:
        seen.append(confirmation.token)

    envelope = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "m",
        "TopicArn": "t",
        "Timestamp": "2020-01-01T00:00:00Z",
    }
    body = {**envelope, "Message": "x", "Token": "t-1", "SubscribeURL": "https://sns"}
    assert Subscribers([confirm]).dispatch(Item(json.dumps(body))).action == "delete"
    assert seen == ["t-1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unmatched": "ignore"}, "unmatched must be 'delete', 'keep', a callable or Transform"),
        ({"unmatched": 5}, "unmatched must be"),
        ({"text": Transform(5)}, "text: Transform must be callable"),  # type: ignore[arg-type]
        ({"text": Transform(str, Transform(str))}, "text: otherwise must be no Transform"),  # type: ignore[arg-type]
        ({"blobs": lambda: None}, "must take the payload"),
        ({"unmatched": never}, "must take the payload"),
        ({"fatal": "ignore"}, "fatal must be 'delete' or 'keep'; got 'ignore'"),
        ({"on_fatal": 5}, "on_fatal must be callable"),
        ({"retry_on": "x"}, "retry_on must be exceptions"),
        ({"retry_delay": -1}, "retry_delay must be at least 0 seconds"),
        ({"remember": 5}, "remember must be True, False or a Memory"),
        ({"observers": [5]}, "observers must be callables of one event"),
    ],
)
def test_options_are_checked(options: dict[str, Any], words: str) -> None:
    """In sentences."""
    with pytest.raises((TypeError, ValueError, UsageError), match=words):
        Subscribers(**options)


# ---------------------------------------------------------------------- coroutines


def test_async_subscribers_are_awaited() -> None:
    """One after the other, with those that are not; a policy may be async, too."""
    seen: list[Any] = []

    class Awaited(EventSubscriber):
        name = "x"

        async def process(self, payload: mega.Payload) -> ProcessStatus:
            await asyncio.sleep(0)
            seen.append(payload.event.name)
            return LATER

    @data_subscriber({"bug": True})
    async def bug(payload: Any) -> None:
        raise Bug("bug")

    async def text(payload: str) -> None:
        seen.append(payload)

    registry = AsyncSubscribers([Awaited, bug, subscriber("Plain", seen.append)], text=text)

    async def run() -> list[str]:
        items = (mega.Payload(mega.Event("x")), {"bug": True}, {"a": 1}, "text")
        return [(await registry.adispatch(Item(item))).action for item in items]

    assert asyncio.run(run()) == ["keep", "drop", "delete", "delete"]
    assert seen == ["x", {"bug": True}, {"a": 1}, "text"]
    with pytest.raises(UsageError, match="await adispatch"):
        registry.dispatch(Item({}))
    with pytest.raises(UsageError, match="is async, for which there is AsyncSubscribers"):
        Subscribers(text=text)
