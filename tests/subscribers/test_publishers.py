"""Publishers, the receiver and the listener: what goes over the wire, and what comes out at the other end."""

# Patterns are lambdas and values of every type, in tables; that these are of unknown types is what is meant.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

import pytest

from queue_consumer import Constant, MaxItems, UsageError
from queue_consumer.subscribers import (
    CONTENT_TYPES,
    DataSubscriber,
    DeadLetters,
    EncodingError,
    PayloadType,
    ProcessStatus,
    SnsNotification,
    Subscribers,
    SubscriptionConfirmation,
    mega,
    received,
)
from queue_consumer.subscribers import Decoder as Decoding
from queue_consumer_sqs import (
    SNS,
    AccessDenied,
    BadCredentials,
    InvalidRequest,
    MessageType,
    PublishEntry,
    QueueNotFound,
    SendError,
    SnsPublisher,
    SqsListener,
    SqsPublisher,
    SQSQueue,
    SqsReceiver,
    Throttled,
    TopicNotFound,
    Unreachable,
    queue_policy,
)
from queue_consumer_sqs._access import Access
from queue_consumer_sqs._boto import service_error
from queue_consumer_sqs._sns import SnsCalls

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
FIFO_URL = URL + ".fifo"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:orders"
EVENT = mega.PayloadBuilder().with_event(name="x", a=1).build()
DATA: dict[str, Any] = {"type": "order", "total": 12.5}


class Refusal(Exception):
    """As botocore raises them."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}


class Wire:
    """A client that writes down what is sent, and answers as it is told."""

    def __init__(self, *refusals: Exception) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refusals = list(refusals)

    def __getattr__(self, operation: str) -> Any:
        if operation.startswith("_") or operation in ("meta", "interrupt", "exceptions"):
            raise AttributeError(operation)

        def call(**arguments: Any) -> dict[str, Any]:
            self.calls.append((operation, arguments))
            if self.refusals:
                raise self.refusals.pop(0)
            batch = arguments.get("Entries") or arguments.get("PublishBatchRequestEntries") or ()
            answered = [{"Id": entry["Id"], "MessageId": f"m-{entry['Id']}"} for entry in batch]
            return {"MessageId": "m-1", "Successful": answered, "SubscriptionArn": "s-1", "TopicArn": TOPIC}

        return call

    @property
    def arguments(self) -> dict[str, Any]:
        return self.calls[-1][1]


def as_any(options: dict[str, Any]) -> Any:
    """For calls that no type checker would let pass."""
    return options


def said(content_type: str) -> dict[str, Any]:
    return {"Content-Type": {"DataType": "String", "StringValue": content_type}}


def to_queue(wire: Wire, url: str | None = URL, **options: Any) -> SqsPublisher:
    return SqsPublisher(queue_url=url, client=wire, **options)


def to_topic(wire: Wire, arn: str | None = TOPIC, **options: Any) -> SnsPublisher:
    return SnsPublisher(topic_arn=arn, client=wire, **options)


# ---------------------------------------------------------------------- what goes over the wire


@pytest.mark.parametrize("kind", ["queue", "topic"])
@pytest.mark.parametrize(
    ("payload", "binary_encoding", "content_type"),
    [
        ("text", False, "text/plain"),
        (b"\x00\xff", False, "application/octet-stream"),
        (DATA, False, "application/json"),
        (DATA, True, "application/bson"),
        (DATA, "bson", "application/bson"),
        (DATA, "zlib", "application/json+zlib"),
        (EVENT, False, "application/json"),
        (EVENT, True, "application/bson"),
        (EVENT, "zlib", "application/json+zlib"),
    ],
)
def test_any_payload_is_published_with_its_content_type(
    kind: str, payload: Any, binary_encoding: Any, content_type: str
) -> None:
    """Text as it is, bytes in base64, data and events as JSON, BSON or zlib; and it comes out as what it was."""
    wire = Wire()
    publisher: Any = to_queue(wire) if kind == "queue" else to_topic(wire)
    assert publisher.publish(payload, binary_encoding) == "m-1"
    operation, sent = wire.calls[0]
    body = sent["MessageBody" if kind == "queue" else "Message"]
    assert operation == ("send_message" if kind == "queue" else "publish")
    assert sent["QueueUrl" if kind == "queue" else "TopicArn"] == (URL if kind == "queue" else TOPIC)
    assert sent["MessageAttributes"] == said(content_type)
    assert Decoding().decode(body, {"Content-Type": content_type}).payload == payload


def test_the_content_type_is_left_out_where_it_is_not_wanted() -> None:
    """For raw messages, if it is switched off, or if there is one."""
    wire = Wire()
    to_queue(wire).publish_raw_message('{"a": 1}')
    assert wire.arguments == {"QueueUrl": URL, "MessageBody": '{"a": 1}'}
    to_topic(wire).publish_raw_message("x")
    assert wire.arguments == {"TopicArn": TOPIC, "Message": "x"}
    to_queue(wire, content_type=False).publish(DATA)
    assert "MessageAttributes" not in wire.arguments
    to_queue(wire).publish(DATA, attributes={"content-type": "application/x"})
    assert list(wire.arguments["MessageAttributes"]) == ["content-type"]


def test_all_parameters_of_a_message() -> None:
    """Delay, group, deduplication id, attributes and, for SNS, a subject are passed on, by AWS's names."""
    wire = Wire()
    to_queue(wire).publish("x", delay=5, attributes={"tenant": "t", "n": 5, "raw": b"\x00", "price": Decimal("1.5")})
    assert wire.arguments["DelaySeconds"] == 5
    assert wire.arguments["MessageAttributes"] == {
        "tenant": {"DataType": "String", "StringValue": "t"},
        "n": {"DataType": "Number", "StringValue": "5"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00"},
        "price": {"DataType": "Number", "StringValue": "1.5"},
        **said("text/plain"),
    }
    to_queue(wire, FIFO_URL).publish("x", group="g", deduplication_id="d")
    assert (wire.arguments["MessageGroupId"], wire.arguments["MessageDeduplicationId"]) == ("g", "d")
    to_topic(wire, TOPIC + ".fifo").publish("x", group="g", deduplication_id="d", subject="news")
    assert (wire.arguments["MessageGroupId"], wire.arguments["Subject"]) == ("g", "news")


def test_a_call_may_have_a_destination_of_its_own() -> None:
    """It wins over the publisher's; without any it is an error, when it is published."""
    wire = Wire()
    to_queue(wire).publish("x", queue_url=URL + "-2")
    assert wire.arguments["QueueUrl"] == URL + "-2"
    to_topic(wire).publish("x", topic_arn=TOPIC + "-2")
    assert wire.arguments["TopicArn"] == TOPIC + "-2"
    for publish in (to_queue(wire, None).publish, to_queue(wire, None).publish_raw_message):
        with pytest.raises(ValueError, match="Missing Queue URL"):
            publish("x")
    for publish_ in (to_topic(wire, None).publish, to_topic(wire, None).publish_raw_message):
        with pytest.raises(ValueError, match="Missing Topic ARN"):
            publish_("x")
    with pytest.raises(ValueError, match="Missing Queue URL"):
        to_queue(wire, None).publish_many([])
    assert len(wire.calls) == 2


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda q, t: q.publish(None), EncodingError, "Payload can't be null"),
        (lambda q, t: q.publish("x", True), EncodingError, "Can't use binary encoding"),
        (lambda q, t: q.publish(5), EncodingError, "got a int"),
        (lambda q, t: q.publish("x", "gzip"), ValueError, "binary_encoding must be True, False, 'bson' or 'zlib'"),
        (lambda q, t: q.publish("x", delai=5), TypeError, "unexpected keyword argument 'delai'"),
        (lambda q, t: t.publish("x", delay=5), TypeError, "unexpected keyword argument 'delay'"),
        (lambda q, t: q.publish("x", delay=901), ValueError, "delay must be a number of seconds from 0 to 900"),
        (lambda q, t: q.publish(""), ValueError, "body must not be empty"),
        (lambda q, t: q.publish("\x00"), ValueError, "only characters that XML has"),
        (lambda q, t: q.publish("x", group="a b"), ValueError, "group must have 1 to 128 characters"),
        (lambda q, t: q.publish("x", attributes=5), TypeError, "attributes must be a mapping"),
        (lambda q, t: q.publish("x", attributes={f"a{n}": 1 for n in range(10)}), ValueError, "at most 10; got 11"),
        (lambda q, t: q.publish_raw_message(5), TypeError, "message must be a str"),
        (lambda q, t: q.publish("x" * 1_048_577), ValueError, "at most 1048576 bytes"),
        (lambda q, t: t.publish("x" * 262_144), ValueError, "a message of SNS must have at most 262144 bytes"),
        (lambda q, t: t.publish("x", subject="x" * 101), ValueError, "at most 100 characters; got 101"),
        (lambda q, t: t.publish("x", subject="a\nb"), ValueError, "subject must be a line of ASCII text"),
        (lambda q, t: t.publish("x", topic_arn="x"), ValueError, "topic_arn must be the ARN of a topic"),
        (lambda q, t: t.publish("x", topic_arn=5), TypeError, "topic_arn must be the ARN of a topic"),
        (lambda q, t: q.publish("x", queue_url="orders"), ValueError, "queue_url must be the URL of a queue"),
        (lambda q, t: SqsPublisher(**as_any({"content_type": "x"})), TypeError, "content_type must be True or False"),
        (lambda q, t: SqsPublisher("id"), ValueError, "must be given together, or neither"),
        (lambda q, t: SqsPublisher(**as_any({"queue": "x"})), TypeError, "SqsPublisher has no parameter 'queue'"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_it_is(call: Any, error: type[Exception], words: str) -> None:
    """In a sentence; nothing is sent."""
    wire = Wire()
    with pytest.raises(error, match=words):
        call(to_queue(wire), to_topic(wire))
    assert wire.calls == []


def test_keys_that_sns_refuses_are_looked_for_anew() -> None:
    """At the next call, as for SQS."""
    calls = SnsCalls(Access(region="eu-west-1"))
    refusing = Mock(publish=Mock(side_effect=service_error("ExpiredToken", "too old", "Publish", 403)))
    calls._clients = clients = Mock(work=refusing)
    with pytest.raises(BadCredentials):
        calls.call("publish", TopicArn="t", Message="m")
    clients.renew.assert_called_once_with()


@pytest.mark.parametrize(
    ("refusal", "ours"),
    [
        (Refusal("NotFound"), TopicNotFound),
        (Refusal("AuthorizationError"), AccessDenied),
        (Refusal("Throttled"), Throttled),
        (Refusal("InvalidParameter"), InvalidRequest),
        (ConnectionError("no"), Unreachable),
    ],
)
def test_errors_of_sns_are_ours(refusal: Exception, ours: type[Exception]) -> None:
    """Each of the kind that it is, and says who said so; the original is the cause."""
    with pytest.raises(ours) as caught:
        to_topic(Wire(refusal)).publish("x")
    assert caught.value.__cause__ is refusal
    assert "SQS" not in str(caught.value)


def test_ids_are_logged_and_bodies_only_when_asked(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each that was sent, with its destination and id."""
    with caplog.at_level(logging.DEBUG, "queue_consumer.sqs.publish"):
        to_queue(Wire()).publish("secret")
        to_topic(Wire()).publish("secret")
        to_queue(Wire()).publish_many(["secret"])
        assert [record.getMessage() for record in caplog.records] == [
            f"[{URL}][m-1] Sent SQS message",
            f"[{TOPIC}][m-1] Published SNS message",
            f"[{URL}][m-0] Sent SQS message",
        ]
        to_queue(Wire(), log_bodies=True).publish("secret")
        assert caplog.records[-1].getMessage() == f"[{URL}][m-1] secret"


# ---------------------------------------------------------------------- many


def test_many_go_in_batches_of_ten_and_of_so_many_bytes() -> None:
    """As few calls as may be; ids in order."""
    wire = Wire()
    assert to_queue(wire).publish_many([DATA] * 25) == [f"m-{index}" for index in range(25)]
    assert [len(sent["Entries"]) for _, sent in wire.calls] == [10, 10, 5]
    assert to_topic(wire).publish_many(["x" * 100_000] * 5) == [f"m-{index}" for index in range(5)]
    assert [len(sent["PublishBatchRequestEntries"]) for _, sent in wire.calls[3:]] == [2, 2, 1]
    assert wire.calls[-1][0] == "publish_batch"
    assert wire.calls[-1][1]["PublishBatchRequestEntries"][0]["MessageAttributes"] == said("text/plain")
    assert to_queue(wire).publish_many([]) == []


def test_entries_have_parameters_of_their_own() -> None:
    """A group, a deduplication id, attributes; those of the call are for the others."""
    wire = Wire()
    entries = [PublishEntry(payload="x", group="a", deduplication_id="1", attributes={"n": 1}), "y"]
    to_queue(wire, FIFO_URL).publish_many(entries, group="b", attributes={"n": 2})
    one, other = wire.arguments["Entries"]
    assert (one["MessageGroupId"], one["MessageDeduplicationId"]) == ("a", "1")
    assert (other["MessageGroupId"], other.get("MessageDeduplicationId")) == ("b", None)
    assert [entry["MessageAttributes"]["n"]["StringValue"] for entry in (one, other)] == ["1", "2"]


def test_of_many_those_that_were_not_sent_are_told() -> None:
    """The others were, and are told too; without permission nothing is tried any more."""

    class Partly(Wire):
        def __getattr__(self, operation: str) -> Any:
            call = super().__getattr__(operation)

            def answered(**arguments: Any) -> dict[str, Any]:
                answer: dict[str, Any] = call(**arguments)
                answer["Successful"] = answer["Successful"][1:]
                answer["Failed"] = [{"Id": "0", "Code": "InvalidMessageContents", "SenderFault": True}]
                return answer

            return answered

    for publisher in (to_queue(Partly()), to_topic(Partly())):
        with pytest.raises(SendError) as caught:
            publisher.publish_many(["x", "y", "z"])
        assert (caught.value.sent, [entry.entry for entry in caught.value.failed]) == (["m-1", "m-2"], ["x"])
    with pytest.raises(AccessDenied):
        to_topic(Wire(Refusal("AuthorizationError"))).publish_many(["x"] * 20)


# ---------------------------------------------------------------------- on a server


@pytest.fixture
def both(endpoint: str) -> Iterator[Callable[[Any], Any]]:
    """Makes publishers, receivers and listeners of the server, and closes them."""
    made: list[Any] = []

    def make(kind: Any, *args: Any, **options: Any) -> Any:
        one = kind(*args, endpoint_url=endpoint, region_name="us-east-1", **options)
        made.append(one)
        return one

    yield make
    for one in made:
        if hasattr(one, "close"):
            one.close()


PAYLOADS = ["text", "user1234", b"\x00\xff", DATA, EVENT, "[1]"]


def test_through_a_queue(both: Any, make_queue: Any) -> None:
    """What is published to a queue comes out of it, whatever it is, with ids, attributes and types."""
    queue = make_queue()
    publisher, receiver = both(SqsPublisher, queue_url=queue.url), both(SqsReceiver, queue_url=queue.url)
    ids = publisher.publish_many(PAYLOADS, attributes={"tenant": "t"})
    messages: dict[str, Any] = {}
    while len(messages) < len(PAYLOADS):
        for message in receiver.receive_messages(max_number_of_messages=10, wait_time_seconds=5):
            messages[message.message_id] = message
    assert [messages[id].payload for id in ids] == PAYLOADS
    assert {message.message_type for message in messages.values()} == {MessageType.SQS}
    assert all(message.attributes["tenant"] == "t" for message in messages.values())
    for message in messages.values():
        receiver.delete_message(message)
        receiver.delete_message(message)  # which does no harm
    assert receiver.receive_messages(wait_time_seconds=0) == []


@pytest.mark.parametrize("raw", [False, True])
def test_through_a_topic(both: Any, make_queue: Any, make_topic: Any, raw: bool) -> None:
    """In an envelope or raw, every payload comes out as what it was."""
    queue = make_queue()
    arn = make_topic(queue, raw=raw)
    publisher, receiver = both(SnsPublisher, topic_arn=arn), both(SqsReceiver, queue_url=queue.url)
    publisher.publish_many(PAYLOADS)
    publisher.publish(DATA, "zlib", subject="news")
    found: list[Any] = []
    while len(found) < len(PAYLOADS) + 1:
        found += receiver.receive_messages(max_number_of_messages=10, wait_time_seconds=5)
    assert sorted(str(message.payload) for message in found) == sorted(map(str, [*PAYLOADS, DATA]))
    kinds = {message.message_type for message in found}
    assert kinds == ({MessageType.SQS} if raw else {MessageType.SNS})
    if not raw:
        envelopes = [message.embedded_message for message in found]
        assert all(isinstance(envelope, SnsNotification) and envelope.topic_arn == arn for envelope in envelopes)


def test_a_queue_that_is_not_there(both: Any, make_queue: Any) -> None:
    """Is an error of ours, at the first call."""
    url = make_queue().url + "-not"
    with pytest.raises(QueueNotFound):
        both(SqsPublisher, queue_url=url).publish("x")
    with pytest.raises(QueueNotFound):
        both(SqsReceiver, queue_url=url).receive_messages(wait_time_seconds=0)
    with pytest.raises(QueueNotFound):
        both(SqsListener, queue_url=url).listen()
    with pytest.raises(TopicNotFound):
        both(SnsPublisher, topic_arn="arn:aws:sns:us-east-1:000000000000:not-there").publish("x")


# ---------------------------------------------------------------------- the receiver


class Answers(Wire):
    """Gives these messages."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        super().__init__()
        self.messages = list(messages)

    def receive_message(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(("receive_message", arguments))
        return {"Messages": self.messages} if self.messages else {}


def test_a_receive_asks_for_what_it_was_told() -> None:
    """Defaults are sqs-mega's; each call may say otherwise, and 0 is 0."""
    wire = Answers()
    receiver = SqsReceiver(queue_url=URL, client=wire)
    assert receiver.receive_messages() == []
    asked = ("QueueUrl", "MaxNumberOfMessages", "WaitTimeSeconds", "VisibilityTimeout")
    assert [wire.arguments[name] for name in asked] == [URL, 1, 20, 30]
    receiver.receive_messages(URL + "-2", 10, 0, 0)
    assert [wire.arguments[name] for name in asked] == [URL + "-2", 10, 0, 0]
    for wrong in ({"max_number_of_messages": 0}, {"max_number_of_messages": 11}, {"wait_time_seconds": 21}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            receiver.receive_messages(**wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SqsReceiver(queue_url=URL, client=wire, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Missing Queue URL"):
        SqsReceiver(client=wire).receive_messages()


def test_one_bad_message_is_the_trouble_of_one() -> None:
    """Of ten, one cannot be decoded and one lacks its body: both come as invalid, beside the others."""
    good = {"MessageId": "1", "ReceiptHandle": "r", "Body": "text"}
    bad = {**good, "MessageId": "2", "Body": '{"protocol": "mega", "version": 1}'}
    lacking = {"MessageId": "3", "ReceiptHandle": "r"}
    wire = Answers(good, bad, lacking, {**good, "Unknown": 5})
    kinds = [PayloadType.PLAINTEXT, PayloadType.INVALID, PayloadType.INVALID, PayloadType.PLAINTEXT]
    messages = SqsReceiver(queue_url=URL, client=wire).receive_messages()
    assert [message.payload_type for message in messages] == kinds
    assert isinstance(messages[1].error, mega.SchemaError)
    assert "Missing data for required field Body" in str(messages[2].error)
    assert "text" not in repr(messages[0])


# ---------------------------------------------------------------------- topics


def test_topics(sns: SNS, make_queue: Any, client: Any, both: Any) -> None:
    """Made, subscribed to with a filter, and deleted."""
    queue = make_queue()
    arn = sns.create("test-of-topics")
    assert sns.create("test-of-topics") == arn
    client.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": queue_policy(queue.arn, arn)})
    assert sns.subscribe(arn, queue.arn, raw=True, only={"tenant": ["t"]}).startswith(arn)
    publisher, receiver = both(SnsPublisher, topic_arn=arn), both(SqsReceiver, queue_url=queue.url)
    publisher.publish("not this", attributes={"tenant": "u"})
    publisher.publish("this", attributes={"tenant": "t"})
    (message,) = receiver.receive_messages(max_number_of_messages=10, wait_time_seconds=5)
    assert message.payload == "this"
    sns.delete(arn)
    with pytest.raises(ValueError, match="topic_arn must be the ARN"):
        sns.subscribe("x", queue.arn)


def test_a_fifo_topic(sns: SNS, make_queue: Any, client: Any, both: Any) -> None:
    """Sends to a FIFO queue, in the order of each group."""
    queue = make_queue(fifo=True, ContentBasedDeduplication="true")
    arn = sns.create("test-of-topics.fifo")
    client.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": queue_policy(queue.arn, arn)})
    sns.subscribe(arn, queue.arn, raw=True)
    publisher, receiver = both(SnsPublisher, topic_arn=arn), both(SqsReceiver, queue_url=queue.url)
    entries = [PublishEntry(payload=f"{n}", deduplication_id=f"d{n}") for n in range(3)]
    publisher.publish_many(entries, group="g")
    found: list[str] = []
    while len(found) < 3:
        for message in receiver.receive_messages(max_number_of_messages=10, wait_time_seconds=5):
            found.append(message.payload)
            receiver.delete_message(message)
    assert found == ["0", "1", "2"]
    sns.delete(arn)


def test_a_subscription_is_confirmed() -> None:
    """By its topic and its token."""
    envelope = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "m",
        "TopicArn": TOPIC,
        "Timestamp": "2020-01-01T00:00:00Z",
        "Message": "x",
        "Token": "t",
        "SubscribeURL": "https://sns",
    }
    confirmation = received(envelope, Decoding()).payload
    assert isinstance(confirmation, SubscriptionConfirmation)
    wire = Wire()
    assert to_topic(wire, None).confirm(confirmation) == SNS(client=wire).confirm(confirmation) == "s-1"
    assert wire.calls == [("confirm_subscription", {"TopicArn": TOPIC, "Token": "t"})] * 2


def test_the_policy_of_a_queue_names_the_topics() -> None:
    """And nobody else may send by it."""
    (statement,) = json.loads(queue_policy("arn:aws:sqs:eu-west-1:1:orders", TOPIC))["Statement"]
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": [TOPIC]}}


# ---------------------------------------------------------------------- the listener


class Orders(DataSubscriber):
    """Takes orders."""

    seen: list[Any]
    pattern = None

    def process(self, payload: dict[str, Any]) -> ProcessStatus:
        self.seen.append(payload["n"])
        if payload["n"] == 2 and self.seen.count(2) == 1:
            return ProcessStatus.RETRY_LATER
        if payload["n"] == 3:
            raise ValueError("three")
        return ProcessStatus.DONE


def test_the_listener_listens(both: Any, make_queue: Any, open_queue: Callable[..., SQSQueue]) -> None:
    """Done is deleted, put off comes again, failed goes to the dead letters and is deleted; then it stops."""
    queue, dead = make_queue(), make_queue()
    seen: list[Any] = []
    Orders.seen = seen
    registry = Subscribers(on_fatal=DeadLetters(open_queue(dead)), unmatched="delete")
    listener = both(SqsListener, queue_url=queue.url, subscribers=registry, stop_when=MaxItems(4), backoff=Constant(0))
    listener.register_subscriber(Orders)
    both(SqsPublisher, queue_url=queue.url).publish_many([{"n": 1}, {"n": 2}, {"n": 3}, "nobody's"])
    report = listener.listen()
    assert sorted(seen) == [1, 2, 2, 3]
    assert (report.balanced, report.stats.cleaned, report.stats.dropped) == (True, 2, 2)
    (letter,) = both(SqsReceiver, queue_url=dead.url).receive_messages(wait_time_seconds=5)
    assert (letter.payload, letter.attributes["Failure"].rpartition(": ")[2]) == ({"n": 3}, "ValueError")
    with pytest.raises(UsageError, match="listen: it was called before"):
        listener.listen()
    with pytest.raises(UsageError, match="the listener listens already"):
        listener.register_subscriber(Orders)
    assert repr(listener) == f"<SqsListener of {queue.url}>"


def test_a_listener_is_stopped_before_and_after_it_begins(both: Any, make_queue: Any) -> None:
    """`stop` ends it in the middle of a poll, and one that was stopped before it began does not begin."""
    queue = make_queue()
    listener = both(SqsListener, queue_url=queue.url)
    assert listener.stats() is None
    listener.stop()
    assert listener.listen().stats.received == 0
    listener = both(SqsListener, queue_url=queue.url)
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(listener.listen()))
    thread.start()
    while listener.stats() is None or listener.stats().fetching != "yes":
        thread.join(0.01)
    listener.stop()
    thread.join(20)
    assert ended[0].balanced


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Missing Queue URL"),
        ({"queue_url": "orders"}, "queue_url must be the URL of a queue"),
        ({"queue_url": URL, "max_number_of_messages": 11}, "max_number_of_messages must be"),
        ({"queue_url": URL, "wait_time_seconds": 21}, "wait_time_seconds must be"),
        ({"queue_url": URL, "visibility_timeout": 0}, "visibility_timeout must be above 0"),
        ({"queue_url": URL, "aws_access_key_id": "x"}, "must be given together"),
    ],
)
def test_the_listener_checks_its_parameters(options: dict[str, Any], words: str) -> None:
    """When it is made; nothing is looked up then."""
    with pytest.raises((TypeError, ValueError), match=words):
        SqsListener(**options)


def test_the_listener_takes_each_subscriber_once() -> None:
    """A second time is an error, and so is what is no subscriber."""
    listener = SqsListener(queue_url=URL)
    listener.register_subscriber(Orders)
    with pytest.raises(UsageError, match="is registered already"):
        listener.register_subscriber(Orders)
    with pytest.raises(TypeError, match="a subscriber must be"):
        listener.register_subscriber(object)


def test_content_types_are_written_down() -> None:
    """Those that are sent are those that are read."""
    assert sorted(CONTENT_TYPES) == ["binary", "bson", "json", "text", "zlib"]
