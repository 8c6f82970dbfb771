"""What multi_sqs_listener's users build of it: each pattern as a listener that prints, and what is printed, in order.

Where numbers are printed the queues are FIFO queues, since the order within a standard queue is SQS's best effort.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from queue_consumer import BulkReceived, MaxItems, Strict
from queue_consumer.testing import RecordingObserver
from queue_consumer_sqs import MultiSQSListener, SQSListenerConfig, SQSMessage
from support.lifecycle import PATIENCE
from support.sqs_servers import MakeQueue

LATENCY = 0.12  # seconds
LONG = Strict(right_of_way=20)  # longer than any poll takes, on however busy a machine
numbers = iter(range(1_000_000))


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def send(client: Any, url: str, *bodies: str) -> None:
    """Send these one by one, in order."""
    for body in bodies:
        fifo: dict[str, str] = {}
        if url.endswith(".fifo"):
            fifo = {"MessageGroupId": "default", "MessageDeduplicationId": str(next(numbers))}
        client.send_message(QueueUrl=url, MessageBody=body, **fifo)


class Printing(MultiSQSListener):
    """Prints what it is told, and knows when something of a bus was fetched."""

    def __init__(self, *configurations: SQSListenerConfig, **options: Any) -> None:
        self.events = RecordingObserver()
        super().__init__(configurations, observers=[self.events], lane_policy=LONG, **options)

    def handle_message(self, queue: str, bus: str, priority: float, message: SQSMessage) -> None:
        print(f"{bus}: {message.body}")
        self.work(message.body)

    def work(self, body: str) -> None:
        """What takes its time; a test may have more to do."""

    def has_fetched(self, bus: str, count: int = 1) -> None:
        """Wait until so many bulks of this bus have come."""

        def there(bulk: BulkReceived) -> bool:
            return any(message.bus == bus for message in bulk.items)

        self.events.wait_for(BulkReceived, count, PATIENCE, there)


# ---------------------------------------------------------------------------- broadcast


def test_broadcast(client: Any, make_queue: MakeQueue, capsys: pytest.CaptureFixture[str]) -> None:
    """Each server of a pool has a queue of its own, and each event goes to all of them: all servers see all events."""
    urls = {server: make_queue(f"events-{server}-{time.monotonic_ns()}", fifo=True) for server in ("i-1", "i-2", "i-3")}
    events = ["deploy 7", "flush caches", "deploy 8"]
    for url in urls.values():
        send(client, url, *events)
    pool = [
        Printing(SQSListenerConfig(name_of(url), bus_name=server), client=client, stop_when=MaxItems(len(events)))
        for server, url in urls.items()
    ]
    threads = [threading.Thread(target=listener.listen) for listener in pool]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    printed = capsys.readouterr().out.splitlines()
    for server in urls:
        assert [line for line in printed if line.startswith(server)] == [f"{server}: {event}" for event in events]
    assert len(printed) == len(urls) * len(events)


# ---------------------------------------------------------------------------- fast and slow lane


def test_fast_and_slow_lane(client: Any, make_queue: MakeQueue, capsys: pytest.CaptureFixture[str]) -> None:
    """An urgent message that comes during the second of five long jobs is next, and interrupts nothing."""
    slow, fast = make_queue(fifo=True), make_queue()
    send(client, slow, *(f"Job #{number} with no priority" for number in range(5)))

    class Lanes(Printing):
        def low_priority_job(self, message: str) -> None:
            print(f"Starting low priority, long job: {message}")
            if "#1" in message:
                send(client, fast, "Priority message")
                self.has_fetched("high-priority-bus")
            print(f"Ended low priority job: {message}")

        def high_priority_job(self, message: str) -> None:
            print(f"Starting high priority, quick job: {message}")
            print(f"Ended high priority job: {message}")

        def handle_message(self, queue: str, bus: str, priority: float, message: SQSMessage) -> None:
            if bus == "high-priority-bus":
                self.high_priority_job(message.body)
            else:
                self.low_priority_job(message.body)

    Lanes(
        SQSListenerConfig(name_of(slow), priority_number=1),
        SQSListenerConfig(name_of(fast), priority_number=5, bus_name="high-priority-bus"),
        client=client,
        stop_when=MaxItems(6),
    ).listen()
    assert capsys.readouterr().out.splitlines() == [
        "Starting low priority, long job: Job #0 with no priority",
        "Ended low priority job: Job #0 with no priority",
        "Starting low priority, long job: Job #1 with no priority",
        "Ended low priority job: Job #1 with no priority",
        "Starting high priority, quick job: Priority message",
        "Ended high priority job: Priority message",
        "Starting low priority, long job: Job #2 with no priority",
        "Ended low priority job: Job #2 with no priority",
        "Starting low priority, long job: Job #3 with no priority",
        "Ended low priority job: Job #3 with no priority",
        "Starting low priority, long job: Job #4 with no priority",
        "Ended low priority job: Job #4 with no priority",
    ]


class Far:
    """A client at the end of a slow network: each poll takes longer by some milliseconds."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def receive_message(self, **arguments: Any) -> Any:
        time.sleep(LATENCY / 2)  # the way there
        answer = self._client.receive_message(**arguments)
        time.sleep(LATENCY / 2)  # and back
        return answer


@pytest.mark.parametrize("look_ahead", ["message", "bulk"])
def test_urgent_messages_are_not_interleaved(
    look_ahead: Any, client: Any, make_queue: MakeQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five H that arrive while the fourth L is handled, by long polls that take 120 ms: no L comes in between.

    The listener that this is for printed L L L L H L H L H L H L H L.
    """
    low, high = make_queue(), make_queue()
    send(client, low, *["L"] * 10)

    class Five(Printing):
        handled = 0

        def work(self, body: str) -> None:
            self.handled += 1
            if self.handled == 4:
                send(client, high, *["H"] * 5)
                self.has_fetched("high")

    Five(
        SQSListenerConfig(name_of(low), 1, "low"),
        SQSListenerConfig(name_of(high), 5, "high"),
        client=Far(client),
        look_ahead=look_ahead,
        stop_when=MaxItems(15),
    ).listen()
    assert "".join(line[-1] for line in capsys.readouterr().out.splitlines()) == "LLLLHHHHHLLLLLL"


# ---------------------------------------------------------------------------- work and administration


def test_work_and_administration(client: Any, make_queue: MakeQueue, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker shares two queues of work with others and has one of its own, whose messages go before all work.

    The last of them ends it; the work that is left goes back to the others.
    """
    usual, urgent, admin = make_queue(fifo=True), make_queue(fifo=True), make_queue(fifo=True)
    send(client, usual, *(f"order {number}" for number in range(1, 5)))

    class Worker(Printing):
        def work(self, body: str) -> None:
            if body == "order 1":
                send(client, urgent, "express 1", "express 2")
                self.has_fetched("urgent")
                send(client, admin, "update the model")
                self.has_fetched("admin")
            elif body == "order 2":
                send(client, admin, "reboot")
                self.has_fetched("admin", 2)
            elif body == "reboot":
                self.stop()

    worker = Worker(
        SQSListenerConfig(name_of(usual), 1, "usual"),
        SQSListenerConfig(name_of(urgent), 5, "urgent"),
        SQSListenerConfig(name_of(admin), 100, "admin"),
        client=client,
    )
    report = worker.listen()
    assert capsys.readouterr().out.splitlines() == [
        "usual: order 1",
        "admin: update the model",
        "urgent: express 1",
        "urgent: express 2",
        "usual: order 2",
        "admin: reboot",
    ]
    assert report.stats.cleaned == 6
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = client.get_queue_attributes(QueueUrl=usual, AttributeNames=names)["Attributes"]
    assert left == {names[0]: "2", names[1]: "0"}
