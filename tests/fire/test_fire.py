"""A short run of each kind through the fire, with fixed seeds; the long one is `make fire`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from fire.plan import COMBINATIONS, Combination, planned
from fire.report import findings, tables
from fire.run import chosen, forget_keys, play, shares

# A combination, a seed, and how many messages. A run that found something is to be added, with a word on what it was.
EXAMPLES = [
    (Combination("standard", "processes"), 5, 120),
    (Combination("fifo", "threads"), 5, 120),
    (Combination("bulks", "coroutines"), 5, 120),
    (Combination("standard", "async"), 5, 120),
]


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Nothing of this machine's own AWS."""
    with mock.patch.dict(os.environ):
        forget_keys(os.environ)
        yield


@pytest.mark.timeout(280)
@pytest.mark.parametrize(("combination", "seed", "messages"), EXAMPLES, ids=str)
def test_nothing_is_lost(combination: Combination, seed: int, messages: int, tmp_path: Path) -> None:
    """Whatever is cut, refused, killed and comes back: all is done, in order, and what is done twice has a cause."""
    part = play(combination, seed, messages, tmp_path)
    assert not part.verdict.findings, "\n".join([f"seed {seed}", *findings(part), tables([part])])
    assert str(combination) in tables([part])
    assert part.verdict.handled >= messages
    assert part.played.acts["kill the consumer"] >= 1
    assert part.played.faults.total() > 10


def test_a_plan_is_drawn_from_its_seed() -> None:
    """The same seed is the same plan, another one is another, and all of it is used."""
    plan = planned(COMBINATIONS[0], 0, 1)
    for combination in COMBINATIONS:
        plan = planned(combination, 1, 400)
        assert plan == planned(combination, 1, 400)
        assert plan != planned(combination, 2, 400)
        assert [task.number for task in plan.tasks] == list(range(400))
        assert all(0 < deed.at < 400 for deed in plan.deeds)
    met = [plan.befalls("DeleteMessageBatch", number) for number in range(1, 500)]
    assert met == [plan.befalls("DeleteMessageBatch", number) for number in range(1, 500)]
    assert len(set(met)) > 8
    assert plan.befalls("CreateQueue", 1) is None


def test_messages_are_shared_out() -> None:
    """All of them, as evenly as may be."""
    assert shares(20, 3) == [7, 7, 6]
    assert sum(shares(20_000, len(COMBINATIONS))) == 20_000


def test_some_can_be_chosen() -> None:
    """By a part of their names; a part of none is refused in a sentence."""
    assert chosen([]) == list(COMBINATIONS)
    assert chosen(["fifo/"]) == [each for each in COMBINATIONS if each.queue == "fifo"]
    with pytest.raises(SystemExit, match=r"--only must be a part of one of standard/threads, .*; got nothing"):
        chosen(["nothing"])
