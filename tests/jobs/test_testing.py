"""The aids for tests of programs that send jobs."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from typing import Any

import pytest

from queue_consumer import Drop, Failed, MemoryMessage, MemoryQueue
from queue_consumer.jobs import Call, Jobs, RefusedCodec, Retry
from queue_consumer.jobs.testing import eager, outbox, run_until_empty


def registry() -> tuple[Jobs, MemoryQueue[Any], list[Any]]:
    queue = MemoryQueue(wait=0)
    jobs, seen = Jobs(queue), []

    @jobs.task
    def add(a: int, b: int = 0) -> None:
        seen.append((a, b, jobs.context.to_dict()))
        if a < 0:
            raise ValueError("negative")

    @jobs.task
    def more(a: int) -> None:
        add.delay(a)
        add.delay(a + 1)

    return jobs, queue, seen


def test_eager_runs_what_is_sent_at_once() -> None:
    """A job runs where it is sent, as it would have arrived, with what it sends; its error is raised there."""
    jobs, queue, seen = registry()
    with eager(jobs), jobs.context(ip=1):
        assert jobs.tasks["more"].delay(1)
        jobs.send("add", a=5)
        with pytest.raises(ValueError, match="negative"):
            jobs.send("add", a=-1)
        assert jobs.context.to_dict() == {"ip": 1}
    assert seen == [(1, 0, {"ip": 1}), (2, 0, {"ip": 1}), (5, 0, {"ip": 1}), (-1, 0, {"ip": 1})]
    assert queue.empty()
    jobs.send("add", a=6)
    assert not queue.empty()


def test_eager_runs_batch_tasks_with_one_call() -> None:
    """A batch task, and a raw one, are given a list of one; what they say of it is raised."""
    jobs, _, _ = registry()
    seen: list[Any] = []

    @jobs.batch_task("index")
    def index(calls: list[Call]) -> Any:
        seen.append([call["x"] for call in calls])
        return Failed(calls) if calls[0]["x"] else None

    with eager(jobs):
        index.delay(x=0)
        with pytest.raises(Exception, match="'index' returned it as failed"):
            index.delay(x=1)
    assert seen == [[0], [1]]
    jobs.raw(size=5)(seen.append)
    message = MemoryMessage("1", "text")
    jobs.perform(message)
    assert seen[2:] == [[message]]


def test_eager_retries_and_drops() -> None:
    """A retry is raised, or tried again so often; a drop is the end of it."""
    jobs, _, _ = registry()
    tries: list[int] = []

    @jobs.task
    def flaky(until: int) -> None:
        tries.append(1)
        if until == 0:
            raise Drop("never")
        if len(tries) < until:
            raise Retry(60)

    with eager(jobs, max_retries=2):
        flaky.delay(3)
        assert len(tries) == 3
        flaky.delay(0)
        with pytest.raises(Retry):
            flaky.delay(100)
    assert len(tries) == 7


def test_outbox_knows_what_was_sent() -> None:
    """What is sent is kept, arguments as the signature has them, and the assertions say what there was."""
    jobs, queue, seen = registry()
    with outbox(jobs) as sent:
        jobs.tasks["add"].delay(1, b=2)
        jobs.tasks["add"].options(delay=5).delay(3)
        jobs.send("unknown", x=1)
        sent.assert_sent("add", a=1, b=2)
        assert sent.assert_sent(jobs.tasks["add"], a=3).options.delay == 5
        sent.assert_sent("add", times=2)
        sent.assert_sent(jobs.tasks["add"].bake(3))
        sent.assert_not_sent("add", a=9)
        for wrong in ({"a": 9}, {"times": 3}):
            with pytest.raises(AssertionError, match=r"sent were: add\(a=1, b=2\), add\(a=3\), unknown\(x=1\)"):
                sent.assert_sent("add", **wrong)
        with pytest.raises(AssertionError, match="was not to be sent, and was 2 times"):
            sent.assert_not_sent("add")
        with pytest.raises(AssertionError, match="nothing was to be sent"):
            sent.assert_nothing_sent()
        assert len(sent) == 3
        sent.clear()
        sent.assert_nothing_sent()
    assert seen == []
    assert queue.empty()


def test_run_until_empty_raises_what_a_job_raised() -> None:
    """It handles what is there and what that sends; a failure is raised, unless it is told not to."""
    jobs, queue, seen = registry()
    jobs.send("more", a=1)
    assert run_until_empty(jobs) == 3
    assert [a for a, _, _ in seen] == [1, 2]
    jobs.send("add", a=-1)
    with pytest.raises(ValueError, match="negative"):
        run_until_empty(jobs)
    with pytest.raises(AssertionError, match="the queue is not empty after 5 bulks"):
        run_until_empty(jobs, raises=False, limit=5)
    other = MemoryQueue(wait=0)
    jobs.send("add", a=1, _queue=other)
    assert run_until_empty(jobs, other) == 1
    assert not queue.empty()


def test_what_is_not_accepted_is_refused_in_tests_too() -> None:
    """Eager mode reads what it wrote by the registry's rules."""
    jobs = Jobs(codec="pickle", accepts="json")
    jobs.connect("a", lambda: None)
    with eager(jobs), pytest.raises(RefusedCodec):
        jobs.send("a")


PROGRAM = """
from queue_consumer import MemoryQueue
from queue_consumer.jobs import Jobs

jobs = Jobs(MemoryQueue(wait=0))
done = []

@jobs.task
def add(a):
    done.append(a)
"""

TESTS = """
import program

def test_outbox(job_outbox):
    sent = job_outbox(program.jobs)
    program.add.delay(1)
    sent.assert_sent("add", a=1)
    assert program.done == []

def test_eager(eager_jobs):
    eager_jobs(program.jobs)
    program.add.delay(2)
    assert program.done == [2]

def test_run(run_jobs):
    program.add.delay(3)
    assert run_jobs(program.jobs) == 1
    assert program.done == [2, 3]
"""


def test_the_plugin_is_opted_into(pytester: pytest.Pytester) -> None:
    """With `pytest_plugins` in a conftest there are the fixtures, until the end of each test; without, none."""
    pytester.makepyfile(program=PROGRAM, test_it=TESTS)
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider -p no:xdist -p no:anyio\n")
    pytester.runpytest_inprocess("-q").assert_outcomes(errors=3)
    pytester.makeconftest('pytest_plugins = ["queue_consumer.jobs.pytest_plugin"]')
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=3)
