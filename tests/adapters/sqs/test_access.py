"""How a queue is found, and what is said at once when it cannot be.

An error at the start is the user's to mend, so it is told, of its kind and with what to do, and never tried for ever.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from queue_consumer_sqs import (
    AccessDenied,
    BadCredentials,
    InvalidRequest,
    NotInstalled,
    QueueNotFound,
    SQSError,
    SQSQueue,
    Throttled,
    Unreachable,
)
from queue_consumer_sqs._access import Access
from support.lifecycle import until
from support.proxied import Proxied
from support.sqs_faults import CUT, DENIED, EXPIRED, GONE, THROTTLED, UNAVAILABLE, Fault

pytest_plugins = ["support.proxied_fixtures"]

ONCE = {"total_max_attempts": 1}


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


# ---------------------------------------------------------------------- found


def test_by_name(proxied: Proxied) -> None:
    """A name is looked up once, in the caller's own account, and then what must be known of the queue."""
    url = proxied.make(VisibilityTimeout=7)
    queue = proxied.open(url)
    assert (queue.name, queue.url, queue.fifo, queue.lease) == (name_of(url), url, False, 7)
    assert queue.arn.endswith(f":{queue.name}")
    assert repr(queue) == f"<SQSQueue {queue.name}>"
    found, facts = proxied.proxy.calls()
    assert (found.operation, found.arguments) == ("GetQueueUrl", {"QueueName": queue.name})
    assert (facts.operation, facts.arguments["QueueUrl"]) == ("GetQueueAttributes", url)


def test_by_url(proxied: Proxied) -> None:
    """A URL is where the queue is: its server is the endpoint, and nothing is looked up."""
    url = proxied.proxy.endpoint_url + urlsplit(proxied.make()).path
    queue = SQSQueue(url, session=proxied.session)
    assert (queue.name, queue.url) == (name_of(url), url)
    assert [call.operation for call in proxied.proxy.calls()] == ["GetQueueAttributes"]
    queue.put("text")
    (message,) = queue.get()
    assert message.body == "text"
    queue.cleanup([message])
    queue.close()


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "eu-west-1", None),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/orders", "eu-west-1", None),
        ("https://sqs.us-gov-west-1.amazonaws.com/123456789012/orders", "us-gov-west-1", None),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/orders", "cn-north-1", None),
        ("https://sqs.ap-southeast-2.api.aws/123456789012/orders", "ap-southeast-2", None),
        ("https://queue.amazonaws.com/123456789012/orders", None, None),
        (
            "https://vpce-0a1b-2c3d.sqs.us-east-1.vpce.amazonaws.com/123456789012/orders",
            "us-east-1",
            "https://vpce-0a1b-2c3d.sqs.us-east-1.vpce.amazonaws.com",
        ),
        (
            "https://sqs-fips.us-east-1.amazonaws.com/123456789012/orders",
            "us-east-1",
            "https://sqs-fips.us-east-1.amazonaws.com",
        ),
        ("http://localhost:4566/000000000000/orders", None, "http://localhost:4566"),
        ("https://sqs.eu-west-1.example.com/1/orders", None, "https://sqs.eu-west-1.example.com"),
        ("orders", None, None),
    ],
)
def test_region_and_endpoint_of_a_url(url: str, region: str | None, endpoint: str | None) -> None:
    """The URL of a queue on AWS says its region; any other, and one of a private or a special endpoint, its server."""
    access = Access().at(url)
    assert (access.region, access.endpoint_url) == (region, endpoint)


def test_what_is_given_wins_over_the_url() -> None:
    """A region or an endpoint that the user gives is not taken from the URL."""
    url = "https://vpce-0a1b-2c3d.sqs.us-east-1.vpce.amazonaws.com/123456789012/orders"
    access = Access(region="eu-central-1", endpoint_url="http://localhost:1").at(url)
    assert (access.region, access.endpoint_url) == ("eu-central-1", "http://localhost:1")
    client: Any = object()
    assert Access(client=client).at(url).endpoint_url is None


def test_prefix(proxied: Proxied) -> None:
    """A prefix is put before the name on the wire, and is not part of the queue's name for anybody else."""
    name = name_of(proxied.make())
    queue = proxied.open(name[4:], prefix=name[:4])
    assert queue.name == name[4:]
    assert proxied.proxy.calls("GetQueueUrl")[0].arguments["QueueName"] == name
    by_url = SQSQueue(proxied.proxy.endpoint_url + urlsplit(queue.url).path, prefix=name[:4], session=proxied.session)
    assert by_url.name == name[4:]
    by_url.close()


def test_account_is_told_if_given(proxied: Proxied) -> None:
    """The account that owns the queue is in the request if the user gave it, and else not at all."""
    url = proxied.make()
    proxied.open(url, account_id="000000000000")
    assert proxied.proxy.calls("GetQueueUrl")[0].arguments == {
        "QueueName": name_of(url),
        "QueueOwnerAWSAccountId": "000000000000",
    }


def test_fifo_by_its_name(proxied: Proxied) -> None:
    """A queue whose name ends in .fifo is one, with its message groups as ordering keys; another has none."""
    queue = proxied.queue("text", fifo=True)
    assert queue.fifo
    (message,) = queue.get()
    assert queue.ordering_key is not None
    assert queue.ordering_key(message) == "default"
    queue.cleanup([message])
    assert proxied.queue().ordering_key is None


# ---------------------------------------------------------------------- by whose leave


def test_keys_and_region_that_are_given(proxied: Proxied) -> None:
    """All calls are signed with the keys, and for the region, that the user gave; polls too."""
    url = proxied.make()
    proxied.client.create_queue(QueueName=name_of(url))
    options = {"access_key_id": "given", "secret_access_key": "secret", "session_token": "token"}
    with_keys = proxied.open(url, wait_time=0, region="us-east-1", **options)
    with_keys.put("text")
    with_keys.cleanup(with_keys.get())
    assert {call.signer for call in proxied.proxy.calls()} == {"given in us-east-1"}
    assert all(b"x-amz-security-token: token" in call.head.lower() for call in proxied.proxy.calls())


def test_keys_and_region_of_the_environment(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not given is found as boto3 finds it; there is no region of our own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "found")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    with pytest.raises(QueueNotFound):
        proxied.open("not-in-this-region", session=None)
    assert {call.signer for call in proxied.proxy.calls()} == {"found in eu-north-1"}


def test_profile(proxied: Proxied, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile has keys, and a region, of its own."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for name, text in {
        "AWS_CONFIG_FILE": "[profile stage]\nregion = eu-south-1\n",
        "AWS_SHARED_CREDENTIALS_FILE": "[stage]\naws_access_key_id = staged\naws_secret_access_key = secret\n",
    }.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setenv(name, str(tmp_path / name))
    with pytest.raises(QueueNotFound):
        proxied.open("not-in-this-region", session=None, profile="stage")
    assert {call.signer for call in proxied.proxy.calls()} == {"staged in eu-south-1"}


def test_endpoint_of_the_environment(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint is found as boto3 finds it, too."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", proxied.proxy.endpoint_url)
    url = proxied.make()
    assert proxied.open(url, endpoint_url=None).url == url
    assert proxied.proxy.calls("GetQueueUrl")


def test_client_that_is_given(proxied: Proxied, open_client: Callable[[str], Any]) -> None:
    """A client of the user's is used for everything, and is still open when the queue is closed."""
    client = open_client(proxied.proxy.endpoint_url)
    queue = proxied.open(proxied.make(), client=client)
    queue.put("text")
    (message,) = queue.get()
    queue.cleanup([message])
    queue.close()
    assert client.list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert queue.client.raw is client


def test_client_that_is_too_impatient(proxied: Proxied) -> None:
    """A client that gives up before a poll is answered is refused, and told of."""
    config = importlib.import_module("botocore.config").Config(read_timeout=10)
    client = proxied.session.client("sqs", endpoint_url=proxied.proxy.endpoint_url, config=config)
    url = proxied.make()
    with pytest.raises(ValueError, match=r"^wait_time must be less than the read_timeout of the client, which is 10 s"):
        proxied.open(url, client=client)
    assert proxied.open(url, client=client, wait_time=5).url == url
    client.close()


def test_retries_that_are_given(proxied: Proxied) -> None:
    """boto3 tries a call again as often as it is told to, three times in all unless it is told."""
    url = proxied.make()
    for retries, calls in ((None, 3), ({"mode": "standard", "total_max_attempts": 2}, 2), (ONCE, 1)):
        queue = proxied.open(url, retries=retries)
        proxied.proxy.plan("SendMessage", *[UNAVAILABLE] * calls)
        before = len(proxied.proxy.calls("SendMessage"))
        with pytest.raises(Unreachable):
            queue.put("text")
        assert len(proxied.proxy.calls("SendMessage")) - before == calls
        queue.put("and again")


# ---------------------------------------------------------------------- not found, and so on

REFUSED: dict[str, tuple[Fault, type[SQSError], str]] = {
    "missing": (GONE, QueueNotFound, r"there is no queue orders, or none that may be seen .*: create it, or see that"),
    "denied": (DENIED, AccessDenied, r"would not get queue url: not authorized"),
    "expired": (EXPIRED, BadCredentials, r"would not get queue url: the security token .* expired"),
    "throttled": (THROTTLED, Throttled, r"would not get queue url: rate exceeded"),
    "down": (UNAVAILABLE, Unreachable, r"would not get queue url: unavailable"),
    "cut": (CUT, Unreachable, r"could not get queue url: Connection was closed"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_refused_at_the_start(proxied: Proxied, why: str) -> None:
    """Whatever keeps the queue from being found is raised by the constructor, of its kind, after so many tries."""
    fault, kind, sentence = REFUSED[why]
    proxied.proxy.always(fault)
    with pytest.raises(kind, match=sentence) as caught:
        proxied.open("orders", retries=ONCE)
    assert type(caught.value) is kind
    assert caught.value.__cause__ is not None
    assert caught.value.code
    assert len(proxied.proxy.calls()) == 1


def test_a_queue_that_there_is_not(proxied: Proxied) -> None:
    """A name that the service does not know is told at once, and not looked for again; so is a URL."""
    with pytest.raises(QueueNotFound, match=r"^there is no queue there-is-none, .*: create it, or see that region, "):
        proxied.open("there-is-none")
    with pytest.raises(QueueNotFound, match=r"^there is no queue http://.*there-is-none, "):
        SQSQueue(f"{proxied.proxy.endpoint_url}/000000000000/there-is-none", session=proxied.session)
    assert [call.operation for call in proxied.proxy.calls()] == ["GetQueueUrl", "GetQueueAttributes"]


def test_without_leave_to_ask_for_attributes(proxied: Proxied) -> None:
    """Who may not ask for a queue's attributes must say for how long messages are hidden, and is told so."""
    url = proxied.make()
    proxied.proxy.always(DENIED, "GetQueueAttributes")
    with pytest.raises(AccessDenied, match=r"Allow sqs:GetQueueAttributes, or pass visibility_timeout=") as caught:
        proxied.open(url)
    assert caught.value.code == "AccessDenied"
    queue = proxied.open(url, visibility_timeout=9)
    assert (queue.lease, queue.arn) == (9, "")
    queue.put("text")
    (message,) = queue.get()
    queue.cleanup([message])


def test_no_credentials(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no keys, the sentence says how to give some."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(
        BadCredentials, match=r"Unable to locate credentials; pass access_key_id= and secret_access_key="
    ):
        proxied.open("orders", session=None)
    assert not proxied.proxy.calls()


def test_no_region(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no region, the sentence says how to give one."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(BadCredentials, match=r"You must specify a region\.; pass region=, or set AWS_DEFAULT_REGION"):
        proxied.open("orders", session=None)
    assert not proxied.proxy.calls()


def test_no_such_profile(proxied: Proxied) -> None:
    """A profile that there is not is told by its name."""
    with pytest.raises(BadCredentials, match=r"profile \(stage\).*; see the profiles in the AWS configuration files"):
        proxied.open("orders", session=None, profile="stage")


def test_nobody_there() -> None:
    """A server that is not there is told with its address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unreachable, match=f'could not get queue url: .*"{endpoint}/"'):
            SQSQueue("orders", endpoint_url=endpoint, retries=ONCE)


def test_nonsense_for_an_endpoint() -> None:
    """What is no endpoint at all is told with what it is."""
    with pytest.raises(SQSError, match=r"could not get queue url: .*nowhere"):
        SQSQueue("orders", endpoint_url="nowhere")
    with pytest.raises(InvalidRequest, match=r"could not get queue url: .*not a region"):
        SQSQueue("orders", region="not a region")


def test_without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where boto3 is not installed, the sentence says how to install it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "boto3"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(NotInstalled, match=r"^queue_consumer_sqs needs boto3: pip install 'queue-consumer\[sqs\]'$"):
        SQSQueue("orders")


def test_a_queue_that_could_not_be_opened_leaves_nothing_open(proxied: Proxied) -> None:
    """What was connected for a queue that cannot be used is closed again."""
    url = proxied.make()
    before = len(os.listdir("/proc/self/fd"))
    proxied.proxy.always(DENIED, "GetQueueAttributes")
    for _ in range(5):
        with pytest.raises(AccessDenied):
            proxied.open(url)
    proxied.proxy.always(None, "GetQueueAttributes")
    proxied.proxy.wait_for("GetQueueAttributes", 5)
    proxied.proxy.wait_until(lambda: proxied.proxy.connected == 0)
    until(lambda: len(os.listdir("/proc/self/fd")) <= before, "what the proxy had open to the server is closed, too")


# ---------------------------------------------------------------------- checked

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"queue": ""}, TypeError, "queue must be the name or the URL of a queue; got ''"),
    ({"queue": None}, TypeError, "queue must be the name or the URL of a queue; got None"),
    ({"queue": "no spaces"}, ValueError, "queue must have 1 to 80 characters, .*got 'no spaces'"),
    ({"queue": "a" * 81}, ValueError, "queue must have 1 to 80 characters"),
    ({"queue": "https://sqs.eu-west-1.amazonaws.com/1/"}, ValueError, "queue, the end of its URL, must have 1 to 80"),
    ({"prefix": "a" * 80}, ValueError, "prefix and queue must have 1 to 80 characters"),
    ({"prefix": 1}, TypeError, "prefix must be a str; got 1"),
    ({"region": 1}, TypeError, "region must be a str; got 1"),
    ({"profile": b"stage"}, TypeError, "profile must be a str; got b'stage'"),
    ({"account_id": 123456789012}, TypeError, "account_id must be a str; got 123456789012"),
    ({"endpoint_url": 1}, TypeError, "endpoint_url must be a str; got 1"),
    ({"access_key_id": "a"}, ValueError, "access_key_id and secret_access_key must be given together, or neither"),
    ({"secret_access_key": "hidden"}, ValueError, ".* must be given together"),
    ({"access_key_id": "a", "secret_access_key": 7}, TypeError, "secret_access_key must be a str; got int"),
    ({"session_token": 1234567}, TypeError, "session_token must be a str; got int"),
    ({"retries": 3}, TypeError, "retries must be a mapping, as botocore's Config has it; got 3"),
    ({"wait_time": 21}, ValueError, "wait_time must be a number of seconds from 0 to 20; got 21"),
    ({"wait_time": -1}, ValueError, "wait_time must be a number of seconds from 0 to 20; got -1"),
    ({"wait_time": "20"}, TypeError, "wait_time must be a number of seconds from 0 to 20; got '20'"),
    ({"wait_time": float("nan")}, ValueError, "wait_time must be a number of seconds from 0 to 20; got nan"),
    ({"poll_interval": -1}, ValueError, "poll_interval must be a number of seconds of at least 0; got -1"),
    ({"poll_interval": True}, TypeError, "poll_interval must be a number of seconds; got True"),
    ({"poll_interval": 5}, ValueError, ".* with it wait_time must be 0; got poll_interval=5 and wait_time=20"),
    ({"batch_size": 0}, ValueError, "batch_size must be a whole number from 1 to 100; got 0"),
    ({"batch_size": 101}, ValueError, "batch_size must be a whole number from 1 to 100; got 101"),
    ({"batch_size": 10.0}, TypeError, r"batch_size must be a whole number from 1 to 100; got 10\.0"),
    ({"visibility_timeout": 43_201}, ValueError, "visibility_timeout must be .* from 0 to 43200; got 43201"),
    ({"visibility_timeout": 0}, ValueError, "visibility_timeout must be above 0, or None"),
    ({"cleanup_linger": -0.1}, ValueError, r"cleanup_linger must be a number of seconds of at least 0; got -0\.1"),
    ({"cleanup_linger": None}, TypeError, "cleanup_linger must be a number of seconds; got None"),
    ({"idle_lease": float("inf")}, ValueError, "idle_lease must be a number of seconds of at least 0; got inf"),
]


@pytest.mark.parametrize(("options", "error", "sentence"), WRONG)
def test_arguments_are_checked(options: dict[str, Any], error: type[Exception], sentence: str) -> None:
    """A wrong argument is refused before anything is sent: which it is, what it was, and what is allowed."""
    given: dict[str, Any] = {"queue": "orders", "endpoint_url": "http://127.0.0.1:1", **options}
    with pytest.raises(error, match=f"^{sentence}"):
        SQSQueue(given.pop("queue"), **given)


def test_secrets_are_not_shown() -> None:
    """What shows how a queue is reached shows no keys."""
    shown = repr(Access(region="eu-west-1", access_key_id="key", secret_access_key="hidden", session_token="token"))
    assert "eu-west-1" in shown
    assert not any(secret in shown for secret in ("key", "hidden", "token"))
