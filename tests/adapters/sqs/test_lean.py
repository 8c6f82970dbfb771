"""The lean transport: what boto3 would answer and raise, over connections of its own.

A server that says what it is told to stands in for the service; boto3 is asked the same, and must say the same.
"""

from __future__ import annotations

import base64
import gc
import importlib
import json
import logging
import os
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from queue_consumer_sqs import BadCredentials, InvalidRequest, SQSError, SQSQueue, Throttled, Unreachable
from queue_consumer_sqs._access import Access
from queue_consumer_sqs._aws import Client
from queue_consumer_sqs._connections import Connection, Connections
from queue_consumer_sqs._cut import Cut, Poll
from queue_consumer_sqs._retries import Retries, is_throttling, is_worth_another
from queue_consumer_sqs.testing import MemorySQS
from support.proxied import Running
from support.sqs_calls import PATIENCE
from support.sqs_raw import Asked, RawServer, Reply, whole

ONCE = {"mode": "standard", "total_max_attempts": 1}


@pytest.fixture(scope="module")
def session(keys: None) -> Any:
    """A boto3 session for all, since each reads the description of SQS anew."""
    return importlib.import_module("boto3").session.Session()


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


@pytest.fixture
def connect(session: Any) -> Iterator[Callable[..., Client]]:
    """Makes clients, lean ones unless it is said otherwise."""
    made: list[Client] = []

    def connect(server: RawServer, **options: Any) -> Client:
        given: dict[str, Any] = {"session": session, "transport": "lean", "retries": ONCE, **options}
        made.append(Client(Access(endpoint_url=server.endpoint_url, **given)))
        return made[-1]

    yield connect
    for client in made:
        client.close()


Connect = Callable[..., Client]


def cause(call: Callable[[], Any]) -> Any:
    """What lies behind the error that is raised."""
    with pytest.raises(SQSError) as caught:
        call()
    return caught.value.__cause__


# ---------------------------------------------------------------------- answers

SAME: dict[str, tuple[str, bytes]] = {
    "nothing": ("delete_message", whole()),
    "no body": ("delete_message", whole(b"")),
    "an id": ("send_message", whole(b'{"MessageId": "1", "MD5OfMessageBody": "2"}', headers=["x-amzn-requestid: 3"])),
    "nulls": ("get_queue_url", whole(b'{"QueueUrl": null}')),
    "null in words": ("get_queue_url", whole(b'{"QueueUrl": "null"}')),
    "chunks": (
        "get_queue_url",
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11\r\n{"QueueUrl": "a"}\r\n0\r\n\r\n',
    ),
    "messages": (
        "receive_message",
        whole(
            json.dumps(
                {
                    "Messages": [
                        {
                            "MessageId": "1",
                            "Body": "ä\U0001f600 null",
                            "Attributes": {"SentTimestamp": "1"},
                            "MD5OfMessageAttributes": None,
                            "MessageAttributes": {
                                "bytes": {"DataType": "Binary", "BinaryValue": "AAEC/w=="},
                                "many": {"DataType": "Binary.x", "BinaryListValues": ["AA==", ""]},
                                "words": {"DataType": "String", "StringValue": '"BinaryValue"', "BinaryValue": None},
                            },
                        },
                        {"MessageId": "2", "Body": ""},
                    ]
                }
            ).encode()
        ),
    ),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "delete_message": {"QueueUrl": "a", "ReceiptHandle": "b"},
    "send_message": {"QueueUrl": "a", "MessageBody": "b"},
    "get_queue_url": {"QueueName": "a"},
    "receive_message": {"QueueUrl": "a", "WaitTimeSeconds": 1},
}


@pytest.mark.parametrize("kind", SAME)
def test_answers_as_from_boto3(server: RawServer, connect: Connect, kind: str) -> None:
    """The same answer means the same: bytes, what is left out, and what is known of the answer itself."""
    operation, answer = SAME[kind]
    server.script = lambda asked: answer
    given = ARGUMENTS[operation]
    lean, boto3 = (connect(server, transport=name).call(operation, **given) for name in ("lean", "boto3"))
    assert lean == boto3


def failed(status: str, body: bytes, *headers: str) -> bytes:
    return whole(body, status=status, headers=headers)


GONE = b'{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no such queue"}'
ERRORS: dict[str, bytes] = {
    "typed": failed("400 Bad", GONE, "x-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender"),
    "typed, other code": failed("400 Bad", GONE),
    "typed, odd header": failed("400 Bad", GONE, "x-amzn-query-error: a;b;c"),
    "typed, empty header": failed("400 Bad", GONE, "x-amzn-query-error: ;Sender"),
    "request id": failed("400 Bad", GONE, "x-amzn-RequestId: 42"),
    "not modeled": failed("400 Bad", b'{"__type": "InvalidParameterValue", "Message": "not so"}'),
    "with a colon": failed("400 Bad", b'{"__type": "Throttling:http://x", "message": "slowly"}'),
    "throttled": failed("400 Bad", b'{"__type": "ThrottlingException", "message": "slowly"}'),
    "too many": failed("429 Too Many", b'{"message": "slowly"}'),
    "denied": failed("403 No", b'{"__type": "com.amazon.coral.service#AccessDeniedException", "Message": "no"}'),
    "expired": failed("403 No", b'{"__type": "com.amazon.coral.service#ExpiredTokenException", "message": "old"}'),
    "no body": failed("500 Oh", b""),
    "html": failed("503 Oh", b"<html><body>Sorry.</body></html>"),
    "html of ours": failed("404 Oh", b"<html><body>Sorry.</body></html>"),
    "words": failed("500 Oh", b"oh no"),
    "json": failed("500 Oh", b'{"__type": "InternalFailure", "message": "oh no"}'),
    "no type": failed("400 Bad", b'{"message": "hm"}'),
    "moved": failed("301 Away", b"{}", "location: elsewhere"),
    "retry quota": failed("503 Oh", b'{"__type": "ServiceUnavailable", "message": "later"}', "x-amz-retry-after: 10"),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_as_from_boto3(server: RawServer, connect: Connect, kind: str) -> None:
    """An error has the class, the words, the code and the facts that it has from boto3, and so is of our same kind."""
    server.script = lambda asked: ERRORS[kind]
    told: list[Any] = []
    for transport in ("boto3", "lean"):
        with pytest.raises(SQSError) as caught:
            connect(server, transport=transport).call("get_queue_url", QueueName="a")
        error: Any = caught.value.__cause__
        names = [base.__name__ for base in type(error).__mro__]
        told.append((type(caught.value), str(caught.value), caught.value.code, names, str(error), error.response))
        assert error.operation_name == "GetQueueUrl"
    assert told[0] == told[1]


BROKEN: dict[str, tuple[Reply, str]] = {
    "hung up": (Reply(b"", "end"), "ConnectionClosedError"),
    "reset": (Reply(b"", "reset"), "ConnectionClosedError"),
    "hung up in the head": (Reply(b"HTTP/1.1 200 OK\r\ncontent-", "end"), "ConnectionClosedError"),
    "body cut off": (Reply(whole(b'{"QueueUrl": "a"}')[:-3], "end"), "IncompleteReadError"),
    "not http": (Reply(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "HTTPClientError"),
    "not json": (Reply(whole(b"<html>welcome</html>")), "ResponseParserError"),
    "a list": (Reply(whole(b"[]")), "ResponseParserError"),
    "a number": (Reply(failed("500 Oh", b"7")), "ResponseParserError"),
    "not utf-8": (Reply(whole(b'{"QueueUrl": "\xff"}')), "ResponseParserError"),
    "not utf-8, and an error": (Reply(failed("500 Oh", b"\xff")), "ResponseParserError"),
    "too long": (Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"), "HTTPClientError"),
    "no length": (Reply(b"HTTP/1.1 200 OK\r\n\r\n{}", "end"), "HTTPClientError"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_answers(server: RawServer, connect: Connect, kind: str) -> None:
    """What is not a whole answer is an error, never an answer that says nothing; and the connection is not kept."""
    reply, name = BROKEN[kind]
    server.script = lambda asked: reply if len(server.asked) == 1 else whole()
    client = connect(server)
    with pytest.raises(Unreachable) as caught:
        client.call("get_queue_url", QueueName="a")
    assert type(caught.value.__cause__).__name__ == name
    client.call("get_queue_url", QueueName="a")
    kept = name == "ResponseParserError"  # what was read to its end was at least HTTP
    assert server.connections == (1 if kept else 2)


def test_bytes_that_are_not_base64(server: RawServer, connect: Connect) -> None:
    """What says that it is bytes, and is not, is an error."""
    attributes = {"a": {"DataType": "Binary", "BinaryValue": "A"}}
    server.script = lambda asked: whole(json.dumps({"Messages": [{"MessageAttributes": attributes}]}).encode())
    with pytest.raises(Unreachable, match="bytes that are not in base64"):
        connect(server).receive(Poll(), QueueUrl="a")


def test_nobody_there(connect: Connect) -> None:
    """A server that is not there is told with its address, as boto3 does it."""
    with RawServer() as server:
        pass
    for transport in ("lean", "boto3"):
        with pytest.raises(Unreachable, match=f'Could not connect to the endpoint URL: "{server.endpoint_url}/"$'):
            connect(server, transport=transport).call("get_queue_url", QueueName="a")


def test_a_server_that_does_not_answer(server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that does not come is waited for as long as it may take, and no longer; of a poll, its wait as well."""
    gate = threading.Event()
    server.script = lambda asked: Reply(whole(), gate=gate)
    monkeypatch.setattr("queue_consumer_sqs._aws.READ_TIMEOUT", 0.05)
    client = connect(server)
    try:
        for call in (
            lambda: client.call("get_queue_url", QueueName="a"),
            lambda: client.receive(Poll(), QueueUrl="a", WaitTimeSeconds=0),
        ):
            error = cause(call)
            assert type(error).__name__ == "ReadTimeoutError"
            assert str(error) == f'Read timeout on endpoint URL: "{server.endpoint_url}/"'
        waiting = Running(client.receive, Poll(), QueueUrl="a", WaitTimeSeconds=20)
        server.wait_until(lambda: len(server.asked) == 3)
        waiting.join(0.2)  # that it goes on waiting shows in nothing but time
        assert waiting.is_alive()
    finally:
        gate.set()
    assert "Messages" not in waiting.result()


# ---------------------------------------------------------------------- requests


def test_requests_as_from_boto3(server: RawServer, connect: Connect) -> None:
    """The service is asked the same, in the same words, and by the same headers; of the client's name it has more."""
    binary = {"DataType": "Binary", "BinaryValue": b"\0\1\xff"}
    text: Any = {"DataType": "Binary", "BinaryValue": "ä"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("list_queues", {}),
        ("send_message", {"QueueUrl": "a", "MessageBody": "ä\U0001f600\ud800", "MessageAttributes": {"b": binary}}),
        ("send_message", {"QueueUrl": "a", "MessageBody": "", "MessageAttributes": {"b": text}}),
        (
            "send_message_batch",
            {
                "QueueUrl": "a",
                "Entries": [
                    {"Id": "0", "MessageBody": "b"},
                    {"Id": "1", "MessageBody": "b", "MessageAttributes": {"b": binary, "c": {"DataType": "String"}}},
                ],
            },
        ),
        ("create_queue", {"QueueName": "a", "Attributes": {"VisibilityTimeout": "1"}, "tags": {"a": "b"}}),
        ("start_message_move_task", {"SourceArn": "a"}),
    ]
    given = {"access_key_id": "a", "secret_access_key": "b", "session_token": "c", "region": "eu-west-1"}
    lean, boto3 = (connect(server, transport=name, **given) for name in ("lean", "boto3"))
    for operation, arguments in calls:
        for client in (lean, boto3):
            client.call(operation, **arguments)
        ours, theirs = server.asked[-2:]
        assert ours.body == theirs.body
        for name in ("host", "content-type", "x-amz-target", "x-amzn-query-mode", "x-amz-security-token"):
            assert ours.header(name) == theirs.header(name)
        signed = [asked.header("authorization").partition(", Signature=")[0] for asked in (ours, theirs)]
        assert signed[0] == signed[1]
        assert "Boto3/" in ours.header("user-agent")
    assert connect(server).transport == "lean"


def test_what_is_given_stays_as_it_is(server: RawServer, connect: Connect) -> None:
    """Bytes in what the user gives are not replaced there."""
    attributes = {"b": {"DataType": "Binary", "BinaryValue": b"\1"}}
    connect(server).call("send_message", QueueUrl="a", MessageBody="b", MessageAttributes=attributes)
    assert attributes == {"b": {"DataType": "Binary", "BinaryValue": b"\1"}}
    sent = server.asked[-1].body["MessageAttributes"]["b"]["BinaryValue"]
    assert base64.b64decode(sent) == b"\1"


def test_arguments_are_checked_as_boto3_does(server: RawServer, connect: Connect) -> None:
    """Arguments of another kind are refused before they are sent, in boto3's words."""
    told: list[str] = []
    for transport in ("lean", "boto3"):
        with pytest.raises(InvalidRequest, match="Parameter validation failed") as caught:
            connect(server, transport=transport).call(
                "send_message", QueueUrl="a", MessageBody="b", DelaySeconds="c", Nonsense=True
            )
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert not server.asked


def test_calls_that_there_are_not(server: RawServer, connect: Connect) -> None:
    """What boto3 does not know is told as it does it."""
    codes: list[str] = []
    for transport in ("lean", "boto3"):
        with pytest.raises(SQSError) as caught:
            connect(server, transport=transport).call("send_pigeon")
        codes.append(caught.value.code)
    assert codes == ["AttributeError"] * 2


# ---------------------------------------------------------------------- retries


@pytest.mark.parametrize(
    ("status", "code", "again", "throttling"),
    [
        (500, "InternalFailure", True, False),
        (502, "", True, False),
        (501, "", False, False),
        (400, "RequestTimeout", True, False),
        (400, "ThrottlingException", True, True),
        (400, "RequestThrottled", True, True),
        (429, "", True, True),
        (400, "InvalidParameterValue", False, False),
        (403, "AccessDenied", False, False),
        (403, "ExpiredToken", False, False),
    ],
)
def test_what_is_tried_again(status: int, code: str, again: bool, throttling: bool) -> None:
    """What may be over in a moment is tried again, and what wants fewer calls is known as that."""
    assert (is_worth_another(status, code), is_throttling(status, code)) == (again, throttling)


def test_the_codes_are_those_of_botocore() -> None:
    """The same errors are tried again as botocore tries again in its standard mode."""
    standard: Any = importlib.import_module("botocore.retries.standard")
    ours = importlib.import_module("queue_consumer_sqs._retries")
    assert set(standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES) == ours.THROTTLING
    assert set(standard.TransientRetryableChecker._TRANSIENT_ERROR_CODES) == ours.TRANSIENT


@pytest.mark.parametrize("throttling", [False, True])
def test_pauses(throttling: bool) -> None:
    """Pauses grow from one attempt to the next, are drawn at random, and have a limit."""
    most = 1.0 if throttling else 0.05
    for attempt in range(1, 15):
        pauses = [Retries(100).pause(attempt, throttling) for _ in range(20)]
        drawn = [pause[0] for pause in pauses if pause is not None]
        assert len(set(drawn)) > 1
        assert all(0 <= pause <= min(20.0, most * 2 ** (attempt - 1)) for pause in drawn)
    assert Retries(3).pause(3, throttling) is None


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [("2000", 2, 2.05), ("60000", 5, 5.05), ("soon", 0, 0.05), ("-1", 0, 0.05), ("", 0, 0.05)],
)
def test_a_pause_that_is_asked_for(asked: str, least: float, most: float) -> None:
    """A service that says when it wants to be asked again is heard, up to five seconds."""
    pause = Retries(3).pause(1, False, asked)
    assert pause is not None
    assert least <= pause[0] <= most


def test_in_an_outage_few_calls_are_made_again() -> None:
    """What retries may cost is limited; successes bring it back, and never more than there was."""
    retries = Retries(3)
    for _ in range(2):
        made = 0
        while retries.pause(1, False) is not None:
            made += 1
        assert made == 500 // 14
        for _ in range(made):
            retries.succeeded(14)
        for _ in range(1000):
            retries.succeeded(0)


def test_attempts(server: RawServer, connect: Connect) -> None:
    """A call is made as often as the rules have it, each time with a signature of its own, until it succeeds."""
    server.script = lambda asked: whole() if len(server.asked) == 3 else failed("500 Oh", b"")
    answer = connect(server, retries=None).call("get_queue_url", QueueName="a")
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2
    assert [asked.header("amz-sdk-request") for asked in server.asked] == [f"attempt={n}; max=3" for n in (1, 2, 3)]
    assert len({asked.header("amz-sdk-invocation-id") for asked in server.asked}) == 1
    assert server.connections == 1


def test_attempts_are_used_up(server: RawServer, connect: Connect) -> None:
    """The last error is raised once all attempts have failed; polls are made once, whatever the rules."""
    server.script = lambda asked: Reply(b"", "end")
    client = connect(server, retries=None)
    with pytest.raises(Unreachable):
        client.call("get_queue_url", QueueName="a")
    assert len(server.asked) == 3
    with pytest.raises(Unreachable):
        client.receive(Poll(), QueueUrl="a")
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("answer", "calls"), [(failed("400 No", GONE), 1), (whole(b"nonsense"), 1), (Reply(whole(b"{}")[:-1], "end"), 1)]
)
def test_what_does_not_get_better(server: RawServer, connect: Connect, answer: Any, calls: int) -> None:
    """What the service has refused, or has done and said unintelligibly, is not tried again."""
    server.script = lambda asked: answer
    with pytest.raises(SQSError):
        connect(server, retries=None).call("get_queue_url", QueueName="a")
    assert len(server.asked) == calls


@pytest.mark.parametrize(
    ("variables", "retries", "attempts"),
    [
        ({}, None, 3),
        ({}, {"mode": "standard"}, 3),
        ({}, {"max_attempts": 3}, 4),
        ({"AWS_MAX_ATTEMPTS": "7"}, {"mode": "standard"}, 7),
        ({"AWS_MAX_ATTEMPTS": "7"}, {"total_max_attempts": 2}, 2),
        ({"AWS_MAX_ATTEMPTS": "7"}, None, 3),
        ({"AWS_RETRY_MODE": "legacy"}, {}, 3),
        ({"AWS_RETRY_MODE": "legacy", "AWS_MAX_ATTEMPTS": "2"}, {"mode": "legacy"}, 2),
    ],
)
def test_how_many_attempts(
    server: RawServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    retries: Any,
    attempts: int,
) -> None:
    """How often a call is made is for the arguments, the environment and botocore to say, as with boto3."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client = connect(server, retries=retries, session=None)
    client.call("list_queues")
    assert server.asked[0].header("amz-sdk-request") == f"attempt=1; max={attempts}"


# ---------------------------------------------------------------------- connections


def test_connections_are_kept(server: RawServer, connect: Connect) -> None:
    """Calls that follow one another, and polls too, go through one connection."""
    client = connect(server)
    for _ in range(5):
        client.call("list_queues")
        client.receive(Poll(), QueueUrl="a")
    assert server.connections == 1


def test_connections_that_end(server: RawServer, connect: Connect) -> None:
    """A connection of which the server says that it ends is not used again."""
    server.script = lambda asked: Reply(whole(headers=["connection: close"]), "end")
    client = connect(server)
    for _ in range(3):
        client.call("list_queues")
    assert server.connections == 3


@pytest.mark.parametrize("reset", [False, True])
def test_an_idle_connection_that_was_closed(server: RawServer, connect: Connect, reset: bool) -> None:
    """A connection that the server has closed meanwhile is replaced, and nobody notices, whoever may try only once."""
    client = connect(server)
    client.call("list_queues")
    idle = idle_one(client)
    server.hang_up(reset=reset)
    await_end(idle)
    client.call("list_queues")
    assert (server.connections, len(server.asked)) == (2, 2)


def idle_one(client: Client) -> Connection:
    """The connection that is kept."""
    transport: Any = client._transport
    connections: list[Connection] = transport._connections._idle
    (connection,) = connections
    return connection


def await_end(connection: Connection) -> None:
    """Wait until the news has come that the other side has closed it."""
    done = threading.Event()
    while connection.is_usable:
        assert not done.wait(0.001)


def test_an_answer_that_nobody_asked_for(server: RawServer, connect: Connect) -> None:
    """What comes on an idle connection is never taken for the answer to the next call."""
    client = connect(server)
    client.call("list_queues")
    idle = idle_one(client)
    server.say(whole(b'{"QueueUrl": "of another"}'))
    await_end(idle)
    server.script = lambda asked: whole(b'{"QueueUrl": "right"}')
    assert client.call("get_queue_url", QueueName="a")["QueueUrl"] == "right"
    assert server.connections == 2


def test_a_request_that_did_not_go_out(server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a kept connection fails while the request is written, the service cannot have it, and it goes once more."""
    client = connect(server)
    client.call("list_queues")
    idle = idle_one(client)
    server.hang_up(reset=True)
    await_end(idle)
    monkeypatch.setattr(Connection, "is_usable", True)  # it was a moment ago
    client.call("list_queues")
    assert (server.connections, len(server.asked)) == (2, 2)


def test_a_request_that_may_have_gone_out(server: RawServer, connect: Connect) -> None:
    """Where a kept connection ends after the request was written, it may have been heard, and does not go once more."""
    client = connect(server)
    client.call("list_queues")
    server.script = lambda asked: Reply(b"", "end")
    with pytest.raises(Unreachable):
        client.call("send_message", QueueUrl="a", MessageBody="b")
    assert len(server.asked) == 2


def test_old_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that was used last is used first; what was idle for too long is closed, and what is too much."""
    now = [100.0]
    monkeypatch.setattr("queue_consumer_sqs._connections.time.monotonic", lambda: now[0])
    monkeypatch.setattr("queue_consumer_sqs._connections.IDLE", 3)
    pool = Connections()
    pairs = [socket.socketpair() for _ in range(5)]
    connections: list[Connection] = []
    for ours, _ in pairs:
        connection = Connection()
        connection.sock = ours
        connections.append(connection)
    for connection in connections[:4]:
        pool.give_back(connection)
        now[0] += 1
    assert [connection.sock is None for connection in connections] == [False, False, False, True, False]
    assert pool.take() == (connections[2], True)
    now[0] += 28.5
    pool.give_back(connections[4])
    assert connections[0].sock is None
    now[0] += 29
    assert pool.take() == (connections[4], True)
    assert connections[1].sock is None
    pool.give_back(connections[4])
    now[0] += 31
    fresh, used = pool.take()
    assert (fresh.sock, used) == (None, False)
    assert connections[4].sock is None
    pool.close()
    pool.give_back(connections[2])
    assert connections[2].sock is None
    for _, theirs in pairs:
        theirs.close()


def test_what_is_forgotten_is_closed(server: RawServer, connect: Connect) -> None:
    """Connections of what nobody has any more are closed, and without a warning."""
    client = Client(Access(endpoint_url=server.endpoint_url, transport="lean"))
    client.call("list_queues")
    idle = idle_one(client)
    del client
    gc.collect()
    assert idle.sock is None


def test_closing(server: RawServer, connect: Connect) -> None:
    """What is closed has no connection any more, once its calls are over; if it is called, it opens another."""
    gate = threading.Event()
    client = connect(server)
    client.call("list_queues")
    server.script = lambda asked: Reply(whole(), gate=gate)
    poll = Running(client.receive, Poll(), QueueUrl="a")
    server.wait_until(lambda: len(server.asked) == 2)
    transport: Any = client._transport
    client.close()
    gate.set()
    poll.result()
    assert not transport._connections._idle
    client.call("list_queues")
    assert server.connections == 2


def test_many_threads(server: RawServer, connect: Connect) -> None:
    """Each thread has the answers to its own questions, and there are no more connections than threads."""

    def echo(asked: Asked) -> bytes:
        return whole(json.dumps({"QueueUrl": asked.body["QueueName"]}).encode())

    server.script = echo
    client = connect(server)

    def ask(number: int) -> None:
        for count in range(40):
            name = f"{number}-{count}"
            assert client.call("get_queue_url", QueueName=name)["QueueUrl"] == name

    for thread in [Running(ask, number) for number in range(12)]:
        thread.result()
    assert server.connections <= 12
    assert client.meter.stats()["calls"] == {"get_queue_url": 480}


def test_calls_do_not_wait_for_polls(server: RawServer, connect: Connect) -> None:
    """However many polls wait, a call has a connection at once."""
    gate = threading.Event()
    server.script = lambda asked: Reply(whole(), gate=gate if "QueueUrl" in asked.body else None)
    client = connect(server)
    polls = [Running(client.receive, Poll(), QueueUrl="a", WaitTimeSeconds=20) for _ in range(60)]
    server.wait_until(lambda: len(server.asked) == 60)
    client.call("list_queues")
    gate.set()
    for poll in polls:
        poll.result()


def test_a_fork_has_connections_of_its_own(server: RawServer, connect: Connect) -> None:
    """A forked child never speaks on a connection of its parent, which is good for the parent still."""
    client = connect(server)
    client.call("list_queues")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads, and none of them has a lock of ours
        child = os.fork()
    if not child:
        try:
            client.call("list_queues")
            client.close()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    client.call("list_queues")
    assert [asked.connection for asked in server.asked] == [1, 2, 1]


# ---------------------------------------------------------------------- polls that are cut


def test_cut_while_it_waits(server: RawServer, connect: Connect) -> None:
    """A poll that waits for its answer is over at once, and its connection is gone; the next one has another."""
    gate = threading.Event()
    server.script = lambda asked: Reply(whole(), gate=gate) if len(server.asked) == 1 else whole()
    client = connect(server)
    poll = Poll()
    waiting = Running(client.receive, poll, QueueUrl="a", WaitTimeSeconds=20)
    server.wait_until(lambda: server.asked)
    poll.cut()
    with pytest.raises(Cut):
        waiting.result()
    gate.set()
    client.receive(Poll(), QueueUrl="a")
    assert server.connections == 2


def test_cut_before_it_begins(server: RawServer, connect: Connect) -> None:
    """A poll that was cut before it began asks for nothing."""
    poll = Poll()
    poll.cut()
    with pytest.raises(Cut):
        connect(server).receive(poll, QueueUrl="a")
    assert not server.asked


def test_cut_while_it_connects(connect: Connect) -> None:
    """A poll whose server does not even take up the connection is over at once, too."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        fill = [socket.socket() for _ in range(3)]  # so many wait to be taken up that it hears no other
        for line in fill:
            line.setblocking(False)
            line.connect_ex(silent.getsockname())
        poll = Poll()
        client = Client(
            Access(endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}", transport="lean", retries=ONCE)
        )
        assert client.transport == "lean"
        waiting = Running(client.receive, poll, QueueUrl="a", WaitTimeSeconds=20)
        until_connecting(poll)
        poll.cut()
        with pytest.raises(Cut):
            waiting.result()
        client.close()
        for line in fill:
            line.close()


def until_connecting(poll: Poll) -> None:
    """Wait until the poll has a socket; whether that has begun to connect cannot be seen."""
    pause = threading.Event()
    while getattr(poll._connection, "sock", None) is None:
        pause.wait(0.001)
    pause.wait(0.05)


def test_cut_while_it_sees_who_is_there(connect: Connect, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll whose server has not said who it is is over at once, and has sent nothing that could be read."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(root / "tests" / "support" / "loopback.pem"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        client = Client(Access(endpoint_url=f"https://127.0.0.1:{silent.getsockname()[1]}", transport="lean"))
        poll = Poll()
        waiting = Running(client.receive, poll, QueueUrl="a", WaitTimeSeconds=20)
        line, _ = silent.accept()
        line.settimeout(PATIENCE)
        said = line.recv(65536)
        poll.cut()
        with pytest.raises(Cut):
            waiting.result()
        while data := line.recv(65536):
            said += data
        assert said[:1] == b"\x16"  # a handshake
        assert b"POST" not in said
        line.close()
        client.close()


def test_cut_too_late(server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has arrived is not thrown away by a cut that comes between the answer and its reader."""
    server.script = lambda asked: whole(b'{"Messages": [{"MessageId": "1"}]}')
    poll = Poll()
    plain = Connections.give_back

    def cut_first(pool: Connections, connection: Connection) -> None:
        poll.cut()
        plain(pool, connection)

    monkeypatch.setattr(Connections, "give_back", cut_first)
    client = connect(server)
    assert client.receive(poll, QueueUrl="a")["Messages"] == [{"MessageId": "1"}]
    client.receive(Poll(), QueueUrl="a")
    assert server.connections == 2


def test_cut_when_another_has_the_connection(server: RawServer, connect: Connect) -> None:
    """A cut that comes after its poll is over does not hit the call that has the connection by then."""
    client = connect(server)
    poll = Poll()
    client.receive(poll, QueueUrl="a")
    gate = threading.Event()
    server.script = lambda asked: Reply(whole(), gate=gate)
    call = Running(client.call, "list_queues")
    server.wait_until(lambda: len(server.asked) == 2)
    poll.cut()
    gate.set()
    call.result()
    assert server.connections == 1


def test_a_cut_does_not_end_the_encryption(root: Path) -> None:
    """Whoever is about to write on a connection that is cut writes nothing that could be read."""
    ours, theirs = socket.socketpair()
    context = ssl.create_default_context(cafile=str(root / "tests" / "support" / "loopback.pem"))
    connection = Connection()
    connection.sock = secured = context.wrap_socket(
        ours, server_hostname="127.0.0.1", do_handshake_on_connect=False, suppress_ragged_eofs=False
    )
    poll = Poll()
    poll.begins(connection)
    poll.cut()
    with pytest.raises(OSError):
        secured.send(b"secret")
    assert secured._sslobj is not None  # type: ignore[attr-defined]
    assert b"secret" not in theirs.recv(65536)
    secured.close()
    theirs.close()


# ---------------------------------------------------------------------- in whose name


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "https://sqs.us-east-1.amazonaws.com/"),
        ({"AWS_DEFAULT_REGION": "cn-north-1"}, "https://sqs.cn-north-1.amazonaws.com.cn/"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "https://sqs-fips.us-east-1.amazonaws.com/"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://sqs.us-east-1.api.aws/"),
        ({"AWS_ENDPOINT_URL": "http://localhost:4566"}, "http://localhost:4566/"),
        ({"AWS_ENDPOINT_URL_SQS": "http://localhost:4566/sqs"}, "http://localhost:4566/sqs"),
    ],
)
def test_endpoints(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str) -> None:
    """Where requests go to is for the environment to say, as with boto3; nothing is sent to find it out."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client = Client(Access(transport="lean"))
    assert client.transport == "lean"
    lean: Any = client._transport
    assert lean._borrowed.url == url
    assert lean._borrowed.region == variables.get("AWS_DEFAULT_REGION", "us-east-1")
    client.close()


def test_credentials_are_renewed(server: RawServer, connect: Connect) -> None:
    """Credentials that run out are renewed before they do, and the next request is signed with the new ones."""
    credentials: Any = importlib.import_module("botocore.credentials")
    now, renewals = [datetime(2026, 1, 1, tzinfo=UTC)], [0]

    def renew() -> dict[str, str]:
        renewals[0] += 1
        until = now[0] + timedelta(hours=1)
        key = f"key-{renewals[0]}"
        return {"access_key": key, "secret_key": "s", "token": f"of-{key}", "expiry_time": until.isoformat()}

    theirs = importlib.import_module("botocore.session").Session()
    theirs._credentials = credentials.RefreshableCredentials(
        **{name: value for name, value in renew().items() if name != "expiry_time"},
        expiry_time=now[0] + timedelta(hours=1),
        refresh_using=renew,
        method="test",
        time_fetcher=lambda: now[0],
    )
    client = connect(server, session=importlib.import_module("boto3").session.Session(botocore_session=theirs))
    for _ in range(3):
        for _ in range(2):
            client.call("list_queues")
        now[0] += timedelta(minutes=50)
    signers = [asked.header("authorization").partition("/")[0].partition("=")[2] for asked in server.asked]
    assert signers == ["key-1", "key-1", "key-2", "key-2", "key-3", "key-3"]
    assert [asked.header("x-amz-security-token") for asked in server.asked] == [f"of-{signer}" for signer in signers]
    assert server.connections == 1


def test_credentials_that_are_refused(server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where credentials were refused, others are looked for."""
    client = connect(server, session=None)
    client.call("list_queues")
    server.script = lambda asked: ERRORS["expired"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    with pytest.raises(BadCredentials):
        client.call("list_queues")
    server.script = lambda asked: whole()
    client.call("list_queues")
    assert [asked.header("authorization").partition("/")[0][-8:] for asked in server.asked] == [
        "ial=test",
        "ial=test",
        "=another",
    ]


@pytest.mark.parametrize("value", ["SECRET\r\nX-Evil: yes", "SECRET\nb", "SECRET\u200b", "SECRETä"])
@pytest.mark.parametrize("name", ["access_key_id", "session_token"])
def test_credentials_are_one_line_of_ascii(server: RawServer, connect: Connect, name: str, value: str) -> None:
    """What would be more than a header is refused, and neither it nor the rest of the request is shown."""
    given = {"access_key_id": "a", "secret_access_key": "b", "session_token": "c", name: value}
    client = connect(server, **given)
    with pytest.raises(BadCredentials, match="must be of printable ASCII characters") as caught:
        client.call("list_queues")
    assert not server.asked
    assert "SECRET" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize("path", ["/a b", "/ä", "/日本"])
def test_odd_paths_are_left_to_boto3(session: Any, caplog: pytest.LogCaptureFixture, path: str) -> None:
    """A path that would have to be rewritten to stand in a request."""
    client = Client(Access(endpoint_url=f"http://127.0.0.1:1{path}", session=session, transport="lean"))
    assert client.transport == "boto3"
    client.close()


def test_a_password_in_an_endpoint_is_not_logged(session: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An endpoint that has one is left to boto3, without showing it."""
    client = Client(Access(endpoint_url="http://user:SECRET@127.0.0.1:1", session=session, transport="lean"))
    assert client.transport == "boto3"
    assert "an endpoint with a query, a name or a password" in caplog.text
    assert "SECRET" not in caplog.text
    client.close()


def test_an_answer_that_ends_with_its_connection(server: RawServer, connect: Connect) -> None:
    """It is read to its end, and the call is made once."""
    answer = Reply(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"QueueUrls": ["u"]}', "end")
    server.script = lambda asked: answer
    client = connect(server, retries=None)
    assert client.call("list_queues")["QueueUrls"] == ["u"]
    assert len(server.asked) == 1


# ---------------------------------------------------------------------- who is there


def tls(root: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(root / "tests" / "support" / "loopback.pem")
    return context


def test_https(root: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS works with a server whose certificate the bundle knows; connections are kept, and polls are cut."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(root / "tests" / "support" / "loopback.pem"))
    gate = threading.Event()
    with RawServer(tls=tls(root)) as server:
        client = connect(server, session=None)
        for _ in range(3):
            client.call("list_queues")
        assert (client.transport, server.connections) == ("lean", 1)
        server.script = lambda asked: Reply(whole(), gate=gate)
        poll = Poll()
        waiting = Running(client.receive, poll, QueueUrl="a", WaitTimeSeconds=20)
        server.wait_until(lambda: len(server.asked) == 4)
        poll.cut()
        with pytest.raises(Cut):
            waiting.result()
        gate.set()


@pytest.mark.parametrize("why", ["not trusted", "another host"])
def test_https_with_the_wrong_server(root: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """A server whose certificate nobody vouches for, or that is another's, is sent nothing; so it is with boto3."""
    if why == "another host":
        monkeypatch.setenv("AWS_CA_BUNDLE", str(root / "tests" / "support" / "loopback.pem"))
    else:
        monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    with RawServer(tls=tls(root), host="localhost" if why == "another host" else "") as server:
        for transport in ("lean", "boto3"):
            client = connect(server, session=None, transport=transport)
            with pytest.raises(Unreachable) as caught:
                client.call("list_queues")
            assert type(caught.value.__cause__).__name__ == "SSLError"
            assert client.transport == transport
        assert not server.asked


def test_a_bundle_that_is_not_there(connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Certificates that cannot be read are a matter for boto3, which says what is wrong with them."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))
    with RawServer(tls=tls(Path(__file__).parents[3])) as server:
        with pytest.raises(SQSError):
            connect(server, session=None).call("list_queues")
        assert not server.asked


# ---------------------------------------------------------------------- what it does not do


def default_config(**options: Any) -> Any:
    """A session that makes all its clients like this."""
    theirs = importlib.import_module("botocore.session").Session()
    theirs.set_default_client_config(importlib.import_module("botocore.config").Config(**options))
    return importlib.import_module("boto3").session.Session(botocore_session=theirs)


def with_handler(event: str, handler: Callable[..., Any]) -> Any:
    """A session with a handler of its own."""
    session: Any = importlib.import_module("boto3").session.Session()
    session.events.register(event, handler)
    return session


def add_header(request: Any, **_: Any) -> None:
    request.headers["X-Of-Theirs"] = "yes"


def answer_instead(request: Any, **_: Any) -> Any:
    class Raw:
        def stream(self) -> Iterator[bytes]:
            yield b'{"QueueUrls": ["mocked"]}'

    return importlib.import_module("botocore.awsrequest").AWSResponse(request.url, 200, {}, Raw())


unsigned: Any = importlib.import_module("botocore").UNSIGNED
UNSUPPORTED: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "proxy": (lambda: default_config(proxies={"http": "http://127.0.0.1:1"}), {}, "a proxy, which the environment"),
    "client certificate": (lambda: default_config(client_cert="cert.pem"), {}, "a certificate of the client"),
    "adaptive": (lambda: None, {"retries": {"mode": "adaptive"}}, "retries in adaptive mode"),
    "unsigned": (lambda: default_config(signature_version=unsigned), {}, "signatures of another kind than version 4"),
    "header": (lambda: with_handler("before-send.sqs", add_header), {}, r"requests as botocore .* \(x-of-theirs\)"),
    "mock": (
        lambda: with_handler("before-send.sqs", answer_instead),
        {},
        "botocore with something else in the",
    ),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_what_is_not_supported(
    server: RawServer, connect: Connect, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """What it cannot do as boto3 does it, is said in one line, and boto3 is used."""
    session, options, sentence = UNSUPPORTED[kind]
    client = connect(server, session=session(), **{"retries": None, **options})
    with caplog.at_level(logging.WARNING):
        assert [client.transport, client.transport] == ["boto3", "boto3"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == "queue_consumer.sqs"
    said = record.getMessage()
    assert re.fullmatch(rf"the lean transport does not support {sentence}.*; boto3 is used instead", said)


def test_a_client_that_is_given(server: RawServer, session: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A client that the user gives is used, and it is said that it is not lean."""
    given = session.client("sqs", endpoint_url=server.endpoint_url)
    with caplog.at_level(logging.WARNING):
        client = Client(Access(client=given, transport="lean"))
        assert client.transport == "boto3"
    assert [record.getMessage() for record in caplog.records] == [
        "the lean transport does not support a client that is given; boto3 is used instead"
    ]
    given.close()


def test_a_session_of_another_kind(caplog: pytest.LogCaptureFixture) -> None:
    """Where a session makes other clients than boto3's, these carry the calls."""
    memory = MemorySQS().client()

    class Session:
        def client(self, *args: object, **options: object) -> Any:
            return memory

    url = memory.create_queue(QueueName="orders")["QueueUrl"]
    with caplog.at_level(logging.WARNING):
        client = Client(Access(session=Session(), transport="lean"))
        assert client.call("get_queue_url", QueueName="orders")["QueueUrl"] == url
    assert [record.getMessage() for record in caplog.records] == [
        "the lean transport does not support a session that makes other clients than boto3's; boto3 is used instead"
    ]


@pytest.mark.parametrize(
    ("variables", "transport"),
    [
        ({"HTTP_PROXY": "http://127.0.0.1:1"}, "boto3"),
        ({"http_proxy": "http://127.0.0.1:1"}, "boto3"),
        ({"HTTPS_PROXY": "http://127.0.0.1:1"}, "lean"),
        ({"http_proxy": "http://127.0.0.1:1", "no_proxy": "127.0.0.1"}, "lean"),
        ({"http_proxy": "http://127.0.0.1:1", "no_proxy": "*"}, "lean"),
        ({"http_proxy": "http://127.0.0.1:1", "no_proxy": "example.com"}, "boto3"),
        ({"AWS_RETRY_MODE": "adaptive"}, "boto3"),
    ],
)
def test_variables(
    server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], transport: str
) -> None:
    """A proxy of the environment is minded where it applies to the endpoint, and only there."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert connect(server, session=None, retries={"total_max_attempts": 1}).transport == transport


def test_the_choice() -> None:
    """There are two transports, and the choice of any other is refused."""
    wrong: Any = "carrier pigeon"
    with pytest.raises(ValueError, match=r"^transport must be 'boto3' or 'lean'; got 'carrier pigeon'$"):
        SQSQueue("orders", transport=wrong)


def test_throttled_is_of_its_kind(server: RawServer, connect: Connect) -> None:
    """Errors are translated as those of boto3 are."""
    server.script = lambda asked: ERRORS["throttled"]
    with pytest.raises(Throttled):
        connect(server).call("list_queues")
