"""The registry: which function runs under which name. A handler for the line, and a sender."""

from __future__ import annotations

import contextvars
import importlib
import logging
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, overload

from typing_extensions import ParamSpec, TypeVar

from queue_consumer import Failure, Receipts, UsageError

from ._batch import COUNT, SIZE, Batch, Entered
from ._codec import Codec, Codecs
from ._context import Ambient
from ._handling import AsyncHandling, Handling
from ._layers import After, Around, Before, Layer, Processor, after, around, before
from ._letter import Letter
from ._options import Options
from ._outlet import Outlet, carried_out, carried_out_async
from ._raw import RawFunction
from ._retries import Backoff
from ._task import Task

__all__ = ["DeadLetter", "Jobs", "Tap"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
DeadLetter: TypeAlias = Callable[[Any, Failure], object]
Tap: TypeAlias = "Callable[[Sent], str | None]"
FORMER = {  # what sqs-workers calls the options of a sending
    "_delay_seconds": "_delay",
    "_group_id": "_group",
    "_content_type": "_codec",
}

log = logging.getLogger("queue_consumer.jobs")


class Sent:
    """A job that is being sent, for whoever has tapped the registry.

    Attributes:
        job: its name.
        arguments: by name.
        context: the values that travel with it.
        letter: it, as written.
        options: with which it is sent.
    """

    def __init__(
        self, job: str, arguments: dict[str, Any], context: Mapping[str, Any], letter: Letter, options: Options
    ) -> None:
        self.job = job
        self.arguments = arguments
        self.context = dict(context)
        self.letter = letter
        self.options = options

    def __repr__(self) -> str:
        return f"{self.job}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


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
        tasks: by name.
    """

    receipt = "explicit"

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
        self.queue = queue
        self.codecs = Codecs(codec, accepts)
        self.backoff = backoff
        self.max_attempts = max_attempts
        self.dead_letter = dead_letter
        self.processor = processor
        self.context = Ambient("queue_consumer.jobs.context")
        self.tasks: dict[str, Task[..., Any]] = {}
        self.layers: list[Layer] = []
        self.raw_function: RawFunction | None = None
        self.gathers = False  # some function takes several at once
        self.tap: Tap | None = None
        self._outlets: dict[int, Outlet] = {}
        self._batch: contextvars.ContextVar[Batch | None] = contextvars.ContextVar(
            "queue_consumer.jobs.batch", default=None
        )
        self._warned: set[str] = set()
        self._handling = Handling(self)
        self.asynchronous = AsyncHandling(self)  # the handler for pool="coroutines"
        self._module: str = sys._getframe(1).f_globals.get("__name__", "")  # pyright: ignore[reportPrivateUsage]

    def __repr__(self) -> str:
        return f"<Jobs {', '.join(self.tasks) or 'without tasks'}>"

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
        return lambda function: self.connect(name, function, **options)

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
                codec=None if codec is None else self.codecs.writer(codec),
                backoff=backoff,
                max_attempts=max_attempts,
                dead_letter=dead_letter,
                processor=processor,
            ),
            replace,
        )

    @overload
    def batch_task(
        self, name: str | None = None, /, *, size: int = 10, like: Callable[P, object], **options: Any
    ) -> Callable[[Callable[[list[Any]], R]], Task[P, R]]: ...
    @overload
    def batch_task(
        self, name: str | None = None, /, *, size: int = 10, like: None = None, **options: Any
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
                codec=None if codec is None else self.codecs.writer(codec),
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
    def raw(self, /, *, size: int | None = None, **options: Any) -> Callable[[F], F]: ...
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
            self.raw_function = RawFunction(given, size, backoff, max_attempts, dead_letter)
            self.gathers = self.gathers or size is not None
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
        if task.max_attempts is not None and task.dead_letter is None and self.dead_letter is None:
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
        self.gathers = self.gathers or task.size is not None
        return task

    def copy(self, queue: Any = None, **changes: Any) -> Jobs:
        """Another registry with the same tasks and hooks: for its dead letters, say, with other policies.

        Args:
            queue: where it sends to.
            changes: parameters of `Jobs` that are to be otherwise.
        """
        settings: dict[str, Any] = {
            "codec": self.codecs.default,
            "accepts": self.codecs.accepted,
            "backoff": self.backoff,
            "max_attempts": self.max_attempts,
            "dead_letter": self.dead_letter,
            "processor": self.processor,
        }
        other = Jobs(queue, **{**settings, **changes})
        other._module = self._module
        self.copy_to(other)
        return other

    def copy_to(self, other: Jobs) -> None:
        """Register this registry's tasks and hooks in another as well."""
        for task in self.tasks.values():
            other._add(task.copied(other), True)
        other.layers += [layer for layer in self.layers if layer not in other.layers]
        other.raw_function = self.raw_function or other.raw_function
        other.gathers = other.gathers or self.gathers

    # ------------------------------------------------------------------ around every job

    def before(self, function: Before) -> Before:
        """Have this called with the `Call` before every job."""
        self.layers.append(before(function))
        return function

    def after(self, function: After) -> After:
        """Have this called with the `Call` after every job, and with what it raised, or None."""
        self.layers.append(after(function))
        return function

    def around(self, function: Around) -> Around:
        """Have every job run at the `yield` of this generator function of a `Call`."""
        self.layers.append(around(function))
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
        return self.post(task, arguments, Options(_delay, _group, _deduplication_id, _codec, _queue))

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
        return await self.apost(task, arguments, Options(_delay, _group, _deduplication_id, _codec, _queue))

    def _addressed(self, job: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        former = FORMER.keys() & kwargs.keys()
        if former:
            name = min(former)
            raise TypeError(f"send: {name} is called {FORMER[name]} here")
        task = self.tasks.get(job)
        if task is not None:
            return task, task.bind(args, kwargs)
        return self._checked_name(job, self.send), {"*": list(args), **kwargs} if args else kwargs

    def post(self, task: Task[..., Any] | str, arguments: dict[str, Any], options: Options) -> str | None:
        """Send a job whose arguments were bound. Tasks call it."""
        outlet, entry, told = self._written(task, arguments, options)
        if outlet is None:
            return told
        batch = self._batch.get()
        if batch is not None and batch.add(outlet, entry):
            return None
        if outlet.is_async:
            raise UsageError(
                f"{outlet.queue!r} can only be sent to by a coroutine, since its put() is one: await adelay(...) "
                "or asend(...)"
            )
        return carried_out(outlet.putting(entry))

    async def apost(self, task: Task[..., Any] | str, arguments: dict[str, Any], options: Options) -> str | None:
        """The same for a coroutine."""
        outlet, entry, told = self._written(task, arguments, options)
        if outlet is None:
            return told
        batch = self._batch.get()
        if batch is not None and await batch.add_async(outlet, entry):
            return None
        return await carried_out_async(outlet.putting(entry))

    def _written(
        self, task: Task[..., Any] | str, arguments: dict[str, Any], options: Options
    ) -> tuple[Outlet | None, dict[str, Any], str | None]:
        """Where a job goes, and what is to be put there; or what whoever has tapped us says of it."""
        name, own = (task, None) if isinstance(task, str) else (task.name, task)
        codec = self.codecs.writer(options.codec) if options.codec is not None else None
        codec = codec or (own.codec if own is not None else None) or self.codecs.default
        context = self.context.variable.get()
        written = codec.encode(name, arguments, context)
        if written.typed and own is not None:
            own.check_arrival(codec, written, arguments)
        letter = Letter(name, written.content_type, written.body, written.context)
        if self.tap is not None:
            return None, {}, self.tap(Sent(name, arguments, context, letter, options))
        outlet = self._outlet(options.queue or (own.queue if own is not None else None) or self.queue)
        return outlet, outlet.entry(letter, options), None

    def _outlet(self, queue: Any) -> Outlet:
        found = self._outlets.get(id(queue))
        if found is None or found.queue is not queue:
            if queue is None:
                raise UsageError("there is no queue to send this to: give one to Jobs(queue=...), or set jobs.queue")
            found = self._outlets[id(queue)] = Outlet(queue)
        return found

    def batch(self, *, count: int = COUNT, size: int = SIZE) -> Entered:
        """Keep what this context sends in the block, and send it together: `with jobs.batch():`, or `async with`.

        Args:
            count: most jobs that are kept before they are sent.
            size: most bytes.

        Raises:
            BatchError: when the block ends, some were not sent; the others were.
        """
        return Entered(self._batch, count, size)

    def open_batch(self, *, count: int = COUNT, size: int = SIZE) -> Entered:
        """The same without a block: `close()` it."""
        return self.batch(count=count, size=size).open()

    # ------------------------------------------------------------------ receiving

    def __call__(self, items: Receipts[Any]) -> None:
        """Handle these, as the line asks for it."""
        self._handling.handle(items)

    @property
    def bulk(self) -> int:
        """The most calls that any batch task takes at once: the `messages_bulk_size` to have."""
        sizes = [task.size for task in (*self.tasks.values(), self.raw_function) if task is not None]
        return max((size for size in sizes if size is not None), default=1)

    def warn_once(self, sentence: str) -> None:
        """Say this, if it was not said before."""
        if sentence not in self._warned:
            self._warned.add(sentence)
            log.warning("%s", sentence)

    # ------------------------------------------------------------------ in other processes

    def __reduce__(self) -> tuple[Any, ...]:
        return found, (self._module, self._place(), *self._needs())

    def _place(self) -> str:
        """The name of the global that this registry is."""
        module = sys.modules.get(self._module)
        for name, value in list(vars(module).items()) if module is not None else []:
            if value is self:
                return name
        raise pickle.PicklingError(
            f"{self!r} must be importable by another process, as a global of the module that made it "
            f"({self._module or 'none'}) is, and it is none"
        )

    def _needs(self) -> tuple[list[str], list[str]]:
        """The modules that register tasks here, and the names of these."""
        return sorted({task.__module__ for task in self.tasks.values()}), sorted(self.tasks)


def found(module: str, place: str, modules: list[str], names: list[str]) -> Jobs:
    """The registry that another process knows by this name, with its tasks."""
    jobs: Jobs = getattr(importlib.import_module(module), place)
    for name in modules:
        importlib.import_module(name)
    missing = sorted(set(names) - set(jobs.tasks))
    if missing:
        raise UsageError(
            f"the tasks {', '.join(map(repr, missing))} of {module}.{place} are not registered when their modules "
            f"({', '.join(modules)}) are imported: another process cannot run them"
        )
    return jobs


def check_whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")


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
