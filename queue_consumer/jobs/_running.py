"""The end of a call: its result, once it is there."""

from __future__ import annotations

import asyncio
from typing import Any

from queue_consumer import UsageError

__all__ = ["finished"]


def finished(job: str, result: Any, *, is_async: bool) -> Any:
    """What a function returned; that of an `async def` is run to its end, in this thread and in a loop of its own.

    Raises:
        TypeError: it has yet to run, and the function is no `async def`.
        UsageError: this thread has a loop that runs.
    """
    if result is None:
        return None
    if is_async:
        return run_here(job, result)
    if hasattr(result, "__await__") or (hasattr(result, "send") and hasattr(result, "throw")):
        close = getattr(result, "close", None)
        if close is not None:
            close()  # it never runs, and should not be warned about in some other place
        raise TypeError(
            f"the function of job {job!r} returned a {type(result).__name__}, so nothing of it has run: connect a "
            "function that does its work before it returns, or an async def"
        )
    return result


def run_here(job: str, coroutine: Any) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    coroutine.close()
    raise UsageError(
        f"job {job!r} is an async def, and this thread has an event loop that runs: have it handled with "
        "pool='coroutines'"
    )
