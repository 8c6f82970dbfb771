"""Handlers whose spans are looked at, in whichever process they are made: each of these writes its own to a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from queue_consumer import Drop, Retry


class Filing(SpanExporter):
    """Keeps finished spans in memory, and writes them to a file that another process can read."""

    def __init__(self, folder: Path) -> None:
        self._memory = InMemorySpanExporter()
        self._path = folder / f"{os.getpid()}.jsonl"

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._memory.export(spans)
        with self._path.open("a") as file:
            for span in self._memory.get_finished_spans():
                file.write(json.dumps(told(span)) + "\n")
        self._memory.clear()
        return result


def set_up(folder: Path) -> None:
    """For a pool initializer: the tracer provider of this process."""
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return  # threads and coroutines share one
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Filing(folder)))
    trace.set_tracer_provider(provider)


def told(span: ReadableSpan) -> dict[str, Any]:
    """A span as plain data."""
    context = span.get_span_context()
    assert context is not None
    return {
        "name": span.name,
        "kind": span.kind.name,
        "span": context.span_id,
        "trace": context.trace_id,
        "parent": span.parent.span_id if span.parent else None,
        "links": [link.context.span_id for link in span.links],
        "attributes": dict(span.attributes or {}),
        "status": span.status.status_code.name,
        "events": [event.name for event in span.events],
    }


def spans_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def work(message: Any) -> None:
    """What a program does in a handler: a span of its own, with the sender's baggage."""
    tracer = trace.get_tracer("program")
    with tracer.start_as_current_span(f"work on {message.body}", attributes={"user": str(baggage.get_baggage("user"))}):
        match message.body:
            case "raise":
                raise ValueError("a bad one")
            case "retry":
                raise Retry(60)
            case "drop":
                raise Drop("not wanted")
            case _:
                pass


def handle(messages: Iterator[Any]) -> None:
    for message in messages:
        work(message)


async def handle_async(messages: Any) -> None:
    async for message in messages:
        work(message)


def handle_all(messages: Iterator[Any]) -> None:
    for message in list(messages):
        work(message)
