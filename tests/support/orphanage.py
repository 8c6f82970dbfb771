"""A program with a consumer in processes, for tests that kill the program, or press Ctrl-C on all of it.

It is run as `python orphanage.py CONTEXT busy|initializing|run|print`, with the folder to write to in ORPHANAGE.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from queue_consumer import Consumer, MemoryQueue

FOLDER = Path(os.environ.get("ORPHANAGE", "."))


def note(what: str) -> None:
    """One line, for the test to read; appending is atomic."""
    with (FOLDER / "notes").open("a") as file:
        file.write(what + "\n")


def busy(items: Iterator[Any]) -> None:
    """Takes an item, and is busy with it for as long as there is somebody to be busy for."""
    for item in items:
        note(f"{os.getpid()} has {item}")
        if item % 2:
            time.sleep(3600)  # until it is killed, which is what the test is about
        while True:
            pass


def hang() -> None:
    """An initializer that never comes to an end."""
    note(f"{os.getpid()} initializes")
    time.sleep(3600)  # until it is killed, which is what the test is about


def patient(items: Iterator[Any]) -> None:
    """Is done with its first item when the gate opens, and with the others at once."""
    for item in items:
        note(f"{os.getpid()} has {item}")
        (FOLDER / "gate").read_bytes()
        note(f"{os.getpid()} did {item}")


def talk(items: Iterator[Any]) -> None:
    """Prints, without a flush."""
    for item in items:
        sys.stdout.write(f"said {item}\n")


def main(context: str, what: str) -> int:
    sys.stdout.write("before\n")
    queue = MemoryQueue(range(4), wait=0.01)
    options: dict[str, Any] = {"pool": "processes", "mp_context": context, "max_workers": 1, "max_handlers": 2}
    match what:
        case "busy":
            with Consumer(queue, busy, **options):
                time.sleep(3600)  # until it is killed, which is what the test is about
        case "initializing":
            Consumer(queue, busy, pool_initializer=hang, **options).start()
        case "run":
            report = Consumer(queue, patient, **options).run()
            print(f"cleaned {report.stats.cleaned}, released {report.stats.released}, failed {report.stats.failed}")
            return 0 if report.balanced else 1
        case _:
            with Consumer(queue, talk, **options) as consumer:
                consumer.wait_idle(60)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
