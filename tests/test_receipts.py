"""The receipt table through the whole line, in every pool: what the queue sees of each ending of a handler call."""

from __future__ import annotations

import functools
import queue
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from queue_consumer import ChunkHandled, ChunkStarted, Consumer, Report
from queue_consumer._chunk import Receipt
from queue_consumer.testing import RecordingObserver
from support.handlers import (
    SIGNAL_DELAY,
    Ahead,
    ByTurns,
    Item,
    each_item,
    each_item_async,
    follow,
    follow_and_ack,
    follow_async,
    read_all,
    take_nothing,
)
from support.line_pools import (
    COROUTINES,
    FORK,
    POOLS,
    SPAWN,
    THREADS,
    WATCHED,
    PoolKind,
    most_pools,
    run_to_rest,
)
from support.line_queues import ScriptedQueue, raising

SIZES = (1, 2, 10, 42)
BACKOFF = 3.0  # what the back-off of these consumers says


class Row(NamedTuple):
    """One row: of a chunk of n the k-th item (or the last, or all) tells the handler to do the deed.

    `fates` is what becomes of the n items, a letter for each: c cleaned up · d dropped · b released with the
    back-off's delay · s released with the delay that the handler asked for.
    """

    rule: str
    receipt: Receipt
    deed: str
    fates: Callable[[int, int], str]
    where: str = "each"
    kills: bool = False


def but(letter: str, others: str = "c") -> Callable[[int, int], str]:
    """The k-th item has another fate than its neighbours, before and behind it."""
    return lambda n, k: others * (k - 1) + letter + others * (n - k)


def up_to(letter: str, held: str = "") -> Callable[[int, int], str]:
    """Those up to the k-th have one fate (the k-th itself perhaps another), those behind it are handled by others."""
    return lambda n, k: letter * (k - 1) + (held or letter) + "c" * (n - k)


def whole(letter: str) -> Callable[[int, int], str]:
    return lambda n, k: letter * n


def only_of_one(letter: str, otherwise: str) -> Callable[[int, int], str]:
    return lambda n, k: letter if n == 1 else otherwise * n


def early(n: int, k: int) -> str:
    """Each call takes one item and returns: the second call is the last that is given what the first one left."""
    return "c" * min(n, 2) + "b" * (n - 2)


TABLE = (
    Row("returned after reading all", "advance", "", whole("c"), "last"),
    Row("returned early", "advance", "return", whole("c")),
    Row("returned early again and again", "advance", "return", early, "all"),
    Row("raised while holding an item", "advance", "raise", but("b")),
    Row("raised after asking past the end", "advance", "after raise", whole("b"), "last"),
    Row("SystemExit while holding an item", "advance", "exit", but("b")),
    Row("KeyboardInterrupt while holding an item", "advance", "interrupt", but("b")),
    Row("SystemExit after asking past the end", "advance", "after exit", whole("b"), "last"),
    Row("Retry(delay) while holding an item", "advance", "retry", but("s")),
    Row("Retry() while holding an item", "advance", "retry plainly", but("b")),
    Row("Retry after asking past the end", "advance", "after retry", whole("s"), "last"),
    Row("Drop while holding an item", "advance", "drop", but("d")),
    Row("Drop after asking past the end", "advance", "after drop", only_of_one("d", otherwise="b"), "last"),
    Row("Failed names an item", "advance", "name as failed", but("b")),
    Row("Failed names all", "advance", "name as failed", whole("b"), "all"),
    Row("its process died while holding an item", "advance", "die", but("b"), kills=True),
    Row("its process died after asking past the end", "advance", "after die", whole("b"), "last", kills=True),
    Row("returned after reading all", "return", "", whole("c"), "last"),
    Row("returned early", "return", "return", whole("c")),
    Row("returned early again and again", "return", "return", early, "all"),
    Row("raised while holding an item", "return", "raise", up_to("b")),
    Row("raised after asking past the end", "return", "after raise", whole("b"), "last"),
    Row("SystemExit while holding an item", "return", "exit", up_to("b")),
    Row("Retry(delay) while holding an item", "return", "retry", up_to("s")),
    Row("Drop while holding an item", "return", "drop", up_to("b", held="d")),
    Row("Failed names an item", "return", "name as failed", but("b")),
    Row("its process died while holding an item", "return", "die", up_to("b"), kills=True),
    Row("its process died after asking past the end", "return", "after die", whole("b"), "last", kills=True),
    Row("all acknowledged", "explicit", "", whole("c"), "last"),
    Row("returned early", "explicit", "return", whole("c")),
    Row("returned early again and again", "explicit", "return", early, "all"),
    Row("raised while holding an item", "explicit", "raise", but("b")),
    Row("raised with all acknowledged", "explicit", "after raise", whole("c"), "last"),
    Row("SystemExit while holding an item", "explicit", "exit", but("b")),
    Row("Retry(delay) while holding an item", "explicit", "retry", but("s")),
    Row("Drop while holding an item", "explicit", "drop", but("d")),
    Row("neither acknowledged nor failed", "explicit", "forget", but("b")),
    Row("all forgotten", "explicit", "forget", whole("b"), "all"),
    Row("fail() of an item", "explicit", "fail", but("b")),
    Row("fail(delay) of an item", "explicit", "fail later", but("s")),
    Row("fail() of all", "explicit", "fail", whole("b"), "all"),
    Row("Failed names an acknowledged item", "explicit", "name as failed", but("b")),
    Row("its process died while holding an item", "explicit", "die", but("b"), kills=True),
)
RETRIES = ("retry", "retry plainly", "after retry", "return")  # deeds for which a release is no failure
HANDLERS: dict[Receipt, Callable[[Any], object]] = {
    "advance": follow,
    "return": follow,
    "explicit": follow_and_ack,
}
KINDS = (*POOLS, *WATCHED)
SWIFT = (THREADS, COROUTINES, *WATCHED[:2], FORK)
CASES = [(kind, row) for kind in KINDS for row in TABLE if not row.kills or kind.pool == "processes"]


def backoff(attempt: int) -> float:
    return BACKOFF


class Ran(NamedTuple):
    """A consumer that was taken through all rows of one receipt, with chunks of one size."""

    report: Report
    queue: ScriptedQueue
    chunks: list[tuple[Row, int, list[Item]]]
    fates: dict[int, str | float]


@functools.cache
def ran(kind: PoolKind, receipt: Receipt, sizes: tuple[int, ...]) -> Ran:
    chunks: list[tuple[Row, int, list[Item]]] = []
    for row in TABLE:
        if row.receipt != receipt or (row.kills and kind.pool != "processes"):
            continue
        for size in sizes:
            for k in held_in(row, size, sparing=kind is SPAWN):
                chunks.append((row, k, items_for(row, size, k)))
    queue = ScriptedQueue([items for _, _, items in chunks])
    consumer = kind.consumer(queue, HANDLERS[receipt], messages_bulk_size=max(sizes), receipt=receipt, backoff=backoff)
    return Ran(run_to_rest(consumer), queue, chunks, queue.fates())


def held_in(row: Row, size: int, sparing: bool = False) -> list[int]:
    """Which of `size` items is the k-th one, in turn."""
    if row.where != "each":
        return [size]
    # A death costs a child; where the rule was seen at every place already, one place is enough.
    seen = sparing or row.receipt != "advance"
    places = {2} if row.kills and seen else {1, 2, size // 2, size}
    return sorted({min(k, size) for k in places if k})


def items_for(row: Row, size: int, k: int) -> list[Item]:
    deeds = [row.deed if row.where == "all" or index == k else "" for index in range(1, size + 1)]
    return [Item(f"{index}/{size}", deed) for index, deed in enumerate(deeds, 1)]


def runs(kind: PoolKind, receipt: Receipt) -> list[Ran]:
    """All sizes of chunks, with a consumer for each, or with one for several where its children start slowly."""
    groups = [(1,), (2,), (10,), (42,)] if kind in SWIFT else [(1,), (2, 10, 42)]
    return [ran(kind, receipt, group) for group in groups]


def letters(fates: dict[int, str | float], items: list[Item], expected: str) -> str:
    """What the queue saw become of these items; it cannot tell what was dropped from what was consumed."""
    names = {"cleaned": "c", BACKOFF: "b", SIGNAL_DELAY: "s"}
    seen = "".join(names.get(fates.get(id(item), ""), "?") for item in items)
    return "".join("d" if (was, want) == ("c", "d") else was for was, want in zip(seen, expected, strict=True))


@pytest.mark.parametrize(("kind", "row"), CASES, ids=[f"{kind}-{row.receipt}-{row.rule}" for kind, row in CASES])
def test_receipt_table(kind: PoolKind, row: Row) -> None:
    """Each row of the receipt table holds in every pool: what was consumed is cleaned up, and only that."""
    sizes: set[int] = set()
    for line in runs(kind, row.receipt):
        for other, k, items in line.chunks:
            if other is row:
                sizes.add(size := len(items))
                expected = row.fates(size, k)
                assert letters(line.fates, items, expected) == expected, (size, k)
    assert sizes == set(SIZES)


@pytest.mark.parametrize("receipt", HANDLERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_ledger_of_the_receipt_table(kind: PoolKind, receipt: Receipt) -> None:
    """The ledger says of the whole table what the queue and the rules say: every item has one end, counted once."""
    for line in runs(kind, receipt):
        line.queue.reconcile(line.report)
        stats = line.report.stats
        fates = [(row, row.fates(len(items), k)) for row, k, items in line.chunks]
        wanted = "".join(letters for _, letters in fates)
        released = wanted.count("b") + wanted.count("s")
        assert (stats.cleaned, stats.dropped, stats.released) == (
            wanted.count("c"),
            wanted.count("d"),
            released,
        )
        no_failures = [
            letters for row, letters in fates if row.deed in RETRIES or (receipt == "return" and row.deed == "drop")
        ]
        assert stats.failed == released - len([letter for letter in "".join(no_failures) if letter in "bs"])
        assert (stats.left, stats.tombstoned, stats.lost, stats.abandoned) == (0, 0, 0, 0)


@pytest.mark.parametrize("receipt", HANDLERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_raised_before_taking_any(kind: PoolKind, receipt: Receipt, tmp_path: Path) -> None:
    """A call that ends badly before it took anything costs the first item of its chunk, and no other."""
    # Two calls for each chunk but that of one: the second one takes what the first one has left.
    endings = [("raise", "b"), ("exit", "b"), ("retry", "s"), ("drop", "b")]
    if kind.pool == "processes":
        endings += [("die", "b")]
    chunks = [[Item(f"{index}/{size}") for index in range(size)] for _ in endings for size in SIZES]
    script = [call for deed, _ in endings for size in SIZES for call in ([deed, ""] if size > 1 else [deed])]
    queue = ScriptedQueue(chunks, in_turn=True)
    handler = ByTurns(tmp_path / "calls", script, ack=receipt == "explicit")
    report = run_to_rest(
        kind.consumer(queue, handler, max_handlers=1, messages_bulk_size=42, receipt=receipt, backoff=backoff)
    )
    queue.reconcile(report)
    assert (tmp_path / "calls").stat().st_size == len(script)
    fates = queue.fates()
    for (deed, letter), at in zip(endings, range(0, len(chunks), len(SIZES)), strict=True):
        for items in chunks[at : at + len(SIZES)]:
            expected = letter + "c" * (len(items) - 1)
            assert letters(fates, items, expected) == expected, (deed, len(items))
    assert report.stats.failed == len(SIZES) * (len(endings) - 1)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_taking_nothing_twice_sends_the_chunk_back(kind: PoolKind) -> None:
    """What a second handler did not take either goes back with the back-off: handed on once, never round and round."""
    chunks = [[Item(f"{index}/{size}") for index in range(size)] for size in SIZES]
    queue = ScriptedQueue(chunks)
    events = RecordingObserver()
    report = run_to_rest(kind.consumer(queue, take_nothing, messages_bulk_size=42, backoff=backoff, observers=[events]))
    queue.reconcile(report)
    assert set(queue.fates().values()) == {BACKOFF}
    assert (report.stats.released, report.stats.failed) == (sum(SIZES), 0)
    assert len(events.of(ChunkHandled)) == 2 * len(chunks)


# ---------------------------------------------------------------------------- what get() may give


class Bulk(NamedTuple):
    """Something that `get` returns, and the items that are in it."""

    answer: Any
    items: list[Any]


ITEMS = ["a", "b", "c"]
BULKS: dict[str, Callable[[], Bulk]] = {
    "list": lambda: Bulk(list(ITEMS), ITEMS),
    "tuple": lambda: Bulk(tuple(ITEMS), ITEMS),
    "deque": lambda: Bulk(deque(ITEMS), ITEMS),
    "generator": lambda: Bulk((item for item in ITEMS), ITEMS),
    "iterator": lambda: Bulk(iter(ITEMS), ITEMS),
    "set": lambda: Bulk({"a"}, ["a"]),
    "dict's values": lambda: Bulk({1: "a", 2: "b"}.values(), ["a", "b"]),
    "range": lambda: Bulk(range(3), [0, 1, 2]),
    "bare string": lambda: Bulk("abc", ["abc"]),
    "bare bytes": lambda: Bulk(b"abc", [b"abc"]),
    "bare bytearray": lambda: Bulk(bytearray(b"abc"), [bytearray(b"abc")]),
    "bare mapping": lambda: Bulk({"a": 1}, [{"a": 1}]),
    "bare number": lambda: Bulk(7, [7]),
    "bare object": lambda: Bulk(Path("there"), [Path("there")]),
    "None": lambda: Bulk(None, []),
    "empty list": lambda: Bulk([], []),
    "empty generator": lambda: Bulk(iter(()), []),
    "queue.Empty": lambda: Bulk(raising(queue.Empty()), []),
    "list with None": lambda: Bulk([None, "a"], [None, "a"]),
    "list of lists": lambda: Bulk([["a"], []], [["a"], []]),
    "the same thing twice": lambda: Bulk(["a", "a"], ["a", "a"]),
}


@pytest.mark.parametrize("size", [1, 2, 10])
@most_pools
def test_get_may_give_any_iterable(pool: PoolKind, size: int) -> None:
    """Any iterable is a bulk; a string, bytes, a mapping or no iterable is one item; None and Empty are none."""
    bulks = [make() for make in BULKS.values()]
    queue = ScriptedQueue([answer_of(bulk) for bulk in bulks])
    report = run_to_rest(pool.consumer(queue, read_all, messages_bulk_size=size), after=queue.wait_until_spent)
    expected = [item for bulk in bulks for item in bulk.items]
    assert sorted(map(repr, queue.cleaned_up())) == sorted(map(repr, expected))
    assert not [items for items in queue.cleaned if not items]
    assert (report.stats.received, report.stats.cleaned) == (len(expected), len(expected))
    assert report.stats.revived == 0


def answer_of(bulk: Bulk) -> Callable[[], Any]:
    """A script's answer that gives just this object, written down as given by what it holds."""
    return bulk.answer if callable(bulk.answer) else lambda: bulk.answer


@most_pools
def test_more_than_asked_for(pool: PoolKind) -> None:
    """A queue that gives more than there is room for is not refused: everything it gave is handled."""

    class Generous(ScriptedQueue):
        def get(self, limit: int = 1) -> Any:
            asked.append(limit)
            return super().get()

    asked: list[int] = []
    bulks = [[Item(f"{index}") for index in range(500)] for _ in range(4)]
    queue = Generous(bulks)
    report = run_to_rest(pool.consumer(queue, read_all, messages_bulk_size=10, prefetch=0))
    queue.reconcile(report)
    assert report.stats.cleaned == 2000
    assert max(asked) <= 20  # two handlers, ten items each


@most_pools
def test_bulk_is_cut_into_chunks(pool: PoolKind) -> None:
    """A bulk is cut into chunks of at most `messages_bulk_size`, the last one short, in the order it came in."""
    queue = ScriptedQueue([[Item(f"{index}") for index in range(10)]])
    events = RecordingObserver()
    report = run_to_rest(pool.consumer(queue, read_all, messages_bulk_size=4, observers=[events]))
    queue.reconcile(report)
    chunks = sorted([[int(item.name) for item in event.items] for event in events.of(ChunkStarted)])
    assert chunks == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@most_pools
def test_neighbours_never_pay_for_a_bad_item(pool: PoolKind) -> None:
    """Those behind a failed item stay here and are handled; only the bad one goes back to the queue."""
    items = [Item("first"), Item("bad", "raise"), *(Item(f"{index}") for index in range(8))]
    queue = ScriptedQueue([items])
    report = run_to_rest(pool.consumer(queue, follow, messages_bulk_size=10, backoff=backoff))
    queue.reconcile(report)
    assert queue.released == [([items[1]], BACKOFF)]
    assert {id(item) for item in queue.cleaned_up()} == {id(item) for item in items} - {id(items[1])}


@pytest.mark.parametrize("without", [("cleanup",), ("release",), ("cleanup", "release")], ids=" and ".join)
@most_pools
def test_queue_without_the_verb(pool: PoolKind, without: tuple[str, ...]) -> None:
    """Without `cleanup` what is consumed is done with all the same; without `release` what failed is left."""
    chunks = [[Item("1"), Item("2", "raise"), Item("3")], [Item("4", "drop"), Item("5", "retry")]]
    queue = ScriptedQueue(chunks, without=without)
    report = run_to_rest(pool.consumer(queue, follow, messages_bulk_size=3))
    queue.reconcile(report)
    stats = report.stats
    assert (stats.cleaned, stats.dropped) == (2, 1)
    assert (stats.released, stats.left) == ((0, 2) if "release" in without else (2, 0))


# ---------------------------------------------------------------------------- looking ahead

# What a handler that takes several items before it does the first one's deed leaves of a chunk of ten whose fifth
# item raises: by receipt, the fates in the letters of the table above.
AHEAD: dict[str, dict[Receipt, str]] = {
    # Holding the sixth when the fifth raises: "advance" takes the fifth for consumed. That is why the others are there.
    "zip": {"advance": "cccccbcccc", "return": "bbbbbbcccc", "explicit": "ccccbbcccc"},
    # Holding the eighth.
    "islice": {"advance": "cccccccbcc", "return": "bbbbbbbbcc", "explicit": "ccccbbbbcc"},
    # Holding the fifth, the second one of its pair.
    "pairwise": {"advance": "ccccbccccc", "return": "bbbbbccccc", "explicit": "cccbbccccb"},
    # The end was asked for: nothing is proven.
    "list": {"advance": "bbbbbbbbbb", "return": "bbbbbbbbbb", "explicit": "bbbbbbbbbb"},
    # Holding the sixth.
    "buffered": {"advance": "cccccbcccc", "return": "bbbbbbcccc", "explicit": "ccccbbcccc"},
}


@functools.cache
def looked_ahead(
    pool: PoolKind, receipt: Receipt
) -> tuple[dict[str, list[Item]], dict[str, list[Item]], dict[int, str | float]]:
    """By how they were read: chunks with an item that raises, and chunks without; and what became of them all."""
    failing = {how: [Item(how, "raise" if index == 5 else "") for index in range(1, 11)] for how in AHEAD}
    peaceful = {how: [Item(how) for _ in range(10)] for how in AHEAD}
    queue = ScriptedQueue([*failing.values(), *peaceful.values()])
    handler = Ahead(explicit=receipt == "explicit")
    report = run_to_rest(pool.consumer(queue, handler, messages_bulk_size=10, receipt=receipt, backoff=backoff))
    queue.reconcile(report)
    return failing, peaceful, queue.fates()


@pytest.mark.parametrize("receipt", HANDLERS)
@pytest.mark.parametrize("how", AHEAD)
@most_pools
def test_handlers_that_look_ahead(pool: PoolKind, how: str, receipt: Receipt) -> None:
    """Looking ahead loses items under "advance"; under "return" and "explicit" what was not done comes back."""
    failing, _, fates = looked_ahead(pool, receipt)
    assert letters(fates, failing[how], AHEAD[how][receipt]) == AHEAD[how][receipt]


@pytest.mark.parametrize("receipt", HANDLERS)
@pytest.mark.parametrize("how", AHEAD)
@most_pools
def test_looking_ahead_in_peace(pool: PoolKind, how: str, receipt: Receipt) -> None:
    """Where nothing fails, looking ahead loses nothing; with explicit receipts what was not acknowledged comes back."""
    _, peaceful, fates = looked_ahead(pool, receipt)
    expected = "cccccccccb" if (how, receipt) == ("pairwise", "explicit") else "c" * 10
    assert letters(fates, peaceful[how], expected) == expected


# ---------------------------------------------------------------------------- asynchronous handlers


@pytest.mark.parametrize("size", SIZES)
def test_async_for(size: int) -> None:
    """With `async for` the receipts are those of a plain `for`."""
    rows = [row for row in TABLE if row.receipt == "advance" and not row.kills]
    chunks = [(row, k, items_for(row, size, k)) for row in rows for k in held_in(row, size)]
    queue = ScriptedQueue([items for _, _, items in chunks])
    report = run_to_rest(
        COROUTINES.consumer(queue, follow_async, max_handlers=5, messages_bulk_size=size, backoff=backoff)
    )
    queue.reconcile(report)
    fates = queue.fates()
    for row, k, items in chunks:
        expected = row.fates(size, k)
        assert letters(fates, items, expected) == expected, (row.rule, k)


# ---------------------------------------------------------------------------- one function, one item


@most_pools
def test_each_is_always_right(pool: PoolKind) -> None:
    """With `each` an item's failure is its own: those before it and those behind it in the chunk are done."""
    deeds = ["", "refuse", "", "raise", "retry", "", "exit", "raise odd", "drop", ""]
    expected = "cbcbscbbdc"
    items = [Item(f"{index}", deed) for index, deed in enumerate(deeds)]
    queue = ScriptedQueue([items])
    handler: Any = each_item_async if pool.pool == "coroutines" else each_item
    report = run_to_rest(pool.consumer(queue, handler, messages_bulk_size=10, backoff=backoff))
    queue.reconcile(report)
    assert letters(queue.fates(), items, expected) == expected
    assert (report.stats.failed, report.stats.dropped) == (4, 1)


# ---------------------------------------------------------------------------- the iterator, and run_once


@pytest.mark.parametrize("kind", [THREADS, *WATCHED[:2], COROUTINES], ids=str)
@pytest.mark.parametrize("take", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [1, 3])
def test_iterator_dies_with_its_call(kind: PoolKind, take: int, size: int) -> None:
    """Whoever keeps the iterator beyond the call gets nothing more from it: others handle the rest."""
    kept: list[Iterator[Any]] = []

    def keep(items: Iterator[Any]) -> None:
        kept.append(items)
        for _ in range(take):
            next(items, None)

    queue = ScriptedQueue([[Item(f"{index}") for index in range(3)]])
    report = run_to_rest(kind.consumer(queue, keep, messages_bulk_size=size, backoff=backoff))
    queue.reconcile(report)
    assert [next(items, None) for items in kept] == [None] * len(kept)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("receipt", HANDLERS)
def test_run_once_keeps_to_the_table(receipt: Receipt, size: int) -> None:
    """`run_once` knows the same receipts, and returns when every item of the bulk has its fate."""
    for row in TABLE:
        if row.receipt != receipt or row.kills or row.deed == "interrupt":
            continue
        for k in held_in(row, size):
            items = items_for(row, size, k)
            queue = ScriptedQueue([items])
            consumer: Consumer[Any] = Consumer(
                queue, HANDLERS[receipt], messages_bulk_size=size, receipt=receipt, backoff=backoff
            )
            result = consumer.run_once()
            expected = row.fates(size, k)
            assert letters(queue.fates(), items, expected) == expected, (row.rule, k)
            assert result.succeeded == expected.count("c") + expected.count("d")
            assert result.failed == size - result.succeeded
            report = consumer.shutdown()
            queue.reconcile(report)


def test_run_once_lets_an_interrupt_pass_and_keeps_the_books() -> None:
    """Ctrl-C in `run_once` reaches the caller, after every item of the bulk was given its fate."""
    items = [Item("1"), Item("2", "interrupt"), Item("3")]
    queue = ScriptedQueue([items])
    consumer: Consumer[Any] = Consumer(queue, follow, messages_bulk_size=3, backoff=backoff)
    with pytest.raises(KeyboardInterrupt):
        consumer.run_once()
    queue.reconcile(consumer.shutdown())
    fates = queue.fates()
    assert [fates[id(item)] for item in items] == ["cleaned", BACKOFF, 0.0]
