"""Metrics for Prometheus (`pip install 'queue-consumer[prometheus]'`).

They are counted in the process that runs the consumer, where the line accounts for every item, also for those that
child processes handle; so there are no files of a "multiprocess mode" to be cleaned up after a crash.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable
from typing import Any

try:
    import prometheus_client as client
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector, CollectorRegistry
except ImportError as error:
    raise ImportError(
        "PrometheusObserver needs prometheus-client, which is not installed: pip install 'queue-consumer[prometheus]'"
    ) from error

from queue_consumer import ConsumerStarted, Event

from . import names
from ._measures import Measure, Source, measures_of, readings_of
from .names import Metric, label_of

__all__ = ["PrometheusObserver", "exposition"]


class PrometheusObserver:
    """Counts what one consumer does, under the names in `queue_consumer.telemetry.names`.

        Consumer(queue, handler, observers=[PrometheusObserver(name="orders", destination="orders")])

    Each consumer has one of its own; those of one registry share the metrics, and differ in the label
    `queue_consumer_name`. What the ledger knows is read off it when somebody looks, and so costs nothing before.

    Args:
        name: of the consumer.
        system, destination: see `messaging.system` and `messaging.destination.name`. Items that say by an attribute
            `queue` which one they came from are counted under that.
        registry: where the metrics are; None: prometheus_client's own.
    """

    def __init__(
        self,
        name: str = "default",
        *,
        system: str = "",
        destination: str = "",
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._source = Source(name, system, destination)
        self._families = families_of(client.REGISTRY if registry is None else registry)
        self._families.sources.append(self._source)

    def __call__(self, event: Event) -> None:
        if isinstance(event, ConsumerStarted):
            self._source.stats = event.stats
        for measure in measures_of(event, self._source):
            self._families.add(measure)

    def close(self) -> None:
        """Show this consumer's ledger no more; what was counted from events stays."""
        if self._source in self._families.sources:
            self._families.sources.remove(self._source)


class Families(Collector):
    """The metrics of one registry."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self._made: dict[Metric, Any] = {}

    def make(self, registry: CollectorRegistry) -> None:
        for metric in names.FROM_EVENTS:
            labels = [label_of(attribute) for attribute in (*names.COMMON, *metric.attributes)]
            if metric.kind == "histogram":
                self._made[metric] = client.Histogram(
                    metric.prometheus, metric.help, labels, registry=registry, buckets=names.BUCKETS
                )
            else:
                self._made[metric] = client.Counter(metric.prometheus, metric.help, labels, registry=registry)
        registry.register(self)

    def add(self, measure: Measure) -> None:
        labels = [measure.attributes[name] for name in (*names.COMMON, *measure.metric.attributes)]
        child = self._made[measure.metric].labels(*labels)
        if measure.metric.kind == "counter":
            child.inc(measure.value)
            return
        for _ in range(measure.times):
            child.observe(measure.value)

    def collect(self) -> Iterable[Any]:
        found: dict[Metric, Any] = {}
        for metric in names.FROM_STATS:
            labels = [label_of(attribute) for attribute in (*names.COMMON, *metric.attributes)]
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            found[metric] = kind(metric.prometheus, metric.help, labels=labels)
        for source in list(self.sources):
            if source.stats is None:
                continue
            for measure in readings_of(source.stats(), source):
                values = [measure.attributes[name] for name in (*names.COMMON, *measure.metric.attributes)]
                found[measure.metric].add_metric(values, measure.value)
        return found.values()

    def describe(self) -> Iterable[Any]:
        return ()  # or the registry would ask every consumer for its stats to learn our names


_families: weakref.WeakKeyDictionary[CollectorRegistry, Families] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def families_of(registry: CollectorRegistry) -> Families:
    with _lock:
        families = _families.get(registry)
        if families is None:
            families = _families[registry] = Families()
            families.make(registry)
        return families


def exposition(registry: CollectorRegistry | None = None) -> tuple[bytes, str]:
    """What `/metrics` answers, and its content type."""
    return client.generate_latest(client.REGISTRY if registry is None else registry), client.CONTENT_TYPE_LATEST
