"""MEGA, version 1: the model, the builder, the schema, and round trips through every form."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_consumer.subscribers import DecodingError, EncodingError, mega

MOMENT = datetime(2020, 5, 4, 15, 53, 23, 123000)
SMALL: dict[str, Any] = {
    "protocol": "mega",
    "version": 1,
    "event": {"name": "item.added", "version": 1, "timestamp": "2020-05-04T15:53:23.123000"},
}


def wire(**changes: Any) -> dict[str, Any]:
    """The smallest event, with changes: `event_name="x"`, `object=…`; of Ellipsis, without it."""
    made = copy.deepcopy(SMALL)
    for name, value in changes.items():
        section, _, field = name.partition("__")
        place = made[section] if field else made
        key = field or section
        if value is ...:
            del place[key]
        else:
            place[key] = value
    return made


# ---------------------------------------------------------------------- the schema


def test_the_smallest_event() -> None:
    """A name and a timestamp are enough; the rest has its defaults, and is not written again."""
    payload = mega.deserialize_payload(SMALL)
    assert payload == mega.Payload(mega.Event("item.added", timestamp=MOMENT))
    assert (payload.event.version, payload.event.attributes, payload.object, payload.extra) == (1, {}, None, {})
    assert mega.serialize_payload(payload) == SMALL


@pytest.mark.parametrize("version", [1, "1"])
def test_the_protocol_version_is_one(version: Any) -> None:
    """1 and "1" are the version of the protocol."""
    assert mega.matches_payload(wire(version=version))
    assert mega.deserialize_payload(wire(version=version)).event.name == "item.added"


@pytest.mark.parametrize("version", [0, 2, 1.0, True, "1.0", "01", " 1", "", None, [1], {}, ..., float("nan"), 10**30])
def test_nothing_else_is_the_protocol_version(version: Any) -> None:
    """No other number, no boolean, no float, no other text."""
    assert not mega.matches_payload(wire(version=version))
    with pytest.raises(mega.SchemaError, match="in the 'payload' section: version must be 1"):
        mega.deserialize_payload(wire(version=version))


@pytest.mark.parametrize("protocol", ["MEGA", "Mega", "", None, 1, ["mega"], ...])
def test_the_protocol_is_mega(protocol: Any) -> None:
    """To the letter."""
    assert not mega.matches_payload(wire(protocol=protocol))
    with pytest.raises(mega.SchemaError, match="protocol must be 'mega'"):
        mega.deserialize_payload(wire(protocol=protocol))


@pytest.mark.parametrize("data", [None, [], "mega", 5, {}, {"version": 1}])
def test_what_is_no_event_is_none(data: Any) -> None:
    """Whatever it is that is asked about, the answer is no, and no error."""
    assert mega.matches_payload(data) is False


def test_unlisted_keys_of_the_event_are_attributes() -> None:
    """They are folded into the attributes, and can be reached as Python's; of two of one name the attribute counts."""
    data = wire(event__item_id="61fc", event__quantity=5, event__attributes={"quantity": 6, "price": "19.99"})
    event = mega.deserialize_payload(data).event
    assert event.attributes == {"item_id": "61fc", "quantity": 6, "price": "19.99"}
    assert (event.item_id, event.quantity, event.price) == ("61fc", 6, "19.99")
    written = mega.serialize_payload(mega.Payload(event))["event"]
    assert written["attributes"] == event.attributes
    assert "item_id" not in written


def test_what_is_unknown_elsewhere_is_left_out() -> None:
    """Unknown keys of the payload and of the object are tolerated."""
    payload = mega.deserialize_payload(wire(more=1, object={"id": "7", "colour": "red"}))
    assert payload.object == mega.ObjectData(id="7")


@pytest.mark.parametrize(("value", "expected"), [(..., 1), (None, 1), (0, 1), (1, 1), (7, 7)])
def test_versions_have_a_default(value: Any, expected: int) -> None:
    """No version, null and 0 are version 1, of the event and of the object."""
    about: dict[str, Any] = {"id": "7"} if value is ... else {"id": "7", "version": value}
    data = wire(object=about)
    if value is not ...:
        data["event"]["version"] = value
    payload = mega.deserialize_payload(data)
    assert payload.object is not None
    assert (payload.event.version, payload.object.version) == (expected, expected)


WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    ({"event": ...}, "event", "", "is missing"),
    ({"event": None}, "event", "", "is missing"),
    ({"event": []}, "event", "", "must be a mapping; got []"),
    ({"event": "x"}, "event", "", "must be a mapping; got 'x'"),
    ({"event__name": ...}, "event", "name", "is missing"),
    ({"event__name": None}, "event", "name", "is missing"),
    ({"event__name": ""}, "event", "name", "must be text, and not empty; got ''"),
    ({"event__name": 5}, "event", "name", "must be text, and not empty; got 5"),
    ({"event__timestamp": ...}, "event", "timestamp", "is missing"),
    (
        {"event__timestamp": "yesterday"},
        "event",
        "timestamp",
        "must be a date and a time as ISO 8601 has them",
    ),
    ({"event__timestamp": "2020-05-04"}, "event", "timestamp", "must be a date and a time"),
    ({"event__timestamp": 1588607603}, "event", "timestamp", "must be a date and a time"),
    *[
        ({"event__version": v}, "event", "version", "must be a whole number of at least 1")
        for v in (2.9, "3", True, -1)
    ],
    *[({f"event__{f}": 5}, "event", f, "must be text; got 5") for f in ("domain", "subject", "publisher")],
    ({"event__attributes": [1]}, "event", "attributes", "must be a mapping; got [1]"),
    ({"event__attributes": {1: 2}}, "event", "attributes", "must have keys that are text; got the key 1"),
    ({"object": "x"}, "object", "", "must be a mapping; got 'x'"),
    ({"object": {"current": {}}}, "object", "current", "must not be empty"),
    ({"object": {"current": [1]}}, "object", "current", "must be a mapping"),
    ({"object": {"previous": "x"}}, "object", "previous", "must be a mapping"),
    *[({"object": {f: 5}}, "object", f, "must be text; got 5") for f in ("type", "id")],
    ({"object": {"version": "2"}}, "object", "version", "must be a whole number"),
    ({"extra": [1]}, "extra", "", "must be a mapping; got [1]"),
]


@pytest.mark.parametrize(("changes", "section", "field", "problem"), WRONG)
def test_errors_name_the_section_and_the_field(changes: dict[str, Any], section: str, field: str, problem: str) -> None:
    """What is wrong is a `SchemaError`, whatever it is, with the section and the field as facts."""
    data = wire(**changes)
    assert mega.matches_payload(data)
    with pytest.raises(mega.SchemaError) as caught:
        mega.deserialize_payload(data)
    error = caught.value
    assert (error.section, error.field) == (section, field)
    assert problem in str(error)
    assert f"Invalid MEGA payload. There is an error in the {section!r} section: " in str(error)
    assert isinstance(error, DecodingError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# ---------------------------------------------------------------------- the model


@pytest.mark.parametrize(
    "make",
    [
        lambda: mega.Event(""),
        lambda: mega.Event(None),  # type: ignore[arg-type]
        lambda: mega.Event("x", timestamp="2020-01-01"),  # type: ignore[arg-type]
        lambda: mega.Event("x", subject=5),  # type: ignore[arg-type]
        lambda: mega.ObjectData({}),
        lambda: mega.Payload(None),  # type: ignore[arg-type]
        lambda: mega.Payload(mega.Event("x"), object={"id": "7"}),  # type: ignore[arg-type]
        lambda: mega.Payload(mega.Event("x"), extra=5),  # type: ignore[arg-type]
        lambda: mega.PayloadBuilder().build(),
        lambda: mega.PayloadBuilder().with_event(version=1).build(),
    ],
)
def test_the_model_checks_itself(make: Any) -> None:
    """There is no payload in memory that could not be sent."""
    with pytest.raises(mega.SchemaError):
        make()


def test_attributes_of_an_event_are_attributes_of_pythons() -> None:
    """`event.item_id` is the attribute; a field wins over an attribute of its name; what is not there is an error."""
    event = mega.Event("x", attributes={"name": "y", "item_id": 5}, price=7)
    assert (event.name, event.item_id, event.price, event.attributes["name"]) == ("x", 5, 7, "y")
    with pytest.raises(AttributeError, match="the event has no attribute 'colour'"):
        event.colour  # noqa: B018 - the asking is what is tested
    assert not hasattr(event, "__deepcopy__")


def test_values_are_values() -> None:
    """Equal if what they hold is equal; not to be changed; copied, deeply too, and pickled."""
    current = {"id": 1}
    event, other_event = (mega.Event("x", timestamp=MOMENT, a=number) for number in (1, 2))
    payload = mega.Payload(event, mega.ObjectData(current, id="7"), channel="web")
    assert payload == mega.Payload(event, mega.ObjectData({"id": 1}, id="7"), {"channel": "web"})
    assert payload != mega.Payload(other_event, mega.ObjectData(current, id="7"), channel="web")
    assert payload != "x"
    current["id"] = 2
    assert payload.object is not None
    assert payload.object.current == {"id": 1}
    for other in (copy.copy(payload), copy.deepcopy(payload), pickle.loads(pickle.dumps(payload))):
        assert other == payload
    with pytest.raises(AttributeError, match="Event is not to be changed"):
        payload.event.name = "y"
    with pytest.raises(AttributeError, match="Payload is not to be changed"):
        del payload.extra
    with pytest.raises(TypeError):
        hash(payload)
    assert repr(payload.object) == "ObjectData(current={'id': 1}, id='7', version=1)"


# ---------------------------------------------------------------------- the builder


def test_the_builder_puts_together() -> None:
    """Each call adds; what is said again replaces; what is no field of the event is an attribute of it."""
    builder = mega.PayloadBuilder()
    payload = (
        builder.with_event(name="x", domain="d", quantity=1)
        .with_event(name="item.added", price="5")
        .with_object(id="1", current={"a": 1})
        .with_object(id="7", type="cart", version=2, previous={"a": 0})
        .with_extra(a=1)
        .with_extra(b=2)
        .build(now=MOMENT)
    )
    assert payload == mega.Payload(
        mega.Event("item.added", domain="d", timestamp=MOMENT, quantity=1, price="5"),
        mega.ObjectData({"a": 1}, "cart", "7", 2, {"a": 0}),
        {"a": 1, "b": 2},
    )
    assert builder.with_extra(c=3).build(now=MOMENT).extra == {"a": 1, "b": 2, "c": 3}
    assert payload.extra == {"a": 1, "b": 2}
    with pytest.raises(TypeError, match="colour"):
        builder.with_object(colour="red")  # type: ignore[call-arg]


def test_an_event_without_a_timestamp_is_of_now() -> None:
    """And says so in UTC."""
    before = datetime.now(UTC)
    payload = mega.PayloadBuilder().with_event(name="x").build()
    assert before <= payload.event.timestamp <= datetime.now(UTC)
    assert mega.serialize_payload(payload)["event"]["timestamp"].endswith("+00:00")


# ---------------------------------------------------------------------- round trips

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e308, 1e308) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=3)
ZONES: Any = st.one_of(st.none(), st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))))
EVENTS = st.builds(
    mega.Event,
    name=TEXT.filter(bool),
    version=st.integers(0, 2**31),
    timestamp=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES),
    domain=st.none() | TEXT,
    subject=st.none() | TEXT,
    publisher=st.none() | TEXT,
    attributes=OBJECTS,
)
DATA = st.builds(
    mega.ObjectData,
    current=OBJECTS.filter(bool),
    type=st.none() | TEXT,
    id=st.none() | TEXT,
    version=st.integers(1, 2**31),
    previous=st.none() | OBJECTS,
)
PAYLOADS = st.builds(mega.Payload, event=EVENTS, object=st.none() | DATA, extra=OBJECTS)


@settings(max_examples=60, deadline=None)
@given(PAYLOADS)
def test_round_trips(payload: mega.Payload) -> None:
    """What is written in any form is read as what it was."""
    assert mega.deserialize_payload(mega.serialize_payload(payload)) == payload
    assert mega.from_json(mega.to_json(payload)) == payload
    assert mega.from_zlib_json(mega.to_zlib_json(payload)) == payload
    assert mega.from_bson(mega.to_bson(payload)) == payload
    assert pickle.loads(pickle.dumps(payload)) == payload


SECTIONS = st.dictionaries(st.sampled_from([*SMALL, *SMALL["event"], "current", "attributes"]), JSON, max_size=5)


@settings(max_examples=100, deadline=None)
@given(JSON | SECTIONS)
def test_nothing_but_a_schema_error_comes_out_of_reading(section: Any) -> None:
    """Whatever stands in the sections, it is an event or a `SchemaError`."""
    for key in ("event", "object", "extra"):
        data = {**SMALL, key: section}
        with contextlib.suppress(mega.SchemaError):
            assert mega.deserialize_payload(data).event.name


def test_types_that_json_lacks() -> None:
    """Moments, Decimals, UUIDs, sets and bytes are written so that patterns read them as what they were; BSON has most
    of them."""
    id = UUID("61fcc874-624e-40f8-8fd7-0e663c7837e8")
    payload = mega.Payload(
        mega.Event("x", timestamp=MOMENT),
        extra={
            "at": MOMENT,
            "on": date(2020, 5, 4),
            "price": Decimal("19.90"),
            "id": id,
            "tags": {"a"},
            "raw": b"\x00",
        },
    )
    assert json.loads(mega.to_json(payload))["extra"] == {
        "at": "2020-05-04T15:53:23.123000",
        "on": "2020-05-04",
        "price": "19.90",
        "id": str(id),
        "tags": ["a"],
        "raw": "AA==",
    }
    assert mega.from_bson(mega.to_bson(payload)).extra == {
        "at": MOMENT.replace(tzinfo=UTC),
        "on": "2020-05-04",
        "price": Decimal("19.90"),
        "id": id,
        "tags": ["a"],
        "raw": b"\x00",
    }


@pytest.mark.parametrize("write", [mega.to_json, mega.to_zlib_json, mega.to_bson])
def test_what_cannot_be_written_says_so(write: Any) -> None:
    """An `EncodingError`, whatever the library raised."""
    values: list[Any] = [object(), lambda: 5]
    values += [10**30] if write is mega.to_bson else [float("nan"), Decimal("Infinity")]
    for value in values:
        with pytest.raises(EncodingError, match="the payload cannot be written as"):
            write(mega.Payload(mega.Event("x"), extra={"a": value}))


@pytest.mark.parametrize("read", [mega.from_json, mega.from_zlib_json, mega.from_bson])
@pytest.mark.parametrize(
    "data", [b"", b"x", b"{", b"\x05\x00\x00\x00\x00", b"null", b"{}", b"[" * 100_000, b"\xff" * 50]
)
def test_what_cannot_be_read_says_so(read: Any, data: bytes) -> None:
    """A `DecodingError`, whatever the library raised."""
    with pytest.raises(DecodingError):
        read(data)


def test_text_is_written_in_characters_that_can_be_sent() -> None:
    """Letters stay letters; what XML or SQS do not have is escaped."""
    assert mega.to_json(mega.Payload(mega.Event("ação"))).count("ação") == 1
    for odd in ("\uffff", "\ud800", "\x7f", "\x00"):
        text = mega.to_json(mega.Payload(mega.Event("x", note=odd)))
        assert text.isascii()
        assert mega.from_json(text).event.note == odd
