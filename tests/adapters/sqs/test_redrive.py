"""Dead letters go back: by the service's own task or by hand, and in neither way is one lost.

What the service does of its own is scripted, since most servers have no such tasks; by hand it is done on a server.
"""

from __future__ import annotations

import pickle
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from queue_consumer import UsageError
from queue_consumer_sqs._account import SQS
from queue_consumer_sqs._boto import service_error
from queue_consumer_sqs._errors import AccessDenied, InvalidRequest, Unreachable
from queue_consumer_sqs._redrive import MOVING, RedriveError, fresh_id, queue_name_of
from queue_consumer_sqs._send import RETRIES


@pytest.fixture
def account(client: Any) -> Iterator[SQS]:
    """The account of the server, with a prefix that no other test has, under which nothing is left behind."""
    with SQS(client=client, prefix=f"test-{uuid.uuid4().hex[:12]}-") as account:
        yield account
        for name in account.names():
            account.delete(name)


class Altered:
    """A boto3 client some of whose methods are others, that writes down what was called."""

    def __init__(self, client: Any, **methods: Callable[..., Any]) -> None:
        self.client = client
        self.methods = methods
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        method = self.methods.get(name) or getattr(self.client, name)

        def call(**arguments: Any) -> Any:
            self.calls.append((name, arguments))
            return method(**arguments)

        return call


def altered(account: SQS, client: Any, **methods: Callable[..., Any]) -> tuple[SQS, Altered]:
    """The same account through another client, that does not wait between attempts."""
    other = Altered(client, **methods)
    there = SQS(client=other, prefix=account.prefix)
    there._pause = lambda seconds: None
    return there, other


def send(client: Any, url: str, *bodies: str, group: str = "g") -> None:
    for body in bodies:
        fifo = {"MessageGroupId": group, "MessageDeduplicationId": body[:9]} if url.endswith(".fifo") else {}
        client.send_message(QueueUrl=url, MessageBody=body, **fifo)


def receive(client: Any, url: str, **options: Any) -> list[dict[str, Any]]:
    """What is there now."""
    asked = {"MaxNumberOfMessages": 10, "AttributeNames": ["All"], "MessageAttributeNames": ["All"], **options}
    messages: list[dict[str, Any]] = client.receive_message(QueueUrl=url, **asked).get("Messages", [])
    return messages


def take(client: Any, url: str, count: int) -> list[dict[str, Any]]:
    """So many messages, each deleted."""
    messages: list[dict[str, Any]] = []
    while len(messages) < count:
        got = receive(client, url, WaitTimeSeconds=5, VisibilityTimeout=60)
        assert got, f"only {len(messages)} of {count} messages came"
        for message in got:
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        messages += got
    return messages


def bodies_of(messages: list[dict[str, Any]]) -> list[str]:
    return sorted(message["Body"] for message in messages)


def is_empty(client: Any, url: str) -> bool:
    """Whether nothing is there, and nothing is held or delayed either."""
    names = [f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed")]
    return set(client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()) == {"0"}


def noted_in(seen: list[tuple[int, int]]) -> Callable[[int, int], None]:
    return lambda moved, total: seen.append((moved, total))


def source_and_dead(account: SQS, ending: str = "") -> tuple[str, str]:
    """The URLs of a queue whose messages fail once only, and of its dead-letter queue."""
    dead = account.create(f"dead{ending}")
    return account.create(f"source{ending}", visibility_timeout=0, dead_letter=f"dead{ending}", max_receives=1), dead


def fail_all(client: Any, source: str, dead: str, count: int) -> None:
    """Receive them until they have moved, which is when they would be received once too often."""
    for _ in range(10 * count):
        receive(client, source, VisibilityTimeout=0)
        attributes = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["ApproximateNumberOfMessages"])
        if int(attributes["Attributes"]["ApproximateNumberOfMessages"]) == count:
            return
    raise AssertionError(f"{count} messages have not become dead letters")


# ---------------------------------------------------------------------- by whoever can


@pytest.mark.gap("fauxqs", reason="notes on no message where it came from, and lists no sources either")
@pytest.mark.parametrize("own", [None, True])
def test_dead_letters_go_back_to_where_they_came_from(client: Any, account: SQS, own: bool | None) -> None:
    """Each to its own queue, with its body and its attributes and their types; and none stays behind."""
    source, dead = source_and_dead(account)
    second = account.create("second", visibility_timeout=0, dead_letter="dead", max_receives=1)
    attributes = {
        "s": {"DataType": "String", "StringValue": "é"},
        "n": {"DataType": "Number.cents", "StringValue": "5"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00"},
    }
    client.send_message(QueueUrl=source, MessageBody="first", MessageAttributes=attributes)
    client.send_message(QueueUrl=second, MessageBody="second")
    fail_all(client, source, dead, 1)
    fail_all(client, second, dead, 2)
    seen: list[tuple[int, int]] = []
    assert account.redrive("dead", own=own, on_progress=noted_in(seen)) == 2
    assert seen[-1][0] == 2
    assert all(moved <= total for moved, total in seen)
    (message,) = take(client, source, 1)
    assert (message["Body"], message["MessageAttributes"]) == ("first", attributes)
    assert bodies_of(take(client, second, 1)) == ["second"]
    assert is_empty(client, dead)


@pytest.mark.parametrize("own", [None, True])
def test_dead_letters_go_elsewhere(client: Any, account: SQS, own: bool | None) -> None:
    """To the queue that was named, and not to where they came from."""
    source, dead = source_and_dead(account)
    elsewhere = account.create("elsewhere")
    send(client, source, "a", "b")
    fail_all(client, source, dead, 2)
    assert account.redrive("dead", "elsewhere", own=own) == 2
    assert bodies_of(take(client, elsewhere, 2)) == ["a", "b"]
    assert is_empty(client, source)
    assert is_empty(client, dead)


def test_no_dead_letters(account: SQS) -> None:
    """Where nothing is there is nothing to move."""
    source_and_dead(account)
    assert account.redrive("dead", own=True) == 0


# ---------------------------------------------------------------------- by hand


def test_progress_by_hand(client: Any, account: SQS) -> None:
    """In batches of 10, each told with how many were moved and how many there were."""
    dead, back = account.create("dead"), account.create("back")
    send(client, dead, *map(str, range(23)))
    seen: list[tuple[int, int]] = []
    assert account.redrive("dead", "back", own=True, on_progress=noted_in(seen)) == 23
    assert [moved for moved, _ in seen] == sorted({moved for moved, _ in seen})
    assert seen[-1] == (23, 23)
    assert bodies_of(take(client, back, 23)) == sorted(map(str, range(23)))


def test_deleted_only_when_it_was_sent(client: Any, account: SQS) -> None:
    """Each batch is received with a long visibility timeout, sent, and then deleted, in this order."""
    send(client, account.create("dead"), "a", "b")
    account.create("back")
    there, calls = altered(account, client)
    assert there.redrive("dead", "back", own=True) == 2
    made = [name for name, _ in calls.calls if name.endswith(("_batch", "receive_message"))]
    assert [name for name in made if name != "receive_message"] in (
        ["send_message_batch", "delete_message_batch"],
        ["send_message_batch", "delete_message_batch"] * 2,
    )
    waits = {asked["VisibilityTimeout"] for name, asked in calls.calls if name == "receive_message"}
    assert waits == {MOVING}


def test_what_cannot_be_sent_stays(client: Any, account: SQS) -> None:
    """A dead letter that could not be sent is in the dead-letter queue, to be seen at once; the others have gone.

    The error has the messages, so that each can be looked at.
    """
    dead, back = account.create("dead"), account.create("back")
    send(client, dead, *"abcd")

    def send_message_batch(**arguments: Any) -> Any:
        bad = [entry for entry in arguments["Entries"] if entry["MessageBody"] in "bc"]
        good = [entry for entry in arguments["Entries"] if entry not in bad]
        answer: dict[str, Any] = {}
        if good:
            answer = client.send_message_batch(QueueUrl=arguments["QueueUrl"], Entries=good)
        failed = [
            {"Id": entry["Id"], "Code": "InternalError", "Message": "sorry", "SenderFault": False} for entry in bad
        ]
        return {**answer, "Failed": failed}

    there, _ = altered(account, client, send_message_batch=send_message_batch)
    with pytest.raises(RedriveError, match=r"^2 dead letters were moved; 2 could not be sent and are still") as caught:
        there.redrive("dead", "back", own=True)
    assert bodies_of([failed.entry for failed in caught.value.failed]) == ["b", "c"]
    assert {failed[1:] for failed in caught.value.failed} == {("InternalError", "sorry", False)}
    assert (caught.value.moved, caught.value.undeleted, caught.value.code) == (2, [], "InternalError")
    assert bodies_of(take(client, back, 2)) == ["a", "d"]
    assert bodies_of(take(client, dead, 2)) == ["b", "c"]
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.failed, copy.moved, str(copy)) == (caught.value.failed, 2, str(caught.value))


def test_a_call_that_fails_ends_it(client: Any, account: SQS) -> None:
    """Where nothing can be sent it does not go through all dead letters in vain, and holds none of them."""
    dead = account.create("dead")
    account.create("back")
    send(client, dead, *map(str, range(12)))

    def send_message_batch(**_: Any) -> Any:
        raise service_error("AccessDenied", "not for you", "SendMessageBatch", 403)

    there, calls = altered(account, client, send_message_batch=send_message_batch)
    with pytest.raises(RedriveError, match=r"^0 dead letters were moved; .*not for you") as caught:
        there.redrive("dead", "back", own=True)
    assert isinstance(caught.value.__cause__, AccessDenied)
    assert [name for name, _ in calls.calls].count("send_message_batch") == 1
    assert bodies_of(take(client, dead, 12)) == sorted(map(str, range(12)))


def test_whatever_breaks_it_off_gives_back_what_is_held(client: Any, account: SQS) -> None:
    """An error of the caller's own leaves what was not sent to be seen at once, and what was sent sent."""
    dead, back = account.create("dead"), account.create("back")
    send(client, dead, *map(str, range(12)))

    def break_off(moved: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        account.redrive("dead", "back", own=True, on_progress=break_off)
    left = receive(client, dead, WaitTimeSeconds=1)
    gone = receive(client, back, WaitTimeSeconds=1)
    assert bodies_of(left + gone) == sorted(map(str, range(12)))


def test_what_was_sent_and_not_deleted_is_told(client: Any, account: SQS) -> None:
    """It is in both queues, which is said; it is not lost."""
    dead, back = account.create("dead"), account.create("back")
    send(client, dead, "a")

    def delete_message_batch(**arguments: Any) -> Any:
        raise service_error("ServiceUnavailable", "later", "DeleteMessageBatch", 503)

    there, _ = altered(account, client, delete_message_batch=delete_message_batch)
    with pytest.raises(RedriveError, match="1 were sent and could not be deleted, so that they are in both") as caught:
        there.redrive("dead", "back", own=True)
    assert [undeleted.entry["Body"] for undeleted in caught.value.undeleted] == ["a"]
    assert caught.value.failed == []
    assert isinstance(caught.value.__cause__, Unreachable)
    assert bodies_of(take(client, back, 1)) == ["a"]
    assert not is_empty(client, dead)


def test_it_ends_though_all_fail_again(client: Any, account: SQS) -> None:
    """At most as many are moved as there were: what comes meanwhile waits for the next time."""
    dead, back = account.create("dead"), account.create("back")
    send(client, dead, *map(str, range(12)))

    def fail_again(moved: int, total: int) -> None:
        for message in take(client, back, 1):
            send(client, dead, message["Body"])

    assert account.redrive("dead", "back", own=True, on_progress=fail_again) == 12


def test_a_limit(client: Any, account: SQS) -> None:
    """No more than so many are moved; a limit is kept by hand, since the service has none."""
    dead, back = account.create("dead"), account.create("back")
    send(client, dead, *map(str, range(15)))
    seen: list[tuple[int, int]] = []
    assert account.redrive("dead", "back", limit=12, on_progress=noted_in(seen)) == 12
    assert seen[-1] == (12, 12)
    assert len(take(client, dead, 3)) == 3
    assert len(take(client, back, 12)) == 12


def test_stopping_by_hand(client: Any, account: SQS) -> None:
    """When the event is set the messages in hand are moved, and no others."""
    dead, back = account.create("dead"), account.create("back")
    send(client, dead, *map(str, range(25)))
    stop = threading.Event()
    moved = account.redrive("dead", "back", own=True, stop=stop, on_progress=lambda moved, total: stop.set())
    assert 1 <= moved <= 10
    assert len(take(client, back, moved)) == moved
    assert len(take(client, dead, 25 - moved)) == 25 - moved


def test_a_delay(client: Any, account: SQS) -> None:
    """On a standard queue they may be seen later, so that what they need can recover; it is kept by hand."""
    dead, back = account.create("dead"), account.create("back")
    send(client, dead, "a")
    assert account.redrive("dead", "back", delay=1) == 1
    assert not receive(client, back)
    assert bodies_of(take(client, back, 1)) == ["a"]


def test_a_rate(client: Any, account: SQS) -> None:
    """By hand each batch is followed by a pause, as long as so many messages may take."""
    dead = account.create("dead")
    account.create("back")
    send(client, dead, *map(str, range(12)))
    there, calls = altered(account, client)
    pauses: list[float] = []
    there._pause = pauses.append
    assert there.redrive("dead", "back", own=True, rate=4) == 12
    moved = [len(asked["Entries"]) for name, asked in calls.calls if name == "delete_message_batch"]
    assert pauses == [count / 4 for count in moved]


def test_where_a_message_came_from_is_asked_if_it_does_not_say(client: Any, account: SQS) -> None:
    """If just one queue has this dead-letter queue they go there; else the caller must say."""
    dead = account.create("dead")
    back = account.create("back")
    send(client, dead, "a")  # sent here, so it came from nowhere

    def list_dead_letter_source_queues(**arguments: Any) -> Any:
        assert arguments == {"QueueUrl": dead}
        return {"queueUrls": sources}

    there, _ = altered(account, client, list_dead_letter_source_queues=list_dead_letter_source_queues)
    for sources in ([], [back, back + "2"]):
        with pytest.raises(UsageError, match=f"^to must say where .* and {len(sources)} queues say"):
            there.redrive("dead", own=True)
    sources = [back]
    assert there.redrive("dead", own=True) == 1  # nobody holds it
    assert bodies_of(take(client, back, 1)) == ["a"]


@pytest.mark.gap("fauxqs", reason="gives no trace with a message")
def test_the_trace_goes_along(client: Any, account: SQS) -> None:
    """A message that is traced is traced on."""
    dead = account.create("dead")
    account.create("back")
    trace = {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}
    client.send_message(QueueUrl=dead, MessageBody="a", MessageSystemAttributes={"AWSTraceHeader": trace})
    there, calls = altered(account, client)
    there.redrive("dead", "back", own=True)
    (entry,) = next(asked["Entries"] for name, asked in calls.calls if name == "send_message_batch")
    assert entry["MessageSystemAttributes"] == {"AWSTraceHeader": trace}


# ---------------------------------------------------------------------- FIFO


def test_fifo_dead_letters_are_not_swallowed(client: Any, account: SQS) -> None:
    """Within the five minutes in which SQS drops what has the same deduplication id, they come back all the same.

    Twice, since what came back can fail again; their group and its order are kept.
    """
    source, dead = source_and_dead(account, ".fifo")
    send(client, source, "a1", "a2", "a3", group="a")
    send(client, source, "b1", group="b")
    for _ in range(2):
        fail_all(client, source, dead, 4)
        assert account.redrive("dead.fifo", "source.fifo", own=True) == 4
        assert is_empty(client, dead)
    messages = take(client, source, 4)
    by_group: dict[str, list[str]] = {}
    for message in messages:
        by_group.setdefault(message["Attributes"]["MessageGroupId"], []).append(message["Body"])
    assert by_group == {"a": ["a1", "a2", "a3"], "b": ["b1"]}
    ids = [message["Attributes"]["MessageDeduplicationId"] for message in messages]
    assert len(set(ids)) == 4
    assert sorted(id.partition("~")[0] for id in ids) == ["a1", "a2", "a3", "b1"]
    assert {id.count("~") for id in ids} == {1}  # it does not grow


def test_a_fifo_dead_letter_that_was_not_deleted_does_not_come_twice(client: Any, account: SQS) -> None:
    """Pushed back once more, the same dead letter has the same new deduplication id, and the second is dropped."""
    source, dead = source_and_dead(account, ".fifo")
    send(client, source, "a")
    fail_all(client, source, dead, 1)

    def delete_message_batch(**arguments: Any) -> Any:
        raise service_error("ServiceUnavailable", "later", "DeleteMessageBatch", 503)

    there, _ = altered(account, client, delete_message_batch=delete_message_batch)
    with pytest.raises(RedriveError, match="in both queues") as caught:
        there.redrive("dead.fifo", "source.fifo", own=True)
    (undeleted,) = caught.value.undeleted
    receipt = undeleted.entry["ReceiptHandle"]
    client.change_message_visibility(QueueUrl=dead, ReceiptHandle=receipt, VisibilityTimeout=0)
    assert account.redrive("dead.fifo", "source.fifo", own=True) == 1
    assert is_empty(client, dead)
    assert bodies_of(take(client, source, 1)) == ["a"]
    assert is_empty(client, source)


@pytest.mark.gap("fauxqs", reason="gives only one message of a group at a time")
def test_a_fifo_dead_letter_that_cannot_be_sent_is_not_overtaken(client: Any, account: SQS) -> None:
    """What is yet to be sent of its group waits in the dead-letter queue with it; of other groups nothing waits."""
    dead, back = account.create("dead.fifo"), account.create("back.fifo")
    first, second, third = ("abc"[number] * 500_000 for number in range(3))  # two go into one call
    send(client, dead, first, second, third)
    send(client, dead, "other", group="other")

    def send_message_batch(**arguments: Any) -> Any:
        bad, *others = arguments["Entries"]
        if bad["MessageBody"] != first:
            return client.send_message_batch(**arguments)
        failed = {"Id": bad["Id"], "Code": "InternalError", "Message": "sorry", "SenderFault": False}
        answer: dict[str, Any] = {}
        if others:
            answer = client.send_message_batch(QueueUrl=arguments["QueueUrl"], Entries=others)
        return {**answer, "Failed": [failed]}

    there, _ = altered(account, client, send_message_batch=send_message_batch)
    with pytest.raises(RedriveError) as caught:
        there.redrive("dead.fifo", "back.fifo", own=True)
    assert [failed.code for failed in caught.value.failed] == ["InternalError", "HeldBack"]
    assert [message["Body"] for message in take(client, dead, 2)] == [first, third]
    assert bodies_of(take(client, back, 2)) == [second, "other"]


@pytest.mark.parametrize(("old", "kept"), [("", ""), ("a", "a"), ("a~old", "a"), ("b" * 128, "b" * 91)])
def test_fresh_deduplication_ids(old: str, kept: str) -> None:
    """The old id, without what an earlier push-back added and no longer than it may be, and the id of the message."""
    id = "2231c028-7644-4740-b6c1-d8eb242445d3"
    assert fresh_id(old, id) == f"{kept}~{id}"
    assert len(fresh_id(old, id)) <= 128


# ---------------------------------------------------------------------- by the service


ARN = "arn:aws:sqs:us-east-1:000000000000:"


class Tasks:
    """A client of a service that moves messages of its own, as far as it was told each time it is asked."""

    def __init__(self, *looks: dict[str, Any]) -> None:
        self.looks = list(looks)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.pauses: list[float] = []

    def account(self) -> SQS:
        account = SQS(client=self)
        account._pause = self.pauses.append
        return account

    def get_queue_url(self, **arguments: Any) -> Any:
        return {"QueueUrl": f"https://sqs.test/000000000000/{arguments['QueueName']}"}

    def get_queue_attributes(self, **arguments: Any) -> Any:
        return {"Attributes": {"QueueArn": ARN + arguments["QueueUrl"].rpartition("/")[2]}}

    def start_message_move_task(self, **arguments: Any) -> Any:
        self.calls.append(("start", arguments))
        return {"TaskHandle": "handle"}

    def list_message_move_tasks(self, **arguments: Any) -> Any:
        self.calls.append(("list", arguments))
        look = self.looks.pop(0)
        return {"Results": [look]} if look else {}

    def cancel_message_move_task(self, **arguments: Any) -> Any:
        self.calls.append(("cancel", arguments))
        return {"ApproximateNumberOfMessagesMoved": 1}


def look(status: str, moved: int, total: int | None = None, **more: Any) -> dict[str, Any]:
    counted = {} if total is None else {"ApproximateNumberOfMessagesToMove": total}
    return {"Status": status, "ApproximateNumberOfMessagesMoved": moved, **counted, **more}


def test_the_service_moves_them() -> None:
    """It is asked once, with ARNs and rate, looked at until it is done, and its progress told."""
    tasks = Tasks({}, look("RUNNING", 0, 3), look("RUNNING", 2, 3), look("COMPLETED", 3))
    seen: list[tuple[int, int]] = []
    moved = tasks.account().redrive("dead", "back", rate=50, on_progress=noted_in(seen))
    assert moved == 3
    assert seen == [(0, 0), (0, 3), (2, 3), (3, 3)]
    asked = {"SourceArn": f"{ARN}dead", "DestinationArn": f"{ARN}back", "MaxNumberOfMessagesPerSecond": 50}
    assert tasks.calls == [("start", asked), *[("list", {"SourceArn": f"{ARN}dead", "MaxResults": 1})] * 4]
    assert len(tasks.pauses) == 3


def test_the_service_knows_where_they_came_from() -> None:
    """Without a destination none is sent along."""
    tasks = Tasks(look("COMPLETED", 0))
    tasks.account().redrive("dead")
    assert tasks.calls[0] == ("start", {"SourceArn": f"{ARN}dead"})


def test_stopping_the_service() -> None:
    """When the event is set the task is cancelled, once, and what it moved meanwhile is what was moved."""
    stop = threading.Event()
    stop.set()
    tasks = Tasks(look("RUNNING", 1, 9), look("CANCELLING", 1, 9), look("CANCELLED", 2, 9))
    assert tasks.account().redrive("dead", stop=stop) == 2
    assert [name for name, _ in tasks.calls] == ["start", "list", "cancel", "list", "list"]
    assert tasks.calls[2] == ("cancel", {"TaskHandle": "handle"})


def test_stopping_what_is_over() -> None:
    """A task that ended before it could be cancelled has moved what it has moved."""

    class Over(Tasks):
        def cancel_message_move_task(self, **arguments: Any) -> Any:
            raise service_error("ResourceNotFoundException", "no such task", "CancelMessageMoveTask", 404)

    stop = threading.Event()
    stop.set()
    assert Over(look("RUNNING", 1, 2), look("COMPLETED", 2, 2)).account().redrive("dead", stop=stop) == 2


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        (look("FAILED", 1, FailureReason="AccessDenied"), "ended early: AccessDenied"),
        (look("CANCELLED", 1), "ended early: it was cancelled"),  # by someone else
    ],
)
def test_a_task_that_ends_early(last: dict[str, Any], sentence: str) -> None:
    """It is an error, with the reason and with how many were moved."""
    with pytest.raises(RedriveError, match=sentence) as caught:
        Tasks(last).account().redrive("dead")
    assert caught.value.moved == 1


@pytest.mark.parametrize(
    ("own", "offered"), [(None, "InvalidAction"), (None, "UnknownOperationException"), (False, "InvalidAction")]
)
def test_a_service_without_tasks(client: Any, account: SQS, own: bool | None, offered: str) -> None:
    """Where it has none, they are pushed back by hand; unless it was said that they must not be."""
    dead, back = account.create("dead"), account.create("back")
    send(client, dead, "a")

    def start_message_move_task(**_: Any) -> Any:
        raise service_error(offered, "what?", "StartMessageMoveTask")

    there, _ = altered(account, client, start_message_move_task=start_message_move_task)
    if own is False:
        with pytest.raises(InvalidRequest, match=r"what\?"):
            there.redrive("dead", "back", own=False)
    else:
        assert there.redrive("dead", "back") == 1
        assert bodies_of(take(client, back, 1)) == ["a"]


def test_a_client_without_tasks(client: Any, account: SQS) -> None:
    """A client that is older than the tasks does as a service without them."""
    dead, back = account.create("dead"), account.create("back")
    send(client, dead, "a")

    def start_message_move_task(**_: Any) -> Any:
        raise AttributeError("'SQS' object has no attribute 'start_message_move_task'")

    there, _ = altered(account, client, start_message_move_task=start_message_move_task)
    assert there.redrive("dead", "back") == 1
    assert bodies_of(take(client, back, 1)) == ["a"]


def test_a_task_that_is_refused() -> None:
    """What the service refuses for another reason is not done by hand behind its back."""

    class Refusing(Tasks):
        def start_message_move_task(self, **arguments: Any) -> Any:
            raise service_error("AWS.SimpleQueueService.UnsupportedTask", "one runs already", "StartMessageMoveTask")

    with pytest.raises(InvalidRequest, match="one runs already"):
        Refusing().account().redrive("dead")


# ---------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"rate": 501}, ValueError, "rate must be a whole number of messages a second from 1 to 500, or None; got 501"),
        ({"limit": 0}, ValueError, "limit must be a whole number of messages from 1"),
        ({"limit": True}, TypeError, "limit must be a whole number of messages from 1"),
        ({"delay": 901}, ValueError, "delay must be a number of seconds from 0 to 900; got 901"),
        ({"delay": 1, "own": False}, ValueError, "limit and delay need own=True.*got limit=None, delay=1"),
        ({"limit": 1, "own": False}, ValueError, "limit and delay need own=True.*got limit=1, delay=0"),
        ({"delay": 1, "to": "back.fifo"}, ValueError, "delay must be 0 for a FIFO queue.*got 1"),
        ({"to": "a.b"}, ValueError, "name must have 1 to 80 characters.*got 'a.b'"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], error: type[Exception], sentence: str) -> None:
    """Arguments are checked before anything is moved."""
    tasks = Tasks()
    with pytest.raises(error, match=sentence):
        tasks.account().redrive("dead", **arguments)
    assert tasks.calls == []


def test_the_name_in_an_arn() -> None:
    """The last part of a queue's ARN is its name, the one before its account; other ARNs are refused."""
    assert queue_name_of("arn:aws-cn:sqs:cn-north-1:123456789012:a.fifo") == ("a.fifo", "123456789012")
    with pytest.raises(ValueError, match="an ARN of a queue looks like"):
        queue_name_of("arn:aws:sqs:us-east-1:1")


def test_attempts_are_bounded() -> None:
    """The pauses between attempts at one batch are short beside the time that dead letters are hidden."""
    assert sum(RETRIES) * 10 < MOVING
