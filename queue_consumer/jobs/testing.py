"""For tests of programs that send jobs, and of jobs: no queue, no server, no waiting.

`eager(jobs)` runs what is sent at once · `outbox(jobs)` keeps it, and knows whether it was what you expected ·
`run_until_empty(jobs, queue)` works a queue off, and raises what a job raised.

`queue_consumer.jobs.pytest_plugin` has them as fixtures.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from queue_consumer import Constant, Consumer, Drop, MemoryMessage, Receipts
from queue_consumer import Retry as PlainRetry

from ._letter import Letter
from ._registry import Jobs
from ._sender import Sent, Tap
from ._task import Baked, Task

__all__ = ["Outbox", "Sent", "eager", "outbox", "run_until_empty"]

ids = itertools.count(1)
Job = str | Task[..., Any]


def message_of(letter: Letter, attempt: int = 1) -> MemoryMessage:
    """The message that a queue would give."""
    return MemoryMessage(f"test-{next(ids)}", letter.body, letter.attributes(), attempt=attempt)


@contextmanager
def tapped(jobs: Jobs, tap: Tap) -> Generator[None]:
    before, jobs.sender.tap = jobs.sender.tap, tap
    try:
        yield
    finally:
        jobs.sender.tap = before


@contextmanager
def eager(jobs: Jobs, *, max_retries: int = 0) -> Generator[None]:
    """Run every job where it is sent, at once: written and read again as on its way, with all that is around it.

    What a job raises is raised where it was sent. Context values are those of the job while it runs, and then again
    what they were. Jobs that are sent by jobs run inside them.

    Args:
        max_retries: how often a job that raises `Retry` is run again; then that is raised.
    """

    def run(sent: Sent) -> str:
        before = jobs.context.variable.get()
        try:
            for attempt in itertools.count(1):
                message = message_of(sent.letter, attempt)
                try:
                    jobs.perform(message)
                except Drop:
                    pass
                except PlainRetry:
                    if attempt > max_retries:
                        raise
                    continue
                return message.id
            raise AssertionError("itertools.count has an end")
        finally:
            jobs.context.variable.set(before)

    with tapped(jobs, run):
        yield


class Outbox:
    """What was sent, in order. Nothing of it goes anywhere.

    Attributes:
        sent: all of it.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def __len__(self) -> int:
        return len(self.sent)

    def __repr__(self) -> str:
        return f"<Outbox of {len(self.sent)}: {', '.join(map(repr, self.sent)) or 'nothing'}>"

    def of(self, job: Job) -> list[Sent]:
        """What was sent of this job: a task, or a name."""
        return [sent for sent in self.sent if sent.job == name_of(job)]

    def clear(self) -> None:
        """Forget it all."""
        self.sent.clear()

    def assert_sent(self, job: Job | Baked[Any], /, *, times: int | None = None, **arguments: Any) -> Sent:
        """See that this job was sent with these arguments, among others that are not said; the last that was.

        Args:
            times: just so often; None: at least once.

        Raises:
            AssertionError: it was not; the sentence says what was.
        """
        if isinstance(job, Baked):
            name, arguments = job.task.name, job.arguments
        else:
            name = name_of(job)
        alike = [sent for sent in self.of(name) if holds(sent.arguments, arguments)]
        if not alike or (times is not None and len(alike) != times):
            what = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
            wanted = "" if times is None else f" {times} times"
            raise AssertionError(
                f"{what} was to be sent{wanted}, and was {f'{len(alike)} times' if alike else 'not'}; sent were: "
                f"{', '.join(map(repr, self.sent)) or 'none'}"
            )
        return alike[-1]

    def assert_not_sent(self, job: Job, /, **arguments: Any) -> None:
        """See that this job was not sent with such arguments.

        Raises:
            AssertionError: it was.
        """
        alike = [sent for sent in self.of(job) if holds(sent.arguments, arguments)]
        if alike:
            raise AssertionError(f"{alike[0]!r} was not to be sent, and was {len(alike)} times")

    def assert_nothing_sent(self) -> None:
        """See that nothing was sent.

        Raises:
            AssertionError: something was.
        """
        if self.sent:
            raise AssertionError(f"nothing was to be sent, and there were: {', '.join(map(repr, self.sent))}")


def holds(arguments: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(name in arguments and arguments[name] == value for name, value in wanted.items())


def name_of(job: Job) -> str:
    return job if isinstance(job, str) else job.name


@contextmanager
def outbox(jobs: Jobs) -> Generator[Outbox]:
    """Keep what is sent instead of sending it.

    What it was is asked of the `Outbox`:

        with outbox(jobs) as sent:
            sign_up("ada@example.org")
        sent.assert_sent("send_email", to="ada@example.org")
    """
    kept = Outbox()

    def keep(sent: Sent) -> str:
        kept.sent.append(sent)
        return f"test-{next(ids)}"

    with tapped(jobs, keep):
        yield kept


def run_until_empty(
    jobs: Jobs,
    queue: Any = None,
    *,
    raises: bool = True,
    backoff: Callable[[int], float] | None = None,
    limit: int = 1000,
) -> int:
    """Handle what is in a queue, and what that sends, in this thread; how many jobs were done.

    Args:
        queue: the registry's own, if none is given.
        raises: raise what a job raised, once the bulk that it came in is handled. Retries are no errors.
        backoff: of what failed; None: none at all. What is delayed is not waited for.
        limit: of bulks; more, and something sends itself for ever.

    Raises:
        AssertionError: that limit.
        Exception: what the first job that failed has raised.
    """
    watch = Watched(jobs)
    source = jobs.queue if queue is None else queue
    consumer = Consumer(
        source,
        watch,
        max_handlers=1,
        messages_bulk_size=max(10, jobs.bulk),
        backoff=Constant(0) if backoff is None else backoff,
        owns_queue=False,
    )
    done = 0
    for _ in range(limit):
        result = consumer.run_once()
        done += result.succeeded
        if raises and watch.errors:
            raise watch.errors[0]
        if not result.succeeded and not result.failed:
            return done
    raise AssertionError(f"the queue is not empty after {limit} bulks: does a job send itself, or always fail?")


class Watched:
    """A registry that remembers what its jobs have raised."""

    def __init__(self, jobs: Jobs) -> None:
        self.errors: list[BaseException] = []
        self.receipt = jobs.receipt
        self._jobs = jobs

    def __call__(self, items: Any) -> None:
        if hasattr(items, "ack"):
            items = Noting(items, self.errors)
        try:
            self._jobs(items)
        except PlainRetry as retry:
            if retry.error is not None:
                self.errors.append(retry.error)
            raise


class Noting:
    """Receipts that note with what error something failed."""

    def __init__(self, items: Receipts[Any], errors: list[BaseException]) -> None:
        self._items = items
        self._errors = errors
        self.ack = items.ack

    def __iter__(self) -> Any:
        return iter(self._items)

    def fail(self, item: Any, delay: float | None = None, error: BaseException | None = None) -> None:
        if isinstance(error, PlainRetry) and error.error is not None:
            self._errors.append(error.error)
        self._items.fail(item, delay, error)
