"""What a queue does, apart from how it waits: generators of calls and waits, carried out by threads or coroutines.

A generator yields what is to be done next, is sent the answer, and has thrown into it what went wrong; what it returns
is the result. So a queue that blocks and one that awaits decide everything alike, and differ in the doing only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeAlias, TypeVar

__all__ = ["Answer", "Ask", "Call", "Step", "Steps", "Until", "Wait", "take", "take_async"]


class Wait(NamedTuple):
    """Let time pass; `Cut` if the queue is interrupted."""

    seconds: float


class Until(NamedTuple):
    """Let somebody else's poll be over, or so many seconds pass; `Cut` if the queue is interrupted."""

    over: Future[bool]
    seconds: float


class Ask(NamedTuple):
    """Receive messages; `Cut` if the queue is interrupted, at once or once so many seconds have passed."""

    arguments: Mapping[str, Any]
    uncut: float


class Call(NamedTuple):
    """Call the service."""

    operation: str
    arguments: Mapping[str, Any]


Result = TypeVar("Result")
Step: TypeAlias = Wait | Until | Ask | Call
Answer: TypeAlias = Mapping[str, Any]
Steps: TypeAlias = Generator[Step, Answer, Result]


def take(steps: Steps[Result], do: Callable[[Step], Answer]) -> Result:
    """Take all steps, each by `do`, and return their result."""
    try:
        step = next(steps)
        while True:
            try:
                answer = do(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as done:
        result: Result = done.value
        return result
    finally:
        steps.close()  # now, and not when nobody knows any more of an interrupt that has ended them


async def take_async(steps: Steps[Result], do: Callable[[Step], Awaitable[Answer]]) -> Result:
    """As `take`, where steps are awaited."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await do(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as done:
        result: Result = done.value
        return result
    finally:
        steps.close()  # now, and not when nobody knows any more of an interrupt that has ended them
