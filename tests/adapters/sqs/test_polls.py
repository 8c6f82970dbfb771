"""How a queue polls: what each receive asks for, how long it waits, how it ends, and what is lost with it: nothing.

All of it is told by the log of a proxy between the queue and the server.
"""

from __future__ import annotations

import functools
import itertools
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from queue_consumer import BulkReceived, Consumer, each
from queue_consumer.testing import RecordingObserver
from queue_consumer_sqs import InvalidRequest, SQSError, SQSMessage, SQSQueue, Unreachable
from queue_consumer_sqs._boto import make_cuttable
from queue_consumer_sqs._cut import Cut, Poll, no_poll
from queue_consumer_sqs._health import Health
from queue_consumer_sqs._polling import OVERDUE, Pace, Polling
from queue_consumer_sqs._steps import Ask, Until
from queue_consumer_sqs.testing import MemorySQS
from support.proxied import Proxied, Running
from support.sqs_calls import PATIENCE, Call
from support.sqs_faults import CUT, DENIED, FINE, INTERNAL, LOST, THROTTLED, TRUNCATED, Fault, Gate
from support.sqs_proxy import Proxy

pytest_plugins = ["support.proxied_fixtures"]


def is_over(call: Call) -> bool:
    return bool(call.ended)


def ignore(message: SQSMessage) -> None:
    """A handler that has nothing to do."""


def waiting(proxied: Proxied, function: Callable[..., Any], *args: Any) -> Running:
    """The function in a thread, once a receive of its has gone to the server and waits there."""
    before = len(proxied.proxy.calls("ReceiveMessage", where=lambda call: call.sent))
    running = Running(function, *args)
    proxied.proxy.wait_for("ReceiveMessage", before + 1, where=lambda call: call.sent)
    return running


def interrupted(queue: SQSQueue, running: Running) -> Any:
    """What the function returns that is interrupted as often as it takes, as a consumer does that stops."""
    queue.interrupt()
    while running.is_alive():
        running.join(0.05)  # it may be on its way into its wait, and then did not hear
        queue.interrupt()
    return running.result()


def asked(calls: list[Call], *names: str) -> list[Any]:
    """Of each call, these arguments."""
    found = [tuple(call.arguments.get(name) for name in names) for call in calls]
    return [values[0] for values in found] if len(names) == 1 else found


# ---------------------------------------------------------------------- what a poll asks for


def test_everything_that_is_known_of_a_message_is_asked_for(proxied: Proxied) -> None:
    """All attributes come, the sender's and the service's."""
    queue = proxied.queue("text")
    queue.get()
    (call,) = proxied.proxy.calls("ReceiveMessage")
    assert call.arguments == {
        "QueueUrl": queue.url,
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 20,
        "VisibilityTimeout": 5,
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    }


@pytest.mark.parametrize(
    ("options", "idle", "busy"),
    [
        ({}, (20, 5), (1, 30)),
        ({"visibility_timeout": 60}, (20, 5), (1, 60)),
        ({"visibility_timeout": 2.5}, (20, 3), (1, 3)),
        ({"idle_lease": 1.2, "wait_time": 2.5}, (3, 2), (1, 30)),
        ({"idle_lease": 0}, (20, 1), (1, 30)),
        ({"idle_lease": 30}, (20, 30), (1, 30)),
        ({"idle_lease": 100, "visibility_timeout": 60}, (20, 60), (1, 60)),
        ({"wait_time": 0.5}, (1, 5), (1, 30)),
        ({"wait_time": 0}, (0, 30), (0, 30)),
        ({"wait_time": 0, "visibility_timeout": 60}, (0, 60), (0, 60)),
    ],
)
def test_idle_and_busy_polls(proxied: Proxied, options: dict[str, Any], idle: Any, busy: Any) -> None:
    """A poll that may wait long asks for a short lease; one after another that brought something, for the whole one.

    The whole one is the queue's own, unless another is given; it is said each time, since the queue's own may be
    changed. A short poll does not wait, so it has the whole lease at once.
    """
    url = proxied.make(VisibilityTimeout=30)
    queue = proxied.open(url, batch_size=1, **options)
    proxied.send(url, "a", "b", "c")
    got = [message for _ in range(3) for message in queue.get()]
    first, second, third = proxied.proxy.calls("ReceiveMessage")
    assert asked([first, second, third], "WaitTimeSeconds", "VisibilityTimeout") == [idle, busy, busy]
    assert [message.lease for message in got] == [idle[1], busy[1], busy[1]]
    assert [queue.lease_of(message) for message in got] == [message.lease for message in got]


def test_a_poll_after_an_empty_one_is_an_idle_one_again(proxied: Proxied) -> None:
    """A poll waits long, and with a short lease, once one has brought nothing."""
    url = proxied.make()
    queue = proxied.open(url, wait_time=2)
    proxied.send(url, "a")
    assert [message.body for message in queue.get()] == ["a"]
    assert queue.get() == []
    proxied.send(url, "b")
    assert [message.body for message in queue.get()] == ["b"]
    calls = proxied.proxy.calls("ReceiveMessage")
    assert asked(calls, "WaitTimeSeconds", "VisibilityTimeout") == [(2, 5), (1, 30), (2, 5)]


# ---------------------------------------------------------------------- how many


def test_no_more_than_asked_for(proxied: Proxied) -> None:
    """A limit is the most that is asked for; without one, and above it, it is the batch size."""
    queue = proxied.queue(*map(str, range(30)), batch_size=7)
    for limit, most in ((1, 1), (3, 3), (7, 7), (50, 7), (None, 7)):
        assert len(queue.get(limit)) == most
    assert asked(proxied.proxy.calls("ReceiveMessage"), "MaxNumberOfMessages") == [1, 3, 7, 7, 7]


def test_more_than_ten_take_several_receives(proxied: Proxied) -> None:
    """What does not fit into one receive is asked for by others, which do not wait, as long as they are full."""
    queue = proxied.queue(*map(str, range(37)), batch_size=25)
    assert len(queue.get()) == 25
    assert len(queue.get(12)) == 12
    calls = proxied.proxy.calls("ReceiveMessage")
    assert asked(calls, "MaxNumberOfMessages", "WaitTimeSeconds") == [(10, 20), (10, 0), (5, 0), (10, 1), (2, 0)]


def test_a_receive_that_is_not_full_is_the_last(proxied: Proxied) -> None:
    """A receive that brought fewer than asked for is not followed by another, which would most likely be in vain."""
    queue = proxied.queue(*map(str, range(4)), batch_size=100)
    assert len(queue.get()) == 4
    assert len(proxied.proxy.calls("ReceiveMessage")) == 1


def test_several_receives_that_are_interrupted(proxied: Proxied) -> None:
    """What came before an interrupt, and by the receive that ran, is kept; no other is made."""
    queue = proxied.queue(*map(str, range(30)), batch_size=30)
    gate = Gate()
    proxied.proxy.plan("ReceiveMessage", FINE, Fault(gate=gate))
    running = Running(queue.get)
    assert gate.reached.wait(PATIENCE)
    queue.interrupt()
    gate.open()
    assert len(running.result()) == 20
    assert len(proxied.proxy.calls("ReceiveMessage")) == 2


class Clock:
    """What `time` is for the pace."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("pause", "bulk"), [(4.0, 1), (0.5, 4), (0.21, 9), (0.2, 10), (0.01, 10)])
def test_pace(monkeypatch: pytest.MonkeyPatch, pause: float, bulk: int) -> None:
    """What is done in 0.2 seconds is asked for at once, whatever there is room for, up to a whole call."""
    clock = Clock()
    monkeypatch.setattr("queue_consumer_sqs._polling.time", clock)
    pace = Pace()
    assert pace.bulk == 1
    for _ in range(200):
        clock.now += pause
        pace.done(10)
    assert pace.bulk == bulk


def test_pace_of_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was done for a while, nothing is known of the pace, and no more is asked for than there is room."""
    clock = Clock()
    monkeypatch.setattr("queue_consumer_sqs._polling.time", clock)
    pace = Pace()
    clock.now += 1
    pace.done(100)
    assert pace.bulk == 10
    clock.now += 60
    assert pace.bulk == 1
    pace.done(1)
    assert pace.bulk == 1


def test_full_batches_at_a_high_pace(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is done with ten in a moment asks for ten, though there is room for one; but never for more than a batch."""
    monkeypatch.setattr(Pace, "bulk", 10)
    url = proxied.make()
    proxied.send(url, *map(str, range(40)))
    for batch_size, most in ((10, 10), (4, 4), (20, 10)):
        assert len(proxied.open(url, batch_size=batch_size).get(1)) == most


# ---------------------------------------------------------------------- how long


def test_short_polls_wait_between_each_other(proxied: Proxied) -> None:
    """After a short poll that brought nothing, the next waits for the interval, and an interrupt ends that."""
    url = proxied.make()
    queue = proxied.open(url, wait_time=0, poll_interval=1000)
    assert queue.get() == []
    proxied.send(url, "text")
    running = Running(queue.get)
    assert interrupted(queue, running) == []
    assert len(proxied.proxy.calls("ReceiveMessage")) == 1


def test_short_polls_are_not_made_in_a_row(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is said otherwise there is an interval between short polls in vain, since each is paid for."""
    monkeypatch.setattr("queue_consumer_sqs._opened.SHORT_POLLS", 1000.0)
    queue = proxied.queue(wait_time=0)
    assert queue.get() == []
    assert interrupted(queue, Running(queue.get)) == []
    assert len(proxied.proxy.calls("ReceiveMessage")) == 1
    without = proxied.queue(wait_time=0, poll_interval=0)
    assert without.get() == without.get() == []


def test_short_polls_that_bring_something_do_not_wait(proxied: Proxied) -> None:
    """The interval is for an empty queue only."""
    queue = proxied.queue("a", "b", wait_time=0, poll_interval=1000, batch_size=1)
    assert sorted(message.body for _ in range(2) for message in queue.get()) == ["a", "b"]


def test_short_polls_find_what_comes(proxied: Proxied) -> None:
    """Short polls at an interval find what was sent meanwhile."""
    url = proxied.make()
    queue = proxied.open(url, wait_time=0, poll_interval=0.05)
    assert queue.get() == []
    proxied.send(url, "text")
    found = next(messages for messages in iter(queue.get, None) if messages)
    assert [message.body for message in found] == ["text"]
    assert set(asked(proxied.proxy.calls("ReceiveMessage"), "WaitTimeSeconds")) == {0}


# ---------------------------------------------------------------------- one at a time


def test_one_poll_waits_at_an_idle_queue(proxied: Proxied) -> None:
    """However many getters there are, from the first moment on."""
    queue = proxied.queue(wait_time=1)
    with Consumer(queue, each(ignore), max_workers=8, max_handlers=1, prefetch=100):
        proxied.proxy.wait_for("ReceiveMessage", 4, where=is_over)
        calls = proxied.proxy.calls("ReceiveMessage")
    assert all(call.ended <= following.began for call, following in itertools.pairwise(calls[:4]))


def polling_of(queue: SQSQueue) -> Polling:
    return queue._polling


def message_of(proxied: Proxied, queue: SQSQueue) -> dict[str, Any]:
    """An answer of the service that has one message."""
    proxied.send(queue.url, "text")
    answer: dict[str, Any] = proxied.client.receive_message(QueueUrl=queue.url, WaitTimeSeconds=10)
    return answer


def test_the_next_polls_when_the_one_that_waits_is_over(proxied: Proxied) -> None:
    """Also if that was cut, and came to nothing."""
    polling = polling_of(proxied.queue())
    one, other, third = polling.get(10), polling.get(10), polling.get(10)
    assert isinstance(next(one), Ask)
    ends = [step.over for step in map(next, (other, third)) if isinstance(step, Until)]
    assert [end.done() for end in ends] == [False, False]
    with pytest.raises(StopIteration):
        one.throw(Cut())
    assert [end.done() for end in ends] == [True, True]
    assert isinstance(other.send({}), Ask)
    assert isinstance(third.send({}), Until)


def test_an_empty_answer_is_one_for_all(proxied: Proxied) -> None:
    """Who has waited for a poll that brought nothing does not ask the same again."""
    polling = polling_of(proxied.queue())
    one, other, later = polling.get(10), polling.get(10), polling.get(10)
    assert [type(next(get)) for get in (one, other)] == [Ask, Until]
    for get in (one, other):
        with pytest.raises(StopIteration) as ended:
            get.send({})
        assert ended.value.value == []
    assert isinstance(next(later), Ask)


def test_all_poll_once_one_has_brought_something(proxied: Proxied) -> None:
    """They do not wait for each other, and each poll waits a second, with the whole lease."""
    queue = proxied.queue(visibility_timeout=60)
    polling = polling_of(queue)
    one, other, third = polling.get(10), polling.get(10), polling.get(10)
    assert [type(next(get)) for get in (one, other)] == [Ask, Until]
    with pytest.raises(StopIteration):
        one.send(message_of(proxied, queue))
    for step in (other.send({}), next(third)):
        assert isinstance(step, Ask)
        assert (step.arguments["WaitTimeSeconds"], step.arguments["VisibilityTimeout"]) == (1, 60)


def test_a_poll_that_is_not_over_in_time_is_waited_for_no_longer(proxied: Proxied) -> None:
    """If whoever makes it is held up, others go on without."""
    queue = proxied.queue(wait_time=3)
    polling = polling_of(queue)
    one, other, third = polling.get(10), polling.get(10), polling.get(10)
    assert isinstance(next(one), Ask)
    step = next(other)
    assert isinstance(step, Until)
    assert step.seconds == 3 + OVERDUE
    assert isinstance(other.send({}), Ask)
    one.close()
    assert isinstance(next(third), Until), "the turn is the other's still"
    other.close()
    assert isinstance(third.send({}), Ask)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_poll_that_is_interrupted_gives_its_turn_back(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """At once, and not when the exception is forgotten."""
    queue = proxied.queue("text")
    with monkeypatch.context() as patch:
        patch.setattr(queue.client, "receive", Mock(side_effect=error))
        with pytest.raises(error) as held:
            queue.get()
    assert [message.body for message in Running(queue.get).result()] == ["text"]
    assert held.value.__traceback__ is not None


def test_interrupt_ends_those_that_wait_for_a_poll(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if somebody else begins the next poll before they have looked."""
    queue, waits = proxied.queue(), threading.Semaphore(0)
    wait = queue._wait

    def entered(*args: Any) -> Any:
        waits.release()
        return wait(*args)

    monkeypatch.setattr(queue, "_wait", entered)
    stop = threading.Event()

    def get_again_and_again() -> None:
        while not stop.is_set():
            queue.get()

    poller = waiting(proxied, get_again_and_again)
    polls = [Running(queue.get) for _ in range(3)]
    for _ in polls:
        assert waits.acquire(timeout=PATIENCE)
    queue.interrupt()
    assert [poll.result() for poll in polls] == [[]] * 3
    stop.set()
    interrupted(queue, poller)


def test_a_consumer_that_stops_leaves_others_alone(proxied: Proxied) -> None:
    """Of two consumers that share a queue object one stops, and the other's polls are not cut again and again."""
    queue = proxied.queue()
    options: dict[str, Any] = {"max_workers": 4, "max_handlers": 4, "owns_queue": False}
    with Consumer(queue, each(ignore), **options), Consumer(queue, each(ignore), **options) as other:
        proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.sent)
        other.shutdown()
        assert len(proxied.proxy.calls("ReceiveMessage")) <= 5


def test_a_fork_waits_for_no_poll_of_its_parent(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that waits in the process that it was forked from is over for that one only."""
    polling = polling_of(proxied.queue())
    ours, forks = polling.get(10), polling.get(10)
    assert isinstance(next(ours), Ask)
    monkeypatch.setattr("queue_consumer_sqs._polling.os.getpid", lambda: -1)
    assert isinstance(next(forks), Ask)


# ---------------------------------------------------------------------- how a poll ends


def test_interrupt_cuts_idle_polls(proxied: Proxied) -> None:
    """All that wait for something to come end at once, and the server was not waited for."""
    queue = proxied.queue()
    polls = [waiting(proxied, queue.get), *(Running(queue.get) for _ in range(3))]
    assert [interrupted(queue, poll) for poll in polls] == [[]] * 4
    (call,) = proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.hung_up)
    assert not call.answered
    assert queue.stats()["state"] == "ok"


def test_what_is_lost_with_a_poll_is_seen_again_soon(proxied: Proxied) -> None:
    """What the server gives to a poll that was cut is hidden for the idle lease, and then seen by another."""
    url = proxied.make(VisibilityTimeout=600)
    queue = proxied.open(url, idle_lease=1)
    poll = waiting(proxied, queue.get)
    assert interrupted(queue, poll) == []
    proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.hung_up)
    proxied.send(url, "text")
    (lost,) = proxied.proxy.wait_for("ReceiveMessage", where=is_over)
    assert lost.bodies == ["text"]
    assert not lost.delivered
    assert proxied.seen(url) == ["text"]


def test_stop_during_a_long_poll(proxied: Proxied) -> None:
    """A consumer that is stopped does not wait for its poll, and nothing is lost."""
    url = proxied.make(VisibilityTimeout=600)
    queue = proxied.open(url, idle_lease=1)
    consumer = Consumer(queue, each(ignore), max_workers=2, max_handlers=2)
    consumer.start()
    proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.sent)
    report = consumer.shutdown()
    assert report.balanced
    assert not report.leftovers
    assert report.stats.abandoned == 0
    for call in proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.hung_up):
        assert call.answered == 0
    proxied.send(url, "text")
    assert proxied.seen(url) == ["text"]


def test_stop_with_messages_in_hand(proxied: Proxied) -> None:
    """A consumer that is stopped gives back what it did not handle, and finishes what it has begun."""
    url = proxied.make(VisibilityTimeout=600)
    queue = proxied.open(url)
    begun, go_on = threading.Event(), threading.Event()
    handled: list[str] = []

    def handle(message: Any) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        handled.append(message.body)

    consumer = Consumer(queue, each(handle), max_workers=1, max_handlers=1, prefetch=20, messages_bulk_size=1)
    proxied.send(url, *map(str, range(10)))
    consumer.start()
    assert begun.wait(PATIENCE)
    stopping = Running(consumer.shutdown)
    go_on.set()
    report = stopping.result()
    assert report.balanced
    assert report.stats.cleaned == len(handled)
    assert report.stats.released == report.stats.received - len(handled)
    assert proxied.left_in(url) == 10 - len(handled)
    seen: list[str] = []
    while len(seen) + len(handled) < 10:
        seen += proxied.seen(url)
    assert sorted(seen + handled) == sorted(map(str, range(10)))


def test_a_busy_poll_is_not_cut(proxied: Proxied) -> None:
    """A poll after one that brought something is waited for, since what it brings is hidden for the whole lease."""
    queue = proxied.queue("text")
    assert len(queue.get()) == 1
    poll = waiting(proxied, queue.get)
    assert interrupted(queue, poll) == []
    _, busy = proxied.proxy.calls("ReceiveMessage")
    assert busy.arguments["WaitTimeSeconds"] == 1
    assert busy.delivered
    assert not busy.hung_up


def test_a_busy_poll_keeps_what_it_brings(proxied: Proxied) -> None:
    """What comes by a poll that ended by itself after an interrupt is returned."""
    url = proxied.make()
    proxied.send(url, "a")
    queue = proxied.open(url)
    assert len(queue.get()) == 1
    poll = waiting(proxied, queue.get)
    queue.interrupt()
    proxied.send(url, "b")
    assert [message.body for message in poll.result()] == ["b"]


def test_a_busy_poll_that_is_not_answered_in_time(proxied: Proxied) -> None:
    """A poll that should have ended long ago is cut all the same."""
    queue = proxied.queue("text")
    assert len(queue.get()) == 1
    gate = Gate()
    proxied.proxy.plan("ReceiveMessage", Fault(gate=gate))
    poll = Running(queue.get)
    assert gate.reached.wait(PATIENCE)
    assert interrupted(queue, poll) == []
    (cut,) = proxied.proxy.wait_for("ReceiveMessage", where=lambda call: call.hung_up)
    assert not cut.sent


@pytest.mark.parametrize("fault", [THROTTLED, INTERNAL, CUT, DENIED], ids=lambda fault: fault.name)
def test_interrupt_is_heard_in_the_pause_after_an_error(
    proxied: Proxied, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits before he tries again hears an interrupt."""

    def failed(health: Health, error: SQSError) -> float:
        return 1000.0

    monkeypatch.setattr(Health, "failed", failed)
    queue = proxied.queue()
    proxied.proxy.plan("ReceiveMessage", fault)
    running = Running(queue.get)
    proxied.proxy.wait_for("ReceiveMessage", where=is_over)
    assert interrupted(queue, running) == []
    assert len(proxied.proxy.calls("ReceiveMessage")) == 1


def test_a_get_after_an_interrupt_is_as_any_other(proxied: Proxied) -> None:
    """An interrupt ends the gets that run, and not those that come; the connections that were cut are replaced."""
    url = proxied.make()
    queue = proxied.open(url, idle_lease=1)
    queue.interrupt()
    for body in ("a", "b"):
        poll = waiting(proxied, queue.get)
        assert interrupted(queue, poll) == []
        proxied.send(url, body)  # which the server may give to the poll that was cut
        while not (messages := queue.get()):
            pass
        assert [message.body for message in messages] == [body]
        queue.cleanup(messages)


def test_a_client_that_is_given_can_be_cut_too(proxied: Proxied, open_client: Callable[[str], Any]) -> None:
    """Polls of a client of the user's end as ours do, and its other calls are left alone."""
    client = open_client(proxied.proxy.endpoint_url)
    url = proxied.make()
    client.list_queues()  # over a connection of the kind that boto3 makes by itself
    queue = proxied.open(url, client=client)
    gate = Gate()
    proxied.proxy.plan("ListQueues", Fault(gate=gate))
    other = Running(client.list_queues)
    assert gate.reached.wait(PATIENCE)
    poll = waiting(proxied, queue.get)
    queue.interrupt()
    assert poll.result() == []
    gate.open()
    assert other.result()["ResponseMetadata"]["HTTPStatusCode"] == 200
    own = waiting(proxied, lambda: client.receive_message(QueueUrl=url, WaitTimeSeconds=1))
    queue.interrupt()
    assert own.result().get("Messages", []) == []


def test_two_queues_of_one_client(proxied: Proxied, open_client: Callable[[str], Any]) -> None:
    """To interrupt one queue is nothing to another that shares its client."""
    client = open_client(proxied.proxy.endpoint_url)
    urls = [proxied.make(), proxied.make()]
    one, other = [proxied.open(url, client=client) for url in urls]
    polls = [waiting(proxied, one.get), waiting(proxied, other.get)]
    one.interrupt()
    assert polls[0].result() == []
    proxied.send(urls[1], "text")
    assert [message.body for message in polls[1].result()] == ["text"]


def test_a_client_with_other_rooms() -> None:
    """A client that is not made as boto3's are cannot be cut, and is used as it is."""
    make_cuttable(object())


def test_polls_over_https_end_as_fast(proxied: Proxied, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll over HTTPS, as AWS has it, is cut like any other, and the next goes through."""
    pem = root / "tests" / "support" / "loopback.pem"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(pem))
    url = proxied.make()
    with Proxy(proxied.endpoint_url, tls=tls) as proxy:
        queue = SQSQueue(url.rpartition("/")[2], endpoint_url=proxy.endpoint_url, idle_lease=1)
        for number in range(2):
            poll = Running(queue.get)
            proxy.wait_for("ReceiveMessage", number + 1, where=lambda call: call.sent)
            assert interrupted(queue, poll) == []
        calls = proxy.wait_for("ReceiveMessage", 2, where=lambda call: call.hung_up)
        assert not any(call.answered for call in calls)
        assert queue.stats()["state"] == "ok"
        proxied.send(url, "text")
        while not (messages := queue.get()):
            pass
        assert [message.body for message in messages] == ["text"]
        queue.close()


class Line:
    """A socket that is asked to shut down."""

    def __init__(self) -> None:
        self.is_down = False

    def shutdown(self, how: int) -> None:
        self.is_down = True
        raise OSError("it is closed already")


class Connection:
    """Of a client's pool: now one uses it, and now another."""

    def __init__(self) -> None:
        self.sock: Line | None = Line()
        self.poll: Poll | None = None


def test_a_poll_is_cut_through_its_own_connection_only() -> None:
    """Whoever comes too late does not cut another, which has the connection by now."""
    connection, line = Connection(), Line()
    connection.sock = line
    one, other = Poll(), Poll()
    one.begins(connection)
    other.begins(connection)
    one.cut()
    assert not line.is_down
    no_poll(connection)
    other.cut()
    assert not line.is_down
    third = Poll()
    third.begins(connection)
    third.cut()
    assert line.is_down


def test_a_poll_that_is_cut_before_it_begins(proxied: Proxied) -> None:
    """It does not begin, wherever it stands: before the call, before a connection, and with one not yet open."""
    queue = proxied.queue()
    poll = Poll()
    poll.cut()
    with pytest.raises(Cut):
        queue.client.receive(poll, QueueUrl=queue.url)
    assert not proxied.proxy.calls("ReceiveMessage")
    with pytest.raises(Cut):
        poll.begins(Connection())
    with pytest.raises(Cut):
        poll.connected()
    connecting, connection = Poll(), Connection()
    connection.sock = None
    connecting.begins(connection)
    connecting.connected()
    connecting.cut()
    with pytest.raises(Cut):
        connecting.connected()


# ---------------------------------------------------------------------- FIFO


@pytest.mark.parametrize("fault", [CUT, LOST, TRUNCATED, INTERNAL], ids=lambda fault: fault.name)
def test_an_answer_that_was_lost_is_asked_for_again(proxied: Proxied, fault: Fault) -> None:
    """A FIFO queue is asked again with the same attempt id, which gives the same messages; the next get has another."""
    queue = proxied.queue("a", "b", fifo=True, batch_size=1)
    proxied.proxy.plan("ReceiveMessage", FINE, fault, fault)
    queue.cleanup(queue.get())
    poll = Running(queue.get)
    first, *again = proxied.proxy.wait_for("ReceiveMessage", 4)
    ids = asked([first, *again], "ReceiveRequestAttemptId")
    assert ids[0] != ids[1]
    assert len(set(ids[1:])) == 1
    assert all(call.arguments == again[0].arguments for call in again)
    interrupted(queue, poll)


def test_an_answer_that_was_refused_is_not_asked_for_again(proxied: Proxied) -> None:
    """After an error of the service's there is no answer that was lost, so the attempt is a new one."""
    queue = proxied.queue("a", fifo=True)
    proxied.proxy.plan("ReceiveMessage", THROTTLED, THROTTLED)
    assert [message.body for message in queue.get()] == ["a"]
    assert len(set(asked(proxied.proxy.calls("ReceiveMessage"), "ReceiveRequestAttemptId"))) == 3


def test_standard_queues_have_no_attempt_ids(proxied: Proxied) -> None:
    """A standard queue knows no attempt ids, so it is not asked with one."""
    queue = proxied.queue("a")
    queue.get()
    assert asked(proxied.proxy.calls("ReceiveMessage"), "ReceiveRequestAttemptId") == [None]


class Losing:
    """A client that loses the answers to the first receives."""

    def __init__(self, client: Any, losses: int) -> None:
        self._client = client
        self._losses = losses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def receive_message(self, **arguments: Any) -> Any:
        answer = self._client.receive_message(**arguments)
        self._losses -= 1
        if self._losses >= 0:
            raise ConnectionResetError("the answer is lost")
        return answer


def test_nothing_is_hidden_by_an_answer_that_was_lost() -> None:
    """The same attempt is given the same messages, though they are hidden; so AWS promises it, and so it is in memory.

    Of the other servers none knows what it gave to an attempt.
    """
    client = MemorySQS().client()
    client.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true", "VisibilityTimeout": "600"})
    queue = SQSQueue("q.fifo", client=Losing(client, 2), idle_lease=600)
    queue.put("a", deduplication_id="a")
    assert [message.body for message in queue.get()] == ["a"]


# ---------------------------------------------------------------------- connections


def test_deletes_do_not_wait_behind_polls(proxied: Proxied) -> None:
    """However many polls wait, a delete, a release and an extend go through at once, over connections of their own."""
    url = proxied.make()
    queue = proxied.open(url)
    proxied.send(url, "a", "b", "c")
    messages = queue.receive(3)
    while len(messages) < 3:
        messages += queue.receive(3 - len(messages))
    polls = [waiting(proxied, functools.partial(queue.receive, wait_time=20)) for _ in range(60)]
    queue.cleanup(messages[:1])
    queue.extend(messages[1:2], 60)
    queue.release(messages[2:], 60)
    waiting_still = proxied.proxy.calls("ReceiveMessage", where=lambda call: not call.ended)
    assert len(waiting_still) == 60
    work = proxied.proxy.calls("DeleteMessageBatch", "ChangeMessageVisibilityBatch")
    assert len(work) == 3
    assert not {call.connection for call in work} & {call.connection for call in waiting_still}
    proxied.proxy.hang_up()
    for poll in polls:
        with pytest.raises(Unreachable):
            poll.result()


def test_connections_are_kept(proxied: Proxied) -> None:
    """Polls go over one connection as long as none is cut, and so does all the rest."""
    queue = proxied.queue(*map(str, range(20)), batch_size=2)
    for _ in range(10):
        queue.cleanup(queue.get())
    assert len({call.connection for call in proxied.proxy.calls("ReceiveMessage")}) == 1
    assert len({call.connection for call in proxied.proxy.calls("DeleteMessageBatch")}) == 1


def test_close(proxied: Proxied) -> None:
    """A queue that is closed has no connections; it opens new ones if it is used again."""
    queue = proxied.queue("text")
    assert proxied.proxy.connected
    queue.close()
    proxied.proxy.wait_until(lambda: proxied.proxy.connected == 0)
    assert [message.body for message in queue.get()] == ["text"]
    queue.close()
    queue.close()
    proxied.proxy.wait_until(lambda: proxied.proxy.connected == 0)


def test_a_consumer_closes_its_queue(proxied: Proxied) -> None:
    """When a consumer has stopped, nothing of its queue is connected any more."""
    queue = proxied.queue(*map(str, range(20)))
    with Consumer(queue, each(ignore), max_workers=2, max_handlers=2) as consumer:
        assert consumer.wait_idle(PATIENCE)
    proxied.proxy.wait_until(lambda: proxied.proxy.connected == 0)


# ---------------------------------------------------------------------- receives by hand


def test_receive(proxied: Proxied) -> None:
    """One receive, which waits as long as it is told to, with the whole lease."""
    queue = proxied.queue("a", "b", visibility_timeout=60)
    (message,) = queue.receive(1)
    assert message.lease == 60
    assert len(queue.receive(wait_time=0)) == 1
    assert queue.receive(5, wait_time=0.2) == []
    calls = proxied.proxy.calls("ReceiveMessage")
    assert asked(calls, "MaxNumberOfMessages", "WaitTimeSeconds", "VisibilityTimeout") == [
        (1, 20, 60),
        (10, 0, 60),
        (5, 1, 60),
    ]


def test_receive_raises(proxied: Proxied) -> None:
    """A receive by hand is made once, and fails as it fails."""
    queue = proxied.queue()
    proxied.proxy.plan("ReceiveMessage", INTERNAL)
    with pytest.raises(Unreachable, match="SQS would not receive messages: internal failure"):
        queue.receive()
    assert len(proxied.proxy.calls("ReceiveMessage")) == 1
    with pytest.raises(ValueError, match="limit must be a whole number from 1 to 10; got 11"):
        queue.receive(11)
    with pytest.raises(ValueError, match="wait_time must be a number of seconds from 0 to 20; got 21"):
        queue.receive(wait_time=21)


def test_what_the_service_does_not_like(proxied: Proxied) -> None:
    """A call with arguments that the service refuses fails as such, and is made once."""
    queue = proxied.queue()
    proxied.proxy.plan("SendMessage", Fault(name="no such thing", status=400, code="InvalidParameterCombination"))
    with pytest.raises(InvalidRequest, match="SQS would not send message: no such thing") as caught:
        queue.client.call("send_message", QueueUrl=queue.url, MessageBody="text")
    assert caught.value.code == "InvalidParameterCombination"
    with pytest.raises(InvalidRequest, match="could not send message: Parameter validation failed"):
        queue.client.call("send_message", QueueUrl=queue.url)
    assert len(proxied.proxy.calls("SendMessage")) == 1


# ---------------------------------------------------------------------- with a consumer


def test_one_poll_at_a_time_while_idle(proxied: Proxied) -> None:
    """However many getters there are, one of them polls an empty queue; the others sleep."""
    queue = proxied.queue(wait_time=1)
    events = RecordingObserver()
    with Consumer(queue, each(ignore), max_workers=4, observers=[events]):
        events.wait_for(BulkReceived, 6, PATIENCE)
    *calls, _ = sorted(proxied.proxy.calls("ReceiveMessage", where=is_over), key=lambda call: call.began)
    for one, other in itertools.pairwise(calls[3:]):
        assert one.ended <= other.began
