"""From a verdict to deeds: what was consumed goes to cleanup, what failed goes back, what was not taken is handed
on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from ._chunk import Chunk, Ending, Failure, Fate, Receipt, is_consumed, judge
from ._cleaner import Cleaner, Errand
from ._events import CallbackFailed, ChunkHandled, ids_of, log
from ._keys import keys_of
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
        self._max_attempts = max_attempts
        self.cleaner: Cleaner

    def settle(self, chunk: Chunk, ending: Ending, tally: Tally, worker: str, took: float) -> None:
        """Decide on every item of a chunk whose handler call has ended."""
        line, lane, items = self._line, chunk.lane, chunk.items
        if is_consumed(self._receipt, len(items), chunk.taken, ending):
            self._consume(chunk, tally, worker, took)
            return
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
            self.clean(consumed, lane, tally)
        if dropped:
            self._send(Errand("drop", dropped, lane), tally)
        kept: list[Hashable] = []
        if failed:
            kept += self._send_back(failed, lane, tally, keys_of(chunk, [index for index, _ in verdict.failed]))
        if rest:
            kept += self._hand_on(chunk, verdict.rest, verdict.passed, tally)
        if line.belt.sorter is not None:
            line.belt.ended(chunk, () if chunk.keys is None else set(chunk.keys).difference(kept))
        if line.observed:
            failure = ending.failure or next((fate.failure for _, fate in failed if fate.failure), None)
            items_failed = [item for item, _ in failed]
            line.observers.tell(handled(worker, took, failure, consumed, items_failed, dropped, rest))

    def _consume(self, chunk: Chunk, tally: Tally, worker: str, took: float) -> None:
        """All of it is consumed."""
        line = self._line
        self.clean(chunk.items, chunk.lane, tally)
        if line.belt.sorter is not None:
            line.belt.ended(chunk, chunk.keys or ())
        if line.observed:
            line.observers.tell(handled(worker, took, consumed=chunk.items))

    def abandon(self, chunks: list[Chunk], tally: Tally) -> list[Any]:
        """Nobody will ever hear how these ended: count what is in hand as abandoned, and return it.

        What the handler asked past is consumed all the same, and what it never took can go back.
        """
        abandoned: list[Any] = []
        for chunk in chunks:
            items = chunk.items
            verdict = judge(self._receipt, len(items), chunk.taken, chunk.exhausted, Ending("died"))
            if verdict.consumed:
                self.clean([items[index] for index in verdict.consumed], chunk.lane, tally)
            if verdict.rest:
                self.give_back([items[index] for index in verdict.rest], chunk.lane, tally)
            left = [items[index] for index, _ in verdict.failed]
            if chunk.lane.custody is not None:
                chunk.lane.custody.ended(left)
            abandoned += left
        tally.freed += len(abandoned)
        tally.abandoned += len(abandoned)
        return abandoned

    def clean(self, items: list[Any], lane: Lane, tally: Tally) -> None:
        """These are consumed."""
        tally.freed += len(items)
        self.cleaner.clean(items, lane)

    def give_back(self, items: list[Any], lane: Lane, tally: Tally, delay: float = 0.0) -> None:
        """These were never shown to a handler, and shall go home."""
        self._send(Errand("release", items, lane, delay=delay), tally)

    def fail(self, item: Any, failure: Failure, lane: Lane, tally: Tally, behind: list[Any]) -> list[Any]:
        """An item fails that cannot be handed over. Returns those behind it that went home with it."""
        tally.failed += 1
        if self._is_last(self.attempt_of(item, lane)):
            self._send(Errand("bury", [item], lane, failure=failure), tally)
            if behind:  # it may not be taken there, and then comes before them
                self.give_back(behind, lane, tally)
            return behind
        self.give_back([item, *behind], lane, tally, self.delay_of(item, lane))
        return behind

    def clear_belt(self, tally: Tally) -> None:
        """Give back all that waits on the belt."""
        items: dict[Lane, list[Any]] = {}
        for chunk in self._line.belt.clear():
            items.setdefault(chunk.lane, []).extend(chunk.items)
        for lane, theirs in items.items():
            self.give_back(theirs, lane, tally)

    def sift(self, lane: Lane, tally: Tally) -> None:
        """Take off the belt what should wait for a handler no longer."""
        custody, at = lane.custody, now()
        assert custody is not None
        said: dict[int, tuple[Any, str]] = {}  # once of each, since the next moment it may be otherwise

        def verdict(item: Any) -> str:
            if id(item) not in said:
                how = "lost" if custody.lost(item, at) else "old" if custody.aged(item, at) else ""
                said[id(item)] = (item, how)
            return said[id(item)][1]

        gone = self._line.belt.sift(lane, lambda item: bool(verdict(item)))
        lost = [item for item in gone if verdict(item) == "lost"]
        old = [item for item in gone if verdict(item) == "old"]
        self._let_go(lost, old, lane, tally)

    def admit(self, chunk: Chunk, tally: Tally) -> bool:
        """See which of a chunk's items are still ours, before they are handed over; False if none is."""
        custody, at = chunk.lane.custody, now()
        if custody is None or custody.lease is None or custody.keeps(chunk.items, at):
            return True
        lost = [index for index, item in enumerate(chunk.items) if custody.lost(item, at)]
        old = [index for index, item in enumerate(chunk.items) if index not in lost and custody.aged(item, at)]
        if not lost and not old:  # renewed at the last moment
            return True
        items, keys = chunk.items, chunk.keys
        kept = [index for index in range(len(items)) if index not in lost and index not in old]
        chunk.items, chunk.keys = [items[index] for index in kept], keys_of(chunk, kept)
        self._let_go([items[index] for index in lost], [items[index] for index in old], chunk.lane, tally)
        gone = [] if keys is None else [keys[index] for index in (*lost, *old)]
        if not kept:
            self._line.belt.ended(chunk, gone)
        elif gone:
            self._line.belt.free(chunk.lane, gone)
        return bool(kept)

    def _let_go(self, lost: list[Any], old: list[Any], lane: Lane, tally: Tally) -> None:
        """They were not handled; and nothing of their keys may be before they come again."""
        tally.freed += len(lost)
        for item in lost:
            behind = self.cleaner.behind(item, lane)
            if behind:
                self.give_back(behind, lane, tally)
        self.cleaner.lose(lost, lane, tally)
        if old:
            self._release(old, lane, tally, 0.0)

    def delay_of(self, item: Any, lane: Lane) -> float:
        """Seconds before a failed item is seen again, as the back-off has it."""
        return self._ask(self.attempt_of(item, lane), lane)

    def _send(self, errand: Errand, tally: Tally) -> None:
        tally.freed += len(errand.items)
        self.cleaner.send(errand)

    def _send_back(
        self, failed: list[tuple[Any, Fate]], lane: Lane, tally: Tally, keys: list[Hashable] | None
    ) -> list[Hashable]:
        """Failed items go back after their delay, those that failed for the last time to the dead letters.

        Returns the keys that stay held until it is seen whether those take them.
        """
        backs: dict[tuple[float | None, int], list[Any]] = {}
        kept: list[Hashable] = []
        for index, (item, fate) in enumerate(failed):
            attempt = self.attempt_of(item, lane)
            if self._is_last(attempt) and fate.failure is not None:
                held = () if keys is None else keys[index : index + 1]
                kept += held
                self._send(Errand("bury", [item], lane, failure=fate.failure, keys=held), tally)
            else:
                backs.setdefault((fate.delay, attempt), []).append(item)
        for (delay, attempt), items in backs.items():
            delay = self._ask(attempt, lane) if delay is None else delay
            self._release(items, lane, tally, delay)
        return kept

    def _is_last(self, attempt: int) -> bool:
        return self._max_attempts is not None and attempt >= self._max_attempts

    def _release(self, items: list[Any], lane: Lane, tally: Tally, delay: float) -> None:
        """Give failed items back, and behind each of them those that may not come before it."""
        if lane.key is None:
            self._send(Errand("release", items, lane, delay=delay), tally)
            return
        for item in items:
            self._send(Errand("release", [item, *self.cleaner.behind(item, lane)], lane, delay=delay), tally)

    def _hand_on(self, chunk: Chunk, indices: list[int], passed: bool, tally: Tally) -> Iterable[Hashable]:
        """What was not taken goes to the next free handler; what a second handler did not take either goes back.

        Returns the keys that it keeps.
        """
        rest, keys = [chunk.items[index] for index in indices], keys_of(chunk, indices)
        if passed and chunk.passes and not self._line.returning:
            self._release(rest, chunk.lane, tally, self.delay_of(rest[0], chunk.lane))
            return ()
        if self._line.returning or self._line.over:
            self.give_back(rest, chunk.lane, tally)
            return keys or ()  # or what waits behind them would begin
        self._line.belt.put_back([Chunk(rest, chunk.lane, now(), chunk.passes + passed, keys)])
        return keys or ()

    def put_back(self, chunks: list[Chunk], tally: Tally) -> None:
        """These were not begun: back to the belt, for another handler; or home, if the line is to stop."""
        home = self._line.returning or self._line.over
        for chunk in chunks:
            if home:
                self.give_back(chunk.items, chunk.lane, tally)
            self._line.belt.ended(chunk, ())  # at home, too: or what waits behind them would begin
        if not home:
            self._line.belt.put_back(chunks)

    def attempt_of(self, item: Any, lane: Lane) -> int:
        """How often this item was delivered, as far as the queue can tell."""
        attempt = lane.port.attempt
        if attempt is None:
            return 1
        try:
            return max(1, int(attempt(item)))
        except BaseException as error:  # the item takes its usual way, as if delivered for the first time
            self._raised("queue.attempt", error)
            return 1

    def _ask(self, attempt: int, lane: Lane) -> float:
        if self._backoff is not None:
            try:
                delay = float(self._backoff(attempt))
                if 0 <= delay < float("inf"):
                    return delay
                raise ValueError(f"a back-off must be a number of seconds of at least 0; got {delay!r}")
            except BaseException as error:  # the default back-off is used instead
                self._raised("backoff", error)
        return default_backoff(lane)(attempt)

    def _raised(self, callback: str, error: BaseException) -> None:
        log.error("%s raised, so its default is used: %r", callback, error)
        self._line.observers.tell(CallbackFailed(callback=callback, error=repr(error)))

    def _say(self, ending: Ending, chunk: Chunk, consumed: list[Any], failed: list[tuple[Any, Fate]]) -> None:
        """Log each failure once; a retry is none."""
        count = len(chunk.items)
        if ending.failure is not None:
            how = {"died": "died", "refused": "is none"}.get(ending.how, "failed")
            at = f"{how} with item {chunk.taken} of {count}, {len(consumed)} of them consumed"
            facts = {
                "event": "ChunkHandled",
                "items": ids_of(item for item, _ in failed),
                "reason": ending.failure.kind,
            }
            log.error("handler %s: %s", at, ending.failure.told(), **facts)
        others = {id(fate.failure): fate.failure for _, fate in failed if fate.failure is not ending.failure}
        for failure in others.values():
            if failure is not None:
                ids = ids_of(item for item, fate in failed if fate.failure is failure)
                said = "an item failed, in a handler call with %d: %s"
                log.error(said, count, failure.told(), event="ChunkHandled", items=ids, reason=failure.kind)


def handled(
    worker: str,
    took: float,
    failure: Failure | None = None,
    consumed: Sequence[Any] = (),
    failed: Sequence[Any] = (),
    dropped: Sequence[Any] = (),
    handed_on: Sequence[Any] = (),
) -> ChunkHandled:
    return ChunkHandled(
        worker=worker,
        consumed=tuple(consumed),
        failed=tuple(failed),
        dropped=tuple(dropped),
        handed_on=tuple(handed_on),
        failure=failure,
        took=took,
    )


BY_TIME, BY_ATTEMPT = Constant(1), Exponential(base=1, max=300)


def default_backoff(lane: Lane) -> Callable[[int], float]:
    """Where nobody says otherwise."""
    return BY_TIME if lane.port.attempt is None else BY_ATTEMPT
