"""A queue that gives what it was told to give, and writes down what the line did with it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from queue_consumer import Report

EMPTY_TAKES = 0.01  # seconds: like a broker's long poll, only shorter


class ScriptedQueue:
    """Gives one answer of its script per `get`, then nothing; keeps its own record, apart from any ledger.

    Args:
        script: what `get` returns, in this order. A callable is called for what it returns or raises.
        in_turn: the next answer is given only when the line has given back all of the last one.
        without: verbs that this queue is not to have.
    """

    def __init__(self, script: Iterable[Any], *, in_turn: bool = False, without: Sequence[str] = ()) -> None:
        self.script = list(script)
        self._in_turn = in_turn
        self._changed = threading.Condition()
        self._interrupted = False
        self.cleanup_limit: Any = None
        self.given: list[Any] = []
        self.cleaned: list[list[Any]] = []
        self.released: list[tuple[list[Any], float]] = []
        self.broken: list[str] = []
        self._open: Counter[int] = Counter()  # by id() of objects that `given` keeps: how often each is out
        for verb in without:
            setattr(self, verb, None)

    def get(self) -> Any:
        with self._changed:
            if not self.script:
                self._changed.wait_for(lambda: self._interrupted, EMPTY_TAKES)
                return []
            if self._in_turn:
                self._changed.wait_for(lambda: self._interrupted or self._settled())
                if self._interrupted:
                    return []
            answer: Any = self.script.pop(0)
            self._changed.notify_all()
        if callable(answer):
            answer = answer()
        if type(answer) in (list, tuple):
            self._give(answer)
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

    def wait_until_spent(self) -> None:
        """Wait until the whole script has been given."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self.script, 60), f"never asked for: {self.script!r}"

    def gave(self, items: Iterable[Any]) -> Iterable[Any]:
        """Write down items that go out by another way than in a list or a tuple."""
        for item in items:
            self._give([item])
            yield item

    def cleaned_up(self) -> list[Any]:
        """All that was cleaned up."""
        return [item for items in self.cleaned for item in items]

    def returned(self) -> list[Any]:
        """All that was released."""
        return [item for items, _ in self.released for item in items]

    def fates(self) -> dict[int, str | float]:
        """What became of each object, by its id(): "cleaned", or the delay that it was released with."""
        fates: dict[int, str | float] = {id(item): "cleaned" for item in self.cleaned_up()}
        return fates | {id(item): delay for items, delay in self.released for item in items}

    def reconcile(self, report: Report) -> None:
        """Fail if the line's ledger does not say what this queue saw, or a rule of the socket was broken."""
        stats = report.stats
        assert report.balanced, str(report)
        assert stats.in_flight == 0, str(report)
        assert not self.broken, self.broken
        assert stats.received == len(self.given), str(report)
        if callable(self.cleanup):
            assert stats.cleaned + stats.dropped == len(self.cleaned_up()), str(report)
        if callable(self.release):
            assert stats.released == len(self.returned()), str(report)

    def _give(self, items: Sequence[Any]) -> None:
        with self._changed:
            self.given += items
            self._open.update(map(id, items))

    def _settled(self) -> bool:
        return len(self.given) == len(self.cleaned_up()) + len(self.returned())

    def _note(self, verb: str, items: Sequence[Any]) -> None:
        """Look out for what must never happen."""
        with self._changed:
            if not items:
                self.broken.append(f"{verb} was called with no items")
            for item in items:
                self._open[id(item)] -= 1
                if self._open[id(item)] < 0:
                    self.broken.append(f"{verb} got {item!r}, which was never given, or had ended")


def raising(error: BaseException) -> Callable[[], Any]:
    """An answer of a script: `get` raises this."""

    def answer() -> Any:
        raise error

    return answer
