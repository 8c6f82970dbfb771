"""A job in hand: what whoever stands around it is told, and a batch task says of each of its calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from queue_consumer import Drop, UsageError, current

from ._retries import Backoff, Retry

__all__ = ["Call", "Runs", "Unfinished", "attempt_of"]


class Runs(Protocol):
    """What a call knows of its task."""

    name: str
    function: Callable[..., Any]
    pass_context: str | None

    def finish(self, result: Any) -> Any:
        """The result of the function, once it is there."""
        ...


class Call:
    """One job as it came.

    Attributes:
        job: its name.
        task: the task of that name.
        id: of the message, as far as that has one.
        arguments: by name, as the function is to be given them; those by place are under `*`.
        context: the values that travelled with it.
        message: the item of the queue.
        outcome: what was said of it: None, or an exception.
    """

    __slots__ = ("_attempt", "arguments", "context", "id", "job", "message", "outcome", "task")

    def __init__(
        self,
        task: Runs,
        arguments: dict[str, Any],
        context: Mapping[str, Any],
        message: Any,
        attempt: int | None = None,
    ) -> None:
        self.task = task
        self.job = task.name
        self.arguments = arguments
        self.context = context
        self.message = message
        self.id = str(getattr(message, "id", "") or "")
        self.outcome: BaseException | None = None
        self._attempt = attempt

    def __repr__(self) -> str:  # without the arguments, which may be anything
        return f"<Call of {self.job!r}{f', message {self.id}' if self.id else ''}>"

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The argument of this name, or the default."""
        return self.arguments.get(name, default)

    @property
    def attempt(self) -> int | None:
        """How often it was delivered, 1 for the first time; None where the queue does not say."""
        if self._attempt is None:
            self._attempt = attempt_of(self.message)
        return self._attempt

    @property
    def queue(self) -> str:
        """The name of the queue that it came from, as far as anything has one."""
        name = getattr(self.message, "queue", None)
        if isinstance(name, str) and name:
            return name
        try:
            return current().lane
        except UsageError:
            return ""

    # What a batch task says; what it says nothing of is done when it returns.

    def fail(self, error: BaseException | None = None) -> None:
        """It was not done, and is tried again after the task's back-off."""
        self.outcome = Unfinished(f"job {self.job!r} was failed by its batch") if error is None else error

    def retry(self, delay: float | None = None, *, backoff: Backoff | None = None) -> None:
        """Not now; that is no error."""
        self.outcome = Retry(delay, backoff=backoff)

    def drop(self, reason: str = "") -> None:
        """Never."""
        self.outcome = Drop(reason)


class Unfinished(Exception):
    """A batch task says of a call that it was not done."""


def attempt_of(message: Any) -> int | None:
    """How often it was delivered: as it says itself, or as its queue does of what is in hand."""
    attempt = getattr(message, "attempt", None)
    if isinstance(attempt, int):
        return attempt
    try:
        held = current()
    except UsageError:
        return None
    return held.attempt if held.item is message else None
