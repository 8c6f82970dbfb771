"""For those who come from multi_sqs_listener: the same names and the same life, on the line.

A listener is a `PriorityBuses` and a `Consumer` with one handler. New programs can do with those two, and have more
handlers then; this is for a class with a `handle_message` that should go on working as it is.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, TypedDict, Unpack, cast

from queue_consumer import (
    Aging,
    ChunkHandled,
    Consumer,
    Drop,
    Event,
    LogObserver,
    Report,
    Retry,
    State,
    Stats,
    Strict,
    UsageError,
    each,
)

from ._buses import Bus, LookAhead, PriorityBuses, QueueOptions, check_name, check_priority
from ._message import SQSMessage
from ._transport import TransportName

__all__ = ["EventBus", "ListenerOptions", "MultiSQSListener", "QueueConfig", "QueueType", "SQSListenerConfig"]

QueueType: TypeAlias = Literal["long-poll", "short-poll"]
POLL_INTERVAL = 60.0
RIGHT_OF_WAY = 0.5  # seconds: longer than a receive takes to bring what is there, also from far away


class ListenerOptions(TypedDict, total=False):
    """What else of `SQSQueue` can be said, of one queue or of all: how it is reached, and how it is read."""

    profile: str | None
    access_key_id: str | None
    secret_access_key: str | None
    session_token: str | None
    endpoint_url: str | None
    retries: Mapping[str, Any] | None
    session: Any
    client: Any
    prefix: str
    transport: TransportName | None
    wait_time: float
    batch_size: int
    visibility_timeout: float | None


# ---------------------------------------------------------------------- what to listen to


class SQSListenerConfig:
    """A queue to listen to, with its priority: as in multi_sqs_listener 1.0.0.

    Args:
        queue_name: the queue, which must exist.
        priority_number: the greater, the sooner its messages are handled.
        bus_name: what `handle_message` gets as `bus`.
        queue_type: "long-poll" waits at the service for messages; "short-poll" asks, and after an empty answer waits
            for `poll_interval` seconds.
        poll_interval: None: that of the listener.
        region_name: the queue's region; None: that of the listener.
        queue_acct_id: the account that owns the queue, if it is another one.
        queue_url: the queue's URL, where its name is not enough.
        options: `ListenerOptions`, which win over those of the listener.
    """

    def __init__(
        self,
        queue_name: str,
        priority_number: float = 1,
        bus_name: str = "default-bus",
        queue_type: QueueType = "long-poll",
        *,
        poll_interval: float | None = None,
        region_name: str | None = None,
        queue_acct_id: str | None = None,
        queue_url: str | None = None,
        **options: Unpack[ListenerOptions],
    ) -> None:
        whose = type(self).__name__
        check_name(f"{whose}: queue_name", queue_name)
        check_priority(f"{whose}: priority_number", priority_number)
        check_name(f"{whose}: bus_name", bus_name)
        check_queue_type(whose, queue_type)
        check_options(whose, options)
        self.queue_name = queue_name
        self.priority_number = priority_number
        self.bus_name = bus_name
        self.queue_type: QueueType = queue_type
        self.poll_interval = poll_interval
        self.region_name = region_name
        self.queue_acct_id = queue_acct_id
        self.queue_url = queue_url
        self.options = options

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.queue_name!r}, {self.priority_number!r}, {self.bus_name!r}, "
            f"{self.queue_type!r})"
        )


@dataclass(frozen=True)
class EventBus:
    """A name and a priority for the messages of some queues: as in multi_sqs_listener 1.0.2."""

    name: str = "default-bus"
    priority: float = 1

    def __post_init__(self) -> None:
        check_name("EventBus: name", self.name)
        check_priority("EventBus: priority", self.priority)

    def __repr__(self) -> str:
        return f"{self.name}: {self.priority}"

    @staticmethod
    def register_buses(buses: Sequence[EventBus]) -> None:
        """Do nothing, and say so: a listener knows its buses by its queues, and shares them with no other."""
        warnings.warn(
            "EventBus.register_buses is not needed, and does nothing: the buses are those of the QueueConfigs that "
            "a MultiSQSListener is given",
            DeprecationWarning,
            stacklevel=2,
        )


class QueueConfig(SQSListenerConfig):
    """A queue to listen to, and its bus: as in multi_sqs_listener 1.0.2.

    Args:
        queue_name: the queue, which must exist.
        bus: the name and the priority of its messages.
        queue_type, region_name, queue_acct_id, poll_interval, queue_url, options: as for `SQSListenerConfig`.
    """

    def __init__(
        self,
        queue_name: str,
        bus: EventBus,
        queue_type: QueueType = "long-poll",
        region_name: str | None = None,
        queue_acct_id: str | None = None,
        poll_interval: float = POLL_INTERVAL,
        *,
        queue_url: str | None = None,
        **options: Unpack[ListenerOptions],
    ) -> None:
        given: Any = bus
        if not isinstance(given, EventBus):
            raise TypeError(f"QueueConfig: bus must be an EventBus(name, priority); got {given!r}")
        super().__init__(
            queue_name,
            bus.priority,
            bus.name,
            queue_type,
            poll_interval=poll_interval,
            region_name=region_name,
            queue_acct_id=queue_acct_id,
            queue_url=queue_url,
            **options,
        )
        self.bus = bus


# ---------------------------------------------------------------------- the listener


class MultiSQSListener(ABC):
    """Listens to several queues, those of higher priority first: subclass it and say what to do with a message.

        class MyListener(MultiSQSListener):
            def handle_message(self, queue, bus, priority, message):
                print(message.body)

        MyListener([SQSListenerConfig("name-of-my-queue")]).listen()

    One message is handled at a time, on a thread of the listener's own; of each queue one more is fetched meanwhile,
    so that the choice is made of what is there. Its lease is renewed for as long as that takes. A message is deleted
    when `handle_message` has returned, whatever it returned; when it raised, the error is logged and the message comes
    again, later and later.

    Args:
        queues_configuration: a `SQSListenerConfig` or `QueueConfig` for each queue.
        logger: is told of every failure with its traceback, and at level DEBUG of all that happens; None: failures
            go to the logger `queue_consumer`.
        poll_interval: seconds between two short polls of an empty queue, where its own configuration does not say.
        region_name: of queues whose own configuration does not say; None: what boto3 finds.
        look_ahead: "message" or "bulk", what is fetched ahead of each queue; see `PriorityBuses`.
        lane_policy: None: strict, and a lower queue waits half a second at most for the next poll of a higher one that
            had something; `Aging(every=...)` gives lower ones a turn at least so often.
        backoff: called with how often a message was delivered; gives the seconds before a failed one is seen again.
        stop_when: asked, with `Stats`, whether to stop: `Idle(seconds)`, `MaxItems(n)`.
        observers: callables of one event.
        options: `ListenerOptions` for all queues.

    Raises:
        TypeError: there is no `handle_message`, or none that takes four arguments.
        TypeError, ValueError: for a wrong argument, with its name, its value, and what is allowed.
        SQSError: a queue does not exist or cannot be reached.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        check_override(cls)
        return super().__new__(cls)

    def __init__(
        self,
        queues_configuration: Iterable[SQSListenerConfig],
        logger: logging.Logger | None = None,
        poll_interval: float = POLL_INTERVAL,
        region_name: str | None = None,
        *,
        look_ahead: LookAhead = "message",
        lane_policy: Strict | Aging | None = None,
        backoff: Callable[[int], float] | None = None,
        stop_when: Callable[[Stats], bool] | None = None,
        observers: Iterable[Callable[[Event], object]] = (),
        **options: Unpack[ListenerOptions],
    ) -> None:
        check_call(self)
        given: Any = logger
        if given is not None and not isinstance(given, logging.Logger):
            raise TypeError(f"MultiSQSListener: logger must be a logging.Logger or None; got {given!r}")
        check_options("MultiSQSListener", options)
        configurations = checked_configurations(queues_configuration)
        self._logger = logger
        self._begun = self._asked = False
        self.buses = PriorityBuses(
            [
                Bus(
                    config.bus_name,
                    config.priority_number,
                    [config.queue_url or config.queue_name],
                    **options_of(config, options, poll_interval, region_name),
                )
                for config in configurations
            ],
            look_ahead=look_ahead,
        )
        try:
            self.consumer: Consumer[SQSMessage] = Consumer(
                self.buses,
                each(self._handle_async if inspect.iscoroutinefunction(self.handle_message) else self._handle),
                max_workers=len(configurations),
                max_handlers=1,
                lane_policy=lane_policy or Strict(right_of_way=RIGHT_OF_WAY),
                backoff=backoff,
                stop_when=stop_when,
                observers=[*observers, *([Telling(logger)] if logger is not None else [])],
            )
        except BaseException:
            self.buses.close()
            raise

    @abstractmethod
    def handle_message(self, queue: str, bus: str, priority: float, message: SQSMessage, /) -> object:
        """Do what is to be done with a message; may be an `async def`. Called with four positional arguments.

        It is an `SQSMessage`, and not a resource of boto3: `message.body` is the same, `message.id` was `message_id`,
        `message.attributes` were `message_attributes`, and `message.system` were `attributes`. There is no `delete()`:
        a message is deleted when this has returned, and not before. `raise Drop(reason)` deletes it, too, and
        `raise Retry(delay)` has it come again without being counted as failed.

        Args:
            queue: the name of the queue that the message came from.
            bus: the name of its bus.
            priority: the priority of that.
            message: the message.
        """

    def listen(self) -> Report:
        """Handle messages until `stop()`, SIGINT or SIGTERM. What is being handled then is finished; no other begins.

        Returns:
            What became of the messages.

        Raises:
            UsageError: it was called before.
        """
        again, self._begun = self._begun, True
        try:
            return self.consumer.run()
        except UsageError:
            if again or not self._asked:
                raise
            self.buses.close()  # it was stopped before it could begin
            return self.consumer.shutdown()

    def stop(self) -> None:
        """Ask `listen()` to return, from anywhere: another thread, a signal handler, `handle_message` itself."""
        self._asked = True
        self.consumer.stop()

    def stats(self) -> Stats:
        """A snapshot of the figures; `queue` has those of each queue."""
        return self.consumer.stats()

    def _handle(self, message: SQSMessage) -> object:
        self._check_going_on()
        try:
            answer = self.handle_message(message.queue, message.bus, message.priority, message)
        except (Retry, Drop):
            raise
        except Exception:
            self._tell(message)
            raise
        return None if answer is False else answer  # to `each` False would mean that it failed

    async def _handle_async(self, message: SQSMessage) -> None:
        self._check_going_on()
        answer: Any = self.handle_message(message.queue, message.bus, message.priority, message)
        try:
            await answer
        except (Retry, Drop):
            raise
        except Exception:
            self._tell(message)
            raise

    def _check_going_on(self) -> None:
        """Send back what was at hand when the listener was stopped."""
        if self.consumer.state is State.DRAINING:  # a handler is quicker than the supervisor, who clears the belt
            raise Retry(0)

    def _tell(self, message: SQSMessage) -> None:
        if self._logger is not None:
            self._logger.exception("handle_message failed, so message %s of %s is kept", message.id, message.queue)


class Telling:
    """Tells a logger what happens; but of failures it was told where they happened."""

    def __init__(self, logger: logging.Logger) -> None:
        self._log = LogObserver(logger, logging.DEBUG)

    def __call__(self, event: Event) -> None:
        if not isinstance(event, ChunkHandled) or event.failure is None:
            self._log(event)


# ---------------------------------------------------------------------- checks


def options_of(
    config: SQSListenerConfig, common: ListenerOptions, poll_interval: float, region_name: str | None
) -> QueueOptions:
    """How `SQSQueue` is to open this queue."""
    options = cast(QueueOptions, {**common, **config.options})
    options["region"] = config.region_name or region_name
    options["account_id"] = config.queue_acct_id
    if config.queue_type == "short-poll":
        options["wait_time"] = 0
        options["poll_interval"] = poll_interval if config.poll_interval is None else config.poll_interval
    return options


def check_queue_type(whose: str, queue_type: Any) -> None:
    if queue_type not in ("long-poll", "short-poll"):
        raise ValueError(f"{whose}: queue_type must be 'long-poll' or 'short-poll'; got {queue_type!r}")


def check_options(whose: str, options: Mapping[str, Any]) -> None:
    known = ListenerOptions.__optional_keys__
    unknown = next((name for name in options if name not in known), None)
    if unknown is not None:
        raise TypeError(f"{whose}: there is no option {unknown!r}; there are {', '.join(sorted(known))}")


def checked_configurations(configurations: Any) -> list[SQSListenerConfig]:
    if not isinstance(configurations, Iterable):
        raise TypeError(
            f"MultiSQSListener: queues_configuration must be a list of SQSListenerConfig or QueueConfig; "
            f"got {configurations!r}"
        )
    checked: list[Any] = list(configurations)  # pyright: ignore[reportUnknownArgumentType]
    for configuration in checked:
        if not isinstance(configuration, SQSListenerConfig):
            raise TypeError(
                f"MultiSQSListener: queues_configuration must be of SQSListenerConfig or QueueConfig; "
                f"got {configuration!r}"
            )
    if not checked:
        raise ValueError("MultiSQSListener: queues_configuration must have at least one queue; got none")
    return checked


def check_override(listener: type[MultiSQSListener]) -> None:
    """Raise if the class does not say what to do with a message: every message would be deleted unhandled."""
    name = "handle_message"
    override = getattr(listener, name)
    if getattr(override, "__isabstractmethod__", False):
        own = [word for parent in listener.__mro__ if parent not in MultiSQSListener.__mro__ for word in vars(parent)]
        near = difflib.get_close_matches(name, own, 1)
        hint = f"; it has {near[0]!r}, which may be misspelt" if near else ""
        raise TypeError(
            f"{listener.__name__} must define handle_message(self, queue, bus, priority, message), or its messages "
            f"would go unhandled{hint}"
        )
    if any(kind(override) for kind in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)):
        raise TypeError(
            f"{listener.__name__}.handle_message is a generator function, so calling it runs nothing of it: "
            "do the work in it and return, instead of yielding"
        )


def check_call(listener: MultiSQSListener) -> None:
    """Raise if `handle_message` cannot be called as it will be: then no message would ever be handled."""
    signature = inspect.signature(listener.handle_message)
    try:
        signature.bind("queue", "bus", 1, None)
    except TypeError as error:
        raise TypeError(
            f"{type(listener).__name__}.handle_message must take (self, queue, bus, priority, message); "
            f"without self, it takes {signature}: {error}"
        ) from None
