"""What jobs are written with: what goes in comes out, and the receiver says who may read."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import uuid
import zlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, Union

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_consumer import MemoryMessage, MemoryQueue
from queue_consumer.jobs import BadMessage, Jobs, Json, Pickle, RefusedCodec, _pickle
from queue_consumer.jobs.testing import run_until_empty

KEY = b"a key of sixteen or more bytes"


def registry(**options: Any) -> tuple[Jobs, MemoryQueue[MemoryMessage], list[Any]]:
    queue = MemoryQueue(wait=0)
    return Jobs(queue, **options), queue, []


def there_and_back(value: Any, context: Mapping[str, Any] | None = None, codec: Any = None) -> Any:
    """What arrives of an argument; and that its text is what JSON and SQS take."""
    codec = codec or Json()
    written = codec.encode("job", {"a": value}, context or {})
    written.body.encode("ascii")
    arguments, values = codec.decode("job", written.content_type, written.body, written.context)
    assert values == dict(context or {})
    return arguments["a"]


# ---------------------------------------------------------------------------- JSON


VALUES: list[Any] = [
    *("", "text", "é\0\n", 0, -1, 2**70, 1.5, True, False, None, [], {}, [1, [2, {"a": None}]], {"$": 1, "a": 2}),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 678901),
    datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    datetime.date(2026, 1, 2),
    datetime.time(1, 2, 3),
    datetime.timedelta(days=-1, microseconds=5),
    decimal.Decimal("1.10"),
    uuid.UUID(int=5),
    b"\0\xff",
    {1, 2},
    frozenset({"a"}),
    {1: "a", (2): "b"},
    {"$date": "not a tag"},
    {"$is": {"$date": 1}},
    {"nested": [{"when": datetime.date(2026, 1, 2)}, {"$x": b"1"}]},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_were(value: Any) -> None:
    """Every value that JSON has, and dates, decimals, UUIDs, bytes, sets and odd keys, with their types."""
    arrived = there_and_back(value)
    assert arrived == value
    assert type(arrived) is type(value)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False, allow_infinity=False)
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["$is", "$date", "$x", "$"]), inner),
    max_leaves=8,
)


@settings(max_examples=25)
@given(value=trees, context=st.dictionaries(st.text(), trees, max_size=2))
def test_any_tree_comes_back(value: Any, context: dict[str, Any]) -> None:
    """Whatever is nested in whatever arrives as it was, in arguments and contexts."""
    assert there_and_back(value, context) == value


@pytest.mark.parametrize("codec", [Pickle(), Pickle(compatible=True), Pickle(KEY)], ids=["plain", "old", "signed"])
def test_any_pickle_comes_back(codec: Pickle) -> None:
    """The same of both pickles, signed or not."""
    assert there_and_back(VALUES, {"a": VALUES}, codec) == VALUES


def test_plain_json_is_plain() -> None:
    """What JSON can say is written as anybody writes it; a tuple is a list; only what it cannot say is tagged."""
    codec = Json()
    assert codec.encode("j", {"x": 1, "t": (1, 2)}, {"a": "b"})[:3] == ("json", '{"x": 1, "t": [1, 2]}', '{"a": "b"}')
    assert codec.encode("j", {"x": b"1"}, {})[:3] == ("json-tagged", '{"x": {"$bytes": "MQ=="}}', "{}")
    assert codec.encode("j", {}, {"x": b"1"})[0] == "json-tagged"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (float("nan"), "cannot be written in JSON"),
        (float("inf"), "cannot be written in JSON"),
        (decimal.Decimal("NaN"), "must be finite"),
        (object(), "a value of type object has no form in JSON"),
        ([[object()]], "send what it is made of"),
    ],
)
def test_what_json_cannot_say_is_refused_where_it_is_sent(value: Any, sentence: str) -> None:
    """A value without a form is a sentence at the sender, not a surprise at the receiver."""
    with pytest.raises((TypeError, ValueError), match=sentence):
        there_and_back(value)
    deep: Any = []
    for _ in range(150):
        deep = [deep]
    with pytest.raises(ValueError, match="at most 100 levels"):
        there_and_back(deep)
    with pytest.raises(ValueError, match="at most 100 levels"):
        there_and_back({"a": {1}, "b": deep})


# ---------------------------------------------------------------------------- typed arguments


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Line:
    item: str
    price: decimal.Decimal


@dataclasses.dataclass
class Order:
    number: int
    lines: list[Line]
    due: datetime.date
    colour: Colour = Colour.RED
    parent: Optional["Order"] = None  # noqa: UP045, UP037 - as people write it
    secret: int = dataclasses.field(default=0, init=False)


class Place(NamedTuple):
    x: int
    when: datetime.date


class Row(TypedDict):
    id: uuid.UUID
    name: str


class Struct(msgspec.Struct):
    id: int
    when: datetime.datetime


class Model(pydantic.BaseModel):
    id: int
    when: datetime.date


UserId = NewType("UserId", uuid.UUID)
DAY = datetime.date(2026, 1, 2)
ORDER = Order(1, [Line("tea", decimal.Decimal("2.50"))], DAY, parent=Order(0, [], DAY))

TYPED: list[tuple[Any, Any]] = [
    (Colour, Colour.RED),
    (Level, Level.LOW),
    (Order, ORDER),
    (list[Order], [ORDER]),
    (dict[str, Order], {"a": ORDER}),
    (dict[int, Colour], {1: Colour.RED}),
    (Order | None, ORDER),
    (Order | None, None),
    (Union[int, Colour], Colour.RED),  # noqa: UP007 - as people write it
    (Annotated[Colour, "of it"], Colour.RED),
    (tuple[int, Colour], (1, Colour.RED)),
    (tuple[Colour, ...], (Colour.RED,)),
    (tuple, (1, 2)),
    (set[Colour], {Colour.RED}),
    (Sequence[Colour], [Colour.RED]),
    (Place, Place(1, DAY)),
    (Row, {"id": uuid.UUID(int=1), "name": "a"}),
    (UserId, UserId(uuid.UUID(int=1))),
    (Struct, Struct(1, datetime.datetime(2026, 1, 2))),
    (list[Struct], [Struct(1, datetime.datetime(2026, 1, 2))]),
    (Model, Model(id=1, when=DAY)),
    (Model | None, Model(id=1, when=DAY)),
    (Literal["a"], "a"),
]


@pytest.mark.parametrize(("annotation", "value"), TYPED, ids=repr)
def test_arguments_are_what_their_annotations_say(annotation: Any, value: Any) -> None:
    """Dataclasses, enums, named tuples, models of msgspec and pydantic, alone and nested, arrive as what they are."""
    jobs, _, seen = registry()

    def function(a: Any) -> None:
        seen.append(a)

    function.__annotations__["a"] = annotation
    jobs.connect("f", function).delay(value)
    assert run_until_empty(jobs) == 1
    assert seen == [value]
    assert type(seen[0]) is type(value)


PLAIN: list[tuple[Any, Any, Any]] = [
    (datetime.date, "2026-01-02", DAY),
    (datetime.datetime, "2026-01-02T03:04:05", datetime.datetime(2026, 1, 2, 3, 4, 5)),
    (datetime.time, "01:02", datetime.time(1, 2)),
    (datetime.timedelta, 90, datetime.timedelta(seconds=90)),
    (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
    (decimal.Decimal, 1.1, decimal.Decimal("1.1")),
    (uuid.UUID, str(uuid.UUID(int=3)), uuid.UUID(int=3)),
    (bytes, "AAE=", b"\0\1"),
    (datetime.date | str, "2026-01-02", "2026-01-02"),
    (int, "not checked", "not checked"),
    ("Unknown", 1, 1),
]


@pytest.mark.parametrize(("annotation", "sent", "arrives"), PLAIN, ids=repr)
def test_what_others_write_as_text_is_read_by_annotation(annotation: Any, sent: Any, arrives: Any) -> None:
    """A sender of plain JSON writes dates as text; who annotates gets dates. Nothing else is checked or changed."""
    jobs, queue, seen = registry()

    def function(a: Any) -> None:
        seen.append(a)

    function.__annotations__["a"] = annotation
    jobs.connect("f", function)
    queue.put(json.dumps({"a": sent}), attributes={"JobName": "f"})
    assert run_until_empty(jobs) == 1
    assert seen == [arrives]


@pytest.mark.parametrize(
    ("annotation", "sent", "sentence"),
    [
        (datetime.date, "someday", "argument 'a' of job 'f' cannot be made a date of a value of type str"),
        (datetime.date, 3, "must be text; got a value of type int"),
        (Colour, "blue", "cannot be made a Colour"),
        (Order, {"number": 1}, "must have 'lines' for Order"),
        (Order, [1], "must be an object for Order; got a value of type list"),
        (list[Order], {"a": 1}, "must be a list"),
        (Order, {"number": 1, "lines": [{"item": "a", "price": "x"}], "due": "2026-01-02"}, "with 'lines' that with"),
        (tuple[int, int], [1], "must have 2 values; got 1"),
        (dict[int, Colour], {"x": "red"}, "cannot be made a dict"),
        (dict[int, Colour], [1], "must be an object"),
        (Model, {"id": "x"}, "cannot be made a Model"),
        (Struct, {"id": "x"}, "cannot be made a Struct"),
        (Colour | datetime.date, "x", "cannot be made a Colour .*, nor cannot be made a date"),
        (decimal.Decimal, "NaN", "must be a finite number"),
        (bytes, "!", "must be text in base64"),
        (datetime.timedelta, 10**30, "cannot be made a timedelta"),
    ],
)
def test_what_cannot_be_converted_fails_its_message(annotation: Any, sent: Any, sentence: str) -> None:
    """The message fails in a sentence that names the argument, and does not show what was in it."""
    jobs, queue, _ = registry()

    def function(a: Any) -> None: ...

    function.__annotations__["a"] = annotation
    jobs.connect("f", function)
    queue.put(json.dumps({"a": sent}), attributes={"JobName": "f"})
    with pytest.raises(BadMessage, match=sentence):
        run_until_empty(jobs)


# ---------------------------------------------------------------------------- who may read


def forged(queue: MemoryQueue[MemoryMessage], content_type: str | None, body: str, context: str = "") -> None:
    attributes = {"JobName": "f", "ContentType": content_type, "JobContext": context}
    queue.put(body, attributes={name: value for name, value in attributes.items() if value})


ran: list[str] = []


class Bomb:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return ran.append, ("boom",)


@pytest.mark.parametrize("content_type", ["pickle", "pickle_compat", "pickle-signed", "PICKLE", "yaml", "json\0", "5"])
def test_a_forged_content_type_is_refused(content_type: str) -> None:
    """A message says what it is written with, and the registry says what it reads: nothing of it is unpickled."""
    ran.clear()
    jobs, queue, seen = registry()
    jobs.connect("f", lambda **k: seen.append(k))
    forged(queue, content_type, Pickle().encode("f", {"a": Bomb()}, {"b": Bomb()}).body)
    with pytest.raises(RefusedCodec, match=r"its content type is .*, and this registry accepts 'json', 'json-tagged'"):
        run_until_empty(jobs)
    assert ran == seen == []
    assert queue.stats()["waiting"] == 1


@pytest.mark.parametrize(
    "options", [{"codec": "pickle"}, {"accepts": ["json", "pickle"]}, {"codec": "pickle_compat"}], ids=str
)
def test_pickle_is_read_where_it_is_named(options: dict[str, Any]) -> None:
    """`codec="pickle"` writes pickles and reads both; `accepts` alone reads them and writes JSON."""
    jobs, queue, seen = registry(**options)
    jobs.connect("f", lambda a: seen.append(a))
    for codec in (Pickle(), Pickle(compatible=True), Json()):
        written = codec.encode("f", {"a": 1}, {})
        forged(queue, written.content_type, written.body, written.context)
    assert run_until_empty(jobs) == 3
    assert seen == [1, 1, 1]
    jobs.send("f", 2)
    default = {"codec": "json", **options}["codec"]
    assert [message.attributes["ContentType"] for message in queue.get()] == [default]


def test_only_what_is_accepted_is_read() -> None:
    """With `accepts` JSON too has to be named; a message without a content type is read as the registry writes."""
    jobs, queue, seen = registry(codec="pickle", accepts="pickle")
    jobs.connect("f", lambda a: seen.append(a))
    forged(queue, "json", '{"a": 1}')
    with pytest.raises(RefusedCodec):
        run_until_empty(jobs)
    queue.get()
    forged(queue, None, Pickle().encode("f", {"a": 2}, {}).body)
    assert run_until_empty(jobs) == 1
    assert seen == [2]


def test_signed_pickles_are_read_and_no_others() -> None:
    """With a key only what it signed is unpickled, and only as what it was signed for."""
    ran.clear()
    jobs, queue, seen = registry(codec=Pickle(KEY))
    jobs.connect("f", lambda **k: seen.append(k))
    jobs.connect("g", lambda **k: seen.append("g"))
    jobs.send("f", a={1, 2})
    assert run_until_empty(jobs) == 1
    assert seen == [{"a": {1, 2}}]

    good = Pickle(KEY).encode("f", {"a": 1}, {"user": "ada"})
    also = Pickle(KEY).encode("f", {"a": 1}, {"user": "eve"})
    bomb = Pickle().encode("f", {"a": Bomb()}, {})
    other = Pickle(b"another key of enough bytes").encode("f", {"a": Bomb()}, {})
    stolen = Pickle(KEY).encode("g", {"a": 1}, {})
    cases = [
        ("pickle", bomb.body, bomb.context, "and this registry accepts 'pickle-signed', 'json', 'json-tagged'"),
        ("pickle-signed", bomb.body, bomb.context, "was not signed for job 'f' with a key of this registry"),
        ("pickle-signed", other.body, other.context, "was not signed"),
        ("pickle-signed", good.body[:-4] + "AAAA", good.context, "was not signed"),
        ("pickle-signed", good.body, bomb.context, "was not signed"),
        ("pickle-signed", good.body, also.context, "was not signed"),
        ("pickle-signed", good.body, "", "was not signed"),
        ("pickle-signed", good.context, good.context, "was not signed"),
        ("pickle-signed", stolen.body, stolen.context, "was not signed for job 'f'"),
        ("pickle-signed", "\u00e9", good.context, "must be a pickle in base64"),
        ("pickle-signed", "", good.context, "was not signed"),
    ]
    for content_type, body, context, sentence in cases:
        forged(queue, content_type, body, context)
        with pytest.raises(BadMessage, match=sentence):
            run_until_empty(jobs)
        queue.get()
    forged(queue, "pickle-signed", good.body, good.context)
    assert run_until_empty(jobs) == 1
    assert ran == []
    assert len(seen) == 2


def test_keys_are_rotated() -> None:
    """The first key signs; what any of them signed is read."""
    old, new = b"the old key, sixteen", b"the new key, sixteen"
    written = Pickle(old).encode("f", {"a": 1}, {})
    both = Pickle([new, old])
    assert both.decode("f", *written[:3]) == ({"a": 1}, {})
    fresh = both.encode("f", {"a": 1}, {})
    assert Pickle(new).decode("f", *fresh[:3]) == ({"a": 1}, {})
    with pytest.raises(BadMessage, match="was not signed"):
        Pickle(old).decode("f", *fresh[:3])


@pytest.mark.parametrize("key", [b"short", b"", [b"x" * 16, b"short"], [], "text of more than sixteen"])
def test_weak_keys_are_refused(key: Any) -> None:
    """A key is 16 bytes at least."""
    with pytest.raises(ValueError, match="Pickle: key must be"):
        Pickle(key)
    assert repr(Pickle(KEY)) == "Pickle(key=...)"


def test_what_cannot_be_pickled_is_refused_where_it_is_sent() -> None:
    """A lambda has no pickle: the sender hears of it."""
    with pytest.raises(TypeError, match="the body of job 'f' cannot be pickled"):
        Pickle().encode("f", {"a": lambda: None}, {})


def test_a_pickle_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would unpack to more than 64 MiB is refused before it does."""
    assert _pickle.MOST == 64 * 2**20
    monkeypatch.setattr(_pickle, "MOST", 1_000)
    body = base64.urlsafe_b64encode(zlib.compress(b"\0" * 1_001)).decode()
    with pytest.raises(BadMessage, match="is more than 1000 bytes when it is unpacked"):
        Pickle().decode("f", "pickle", body, "")


def test_a_codec_of_ones_own() -> None:
    """Any object with `reads`, `encode` and `decode` is a codec, for a registry, a task or one sending."""

    class Reversed(Json):
        reads: tuple[str, ...] = ("reversed",)

        def encode(self, job: str, arguments: Any, context: Mapping[str, Any]) -> Any:
            written = super().encode(job, arguments, context)
            return written._replace(content_type="reversed", body=written.body[::-1])

        def decode(self, job: str, content_type: str, body: str, context: str) -> tuple[Any, Any]:
            return super().decode(job, "json", body[::-1], context)

    jobs, queue, seen = registry(accepts=["json", Reversed()])
    task = jobs.connect("f", lambda a: seen.append(a))
    task.options(codec="reversed").delay(1)
    jobs.connect("g", lambda a: seen.append(a), codec=Reversed()).delay(2)
    bodies = [message.body for message in queue.get()]
    assert bodies == ['}1 :"a"{', '}2 :"a"{']
    task.options(codec="reversed").delay(3)
    assert run_until_empty(jobs) == 1
    assert seen == [3]
