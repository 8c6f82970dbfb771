"""The account: queues made as asked for, found, listed however many, emptied with and without a purge, deleted."""

from __future__ import annotations

import json
import pickle
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from queue_consumer_sqs._account import SQS, PurgeInProgress, QueueExists
from queue_consumer_sqs._boto import service_error
from queue_consumer_sqs._errors import InvalidRequest, QueueNotFound, SQSError


@pytest.fixture
def account(client: Any) -> Iterator[SQS]:
    """The account of the server, with a prefix that no other test has, under which nothing is left behind."""
    with SQS(client=client, prefix=f"test-{uuid.uuid4().hex[:12]}-") as account:
        yield account
        for name in account.names():
            account.delete(name)


def attributes_of(client: Any, url: str) -> dict[str, str]:
    found: dict[str, str] = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found


def fill(client: Any, url: str, count: int) -> None:
    for number in range(count):
        group = {"MessageGroupId": str(number % 3), "MessageDeduplicationId": str(number)}
        client.send_message(QueueUrl=url, MessageBody=str(number), **(group if url.endswith(".fifo") else {}))


class Altered:
    """A boto3 client some of whose methods are others."""

    def __init__(self, client: Any, **methods: Callable[..., Any]) -> None:
        self.client = client
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


# ---------------------------------------------------------------------- making


def test_create(client: Any, account: SQS) -> None:
    """Each setting is there afterwards, as the service names it, and whole."""
    url = account.create(
        "orders", visibility_timeout=7.5, retention=3600, delay=1, wait_time=20, max_size=2048, tags={"team": "a"}
    )
    there = attributes_of(client, url)
    assert there["QueueArn"].endswith(f":{account.prefix}orders")
    assert {
        name: there[name]
        for name in (
            "VisibilityTimeout",
            "MessageRetentionPeriod",
            "DelaySeconds",
            "ReceiveMessageWaitTimeSeconds",
            "MaximumMessageSize",
        )
    } == {
        "VisibilityTimeout": "8",
        "MessageRetentionPeriod": "3600",
        "DelaySeconds": "1",
        "ReceiveMessageWaitTimeSeconds": "20",
        "MaximumMessageSize": "2048",
    }
    assert "FifoQueue" not in there
    assert client.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "a"}


def test_create_a_fifo_queue(client: Any, account: SQS) -> None:
    """A name that ends in .fifo makes a FIFO queue; content deduplication is off unless asked for."""
    assert attributes_of(client, account.create("a.fifo"))["ContentBasedDeduplication"] == "false"
    there = attributes_of(client, account.create("b.fifo", fifo=True, content_deduplication=True))
    assert (there["FifoQueue"], there["ContentBasedDeduplication"]) == ("true", "true")


def test_settings_are_strings_on_the_wire() -> None:
    """What is not asked for is not sent, so that AWS's defaults hold."""
    asked: list[dict[str, Any]] = []

    def create_queue(**arguments: Any) -> dict[str, Any]:
        asked.append(arguments)
        return {"QueueUrl": "https://sqs.test/1/q.fifo"}

    account = SQS(client=Altered(None, create_queue=create_queue))
    assert account.create("q") == "https://sqs.test/1/q.fifo"
    account.create(
        "q.fifo",
        delay=0,
        content_deduplication=True,
        kms_key="alias/mine",
        kms_key_reuse=60,
        attributes={"FifoThroughputLimit": "perMessageGroupId"},
    )
    assert asked == [
        {"QueueName": "q", "Attributes": {}},
        {
            "QueueName": "q.fifo",
            "Attributes": {
                "FifoQueue": "true",
                "ContentBasedDeduplication": "true",
                "DelaySeconds": "0",
                "KmsMasterKeyId": "alias/mine",
                "KmsDataKeyReusePeriodSeconds": "60",
                "FifoThroughputLimit": "perMessageGroupId",
            },
        },
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"name": "a.b"}, ValueError, "name must have 1 to 80 characters"),
        ({"name": 5}, TypeError, "name must be the name of a queue, a str; got 5"),
        ({"name": "a", "fifo": True}, ValueError, "name must end in .fifo"),
        ({"name": "a.fifo", "fifo": False}, ValueError, "name must not end in .fifo"),
        ({"name": "a", "content_deduplication": True}, ValueError, "content_deduplication needs a FIFO queue"),
        ({"name": "a", "visibility_timeout": 43201}, ValueError, "visibility_timeout must be .* from 0 to 43200, or"),
        ({"name": "a", "retention": 59}, ValueError, "retention must be .* from 60 to 1209600, or None; got 59"),
        ({"name": "a", "delay": 901}, ValueError, "delay must be .* from 0 to 900, or None; got 901"),
        ({"name": "a", "wait_time": 21}, ValueError, "wait_time must be .* from 0 to 20, or None; got 21"),
        ({"name": "a", "max_size": 1023}, ValueError, "max_size must be .* from 1024 to 1048576, or None; got 1023"),
        ({"name": "a", "kms_key": "k", "kms_key_reuse": 59}, ValueError, "kms_key_reuse must be .* from 60 to 86400"),
        ({"name": "a", "kms_key_reuse": 60}, ValueError, "kms_key_reuse needs a kms_key; got kms_key_reuse=60 alone"),
        ({"name": "a", "dead_letter": "d"}, ValueError, "go together; got dead_letter='d', max_receives=None"),
        ({"name": "a", "max_receives": 3}, ValueError, "go together; got dead_letter=None, max_receives=3"),
        ({"name": "a", "dead_letter": "d.fifo", "max_receives": 3}, ValueError, "dead_letter must not be a FIFO queue"),
        ({"name": "a.fifo", "dead_letter": "d", "max_receives": 3}, ValueError, "dead_letter must be a FIFO queue"),
        ({"name": "a", "dead_letter": "d", "max_receives": 0}, ValueError, "max_receives must be .* from 1 to 1000"),
        (
            {"name": "a", "delay": 1, "attributes": {"DelaySeconds": "2"}},
            ValueError,
            "says already; got 'DelaySeconds'",
        ),
        ({"name": "a" * 77, "fifo": None}, ValueError, "name must have 1 to 80 characters.*got 'pre-a"),
    ],
)
def test_what_is_refused_before_it_is_sent(arguments: dict[str, Any], error: type[Exception], sentence: str) -> None:
    """Each setting is checked against AWS's limits, and the sentence says what is allowed; no call is made."""
    with pytest.raises(error, match=sentence):
        SQS(client=Altered(None), prefix="pre-").create(**arguments)


def test_creating_again_finds_the_queue(account: SQS) -> None:
    """The same queue with the same settings is no error, and is the same queue."""
    account.create("dead")
    settings: dict[str, Any] = {"visibility_timeout": 7, "dead_letter": "dead", "max_receives": 3}
    assert account.create("a", **settings) == account.create("a", **settings)


def test_creating_another_of_the_same_name(account: SQS) -> None:
    """A queue with other settings is left alone, and the error says what differs, and how."""
    account.create("dead")
    account.create("a", visibility_timeout=7, delay=1, dead_letter="dead", max_receives=3)
    with pytest.raises(QueueExists) as caught:
        account.create("a", visibility_timeout=8, delay=1, dead_letter="dead", max_receives=3)
    assert caught.value.differs == {"VisibilityTimeout": ("8", "7")}
    assert str(caught.value) == (
        f"there is a queue '{account.prefix}a' already, with other attributes: VisibilityTimeout is 7, and 8 was asked "
        f"for"
    )
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.differs, str(copy), copy.code) == (caught.value.differs, str(caught.value), caught.value.code)


def test_what_differs_is_no_matter_of_spelling() -> None:
    """AWS gives a policy back with other spaces, and numbers for the text that it was sent; that is the same policy."""

    def create_queue(**_: Any) -> Any:
        raise service_error("QueueAlreadyExists", "exists", "CreateQueue")

    def get_queue_url(**_: Any) -> Any:
        return {"QueueUrl": "https://sqs.test/1/a"}

    def get_queue_attributes(**_: Any) -> Any:
        policy = '{"maxReceiveCount":3,"deadLetterTargetArn":"arn:aws:sqs:r:1:dead"}'
        return {"Attributes": {"RedrivePolicy": policy, "DelaySeconds": "0"}}

    client = Altered(
        None, create_queue=create_queue, get_queue_url=get_queue_url, get_queue_attributes=get_queue_attributes
    )
    with pytest.raises(QueueExists, match=r"KmsMasterKeyId is not set, and k was asked for$") as caught:
        SQS(client=client).create("a", delay=0, kms_key="k", dead_letter="arn:aws:sqs:r:1:dead", max_receives=3)
    assert caught.value.differs == {"KmsMasterKeyId": ("k", None)}


def test_what_else_fails_a_creation() -> None:
    """Other refusals of the service are what they are."""

    def create_queue(**_: Any) -> Any:
        raise service_error("AWS.SimpleQueueService.QueueDeletedRecently", "wait 60 seconds", "CreateQueue")

    with pytest.raises(InvalidRequest, match="wait 60 seconds") as caught:
        SQS(client=Altered(None, create_queue=create_queue)).create("a")
    assert not isinstance(caught.value, QueueExists)


def test_redrive_policy(client: Any, account: SQS) -> None:
    """The policy is the service's JSON, with the ARN looked up; a queue that is made with it moves its dead letters."""
    dead = account.create("dead")
    arn = attributes_of(client, dead)["QueueArn"]
    policy = json.loads(account.redrive_policy("dead", 1))
    assert policy == {"deadLetterTargetArn": arn, "maxReceiveCount": "1"}
    assert json.loads(account.redrive_policy(arn, 1)) == policy
    url = account.create("a", visibility_timeout=0, dead_letter="dead", max_receives=1)
    client.send_message(QueueUrl=url, MessageBody="poison")
    assert len(client.receive_message(QueueUrl=url)["Messages"]) == 1
    assert "Messages" not in client.receive_message(QueueUrl=url)
    assert [message["Body"] for message in client.receive_message(QueueUrl=dead)["Messages"]] == ["poison"]


def test_a_dead_letter_queue_must_exist(account: SQS) -> None:
    """A queue that is to be the dead-letter queue and is not there is named, and nothing is made."""
    with pytest.raises(QueueNotFound, match=f"there is no queue '{account.prefix}dead'"):
        account.create("a", dead_letter="dead", max_receives=1)
    assert account.names() == []


# ---------------------------------------------------------------------- finding


def test_find(client: Any, account: SQS) -> None:
    """By its name, by its ARN and by its URL, it is the same queue."""
    url = account.create("a")
    assert account.find("a") == url
    assert account.find(attributes_of(client, url)["QueueArn"]) == url
    assert account.find(url) == url


def test_find_says_what_to_do(account: SQS) -> None:
    """A queue that is not there is a typed error, whose sentence has the whole name and what to check."""
    with pytest.raises(QueueNotFound, match=f"^there is no queue '{account.prefix}a'.*check its name, the region"):
        account.find("a")
    with pytest.raises(ValueError, match="an ARN of a queue looks like arn:aws:sqs:region:account:name"):
        account.find("arn:aws:sns:r:1:a")


def test_find_in_another_account() -> None:
    """The account that owns the queue is asked for it, and is in the sentence if it has none."""
    asked: list[dict[str, Any]] = []

    def get_queue_url(**arguments: Any) -> dict[str, Any]:
        asked.append(arguments)
        raise service_error("AWS.SimpleQueueService.NonExistentQueue", "none", "GetQueueUrl")

    account = SQS(client=Altered(None, get_queue_url=get_queue_url), account_id="123456789012")
    with pytest.raises(QueueNotFound, match="there is no queue 'a' of account 123456789012"):
        account.find("a")
    assert asked == [{"QueueName": "a", "QueueOwnerAWSAccountId": "123456789012"}]


def test_a_queue_to_consume(client: Any, account: SQS) -> None:
    """The account opens its queues: the access is its own, and options are those of the queue."""
    url = account.create("a")
    queue = account.queue("a", wait_time=1, batch_size=3)
    try:
        assert (queue.name, queue.url) == ("a", url)
        assert SQS.of(queue.client).find("a") == url
        fill(client, url, 1)
        (message,) = queue.get()
        assert (message.body, message.queue) == ("0", "a")
    finally:
        queue.close()


def test_names(account: SQS) -> None:
    """The queues of the prefix, without it; of those the ones that begin as asked."""
    for name in ("a", "ab", "b.fifo"):
        account.create(name)
    assert sorted(account.names()) == ["a", "ab", "b.fifo"]
    assert sorted(account.names("a")) == ["a", "ab"]
    assert account.names("c") == []


def test_names_of_all_pages(client: Any, account: SQS) -> None:
    """However many pages the service gives them in, none is missing and none comes twice."""
    made = {f"a{number}" for number in range(7)}
    for name in made:
        account.create(name)

    def list_queues(**arguments: Any) -> Any:
        assert arguments["MaxResults"] == 1000  # without it there would be no pages
        return client.list_queues(**{**arguments, "MaxResults": 3})

    names = SQS(client=Altered(client, list_queues=list_queues), prefix=account.prefix).names()
    assert len(names) == 7
    assert set(names) == made


def test_an_access_has_a_prefix_that_names_can_have() -> None:
    """A prefix that no queue can have is refused at once."""
    with pytest.raises(ValueError, match="prefix must have at most 79 characters"):
        SQS(prefix="team.a")


# ---------------------------------------------------------------------- emptying


def test_delete(account: SQS) -> None:
    """A queue that was deleted is not there, and cannot be deleted again."""
    account.create("a")
    account.delete("a")
    with pytest.raises(QueueNotFound):
        account.delete("a")


def test_purge(client: Any, account: SQS) -> None:
    """All that is in it is gone, what is held too."""
    url = account.create("a", visibility_timeout=0)
    fill(client, url, 3)
    client.receive_message(QueueUrl=url, VisibilityTimeout=600)
    account.purge("a")
    assert "Messages" not in client.receive_message(QueueUrl=url)


def test_a_second_purge_within_a_minute() -> None:
    """SQS does not purge again within 60 seconds, which is an error of its own kind, and says what to do."""

    def purge_queue(**_: Any) -> Any:
        raise service_error("AWS.SimpleQueueService.PurgeQueueInProgress", "in progress", "PurgeQueue", 403)

    account = SQS(client=Altered(None, purge_queue=purge_queue))
    with pytest.raises(PurgeInProgress, match=r"purged less than 60 seconds ago.*drain it") as caught:
        account.purge("https://sqs.test/1/a")
    assert caught.value.code.endswith("PurgeQueueInProgress")


@pytest.mark.parametrize("name", ["a", "a.fifo"])
def test_drain(client: Any, account: SQS, name: str) -> None:
    """Everything is deleted, batch by batch, and counted; what is held by others stays."""
    url = account.create(name)
    fill(client, url, 25)
    done: list[int] = []
    assert account.drain(name, on_progress=done.append) == 25
    assert done == sorted(done)
    assert done[-1] == 25
    assert account.drain(name, wait_time=0) == 0
    assert attributes_of(client, url)["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_what_drain_cannot_delete(client: Any, account: SQS) -> None:
    """Messages that cannot be deleted are an error that says how many, and drain does not go round and round."""
    fill(client, account.create("a"), 3)

    def delete_message_batch(**arguments: Any) -> Any:
        first, *others = arguments["Entries"]
        answer = client.delete_message_batch(QueueUrl=arguments["QueueUrl"], Entries=others)
        failed = {"Id": first["Id"], "Code": "ReceiptHandleIsInvalid", "Message": "stale", "SenderFault": True}
        return {**answer, "Failed": [failed]}

    altered = SQS(client=Altered(client, delete_message_batch=delete_message_batch), prefix=account.prefix)
    sentence = "^2 messages of queue 'a' were deleted, and 1 could not be; the first because of ReceiptHandleIsInvalid"
    with pytest.raises(SQSError, match=sentence):
        altered.drain("a")


def test_an_account_shows_no_secrets() -> None:
    """What is logged of it has no keys."""
    account = SQS(access_key_id="AKIA", secret_access_key="hush", session_token="quiet", region="eu-west-1")
    assert "eu-west-1" in repr(account)
    assert not {word for word in ("AKIA", "hush", "quiet") if word in repr(account)}
