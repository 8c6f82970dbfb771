"""The receipt rule, row by row, as pure tables: `judge` for all chunk sizes, receipts and endings."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_consumer import Drop, Failed, Failure, Feed, Receipts, Retry
from queue_consumer._chunk import (
    CONSUMED,
    RECEIPTS,
    RETURNED,
    Chunk,
    Ending,
    Fate,
    Receipt,
    Verdict,
    is_consumed,
    judge,
    raised,
    returned,
)
from support.handlers import Odd, Unspeakable

SIZES = (1, 2, 3, 10, 42)
WHY = Failure("Failing", "as told")

RAISED = Ending("raised", WHY)
DIED = Ending("died", WHY)
REFUSED = Ending("refused", WHY)
RETRY = raised(Retry(7), {})
DROP = raised(Drop("enough"), {})

ADVANCE: tuple[Receipt, ...] = ("advance",)
RETURN: tuple[Receipt, ...] = ("return",)
EXPLICIT: tuple[Receipt, ...] = ("explicit",)
SILENT: tuple[Receipt, ...] = ("advance", "return")  # where the handler itself says nothing of single items


Fates: TypeAlias = Callable[[int, int], str]
"""Of a chunk of n, of which k were taken, a letter for each item:

c consumed · d dropped · f failed · r to be retried · "." not taken, and so another handler's
"""


def whole(letter: str) -> Fates:
    return lambda n, k: letter * n


def first(letter: str) -> Fates:
    return lambda n, k: letter + "." * (n - 1)


def taken(letter: str) -> Fates:
    return lambda n, k: letter * k + "." * (n - k)


def held(letter: str, before: str = "c") -> Fates:
    return lambda n, k: before * (k - 1) + letter + "." * (n - k)


def only_of_one(letter: str, otherwise: str) -> Fates:
    return lambda n, k: letter if n == 1 else otherwise * n


class Row(NamedTuple):
    """One row. `reached`: "none" was taken, "some" (any number), "all", or it was asked past the "end"."""

    rule: str
    receipts: tuple[Receipt, ...]
    ending: Ending
    reached: str
    fates: Fates

    @property
    def exhausted(self) -> bool:
        return self.reached == "end"

    def numbers_taken(self, size: int) -> list[int]:
        return {"none": [0], "some": list(range(1, size + 1))}.get(self.reached, [size])


TABLE = (
    Row("returned after reading all", SILENT, RETURNED, "end", whole("c")),
    Row("returned with the last item, not having asked again", SILENT, RETURNED, "all", whole("c")),
    Row("returned early", SILENT, RETURNED, "some", taken("c")),
    Row("returned without taking any", RECEIPTS, RETURNED, "none", whole(".")),
    Row("raised while holding an item", ADVANCE, RAISED, "some", held("f")),
    Row("raised before taking any", RECEIPTS, RAISED, "none", first("f")),
    Row("raised after asking past the end", RECEIPTS, RAISED, "end", whole("f")),
    Row("its process died while holding an item", ADVANCE, DIED, "some", held("f")),
    Row("its process died before taking any", RECEIPTS, DIED, "none", first("f")),
    Row("its process died after asking past the end", RECEIPTS, DIED, "end", whole("f")),
    Row("Retry while holding an item", ADVANCE, RETRY, "some", held("r")),
    Row("Retry before taking any", RECEIPTS, RETRY, "none", first("r")),
    Row("Retry after asking past the end", SILENT, RETRY, "end", whole("r")),
    Row("Drop while holding an item", ADVANCE, DROP, "some", held("d")),
    Row("Drop before taking any", RECEIPTS, DROP, "none", first("f")),
    Row("Drop after asking past the end", SILENT, DROP, "end", only_of_one("d", otherwise="f")),
    Row("returned a generator or an awaitable", RECEIPTS, REFUSED, "none", whole("f")),
    Row("return: raised while holding an item", RETURN, RAISED, "some", taken("f")),
    Row("return: its process died while holding an item", RETURN, DIED, "some", taken("f")),
    Row("return: Retry while holding an item", RETURN, RETRY, "some", taken("r")),
    Row("return: Drop while holding an item", RETURN, DROP, "some", held("d", before="r")),
    Row("explicit: returned, having said nothing", EXPLICIT, RETURNED, "some", taken("f")),
    Row("explicit: returned, having read all and said nothing", EXPLICIT, RETURNED, "end", whole("f")),
    Row("explicit: raised, having said nothing", EXPLICIT, RAISED, "some", taken("f")),
    Row("explicit: its process died, having said nothing", EXPLICIT, DIED, "some", taken("f")),
)


def letters(verdict: Verdict, size: int) -> str:
    """A verdict in the notation of the table."""
    fates = [""] * size
    for index in verdict.consumed:
        fates[index] += "c"
    for index in verdict.dropped:
        fates[index] += "d"
    for index, fate in verdict.failed:
        fates[index] += "f" if fate.failure is not None else "r"
    for index in verdict.rest:
        fates[index] += "."
    return "".join(letter or "?" for letter in fates)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.rule)
def test_receipt_table(row: Row) -> None:
    """Each row of the receipt table holds for chunks of every size, and however many items were taken."""
    for receipt in row.receipts:
        for size in SIZES:
            for count in row.numbers_taken(size):
                verdict = judge(receipt, size, count, row.exhausted, row.ending)
                assert letters(verdict, size) == row.fates(size, count), (receipt, size, count)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.rule)
def test_passed_only_if_it_returned_and_left_something(row: Row) -> None:
    """Only what a handler left lying when it returned counts as passed over; after a failure it was not shown."""
    for receipt in row.receipts:
        for size in SIZES:
            for count in row.numbers_taken(size):
                verdict = judge(receipt, size, count, row.exhausted, row.ending)
                assert verdict.passed == (row.ending.how == "returned" and count < size)


def test_unopened_chunk_fails_the_item_that_cannot_be_opened() -> None:
    """A call that was never made, for an item that cannot be sent, fails that one; the others are handed on."""
    fate = Fate("failed", None, WHY)
    for receipt in RECEIPTS:
        for size in SIZES:
            for bad in {0, size // 2, size - 1}:
                verdict = judge(receipt, size, 0, False, Ending("unopened", WHY, None, {bad: fate}))
                assert letters(verdict, size) == "." * bad + "f" + "." * (size - bad - 1)


def test_table_has_a_row_for_every_ending() -> None:
    """Nothing that a handler call can come to is left out of the table, for any receipt."""
    hows = set(get_args(get_type_hints(Ending)["how"]))
    assert {row.ending.how for row in TABLE} == hows - {"unopened"}
    for receipt in RECEIPTS:
        for how in ("returned", "raised", "died"):
            rows = [row for row in TABLE if receipt in row.receipts and row.ending.how == how]
            assert {row.reached for row in rows} >= {"none", "some", "end"}, (receipt, how)


@pytest.mark.parametrize("size", SIZES)
def test_retry_keeps_its_delay(size: int) -> None:
    """`Retry(delay)` is passed on with its delay and without a failure: it is no error."""
    for count in range(size + 1):
        verdict = judge("advance", size, count, False, RETRY)
        assert [fate for _, fate in verdict.failed] == [Fate("failed", 7, None)]
    if size > 1:
        verdict = judge("advance", size, size, True, RETRY)
        assert [fate for _, fate in verdict.failed] == [Fate("failed", 7, None)] * size


def test_drop_that_speaks_of_no_item_says_so() -> None:
    """A `Drop` before any item, or after the end, is a failure with a sentence, not a silent retry for ever."""
    for count, exhausted in ((0, False), (10, True)):
        for _, fate in judge("advance", 10, count, exhausted, DROP).failed:
            assert fate.failure is not None
            assert "Drop" in str(fate.failure)


def test_death_without_a_reason_is_still_a_failure() -> None:
    """An item whose worker died is counted as failed even where nobody could say what of."""
    [(index, fate)] = judge("advance", 3, 2, False, Ending("died")).failed
    assert index == 1
    assert fate.failure is not None


FATES = st.sampled_from([CONSUMED, Fate("dropped"), Fate("failed", None, WHY), Fate("failed", 3.0)])


@st.composite
def calls(draw: st.DrawFn) -> tuple[Receipt, int, int, bool, Ending]:
    """How a call may have gone: any receipt, any size, any position, any ending."""
    receipt = draw(st.sampled_from(RECEIPTS))
    size = draw(st.integers(1, 50))
    count = draw(st.integers(0, size))
    exhausted = draw(st.booleans()) if count else False
    how = draw(st.sampled_from(["returned", "raised", "died", "refused"]))
    decided = draw(st.dictionaries(st.integers(0, count - 1), FATES)) if count else {}
    signal = draw(st.sampled_from([None, Fate("failed", 7), Fate("dropped")])) if how == "raised" else None
    failure = WHY if how != "returned" and signal is None else None
    return receipt, size, count, exhausted, Ending(how, failure, signal, decided)  # type: ignore[arg-type]


@given(calls())
def test_every_item_has_exactly_one_fate(call: tuple[Receipt, int, int, bool, Ending]) -> None:
    """Consumed, dropped, failed and rest share out all positions: none twice, none forgotten, each in order."""
    receipt, size, count, exhausted, ending = call
    verdict = judge(receipt, size, count, exhausted, ending)
    failed = [index for index, _ in verdict.failed]
    parts = (verdict.consumed, verdict.dropped, failed, verdict.rest)
    assert sorted(index for part in parts for index in part) == list(range(size))
    assert all(part == sorted(part) for part in parts)


@given(calls())
def test_only_what_was_taken_is_cleaned_up(call: tuple[Receipt, int, int, bool, Ending]) -> None:
    """An item that no handler saw is never consumed and never dropped."""
    receipt, size, count, exhausted, ending = call
    verdict = judge(receipt, size, count, exhausted, ending)
    assert all(index < count for index in (*verdict.consumed, *verdict.dropped))


@given(calls())
def test_nothing_is_consumed_after_a_raise_past_the_end(call: tuple[Receipt, int, int, bool, Ending]) -> None:
    """Once the end was asked for, a raise or a death proves nothing: only what was acknowledged is consumed."""
    receipt, size, count, _, ending = call
    if ending.how not in ("raised", "died"):
        return
    verdict = judge(receipt, size, count, True, ending)
    assert all(ending.decided.get(index) is CONSUMED for index in verdict.consumed)


@given(calls())
def test_what_needs_no_verdict_is_consumed(call: tuple[Receipt, int, int, bool, Ending]) -> None:
    """Where the short way says that all is consumed, so would the verdict."""
    receipt, size, taken, exhausted, ending = call
    if is_consumed(receipt, size, taken, ending):
        assert judge(receipt, size, taken, exhausted, ending) == Verdict(consumed=list(range(size)))


@pytest.mark.parametrize("receipt", RECEIPTS)
@pytest.mark.parametrize("size", SIZES)
def test_what_needs_no_verdict(receipt: Receipt, size: int) -> None:
    """A handler that took all and returned; where it has to say so, it acknowledged each, and nothing else will do."""
    said = dict.fromkeys(range(size), CONSUMED) if receipt == "explicit" else {}
    assert is_consumed(receipt, size, size, Ending("returned", decided=said))
    assert not is_consumed(receipt, size, size, Ending("raised", WHY, decided=said))
    assert not is_consumed(receipt, size, size, Ending("returned", decided={**said, size - 1: Fate("dropped")}))
    if size > 1:
        assert not is_consumed(receipt, size, size - 1, Ending("returned", decided=said))
        assert not is_consumed(receipt, size, size, Ending("returned", decided={0: CONSUMED}))


@given(calls())
def test_what_the_handler_decided_stands(call: tuple[Receipt, int, int, bool, Ending]) -> None:
    """What was said of an item while it was held is not changed by how the call ended."""
    receipt, size, count, exhausted, ending = call
    verdict = judge(receipt, size, count, exhausted, ending)
    failed = dict(verdict.failed)
    for index, fate in ending.decided.items():
        match fate.name:
            case "consumed":
                assert index in verdict.consumed
            case "dropped":
                assert index in verdict.dropped
            case "failed":
                assert failed[index] is fate


@given(calls())
def test_the_unseen_are_not_punished(call: tuple[Receipt, int, int, bool, Ending]) -> None:
    """What stood behind a failed item is handed on; only the first of a chunk can fail without being taken."""
    receipt, size, count, exhausted, ending = call
    verdict = judge(receipt, size, count, exhausted, ending)
    if ending.how != "refused":
        first_unseen = count if count or ending.how == "returned" else 1
        assert verdict.rest == list(range(first_unseen, size))


@given(calls())
def test_endings_are_plain_values(call: tuple[Receipt, int, int, bool, Ending]) -> None:
    """How a call ended can cross a process boundary."""
    ending = call[-1]
    assert pickle.loads(pickle.dumps(ending)) == ending


# ---------------------------------------------------------------------------- the handler's iterator


def chunk_of(*items: Any) -> Chunk:
    return Chunk(list(items), None)


ITERATORS: dict[str, Callable[[Chunk], Iterator[Any]]] = {
    "feed": lambda chunk: chunk.feed(),
    "Feed": lambda chunk: Feed[Any](chunk),
    "Receipts": lambda chunk: Receipts[Any](chunk),
}
every_iterator = pytest.mark.parametrize("iterator", ITERATORS.values(), ids=ITERATORS)


@every_iterator
def test_asking_for_the_next_is_written_down_before_it_is_given(
    iterator: Callable[[Chunk], Iterator[Any]],
) -> None:
    """The chunk knows how many items were taken at every moment, and whether the end was asked for."""
    chunk = chunk_of("a", "b")
    items = iterator(chunk)
    assert (chunk.taken, chunk.exhausted) == (0, False)
    assert next(items) == "a"
    assert (chunk.taken, chunk.exhausted) == (1, False)
    assert next(items) == "b"
    assert (chunk.taken, chunk.exhausted) == (2, False)
    assert next(items, None) is None
    assert (chunk.taken, chunk.exhausted) == (2, True)


@every_iterator
def test_halted_chunk_gives_no_more(iterator: Callable[[Chunk], Iterator[Any]]) -> None:
    """A chunk that was halted ends at the next item boundary."""
    chunk = chunk_of("a", "b", "c")
    items = iterator(chunk)
    next(items)
    chunk.halted = True
    assert list(items) == []
    assert chunk.taken == 1


def test_feed_of_one_is_like_any_other() -> None:
    """The cheaper iterator over a single item keeps the same notes."""
    chunk = chunk_of("a")
    items = chunk.feed_one("a")
    assert next(items) == "a"
    assert (chunk.taken, chunk.exhausted) == (1, False)
    assert next(items, None) is None
    assert (chunk.taken, chunk.exhausted) == (1, True)


def test_ack_and_fail_go_by_identity() -> None:
    """Of two equal items the one that was passed is meant."""
    one, other = [1], [1]
    chunk = chunk_of(one, other)
    receipts = Receipts[Any](chunk)
    list(receipts)
    receipts.ack(other)
    receipts.fail(one, delay=2)
    assert receipts.decided[1] is CONSUMED
    assert (receipts.decided[0].name, receipts.decided[0].delay) == ("failed", 2)


def test_same_object_twice_in_a_chunk() -> None:
    """An object that a chunk holds twice is acknowledged twice, once for each of its places."""
    item = object()
    receipts = Receipts[Any](chunk_of(item, item))
    list(receipts)
    receipts.ack(item)
    receipts.ack(item)
    assert sorted(receipts.decided) == [0, 1]


def test_receipt_for_what_was_not_taken_is_refused() -> None:
    """A stranger, an item not taken yet, and an item decided on already cannot be acknowledged or failed."""
    one, other = object(), object()
    receipts = Receipts[Any](chunk_of(one, other))
    next(receipts)
    receipts.ack(one)
    for item in (object(), other, one):
        with pytest.raises(ValueError, match="taken and is undecided"):
            receipts.ack(item)
        with pytest.raises(ValueError, match="taken and is undecided"):
            receipts.fail(item)


def test_delay_of_fail_is_checked() -> None:
    """A delay that is none is refused with its value."""
    receipts = Receipts[Any](chunk_of("a"))
    item = next(receipts)
    with pytest.raises(ValueError, match=r"delay must be at least 0 seconds.*got -1"):
        receipts.fail(item, delay=-1)


def test_fail_takes_the_signals_too() -> None:
    """`fail` with a `Retry` or a `Drop` means what raising it would mean for this one item."""
    receipts = Receipts[Any](chunk_of("a", "b", "c", "d"))
    retried, dropped, failed, overridden = receipts
    receipts.fail(retried, error=Retry(3))
    receipts.fail(dropped, error=Drop("enough"))
    receipts.fail(failed, error=Odd(1, "odd"))
    receipts.fail(overridden, delay=1, error=Retry(3))
    assert receipts.decided[0] == Fate("failed", 3)
    assert receipts.decided[1] == Fate("dropped")
    assert receipts.decided[2].failure is not None
    assert receipts.decided[2].failure.message == "1: odd"
    assert receipts.decided[3].delay == 1


# ---------------------------------------------------------------------------- what a handler returned or raised


def test_failed_names_its_items_by_identity() -> None:
    """`Failed(items)` fails those very objects, and the rest of what was taken is consumed."""
    items = [[1], [1], [2]]
    ending = returned(Failed([items[1]]), items, {})
    verdict = judge("return", 3, 3, True, ending)
    assert letters(verdict, 3) == "cfc"


def test_failed_takes_back_an_acknowledgement() -> None:
    """What is returned as failed is failed, even if it had been acknowledged."""
    items = [object(), object()]
    ending = returned(Failed([items[0]]), items, {0: CONSUMED, 1: CONSUMED})
    assert letters(judge("explicit", 2, 2, True, ending), 2) == "fc"


def test_failed_with_a_stranger_is_a_failure() -> None:
    """`Failed` with an object that is not of the chunk proves that the handler is wrong: the chunk fails."""
    items = [object(), object()]
    ending = returned(Failed([object()]), items, {})
    assert letters(judge("return", 2, 2, True, ending), 2) == "ff"
    assert ending.failure is not None
    assert "not an item of this chunk" in ending.failure.message


def test_acknowledgement_outlives_a_wrong_failed() -> None:
    """What was acknowledged stays consumed, though the handler then returned nonsense."""
    items = [object(), object()]
    ending = returned(Failed([object()]), items, {0: CONSUMED})
    assert letters(judge("explicit", 2, 2, True, ending), 2) == "cf"


@pytest.mark.parametrize(
    "value", [None, True, False, 0, "failed", [1], object()], ids=lambda value: type(value).__name__
)
def test_other_return_values_mean_nothing(value: object) -> None:
    """Only `Failed` has a meaning; `False` is for functions of one item."""
    assert returned(value, ["a"], {}) is RETURNED


def test_returning_what_has_yet_to_run_is_refused() -> None:
    """A generator or an awaitable that comes back means that nothing was handled, and the sentence says so."""

    def generator() -> Iterator[None]:
        yield

    async def coroutine() -> None: ...

    awaitable = coroutine()
    for value in (generator(), awaitable):
        ending = returned(value, ["a", "b"], {})
        assert ending.how == "refused"
        assert ending.failure is not None
        assert type(value).__name__ in ending.failure.message
        assert "nothing of it has run" in ending.failure.message
    awaitable.close()


def test_failure_is_told_in_plain_words() -> None:
    """A failure keeps the kind, the message and the traceback of what was raised, as text."""
    try:
        raise Odd(7, "seven")
    except Odd as error:
        failure = Failure.of(error)
    assert (failure.kind, failure.message) == ("support.handlers.Odd", "7: seven")
    assert "test_failure_is_told_in_plain_words" in failure.traceback
    assert str(failure) == "support.handlers.Odd: 7: seven"
    assert pickle.loads(pickle.dumps(failure)) == failure


def test_failure_of_an_exception_without_words() -> None:
    """An exception that cannot say what it is fails its item all the same."""
    failure = Failure.of(Unspeakable())
    assert failure.kind == "support.handlers.Unspeakable"
    assert "RuntimeError" in failure.message


def test_signals_are_no_failures() -> None:
    """`Retry` and `Drop` leave no failure to be logged."""
    assert raised(Retry(), {}).failure is None
    assert raised(Drop(), {}).failure is None
    with pytest.raises(ValueError, match=r"delay must be at least 0.*got -1"):
        Retry(-1)
