"""When a job that was not done is tried again, and what becomes of it in the end."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import logging
import statistics
from typing import Any

import pytest

from queue_consumer import Constant, Consumer, Exponential, Failure, MemoryMessage, MemoryQueue
from queue_consumer import Retry as PlainRetry
from queue_consumer.jobs import DEFAULT_BACKOFF, IMMEDIATE_RETURN, ExponentialBackoff, Jobs, Retry
from queue_consumer.testing import ManualClock


class Bench:
    """A registry whose one task raises what it is told to, and a clock moved by hand."""

    def __init__(self, error: BaseException, *, task: dict[str, Any] | None = None, **options: Any) -> None:
        self.clock = ManualClock()
        self.queue = MemoryQueue(clock=self.clock, wait=0, journal=True)
        self.jobs = Jobs(self.queue, **options)
        self.error: BaseException | None = error
        self.attempts: list[int | None] = []

        @self.jobs.task("work", **(task or {}))
        def work() -> None:
            if self.error is not None:
                raise self.error

        work.delay()

    def delay(self, backoff: Any = None) -> float | None:
        """Have it run once; the seconds that it is then hidden for, or None if it is gone."""
        Consumer(self.queue, self.jobs, backoff=backoff, max_handlers=1, owns_queue=False).run_once()
        assert self.queue.journal is not None
        last = self.queue.journal[-1]
        self.clock.advance(last.delay + 1 if last.deed == "released" else 0)
        return last.delay if last.deed == "released" else None


PRECEDENCE: list[tuple[BaseException, dict[str, Any], dict[str, Any], Any, float]] = [
    (ValueError(), {}, {}, Constant(1), 1),
    (ValueError(), {}, {"backoff": Constant(2)}, Constant(1), 2),
    (ValueError(), {"backoff": Constant(3)}, {"backoff": Constant(2)}, Constant(1), 3),
    (Retry(), {"backoff": Constant(3)}, {"backoff": Constant(2)}, Constant(1), 3),
    (Retry(), {}, {}, Constant(1), 1),
    (Retry(backoff=Constant(4)), {"backoff": Constant(3)}, {}, Constant(1), 4),
    (Retry(5), {"backoff": Constant(3)}, {"backoff": Constant(2)}, Constant(1), 5),
    (Retry(0), {"backoff": Constant(3)}, {}, Constant(1), 0),
    (PlainRetry(6), {"backoff": Constant(3)}, {}, Constant(1), 6),
    (PlainRetry(), {"backoff": Constant(3)}, {}, Constant(1), 3),
    (ValueError(), {}, {"backoff": IMMEDIATE_RETURN}, Constant(1), 0),
    (ValueError(), {"backoff": lambda attempt: attempt * 10}, {}, Constant(1), 10),
]


@pytest.mark.parametrize(("error", "task", "registry", "consumer", "delay"), PRECEDENCE)
def test_the_nearest_policy_says_when(
    error: BaseException, task: dict[str, Any], registry: dict[str, Any], consumer: Any, delay: float
) -> None:
    """The retry's own delay or back-off goes before the task's, that before the registry's, that before the line's."""
    assert Bench(error, task=task, **registry).delay(consumer) == delay


def test_the_back_off_is_told_the_attempt() -> None:
    """A policy is called with how often the message was delivered."""
    bench = Bench(ValueError(), backoff=Exponential(base=1, factor=2, jitter=False))
    assert [bench.delay() for _ in range(4)] == [1, 2, 4, 8]
    bench.error = None
    assert bench.delay() is None
    assert bench.queue.empty()


@pytest.mark.parametrize("wrong", [lambda attempt: 1 / 0, lambda attempt: -1, lambda attempt: float("nan"), "x"])
def test_a_policy_that_fails_leaves_it_to_the_line(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A back-off that raises or gives no seconds is logged, and the consumer's is used."""
    bench = Bench(ValueError(), backoff=(lambda attempt: wrong) if wrong == "x" else wrong)
    with caplog.at_level(logging.ERROR):
        assert bench.delay(Constant(7)) == 7
    assert "a back-off raised, so that of the consumer is used" in caplog.text


def test_a_retry_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """A retry is told at level INFO, an error once at ERROR, with its traceback, the job and the message."""
    with caplog.at_level(logging.INFO):
        Bench(Retry(1)).delay()
    assert [(r.levelname, r.name) for r in caplog.records] == [("INFO", "queue_consumer.jobs")]
    assert "job 'work' of message memory-" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        Bench(LookupError("no address")).delay()
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    for words in ("job 'work', message memory-", "attempt 1", "LookupError: no address", "Traceback"):
        assert words in record.getMessage()


def test_retry_says_one_thing() -> None:
    """A retry has a delay or a back-off, and not both."""
    with pytest.raises(ValueError, match="delay and backoff say the same"):
        Retry(1, backoff=Constant(1))
    wrong: Any = 3
    with pytest.raises(TypeError, match="backoff must be callable"):
        Retry(backoff=wrong)
    with pytest.raises(ValueError, match="at least 0"):
        Retry(-1)


# ---------------------------------------------------------------------------- the formula


@pytest.mark.parametrize(("attempt", "mean"), [(1, 1), (2, 2), (4, 8), (8, 128)])
def test_exponential_is_around_its_mean(attempt: int, mean: float) -> None:
    """Seconds are drawn around `min + multiplier * base ** (attempt - 1)`, a tenth of that away; and are whole."""
    backoff = ExponentialBackoff(min=10, multiplier=3)
    drawn = [backoff(attempt) for _ in range(2_000)]
    middle = 10 + 3 * mean
    assert abs(statistics.fmean(drawn) - middle) < middle * 0.05
    assert min(drawn) >= 10
    assert statistics.stdev(drawn) < middle * 0.2
    assert all(value == int(value) for value in drawn)


def test_exponential_asks_chance_for_a_tenth() -> None:
    """Mean and deviation are those of the predecessor's formula."""
    asked: list[tuple[float, float]] = []

    def chance(mean: float, deviation: float) -> float:
        asked.append((mean, deviation))
        return mean

    backoff = ExponentialBackoff(base=3, min=1, max=1000, multiplier=2, random=chance)
    assert [backoff(attempt) for attempt in (1, 2, 3)] == [3, 7, 19]
    assert asked == [(3, 0.3), (7, 0.7), (19, 1.9)]
    assert backoff(0) == 3


@pytest.mark.parametrize("attempt", [13, 1_025, 10**6, 10**100])
def test_exponential_has_bounds_at_any_attempt(attempt: int) -> None:
    """No attempt is too many: the delay is at most `max`, as a number that every queue takes."""
    assert DEFAULT_BACKOFF(attempt) == 1800
    assert ExponentialBackoff(base=1, min=5, random=lambda mean, deviation: mean)(attempt) == 6
    assert ExponentialBackoff(max=0)(attempt) == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"base": 0.5}, "base must be a number of at least 1; got 0.5"),
        ({"min": -1}, "min must be a number of at least 0; got -1"),
        ({"min": 5, "max": 4}, "max must be a number of at least 5; got 4"),
        ({"multiplier": float("nan")}, "multiplier must be"),
        ({"base": "2"}, "base must be a number of at least 1; got '2'"),
    ],
)
def test_exponential_refuses_what_makes_no_sense(options: dict[str, Any], sentence: str) -> None:
    """What is out of bounds is refused, with its name and its value."""
    with pytest.raises((TypeError, ValueError), match=sentence):
        ExponentialBackoff(**options)


# ---------------------------------------------------------------------------- the last attempt


class Grave:
    """Dead letters, which may refuse them."""

    def __init__(self) -> None:
        self.letters: list[tuple[MemoryMessage, Failure]] = []
        self.full = False
        self.found: list[bool] = []
        self.queue: MemoryQueue[MemoryMessage]

    def __call__(self, message: MemoryMessage, failure: Failure) -> None:
        self.found.append(self.queue.holds(message))
        if self.full:
            raise OSError("no room")
        self.letters.append((message, failure))


@pytest.mark.parametrize("whose", ["task", "registry"])
def test_the_last_failure_goes_to_the_dead_letters(whose: str) -> None:
    """After `max_attempts` the message is stored, and only then deleted; a retry is no failure."""
    grave = Grave()
    policy: dict[str, Any] = {"max_attempts": 3, "dead_letter": grave}
    bench = Bench(ValueError("bad"), **({"task": policy} if whose == "task" else policy))
    grave.queue = bench.queue
    assert bench.delay(Constant(1)) == 1
    bench.error = Retry(2)
    assert bench.delay() == 2
    assert bench.delay() == 2
    bench.error = ValueError("bad")
    assert bench.delay() is None
    ((message, failure),) = grave.letters
    assert (message.attempt, failure.kind, failure.message) == (4, "ValueError", "bad")
    assert grave.found == [True], "it was still held when it was stored"
    assert bench.queue.empty()
    assert bench.queue.stats()["cleaned"] == 1


def test_what_cannot_be_stored_stays(caplog: pytest.LogCaptureFixture) -> None:
    """A dead-letter hook that raises keeps nothing: the message goes back, and the next failure asks again."""
    grave = Grave()
    bench = Bench(ValueError("bad"), max_attempts=1, dead_letter=grave)
    grave.queue = bench.queue
    grave.full = True
    with caplog.at_level(logging.ERROR):
        assert bench.delay(Constant(1)) == 1
    assert "did not take message" in caplog.text
    grave.full = False
    assert bench.delay() is None
    assert len(grave.letters) == 1


def test_what_cannot_be_read_goes_to_the_registrys_dead_letters() -> None:
    """Unknown jobs and broken bodies end there as well; a task's own hook is for the task's failures."""
    grave = Grave()
    bench = Bench(ValueError("bad"), max_attempts=1, dead_letter=grave)
    grave.queue = bench.queue
    bench.queue.get()
    Jobs(bench.queue).send("unknown")
    bench.queue.put("{", attributes={"JobName": "work", "ContentType": "json"})
    bench.delay()
    bench.delay()
    assert sorted(failure.kind.rpartition(".")[2] for _, failure in grave.letters) == ["BadMessage", "UnknownJob"]


def test_attempts_that_nobody_counts_have_no_bound(caplog: pytest.LogCaptureFixture) -> None:
    """Where the queue does not say how often it delivered, that is said once, and nothing is buried."""

    class Plain:
        """A queue without `attempt`, of items without one."""

        def __init__(self) -> None:
            self.items: list[Any] = ['{"JobName": "x"}'] * 2

        def get(self) -> list[Any]:
            items, self.items = self.items, []
            return items

    jobs = Jobs(max_attempts=1, dead_letter=lambda message, failure: None)
    with caplog.at_level(logging.WARNING):
        report = Consumer(Plain(), jobs, messages_bulk_size=2).run_once()
    assert (report.succeeded, report.failed) == (0, 2)
    assert caplog.text.count("max_attempts has no effect") == 1
