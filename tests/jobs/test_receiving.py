"""What the line does with jobs: found by name, fitted to their functions, run, and each judged by itself."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import (
    ChunkHandled,
    Constant,
    Consumer,
    Drop,
    Failed,
    MaxItems,
    MemoryMessage,
    MemoryQueue,
    current,
)
from queue_consumer.jobs import Call, Jobs, Processor, Retry
from queue_consumer.jobs.testing import run_until_empty
from queue_consumer.testing import RecordingObserver
from support import jobs_registry
from support.line_pools import PATIENCE, PoolKind, most_pools


def registry(**options: Any) -> tuple[Jobs, MemoryQueue[MemoryMessage], list[Any]]:
    queue = MemoryQueue(wait=0)
    return Jobs(queue, **options), queue, []


def raw(queue: MemoryQueue[MemoryMessage], job: str, body: str, **attributes: str) -> None:
    """What another sender has sent."""
    queue.put(body, attributes={"JobName": job, "ContentType": "json", "JobContext": "{}", **attributes})


# ---------------------------------------------------------------------------- every pool


@most_pools
def test_jobs_run_in_every_pool(pool: PoolKind, tmp_path: Path) -> None:
    """Plain and `async def` tasks, contexts and failures are the same in threads, coroutines and processes."""
    jobs, queue, path = jobs_registry.jobs, MemoryQueue(), tmp_path / "trace"
    with jobs.context(trace=str(path)):
        jobs_registry.note.options(queue=queue).delay("a", times=2)
        jobs_registry.anote.options(queue=queue).delay("b")
        with jobs.context(ip="::1"):
            jobs_registry.where.options(queue=queue).delay()
        jobs_registry.where.options(queue=queue).delay()
        jobs_registry.fails.options(queue=queue).delay()
    options: dict[str, Any] = {} if pool.mp_context is None else {"mp_context": pool.mp_context}
    events = RecordingObserver()
    consumer = Consumer(
        queue, jobs, pool=pool.pool, max_workers=1, max_handlers=2, backoff=Constant(600), observers=[events], **options
    )
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    assert sorted(jobs_registry.traced(path)) == ["::1 ::1", "None None", "a x2", "async b"]
    assert report.balanced
    assert (report.stats.cleaned, report.stats.released, report.stats.failed) == (4, 1, 1)
    (failure,) = [event.failure for event in events.of(ChunkHandled) if event.failed]
    assert failure is None or "LookupError" in failure.kind


def test_handlers_are_told_by_the_pool() -> None:
    """`pool="coroutines"` awaits many jobs at once, and runs plain functions in threads meanwhile."""
    jobs, queue, seen = registry()
    together = asyncio.Event()

    @jobs.task
    async def first() -> None:
        await together.wait()
        seen.append("first")

    @jobs.task
    async def second() -> None:
        together.set()
        seen.append("second")

    @jobs.task
    def third() -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        seen.append(current().item.attributes["JobName"])

    first.delay()
    second.delay()
    third.delay()
    consumer = Consumer(queue, jobs, pool="coroutines", max_handlers=3, stop_when=MaxItems(3))
    assert consumer.run().stats.cleaned == 3
    assert sorted(seen) == ["first", "second", "third"]


# ---------------------------------------------------------------------------- arguments


def positional(a: Any, b: Any = 2, /) -> Any:
    return a, b


def rest(a: Any, *more: Any, c: Any = 3) -> Any:
    return a, more, c


def named(a: Any, **more: Any) -> Any:
    return a, more


def both(a: Any, /, *more: Any, **others: Any) -> Any:
    return a, more, others


def keywords(*, a: Any, b: Any = 2) -> Any:
    return a, b


FITS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = [
    (positional, (1,), {}, (1, 2)),
    (positional, (1, 5), {}, (1, 5)),
    (rest, (1,), {}, (1, (), 3)),
    (rest, (1, 2, 3), {"c": 4}, (1, (2, 3), 4)),
    (rest, (), {"a": 1}, (1, (), 3)),
    (named, (1,), {"x": 2, "kwargs": 3}, (1, {"x": 2, "kwargs": 3})),
    (both, (1, 2), {"a": 3}, (1, (2,), {"a": 3})),
    (both, (1,), {}, (1, (), {})),
    (keywords, (), {"a": 1}, (1, 2)),
]


@pytest.mark.parametrize(("function", "args", "kwargs", "given"), FITS)
def test_every_signature_gets_what_was_given(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], given: Any
) -> None:
    """`*args`, `**kwargs`, positional-only and keyword-only parameters come out as they went in."""
    jobs, _, seen = registry()
    task = jobs.connect("f", lambda *a, **k: seen.append(function(*a, **k)))
    jobs.connect("g", function)
    jobs.tasks["f"].signature = jobs.tasks["g"].signature
    task.delay(*args, **kwargs)
    assert run_until_empty(jobs) == 1
    assert seen == [given]


WIRE: list[tuple[str, Callable[..., Any], Any]] = [
    ('{"a": 1, "z": 9}', keywords, (1, 2)),  # a newer sender
    ('{"a": 1, "b": 3, "z": 9}', positional, (1, 3)),
    ('{"*": [1, 2, 3]}', positional, (1, 2)),
    ('{"*": [1], "b": 5}', positional, (1, 5)),
    ('{"a": 1, "z": 9}', named, (1, {"z": 9})),
    ('{"a": 1, "z": 9}', rest, (1, (), 3)),
]


@pytest.mark.parametrize(("body", "function", "given"), WIRE)
def test_what_newer_and_older_senders_send_fits(body: str, function: Callable[..., Any], given: Any) -> None:
    """What is too much is dropped, what is too little has its default."""
    jobs, queue, seen = registry()
    jobs.connect("g", function)
    jobs.connect("f", lambda *a, **k: seen.append(function(*a, **k)))
    jobs.tasks["f"].signature = jobs.tasks["g"].signature
    raw(queue, "f", body)
    assert run_until_empty(jobs) == 1
    assert seen == [given]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("{}", "job 'f' came without 'a'"),
        ('{"*": [1], "a": 2}', "'a' twice, by place and by name"),
        ('{"*": 1}', "must be a list of arguments; got int"),
        ("[1]", "must be an object with names; got a list"),
        ("3", "must be an object with names; got a int"),
    ],
)
def test_arguments_that_do_not_fit_fail_their_message(body: str, sentence: str) -> None:
    """A message whose arguments do not fit fails by itself, in a sentence that says why."""
    jobs, queue, _ = registry()
    jobs.connect("f", rest)
    raw(queue, "f", body)
    with pytest.raises(Exception, match=sentence):
        run_until_empty(jobs)
    assert queue.stats()["waiting"] == 1


# ---------------------------------------------------------------------------- what is no job


def test_an_unknown_job_stays(caplog: pytest.LogCaptureFixture) -> None:
    """A job that the registry does not have is an error of its own: told once, and its message stays."""
    jobs, queue, seen = registry()
    jobs.connect("known", lambda a: seen.append(a))
    Jobs(queue).send("unknown", a=1)
    Jobs(queue).send("known", a=2)
    events = RecordingObserver()
    consumer = Consumer(queue, jobs, backoff=Constant(600), observers=[events], messages_bulk_size=10)
    with caplog.at_level(logging.ERROR):
        result = consumer.run_once()
    assert (result.succeeded, result.failed) == (1, 1)
    assert seen == [2]
    assert queue.stats()["delayed"] == 1
    assert [len(event.failed) for event in events.of(ChunkHandled) if event.failed] == [1]
    (record,) = caplog.records
    assert "there is no job 'unknown' here; there are 'known'" in record.getMessage()
    assert "job 'unknown', message memory-" in record.getMessage()


def test_a_message_that_names_no_job_stays() -> None:
    """Without a name and without a function for such messages, a message fails."""
    jobs, queue, _ = registry()
    queue.put('{"a": 1}')
    with pytest.raises(Exception, match=r"the message names no job .*@jobs\.raw connects one"):
        run_until_empty(jobs)


def test_raw_messages_go_to_their_function() -> None:
    """`@jobs.raw` gets each message that names no job, and in a registry without tasks every message."""
    jobs, queue, seen = registry()

    @jobs.raw
    def processor(message: MemoryMessage) -> None:
        seen.append(message.body)

    queue.put('{"detail-type": "Scheduled Event"}')
    raw(queue, "named", "{}")
    assert run_until_empty(jobs) == 2
    assert seen == ['{"detail-type": "Scheduled Event"}', "{}"]
    jobs.connect("named", lambda: seen.append("job"))
    raw(queue, "named", "{}")
    queue.put("text")
    assert run_until_empty(jobs) == 2
    assert seen[2:] == ["job", "text"]
    processor(MemoryMessage("1", "called"))  # it stays what it is
    assert seen[-1] == "called"


def test_raw_messages_in_lists() -> None:
    """`@jobs.raw(size=n)` gets lists of up to n, and fails those that it returns as failed."""
    jobs, queue, seen = registry()

    @jobs.raw(size=3)
    def processor(messages: list[MemoryMessage]) -> Any:
        seen.append([message.body for message in messages])
        return Failed([message for message in messages if message.body == "2" and message.attempt == 1])

    for number in range(5):
        queue.put(str(number))
    assert jobs.bulk == 3
    Consumer(queue, jobs, messages_bulk_size=10, backoff=Constant(0)).run_once()
    assert seen == [["0", "1", "2"], ["3", "4"]]
    assert queue.stats()["waiting"] == 1


# ---------------------------------------------------------------------------- around every job


def test_hooks_are_layers_in_the_order_of_their_registration() -> None:
    """The first that was registered is the outermost: it is entered first, and left last."""
    jobs, _, seen = registry()

    @jobs.before
    def before(call: Call) -> None:
        seen.append(f"before {call.job}")

    @jobs.around
    def around(call: Call) -> Generator[None]:
        seen.append("around {")
        yield
        seen.append("}")

    @jobs.after
    def after(call: Call, error: BaseException | None) -> None:
        seen.append(f"after {error!r}")

    @jobs.task
    def add(a: int) -> None:
        seen.append(a)

    add.delay(1)
    assert run_until_empty(jobs) == 1
    assert seen == ["before add", "around {", 1, "after None", "}"]


@pytest.mark.parametrize("pool", ["threads", "coroutines"])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_hooks_surround_plain_and_async_jobs(pool: Any, kind: str) -> None:
    """A hook hears of the error, may take its place, and may end a job before it began."""
    jobs, queue, seen = registry()

    @jobs.around
    def guard(call: Call) -> Generator[None]:
        if call["a"] == 0:
            raise Drop("nothing to add")
        try:
            yield
        except ValueError as error:
            seen.append(str(error))

    if kind == "plain":

        @jobs.task("add")
        def add(a: int) -> None:
            raise ValueError(f"bad {a}")

    else:

        @jobs.task("add")
        async def aadd(a: int) -> None:
            raise ValueError(f"bad {a}")

    for a in (0, 1):
        jobs.send("add", a=a)
    report = Consumer(queue, jobs, pool=pool, stop_when=MaxItems(2)).run()
    assert seen == ["bad 1"]
    assert (report.stats.dropped, report.stats.cleaned, report.stats.failed) == (1, 1, 0)


@pytest.mark.parametrize("pool", ["threads", "coroutines"])
def test_a_processor_calls_the_function(pool: Any) -> None:
    """A subclass of `Processor` stands between the line and the function, of all tasks or of one."""

    class Loud(Processor):
        def process(self, arguments: dict[str, Any], context: Mapping[str, Any]) -> Any:
            seen.append((self.job_name, self.queue_name, dict(arguments), dict(context)))
            return super().process({**arguments, "a": 10}, context)

        async def aprocess(self, arguments: dict[str, Any], context: Mapping[str, Any]) -> Any:
            seen.append("async")
            await super().aprocess(arguments, context)

    jobs, queue, seen = registry(processor=Loud)

    @jobs.task
    def add(a: int) -> None:
        seen.append(a)

    @jobs.task(processor=Processor)
    def quiet(a: int) -> None:
        seen.append(f"quiet {a}")

    @jobs.task
    async def slow(a: int) -> None:
        seen.append(f"slow {a}")

    with jobs.context(ip=1):
        add.delay(1)
    quiet.delay(2)
    slow.delay(3)
    Consumer(queue, jobs, pool=pool, max_handlers=1, stop_when=MaxItems(3)).run()
    slowly = ["async", "slow 3"] if pool == "coroutines" else [("slow", "", {"a": 3}, {}), "slow 10"]
    assert seen == [("add", "", {"a": 1}, {"ip": 1}), 10, "quiet 2", *slowly]


# ---------------------------------------------------------------------------- batch tasks


def batching(size: int) -> tuple[Jobs, MemoryQueue[MemoryMessage], list[Any]]:
    jobs, queue, seen = registry()
    queue.bulk = 60

    @jobs.batch_task("index", size=size)
    def index(calls: list[Call]) -> None:
        seen.append([call["x"] for call in calls])

    return jobs, queue, seen


def test_a_batch_task_is_given_as_many_as_it_asked_for_and_never_more() -> None:
    """Of 60 waiting calls a task of 45 gets 45, and then the others."""
    jobs, queue, seen = batching(45)
    for x in range(60):
        jobs.tasks["index"].delay(x=x)
    assert jobs.bulk == 45
    Consumer(queue, jobs, max_handlers=1, messages_bulk_size=60).run_once()
    assert list(map(len, seen)) == [45, 15]
    assert [x for batch in seen for x in batch] == list(range(60))
    assert queue.empty()


def test_batches_are_by_job() -> None:
    """Calls of several batch tasks and of others come in one bulk, and each gets its own."""
    jobs, _, seen = batching(10)
    other: list[Any] = []
    jobs.connect("one", lambda x: other.append(x))
    jobs.batch_task("second", size=2)(lambda calls: other.append([call["x"] for call in calls]))
    for x in range(3):
        for job in ("index", "one", "second"):
            jobs.send(job, x=x)
    assert run_until_empty(jobs) == 9
    assert seen == [[0, 1, 2]]
    assert other == [0, 1, [0, 1], 2, [2]]


@pytest.mark.parametrize("pool", ["threads", "coroutines"])
def test_each_call_of_a_batch_has_its_own_outcome(pool: Any) -> None:
    """What is failed, retried or dropped is just that call; what is not said is done."""
    jobs, queue, seen = registry()

    @jobs.batch_task("index", size=10, backoff=Constant(600))
    def index(calls: list[Call]) -> Any:
        for call in calls:
            seen.append((call["x"], call.attempt))
        calls[0].fail(ValueError("bad"))
        calls[1].retry(300)
        calls[2].drop("of no use")
        return Failed([calls[3]])

    for x in range(6):
        index.delay(x=x)
    report = Consumer(queue, jobs, pool=pool, max_handlers=1, messages_bulk_size=10, stop_when=MaxItems(3)).run()
    stats = report.stats
    assert (stats.cleaned, stats.dropped, stats.released, stats.failed) == (2, 1, 3, 2)
    assert seen == [(x, 1) for x in range(6)]


def test_a_batch_that_raises_fails_and_those_of_other_jobs_do_not() -> None:
    """A retry of the whole batch sends all of its calls back, once each; other jobs of the bulk are done."""
    jobs, queue, seen = registry()
    jobs.connect("one", lambda x: seen.append(x))

    @jobs.batch_task("index", size=10)
    async def index(calls: list[Call]) -> None:
        calls[0].drop()
        raise Retry(600)

    for x in range(3):
        index.delay(x=x)
        jobs.send("one", x=x)
    result = Consumer(queue, jobs, messages_bulk_size=10).run_once()
    assert seen == [0, 1, 2]
    assert (result.succeeded, result.failed) == (4, 2)
    assert queue.stats()["delayed"] == 2


def test_calls_of_a_batch_are_checked_by_the_signature_that_they_are_like() -> None:
    """`like` gives the calls a signature, for `delay` and for what comes; without it any names will do."""
    jobs, _, seen = registry()

    def one(x: int, y: int = 2) -> None: ...

    @jobs.batch_task("index", like=one)
    def index(calls: list[Call]) -> None:
        seen.extend(call.arguments for call in calls)

    free = jobs.batch_task("free")(print)
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        index.delay(y=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="too many positional arguments"):
        free.delay(1)
    index.delay(1)
    assert run_until_empty(jobs) == 1
    assert seen == [{"x": 1}]
    index.run(x=5)
    assert seen[1:] == [{"x": 5}]
