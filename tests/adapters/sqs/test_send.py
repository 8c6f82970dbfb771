"""Sending: checked before anything is sent, in as few calls as may be, and each entry's fate told.

What the service fails is scripted here, since no server fails on command; what it takes is read back from one.
"""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_consumer_sqs._access import Access
from queue_consumer_sqs._aws import Client
from queue_consumer_sqs._errors import (
    AccessDenied,
    BadCredentials,
    FailedEntry,
    InvalidRequest,
    QueueNotFound,
    SendError,
    SQSError,
    Throttled,
    Unreachable,
)
from queue_consumer_sqs._limits import BATCH_BYTES, MESSAGE_BYTES
from queue_consumer_sqs._send import RETRIES, Sender, batches, entry_of, size_of
from support.sqs_servers import MakeQueue

URL = "https://sqs.test/1/q"


class Service:
    """Takes what it is sent, but for what it was told to fail.

    Args:
        refuses: of a body, the answers to one attempt after another: a code and whether it is the sender's fault.
        breaks: of the number of a call, from 0 on, the error that it fails with.
    """

    def __init__(
        self,
        refuses: Mapping[str, list[tuple[str, bool]]] | None = None,
        breaks: Mapping[int, SQSError] | None = None,
    ) -> None:
        self.refuses = {body: list(answers) for body, answers in (refuses or {}).items()}
        self.breaks = dict(breaks or {})
        self.calls: list[list[str]] = []  # the bodies of each
        self.entries: list[dict[str, Any]] = []  # all that came
        self.pauses: list[float] = []

    def sender(self, *, fifo: bool = False) -> Sender:
        return Sender(self, URL, fifo, pause=self.pauses.append)

    def __call__(self, operation: str, **arguments: Any) -> dict[str, Any]:
        assert operation == "send_message_batch"
        assert arguments["QueueUrl"] == URL
        entries: list[dict[str, Any]] = arguments["Entries"]
        assert len({entry["Id"] for entry in entries}) == len(entries)
        number = len(self.calls)
        self.calls.append([entry["MessageBody"] for entry in entries])
        self.entries += entries
        if number in self.breaks:
            raise self.breaks[number]
        answer: dict[str, list[dict[str, Any]]] = {"Successful": [], "Failed": []}
        for entry in reversed(entries):  # AWS promises no order
            body = entry["MessageBody"]
            if self.refuses.get(body):
                code, ours = self.refuses[body].pop(0)
                answer["Failed"].append({"Id": entry["Id"], "Code": code, "Message": "no", "SenderFault": ours})
            else:
                answer["Successful"].append({"Id": entry["Id"], "MessageId": f"id of {body}"})
        return {key: value for key, value in answer.items() if value}  # without what is empty, as boto3 does


def bodies(count: int) -> list[dict[str, Any]]:
    return [{"body": f"m{number}"} for number in range(count)]


def failure_of(service: Service, entries: list[dict[str, Any]], *, fifo: bool = False) -> SendError:
    with pytest.raises(SendError) as caught:
        service.sender(fifo=fifo).put_many(entries)
    return caught.value


# ---------------------------------------------------------------------- entries


def test_an_entry_has_only_what_was_given() -> None:
    """On a standard queue a body is a body: no group, no deduplication id, no delay of our own."""
    assert entry_of("text", fifo=False) == {"MessageBody": "text"}


def test_all_that_can_be_given() -> None:
    """Each parameter has its place on the wire; group and deduplication id pass on a standard queue too."""
    assert entry_of("text", 1.2, "tenant", "once", {"a": "b"}, fifo=False) == {
        "MessageBody": "text",
        "DelaySeconds": 2,
        "MessageGroupId": "tenant",
        "MessageDeduplicationId": "once",
        "MessageAttributes": {"a": {"DataType": "String", "StringValue": "b"}},
    }


def test_the_default_group_of_a_fifo_queue() -> None:
    """What is put into a FIFO queue without a group is in the group `default`."""
    assert entry_of("text", fifo=True) == {"MessageBody": "text", "MessageGroupId": "default"}
    assert entry_of("text", group="g", fifo=True)["MessageGroupId"] == "g"


def test_no_delay_of_a_message_on_a_fifo_queue() -> None:
    """A FIFO queue has no delays of messages, which is said before it is sent."""
    with pytest.raises(ValueError, match=r"^delay must be 0 on a FIFO queue.*got 3"):
        entry_of("text", 3, fifo=True)
    assert "DelaySeconds" not in entry_of("text", 0, fifo=True)


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("é", {"DataType": "String", "StringValue": "é"}),
        (5, {"DataType": "Number", "StringValue": "5"}),
        (1.5, {"DataType": "Number", "StringValue": "1.5"}),
        (Decimal("0.10"), {"DataType": "Number", "StringValue": "0.10"}),
        (b"\x00\xff", {"DataType": "Binary", "BinaryValue": b"\x00\xff"}),
        (bytearray(b"a"), {"DataType": "Binary", "BinaryValue": b"a"}),
        ({"DataType": "Number.cents", "StringValue": "7"}, {"DataType": "Number.cents", "StringValue": "7"}),
        (
            {"DataType": "Binary.png", "BinaryValue": b"a", "BinaryListValues": []},
            {"DataType": "Binary.png", "BinaryValue": b"a"},
        ),
    ],
)
def test_attributes_are_typed_by_what_they_are(value: Any, wire: dict[str, Any]) -> None:
    """A str is a String, a number a Number, bytes are Binary; what has a type keeps it, with its label."""
    assert entry_of("text", attributes={"a": value}, fifo=False)["MessageAttributes"] == {"a": wire}


@pytest.mark.parametrize(
    ("value", "error", "sentence"),
    [
        (True, TypeError, "attributes: a must be a str, a number, bytes, or a mapping"),
        (None, TypeError, "attributes: a must be a str, a number, bytes, or a mapping"),
        ("", ValueError, "attributes: a must not be empty"),
        (b"", ValueError, "attributes: a must not be empty"),
        ("\x00", ValueError, "attributes: a must have only characters"),
        (float("nan"), ValueError, "attributes: a must be a number with at most 38 digits"),
        ({"DataType": "Text", "StringValue": "b"}, ValueError, "attributes: a must have a DataType of String"),
        ({"DataType": "String." + "a" * 250, "StringValue": "b"}, ValueError, "up to 256 characters"),
        ({"DataType": "Binary", "StringValue": "b"}, TypeError, "must have a BinaryValue that is bytes"),
        ({"DataType": "Number", "StringValue": 5}, TypeError, "must have a StringValue that is a str"),
        ({"DataType": "Binary", "BinaryValue": b""}, ValueError, "attributes: a must not be empty"),
    ],
)
def test_attributes_that_are_refused(value: Any, error: type[Exception], sentence: str) -> None:
    """What has no type, or no value, is refused with the name of the attribute."""
    with pytest.raises(error, match=sentence):
        entry_of("text", attributes={"a": value}, fifo=False)


def test_the_size_is_what_aws_counts() -> None:
    """Bytes of the body, and of names, types and values of attributes; and of nothing else."""
    entry = entry_of("é", 5, "group", "id", {"name": "é", "n": 10, "raw": b"\x00"}, fifo=False)
    assert size_of(entry) == 2 + (4 + 6 + 2) + (1 + 6 + 2) + (3 + 6 + 1)


def test_a_message_of_a_mebibyte_is_the_largest() -> None:
    """A byte more is refused, wherever it is."""
    full = "a" * (MESSAGE_BYTES - 11)
    attributes = {"key": "ab"}  # 3 + 6 + 2 bytes
    assert size_of(entry_of(full, attributes=attributes, fifo=False)) == MESSAGE_BYTES
    with pytest.raises(ValueError, match=f"at most {MESSAGE_BYTES} bytes together.*got {MESSAGE_BYTES + 1}"):
        entry_of(full + "a", attributes=attributes, fifo=False)


# ---------------------------------------------------------------------- batches


@given(st.lists(st.integers(1, MESSAGE_BYTES), max_size=40))
def test_batches_hold_ten_entries_and_a_mebibyte(sizes: list[int]) -> None:
    """No call has more than 10 entries or 1 MiB, none could have had one entry more, and the order is kept."""
    text = "a" * MESSAGE_BYTES
    packed = list(batches({"MessageBody": text[:size]} for size in sizes))
    in_each = [[size_of(entry) for entry in batch] for batch in packed]
    assert [size for batch in in_each for size in batch] == sizes
    assert [entry["Id"] for batch in packed for entry in batch] == [str(number) for number in range(len(sizes))]
    assert all(len(batch) <= 10 and sum(batch) <= BATCH_BYTES for batch in in_each)
    for batch, following in itertools.pairwise(in_each):
        assert len(batch) == 10 or sum(batch) + following[0] > BATCH_BYTES


# ---------------------------------------------------------------------- many


def test_ids_are_in_the_order_of_the_entries() -> None:
    """Whatever the order of the answers, the first id is that of the first entry."""
    service = Service()
    assert service.sender().put_many(iter(bodies(25))) == [f"id of m{number}" for number in range(25)]
    assert list(map(len, service.calls)) == [10, 10, 5]
    assert service.pauses == []


def test_nothing_is_nothing() -> None:
    """No entries make no call."""
    service = Service()
    assert service.sender().put_many([]) == []
    assert service.calls == []


@pytest.mark.parametrize(
    ("bad", "error", "sentence"),
    [
        ({"body": "a" * (MESSAGE_BYTES + 1)}, ValueError, f"at most {MESSAGE_BYTES} bytes.*got {MESSAGE_BYTES + 1}"),
        ({"body": ""}, ValueError, "body must not be empty"),
        ({"body": b"a"}, TypeError, "body must be a str; got bytes"),
        ({"body": "a", "delay": 901}, ValueError, "delay must be a number of seconds from 0 to 900; got 901"),
        ({"body": "a", "dealy": 1}, TypeError, "must have no keys but attributes, body,.*got 'dealy'"),
        ({"Body": "a"}, TypeError, "must map put's parameters to its arguments, body among them"),
        ("a", TypeError, "must map put's parameters to its arguments, body among them"),
    ],
)
def test_nothing_is_sent_if_one_entry_is_bad(bad: Any, error: type[Exception], sentence: str) -> None:
    """Everything is checked first, and the sentence has the position of the entry."""
    service = Service()
    with pytest.raises(error, match=f"^put_many: entry 11:? .*{sentence}"):
        service.sender().put_many([*bodies(11), bad])
    assert service.calls == []


def test_a_failed_entry_keeps_no_other_back() -> None:
    """The rest of its batch and the other batches are sent, and then it is said what was and what was not."""
    service = Service({"m3": [("InvalidMessageContents", True)], "m15": [("InvalidParameterValue", True)]})
    entries = bodies(25)
    error = failure_of(service, entries)
    assert error.failed == [
        FailedEntry(entries[3], "InvalidMessageContents", "no", True),
        FailedEntry(entries[15], "InvalidParameterValue", "no", True),
    ]
    assert error.failed[0].entry is entries[3]
    assert error.sent == [f"id of m{number}" for number in range(25) if number not in (3, 15)]
    assert str(error) == "2 of 25 messages were not sent; the first because of InvalidMessageContents: no"
    assert service.pauses == []  # our fault: of no use to try again


def test_what_is_not_our_fault_is_tried_again() -> None:
    """Only the entries that failed are sent again, after a pause that grows, and their ids have their places."""
    throttled = [("RequestThrottled", False), ("InternalError", False)]
    service = Service({"m1": throttled, "m3": throttled[:1]})
    assert service.sender().put_many(bodies(5)) == [f"id of m{number}" for number in range(5)]
    assert service.calls == [["m0", "m1", "m2", "m3", "m4"], ["m1", "m3"], ["m1"]]
    assert service.pauses == list(RETRIES[:2])


def test_it_is_not_tried_for_ever() -> None:
    """After a few attempts the entry has failed, and can be sent again by whoever reads the error."""
    service = Service({"m1": [("InternalError", False)] * 100})
    (failed,) = failure_of(service, bodies(3)).failed
    assert failed == FailedEntry({"body": "m1"}, "InternalError", "no", False)
    assert service.pauses == list(RETRIES)
    assert Counter(body for call in service.calls for body in call) == {"m0": 1, "m1": 1 + len(RETRIES), "m2": 1}


def test_whose_fault_it_is_if_the_server_is_wrong() -> None:
    """What no second attempt can mend is not tried again, though not every server knows that."""
    service = Service({"m1": [("AWS.SimpleQueueService.InvalidParameterValue", False)]})
    (failed,) = failure_of(service, bodies(2)).failed
    assert failed.sender_fault
    assert len(service.calls) == 1


def test_an_entry_that_is_not_answered_for() -> None:
    """What is neither among the successful nor among the failed counts as not sent, and is tried again."""
    service = Service()

    def call(operation: str, **arguments: Any) -> dict[str, Any]:
        answer = service(operation, **arguments)
        answer["Successful"] = [entry for entry in answer["Successful"] if entry["MessageId"] != "id of m1"]
        return answer

    with pytest.raises(SendError) as caught:
        Sender(call, URL, False, pause=service.pauses.append).put_many(bodies(3))
    assert [(failed.entry["body"], failed.code) for failed in caught.value.failed] == [("m1", "NotConfirmed")]
    assert len(service.calls) == 1 + len(RETRIES)


def test_a_call_that_fails_whole_keeps_no_other_batch_back() -> None:
    """Its entries have failed; boto3 has tried again already. The error has the reason as its cause."""
    reason = Throttled("slow down", "Throttling")
    service = Service(breaks={1: reason})
    error = failure_of(service, bodies(25))
    assert [failed.entry["body"] for failed in error.failed] == [f"m{number}" for number in range(10, 20)]
    assert {failed[1:] for failed in error.failed} == {("Throttling", "slow down", False)}
    assert len(error.sent) == 15
    assert error.__cause__ is reason


def test_a_call_that_is_refused_is_made_entry_by_entry() -> None:
    """Since it may be for one of them, that one must not fail the others."""
    service = Service(breaks={0: InvalidRequest("odd", "Odd"), 2: InvalidRequest("odd", "Odd")})
    error = failure_of(service, bodies(3))
    assert service.calls == [["m0", "m1", "m2"], ["m0"], ["m1"], ["m2"]]
    assert error.failed == [FailedEntry({"body": "m1"}, "Odd", "odd", True)]
    assert error.sent == ["id of m0", "id of m2"]


@pytest.mark.parametrize("kind", [AccessDenied, BadCredentials, QueueNotFound])
def test_no_more_calls_where_they_would_fail_too(kind: type[SQSError]) -> None:
    """Without permission, credentials or queue the other batches are not tried, and have failed for that reason."""
    service = Service(breaks={1: kind("not for you", "Denied")})
    error = failure_of(service, bodies(35))
    assert len(service.calls) == 2
    assert len(error.sent) == 10
    assert [failed.entry["body"] for failed in error.failed] == [f"m{number}" for number in range(10, 35)]
    assert {failed.code for failed in error.failed} == {"Denied"}
    assert error.failed[-1].message == "not tried, since before it not for you"


def test_the_reason_itself_if_nothing_was_sent() -> None:
    """If the first call says that none can succeed, that is what is raised."""
    reason = QueueNotFound("gone", "QueueDoesNotExist")
    service = Service(breaks={0: reason})
    with pytest.raises(QueueNotFound) as caught:
        service.sender().put_many(bodies(25))
    assert caught.value is reason


def test_a_service_that_is_not_there_is_not_tried_for_ever() -> None:
    """Each call that does not reach it takes its time: after two in a row no more are made."""
    gone = Unreachable("no answer", "ConnectTimeoutError")
    service = Service(breaks={1: gone, 3: gone, 4: gone})
    error = failure_of(service, bodies(80))
    assert len(service.calls) == 5
    assert len(error.sent) == 20


def test_a_send_error_travels() -> None:
    """It pickles with its entries, so that it may be raised in another process."""
    error = failure_of(Service({"m1": [("InvalidMessageContents", True)]}), bodies(3))
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.failed, copy.sent, str(copy)) == (error.failed, error.sent, str(error))


# ---------------------------------------------------------------------- in order


def test_a_failed_entry_stops_its_message_group() -> None:
    """On a FIFO queue nothing of its group is sent in a later call: it would overtake. Other groups go on."""
    service = Service({"m2": [("InternalError", False)] * 100})
    entries = [{"body": f"m{number}", "group": "ab"[number % 2]} for number in range(30)]
    error = failure_of(service, entries, fifo=True)
    assert error.sent == [f"id of m{number}" for number in range(30) if number % 2 or (number < 10 and number != 2)]
    assert [failed.entry for failed in error.failed] == [entries[2], *entries[10:30:2]]
    assert {failed.code for failed in error.failed[1:]} == {"HeldBack"}
    assert error.failed[1].message == "not tried, since an earlier entry of message group 'a' was not sent"
    assert not any(failed.sender_fault for failed in error.failed)


def test_a_group_waits_for_its_second_attempt() -> None:
    """A later call with entries of a group is made after all attempts of the earlier ones."""
    service = Service({"m9": [("InternalError", False)] * 2})
    entries = [{"body": f"m{number}"} for number in range(12)]
    assert len(service.sender(fifo=True).put_many(entries)) == 12
    assert service.calls[1:] == [["m9"], ["m9"], ["m10", "m11"]]


def test_groups_of_a_standard_queue_stop_nothing() -> None:
    """There a group is a tenant's share, and no order."""
    service = Service({"m2": [("InvalidMessageContents", True)]})
    error = failure_of(service, [{"body": f"m{number}", "group": "a"} for number in range(20)])
    assert len(error.sent) == 19


# ---------------------------------------------------------------------- a server


@pytest.fixture
def standard(client: Any, make_queue: MakeQueue) -> Sender:
    return Sender(Client(Access(client=client)).call, make_queue(), False)


@pytest.fixture
def fifo(client: Any, make_queue: MakeQueue) -> Sender:
    return Sender(Client(Access(client=client)).call, make_queue(fifo=True, ContentBasedDeduplication=True), True)


def received(client: Any, url: str, count: int) -> list[dict[str, Any]]:
    """So many messages, as the server gives them, each deleted, so that a group gives its next."""
    messages: list[dict[str, Any]] = []
    while len(messages) < count:
        answer = client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=5,
            VisibilityTimeout=60,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        got = answer.get("Messages", [])
        assert got, f"only {len(messages)} of {count} messages came"
        messages += got
        receipts = [{"Id": str(number), "ReceiptHandle": got[number]["ReceiptHandle"]} for number in range(len(got))]
        client.delete_message_batch(QueueUrl=url, Entries=receipts)
    return messages


def test_put(client: Any, standard: Sender) -> None:
    """What is put comes out, with its attributes, under the id that was returned."""
    cents = {"DataType": "Number.cents", "StringValue": "1"}
    id = standard.put("é\n", attributes={"s": "é", "n": 5, "b": b"\x00", "c": cents})
    (message,) = received(client, standard.url, 1)
    assert (message["MessageId"], message["Body"]) == (id, "é\n")
    assert message["MessageAttributes"] == {
        "s": {"DataType": "String", "StringValue": "é"},
        "n": {"DataType": "Number", "StringValue": "5"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00"},
        "c": cents,
    }


def test_put_many(client: Any, standard: Sender) -> None:
    """All of them come out, under the ids that were returned, in whatever order."""
    ids = standard.put_many(bodies(23))
    messages = received(client, standard.url, 23)
    assert {message["MessageId"]: message["Body"] for message in messages} == {
        id: f"m{number}" for number, id in enumerate(ids)
    }


def test_put_many_large_messages(client: Any, standard: Sender) -> None:
    """What fits into no common call is sent in several, up to the largest that there is."""
    sizes = [MESSAGE_BYTES, 600_000, 500_000, 1, MESSAGE_BYTES]
    standard.put_many([{"body": "a" * size} for size in sizes])
    messages = received(client, standard.url, len(sizes))
    assert sorted(len(message["Body"]) for message in messages) == sorted(sizes)


def test_a_delay(client: Any, standard: Sender) -> None:
    """A delayed message is not there at first, and is there in the end."""
    standard.put("later", delay=0.5)
    assert "Messages" not in client.receive_message(QueueUrl=standard.url)
    (message,) = received(client, standard.url, 1)
    assert message["Body"] == "later"


def test_a_fifo_queue_keeps_the_order(client: Any, fifo: Sender) -> None:
    """Messages of a group come as they were put, by `put` and `put_many` alike; the group is `default` unless given."""
    fifo.put("first")
    fifo.put_many(bodies(12))
    fifo.put("other", group="other", deduplication_id="one")
    fifo.put("other again", group="other", deduplication_id="one")  # the same, as SQS sees it
    messages = received(client, fifo.url, 14)
    by_group: dict[str, list[str]] = {}
    for message in messages:
        by_group.setdefault(message["Attributes"]["MessageGroupId"], []).append(message["Body"])
    assert by_group == {"default": ["first", *(f"m{number}" for number in range(12))], "other": ["other"]}


def test_a_queue_that_is_gone(client: Any, standard: Sender) -> None:
    """Both verbs say that there is no such queue."""
    client.delete_queue(QueueUrl=standard.url)
    with pytest.raises(QueueNotFound):
        standard.put("a")
    with pytest.raises(QueueNotFound):
        standard.put_many(bodies(3))


def test_a_smaller_limit_of_the_queue(client: Any, make_queue: MakeQueue) -> None:
    """A message that is too large for this queue fails alone, as SQS says; the others of its call are sent."""
    url = make_queue(MaximumMessageSize=1024)
    with pytest.raises(SendError) as caught:
        Sender(Client(Access(client=client)).call, url, False).put_many(
            [{"body": "a"}, {"body": "b" * 2000}, {"body": "c"}]
        )
    assert [failed.entry["body"] for failed in caught.value.failed] == ["b" * 2000]
    assert len(caught.value.sent) == 2
    assert {message["Body"] for message in received(client, url, 2)} == {"a", "c"}
