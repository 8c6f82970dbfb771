"""What the SQS in memory promises: AWS's rules, each by itself, on a clock that is moved by hand.

That it behaves as a server does is tested by whatever runs against one (`SQS_SERVER=memory`).
"""

from __future__ import annotations

import doctest
import hashlib
import importlib
import inspect
import json
import random
import re
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from queue_consumer.testing import ManualClock
from queue_consumer_sqs import testing
from queue_consumer_sqs.testing import MemoryClient, MemorySQS
from queue_consumer_sqs.testing import _queue as queue_module
from queue_consumer_sqs.testing import _sqs as door
from support.lifecycle import Deed, in_thread, until

LIMIT = 1_048_576
SERVICE = "AWS.SimpleQueueService."
HOURS = 43_200
BATCH_CALLS = ("send_message_batch", "delete_message_batch", "change_message_visibility_batch")


def code_of(call: Callable[[], object]) -> str:
    """The error code that this call is refused with."""
    return error_of(call)["Code"]


def error_of(call: Callable[[], object]) -> dict[str, str]:
    try:
        call()
    except Exception as error:
        answer: dict[str, Any] = getattr(error, "response", None) or pytest.fail(f"no refusal: {error!r}")
        found: dict[str, str] = answer["Error"]
        return found
    pytest.fail("it was not refused")


def text(value: str, kind: str = "String") -> dict[str, Any]:
    return {"DataType": kind, "StringValue": value}


class Room:
    """An account, a clock, a client, and queues by short words."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sqs = MemorySQS(self.clock)
        self.client = self.sqs.client()

    def queue(self, name: str = "jobs", **attributes: str) -> Desk:
        if name.endswith(".fifo"):
            attributes.setdefault("FifoQueue", "true")
        url = self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return Desk(self.client, url)

    def redriven(self, most: int = 1, **attributes: str) -> tuple[Desk, Desk]:
        """A queue with dead letters, and their queue."""
        fifo = ".fifo" if attributes.get("FifoQueue") else ""
        dead = self.queue(f"dead{fifo}")
        policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": most})
        return self.queue(f"jobs{fifo}", RedrivePolicy=policy, **attributes), dead


class Desk:
    """One queue, and what is done with it."""

    def __init__(self, client: MemoryClient, url: str) -> None:
        self.client, self.url = client, url

    def send(self, body: str = "body", **options: Any) -> dict[str, Any]:
        return self.client.send_message(QueueUrl=self.url, MessageBody=body, **options)

    def get(self, most: int = 10, **options: Any) -> list[dict[str, Any]]:
        answer = self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=most, **options)
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def bodies(self, most: int = 10, **options: Any) -> list[str]:
        return [message["Body"] for message in self.get(most, **options)]

    def system(self, **options: Any) -> dict[str, str]:
        """Receive one message: its system attributes."""
        [message] = self.get(1, MessageSystemAttributeNames=["All"], **options)
        found: dict[str, str] = message["Attributes"]
        return found

    def delete(self, message: dict[str, Any]) -> None:
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def hide(self, message: dict[str, Any], seconds: int) -> None:
        self.client.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds
        )

    def batch(self, entries: list[dict[str, Any]], call: str = "send_message_batch") -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self.client, call)(QueueUrl=self.url, Entries=entries)
        return answer

    def attributes(self, *names: str) -> dict[str, str]:
        answer = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names or ["All"]))
        found: dict[str, str] = answer.get("Attributes", {})
        return found

    def set(self, **attributes: str) -> None:
        self.client.set_queue_attributes(QueueUrl=self.url, Attributes=attributes)

    def counts(self) -> tuple[int, int, int]:
        """How many are visible, in flight, delayed."""
        found = self.attributes()
        which = ("", "NotVisible", "Delayed")
        visible, in_flight, delayed = (int(found[f"ApproximateNumberOfMessages{what}"]) for what in which)
        return visible, in_flight, delayed

    @property
    def arn(self) -> str:
        return self.attributes("QueueArn")["QueueArn"]


def on_a_real_clock() -> Room:
    room = Room()
    room.sqs = MemorySQS()
    room.client = room.sqs.client()
    return room


def waiting_receive(room: Room, desk: Desk) -> Deed:
    """A receive in another thread, which waits by now."""
    deed = in_thread(lambda: desk.get(WaitTimeSeconds=20))
    until(lambda: room.sqs.waiting == 1, "the receive waits")
    return deed


def bodies_of(deed: Deed) -> list[str]:
    return [message["Body"] for message in deed.result()]


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def jobs(room: Room) -> Desk:
    return room.queue()


@pytest.fixture
def line(room: Room) -> Desk:
    """A FIFO queue that deduplicates by content."""
    return room.queue("jobs.fifo", ContentBasedDeduplication="true")


# ---------------------------------------------------------------------------- what it looks like


def test_the_documentation_runs() -> None:
    """The examples in the docstrings do what they say."""
    assert doctest.testmod(door).failed == 0


def test_the_public_names_are_there() -> None:
    """What the package lists can be imported from it."""
    assert all(hasattr(testing, name) for name in testing.__all__)


def test_answers_look_as_those_of_boto3(jobs: Desk) -> None:
    """Every answer carries metadata, and what there is nothing of is left out, as boto3 does."""
    answer = jobs.client.receive_message(QueueUrl=jobs.url)
    assert set(answer) == {"ResponseMetadata"}
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    again = jobs.client.receive_message(QueueUrl=jobs.url)
    assert answer["ResponseMetadata"]["RequestId"] != again["ResponseMetadata"]["RequestId"]


def test_methods_take_what_those_of_boto3_take() -> None:
    """Every method has the parameters that botocore's description of the service names, and no others."""
    model: Any = importlib.import_module("botocore.session").get_session().get_service_model("sqs")
    operations = {
        re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower(): model.operation_model(name) for name in model.operation_names
    }
    ours = {name: call for name, call in vars(MemoryClient).items() if name in operations}
    assert set(operations) - set(ours) == {"add_permission", "remove_permission"}
    for name, call in ours.items():
        shape = operations[name].input_shape
        parameters = [parameter for own, parameter in inspect.signature(call).parameters.items() if own != "self"]
        assert {parameter.name for parameter in parameters} == set(shape.members), name
        required = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
        assert required == set(shape.required_members), name


def test_region_and_account_are_in_urls_and_arns() -> None:
    """A client says where it is, and its queues' URLs and ARNs say so too."""
    client = MemorySQS(region="eu-west-1", account_id="123456789012").client()
    desk = Desk(client, client.create_queue(QueueName="jobs")["QueueUrl"])
    assert (client.meta.region_name, client.meta.endpoint_url) == ("eu-west-1", "https://sqs.eu-west-1.amazonaws.com")
    assert desk.url == "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs"
    assert desk.arn == "arn:aws:sqs:eu-west-1:123456789012:jobs"


def test_all_clients_see_the_same_queues_and_accounts_do_not(room: Room, jobs: Desk) -> None:
    """An account is shared by its clients, and by nobody else; a closed client has nothing to let go of."""
    jobs.send()
    other = room.sqs.client()
    other.close()
    assert Desk(other, jobs.url).bodies() == ["body"]
    assert code_of(lambda: MemorySQS().client().get_queue_url(QueueName="jobs")) == f"{SERVICE}NonExistentQueue"


def test_what_boto3_would_not_send_is_a_type_error(jobs: Desk) -> None:
    """Arguments of a wrong name or type do not reach the service, here as there."""
    client: Any = jobs.client
    for call in (
        lambda: client.send_message(QueueUrl=jobs.url),
        lambda: client.send_message(QueueUrl=jobs.url, MessageBody=b"bytes"),
        lambda: client.send_message(QueueUrl=jobs.url, MessageBody="a", Delay=1),
        lambda: client.send_message(QueueUrl=jobs.url, MessageBody="a", DelaySeconds=1.5),
        lambda: client.send_message(QueueUrl=jobs.url, MessageBody="a", MessageAttributes={"a": {"StringValue": "1"}}),
        lambda: client.send_message(
            QueueUrl=jobs.url, MessageBody="a", MessageAttributes={"a": {"DataType": "Binary", "BinaryValue": 5}}
        ),
        lambda: client.create_queue(QueueName="other", Attributes={"VisibilityTimeout": 30}),
        lambda: client.receive_message(QueueUrl=jobs.url, AttributeNames="All"),
        lambda: client.receive_message(QueueUrl=jobs.url, MaxNumberOfMessages="10"),
        lambda: client.send_message_batch(QueueUrl=jobs.url, Entries=[{"Id": "a"}]),
        lambda: client.send_message_batch(QueueUrl=jobs.url, Entries=[{"Id": "a", "MessageBody": "a", "Delay": 1}]),
        lambda: client.get_queue_url(QueueName=None),
        lambda: MemorySQS(clock=5),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        lambda: MemorySQS(region=5),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(TypeError):
            call()
    assert jobs.counts() == (0, 0, 0)


# ---------------------------------------------------------------------------- queues


@pytest.mark.parametrize("name", ["", "a b", "ümlaut", "a/b", "x" * 81, "a.fifo", "a.b"])
def test_names_of_standard_queues(room: Room, name: str) -> None:
    """A name has 1 to 80 letters, digits, hyphens and underscores."""
    assert code_of(lambda: room.client.create_queue(QueueName=name)) == "InvalidParameterValue"
    room.client.create_queue(QueueName="x" * 80)


@pytest.mark.parametrize("name", ["jobs", ".fifo", "a b.fifo", "x" * 76 + ".fifo"])
def test_names_of_fifo_queues(room: Room, name: str) -> None:
    """A FIFO queue's name ends in `.fifo`, and that counts among the 80."""
    fifo = {"FifoQueue": "true"}
    assert code_of(lambda: room.client.create_queue(QueueName=name, Attributes=fifo)) == "InvalidParameterValue"
    room.client.create_queue(QueueName="x" * 75 + ".fifo", Attributes=fifo)


def test_creating_a_queue_again(room: Room) -> None:
    """A queue that is there is given back if all attributes named are as its own; it is left as it is otherwise."""
    first = room.queue(VisibilityTimeout="5")
    assert room.queue(VisibilityTimeout="5").url == room.queue().url == first.url
    assert code_of(lambda: room.queue(VisibilityTimeout="6")) == "QueueAlreadyExists"
    assert first.attributes("VisibilityTimeout") == {"VisibilityTimeout": "5"}


def test_queues_are_found_by_name_and_url(room: Room, jobs: Desk) -> None:
    """The URL is found by the name and, if it is given, the account; there are no others."""
    client = room.client
    assert client.get_queue_url(QueueName="jobs")["QueueUrl"] == jobs.url
    assert client.get_queue_url(QueueName="jobs", QueueOwnerAWSAccountId="000000000000")["QueueUrl"] == jobs.url
    none = f"{SERVICE}NonExistentQueue"
    assert code_of(lambda: client.get_queue_url(QueueName="other")) == none
    assert code_of(lambda: client.get_queue_url(QueueName="jobs", QueueOwnerAWSAccountId="1")) == none
    assert code_of(Desk(client, jobs.url.replace("jobs", "other")).get) == none
    assert code_of(Desk(client, jobs.url.replace("000000000000", "000000000001")).get) == none
    assert code_of(Desk(client, "jobs").get) == "InvalidAddress"


def test_a_deleted_queue_is_gone_with_its_messages(room: Room, jobs: Desk) -> None:
    """After its deletion a queue is not there; a new one of its name is empty and does not know the old handles."""
    jobs.send()
    jobs.send()
    [message] = jobs.get(1)
    room.client.delete_queue(QueueUrl=jobs.url)
    assert code_of(jobs.get) == code_of(jobs.send) == f"{SERVICE}NonExistentQueue"
    assert room.queue().counts() == (0, 0, 0)
    assert code_of(lambda: jobs.delete(message)) == "ReceiptHandleIsInvalid"


def test_queues_are_listed_by_prefix_and_in_pages(room: Room) -> None:
    """All queues whose names begin so, by name; in pages if a page size was asked for, and only then."""
    names = [f"a{number}" for number in range(5)]
    for name in [*reversed(names), "b"]:
        room.queue(name)
    listed = room.client.list_queues(QueueNamePrefix="a")
    assert [url.rpartition("/")[2] for url in listed["QueueUrls"]] == names
    assert "NextToken" not in listed
    found: list[str] = []
    page: dict[str, Any] = {"NextToken": None}
    while "NextToken" in page:
        page = room.client.list_queues(QueueNamePrefix="a", MaxResults=2, NextToken=page["NextToken"])
        assert len(page["QueueUrls"]) <= 2
        found += page["QueueUrls"]
    assert found == listed["QueueUrls"]
    assert "QueueUrls" not in room.client.list_queues(QueueNamePrefix="c")
    assert len(room.client.list_queues()["QueueUrls"]) == 6


def test_a_queue_has_all_its_attributes(room: Room) -> None:
    """`All` gives what AWS gives; a name gives that one; none gives none."""
    jobs, fifo = room.queue(DelaySeconds="3"), room.queue("jobs.fifo")
    everything = jobs.attributes()
    assert {name: everything[name] for name in ("VisibilityTimeout", "DelaySeconds", "MaximumMessageSize")} == {
        "VisibilityTimeout": "30",
        "DelaySeconds": "3",
        "MaximumMessageSize": str(LIMIT),
    }
    assert "FifoQueue" not in everything
    assert "RedrivePolicy" not in everything
    assert set(fifo.attributes()) - set(everything) == {
        "FifoQueue",
        "ContentBasedDeduplication",
        "DeduplicationScope",
        "FifoThroughputLimit",
    }
    assert jobs.attributes("DelaySeconds", "Policy") == {"DelaySeconds": "3"}
    assert "Attributes" not in room.client.get_queue_attributes(QueueUrl=jobs.url)
    assert code_of(lambda: jobs.attributes("Colour")) == "InvalidAttributeName"


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("VisibilityTimeout", 0, HOURS),
        ("MaximumMessageSize", 1024, LIMIT),
        ("MessageRetentionPeriod", 60, 1_209_600),
        ("DelaySeconds", 0, 900),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("KmsDataKeyReusePeriodSeconds", 60, 86_400),
    ],
)
def test_numbers_of_a_queue_have_limits(jobs: Desk, name: str, least: int, most: int) -> None:
    """A queue's number may be the least and the most that AWS allows, and nothing beyond."""
    for value in (str(least), str(most)):
        jobs.set(**{name: value})
        assert jobs.attributes(name) == {name: value}
    for wrong in (str(least - 1), str(most + 1), "", "x", "1.5"):
        assert code_of(lambda: jobs.set(**{name: wrong})) == "InvalidAttributeValue"  # noqa: B023  # called at once
    assert jobs.attributes(name) == {name: str(most)}


def test_attributes_are_set_all_or_none(room: Room, jobs: Desk) -> None:
    """If one attribute is wrong, none is changed; a change is noted with its time."""
    before = jobs.attributes()
    assert code_of(lambda: jobs.set(DelaySeconds="5", VisibilityTimeout="-1")) == "InvalidAttributeValue"
    assert jobs.attributes() == before
    room.clock.advance(100)
    jobs.set(DelaySeconds="5")
    after = jobs.attributes()
    assert after["DelaySeconds"] == "5"
    assert int(after["LastModifiedTimestamp"]) - int(before["LastModifiedTimestamp"]) == 100
    assert after["CreatedTimestamp"] == before["CreatedTimestamp"]


@pytest.mark.parametrize(
    ("name", "attributes", "code"),
    [
        ("jobs", {"Colour": "red"}, "InvalidAttributeName"),
        ("jobs", {"QueueArn": "arn"}, "InvalidAttributeName"),
        ("jobs", {"FifoQueue": "false"}, "InvalidAttributeName"),
        ("jobs", {"ContentBasedDeduplication": "true"}, "InvalidAttributeName"),
        ("jobs", {"SqsManagedSseEnabled": "yes"}, "InvalidAttributeValue"),
        ("jobs", {"Policy": "no JSON"}, "InvalidAttributeValue"),
        ("jobs", {"RedrivePolicy": "[]"}, "InvalidAttributeValue"),
        ("jobs.fifo", {"FifoQueue": "true", "ContentBasedDeduplication": "yes"}, "InvalidAttributeValue"),
        ("jobs.fifo", {"FifoQueue": "true", "DeduplicationScope": "group"}, "InvalidAttributeValue"),
        ("jobs.fifo", {"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}, "InvalidParameterValue"),
    ],
)
def test_wrong_attributes_make_no_queue(room: Room, name: str, attributes: dict[str, str], code: str) -> None:
    """A queue with an attribute that there is not, or not for its kind, or of a wrong value, is not created."""
    assert code_of(lambda: room.client.create_queue(QueueName=name, Attributes=attributes)) == code
    assert "QueueUrls" not in room.client.list_queues()


def test_a_queue_stays_what_it_is(jobs: Desk, line: Desk) -> None:
    """A standard queue cannot be made a FIFO queue, nor the other way round."""
    assert code_of(lambda: jobs.set(FifoQueue="true")) == "InvalidAttributeName"
    assert code_of(lambda: line.set(FifoQueue="false")) == "InvalidAttributeValue"
    line.set(FifoQueue="true")


def test_tags(room: Room) -> None:
    """Tags are given at creation or later, replaced, listed and taken away; there are 50 at most."""
    client = room.client
    url = client.create_queue(QueueName="jobs", tags={"a": "1"})["QueueUrl"]
    client.tag_queue(QueueUrl=url, Tags={"a": "2", "b": "3"})
    assert client.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "2", "b": "3"}
    too_many = {f"t{number}": "" for number in range(49)}
    assert code_of(lambda: client.tag_queue(QueueUrl=url, Tags=too_many)) == "InvalidParameterValue"
    client.untag_queue(QueueUrl=url, TagKeys=["a", "b", "c"])
    assert "Tags" not in client.list_queue_tags(QueueUrl=url)


def test_purge(room: Room, jobs: Desk) -> None:
    """A purge removes all messages, those in flight and delayed too; the next has to wait a minute."""
    for delay in (0, 0, 5):
        jobs.send(DelaySeconds=delay)
    [message] = jobs.get(1)
    assert jobs.counts() == (1, 1, 1)
    room.client.purge_queue(QueueUrl=jobs.url)
    assert jobs.counts() == (0, 0, 0)
    jobs.delete(message)
    assert code_of(lambda: room.client.purge_queue(QueueUrl=jobs.url)) == f"{SERVICE}PurgeQueueInProgress"
    room.clock.advance(60)
    room.client.purge_queue(QueueUrl=jobs.url)
    assert jobs.get() == []


# ---------------------------------------------------------------------------- what may be sent


def test_what_was_sent_is_received(jobs: Desk) -> None:
    """A message comes with its id, its body and the sum of that; no attributes unless they were asked for."""
    sent = jobs.send("Grüße", MessageAttributes={"a": text("1")})
    [message] = jobs.get()
    digest = hashlib.md5("Grüße".encode(), usedforsecurity=False).hexdigest()
    assert sent["MD5OfMessageBody"] == message["MD5OfBody"] == digest
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "Grüße")
    assert set(message) == {"MessageId", "ReceiptHandle", "MD5OfBody", "Body"}


@pytest.mark.parametrize("body", ["a\x00", "\x0b", "\ud800", "\ufffe", "\x1f"])
def test_characters_that_a_body_must_not_have(jobs: Desk, body: str) -> None:
    """What XML cannot carry is refused; tabs, line ends and everything beyond the basic plane are not."""
    assert code_of(lambda: jobs.send(body)) == "InvalidMessageContents"
    jobs.send("\t\n\r\U0001f600\ufffd\ue000")


def test_a_body_must_not_be_empty(jobs: Desk) -> None:
    """An empty body counts as none."""
    assert code_of(lambda: jobs.send("")) == "MissingParameter"


def test_a_message_is_at_most_one_mebibyte(jobs: Desk) -> None:
    """The body in UTF-8 and the names, types and values of the attributes count together."""
    jobs.send("a" * LIMIT)
    jobs.send("ü" * (LIMIT // 2))
    attribute = {"a": text("1")}  # 1 + 6 + 1 bytes
    jobs.send("a" * (LIMIT - 8), MessageAttributes=attribute)
    jobs.send("a" * (LIMIT - 8), MessageAttributes={"a": {"DataType": "Binary", "BinaryValue": "1"}})
    for body, attributes in (("a" * (LIMIT + 1), {}), ("ü" * LIMIT, {}), ("a" * (LIMIT - 7), attribute)):
        assert code_of(lambda: jobs.send(body, MessageAttributes=attributes)) == "InvalidParameterValue"  # noqa: B023


def test_a_queue_may_allow_less(room: Room) -> None:
    """`MaximumMessageSize` holds for each message by itself, in batches too."""
    jobs = room.queue(MaximumMessageSize="1024")
    jobs.send("a" * 1024)
    assert code_of(lambda: jobs.send("a" * 1025)) == "InvalidParameterValue"
    answer = jobs.batch([{"Id": "a", "MessageBody": "a"}, {"Id": "b", "MessageBody": "a" * 1025}])
    assert [entry["Id"] for entry in answer["Successful"]] == ["a"]
    assert [entry["Code"] for entry in answer["Failed"]] == ["InvalidParameterValue"]


def test_attributes_come_as_they_were_sent(jobs: Desk) -> None:
    """Strings, numbers and bytes come back, with the sum that AWS's documentation says how to make."""
    attributes = {
        "s": text("ü"),
        "n": text("12.5", "Number"),
        "b": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        "c.x": text("1", "String.custom"),
    }
    sent = jobs.send(MessageAttributes=attributes)
    [message] = jobs.get(MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == attributes
    # The sum is what another implementation, ministack 1.5.33, makes of them.
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"] == "e38cb4b0f4965f5d6b64c257a09c29ce"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (["All"], {"a", "foo.a", "foo.b", "food"}),
        ([".*"], {"a", "foo.a", "foo.b", "food"}),
        (["a"], {"a"}),
        (["foo.*"], {"foo.a", "foo.b"}),
        (["a", "foo.b", "none"], {"a", "foo.b"}),
        (["A"], set[str]()),
        ([], set[str]()),
    ],
)
def test_attributes_are_given_to_those_who_ask(jobs: Desk, asked: list[str], given: set[str]) -> None:
    """By name, by prefix, or all; the sum is that of what is given."""
    every = {name: text("1") for name in ("a", "foo.a", "foo.b", "food")}
    jobs.send(MessageAttributes=every)
    [message] = jobs.get(MessageAttributeNames=asked)
    assert set(message.get("MessageAttributes", {})) == given
    alone = jobs.send(MessageAttributes={name: every[name] for name in given})
    assert message.get("MD5OfMessageAttributes") == alone.get("MD5OfMessageAttributes")


@pytest.mark.parametrize(
    "attributes",
    [
        {"a": text("1", "Colour")},
        {"a": text("1", "string")},
        {"a": text("")},
        {"a": {"DataType": "String", "BinaryValue": b"1"}},
        {"a": {"DataType": "Binary", "BinaryValue": b""}},
        {"a": text("\x01")},
        {"a": text("one", "Number")},
        {"a": text("NaN", "Number")},
        {"a": text("1e127", "Number")},
        {"a": text("1e-129", "Number")},
        {"a": text("1" * 39, "Number")},
        {"a": {"DataType": "String", "StringListValues": ["1"]}},
        {"": text("1")},
        {"a b": text("1")},
        {".a": text("1")},
        {"a.": text("1")},
        {"a..b": text("1")},
        {"AWS.a": text("1")},
        {"amazon.a": text("1")},
        {"a" * 257: text("1")},
        {f"a{number}": text("1") for number in range(11)},
    ],
)
def test_wrong_attributes_are_not_sent(jobs: Desk, attributes: dict[str, Any]) -> None:
    """Types, names, values and the number of message attributes are those that AWS allows."""
    assert code_of(lambda: jobs.send(MessageAttributes=attributes)) == "InvalidParameterValue"
    assert jobs.counts() == (0, 0, 0)


def test_attributes_at_the_limits_are_sent(jobs: Desk) -> None:
    """Ten attributes, the longest name, the largest and longest numbers."""
    jobs.send(MessageAttributes={f"a{number}": text("1") for number in range(10)})
    numbers = ("1e126", "1e-128", "1" * 38, "0", "-0.5", "1" + "0" * 100)
    jobs.send(MessageAttributes={f"n{at}": text(value, "Number") for at, value in enumerate(numbers)})
    jobs.send(MessageAttributes={"a" * 256: text("1"), "awsome.x": text("1"), "a_b-c.d": text("1")})


def test_what_the_caller_has_can_be_changed_later(jobs: Desk) -> None:
    """The queue keeps no object of its callers, nor gives them one of its own."""
    data = bytearray(b"1")
    attributes: dict[str, dict[str, Any]] = {"a": text("1"), "b": {"DataType": "Binary", "BinaryValue": data}}
    jobs.send(MessageAttributes=attributes)
    attributes["a"]["StringValue"] = "2"
    data[0] = 0
    [message] = jobs.get(MessageAttributeNames=["All"], VisibilityTimeout=0)
    message["MessageAttributes"]["a"]["StringValue"] = "3"
    [again] = jobs.get(MessageAttributeNames=["All"])
    assert again["MessageAttributes"] == {"a": text("1"), "b": {"DataType": "Binary", "BinaryValue": b"1"}}


def test_the_trace_header_is_a_system_attribute(jobs: Desk) -> None:
    """It is the only one that can be sent, comes back when asked for, and has a sum of its own."""
    sent = jobs.send(MessageSystemAttributes={"AWSTraceHeader": text("Root=1")})
    assert len(sent["MD5OfMessageSystemAttributes"]) == 32
    assert jobs.system()["AWSTraceHeader"] == "Root=1"
    for wrong in ({"SenderId": text("me")}, {"AWSTraceHeader": text("")}, {"AWSTraceHeader": text("1", "Number")}):
        assert code_of(lambda: jobs.send(MessageSystemAttributes=wrong)) == "InvalidParameterValue"  # noqa: B023


def test_ids_and_groups_of_a_standard_queue(jobs: Desk) -> None:
    """A standard queue gives group ids back and orders nothing by them; deduplication ids are not for it."""
    for body in ("1", "2"):
        jobs.send(body, MessageGroupId="tenant")
    [first] = jobs.get(1, AttributeNames=["All"])
    assert first["Attributes"]["MessageGroupId"] == "tenant"
    assert "SequenceNumber" not in first["Attributes"]
    assert jobs.bodies() == ["2"]
    assert code_of(lambda: jobs.send(MessageDeduplicationId="1")) == "InvalidParameterValue"


@pytest.mark.parametrize("id", ["", "a b", "ü", "a" * 129])
def test_ids_are_ascii(jobs: Desk, line: Desk, id: str) -> None:
    """Group and deduplication ids have 1 to 128 letters, digits and signs."""
    assert code_of(lambda: jobs.send(MessageGroupId=id)) == "InvalidParameterValue"
    assert code_of(lambda: line.send(MessageGroupId=id)) == "InvalidParameterValue"
    assert code_of(lambda: line.send(MessageGroupId="g", MessageDeduplicationId=id)) == "InvalidParameterValue"
    line.send(MessageGroupId="!~" * 64, MessageDeduplicationId="!~" * 64)


# ---------------------------------------------------------------------------- batches


@pytest.mark.parametrize("call", BATCH_CALLS)
def test_batches_that_are_wrong_as_a_whole(jobs: Desk, call: str) -> None:
    """A batch has 1 to 10 entries with different ids of letters, digits, hyphens and underscores."""
    content = {"MessageBody": "a"} if call == "send_message_batch" else {"ReceiptHandle": "a"}

    def code(*ids: str) -> str:
        return code_of(lambda: jobs.batch([{"Id": id, **content} for id in ids], call))

    assert code() == f"{SERVICE}EmptyBatchRequest"
    assert code(*"abcdefghijk") == f"{SERVICE}TooManyEntriesInBatchRequest"
    assert code("a", "b", "a") == f"{SERVICE}BatchEntryIdsNotDistinct"
    for id in ("", "a b", "ü", "x" * 81):
        assert code(id) == f"{SERVICE}InvalidBatchEntryId"
    assert jobs.counts() == (0, 0, 0)
    jobs.batch([{"Id": "x" * 80, **content}], call)


def test_a_batch_may_succeed_in_part(jobs: Desk) -> None:
    """Each entry of a send is judged by itself: what was taken is told from what was not, with the reason."""
    attributes = {"a": text("1")}
    answer = jobs.batch(
        [
            {"Id": "good", "MessageBody": "a", "MessageAttributes": attributes},
            {"Id": "later", "MessageBody": "b", "DelaySeconds": 5},
            {"Id": "control", "MessageBody": "\x01"},
            {"Id": "empty", "MessageBody": ""},
            {"Id": "delay", "MessageBody": "a", "DelaySeconds": 901},
        ]
    )
    good, later = answer["Successful"]
    assert (good["Id"], later["Id"]) == ("good", "later")
    assert "MD5OfMessageAttributes" in good
    assert [(entry["Id"], entry["SenderFault"], entry["Code"]) for entry in answer["Failed"]] == [
        ("control", True, "InvalidMessageContents"),
        ("empty", True, "MissingParameter"),
        ("delay", True, "InvalidParameterValue"),
    ]
    assert all(entry["Message"] for entry in answer["Failed"])
    assert [message["MessageId"] for message in jobs.get()] == [good["MessageId"]]
    assert jobs.counts() == (0, 1, 1)


def test_all_messages_of_a_batch_are_at_most_one_mebibyte(jobs: Desk) -> None:
    """The sizes of all entries count together, and too much is refused as a whole."""
    half = {"MessageBody": "a" * (LIMIT // 2)}
    jobs.batch([{"Id": "a", **half}, {"Id": "b", **half}])
    over = {"Id": "c", "MessageBody": "a"}
    assert code_of(lambda: jobs.batch([{"Id": "a", **half}, {"Id": "b", **half}, over])) == (
        f"{SERVICE}BatchRequestTooLong"
    )
    assert jobs.counts() == (2, 0, 0)


def test_batches_of_receipts_may_succeed_in_part(jobs: Desk) -> None:
    """Deletes and changes of visibility are judged one by one; nothing failed is an empty list."""
    for body in "ab":
        jobs.send(body)
    a, b = jobs.get()
    changes = [
        {"Id": "a", "ReceiptHandle": a["ReceiptHandle"], "VisibilityTimeout": 0},
        {"Id": "b", "ReceiptHandle": b["ReceiptHandle"], "VisibilityTimeout": HOURS + 1},
        {"Id": "c", "ReceiptHandle": "garbage", "VisibilityTimeout": 5},
    ]
    answer = jobs.batch(changes, "change_message_visibility_batch")
    assert answer["Successful"] == [{"Id": "a"}]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [
        ("b", "InvalidParameterValue"),
        ("c", "ReceiptHandleIsInvalid"),
    ]
    [a] = jobs.get()
    deletes = [{"Id": entry["Id"], "ReceiptHandle": entry["ReceiptHandle"]} for entry in changes]
    deletes[0]["ReceiptHandle"] = a["ReceiptHandle"]
    answer = jobs.batch(deletes, "delete_message_batch")
    assert answer["Successful"] == [{"Id": "a"}, {"Id": "b"}]
    assert [entry["Code"] for entry in answer["Failed"]] == ["ReceiptHandleIsInvalid"]
    assert jobs.batch(deletes[:1], "delete_message_batch")["Failed"] == []
    assert jobs.counts() == (0, 0, 0)


# ---------------------------------------------------------------------------- time


def test_a_delayed_message_cannot_be_seen_yet(room: Room, jobs: Desk) -> None:
    """A message's own delay goes before the queue's, also if it is 0, and ends by the clock."""
    jobs.set(DelaySeconds="5")
    jobs.send("own", DelaySeconds=9)
    jobs.send("none", DelaySeconds=0)
    jobs.send("queue")
    assert jobs.bodies() == ["none"]
    assert jobs.counts() == (0, 1, 2)
    room.clock.advance(5)
    assert jobs.bodies() == ["queue"]
    room.clock.advance(3.9)
    assert jobs.bodies() == []
    room.clock.advance(0.2)
    assert jobs.bodies() == ["own"]


@pytest.mark.parametrize("delay", [-1, 901])
def test_a_delay_has_limits(jobs: Desk, delay: int) -> None:
    """A delay is 0 to 900 seconds."""
    assert code_of(lambda: jobs.send(DelaySeconds=delay)) == "InvalidParameterValue"
    jobs.send(DelaySeconds=900)


def test_in_flight_for_its_visibility_timeout(room: Room, jobs: Desk) -> None:
    """What was received is hidden for the queue's visibility timeout or the receive's own, then comes again."""
    jobs.send()
    [first] = jobs.get()
    assert jobs.get() == []
    room.clock.advance(29.9)
    assert jobs.get() == []
    room.clock.advance(0.1)
    [again] = jobs.get(VisibilityTimeout=5)
    assert again["MessageId"] == first["MessageId"]
    assert again["ReceiptHandle"] != first["ReceiptHandle"]
    room.clock.advance(5)
    assert jobs.bodies(VisibilityTimeout=0) == jobs.bodies() == ["body"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"VisibilityTimeout": -1},
        {"VisibilityTimeout": HOURS + 1},
        {"WaitTimeSeconds": -1},
        {"WaitTimeSeconds": 21},
        {"MaxNumberOfMessages": 0},
        {"MaxNumberOfMessages": 11},
    ],
)
def test_a_receive_has_limits(jobs: Desk, wrong: dict[str, int]) -> None:
    """1 to 10 messages, a wait of 0 to 20 seconds, a visibility timeout of 0 to 12 hours."""
    options = {"MaxNumberOfMessages": 1, **wrong}
    assert code_of(lambda: jobs.client.receive_message(QueueUrl=jobs.url, **options)) == "InvalidParameterValue"  # type: ignore[arg-type]


def test_one_message_unless_more_are_asked_for(jobs: Desk) -> None:
    """A receive gives one message by default, and never more than it was asked for."""
    for number in range(12):
        jobs.send(str(number))
    assert len(jobs.client.receive_message(QueueUrl=jobs.url)["Messages"]) == 1
    assert jobs.bodies(3) == ["1", "2", "3"]
    assert len(jobs.get(10)) == 8


def test_changing_visibility(room: Room, jobs: Desk) -> None:
    """The new time runs from the change on, longer or shorter; 0 shows the message at once."""
    jobs.send()
    [message] = jobs.get(VisibilityTimeout=10)
    room.clock.advance(9)
    jobs.hide(message, 10)
    room.clock.advance(9)
    assert jobs.get() == []
    jobs.hide(message, 2)
    room.clock.advance(2)
    [message] = jobs.get()
    jobs.hide(message, 0)
    assert jobs.counts() == (1, 0, 0)
    [message] = jobs.get()
    room.clock.advance(29)
    assert jobs.get() == []  # it is hidden for the queue's timeout again


def test_no_message_is_hidden_for_more_than_twelve_hours(room: Room, jobs: Desk) -> None:
    """Twelve hours count from the receive on; more is refused and changes nothing."""
    jobs.send()
    [message] = jobs.get()
    jobs.hide(message, HOURS)
    room.clock.advance(3600)
    assert "Total VisibilityTimeout" in error_of(lambda: jobs.hide(message, HOURS - 3599))["Message"]
    assert code_of(lambda: jobs.hide(message, HOURS + 1)) == code_of(lambda: jobs.hide(message, -1))
    jobs.hide(message, HOURS - 3600)
    room.clock.advance(HOURS - 3600)
    [message] = jobs.get()
    jobs.hide(message, HOURS)


def test_messages_are_kept_for_the_retention_period(room: Room, jobs: Desk) -> None:
    """Then they are gone, wherever they were, however often they were received; the period may be changed."""
    jobs.send("early")
    jobs.set(MessageRetentionPeriod="100")
    room.clock.advance(60)
    [message] = jobs.get(VisibilityTimeout=1000)
    jobs.send("late")
    room.clock.advance(40)
    assert jobs.counts() == (1, 0, 0)
    jobs.delete(message)
    jobs.set(MessageRetentionPeriod="60")
    assert jobs.bodies(VisibilityTimeout=0) == ["late"]
    room.clock.advance(20)
    assert jobs.counts() == (0, 0, 0)
    jobs.send("after")
    assert jobs.bodies() == ["after"]


def test_system_attributes(room: Room, jobs: Desk) -> None:
    """Who sent it and when, when it was received first, how often: when asked for, by either parameter."""
    jobs.send()
    room.clock.advance(1.5)
    first = jobs.system(VisibilityTimeout=1)
    room.clock.advance(2)
    [again] = jobs.get(AttributeNames=["ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp"])
    assert set(first) == {
        "SenderId",
        "SentTimestamp",
        "ApproximateReceiveCount",
        "ApproximateFirstReceiveTimestamp",
    }
    assert int(first["ApproximateFirstReceiveTimestamp"]) - int(first["SentTimestamp"]) == 1500
    assert again["Attributes"] == {
        "ApproximateReceiveCount": "2",
        "ApproximateFirstReceiveTimestamp": first["ApproximateFirstReceiveTimestamp"],
    }
    assert code_of(lambda: jobs.get(AttributeNames=["Colour"])) == "InvalidAttributeName"


# ---------------------------------------------------------------------------- receipt handles


def test_a_handle_deletes_its_message(jobs: Desk) -> None:
    """A message in flight is deleted by its handle, and to do so again is no error."""
    jobs.send()
    [message] = jobs.get()
    jobs.delete(message)
    jobs.delete(message)
    assert jobs.counts() == (0, 0, 0)


def test_a_late_handle_still_deletes(room: Room, jobs: Desk) -> None:
    """On a standard queue a handle whose time is over is good until the message is received again."""
    jobs.send()
    [message] = jobs.get()
    room.clock.advance(30)
    jobs.delete(message)
    assert jobs.get() == []


def test_a_stale_handle_deletes_nothing(room: Room, jobs: Desk) -> None:
    """Once the message was received again, a delete with the old handle succeeds and does nothing."""
    jobs.send()
    [stale] = jobs.get()
    room.clock.advance(30)
    [message] = jobs.get()
    jobs.delete(stale)
    assert jobs.counts() == (0, 1, 0)
    assert code_of(lambda: jobs.hide(stale, 0)) == "InvalidParameterValue"
    jobs.delete(message)
    assert jobs.counts() == (0, 0, 0)


def test_visibility_of_what_is_not_in_flight(room: Room, jobs: Desk) -> None:
    """The visibility of a message that is visible again, or gone, cannot be changed."""
    jobs.send()
    [message] = jobs.get()
    room.clock.advance(30)
    assert code_of(lambda: jobs.hide(message, 5)) == f"{SERVICE}MessageNotInflight"
    jobs.delete(message)
    assert code_of(lambda: jobs.hide(message, 5)) == "InvalidParameterValue"


@pytest.mark.parametrize("handle", ["", "garbage", "ÄÖÜ", "YS9i", "YS9iL2M=", "YS9iLzE="])
def test_garbage_is_no_handle(jobs: Desk, handle: str) -> None:
    """What is not a handle of this queue is refused."""
    message = {"ReceiptHandle": handle}
    assert code_of(lambda: jobs.delete(message)) == "ReceiptHandleIsInvalid"
    assert code_of(lambda: jobs.hide(message, 0)) == "ReceiptHandleIsInvalid"


def test_a_handle_of_another_queue(room: Room, jobs: Desk) -> None:
    """A handle is good for one queue only."""
    jobs.send()
    [message] = jobs.get()
    other = room.queue("other")
    assert code_of(lambda: other.delete(message)) == "ReceiptHandleIsInvalid"
    assert jobs.counts() == (0, 1, 0)


def test_too_many_in_flight(room: Room, jobs: Desk, line: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A standard queue says that there are too many in flight; a FIFO queue just gives no more."""
    assert queue_module.IN_FLIGHT == 120_000
    monkeypatch.setattr(queue_module, "IN_FLIGHT", 2)
    for number in range(3):
        jobs.send(str(number))
        line.send(str(number), MessageGroupId=str(number))
    [message, _] = jobs.get(2)
    assert len(line.get(2)) == 2
    assert code_of(lambda: jobs.get()) == "OverLimit"
    assert line.get() == []
    jobs.delete(message)
    assert jobs.bodies(1) == ["2"]


def test_what_is_over_takes_no_memory(jobs: Desk) -> None:
    """Deleted messages, and visibility timeouts that were changed, are not kept until they would have ended."""
    for _ in range(3 * queue_module.SLACK):
        jobs.send()
        [message] = jobs.get(1)
        jobs.delete(message)
    jobs.send()
    [message] = jobs.get(1)
    for _ in range(3 * queue_module.SLACK):
        jobs.hide(message, 10)
    queue = jobs.client.account.by_url(jobs.url)
    assert len(queue._hidden) <= queue_module.SLACK + 2
    jobs.hide(message, 0)
    assert jobs.bodies() == ["body"]


# ---------------------------------------------------------------------------- waiting


def test_a_long_poll_wakes_at_once(room: Room, jobs: Desk) -> None:
    """A receive that waits returns when a message comes."""
    deed = waiting_receive(room, jobs)
    jobs.send()
    assert bodies_of(deed) == ["body"]
    assert room.sqs.waiting == 0


def test_the_queue_says_how_long_to_wait(room: Room, jobs: Desk) -> None:
    """`ReceiveMessageWaitTimeSeconds` holds where the receive says nothing; 0 in the receive is not nothing."""
    jobs.set(ReceiveMessageWaitTimeSeconds="20")
    assert jobs.bodies(WaitTimeSeconds=0) == []
    deed = in_thread(jobs.bodies)
    until(lambda: room.sqs.waiting == 1, "the receive waits")
    jobs.send()
    assert deed.result() == ["body"]


def test_a_long_poll_ends_with_its_time(room: Room, jobs: Desk) -> None:
    """It returns nothing when its time is over by the clock of the account."""
    deed = waiting_receive(room, jobs)
    room.clock.advance(20)
    assert bodies_of(deed) == []


def test_nobody_waits_for_ever_for_a_clock_that_stands_still(jobs: Desk) -> None:
    """It also returns when its time is over by the real clock."""
    assert jobs.bodies(WaitTimeSeconds=1) == []


def test_a_long_poll_sees_what_becomes_visible(room: Room, jobs: Desk) -> None:
    """The end of a delay, of a visibility timeout, and a change to 0 wake a receive that waits."""
    jobs.send("delayed", DelaySeconds=5)
    deed = waiting_receive(room, jobs)
    room.clock.advance(5)
    assert bodies_of(deed) == ["delayed"]
    deed = waiting_receive(room, jobs)
    room.clock.advance(30)
    [message] = deed.result()
    deed = waiting_receive(room, jobs)
    jobs.hide(message, 0)
    assert bodies_of(deed) == ["delayed"]


def test_a_real_clock_wakes_by_itself() -> None:
    """With a clock that runs, a receive that waits is woken when a message can be seen again."""
    jobs = on_a_real_clock().queue()
    jobs.send(DelaySeconds=1)
    assert jobs.bodies(WaitTimeSeconds=20) == ["body"]


def test_interrupt(room: Room, jobs: Desk) -> None:
    """All receives of this client that wait return with nothing; other clients', and later ones, wait on."""
    other = Desk(room.sqs.client(), jobs.url)
    deeds = [in_thread(lambda: jobs.bodies(WaitTimeSeconds=20)) for _ in range(3)]
    theirs = in_thread(lambda: other.bodies(1, WaitTimeSeconds=20))
    until(lambda: room.sqs.waiting == 4, "they wait")
    room.client.interrupt()
    assert [deed.result() for deed in deeds] == [[], [], []]
    later = in_thread(lambda: jobs.bodies(1, WaitTimeSeconds=20))
    until(lambda: room.sqs.waiting == 2, "the next waits")
    jobs.send()
    jobs.send()
    assert (later.result(), theirs.result()) == (["body"], ["body"])


def test_interrupt_from_a_signal_handler(room: Room, jobs: Desk) -> None:
    """A signal handler may interrupt the very thread that waits."""

    def interrupt(number: int, frame: object) -> None:
        room.client.interrupt()

    before = signal.signal(signal.SIGUSR1, interrupt)
    main = threading.main_thread().ident
    assert main is not None

    def send_signal() -> None:
        until(lambda: room.sqs.waiting == 1, "the receive waits")
        signal.pthread_kill(main, signal.SIGUSR1)

    try:
        deed = in_thread(send_signal)
        assert jobs.bodies(WaitTimeSeconds=20) == []
        deed.result()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_each_of_several_waiting_receives_gets_one(room: Room, jobs: Desk) -> None:
    """Four that wait and four messages: one each, and none comes back empty."""
    deeds = [in_thread(lambda: jobs.bodies(1, WaitTimeSeconds=20)) for _ in range(4)]
    until(lambda: room.sqs.waiting == 4, "they wait")
    jobs.batch([{"Id": str(number), "MessageBody": str(number)} for number in range(4)])
    assert sorted(body for deed in deeds for body in deed.result()) == ["0", "1", "2", "3"]


def test_deleting_a_queue_ends_the_waits(room: Room, jobs: Desk) -> None:
    """Whoever waits on a queue that is deleted returns with nothing."""
    deed = waiting_receive(room, jobs)
    room.client.delete_queue(QueueUrl=jobs.url)
    assert bodies_of(deed) == []


def test_many_threads(room: Room) -> None:
    """However many send, receive and delete at once, each message is received by one of them, once."""
    jobs = room.queue()
    total, received = 400, Counter[str]()
    taken = threading.Lock()

    def produce(first: int) -> None:
        for number in range(first, total, 4):
            jobs.send(str(number))

    def consume() -> None:
        while messages := jobs.get(3, WaitTimeSeconds=20):
            with taken:
                received.update(message["Body"] for message in messages)
            for message in messages:
                jobs.delete(message)

    consumers = [in_thread(consume) for _ in range(6)]
    producers = [in_thread(lambda first=first: produce(first)) for first in range(4)]  # type: ignore[misc]
    for producer in producers:
        producer.result()
    until(lambda: sum(received.values()) >= total and room.sqs.waiting == 6, "all are received")
    room.client.interrupt()
    for consumer in consumers:
        consumer.result()
    assert received == Counter(map(str, range(total)))
    assert jobs.counts() == (0, 0, 0)


# ---------------------------------------------------------------------------- FIFO


def test_a_fifo_queue_needs_a_group_and_an_id(room: Room) -> None:
    """A message needs a group, and a deduplication id unless the queue makes one; it has no delay of its own."""
    plain = room.queue("plain.fifo")
    assert code_of(lambda: plain.send(MessageDeduplicationId="1")) == "MissingParameter"
    assert code_of(lambda: plain.send(MessageGroupId="g")) == "InvalidParameterValue"
    ids = {"MessageGroupId": "g", "MessageDeduplicationId": "1"}
    assert code_of(lambda: plain.send(DelaySeconds=1, **ids)) == "InvalidParameterValue"
    assert int(plain.send(DelaySeconds=0, **ids)["SequenceNumber"]) > 0


def test_messages_know_their_place(line: Desk) -> None:
    """Sequence numbers grow with every message sent, and messages know their group and deduplication id."""
    sent = [line.send(str(number), MessageGroupId="g", MessageDeduplicationId=f"d{number}") for number in range(12)]
    numbers = [answer["SequenceNumber"] for answer in sent]
    assert numbers == sorted(set(numbers))
    system = line.system()
    assert (system["SequenceNumber"], system["MessageGroupId"]) == (numbers[0], "g")
    assert system["MessageDeduplicationId"] == "d0"


def test_several_of_a_group_in_one_receive(line: Desk) -> None:
    """A receive takes as many of one group as it can, in their order, before it goes on to the next."""
    for body in ("a0", "b0", "a1", "b1", "a2"):
        line.send(body, MessageGroupId=body[0])
    assert line.bodies(4) == ["a0", "a1", "a2", "b0"]


def test_a_group_waits_for_what_is_in_flight(line: Desk) -> None:
    """While a message of a group is in flight, no other of it is given; other groups go on."""
    for body in ("a0", "a1", "a2", "b0"):
        line.send(body, MessageGroupId=body[0])
    first, second = line.get(2)
    assert line.bodies() == ["b0"]
    line.delete(first)
    assert line.bodies() == []
    line.delete(second)
    assert line.bodies() == ["a2"]


def test_what_comes_back_stands_where_it_stood(room: Room, line: Desk) -> None:
    """A group goes on with its oldest message, whether it was given back or its time was over."""
    for body in ("a0", "a1", "a2"):
        line.send(body, MessageGroupId="a")
    first, second = line.get(2)
    line.hide(first, 0)
    assert line.bodies() == []  # the second is still in flight
    line.hide(second, 0)
    assert line.bodies(2, VisibilityTimeout=5) == ["a0", "a1"]
    room.clock.advance(5)
    assert line.bodies() == ["a0", "a1", "a2"]


def test_a_receive_that_waits_for_a_group(room: Room, line: Desk) -> None:
    """A receive that waits wakes when the group is free again."""
    for body in ("a0", "a1"):
        line.send(body, MessageGroupId="a")
    [first] = line.get(1)
    deed = waiting_receive(room, line)
    line.delete(first)
    assert bodies_of(deed) == ["a1"]


def test_late_handles_of_a_fifo_queue(room: Room, line: Desk) -> None:
    """A FIFO queue keeps a message whose handle has expired, and says so; what is deleted is deleted."""
    line.send(MessageGroupId="g")
    [late] = line.get()
    room.clock.advance(30)
    assert "expired" in error_of(lambda: line.delete(late))["Message"]
    [message] = line.get()
    assert code_of(lambda: line.delete(late)) == "InvalidParameterValue"
    line.delete(message)
    line.delete(message)
    assert line.counts() == (0, 0, 0)


def test_a_delayed_group_keeps_its_order(room: Room, line: Desk) -> None:
    """What has to wait by the queue's delay keeps back what came into its group later."""
    line.set(DelaySeconds="10")
    line.send("a0", MessageGroupId="a")
    line.set(DelaySeconds="0")
    line.send("a1", MessageGroupId="a")
    line.send("b0", MessageGroupId="b")
    assert line.bodies() == ["b0"]
    room.clock.advance(10)
    assert line.bodies() == ["a0", "a1"]


def test_what_was_sent_before_is_not_sent_again(room: Room) -> None:
    """For five minutes an id sends nothing, also after the message was deleted; its sender is told the first id."""
    line = room.queue("jobs.fifo")
    ids = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
    first = line.send("one", **ids)
    again = line.send("two", **{**ids, "MessageGroupId": "other"})
    assert (again["MessageId"], again["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])
    [message] = line.get()
    assert message["Body"] == "one"
    line.delete(message)
    room.clock.advance(299)
    line.send("three", **ids)
    assert line.counts() == (0, 0, 0)
    room.clock.advance(1)
    assert line.send("four", **ids)["MessageId"] != first["MessageId"]
    assert line.bodies() == ["four"]


def test_deduplication_by_content(room: Room, line: Desk) -> None:
    """Without an id the body is the id, whatever the attributes; an explicit id goes before it."""
    line.send("same", MessageGroupId="a")
    line.send("same", MessageGroupId="a", MessageAttributes={"a": text("1")})
    line.send("same", MessageGroupId="a", MessageDeduplicationId="own")
    line.send("other", MessageGroupId="a")
    messages = line.get(AttributeNames=["MessageDeduplicationId"])
    digest = hashlib.sha256(b"same").hexdigest()
    assert [message["Body"] for message in messages] == ["same", "same", "other"]
    assert [m["Attributes"]["MessageDeduplicationId"] for m in messages[:2]] == [digest, "own"]


def test_deduplication_by_group(room: Room) -> None:
    """With that scope, the same id in two groups is two messages."""
    line = room.queue("jobs.fifo", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    for group in "aab":
        line.send(group, MessageGroupId=group, MessageDeduplicationId="d")
    assert sorted(line.bodies()) == ["a", "b"]


def test_a_receive_may_be_tried_again(room: Room, line: Desk) -> None:
    """The same attempt gives the same messages and handles, hidden anew, for five minutes; another gives others."""
    for body in ("a0", "a1", "b0"):
        line.send(body, MessageGroupId=body[0])
    first = line.get(2, ReceiveRequestAttemptId="one", VisibilityTimeout=200)
    room.clock.advance(150)
    assert line.get(2, ReceiveRequestAttemptId="one", VisibilityTimeout=200) == first
    assert line.bodies(2, ReceiveRequestAttemptId="two", VisibilityTimeout=HOURS) == ["b0"]
    room.clock.advance(150)
    assert line.get() == []  # the 200 seconds began with the second attempt
    [again, _] = line.get(2, ReceiveRequestAttemptId="one", VisibilityTimeout=HOURS, AttributeNames=["All"])
    assert again["Attributes"]["ApproximateReceiveCount"] == "1"
    room.clock.advance(300)
    assert line.get(2, ReceiveRequestAttemptId="one") == []


def test_an_attempt_is_over_when_its_messages_were_touched(room: Room, line: Desk) -> None:
    """Once a message was deleted, hidden anew or seen again, the attempt is like any other."""
    for body in ("a0", "b0", "b1"):
        line.send(body, MessageGroupId=body[0])

    def attempt() -> list[dict[str, Any]]:
        return line.get(1, ReceiveRequestAttemptId="one")

    [first] = attempt()
    line.delete(first)
    [second] = attempt()
    assert second["Body"] == "b0"
    line.hide(second, 60)
    assert attempt() == []
    room.clock.advance(60)
    [again] = attempt()
    assert (again["Body"], again["ReceiptHandle"] != second["ReceiptHandle"]) == ("b0", True)
    assert attempt() == [again]


def test_attempts_are_for_fifo_queues(jobs: Desk, line: Desk) -> None:
    """A standard queue knows no attempts, and an attempt's id is like other ids."""
    assert code_of(lambda: jobs.get(ReceiveRequestAttemptId="one")) == "InvalidParameterValue"
    assert code_of(lambda: line.get(ReceiveRequestAttemptId="")) == "InvalidParameterValue"


def test_fifo_batches_keep_their_order(line: Desk) -> None:
    """The messages of a batch are queued as they stand in it."""
    answer = line.batch([{"Id": str(at), "MessageBody": str(at), "MessageGroupId": "g"} for at in range(10)])
    assert all("SequenceNumber" in entry for entry in answer["Successful"])
    assert line.bodies() == [str(at) for at in range(10)]


@pytest.mark.parametrize("seed", range(20))
def test_order_holds_whatever_happens(seed: int) -> None:
    """Deletes, releases, lost messages, many receives: each group is seen in order, by one receive at a time."""
    chance, room = random.Random(seed), Room()
    line = room.queue("jobs.fifo", ContentBasedDeduplication="true", VisibilityTimeout="10")
    expected: dict[str, list[str]] = defaultdict(list)
    done: dict[str, list[str]] = defaultdict(list)
    for number in range(60):
        group = chance.choice("abcd")
        expected[group].append(f"{group}{number}")
        line.send(f"{group}{number}", MessageGroupId=group)
    while any(done[group] != expected[group] for group in expected):
        batches = [line.get(chance.randint(1, 10)) for _ in range(3)]
        groups = [{message["Body"][0] for message in batch} for batch in batches]
        assert not groups[0] & groups[1]
        assert not (groups[0] | groups[1]) & groups[2]
        for batch in batches:
            stopped = set[str]()  # groups of which nothing may be done any more
            for message in batch:
                group, deed = message["Body"][0], chance.random()
                if group in stopped or deed < 0.2:
                    stopped.add(group)
                    if deed < 0.1:
                        line.hide(message, 0)
                else:
                    done[group].append(message["Body"])
                    line.delete(message)
        room.clock.advance(10)
    assert dict(done) == dict(expected)
    assert line.counts() == (0, 0, 0)


# ---------------------------------------------------------------------------- dead letters


def test_dead_letters(room: Room) -> None:
    """A message is moved at the receive after its last, with its id, its attributes, its age, and where it failed."""
    jobs, dead = room.redriven(2)
    sent = jobs.send(MessageAttributes={"a": text("1")})
    room.clock.advance(10)
    first = jobs.system(VisibilityTimeout=1)
    room.clock.advance(1)
    jobs.get(VisibilityTimeout=1)
    room.clock.advance(1)
    assert dead.counts() == (0, 0, 0)
    assert jobs.get() == []
    assert jobs.counts() == (0, 0, 0)
    [letter] = dead.get(AttributeNames=["All"], MessageAttributeNames=["All"])
    assert letter["MessageId"] == sent["MessageId"]
    assert letter["MessageAttributes"] == {"a": text("1")}
    assert letter["Attributes"]["DeadLetterQueueSourceArn"] == jobs.arn
    assert letter["Attributes"]["ApproximateReceiveCount"] == "3"  # in all queues
    for same in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"):
        assert letter["Attributes"][same] == first[same]


def test_dead_letters_wake_who_waits_for_them(room: Room) -> None:
    """A receive that waits on the dead-letter queue is woken by the receive that moves a message there."""
    jobs, dead = room.redriven(1, VisibilityTimeout="0")
    jobs.send()
    jobs.get()
    deed = waiting_receive(room, dead)
    assert jobs.get() == []
    assert bodies_of(deed) == ["body"]


def test_dead_letters_do_not_take_the_place_of_others(room: Room) -> None:
    """A receive gives as many messages as it was asked for, however many it had to move away."""
    jobs, dead = room.redriven(1, VisibilityTimeout="0")
    for number in range(5):
        jobs.send(str(number))
    assert jobs.bodies(3) == ["0", "1", "2"]
    assert jobs.bodies(2) == ["3", "4"]
    jobs.send("5")
    assert jobs.bodies(2) == ["5"]
    assert dead.bodies() == ["0", "1", "2", "3", "4"]


def test_dead_letters_of_a_group(room: Room) -> None:
    """A message that becomes a dead letter keeps its group back no more; it keeps its group and its ids."""
    jobs, dead = room.redriven(1, FifoQueue="true", VisibilityTimeout="5")
    for number in range(2):
        jobs.send(str(number), MessageGroupId="g", MessageDeduplicationId=str(number))
    jobs.get(1)
    room.clock.advance(5)
    assert jobs.bodies() == ["1"]
    system = dead.system()
    assert (system["MessageGroupId"], system["MessageDeduplicationId"]) == ("g", "0")


def test_the_policy_counts_when_it_is_needed(room: Room) -> None:
    """The limit is that of the policy at that moment; taken away, or without its queue, it moves nothing."""
    jobs, dead = room.redriven(3, VisibilityTimeout="0")
    jobs.send()
    jobs.get()
    arn = dead.arn
    jobs.set(RedrivePolicy="")
    assert "RedrivePolicy" not in jobs.attributes()
    for _ in range(5):
        assert jobs.bodies() == ["body"]
    jobs.set(RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "7"}))
    assert jobs.bodies() == ["body"]
    room.client.delete_queue(QueueUrl=dead.url)
    assert jobs.bodies() == ["body"]
    jobs.set(DelaySeconds="0")  # an old policy is not looked at again
    again = room.queue("dead")
    assert jobs.bodies() == []
    assert again.bodies() == ["body"]


def test_dead_letters_of_dead_letters(room: Room) -> None:
    """In a dead-letter queue receives are counted anew, for its own dead letters."""
    last = room.queue("last")
    middle = room.queue(
        "middle",
        VisibilityTimeout="0",
        RedrivePolicy=json.dumps({"deadLetterTargetArn": last.arn, "maxReceiveCount": 2}),
    )
    jobs = room.queue(
        VisibilityTimeout="0", RedrivePolicy=json.dumps({"deadLetterTargetArn": middle.arn, "maxReceiveCount": 2})
    )
    jobs.send()
    assert [jobs.bodies() for _ in range(3)] == [["body"], ["body"], []]
    assert [middle.bodies() for _ in range(3)] == [["body"], ["body"], []]
    assert last.bodies() == ["body"]


@pytest.mark.parametrize(
    "policy",
    [
        {"maxReceiveCount": 1},
        {"deadLetterTargetArn": "dead"},
        {"deadLetterTargetArn": "dead", "maxReceiveCount": 0},
        {"deadLetterTargetArn": "dead", "maxReceiveCount": 1001},
        {"deadLetterTargetArn": "dead", "maxReceiveCount": "many"},
        {"deadLetterTargetArn": "none", "maxReceiveCount": 1},
        {"deadLetterTargetArn": "dead.fifo", "maxReceiveCount": 1},
        {"deadLetterTargetArn": "closed", "maxReceiveCount": 1},
    ],
)
def test_wrong_redrive_policies(room: Room, jobs: Desk, policy: dict[str, Any]) -> None:
    """A policy names a queue of the same kind that is there and allows it, and 1 to 1000 receives."""
    room.queue("dead")
    room.queue("dead.fifo")
    room.queue("closed", RedriveAllowPolicy=json.dumps({"redrivePermission": "denyAll"}))
    if "deadLetterTargetArn" in policy:
        policy = {
            **policy,
            "deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{policy['deadLetterTargetArn']}",
        }
    assert code_of(lambda: jobs.set(RedrivePolicy=json.dumps(policy))) == "InvalidParameterValue"
    assert "RedrivePolicy" not in jobs.attributes()


def test_a_dead_letter_queue_may_choose_its_sources(room: Room, jobs: Desk) -> None:
    """`byQueue` allows the queues that it names."""
    allow = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [jobs.arn]})
    dead, other = room.queue("dead", RedriveAllowPolicy=allow), room.queue("other")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
    jobs.set(RedrivePolicy=policy)
    assert code_of(lambda: other.set(RedrivePolicy=policy)) == "InvalidParameterValue"


def test_the_sources_of_dead_letters_are_listed(room: Room) -> None:
    """All queues whose dead letters come here, in pages if asked for."""
    dead = room.queue("dead")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
    urls = [room.queue(name, RedrivePolicy=policy).url for name in ("a", "b", "c")]
    room.queue("d")
    assert room.client.list_dead_letter_source_queues(QueueUrl=dead.url)["queueUrls"] == urls
    page = room.client.list_dead_letter_source_queues(QueueUrl=dead.url, MaxResults=2)
    rest = room.client.list_dead_letter_source_queues(QueueUrl=dead.url, MaxResults=2, NextToken=page["NextToken"])
    assert page["queueUrls"] + rest["queueUrls"] == urls
    assert "NextToken" not in rest
    assert room.client.list_dead_letter_source_queues(QueueUrl=urls[0])["queueUrls"] == []


# ---------------------------------------------------------------------------- moving them back


def with_dead_letters(room: Room, *bodies: str, fifo: bool = False) -> tuple[Desk, Desk]:
    """A queue, and its dead-letter queue with these in it."""
    attributes = {"FifoQueue": "true"} if fifo else {}
    jobs, dead = room.redriven(1, **attributes)
    for body in bodies:
        ids = {"MessageGroupId": "g", "MessageDeduplicationId": body} if fifo else {}
        jobs.send(body, **ids)
    while jobs.get():
        room.clock.advance(30)
    assert dead.counts() == (len(bodies), 0, 0)
    return jobs, dead


def task_of(dead: Desk) -> dict[str, Any]:
    [task] = dead.client.list_message_move_tasks(SourceArn=dead.arn)["Results"]
    found: dict[str, Any] = task
    return found


def test_dead_letters_are_moved_back(room: Room) -> None:
    """Without a rate all go at once to where they came from, as new messages; the task says how many."""
    jobs, dead = with_dead_letters(room, "a", "b", "c")
    [one] = dead.get(1)
    room.client.start_message_move_task(SourceArn=dead.arn)
    task = task_of(dead)
    assert task["Status"] == "COMPLETED"
    assert (task["ApproximateNumberOfMessagesMoved"], task["ApproximateNumberOfMessagesToMove"]) == (2, 2)
    assert task["SourceArn"] == dead.arn
    assert not {"TaskHandle", "DestinationArn", "FailureReason"} & set(task)
    assert dead.counts() == (0, 1, 0)  # what is in flight is not moved
    moved = jobs.get(AttributeNames=["All"])
    assert [message["Body"] for message in moved] == ["b", "c"]
    assert {message["Attributes"]["ApproximateReceiveCount"] for message in moved} == {"1"}
    assert all("DeadLetterQueueSourceArn" not in message["Attributes"] for message in moved)
    assert one["MessageId"] not in {message["MessageId"] for message in moved}


def test_fifo_dead_letters_are_moved_back(room: Room) -> None:
    """They keep their order and ids, and deduplication does not take them for what was sent before."""
    jobs, dead = with_dead_letters(room, "a", "b", fifo=True)
    room.client.start_message_move_task(SourceArn=dead.arn)
    assert jobs.bodies() == ["a", "b"]


def test_dead_letters_are_moved_elsewhere(room: Room) -> None:
    """A destination may be named; the task names it too."""
    _, dead = with_dead_letters(room, "a")
    other = room.queue("other")
    room.client.start_message_move_task(SourceArn=dead.arn, DestinationArn=other.arn)
    assert task_of(dead)["DestinationArn"] == other.arn
    assert other.bodies() == ["a"]


def test_dead_letters_are_moved_at_a_rate(room: Room) -> None:
    """With a rate they go one by one as time goes by, and a receive that waits for them is woken."""
    jobs, dead = with_dead_letters(room, *"abcd")
    room.client.start_message_move_task(SourceArn=dead.arn, MaxNumberOfMessagesPerSecond=2)
    task = task_of(dead)
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("RUNNING", 0)
    assert task["MaxNumberOfMessagesPerSecond"] == 2
    deed = waiting_receive(room, jobs)
    room.clock.advance(0.5)
    assert bodies_of(deed) == ["a"]
    room.clock.advance(1)
    assert task_of(dead)["ApproximateNumberOfMessagesMoved"] == 3
    busy = code_of(lambda: room.client.start_message_move_task(SourceArn=dead.arn))
    assert busy == f"{SERVICE}UnsupportedOperation"
    room.clock.advance(0.5)
    assert task_of(dead)["Status"] == "COMPLETED"
    assert jobs.bodies() == ["b", "c", "d"]


def test_a_task_is_cancelled(room: Room) -> None:
    """What was moved until then stays where it is, the rest too; a task that is over cannot be cancelled."""
    jobs, dead = with_dead_letters(room, *"abc")
    handle = room.client.start_message_move_task(SourceArn=dead.arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    assert task_of(dead)["TaskHandle"] == handle
    room.clock.advance(1)
    assert room.client.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"] == 1
    room.clock.advance(10)
    assert task_of(dead)["Status"] == "CANCELLED"
    assert (jobs.counts()[0], dead.counts()[0]) == (1, 2)
    again = code_of(lambda: room.client.cancel_message_move_task(TaskHandle=handle))
    assert again == f"{SERVICE}UnsupportedOperation"
    assert code_of(lambda: room.client.cancel_message_move_task(TaskHandle="none")) == "ResourceNotFoundException"


def test_a_task_wakes_who_waits_on_a_real_clock() -> None:
    """A receive that waited before the task began is woken when a message is moved."""
    room = on_a_real_clock()
    jobs, dead = room.redriven(1, VisibilityTimeout="0")
    jobs.send()
    assert (jobs.bodies(), jobs.bodies()) == (["body"], [])
    deed = waiting_receive(room, jobs)
    room.client.start_message_move_task(SourceArn=dead.arn, MaxNumberOfMessagesPerSecond=500)
    assert bodies_of(deed) == ["body"]


def test_a_message_of_unknown_origin_stays(room: Room) -> None:
    """What was sent to the dead-letter queue by its sender has no queue to go back to: the task fails, and says why."""
    _, dead = room.redriven()
    dead.send()
    room.client.start_message_move_task(SourceArn=dead.arn)
    task = task_of(dead)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert dead.bodies() == ["body"]


def test_a_task_whose_queue_is_deleted_fails(room: Room) -> None:
    """A task cannot go on without its destination."""
    _, dead = with_dead_letters(room, *"ab")
    other = room.queue("other")
    room.client.start_message_move_task(SourceArn=dead.arn, DestinationArn=other.arn, MaxNumberOfMessagesPerSecond=1)
    room.client.delete_queue(QueueUrl=other.url)
    room.clock.advance(1)
    assert task_of(dead)["Status"] == "FAILED"
    assert dead.counts() == (2, 0, 0)


def test_a_task_ends_when_nothing_is_left(room: Room) -> None:
    """Whoever receives a dead letter first has it: the task moves what is left, and is done."""
    _, dead = with_dead_letters(room, *"ab")
    room.client.start_message_move_task(SourceArn=dead.arn, MaxNumberOfMessagesPerSecond=1)
    dead.get()
    room.clock.advance(5)
    assert (task_of(dead)["Status"], task_of(dead)["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 0)


def test_tasks_that_cannot_be(room: Room, jobs: Desk, line: Desk) -> None:
    """The source is a dead-letter queue, the destination another queue of its kind, the rate 1 to 500."""
    start = room.client.start_message_move_task
    dead = room.queue("dead")
    jobs.set(RedrivePolicy=json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1}))
    missing = dead.arn + "x"
    assert code_of(lambda: start(SourceArn=missing)) == "ResourceNotFoundException"
    assert code_of(lambda: start(SourceArn=dead.arn, DestinationArn=missing)) == "ResourceNotFoundException"
    assert code_of(lambda: start(SourceArn=jobs.arn)) == "InvalidParameterValue"
    for target in (dead.arn, line.arn):
        assert code_of(lambda: start(SourceArn=dead.arn, DestinationArn=target)) == "InvalidParameterValue"  # noqa: B023
    for rate in (0, 501):
        wrong = code_of(lambda: start(SourceArn=dead.arn, MaxNumberOfMessagesPerSecond=rate))  # noqa: B023
        assert wrong == "InvalidParameterValue"
    listed = room.client.list_message_move_tasks
    assert listed(SourceArn=dead.arn)["Results"] == []
    assert code_of(lambda: listed(SourceArn=missing)) == "ResourceNotFoundException"
    assert code_of(lambda: listed(SourceArn=dead.arn, MaxResults=11)) == "InvalidParameterValue"


def test_the_latest_tasks_are_listed_first(room: Room) -> None:
    """One task unless more are asked for, the latest first."""
    _, dead = room.redriven()
    for _ in range(3):
        room.client.start_message_move_task(SourceArn=dead.arn)
        room.clock.advance(1)
    started = [
        task["StartedTimestamp"]
        for task in room.client.list_message_move_tasks(SourceArn=dead.arn, MaxResults=2)["Results"]
    ]
    assert len(started) == 2
    assert started[0] - started[1] == 1000
