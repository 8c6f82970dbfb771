"""The bars: what the line promises to cost at most, and whether a run kept the promise.   (pure)

Each round gives one ratio, of two measurements that were neighbours in time; the median of the ratios is
judged. A machine that gets slower in the course of a run therefore slows both sides down.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contender import POOLS, Sample

Rounds = Mapping[str, Sequence[Sample]]
"""All samples of one run, by `"topic: name"`, in the order of the rounds."""

THREAD_SUBMIT = "throughput: ThreadPoolExecutor.submit"
PROCESS_SUBMIT = "throughput: ProcessPoolExecutor.submit"  # several: one for each way to start processes
FASTEST_PEER = "the fastest peer"  # of the same topic
SQS_WORKERS = "jobs: sqs-workers"  # several: with one thread, and with as many as ours


@dataclass(frozen=True, kw_only=True)
class Bar:
    """`metric` of `subject`, divided by that of `against` if there is one, is at least or at most `limit`."""

    subject: str
    metric: str
    limit: float
    at_most: bool = False
    against: str | None = None
    unit: str = "×"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    bar: Bar
    against: str | None  # whom `against` turned out to be
    values: tuple[float, ...]
    value: float | None  # the median; None: not measured

    @property
    def meets(self) -> bool | None:
        if self.value is None:
            return None
        return self.value <= self.bar.limit if self.bar.at_most else self.value >= self.bar.limit

    @property
    def word(self) -> str:
        return {True: "meets", False: "misses", None: "not measured"}[self.meets]


def _throughput(subject: str, limit: float, against: str) -> Bar:
    return Bar(subject=f"throughput: {subject}", metric="rate", limit=limit, against=against)


BARS: tuple[Bar, ...] = (
    _throughput("threads, chunk of 1", 10, THREAD_SUBMIT),
    _throughput("threads, chunk of 1", 7, FASTEST_PEER),
    _throughput("threads, chunk of 10", 20, THREAD_SUBMIT),
    _throughput("threads, chunk of 10", 20, FASTEST_PEER),
    _throughput("processes, chunk of 1", 25, PROCESS_SUBMIT),
    _throughput("processes, chunk of 10", 100, PROCESS_SUBMIT),
    Bar(subject="jobs: Jobs, chunk of 1", metric="rate", limit=5, against=SQS_WORKERS),
    Bar(subject="jobs: Jobs, chunk of 1", metric="rate", limit=1, against=FASTEST_PEER),
    Bar(subject="latency: idle threads", metric="p50", limit=100e-6, at_most=True, unit="s"),
    Bar(subject="latency: idle threads", metric="p99", limit=1e-3, at_most=True, unit="s"),
    Bar(
        subject="utilisation: 64 handlers",
        metric="rate",
        limit=0.97,
        against="utilisation: 64 bare threads",
        unit="%",
    ),
    *(
        Bar(
            subject=f"memory: a million items, {pool}",
            metric="growth",
            limit=4 * 2**20,
            at_most=True,
            unit="B",
        )
        for pool in ("threads", "processes")
    ),
    *(
        Bar(
            subject=f"memory: in flight, chunk of {chunk}",
            metric="per_item",
            limit=1024,
            at_most=True,
            unit="B",
        )
        for chunk in (1, 10)
    ),
    Bar(subject="start and stop: import queue_consumer", metric="import", limit=0.06, at_most=True, unit="s"),
    *(
        Bar(
            subject=f"start and stop: idle consumer, {pool}",
            metric="stop",
            limit=0.05,
            at_most=True,
            unit="s",
        )
        for pool in POOLS
    ),
)


def median(rounds: Rounds, name: str, metric: str) -> float | None:
    """The median over the rounds; None for what was not measured."""
    values = [sample[metric] for sample in rounds.get(name, ()) if metric in sample]
    return statistics.median(values) if values else None


def _fastest(rounds: Rounds, names: Sequence[str]) -> str | None:
    rates = {name: rate for name in names if (rate := median(rounds, name, "rate")) is not None}
    return max(rates, key=rates.__getitem__) if rates else None


def opponent(against: str | None, rounds: Rounds, peers: Sequence[str]) -> str | None:
    """Who is meant by `against`: of several, the one with the highest median rate; None for nobody."""
    if against == FASTEST_PEER:
        return _fastest(rounds, peers)
    if against in (PROCESS_SUBMIT, SQS_WORKERS):
        return _fastest(rounds, [name for name in rounds if name.startswith(against)])
    return against


def ratios(rounds: Rounds, subject: str, against: str, metric: str = "rate") -> list[float]:
    """One ratio per round in which both were measured."""
    pairs = zip(rounds.get(subject, ()), rounds.get(against, ()), strict=False)
    return [ours[metric] / theirs[metric] for ours, theirs in pairs]


def judge(rounds: Rounds, *, peers: Sequence[str], bars: Sequence[Bar] = BARS) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for bar in bars:
        topic = bar.subject.partition(": ")[0]
        against = opponent(bar.against, rounds, [name for name in peers if name.partition(": ")[0] == topic])
        if bar.against is None:
            values = [sample[bar.metric] for sample in rounds.get(bar.subject, ()) if bar.metric in sample]
        else:
            values = ratios(rounds, bar.subject, against, bar.metric) if against else []
        value = statistics.median(values) if values else None
        verdicts.append(Verdict(bar=bar, against=against, values=tuple(values), value=value))
    return verdicts
