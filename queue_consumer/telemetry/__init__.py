"""What the outside hears of a consumer, beyond the log: metrics, traces, health.

`prometheus.PrometheusObserver` (extra `prometheus`) · `otel.OpenTelemetryObserver`, `otel.traced`, `otel.TracedQueue`
(extra `otel`: the API alone, the SDK is the program's) · `Health`, for liveness and readiness · `names`, what all
metrics are called. `StatsdObserver` is in `queue_consumer.observers`, and needs no library.

The two that need a library are imported by name, so that the others do without.
"""

from ._health import Health

__all__ = ["Health"]
