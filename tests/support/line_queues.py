"""A queue that gives what it was told to give, and writes down what the line did with it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from queue_consumer import Report

EMPTY_TAKES = 0.01  # seconds: like a broker's long poll, only shorter


class ScriptedQueue:
    """Gives one answer of its script per `get`, then nothing; keeps its own record, which no counter of ours enters.

    Args:
        script: what `get` returns, in this order. A callable is called, and what it returns or raises is the answer.
        in_turn: the next answer is given only when the line has given back all of the last one.
        without: verbs that this queue is not to have.
    """

    def __init__(
        self, script: Iterable[Any], *, in_turn: bool = False, without: Sequence[str] = ()
    ) -> None:
        self._script = list(script)
        self._in_turn = in_turn
        self._changed = threading.Condition()
        self._interrupted = False
        self.given: list[Any] = []
        self.cleaned: list[list[Any]] = []
        self.released: list[tuple[list[Any], float]] = []
        self.broken: list[str] = []
        for verb in without:
            setattr(self, verb, None)

    def get(self) -> Any:
        with self._changed:
            if not self._script:
                self._changed.wait_for(lambda: self._interrupted, EMPTY_TAKES)
                return []
            if self._in_turn:
                self._changed.wait_for(lambda: self._interrupted or self._settled())
                if self._interrupted:
                    return []
            answer = self._script.pop(0)
        if callable(answer):
            answer = answer()
        if isinstance(answer, (list, tuple)):
            with self._changed:
                self.given += answer
        return answer

    def interrupt(self) -> None:
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def cleanup(self, items: Sequence[Any]) -> None:
        self._note("cleanup", items)
        with self._changed:
            self.cleaned.append(list(items))
            self._changed.notify_all()

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        self._note("release", items)
        with self._changed:
            self.released.append((list(items), delay))
            self._changed.notify_all()

    def gave(self, items: Iterable[Any]) -> Iterable[Any]:
        """Write down items that go out by another way than in a list or a tuple."""
        for item in items:
            with self._changed:
                self.given.append(item)
            yield item

    def back(self) -> list[Any]:
        """All that was cleaned up."""
        return [item for items in self.cleaned for item in items]

    def returned(self) -> list[Any]:
        """All that was released."""
        return [item for items, _ in self.released for item in items]

    def fate_of(self, item: Any) -> tuple[str, float | None]:
        """What became of one object: ("cleaned", None), ("released", delay) or ("held", None)."""
        if any(item is other for other in self.back()):
            return "cleaned", None
        delays = [delay for items, delay in self.released if any(item is other for other in items)]
        return ("released", delays[0]) if delays else ("held", None)

    def reconcile(self, report: Report) -> None:
        """Fail if the line's ledger does not say what this queue saw, or a rule of the socket was broken."""
        stats = report.stats
        assert report.balanced, str(report)
        assert stats.in_flight == 0, str(report)
        assert not self.broken, self.broken
        assert stats.received == len(self.given), str(report)
        if callable(self.cleanup):
            assert stats.cleaned + stats.dropped == len(self.back()), str(report)
        if callable(self.release):
            assert stats.released == len(self.returned()), str(report)
        ended = Counter(id(item) for item in self.back() + self.returned())
        given = Counter(id(item) for item in self.given)
        assert not ended - given, "more came back than was given"

    def _settled(self) -> bool:
        return len(self.given) == len(self.back()) + len(self.returned())

    def _note(self, verb: str, items: Sequence[Any]) -> None:
        """Look out for what must never happen."""
        with self._changed:
            if not items:
                self.broken.append(f"{verb} was called with no items")
            known = {id(item) for item in self.given}
            self.broken += [f"{verb} got {item!r}, which get() never gave" for item in items if id(item) not in known]
            counts = Counter(id(item) for item in [*self.back(), *self.returned(), *items])
            given = Counter(id(item) for item in self.given)
            if counts - given:
                self.broken.append(f"{verb} got an item that had ended: {items!r}")


def raising(error: BaseException) -> Callable[[], Any]:
    """An answer of a script: `get` raises this."""

    def answer() -> Any:
        raise error

    return answer
