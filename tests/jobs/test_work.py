"""Working on queues in a line: one, several in threads, each in a process of its own that is minded."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import functools
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import CrashLoop, Idle, MaxItems, MemoryQueue, Supervision
from queue_consumer.jobs import Jobs
from queue_consumer.jobs._fleet import Child
from support import jobs_registry


def test_work_is_a_consumer_in_a_line() -> None:
    """`work` runs until its stop condition holds, with batch tasks' sizes, and returns the report."""
    queue = MemoryQueue()
    jobs = Jobs(queue)
    seen: list[int] = []
    jobs.batch_task("index", size=7)(lambda calls: seen.append(len(calls)))
    for number in range(7):
        jobs.send("index", a=number)
    report = jobs.work(stop_when=MaxItems(7) | Idle(5), max_handlers=1)
    assert report.balanced
    assert report.stats.cleaned == 7
    assert seen == [7]


def test_stop_conditions_join() -> None:
    """`Idle`, `MaxItems`, `&`, `|` and any function of the stats end the work."""
    queue = MemoryQueue(wait=0)
    jobs = Jobs(queue)
    jobs.connect("a", lambda: None)
    for _ in range(3):
        jobs.send("a")
    asked: list[int] = []

    def custom(stats: Any) -> bool:
        asked.append(stats.cleaned)
        return True

    report = jobs.work(stop_when=(MaxItems(3) & Idle(0.01)) & custom)
    assert report.stats.cleaned == 3
    assert asked


def test_several_queues_in_threads() -> None:
    """Several queues feed one consumer; each message goes home to its own."""
    queues = [MemoryQueue(), MemoryQueue()]
    jobs = Jobs()
    seen: list[Any] = []
    jobs.connect("a", lambda n: seen.append(n))
    for number, queue in enumerate(queues):
        jobs.send("a", number, _queue=queue)
    report = jobs.work(*queues, stop_when=MaxItems(2))
    assert sorted(seen) == [0, 1]
    assert report.stats.cleaned == 2
    assert all(queue.empty() for queue in queues)


# ---------------------------------------------------------------------------- processes


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_each_queue_has_a_process_which_is_started_again(
    method: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two queues are worked on in two processes; one of these dies, and another takes its place; both reports come."""
    trace = tmp_path / "trace"
    with caplog.at_level(logging.ERROR):
        reports = jobs_registry.jobs.work(
            functools.partial(jobs_registry.opened, str(trace), os.getpid()),
            functools.partial(jobs_registry.deadly, str(trace), str(tmp_path / "mark")),
            processes=True,
            mp_context=method,
            stop_when=MaxItems(2),
            max_handlers=1,
            supervision=Supervision(restart_base=0.001),
        )
    assert sorted(jobs_registry.traced(trace)) == ["after it x1", "async of it", "lived", "of child x1"]
    assert [report is not None and report.stats.cleaned for report in reports] == [2, 2]
    (record,) = caplog.records
    assert "worker-1 died (exit code 7), to be started again" in record.getMessage()


def test_a_process_that_dies_again_and_again_is_given_up() -> None:
    """More deaths than `max_restarts` end it all, with a `CrashLoop` that says why."""
    with pytest.raises(CrashLoop, match="worker-0 died 2 times within 60 s; the last time of: exit code 9"):
        jobs_registry.jobs.work(exits, processes=True, supervision=Supervision(restart_base=0.001, max_restarts=1))


def exits() -> Any:
    """Opens no queue."""
    os._exit(9)


def test_what_cannot_be_sent_to_a_process_is_refused() -> None:
    """A registry that is no global, a queue that does not pickle, and an unknown method are refused in a sentence."""
    with pytest.raises(TypeError, match="must be importable by another process"):
        Jobs().work(jobs_registry.opened, processes=True)
    with pytest.raises(TypeError, match=r"as functools.partial\(SQSQueue, 'emails'\) is"):
        jobs_registry.jobs.work(lambda: None, processes=True)
    with pytest.raises(ValueError, match="mp_context must be one of"):
        jobs_registry.jobs.work(jobs_registry.opened, processes=True, mp_context="thread")


SCRIPT = """
import os, sys
from queue_consumer import MemoryQueue
from queue_consumer.jobs import Jobs

jobs = Jobs()

@jobs.task
def hello(n):
    print("hello", n, flush=True)

def opened():
    queue = MemoryQueue()
    hello.options(queue=queue).delay(os.getpid())
    return queue

if __name__ == "__main__":
    reports = jobs.work(opened, opened, processes=True)
    print("stopped", *(report.stats.cleaned for report in reports), flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals_end_them_all(how: signal.Signals, tmp_path: Path) -> None:
    """SIGTERM and SIGINT let every process drain; of a parent that is killed none is left."""
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout as output:
        lines = [output.readline() for _ in range(2)]
        assert all(line.startswith("hello") for line in lines), lines
        os.kill(process.pid, how)
        assert process.wait(30) == (-how if how is signal.SIGKILL else 0)
        rest = output.read()  # until the children too have let go of it
    assert rest == ("" if how is signal.SIGKILL else "stopped 1 1\n")


def test_delays_of_restarts_grow_and_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each death in a row doubles the delay, up to its limit; after a quiet time the next is a first one again."""

    class Process:
        sentinel = -1
        exitcode = 1

        def start(self) -> None: ...
        def is_alive(self) -> bool:
            return False

        def join(self) -> None: ...
        def close(self) -> None: ...

    class Pipe:
        def poll(self) -> bool:
            return False

        def close(self) -> None: ...

    class Context:
        def Pipe(self, duplex: bool) -> Any:  # noqa: N802 - multiprocessing's name
            return Pipe(), Pipe()

        def Process(self, **options: Any) -> Any:  # noqa: N802
            return Process()

    monkeypatch.setattr("random.random", lambda: 1.0)
    context: Any = Context()
    child = Child(context, "worker-0", b"", Supervision(restart_base=1, restart_limit=5, quiet_time=60))
    now, delays = 0.0, []
    for alive in (0, 0, 0, 0, 60, 0):
        child.mind(now, stopping=False)
        now += alive
        child.mind(now, stopping=False)
        assert child.due is not None
        delays.append(child.due - now)
        now = child.due
    assert delays == [1, 2, 4, 5, 1, 2]
    child.mind(now, stopping=True)
    assert child.done
