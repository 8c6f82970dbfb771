"""The right socket: what the line does with a registry's jobs. Read, find, fit, run; and what became of it.

Every item is acknowledged or failed by itself, so whatever comes in a message concerns nobody else. `Handling` does it
in threads and processes, `AsyncHandling` in coroutines.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple, cast

from queue_consumer import Drop, Failed, Failure, Receipts
from queue_consumer import Retry as PlainRetry

from ._call import Call, Unfinished, attempt_of
from ._context import NOTHING
from ._errors import BadMessage, UnknownJob
from ._layers import Processor
from ._letter import CONTENT_TYPE, JOB_CONTEXT, JOB_NAME, opened
from ._raw import RawFunction
from ._retries import Retry, delay_by
from ._roster import Receipt, Roster
from ._task import Task

__all__ = ["AsyncHandling", "Gathered", "Handling"]

log = logging.getLogger("queue_consumer.jobs")


class Ready(NamedTuple):
    """A job that can be run.

    Attributes:
        task: whose function runs.
        args, kwargs: what it is given.
        context: the values that travelled with it.
        arguments: as they came.
    """

    task: Task[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    context: Mapping[str, Any]
    arguments: dict[str, Any]


class Gathered:
    """The calls for one batch task that have come so far."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self.calls: list[Any] = []  # Calls, or the messages themselves for a raw function
        self.items: list[Any] = []


class Handling:
    """What a registry does as a handler.

    Args:
        roster: what the registry knows; what it knows when an item comes is what counts.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._set_context = roster.context.variable.set

    # ------------------------------------------------------------------ one job

    def perform(self, item: Any) -> None:
        """Run the job that an item brings. What it raises says what becomes of the item."""
        roster = self._roster
        ready = self.read(item)
        if ready is None:
            self._raw(item)
            return
        task = ready.task
        if task.size is not None:
            self._alone(task, call_of(ready, item))
            return
        self._set_context(ready.context)
        if roster.layers or task.processor is not None or roster.processor is not None:
            self._surrounded(ready, item)
            return
        kwargs = ready.kwargs if task.pass_context is None else task.with_context(ready.kwargs)
        result = task.function(*ready.args, **kwargs)
        if result is not None:
            task.finish(result)

    def read(self, item: Any) -> Ready | None:
        """The job of an item, ready to run; None if it names no job and there is a function for those that do not.

        Raises:
            BadMessage: it is no job, or none that can be run here.
        """
        roster = self._roster
        try:
            attributes = item.attributes
            name = attributes[JOB_NAME]
            task = roster.tasks[name]
            content_type = attributes.get(CONTENT_TYPE)
            body, context = item.body, attributes.get(JOB_CONTEXT) or ""
        except (AttributeError, KeyError, TypeError):
            letter = opened(item)
            if roster.raw is not None and (letter is None or not roster.tasks):
                return None
            if letter is None:
                raise BadMessage(
                    f"the message names no job (it has no attribute {JOB_NAME}), and there is no function for such "
                    "messages: @jobs.raw connects one"
                ) from None
            name, content_type, body, context = letter
            found = roster.tasks.get(name)
            if found is None:
                raise UnknownJob(
                    f"there is no job {name!r} here; there are {', '.join(sorted(map(repr, roster.tasks))) or 'none'}. "
                    "Is the module that has it imported?"
                ) from None
            task = found
        codecs = roster.codecs
        codec = codecs.default if content_type is None else codecs.reader(content_type)
        kind: str = codec.reads[0] if content_type is None else content_type
        arguments, values = codec.decode(name, kind, body, context)
        if type(values) is not dict:
            raise BadMessage(f"{JOB_CONTEXT} must be an object with names; got a {type(values).__name__}")
        args, kwargs = task.signature.fit(arguments)
        return Ready(task, args, kwargs, values or NOTHING, arguments)

    def _surrounded(self, ready: Ready, item: Any) -> None:
        task, roster = ready.task, self._roster
        call = Call(task, ready.arguments, ready.context, item)
        with ExitStack() as stack:
            for layer in roster.layers:
                stack.enter_context(layer(call))
            processor = (task.processor or roster.processor or Processor)(call, ready.args)
            task.finish(processor.process(ready.kwargs, ready.context))

    def _raw(self, item: Any) -> None:
        raw = self._roster.raw
        assert raw is not None
        if raw.size is not None:
            self._alone(raw, item)
            return
        self._set_context(NOTHING)
        result = raw.function(item)
        if result is not None:
            raw.finish(result)

    def _alone(self, task: Any, call: Any) -> None:
        """Run a batch task with one call; what was said of that is raised."""
        self._set_context(NOTHING)
        outcome = outcome_of(task, call, task.finish(task.function([call])))
        if outcome is not None:
            raise outcome

    # ------------------------------------------------------------------ many

    def handle(self, items: Iterator[Any]) -> None:
        """Run the jobs of these items, one after the other.

        Asking for the next item is the receipt for the last, which costs least. A job that fails ends the call, with
        what is to become of its message; those behind it go to another.
        """
        perform = self.perform
        for item in items:
            try:
                perform(item)
            except (Exception, SystemExit) as error:
                raise self.fate(item, error) from None

    def handle_gathering(self, items: Receipts[Any]) -> None:
        """Run the jobs of these items, those of batch tasks together, with a receipt for each."""
        gathered: dict[str, Gathered] = {}
        for item in items:
            try:
                full = self.gather(item, gathered)
                if full is None:
                    self.perform(item)
            except (Exception, SystemExit) as error:
                self.settle(items, item, error)
                continue
            if full is None:
                items.ack(item)
            elif len(full.calls) >= full.task.size:
                self.run_together(items, gathered.pop(full.task.name))
        for batch in gathered.values():
            self.run_together(items, batch)

    def gather(self, item: Any, gathered: dict[str, Gathered]) -> Gathered | None:
        """Put an item with the others of its batch task, and return those; None if its job runs alone."""
        ready = self.read(item)
        task: Any = self._roster.raw if ready is None else ready.task
        if task.size is None:
            return None
        batch = gathered.setdefault(task.name, Gathered(task))
        batch.calls.append(item if ready is None else call_of(ready, item))
        batch.items.append(item)
        return batch

    def run_together(self, items: Receipts[Any], batch: Gathered) -> None:
        """Run a batch task, and settle each of its calls."""
        self._set_context(NOTHING)
        error: BaseException | None = None
        result: Any = None
        try:
            result = batch.task.finish(batch.task.function(list(batch.calls)))
        except (Exception, SystemExit) as raised:
            error = raised
        self.settle_all(items, batch, result, error)

    def settle_all(self, items: Receipts[Any], batch: Gathered, result: Any, error: BaseException | None) -> None:
        """What a batch task said of its calls: each for itself, and for the rest what it raised."""
        for call, item in zip(batch.calls, batch.items, strict=True):
            outcome = outcome_of(batch.task, call, result) or error
            if outcome is None:
                items.ack(item)
            else:
                self.settle(items, item, outcome)

    # ------------------------------------------------------------------ what was not done

    def settle(self, items: Receipts[Any], item: Any, error: BaseException) -> None:
        """Say of an item whose job has raised what becomes of it."""
        items.fail(item, error=self.fate(item, error))

    def fate(self, item: Any, error: BaseException) -> PlainRetry | Drop:
        """What becomes of an item whose job has raised, in the words of the line."""
        if isinstance(error, Drop):
            return error
        task, name = self._task_of(item)
        backoff, most, hook = self._roster.policies(task)
        attempt = attempt_of(item)
        if isinstance(error, PlainRetry):
            delay = error.delay
            if delay is None:
                own = error.backoff if isinstance(error, Retry) else None
                delay = delay_by(own or backoff, attempt)
            log.info("job %s of message %s is tried again", name, getattr(item, "id", "?"))
            return PlainRetry(delay)
        if most is not None and hook is not None and self._buried(item, error, attempt, most, hook):
            return Drop("it is among the dead letters")
        about = f"job {name}" + (f", message {item.id}" if hasattr(item, "id") else "")
        about += f", attempt {attempt}" if attempt else ""
        return PlainRetry(delay_by(backoff, attempt), error=error, about=about)

    def _task_of(self, item: Any) -> tuple[Task[..., Any] | RawFunction | None, str]:
        """The task that an item is for, if it has any, and its name for sentences."""
        try:
            letter = opened(item)
        except Exception:  # it has failed of that already
            return None, "without a name"
        if letter is None or not self._roster.tasks:
            return self._roster.raw, "without a name"
        return self._roster.tasks.get(letter.job), repr(letter.job)

    def _buried(
        self, item: Any, error: BaseException, attempt: int | None, most: int, hook: Callable[[Any, Failure], object]
    ) -> bool:
        """Whether this was its last attempt, and it is stored elsewhere: only then may it be deleted."""
        if attempt is None:
            self._roster.warn_once("max_attempts has no effect: the queue does not say how often an item was delivered")
            return False
        if attempt < most:
            return False
        try:
            hook(item, Failure.of(error))
        except Exception as worse:
            log.error("the dead letters did not take message %s, so it stays: %r", getattr(item, "id", "?"), worse)
            return False
        log.error("message %s is among the dead letters: %r", getattr(item, "id", "?"), error)
        return True


def call_of(ready: Ready, item: Any) -> Call:
    """A call for a batch task, with what it has to know while its message is in hand."""
    arguments = {**ready.kwargs, "*": list(ready.args)} if ready.args else ready.kwargs
    return Call(ready.task, arguments, ready.context, item, attempt_of(item))


def outcome_of(task: Any, call: Any, result: Any) -> BaseException | None:
    """What a batch task said of one of its calls, by itself or in what it returned; None if it is done."""
    outcome = call.outcome if isinstance(call, Call) else None
    if outcome is None and isinstance(result, Failed):
        failed: list[Any] = cast(Any, result).items
        if any(one is call for one in failed):
            return Unfinished(f"{task.name!r} returned it as failed")
    return outcome


class AsyncHandling(Handling):
    """The same for `pool="coroutines"`: an `async def` is awaited, any other function runs in a thread."""

    @property
    def receipt(self) -> Receipt:
        """See `Roster.receipt`."""
        return self._roster.receipt

    async def __call__(self, items: Any) -> None:
        if hasattr(items, "ack"):
            await self._handle_gathering(items)
            return
        for item in items:
            try:
                await self._perform(item)
            except (Exception, SystemExit) as error:
                raise self.fate(item, error) from None

    async def _handle_gathering(self, items: Receipts[Any]) -> None:
        gathered: dict[str, Gathered] = {}
        for item in items:
            try:
                full = self.gather(item, gathered)
                if full is None:
                    await self._perform(item)
            except (Exception, SystemExit) as error:
                self.settle(items, item, error)
                continue
            if full is None:
                items.ack(item)
            elif len(full.calls) >= full.task.size:
                await self._run_together(items, gathered.pop(full.task.name))
        for batch in gathered.values():
            await self._run_together(items, batch)

    async def _perform(self, item: Any) -> None:
        ready = self.read(item)
        task: Any = self._roster.raw if ready is None else ready.task
        if not task.is_async or task.size is not None:
            await asyncio.to_thread(self.perform, item)
            return
        if ready is None:
            self._set_context(NOTHING)
            await task.function(item)
            return
        roster = self._roster
        self._set_context(ready.context)
        if not (roster.layers or task.processor is not None or roster.processor is not None):
            await task.function(*ready.args, **task.with_context(ready.kwargs))
            return
        call = Call(task, ready.arguments, ready.context, item)
        with ExitStack() as stack:
            for layer in roster.layers:
                stack.enter_context(layer(call))
            processor = (task.processor or roster.processor or Processor)(call, ready.args)
            await processor.aprocess(ready.kwargs, ready.context)

    async def _run_together(self, items: Receipts[Any], batch: Gathered) -> None:
        if not batch.task.is_async:
            await asyncio.to_thread(self.run_together, items, batch)
            return
        self._set_context(NOTHING)
        error: BaseException | None = None
        result: Any = None
        try:
            result = await batch.task.function(list(batch.calls))
        except (Exception, SystemExit) as raised:
            error = raised
        self.settle_all(items, batch, result, error)
