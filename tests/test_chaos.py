"""Everything that can go wrong, at once, at random: and the ledger, the queue's books and the handlers' notes agree.

As many seeds as fit a budget of time, and a new first seed every time, which is printed when a run fails with the
command that repeats it. From the command line any number:

    python tests/test_chaos.py --seeds 1000 --seed 42 --pool processes
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
import time
import traceback
from collections import Counter

import pytest

from support.chaos import POOLS, PoolName, draw, run

BUDGET = 10.0  # seconds for each pool
LEAST = 6  # seeds, however long they take
ENDED = ("cleaned", "dropped", "released", "left", "tombstoned", "lost", "abandoned")
COUNTED = ("received", *ENDED, "failed", "duplicates", "revived")
TOO_LONG = 150.0  # seconds after which one run has hung


def command(seed: int, pool: PoolName | None) -> str:
    return f"python tests/test_chaos.py --seeds 1 --seed {seed}" + (f" --pool {pool}" if pool else "")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("pool", POOLS)
def test_chaos(pool: PoolName) -> None:
    """Nothing goes missing, nothing is cleaned up that was not consumed or twice, keys keep their order, and nothing
    is left behind.
    """
    first = random.SystemRandom().randrange(1_000_000)
    until = time.monotonic() + BUDGET
    seed = first
    while seed < first + LEAST or time.monotonic() < until:
        try:
            run(draw(seed, pool))
        except BaseException:
            print(f"\nthis was {draw(seed, pool)}\nto repeat it: {command(seed, pool)}", file=sys.stderr)
            raise
        seed += 1
    print(f"seeds {first} to {seed - 1}")


def test_a_seed_makes_one_plan() -> None:
    """What the command repeats is the same plan; and everything that there is is drawn."""
    plans = [draw(seed) for seed in range(100)]
    assert plans == [draw(seed) for seed in range(100)]
    assert {plan.pool for plan in plans} == set(POOLS)
    assert {plan.context for plan in plans} == {None, "fork", "forkserver", "spawn"}
    assert {len(plan.lanes) for plan in plans} == {1, 2, 3}
    assert {plan.aging is None for plan in plans if len(plan.lanes) > 1} == {True, False}
    assert {plan.groups for plan in plans} == {0, 1, 5, 50}
    assert len({plan.lease for plan in plans}) == 4
    assert {plan.age for plan in plans} == {None, 0.7}
    assert all(any(verb in plan.without for plan in plans) for verb in ("identity", "extend", "release"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the chaos test for any number of seeds.")
    parser.add_argument("--seed", type=int, help="the first; by default a random one")
    parser.add_argument("--seeds", type=int, default=100, help="how many (100)")
    parser.add_argument("--pool", choices=POOLS, help="of this kind only; by default as drawn")
    parser.add_argument("--keep-going", action="store_true", help="after a failure")
    arguments = parser.parse_args()
    first: int = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1_000_000)
    failures: list[int] = []
    sums: Counter[str] = Counter()
    print(f"seeds {first} to {first + arguments.seeds - 1}", flush=True)
    for seed in range(first, first + arguments.seeds):
        plan = draw(seed, arguments.pool)
        faulthandler.dump_traceback_later(TOO_LONG, exit=True)
        try:
            stats = run(plan)
        except BaseException as error:
            failures.append(seed)
            traceback.print_exc()
            print(f"this was {plan}\nto repeat it: {command(seed, arguments.pool)}", flush=True)
            if not arguments.keep_going or isinstance(error, KeyboardInterrupt):
                break
        else:
            sums.update({name: getattr(stats, name) for name in COUNTED})
        finally:
            faulthandler.cancel_dump_traceback_later()
    print(f"{len(failures)} failures {failures or ''}; in the others: {dict(sums)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
