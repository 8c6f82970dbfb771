"""A task: a function under a name, that can be sent, run, and baked; and what is baked.

`delay`, `run` and `bake` have the signature of the function, for people and for type checkers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, NoReturn, Protocol, cast

from typing_extensions import ParamSpec, TypeVar

from queue_consumer import UsageError

from ._batch import COUNT, SIZE, Entered
from ._binding import Signature
from ._call import Call
from ._codec import Codec
from ._context import Ambient
from ._errors import BadArguments
from ._layers import Processor
from ._letter import Written
from ._options import DEFAULTS, Options
from ._retries import Backoff, DeadLetter
from ._running import finished
from ._sender import Sender

__all__ = ["Baked", "Registry", "Sending", "Task"]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class Registry(Protocol):
    """What a task knows of its registry."""

    @property
    def sender(self) -> Sender: ...
    @property
    def context(self) -> Ambient: ...
    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]: ...


class Sending(Generic[P, R]):
    """A task with options for its sending: what `task.options(...)` returns."""

    def __init__(self, task: Task[P, R], options: Options) -> None:
        self.task = task
        self.sending = options

    def __repr__(self) -> str:
        return f"{self.task!r} with {self.sending!r}"

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Send it; see `Task.delay`."""
        return self.task.jobs.sender.post(self.task, self.task.bind(args, kwargs), self.sending)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Send it, from a coroutine; see `Task.adelay`."""
        return await self.task.jobs.sender.apost(self.task, self.task.bind(args, kwargs), self.sending)

    def bake(self, *args: P.args, **kwargs: P.kwargs) -> Baked[R]:
        """The job that would be sent."""
        return Baked(self.task, self.task.bind(args, kwargs), args, kwargs, self.sending)


class Task(Generic[P, R]):
    """A function that is run somewhere else, by its name. Made by `Jobs.task` and `Jobs.connect`.

    Attributes:
        name: of the job.
        function: what runs.
        jobs: the registry that it is in.
    """

    def __init__(
        self,
        jobs: Registry,
        name: str,
        function: Callable[P, R],
        *,
        pass_context: str | None = None,
        queue: Any = None,
        codec: Any = None,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        dead_letter: DeadLetter | None = None,
        processor: type[Processor] | None = None,
        size: int | None = None,
        like: Callable[..., object] | None = None,
    ) -> None:
        self.jobs = jobs
        self.name = name
        self.function: Callable[..., Any] = function
        self.pass_context = pass_context
        self.queue = queue
        self.codec = codec
        self.backoff = backoff
        self.max_attempts = max_attempts
        self.dead_letter = dead_letter
        self.processor = processor
        self.size = size  # most calls that the function is given at once; None: it is given one, as arguments
        self.like = like
        code: Any = inspect.unwrap(function)
        if any(map(inspect.isgeneratorfunction, (code, type(code).__call__))) or inspect.isasyncgenfunction(code):
            raise TypeError(
                f"task {name!r}: its function is a generator function, so calling it runs nothing of it: do the work "
                "and return, instead of yielding"
            )
        self.is_async = inspect.iscoroutinefunction(code) or inspect.iscoroutinefunction(type(code).__call__)
        if size is None:
            self.signature = Signature(name, function, pass_context)
        else:
            self.signature = Signature(name, like if like is not None else anything)
        self.__doc__ = function.__doc__
        self.__name__: str = getattr(function, "__name__", name)
        self.__qualname__: str = getattr(function, "__qualname__", self.__name__)
        self.__module__: str = getattr(function, "__module__", None) or type(self).__module__
        self.__wrapped__ = function

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return task_of, (self.jobs, self.name)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> NoReturn:
        """Refused, since it is not clear what is meant.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"task {self.name!r} was called like a function, which is most likely a mistake: call "
            f"{self.__name__}.delay(...) to send it to the queue, or {self.__name__}.run(...) to run it here and now"
        )

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Send it, to be run with these arguments; the id of its message, or None if it is kept for a batch.

        Raises:
            TypeError: the function does not take these arguments, or they cannot be written.
            UsageError: there is no queue to send it to.
        """
        return self.jobs.sender.post(self, self.bind(args, kwargs), DEFAULTS)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """The same from a coroutine: a `put` that is one is awaited, any other runs in a thread."""
        return await self.jobs.sender.apost(self, self.bind(args, kwargs), DEFAULTS)

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, with this context; what it returns. That of an `async def` is awaited."""
        bound = self.bind(args, kwargs)
        context = self.jobs.context.to_dict()
        if self.size is not None:
            result: R = self.function([Call(self, bound, context, None)])
            return result
        given = {**kwargs, self.pass_context: context} if self.pass_context else kwargs
        result = self.function(*args, **given)
        return result

    def bake(self, *args: P.args, **kwargs: P.kwargs) -> Baked[R]:
        """The job with these arguments, to be sent, passed about, or compared."""
        return Baked(self, self.bind(args, kwargs), args, kwargs, DEFAULTS)

    def options(
        self,
        *,
        delay: float = 0,
        group: str | None = None,
        deduplication_id: str | None = None,
        codec: Any = None,
        queue: Any = None,
    ) -> Sending[P, R]:
        """The task with options for its sending; see `Options`.

        send_email.options(delay=60).delay(to="ada@example.org")
        """
        return Sending(self, Options(delay, group, deduplication_id, codec, queue))

    def batch(self, *, count: int = COUNT, size: int = SIZE) -> Entered:
        """Send together what is sent in the block, of this task and of others; see `Jobs.batch`."""
        return self.jobs.sender.together(count, size)

    # ------------------------------------------------------------------ for the registry

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of this call as they go on the wire."""
        return self.signature.bind(args, dict(kwargs))

    def with_context(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """What the function is given by name: with the context, if it asks for that."""
        if self.pass_context is None:
            return kwargs
        return {**kwargs, self.pass_context: self.jobs.context.to_dict()}

    def finish(self, result: Any) -> Any:
        """The result of a call, once it is there: that of an `async def` is run to its end."""
        return finished(self.name, result, is_async=self.is_async)

    def check_arrival(self, codec: Codec, written: Written, arguments: dict[str, Any]) -> None:
        """See that what the annotations of this function make of a job is what was sent.

        Raises:
            TypeError: something would arrive as something else.
        """
        read, _ = codec.decode(self.name, written.content_type, written.body, "")
        try:
            arrived = self.signature.arrived(read)
        except BadArguments as error:
            raise TypeError(f"task {self.name!r}: {error}") from error
        for name, value in arguments.items():
            if name in arrived and not is_like(arrived[name], value):
                raise TypeError(
                    f"task {self.name!r}: argument {name!r} is sent as the plain data that it is made of, and would "
                    f"arrive as a {type(arrived[name]).__name__}: annotate the parameter with what it is, or send "
                    "plain data"
                )

    def copied(self, jobs: Registry) -> Task[P, R]:
        """The same task in another registry."""
        twin: Task[P, R] = Task.__new__(type(self))
        vars(twin).update(vars(self), jobs=jobs)
        return twin


def is_like(arrived: Any, sent: Any) -> bool:
    """Whether this is what was sent, as far as values can tell; JSON has no tuples, and that is nobody's surprise."""
    kind = cast(Any, type(sent))
    incomparable = kind.__eq__ is cast(Any, object).__eq__
    if arrived == sent or (incomparable and type(arrived) is kind):
        return True
    if isinstance(sent, (list, tuple)) and isinstance(arrived, (list, tuple)):
        theirs, ours = cast("list[Any]", arrived), cast("list[Any]", sent)
        return len(theirs) == len(ours) and all(map(is_like, theirs, ours))
    if isinstance(sent, Mapping) and isinstance(arrived, Mapping):
        given, came = cast("Mapping[object, Any]", sent), cast("Mapping[object, Any]", arrived)
        return given.keys() == came.keys() and all(is_like(came[name], value) for name, value in given.items())
    return False


class Baked(Generic[R]):
    """A job that has yet to be sent: a task and its arguments. Two are equal if they would send the same.

    Attributes:
        task: what would run.
        arguments: by name, as they would be sent.
        sending: with which options.
    """

    def __init__(
        self,
        task: Task[..., R],
        arguments: dict[str, Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: Options,
    ) -> None:
        self.task = task
        self.arguments = arguments
        self.sending = options
        self._args = args
        self._kwargs = dict(kwargs)

    def __repr__(self) -> str:  # without the values, which may be anything
        return f"<Baked {self.task.name!r} with {', '.join(self.arguments) or 'no arguments'}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Baked):
            return NotImplemented
        mine = (self.task, self.arguments, self.sending)
        return mine == (other.task, other.arguments, other.sending)  # pyright: ignore[reportUnknownMemberType]

    def __hash__(self) -> int:
        return hash((self.task.name, frozenset(self.arguments)))  # the values need not have one

    def delay(self) -> str | None:
        """Send it; see `Task.delay`."""
        return self.task.jobs.sender.post(self.task, self.arguments, self.sending)

    async def adelay(self) -> str | None:
        """Send it, from a coroutine; see `Task.adelay`."""
        return await self.task.jobs.sender.apost(self.task, self.arguments, self.sending)

    def run(self) -> R:
        """Run it here and now; see `Task.run`."""
        return self.task.run(*self._args, **self._kwargs)

    def options(
        self,
        *,
        delay: float = 0,
        group: str | None = None,
        deduplication_id: str | None = None,
        codec: Any = None,
        queue: Any = None,
    ) -> Baked[R]:
        """The same job with these options for its sending."""
        options = Options(delay, group, deduplication_id, codec, queue)
        return Baked(self.task, self.arguments, self._args, self._kwargs, options)


def task_of(jobs: Registry, name: str) -> Task[..., Any]:
    """The task of this name, for a pickle of one."""
    return jobs.tasks[name]


def anything(**arguments: Any) -> None:
    """The signature of a batch task's calls, unless it says otherwise."""
