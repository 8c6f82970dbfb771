"""What `delay`, `run`, `bake` and `send` do where they are called."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import inspect
import pickle
import queue as standard
from collections.abc import Mapping
from typing import Any

import pytest

from queue_consumer import Constant, Consumer, MaxItems, MemoryMessage, MemoryQueue, UsageError
from queue_consumer.jobs import Baked, Jobs
from queue_consumer.jobs.testing import run_until_empty
from support import jobs_registry


def registry() -> tuple[Jobs, MemoryQueue[MemoryMessage], list[Any]]:
    """A registry, its queue, and what its tasks have noted."""
    queue = MemoryQueue(wait=0)
    return Jobs(queue), queue, []


def test_a_job_is_sent_and_run() -> None:
    """What is sent by `delay` runs with just these arguments, where the queue is worked on."""
    jobs, queue, seen = registry()

    @jobs.task("send_email")
    def send_email(to: str, subject: str = "none") -> None:
        seen.append((to, subject))

    assert send_email.delay("ada", subject="hello") is not None
    send_email.delay(to="bob")
    assert seen == []
    assert run_until_empty(jobs) == 2
    assert seen == [("ada", "hello"), ("bob", "none")]
    assert queue.empty()


def test_a_task_has_the_name_and_the_words_of_its_function() -> None:
    """`@jobs.task` without a name takes the function's, with its documentation and its signature."""
    jobs = Jobs()

    @jobs.task
    def greet(name: str) -> None:
        """Say hello."""

    assert greet.name == "greet"
    assert greet.__doc__ == "Say hello."
    assert list(inspect.signature(greet).parameters) == ["name"]
    assert repr(greet) == "<Task 'greet'>"


@pytest.mark.parametrize(
    ("args", "kwargs", "sentence"),
    [
        ((), {}, "missing a required argument: 'to'"),
        (("ada",), {"colour": 1}, "unexpected keyword argument 'colour'"),
        (("ada", "b", "c"), {}, "too many positional arguments"),
        (("ada",), {"to": "bob"}, "multiple values for argument 'to'"),
        (("ada",), {"*": []}, "no argument can be named '\\*'"),
    ],
)
def test_arguments_are_checked_where_the_call_stands(
    args: tuple[Any, ...], kwargs: dict[str, Any], sentence: str
) -> None:
    """What the function would not take is a `TypeError` at `delay`, `run`, `bake` and `send`, and nothing is sent."""
    jobs, queue, _ = registry()

    @jobs.task("send_email")
    def send_email(to: str, subject: str = "none") -> None: ...

    task: Any = send_email
    for call in (task.delay, task.run, task.bake, functools.partial(jobs.send, "send_email")):
        with pytest.raises(TypeError, match=sentence):
            call(*args, **kwargs)
    assert queue.empty()


def test_a_direct_call_is_refused() -> None:
    """A task is no function: the sentence names `delay` and `run`."""
    jobs = Jobs()

    @jobs.task
    def greet(name: str) -> None: ...

    with pytest.raises(UsageError, match=r"call greet.delay\(...\) to send it .*greet.run\(...\) to run it"):
        greet("ada")


def test_run_is_here_and_now() -> None:
    """`run` returns what the function returns, and gives it the context; that of an `async def` is awaited."""
    jobs, queue, _ = registry()

    @jobs.task
    def add(a: int, b: int = 1) -> int:
        return a + b

    @jobs.task
    async def slowly(a: int) -> int:
        return a

    @jobs.task(pass_context=True)
    def where(context: Mapping[str, Any] | None = None) -> Any:
        return context

    assert add.run(1, b=2) == 3
    assert asyncio.run(slowly.run(4)) == 4
    with jobs.context(ip="::1"):
        assert where.run() == {"ip": "::1"}
    assert queue.empty()


def test_what_is_baked_can_be_sent_passed_about_and_compared() -> None:
    """A baked job is sent as often as one likes, runs, equals another of the same arguments, and pickles."""
    jobs, queue, seen = registry()

    @jobs.task
    def add(a: int, b: int = 1) -> int:
        seen.append((a, b))
        return a + b

    baked = add.bake(1, b=2)
    assert baked == add.bake(b=2, a=1)
    assert hash(baked) == hash(add.bake(b=2, a=1))
    assert baked not in (add.bake(1, b=3), add.options(delay=1).bake(1, b=2), "another thing")
    assert baked.run() == 3
    baked.delay()
    baked.options(group="g").delay()
    assert [message.group for message in queue.get()] == [None, "g"]
    assert "1" not in repr(baked)
    assert not callable(baked)

    kept: Baked[Any] = pickle.loads(pickle.dumps(jobs_registry.note.bake("x", times=2)))
    assert kept == jobs_registry.note.bake("x", 2)


def test_options_are_of_one_sending() -> None:
    """Delay, group and deduplication id go to the queue's `put`; the task itself has none of them."""
    jobs, queue, _ = registry()

    @jobs.task
    def add(a: int) -> None: ...

    first = add.options(group="g", deduplication_id="once").delay(1)
    assert add.options(group="g", deduplication_id="once").delay(1) == first
    add.options(delay=60).delay(2)
    add.delay(3)
    assert [(m.body, m.group) for m in queue.get()] == [('{"a": 1}', "g"), ('{"a": 3}', None)]
    assert queue.stats()["delayed"] == 1


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"delay": -1}, ValueError, "delay must be a number of seconds of at least 0; got -1"),
        ({"delay": "1"}, TypeError, "delay must be a number of seconds of at least 0; got '1'"),
        ({"delay": float("nan")}, ValueError, "delay must be"),
        ({"group": 3}, TypeError, "group must be a str, or None; got 3"),
        ({"codec": "pickle"}, ValueError, "codec must be one of this registry's, 'json'; got 'pickle'"),
        ({"queue": object()}, UsageError, "which has no put"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception], sentence: str) -> None:
    """An option that makes no sense is refused at once, with its name and its value."""
    jobs, queue, _ = registry()

    @jobs.task
    def add(a: int) -> None: ...

    with pytest.raises(error, match=sentence):
        add.options(**options).delay(1)
    assert queue.empty()


def test_sending_by_name() -> None:
    """`send` needs no function; where there is one it checks, where there is none it sends what it is given."""
    jobs, queue, seen = registry()
    sender = Jobs(queue)
    sender.send("add", 1, b=2)
    sender.send("add", a=3, _group="g", _delay=0)
    asyncio.run(sender.asend("add", a=4))
    with pytest.raises(TypeError, match="_delay_seconds is called _delay here"):
        sender.send("add", a=4, _delay_seconds=4)

    @jobs.task("add")
    def add(a: int, b: int = 0) -> None:
        seen.append((a, b))

    assert run_until_empty(jobs) == 3
    assert seen == [(1, 2), (3, 0), (4, 0)]


def test_any_callable_can_be_connected() -> None:
    """Partials, objects, methods and classes' functions get a name by `connect`, and stay what they are."""
    jobs, _, seen = registry()

    class Greeter:
        def __call__(self, name: str) -> None:
            seen.append(name)

        def bye(self, name: str) -> None:
            seen.append(f"bye {name}")

    def say(word: str, name: str) -> None:
        seen.append(f"{word} {name}")

    greeter = Greeter()
    jobs.connect("greet", greeter).delay("a")
    jobs.connect("bye", greeter.bye).delay("b")
    jobs.connect("hi", functools.partial(say, "hi")).delay(name="c")
    jobs.connect("print", print).delay("d", end="")
    assert run_until_empty(jobs) == 4
    assert seen == ["a", "bye b", "hi c"]
    with pytest.raises(TypeError, match=r"task: name must be text .* be said of what has no __name__"):
        jobs.connect(None, functools.partial(say, "hi"))


def test_a_name_is_taken_once() -> None:
    """Another function under the same name is refused, unless it is to replace the first."""
    jobs = Jobs()
    jobs.connect("a", print)
    with pytest.raises(UsageError, match=r"there is a task 'a' already, builtins\.print"):
        jobs.connect("a", repr)
    jobs.connect("a", print)  # its module was loaded again
    assert jobs.connect("a", repr, replace=True).run(1) == "1"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda jobs: jobs.connect("a", 3), "task: the function must be callable; got 3"),
        (lambda jobs: jobs.connect("", print), "name must be text of 1 to 256"),
        (lambda jobs: jobs.connect("a\n", print), "printable"),
        (lambda jobs: jobs.connect("a", generator), "is a generator function"),
        (lambda jobs: jobs.connect("a", print, backoff=3), "task 'a': backoff must be callable"),
        (lambda jobs: jobs.connect("a", print, max_attempts=3), "max_attempts needs a dead_letter"),
        (lambda jobs: jobs.connect("a", plain, pass_context=True), "must have a parameter 'context'"),
        (lambda jobs: jobs.connect("a", print, processor=object), "must be a subclass of Processor"),
        (lambda jobs: jobs.batch_task("a", size=0), "batch_task: size must be a whole number of at least 1; got 0"),
        (lambda jobs: jobs.raw(3), "raw: the function must be callable"),
        (lambda jobs: jobs.around(print), "around: the function must be a generator function"),
        (lambda jobs: Jobs(max_attempts=0, dead_letter=print), "max_attempts must be a whole number"),
        (lambda jobs: Jobs(max_attempts=3), "max_attempts needs a dead_letter"),
        (lambda jobs: Jobs(codec="xml"), "codec must be 'json', 'pickle', 'pickle_compat', or an object"),
        (lambda jobs: jobs.batch(count=0), "batch: count must be a whole number"),
        (lambda jobs: jobs.send("x"), "there is no queue to send this to"),
        (lambda jobs: jobs.work(), "there is no queue to work on"),
        (lambda jobs: jobs.work(processes=True), "there are no queues to work on"),
    ],
)
def test_mistakes_are_refused_in_a_sentence(make: Any, sentence: str) -> None:
    """What cannot be right is refused where it is said."""
    with pytest.raises((TypeError, ValueError, UsageError), match=sentence):
        make(Jobs())


def generator() -> Any:
    yield


def plain() -> None: ...


# ---------------------------------------------------------------------------- any queue


class Positional:
    """A queue whose `put` takes a delay, and nothing else."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, float]] = []

    def put(self, body: Any, delay: float = 0) -> None:
        self.given.append((body, delay))


def test_what_put_takes_is_said_and_nothing_else() -> None:
    """An option that the queue's `put` has no parameter for is refused; without attributes there is an envelope."""
    jobs = Jobs(Positional())

    @jobs.task
    def add(a: int) -> None: ...

    assert add.options(delay=5).delay(1) is None
    ((body, delay),) = jobs.queue.given
    assert delay == 5
    assert body == '{"JobName": "add", "ContentType": "json", "JobContext": "{}", "JobBody": "{\\"a\\": 1}"}'
    with pytest.raises(UsageError, match=r"group='g' cannot be said to .*: its put\(\) takes no group; it takes delay"):
        add.options(group="g").delay(1)


def test_queues_of_the_standard_library_carry_jobs() -> None:
    """A `queue.Queue` has no attributes: the job travels in an envelope, context and all."""
    queue: standard.Queue[str] = standard.Queue()
    jobs, seen = Jobs(queue), []

    @jobs.task
    def add(a: int) -> None:
        seen.append((a, jobs.context.to_dict()))

    add.delay(1)
    with jobs.context(who="ada"):
        add.delay(2)
    report = Consumer(queue, jobs, stop_when=MaxItems(2)).run()
    assert sorted(seen, key=str) == [(1, {}), (2, {"who": "ada"})]
    assert report.stats.cleaned == 2


class Async:
    """A queue whose verbs are coroutine functions."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    async def put(self, body: Any, *, attributes: Mapping[str, Any] | None = None) -> str:
        await asyncio.sleep(0)
        self.entries.append({"body": body, "attributes": attributes})
        return str(len(self.entries))


def test_a_coroutine_put_is_awaited() -> None:
    """`adelay` awaits a `put` that is a coroutine function, and `delay` says to use it; plain ones do as well."""
    jobs = Jobs(Async())

    @jobs.task
    def add(a: int) -> None: ...

    assert asyncio.run(add.adelay(1)) == "1"
    assert asyncio.run(add.bake(2).adelay()) == "2"
    assert asyncio.run(add.options(delay=0).adelay(3)) == "3"
    with pytest.raises(UsageError, match=r"only be sent to by a coroutine, .*: await adelay"):
        add.delay(1)
    memory = MemoryQueue()
    assert asyncio.run(add.options(queue=memory).adelay(4)) is not None
    assert [message.body for message in memory.get()] == ['{"a": 4}']


def test_a_task_may_have_a_queue_of_its_own() -> None:
    """What a sending says goes before what the task says, and that before the registry."""
    first, second, third = MemoryQueue(), MemoryQueue(), MemoryQueue()
    jobs = Jobs(first)

    @jobs.task(queue=second)
    def add(a: int) -> None: ...

    add.delay(1)
    add.options(queue=third).delay(2)
    assert (len(first.get()) if not first.empty() else 0, len(second.get()), len(third.get())) == (0, 1, 1)
    jobs.queue = third
    jobs.send("other")
    assert not third.empty()


def test_registry_in_another_process_is_the_one_of_its_module() -> None:
    """A registry pickles by the name of its global, and a task by its registry's; one that is no global is refused."""
    assert pickle.loads(pickle.dumps(jobs_registry.jobs)) is jobs_registry.jobs
    assert pickle.loads(pickle.dumps(jobs_registry.note)) is jobs_registry.note
    with pytest.raises(pickle.PicklingError, match="must be importable by another process, as a global of the module"):
        pickle.dumps(Jobs())
    by_name = pickle.dumps(jobs_registry.other)
    jobs_registry.other.connect("late", plain)
    late = pickle.dumps(jobs_registry.other)
    del jobs_registry.other.tasks["late"]
    assert pickle.loads(by_name) is jobs_registry.other
    with pytest.raises(UsageError, match="another process cannot run 'late'"):
        pickle.loads(late)


def test_signatures_of_registries_are_kept_by_copies() -> None:
    """A copy has the same tasks and hooks, policies of its own, and what it gets later is its own."""
    jobs, queue, seen = registry()
    jobs.before(lambda call: seen.append(call.job))

    @jobs.task
    def add(a: int) -> None:
        seen.append(a)

    twin = jobs.copy(queue, backoff=Constant(5))
    twin.connect("more", plain)
    assert set(twin.tasks) == {"add", "more"}
    assert set(jobs.tasks) == {"add"}
    assert twin.tasks["add"].jobs is twin
    assert add.jobs is jobs
    twin.tasks["add"].delay(a=1)
    assert run_until_empty(twin) == 1
    assert seen == ["add", 1]


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


def test_what_would_not_arrive_is_not_sent() -> None:
    """A dataclass or enum for a parameter without its annotation is refused: it would arrive as something else."""
    jobs, queue, seen = registry()

    @jobs.task
    def move(to: Point, colour: Colour = Colour.RED, by: Any = None) -> None:
        seen.append((to, colour))

    move.delay(Point(1, 2), colour=Colour.RED)
    assert run_until_empty(jobs) == 1
    assert seen == [(Point(1, 2), Colour.RED)]
    with pytest.raises(TypeError, match=r"argument 'by' is sent as the plain data .* would arrive as a list: annotate"):
        move.delay(Point(1), by=[Point(1)])
    with pytest.raises(TypeError, match="a value of type object has no form in JSON"):
        move.delay(Point(1), by=object())
    assert queue.empty()
