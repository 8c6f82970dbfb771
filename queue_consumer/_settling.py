"""From a verdict to deeds: what was consumed goes to cleanup, what failed goes back, what was not taken is handed
on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._chunk import Chunk, Ending, Fate, Receipt, judge
from ._cleaner import Cleaner, Errand
from ._events import CallbackFailed, ChunkHandled, log
from ._ledger import Tally
from ._line import Lane, Line, now
from .policies import Constant, Exponential


class Settling:
    """Carries out what `judge` says of a chunk.

    Called by the worker that handled it, or by whoever buries that worker.
    """

    def __init__(
        self,
        line: Line,
        *,
        receipt: Receipt,
        backoff: Callable[[int], float] | None,
        max_attempts: int | None,
    ) -> None:
        self._line = line
        self._receipt: Receipt = receipt
        self._backoff = backoff
        self._default = Constant(1) if line.lane.port.attempt is None else Exponential(base=1, max=300)
        self._max_attempts = max_attempts
        self.cleaner: Cleaner

    def settle(self, chunk: Chunk, ending: Ending, tally: Tally, worker: str, took: float) -> None:
        """Decide on every item of a chunk whose handler call has ended."""
        line, lane, items = self._line, chunk.lane, chunk.items
        verdict = judge(self._receipt, len(items), chunk.taken, chunk.exhausted, ending)
        if line.over and ending.how == "died":  # we ended it: nothing that it held has failed
            verdict.rest = sorted(verdict.rest + [index for index, _ in verdict.failed])
            verdict.failed, verdict.passed = [], False
        consumed = [items[index] for index in verdict.consumed]
        dropped = [items[index] for index in verdict.dropped]
        failed = [(items[index], fate) for index, fate in verdict.failed]
        rest = [items[index] for index in verdict.rest]

        if not (line.over and ending.how == "died"):
            self._say(ending, chunk, consumed, failed)
        tally.failed += sum(fate.failure is not None for _, fate in failed)
        if consumed:
            self.clean(consumed, tally)
        if dropped:
            self._send(Errand("drop", dropped, lane), tally)
        if failed:
            self._send_back(failed, lane, tally)
        if rest:
            self._hand_on(rest, chunk, verdict.passed, tally)
        if line.observed:
            line.observers.tell(
                ChunkHandled(
                    worker=worker,
                    consumed=tuple(consumed),
                    failed=tuple(item for item, _ in failed),
                    dropped=tuple(dropped),
                    handed_on=tuple(rest),
                    failure=ending.failure or next((fate.failure for _, fate in failed if fate.failure), None),
                    took=took,
                )
            )

    def abandon(self, chunks: list[Chunk], tally: Tally) -> list[Any]:
        """Nobody will ever hear how these ended: count what is in hand as abandoned, and return it.

        What the handler asked past is consumed all the same, and what it never took can go back.
        """
        abandoned: list[Any] = []
        for chunk in chunks:
            items = chunk.items
            verdict = judge(self._receipt, len(items), chunk.taken, chunk.exhausted, Ending("died"))
            if verdict.consumed:
                self.clean([items[index] for index in verdict.consumed], tally)
            if verdict.rest:
                self.give_back([items[index] for index in verdict.rest], chunk.lane, tally)
            abandoned += [items[index] for index, _ in verdict.failed]
        tally.freed += len(abandoned)
        tally.abandoned += len(abandoned)
        return abandoned

    def clean(self, items: list[Any], tally: Tally) -> None:
        """These are consumed."""
        tally.freed += len(items)
        self.cleaner.clean(items)

    def give_back(self, items: list[Any], lane: Lane, tally: Tally, delay: float = 0.0) -> None:
        """These were never shown to a handler, and shall go home."""
        self._send(Errand("release", items, lane, delay=delay), tally)

    def clear_belt(self, tally: Tally) -> None:
        """Give back all that waits on the belt."""
        items = self._line.belt.clear()
        if items:
            self.give_back(items, self._line.lane, tally)

    def delay_of(self, item: Any) -> float:
        """Seconds before a failed item is seen again, as the back-off has it."""
        return self._ask(self.attempt_of(item))

    def _send(self, errand: Errand, tally: Tally) -> None:
        tally.freed += len(errand.items)
        self.cleaner.send(errand)

    def _send_back(self, failed: list[tuple[Any, Fate]], lane: Lane, tally: Tally) -> None:
        """Failed items go back after their delay, those that failed for the last time to the dead letters."""
        backs: dict[tuple[float | None, int], list[Any]] = {}
        for item, fate in failed:
            attempt = self.attempt_of(item)
            if self._max_attempts is not None and attempt >= self._max_attempts and fate.failure is not None:
                self._send(Errand("bury", [item], lane, failure=fate.failure), tally)
            else:
                backs.setdefault((fate.delay, attempt), []).append(item)
        for (delay, attempt), items in backs.items():
            delay = self._ask(attempt) if delay is None else delay
            self._send(Errand("release", items, lane, delay=delay), tally)

    def _hand_on(self, rest: list[Any], chunk: Chunk, passed: bool, tally: Tally) -> None:
        """What was not taken goes to the next free handler; what a second handler did not take either goes back."""
        if passed and chunk.passes and not self._line.returning:
            self.give_back(rest, chunk.lane, tally, self.delay_of(rest[0]))
        else:
            self.put_back([Chunk(rest, chunk.lane, now(), chunk.passes + passed)], tally)

    def put_back(self, chunks: list[Chunk], tally: Tally) -> None:
        """These were not begun: back to the belt, for another handler; or home, if the line is to stop."""
        if self._line.returning or self._line.over:
            for chunk in chunks:
                self.give_back(chunk.items, chunk.lane, tally)
        else:
            self._line.belt.put_back(chunks)

    def attempt_of(self, item: Any) -> int:
        """How often this item was delivered, as far as the queue can tell."""
        attempt = self._line.lane.port.attempt
        if attempt is None:
            return 1
        try:
            return max(1, int(attempt(item)))
        except BaseException as error:  # the item takes its usual way, as if delivered for the first time
            self._raised("queue.attempt", error)
            return 1

    def _ask(self, attempt: int) -> float:
        if self._backoff is not None:
            try:
                delay = float(self._backoff(attempt))
                if 0 <= delay < float("inf"):
                    return delay
                raise ValueError(f"a back-off must be a number of seconds of at least 0; got {delay!r}")
            except BaseException as error:  # the default back-off is used instead
                self._raised("backoff", error)
        return self._default(attempt)

    def _raised(self, callback: str, error: BaseException) -> None:
        log.error("%s raised, so its default is used: %r", callback, error)
        self._line.observers.tell(CallbackFailed(callback=callback, error=repr(error)))

    def _say(self, ending: Ending, chunk: Chunk, consumed: list[Any], failed: list[tuple[Any, Fate]]) -> None:
        """Log each failure once; a retry is none."""
        count = len(chunk.items)
        if ending.failure is not None:
            how = {"died": "died", "refused": "is none"}.get(ending.how, "failed")
            at = f"{how} with item {chunk.taken} of {count}, {len(consumed)} of them consumed"
            log.error("handler %s: %s", at, ending.failure.told())
        others = {id(fate.failure): fate.failure for _, fate in failed if fate.failure is not ending.failure}
        for failure in others.values():
            if failure is not None:
                log.error("an item failed, in a handler call with %d: %s", count, failure.told())
