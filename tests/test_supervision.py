"""What the supervisor decides, as tables: a look round the line goes in, orders come out; no thread, no clock."""

from __future__ import annotations

import math
import random
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_consumer import CrashLoop, StuckHandlers, Supervision
from queue_consumer._supervision import Died, GiveUp, Order, Revive, Sighting, Stuck, Watch

LONG = 1e9


def watch(*, time_limit: float | None = None, handlers: int = 4, jitter: float = 1.0, **policy: Any) -> Watch:
    """A watch whose chance always draws the same."""
    return Watch(Supervision(**policy), time_limit=time_limit, stuck_limit=handlers, jitter=lambda: jitter)


def dead(place: str = "getter-1", *, productive: bool = False, error: str = "Oops()") -> Sighting:
    return Sighting(place, alive=False, error=error, productive=productive)


def busy(
    place: str = "handler-1",
    item: Any = 1,
    *,
    replaceable: Literal["always", "stand-in"] = "always",
) -> Sighting:
    return Sighting(place, busy=item, replaceable=replaceable)


def revived_after(mind: Watch, now: float, *, productive: bool = False) -> float:
    """Let the one worker die now, and look until it is revived: the delay."""
    orders = mind.look([dead(productive=productive)], now)
    assert isinstance(orders[0], Died)
    delay = orders[0].delay
    if delay:
        assert [type(order) for order in orders] == [Died]
        assert mind.look([dead(productive=productive)], now + delay * 0.99) == []
        orders = mind.look([dead(productive=productive)], now + delay)
    assert isinstance(orders[-1], Revive)
    assert mind.due("getter-1") is None
    return delay


def stuck_of(orders: list[Order]) -> list[Stuck]:
    return [order for order in orders if isinstance(order, Stuck)]


# The dead


def test_nothing_is_ordered_for_the_living() -> None:
    """Workers that live and are not busy for long need nothing."""
    mind = watch()
    assert mind.look([Sighting("getter-1"), busy()], 0.0) == []
    assert mind.look([Sighting("getter-1"), busy(item=2)], 1.0) == []


def test_restart_delays_double_up_to_the_longest() -> None:
    """The delays of restarts in a row are 0.1 s times 2 to the n, and 30 s at most."""
    mind, now, delays = watch(), 0.0, list[float]()
    for _ in range(12):
        delays.append(revived_after(mind, now))
        now += delays[-1]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30])


@pytest.mark.parametrize("jitter", [0.25, 0.5, 1.0])
def test_jitter_is_full(jitter: float) -> None:
    """What chance draws, from 0 up to 1, is multiplied with the whole delay."""
    mind, now = watch(jitter=jitter), 0.0
    for number in range(4):
        delay = revived_after(mind, now)
        now += delay
        assert delay == pytest.approx(jitter * 0.1 * 2**number)


def test_jitter_of_nothing_revives_at_once() -> None:
    """A draw of 0 revives in the same look, and counts as a restart all the same."""
    mind = watch(jitter=0.0)
    assert mind.look([dead()], 0.0) == [Died("getter-1", "Oops()", 0.0), Revive("getter-1", 1)]
    assert mind.look([dead()], 1.0) == [Died("getter-1", "Oops()", 0.0), Revive("getter-1", 2)]


def test_chance_is_random_by_default() -> None:
    """Unless it is injected, chance is the random module's: a fleet does not revive in step."""
    mind = Watch(Supervision(), time_limit=None, stuck_limit=1)
    assert mind._jitter is random.random


def test_base_and_limit_of_restarts_can_be_set() -> None:
    """`restart_base` is the first delay, `restart_limit` the longest."""
    mind, now, delays = watch(restart_base=1, restart_limit=3), 0.0, list[float]()
    for _ in range(4):
        delays.append(revived_after(mind, now))
        now += delays[-1]
    assert delays == pytest.approx([1, 2, 3, 3])


def test_delays_start_again_after_a_quiet_time() -> None:
    """Who lived for a quiet minute after its revival dies for the first time again."""
    mind = watch()
    first = revived_after(mind, 0.0)
    second = revived_after(mind, first + 59.9)
    assert second == pytest.approx(0.2)
    third = revived_after(mind, first + 59.9 + second + 60)
    assert third == pytest.approx(0.1)


def test_quiet_time_can_be_set() -> None:
    """`quiet_time` is how long the quiet must last."""
    mind = watch(quiet_time=5)
    delay = revived_after(mind, 0.0)
    assert revived_after(mind, delay + 5) == pytest.approx(0.1)


def test_productive_workers_are_replaced_at_once() -> None:
    """A worker that had consumed something since its start is replaced in the same look, however often."""
    mind = watch()
    for now in range(20):
        assert mind.look([dead(productive=True)], now) == [
            Died("getter-1", "Oops()", 0.0),
            Revive("getter-1", 1),
        ]


def test_having_been_productive_ends_a_row_of_restarts() -> None:
    """After a productive life the delays begin with the second step: the last restart is remembered, not the row."""
    mind, now = watch(), 0.0
    for _ in range(6):
        now += revived_after(mind, now)
    assert revived_after(mind, now, productive=True) == 0
    assert revived_after(mind, now + 1) == pytest.approx(0.2)


def test_a_death_is_said_once() -> None:
    """While a dead worker waits for its revival, it is not announced again."""
    mind = watch()
    assert [type(order) for order in mind.look([dead()], 0.0)] == [Died]
    assert mind.look([dead()], 0.01) == []
    assert mind.look([dead()], 0.05) == []
    assert mind.look([dead()], 0.1) == [Revive("getter-1", 1)]


def test_revivals_carry_how_often_in_a_row() -> None:
    """`Revive.restarts` counts the restarts since the last quiet time."""
    mind, now, counts = watch(jitter=0.0), 0.0, list[int]()
    for _ in range(3):
        counts += [order.restarts for order in mind.look([dead()], now) if isinstance(order, Revive)]
        now += 1
    counts += [order.restarts for order in mind.look([dead()], now + 60) if isinstance(order, Revive)]
    assert counts == [1, 2, 3, 1]


def test_siblings_are_unaffected() -> None:
    """The delays of one worker are its own: another one's first death is a first death."""
    mind, now = watch(), 0.0
    for _ in range(5):
        now += revived_after(mind, now)
    assert mind.look([dead("getter-2"), Sighting("getter-1")], now) == [Died("getter-2", "Oops()", 0.1)]


def test_who_is_seen_no_more_is_forgotten() -> None:
    """Memory does not grow with places that are gone, and a new worker of that name begins anew."""
    mind, now = watch(), 0.0
    for _ in range(5):
        now += revived_after(mind, now)
    mind.look([], now)
    assert not mind._memory
    assert revived_after(mind, now) == pytest.approx(0.1)


@given(st.integers(min_value=0, max_value=10**6), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_no_number_of_restarts_overflows(restarts: int, drawn: float) -> None:
    """However many restarts there were, the delay is between 0 and the longest."""
    mind = watch(jitter=drawn)
    assert 0 <= mind._delay(restarts) <= 30


# Giving up


@pytest.mark.parametrize("most", [0, 1, 3])
def test_crash_loop_after_more_restarts_than_allowed(most: int) -> None:
    """More than `max_restarts` deaths within `restart_window`: the worker is not revived, and the line gives up."""
    mind = watch(jitter=0.0, max_restarts=most, restart_window=60)
    for now in range(most):
        assert [type(order) for order in mind.look([dead()], now)] == [Died, Revive]
    died, given_up = mind.look([dead(error="the last")], most)
    assert died == Died("getter-1", "the last", math.inf)
    assert isinstance(given_up, GiveUp)
    assert isinstance(given_up.error, CrashLoop)
    assert (given_up.error.worker, given_up.error.restarts) == ("getter-1", most + 1)
    assert str(given_up.error) == f"getter-1 died {most + 1} times within 60 s; the last time of: the last"
    assert mind.look([dead()], most + LONG) == [], "and that is said once"


def test_productive_deaths_count_for_a_crash_loop() -> None:
    """A worker that dies again and again is a crash loop even if it gets something done each time."""
    mind = watch(max_restarts=2)
    orders = [mind.look([dead(productive=True)], now) for now in range(3)]
    assert isinstance(orders[2][-1], GiveUp)


def test_deaths_before_the_window_do_not_count() -> None:
    """Only deaths of the last `restart_window` seconds make a crash loop."""
    mind = watch(jitter=0.0, max_restarts=2, restart_window=10)
    for now in range(0, 200, 5):  # never more than two in ten seconds
        assert [type(order) for order in mind.look([dead()], now)] == [Died, Revive]


def test_crash_loops_are_off_by_default() -> None:
    """Without `max_restarts` a worker is revived for ever."""
    mind = watch(jitter=0.0)
    for number in range(1000):
        assert mind.look([dead()], number / 1000)[-1] == Revive("getter-1", number + 1)


def test_deaths_of_different_workers_are_no_crash_loop() -> None:
    """`max_restarts` is about one worker, not about all of them together."""
    mind = watch(jitter=0.0, max_restarts=1)
    orders = mind.look([dead(f"getter-{number}") for number in range(10)], 0.0)
    assert not [order for order in orders if isinstance(order, GiveUp)]


# The stuck


@pytest.mark.parametrize("replaceable", ["always", "stand-in"])
def test_stuck_is_only_said_aloud_unless_stuck_time_was_set(replaceable: Any) -> None:
    """Busy with one item for 60 s is stuck; nothing more follows while `stuck_time` is not set."""
    mind = watch()
    seen = [busy(replaceable=replaceable)]
    assert mind.look(seen, 0.0) == []
    assert mind.look(seen, 59.9) == []
    assert mind.look(seen, 60.0) == [Stuck("handler-1", 60.0, "stuck_time", replace=False)]


@pytest.mark.parametrize("replaceable", ["always", "stand-in"])
def test_a_stuck_handlers_place_is_freed_if_stuck_time_was_set(replaceable: Any) -> None:
    """With `stuck_time` set, whatever is stuck is replaced: process, task, or the thread's place."""
    mind = watch(stuck_time=5)
    seen = [busy(replaceable=replaceable)]
    mind.look(seen, 0.0)
    assert mind.look(seen, 5.0) == [Stuck("handler-1", 5.0, "stuck_time", replace=True)]


def test_stuck_is_said_once_for_an_item() -> None:
    """The same handler with the same item is not announced twice."""
    mind = watch()
    assert len(stuck_of([order for now in (0.0, 60.0, 61.0, 600.0) for order in mind.look([busy()], now)])) == 1


def test_stuck_is_said_anew_for_another_item() -> None:
    """The next item has all its time, and is announced for itself."""
    mind = watch()
    mind.look([busy(item=1)], 0.0)
    assert stuck_of(mind.look([busy(item=1)], 60.0))
    assert mind.look([busy(item=2)], 61.0) == []
    assert mind.look([busy(item=2)], 120.9) == []
    assert stuck_of(mind.look([busy(item=2)], 121.0))


def test_time_between_items_does_not_count() -> None:
    """A handler that was idle in between is not stuck, whatever came before."""
    mind = watch()
    mind.look([busy()], 0.0)
    mind.look([Sighting("handler-1")], 30.0)
    mind.look([busy()], 59.0)
    assert mind.look([busy()], 60.0) == []


@pytest.mark.parametrize(("replaceable", "ended"), [("always", True), ("stand-in", False)])
def test_time_limit_ends_what_can_be_ended(replaceable: Any, ended: bool) -> None:
    """An item over its `time_limit` is ended in a process or a task, and only said aloud of a thread."""
    mind = watch(time_limit=2)
    seen = [busy(replaceable=replaceable)]
    mind.look(seen, 0.0)
    assert mind.look(seen, 1.9) == []
    assert mind.look(seen, 2.0) == [Stuck("handler-1", 2.0, "time_limit", replace=ended)]
    assert mind.look(seen, 3.0) == [], "and that is said once"


def test_both_limits_may_be_told_of_one_item() -> None:
    """An item that outlives both limits is told of once for each."""
    mind = watch(time_limit=2, stuck_time=5)
    mind.look([busy(replaceable="stand-in")], 0.0)
    told = [order for now in range(10) for order in mind.look([busy(replaceable="stand-in")], now)]
    assert [(order.limit, order.replace) for order in stuck_of(told)] == [
        ("time_limit", False),
        ("stuck_time", True),
    ]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_more_stuck_than_the_limit_give_up(limit: int) -> None:
    """With `stuck_time` set, more than `stuck_limit` handlers stuck at once are StuckHandlers; 0 is a limit."""
    mind = watch(stuck_time=5, stuck_limit=limit)

    def seen(count: int) -> list[Sighting]:
        return [busy(f"handler-{number}", replaceable="stand-in") for number in range(count)]

    mind.look(seen(limit), 0.0)
    assert not [order for order in mind.look(seen(limit), 6.0) if isinstance(order, GiveUp)]
    mind.look(seen(limit + 1), 7.0)
    (given_up,) = [order for order in mind.look(seen(limit + 1), 12.0) if isinstance(order, GiveUp)]
    assert isinstance(given_up.error, StuckHandlers)
    assert str(given_up.error) == f"Number of stuck handlers {limit + 1} more than limit {limit}"


def test_the_limit_is_the_number_of_handlers_by_default() -> None:
    """Without a `stuck_limit`, as many may be stuck as there are handlers."""
    mind = watch(stuck_time=5, handlers=2)
    stray = Sighting("handler-1", busy=1, replaceable="stand-in", place_lost=True)
    assert mind.look([stray, stray], 0.0) == []
    (given_up,) = mind.look([stray, stray, stray], 1.0)
    assert isinstance(given_up, GiveUp)


def test_a_thread_whose_place_was_given_away_still_counts_as_stuck() -> None:
    """Strays count towards the limit until they end, and are not announced again."""
    mind = watch(stuck_time=5, stuck_limit=0)
    stray = Sighting("handler-1", busy=1, replaceable="stand-in", place_lost=True)
    (given_up,) = mind.look([stray, Sighting("handler-1")], 0.0)
    assert isinstance(given_up, GiveUp)
    assert mind.look([Sighting("handler-1")], 1.0) == []


def test_nobody_gives_up_for_the_stuck_unless_stuck_time_was_set() -> None:
    """While stuck handlers are only said aloud, no number of them stops the consumer."""
    mind = watch(stuck_limit=0)
    mind.look([busy()], 0.0)
    assert [type(order) for order in mind.look([busy()], 60.0)] == [Stuck]


# When to look


def test_next_look_is_after_the_polling_time() -> None:
    """While nothing is due, the next look is `polling_time` away."""
    assert watch(polling_time=7).next_due(0.0) == 7


def test_next_look_is_in_time_for_a_revival() -> None:
    """A revival that is due sooner shortens the wait, down to a thousandth of a second and not to none."""
    mind = watch(polling_time=7)
    mind.look([dead()], 0.0)
    assert mind.due("getter-1") == pytest.approx(0.1)
    assert mind.next_due(0.04) == pytest.approx(0.06)
    assert mind.next_due(5.0) == 0.001


@pytest.mark.parametrize("policy", [{"stuck_time": 2}, {"time_limit": 2}])
def test_limits_shorten_the_wait(policy: dict[str, Any]) -> None:
    """What is stuck, or over its time, is seen a quarter late at most."""
    assert watch(polling_time=7, **policy).next_due(0.0) == 0.5


# What may be said


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("polling_time", 0, ValueError),
        ("polling_time", -1, ValueError),
        ("polling_time", math.inf, ValueError),
        ("polling_time", math.nan, ValueError),
        ("polling_time", "1", TypeError),
        ("polling_time", True, TypeError),
        ("polling_time", None, TypeError),
        ("stuck_time", 0, ValueError),
        ("stuck_time", "60", TypeError),
        ("stuck_limit", -1, ValueError),
        ("stuck_limit", 1.5, TypeError),
        ("max_restarts", -1, ValueError),
        ("restart_window", 0, ValueError),
        ("restart_base", 0, ValueError),
        ("restart_limit", 0, ValueError),
        ("quiet_time", 0, ValueError),
        ("stall_time", 0, ValueError),
        ("recycle_after", 0, ValueError),
        ("recycle_memory", 0, ValueError),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(setting: str, value: Any, error: type[Exception]) -> None:
    """A wrong setting is refused with its name, its value and what is allowed."""
    with pytest.raises(error, match=f"^Supervision: {setting} must be .*; got ") as caught:
        Supervision(**{setting: value})
    assert str(caught.value).endswith(f"got {value!r}")


def test_settings_change_one_at_a_time() -> None:
    """`but` changes what is named, and checks it like the rest."""
    policy = Supervision(stuck_time=5).but(polling_time=2)
    assert (policy.stuck_time, policy.polling_time) == (5, 2)
    with pytest.raises(ValueError, match="polling_time"):
        policy.but(polling_time=0)
