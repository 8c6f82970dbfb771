"""Values that travel with jobs: set where a job is sent, there where it runs, and nowhere else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from queue_consumer import Consumer, MaxItems, MemoryMessage, MemoryQueue
from queue_consumer.jobs import Jobs
from queue_consumer.jobs.testing import run_until_empty


@pytest.fixture
def queue() -> MemoryQueue[MemoryMessage]:
    return MemoryQueue(wait=0)


@pytest.fixture
def jobs(queue: MemoryQueue[MemoryMessage]) -> Jobs:
    return Jobs(queue)


def test_values_travel_with_what_is_sent(jobs: Jobs) -> None:
    """A job has the values of where it was sent, in its argument `context` and in `jobs.context`."""
    seen: list[Any] = []

    @jobs.task(pass_context=True)
    def hello(username: str = "", context: Mapping[str, Any] | None = None) -> None:
        seen.append((username, context, jobs.context.to_dict()))

    @jobs.task(pass_context="ctx")
    def bye(ctx: Mapping[str, Any] | None = None) -> None:
        seen.append(ctx)

    with jobs.context(remote_addr="127.0.0.1"):
        hello.delay(username="Foo")
        bye.delay()
    hello.delay("Bar")
    assert run_until_empty(jobs) == 3
    values = {"remote_addr": "127.0.0.1"}
    assert seen == [("Foo", values, values), values, ("Bar", {}, {})]
    with pytest.raises(TypeError, match="'ctx' is given where the job runs, and cannot be sent"):
        bye.delay(ctx={})


def test_context_is_a_mapping(jobs: Jobs) -> None:
    """Items are read, set, deleted, updated and cleared as in any mapping; a block puts back what was before."""
    context = jobs.context
    context["a"] = 1
    context.update(b=2)
    assert (context["a"], context.get("b"), context.get("c"), "a" in context, len(context)) == (1, 2, None, True, 2)
    with context(a=5, c=3) as inner:
        assert inner.to_dict() == {"a": 5, "b": 2, "c": 3}
        inner["d"] = 4
    assert context.to_dict() == {"a": 1, "b": 2}
    with pytest.raises(KeyError):
        with context(a=9):
            context["nothing"]
    assert context["a"] == 1
    del context["a"]
    context.set(z=1)
    assert dict(context) == {"z": 1}
    assert repr(context) == "<context with z>"
    context.clear()
    assert not context


def test_each_thread_and_each_task_has_its_own(jobs: Jobs) -> None:
    """A thread does not see another's values; a coroutine's task has those of its start, and changes only its own."""
    seen: dict[str, Any] = {}
    jobs.context["who"] = "main"

    def in_thread() -> None:
        seen["thread"] = jobs.context.to_dict()
        jobs.context["who"] = "thread"

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()

    async def task(name: str, ready: asyncio.Event, go: asyncio.Event) -> None:
        jobs.context["who"] = name
        ready.set()
        await go.wait()
        seen[name] = jobs.context["who"]

    async def program() -> None:
        events = [asyncio.Event() for _ in range(3)]
        tasks = [asyncio.create_task(task(f"task {n}", events[n], events[2])) for n in range(2)]
        await events[0].wait()
        await events[1].wait()
        events[2].set()
        await asyncio.gather(*tasks)

    asyncio.run(program())
    assert seen == {"thread": {}, "task 0": "task 0", "task 1": "task 1"}
    assert jobs.context.to_dict() == {"who": "main"}


@pytest.mark.parametrize("pool", ["threads", "coroutines"])
def test_a_job_sends_on_what_it_came_with(pool: Any, jobs: Jobs, queue: MemoryQueue[MemoryMessage]) -> None:
    """What a job sends has the job's values, not those of whoever started the consumer, nor of the job before."""
    seen: list[Any] = []

    @jobs.task
    def first(name: str) -> None:
        jobs.context["step"] = name
        second.delay(name)

    @jobs.task
    def second(name: str) -> None:
        seen.append((name, jobs.context.to_dict()))

    with jobs.context(trace=1):
        first.delay("a")
    first.delay("b")
    second.delay("c")
    with jobs.context(trace="of the consumer"):
        Consumer(queue, jobs, pool=pool, max_handlers=1, messages_bulk_size=10, stop_when=MaxItems(5)).run()
    assert sorted(seen) == [("a", {"trace": 1, "step": "a"}), ("b", {"step": "b"}), ("c", {})]


def test_two_registries_have_two_contexts(queue: MemoryQueue[MemoryMessage]) -> None:
    """Values of one registry do not travel with another's jobs."""
    one, other = Jobs(queue), Jobs(queue)
    one.context["a"] = 1
    other.send("x")
    assert [message.attributes["JobContext"] for message in queue.get()] == ["{}"]
