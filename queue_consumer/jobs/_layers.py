"""What stands around every job: hooks, from the outermost to the innermost, and the processor that calls the function.

They are entered in the order in which they were registered and left in the other: the first is the outermost.

    jobs.before(a); jobs.around(b); jobs.after(c)        a   b[   function   c   ]b
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

from ._call import Call, Runs

__all__ = ["After", "Around", "Before", "Layer", "Processor", "after", "around", "before"]

Before: TypeAlias = Callable[[Call], object]
After: TypeAlias = Callable[[Call, BaseException | None], object]
Around: TypeAlias = Callable[[Call], Generator[Any, Any, Any]]
Layer: TypeAlias = Callable[[Call], AbstractContextManager[Any, Any]]


def before(function: Before) -> Layer:
    """Called before the job; what it raises is raised in its place."""

    @contextmanager
    def layer(call: Call) -> Generator[None]:
        function(call)
        yield

    return layer


def after(function: After) -> Layer:
    """Called when the job has ended, with what it raised, or None."""

    @contextmanager
    def layer(call: Call) -> Generator[None]:
        try:
            yield
        except BaseException as error:
            function(call, error)
            raise
        else:
            function(call, None)

    return layer


def around(function: Around) -> Layer:
    """A generator function: the job runs at its one `yield`, and raises there."""
    if not inspect.isgeneratorfunction(function):
        raise TypeError(
            "around: the function must be a generator function of a call that yields once, where the job runs; "
            f"got {function!r}"
        )
    return contextmanager(function)


class Processor:
    """Calls the function of a job. A subclass does what it likes about that.

        class Logged(Processor):
            def process(self, arguments, context):
                print(f"processing {self.queue_name}.{self.job_name}")
                return super().process(arguments, context)

        jobs = Jobs(processor=Logged)

    One is made for each job. An `async def` is awaited by `aprocess` in the pool of coroutines; in other pools
    `process` runs it to its end.

    Attributes:
        call: the job.
    """

    def __init__(self, call: Call, args: tuple[Any, ...]) -> None:
        self.call = call
        self._args = args

    @property
    def task(self) -> Runs:
        return self.call.task

    @property
    def job_name(self) -> str:
        return self.call.job

    @property
    def queue_name(self) -> str:
        return self.call.queue

    def process(self, arguments: dict[str, Any], context: Mapping[str, Any]) -> Any:
        """Call the function with these arguments, by their names; its result, of which nothing is made."""
        return self.task.finish(self.task.function(*self._args, **self._with(arguments, context)))

    async def aprocess(self, arguments: dict[str, Any], context: Mapping[str, Any]) -> Any:
        """The same for an `async def`, which is awaited."""
        return await self.task.function(*self._args, **self._with(arguments, context))

    def _with(self, arguments: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
        given = self.task.pass_context
        return {**arguments, given: dict(context)} if given else arguments
