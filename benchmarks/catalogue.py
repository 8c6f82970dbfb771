"""All contenders, topic by topic, in the order of the tables; and all bars."""

from __future__ import annotations

import bars
import cost
import jobs
import keys
import latency
import memory
import peers
import sqs_bars
import sqs_batches
import sqs_cpu
import sqs_idle
import sqs_leases
import sqs_priorities
import sqs_stop
import start_and_stop
import subscribing
import throughput
import utilisation
from contender import Contender

ALL: list[Contender] = [
    *(c for c in throughput.CONTENDERS if c.kind != "ours"),
    *peers.CONTENDERS,
    *(c for c in throughput.CONTENDERS if c.kind == "ours"),
    *jobs.CONTENDERS,
    *latency.CONTENDERS,
    *utilisation.CONTENDERS,
    *keys.CONTENDERS,
    *memory.CONTENDERS,
    *start_and_stop.CONTENDERS,
    *cost.CONTENDERS,
    *subscribing.CONTENDERS,
    *sqs_cpu.CONTENDERS,
    *sqs_batches.CONTENDERS,
    *sqs_idle.CONTENDERS,
    *sqs_priorities.CONTENDERS,
    *sqs_leases.CONTENDERS,
    *sqs_stop.CONTENDERS,
]

BARS: list[bars.Bar] = [*bars.BARS, *sqs_bars.BARS]


def find(topic: str, name: str) -> Contender:
    (found,) = (contender for contender in ALL if (contender.topic, contender.name) == (topic, name))
    return found
