"""The registry: which function runs under which name. A handler for the line, and a sender."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal, overload

from typing_extensions import ParamSpec, TypeVar

from queue_consumer import Consumer, Report, Result, UsageError

from ._batch import COUNT, SIZE, Entered
from ._codec import Codec, Codecs
from ._context import Ambient
from ._handling import AsyncHandling, Handling
from ._importing import found, place_of
from ._layers import After, Around, Before, Processor, after, around, before
from ._options import Options, check_whole
from ._raw import RawFunction
from ._retries import Backoff, DeadLetter
from ._roster import Receipt, Roster
from ._sender import Sender
from ._task import Task
from ._work import work, work_in_processes

__all__ = ["Jobs"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
FORMER = {  # what sqs-workers calls the options of a sending
    "_delay_seconds": "_delay",
    "_group_id": "_group",
    "_content_type": "_codec",
}

log = logging.getLogger("queue_consumer.jobs")


class Jobs:
    """Named tasks, on any queue.

        jobs = Jobs(queue)

        @jobs.task("send_email")
        def send_email(to, subject): ...

        send_email.delay("ada@example.org", subject="Hello")    # in one program
        Consumer(queue, jobs).run()                             # and in another

    Args:
        queue: where jobs are sent to: any object with `put`. It may be set later, as the attribute `queue`.
        codec: what they are written with: "json", "pickle", "pickle_compat", or an object, as `Pickle(key=...)`.
        accepts: what is read: codecs, or their names; None: `codec`, and JSON.
        backoff: called with the attempt of a job that failed, for the seconds before it is tried again; a task may have
            one of its own. None: that of the consumer.
        max_attempts: deliveries after which a message that fails goes to `dead_letter`. None: no bound.
        dead_letter: called with a message and its failure. Only when it has returned is the message deleted.
        processor: what calls the functions: a subclass of `Processor`.

    Attributes:
        context: values that travel with what is sent.
    """

    def __init__(
        self,
        queue: Any = None,
        *,
        codec: str | Codec = "json",
        accepts: Iterable[str | Codec] | None = None,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        dead_letter: DeadLetter | None = None,
        processor: type[Processor] | None = None,
    ) -> None:
        check_policies("Jobs", backoff, max_attempts, dead_letter, processor)
        if max_attempts is not None and dead_letter is None:
            raise ValueError(f"Jobs: max_attempts needs a dead_letter that stores what failed; got {max_attempts!r}")
        codecs = Codecs(codec, accepts)
        self.context = Ambient("queue_consumer.jobs.context")
        self.sender = Sender(queue, codecs, self.context)
        self.roster = Roster(
            codecs=codecs,
            context=self.context,
            backoff=backoff,
            max_attempts=max_attempts,
            dead_letter=dead_letter,
            processor=processor,
        )
        self._handling = Handling(self.roster)
        self.asynchronous = AsyncHandling(self.roster)  # the handler for pool="coroutines"
        self._module: str = sys._getframe(1).f_globals.get("__name__", "")  # pyright: ignore[reportPrivateUsage]

    def __repr__(self) -> str:
        return f"<Jobs {', '.join(self.tasks) or 'without tasks'}>"

    @property
    def tasks(self) -> dict[str, Task[..., Any]]:
        """By name."""
        return self.roster.tasks

    @property
    def queue(self) -> Any:
        """Where jobs are sent to, unless a task or a sending says otherwise."""
        return self.sender.queue

    @queue.setter
    def queue(self, queue: Any) -> None:
        self.sender.queue = queue

    # ------------------------------------------------------------------ registering

    @overload
    def task(self, name: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        name: str | None = None,
        /,
        *,
        pass_context: bool | str = False,
        queue: Any = None,
        codec: str | Codec | None = None,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        dead_letter: DeadLetter | None = None,
        processor: type[Processor] | None = None,
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(self, name: Any = None, /, **options: Any) -> Any:
        """Make a task of a function: `@jobs.task`, or `@jobs.task("name", …)`. Without a name it has the function's.

        Args:
            name: of the job.
            pass_context: give the function the context of the job, as its argument `context`, or of another name.
            queue, codec: those of this task, instead of the registry's.
            backoff, max_attempts, dead_letter, processor: likewise.
        """
        if callable(name):
            return self.connect(None, name)

        def decorate(function: Callable[..., Any]) -> Task[..., Any]:
            return self.connect(name, function, **options)

        return decorate

    def connect(
        self,
        name: str | None,
        function: Callable[P, R],
        *,
        pass_context: bool | str = False,
        queue: Any = None,
        codec: str | Codec | None = None,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        dead_letter: DeadLetter | None = None,
        processor: type[Processor] | None = None,
        replace: bool = False,
    ) -> Task[P, R]:
        """Make a task of a function, any callable, that is to keep its own name; see `task`.

        Args:
            replace: there may be a task of this name, which is forgotten.
        """
        return self._add(
            Task(
                self,
                self._checked_name(name, function),
                function,
                pass_context="context" if pass_context is True else pass_context or None,
                queue=queue,
                codec=None if codec is None else self.roster.codecs.writer(codec),
                backoff=backoff,
                max_attempts=max_attempts,
                dead_letter=dead_letter,
                processor=processor,
            ),
            replace,
        )

    @overload
    def batch_task(
        self,
        name: str | None = None,
        /,
        *,
        size: int = 10,
        like: Callable[P, object],
        queue: Any = None,
        codec: str | Codec | None = None,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        dead_letter: DeadLetter | None = None,
    ) -> Callable[[Callable[[list[Any]], R]], Task[P, R]]: ...
    @overload
    def batch_task(
        self,
        name: str | None = None,
        /,
        *,
        size: int = 10,
        like: None = None,
        queue: Any = None,
        codec: str | Codec | None = None,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        dead_letter: DeadLetter | None = None,
    ) -> Callable[[Callable[[list[Any]], R]], Task[..., R]]: ...
    def batch_task(
        self,
        name: str | None = None,
        /,
        *,
        size: int = 10,
        like: Callable[..., object] | None = None,
        queue: Any = None,
        codec: str | Codec | None = None,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        dead_letter: DeadLetter | None = None,
    ) -> Any:
        """Make a task of a function that takes a list of calls, `size` at most. Each is sent by itself.

        What is not said of a call (`call.fail()`, `call.retry()`, `call.drop()`, or `return Failed(calls)`) is done
        when the function returns, and fails when it raises. As many come together as the line hands over at once:
        `Consumer(queue, jobs, messages_bulk_size=jobs.bulk)`, which `work` does by itself.

        Args:
            like: a function that has the signature of one call. None: any arguments with names.
        """
        check_whole("batch_task: size", size)

        def decorate(function: Callable[[list[Any]], Any]) -> Task[..., Any]:
            task: Task[..., Any] = Task(
                self,
                self._checked_name(name, function),
                function,
                queue=queue,
                codec=None if codec is None else self.roster.codecs.writer(codec),
                backoff=backoff,
                max_attempts=max_attempts,
                dead_letter=dead_letter,
                size=size,
                like=like,
            )
            return self._add(task, False)

        return decorate

    @overload
    def raw(self, function: F, /) -> F: ...
    @overload
    def raw(
        self,
        /,
        *,
        size: int | None = None,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        dead_letter: DeadLetter | None = None,
    ) -> Callable[[F], F]: ...
    def raw(
        self,
        function: Any = None,
        /,
        *,
        size: int | None = None,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        dead_letter: DeadLetter | None = None,
    ) -> Any:
        """Have a function called with each message that names no job; with every message, if there are no tasks.

        `@jobs.raw` for a function of one message, `@jobs.raw(size=25)` for one of a list of up to 25, which may return
        `Failed(messages)`. The function stays what it is.
        """
        if size is not None:
            check_whole("raw: size", size)
        check_policies("raw", backoff, max_attempts, dead_letter, None)

        def decorate(given: F) -> F:
            if not callable(given):
                raise TypeError(f"raw: the function must be callable with a message; got {given!r}")
            self.roster.raw = RawFunction(given, size, backoff, max_attempts, dead_letter)
            self.roster.gathers = self.roster.gathers or size is not None
            return given

        return decorate if function is None else decorate(function)

    def _checked_name(self, name: Any, function: Any) -> str:
        if not callable(function):
            raise TypeError(f"task: the function must be callable; got {function!r}")
        if name is None:
            name = getattr(function, "__name__", None)
        if not isinstance(name, str) or not name or len(name) > 256 or not name.isprintable():
            raise TypeError(
                f"task: name must be text of 1 to 256 printable characters, and be said of what has no __name__; "
                f"got {name!r} for {function!r}"
            )
        return name

    def _add(self, task: Task[P, R], replace: bool) -> Task[P, R]:
        what = f"task {task.name!r}"
        check_policies(what, task.backoff, task.max_attempts, task.dead_letter, task.processor)
        if task.max_attempts is not None and task.dead_letter is None and self.roster.dead_letter is None:
            raise ValueError(f"{what}: max_attempts needs a dead_letter, its own or the registry's")
        found = self.tasks.get(task.name)
        if found is not None and not replace:
            same = (found.__module__, found.__qualname__) == (task.__module__, task.__qualname__)
            if not same:  # as when its module is loaded again
                raise UsageError(
                    f"there is a task {task.name!r} already, {found.__module__}.{found.__qualname__}: choose another "
                    "name, or say connect(..., replace=True)"
                )
        self.tasks[task.name] = task
        self.roster.gathers = self.roster.gathers or task.size is not None
        return task

    def copy(self, queue: Any = None, **changes: Any) -> Jobs:
        """Another registry with the same tasks and hooks: for its dead letters, say, with other policies.

        Args:
            queue: where it sends to.
            changes: parameters of `Jobs` that are to be otherwise.
        """
        mine = self.roster
        settings: dict[str, Any] = {
            "codec": mine.codecs.default,
            "accepts": mine.codecs.accepted,
            "backoff": mine.backoff,
            "max_attempts": mine.max_attempts,
            "dead_letter": mine.dead_letter,
            "processor": mine.processor,
        }
        other = Jobs(queue, **{**settings, **changes})
        other._module = self._module
        self.copy_to(other)
        return other

    def copy_to(self, other: Jobs) -> None:
        """Register this registry's tasks and hooks in another as well."""
        mine, theirs = self.roster, other.roster
        for task in mine.tasks.values():
            other._add(task.copied(other), True)
        theirs.layers += [layer for layer in mine.layers if layer not in theirs.layers]
        theirs.raw = mine.raw or theirs.raw
        theirs.gathers = theirs.gathers or mine.gathers

    # ------------------------------------------------------------------ around every job

    def before(self, function: Before) -> Before:
        """Have this called with the `Call` before every job."""
        self.roster.layers.append(before(function))
        return function

    def after(self, function: After) -> After:
        """Have this called with the `Call` after every job, and with what it raised, or None."""
        self.roster.layers.append(after(function))
        return function

    def around(self, function: Around) -> Around:
        """Have every job run at the `yield` of this generator function of a `Call`."""
        self.roster.layers.append(around(function))
        return function

    # ------------------------------------------------------------------ sending

    def send(
        self,
        job: str,
        /,
        *args: Any,
        _delay: float = 0,
        _group: str | None = None,
        _deduplication_id: str | None = None,
        _codec: str | Codec | None = None,
        _queue: Any = None,
        **kwargs: Any,
    ) -> str | None:
        """Send a job by its name, whose function need not be known here; the id of its message.

        What begins with `_` is an option of the sending. If the function is known, the arguments are checked.
        """
        task, arguments = self._addressed(job, args, kwargs)
        return self.sender.post(task, arguments, Options(_delay, _group, _deduplication_id, _codec, _queue))

    async def asend(
        self,
        job: str,
        /,
        *args: Any,
        _delay: float = 0,
        _group: str | None = None,
        _deduplication_id: str | None = None,
        _codec: str | Codec | None = None,
        _queue: Any = None,
        **kwargs: Any,
    ) -> str | None:
        """The same from a coroutine."""
        task, arguments = self._addressed(job, args, kwargs)
        return await self.sender.apost(task, arguments, Options(_delay, _group, _deduplication_id, _codec, _queue))

    def _addressed(self, job: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        former = FORMER.keys() & kwargs.keys()
        if former:
            name = min(former)
            raise TypeError(f"send: {name} is called {FORMER[name]} here")
        task = self.tasks.get(job)
        if task is not None:
            return task, task.bind(args, kwargs)
        return self._checked_name(job, self.send), {"*": list(args), **kwargs} if args else kwargs

    def batch(self, *, count: int = COUNT, size: int = SIZE) -> Entered:
        """Keep what this context sends in the block, and send it together: `with jobs.batch():`, or `async with`.

        Args:
            count: most jobs that are kept before they are sent.
            size: most bytes.

        Raises:
            BatchError: when the block ends, some were not sent; the others were.
        """
        return self.sender.together(count, size)

    def open_batch(self, *, count: int = COUNT, size: int = SIZE) -> Entered:
        """The same without a block: `close()` it."""
        return self.batch(count=count, size=size).open()

    # ------------------------------------------------------------------ receiving

    @property
    def receipt(self) -> Receipt:
        """When the line is to take an item for consumed: when the next is asked for; told, if calls are gathered."""
        return self.roster.receipt

    def __call__(self, items: Any) -> None:
        """Handle these, as the line asks for it."""
        if hasattr(items, "ack"):
            self._handling.handle_gathering(items)
        else:
            self._handling.handle(items)

    @overload
    def work(self, *queues: Any, processes: Literal[False] = False, **options: Any) -> Report: ...
    @overload
    def work(
        self, *queues: Any, processes: Literal[True], mp_context: str | None = None, **options: Any
    ) -> list[Report | None]: ...
    def work(
        self, *queues: Any, processes: bool = False, mp_context: str | None = None, **options: Any
    ) -> Report | list[Report | None]:
        """Work on the registry's queue, or on these, until told to stop: by a signal, or by `stop_when`.

        Args:
            queues: None: the registry's own. Several take turns in the threads of one consumer.
            processes: each queue gets a process, which is started again if it dies; returns the reports of all. The
                registry must be a global of a module, and each queue one that can be pickled, or a function that
                opens it in the process, as `functools.partial(SQSQueue, "emails")` is.
            mp_context: of the processes.
            options: of each `Consumer`.
        """
        options = {"messages_bulk_size": self.bulk, **options}
        if processes:
            return work_in_processes(self, queues, options, mp_context)
        if mp_context is not None:
            options["mp_context"] = mp_context
        return work(self, queues or (self.queue,), options)

    def run_once(self, queue: Any = None, **options: Any) -> Result:
        """Handle what one `get` brings, in this thread: for cron, a Lambda function, a script.

        Args:
            queue: None: the registry's own.
            options: of the `Consumer`.
        """
        given = self.queue if queue is None else queue
        defaults: dict[str, Any] = {"max_handlers": 1, "messages_bulk_size": max(10, self.bulk), "owns_queue": False}
        return Consumer(given, self, **{**defaults, **options}).run_once()

    @property
    def bulk(self) -> int:
        """The most calls that any batch task takes at once: the `messages_bulk_size` to have."""
        return self.roster.bulk

    def perform(self, message: Any) -> None:
        """Run the job of one message in this thread, as the line would; what it raises, this raises."""
        self._handling.perform(message)

    # ------------------------------------------------------------------ in other processes

    def __reduce__(self) -> tuple[Any, ...]:
        modules = sorted({task.__module__ for task in self.tasks.values()})
        return found, (self._module, place_of(self, self._module), modules, sorted(self.tasks))


def check_policies(what: str, backoff: Any, max_attempts: Any, dead_letter: Any, processor: Any) -> None:
    """Refuse policies that are none, in a sentence."""
    if backoff is not None and not callable(backoff):
        raise TypeError(f"{what}: backoff must be callable with the attempt, or None; got {backoff!r}")
    if max_attempts is not None:
        check_whole(f"{what}: max_attempts", max_attempts)
    if dead_letter is not None and not callable(dead_letter):
        raise TypeError(f"{what}: dead_letter must be callable with a message and its failure; got {dead_letter!r}")
    if processor is not None and not (isinstance(processor, type) and issubclass(processor, Processor)):
        raise TypeError(f"{what}: processor must be a subclass of Processor, or None; got {processor!r}")
