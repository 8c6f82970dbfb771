"""What the adapter takes for granted of the service, asked of the server itself; and where a server does otherwise.

No server is right everywhere, and each errs in its own way: what fails on one of them must pass on another. What AWS
does is told by its documentation; nothing here has been run against it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.sqs_servers import MakeQueue

MIB = 1024 * 1024
NOWHERE = "not-a-receipt-handle"


def send(client: Any, url: str, *bodies: str, group: str = "") -> None:
    """Sends the bodies one after the other; in order, where the queue has an order."""
    for body in bodies:
        fifo = {"MessageGroupId": group, "MessageDeduplicationId": body} if group else {}
        client.send_message(QueueUrl=url, MessageBody=body, **fifo)


def receive(client: Any, url: str, limit: int = 10, *, wait: int = 5, **options: Any) -> list[dict[str, Any]]:
    """One receive: waits for the first message, not for more."""
    answer = client.receive_message(
        QueueUrl=url,
        **{"MaxNumberOfMessages": limit, "WaitTimeSeconds": wait, "MessageSystemAttributeNames": ["All"], **options},
    )
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [message["Body"] for message in messages]


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """The code of the error that the call ends with; an empty one if it ends with none."""
    try:
        call(**arguments)
    except Exception as error:
        response: Mapping[str, Any] = getattr(error, "response", None) or {}
        if not response:
            raise
        return str(response["Error"]["Code"])
    return ""


def received_again(client: Any, url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A message as it was received first, and again after its visibility timeout had passed."""
    send(client, url, "again")
    (first,) = receive(client, url, VisibilityTimeout=1)
    (second,) = receive(client, url)
    return first, second


# Receiving


def test_long_poll_returns_with_the_first_message(client: Any, queue_url: str) -> None:
    """A receive that waits returns when a message comes, and not before."""
    with ThreadPoolExecutor() as pool:
        polled = pool.submit(receive, client, queue_url, wait=20)
        send(client, queue_url, "at last")
        assert bodies(polled.result()) == ["at last"]


@pytest.mark.gap("fauxqs", reason="wakes all receives that wait, and answers with nothing where nothing is left")
def test_each_long_poll_waits_for_a_message_of_its_own(client: Any, queue_url: str) -> None:
    """A message that another receive gets does not end the waiting of this one."""
    with ThreadPoolExecutor() as pool:
        polled = [pool.submit(receive, client, queue_url, 1, wait=5) for _ in range(4)]
        for body in "abcd":
            send(client, queue_url, body)
        assert sorted(body for poll in polled for body in bodies(poll.result())) == list("abcd")


def test_message_comes_again_after_its_visibility_timeout(client: Any, queue_url: str) -> None:
    """What was not deleted comes again: the same id, another handle, counted, with the time of its first receipt."""
    first, second = received_again(client, queue_url)
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    counts = [int(message["Attributes"]["ApproximateReceiveCount"]) for message in (first, second)]
    assert counts == [1, 2]
    once = {message["Attributes"]["ApproximateFirstReceiveTimestamp"] for message in (first, second)}
    assert len(once) == 1


def test_visibility_timeout_of_zero_gives_a_message_back(client: Any, queue_url: str) -> None:
    """A message whose visibility timeout is set to 0 is there for the next receive, which may be waiting already."""
    send(client, queue_url, "back")
    (message,) = receive(client, queue_url)
    with ThreadPoolExecutor() as pool:
        polled = pool.submit(receive, client, queue_url, wait=20)
        client.change_message_visibility(
            QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
        assert bodies(polled.result()) == ["back"]


def test_delayed_message_comes_later(client: Any, queue_url: str) -> None:
    """A message that was sent with a delay is not there at once, and comes."""
    client.send_message(QueueUrl=queue_url, MessageBody="later", DelaySeconds=1)
    assert receive(client, queue_url, wait=0) == []
    assert bodies(receive(client, queue_url)) == ["later"]


@pytest.mark.gap("fauxqs", reason="returns message attributes that nobody asked for")
def test_message_attributes_come_when_asked_for(client: Any, queue_url: str) -> None:
    """Message attributes are left out unless a receive names them."""
    client.send_message(
        QueueUrl=queue_url,
        MessageBody="told",
        MessageAttributes={"number": {"DataType": "Number", "StringValue": "1.50"}},
    )
    (unasked,) = receive(client, queue_url, VisibilityTimeout=0)
    (asked,) = receive(client, queue_url, MessageAttributeNames=["All"])
    assert "MessageAttributes" not in unasked
    assert asked["MessageAttributes"]["number"]["StringValue"] == "1.50"


@pytest.mark.gap("fauxqs", reason="drops the trace header")
def test_trace_header_comes_along(client: Any, queue_url: str) -> None:
    """The one system attribute that a sender may set is with the message."""
    header = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}}
    client.send_message(QueueUrl=queue_url, MessageBody="traced", MessageSystemAttributes=header)
    (message,) = receive(client, queue_url)
    assert message["Attributes"]["AWSTraceHeader"] == header["AWSTraceHeader"]["StringValue"]


# Receipt handles


@pytest.mark.gap("ministack", reason="knows only the newest handle of a message, and takes an older one for an error")
def test_stale_handle_deletes_without_an_error(client: Any, queue_url: str) -> None:
    """A delete with the handle of an earlier receipt succeeds, whether or not it deletes."""
    first, _ = received_again(client, queue_url)
    assert refusal(client.delete_message, QueueUrl=queue_url, ReceiptHandle=first["ReceiptHandle"]) == ""


@pytest.mark.gap("localstack", reason="obeys the earlier receiver as long as the later one has the message")
def test_stale_handle_changes_no_visibility(client: Any, queue_url: str) -> None:
    """The visibility timeout of a message that was received again is not in the hands of the earlier receiver."""
    first, _ = received_again(client, queue_url)
    handle = first["ReceiptHandle"]
    assert refusal(client.change_message_visibility, QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=9)


@pytest.mark.gap("ministack", reason="takes a second delete for an error")
def test_second_delete_is_no_error(client: Any, queue_url: str) -> None:
    """What is deleted may be deleted again."""
    send(client, queue_url, "gone")
    (message,) = receive(client, queue_url)
    for _ in range(2):
        handle = message["ReceiptHandle"]
        assert refusal(client.delete_message, QueueUrl=queue_url, ReceiptHandle=handle) == ""


@pytest.mark.gap("fauxqs", reason="deletes nothing with it, and calls that a success")
def test_garbage_is_no_handle(client: Any, queue_url: str) -> None:
    """A delete with what never was a receipt handle is refused."""
    assert "ReceiptHandleIsInvalid" in refusal(client.delete_message, QueueUrl=queue_url, ReceiptHandle=NOWHERE)


@pytest.mark.gap("fauxqs", reason="reports all entries as deleted")
@pytest.mark.gap("localstack", reason="does not say that it is the fault of the sender")
def test_batch_delete_names_the_entry_that_failed(client: Any, queue_url: str) -> None:
    """A batch with one bad handle deletes the rest, and names the one entry."""
    send(client, queue_url, "good")
    (message,) = receive(client, queue_url)
    entries = [{"Id": "good", "ReceiptHandle": message["ReceiptHandle"]}, {"Id": "bad", "ReceiptHandle": NOWHERE}]
    answer = client.delete_message_batch(QueueUrl=queue_url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [(entry["Id"], entry["SenderFault"]) for entry in answer["Failed"]] == [("bad", True)]


@pytest.mark.gap("localstack", reason="does not say that it is the fault of the sender")
def test_batch_of_visibilities_names_the_entry_that_failed(client: Any, queue_url: str) -> None:
    """A batch with one bad handle changes the rest, and names the one entry."""
    send(client, queue_url, "good")
    (message,) = receive(client, queue_url)
    handles = {"good": message["ReceiptHandle"], "bad": NOWHERE}
    entries = [{"Id": name, "ReceiptHandle": handle, "VisibilityTimeout": 0} for name, handle in handles.items()]
    answer = client.change_message_visibility_batch(QueueUrl=queue_url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [(entry["Id"], entry["SenderFault"]) for entry in answer["Failed"]] == [("bad", True)]
    assert bodies(receive(client, queue_url)) == ["good"]


@pytest.mark.gap("ministack", "localstack", reason="changes the visibility of a message that is not in flight")
def test_visibility_timeout_is_over_when_it_is_over(client: Any, queue_url: str) -> None:
    """A message whose visibility timeout has passed is not in flight, though nobody has received it since."""
    send(client, queue_url, "free", "seen")
    first, second = receive(client, queue_url, VisibilityTimeout=1)
    # Both are free at the same time: when one has come again, the other could.
    (again,) = receive(client, queue_url, 1)
    (other,) = (message for message in (first, second) if message["MessageId"] != again["MessageId"])
    handle = other["ReceiptHandle"]
    assert refusal(client.change_message_visibility, QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=9)


# FIFO queues


def test_fifo_keeps_the_order_of_a_group(client: Any, make_queue: MakeQueue) -> None:
    """The messages of a group come in the order in which they were sent, with growing sequence numbers."""
    url = make_queue(fifo=True)
    send(client, url, "a", "b", "c", group="g")
    came: list[dict[str, Any]] = []
    while len(came) < 3:
        for message in receive(client, url):
            came.append(message)
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert bodies(came) == ["a", "b", "c"]
    numbers = [int(message["Attributes"]["SequenceNumber"]) for message in came]
    assert numbers == sorted(set(numbers))


@pytest.mark.gap("fauxqs", reason="gives one message of a group at a time")
def test_fifo_gives_many_of_a_group_at_once(client: Any, make_queue: MakeQueue) -> None:
    """A receive may bring several messages of one group."""
    url = make_queue(fifo=True)
    send(client, url, "a", "b", "c", group="g")
    assert bodies(receive(client, url)) == ["a", "b", "c"]


def test_fifo_group_waits_for_what_is_in_flight(client: Any, make_queue: MakeQueue) -> None:
    """While a message of a group is in flight, no other of it is given; other groups go on."""
    url = make_queue(fifo=True)
    send(client, url, "a", "b", group="g")
    assert bodies(receive(client, url, 1)) == ["a"]
    send(client, url, "x", group="other")
    assert bodies(receive(client, url)) == ["x"]


def test_fifo_begins_again_at_what_was_not_deleted(client: Any, make_queue: MakeQueue) -> None:
    """After the visibility timeout a group begins at its first message again."""
    url = make_queue(fifo=True)
    send(client, url, "a", "b", "c", group="g")
    receive(client, url, 2, VisibilityTimeout=1)
    assert bodies(receive(client, url))[0] == "a"


@pytest.mark.gap("localstack", reason="gives the group free while others of it are in flight")
@pytest.mark.gap("fauxqs", reason="gives one message of a group at a time")
def test_fifo_group_waits_for_all_that_is_in_flight(client: Any, make_queue: MakeQueue) -> None:
    """A message that was given back does not come before the others of its receive are back or deleted."""
    url = make_queue(fifo=True)
    send(client, url, "a", "b", "c", group="g")
    first, second = receive(client, url, 2)
    client.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    assert receive(client, url, wait=0) == []
    client.delete_message(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"])
    assert bodies(receive(client, url)) == ["a", "c"]


@pytest.mark.gap("ministack", "fauxqs", reason="deletes with a handle whose visibility timeout has passed")
def test_fifo_does_not_delete_what_is_not_in_flight(client: Any, make_queue: MakeQueue) -> None:
    """On a FIFO queue a delete after the visibility timeout is an error, and the message comes again."""
    url = make_queue(fifo=True)
    send(client, url, "a", group="g")
    send(client, url, "x", group="other")
    taken = receive(client, url, VisibilityTimeout=1)
    (again,) = receive(client, url, 1)
    (other,) = (message for message in taken if message["MessageId"] != again["MessageId"])
    assert refusal(client.delete_message, QueueUrl=url, ReceiptHandle=other["ReceiptHandle"])
    assert bodies(receive(client, url)) == [other["Body"]]


def test_fifo_takes_a_message_once(client: Any, make_queue: MakeQueue) -> None:
    """A deduplication id, or a body where that decides, is taken once, also when the message is deleted already."""
    url = make_queue(fifo=True, ContentBasedDeduplication=True)
    for identity in ({"MessageDeduplicationId": "1"}, {}):
        ids = [
            client.send_message(QueueUrl=url, MessageBody="once", MessageGroupId="g", **identity)["MessageId"]
            for _ in range(2)
        ]
        assert len(set(ids)) == 1
        (message,) = receive(client, url)
        client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        client.send_message(QueueUrl=url, MessageBody="once", MessageGroupId="g", **identity)
        assert receive(client, url, wait=0) == []


@pytest.mark.gap("ministack", "fauxqs", reason="takes a deduplication id on a standard queue")
def test_deduplication_is_for_fifo_queues(client: Any, queue_url: str) -> None:
    """A deduplication id on a standard queue is refused."""
    assert refusal(client.send_message, QueueUrl=queue_url, MessageBody="body", MessageDeduplicationId="1")


@pytest.mark.gap("fauxqs", reason="drops the message group on a standard queue")
def test_message_groups_are_for_standard_queues_too(client: Any, queue_url: str) -> None:
    """A message group on a standard queue comes along, and holds nobody up."""
    for body in "ab":
        client.send_message(QueueUrl=queue_url, MessageBody=body, MessageGroupId="tenant")
    came = receive(client, queue_url, 1) + receive(client, queue_url, 1)
    assert sorted(bodies(came)) == ["a", "b"]
    assert {message["Attributes"]["MessageGroupId"] for message in came} == {"tenant"}


# Dead letters


@pytest.fixture
def dead_letters(client: Any, make_queue: MakeQueue) -> tuple[str, str, str]:
    """A queue that lets a message go after its first receipt; the queue that it goes to; and the ARN of that."""
    dead = make_queue()
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    source = make_queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1}))
    return source, dead, arn


def die(client: Any, source: str, *texts: str) -> list[str]:
    """Sends messages to their dead-letter queue, and returns their ids."""
    send(client, source, *texts)
    ids: list[str] = []
    while len(ids) < len(texts):
        ids += [message["MessageId"] for message in receive(client, source, VisibilityTimeout=0)]
    assert receive(client, source, wait=0) == []  # which is when they are moved
    return ids


def test_dead_letter_keeps_its_id(client: Any, dead_letters: tuple[str, str, str]) -> None:
    """A message that was received too often is in the dead-letter queue, and is the same message."""
    source, dead, _ = dead_letters
    (sent,) = die(client, source, "poison")
    (message,) = receive(client, dead)
    assert (message["MessageId"], message["Body"]) == (sent, "poison")


@pytest.mark.gap("fauxqs", reason="does not say where a dead letter comes from")
def test_dead_letter_says_where_it_comes_from(client: Any, dead_letters: tuple[str, str, str]) -> None:
    """A dead letter names the queue that it was moved from."""
    source, dead, _ = dead_letters
    die(client, source, "poison")
    (message,) = receive(client, dead)
    assert message["Attributes"]["DeadLetterQueueSourceArn"].endswith(":" + source.rpartition("/")[2])


@pytest.mark.gap("ministack", "fauxqs", reason="does not know ListDeadLetterSourceQueues")
def test_sources_of_a_dead_letter_queue_are_listed(client: Any, dead_letters: tuple[str, str, str]) -> None:
    """A dead-letter queue knows which queues send to it."""
    source, dead, _ = dead_letters
    assert client.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [source]


@pytest.mark.gap("ministack", "fauxqs", reason="does not know StartMessageMoveTask")
def test_dead_letters_move_back(client: Any, dead_letters: tuple[str, str, str]) -> None:
    """A move task takes dead letters back to where they came from."""
    source, _, arn = dead_letters
    sent = die(client, source, "a", "b")
    client.start_message_move_task(SourceArn=arn)
    back: list[str] = []
    while len(back) < len(sent):
        back += [message["Body"] for message in receive(client, source)]
    assert sorted(back) == ["a", "b"]


# What is refused


@pytest.mark.gap("fauxqs", reason="puts a prefix before the code")
def test_errors_have_the_codes_of_aws(client: Any, queue_url: str) -> None:
    """What is wrong with a call is told by its code, as AWS spells it."""
    assert refusal(client.get_queue_url, QueueName="no-such-queue") == "AWS.SimpleQueueService.NonExistentQueue"
    assert refusal(client.receive_message, QueueUrl=queue_url, MaxNumberOfMessages=11) == "InvalidParameterValue"


@pytest.mark.gap("ministack", reason="waits for as long as it is told to")
def test_nobody_waits_for_more_than_20_seconds(client: Any, queue_url: str) -> None:
    """A receive that would wait for 21 seconds is refused."""
    send(client, queue_url, "here already")
    assert refusal(client.receive_message, QueueUrl=queue_url, WaitTimeSeconds=21)


@pytest.mark.gap("localstack", reason="takes 0 for a number of messages")
def test_nobody_receives_nothing(client: Any, queue_url: str) -> None:
    """A receive of no messages is refused."""
    assert refusal(client.receive_message, QueueUrl=queue_url, MaxNumberOfMessages=0)


@pytest.mark.gap("ministack", "fauxqs", "localstack", reason="delays for as long as it is told to")
def test_nothing_is_delayed_for_more_than_900_seconds(client: Any, queue_url: str) -> None:
    """A delay of 901 seconds is refused."""
    assert refusal(client.send_message, QueueUrl=queue_url, MessageBody="late", DelaySeconds=901)


@pytest.mark.gap("ministack", "localstack", reason="hides a message for as long as it is told to")
def test_nothing_is_hidden_for_more_than_12_hours(client: Any, queue_url: str) -> None:
    """A visibility timeout of 43,201 seconds is refused."""
    send(client, queue_url, "hidden")
    (message,) = receive(client, queue_url)
    handle = message["ReceiptHandle"]
    assert refusal(client.change_message_visibility, QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=43201)


def test_bodies_are_of_at_most_1_mib(client: Any, queue_url: str) -> None:
    """A body of 1 MiB is taken, one byte more is refused, and a batch counts as a whole."""
    client.send_message(QueueUrl=queue_url, MessageBody="x" * MIB)
    assert refusal(client.send_message, QueueUrl=queue_url, MessageBody="x" * (MIB + 1))
    entries = [{"Id": name, "MessageBody": "x" * (MIB // 2 + 1)} for name in "ab"]
    assert "BatchRequestTooLong" in refusal(client.send_message_batch, QueueUrl=queue_url, Entries=entries)


def test_bodies_are_of_characters_that_xml_has(client: Any, queue_url: str) -> None:
    """A body with a control character is refused, and in a batch it is the one entry that fails."""
    assert "InvalidMessageContents" in refusal(client.send_message, QueueUrl=queue_url, MessageBody="\x01")
    entries = [{"Id": "good", "MessageBody": "text"}, {"Id": "bad", "MessageBody": "\x01"}]
    answer = client.send_message_batch(QueueUrl=queue_url, Entries=entries)
    assert [entry["Id"] for entry in answer["Failed"]] == ["bad"]
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([f"id{number}" for number in range(11)], "TooManyEntriesInBatchRequest"),
        (["same", "same"], "BatchEntryIdsNotDistinct"),
        (["not an id"], "InvalidBatchEntryId"),
    ],
)
def test_batches_have_ids_of_their_own(ids: list[str], code: str, client: Any, queue_url: str) -> None:
    """A batch has 1 to 10 entries, each with an id of letters, digits, hyphens and underscores that no other has."""
    entries = [{"Id": name, "MessageBody": "body"} for name in ids]
    assert code in refusal(client.send_message_batch, QueueUrl=queue_url, Entries=entries)


@pytest.mark.gap("ministack", "fauxqs", "localstack", reason="purges as often as it is told to")
def test_purges_are_a_minute_apart(client: Any, queue_url: str) -> None:
    """A second purge within a minute is refused."""
    client.purge_queue(QueueUrl=queue_url)
    assert "PurgeQueueInProgress" in refusal(client.purge_queue, QueueUrl=queue_url)
