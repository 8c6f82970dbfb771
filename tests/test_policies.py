"""When a failed item is seen again, and when a consumer has done enough."""

from __future__ import annotations

import itertools
import math
import pickle
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_consumer import Constant, Exponential, Idle, MaxItems, State, Stats

# Back-off.


@pytest.mark.parametrize("attempt", [1, 2, 1000])
def test_constant_is_the_same_after_every_attempt(attempt: int) -> None:
    """A constant back-off does not look at the attempt."""
    assert Constant(2.5)(attempt) == 2.5


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (Exponential(jitter=False), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
        (Exponential(base=0.5, factor=3, max=10, jitter=False), [0.5, 1.5, 4.5, 10, 10]),
        (Exponential(base=7, factor=1, jitter=False), [7, 7, 7]),
        (Exponential(base=0, jitter=False), [0, 0, 0]),
    ],
)
def test_exponential_grows_up_to_its_maximum(backoff: Exponential, delays: list[float]) -> None:
    """The first attempt waits `base`, each further one `factor` times as long, and none longer than `max`."""
    assert [backoff(attempt) for attempt in range(1, len(delays) + 1)] == delays


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.5), (0.5, 0.75), (0.9375, 0.96875)])
def test_jitter_draws_between_half_the_delay_and_all_of_it(chance: float, share: float) -> None:
    """With jitter no item comes back at once, and none later than without."""
    backoff = Exponential(base=8, random=lambda: chance)
    assert backoff(1) == 8 * share


@given(
    base=st.floats(0, 1e6),
    factor=st.floats(1, 1e6),
    more=st.floats(0, 1e6),
    attempt=st.integers(-10, 10**30),
)
def test_exponential_is_never_more_than_its_maximum(base: float, factor: float, more: float, attempt: int) -> None:
    """Whatever the attempt, however large: a delay is from 0 to `max`, and nothing overflows."""
    assert 0 <= Exponential(base=base, factor=factor, max=base + more)(attempt) <= base + more


def test_an_attempt_below_the_first_counts_as_the_first() -> None:
    """Queues that count from 0 get the delay of a first attempt."""
    assert Exponential(base=3, jitter=False)(0) == Exponential(base=3, jitter=False)(-5) == 3


def test_delays_are_floats() -> None:
    """Seconds are floats, whatever they were given as."""
    assert [type(backoff(1)) for backoff in (Constant(1), Exponential(), Exponential(jitter=False))] == [float] * 3


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "sentence"),
    [
        (Constant, {"seconds": -1}, ValueError, "Constant: seconds must be a number of at least 0; got -1"),
        (Constant, {"seconds": "1"}, TypeError, "Constant: seconds must be a number of at least 0; got '1'"),
        (
            Constant,
            {"seconds": True},
            TypeError,
            "Constant: seconds must be a number of at least 0; got True",
        ),
        (
            Constant,
            {"seconds": math.nan},
            ValueError,
            "Constant: seconds must be a number of at least 0; got nan",
        ),
        (Exponential, {"base": -1}, ValueError, "Exponential: base must be a number of at least 0; got -1"),
        (
            Exponential,
            {"factor": 0.5},
            ValueError,
            "Exponential: factor must be a number of at least 1; got 0.5",
        ),
        (
            Exponential,
            {"base": 10, "max": 5},
            ValueError,
            "Exponential: max must be a number of at least 10 (base); got 5",
        ),
        (
            Exponential,
            {"max": math.inf},
            ValueError,
            "Exponential: max must be a number of at least 1 (base); got inf",
        ),
        (Exponential, {"jitter": 1}, TypeError, "Exponential: jitter must be True or False; got 1"),
        (Exponential, {"random": 0.5}, TypeError, "Exponential: random must be callable; got 0.5"),
        (Idle, {"seconds": -0.1}, ValueError, "Idle: seconds must be a number of at least 0; got -0.1"),
        (Idle, {"seconds": None}, TypeError, "Idle: seconds must be a number of at least 0; got None"),
        (MaxItems, {"n": 0}, ValueError, "MaxItems: n must be a whole number of at least 1; got 0"),
        (MaxItems, {"n": 1.5}, TypeError, "MaxItems: n must be a whole number of at least 1; got 1.5"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(
    kind: Any, arguments: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    """The sentence names the parameter, what is allowed, and the value."""
    with pytest.raises(error) as raised:
        kind(**arguments)
    assert str(raised.value) == sentence


# Stop conditions.


def stats(**facts: Any) -> Stats:
    return Stats(state=State.RUNNING, **facts)


@pytest.mark.parametrize(
    ("idle", "in_flight", "stop"),
    [(4.9, 0, False), (5.0, 0, True), (6.0, 0, True), (6.0, 1, False)],
)
def test_idle_needs_quiet_and_nothing_in_flight(idle: float, in_flight: int, stop: bool) -> None:
    """An item that takes long is no idleness."""
    assert Idle(5)(stats(idle=idle, in_flight=in_flight)) is stop


@pytest.mark.parametrize(
    ("facts", "stop"),
    [
        ({"received": 9, "in_flight": 9}, False),
        ({"cleaned": 2}, False),
        ({"cleaned": 3}, True),
        ({"cleaned": 2, "dropped": 1}, True),
        ({"cleaned": 2, "tombstoned": 1}, True),
        ({"cleaned": 2, "left": 1}, True),
        ({"cleaned": 2, "released": 50}, False),
    ],
)
def test_max_items_counts_every_end_but_release(facts: dict[str, int], stop: bool) -> None:
    """What was released comes again, so it has not been dealt with."""
    assert MaxItems(3)(stats(**facts)) is stop


@pytest.mark.parametrize(("one", "other"), [*itertools.product([False, True], repeat=2)])
def test_conditions_combine(one: bool, other: bool) -> None:
    """`&` holds when both hold and `|` when either does; the other may be any callable, on either side."""
    mine = MaxItems(1)
    facts = stats(cleaned=int(one))

    def theirs(stats: Stats) -> bool:
        return other

    assert (mine & theirs)(facts) is (theirs & mine)(facts) is (one and other)
    assert (mine | theirs)(facts) is (theirs | mine)(facts) is (one or other)


def test_combinations_combine() -> None:
    """A combination is a condition like any other."""
    condition = (Idle(1) | MaxItems(10)) & MaxItems(5)
    assert [condition(stats(cleaned=cleaned, idle=idle)) for cleaned, idle in [(5, 0), (5, 1), (10, 0), (4, 1)]] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("wrong", [True, 5, None, "idle"])
def test_conditions_combine_with_callables_only(wrong: Any) -> None:
    """A forgotten `Idle(...)` around a number is found where it stands."""
    for combine in ("__and__", "__rand__", "__or__", "__ror__"):
        assert getattr(Idle(1), combine)(wrong) is NotImplemented
    with pytest.raises(TypeError, match="unsupported operand"):
        bool(Idle(1) & wrong)


@pytest.mark.parametrize("policy", [Constant(1), Exponential(jitter=False), Idle(1) & MaxItems(2) | Idle(3)])
def test_policies_are_values(policy: Any) -> None:
    """Policies compare by what they say, show it, and pickle."""
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert type(policy).__name__ in repr(policy)


def test_exponential_with_jitter_pickles() -> None:
    """The default source of chance is no obstacle to sending a back-off to another process."""
    copy: Exponential = pickle.loads(pickle.dumps(Exponential(base=2)))
    assert 1 <= copy(1) <= 2
    assert copy == Exponential(base=2)


def test_the_largest_attempt_is_the_maximum() -> None:
    """A receive count that no float can hold gives the longest delay, and no OverflowError."""
    assert Exponential(jitter=False)(sys.maxsize**10) == 300
    assert Exponential(base=0, jitter=False)(sys.maxsize**10) == 0
