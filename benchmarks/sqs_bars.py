"""The bars of the SQS adapter: what a message, an hour of nothing, a lease and a stop may cost."""

from __future__ import annotations

import sqs_batches
import sqs_cpu
import sqs_idle
import sqs_leases
import sqs_priorities
import sqs_stop
from bars import Bar


def full_name(topic: str, name: str) -> str:
    return f"{topic}: {name}"


COST = {name: full_name(sqs_cpu.TOPIC, name) for name in (sqs_cpu.OURS, sqs_cpu.LEAN, sqs_cpu.BARE, sqs_cpu.ONE_BY_ONE)}
CALLS = full_name(sqs_batches.TOPIC, sqs_batches.NAME)
IDLE = full_name(sqs_idle.TOPIC, sqs_idle.NAME)
PRIORITIES = full_name(sqs_priorities.TOPIC, sqs_priorities.NAME)
HELD, FAR, BEHIND = (full_name(sqs_leases.TOPIC, name) for name in (sqs_leases.HELD, sqs_leases.FAR, sqs_leases.BEHIND))
STOPS = {server: full_name(sqs_stop.TOPIC, server) for server in (*sqs_stop.SERVERS, sqs_stop.MEMORY)}

BARS: tuple[Bar, ...] = (
    *(
        Bar(subject=CALLS, metric=sqs_batches.metric(handlers, rate), limit=0.202, at_most=True, unit="calls")
        for handlers in sqs_batches.HANDLERS
        for rate in sqs_batches.RATES
        if rate >= sqs_batches.FULL
    ),
    *(Bar(subject=IDLE, metric=f"hour {workers}", limit=180, at_most=True, unit="") for workers in sqs_idle.WORKERS),
    *(
        Bar(subject=IDLE, metric=f"woken {workers}", limit=1, at_most=True, unit="calls")
        for workers in sqs_idle.WORKERS
    ),
    Bar(subject=COST[sqs_cpu.OURS], metric="cpu", limit=1.25, at_most=True, against=COST[sqs_cpu.BARE]),
    Bar(subject=COST[sqs_cpu.ONE_BY_ONE], metric="cpu", limit=3.5, against=COST[sqs_cpu.OURS]),
    Bar(subject=COST[sqs_cpu.BARE], metric="cpu", limit=4, against=COST[sqs_cpu.LEAN]),
    *(
        Bar(subject=PRIORITIES, metric=f"beyond at {latency}", limit=0.01, at_most=True, unit="s")
        for latency in sqs_priorities.LATENCIES
    ),
    Bar(subject=HELD, metric="heartbeats", limit=75, at_most=True, unit=""),
    *(Bar(subject=name, metric="expired", limit=0, at_most=True, unit="") for name in (HELD, FAR)),
    Bar(subject=BEHIND, metric="held_back", limit=0.05, unit="%"),
    *(Bar(subject=name, metric="slowest", limit=1, at_most=True, unit="s") for name in STOPS.values()),
)
