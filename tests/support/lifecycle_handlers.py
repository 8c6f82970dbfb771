"""Handlers whose items say what is to happen, in threads, coroutines and child processes alike.

An item is a string: a verb, and after a colon what it is about. Another process has nothing that a test could
wait for but the file system, so gates are files.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from queue_consumer import Drop, Retry

LOOK = 0.005  # seconds between two looks at a gate


class Odd(Exception):
    """An exception that cannot be made again from its `args`."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"code {code}")
        self.where = where


class Gate:
    """A file that lets handlers through once it is there; they write down that they have come."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self._path = folder / name
        self._come = folder / f"{name}.come"
        self.item = f"wait:{self._path}"

    def open(self) -> None:
        self._path.touch()

    def wait_for(self, count: int = 1) -> None:
        """Wait until so many handlers have come to it."""
        until = time.monotonic() + 20
        while not self._come.exists() or self._come.stat().st_size < count:
            assert time.monotonic() < until, "no handler has come to the gate"
            time.sleep(LOOK)  # what happens in another process can only be looked at


def act(items: Iterator[str]) -> None:
    """Do what each item says."""
    for item in items:
        verb, _, about = item.partition(":")
        if verb == "wait":
            come(about)
            while not os.path.exists(about):
                time.sleep(LOOK)  # the gate may be opened by another process
        else:
            do(verb, about)


async def act_async(items: AsyncIterator[str]) -> None:
    """The same, as a coroutine."""
    async for item in items:
        verb, _, about = item.partition(":")
        if verb == "wait":
            come(about)
            while not os.path.exists(about):
                await asyncio.sleep(LOOK)  # as above
        else:
            do(verb, about)


def come(path: str) -> None:
    with open(f"{path}.come", "a") as file:
        file.write(".")


def do(verb: str, about: str) -> None:
    match verb:
        case "raise":
            raise ValueError(about or "a bad item")
        case "odd":
            raise Odd(7, where="here")
        case "exit":
            raise SystemExit(3)
        case "break":
            raise KeyboardInterrupt
        case "retry":
            raise Retry(float(about) if about else None)
        case "drop":
            raise Drop(about)
        case "note":
            with open(about, "a") as file:
                file.write(f"{os.getpid()}\n")
        case _:
            pass  # "ok", and whatever else is a name only


def nothing() -> None:
    """A pool initializer that does nothing."""


def fail_to_start() -> None:
    """A pool initializer that raises."""
    raise RuntimeError("this worker cannot start")
