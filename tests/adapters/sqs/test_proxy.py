"""The proxy is the judge of what the queue does, so it is judged first: what it hands on, writes down, and breaks."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from support.proxied import Proxied, Running
from support.sqs_calls import PATIENCE
from support.sqs_faults import (
    BAD_GATEWAY,
    CUT,
    DENIED,
    DONE_BUT_500,
    EXPIRED,
    GONE,
    INTERNAL,
    LOST,
    THROTTLED,
    TRUNCATED,
    UNAVAILABLE,
    Chaos,
    Fault,
    Gate,
    failing,
)
from support.sqs_http import Reader
from support.sqs_proxy import Proxy

pytest_plugins = ["support.proxied_fixtures"]

SIGNED = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Date": "20260101T000000Z",
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=0",
}


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]


class Caller:
    """One connection to a proxy, with calls as plain as can be, which are not tried again."""

    def __init__(self, proxy: Proxy) -> None:
        host, _, port = proxy.endpoint_url.removeprefix("http://").partition(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)

    def __call__(self, operation: str, **arguments: Any) -> Answer:
        headers = {**SIGNED, "X-Amz-Target": f"AmazonSQS.{operation}"}
        self.connection.request("POST", "/", json.dumps(arguments), headers)
        answer = self.connection.getresponse()
        body = answer.read()
        told_as_json = "json" in (answer.headers["content-type"] or "")
        return Answer(answer.status, json.loads(body or b"{}") if told_as_json else {"": body.decode()})

    def hang_up(self) -> None:
        self.connection.close()


@pytest.fixture
def caller(proxied: Proxied) -> Iterator[Caller]:
    caller = Caller(proxied.proxy)
    yield caller
    caller.hang_up()


# ---------------------------------------------------------------------- what it hands on


def test_calls_pass_on_one_connection(proxied: Proxied, caller: Caller) -> None:
    """What is asked is answered by the server, call after call on the same connection."""
    url = proxied.make()
    assert caller("SendMessage", QueueUrl=url, MessageBody="text").status == 200
    (message,) = caller("ReceiveMessage", QueueUrl=url).body["Messages"]
    assert message["Body"] == "text"
    assert caller("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]).status == 200
    assert {call.connection for call in proxied.proxy.calls()} == {1}
    assert proxied.left_in(url) == 0


def test_errors_of_the_server_pass(caller: Caller) -> None:
    """An error is handed on as the server tells it."""
    answer = caller("GetQueueUrl", QueueName="there-is-none")
    assert answer.status == 400
    assert "QueueDoesNotExist" in answer.body["__type"] or "NonExistentQueue" in answer.body["__type"]


def test_large_messages_pass(proxied: Proxied, caller: Caller) -> None:
    """A message of a mebibyte goes both ways unharmed."""
    url, body = proxied.make(), random.Random(1).randbytes(500_000).hex()
    assert caller("SendMessage", QueueUrl=url, MessageBody=body).status == 200
    (message,) = caller("ReceiveMessage", QueueUrl=url).body["Messages"]
    assert message["Body"] == body


def test_connections_do_not_wait_for_each_other(proxied: Proxied) -> None:
    """While one call waits for the server, others are answered."""
    url = proxied.make()
    with ExitStack() as opened:
        callers = [Caller(proxied.proxy) for _ in range(20)]
        for caller in callers:
            opened.callback(caller.hang_up)
        *waiting, last = callers
        polls = [
            Running(caller, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20, MaxNumberOfMessages=1)
            for caller in waiting
        ]
        proxied.proxy.wait_for("ReceiveMessage", len(waiting), where=lambda call: call.sent)
        assert last("ListQueues").status == 200
        for number in range(len(waiting)):
            assert last("SendMessage", QueueUrl=url, MessageBody=str(number)).status == 200
        bodies = [message["Body"] for poll in polls for message in poll.result().body.get("Messages", [])]
    assert len(bodies) == len(set(bodies))


def test_server_that_is_not_there() -> None:
    """Who cannot be connected to the server is cut off, and that is in the log."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with Proxy(f"http://127.0.0.1:{taken.getsockname()[1]}") as proxy:
            caller = Caller(proxy)
            with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
                caller("ListQueues")
            (call,) = proxy.calls()
            assert (call.status, call.sent, call.delivered) == (0, 0, False)
            caller.hang_up()


@pytest.mark.parametrize("sizes", [(1,), (7,), (64, 3), (10_000,)])
def test_messages_are_cut_out_of_any_pieces(sizes: tuple[int, ...]) -> None:
    """However the bytes arrive, the same messages come out: with a length, in chunks, and without a body."""
    chunks = b'5\r\n{"a":\r\n4;why=not\r\n" b"\r\n1\r\n}\r\n0\r\n\r\n'
    stream = (
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a": 1 }'
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: y\r\n\r\n" + chunks + b"HTTP/1.1 204 No Content\r\n\r\n"
    )
    reader, found, at, turn = Reader(), list[tuple[bytes, bytes]](), 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
        while (message := reader.take()) is not None:
            found.append(message)
    assert [body for _, body in found] == [b'{"a": 1 }', b'{"a":" b"}', b""]
    assert found[1][0] == b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nx: y\r\n\r\n"


# ---------------------------------------------------------------------- what it writes down


def test_log_has_who_asked_what_and_what_came_of_it(proxied: Proxied, caller: Caller) -> None:
    """Of each call: operation, arguments, queue, messages, receipt handles, status, and its moments in order."""
    url = proxied.make()
    sent = caller("SendMessage", QueueUrl=url, MessageBody="text").body["MessageId"]
    (message,) = caller("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=3).body["Messages"]
    handle = message["ReceiptHandle"]
    caller("DeleteMessageBatch", QueueUrl=url, Entries=[{"Id": "0", "ReceiptHandle": handle}])
    send, receive, delete = proxied.proxy.calls()
    assert [call.operation for call in (send, receive, delete)] == [
        "SendMessage",
        "ReceiveMessage",
        "DeleteMessageBatch",
    ]
    assert {call.queue for call in (send, receive, delete)} == {url.rpartition("/")[2]}
    assert (send.ids, receive.ids, receive.bodies) == ([sent], [sent], ["text"])
    assert receive.arguments["MaxNumberOfMessages"] == 3
    assert delete.handles == delete.done == [handle]
    assert proxied.proxy.handles() == {handle: sent}
    for call in (send, receive, delete):
        assert 0 < call.began <= call.sent <= call.answered <= call.ended
        assert (call.status, call.delivered, call.hung_up) == (200, True, 0)


def test_what_was_not_done_is_not_done_in_the_log(proxied: Proxied, caller: Caller) -> None:
    """Of a batch, those entries are done that the server says so of; of a call that failed, none."""
    url = proxied.make()
    proxied.send(url, "a", "b")
    messages = caller("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10).body["Messages"]
    handles = [message["ReceiptHandle"] for message in messages]
    entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles)]
    proxied.proxy.plan("DeleteMessageBatch", failing(lambda entry: entry["Id"] == "1"), INTERNAL)
    caller("DeleteMessageBatch", QueueUrl=url, Entries=entries)
    caller("DeleteMessageBatch", QueueUrl=url, Entries=entries[1:])
    caller("DeleteMessage", QueueUrl=url, ReceiptHandle="nobody's")
    assert [call.done for call in proxied.proxy.calls("DeleteMessageBatch")] == [handles[:1], []]


def test_a_client_that_hangs_up_is_noticed(proxied: Proxied, caller: Caller) -> None:
    """Whoever hangs up in the middle of a call is found out at once, and the server's answer goes to nobody."""
    url = proxied.make()
    poll = Running(caller, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
    (call,) = proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.sent)
    assert not call.hung_up
    assert caller.connection.sock is not None
    caller.connection.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        poll.result()
    proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.hung_up)
    proxied.send(url, "to nobody")
    proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.ended)
    assert call.bodies == ["to nobody"]
    assert (call.delivered, call.status) == (False, 0)


def test_a_server_that_is_told_gives_the_message_to_another(http_endpoint: str, proxied: Proxied) -> None:
    """With `tells`, the server hears of it when a client hangs up."""
    with Proxy(http_endpoint, tells=True) as proxy:
        caller = Caller(proxy)
        poll = Running(caller, "ReceiveMessage", QueueUrl=proxied.make(), WaitTimeSeconds=20)
        proxy.wait_for("ReceiveMessage", where=lambda call: call.sent)
        assert caller.connection.sock is not None
        caller.connection.sock.shutdown(socket.SHUT_RDWR)
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            poll.result()
        (call,) = proxy.wait_for("ReceiveMessage", where=lambda call: call.ended)
        assert not call.answered
        caller.hang_up()


def test_waiting_for_what_does_not_come(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits in vain is told what there was instead."""
    monkeypatch.setattr("support.sqs_calls.PATIENCE", 0.01)
    with pytest.raises(AssertionError, match=r"waited for 1 ReceiveMessage, and there were 0; of all there were none"):
        proxied.proxy.wait_for("ReceiveMessage")


# ---------------------------------------------------------------------- what it breaks


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (INTERNAL, 500, "InternalFailure"),
        (UNAVAILABLE, 503, "ServiceUnavailable"),
        (THROTTLED, 400, "ThrottlingException"),
        (EXPIRED, 403, "ExpiredToken"),
        (DENIED, 403, "AccessDenied"),
        (GONE, 400, "AWS.SimpleQueueService.NonExistentQueue"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_answers_instead_of_the_server(proxied: Proxied, caller: Caller, fault: Fault, status: int, code: str) -> None:
    """An error of the service is one for boto3 too, by its code; the server does not hear of the call."""
    url = proxied.make()
    proxied.proxy.plan("SendMessage", fault)
    assert caller("SendMessage", QueueUrl=url, MessageBody="text").status == status
    (call,) = proxied.proxy.calls()
    assert (call.sent, call.delivered, call.status, call.fault) == (0, True, status, fault)
    assert proxied.left_in(url) == 0

    proxied.proxy.always(fault, "SendMessage")
    client = proxied.session.client("sqs", endpoint_url=proxied.proxy.endpoint_url)
    with pytest.raises(client.exceptions.ClientError) as caught:
        client.send_message(QueueUrl=url, MessageBody="text")
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"] == fault.name
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    client.close()


def test_keys_that_are_refused(proxied: Proxied, caller: Caller) -> None:
    """All calls that are signed with a key that has expired are refused, and those with others are not."""
    proxied.proxy.refuse("tes", EXPIRED)
    assert caller("ListQueues").status == 200
    proxied.proxy.refuse("test", EXPIRED)
    assert caller("ListQueues").status == 403
    proxied.proxy.plan("ListQueues", Fault())
    assert caller("ListQueues").status == 200
    assert [call.key for call in proxied.proxy.calls("ListQueues")] == ["test"] * 3
    assert proxied.client.list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_an_answer_of_something_on_the_way(proxied: Proxied, caller: Caller) -> None:
    """A gateway that has no answer says so in HTML."""
    proxied.proxy.plan("ListQueues", BAD_GATEWAY)
    answer = caller("ListQueues")
    assert answer.status == 502
    assert "<html>" in answer.body[""]


@pytest.mark.parametrize(
    ("fault", "done"),
    [(CUT, False), (LOST, True), (TRUNCATED, True)],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_cut(proxied: Proxied, caller: Caller, fault: Fault, done: bool) -> None:
    """A connection is cut before the server has heard of the call, or after it is done, in the answer or before it."""
    url = proxied.make()
    proxied.proxy.plan("SendMessage", fault)
    with pytest.raises((http.client.RemoteDisconnected, http.client.IncompleteRead, ConnectionError)) as caught:
        caller("SendMessage", QueueUrl=url, MessageBody="text")
    assert (caught.type is http.client.IncompleteRead) == (fault is TRUNCATED)
    (call,) = proxied.proxy.wait_for("SendMessage", where=lambda call: call.ended)
    assert (call.delivered, call.status, call.hung_up) == (False, 0, 0)
    assert bool(call.sent) == bool(call.ids) == done
    assert proxied.left_in(url) == done
    caller.hang_up()
    assert caller("SendMessage", QueueUrl=url, MessageBody="again").status == 200


def test_done_all_the_same(proxied: Proxied, caller: Caller) -> None:
    """A failure may be told of what was done, and the log knows that it was."""
    url = proxied.make()
    proxied.proxy.plan("SendMessage", DONE_BUT_500)
    assert caller("SendMessage", QueueUrl=url, MessageBody="text").status == 500
    (call,) = proxied.proxy.calls()
    assert call.ids
    assert call.status == 500
    assert proxied.left_in(url) == 1


def test_some_entries_fail(proxied: Proxied, caller: Caller) -> None:
    """Of a batch those entries fail that are told to; the server does the others, and does not hear of these."""
    url = proxied.make()
    entries = [{"Id": str(number), "MessageBody": f"m{number}"} for number in range(3)]
    proxied.proxy.plan(
        "SendMessageBatch",
        failing(lambda entry: entry["MessageBody"] == "m1", "InternalError"),
        failing(lambda entry: True, "InvalidMessageContents", sender_fault=True),
    )
    some = caller("SendMessageBatch", QueueUrl=url, Entries=entries).body
    assert {entry["Id"] for entry in some["Successful"]} == {"0", "2"}
    assert [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in some["Failed"]] == [
        ("1", "InternalError", False)
    ]
    none = caller("SendMessageBatch", QueueUrl=url, Entries=entries).body
    assert "Successful" not in none
    assert [entry["SenderFault"] for entry in none["Failed"]] == [True] * 3
    assert sorted(proxied.seen(url)) == ["m0", "m2"]
    assert [len(call.ids) for call in proxied.proxy.calls()] == [2, 0]


def test_gates(proxied: Proxied, caller: Caller) -> None:
    """A call is held up before the server hears of it, or its answer before the client does, until the gate opens."""
    url = proxied.make()
    before, after = Gate(), Gate()
    proxied.proxy.plan("SendMessage", Fault(gate=before, gate_after=after))
    send = Running(caller, "SendMessage", QueueUrl=url, MessageBody="text")
    assert before.reached.wait(PATIENCE)
    assert proxied.left_in(url) == 0
    before.open()
    assert after.reached.wait(PATIENCE)
    assert proxied.left_in(url) == 1
    assert send.is_alive()
    after.open()
    assert send.result().status == 200
    proxied.proxy.plan("SendMessage", Fault(gate=before))
    assert caller("SendMessage", QueueUrl=url, MessageBody="passes").status == 200


def test_delays(proxied: Proxied, caller: Caller) -> None:
    """A call takes as much longer as it is told to, before the server and after it."""
    proxied.proxy.plan("ListQueues", Fault(before=0.05, after=0.1))
    assert caller("ListQueues").status == 200
    (call,) = proxied.proxy.calls()
    assert call.sent - call.began >= 0.05
    assert call.ended - call.answered >= 0.1


def test_latency(http_endpoint: str) -> None:
    """All calls take longer, each by as much as the dice say: half of it each way, the same for the same seed."""
    taken: list[list[tuple[float, float]]] = []
    for _ in range(2):
        with Proxy(http_endpoint, latency=(0.01, 0.05), seed=7) as proxy:
            caller = Caller(proxy)
            for _ in range(3):
                assert caller("ListQueues").status == 200
            caller.hang_up()
            taken.append([(call.fault.before, call.fault.after) for call in proxy.calls()])
            for call in proxy.calls():
                assert call.fault.before == call.fault.after
                assert 0.005 <= call.fault.before <= 0.025
                assert call.sent - call.began >= call.fault.before
                assert call.ended - call.answered >= call.fault.after
    assert taken[0] == taken[1]
    assert len(set(taken[0])) == 3


def test_what_goes_first(http_endpoint: str) -> None:
    """What is planned goes before what happens always, of one operation before of all, and that before the script."""
    with Proxy(http_endpoint, script=lambda operation, number: DENIED) as proxy:
        caller = Caller(proxy)
        proxy.always(INTERNAL)
        proxy.always(UNAVAILABLE, "ListQueues")
        proxy.plan("ListQueues", THROTTLED)
        found = [caller("ListQueues").status, caller("ListQueues").status]
        proxy.always(None, "ListQueues")
        found.append(caller("ListQueues").status)
        proxy.always(None)
        found.append(caller("ListQueues").status)
        proxy.script = None
        found.append(caller("ListQueues").status)
        assert found == [400, 503, 500, 403, 200]
        caller.hang_up()


def test_chaos_is_the_same_for_the_same_seed() -> None:
    """A script meets the same calls with the same faults whenever it is run, in about the shares it was given."""
    share = {CUT: 0.1, THROTTLED: 0.2}
    script, again, other = Chaos(1, share), Chaos(1, share), Chaos(2, share)
    met = [script("ReceiveMessage", number) for number in range(5000)]
    assert met == [again("ReceiveMessage", number) for number in range(5000)]
    assert met != [other("ReceiveMessage", number) for number in range(5000)]
    assert met != [script("DeleteMessageBatch", number) for number in range(5000)]
    counts = Counter(met)
    assert 400 < counts[CUT] < 600
    assert 850 < counts[THROTTLED] < 1150
    assert set(counts) == {CUT, THROTTLED, None}
    only = Chaos(1, share, ["ReceiveMessage"])
    assert {only("SendMessage", number) for number in range(100)} == {None}


def test_hang_up(proxied: Proxied, caller: Caller) -> None:
    """All connections can be cut at once, in the middle of what they wait for; new ones are welcome."""
    poll = Running(caller, "ReceiveMessage", QueueUrl=proxied.make(), WaitTimeSeconds=20)
    proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.sent)
    proxied.proxy.hang_up()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        poll.result()
    caller.hang_up()
    assert caller("ListQueues").status == 200


def test_nothing_is_left_of_a_proxy_that_was_stopped(http_endpoint: str) -> None:
    """Its thread has ended, its port is free, and who was connected is cut off; to stop it twice is nothing."""
    before = threading.active_count()
    proxy = Proxy(http_endpoint)
    caller = Caller(proxy)
    assert caller("ListQueues").status == 200
    proxy.plan("ListQueues", Fault(gate=Gate()))
    waiting = Running(caller, "ListQueues")
    proxy.wait_for("ListQueues", 2)
    proxy.stop()
    proxy.stop()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        waiting.result()
    caller.hang_up()
    with pytest.raises(ConnectionRefusedError):
        caller("ListQueues")
    assert threading.active_count() == before


def test_only_plain_http_to_the_server() -> None:
    """A server that is spoken to in HTTPS would notice that somebody stands between."""
    with pytest.raises(ValueError, match=r"endpoint_url must be one of plain HTTP; got 'https://sqs.test'"):
        Proxy("https://sqs.test")
