"""The listener for those who come from multi_sqs_listener: the same names, the same life, and what was wrong is not.

What is asked of SQS is asked of a server; the order, where it must be exact, is that of `test_buses.py`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from queue_consumer import (
    Aging,
    BulkReceived,
    Constant,
    ConsumerStarted,
    Drop,
    Idle,
    MaxItems,
    Report,
    Retry,
    State,
    Stats,
    UsageError,
)
from queue_consumer.testing import RecordingObserver
from queue_consumer_sqs import EventBus, MultiSQSListener, QueueConfig, QueueNotFound, SQSListenerConfig, SQSMessage
from support.lifecycle import PATIENCE, until
from support.sqs_servers import MakeQueue


class Listener(MultiSQSListener):
    """Writes down how it was called, and whether it was ever called twice at once."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.calls: list[tuple[str, str, float, str]] = []
        self.overlaps = 0
        self.changed = threading.Condition()
        self._inside = threading.Lock()
        super().__init__(*args, **options)

    def handle_message(self, queue: str, bus: str, priority: float, message: SQSMessage) -> object:
        if not self._inside.acquire(blocking=False):
            self.overlaps += 1
            return None
        try:
            return self.deed(message.body)
        finally:
            with self.changed:
                self.calls.append((queue, bus, priority, message.body))
                self.changed.notify_all()
            self._inside.release()

    def deed(self, body: str) -> object:
        """What is done; a test may have more to do."""
        return None

    def wait_for_calls(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.calls) >= count, PATIENCE), self.calls

    @property
    def bodies(self) -> list[str]:
        return [body for *_, body in self.calls]


class Listening:
    """A listener that listens in another thread."""

    def __init__(self, listener: MultiSQSListener) -> None:
        self.listener = listener
        self.report: Report | None = None
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        self.report = self.listener.listen()

    def stop(self) -> Report:
        self.listener.stop()
        self.thread.join(PATIENCE)
        assert self.report is not None, "it does not stop"
        assert self.report.balanced
        return self.report


def after(count: int) -> Callable[[Stats], bool]:
    """Stop when so many messages have ended, well or badly."""
    return lambda stats: stats.cleaned + stats.dropped + stats.released >= count


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def left_in(client: Any, url: str) -> tuple[int, int]:
    """How many messages of the queue are visible, and how many are not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    figures = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(figures[names[0]]), int(figures[names[1]])


def send(client: Any, url: str, *bodies: str) -> None:
    for body in bodies:
        client.send_message(QueueUrl=url, MessageBody=body)


# ---------------------------------------------------------------------------- the life of a listener


def test_three_queues_are_listened_to_by_one_handler(client: Any, make_queue: MakeQueue) -> None:
    """All messages of all of them are seen, and never two at once; then the queues are empty."""
    urls = [make_queue() for _ in range(3)]
    for number, url in enumerate(urls):
        send(client, url, *(f"{number}.{count}" for count in range(5)))
    configurations = [SQSListenerConfig(name_of(url)) for url in urls]
    listener = Listener(configurations, client=client, stop_when=MaxItems(15), wait_time=1)
    report = listener.listen()
    assert sorted(listener.bodies) == sorted(f"{number}.{count}" for number in range(3) for count in range(5))
    assert (listener.overlaps, report.stats.cleaned, report.balanced) == (0, 15, True)
    assert [left_in(client, url) for url in urls] == [(0, 0)] * 3


def test_the_handler_is_called_with_queue_bus_priority_and_message(client: Any, make_queue: MakeQueue) -> None:
    """By position, whatever it calls them; the message has a body, and all that the service knows of it."""
    url = make_queue()
    send(client, url, "hello")
    seen: list[Any] = []

    class Other(MultiSQSListener):
        def handle_message(self, q: str, b: str, /, p: float, *m: SQSMessage) -> None:
            seen.extend((q, b, p, *m))

    Other([SQSListenerConfig(name_of(url), 7, "admin")], client=client, stop_when=MaxItems(1)).listen()
    message: SQSMessage = seen.pop()
    assert seen == [name_of(url), "admin", 7]
    assert (message.body, message.attempt, message.queue, message.bus, message.priority) == (
        *("hello", 1),
        *(name_of(url), "admin", 7),
    )
    assert "SentTimestamp" in message.system


def test_what_was_handled_is_deleted_and_what_failed_comes_again(client: Any, make_queue: MakeQueue) -> None:
    """Whatever the handler returns, False too; and a failure is no reason to be in the way of others."""
    url = make_queue()
    send(client, url, "bad", "good", "false")

    class Choosy(Listener):
        def deed(self, body: str) -> object:
            if body == "bad":
                raise ValueError("no good")
            return body != "false"

    listener = Choosy([SQSListenerConfig(name_of(url))], client=client, backoff=Constant(60), stop_when=after(3))
    report = listener.listen()
    assert sorted(listener.bodies) == ["bad", "false", "good"]
    assert (report.stats.cleaned, report.stats.failed, report.stats.released) == (2, 1, 1)
    assert sum(left_in(client, url)) == 1


def test_what_failed_is_visible_again_after_the_back_off(client: Any, make_queue: MakeQueue) -> None:
    """And is then delivered with a count of two."""
    url = make_queue()
    send(client, url, "bad at first")
    attempts: list[int] = []

    class Second(MultiSQSListener):
        def handle_message(self, queue: str, bus: str, priority: float, message: SQSMessage) -> None:
            attempts.append(message.attempt)
            if message.attempt == 1:
                raise ValueError("not yet")

    listener = Second(
        [SQSListenerConfig(name_of(url))], client=client, backoff=Constant(0), stop_when=lambda stats: stats.cleaned > 0
    )
    listener.listen()
    assert attempts == [1, 2]
    assert left_in(client, url) == (0, 0)


def test_a_failure_is_logged_with_its_traceback(
    client: Any, make_queue: MakeQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """At level ERROR, to the logger that was given or to `queue_consumer`, with the message's id and not its body."""
    url = make_queue()
    send(client, url, "a secret")

    class Bad(Listener):
        def deed(self, body: str) -> object:
            raise ValueError("no good")

    logger = logging.getLogger("my.listener")
    configurations = [SQSListenerConfig(name_of(url))]
    with caplog.at_level(logging.DEBUG, "my.listener"):
        Bad(configurations, logger, client=client, backoff=Constant(60), stop_when=after(1)).listen()
    mine = [record for record in caplog.records if record.name == "my.listener"]
    [failure] = [record for record in mine if record.levelno == logging.ERROR]
    assert failure.exc_info is not None
    assert str(failure.exc_info[1]) == "no good"
    assert f"of {name_of(url)} is kept" in failure.getMessage()
    assert {record.levelno for record in mine} == {logging.ERROR, logging.DEBUG}
    lines = [record.getMessage() for record in caplog.records if record.name == "queue_consumer"]
    assert any("ValueError: no good" in line for line in lines)
    assert not any("a secret" in record.getMessage() for record in caplog.records)


def test_a_retry_is_no_failure_and_a_drop_deletes(
    client: Any, make_queue: MakeQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """The two signals mean what they mean everywhere, and nothing is logged as an error."""
    url = make_queue()
    send(client, url, "later", "never")

    class Signalling(Listener):
        def deed(self, body: str) -> object:
            raise Retry(60) if body == "later" else Drop("nobody wants it")

    configurations = [SQSListenerConfig(name_of(url))]
    listener = Signalling(configurations, logging.getLogger("my.listener"), client=client, stop_when=after(2))
    report = listener.listen()
    assert (report.stats.dropped, report.stats.released, report.stats.failed) == (1, 1, 0)
    assert sum(left_in(client, url)) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_an_async_handler_is_awaited(client: Any, make_queue: MakeQueue) -> None:
    """`handle_message` may be an `async def`; still one message at a time, and a failure is kept."""
    url = make_queue()
    send(client, url, "a", "bad", "c")
    seen: list[str] = []

    class Async(MultiSQSListener):
        async def handle_message(self, queue: str, bus: str, priority: float, message: SQSMessage) -> None:
            if message.body == "bad":
                raise ValueError("no good")
            seen.append(message.body)

    configurations = [SQSListenerConfig(name_of(url))]
    report = Async(configurations, client=client, backoff=Constant(60), stop_when=after(3)).listen()
    assert (sorted(seen), report.stats.cleaned, report.stats.released) == (["a", "c"], 2, 1)


def test_one_message_of_each_queue_is_fetched_ahead(client: Any, make_queue: MakeQueue) -> None:
    """While one is handled, all but one more of its queue stay visible to a second listener."""
    url = make_queue()
    send(client, url, *"abcdef")
    gate, begun = threading.Event(), threading.Event()

    class Slow(Listener):
        def deed(self, body: str) -> object:
            begun.set()
            assert gate.wait(PATIENCE)
            return None

    slow = Slow([SQSListenerConfig(name_of(url))], client=client)
    listening = Listening(slow)
    assert begun.wait(PATIENCE)
    quick = Listener([SQSListenerConfig(name_of(url))], client=client, stop_when=MaxItems(4))
    quick.listen()
    assert slow.calls == []
    gate.set()
    slow.wait_for_calls(2)
    listening.stop()
    assert sorted(slow.bodies + quick.bodies) == list("abcdef")
    assert left_in(client, url) == (0, 0)


def test_each_queue_has_one_getter(client: Any, make_queue: MakeQueue) -> None:
    """One poll of each at a time, and one handler for all."""
    events = RecordingObserver()
    configurations = [SQSListenerConfig(name_of(make_queue())) for _ in range(3)]
    Listener(configurations, client=client, observers=[events], stop_when=Idle(0.1), wait_time=1).listen()
    [started] = events.of(ConsumerStarted)
    assert (started.getters, started.handlers) == (3, 1)


# ---------------------------------------------------------------------------- its end


def test_stop_lets_the_running_message_end_and_strands_none(client: Any, make_queue: MakeQueue) -> None:
    """What is handled is finished and deleted; what was fetched ahead is visible again at once."""
    url = make_queue(VisibilityTimeout=600)
    send(client, url, *"abc")
    gate, begun = threading.Event(), threading.Event()

    class Slow(Listener):
        def deed(self, body: str) -> object:
            begun.set()
            assert gate.wait(PATIENCE)
            return None

    listener = Slow([SQSListenerConfig(name_of(url))], client=client)
    listening = Listening(listener)
    assert begun.wait(PATIENCE)
    listener.stop()
    gate.set()
    report = listening.stop()
    assert (len(listener.calls), report.stats.cleaned) == (1, 1)
    assert left_in(client, url) == (2, 0)


def test_stop_can_be_called_from_the_handler(client: Any, make_queue: MakeQueue) -> None:
    """An administrative message may end the listener; that message is deleted, and no other is handled."""
    url = make_queue()
    send(client, url, *"abc")

    class Once(Listener):
        def deed(self, body: str) -> object:
            self.stop()
            return None

    listener = Once([SQSListenerConfig(name_of(url))], client=client)
    assert listener.listen().stats.cleaned == 1
    assert len(listener.calls) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_it_polls(client: Any, make_queue: MakeQueue, number: signal.Signals) -> None:
    """`listen()` returns, though a poll of 20 s has just begun; and the old handlers are put back."""
    url = make_queue()
    before = signal.getsignal(number)
    listener = Listener([SQSListenerConfig(name_of(url))], client=client)

    def kill() -> None:
        listener.wait_for_calls(1)
        os.kill(os.getpid(), number)

    send(client, url, "a")
    killer = threading.Thread(target=kill)
    killer.start()
    report = listener.listen()
    killer.join()
    assert (report.stats.state, report.stats.cleaned) == (State.STOPPED, 1)
    assert signal.getsignal(number) is before


def test_a_signal_during_a_long_message_does_not_hang(client: Any, make_queue: MakeQueue) -> None:
    """The message that outlives several polls is finished, and then `listen()` returns."""
    url = make_queue()
    send(client, url, "a", "b")

    class Interrupted(Listener):
        def deed(self, body: str) -> object:
            time.sleep(1.2)  # longer than a poll takes
            os.kill(os.getpid(), signal.SIGINT)
            until(lambda: self.consumer.state is not State.RUNNING, "the signal is heeded")
            return None

    listener = Interrupted([SQSListenerConfig(name_of(url))], client=client, wait_time=1)
    assert listener.listen().stats.cleaned == 1
    assert left_in(client, url) == (1, 0)


def test_a_stop_before_listening_is_heeded(client: Any, make_queue: MakeQueue) -> None:
    """`listen()` then returns at once, and nothing was received; a second time is an error of the caller."""
    url = make_queue()
    send(client, url, "a")
    listener = Listener([SQSListenerConfig(name_of(url))], client=client)
    listener.stop()
    assert listener.listen().stats.received == 0
    assert left_in(client, url) == (1, 0)


def test_it_listens_once(client: Any, make_queue: MakeQueue) -> None:
    """A listener that has ended does not begin again, and says so."""
    listener = Listener([SQSListenerConfig(name_of(make_queue()))], client=client, stop_when=Idle(0.1), wait_time=1)
    listener.listen()
    with pytest.raises(UsageError, match="make a new"):
        listener.listen()


def test_a_short_poll_waits_for_its_interval_and_for_no_stop(client: Any, make_queue: MakeQueue) -> None:
    """After an empty answer nobody asks again for a minute; a stop is heeded all the same."""
    url = make_queue()
    asked = Counting(client)
    listener = Listener([SQSListenerConfig(name_of(url), queue_type="short-poll")], client=asked)
    listening = Listening(listener)
    asked.wait_for_answers(1)
    time.sleep(0.2)  # that nobody asks is not announced to anybody
    listening.stop()
    assert [wait for wait, _ in asked.receives] == [0]


def test_each_queue_has_an_interval_of_its_own(client: Any, make_queue: MakeQueue) -> None:
    """Long and short polls live side by side; the listener's interval is for those that do not say."""
    long, quick, slow = make_queue(), make_queue(), make_queue()
    asked = {url: Counting(client) for url in (long, quick, slow)}
    listener = Listener(
        [
            SQSListenerConfig(name_of(long), client=asked[long]),
            SQSListenerConfig(name_of(quick), queue_type="short-poll", poll_interval=0.01, client=asked[quick]),
            QueueConfig(name_of(slow), EventBus(), "short-poll", poll_interval=3600, client=asked[slow]),
        ],
        poll_interval=1800,
    )
    listening = Listening(listener)
    asked[quick].wait_for_answers(5)
    asked[slow].wait_for_answers(1)
    listening.stop()
    assert {wait for wait, _ in asked[quick].receives} == {0}
    assert [wait for wait, _ in asked[slow].receives] == [0]
    assert [wait for wait, _ in asked[long].receives] == [20]


class Counting:
    """A client that writes down what is asked of it, and passes it on.

    `receives`: the wait and the number of messages that each poll asked for; `deletes`: how many each delete had.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.receives: list[tuple[int, int]] = []
        self.asked_for: list[dict[str, Any]] = []
        self.deletes: list[int] = []
        self.answers = 0
        self.changed = threading.Condition()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def receive_message(self, **arguments: Any) -> Any:
        self.asked_for.append(arguments)
        self.receives.append((arguments["WaitTimeSeconds"], arguments["MaxNumberOfMessages"]))
        try:
            return self._client.receive_message(**arguments)
        finally:
            with self.changed:
                self.answers += 1
                self.changed.notify_all()

    def delete_message_batch(self, **arguments: Any) -> Any:
        self.deletes.append(len(arguments["Entries"]))
        return self._client.delete_message_batch(**arguments)

    def wait_for_answers(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.answers >= count, PATIENCE), self.receives


# ---------------------------------------------------------------------------- what was wrong, and is not


def test_messages_do_not_wait_for_a_clock_or_for_a_call_each(client: Any, make_queue: MakeQueue) -> None:
    """With a look-ahead of a bulk ten come by a poll, and go by few deletes; a hundred are done without a sleep.

    The old loop slept a tenth of a second after each message, and deleted it by a call of its own.
    """
    url = make_queue()
    for start in range(0, 100, 10):
        entries = [{"Id": str(number), "MessageBody": str(start + number)} for number in range(10)]
        client.send_message_batch(QueueUrl=url, Entries=entries)
    asked = Counting(client)
    listener = Listener(
        [SQSListenerConfig(name_of(url))], client=asked, look_ahead="bulk", stop_when=MaxItems(100), wait_time=1
    )
    assert listener.listen().stats.cleaned == 100
    assert sum(asked.deletes) == 100
    assert len(asked.deletes) < 50
    assert {most for _, most in asked.receives} == {10}


def test_all_that_the_service_knows_is_asked_for(client: Any, make_queue: MakeQueue) -> None:
    """Message attributes and system attributes, of every message."""
    url = make_queue()
    client.send_message(
        QueueUrl=url, MessageBody="a", MessageAttributes={"colour": {"DataType": "String", "StringValue": "red"}}
    )
    seen: list[SQSMessage] = []

    class Curious(MultiSQSListener):
        def handle_message(self, queue: str, bus: str, priority: float, message: SQSMessage) -> None:
            seen.append(message)

    Curious([SQSListenerConfig(name_of(url))], client=client, stop_when=MaxItems(1)).listen()
    assert dict(seen[0].attributes) == {"colour": "red"}
    assert seen[0].system["ApproximateReceiveCount"] == "1"


def test_two_listeners_in_one_process_share_nothing(client: Any, make_queue: MakeQueue) -> None:
    """Buses of one name are two buses: each listener gets the messages of its own queues."""
    one, other = make_queue(), make_queue()
    send(client, one, "a")
    send(client, other, "b")
    bus = EventBus("shared", 5)
    first, second = (
        Listener([QueueConfig(name_of(url), bus)], client=client, stop_when=MaxItems(1)) for url in (one, other)
    )
    listening = Listening(first)
    second.listen()
    listening.thread.join(PATIENCE)
    assert (first.bodies, second.bodies) == (["a"], ["b"])


def test_a_bus_needs_no_register(client: Any, make_queue: MakeQueue) -> None:
    """`register_buses` is accepted, deprecated and harmless; without it messages are handled all the same."""
    url = make_queue()
    send(client, url, "a")
    bus = EventBus("admin", 3)
    with pytest.warns(DeprecationWarning, match="is not needed, and does nothing"):
        EventBus.register_buses([bus, bus])
    listener = Listener([QueueConfig(name_of(url), bus)], client=client, stop_when=MaxItems(1))
    listener.listen()
    assert listener.calls == [(name_of(url), "admin", 3, "a")]


def test_queues_of_one_bus_have_its_name_and_priority(client: Any, make_queue: MakeQueue) -> None:
    """Several queues may share a bus."""
    urls = [make_queue(), make_queue()]
    for url in urls:
        send(client, url, "a")
    bus = EventBus("work", 4)
    listener = Listener([QueueConfig(name_of(url), bus) for url in urls], client=client, stop_when=MaxItems(2))
    listener.listen()
    assert sorted(listener.calls) == sorted((name_of(url), "work", 4, "a") for url in urls)


def test_a_poll_that_fails_is_tried_again(client: Any, make_queue: MakeQueue) -> None:
    """The network may be lost for a while: no queue goes unheard for it, and nobody has to restart anything."""
    url = make_queue()
    send(client, url, "a")

    class Broken(Counting):
        def receive_message(self, **arguments: Any) -> Any:
            if self.answers < 2:
                with self.changed:
                    self.answers += 1
                raise ConnectionError("the network is down")
            return super().receive_message(**arguments)

    listener = Listener([SQSListenerConfig(name_of(url))], client=Broken(client), stop_when=MaxItems(1))
    assert listener.listen().stats.cleaned == 1


def test_a_message_that_waits_is_not_delivered_twice(client: Any, make_queue: MakeQueue) -> None:
    """Its lease is renewed while another is handled for longer than the visibility timeout."""
    url = make_queue(VisibilityTimeout=1)
    send(client, url, "a", "b")

    class Slow(Listener):
        def deed(self, body: str) -> object:
            time.sleep(2.5)  # longer than the queue hides a message by itself
            return None

    listener = Slow([SQSListenerConfig(name_of(url))], client=client, stop_when=MaxItems(2))
    report = listener.listen()
    assert sorted(listener.bodies) == ["a", "b"]
    assert (report.stats.cleaned, report.stats.lost) == (2, 0)
    assert left_in(client, url) == (0, 0)


def test_a_low_queue_need_not_starve(client: Any, make_queue: MakeQueue) -> None:
    """Strict by default; with `Aging` a queue that waits gets its turns, though a higher one has not run dry."""
    high, low = make_queue(), make_queue()
    for url, count in ((high, 30), (low, 2)):
        send(client, url, *["a"] * count)
    events = RecordingObserver()

    class Late(Listener):
        def deed(self, body: str) -> object:
            """Begins when there is a choice."""
            for url in (high, low):
                events.wait_for(BulkReceived, timeout=PATIENCE, where=partial(comes_from, url))
            return None

    listener = Late(
        [SQSListenerConfig(name_of(high), 5, "high"), SQSListenerConfig(name_of(low), 1, "low")],
        client=client,
        lane_policy=Aging(every=4),
        look_ahead="bulk",
        stop_when=MaxItems(32),
        observers=[events],
    )
    listener.listen()
    order = "".join(bus[0] for _, bus, _, _ in listener.calls)
    assert order.count("h", 0, order.rindex("l")) <= 10, order


def comes_from(url: str, bulk: BulkReceived) -> bool:
    return any(message.queue == name_of(url) for message in bulk.items)


# ---------------------------------------------------------------------------- configurations


def test_the_first_configuration_has_its_names_and_defaults() -> None:
    """As in version 1.0.0: by name or by position."""
    config = SQSListenerConfig("orders")
    assert (config.queue_name, config.priority_number, config.bus_name, config.queue_type) == (
        *("orders", 1),
        *("default-bus", "long-poll"),
    )
    again = SQSListenerConfig(queue_name="o", priority_number=5, bus_name="b", queue_type="short-poll")
    assert repr(again) == repr(SQSListenerConfig("o", 5, "b", "short-poll"))


def test_the_second_configuration_has_its_names_and_defaults() -> None:
    """As in version 1.0.2; but no region is made up."""
    config = QueueConfig("orders", EventBus("work", 3))
    assert (config.queue_name, config.bus_name, config.priority_number) == ("orders", "work", 3)
    assert (config.queue_type, config.region_name, config.queue_acct_id) == ("long-poll", None, None)
    assert config.poll_interval == 60
    again = QueueConfig("orders", EventBus(), "short-poll", "eu-west-1", "123456789012", 5)
    assert (again.queue_type, again.region_name, again.queue_acct_id) == ("short-poll", "eu-west-1", "123456789012")
    assert again.poll_interval == 5


def test_a_bus_is_shown_with_its_priority() -> None:
    """By name and number, sortable, and with the defaults of the seed."""
    assert (repr(EventBus()), repr(EventBus("admin", 10))) == ("default-bus: 1", "admin: 10")
    assert EventBus("a", 1) == EventBus("a", 1)


def test_the_account_is_passed_on_only_if_it_is_given(client: Any, make_queue: MakeQueue) -> None:
    """As the owner of the queue, in the look-up of its URL."""
    url = make_queue()
    asked: list[dict[str, Any]] = []

    class Client:
        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def get_queue_url(self, **arguments: Any) -> Any:
            asked.append(arguments)
            return client.get_queue_url(QueueName=arguments["QueueName"])

    for account in (None, "123456789012"):
        config = QueueConfig(name_of(url), EventBus(), queue_acct_id=account, client=Client())
        Listener([config]).buses.close()
    assert asked == [
        {"QueueName": name_of(url)},
        {"QueueName": name_of(url), "QueueOwnerAWSAccountId": "123456789012"},
    ]


def test_a_queue_can_be_given_by_its_url(client: Any, make_queue: MakeQueue) -> None:
    """And keeps its name for the handler."""
    url = make_queue()
    send(client, url, "a")
    listener = Listener([SQSListenerConfig("orders", queue_url=url)], client=client, stop_when=MaxItems(1))
    listener.listen()
    assert [queue for queue, *_ in listener.calls] == [name_of(url)]


def test_regions_can_differ_by_queue() -> None:
    """Each queue's own region goes before the listener's, and that before what boto3 finds."""
    asked: list[tuple[str, Any]] = []

    class Session:
        def client(self, service: str, **options: Any) -> Any:
            asked.append((service, options.get("region_name")))
            raise ConnectionError("no farther")

    for own, common in (("eu-west-1", "us-east-1"), (None, "us-east-1"), (None, None)):
        with pytest.raises(Exception, match="no farther"):
            Listener([QueueConfig("orders", EventBus(), region_name=own)], region_name=common, session=Session())
    assert set(asked) == {("sqs", "eu-west-1"), ("sqs", "us-east-1"), ("sqs", None)}


def test_a_missing_queue_is_a_typed_error_when_the_listener_is_made(client: Any, make_queue: MakeQueue) -> None:
    """Not a loop of errors later; and those that were opened before are closed."""
    with pytest.raises(QueueNotFound):
        Listener([SQSListenerConfig(name_of(make_queue())), SQSListenerConfig("no-such-queue")], client=client)


@pytest.mark.parametrize("kind", ["longpoll", "", None, "short", 5])
def test_another_queue_type_is_refused(kind: Any) -> None:
    """It does not quietly mean a short poll."""
    words = f"queue_type must be 'long-poll' or 'short-poll'; got {kind!r}"
    with pytest.raises(ValueError, match=words):
        SQSListenerConfig("orders", queue_type=kind)
    with pytest.raises(ValueError, match=words):
        QueueConfig("orders", EventBus(), kind)


CONFIG = [SQSListenerConfig("orders", client=object())]
One: Any = SQSListenerConfig  # without their types, for what type checkers would refuse as well
Two: Any = QueueConfig
AnyBus: Any = EventBus


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: One(""), ValueError, "SQSListenerConfig: queue_name must not be empty"),
        (lambda: One(5), TypeError, "SQSListenerConfig: queue_name must be a str; got 5"),
        (lambda: One("a", "5"), TypeError, "priority_number must be a number, the greater the sooner"),
        (lambda: One("a", 5, None), TypeError, "SQSListenerConfig: bus_name must be a str; got None"),
        (lambda: One("a", colour=5), TypeError, "SQSListenerConfig: there is no option 'colour'"),
        (lambda: Two("a", "admin"), TypeError, "bus must be an EventBus(name, priority); got 'admin'"),
        (lambda: Two("a", EventBus(), colour=5), TypeError, "QueueConfig: there is no option 'colour'"),
        (lambda: AnyBus(5), TypeError, "EventBus: name must be a str; got 5"),
        (lambda: AnyBus("a", None), TypeError, "EventBus: priority must be a number"),
        (lambda: Listener([]), ValueError, "queues_configuration must have at least one queue; got none"),
        (lambda: Listener("orders"), TypeError, "must be of SQSListenerConfig or QueueConfig; got 'o'"),
        (lambda: Listener(5), TypeError, "must be a list of SQSListenerConfig or QueueConfig; got 5"),
        (lambda: Listener(CONFIG, "log"), TypeError, "logger must be a logging.Logger or None; got 'log'"),
        (lambda: Listener(CONFIG, colour=5), TypeError, "MultiSQSListener: there is no option 'colour'"),
        (lambda: Listener(CONFIG, look_ahead=5), ValueError, "look_ahead must be 'bulk' or 'message'; got 5"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(make: Any, error: type[Exception], words: str) -> None:
    """It names the parameter, the value, and what is allowed; and no queue is opened."""
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)


# ---------------------------------------------------------------------------- what to override


def test_a_listener_without_an_override_cannot_be_made() -> None:
    """Its messages would be deleted unhandled."""
    with pytest.raises(TypeError, match=r"MultiSQSListener must define handle_message\(self, queue, bus, priority"):
        MultiSQSListener(CONFIG)  # type: ignore[abstract]


def test_a_misspelt_override_is_pointed_out() -> None:
    """As the most likely reason why there is none."""

    class Misspelt(MultiSQSListener):
        def handle_mesage(self, queue: str, bus: str, priority: float, message: SQSMessage) -> None:
            """Nobody calls this."""

    with pytest.raises(TypeError, match=r"Misspelt must define .*; it has 'handle_mesage', which may be misspelt"):
        Misspelt(CONFIG)  # type: ignore[abstract]


def test_an_override_that_cannot_be_called_is_refused() -> None:
    """With what it takes; otherwise every message would fail."""

    class TooFew(MultiSQSListener):
        def handle_message(self, message: SQSMessage) -> None:  # type: ignore[override]
            """It is called with four."""

    with pytest.raises(TypeError, match=r"TooFew.handle_message must take \(self, queue, bus, priority, message\)"):
        TooFew(CONFIG)


def test_a_generator_as_an_override_is_refused() -> None:
    """Calling it runs nothing of it, so that its messages would be deleted unhandled."""

    class Lazy(MultiSQSListener):
        def handle_message(self, queue: str, bus: str, priority: float, message: SQSMessage) -> Iterator[str]:
            yield message.body

    with pytest.raises(TypeError, match=r"Lazy\.handle_message is a generator function"):
        Lazy(CONFIG)


def test_an_override_that_returns_what_has_not_run_is_a_failure(client: Any, make_queue: MakeQueue) -> None:
    """A coroutine that nobody awaits has done nothing, so its message is kept."""
    url = make_queue()
    send(client, url, "a")

    class Forgetful(Listener):
        def deed(self, body: str) -> object:
            async def work() -> None:
                """Never awaited."""

            return work()

    report = Forgetful([SQSListenerConfig(name_of(url))], client=client, stop_when=after(1)).listen()
    assert (report.stats.cleaned, report.stats.failed) == (0, 1)


def test_nothing_of_ours_is_deprecated(client: Any, make_queue: MakeQueue) -> None:
    """Whoever does not register buses is not warned."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Listener([QueueConfig(name_of(make_queue()), EventBus())], client=client).buses.close()
