"""Several SQS queues as one, each with a priority: what `Consumer` takes as its queue where some messages go first.

A bus is a name, a priority, and the queues on it. Who goes first is decided by the line, at the moment when a handler
is free, of what has been fetched by then; so no queue waits for the poll of another, and none of this rests on how
long a poll takes. Nothing here is shared between two `PriorityBuses`, and nothing is global.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, Unpack, runtime_checkable

from queue_consumer import Lane

from ._access import AccessOptions
from ._queue import SQSQueue

__all__ = ["Bus", "LookAhead", "OnBus", "PriorityBuses", "QueueOptions"]

LookAhead: TypeAlias = Literal["bulk", "message"]


class QueueOptions(AccessOptions, total=False):
    """What `SQSQueue` takes besides the name: how the service is reached, and how the queue is read."""

    wait_time: float
    poll_interval: float | None
    batch_size: int
    visibility_timeout: float | None
    cleanup_linger: float
    idle_lease: float


@runtime_checkable
class OnBus(Protocol):
    """What a queue needs to be on a bus; an `SQSQueue` has it."""

    name: str
    bus: str
    priority: float

    def get(self, limit: int | None = None) -> Any: ...


class Bus:
    """A name and a priority for the messages of some queues.

    Args:
        name: what messages have as their `bus`.
        priority: the greater, the sooner its messages are handled; those of equal numbers take turns.
        queues: an `SQSQueue` each, or the name or URL of a queue that `PriorityBuses` opens.
        options: those of `SQSQueue`, for the queues that are given by name or URL; they win over those of
            `PriorityBuses`. A queue that needs options of its own is given as an `SQSQueue`, or has a bus of its own:
            several may have one name.

    Raises:
        TypeError, ValueError: for a wrong argument, with its name, its value, and what is allowed.
    """

    def __init__(
        self,
        name: str = "default-bus",
        priority: float = 1,
        queues: Iterable[OnBus | str] = (),
        **options: Unpack[QueueOptions],
    ) -> None:
        check_name("Bus: name", name)
        check_priority("Bus: priority", priority)
        check_options("Bus", options)
        self.name = name
        self.priority = priority
        self.queues = tuple(checked_queues(queues))
        self.options = options

    def __repr__(self) -> str:
        names = [queue if isinstance(queue, str) else queue.name for queue in self.queues]
        return f"Bus({self.name!r}, {self.priority!r}, {names})"


class PriorityBuses:
    """Buses as one queue for a `Consumer`, which takes it over: it closes it at the end.

        buses = PriorityBuses([Bus("urgent", 5, ["orders-urgent"]), Bus("usual", 1, ["orders", "returns"])])
        Consumer(buses, handler, max_handlers=4).run()

    Each queue has a getter of its own, polls in its own way, and recovers alone when its polls fail. While a higher
    queue keeps every handler busy, lower ones are not polled, so that their messages stay visible to others. By
    default priority is strict; `Consumer(lane_policy=Aging(every=...))` gives lower queues a turn now and then, and
    `Strict(right_of_way=...)` says how long they wait for the next poll of a higher queue whose last one brought
    something: longer than a poll takes to say that there is more, for none of it to be overtaken.

    Args:
        buses: in any order.
        look_ahead: what each queue fetches while the handlers are busy: "bulk", what one receive brings, ten at most;
            or "message", one, so that all others stay visible to other consumers, at the price of a call for each. A
            queue that is given opened must have `batch_size=1` for that, or may bring more when handlers are quick.
        options: those of `SQSQueue`, for all queues that are given by name or URL.

    Attributes:
        lanes: one for each queue, under its name; where names are equal, as `name@region/account`.
        queues: the opened queues by the names of their lanes.

    Raises:
        TypeError, ValueError: for a wrong argument; for a queue that is on a bus already.
        SQSError: a queue could not be opened; those opened before are closed again.
    """

    def __init__(
        self, buses: Iterable[Bus], *, look_ahead: LookAhead = "bulk", **options: Unpack[QueueOptions]
    ) -> None:
        self.buses = checked_buses(buses)
        if look_ahead not in ("bulk", "message"):
            raise ValueError(f"PriorityBuses: look_ahead must be 'bulk' or 'message'; got {look_ahead!r}")
        check_options("PriorityBuses", options)
        check_free([queue for bus in self.buses for queue in bus.queues if not isinstance(queue, str)])
        opened: list[SQSQueue] = []
        try:
            placed: list[tuple[OnBus, Bus]] = []
            for bus in self.buses:
                for given in bus.queues:
                    queue: Any = given
                    if isinstance(given, str):
                        own: QueueOptions = {**options, **bus.options}
                        if look_ahead == "message":
                            own["batch_size"] = 1  # or it would ask for more once messages are handled quickly
                        queue = SQSQueue(given, **own)
                        opened.append(queue)
                    placed.append((queue, bus))
            names = lane_names([queue for queue, _ in placed])
        except BaseException:
            for queue in opened:
                queue.close()
            raise
        for queue, bus in placed:
            queue.bus, queue.priority = bus.name, bus.priority
        self.queues: dict[str, OnBus] = dict(zip(names, (queue for queue, _ in placed), strict=True))
        if any(inspect.iscoroutinefunction(getattr(queue, "close", None)) for queue, _ in placed):
            # Then the consumer is to close each queue by itself, on its loop, as it does where there is no other close.
            self.__dict__["close"] = None
        self.lanes = tuple(
            Lane(Polled(queue, 1 if look_ahead == "message" else None), bus.priority, name)
            for name, (queue, bus) in zip(names, placed, strict=True)
        )

    def stats(self) -> dict[str, dict[str, Any]]:
        """What each queue says of itself, by the name of its lane, with its bus and priority."""
        return {
            name: {"bus": queue.bus, "priority": queue.priority, **(dict(stats()) if stats is not None else {})}
            for name, queue in self.queues.items()
            for stats in [getattr(queue, "stats", None)]
        }

    def close(self) -> None:
        """Close all queues, those that were given opened too; a consumer does it at its end.

        It is None where there are queues of coroutines, which are closed on the loop that they are used on.
        """
        for queue in self.queues.values():
            close = getattr(queue, "close", None)
            if close is not None:
                close()

    def __repr__(self) -> str:
        return f"PriorityBuses({list(self.buses)})"


class Polled:
    """A queue as its lane sees it: how much a poll brings is for the bus to say, and not for the room on the belt.

    The room of a line with one handler is one message, and with it every receive would bring one.
    """

    def __init__(self, queue: OnBus, most: int | None) -> None:
        self.queue = queue
        if inspect.iscoroutinefunction(queue.get):

            async def wait() -> Any:
                return await queue.get(most)

            self.get = wait
        else:

            def get() -> Any:
                return queue.get(most)

            self.get = get

    def __getattr__(self, name: str) -> Any:
        if name == "queue":  # of one that is just being made, or copied
            raise AttributeError(name)
        return getattr(self.queue, name)

    def __repr__(self) -> str:
        return repr(self.queue)


# ---------------------------------------------------------------------- names


def lane_names(queues: Sequence[OnBus]) -> list[str]:
    """A name for each queue that no other has: its own, with more of its address where that is not enough."""
    names = [queue.name for queue in queues]
    for more in (place_of, url_of):
        often = Counter(names)
        names = [more(queue) if often[name] > 1 else name for name, queue in zip(names, queues, strict=True)]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"PriorityBuses: a queue can be on one bus only, and once; got {twice!r} more than once")
    return names


def place_of(queue: OnBus) -> str:
    """`name@region/account`, of its ARN."""
    parts = str(getattr(queue, "arn", "")).split(":")
    return f"{queue.name}@{parts[3]}/{parts[4]}" if len(parts) == 6 else queue.name


def url_of(queue: OnBus) -> str:
    return str(getattr(queue, "url", ""))


# ---------------------------------------------------------------------- checks


def check_name(what: str, name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str; got {name!r}")
    if not name:
        raise ValueError(f"{what} must not be empty")


def check_priority(what: str, priority: Any) -> None:
    if isinstance(priority, bool) or not isinstance(priority, (int, float)):
        raise TypeError(f"{what} must be a number, the greater the sooner; got {priority!r}")
    if priority != priority:
        raise ValueError(f"{what} must be a number that can be compared; got {priority!r}")


def check_options(whose: str, options: Mapping[str, Any]) -> None:
    known = QueueOptions.__optional_keys__
    unknown = next((name for name in options if name not in known), None)
    if unknown is not None:
        raise TypeError(f"{whose}: there is no option {unknown!r}; there are {', '.join(sorted(known))}")


def checked_queues(queues: Any) -> list[OnBus | str]:
    if isinstance(queues, (str, SQSQueue)) or not isinstance(queues, Iterable):
        raise TypeError(f"Bus: queues must be a list of SQSQueue, names or URLs; got {queues!r}")
    checked: list[OnBus | str] = []
    for queue in queues:  # pyright: ignore[reportUnknownVariableType]
        if isinstance(queue, str):
            check_name("Bus: queues, the name or URL of one", queue)
        elif not isinstance(queue, OnBus):
            raise TypeError(f"Bus: queues must be of SQSQueue, names or URLs; got {queue!r}")
        checked.append(queue)
    return checked


def checked_buses(buses: Any) -> tuple[Bus, ...]:
    if not isinstance(buses, Iterable):
        raise TypeError(f"PriorityBuses: buses must be a list of Bus; got {buses!r}")
    checked: list[Any] = list(buses)  # pyright: ignore[reportUnknownArgumentType]
    for bus in checked:
        if not isinstance(bus, Bus):
            raise TypeError(f"PriorityBuses: buses must be of Bus(name, priority, queues); got {bus!r}")
    if not any(bus.queues for bus in checked):
        raise ValueError(f"PriorityBuses: at least one bus must have a queue; got {checked!r}")
    return tuple(checked)


def check_free(queues: Sequence[OnBus]) -> None:
    """Raise if one of these is on a bus already, there or here."""
    for position, queue in enumerate(queues):
        if queue.bus:
            raise ValueError(f"PriorityBuses: the queue {queue.name!r} is on the bus {queue.bus!r} already")
        if any(queue is other for other in queues[:position]):
            raise ValueError(f"PriorityBuses: the queue {queue.name!r} can be on one bus only, and once")
