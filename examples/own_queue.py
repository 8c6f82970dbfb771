"""A queue of your own: files in a folder.

A file in `inbox/` is an item. `get` moves it to `taken/`, so that nobody else takes it too; `cleanup`
deletes it; `release` moves it back. A move within one file system is atomic, so whatever happens to the
program, each file is in one of the two folders, and after a crash `recover` moves back what was taken.

Nothing is inherited, and nothing registered: the consumer looks which of the verbs there are.

It prints:

    hello, ada
    hello, bob
    no name in c.txt, for now
    hello, cyd
    stopped: received=4 cleaned=3 released=1 in_flight=0 (failed=1)
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from queue_consumer import Constant, Consumer, Idle


class Folder:
    """Files in a folder, as a queue. Items are paths."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.taken = folder / "inbox", folder / "taken"
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.taken.mkdir(exist_ok=True)

    def add(self, name: str, text: str) -> None:
        (self.taken / f".{name}").write_text(text)  # out of sight, until it is complete
        (self.taken / f".{name}").rename(self.inbox / name)

    def get(self, limit: int) -> list[Path]:
        """Up to `limit` files whose time has come. Several threads, and other programs, may ask at once."""
        bulk: list[Path] = []
        for path in sorted(self.inbox.iterdir()):
            if len(bulk) == limit:
                break
            try:
                if path.stat().st_mtime <= time.time():
                    bulk.append(path.rename(self.taken / path.name))
            except FileNotFoundError:
                pass  # somebody else was quicker
        return bulk

    def cleanup(self, paths: Sequence[Path]) -> None:
        for path in paths:
            path.unlink()

    def release(self, paths: Sequence[Path], delay: float = 0) -> None:
        for path in paths:
            due = time.time() + delay if delay else 0.0
            os.utime(path, (due, due))  # until then `get` passes over it
            path.rename(self.inbox / path.name)

    def recover(self) -> None:
        """Give back what a program that crashed had taken. For when nobody else is running."""
        self.release(list(self.taken.glob("[!.]*")))


def greet(paths: Iterator[Path]) -> None:
    """A handler: asking for the next item is the receipt for the last."""
    for path in paths:
        name = path.read_text()
        if not name:
            path.write_text("cyd")
            print(f"no name in {path.name}, for now")
            raise ValueError("an empty file")
        print(f"hello, {name}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(Path(place))
        folder.recover()
        for name, text in {"a.txt": "ada", "b.txt": "bob", "c.txt": ""}.items():
            folder.add(name, text)
        consumer = Consumer(folder, greet, 1, 1, backoff=Constant(0.1), stop_when=Idle(1))
        print(consumer.run())


if __name__ == "__main__":
    main()
