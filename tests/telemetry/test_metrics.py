"""Metrics: what is exposed after a real run has the right values, under the conventions' names, in both libraries."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from queue_consumer import (
    CleanupFailed,
    Constant,
    Consumer,
    Drop,
    HandlerStuck,
    MemoryQueue,
    Retry,
    Stalled,
    Stats,
    Supervision,
    each,
)
from queue_consumer.telemetry import names
from queue_consumer.telemetry.otel import OpenTelemetryObserver
from queue_consumer.telemetry.prometheus import PrometheusObserver, exposition

BODIES = ["ok"] * 20 + ["raise"] * 3 + ["retry"] * 2 + ["drop"]
DASHBOARD = Path(__file__).resolve().parents[2] / "docs" / "grafana.json"
COMMON = {
    "queue_consumer_name": "shop",
    "messaging_system": "memory",
    "messaging_destination_name": "orders",
}


class Metered(MemoryQueue):
    """A queue that dies once, and whose service is paid for."""

    died = False

    def get(self, limit: int | None = None) -> list[Any]:
        if not self.died:
            self.died = True
            raise OSError("the cable is out")
        return super().get(limit)

    def stats(self) -> Any:
        return {"calls": {"receive_message": 7}, "dollars": 0.25, "state": "ok"}


@each
def handle(message: Any) -> None:
    match message.body:
        case "raise":
            raise ValueError("a bad item")
        case "retry":
            raise Retry(60)
        case "drop":
            raise Drop("not wanted")
        case _:
            pass


def run(*observers: Any) -> Stats:
    """Run a line over all kinds of items, and have it tell of troubles that take long to bring about."""
    queue = Metered(wait=0.05)
    for body in BODIES:
        queue.put(body)
    consumer = Consumer(
        queue,
        handle,
        max_workers=1,
        max_handlers=2,
        backoff=Constant(60),
        supervision=Supervision(restart_base=0.01),
        observers=observers,
    )
    with consumer:
        assert consumer.wait_idle(20)
    for observer in observers:
        observer(Stalled(reason="nothing", seconds=30.0))
        observer(CleanupFailed(verb="cleanup", items=(), attempt=1, error="", final=False))
        observer(HandlerStuck(worker="handler-1", item=None, seconds=1.0, stack="", limit="stuck_time", replaced=False))
    return consumer.shutdown().stats


@pytest.fixture(scope="module")
def exposed() -> tuple[Stats, dict[str, Any], dict[tuple[str, frozenset[tuple[str, str]]], float]]:
    """The ledger of a run, and what Prometheus is shown of it: families by name, and the value of every sample."""
    registry = CollectorRegistry()
    observer = PrometheusObserver("shop", system="memory", destination="orders", registry=registry)
    stats = run(observer)
    body, kind = exposition(registry)
    assert kind.startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in families.values():
        for sample in family.samples:
            values[sample.name, frozenset(sample.labels.items())] = sample.value
    return stats, families, values


def test_prometheus_shows_the_right_values(exposed: Any) -> None:
    """Each counter is what the ledger says, and each histogram has as many observations as there were items."""
    stats, _, values = exposed

    def value(name: str, **labels: str) -> float:
        return float(values[name, frozenset({**COMMON, **labels}.items())])

    assert stats.balanced
    assert (stats.received, stats.cleaned, stats.dropped, stats.released, stats.failed) == (26, 20, 1, 5, 3)
    assert value("queue_consumer_items_received_total") == 26
    assert value("queue_consumer_items_failed_total") == 3
    assert value("queue_consumer_items_in_flight") == 0
    assert value("queue_consumer_workers_revived_total") == 1
    assert value("queue_consumer_running") == 0
    for fate, count in {"cleaned": 20, "dropped": 1, "released": 5, "left": 0, "lost": 0}.items():
        assert value("queue_consumer_items_ended_total", queue_consumer_fate=fate) == count
    assert value("messaging_client_consumed_messages_total", messaging_operation_name="receive") == 26
    process = {
        error: value("messaging_process_duration_seconds_count", messaging_operation_name="process", error_type=error)
        for error in ("", "ValueError", "retry", "drop")
    }
    assert process == {"": 20, "ValueError": 3, "retry": 2, "drop": 1}
    assert value("queue_consumer_belt_duration_seconds_count") == 26
    assert value("queue_consumer_api_calls_total", queue_consumer_call="receive_message") == 7
    assert value("queue_consumer_api_cost_total") == 0.25
    for once in ("queue_consumer_workers_died_total", "queue_consumer_stalls_total"):
        assert value(once) == 1
    assert value("queue_consumer_cleanup_failures_total") == 1
    assert value("queue_consumer_handlers_stuck_reports_total") == 1


def test_every_metric_is_exposed(exposed: Any) -> None:
    """All that `names` lists is there, of the kind and with the help that it says, and nothing else."""
    _, families, _ = exposed
    kinds = {name: (family.type, family.documentation) for name, family in families.items()}
    assert {name: kind for name, kind in kinds.items() if not name.endswith("_created")} == {
        metric.prometheus.removesuffix("_total"): (metric.kind, metric.help) for metric in names.ALL
    }


def queries() -> list[str]:
    """Every query of the dashboard."""
    board = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]] + [
        variable["query"] for variable in board["templating"]["list"] if variable["type"] == "query"
    ]


@pytest.mark.parametrize("query", queries())
def test_the_dashboard_asks_for_what_is_exposed(query: str, exposed: Any) -> None:
    """Each metric that a query names is exposed after a run, with every label that the query tells it apart by."""
    _, _, values = exposed
    samples: dict[str, set[str]] = {}
    for name, labels in values:
        samples.setdefault(name, set()).update(label for label, _ in labels)
    named = set(re.findall(r"\b(?:queue_consumer|messaging)_[a-z_]+(?=[{,])", re.sub(r"by \([^)]*\)", "", query)))
    assert named
    labels = set(re.findall(r"\b([a-z_]+)(?==|!=)", query))
    labels |= {label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")}
    for name in named:
        assert name in samples, f"{name} is not exposed"
        assert labels <= samples[name], f"{name} has no {labels - samples[name]}"


def test_the_dashboard_shows_every_metric() -> None:
    """No metric is without a place on the dashboard; panels do not overlap, and have one id each."""
    asked = " ".join(queries())
    assert [metric.prometheus for metric in names.ALL if metric.prometheus not in asked] == []
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len(set(places))
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_opentelemetry_shows_the_same() -> None:
    """An OpenTelemetry reader gets the same figures, under the conventions' names and units."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    observer = OpenTelemetryObserver("shop", system="memory", destination="orders", meter_provider=provider)
    stats = run(observer)
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert {name: (metric.unit, metric.description) for name, metric in found.items()} == {
        metric.name: (metric.unit, metric.help) for metric in names.ALL
    }

    def points(name: str) -> list[Any]:
        return list(found[name].data.data_points)

    (received,) = points("queue_consumer.items.received")
    assert received.value == stats.received == 26
    assert dict(received.attributes) == {
        "queue_consumer.name": "shop",
        "messaging.system": "memory",
        "messaging.destination.name": "orders",
    }
    ended = {point.attributes["queue_consumer.fate"]: point.value for point in points("queue_consumer.items.ended")}
    assert ended["cleaned"] == stats.cleaned == 20
    assert ended["released"] == stats.released == 5
    assert sum(point.count for point in points("messaging.process.duration")) == 26
    assert [point.count for point in points("messaging.process.duration") if "error.type" not in point.attributes] == [
        20
    ]
    assert sum(point.value for point in points("messaging.client.consumed.messages")) == 26
    operations = {
        point.attributes["messaging.operation.type"] for point in points("messaging.client.operation.duration")
    }
    assert operations == {"receive", "settle"}
    provider.shutdown()


def test_consumers_share_metrics_and_differ_by_name() -> None:
    """Two consumers of one registry are told apart by their name; after `close` one's ledger is not shown."""
    registry = CollectorRegistry()
    first, second = (PrometheusObserver(name, registry=registry) for name in ("first", "second"))
    run(first)
    run(second)

    def received() -> dict[str, float]:
        families = text_string_to_metric_families(exposition(registry)[0].decode())
        return {
            sample.labels["queue_consumer_name"]: sample.value
            for family in families
            for sample in family.samples
            if sample.name == "queue_consumer_items_received_total"
        }

    assert received() == {"first": 26, "second": 26}
    first.close()
    assert received() == {"second": 26}


def test_items_are_counted_under_their_own_queue() -> None:
    """Items that say which queue they came from are counted under that."""
    registry = CollectorRegistry()

    class Item:
        def __init__(self, queue: str) -> None:
            self.queue = queue

    queue = MemoryQueue([Item("urgent"), Item("urgent"), Item("usual")])
    observer = PrometheusObserver(destination="buses", registry=registry)
    with Consumer(queue, list, receipt="return", max_workers=1, observers=[observer]) as consumer:
        assert consumer.wait_idle(20)
    consumed = {
        sample.labels["messaging_destination_name"]: sample.value
        for family in text_string_to_metric_families(exposition(registry)[0].decode())
        for sample in family.samples
        if sample.name == "messaging_client_consumed_messages_total"
    }
    assert consumed == {"urgent": 2, "usual": 1}
