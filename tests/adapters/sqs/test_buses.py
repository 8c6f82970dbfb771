"""Priority buses: which queue's message goes first, that each goes home, and what is refused.

Order is tested on scripted queues, whose answers come when the test says; what a server does, on a server.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import (
    Aging,
    BulkReceived,
    Constant,
    Consumer,
    MaxItems,
    State,
    Strict,
    WorkerRevived,
    current,
    each,
)
from queue_consumer.testing import RecordingObserver
from queue_consumer_sqs import Bus, PriorityBuses, QueueNotFound, SQSMessage, SQSQueue
from support.lanes import Job, Names, Source, following, jobs, reconcile
from support.lifecycle import PATIENCE
from support.lifecycle_handlers import Gate
from support.sqs_servers import MakeQueue

LONG = 60.0  # seconds of a right of way that no test sees the end of


class Scripted(Source):
    """A queue that can be on a bus and does what the test says; `limits`: what each `get` was told."""

    def __init__(self, name: str, items: Iterable[Any] = (), *, arn: str = "", url: str = "", **options: Any) -> None:
        super().__init__(items, **options)
        self.name, self.bus, self.priority = name, "", 0.0
        self.arn, self.url = arn, url
        self.limits: list[int | None] = []
        self.closed = 0

    def get(self, limit: int | None = None) -> list[Any]:
        self.limits.append(limit)
        if limit is not None:
            self.bulk = limit
        return super().get()

    def stats(self) -> dict[str, Any]:
        return {"polls": len(self.polls)}

    def close(self) -> None:
        self.closed += 1


def has(item: Job, bulk: BulkReceived) -> bool:
    return item in bulk.items


class Ride:
    """A consumer of buses with one handler that follows its items, and what there is to wait for."""

    def __init__(self, folder: Path, *buses: Bus, look_ahead: Any = "bulk", **options: Any) -> None:
        self.names = Names(folder / "names")
        self.events = RecordingObserver()
        self.buses = PriorityBuses(buses, look_ahead=look_ahead)
        self.sources: list[Any] = list(self.buses.queues.values())
        options = {"max_handlers": 1, "backoff": Constant(0), "lane_policy": Strict(right_of_way=LONG), **options}
        handler: Any = following("threads", self.names)
        self.consumer: Consumer[Any] = Consumer(self.buses, handler, 1, observers=[self.events], **options)

    def on_the_belt(self, *items: Job) -> None:
        """Wait until these have been fetched and lie on the belt."""
        for item in items:
            self.events.wait_for(BulkReceived, timeout=PATIENCE, where=partial(has, item))

    def run_to_rest(self, during: Callable[[], object] = lambda: None) -> str:
        """Start it, wait until everything is cleaned up, stop it; the lanes in the order of what was handled."""
        with self.consumer:
            during()
            assert self.consumer.wait_idle(PATIENCE), f"it does not come to rest: {self.consumer!r}"
        reconcile(self.consumer.shutdown(), *self.sources)
        return "".join(name[0] for name in self.names.lines())


def gated(lane: str, count: int, gate: Path, at: int) -> list[Job]:
    """So many jobs, of which one waits until the gate is opened."""
    return [job._replace(gate=str(gate)) if job.number == at else job for job in jobs(lane, count)]


# ---------------------------------------------------------------------------- who goes first


@pytest.mark.parametrize("look_ahead", ["message", "bulk"])
def test_urgent_messages_that_come_during_a_slow_one_go_next(look_ahead: str, tmp_path: Path) -> None:
    """Two that arrive while the first low one is handled are handled before any of the others: L H H L L L L."""
    gate = Gate(tmp_path)
    low = Scripted("low", gated("L", 5, tmp_path / "gate", 1))
    high = Scripted("high")
    ride = Ride(tmp_path, Bus("usual", 1, [low]), Bus("urgent", 5, [high]), look_ahead=look_ahead)

    def during() -> None:
        gate.wait_for()
        high.put(*jobs("H", 2))
        ride.on_the_belt(Job("H", 1))
        gate.open()

    assert ride.run_to_rest(during) == "LHHLLLL"


@pytest.mark.parametrize("look_ahead", ["message", "bulk"])
def test_nothing_comes_between_urgent_messages_however_long_a_poll_takes(look_ahead: str, tmp_path: Path) -> None:
    """Five that arrive during the fourth low one, over polls of 120 ms, are handled in a row: L L L L H H H H H L."""
    gate = Gate(tmp_path)
    low = Scripted("low", gated("L", 9, tmp_path / "gate", 4))
    high = Scripted("high", bulk=1, wait=0)
    high.on_get = lambda number: high.over.wait(0.12)
    ride = Ride(tmp_path, Bus("usual", 1, [low]), Bus("urgent", 5, [high]), look_ahead=look_ahead)

    def during() -> None:
        gate.wait_for()
        high.put(*jobs("H", 5))
        ride.on_the_belt(Job("H", 1))
        gate.open()

    assert ride.run_to_rest(during) == "LLLLHHHHHLLLLL"


def test_the_greater_number_goes_first(tmp_path: Path) -> None:
    """However the buses are listed, and whatever numbers they have."""
    gate = Gate(tmp_path)
    queues = {name: Scripted(name) for name in "ABCD"}
    queues["A"].put(*gated("A", 3, tmp_path / "gate", 1))
    priorities = {"A": -1, "B": 10, "C": 2.5, "D": 0}
    ride = Ride(tmp_path, *(Bus(name, priority, [queues[name]]) for name, priority in priorities.items()))

    def during() -> None:
        gate.wait_for()
        for name in "DCB":  # from below, since what is higher would keep lower ones from being fetched
            queues[name].put(*jobs(name, 2))
            ride.on_the_belt(Job(name, 1))
        gate.open()

    assert ride.run_to_rest(during) == "ABBCCDDAA"


def test_equal_numbers_take_turns(tmp_path: Path) -> None:
    """Two buses of one priority, or two queues of one bus, get a turn each, in the order in which they are listed."""
    gate = Gate(tmp_path)
    one, other, third = Scripted("one"), Scripted("other"), Scripted("third")
    start = Scripted("start", gated("S", 1, tmp_path / "gate", 1))
    ride = Ride(tmp_path, Bus("x", 1, [one, other]), Bus("y", 1, [third]), Bus("start", 0, [start]))

    def during() -> None:
        gate.wait_for()
        for queue, name in ((one, "A"), (other, "B"), (third, "C")):
            queue.put(*jobs(name, 3))
        ride.on_the_belt(Job("A", 1), Job("B", 1), Job("C", 1))
        gate.open()

    assert ride.run_to_rest(during) == "SABCABCABC"


def test_what_runs_is_not_interrupted(tmp_path: Path) -> None:
    """An urgent message waits for the end of the one that is handled, and for nothing else."""
    gate = Gate(tmp_path)
    low = Scripted("low", gated("L", 2, tmp_path / "gate", 1))
    high = Scripted("high")
    ride = Ride(tmp_path, Bus("usual", 1, [low]), Bus("urgent", 2, [high]))

    def during() -> None:
        gate.wait_for()
        high.put(*jobs("H", 1))
        ride.on_the_belt(Job("H", 1))
        assert ride.names.lines() == ["L1"]
        gate.open()

    assert ride.run_to_rest(during) == "LHL"


def test_aging_gives_a_low_bus_its_turn(tmp_path: Path) -> None:
    """With `Aging` a bus below one that never runs dry is handled all the same; by default it would starve."""
    gate = Gate(tmp_path)
    high, low = Scripted("high", gated("H", 5_000, tmp_path / "gate", 1), bulk=2), Scripted("low")
    ride = Ride(tmp_path, Bus("urgent", 5, [high]), Bus("usual", 1, [low]), lane_policy=Aging(every=4))
    with ride.consumer:
        gate.wait_for()
        low.put(*jobs("L", 3))
        ride.on_the_belt(Job("L", 1))
        gate.open()
        low.wait_for_cleanup(3)
    reconcile(ride.consumer.shutdown(), *ride.sources)
    order = "".join(name[0] for name in ride.names.lines())
    assert "H" * 6 not in order.rstrip("H")


# ---------------------------------------------------------------------------- what is fetched


def test_a_look_ahead_of_a_message_fetches_one_of_each_queue(tmp_path: Path) -> None:
    """While a message is handled one more of each queue is out, and all others stay visible to other consumers."""
    gate = Gate(tmp_path)
    low = Scripted("low", gated("L", 9, tmp_path / "gate", 1))
    high = Scripted("high")
    ride = Ride(tmp_path, Bus("usual", 1, [low]), Bus("urgent", 2, [high]), look_ahead="message")

    def during() -> None:
        gate.wait_for()
        ride.on_the_belt(Job("L", 2))
        high.put(*jobs("H", 9))
        ride.on_the_belt(Job("H", 1))
        time.sleep(0.1)  # that no more is fetched is not announced to anybody
        assert (len(low.given), len(high.given)) == (2, 1)
        gate.open()

    ride.run_to_rest(during)
    assert set(low.limits) == set(high.limits) == {1}


def test_a_look_ahead_of_a_message_is_one_for_many_handlers_too(tmp_path: Path) -> None:
    """However many handlers there are, a poll brings one message."""
    queue = Scripted("queue", jobs("A", 20))
    ride = Ride(tmp_path, Bus("a", 1, [queue]), Bus("b", 1, [Scripted("b")]), look_ahead="message", max_handlers=4)
    ride.run_to_rest()
    assert all(len(poll.items) <= 1 for poll in queue.polls)


def test_a_look_ahead_of_a_bulk_fetches_what_a_poll_brings(tmp_path: Path) -> None:
    """Though there is one handler, a poll brings as many as the queue gives at a time: a tenth of the calls."""
    queue = Scripted("queue", jobs("A", 20), bulk=10)
    ride = Ride(tmp_path, Bus("a", 1, [queue]), Bus("b", 1, [Scripted("b")]))
    ride.run_to_rest()
    assert [len(poll.items) for poll in queue.polls if poll.items] == [10, 10]


def test_lower_queues_are_left_alone_while_higher_ones_keep_all_handlers_busy(tmp_path: Path) -> None:
    """Their messages stay visible to others."""
    gate = Gate(tmp_path)
    high = Scripted("high", gated("H", 20, tmp_path / "gate", 1))
    low = Scripted("low")
    ride = Ride(tmp_path, Bus("urgent", 2, [high]), Bus("usual", 1, [low]))

    def during() -> None:
        gate.wait_for()
        low.wait_for(lambda: not low.inside())
        low.put(*jobs("L", 3))
        time.sleep(0.1)  # that nothing is fetched is not announced to anybody
        assert not low.given
        gate.open()

    assert ride.run_to_rest(during).startswith("H")


def test_a_queue_whose_polls_fail_recovers_alone(tmp_path: Path) -> None:
    """The others go on meanwhile, and it needs no restart of the consumer."""

    def broken(number: int) -> None:
        if number <= 2:
            raise ConnectionError("the network is down")

    bad = Scripted("bad", jobs("B", 3), on_get=broken)
    good = Scripted("good", jobs("G", 3))
    ride = Ride(tmp_path, Bus("urgent", 2, [bad]), Bus("usual", 1, [good]))
    with ride.consumer:
        good.wait_for_cleanup(3)
        ride.events.wait_for(WorkerRevived, count=2, timeout=PATIENCE)
        bad.wait_for_cleanup(3)
    reconcile(ride.consumer.shutdown(), *ride.sources)
    assert len(ride.events.of(WorkerRevived, lambda event: "good" in event.worker)) == 0


def test_a_message_is_cleaned_up_at_its_own_queue(tmp_path: Path) -> None:
    """And released there: what came from one queue never goes to another."""
    queues = [Scripted(name, [*jobs(name, 5), Job(name, 6, deed="raise")]) for name in "ABC"]
    ride = Ride(tmp_path, *(Bus(queue.name, number, [queue]) for number, queue in enumerate(queues)))
    with ride.consumer:
        for queue in queues:
            queue.wait_for_cleanup(5)
            queue.wait_for_release(1)
    reconcile(ride.consumer.shutdown(), *queues)
    for queue in queues:
        assert [job.lane for job in queue.cleaned] == [queue.name] * 5
        assert {job.name for job, _ in queue.released} == {f"{queue.name}6"}


# ---------------------------------------------------------------------------- names, and no globals


def test_lanes_have_the_names_of_their_queues(tmp_path: Path) -> None:
    """`current().lane`, the statistics and the names of threads tell of the queue."""
    lanes: list[str] = []
    buses = PriorityBuses([Bus("x", 1, [Scripted("orders", ["a"]), Scripted("returns", ["b"])])])

    @each
    def note(item: str) -> None:
        lanes.append(current().lane)

    Consumer(buses, note, stop_when=MaxItems(2)).run()
    assert sorted(lanes) == ["orders", "returns"]


def test_queues_of_equal_names_are_told_apart_by_region_and_account() -> None:
    """Where the name is not enough there is more of the address; other queues keep their short name."""
    here, there, other, third = (
        Scripted("orders", arn="arn:aws:sqs:eu-west-1:111111111111:orders"),
        Scripted("orders", arn="arn:aws:sqs:us-east-1:111111111111:orders"),
        Scripted("orders", arn="arn:aws:sqs:us-east-1:222222222222:orders"),
        Scripted("returns", arn="arn:aws:sqs:us-east-1:111111111111:returns"),
    )
    buses = PriorityBuses([Bus("x", 1, [here, there, other, third])])
    assert [lane.name for lane in buses.lanes] == [
        "orders@eu-west-1/111111111111",
        "orders@us-east-1/111111111111",
        "orders@us-east-1/222222222222",
        "returns",
    ]
    assert buses.queues["returns"] is third


def test_queues_of_one_name_at_several_servers_are_told_apart_by_their_urls() -> None:
    """Two servers of one's own may have the same region and account."""
    arn = "arn:aws:sqs:us-east-1:000000000000:orders"
    queues = [Scripted("orders", arn=arn, url=f"http://localhost:{port}/orders") for port in (1, 2)]
    buses = PriorityBuses([Bus("x", 1, queues)])
    assert list(buses.queues) == ["http://localhost:1/orders", "http://localhost:2/orders"]


def test_a_queue_knows_its_bus_and_priority() -> None:
    """They are written on the queue, which passes them on to its messages."""
    one, other = Scripted("one"), Scripted("other")
    PriorityBuses([Bus("urgent", 5, [one]), Bus(queues=[other])])
    assert (one.bus, one.priority, other.bus, other.priority) == ("urgent", 5, "default-bus", 1)


def test_two_consumers_share_nothing(tmp_path: Path) -> None:
    """Buses of one name in two consumers do not know of each other: what is stopped is one of them."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    queues = [Scripted("orders"), Scripted("orders")]
    first, second = (Ride(folder, Bus("x", 1, [queue])) for folder, queue in zip(folders, queues, strict=True))
    with first.consumer, second.consumer:
        first.consumer.shutdown()
        queues[0].put(*jobs("A", 1))
        queues[1].put(*jobs("B", 3))
        queues[1].wait_for_cleanup(3)
    second.consumer.shutdown()
    assert (first.names.lines(), len(second.names.lines())) == ([], 3)


def test_statistics_are_told_by_queue() -> None:
    """Each queue's own figures, with its bus and priority, under the name of its lane."""
    buses = PriorityBuses([Bus("urgent", 5, [Scripted("one")]), Bus("usual", 1, [Scripted("other")])])
    consumer = Consumer(buses, each(print))
    expected = {
        "one": {"bus": "urgent", "priority": 5, "polls": 0},
        "other": {"bus": "usual", "priority": 1, "polls": 0},
    }
    assert buses.stats() == consumer.stats().queue == expected


def test_the_consumer_closes_each_queue_once(tmp_path: Path) -> None:
    """At the end, and not again."""
    queues = [Scripted("one"), Scripted("other")]
    ride = Ride(tmp_path, Bus("x", 1, queues))
    ride.run_to_rest()
    ride.consumer.shutdown()
    assert [queue.closed for queue in queues] == [1, 1]


def test_every_queue_is_interrupted_at_the_end(tmp_path: Path) -> None:
    """A stop waits for no long poll, of whichever queue."""
    queues = [Scripted(name, wait=PATIENCE * 10) for name in "ABC"]
    ride = Ride(tmp_path, *(Bus(queue.name, number, [queue]) for number, queue in enumerate(queues)))
    with ride.consumer:
        for queue in queues:
            queue.wait_for_poll()
        assert ride.consumer.shutdown(PATIENCE).stats.state is State.STOPPED
    assert all(queue.over.is_set() and not queue.inside() for queue in queues)


class Awaited:
    """A queue of coroutines that can be on a bus."""

    def __init__(self, items: list[Any]) -> None:
        self.name, self.bus, self.priority, self.items = "awaited", "", 0.0, items
        self.cleaned: list[Any] = []
        self.closed: list[object] = []

    async def get(self, limit: int | None = None) -> list[Any]:
        return [self.items.pop(0) for _ in range(min(limit or 2, len(self.items)))]

    async def cleanup(self, items: list[Any]) -> None:
        self.cleaned += items

    async def close(self) -> None:
        self.closed.append(asyncio.get_running_loop())


@pytest.mark.parametrize("look_ahead", ["message", "bulk"])
def test_queues_of_coroutines_can_be_on_a_bus(look_ahead: Any) -> None:
    """Beside others, too; all are closed, on the loop that they are used on."""
    awaited, plain = Awaited(["a", "b", "c"]), Scripted("plain", ["d"])
    taken: list[str] = []
    buses = PriorityBuses([Bus("x", 1, [awaited, plain])], look_ahead=look_ahead)
    report = Consumer(buses, each(taken.append), stop_when=MaxItems(4)).run()
    assert (sorted(taken), sorted(awaited.cleaned), report.balanced) == (["a", "b", "c", "d"], ["a", "b", "c"], True)
    assert (len(awaited.closed), plain.closed) == (1, 1)


# ---------------------------------------------------------------------------- what is refused


def test_a_queue_can_be_on_one_bus_only() -> None:
    """On a second one its messages would have two priorities."""
    queue = Scripted("orders")
    with pytest.raises(ValueError, match=r"the queue 'orders' can be on one bus only, and once"):
        PriorityBuses([Bus("x", 1, [queue]), Bus("y", 2, [queue])])
    assert queue.bus == ""  # nothing came of it, so it is still free
    PriorityBuses([Bus("x", 1, [queue])])
    with pytest.raises(ValueError, match=r"the queue 'orders' is on the bus 'x' already"):
        PriorityBuses([Bus("y", 2, [queue])])


def test_the_same_queue_opened_twice_is_refused() -> None:
    """Two objects for one URL are one queue."""
    twins = [Scripted("orders", url="https://sqs/1/orders", arn="arn:aws:sqs:r:1:orders") for _ in range(2)]
    with pytest.raises(ValueError, match=r"can be on one bus only, and once; got 'https://sqs/1/orders'"):
        PriorityBuses([Bus("x", 1, twins)])


OneBus: Any = Bus  # without their types, for what type checkers would refuse as well
All: Any = PriorityBuses


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: OneBus(5), TypeError, "Bus: name must be a str; got 5"),
        (lambda: OneBus(""), ValueError, "Bus: name must not be empty"),
        (lambda: OneBus("x", "1"), TypeError, "Bus: priority must be a number, the greater the sooner; got '1'"),
        (lambda: OneBus("x", True), TypeError, "Bus: priority must be a number, the greater the sooner; got True"),
        (lambda: OneBus("x", float("nan")), ValueError, "Bus: priority must be a number that can be compared; got nan"),
        (
            lambda: OneBus("x", 1, "orders"),
            TypeError,
            "Bus: queues must be a list of SQSQueue, names or URLs; got 'orders'",
        ),
        (lambda: OneBus("x", 1, [5]), TypeError, "Bus: queues must be of SQSQueue, names or URLs; got 5"),
        (lambda: OneBus("x", 1, [""]), ValueError, "Bus: queues, the name or URL of one must not be empty"),
        (
            lambda: OneBus("x", 1, ["a"], regoin="eu"),
            TypeError,
            "Bus: there is no option 'regoin'; there are access_key",
        ),
        (lambda: All(5), TypeError, "PriorityBuses: buses must be a list of Bus; got 5"),
        (lambda: All(["a"]), TypeError, "buses must be of Bus(name, priority, queues); got 'a'"),
        (lambda: All([]), ValueError, "PriorityBuses: at least one bus must have a queue; got []"),
        (
            lambda: All([Bus()]),
            ValueError,
            "at least one bus must have a queue; got [Bus('default-bus', 1, [])]",
        ),
        (
            lambda: All([OneBus("x", 1, ["a"])], look_ahead=3),
            ValueError,
            "PriorityBuses: look_ahead must be 'bulk' or 'message'; got 3",
        ),
        (lambda: All([OneBus("x", 1, ["a"])], wait=3), TypeError, "PriorityBuses: there is no option 'wait'"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(make: Any, error: type[Exception], words: str) -> None:
    """It names the parameter, the value, and what is allowed; and no queue is opened."""
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)


# ---------------------------------------------------------------------------- on a server


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def handled(buses: PriorityBuses, count: int, **options: Any) -> list[SQSMessage]:
    """So many messages, in the order in which they are handled, one at a time; then the consumer is stopped."""
    taken: list[SQSMessage] = []
    handler = each(taken.append)
    report = Consumer[SQSMessage](buses, handler, max_handlers=1, stop_when=MaxItems(count), **options).run()
    assert report.balanced
    assert report.stats.cleaned == len(taken)
    return taken


def test_messages_know_their_queue_bus_and_priority(client: Any, make_queue: MakeQueue) -> None:
    """Whether the queue was given opened, by name or by URL; several may be on one bus."""
    urls = [make_queue() for _ in range(3)]
    for url in urls:
        client.send_message(QueueUrl=url, MessageBody=name_of(url))
    buses = PriorityBuses(
        [
            Bus("urgent", 5, [SQSQueue(name_of(urls[0]), client=client), urls[1]]),
            Bus("usual", 1, [name_of(urls[2])]),
        ],
        client=client,
    )
    taken = {message.body: (message.queue, message.bus, message.priority) for message in handled(buses, 3)}
    buses_of = zip(urls, [("urgent", 5), ("urgent", 5), ("usual", 1)], strict=True)
    assert taken == {name_of(url): (name_of(url), *bus) for url, bus in buses_of}


def test_each_queue_deletes_its_own(client: Any, make_queue: MakeQueue) -> None:
    """At the end all queues are empty, and the meters say which calls each made."""
    urls = [make_queue() for _ in range(3)]
    for url in urls:
        entries = [{"Id": str(number), "MessageBody": "a"} for number in range(5)]
        client.send_message_batch(QueueUrl=url, Entries=entries)
    buses = PriorityBuses([Bus(url, number, [url]) for number, url in enumerate(urls)], client=client)
    handled(buses, 15)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    for url in urls:
        assert client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"] == dict.fromkeys(
            names, "0"
        )
        figures = buses.stats()[name_of(url)]
        assert (figures["bus"], figures["received"]) == (url, 5)
        assert figures["calls"]["delete_message_batch"] >= 1


def test_groups_stay_in_order_on_a_bus(client: Any, make_queue: MakeQueue) -> None:
    """A FIFO queue is still one, beside a standard queue of higher priority, and with many handlers."""
    fifo, standard = make_queue(fifo=True), make_queue()
    for number in range(10):
        client.send_message(
            QueueUrl=fifo, MessageBody=str(number), MessageGroupId="abc"[number % 3], MessageDeduplicationId=str(number)
        )
        client.send_message(QueueUrl=standard, MessageBody="x")
    taken: list[SQSMessage] = []
    buses = PriorityBuses([Bus("urgent", 2, [standard]), Bus("usual", 1, [fifo])], client=client)
    Consumer[SQSMessage](buses, each(taken.append), max_handlers=4, stop_when=MaxItems(20)).run()
    for group in "abc":
        mine = [int(message.body) for message in taken if message.group == group]
        assert mine == sorted(mine)
    assert len(taken) == 20


def test_a_queue_that_is_out_of_reach_recovers_alone(client: Any, make_queue: MakeQueue) -> None:
    """While its network is down the others go on; when it is up again its messages come, without a restart."""
    far, near = make_queue(), make_queue()
    client.send_message(QueueUrl=far, MessageBody="far")
    client.send_message(QueueUrl=near, MessageBody="near")
    up = threading.Event()

    class Cut:
        """A client whose network is down until `up` is set."""

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def receive_message(self, **arguments: Any) -> Any:
            if not up.is_set():
                raise ConnectionError("the network is down")
            return client.receive_message(**arguments)

    taken: list[str] = []

    @each
    def note(message: SQSMessage) -> None:
        taken.append(message.body)
        up.set()

    buses = PriorityBuses([Bus("far", 9, [far], client=Cut()), Bus("near", 1, [near])], client=client)
    report = Consumer(buses, note, max_handlers=1, stop_when=MaxItems(2)).run()
    assert taken == ["near", "far"]
    assert (report.balanced, report.stats.revived) == (True, 0)


class Session:
    """A boto3 session that writes down what was asked of it, and which clients were closed."""

    def __init__(self, client: Any) -> None:
        self.client_of_all = client
        self.asked: list[dict[str, Any]] = []
        self.closed = 0

    def client(self, service: str, **options: Any) -> Any:
        assert service == "sqs"
        self.asked.append(options)
        return Closable(self)


class Closable:
    def __init__(self, session: Session) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session.client_of_all, name)

    def close(self) -> None:
        self._session.closed += 1


def test_options_of_a_bus_go_before_those_of_all(client: Any, make_queue: MakeQueue) -> None:
    """Regions, accounts and endpoints can differ by bus; what a bus does not say is as for all."""
    one, other = make_queue(), make_queue()
    session = Session(client)
    buses = PriorityBuses(
        [Bus("a", 1, [name_of(one)], region="eu-west-1"), Bus("b", 2, [name_of(other)])],
        region="us-west-2",
        endpoint_url="http://127.0.0.1:1",
        session=session,
    )
    asked = {(options["region_name"], options["endpoint_url"]) for options in session.asked}
    assert asked == {("eu-west-1", "http://127.0.0.1:1"), ("us-west-2", "http://127.0.0.1:1")}
    buses.close()
    assert session.closed == len(session.asked)


def test_a_missing_queue_is_an_error_at_once(client: Any, make_queue: MakeQueue) -> None:
    """Typed, when the buses are made; those opened before are closed, and those given are free for another try."""
    session = Session(client)
    given = SQSQueue(make_queue(), client=client)
    with pytest.raises(QueueNotFound):
        PriorityBuses([Bus("a", 1, [given, make_queue(), "no-such-queue"])], session=session)
    assert session.closed == len(session.asked) >= 2
    assert given.bus == ""


@pytest.mark.parametrize(("look_ahead", "most"), [("message", 1), ("bulk", 10)])
def test_a_receive_asks_for_the_look_ahead(look_ahead: Any, most: int, client: Any, make_queue: MakeQueue) -> None:
    """One message, or ten, however many handlers there are and however quick they are."""
    url = make_queue()
    for _ in range(4):
        entries = [{"Id": str(number), "MessageBody": "a"} for number in range(10)]
        client.send_message_batch(QueueUrl=url, Entries=entries)
    asked: set[int] = set()

    class Noting:
        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def receive_message(self, **arguments: Any) -> Any:
            asked.add(arguments["MaxNumberOfMessages"])
            return client.receive_message(**arguments)

    handled(PriorityBuses([Bus("x", 1, [url])], look_ahead=look_ahead, client=Noting()), 40)
    assert asked == {most}


def test_a_look_ahead_of_a_message_holds_at_any_pace(client: Any, make_queue: MakeQueue) -> None:
    """A queue that is opened for it gives one message, also if it is asked for as many as it likes."""
    url = make_queue()
    client.send_message_batch(QueueUrl=url, Entries=[{"Id": str(number), "MessageBody": "a"} for number in range(5)])
    buses = PriorityBuses([Bus("x", 1, [url])], look_ahead="message", client=client)
    assert len(buses.queues[name_of(url)].get()) == 1
