"""Whether a consumer is alive, and whether it is ready: for the probes of an orchestrator.

*Alive* is false only where the line itself says that nothing moves although it could (`Stalled`), and until something
moves again. A broker that is away does not make it false: to restart the process would not bring it back, and where all
processes are restarted at once the outage is longer for it.
"""

from __future__ import annotations

from collections.abc import Callable

from queue_consumer import ConsumerStarted, Event, Stalled, State, Stats

__all__ = ["Health"]


class Health:
    """An observer that knows how one consumer is.

    health = Health()
    consumer = Consumer(queue, handler, observers=[health])
    """

    def __init__(self) -> None:
        self._stats: Callable[[], Stats] | None = None
        self._stalled: tuple[str, tuple[int, int]] | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, ConsumerStarted):
            self._stats = event.stats
        elif isinstance(event, Stalled):
            self._stalled = (event.reason, self._moved())

    def _moved(self) -> tuple[int, int]:
        """What changes when anything moves."""
        if self._stats is None:
            return 0, 0
        stats = self._stats()
        return stats.received, stats.ended

    def alive(self) -> tuple[bool, str]:
        """Whether to let it live, and why not."""
        if self._stalled is not None and self._stalled[1] == self._moved():
            return False, f"stalled: {self._stalled[0]}"
        return True, "alive"

    def ready(self) -> tuple[bool, str]:
        """Whether it takes items: it was started, and was not asked to stop. Why not, in words."""
        state = State.NEW if self._stats is None else self._stats().state
        return state is State.RUNNING, state.value
