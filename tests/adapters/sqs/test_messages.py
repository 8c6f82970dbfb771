"""A message is plain data: what was sent and what the service says of it, typed, whole, and the same everywhere."""

from __future__ import annotations

import dataclasses
import pickle
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_consumer_sqs import SQSMessage, SQSQueue
from queue_consumer_sqs._message import value_of
from support.sqs_servers import MakeQueue


def received(queue: SQSQueue) -> SQSMessage:
    (message,) = queue.receive(1)
    return message


@pytest.fixture
def queue(queue_url: str, open_queue: Callable[..., SQSQueue]) -> SQSQueue:
    return open_queue(queue_url, visibility_timeout=30)


# ---------------------------------------------------------------------- what came


def test_a_message_as_it_was_sent(queue: SQSQueue, queue_url: str) -> None:
    """Its id is the one that sending it returned; text and attributes are those that were sent, of their types."""
    attributes = {
        "text": "é ✓ \n",
        "whole": 7,
        "large": 12345678901234567890123456789012345678,
        "price": Decimal("0.10"),
        "float": 1.5,
        "raw": b"\x00\xff",
        "labelled": {"DataType": "Number.cents", "StringValue": "1050"},
        "named": {"DataType": "String.colour", "StringValue": "red"},
        "picture": {"DataType": "Binary.png", "BinaryValue": b"\x89PNG"},
    }
    before = datetime.now(UTC)
    id = queue.put("text ✓", attributes=attributes)
    message = received(queue)
    assert message.id == id
    assert message.body == "text ✓"
    assert message.attributes == {
        "text": "é ✓ \n",
        "whole": 7,
        "large": 12345678901234567890123456789012345678,
        "price": Decimal("0.10"),
        "float": Decimal("1.5"),
        "raw": b"\x00\xff",
        "labelled": 1050,
        "named": "red",
        "picture": b"\x89PNG",
    }
    types = {name: type(value) for name, value in message.attributes.items()}
    assert types["whole"] is types["large"] is types["labelled"] is int
    assert types["price"] is types["float"] is Decimal
    assert types["raw"] is types["picture"] is bytes
    assert message.raw_attributes["labelled"]["DataType"] == "Number.cents"
    assert message.queue == queue_url.rpartition("/")[2]
    assert (message.bus, message.priority) == ("", 0)
    assert message.lease == 30
    assert message.sent_at is not None
    assert message.sent_at.utcoffset() == timedelta(0)
    assert abs(message.sent_at - before) < timedelta(minutes=1)
    assert abs(message.received_at - time.time()) < 60


def test_what_the_service_says_of_it(queue: SQSQueue) -> None:
    """How often it came, and when it did first; a standard queue has no groups, numbers and deduplication ids."""
    queue.put("text")
    first = received(queue)
    queue.release([first])
    second = received(queue)
    assert (first.attempt, second.attempt) == (1, 2)
    assert (first.id, queue.identity(first), queue.attempt(second)) == (second.id, second.id, 2)
    assert first.receipt_handle != second.receipt_handle
    assert first.first_received_at == second.first_received_at is not None
    assert first.system["SenderId"]
    assert (first.group, first.deduplication_id, first.sequence_number) == (None, None, None)
    assert first.attributes == {}


def test_a_message_of_a_fifo_queue(make_queue: MakeQueue, open_queue: Callable[..., SQSQueue]) -> None:
    """It has its group, its deduplication id, and a number that grows."""
    queue = open_queue(make_queue(fifo=True))
    messages: list[SQSMessage] = []
    for number in range(2):
        queue.put("text", group="g", deduplication_id=f"once-{number}")
        messages.append(received(queue))
        queue.cleanup(messages[-1:])
    assert [message.group for message in messages] == ["g", "g"]
    assert [message.deduplication_id for message in messages] == ["once-0", "once-1"]
    numbers = [message.sequence_number for message in messages]
    assert None not in numbers
    assert numbers == sorted(set(numbers), key=lambda number: number or 0)


@pytest.mark.gap("fauxqs", reason="keeps no message groups on a standard queue")
def test_a_tenant_of_a_fair_queue(queue: SQSQueue) -> None:
    """A message group on a standard queue is a tenant, and no ordering key."""
    queue.put("text", group="tenant")
    message = received(queue)
    assert message.group == "tenant"
    assert queue.ordering_key is None


@pytest.mark.gap("fauxqs", reason="does not keep the trace header")
def test_trace_header(queue: SQSQueue, client: Any) -> None:
    """What the service has of its own for tracing is among the system attributes."""
    header = "Root=1-5759e988-bd862e3fe1be46a994272793"
    client.send_message(
        QueueUrl=queue.url,
        MessageBody="text",
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": header}},
    )
    assert received(queue).system["AWSTraceHeader"] == header


def test_bus_and_priority_of_the_queue(queue: SQSQueue) -> None:
    """What a queue is told of its bus, its messages say."""
    queue.bus, queue.priority = "urgent", 3.5
    queue.put("text")
    message = received(queue)
    assert (message.bus, message.priority) == ("urgent", 3.5)


# ---------------------------------------------------------------------- plain data


def example(**changes: Any) -> SQSMessage:
    message = SQSMessage(
        id="an-id",
        body='{"card": "4111"}',
        receipt_handle="a-handle",
        system={"ApproximateReceiveCount": "3", "SentTimestamp": "1700000000123", "MessageGroupId": "g"},
        raw_attributes={"secret": {"DataType": "String", "StringValue": "hidden"}},
        queue="orders",
        bus="b",
        priority=2,
        lease=30.0,
    )
    return dataclasses.replace(message, **changes)


def test_goes_to_other_processes_as_it_is() -> None:
    """A message that is pickled is the same on the other side, with everything that is not compared as well."""
    message = example()
    copy = pickle.loads(pickle.dumps(message))
    assert copy == message
    assert dataclasses.asdict(copy) == dataclasses.asdict(message)


def test_cannot_be_changed() -> None:
    """Nobody changes a message, or hangs something on it."""
    message: Any = example()
    for name in ("body", "receipt_handle", "anything"):
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
            setattr(message, name, "changed")


def test_equal_deliveries() -> None:
    """The same delivery is equal to itself, and has one hash; another delivery of the message is another thing."""
    assert example() == example(lease=5.0, received_at=0.0)
    assert len({example(), example(), example(receipt_handle="another")}) == 2


def test_is_not_shown_with_its_content() -> None:
    """What is logged of a message is where it came from, never what is in it."""
    assert repr(example()) == str(example()) == "<SQSMessage an-id of orders, attempt 3>"
    assert repr(SQSMessage("an-id", "body", "handle")) == "<SQSMessage an-id of a queue, attempt 1>"
    shown = repr([example()])
    assert not any(secret in shown for secret in ("4111", "hidden", "a-handle"))


def test_json() -> None:
    """The body is read as JSON; one that is none is an error, which has its id and not its text."""
    assert example().json() == {"card": "4111"}
    assert example(body="null").json() is None
    sentence = "the body of message an-id is not JSON at position 9: Expecting value"
    with pytest.raises(ValueError, match=f"^{sentence}$") as caught:
        example(body='{"card": x4111').json()
    assert "4111" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("system", "attempt", "sent_at", "number"),
    [
        ({}, 1, None, None),
        ({"ApproximateReceiveCount": "many", "SentTimestamp": "then", "SequenceNumber": "-"}, 1, None, None),
        ({"ApproximateReceiveCount": "0", "SentTimestamp": "", "SequenceNumber": ""}, 1, None, None),
        ({"SentTimestamp": "9" * 30}, 1, None, None),
        (
            {"ApproximateReceiveCount": "12", "SentTimestamp": "1700000000123", "SequenceNumber": "18850000000"},
            12,
            datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC),
            18_850_000_000,
        ),
    ],
)
def test_what_the_service_may_leave_out(
    system: dict[str, str], attempt: int, sent_at: datetime | None, number: int | None
) -> None:
    """Not every server says everything; what is not said, or makes no sense, is None, and the first attempt."""
    message = example(system=system)
    assert (message.attempt, message.sent_at, message.sequence_number) == (attempt, sent_at, number)


# ---------------------------------------------------------------------- values of attributes


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ({"DataType": "String", "StringValue": "7"}, "7"),
        ({"DataType": "Number", "StringValue": "7"}, 7),
        ({"DataType": "Number", "StringValue": "-7.0"}, -7),
        ({"DataType": "Number", "StringValue": "7.25"}, Decimal("7.25")),
        ({"DataType": "Number", "StringValue": "1E+30"}, 10**30),
        ({"DataType": "Number", "StringValue": "1E+126"}, Decimal("1E+126")),
        ({"DataType": "Number", "StringValue": "1E-128"}, Decimal("1E-128")),
        ({"DataType": "Number.float", "StringValue": "0"}, 0),
        ({"DataType": "Number", "StringValue": "seven"}, "seven"),
        ({"DataType": "Number", "StringValue": ""}, ""),
        ({"DataType": "Number", "StringValue": "Infinity"}, "Infinity"),
        ({"DataType": "Binary", "BinaryValue": b"7"}, b"7"),
        ({"DataType": "Binary"}, b""),
        ({}, ""),
    ],
)
def test_values(raw: dict[str, Any], value: Any) -> None:
    """Text, a number or bytes, as the type says; of a number that is none, its text."""
    found = value_of(raw)
    assert found == value
    assert type(found) is type(value)


@given(
    st.decimals(min_value=-(10**30), max_value=10**30, allow_nan=False, places=6)
    | st.integers(-(10**37), 10**37).map(Decimal)
)
def test_numbers_are_exact(number: Decimal) -> None:
    """What SQS can carry of a number is what it was; whole numbers are ints."""
    found = value_of({"DataType": "Number", "StringValue": format(number, "f")})
    assert found == number
    assert isinstance(found, int) == (number == number.to_integral_value())
