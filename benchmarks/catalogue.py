"""All contenders, topic by topic, in the order of the tables."""

from __future__ import annotations

import cost
import jobs
import keys
import latency
import memory
import peers
import start_and_stop
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
]


def find(topic: str, name: str) -> Contender:
    (found,) = (contender for contender in ALL if (contender.topic, contender.name) == (topic, name))
    return found
