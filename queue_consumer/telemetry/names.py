"""What metrics and spans are called: one table, for Prometheus and OpenTelemetry alike.

Names, units and attributes are those of OpenTelemetry's semantic conventions for messaging, where these have any (they
are in development there, so that they may change; then they change here, and nowhere else). What they have no name for
begins with `queue_consumer`. Prometheus knows each under the name that OpenTelemetry's own exporter would give it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["ALL", "Metric", "label_of"]


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: OpenTelemetry's.
        kind: what its numbers do.
        unit: as UCUM has it; `{message}` counts messages.
        help: what it says.
        attributes: what it is told apart by, beside those that all have.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    attributes: tuple[str, ...] = ()

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus: dots become underscores, the unit and `_total` are appended."""
        name = self.name.replace(".", "_")
        if self.unit == "s":
            name += "_seconds"
        return name + ("_total" if self.kind == "counter" else "")


def label_of(attribute: str) -> str:
    """An attribute's name in Prometheus."""
    return attribute.replace(".", "_")


# Attributes that all metrics have

CONSUMER = "queue_consumer.name"
SYSTEM = "messaging.system"
DESTINATION = "messaging.destination.name"
COMMON = (CONSUMER, SYSTEM, DESTINATION)

# and those that some have

OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
ERROR_TYPE = "error.type"
BATCH_COUNT = "messaging.batch.message_count"
MESSAGE_ID = "messaging.message.id"
BODY_SIZE = "messaging.message.body.size"
FATE = "queue_consumer.fate"
CALL = "queue_consumer.call"
ATTEMPT = "queue_consumer.attempt"

# From events

CONSUMED = Metric(
    "messaging.client.consumed.messages",
    "counter",
    "{message}",
    "Messages that a get brought.",
    (OPERATION_NAME,),
)
OPERATION = Metric(
    "messaging.client.operation.duration",
    "histogram",
    "s",
    "How long calls of the queue took: receive (get) and settle (cleanup).",
    (OPERATION_NAME, OPERATION_TYPE),
)
PROCESS = Metric(
    "messaging.process.duration",
    "histogram",
    "s",
    "How long a handler was busy with a message; of several in one call, each has its share.",
    (OPERATION_NAME, ERROR_TYPE),
)
ON_BELT = Metric("queue_consumer.belt.duration", "histogram", "s", "How long messages waited for a free handler.")
CLEANUP_FAILED = Metric(
    "queue_consumer.cleanup.failures", "counter", "{call}", "Calls of cleanup or release that failed."
)
DIED = Metric("queue_consumer.workers.died", "counter", "{worker}", "Workers that ended though they should not have.")
STUCK_TOLD = Metric(
    "queue_consumer.handlers.stuck.reports", "counter", "{report}", "Times that a handler was found stuck."
)
STALLED_TOLD = Metric("queue_consumer.stalls", "counter", "{stall}", "Times that nothing moved though it could have.")

# From the ledger

RECEIVED = Metric("queue_consumer.items.received", "counter", "{message}", "Items received, as the ledger has it.")
ENDED = Metric("queue_consumer.items.ended", "counter", "{message}", "Items by their end.", (FATE,))
FAILED = Metric("queue_consumer.items.failed", "counter", "{message}", "Times that an item failed.")
DUPLICATES = Metric("queue_consumer.items.duplicates", "counter", "{message}", "Items that came again while known.")
IN_FLIGHT = Metric("queue_consumer.items.in_flight", "gauge", "{message}", "Items received that have no end yet.")
REVIVED = Metric("queue_consumer.workers.revived", "counter", "{worker}", "Workers that were replaced.")
STUCK = Metric("queue_consumer.handlers.stuck", "counter", "{handler}", "Handlers that were stuck, all told.")
FETCHING = Metric("queue_consumer.fetching", "gauge", "1", "1 while it fetches, 0 while it does not.")
RUNNING = Metric("queue_consumer.running", "gauge", "1", "1 while it runs, 0 before, while it drains, and after.")
CALLS = Metric("queue_consumer.api.calls", "counter", "{call}", "Calls of the queue's service, by kind.", (CALL,))
COST = Metric("queue_consumer.api.cost", "counter", "{USD}", "What those calls cost, about, in US dollars.")

FROM_EVENTS = (CONSUMED, OPERATION, PROCESS, ON_BELT, CLEANUP_FAILED, DIED, STUCK_TOLD, STALLED_TOLD)
FROM_STATS = (
    RECEIVED,
    ENDED,
    FAILED,
    DUPLICATES,
    IN_FLIGHT,
    REVIVED,
    STUCK,
    FETCHING,
    RUNNING,
    CALLS,
    COST,
)
ALL = (*FROM_EVENTS, *FROM_STATS)

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 300.0)
