"""Traces: a `process` span per item that links to its sender, a `receive` span per poll, a `send` span per put."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from queue_consumer import BulkReceived, Constant, Consumer, MemoryQueue, each
from queue_consumer.jobs import Jobs
from queue_consumer.telemetry.otel import OpenTelemetryObserver, TracedSender, inject, traced
from support import tracing
from support.lifecycle import until

BODIES = ("one", "raise", "retry", "drop", "two")
POOLS = ("threads", "coroutines", "processes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this process and its children write their spans; a process can have one tracer provider in its life."""
    folder = tmp_path_factory.mktemp("spans")
    tracing.set_up(folder)
    return folder


@pytest.fixture
def spans(folder: Path) -> Any:
    """The spans that a test has made: call it."""
    for path in folder.glob("*.jsonl"):
        path.unlink()
    return lambda: tracing.spans_in(folder)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    """A provider of a test's own, for what is made in this process."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def sent(queue: MemoryQueue, *bodies: str) -> dict[str, str]:
    """Put these in, each from a span of its own, for a user; the ids by body."""
    sender = TracedSender(queue, system="memory", destination="orders")
    token = context.attach(baggage.set_baggage("user", "ada"))
    try:
        return {body: sender.put(body) for body in bodies}
    finally:
        context.detach(token)


@pytest.mark.parametrize("pool", POOLS)
def test_every_item_has_a_span_that_links_to_its_sender(pool: str, spans: Any, folder: Path) -> None:
    """In every pool each item is handled in a span of its own, linked to the one that sent it; what the program does
    meanwhile is in that span, with the sender's baggage; failures are errors, and `Retry` and `Drop` are none."""
    queue = MemoryQueue(wait=0.05)
    ids = sent(queue, *BODIES)
    handler = traced(
        tracing.handle_async if pool == "coroutines" else tracing.handle, system="memory", destination="orders"
    )
    consumer = Consumer(
        queue,
        handler,
        max_workers=1,
        max_handlers=1,
        messages_bulk_size=2,
        with_thread_executor=pool != "processes",
        pool_initializer=functools.partial(tracing.set_up, folder),
        backoff=Constant(60),
    )
    with consumer:
        assert consumer.wait_idle(20)
    assert consumer.shutdown().balanced
    made = spans()
    senders = {span["attributes"]["messaging.message.id"]: span for span in made if span["name"] == "send orders"}
    processes = {span["attributes"]["messaging.message.id"]: span for span in made if span["name"] == "process orders"}
    assert set(processes) == set(senders) == set(ids.values())
    for body, id in ids.items():
        span = processes[id]
        assert span["kind"] == "CONSUMER"
        assert senders[id]["kind"] == "PRODUCER"
        assert span["links"] == [senders[id]["span"]]
        assert span["trace"] != senders[id]["trace"]
        assert span["parent"] is None
        assert span["attributes"]["messaging.system"] == "memory"
        assert span["attributes"]["messaging.destination.name"] == "orders"
        assert span["attributes"]["messaging.operation.type"] == "process"
        assert span["attributes"]["queue_consumer.attempt"] == 1
        (inner,) = [other for other in made if other["name"] == f"work on {body}"]
        assert (inner["parent"], inner["trace"]) == (span["span"], span["trace"])
        assert inner["attributes"]["user"] == "ada"
    assert {body: processes[id]["status"] for body, id in ids.items()} == {
        "one": "UNSET",
        "raise": "ERROR",
        "retry": "UNSET",
        "drop": "UNSET",
        "two": "UNSET",
    }
    assert processes[ids["raise"]]["attributes"]["error.type"] == "ValueError"
    assert processes[ids["raise"]]["events"] == ["exception"]
    assert processes[ids["retry"]]["attributes"]["queue_consumer.fate"] == "retry"
    assert processes[ids["drop"]]["attributes"]["queue_consumer.fate"] == "dropped"


@pytest.mark.parametrize("rule", ["explicit", "return"])
def test_a_span_lasts_until_the_receipt(rule: str, spans: Any) -> None:
    """With `each` a span ends when its item is done or failed; with receipt="return", when the handler returns."""
    queue = MemoryQueue(wait=0.05)
    ids = sent(queue, "one", "raise", "two")
    handler: Any = traced(each(tracing.work)) if rule == "explicit" else traced(tracing.handle_all, receipt="return")
    options: dict[str, Any] = {} if rule == "explicit" else {"receipt": "return"}
    consumer = Consumer(
        queue, handler, max_workers=1, max_handlers=1, messages_bulk_size=3, backoff=Constant(60), **options
    )
    with consumer:
        assert consumer.wait_idle(20)
    status = {
        span["attributes"]["messaging.message.id"]: span["status"] for span in spans() if span["name"] == "process"
    }
    bad = "UNSET" if rule == "explicit" else "ERROR"  # a handler of all that raises fails them all
    assert status == {ids["one"]: bad, ids["raise"]: "ERROR", ids["two"]: bad}


def test_every_poll_has_a_span(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """A `receive` span per poll, with how many came and links to their senders; empty polls only if wanted."""
    queue = MemoryQueue(wait=0.05)
    sender = TracedSender(queue, destination="orders", tracer_provider=provider)
    sender.put_many([{"body": "a"}, {"body": "b", "attributes": {"kind": "test"}}])
    polls: list[BulkReceived] = []

    def count(event: object) -> None:
        if isinstance(event, BulkReceived):
            polls.append(event)

    observer = OpenTelemetryObserver("shop", destination="orders", tracer_provider=provider)
    full = OpenTelemetryObserver("full", tracer_provider=provider, empty_polls=False)
    with Consumer(queue, list, receipt="return", max_workers=1, observers=[observer, full, count]) as consumer:
        until(lambda: len(polls) > 2, "it has polled in vain")
        assert consumer.wait_idle(20)
    finished = exporter.get_finished_spans()
    (send,) = [span for span in finished if span.name == "send orders"]
    receives = [span for span in finished if span.name == "receive orders"]
    assert len(receives) == len(polls)
    assert [(span.attributes or {})["messaging.batch.message_count"] for span in receives] == [
        len(poll.items) for poll in polls
    ]
    assert {link.context.span_id for span in receives for link in span.links} == {tracing.told(send)["span"]}
    assert {span.kind.name for span in receives} == {"CLIENT"}
    for span, poll in zip(receives, polls, strict=True):
        assert span.start_time is not None
        assert span.end_time is not None
        assert abs((span.end_time - span.start_time) / 1e9 - poll.took) < 1e-3
    assert len([span for span in finished if span.name == "receive"]) == len([poll for poll in polls if poll.items])
    observer.close()
    full.close()


def test_a_context_is_put_into_attributes(provider: TracerProvider) -> None:
    """`inject` adds the present context to the attributes of a message; what was there stays."""
    with provider.get_tracer("test").start_as_current_span("now") as span:
        attributes = inject({"kind": "test"})
    assert attributes["kind"] == "test"
    assert f"{span.get_span_context().span_id:016x}" in attributes["traceparent"]
    assert inject() == {}


def test_a_sender_is_the_queue_in_all_else() -> None:
    """What is not about sending goes to the queue itself."""
    queue = MemoryQueue()
    sender = TracedSender(queue)
    sender.put("a", delay=60)
    assert sender.stats()["delayed"] == 1
    assert sender.get(1) == []


def test_handlers_keep_what_the_consumer_asks_of_them() -> None:
    """`traced` keeps `receipt` and `key`, is async where the handler is, and refuses an unknown receipt."""
    handler = each(tracing.work)
    assert traced(handler).receipt == "explicit"  # type: ignore[attr-defined]
    assert repr(traced(tracing.handle)).startswith("traced(<function handle")
    with pytest.raises(ValueError, match="receipt must be 'advance', 'return' or 'explicit'; got 'late'"):
        traced(tracing.handle, receipt="late")
    assert Consumer(MemoryQueue(), traced(tracing.handle_async)).options.pool == "coroutines"


def test_items_without_a_context_have_spans_too(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    """Plain items, which say nothing of a sender, are handled in spans without links; called by hand it works too."""
    traced(tracing_list, tracer_provider=provider)(iter([1, 2]))
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["process", "process"]
    assert all(not span.links for span in spans)
    assert trace.get_current_span() is trace.INVALID_SPAN


def tracing_list(items: Iterator[int]) -> None:
    for item in items:
        assert item in (1, 2)


def test_jobs_can_be_traced_in_coroutines_too() -> None:
    """What a handler brings along for coroutines is traced as it is itself."""
    jobs = Jobs()
    assert Consumer(MemoryQueue(), traced(jobs), pool="coroutines").options.pool == "coroutines"
