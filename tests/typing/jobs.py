# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers see of jobs. `make check` reads this file; nothing runs it.

A line that ends in an `ignore` is a mistake that both checkers must find: one that either of them no longer finds is an
error, by `warn_unused_ignores` and by the setting above.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, assert_type

from queue_consumer import Consumer, Failed, MemoryQueue, Report
from queue_consumer.jobs import Baked, Call, Jobs, Sending, Task

jobs = Jobs(MemoryQueue())


@jobs.task("send_email")
def send_email(to: str, subject: str = "", *, urgent: bool = False) -> int:
    return 1


@jobs.task
def plain(number: int) -> None: ...


@jobs.task(pass_context=True)
async def later(number: int, context: Mapping[str, Any] | None = None) -> str:
    return ""


# delay, run and bake have the function's own signature.
assert_type(send_email.delay("ada", subject="x", urgent=True), str | None)
assert_type(send_email.run("ada"), int)
assert_type(send_email.bake("ada"), Baked[int])
assert_type(send_email.bake("ada").delay(), str | None)
assert_type(send_email.bake("ada").run(), int)
assert_type(plain.run(1), None)
assert_type(send_email.options(delay=5).delay("ada"), str | None)

send_email.delay()  # type: ignore[call-arg]
send_email.delay(1)  # type: ignore[arg-type]
send_email.delay("ada", colour="red")  # type: ignore[call-arg]
send_email.run("ada", urgent="yes")  # type: ignore[arg-type]
send_email.bake(subject="x")  # type: ignore[call-arg]
send_email.options(delay=5).delay(1)  # type: ignore[arg-type]
send_email.options(delays=5)  # type: ignore[call-arg]
plain.delay("1")  # type: ignore[arg-type]
later.delay("1")  # type: ignore[arg-type]


def function(x: int) -> float:
    return x


connected = jobs.connect("connected", function)
assert_type(connected.run(1), float)
connected.delay("x")  # type: ignore[arg-type]


@jobs.batch_task("index", size=25, like=function)
def index(calls: list[Call]) -> Failed[Call] | None:
    return Failed([call for call in calls if call["x"] == 1])


@jobs.batch_task(size=5)
def free(calls: list[Call]) -> None: ...


assert_type(index.delay(x=1), str | None)
index.delay(y=1)  # type: ignore[call-arg]
free.delay(anything="goes")


@jobs.raw
def scheduled(message: Any) -> int:
    return 1


@jobs.raw(size=5)
def several(messages: list[Any]) -> int:
    return 1


assert_type(scheduled(1), int)
assert_type(several([]), int)


async def program() -> None:
    assert_type(await send_email.adelay("ada"), str | None)
    assert_type(await later.run(1), str)
    awaited: Coroutine[Any, Any, str] = later.run(2)
    await awaited
    await send_email.adelay(1)  # type: ignore[arg-type]
    async with jobs.batch():
        pass


def consumers() -> None:
    Consumer(MemoryQueue(), jobs)
    assert_type(jobs.work(), Report)
    assert_type(jobs.work(MemoryQueue, processes=True), list[Report | None])


def parameters(task: Task[[int], str], sending: Sending[[int], str], baked: Baked[str]) -> None:
    """What takes a task can say which."""
    assert_type(task.run(1), str)
    assert_type(sending.bake(1), Baked[str])
    assert_type(baked.run(), str)
