"""A function for messages that are no jobs: what comes from elsewhere, a schedule of EventBridge's for instance."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ._running import finished

__all__ = ["RawFunction"]


class RawFunction:
    """What `Jobs.raw` connects; beside a task it is one without name, signature or codec.

    Attributes:
        name: for sentences.
        size: most messages that the function is given at once; None: it is given one, and not as a list.
    """

    name = "raw"

    def __init__(
        self,
        function: Callable[..., Any],
        size: int | None,
        backoff: Callable[[int], float] | None,
        max_attempts: int | None,
        dead_letter: Callable[..., object] | None,
    ) -> None:
        self.function = function
        self.size = size
        self.backoff = backoff
        self.max_attempts = max_attempts
        self.dead_letter = dead_letter
        code: Any = inspect.unwrap(function)
        self.is_async = inspect.iscoroutinefunction(code) or inspect.iscoroutinefunction(type(code).__call__)

    def finish(self, result: Any) -> Any:
        """As of a task."""
        return finished(self.name, result, is_async=self.is_async)
