"""Children that die, of whatever, whenever: only what they had consumed is cleaned up, and only what they held fails.

Real processes and real signals. What was handled is read from a file that handlers sync after each item, what became
of an item from the queue's own record.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import multiprocessing.process as process_module
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from queue_consumer import (
    ChunkHandled,
    ChunkStarted,
    HandlerStuck,
    MemoryQueue,
    Supervision,
    UsageError,
    WorkerDied,
    WorkerRevived,
)
from queue_consumer._pools import _births
from queue_consumer._pools._births import Birth, Started
from queue_consumer.testing import FaultyQueue, RecordingObserver
from support.deaths import (
    PATIENCE,
    Deadly,
    Diary,
    DiesFirst,
    Dying,
    Interrupting,
    Keeping,
    Locked,
    Mortal,
    Noting,
    Parenting,
    Poisonous,
    RefusesReplacements,
    Seeing,
    Taking,
    Unpicklable,
    Waiting,
    Weighing,
    acknowledge,
    children,
    gate,
    imagine,
    nothing_left_behind,
    refuse,
)
from support.handlers import read_all
from support.lifecycle import until
from support.line_pools import FORK, FORKSERVER, SPAWN, PoolKind, every_process_pool, run_to_rest
from support.line_queues import ScriptedQueue

BACKOFF = 7.0  # seconds before a failed item is seen again, which no test waits for
SIZES = (1, 2, 10, 42)
KILLING = ("SIGKILL", "os._exit", "segfault")
QUICK = Supervision(restart_base=0.001)
every_receipt = pytest.mark.parametrize("receipt", ["advance", "return", "explicit"])


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """No test leaves a thread, a child or a file descriptor behind."""
    with nothing_left_behind():
        yield


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


def backoff(attempt: int) -> float:
    return BACKOFF


def ignore(number: int, frame: object) -> None:
    """A signal."""


def again_at_once(attempt: int) -> float:
    return 0.0


def chunk_in_which(death: str, size: int, at: int) -> list[Mortal]:
    """A chunk whose item number `at` (1 first) is the end of its handler."""
    name = f"{death} at {at} of {size}".replace(" ", "-")
    return [Mortal(f"{name}/{number}", death if number == at else "") for number in range(1, size + 1)]


def fates(queue: ScriptedQueue, chunk: Sequence[Any]) -> list[str | float | None]:
    found = queue.fates()
    return [found.get(id(item)) for item in chunk]


def expected(receipt: str, size: int, at: int) -> list[str | float | None]:
    """The receipt table's row "its process died while holding item k"."""
    before: list[str | float | None] = [BACKOFF if receipt == "return" else "cleaned"]
    return before * (at - 1) + [BACKOFF] + ["cleaned"] * (size - at)


def places(size: int) -> list[int]:
    return sorted({1, (size + 1) // 2, size})


# ------------------------------------------------------------------ the receipt table, where processes die


@every_receipt
@every_process_pool
def test_a_killed_child_costs_the_item_it_held(pool: PoolKind, receipt: Any, diary: Diary) -> None:
    """Exactly the items before the one it held are cleaned up, that one fails, and others handle the rest."""
    deaths = [(death, size, at) for death in KILLING for size in SIZES for at in places(size)]
    if pool == SPAWN:  # whose children take their time to come, so each death at a place of its own
        deaths = [("SIGKILL", 10, 5), ("os._exit", 42, 42), ("segfault", 2, 1), ("os._exit", 1, 1)]
    chunks = [chunk_in_which(*death) for death in deaths]
    queue = ScriptedQueue(chunks, in_turn=True)
    consumer = pool.consumer(queue, Dying(diary, receipt), messages_bulk_size=42, receipt=receipt, backoff=backoff)
    report = run_to_rest(consumer, queue.wait_until_spent)
    queue.reconcile(report)

    writer = {line.name: line.pid for line in diary.lines()}
    for chunk, (_, size, at) in zip(chunks, deaths, strict=True):
        assert fates(queue, chunk) == expected(receipt, size, at), chunk[0].name
        written = [item.name for item in chunk if item.name in writer]
        assert written == [item.name for number, item in enumerate(chunk, 1) if number != at]
        assert not {writer[item.name] for item in chunk[: at - 1]} & {writer[i.name] for i in chunk[at:]}
    assert len(diary.lines()) == len(writer), "something was handled twice"
    assert report.stats.failed == sum(at if receipt == "return" else 1 for _, _, at in deaths)


@every_receipt
@every_process_pool
def test_a_child_killed_after_the_end_fails_the_whole_chunk(pool: PoolKind, receipt: Any, diary: Diary) -> None:
    """It had asked past the end and not returned: nothing is proven, unless it was acknowledged."""
    chunks = [chunk_in_which("after SIGKILL", size, size) for size in SIZES]
    queue = ScriptedQueue(chunks, in_turn=True)
    consumer = pool.consumer(queue, Dying(diary, receipt), messages_bulk_size=42, receipt=receipt, backoff=backoff)
    queue.reconcile(run_to_rest(consumer, queue.wait_until_spent))
    for chunk in chunks:
        assert set(fates(queue, chunk)) == {"cleaned" if receipt == "explicit" else BACKOFF}


@every_receipt
@every_process_pool
def test_a_child_killed_before_it_took_any_costs_the_first(pool: PoolKind, receipt: Any, diary: Diary) -> None:
    """The first item fails, lest the same chunk kills one child after the other, and others handle the rest."""
    chunk = chunk_in_which("", 10, 0)
    queue = ScriptedQueue([chunk])
    handler = DiesFirst(diary, receipt, "SIGKILL")
    consumer = pool.consumer(queue, handler, messages_bulk_size=42, receipt=receipt, backoff=backoff)
    queue.reconcile(run_to_rest(consumer, queue.wait_until_spent))
    assert fates(queue, chunk) == [BACKOFF] + ["cleaned"] * 9
    assert diary.names() == [item.name for item in chunk[1:]]


@pytest.mark.parametrize("limit", ["stuck_time", "time_limit"])
@every_process_pool
def test_a_stopped_child_is_seen_stuck_and_killed(pool: PoolKind, limit: str, diary: Diary) -> None:
    """One that SIGSTOP has frozen cannot even say where it stands; it is killed, and costs the item it held."""
    chunk = chunk_in_which("SIGSTOP", 10, 4)
    queue = ScriptedQueue([chunk])
    seen = RecordingObserver()
    options: dict[str, Any] = {"time_limit": 1.0} if limit == "time_limit" else {}
    supervision = QUICK.but(polling_time=0.1, stuck_time=1.0 if limit == "stuck_time" else None)
    consumer = pool.consumer(
        queue,
        Dying(diary, "advance"),
        messages_bulk_size=42,
        backoff=backoff,
        supervision=supervision,
        observers=[seen],
        **options,
    )
    queue.reconcile(run_to_rest(consumer, queue.wait_until_spent))
    assert fates(queue, chunk) == expected("advance", 10, 4)
    (stuck,) = seen.of(HandlerStuck)
    assert stuck.item is chunk[3]
    assert stuck.limit == limit
    assert stuck.replaced
    assert "does not answer" in stuck.stack


@pytest.mark.parametrize("receipt", ["return", "explicit"])
def test_a_stopped_child_costs_what_its_receipts_say(receipt: Any, diary: Diary) -> None:
    """A frozen child that is killed is no different from any other that dies."""
    chunk = chunk_in_which("SIGSTOP", 10, 4)
    queue = ScriptedQueue([chunk])
    consumer = FORKSERVER.consumer(
        queue,
        Dying(diary, receipt),
        messages_bulk_size=42,
        receipt=receipt,
        backoff=backoff,
        supervision=QUICK,
        time_limit=1.0,
    )
    queue.reconcile(run_to_rest(consumer, queue.wait_until_spent))
    assert fates(queue, chunk) == expected(receipt, 10, 4)


def test_without_release_what_a_dead_child_held_is_left(diary: Diary) -> None:
    """Where the queue cannot take back, the failed item is left to it, and all others are cleaned up."""
    chunk = chunk_in_which("SIGKILL", 10, 4)
    queue = ScriptedQueue([chunk], without=["release"])
    report = run_to_rest(
        FORKSERVER.consumer(queue, Dying(diary, "advance"), messages_bulk_size=42), queue.wait_until_spent
    )
    queue.reconcile(report)
    assert fates(queue, chunk) == ["cleaned"] * 3 + [None] + ["cleaned"] * 6
    assert (report.stats.left, report.stats.cleaned) == (1, 9)


# ------------------------------------------------------------------ many deaths


@pytest.mark.parametrize("pool", [FORKSERVER], ids=str)
def test_two_hundred_kills_lose_nothing(pool: PoolKind, diary: Diary) -> None:
    """In 20,000 items with 200 kills nothing is lost, and each kill has at most one item handled twice."""
    kills, portion = 200, 100
    dice = random.Random(200)
    queue: MemoryQueue[Any] = MemoryQueue([], journal=True)
    consumer = pool.consumer(
        queue, Noting(diary), max_handlers=2, messages_bulk_size=7, backoff=again_at_once, supervision=QUICK
    )
    killed = 0
    with consumer:
        for number in range(kills):
            queue.fill(range(number * portion, (number + 1) * portion))
            before = len(diary.lines()) if number else 0
            ahead = dice.randrange(1, portion // 2)
            lines = diary.wait_for(lambda lines: len(lines) >= before + ahead)  # noqa: B023
            killed += end_of(lines[-1].pid)
        assert consumer.wait_idle(PATIENCE), f"it does not come to rest: {consumer!r}"
        stats = consumer.stats()
        # Children that were idle when they were killed may not have been missed yet, hence "about".
        assert stats.revived >= kills * 0.9, str(stats)
    report = consumer.shutdown()

    assert killed >= kills * 0.9, "the children that were to be killed had ended before"
    assert report.balanced, str(report)
    assert report.stats.in_flight == 0, str(report)
    assert queue.journal is not None
    cleaned = Counter(note.item for note in queue.journal if note.deed == "cleaned")
    assert cleaned == Counter(range(kills * portion)), "each item is cleaned up once"
    handled = Counter(map(int, diary.names()))
    assert handled.keys() == cleaned.keys(), "what is cleaned up was handled, and what was handled is cleaned up"
    assert handled.total() - len(handled) <= killed, "a kill had more than one item handled twice"
    assert report.stats.failed <= killed


def end_of(pid: int) -> bool:
    """Kill this child; False if it is one no more."""
    try:
        process = psutil.Process(pid)
        if os.getpid() not in [parent.pid for parent in process.parents()]:
            return False
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


@every_process_pool
def test_a_child_that_dies_idle_is_replaced(pool: PoolKind) -> None:
    """Its death is seen though nobody has anything for it to do."""
    seen = RecordingObserver()
    consumer = pool.consumer(MemoryQueue([]), read_all, supervision=QUICK.but(polling_time=0.05), observers=[seen])
    with consumer:
        idle = [pid for pid in children() if not is_template(pid, pool)]
        for pid in idle:
            psutil.Process(pid).kill()
        assert len(idle) == 2
        seen.wait_for(WorkerRevived, 2, PATIENCE)
    assert "SIGKILL" in seen.of(WorkerDied)[0].error or pool == FORK


def is_template(pid: int, pool: PoolKind) -> bool:
    return pool == FORK and psutil.Process(pid).ppid() == os.getpid()


def test_a_stopped_child_that_was_idle_keeps_nothing_back(diary: Diary) -> None:
    """A child that does not turn to what it was given is stuck, and what it was given goes to another, unharmed."""
    queue: MemoryQueue[Any] = MemoryQueue([], journal=True)
    supervision = QUICK.but(polling_time=0.1, stuck_time=1.0)
    consumer = FORKSERVER.consumer(queue, Noting(diary), supervision=supervision)
    with consumer:
        psutil.Process(next(iter(children()))).suspend()
        queue.fill(range(50))
        assert consumer.wait_idle(PATIENCE)
    stats = consumer.shutdown().stats
    assert (stats.cleaned, stats.failed, stats.released) == (50, 0, 0)
    assert Counter(diary.names()) == Counter(map(str, range(50)))


def test_the_rest_of_a_killed_child_s_run_is_not_to_blame(diary: Diary, tmp_path: Path) -> None:
    """Chunks that were sent to a child and that it had not begun go to others, and do not fail."""
    queue: MemoryQueue[Any] = MemoryQueue([], journal=True)
    with gate(tmp_path / "gate") as open_gate:
        consumer = FORKSERVER.consumer(
            queue, Waiting(diary, tmp_path / "gate"), max_handlers=1, backoff=backoff, supervision=QUICK
        )
        with consumer:
            queue.fill(range(500))
            diary.wait_for(lambda lines: len(lines) >= 100)  # by now chunks travel in runs
            queue.fill(["wait", *range(500, 700)])
            begun = diary.wait_for(lambda lines: any(line.name == "begun wait" for line in lines))
            assert end_of(begun[-1].pid)
            assert consumer.wait_idle(PATIENCE)
            stats = consumer.stats()
            open_gate()
    assert (stats.cleaned, stats.failed, stats.released) == (700, 1, 1)


# ------------------------------------------------------------------ runs of chunks


def test_what_waits_behind_a_slow_item_is_handled_by_an_idle_child(diary: Diary, tmp_path: Path) -> None:
    """A run of fast chunks that meets a slow item is called back as soon as another child has nothing to do."""
    queue: MemoryQueue[Any] = MemoryQueue([], journal=True)
    seen = RecordingObserver()
    with gate(tmp_path / "gate") as open_gate:
        consumer = FORKSERVER.consumer(queue, Waiting(diary, tmp_path / "gate"), observers=[seen])
        with consumer:
            queue.fill(range(1000))
            diary.wait_for(lambda lines: len(lines) >= 200)  # by now chunks travel in runs
            queue.fill(["wait", *range(1000, 1500)])
            lines = diary.wait_for(lambda lines: len({line.name for line in lines}) >= 1501)
            assert "wait" not in {line.name for line in lines}, "the slow item is still being handled"
            open_gate()
            assert consumer.wait_idle(PATIENCE)
    assert consumer.shutdown().stats.cleaned == 1501
    assert Counter(diary.names()) == Counter(["wait", "begun wait", *map(str, range(1500))])
    # That something was called back, and not by luck all done before: it was put into two hands, and handled once.
    sent = Counter(event.items[0] for event in seen.of(ChunkStarted))
    assert sent.total() > len(seen.of(ChunkHandled)) == 1501


def test_a_child_is_replaced_after_so_many_items(diary: Diary) -> None:
    """With `recycle_after` no child is given more than that and one chunk, nothing fails, and nobody has died."""
    queue = MemoryQueue(range(150), journal=True)
    seen = RecordingObserver()
    consumer = FORKSERVER.consumer(
        queue,
        Noting(diary),
        messages_bulk_size=3,
        supervision=Supervision(recycle_after=20),
        observers=[seen],
    )
    stats = run_to_rest(consumer).stats
    counts = Counter(line.pid for line in diary.lines())
    assert counts.total() == stats.cleaned == 150
    assert max(counts.values()) <= 20 + 2
    assert min(sorted(counts.values())[2:]) >= 20, "but for the last two, all served their time"
    assert not seen.of(WorkerDied)
    assert stats.failed == 0


def test_a_child_that_has_grown_is_replaced(diary: Diary) -> None:
    """With `recycle_memory` a child goes after the run in which its peak was seen to be above that."""
    consumer = FORKSERVER.consumer(
        MemoryQueue(range(8)), Noting(diary), max_handlers=1, supervision=Supervision(recycle_memory=1)
    )
    assert run_to_rest(consumer).stats.cleaned == 8
    assert len({line.pid for line in diary.lines()}) > 1


# ------------------------------------------------------------------ items and exceptions that are trouble


@pytest.mark.parametrize(
    "trouble",
    [
        Unpicklable(TypeError("no pickling")),
        Unpicklable(SystemExit("no pickling")),
        Unpicklable(RecursionError("no pickling")),
        Poisonous(),
    ],
    ids=["TypeError", "SystemExit", "RecursionError", "unpickling"],
)
@pytest.mark.parametrize("pool", [FORKSERVER, FORK], ids=str)
def test_an_item_that_cannot_travel_fails_alone(pool: PoolKind, trouble: Any, diary: Diary) -> None:
    """With a sentence; its neighbours are handled, and no child dies of it."""
    chunk = [1, 2, 3, trouble, 5, 6]
    queue = ScriptedQueue([chunk])
    seen = RecordingObserver()
    consumer = pool.consumer(queue, Noting(diary), messages_bulk_size=42, backoff=backoff, observers=[seen])
    report = run_to_rest(consumer, queue.wait_until_spent)
    queue.reconcile(report)
    assert diary.names() == ["1", "2", "3", "5", "6"]
    assert (report.stats.cleaned, report.stats.failed, report.stats.released) == (5, 1, 1)
    assert queue.fates()[id(trouble)] == BACKOFF
    (failure,) = [event.failure for event in seen.of(ChunkHandled) if event.failed]
    assert failure is not None
    assert "pickled" in failure.message
    assert not seen.of(WorkerDied)


def test_an_item_that_kills_whoever_unpickles_it_fails(diary: Diary) -> None:
    """It takes a child with it each time that it is given to one, and goes back; the others are handled in the end."""
    dead: list[Any] = []
    queue = MemoryQueue([1, 2, Deadly(), 4], max_attempts=3, dead_letters=dead)
    consumer = FORKSERVER.consumer(queue, Noting(diary), backoff=again_at_once)
    # Not only till it is idle, which it is, too, when the item is on its way back.
    run_to_rest(consumer, lambda: until(lambda: dead, "it was given up"))
    assert set(diary.names()) == {"1", "2", "4"}
    assert [type(item) for item in dead] == [Deadly]


def test_an_item_whose_attempt_is_not_known_is_handled(diary: Diary) -> None:
    """An `attempt` that raises is said aloud, and costs neither an item nor a child."""
    queue = FaultyQueue(range(50), chances={"attempt": {"raise": 0.5}}, seed=1)
    report = run_to_rest(FORKSERVER.consumer(queue, read_all))
    queue.reconcile(report)
    assert (report.stats.cleaned, report.stats.revived) == (50, 0)


def test_huge_items_and_huge_failures_travel(diary: Diary) -> None:
    """Items of 5 MB, and tracebacks of 6: pipes are smaller than either, and neither side waits for the other."""
    weights = [5_000_000 + number for number in range(24)]
    items = [bytes([number % 4 == 3]) + bytes(weight - 1) for number, weight in enumerate(weights)]
    queue = MemoryQueue(items, max_attempts=1)
    report = run_to_rest(FORKSERVER.consumer(queue, Weighing(diary), messages_bulk_size=4))
    assert (report.stats.cleaned, report.stats.failed) == (18, 6)
    assert sorted(diary.names()) == list(map(str, weights))


# ------------------------------------------------------------------ what handlers may do in a child


@every_process_pool
def test_children_leave_ctrl_c_to_their_parent(pool: PoolKind, diary: Diary) -> None:
    """SIGINT, which a terminal sends to all processes of a group, does nothing to a child in the middle of an item."""
    consumer = pool.consumer(MemoryQueue(range(6)), Interrupting(diary))
    stats = run_to_rest(consumer).stats
    assert (stats.cleaned, stats.failed, stats.revived) == (6, 0, 0)


@every_process_pool
def test_a_handler_may_have_children_of_its_own(pool: PoolKind, diary: Diary) -> None:
    """A child of ours is no daemon in the sense of multiprocessing, which would be forbidden to."""
    stats = run_to_rest(pool.consumer(MemoryQueue(range(4)), Parenting(diary))).stats
    assert (stats.cleaned, stats.failed) == (4, 0)


@every_process_pool
def test_a_child_s_death_is_seen_though_its_own_child_lives(pool: PoolKind, diary: Diary) -> None:
    """A process that it forked holds on to its end of the connection, and that must not hide its death."""
    queue = MemoryQueue(["orphan", 1, 2])
    consumer = pool.consumer(
        queue, Parenting(diary), backoff=backoff, max_handlers=1, supervision=QUICK.but(polling_time=0.1)
    )
    with consumer:
        assert consumer.wait_idle(PATIENCE), repr(consumer)
    for name in diary.names():
        if name.startswith("grandchild"):
            psutil.Process(int(name.split()[1])).kill()
    stats = consumer.shutdown().stats
    assert (stats.cleaned, stats.failed, stats.released) == (2, 1, 1)


@every_process_pool
def test_current_and_context_variables_in_children(pool: PoolKind, diary: Diary) -> None:
    """`current()` knows item and attempt; a call sees what the initializer set, and nothing of another call."""
    queue: MemoryQueue[Any] = MemoryQueue([])
    queue.put_many([{"body": number} for number in range(4)])
    consumer = pool.consumer(queue, Seeing(diary), messages_bulk_size=2, pool_initializer=imagine)
    assert run_to_rest(consumer).stats.cleaned == 4
    seen = [name for name in diary.names() if not name.startswith("<")]
    assert Counter(seen) == {"True 1 something 0": 2, "True 1 something 1": 2}


@every_receipt
def test_an_iterator_dies_with_its_call_in_children(receipt: Any, diary: Diary) -> None:
    """A handler that kept one gets no more from it, and nobody takes that for progress of another call."""
    queue = MemoryQueue(range(60), bulk=3)
    consumer = FORKSERVER.consumer(
        queue,
        Keeping(diary),
        messages_bulk_size=3,
        receipt=receipt,
        max_handlers=1,
        backoff=backoff,
    )
    stats = run_to_rest(consumer).stats
    assert (stats.cleaned, stats.released) == ((0, 60) if receipt == "explicit" else (60, 0))
    assert Counter(diary.names()) == Counter(map(str, range(60)))


@every_process_pool
def test_what_is_not_acknowledged_fails(pool: PoolKind) -> None:
    """With explicit receipts, a handler that took all and said nothing has consumed nothing."""
    queue = MemoryQueue(range(10))
    consumer = pool.consumer(queue, Taking(), receipt="explicit", messages_bulk_size=5, backoff=backoff)
    stats = run_to_rest(consumer).stats
    assert (stats.cleaned, stats.failed, stats.released) == (0, 10, 10)


def test_receipts_of_a_chunk_say_nothing_of_the_next() -> None:
    """A child killed before it took anything has acknowledged nothing, whatever its predecessor in the slot had."""
    rounds = [[Mortal(f"{number}")] for number in range(1100)]  # more than there are slots
    # With an item that cannot be pickled in the same run, the deadly one is unpickled only when its chunk has begun.
    last = [Deadly(), *(Mortal(f"last/{number}") for number in range(41))]
    queue = ScriptedQueue([*rounds, [*chunk_in_which("", 41, 0), Unpicklable(TypeError("no pickling")), *last]])
    consumer = FORKSERVER.consumer(
        queue, acknowledge, messages_bulk_size=42, receipt="explicit", backoff=backoff, max_handlers=1
    )
    queue.reconcile(run_to_rest(consumer, queue.wait_until_spent))
    assert fates(queue, last) == [BACKOFF] + ["cleaned"] * 41


# ------------------------------------------------------------------ children that cannot begin


@every_process_pool
def test_an_initializer_that_raises_is_raised_by_start(pool: PoolKind) -> None:
    """In a sentence, and nothing stays behind."""
    consumer = pool.consumer(MemoryQueue([1]), read_all, pool_initializer=refuse)
    with pytest.raises(UsageError, match="pool_initializer raised: LookupError: no database"):
        consumer.start()


def test_an_initializer_that_raises_in_a_replacement_is_tried_again(diary: Diary, tmp_path: Path) -> None:
    """Later and later, while the others go on; nothing is lost."""
    queue: MemoryQueue[Any] = MemoryQueue([Mortal("dead", "SIGKILL"), *(Mortal(f"{n}") for n in range(20))])
    seen = RecordingObserver()
    consumer = FORKSERVER.consumer(
        queue,
        Dying(diary, "advance"),
        max_handlers=2,
        pool_initializer=RefusesReplacements(tmp_path / "count"),
        backoff=backoff,
        observers=[seen],
    )
    with consumer:
        assert consumer.wait_idle(PATIENCE)
        seen.wait_for(WorkerRevived, 4, PATIENCE)
    assert consumer.shutdown().stats.cleaned == 20
    assert sum("no database" in event.error for event in seen.of(WorkerDied)) == 3


@pytest.mark.parametrize("pool", [FORKSERVER, SPAWN], ids=str)
def test_a_handler_that_a_child_cannot_import_is_refused(pool: PoolKind, tmp_path: Path) -> None:
    """By `start()`, with the child's own words; here it is of a module that is on nobody's path."""
    path = tmp_path / "nowhere_to_be_found.py"
    path.write_text("def handler(items):\n    list(items)\n")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        with pytest.raises(UsageError, match="cannot be imported in a child process: ModuleNotFoundError"):
            pool.consumer(MemoryQueue([1]), module.handler).start()
    finally:
        del sys.modules[path.stem]


@pytest.mark.parametrize("pool", [FORKSERVER, SPAWN], ids=str)
def test_a_handler_that_cannot_be_sent_is_refused(pool: PoolKind) -> None:
    """By the constructor; lambdas and closures are named as what cannot be."""

    def closure(items: Iterator[Any]) -> None: ...

    lambda_: Callable[[Any], object] = lambda items: None  # noqa: E731
    for handler in (lambda_, closure, Locked().handle):
        with pytest.raises(TypeError, match="handler must be importable by a child process"):
            pool.consumer(MemoryQueue([1]), handler)
    with pytest.raises(TypeError, match="pool_initializer must be importable by a child process"):
        pool.consumer(MemoryQueue([1]), read_all, pool_initializer=lambda: None)


def test_with_fork_a_lambda_may_be_a_handler() -> None:
    """A forked child has it already."""
    taken: Callable[[Any], object] = lambda items: list(items)  # noqa: E731
    assert run_to_rest(FORK.consumer(MemoryQueue(range(10)), taken)).stats.cleaned == 10


# ------------------------------------------------------------------ consumers side by side


def test_consumers_that_fork_do_not_hold_each_other_s_children(diary: Diary) -> None:
    """A template made later has no copy of an earlier consumer's connections, whose children end when told to."""
    first = FORK.consumer(MemoryQueue(range(10)), Noting(diary)).start()
    with FORK.consumer(MemoryQueue(range(10, 20)), Noting(diary)) as second:
        assert first.wait_idle(PATIENCE)
        assert second.wait_idle(PATIENCE)
        mine = [line.pid for line in diary.lines() if int(line.name) < 10]
        first.shutdown()
        assert not [pid for pid in mine if pid in children()], "they should have ended with their consumer"
    assert len(diary.names()) == 20


def test_a_storm_of_deaths_leaves_nothing_behind(diary: Diary) -> None:
    """Thirty children later there are as many threads, children and file descriptors as before (see `_clean`)."""
    dead: list[Any] = []
    doomed = [Mortal(f"{number}", KILLING[number % 3]) for number in range(30)]
    queue: MemoryQueue[Any] = MemoryQueue(doomed, max_attempts=1, dead_letters=dead)
    report = run_to_rest(FORKSERVER.consumer(queue, Dying(diary, "advance")))
    assert (report.stats.failed, report.stats.cleaned) == (30, 0)
    assert len(dead) == 30
    assert report.stats.revived >= 29


@every_process_pool
def test_signals_of_a_child_are_its_own(pool: PoolKind, diary: Diary) -> None:
    """SIGTERM kills a child as it kills any process, whatever its parent does about it."""
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, ignore)  # which a child must not inherit from a program that forks it
    try:
        queue: MemoryQueue[Any] = MemoryQueue([])
        seen = RecordingObserver()
        supervision = QUICK.but(polling_time=0.05)
        with pool.consumer(queue, Noting(diary), supervision=supervision, observers=[seen]) as consumer:
            for pid in children():
                if not is_template(pid, pool):
                    psutil.Process(pid).terminate()
            seen.wait_for(WorkerDied, 2, PATIENCE)
            queue.fill(range(5))
            assert consumer.wait_idle(PATIENCE)
        assert consumer.shutdown().stats.cleaned == 5
    finally:
        signal.signal(signal.SIGTERM, before)


# ------------------------------------------------------------------ a child is buried once


class Burial:
    """A child that has ended. Who first asks for it is held up: the kernel has told of its end, and nobody knows yet.

    It goes on when others have asked so often that they must have begun anew, or by `go_on`.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(PATIENCE,))
        self._process.start()
        self.child = Started(self._process)
        self.child.kill()
        assert self._process.pid is not None
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self.told, self.go_on = threading.Event(), threading.Event()
        self._asked = 0
        self._ask = os.waitpid
        monkeypatch.setattr(os, "waitpid", self._waitpid)

    def _waitpid(self, pid: int, options: int) -> tuple[int, int]:
        if pid == self._process.pid and self.told.is_set():
            self._asked += 1
            if self._asked > 2:
                self.go_on.set()
        answer = self._ask(pid, options)
        if answer[0] == self._process.pid:
            self.told.set()
            assert self.go_on.wait(PATIENCE)
        return answer

    def ends(self, first: Callable[[], object], then: Callable[[], bool]) -> bool:
        """What is said by a second one that asks while the first is held up."""
        with ThreadPoolExecutor(1) as threads:
            held_up = threads.submit(first)
            assert self.told.wait(PATIENCE)
            try:
                return then()
            finally:
                self.go_on.set()
                held_up.result(PATIENCE)


@pytest.fixture
def burial(monkeypatch: pytest.MonkeyPatch) -> Burial:
    return Burial(monkeypatch)


def test_two_that_ask_at_once_are_told_the_same(burial: Burial, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread is being told that a child has ended, another does not hear that it still runs."""
    lock = _births.reaper.lock

    class Announced:
        def __enter__(self) -> None:
            if burial.told.is_set():
                burial.go_on.set()  # the second waits for the lock now, and will be told what the first was
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    monkeypatch.setattr(_births.reaper, "lock", Announced())
    assert burial.ends(lambda: burial.child.join(0), lambda: burial.child.join(0))
    assert burial.child.epitaph().endswith("was killed by SIGKILL")
    burial.child.close()


def test_a_child_that_the_program_is_burying_is_waited_for(burial: Burial) -> None:
    """The program asks after all children at that moment: whoever waits for this one sees its end, and closes it."""
    assert burial.ends(multiprocessing.active_children, lambda: burial.child.join(PATIENCE))
    assert burial.child.epitaph().endswith("was killed by SIGKILL")
    burial.child.close()


def test_a_birth_that_takes_long_holds_up_nobody(burial: Burial) -> None:
    """While one child is being started, however long that takes, the deaths of others are seen."""
    born, begun = threading.Event(), threading.Event()

    class Slow:
        pid, exitcode = 0, 0

        def __init__(self, **_: object) -> None: ...

        def start(self) -> None:
            begun.set()
            born.wait(PATIENCE)

    burial.go_on.set()
    birth = Birth(cast(Any, SimpleNamespace(Process=Slow)), read_all, None, "advance")
    with ThreadPoolExecutor(2) as threads:
        bearing = threads.submit(birth.bear, 0, 0, 0, 0)
        assert begun.wait(PATIENCE)
        seen = threads.submit(burial.child.join, 0)
        try:
            assert seen.result(10)
        finally:
            born.set()
        bearing.result(PATIENCE)
    burial.child.close()


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_no_child_is_closed_while_another_is_started(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Its descriptor would be that of the new one, whose first word would be read by who asks if the old one lives."""
    context: Any = multiprocessing.get_context(method)
    old: Any
    new: Any
    old, new = (context.Process(target=time.sleep, args=(0,), daemon=True) for _ in range(2))
    reaper = _births.Reaper()
    reaper.start(old)
    old.join(PATIENCE)
    descriptor, begun, go_on = old.sentinel, threading.Event(), threading.Event()
    ask_all: Any = process_module._cleanup  # type: ignore[attr-defined]

    def slowly() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        ask_all()

    monkeypatch.setattr(process_module, "_cleanup", slowly)
    with ThreadPoolExecutor(1) as threads:
        starting = threads.submit(reaper.start, new)
        assert begun.wait(PATIENCE)
        reaper.bury(old)
        try:
            os.fstat(descriptor)
            assert old.exitcode == 0
        finally:
            go_on.set()
        starting.result(PATIENCE)
    with pytest.raises(ValueError, match="closed"):
        _ = old.exitcode
    new.join(PATIENCE)
    reaper.bury(new)
    with pytest.raises(ValueError, match="closed"):
        _ = new.exitcode
