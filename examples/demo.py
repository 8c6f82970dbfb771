"""The line at work: 100,000 orders out of files, by threads and then by processes, with trouble planted; and then a
few orders at a desk that serves two lanes.

    python examples/demo.py [--items N] [--seed N]

Files of orders, CSV and JSON lines, are written to a temporary folder. A queue of the demo's own reads
them, and handlers parse each order, add up what is in it, and append the sum to a journal on disk. Planted
are: malformed lines, orders that fail the first time, orders whose child process is killed with SIGKILL
(some before the sum is in the journal; some after, which is the moment that at-least-once is about), and
disk errors that kill getters.

At the desk there are standard orders and express ones, which come in the middle and go first. One order takes longer
than its lease, which is renewed meanwhile; one loses its lease while it is handled, is handled to its end all the
same, and when it comes again it is not handled once more.

At the end a single thread, without any queue, reads the same files. What the handlers wrote down must come
to the same, customer by customer, and the line must have reported just those failures, kills and deaths
that were planted. If anything differs, it says so and the exit status is 1.
"""

from __future__ import annotations

import argparse
import csv
import errno
import heapq
import io
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, cast

from queue_consumer import (
    BulkReceived,
    ChunkStarted,
    Consumer,
    Event,
    Exponential,
    Failure,
    Lane,
    MemoryMessage,
    MemoryQueue,
    Report,
    State,
    Stats,
    WorkerDied,
    current,
)

Pool = Literal["threads", "processes"]
POOLS: tuple[Pool, ...] = ("threads", "processes")
ATTEMPTS = 3  # deliveries of a line that fails, before it goes to the dead letters
FILES, CUSTOMERS = 8, 500
PATIENCE = 60.0  # seconds in which nothing is finished, before the demo gives up on the line
LEASE = 0.8  # seconds, at the desk
STANDARD, EXPRESS = 8, 5  # so many orders are brought to the desk
LONG, INTERRUPTED, LOSES = "standard 2", "standard 4", "standard 6"
MALFORMED, FAILS_ONCE, KILLS_BEFORE, KILLS_AFTER = "malformed", "fails once", "kills before", "kills after"


# ---------------------------------------------------------------------- the input


@dataclass
class Planted:
    """The trouble that was put in, by the place of its line; what the line reports is held against it."""

    places: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set[str]))
    disk_errors: list[int] = field(default_factory=list[int])  # so many lines read, and get() raises

    def __getitem__(self, trouble: str) -> set[str]:
        return self.places[trouble]

    @property
    def kills(self) -> int:
        return len(self[KILLS_BEFORE]) + len(self[KILLS_AFTER])


def write_orders(folder: Path, items: int, dice: random.Random) -> Planted:
    """Write `items` orders to files, every other one CSV, and plant the trouble."""
    troubles = [MALFORMED] * (items // 3000 + 3) + [FAILS_ONCE] * (items // 1000 + 3)
    troubles += [KILLS_BEFORE] * 4 + [KILLS_AFTER] * 4
    unlucky = dict(zip(dice.sample(range(items), len(troubles)), troubles, strict=True))
    planted = Planted(disk_errors=dice.sample(range(items // 10, items * 9 // 10), 3))
    for index in range(FILES):
        path = folder / f"orders-{index}.{'csv' if index % 2 else 'jsonl'}"
        with path.open("w", encoding="utf-8") as file:
            for row, number in enumerate(range(index, items, FILES), 1):
                trouble = unlucky.get(number, "")
                if trouble:
                    planted[trouble].add(f"{path.name}:{row}")
                file.write(order(path.suffix, trouble, dice) + "\n")
    return planted


def order(suffix: str, note: str, dice: random.Random) -> str:
    """A line for one order of one to four positions, each so many of something at so many cents."""
    customer = f"c{dice.randrange(CUSTOMERS):03}"
    positions = [(dice.randint(1, 9), dice.randint(50, 9999)) for _ in range(dice.randint(1, 4))]
    if suffix == ".csv":
        text = ",".join([customer, note, *(f"{count},{cents}" for count, cents in positions)])
    else:
        text = json.dumps({"customer": customer, "note": note, "positions": positions})
    return text[:-1] + "?" if note == MALFORMED else text


def count_alone(folder: Path) -> tuple[Counter[str], int]:
    """What each customer ordered, in cents, and how many lines were malformed: one thread, one plain loop."""
    sums, malformed = Counter[str](), 0
    for path in sorted(folder.glob("orders-*")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file) if path.suffix == ".csv" else file:
                try:
                    if isinstance(row, str):
                        entry = json.loads(row)
                        customer, positions = entry["customer"], entry["positions"]
                    else:
                        customer, positions = row[0], list(zip(row[2::2], row[3::2], strict=True))
                    sums[customer] += sum(int(count) * int(cents) for count, cents in positions)
                except ValueError:
                    malformed += 1
    return sums, malformed


# ---------------------------------------------------------------------- the left socket: a queue


class Line(NamedTuple):
    """An item: a line of a file, and where it stands."""

    place: str
    text: str


class Orders:
    """The lines of all files: each is given out once, and again whenever it is released.

    Only `get` is needed. It raises at the planted places; the other verbs are what this queue can do besides.
    """

    def __init__(self, files: Iterable[Path], disk_errors: Iterable[int]) -> None:
        self.cleaned: list[str] = []  # places
        self.finished = threading.Event()
        self._lines = lines_of(files)
        self._read = 0
        self._all_read = False
        self._disk_errors = sorted(disk_errors)
        self._held = 0
        self._returns = Counter[str]()
        self._later: list[tuple[float, Line]] = []
        self._changed = threading.Condition()

    def get(self, limit: int) -> list[Line]:
        """The next lines, no more than there is room for. Many threads call this."""
        with self._changed:
            if self._disk_errors and self._disk_errors[0] <= self._read:
                del self._disk_errors[0]
                raise OSError(errno.EIO, "planted: the disk does not answer")
            bulk: list[Line] = []
            while self._later and self._later[0][0] <= time.monotonic() and len(bulk) < limit:
                bulk.append(heapq.heappop(self._later)[1])
            again, wanted = len(bulk), max(0, min(limit, 500) - len(bulk))
            bulk += itertools.islice(self._lines, wanted)
            self._read += len(bulk) - again
            self._all_read |= len(bulk) - again < wanted
            self._held += len(bulk)
            if not bulk:
                self._changed.wait(0.05)
            self._look_for_the_end()
            return bulk

    def cleanup(self, lines: Sequence[Line]) -> None:
        """These are done with."""
        with self._changed:
            self.cleaned += [line.place for line in lines]
            self._held -= len(lines)
            self._look_for_the_end()

    def release(self, lines: Sequence[Line], delay: float = 0) -> None:
        """These come again, after `delay` seconds."""
        with self._changed:
            for line in lines:
                self._returns[line.place] += 1
                heapq.heappush(self._later, (time.monotonic() + delay, line))
            self._held -= len(lines)

    def attempt(self, line: Line) -> int:
        """How often this line was given out."""
        return 1 + self._returns[line.place]

    def interrupt(self) -> None:
        """Let nobody wait in `get`."""
        with self._changed:
            self._changed.notify_all()

    def _look_for_the_end(self) -> None:
        if self._all_read and not (self._held or self._later):
            self.finished.set()


def lines_of(files: Iterable[Path]) -> Iterator[Line]:
    for path in files:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                yield Line(f"{path.name}:{number}", text.rstrip("\n"))


# ---------------------------------------------------------------------- the right socket: a handler


class AddUp:
    """Adds up orders, and appends what each comes to to the journal before it asks for the next.

    So an order whose handler dies between the two comes again and stands in the journal twice, under the same
    place; never not at all.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.home = os.getpid()  # a child knows by this that it is one

    def __call__(self, lines: Iterator[Line]) -> None:
        # Appending is atomic: every write is one whole line, whichever thread or process makes it.
        with self.journal.open("ab", buffering=0) as journal:
            for line in lines:
                customer, note, cents = parsed(line)
                first = note != "" and current().attempt == 1
                if first and note == FAILS_ONCE:
                    raise ConnectionError("planted: it will work next time")
                if first and note == KILLS_BEFORE and os.getpid() != self.home:
                    os.kill(os.getpid(), signal.SIGKILL)
                journal.write(f"{line.place} {customer} {cents}\n".encode())
                if first and note == KILLS_AFTER and os.getpid() != self.home:
                    os.kill(os.getpid(), signal.SIGKILL)


def parsed(line: Line) -> tuple[str, str, int]:
    """Customer, note and sum of an order. ValueError: it is malformed."""
    if line.text.startswith("{"):
        entry = json.loads(line.text)
        return entry["customer"], entry["note"], sum(count * cents for count, cents in entry["positions"])
    customer, note, *numbers = line.text.split(",")
    return customer, note, sum(int(a) * int(b) for a, b in zip(numbers[::2], numbers[1::2], strict=True))


# ---------------------------------------------------------------------- the line


class Deaths:
    """An observer that counts who died."""

    def __init__(self) -> None:
        self.getters = self.killed = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, WorkerDied):
            self.getters += event.worker.startswith("getter")
            self.killed += "SIGKILL" in event.error


@dataclass
class Outcome:
    """What one pool made of the orders, by its own account and by the journal of its handlers."""

    report: Report
    deaths: Deaths
    cleaned: list[str]
    dead_letters: set[str]
    sums: Counter[str]
    twice: set[str]


def consume(pool: Pool, folder: Path, items: int, planted: Planted) -> Outcome:
    """Have all orders handled by this kind of pool, and show how it goes."""
    journal = folder / f"sums-{pool}"
    journal.touch()
    queue, deaths = Orders(sorted(folder.glob("orders-*")), planted.disk_errors), Deaths()
    dead_letters = set[str]()

    def dead_letter(line: Line, failure: Failure) -> None:
        dead_letters.add(line.place)

    consumer = Consumer(
        queue,
        AddUp(journal),
        messages_bulk_size=50,
        pool=pool,
        backoff=Exponential(base=0.3),
        max_attempts=ATTEMPTS,
        dead_letter=dead_letter,
        observers=[deaths],
    )
    progress = Progress(pool, items)
    with consumer:
        while not queue.finished.wait(0.1) and consumer.state is State.RUNNING and progress.moves():
            progress.show(consumer.stats())
    report = consumer.shutdown()
    progress.show(report.stats, last=True)
    sums, twice = read_journal(journal)
    return Outcome(report, deaths, queue.cleaned, dead_letters, sums, twice)


def read_journal(journal: Path) -> tuple[Counter[str], set[str]]:
    """What each customer ordered, every order counted once; and which orders stand there twice."""
    sums, seen, twice = Counter[str](), set[str](), set[str]()
    with journal.open() as file:
        for entry in file:
            place, customer, cents = entry.split()
            if place in seen:
                twice.add(place)
            else:
                seen.add(place)
                sums[customer] += int(cents)
    return sums, twice


# ---------------------------------------------------------------------- the desk: lanes, and leases


class Desk:
    """Two queues as one, and an observer that sees to it that things happen in the middle of others."""

    def __init__(self, folder: Path) -> None:
        self.standard: MemoryQueue[MemoryMessage] = MemoryQueue(lease=LEASE, journal=True)
        self.express: MemoryQueue[MemoryMessage] = MemoryQueue()
        self.lanes = [Lane(self.standard, priority=0, name="standard"), Lane(self.express, priority=1, name="express")]
        self.arrived = folder / "express orders have arrived"
        self.standard.put_many({"body": f"standard {number}"} for number in range(1, STANDARD + 1))

    def __call__(self, event: Event) -> None:
        if isinstance(event, ChunkStarted):
            for order in event.items:
                if order.body == INTERRUPTED:
                    self.express.put_many({"body": f"express {number}"} for number in range(1, EXPRESS + 1))
                if order.body == LOSES:
                    self.standard.expire([order])  # as if this program had stood still for too long
        if isinstance(event, BulkReceived) and any(order.body.startswith("express") for order in event.items):
            self.arrived.touch()

    def renewals(self) -> int:
        """How often the lease of the long order was renewed."""
        return sum(note.deed == "extended" and note.item.body == LONG for note in self.standard.journal or ())


class Serve:
    """Handles orders at the desk, and writes down which were begun, and whose lease was lost meanwhile."""

    def __init__(self, journal: Path, arrived: Path) -> None:
        self.journal = journal
        self.arrived = arrived

    def __call__(self, orders: Iterator[MemoryMessage]) -> None:
        with self.journal.open("ab", buffering=0) as journal:
            for order in orders:
                journal.write(f"begun {order.body}\n".encode())
                if order.body == LONG:
                    time.sleep(1.25 * LEASE)
                if order.body == INTERRUPTED:
                    wait_until(self.arrived.exists)
                if order.body == LOSES:
                    wait_until(lambda: current().lost)
                if current().lost:
                    journal.write(f"lost {order.body}\n".encode())


def wait_until(fact: Callable[[], bool]) -> None:
    """Look until it is true, or in vain for long."""
    until = time.monotonic() + PATIENCE / 4
    while not fact() and time.monotonic() < until:
        time.sleep(0.005)


@dataclass
class Served:
    """What became of the orders at the desk."""

    report: Report
    begun: list[str]
    lost: list[str]  # by the word of who handled them
    renewals: int

    @property
    def lanes(self) -> str:
        """The order in which they were begun: s for standard, E for express."""
        return "".join("E" if order.startswith("express") else "s" for order in self.begun)


RIGHT = "s" * int(INTERRUPTED[-1]) + "E" * EXPRESS + "s" * (STANDARD - int(INTERRUPTED[-1]))


def serve(pool: Pool, folder: Path) -> Served:
    """Have the orders at the desk handled, one at a time, by this kind of pool."""
    folder = folder / f"desk-{pool}"
    folder.mkdir()
    desk, journal = Desk(folder), folder / "journal"
    journal.touch()
    handler = Serve(journal, desk.arrived)
    consumer = Consumer(desk, handler, max_workers=2, max_handlers=1, pool=pool, observers=[desk])
    with consumer:
        consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    notes = [line.partition(" ") for line in journal.read_text().splitlines()]
    begun = [order for what, _, order in notes if what == "begun"]
    lost = [order for what, _, order in notes if what == "lost"]
    return Served(report, begun, lost, desk.renewals())


def show_desk(served: Mapping[Pool, Served]) -> None:
    say(f"\n{'desk':<12} s: standard order; E: express, which came during the fourth; as they were begun")
    for pool, orders in served.items():
        say(f"  {pool:<10} {' '.join(orders.lanes)}   lease renewed {orders.renewals} times, lost {len(orders.lost)}")


def prove_desk(served: Mapping[Pool, Served]) -> list[Row]:
    """Hold what was done at the desk against what was to be done there."""

    def row(what: str, expected: int, found: Callable[[Served], int]) -> Row:
        return Row(what, dict.fromkeys(served, expected), {pool: found(orders) for pool, orders in served.items()})

    return [
        row("orders begun when it was their turn", len(RIGHT), lambda o: sum(map(str.__eq__, o.lanes, RIGHT))),
        row("of them, handled twice", 0, lambda o: len(o.begun) - len(set(o.begun))),
        row("leases lost, and the handler saw it", 1, lambda o: min(o.lost.count(LOSES), o.report.stats.lost)),
        row("leases lost that were not to be", 0, lambda o: max(len(o.lost), o.report.stats.lost) - 1),
        row("leases renewed while it took long", 1, lambda o: min(o.renewals, 1)),
        row("came again: cleaned up on sight", 1, lambda o: o.report.stats.duplicates),
    ]


# ---------------------------------------------------------------------- what is shown


class Progress:
    """One line that is written again and again; where nobody watches, a line half way and one at the end."""

    def __init__(self, pool: str, items: int) -> None:
        self._pool, self._items = pool, items
        self._began = self._moved = time.monotonic()
        self._done: int = 0
        self._half = False
        self._live = sys.stdout.isatty()

    def moves(self) -> bool:
        """False once nothing has been finished for long."""
        return time.monotonic() - self._moved < PATIENCE

    def show(self, stats: Stats, last: bool = False) -> None:
        done, now = stats.cleaned + stats.dropped, time.monotonic()
        if done != self._done:
            self._done, self._moved = done, now
        half = done * 2 >= self._items
        if not (self._live or last or half > self._half):
            return
        self._half = half
        filled = done * 20 // self._items
        took = max(now - self._began, 0.001)
        speed = f"in {took:.1f} s" if last else f"{done / took:,.0f}/s"
        say(
            f"{self._pool:<10} {'█' * filled}{'░' * (20 - filled)} {done:>9,} of {self._items:,}"
            f" {speed:>10}   failed {stats.failed:,} · revived {stats.revived}",
            end="" if self._live and not last else "\n",
            again=self._live,
        )


def say(text: str = "", *, end: str = "\n", again: bool = False) -> None:
    """Print; `again`: over the line that the cursor is in."""
    print(f"\r\x1b[K{text}" if again else text, end=end, flush=True)


def show_ledgers(outcomes: Mapping[Pool, Outcome]) -> bool:
    """Show what became of every delivery; True if the ledgers balance, and nothing ended in any other way."""
    say("\nledger       received = cleaned + dropped + released + in flight        failed   revived")
    balanced = True
    for pool, outcome in outcomes.items():
        stats = outcome.report.stats
        say(
            f"  {pool:<9} {stats.received:>9,} {stats.cleaned:>9,} {stats.dropped:>9,} {stats.released:>10,}"
            f" {stats.in_flight:>11,} {stats.failed:>13,} {stats.revived:>9,}"
        )
        others = stats.left + stats.tombstoned + stats.lost + stats.abandoned
        balanced &= outcome.report.balanced and not others
    return balanced


class Row(NamedTuple):
    """A line of the proof: what was to be, and what was."""

    what: str
    expected: dict[Pool, int]
    found: dict[Pool, int]


def prove(planted: Planted, alone: Counter[str], items: int, outcomes: Mapping[Pool, Outcome]) -> list[Row]:
    """Hold what the line did against what was planted, and against what one thread made of the files."""

    def row(what: str, found: Callable[[Outcome], int], threads: int, processes: int | None = None) -> Row:
        expected: dict[Pool, int] = {
            "threads": threads,
            "processes": threads if processes is None else processes,
        }
        return Row(what, expected, {pool: found(outcome) for pool, outcome in outcomes.items()})

    def agreeing(outcome: Outcome) -> int:
        return sum(outcome.sums[customer] == alone[customer] for customer in alone | outcome.sums)

    def cleaned(outcome: Outcome) -> int:
        """Lines that the queue saw cleaned up; fewer than there are if one is missing, or was there twice."""
        return 2 * len(set(outcome.cleaned)) - len(outcome.cleaned)

    malformed, kills, getters = len(planted[MALFORMED]), planted.kills, len(planted.disk_errors)
    after = planted[KILLS_AFTER]
    fails = ATTEMPTS * malformed + len(planted[FAILS_ONCE])
    return [
        row("sum of all orders, in cents", lambda o: o.sums.total(), alone.total()),
        row("customers whose sums agree", agreeing, len(alone)),
        row("lines cleaned up, each once", cleaned, items),
        row("dead letters that are malformed", lambda o: len(o.dead_letters & planted[MALFORMED]), malformed),
        row("dead letters that are not", lambda o: len(o.dead_letters - planted[MALFORMED]), 0),
        row("failures reported", lambda o: o.report.stats.failed, fails, fails + kills),
        row("children killed with SIGKILL", lambda o: o.deaths.killed, 0, kills),
        row("getters that died", lambda o: o.deaths.getters, getters),
        row("workers revived", lambda o: o.report.stats.revived, getters, getters + kills),
        row("orders handled twice", lambda o: len(o.twice), 0, len(after)),
        row("of those, killed after the work", lambda o: len(o.twice & after), 0, len(after)),
    ]


def show_proof(rows: Sequence[Row]) -> bool:
    """True if everything is as it was to be."""
    say(f"\n{'proof':<40} {'expected':>24} {'threads':>14} {'processes':>14}")
    for what, expected, found in rows:
        wanted = " / ".join(f"{value:,}" for value in dict.fromkeys(expected.values()))
        values = "".join(f" {value:>14,}" for value in found.values())
        say(f"  {what:<38} {wanted:>24}{values}{'' if expected == found else '  DIFFERS'}")
    return all(row.expected == row.found for row in rows)


# ---------------------------------------------------------------------- the demo


def demo(items: int, seed: int, folder: Path) -> bool:
    """True if the line did all it should."""
    began = time.monotonic()
    planted = write_orders(folder, items, random.Random(seed))
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    say(f"{items:,} orders in {FILES} files on disk, {size:.1f} MB of CSV and JSON lines (--seed {seed})")
    say(
        f"planted: {len(planted[MALFORMED])} malformed · {len(planted[FAILS_ONCE])} fail once · "
        f"{planted.kills} kill their process · {len(planted.disk_errors)} disk errors kill a getter"
    )
    outcomes: dict[Pool, Outcome] = {pool: consume(pool, folder, items, planted) for pool in POOLS}
    served: dict[Pool, Served] = {pool: serve(pool, folder) for pool in POOLS}
    alone, malformed = count_alone(folder)
    balanced = show_ledgers(outcomes) and all(orders.report.balanced for orders in served.values())
    show_desk(served)
    proven = show_proof([*prove(planted, alone, items, outcomes), *prove_desk(served)])
    good = balanced and proven and malformed == len(planted[MALFORMED])
    took = f"after {time.monotonic() - began:.1f} s"
    say(f"everything agrees, {took}" if good else f"NOT EVERYTHING AGREES, {took}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="The line at work, with trouble planted and accounted for.")
    parser.add_argument("--items", type=int, default=100_000, help="orders for each pool (default: 100,000)")
    parser.add_argument("--seed", type=int, default=random.randrange(1000), help="of the orders and the trouble")
    options = parser.parse_args()
    if options.items < 1000:
        parser.error("--items must be at least 1000, so that the trouble finds room")
    # Where the terminal has no block characters, something else is shown.
    cast(io.TextIOWrapper, sys.stdout).reconfigure(errors="replace")
    with tempfile.TemporaryDirectory(prefix="queue_consumer-demo-") as folder:
        try:
            return 0 if demo(options.items, options.seed, Path(folder)) else 1
        except KeyboardInterrupt:  # by now the consumer has given back what it held, and its children are gone
            say("\ninterrupted")
            return 130


if __name__ == "__main__":  # each child process reads this file again, and must not start a demo of its own
    sys.exit(main())
