"""Subscribers: how they are declared, what they take, and what is refused at the class statement."""

# Patterns are lambdas and values of every type, in tables; that these are of unknown types is what is meant.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import pickle
from datetime import date
from typing import Any, ClassVar

import pytest

from queue_consumer import UsageError
from queue_consumer.subscribers import (
    AsyncSubscribers,
    DataSubscriber,
    DateTime,
    EventSubscriber,
    MessageSubscriber,
    PatternError,
    PayloadType,
    ProcessStatus,
    Received,
    RightHandSideTypeError,
    Subscribers,
    absent,
    and_,
    any_,
    data_subscriber,
    eq,
    event_subscriber,
    explain,
    gt,
    gte,
    in_,
    match,
    mega,
    message_subscriber,
    not_,
    one_of,
    or_,
)

EVENT = mega.Payload(
    mega.Event(
        "item.added",
        version=2,
        timestamp=DateTime("2020-05-04T15:53:23"),  # type: ignore[arg-type]  # it has a time
        domain="shop",
        subject="987",
        publisher="carts",
        attributes={"quantity": 5},
    ),
    mega.ObjectData({"total": "12.5"}, type="cart", id="7", version=3, previous={"total": "0"}),
)
BARE = mega.Payload(mega.Event("item.added"))


def takes(subscriber: Any, payload: Any) -> bool:
    """Whether it would be processed; the explanation must say the same."""
    taken = bool(Subscribers([subscriber]).matching(payload))
    assert explain(subscriber, payload).matched is taken
    return taken


def subscriber(base: type, **rules: Any) -> Any:
    """A class with these attributes."""
    return type("Made", (base,), {"process": lambda self, payload: None, **rules})


# ---------------------------------------------------------------------- events

ROWS = [
    ("event_name", "name", "item.added", "item.removed"),
    ("event_domain", "domain", "shop", "user"),
    ("event_version", "version", 2, 1),
    ("event_timestamp", "timestamp", gte(date(2020, 5, 4)), gt(date(2020, 5, 4))),
    ("event_subject", "subject", match(r"^\d+$"), match("x")),
    ("event_publisher", "publisher", one_of("carts", "x"), one_of("x", "y")),
    ("event_attributes", "attributes", {"quantity": gt(4)}, {"quantity": gt(5)}),
    ("object_type", None, "cart", "user"),
    ("object_version", None, one_of(1, 3), one_of(1, 2)),
    ("object_id", None, not_("8"), not_("7")),
    ("object_current", "current_object", {"total": gt(12)}, {"total": gt(13)}),
    ("object_previous", "previous_object", {"total": 0}, {"total": 1}),
]


@pytest.mark.parametrize(("attribute", "alias", "yes", "no"), ROWS)
def test_attributes_and_their_aliases(attribute: str, alias: str | None, yes: Any, no: Any) -> None:
    """Each is matched against its place in the event; where both names are there, the long one counts."""
    for name in filter(None, (attribute, alias)):
        assert takes(subscriber(EventSubscriber, **{name: yes}), EVENT)
        assert not takes(subscriber(EventSubscriber, **{name: no}), EVENT)
    if alias:
        assert takes(subscriber(EventSubscriber, **{attribute: yes, alias: no}), EVENT)
        assert not takes(subscriber(EventSubscriber, **{attribute: no, alias: yes}), EVENT)


ALWAYS_THERE = ("event_name", "event_version", "event_timestamp", "event_attributes")


@pytest.mark.parametrize("attribute", [row[0] for row in ROWS if row[0] not in (*ALWAYS_THERE, "object_version")])
def test_what_an_event_does_not_have_is_no_match(attribute: str) -> None:
    """Whatever is asked of it, but that there is none."""
    assert not takes(subscriber(EventSubscriber, **{attribute: any_()}), BARE)
    for none in (None, absent(), or_(absent(), any_())):
        assert takes(subscriber(EventSubscriber, **{attribute: none}), BARE)
    for none in (None, absent()):
        assert not takes(subscriber(EventSubscriber, **{attribute: none}), EVENT)


def test_all_rules_must_hold() -> None:
    """One that does not is enough."""
    rules = {attribute: yes for attribute, _, yes, _ in ROWS}
    assert takes(subscriber(EventSubscriber, **rules), EVENT)
    for attribute, _, _, no in ROWS:
        assert not takes(subscriber(EventSubscriber, **{**rules, attribute: no}), EVENT)


def test_without_rules_all_of_its_kind_are_taken_and_only_those() -> None:
    """An event subscriber takes all events, a data subscriber all data, neither anything else."""
    events, data = subscriber(EventSubscriber), subscriber(DataSubscriber)
    everything = [EVENT, {"a": 1}, {}, "text", b"\xff", "123"]
    assert [takes(events, payload) for payload in everything] == [True, False, False, False, False, False]
    assert [takes(data, payload) for payload in everything] == [False, True, True, False, False, False]
    assert [takes(subscriber(MessageSubscriber), payload) for payload in everything] == [True] * 6
    texts = subscriber(MessageSubscriber, payload_types=(PayloadType.PLAINTEXT,))
    assert [takes(texts, payload) for payload in everything] == [False, False, False, True, False, True]
    assert explain(events, "text").lines == ("no  the payload is PLAINTEXT, and MEGA is taken",)


def test_rules_are_inherited() -> None:
    """A subclass has its parent's rules, and may replace them."""

    class Shop(EventSubscriber):
        domain = "shop"

        def process(self, payload: mega.Payload) -> None: ...

    class Added(Shop):
        name = "item.added"

    class Users(Shop):
        event_domain = "user"

    assert takes(Added, EVENT)
    assert not takes(Added, mega.Payload(mega.Event("item.added", domain="user")))
    assert not takes(Users, EVENT)


class Quiet:
    """Not called by anything."""


def test_a_lambda_in_a_class_body_is_no_method() -> None:
    """It is called with the value, as it is elsewhere; so is a static method."""

    class Lambdas(EventSubscriber):
        name = lambda value: value.startswith("item.")  # noqa: E731 - it is what users write

        @staticmethod
        def subject(value: str) -> bool:
            return value == "987"

        def process(self, payload: mega.Payload) -> None: ...

    assert takes(Lambdas, EVENT)
    assert not takes(Lambdas, mega.Payload(mega.Event("x", subject="987")))


def test_rules_of_an_instance_count() -> None:
    """What `__init__` sets is asked for."""

    class Of(DataSubscriber):
        def __init__(self, kind: str) -> None:
            self.pattern = {"kind": kind}  # type: ignore[misc]

        def process(self, payload: dict[str, Any]) -> None: ...

    assert Subscribers([Of("a")]).matching({"kind": "a"})
    assert not Subscribers([Of("a")]).matching({"kind": "b"})


def test_rules_of_its_own() -> None:
    """`accepts` has the last word; one that raises does not accept."""

    class Odd(DataSubscriber):
        pattern: ClassVar[Any] = {"number": any_()}

        def accepts(self, payload: dict[str, Any]) -> bool:
            return bool(payload["number"] % 2)

        def process(self, payload: dict[str, Any]) -> None: ...

    registry = Subscribers([Odd])
    assert [bool(registry.matching({"number": number})) for number in (1, 2, "x")] == [True, False, False]


# ---------------------------------------------------------------------- what is refused where it is declared


@pytest.mark.parametrize(
    ("base", "rules", "sentence"),
    [
        (DataSubscriber, {"pattern": {"a": {"b": gt("x")}}}, r"Made.pattern\['a'\]\['b'\]: gt takes a number"),
        (DataSubscriber, {"pattern": "x"}, "Made.pattern: it must be a mapping, since data has keys; got 'x'"),
        (DataSubscriber, {"pattern": ["x"]}, "Made.pattern: it must be a mapping"),
        (DataSubscriber, {"pattern": {5: "x"}}, "the keys of a payload are text, so 5 could never be there"),
        (DataSubscriber, {"pattern": {"a": {5: "x"}}}, r"Made.pattern\['a'\]: the keys of a payload are text"),
        (EventSubscriber, {"name": match("(")}, r"Made.name: '\(' is no regular expression"),
        (EventSubscriber, {"object_current": {"a": gt(None)}}, r"Made.object_current\['a'\]: gt takes"),
        (EventSubscriber, {"version": "1"}, "Made.version: event.version is a number, which never equals '1'"),
        (EventSubscriber, {"version": eq("1")}, "which never equals '1'"),
        (EventSubscriber, {"name": True}, "Made.name: event.name is text, which never equals True"),
        (EventSubscriber, {"timestamp": "2020-01-01"}, r"write DateTime\('2020-01-01'\)"),
        (EventSubscriber, {"attributes": "x"}, "event.attributes is a mapping, which never equals 'x'"),
        (EventSubscriber, {"attributes": ["x"]}, "event.attributes is a mapping"),
        (EventSubscriber, {"attributes": {5: 1}}, "the keys of a payload are text"),
        (EventSubscriber, {"object_id": {"a": 1}}, "object.id is text"),
        (EventSubscriber, {"domain": any_}, r"Made.domain: any_ must be called"),
        (EventSubscriber, {"subject": lambda one, other: True}, "a callable is called with one value"),
    ],
)
def test_a_class_whose_rules_cannot_work_is_refused(base: type, rules: dict[str, Any], sentence: str) -> None:
    """By the class statement, with a sentence that says which rule of which class."""
    with pytest.raises(PatternError, match=sentence):
        subscriber(base, **rules)
    if "never equals" in sentence:
        with pytest.raises(RightHandSideTypeError):
            subscriber(base, **rules)


class Good(DataSubscriber):
    """Takes all data."""

    def process(self, payload: dict[str, Any]) -> None: ...


class NeedsArguments(DataSubscriber):
    """Cannot be made without."""

    def __init__(self, what: str) -> None:
        self.what = what

    def process(self, payload: dict[str, Any]) -> None: ...


async def asynchronous(self: Any, payload: Any) -> None:
    """Is to be awaited."""


def generator(self: Any, payload: Any) -> Any:
    """Runs nothing when it is called."""
    yield


def none_at_all() -> None:
    """Takes nothing."""


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: [Quiet], TypeError, "a subscriber must be a subclass of MessageSubscriber"),
        (lambda: [lambda payload: None], TypeError, "or a function under a decorator"),
        (lambda: [5], TypeError, "a subscriber must be"),
        (lambda: [type("Idle", (EventSubscriber,), {})], UsageError, "Idle must define process"),
        (lambda: [Good, Good], UsageError, "Good is registered already"),
        (lambda: [Good, Good()], UsageError, "Good is registered already"),
        (lambda: [NeedsArguments], TypeError, "must be made without arguments, or be registered as an instance"),
        (lambda: [subscriber(Good, process=asynchronous)], UsageError, "for which there is AsyncSubscribers"),
        (lambda: [subscriber(Good, process=generator)], UsageError, "it is a generator function"),
        (lambda: [subscriber(Good, process=staticmethod(none_at_all))], UsageError, "must take the payload"),
        (lambda: [subscriber(Good, process=lambda self, a, b, c: None)], UsageError, "and may take the message"),
        (lambda: [subscriber(Good, retry_on="x")], TypeError, "retry_on must be exceptions"),
        (lambda: [subscriber(Good, retry_on=KeyboardInterrupt)], TypeError, "retry_on must be exceptions"),
        (lambda: [subscriber(Good, payload_types=("DATA",))], PatternError, "payload_types must be of PayloadType"),
    ],
)
def test_what_is_no_subscriber_is_refused(make: Any, error: type[Exception], sentence: str) -> None:
    """When it is registered, in a sentence."""
    with pytest.raises(error, match=sentence):
        Subscribers(make())


def test_async_subscribers_take_both() -> None:
    """Those that are awaited, and those that are called."""
    assert len(AsyncSubscribers([Good, subscriber(EventSubscriber, process=asynchronous)])) == 2


# ---------------------------------------------------------------------- how process is called


def test_the_message_comes_along_for_those_who_have_a_place_for_it() -> None:
    """A second parameter without a default, or named `message`, is given the message; others keep their defaults."""
    seen: list[Any] = []
    forms = {
        "payload": lambda self, payload: seen.append(payload),
        "with a default": lambda self, payload, times=3: seen.append(times),
        "any number": lambda self, *payloads: seen.append(payloads),
        "two": lambda self, payload, received: seen.append(received),
        "message": lambda self, payload, message=None: seen.append(message),
        "no self": lambda payload: seen.append(payload),
        "static": staticmethod(lambda payload: seen.append(payload)),
        "class": classmethod(lambda cls, payload: seen.append(payload)),
    }
    for form in forms.values():
        Subscribers([subscriber(DataSubscriber, process=form)]).dispatch({"a": 1})
    assert seen[:3] == [{"a": 1}, 3, ({"a": 1},)]
    assert [type(one) for one in seen[3:5]] == [Received, Received]
    assert seen[5:] == [{"a": 1}] * 3


# ---------------------------------------------------------------------- decorators


@event_subscriber(domain="shop", name="item.added", attributes={"quantity": gt(0)}, retry_on=OSError)
def on_item_added(payload: mega.Payload) -> ProcessStatus:
    """What the function says."""
    return ProcessStatus.RETRY_LATER if payload.event.quantity == 5 else ProcessStatus.DONE


@data_subscriber({"kind": in_(["a", "b"])})
def on_data(payload: dict[str, Any]) -> None:
    """Takes these kinds."""


@message_subscriber(PayloadType.PLAINTEXT)
def on_text(payload: str, message: Received) -> None:
    """Takes text, with its message."""


def test_functions_are_subscribers() -> None:
    """Under a decorator with their rules; they stay functions, and go to other processes by their names."""
    assert takes(on_item_added, EVENT)
    assert not takes(on_item_added, BARE)
    assert [takes(on_data, {"kind": kind}) for kind in ("a", "c")] == [True, False]
    assert [takes(on_text, payload) for payload in ("x", {"kind": "a"})] == [True, False]
    assert on_item_added(EVENT) is ProcessStatus.RETRY_LATER
    assert (on_item_added.__name__, on_item_added.__doc__) == ("on_item_added", "What the function says.")
    assert pickle.loads(pickle.dumps(on_item_added)) is on_item_added
    assert "on_item_added" in repr(on_item_added)
    registry = pickle.loads(pickle.dumps(Subscribers([on_item_added, on_data, on_text, Good])))
    assert registry.matching({"kind": "a"}) == [f"{__name__}.on_data", f"{__name__}.Good"]
    assert registry.dispatch(EVENT).action == "keep"


def test_decorators_refuse_what_cannot_work() -> None:
    """A rule that there is not, or that cannot work, and a function that does not take a payload."""
    with pytest.raises(TypeError, match="event_subscriber: there is no rule 'atributes'; there are event_name, name"):
        event_subscriber(atributes={})
    with pytest.raises(PatternError, match=r"on\.name: '\(' is no regular expression"):

        @event_subscriber(name=match("("))
        def on(payload: Any) -> None: ...

    with pytest.raises(PatternError, match="pattern: it must be a mapping"):
        data_subscriber("x")(print)
    with pytest.raises(UsageError, match="registered already"):
        Subscribers([on_data, on_data])


def test_explanations_of_a_registry() -> None:
    """It says of each subscriber why a message would go to it, or not."""
    told = Subscribers([on_item_added, on_data, Good]).explain({"kind": "c"})
    assert {name.rpartition(".")[2]: bool(explanation) for name, explanation in told.items()} == {
        "on_item_added": False,
        "on_data": False,
        "Good": True,
    }
    assert told[f"{__name__}.on_data"].lines == ("no  kind: 'c' is none of 'a', 'b'",)


# ---------------------------------------------------------------------- the index


def test_the_index_finds_what_asking_all_would_find() -> None:
    """Literal names, choices of names, names among others, literal keys of data: the same subscribers, in order."""
    names: list[Any] = [
        "a",
        eq("b"),
        one_of("a", "b"),
        ["a", "c"],
        match("a|b"),
        not_("a"),
        or_("a", "c"),
        any_(),
        None,
    ]
    names += [and_("a", any_()), and_(any_(), one_of("a", "d")), one_of("a", match("d")), Word("a"), ""]
    events = [subscriber(EventSubscriber, **({} if name is None else {"name": name})) for name in names]
    data = [subscriber(DataSubscriber, pattern={"n": any_(), "k": name}) for name in names if name is not None]
    for index, made in enumerate([*events, *data]):
        made.__qualname__ = f"Made{index}"
    registry = Subscribers([*events, *data])
    for text in ("a", "b", "c", "d", "e"):
        payload = mega.Payload(mega.Event(text))
        expected = [made.__qualname__ for made in events if explain(made, payload)]
        assert [name.rpartition(".")[2] for name in registry.matching(payload)] == expected
    for value in ("a", "b", "c", "d", "", None, ["a"], ["c", "a"], 5, {"a": 1}, Word("a")):
        expected = [made.__qualname__ for made in data if explain(made, {"n": 1, "k": value})]
        assert [name.rpartition(".")[2] for name in registry.matching({"n": 1, "k": value})] == expected


class Word(str):
    """Text of a kind of its own."""


def test_a_thousand_subscribers_are_not_all_asked() -> None:
    """Those with literal names of events, or literal keys of data, are found and not asked one by one."""
    asked: list[int] = []

    def made(index: int, base: type, **rules: Any) -> Any:
        def accepts(self: Any, payload: Any) -> bool:
            asked.append(index)
            return True

        kind = subscriber(base, accepts=accepts, **rules)
        kind.__qualname__ = f"Made{index}"
        return kind

    def wanted(index: int, wants: list[int]) -> Any:

        def want(value: Any) -> bool:
            wants.append(index)
            return True

        return want

    wants: list[int] = []
    events = [
        made(index, EventSubscriber, name=f"event.{index}", subject=wanted(index, wants)) for index in range(1_000)
    ]
    data = [
        made(index, DataSubscriber, pattern={"subject": wanted(index, wants), "kind": f"kind.{index - 1_000}"})
        for index in range(1_000, 2_000)
    ]
    registry = Subscribers([*events, *data])
    registry.dispatch(mega.Payload(mega.Event("event.7", subject="x")))
    registry.dispatch({"kind": "kind.8", "subject": "x"})
    assert asked == wants == [7, 1_008]
