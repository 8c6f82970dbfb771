"""From bodies to payloads: the content type first, then a look; SNS envelopes; and nothing that raises."""

# Patterns are lambdas and values of every type, in tables; that these are of unknown types is what is meant.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import base64
import json
import sys
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_consumer.subscribers import (
    CONTENT_TYPES,
    Decoded,
    Decoder,
    DecodingError,
    EncodingError,
    NotInstalled,
    PayloadType,
    SignatureError,
    SnsNotification,
    SnsSchemaError,
    SubscriptionConfirmation,
    UnsubscribeConfirmation,
    encode,
    mega,
)
from support import subscriber_fuzz as fuzz

DATA: dict[str, Any] = {"type": "order", "total": 12.5, "customer": {"name": "João"}}
EVENT = mega.PayloadBuilder().with_event(name="x", a=1).build()
NONE, BINARY, PLAINTEXT, INVALID = PayloadType.NONE, PayloadType.BINARY, PayloadType.PLAINTEXT, PayloadType.INVALID


def decode(body: Any, content_type: str | None = None, **options: Any) -> Decoded:
    return Decoder(**options).decode(body, {} if content_type is None else {"Content-Type": content_type})


# ---------------------------------------------------------------------- looking at bodies


@pytest.mark.parametrize("good", fuzz.corpus(), ids=lambda good: good.payload_type.name)
def test_what_is_good_comes_out_as_what_it_is(good: fuzz.Good) -> None:
    """Text, bytes, data and events; as JSON, BSON and zlib; bare and in envelopes; with a content type or without."""
    decoded = Decoder().decode(good.body, good.attributes)
    assert (decoded.payload_type, decoded.payload, decoded.error) == (good.payload_type, good.payload, None)


TEXTS = ["", "123", "true", "3.14", "NaN", "[1]", "null", '"x"', "test", "Hell", "AAAA", "user1234", "{", '{"a": NaN}']


@pytest.mark.parametrize("text", [*TEXTS, "{'a': 1}", "BQAAAAA", "eJw=", "{} {}"])
def test_what_is_no_object_is_text(text: str) -> None:
    """Text stays as it stands: numbers, lists and quoted text too, and words that could be base64."""
    assert decode(text) == Decoded(PLAINTEXT, text)


@pytest.mark.parametrize("body", fuzz.POISON, ids=lambda body: repr(body[:20]))
@pytest.mark.parametrize("content_type", [None, *CONTENT_TYPES.values(), "image/png"])
def test_poison_is_the_trouble_of_one_message(body: str, content_type: str | None) -> None:
    """What made the predecessor's receiver raise is decoded, or invalid with an error, and never raises."""
    decoded = decode(body, content_type)
    assert (decoded.payload_type is INVALID) == isinstance(decoded.error, DecodingError)
    assert decoded.payload is not None or decoded.payload_type in (INVALID, NONE)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: '{"a":' * 200_000 + "1" + "}" * 200_000, "nested too deeply"),
        (lambda: '{"a": ' + "9" * 5_000 + "}", "JSON that cannot be read"),
        (lambda: '{"protocol": "mega", "version": 1}', "in the 'event' section: is missing"),
        (lambda: len, "a body is text, bytes or a mapping"),
        (lambda: None, "a body is text, bytes or a mapping; got None"),
        (lambda: fuzz.Loud(), "the body cannot be looked at: RuntimeError"),
        (lambda: fuzz.LoudMapping(protocol="mega"), "the body cannot be looked at: RuntimeError"),
    ],
)
def test_what_cannot_be_read_is_invalid(make: Callable[[], Any], words: str) -> None:
    """It says why."""
    decoded = decode(make())
    assert (decoded.payload_type, decoded.payload, decoded.blameless) == (INVALID, None, False)
    assert words in str(decoded.error)


@pytest.mark.parametrize(
    ("sniff", "kinds"),
    [
        (True, ("DATA", "DATA", "DATA")),
        (False, ("PLAINTEXT", "PLAINTEXT", "PLAINTEXT")),
        (["json"], ("DATA", "PLAINTEXT", "PLAINTEXT")),
        ({"bson"}, ("PLAINTEXT", "DATA", "PLAINTEXT")),
        (("zlib",), ("PLAINTEXT", "PLAINTEXT", "DATA")),
    ],
)
def test_looking_is_configurable(sniff: Any, kinds: tuple[str, ...]) -> None:
    """What bodies without a content type are looked at for is a matter of choice; with one it makes no difference."""
    encodings: tuple[Any, ...] = ("json", "bson", "zlib")
    for encoding, kind in zip(encodings, kinds, strict=True):
        body, content_type = encode(DATA, encoding)
        assert decode(body, sniff=sniff).payload_type.name == kind
        assert decode(body, content_type, sniff=sniff).payload == DATA


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/plain", '{"a": 1}', Decoded(PLAINTEXT, '{"a": 1}')),
        ("TEXT/HTML; charset=utf-8", "<p>", Decoded(PLAINTEXT, "<p>")),
        ("application/octet-stream", "AAAA", Decoded(BINARY, b"\0\0\0")),
        (" application/JSON ; charset=utf-8", '{"a": 1}', Decoded(PayloadType.DATA, {"a": 1})),
        ("image/png", '{"a": 1}', Decoded(PayloadType.DATA, {"a": 1})),
        ("text/plain", b"x", Decoded(PLAINTEXT, "x")),
        ("application/octet-stream", b"\xff", Decoded(BINARY, b"\xff")),
    ],
)
def test_the_content_type_decides(content_type: str, body: Any, expected: Decoded) -> None:
    """What the sender says the body is, it is; where that says nothing here, the body is looked at."""
    assert decode(body, content_type) == expected


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        *[("application/json", body) for body in ("[1]", "5", "null", "x", "", "NaN")],
        *[("application/octet-stream", body) for body in ("x", "AAA", "AA AA", "ÄÄÄÄ")],
        *[("application/bson", body) for body in ("AAAA", "x", "eyJhIjogMX0=")],
        *[("application/json+zlib", body) for body in ("AAAA", "eJwDAAAAAAE=", encode(zlib.compress(b"[1]")).body)],
        ("text/plain", b"\xff"),
    ],
)
def test_what_is_not_what_it_says_is_invalid(content_type: str, body: Any) -> None:
    """A sender who says what the body is, and sends something else, is told so; nothing is guessed then."""
    decoded = decode(body, content_type)
    assert decoded.payload_type is INVALID
    assert isinstance(decoded.error, DecodingError)


@pytest.mark.parametrize("attributes", [None, 5, "x", [], {"Content-Type": 5}, {5: ""}, {"content_type": "text/plain"}])
def test_attributes_may_be_anything(attributes: Any) -> None:
    """What is no content type is none; the name may be written in three ways."""
    expected = PLAINTEXT if attributes == {"content_type": "text/plain"} else PayloadType.DATA
    assert Decoder().decode('{"a": 1}', attributes).payload_type is expected


def test_what_grows_when_it_is_unpacked_is_refused() -> None:
    """No more than `largest` bytes are unpacked; more than that is text, or invalid where it says what it is."""
    body = base64.b64encode(zlib.compress(json.dumps({"a": "x" * 2_000}).encode())).decode()
    assert decode(body).payload_type is PayloadType.DATA
    assert decode(body, largest=1_000) == Decoded(PLAINTEXT, body)
    assert "it is more than 1,000 bytes" in str(decode(body, CONTENT_TYPES["zlib"], largest=1_000).error)


def test_without_pymongo_bson_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """BSON that cannot be read for want of the library is invalid, but blameless; encoding says what to install."""
    body = encode(DATA, "bson").body
    from queue_consumer.subscribers import _forms  # the library is looked for once

    _forms.library.cache_clear()
    monkeypatch.setitem(sys.modules, "bson", None)
    try:
        decoded = decode(body)
        assert isinstance(decoded.error, NotInstalled)
        assert decoded.blameless
        with pytest.raises(NotInstalled, match=r"pip install 'queue-consumer\[bson\]'"):
            encode(DATA, "bson")
    finally:
        _forms.library.cache_clear()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sniff": "json"}, "sniff must be True, False, or some of json, bson, zlib; got 'json'"),
        ({"sniff": ["xml"]}, "sniff must be"),
        ({"verify": 5}, "verify must be callable"),
        ({"largest": 0}, "largest must be a whole number of bytes of at least 1; got 0"),
        ({"largest": True}, "largest must be"),
    ],
)
def test_options_are_checked(options: dict[str, Any], words: str) -> None:
    """In sentences."""
    with pytest.raises((TypeError, ValueError), match=words):
        Decoder(**options)


# ---------------------------------------------------------------------- encoding


@pytest.mark.parametrize("encoding", ["json", "zlib", "bson"])
def test_payloads_are_encoded(encoding: Any) -> None:
    """Data and events in any encoding, bytes in base64, text as it is; each with its content type."""
    for payload in (DATA, EVENT):
        body, content_type = encode(payload, encoding)
        assert content_type == CONTENT_TYPES[encoding]
        assert decode(body, content_type).payload == decode(body).payload == payload
    assert encode(b"\x00\xff", encoding) == ("AP8=", "application/octet-stream")
    assert encode("hello") == ("hello", "text/plain")


@pytest.mark.parametrize(
    ("payload", "encoding", "words"),
    [
        (None, "json", "Payload can't be null"),
        ("x", "bson", "Can't use binary encoding with a plaintext string"),
        (5, "json", "a payload must be text, bytes, a mapping or a mega.Payload; got a int"),
        ([1], "zlib", "got a list"),
        ({"a": object()}, "json", "is of no type that can be written"),
        ({"a": float("nan")}, "zlib", "cannot be written as JSON"),
        ({"a": 10**30}, "bson", "cannot be written as BSON"),
        ({}, "xml", "encoding must be one of json, bson, zlib; got 'xml'"),
    ],
)
def test_what_is_no_payload_is_refused(payload: Any, encoding: Any, words: str) -> None:
    """An `EncodingError` says why."""
    with pytest.raises(EncodingError, match=words):
        encode(payload, encoding)


@settings(max_examples=80, deadline=None)
@given(st.text() | st.binary())
def test_text_and_bytes_come_through(payload: str | bytes) -> None:
    """With their content type, whatever they are."""
    body, content_type = encode(payload)
    assert decode(body, content_type).payload == payload


SAID = list(CONTENT_TYPES.values())


@settings(max_examples=150, deadline=None)
@given(st.text() | st.binary() | st.binary().map(lambda blob: encode(blob).body), st.sampled_from([None, *SAID]))
def test_nothing_raises(body: Any, content_type: str | None) -> None:
    """Whatever the body, and whatever is said of it."""
    assert decode(body, content_type).payload_type in PayloadType


# ---------------------------------------------------------------------- SNS


def envelope(**changes: Any) -> dict[str, Any]:
    made = {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": "arn:aws:sns:eu-west-1:1:shop",
        "Subject": "news",
        "Message": "hello",
        "Timestamp": "2020-05-04T15:53:23.123Z",
        "UnsubscribeURL": "https://sns/unsubscribe",
        **changes,
    }
    return {name: value for name, value in made.items() if value is not ...}


def test_an_envelope_is_opened() -> None:
    """The payload is what was published; the envelope comes along."""
    decoded = decode(json.dumps(envelope()))
    assert (decoded.payload_type, decoded.payload) == (PLAINTEXT, "hello")
    found = decoded.embedded_message
    assert isinstance(found, SnsNotification)
    assert (found.message_id, found.topic_arn, found.subject) == ("m-1", "arn:aws:sns:eu-west-1:1:shop", "news")
    assert found.timestamp.isoformat() == "2020-05-04T15:53:23.123000+00:00"
    assert found.unsubscribe_url == "https://sns/unsubscribe"


def test_only_what_must_be_there_must_be() -> None:
    """A notification without a subject and an address to unsubscribe is one; and one that is empty."""
    decoded = decode(json.dumps(envelope(Subject=..., UnsubscribeURL=..., Message="")))
    assert (decoded.payload_type, decoded.payload, decoded.error) == (PLAINTEXT, "", None)


@pytest.mark.parametrize("encoding", ["json", "zlib", "bson"])
@pytest.mark.parametrize("told", [True, False])
def test_what_is_in_an_envelope_is_decoded_like_any_body(encoding: Any, told: bool) -> None:
    """By the publisher's content type, which stands in the envelope, or by a look."""
    body, content_type = encode(EVENT, encoding)
    attributes = {"Content-Type": {"Type": "String", "Value": content_type}, "raw": {"Type": "Binary", "Value": "AP8="}}
    decoded = decode(json.dumps(envelope(Message=body, MessageAttributes=attributes if told else ...)))
    assert decoded.payload == EVENT
    assert isinstance(decoded.embedded_message, SnsNotification)
    assert decoded.embedded_message.attributes == ({"Content-Type": content_type, "raw": b"\x00\xff"} if told else {})


def test_one_envelope_is_opened_and_no_more() -> None:
    """What is in it, is data, even if it looks like another one."""
    decoded = decode(json.dumps(envelope(Message=json.dumps(envelope()))))
    assert (decoded.payload_type, decoded.payload) == (PayloadType.DATA, envelope())


def test_envelopes_can_be_left_closed() -> None:
    """They are data then."""
    assert decode(json.dumps(envelope()), sns=False).payload == envelope()


@pytest.mark.parametrize("kind", [SubscriptionConfirmation, UnsubscribeConfirmation])
def test_confirmations_are_objects(kind: type[SubscriptionConfirmation]) -> None:
    """They have no payload, and say what is needed to answer."""
    body = json.dumps(envelope(Type=kind.__name__, Token="secret", SubscribeURL="https://sns/subscribe"))
    decoded = decode(body)
    assert (decoded.payload_type, decoded.payload) == (NONE, None)
    found: Any = decoded.embedded_message
    assert type(found) is kind
    assert (found.token, found.subscribe_url, found.raw_message) == ("secret", "https://sns/subscribe", "hello")
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Type": "Surprise"}, "Type must be one of"),
        ({"Type": None}, "Type must be one of"),
        ({"Timestamp": "yesterday"}, "Timestamp must be ISO 8601"),
        ({"Timestamp": 5}, "Timestamp must be ISO 8601"),
        ({"MessageId": None}, "MessageId must be text"),
        ({"MessageId": ""}, "MessageId must be text"),
        ({"TopicArn": 5}, "TopicArn must be text"),
        ({"Message": {"a": 1}}, "Message must be text"),
        ({"Subject": 5}, "Subject must be text"),
        ({"Type": "SubscriptionConfirmation"}, "Token must be text"),
        ({"Type": "UnsubscribeConfirmation", "Token": "t"}, "SubscribeURL must be text"),
    ],
)
def test_a_bad_envelope_is_invalid(changes: dict[str, Any], words: str) -> None:
    """It has the keys of one, and something is wrong with it."""
    error = decode(json.dumps(envelope(**changes))).error
    assert isinstance(error, SnsSchemaError)
    assert f"Could not deserialize SNS message: {words}" in str(error)


@pytest.mark.parametrize("key", ["Type", "MessageId", "TopicArn", "Message", "Timestamp"])
def test_what_lacks_a_key_of_an_envelope_is_data(key: str) -> None:
    """All five make an envelope."""
    assert decode(json.dumps(envelope(**{key: ...}))).payload_type is PayloadType.DATA


def test_a_bad_message_in_a_good_envelope_is_invalid() -> None:
    """And the envelope says where it came from."""
    decoded = decode(json.dumps(envelope(Message='{"protocol": "mega", "version": 1}')))
    assert decoded.payload_type is INVALID
    assert isinstance(decoded.error, mega.SchemaError)
    assert isinstance(decoded.embedded_message, SnsNotification)


def test_envelopes_can_be_verified() -> None:
    """Whatever checks them sees the whole envelope; what it raises makes the message invalid."""
    seen: list[Any] = []
    assert decode(json.dumps(envelope()), verify=seen.append).payload == "hello"
    assert seen == [envelope()]

    def refuse(envelope: Any) -> None:
        raise SignatureError("forged")

    def crash(envelope: Any) -> None:
        raise KeyError("x")

    assert str(decode(json.dumps(envelope()), verify=refuse).error) == "forged"
    assert decode(json.dumps(envelope()), verify=crash).payload_type is INVALID
    assert decode("hello", verify=refuse).payload == "hello"
