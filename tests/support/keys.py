"""Items with keys, handlers that do them wrong in many ways, and how their order is judged by what they wrote down.

Handlers in any process append to one file. An append is whole, and the file has one order for all of them: what a
handler writes while it holds an item stands between what came before and what comes after.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from queue_consumer import Failed, Retry
from support.lanes import Names

SLOW = 0.002  # seconds that a slow item takes
DEEDS = ("slow", "raise", "retry", "exit", "leave", "raise after the end", "fail")
KILL = "kill"
Receipt = Literal["advance", "return", "explicit"]
_calls = itertools.count()


class Keyed(NamedTuple):
    """What is put into a queue: a key, and the number within it."""

    key: str
    number: int


def keyed(keys: int, items: int, seed: object) -> list[Keyed]:
    """So many items of so many keys, in an order in which each key is."""
    dice = random.Random(f"keyed {seed}")
    numbers: Counter[str] = Counter()
    found: list[Keyed] = []
    for index in range(items):
        key = f"k{index if index < keys else dice.randrange(keys)}"
        found.append(Keyed(key, numbers[key]))
        numbers[key] += 1
    return found


class Planned(Exception):
    """What handlers here raise."""


class Doing:
    """A handler that does to each delivery what the seed says, and writes down what it holds and what it has done.

    Args:
        naughty: how likely it does wrong; never from the third delivery on.
    """

    def __init__(
        self, names: Names, seed: object, *, naughty: float = 0.0, kills: bool = False, receipt: Receipt = "advance"
    ) -> None:
        self.names = names
        self.seed = seed
        self.naughty = naughty
        self.deeds = (*DEEDS, KILL) if kills else DEEDS
        self.receipt = receipt

    def __call__(self, items: Any) -> object:
        steps = self.steps(items)
        while True:
            try:
                time.sleep(next(steps))  # as long as it takes
            except StopIteration as end:
                return end.value

    def deed(self, item: Any) -> str:
        dice = random.Random(f"{self.seed} {item.body} {item.attempt}")
        return dice.choice(self.deeds) if item.attempt < 3 and dice.random() < self.naughty else ""

    def steps(self, items: Any) -> Generator[float, None, object]:
        """One call, pausing for so many seconds at each step."""
        call = f"{os.getpid()}.{next(_calls)}"
        failed: list[Any] = []
        late = False
        try:
            for item in items:
                key, number = item.body
                self.names.write(f"took {call} {key} {number}")
                deed = self.deed(item)
                late = late or deed == "raise after the end"
                match deed:
                    case "slow":
                        yield SLOW
                    case "raise":
                        raise Planned(item)
                    case "retry":
                        raise Retry(0.001)
                    case "exit":
                        raise SystemExit(3)
                    case "kill":
                        os.kill(os.getpid(), signal.SIGKILL)
                    case _:
                        yield 0
                if deed == "fail":
                    if self.receipt == "explicit":
                        items.fail(item)
                    else:
                        failed.append(item)
                else:
                    self.names.write(f"did {call} {key} {number}")
                    if self.receipt == "explicit":
                        items.ack(item)
                if deed == "leave" or (failed and self.receipt == "advance"):
                    break  # to ask for the next would be to have done with this one
            else:
                if late:
                    raise Planned("after the end")
        finally:
            self.names.write(f"end {call}")
        return Failed(failed) if failed else None


class DoingAsync(Doing):
    """The same, as a coroutine."""

    async def __call__(self, items: Any) -> object:
        steps = self.steps(items)
        try:
            while True:
                try:
                    pause = next(steps)
                except StopIteration as end:
                    return end.value
                await asyncio.sleep(pause)  # as above
        finally:
            steps.close()  # also if it is cancelled


@dataclass
class Hold:
    """Who had an item of a key last, which, and whether it was done with."""

    call: str = ""
    number: int = -1
    done: bool = True


@dataclass
class Judge:
    """Goes through what was written down, line by line."""

    lines: list[str]
    in_order: bool = True  # also after failures, since the queue holds keys back
    complaints: list[str] = field(default_factory=list[str])
    done: Counter[Keyed] = field(default_factory=Counter[Keyed])

    def __post_init__(self) -> None:
        holds: dict[str, Hold] = {}
        ended: set[str] = set()
        last_heard = {pid_of(line.split(" ")[1]): index for index, line in enumerate(self.lines)}
        for index, line in enumerate(self.lines):
            what, call, *rest = line.split(" ")
            if what == "end":
                ended.add(call)
                continue
            key, number = rest[0], int(rest[1])
            hold = holds.setdefault(key, Hold())
            if what == "did":
                self.done[Keyed(key, number)] += 1
                hold.done = hold.done or (hold.call, hold.number) == (call, number)
                continue
            if hold.call == call:
                self.complaints.append(f"line {index}: one call holds {key} {hold.number} and {number}")
            # A process of which nothing is heard any more may have been killed in the middle of its call.
            elif hold.call and hold.call not in ended and last_heard[pid_of(hold.call)] > index:
                self.complaints.append(f"line {index}: {key} {number} was begun while {hold.number} was held")
            follows = number == hold.number + 1 and hold.done
            if self.in_order and not follows and number != hold.number:
                was = "done" if hold.done else "begun"
                self.complaints.append(f"line {index}: {key} {number} was begun, and {hold.number} was {was} last")
            holds[key] = Hold(call, number, done=False)

    def missing(self, items: Iterable[Keyed]) -> list[Keyed]:
        return [item for item in items if item not in self.done]


def pid_of(call: str) -> str:
    return call.partition(".")[0]
