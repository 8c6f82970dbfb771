"""Handlers that tests run in every pool, child processes included, which import them from here.

An `Item` carries what the handler is to do when it holds it, so that one consumer can be taken through a
whole table of endings.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, NoReturn

from queue_consumer import Drop, Failed, Retry, each

SIGNAL_DELAY = 7.0  # what Retry and fail() ask for in these handlers


class Item:
    """Something to be handled. Two are never equal, so that nothing can take one for another."""

    def __init__(self, name: str, deed: str = "") -> None:
        self.name = name
        self.deed = deed

    def __repr__(self) -> str:
        return f"<Item {self.name}{self.deed and ', to '}{self.deed}>"


class Failing(Exception):
    """What handlers here raise."""


class Odd(Exception):
    """An exception that cannot be made again from its own `args`, and so does not survive pickling."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class Unspeakable(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Stubborn(Exception):
    """An exception that holds something which cannot be pickled, and refuses to be changed."""

    def __init__(self) -> None:
        super().__init__("kept", lambda: None)


SHARED = Failing("one instance for all")


class Unpicklable(Item):
    """An item that cannot be sent to a child."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("this item stays at home")


class Unopenable(Item):
    """An item that can be sent, but not be made again by whoever receives it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return cannot_be_made, (self.name,)


def cannot_be_made(name: str) -> NoReturn:
    raise LookupError(f"there is no {name} here")


class Deadly(Item):
    """An item that kills the process which receives it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return kills_when_made, (os.getpid(),)


def kills_when_made(sender: int) -> None:
    if os.getpid() != sender:
        die()


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process does not come here")


def fail_with(error: BaseException) -> Callable[[], object]:
    def deed() -> object:
        raise error

    return deed


DEEDS: dict[str, Callable[[], Callable[[], object]]] = {
    "raise": lambda: fail_with(Failing("as told")),
    "exit": lambda: fail_with(SystemExit(3)),
    "interrupt": lambda: fail_with(KeyboardInterrupt()),
    "raise odd": lambda: fail_with(Odd(7, "odd")),
    "raise unspeakable": lambda: fail_with(Unspeakable()),
    "raise stubborn": lambda: fail_with(Stubborn()),
    "raise shared": lambda: fail_with(SHARED),
    "retry": lambda: fail_with(Retry(SIGNAL_DELAY)),
    "retry plainly": lambda: fail_with(Retry()),
    "drop": lambda: fail_with(Drop("as told")),
    "die": lambda: die,
}


def do(deed: str) -> None:
    """What an item tells its handler to do."""
    if deed in DEEDS:
        DEEDS[deed]()()


def follow(items: Any) -> object:
    """Do what each item says, one after the other; "after …" is done when the end has been asked for."""
    last = ""
    failed: list[Any] = []
    for item in items:
        do(item.deed)
        if item.deed == "return":
            return None
        if item.deed == "name as failed":
            failed.append(item)
        last = item.deed or last
    do(last.removeprefix("after "))
    return Failed(failed) if failed else None


def follow_and_ack(items: Any) -> object:
    """The same for explicit receipts: each item is acknowledged once it is done."""
    last = ""
    failed: list[Any] = []
    for item in items:
        do(item.deed)
        match item.deed:
            case "forget":
                pass
            case "fail":
                items.fail(item)
            case "fail later":
                items.fail(item, delay=SIGNAL_DELAY)
            case "name as failed":
                items.ack(item)
                failed.append(item)
            case _:
                items.ack(item)
        if item.deed == "return":
            return None
        last = item.deed or last
    do(last.removeprefix("after "))
    return Failed(failed) if failed else None


async def follow_async(items: Any) -> object:
    """`follow`, with `async for`, giving way to others between the items."""
    last = ""
    failed: list[Any] = []
    async for item in items:
        await asyncio.sleep(0)
        do(item.deed)
        if item.deed == "return":
            return None
        if item.deed == "name as failed":
            failed.append(item)
        last = item.deed or last
    do(last.removeprefix("after "))
    return Failed(failed) if failed else None


def read_all(items: Iterator[Any]) -> None:
    """Take everything, do nothing."""
    for _ in items:
        pass


def take_nothing(items: Iterator[Any]) -> None:
    """Return without having asked for a single item."""


@each
def each_item(item: Item) -> object:
    """A function of one item, with every answer that it can give."""
    do(item.deed)
    return item.deed != "refuse"


@each
async def each_item_async(item: Item) -> object:
    """The same for coroutines."""
    await asyncio.sleep(0)
    do(item.deed)
    return item.deed != "refuse"


class ByTurns:
    """A handler whose calls, in whichever process, do the deeds of a script before they take anything.

    Calls are counted by the length of a file, so they have to be made one at a time.
    """

    def __init__(self, path: Path, script: list[str], ack: bool = False) -> None:
        self.path = path
        self.script = script
        self.ack = ack

    def __call__(self, items: Any) -> None:
        with self.path.open("ab") as file:
            file.write(b".")
        call = self.path.stat().st_size - 1
        do(self.script[call] if call < len(self.script) else "")
        for item in items:
            if self.ack:
                items.ack(item)


class Ahead:
    """A handler that looks ahead, in the way that the name of its first item says.

    It takes several items, and only then does what each of them tells it to. With explicit receipts, whatever
    it is done with is acknowledged.
    """

    def __init__(self, explicit: bool = False) -> None:
        self.explicit = explicit

    def __call__(self, items: Any) -> None:
        first = next(items)
        how = first.name
        for group in LOOKING_AHEAD[how](chain([first], items)):
            for item in group:
                do(item.deed)
            if self.explicit:
                # In pairs that overlap the second item is not done with yet.
                for item in group[:1] if how == "pairwise" else group:
                    items.ack(item)


def batches(items: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(items, 4)):
        yield batch


def buffered(items: Iterator[Any]) -> Iterator[list[Any]]:
    """A generator that is always one item ahead."""
    ahead = next(items, None)
    while ahead is not None:
        item, ahead = ahead, next(items, None)
        yield [item]


LOOKING_AHEAD: dict[str, Callable[[Iterator[Any]], Iterator[Any]]] = {
    "zip": lambda items: ([one, other] for one, other in zip(items, items, strict=False)),
    "islice": batches,
    "pairwise": lambda items: (list(pair) for pair in pairwise(items)),
    "list": lambda items: iter([list(items)]),
    "buffered": buffered,
}


def returns_what_cannot_travel(items: Iterator[Any]) -> object:
    read_all(items)
    return lambda: None
