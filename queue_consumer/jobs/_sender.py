"""The registry as a sender: jobs are written, and go to a queue, to a batch, or to whoever has tapped it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from queue_consumer import UsageError

from ._batch import Batch, Entered
from ._codec import Codec, Codecs
from ._context import Ambient
from ._letter import Letter, Written
from ._options import Options
from ._outlet import Entry, Outlet, carried_out, carried_out_async

__all__ = ["Addressee", "Sender", "Sent", "Tap"]

Tap: TypeAlias = "Callable[[Sent], str | None]"


class Addressee(Protocol):
    """What a sender knows of a task."""

    name: str
    codec: Codec | None
    queue: Any

    def check_arrival(self, codec: Codec, written: Written, arguments: dict[str, Any]) -> None:
        """Refuse what would arrive as something else."""
        ...


class Sent:
    """A job that is being sent, as whoever has tapped the registry gets it.

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


class Sender:
    """Sends jobs whose arguments are bound.

    Args:
        queue: where to, unless a task or a sending says otherwise.
        codecs: what they are written with.
        context: the values that travel along.

    Attributes:
        batch: that of this context, if there is one.
        tap: called with what is sent, in the place of a queue; for tests.
    """

    def __init__(self, queue: Any, codecs: Codecs, context: Ambient) -> None:
        self.queue = queue
        self.tap: Tap | None = None
        self.batch: contextvars.ContextVar[Batch | None] = contextvars.ContextVar(
            "queue_consumer.jobs.batch", default=None
        )
        self._codecs = codecs
        self._context = context
        self._outlets: dict[int, Outlet] = {}

    def post(self, task: Addressee | str, arguments: dict[str, Any], options: Options) -> str | None:
        """Send a job; the id of its message, or None if it is kept for a batch."""
        outlet, entry, told = self._written(task, arguments, options)
        if outlet is None:
            return told
        batch = self.batch.get()
        if batch is not None and batch.add(outlet, entry):
            return None
        if outlet.is_async:
            raise UsageError(
                f"{outlet.queue!r} can only be sent to by a coroutine, since its put() is one: await adelay(...) "
                "or asend(...)"
            )
        return carried_out(outlet.putting(entry))

    async def apost(self, task: Addressee | str, arguments: dict[str, Any], options: Options) -> str | None:
        """The same for a coroutine."""
        outlet, entry, told = self._written(task, arguments, options)
        if outlet is None:
            return told
        batch = self.batch.get()
        if batch is not None and await batch.add_async(outlet, entry):
            return None
        return await carried_out_async(outlet.putting(entry))

    def _written(
        self, task: Addressee | str, arguments: dict[str, Any], options: Options
    ) -> tuple[Outlet | None, Entry, str | None]:
        """Where a job goes, and what is to be put there; or what whoever has tapped us says of it."""
        name, own = (task, None) if isinstance(task, str) else (task.name, task)
        codec = self._codecs.writer(options.codec if options.codec is not None else own.codec if own else None)
        context = self._context.variable.get()
        written = codec.encode(name, arguments, context)
        if written.typed and own is not None:
            own.check_arrival(codec, written, arguments)
        letter = Letter(name, written.content_type, written.body, written.context)
        if self.tap is not None:
            return None, {}, self.tap(Sent(name, arguments, context, letter, options))
        queues = (options.queue, own.queue if own else None, self.queue)
        outlet = self.outlet(next((queue for queue in queues if queue is not None), None))
        return outlet, outlet.entry(letter, options), None

    def together(self, count: int, size: int) -> Entered:
        """See `Jobs.batch`."""
        return Entered(self.batch, count, size)

    def outlet(self, queue: Any) -> Outlet:
        """What a queue takes, looked up once.

        Raises:
            UsageError: there is none.
        """
        if queue is None:
            raise UsageError("there is no queue to send this to: give one to Jobs(queue=...), or set jobs.queue")
        found = self._outlets.get(id(queue))
        if found is None:
            found = self._outlets[id(queue)] = Outlet(queue)  # it holds the queue, whose id so stays its own
        return found
