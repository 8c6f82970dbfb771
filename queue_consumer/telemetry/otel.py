"""Metrics and traces for OpenTelemetry (`pip install 'queue-consumer[otel]'`: the API; the SDK is the program's).

- `OpenTelemetryObserver` counts, and makes a `receive` span for every poll.
- `traced(handler)` makes a `process` span for every item, with a link to the span that sent it; it is the current span
  while the item is handled, in threads, processes and coroutines alike.
- `TracedSender(queue)` makes a `send` span for what is put in, and sends its context along in the message's attributes;
  `inject(attributes)` is that alone.

Instrumentations of broker clients cannot do this: they see a message come, and not when it is being handled, nor what
came of it.
"""

from __future__ import annotations

import inspect
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, cast

try:
    from opentelemetry import context as contexts
    from opentelemetry import metrics, propagate, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import Link, Span, SpanKind, StatusCode, TracerProvider
except ImportError as error:
    raise ImportError(
        "queue_consumer.telemetry.otel needs opentelemetry-api, which is not installed: "
        "pip install 'queue-consumer[otel]'"
    ) from error

from queue_consumer import BulkReceived, ConsumerStarted, Drop, Event, Retry, UsageError, current

from . import names
from ._measures import Measure, Source, measures_of, readings_of
from .names import Metric

__all__ = ["OpenTelemetryObserver", "TracedSender", "inject", "traced"]

LIBRARY = "queue_consumer"
MOST_LINKS = 128  # of one span: as many as SDKs keep
AWS_HEADER = "X-Amzn-Trace-Id"


def inject(attributes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """These attributes of a message to be sent, and in them the context that it is sent from.

    With the usual propagators that is `traceparent`, and `tracestate` and `baggage` if there are any; SQS lets a
    message have ten attributes.
    """
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return {**carrier, **(attributes or {})}


def context_of(item: Any) -> Context:
    """The context that an item was sent from; an empty one if it does not say."""
    carrier: dict[str, str] = {}
    system = getattr(item, "system", None)
    if isinstance(system, Mapping) and "AWSTraceHeader" in system:
        carrier[AWS_HEADER] = str(cast("Mapping[str, Any]", system)["AWSTraceHeader"])
    attributes = getattr(item, "attributes", None)
    if isinstance(attributes, Mapping):
        given = cast("Mapping[str, Any]", attributes)
        carrier.update((name, value) for name, value in given.items() if isinstance(value, str))
    return propagate.extract(carrier, context=Context()) if carrier else Context()


def links_to(sent_from: Iterable[Context]) -> list[Link]:
    found = (trace.get_current_span(context).get_span_context() for context in sent_from)
    return [Link(span) for span in found if span.is_valid][:MOST_LINKS]


def attributes_of(source: Source, operation: str, kind: str, destination: str) -> dict[str, Any]:
    given = {
        names.SYSTEM: source.system,
        names.DESTINATION: destination,
        names.OPERATION_NAME: operation,
        names.OPERATION_TYPE: kind,
        names.CONSUMER: source.name,
    }
    return {name: value for name, value in given.items() if value}


def titled(operation: str, destination: str) -> str:
    return f"{operation} {destination}".rstrip()


# ---------------------------------------------------------------------- handlers


def traced(
    handler: Callable[[Any], Any],
    *,
    receipt: str | None = None,
    name: str = "",
    system: str = "",
    destination: str = "",
    tracer_provider: TracerProvider | None = None,
) -> Callable[[Any], Any]:
    """The same handler, with a `process` span for every item.

        Consumer(queue, traced(handler, system="aws_sqs", destination="orders"))

    A span lasts from when the item is taken to its receipt: until the next is taken (`advance`), until it is
    acknowledged or failed (`explicit`, and `each`), or until the handler returns (`return`). What the handler raises,
    or fails an item with, is recorded in it; `Retry` and `Drop` are no errors.

    Args:
        receipt: the consumer's, if it was given one; None: the handler's own, else "advance".
        name: of the consumer.
        system, destination: see `messaging.system` and `messaging.destination.name`; items that say by an attribute
            `queue` which one they came from have that.
        tracer_provider: for tests; None: the program's. It does not go to child processes: these have the one that is
            set in them, by a `pool_initializer` for example.
    """
    rule = receipt if receipt is not None else str(getattr(handler, "receipt", "advance"))
    if rule not in ("advance", "return", "explicit"):
        raise ValueError(f"receipt must be 'advance', 'return' or 'explicit'; got {receipt!r}")
    is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004 - we want the thing itself
    kind = TracedAsync if is_async else Traced
    return kind(handler, rule, Source(name, system, destination), tracer_provider)


class Traced:
    """What `traced` returns; as picklable as the handler is."""

    def __init__(
        self, handler: Callable[[Any], Any], rule: str, source: Source, provider: TracerProvider | None = None
    ) -> None:
        self.handler = handler
        self._rule, self._source, self._provider = rule, source, provider
        for name in ("receipt", "key"):
            if hasattr(handler, name):
                setattr(self, name, getattr(handler, name))
        asynchronous = getattr(handler, "asynchronous", None)
        if asynchronous is not None:
            self.asynchronous = TracedAsync(asynchronous, getattr(asynchronous, "receipt", rule), source, provider)

    def __repr__(self) -> str:
        return f"traced({self.handler!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.handler, self._rule, self._source)

    def __call__(self, items: Any) -> Any:
        spans = self._spans(items)
        try:
            result = self.handler(spans)
        except BaseException as error:
            spans.close(error)
            raise
        spans.close(None)
        return result

    def _spans(self, items: Any) -> Spans:
        kind = ReceiptSpans if hasattr(items, "ack") else Spans
        return kind(items, self._rule, self._source, trace.get_tracer(LIBRARY, tracer_provider=self._provider))


class TracedAsync(Traced):
    """The same of an `async def`."""

    async def __call__(self, items: Any) -> Any:
        spans = self._spans(items)
        try:
            result = await cast("Awaitable[Any]", self.handler(spans))
        except BaseException as error:
            spans.close(error)
            raise
        spans.close(None)
        return result


class Spans:
    """The iterator that a traced handler is given: each item is in a span while it is held."""

    def __init__(self, items: Any, rule: str, source: Source, tracer: trace.Tracer) -> None:
        self._items = items
        self._rule = rule
        self._source = source
        self._tracer = tracer
        self._open: list[tuple[Any, Span]] = []
        self._token: Any = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._rule == "advance":
            self._end_all(None)
        item = next(self._items)
        self._begin(item)
        return item

    def __aiter__(self) -> Spans:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    def _begin(self, item: Any) -> None:
        source = self._source
        sent_from = context_of(item)
        destination = source.queue_of(item)
        attributes = attributes_of(source, "process", "process", destination)
        id = getattr(item, "id", None)
        if isinstance(id, (str, int)):
            attributes[names.MESSAGE_ID] = str(id)
        try:
            attempt = current().attempt
        except UsageError:  # it is called by a test of the handler's, and not by a consumer
            attempt = None
        if attempt is not None:
            attributes[names.ATTEMPT] = attempt
        span = self._tracer.start_span(
            titled("process", destination),
            context=Context(),  # a trace of its own: the sender's is linked to
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links_to([sent_from]),
        )
        self._leave()
        self._token = contexts.attach(trace.set_span_in_context(span, sent_from))  # with the sender's baggage
        self._open.append((item, span))

    def _leave(self) -> None:
        if self._token is not None:
            contexts.detach(self._token)
            self._token = None

    def end(self, item: Any, error: BaseException | None) -> None:
        """The span of one item is over."""
        for entry in self._open:
            if entry[0] is item:
                self._open.remove(entry)
                if not self._open:
                    self._leave()
                finish(entry[1], error)
                return

    def _end_all(self, error: BaseException | None) -> None:
        for item, _ in list(self._open):
            self.end(item, error)

    def close(self, error: BaseException | None) -> None:
        """The handler has ended. An item that it neither acknowledged nor failed, explicitly, is failed by that."""
        if error is None and self._rule == "explicit":
            error = Unacknowledged("the handler ended without a receipt for it")
        self._end_all(error)
        self._leave()


class ReceiptSpans(Spans):
    """Of explicit receipts."""

    def ack(self, item: Any) -> None:
        self._items.ack(item)
        self.end(item, None)

    def fail(self, item: Any, delay: float | None = None, **how: Any) -> None:
        self._items.fail(item, delay, **how)
        self.end(item, how.get("error") or Unacknowledged("the handler failed it"))


class Unacknowledged(Exception):
    """Recorded where an item failed without an exception of its own."""


def finish(span: Span, error: BaseException | None) -> None:
    if isinstance(error, (Retry, Drop)):
        span.set_attribute(names.FATE, "retry" if isinstance(error, Retry) else "dropped")
    elif error is not None:
        span.set_attribute(names.ERROR_TYPE, type(error).__qualname__)
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
    span.end()


# ---------------------------------------------------------------------- senders


class TracedSender:
    """A queue whose `put` and `put_many` make a `send` span, and send its context along; all else is the queue's."""

    def __init__(
        self, queue: Any, *, system: str = "", destination: str = "", tracer_provider: TracerProvider | None = None
    ) -> None:
        self._queue = queue
        name = getattr(queue, "name", "")
        self._source = Source("", system, destination or (name if isinstance(name, str) else ""))
        self._tracer = trace.get_tracer(LIBRARY, tracer_provider=tracer_provider)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_queue":
            raise AttributeError(name)
        return getattr(self._queue, name)

    def _span(self, count: int | None = None) -> Any:
        destination = self._source.destination
        attributes = attributes_of(self._source, "send", "send", destination)
        if count is not None:
            attributes[names.BATCH_COUNT] = count
        return self._tracer.start_as_current_span(
            titled("send", destination), kind=SpanKind.PRODUCER, attributes=attributes
        )

    def put(self, body: Any, **options: Any) -> Any:
        """The queue's `put`."""
        with self._span() as span:
            options["attributes"] = inject(options.get("attributes"))
            id = self._queue.put(body, **options)
            if isinstance(id, str):
                span.set_attribute(names.MESSAGE_ID, id)
            return id

    def put_many(self, entries: Iterable[Mapping[str, Any]]) -> Any:
        """The queue's `put_many`: one span for all of them."""
        given = [dict(entry) for entry in entries]
        with self._span(len(given)):
            return self._queue.put_many([{**entry, "attributes": inject(entry.get("attributes"))} for entry in given])


# ---------------------------------------------------------------------- the observer


class OpenTelemetryObserver:
    """Counts what one consumer does, and makes a `receive` span for every poll.

    The metrics are those of `queue_consumer.telemetry.names`. All is counted in the process that runs the consumer.

    Args:
        name: of the consumer.
        system, destination: see `messaging.system` and `messaging.destination.name`.
        meter_provider, tracer_provider: None: the program's.
        empty_polls: whether a poll that brought nothing is worth a span.
    """

    def __init__(
        self,
        name: str = "default",
        *,
        system: str = "",
        destination: str = "",
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        empty_polls: bool = True,
    ) -> None:
        self._source = Source(name, system, destination)
        self._instruments = instruments_of(metrics.get_meter_provider() if meter_provider is None else meter_provider)
        self._instruments.sources.append(self._source)
        self._tracer = trace.get_tracer(LIBRARY, tracer_provider=tracer_provider)
        self._empty_polls = empty_polls

    def __call__(self, event: Event) -> None:
        if isinstance(event, ConsumerStarted):
            self._source.stats = event.stats
        if isinstance(event, BulkReceived) and (event.items or self._empty_polls):
            self._received(event)
        for measure in measures_of(event, self._source):
            self._instruments.add(measure)

    def _received(self, event: BulkReceived) -> None:
        now, source = time.time_ns(), self._source
        attributes = attributes_of(source, "receive", "receive", source.destination)
        attributes[names.BATCH_COUNT] = len(event.items)
        span = self._tracer.start_span(
            titled("receive", source.destination),
            context=Context(),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            links=links_to(map(context_of, event.items[:MOST_LINKS])),
            start_time=now - int(event.took * 1e9),
        )
        span.end(now)

    def close(self) -> None:
        """Show this consumer's ledger no more."""
        if self._source in self._instruments.sources:
            self._instruments.sources.remove(self._source)


class Instruments:
    """The metrics of one meter provider."""

    def __init__(self, provider: MeterProvider) -> None:
        self.sources: list[Source] = []
        meter = provider.get_meter(LIBRARY)
        self._made: dict[Metric, Any] = {}
        for metric in names.FROM_EVENTS:
            if metric.kind == "histogram":
                self._made[metric] = meter.create_histogram(
                    metric.name,
                    unit=metric.unit,
                    description=metric.help,
                    explicit_bucket_boundaries_advisory=names.BUCKETS,
                )
            else:
                self._made[metric] = meter.create_counter(metric.name, unit=metric.unit, description=metric.help)
        for metric in names.FROM_STATS:
            make = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
            make(metric.name, callbacks=[self._reader(metric)], unit=metric.unit, description=metric.help)

    def add(self, measure: Measure) -> None:
        instrument, attributes = self._made[measure.metric], shown(measure.attributes)
        if measure.metric.kind == "counter":
            instrument.add(measure.value, attributes)
            return
        for _ in range(measure.times):
            instrument.record(measure.value, attributes)

    def _reader(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(options: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(measure.value, shown(measure.attributes))
                for source in list(self.sources)
                if source.stats is not None
                for measure in readings_of(source.stats(), source)
                if measure.metric is metric
            ]

        return read


def shown(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes without those that have nothing to say, which the conventions leave out."""
    return {name: value for name, value in attributes.items() if value}


_instruments: weakref.WeakKeyDictionary[MeterProvider, Instruments] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def instruments_of(provider: MeterProvider) -> Instruments:
    with _lock:
        made = _instruments.get(provider)
        if made is None:
            made = _instruments[provider] = Instruments(provider)
        return made
