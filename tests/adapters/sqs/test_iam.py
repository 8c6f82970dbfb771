"""The policies in docs/iam.md are exact: each role is played, and what it asked for is what its policy allows."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import Consumer, each
from queue_consumer_sqs import SQS, AccessDenied, Bus, PriorityBuses, QueueExists, RedriveError, SQSMessage, SQSQueue
from queue_consumer_sqs._boto import service_error
from queue_consumer_sqs.testing import MemorySQS

REGION, ACCOUNT = "eu-west-1", "123456789012"
QUEUES = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
BIG, SMALL = "x" * 2000, 1024  # a body, and the most bytes of a queue that does not take it

Grant = tuple[str, str]  # an action, and what it is done to

# What a call needs, where that is not the action of its own name: by AWS's documentation of its actions.
BATCHES = {f"{name}_batch": name for name in ("send_message", "delete_message", "change_message_visibility")}
MOVES = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
ALSO_NEEDED: Mapping[str, tuple[str, ...]] = {
    "start_message_move_task": MOVES,
    "list_message_move_tasks": MOVES,
    "cancel_message_move_task": MOVES,
}
KEY_USES = {"sqs:ReceiveMessage": {"kms:Decrypt"}, "sqs:SendMessage": {"kms:GenerateDataKey", "kms:Decrypt"}}


class Guarded:
    """A client that notes which grants its calls need, and refuses what is denied."""

    def __init__(self, client: Any, denied: frozenset[str] = frozenset()) -> None:
        self.needed: set[Grant] = set()
        self._client = client
        self._denied = denied

    def interrupt(self) -> None:
        self._client.interrupt()

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._client, operation)

        def call(**arguments: Any) -> Any:
            grants = set(self._grants(operation, arguments))
            self.needed |= grants
            for action, _ in grants:
                if action in self._denied:
                    raise service_error("AccessDenied", f"not authorized to perform {action}", operation, 403)
            return method(**arguments)

        return call

    def _grants(self, operation: str, arguments: Mapping[str, Any]) -> list[Grant]:
        names = [action_of(operation), *ALSO_NEEDED.get(operation, ())]
        if arguments.get("tags"):
            names.append("TagQueue")
        grants = [(f"sqs:{name}", self._resource(operation, arguments)) for name in names]
        if operation == "start_message_move_task":
            grants.append(("sqs:SendMessage", arguments.get("DestinationArn", QUEUES + "orders")))
        return grants

    def _resource(self, operation: str, arguments: Mapping[str, Any]) -> str:
        match arguments:
            case {"QueueUrl": url}:
                return QUEUES + str(url).rpartition("/")[2]
            case {"QueueName": name}:
                return f"{QUEUES}{name}"
            case {"SourceArn": arn}:
                return str(arn)
            case {"TaskHandle": _}:
                return QUEUES + "orders-dead"
            case _:
                assert operation == "list_queues", operation
                return "*"


def action_of(operation: str) -> str:
    return BATCHES.get(operation, operation).title().replace("_", "")


# The document


def section_of(heading: str) -> str:
    text = (Path(__file__).resolve().parents[3] / "docs" / "iam.md").read_text(encoding="utf-8")
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def policies_of(heading: str) -> list[set[Grant]]:
    """What each policy below this heading allows."""
    policies: list[set[Grant]] = []
    for block in re.findall(r"^```json\n(.*?)^```$", section_of(heading), flags=re.MULTILINE | re.DOTALL):
        policy = json.loads(block)
        assert policy["Version"] == "2012-10-17"
        grants: set[Grant] = set()
        for statement in policy["Statement"]:
            assert set(statement) == {"Effect", "Action", "Resource"}
            assert statement["Effect"] == "Allow"
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert len(actions) == len(set(actions))
            grants |= {(action, statement["Resource"]) for action in actions}
        policies.append(grants)
    return policies


# The roles


@pytest.fixture
def owner() -> Any:
    """A client that may do anything, of an account with a queue that has a dead-letter queue."""
    client = MemorySQS(region=REGION, account_id=ACCOUNT).client()
    account = SQS(client=client)
    account.create("orders-dead")
    account.create("orders", dead_letter="orders-dead", max_receives=3)
    return client


def consume(queue: Any, owner: Any, *, failing: bool = False, names: tuple[str, ...] = ("orders",)) -> None:
    """Handle a message of each queue with a consumer; the first time, it may fail."""
    left = set(names)
    handled = threading.Event()

    @each
    def handler(message: SQSMessage) -> None:
        if failing and message.attempt == 1:
            raise RuntimeError("the first time fails, on purpose")
        left.discard(message.queue)
        if not left:
            handled.set()

    for name in names:
        owner.send_message(QueueUrl=url_of(owner, name), MessageBody="a body")
    consumer = Consumer(queue, handler, max_handlers=1, backoff=lambda attempt: 0)
    with consumer:
        assert handled.wait(10)
    assert consumer.shutdown().stats.cleaned == len(names)


def url_of(client: Any, name: str) -> str:
    url: str = client.get_queue_url(QueueName=name)["QueueUrl"]
    return url


def bury(owner: Any, *bodies: str) -> None:
    """Put these into the dead-letter queue, by way of the queue."""
    url = url_of(owner, "orders")
    for body in bodies:
        owner.send_message(QueueUrl=url, MessageBody=body)
    for _ in range(4):
        owner.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)


def play_consumer(client: Any, owner: Any) -> None:
    consume(SQSQueue("orders", client=client), owner, failing=True)


def play_quick_consumer(client: Any, owner: Any) -> None:
    consume(SQSQueue("orders", client=client, idle_lease=30), owner)


def play_sender(client: Any, owner: Any) -> None:
    queue = SQSQueue("orders", client=client)
    queue.put("one")
    queue.put_many([{"body": "two"}, {"body": "three"}])


def play_redrive(client: Any, owner: Any) -> None:
    bury(owner, "one", "two", "three")
    stop = threading.Event()
    stop.set()
    assert SQS(client=client).redrive("orders-dead", rate=1, stop=stop) < 3
    assert SQS(client=client).redrive("orders-dead") > 0


def play_redrive_by_hand(client: Any, owner: Any) -> None:
    bury(owner, "small", BIG)
    owner.set_queue_attributes(QueueUrl=url_of(owner, "orders"), Attributes={"MaximumMessageSize": str(SMALL)})
    with pytest.raises(RedriveError) as caught:
        SQS(client=client).redrive("orders-dead", own=True)
    assert (caught.value.moved, len(caught.value.failed)) == (1, 1)


def play_provisioning(client: Any, owner: Any) -> None:
    account = SQS(client=client)
    account.delete("orders")
    account.create("orders", dead_letter="orders-dead", max_receives=3, tags={"team": "shop"})
    with pytest.raises(QueueExists):
        account.create("orders", visibility_timeout=60)
    assert "orders" in account.names()
    account.purge("orders")
    owner.send_message(QueueUrl=url_of(owner, "orders"), MessageBody="a body")
    assert account.drain("orders", wait_time=0) == 1


ROLES: Mapping[str, Callable[[Any, Any], None]] = {
    "A consumer": play_consumer,
    "A consumer without heartbeats": play_quick_consumer,
    "A sender": play_sender,
    "Sending back dead letters": play_redrive,
    "Sending back dead letters by hand": play_redrive_by_hand,
    "Provisioning": play_provisioning,
}


@pytest.mark.parametrize("role", ROLES)
def test_policy_allows_what_is_needed_and_no_more(role: str, owner: Any) -> None:
    """What the adapter asks for in a role is just what the policy of this role allows."""
    client = Guarded(owner)
    ROLES[role](client, owner)
    (allowed,) = policies_of(role)
    assert client.needed == allowed


def test_every_policy_has_a_role() -> None:
    """No policy in the document goes untested."""
    headings = re.findall(r"\n## (.*)\n", (Path(__file__).resolve().parents[3] / "docs" / "iam.md").read_text())
    assert {heading for heading in headings if policies_of(heading)} == {*ROLES, "Encrypted queues"}


def test_buses_need_a_consumers_policy_for_each_queue(owner: Any) -> None:
    """Queues on buses need what a queue by itself needs, and nothing for the whole."""
    client = Guarded(owner)
    buses = PriorityBuses([Bus("usual", 1, ["orders"]), Bus("late", 0, ["orders-dead"])], client=client)
    consume(buses, owner, failing=True, names=("orders", "orders-dead"))
    (allowed,) = policies_of("A consumer")
    assert client.needed == {(action, QUEUES + name) for action, _ in allowed for name in ("orders", "orders-dead")}


def test_another_destination_has_to_be_found(owner: Any) -> None:
    """With `to=` the queue that it names is looked up too."""
    bury(owner, "one")
    client = Guarded(owner)
    SQS(client=client).redrive("orders-dead", to="orders")
    (allowed,) = policies_of("Sending back dead letters")
    assert {*allowed} - client.needed == {("sqs:CancelMessageMoveTask", QUEUES + "orders-dead")}
    assert client.needed - allowed == {
        ("sqs:GetQueueUrl", QUEUES + "orders"),
        ("sqs:GetQueueAttributes", QUEUES + "orders"),
    }


@pytest.mark.parametrize("heading", ["A consumer", "A sender"])
def test_less_will_do_for_whoever_says_more(heading: str, owner: Any) -> None:
    """With the URL and the visibility timeout, a queue is opened without permission to look them up."""
    url = url_of(owner, "orders")
    denied = frozenset(re.findall(r"^\| `(sqs:\w+)`", section_of("A consumer without heartbeats"), flags=re.MULTILINE))
    assert denied == {"sqs:GetQueueUrl", "sqs:GetQueueAttributes"}
    with pytest.raises(AccessDenied, match="Allow sqs:GetQueueAttributes, or pass visibility_timeout="):
        SQSQueue(url, client=Guarded(owner, denied))
    with pytest.raises(AccessDenied):
        SQSQueue("orders", client=Guarded(owner, denied), visibility_timeout=30)
    queue = SQSQueue(url, client=Guarded(owner, denied), visibility_timeout=30)
    if heading == "A sender":
        queue.put("a body")
    else:
        consume(queue, owner, failing=True)


def test_keys_of_encrypted_queues_are_for_who_receives_and_who_sends() -> None:
    """Who receives decrypts, who sends has data keys made too, and a redrive does both."""
    receiving, sending = ({action for action, _ in policy} for policy in policies_of("Encrypted queues"))

    def uses(role: str) -> set[str]:
        (allowed,) = policies_of(role)
        return {use for action, _ in allowed for use in KEY_USES.get(action, ())}

    assert uses("A consumer") == uses("A consumer without heartbeats") == receiving
    assert uses("A sender") == sending
    assert uses("Sending back dead letters") == uses("Sending back dead letters by hand") == receiving | sending
