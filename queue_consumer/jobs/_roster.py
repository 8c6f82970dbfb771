"""What a registry knows, for those who need it: its tasks, what stands around them, and its policies."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ._codec import Codecs
from ._context import Ambient
from ._layers import Layer, Processor
from ._raw import RawFunction
from ._retries import Backoff, DeadLetter
from ._task import Task

__all__ = ["Receipt", "Roster"]

Receipt: TypeAlias = Literal["advance", "explicit"]

log = logging.getLogger("queue_consumer.jobs")


@dataclass(kw_only=True)
class Roster:
    """The state of a registry. It changes while tasks are registered, and is read while jobs are handled.

    Attributes:
        gathers: some function takes several at once.
    """

    codecs: Codecs
    context: Ambient
    backoff: Backoff | None
    max_attempts: int | None
    dead_letter: DeadLetter | None
    processor: type[Processor] | None
    tasks: dict[str, Task[..., Any]] = field(default_factory=dict[str, Task[..., Any]])
    layers: list[Layer] = field(default_factory=list[Layer])
    raw: RawFunction | None = None
    gathers: bool = False
    _warned: set[str] = field(default_factory=set[str])

    @property
    def receipt(self) -> Receipt:
        """When an item counts as consumed. By asking for the next, which is cheapest, unless calls are gathered."""
        return "explicit" if self.gathers else "advance"

    @property
    def bulk(self) -> int:
        """The most calls that any function takes at once."""
        sizes = [task.size for task in (*self.tasks.values(), self.raw) if task is not None]
        return max((size for size in sizes if size is not None), default=1)

    def policies(self, task: Task[..., Any] | RawFunction | None) -> tuple[Backoff | None, int | None, Any]:
        """The back-off, the most attempts and the dead letters of a task: its own, or else the registry's."""
        if task is None:
            return self.backoff, self.max_attempts, self.dead_letter
        return (
            self.backoff if task.backoff is None else task.backoff,
            self.max_attempts if task.max_attempts is None else task.max_attempts,
            self.dead_letter if task.dead_letter is None else task.dead_letter,
        )

    def warn_once(self, sentence: str) -> None:
        """Say this, if it was not said before."""
        if sentence not in self._warned:
            self._warned.add(sentence)
            log.warning("%s", sentence)
