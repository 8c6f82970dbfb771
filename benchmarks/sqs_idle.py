"""What an idle line asks: polls that are open at a time, and threads that an empty answer wakes, by number of getters.

Polls wait for a second here and not for twenty, so that a few seconds have as many as some minutes. What does not
depend on that is how many are open at a time, on average; an hour has that many times 180 of twenty seconds each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from contender import Contender, Sample
from queue_consumer import Consumer
from queue_consumer_sqs import SQSQueue
from sqs_stand import Seen, Stand

TOPIC = "SQS idle"
NAME = "an empty queue"
WORKERS = (1, 4, 16)
WAIT = 1  # seconds of a poll
LONG_WAIT = 20  # of one by default
SETTLING = 2.5  # each getter polls once before it knows that the queue is empty
LOOK = 0.1  # seconds; no two answers of one queue come within it
TASKS = Path("/proc/self/task")


def ignore(messages: Any) -> None:
    """There are none."""


def measure(stretch: int) -> Sample:
    """Of so many seconds."""
    with Stand() as stand:
        names = {workers: stand.queue() for workers in WORKERS}
        consumers: dict[int, Consumer[Any]] = {}
        threads: dict[int, list[threading.Thread]] = {}
        for workers, name in names.items():
            before = set(threading.enumerate())
            queue = SQSQueue(name, endpoint_url=stand.endpoints[0], wait_time=WAIT)
            consumers[workers] = Consumer(queue, ignore, workers, workers).start()
            threads[workers] = [thread for thread in threading.enumerate() if thread not in before]
        time.sleep(SETTLING)  # until the first polls are over, all but one of each queue
        since = monotonic()
        woken = watch(threads, since + stretch)
        until = monotonic()
        for consumer in consumers.values():
            consumer.stop()
        for consumer in consumers.values():
            consumer.shutdown()
        calls = stand.calls("ReceiveMessage")
    found: dict[str, float] = {"items": stretch}
    for workers, name in names.items():
        polls = [call for call in calls if call.queue == name]
        answers = sum(since <= call.ended < until for call in polls)
        at_a_time = open_at_a_time(polls, since, until)
        found[f"polls {workers}"] = at_a_time
        found[f"hour {workers}"] = at_a_time * 3600 / LONG_WAIT
        if woken[workers]:
            found[f"woken {workers}"] = woken[workers] / max(answers, 1)
    return found


def open_at_a_time(polls: Sequence[Seen], since: float, until: float) -> float:
    """How many polls were open, on average."""
    spent = sum(max(0.0, min(poll.ended or until, until) - max(poll.began, since)) for poll in polls)
    return spent / (until - since)


def watch(threads: dict[int, list[threading.Thread]], until: float) -> dict[int, int]:
    """How often a thread of each line was seen to have run; the supervisor, which walks round by the clock, apart."""
    minding = {workers: [t for t in mine if "supervisor" not in t.name] for workers, mine in threads.items()}
    seen = {workers: switches(mine) for workers, mine in minding.items()}
    woken = dict.fromkeys(threads, 0)
    while monotonic() < until:
        time.sleep(LOOK)  # threads tell nobody that they have run
        for workers, mine in minding.items():
            now = switches(mine)
            woken[workers] += sum(count != before for count, before in zip(now, seen[workers], strict=True))
            seen[workers] = now
    return woken


def switches(threads: Sequence[threading.Thread]) -> list[int]:
    """How often each has gone to sleep, by Linux's count; elsewhere nobody knows."""
    counts: list[int] = []
    for thread in threads:
        try:
            status = (TASKS / str(thread.native_id) / "status").read_text()
        except OSError:
            return []
        counts.append(int(status.partition("\nvoluntary_ctxt_switches:")[2].split("\n", 1)[0]))
    return counts


CONTENDERS = [Contender(topic=TOPIC, name=NAME, kind="ours", measure=measure, items=5, few=1)]
