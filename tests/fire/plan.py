"""What a run is made of, all of it drawn from a seed: the messages, the faults, and who is killed when.  Pure.

A run has a combination of a queue and a pool for each of `COMBINATIONS`. In each two consumers share a queue.
"""

from __future__ import annotations

import itertools
import json
import random
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal, NamedTuple

from support.sqs_faults import (
    BAD_GATEWAY,
    CUT,
    DONE_BUT_500,
    EXPIRED,
    INTERNAL,
    LOST,
    THROTTLED,
    TRUNCATED,
    UNAVAILABLE,
    Chaos,
    Fault,
    failing,
)
from support.sqs_http import Json

Queue = Literal["standard", "fifo", "bulks"]
Pool = Literal["threads", "processes", "coroutines", "async"]
Act = Literal["kill the consumer", "kill a child", "kill the server", "hang up", "expire the keys"]

LEASE = 4  # seconds that a message is hidden for, so that what is not deleted comes again soon
IDLE_LEASE = 2
SLOTS = ("a", "b")  # the consumers


class Combination(NamedTuple):
    """A kind of queue, and what handles it.

    Attributes:
        queue: "standard" and "fifo" are on fauxqs, which keeps all on the disk, and are killed with it. It gives one
            message of a group at a time; "bulks" is a FIFO queue on ministack, which gives all that there are, and
            which cannot be killed, since it would lose them.
        pool: "coroutines" awaits handlers, and polls and deletes in threads; "async" is `AsyncSQSQueue`, without any.
    """

    queue: Queue
    pool: Pool

    def __str__(self) -> str:
        return f"{self.queue}/{self.pool}"

    @property
    def fifo(self) -> bool:
        return self.queue != "standard"

    @property
    def server(self) -> str:
        return "ministack" if self.queue == "bulks" else "fauxqs"


QUEUES: tuple[Queue, ...] = ("standard", "fifo", "bulks")
POOLS: tuple[Pool, ...] = ("threads", "processes", "coroutines", "async")
COMBINATIONS = tuple(Combination(queue, pool) for queue in QUEUES for pool in POOLS)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is in a message: what its handler is to do.

    Args:
        number: of all messages of the run, from 0 on.
        group: of all those that are to be handled in their order.
        fails: as long as it was not delivered more often than so, it fails.
        work: seconds that it takes.
    """

    number: int
    group: str
    fails: int = 0
    work: float = 0.0

    @property
    def body(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, body: str) -> Task:
        return cls(**json.loads(body))


class Deed(NamedTuple):
    """Something that happens once so many messages are handled, and then so many seconds later."""

    at: int
    delay: float
    act: Act
    slot: str  # whom it befalls


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One combination's part of a run.

    Args:
        seed: of the faults.
        waves: the messages; each wave is sent when nearly all before it are handled, the last when all are, so that
            queues run dry.
        deeds: in the order in which they happen.
    """

    combination: Combination
    seed: int
    waves: tuple[tuple[Task, ...], ...]
    deeds: tuple[Deed, ...]

    @property
    def tasks(self) -> list[Task]:
        return [task for wave in self.waves for task in wave]

    def befalls(self, operation: str, number: int) -> Fault | None:
        """What the call of this operation with this number meets, 1 first."""
        shares = SHARES.get(operation)
        return Chaos(self.seed, shares)(operation, number) if shares else None


def planned(combination: Combination, seed: int, messages: int) -> Plan:
    """The same for the same arguments."""
    dice = random.Random(f"{seed}/{combination}")
    groups = max(4, messages // (20 if combination.queue == "bulks" else 8))
    tasks = [task(dice, number, groups) for number in range(messages)]
    ends = [0, messages // 2, messages - messages // 6, messages]
    waves = tuple(tuple(tasks[start:end]) for start, end in itertools.pairwise(ends))
    happens = deeds(dice, combination, messages)
    return Plan(combination=combination, seed=dice.randrange(1 << 32), waves=waves, deeds=happens)


def task(dice: random.Random, number: int, groups: int) -> Task:
    fails = dice.choices((0, 1, 2), (96, 3, 1))[0]
    # Most are done at once; some take a while, and very few longer than the lease, which has to be renewed.
    kind = dice.choices(("quick", "slow", "long"), (91, 8.2, 0.8))[0]
    work = {"quick": dice.uniform(0, 0.01), "slow": dice.uniform(0.05, 0.3), "long": dice.uniform(1.2, 1.6) * LEASE}
    return Task(number=number, group=f"g{number % groups}", fails=fails, work=round(work[kind], 3))


def deeds(dice: random.Random, combination: Combination, messages: int) -> tuple[Deed, ...]:
    share = max(1, messages // 300)
    times: dict[Act, int] = {"kill the consumer": 2 * share, "hang up": share, "expire the keys": share}
    if combination.pool == "processes":
        times["kill a child"] = 2 * share
    if combination.server == "fauxqs":
        times["kill the server"] = share
    drawn = [
        Deed(dice.randint(messages // 20, messages - messages // 12), dice.uniform(0, 0.3), act, dice.choice(SLOTS))
        for act, count in times.items()
        for _ in range(count)
    ]
    return tuple(sorted(drawn))


def some(entry: Json) -> bool:
    """A third of all messages, so that batches fail in parts."""
    return zlib.crc32(str(entry.get("ReceiptHandle", "")).encode()) % 3 == 0


SLOW = Fault(name="slow", before=0.2, after=0.3)
LATE = Fault(name="late", before=LEASE + 0.5)  # when the lease has run out
STALE = Fault(name="stale answer", after=LEASE * 0.7)
OVERDUE = Fault(name="overdue answer", after=LEASE + 0.5)
PARTLY = replace(failing(some), name="failed in part")

OFTENER, OFTEN, SELDOM = 0.04, 0.02, 0.006
# Shares of the calls of each operation. Keys that expire by themselves make a consumer pause for a second or more.
EVERYWHERE: Mapping[Fault, float] = {
    CUT: OFTEN,
    LOST: OFTEN,
    TRUNCATED: OFTEN,
    INTERNAL: OFTEN,
    UNAVAILABLE: OFTEN,
    THROTTLED: OFTEN,
    DONE_BUT_500: OFTEN,
    BAD_GATEWAY: SELDOM,
    SLOW: OFTEN,
}
SHARES: Mapping[str, Mapping[Fault, float]] = {
    "SendMessageBatch": EVERYWHERE,
    "ReceiveMessage": {**EVERYWHERE, STALE: SELDOM, OVERDUE: SELDOM, EXPIRED: SELDOM / 2},
    "DeleteMessageBatch": {**EVERYWHERE, PARTLY: OFTENER, LATE: SELDOM, EXPIRED: SELDOM},
    "ChangeMessageVisibilityBatch": {**EVERYWHERE, PARTLY: OFTENER, LATE: SELDOM, EXPIRED: SELDOM},
}
