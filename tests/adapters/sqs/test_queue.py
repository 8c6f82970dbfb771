"""What becomes of messages: deleted, given back, held, and judged one by one; and whole lives of them, with a consumer.

Calls that go wrong are made to by a proxy. What a consumer does from beginning to end is asked of every server.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from queue_consumer import CleanupError, Constant, Consumer, Failure, ItemsLost, LeaseLost, current, each
from queue_consumer.testing import RecordingObserver
from queue_consumer_sqs import AccessDenied, SQSError, SQSMessage, SQSQueue, Unreachable
from support.proxied import Proxied
from support.sqs_calls import PATIENCE
from support.sqs_faults import DENIED, FINE, INTERNAL, TRUNCATED, failing
from support.sqs_journal import AsyncHandler, AsyncReadsJSON, Handler, Journal, ReadsJSON
from support.sqs_servers import MakeQueue

pytest_plugins = ["support.proxied_fixtures"]

ONCE = {"total_max_attempts": 1}
POOLS: tuple[Literal["threads", "processes", "coroutines"], ...] = ("threads", "processes", "coroutines")
Verb = Callable[[SQSQueue, list[SQSMessage]], None]
VERBS: dict[str, tuple[str, Verb]] = {
    "cleanup": ("DeleteMessageBatch", lambda queue, messages: queue.cleanup(messages)),
    "release": ("ChangeMessageVisibilityBatch", lambda queue, messages: queue.release(messages, 30)),
}
by_cleanup_and_release = pytest.mark.parametrize("verb", VERBS)


def got(queue: SQSQueue, count: int) -> list[SQSMessage]:
    """So many messages of the queue."""
    messages: list[SQSMessage] = []
    while len(messages) < count:
        messages += queue.receive(min(10, count - len(messages)))
    return messages


def of_body(*bodies: str) -> Callable[[list[SQSMessage]], Callable[[dict[str, Any]], bool]]:
    """Picks the entries of these messages out of a batch."""

    def pick(messages: list[SQSMessage]) -> Callable[[dict[str, Any]], bool]:
        handles = {message.receipt_handle for message in messages if message.body in bodies}
        return lambda entry: entry["ReceiptHandle"] in handles

    return pick


# ---------------------------------------------------------------------- batches


@by_cleanup_and_release
def test_batches_of_ten(proxied: Proxied, verb: str) -> None:
    """What is more than ten goes in several calls, each with ids of its own, and nothing twice."""
    operation, do = VERBS[verb]
    queue = proxied.queue(*map(str, range(25)))
    messages = got(queue, 25)
    do(queue, messages)
    calls = proxied.proxy.calls(operation)
    assert [len(call.entries) for call in calls] == [10, 10, 5]
    assert all(len({entry["Id"] for entry in call.entries}) == len(call.entries) for call in calls)
    assert sorted(handle for call in calls for handle in call.done) == sorted(
        message.receipt_handle for message in messages
    )
    assert proxied.left_in(queue.url) == (0 if verb == "cleanup" else 25)


@by_cleanup_and_release
def test_duplicates_are_folded(proxied: Proxied, verb: str) -> None:
    """The same delivery several times is one entry, and what becomes of it becomes of all of them."""
    operation, do = VERBS[verb]
    queue = proxied.queue("a", "b")
    one, other = got(queue, 2)
    again = replace(one)
    proxied.proxy.plan(operation, failing(of_body(one.body)([one])))
    with pytest.raises(CleanupError) as caught:
        do(queue, [one, other, again, one])
    assert [id(message) for message in caught.value.failed] == [id(one), id(again), id(one)]
    (call,) = proxied.proxy.calls(operation)
    assert call.handles == [one.receipt_handle, other.receipt_handle]


@by_cleanup_and_release
def test_nothing_is_no_call(proxied: Proxied, verb: str) -> None:
    """No messages take no call."""
    operation, do = VERBS[verb]
    queue = proxied.queue()
    do(queue, [])
    queue.extend([], 5)
    assert not proxied.proxy.calls(operation)


# ---------------------------------------------------------------------- failures, judged

JUDGED = [
    ("InternalError", False, "failed"),
    ("AWS.SimpleQueueService.InternalError", False, "failed"),
    ("ThrottlingException", False, "failed"),
    ("ReceiptHandleIsInvalid", True, "lost"),
    ("ReceiptHandleIsInvalid", False, "lost"),
    ("AWS.SimpleQueueService.ReceiptHandleIsInvalid", True, "lost"),
    ("MessageNotInflight", True, "lost"),
    ("AWS.SimpleQueueService.MessageNotInflight", True, "lost"),
    ("InvalidParameterValue", True, "lost"),
    ("InvalidReceiptHandle", False, "lost"),
    ("UnsupportedOperation", True, "hopeless"),
]


@by_cleanup_and_release
@pytest.mark.parametrize(("code", "sender_fault", "fate"), JUDGED)
def test_failed_entries_are_judged(proxied: Proxied, verb: str, code: str, sender_fault: bool, fate: str) -> None:
    """An entry fails for a time, or since the lease is lost, or for good; the others are done."""
    operation, do = VERBS[verb]
    queue = proxied.queue("a", "b", "c")
    messages = got(queue, 3)
    proxied.proxy.plan(operation, failing(of_body("b")(messages), code, sender_fault=sender_fault))
    with pytest.raises(CleanupError, match=f"1 items were not cleaned up: {code}: {code} for some") as caught:
        do(queue, messages)
    found = {name: getattr(caught.value, name) for name in ("failed", "lost", "hopeless")}
    assert {name: [message.body for message in there] for name, there in found.items()} == {
        "failed": [],
        "lost": [],
        "hopeless": [],
        fate: ["b"],
    }
    assert any(found[fate][0] is message for message in messages)
    assert len(proxied.proxy.calls(operation)[0].done) == 2


@by_cleanup_and_release
def test_one_call_of_several_fails(proxied: Proxied, verb: str) -> None:
    """A call that fails as a whole fails its ten messages; the other calls are made, and their messages are done."""
    operation, do = VERBS[verb]
    queue = proxied.queue(*map(str, range(25)))
    messages = got(queue, 25)
    proxied.proxy.plan(operation, FINE, DENIED)
    with pytest.raises(CleanupError, match=r"10 items were not cleaned up: SQS would not .*not authorized") as caught:
        do(queue, messages)
    assert caught.value.failed == messages[10:20]
    assert isinstance(caught.value.__cause__, AccessDenied)
    assert [len(call.done) for call in proxied.proxy.calls(operation)] == [10, 0, 5]


def test_failures_of_all_kinds_at_once(proxied: Proxied) -> None:
    """Each message has its own fate, and the reason is that of the first."""
    queue = proxied.queue(*map(str, range(20)))
    messages = got(queue, 20)
    first, second = messages[:10], messages[10:]
    proxied.proxy.plan(
        "DeleteMessageBatch",
        failing(of_body(first[0].body)(first), "InternalError"),
        failing(of_body(second[3].body, second[7].body)(second), "ReceiptHandleIsInvalid", sender_fault=True),
    )
    with pytest.raises(CleanupError, match="3 items were not cleaned up: InternalError") as caught:
        queue.cleanup(messages)
    assert caught.value.failed == [first[0]]
    assert caught.value.lost == [second[3], second[7]]
    assert proxied.left_in(queue.url) == 3


def test_an_answer_that_ends_too_soon_says_nothing(proxied: Proxied) -> None:
    """Of what the end is missing is an error, and not an answer in which nothing is said."""
    queue = proxied.queue(retries=ONCE)
    proxied.proxy.always(TRUNCATED, "SendMessage", "ReceiveMessage", "DeleteMessageBatch")
    with pytest.raises(Unreachable, match=r"could not send message: .* read, but total bytes expected is"):
        queue.put("text")
    with pytest.raises(Unreachable, match=r"could not receive messages: .* read, but total bytes expected is"):
        queue.receive()
    proxied.proxy.always(None, "ReceiveMessage")
    queue.put_many([{"body": "another"}])
    (message,) = got(queue, 1)
    with pytest.raises(CleanupError, match=r"could not delete message batch: .* read, but total bytes") as caught:
        queue.cleanup([message])
    assert caught.value.failed == [message]


class Silent:
    """A client whose answers say nothing of what was done."""

    def get_queue_url(self, **_: Any) -> dict[str, Any]:
        return {"QueueUrl": "https://sqs.test/1/q"}

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {}

    def delete_message_batch(self, **_: Any) -> dict[str, Any]:
        return {"Successful": [{"Id": "0"}]}


def test_what_an_answer_does_not_mention_is_not_done() -> None:
    """Of an entry that is neither successful nor failed nothing is known, so it is tried again."""
    queue = SQSQueue("q", client=Silent())
    assert (queue.lease, queue.arn) == (30, "")
    one, other = SQSMessage("1", "one", "handle 1"), SQSMessage("2", "other", "handle 2")
    with pytest.raises(CleanupError, match="1 items were not cleaned up: the answer does not say") as caught:
        queue.cleanup([one, other])
    assert caught.value.failed == [other]


# ---------------------------------------------------------------------- giving back


@pytest.mark.parametrize(("delay", "seconds"), [(0, 0), (0.001, 1), (1, 1), (1.2, 2), (600, 600), (50_000, 43_195)])
def test_release_rounds_up(proxied: Proxied, delay: float, seconds: int) -> None:
    """A message is not seen before its delay is over, and not hidden for longer than AWS allows."""
    queue = proxied.queue("text")
    queue.release(got(queue, 1), delay)
    (call,) = proxied.proxy.calls("ChangeMessageVisibilityBatch")
    assert call.entries[0]["VisibilityTimeout"] == pytest.approx(seconds, abs=1 if seconds > 40_000 else 0)


@pytest.mark.parametrize(("held", "left"), [(43_000, 195), (43_196, 0), (50_000, 0)])
def test_release_keeps_to_the_12_hours(proxied: Proxied, held: float, left: int) -> None:
    """What is left of the 12 hours that a message can be hidden is the longest delay; then it is seen at once.

    Less a few seconds, since the receipt was when the service gave it, and not when it was here.
    """
    queue = proxied.queue("text")
    (message,) = got(queue, 1)
    queue.release([replace(message, received_at=time.time() - held)], 300)
    (call,) = proxied.proxy.calls("ChangeMessageVisibilityBatch")
    assert max(0, left - 5) <= call.entries[0]["VisibilityTimeout"] <= left


def test_release_gives_back(proxied: Proxied) -> None:
    """What is given back without a delay is seen by another at once."""
    queue = proxied.queue("text", visibility_timeout=600)
    queue.release(got(queue, 1))
    assert proxied.seen(queue.url) == ["text"]


# ---------------------------------------------------------------------- holding


def test_extend_asks_for_whole_seconds(proxied: Proxied) -> None:
    """A lease is renewed for as many seconds as it lasts at least, in batches of ten."""
    queue = proxied.queue(*map(str, range(12)))
    messages = got(queue, 12)
    queue.extend(messages, 30.5)
    calls = proxied.proxy.calls("ChangeMessageVisibilityBatch")
    assert [len(call.entries) for call in calls] == [10, 2]
    assert {entry["VisibilityTimeout"] for call in calls for entry in call.entries} == {31}


def test_extend_tells_which_are_lost(proxied: Proxied) -> None:
    """Those that are not ours any more are named, and the others are held."""
    queue = proxied.queue("a", "b", "c")
    messages = got(queue, 3)
    lost = failing(of_body("a", "c")(messages), "ReceiptHandleIsInvalid", sender_fault=True)
    proxied.proxy.plan("ChangeMessageVisibilityBatch", lost)
    with pytest.raises(LeaseLost) as caught:
        queue.extend(messages, 30)
    assert sorted(message.body for message in caught.value.items) == ["a", "c"]


def test_extend_that_fails_is_no_loss(proxied: Proxied) -> None:
    """While it is not known of all of them, none is said to be lost: it is an error, and is tried again."""
    queue = proxied.queue("a", "b", retries=ONCE)
    messages = got(queue, 2)
    proxied.proxy.plan("ChangeMessageVisibilityBatch", failing(of_body("a")(messages), "InternalError"), INTERNAL, FINE)
    with pytest.raises(SQSError, match="InternalError"):
        queue.extend(messages, 30)
    with pytest.raises(SQSError, match="SQS would not change message visibility batch: internal failure"):
        queue.extend(messages, 30)
    queue.extend(messages, 30)


def test_extend_keeps_to_the_12_hours(proxied: Proxied) -> None:
    """A lease ends 12 hours after the receipt: it is renewed until then, and then is lost without a call."""
    queue = proxied.queue("a", "b")
    one, other = got(queue, 2)
    nearly = replace(one, received_at=time.time() - 43_150)
    over = replace(other, received_at=time.time() - 43_200)
    with pytest.raises(LeaseLost) as caught:
        queue.extend([nearly, over], 120)
    assert caught.value.items == [over]
    (call,) = proxied.proxy.calls("ChangeMessageVisibilityBatch")
    assert call.handles == [nearly.receipt_handle]
    assert 40 <= call.entries[0]["VisibilityTimeout"] <= 45


# ---------------------------------------------------------------------- receipts that are not good any more


class Held:
    """A handler that holds each message until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.handled: list[str] = []
        self.lost: list[bool] = []

    def __call__(self, message: SQSMessage) -> None:
        self.begun.release()
        assert self.go_on.wait(PATIENCE)
        self.lost.append(bool(current().lost))
        self.handled.append(message.body)


def test_a_message_that_comes_again_while_it_is_handled(proxied: Proxied) -> None:
    """It is not handled a second time, and is deleted by its newest receipt handle."""
    queue, handler = proxied.queue("text", wait_time=1), Held()
    with Consumer(queue, each(handler), max_workers=1, max_handlers=2) as consumer:
        assert handler.begun.acquire(timeout=PATIENCE)
        (first,) = proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.bodies)
        # As a standard queue may do by itself, now and then.
        (handle,) = [message["ReceiptHandle"] for message in first.messages]
        proxied.client.change_message_visibility(QueueUrl=queue.url, ReceiptHandle=handle, VisibilityTimeout=0)
        _, second = proxied.proxy.wait_for("ReceiveMessage", 2, where=lambda call: call.bodies)
        while not consumer.stats().duplicates:
            time.sleep(0.01)  # the answer is on its way from the proxy to the line
        handler.go_on.set()
        assert consumer.wait_idle(PATIENCE)
        report = consumer.shutdown()
    assert handler.handled == ["text"]
    (delete,) = proxied.proxy.calls("DeleteMessageBatch")
    assert delete.handles == [second.messages[0]["ReceiptHandle"]]
    assert proxied.left_in(queue.url) == 0
    assert report.balanced
    assert report.stats.duplicates == 1


def test_a_message_that_another_has_by_now(proxied: Proxied) -> None:
    """Whose lease ran out, and was given to another, is lost: the handler is told, and it is not deleted by us."""
    url = proxied.make()
    queue, handler, events = proxied.open(url, visibility_timeout=1, retries=ONCE), Held(), RecordingObserver()
    proxied.proxy.always(INTERNAL, "ChangeMessageVisibilityBatch")
    proxied.send(url, "text")
    with Consumer(queue, each(handler), max_workers=1, max_handlers=1, prefetch=0, observers=[events]) as consumer:
        assert handler.begun.acquire(timeout=PATIENCE)
        assert proxied.seen(url) == ["text"]  # by another, who has it for the queue's own visibility timeout
        events.wait_for(ItemsLost, timeout=PATIENCE)
        handler.go_on.set()
        report = consumer.shutdown()
    assert handler.lost == [True]
    assert not [call for call in proxied.proxy.calls("DeleteMessageBatch") if call.done]
    assert proxied.left_in(url) == 1
    assert report.balanced
    assert report.stats.lost == 1


def test_a_message_that_could_not_be_deleted(proxied: Proxied) -> None:
    """It comes again, is not handled again, and is deleted on sight."""
    url = proxied.make()
    queue = proxied.open(url, visibility_timeout=2, retries=ONCE, cleanup_linger=0)
    journal: list[str] = []

    def handle(message: SQSMessage) -> None:
        journal.append(message.body)

    proxied.proxy.always(DENIED, "DeleteMessageBatch")
    proxied.send(url, "text")
    with Consumer(queue, each(handle), max_workers=1, max_handlers=1) as consumer:
        proxied.proxy.wait_for("DeleteMessageBatch", 3, where=lambda call: call.ended)
        proxied.proxy.wait_for("ReceiveMessage", 2, where=lambda call: call.bodies)
        proxied.proxy.always(None, "DeleteMessageBatch")
        proxied.proxy.wait_for("DeleteMessageBatch", where=lambda call: call.done and call.ended)
        report = consumer.shutdown()
    assert journal == ["text"]
    assert proxied.left_in(url) == 0
    assert report.balanced


def test_leases_are_renewed(proxied: Proxied) -> None:
    """A message that takes longer than its visibility timeout is nobody else's; it begins with a short one."""
    url = proxied.make()
    queue, handler = proxied.open(url, visibility_timeout=2, idle_lease=1), Held()
    with Consumer(queue, each(handler), max_workers=1, max_handlers=1, prefetch=0) as consumer:
        proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.sent)
        proxied.send(url, "text")
        assert handler.begun.acquire(timeout=PATIENCE)
        renewals = proxied.proxy.wait_for("ChangeMessageVisibilityBatch", 3, where=lambda call: call.done)
        assert proxied.seen(url, wait=0) == []
        handler.go_on.set()
        assert consumer.wait_idle(PATIENCE)
        report = consumer.shutdown()
    assert {entry["VisibilityTimeout"] for call in renewals for entry in call.entries} == {2}
    assert handler.handled == ["text"]
    assert proxied.left_in(url) == 0
    assert report.stats.lost == report.stats.duplicates == 0


# ---------------------------------------------------------------------- with a consumer, on every server


def left_in(client: Any, url: str) -> int:
    """How many messages the queue has, visible or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    figures = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(figures[name]) for name in names)


@pytest.mark.parametrize("pool", POOLS)
def test_standard_queue(
    client: Any,
    make_queue: MakeQueue,
    open_queue: Any,
    tmp_path: Path,
    pool: Literal["threads", "processes", "coroutines"],
) -> None:
    """Every message of a standard queue is handled and deleted; one that fails comes again, and costs no other."""
    url = make_queue(VisibilityTimeout=60)
    queue: SQSQueue = open_queue(url, wait_time=1)
    bodies = [f"{number}{'!' if number % 7 == 3 else ''}" for number in range(30)]
    queue.put_many({"body": body} for body in bodies)
    handler = (AsyncHandler if pool == "coroutines" else Handler)(tmp_path / "journal")
    options: dict[str, Any] = {"pool": pool, "max_workers": 2, "max_handlers": 2, "backoff": Constant(0.5)}
    with Consumer(queue, each(handler), **options) as consumer:
        while set(handler.journal.done()) < set(bodies):
            time.sleep(0.05)  # another process tells nobody what it has written
        assert consumer.wait_idle(PATIENCE)
        report = consumer.shutdown()
    assert Counter(handler.journal.done()) == Counter(bodies)
    assert report.balanced
    assert report.stats.failed == report.stats.released == 4
    assert left_in(client, url) == 0


GROUPS = {
    group: [f"{group}{number}{'!' if (group, number) in (('a', 2), ('b', 0)) else ''}" for number in range(6)]
    for group in "abcd"
}


@pytest.mark.parametrize("pool", POOLS)
def test_fifo_queue(
    client: Any,
    make_queue: MakeQueue,
    open_queue: Any,
    tmp_path: Path,
    pool: Literal["threads", "processes", "coroutines"],
) -> None:
    """A message that fails stops its group until it is done, and the rest comes in order; other groups go on."""
    url = make_queue(fifo=True, VisibilityTimeout=60)
    queue: SQSQueue = open_queue(url, wait_time=1)
    handler = (AsyncHandler if pool == "coroutines" else Handler)(tmp_path / "journal")
    for position in range(6):
        queue.put_many(
            {"body": bodies[position], "group": group, "deduplication_id": uuid.uuid4().hex}
            for group, bodies in GROUPS.items()
        )
    options: dict[str, Any] = {"pool": pool, "max_workers": 2, "max_handlers": 3, "backoff": Constant(1)}
    everything = [body for bodies in GROUPS.values() for body in bodies]
    with Consumer(queue, each(handler), **options) as consumer:
        while len(handler.journal.done()) < len(everything):
            time.sleep(0.05)  # another process tells nobody what it has written
        assert consumer.wait_idle(PATIENCE)
        report = consumer.shutdown()
    handler.journal.check_order(GROUPS)
    done = handler.journal.done()
    assert Counter(done) == Counter(everything)
    entries = handler.journal.read()
    failed = next(place for place, entry in enumerate(entries) if entry.body == "a2!" and not entry.done)
    again = next(place for place, entry in enumerate(entries) if entry.body == "a2!" and entry.done)
    others = [place for place, entry in enumerate(entries) if entry.body[0] in "cd"]
    assert any(failed < place < again for place in others) or max(others) < again, "other groups waited for it"
    assert report.balanced
    assert report.stats.failed == 2
    assert left_in(client, url) == 0


@pytest.mark.parametrize("pool", POOLS)
def test_poison(
    client: Any,
    make_queue: MakeQueue,
    open_queue: Any,
    tmp_path: Path,
    pool: Literal["threads", "processes", "coroutines"],
) -> None:
    """A body that nobody can read fails as often as is allowed, goes to the dead letters, and costs no other."""
    url = make_queue(VisibilityTimeout=60)
    queue: SQSQueue = open_queue(url, wait_time=1)
    good = [f'{{"number": {number}}}' for number in range(10)]
    poison = ["{", "\x85", "[" * 100_000, "nul", '{"a": "\ud7ff"', "null and void"]
    queue.put_many({"body": body} for body in [*good[:5], *poison, *good[5:]])
    dead: list[tuple[str, str]] = []

    def bury(message: SQSMessage, failure: Failure) -> None:
        dead.append((message.body, failure.kind))

    handler = (AsyncReadsJSON if pool == "coroutines" else ReadsJSON)(tmp_path / "journal")
    options: dict[str, Any] = {"pool": pool, "max_workers": 2, "max_handlers": 2, "backoff": Constant(0)}
    with Consumer(queue, each(handler), max_attempts=2, dead_letter=bury, **options) as consumer:
        while len(dead) < len(poison):
            time.sleep(0.05)  # buried by the cleaner, which tells nobody
        assert consumer.wait_idle(PATIENCE)
        report = consumer.shutdown()
    assert Counter(handler.journal.done()) == Counter(good)
    assert sorted(body for body, _ in dead) == sorted(poison)
    assert {kind for _, kind in dead} <= {"ValueError", "RecursionError"}
    assert report.balanced
    assert report.stats.dropped == len(poison)
    assert report.stats.cleaned == len(good)
    assert left_in(client, url) == 0


def test_redrive_by_the_service(client: Any, make_queue: MakeQueue, open_queue: Any, tmp_path: Path) -> None:
    """What fails as often as the queue's redrive policy allows goes to the queue's own dead letters."""
    dead = make_queue()
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    url = make_queue(RedrivePolicy={"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    queue: SQSQueue = open_queue(url, wait_time=1)
    queue.put_many([{"body": "fine"}, {"body": "never!!!!"}])
    handler = Handler(tmp_path / "journal")
    with Consumer(queue, each(handler), max_workers=1, max_handlers=1, backoff=Constant(0)) as consumer:
        (message,) = got(open_queue(dead), 1)
        report = consumer.shutdown()
    assert message.body == "never!!!!"
    assert handler.journal.done() == ["fine"]
    assert [entry.attempt for entry in handler.journal.read() if not entry.done] == [1, 2]
    assert report.balanced


def test_two_consumers(client: Any, make_queue: MakeQueue, open_queue: Any, tmp_path: Path) -> None:
    """Two consumers of one queue handle each message once, and what one gives back goes to either."""
    url = make_queue(VisibilityTimeout=60)
    bodies = [f"{number}{'!' if number % 10 == 0 else ''}" for number in range(60)]
    open_queue(url).put_many({"body": body} for body in bodies)
    journal = Journal(tmp_path / "journal")
    options: dict[str, Any] = {"max_workers": 1, "max_handlers": 1, "backoff": Constant(0.5)}
    consumers = [
        Consumer(open_queue(url, wait_time=1), each(Handler(journal.path)), **options).start() for _ in range(2)
    ]
    while len(journal.done()) < len(bodies):
        time.sleep(0.05)  # neither knows of the other
    assert all(consumer.wait_idle(PATIENCE) for consumer in consumers)
    reports = [consumer.shutdown() for consumer in consumers]
    assert Counter(journal.done()) == Counter(bodies)
    assert sum(report.stats.cleaned for report in reports) == len(bodies)
    assert all(report.balanced for report in reports)
    assert left_in(client, url) == 0
