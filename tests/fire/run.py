"""`make fire`: thousands of messages, and everything that can go wrong between a queue and those who handle them.

For each kind of queue and of pool two consumers share a queue behind a proxy that cuts, delays, truncates and refuses
calls by a seeded script. Server, consumers and their child processes are killed, connections are cut, keys expire. In
the end nothing may be lost, nothing deleted that was not consumed, no group out of order, and nothing handled again
for no reason, by the proxy's log and by what handlers wrote to the disk.

    make fire ARGS="--seed 7 --messages 2000 --only fifo/threads"

The seed decides on all that is done, and not on how threads and processes meet in it: a run that failed is likely to
fail again, and not certain to.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import sys
import tempfile
import threading
import time
from collections.abc import MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fire.judge import judge
from fire.plan import COMBINATIONS, Combination, planned
from fire.report import Part, findings, tables
from fire.stage import Halted, Stage

MESSAGES = 20_000
AT_ONCE = 3  # combinations: most of the time each of them waits for something
TELL = 5.0  # seconds between two lines that say how far it is


class Progress:
    """How far all of them are."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._done: dict[Combination, tuple[int, int]] = {}
        self._told = 0.0

    def tell(self, combination: Combination, done: int, of: int) -> None:
        """Called by each of them, often; now and then it is printed."""
        with self._lock:
            self._done[combination] = done, of
            now = time.monotonic()
            if now - self._told < TELL:
                return
            self._told = now
            running = [f"{name} {done:,} of {of:,}" for name, (done, of) in self._done.items() if done < of]
            self.say(", ".join(running))

    def say(self, words: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        print(f"{minutes:3}:{seconds:02}  {words}", flush=True)


def play(
    combination: Combination,
    seed: int,
    messages: int,
    folder: Path,
    *,
    transport: str = "",
    progress: Progress | None = None,
    halt: threading.Event | None = None,
) -> Part:
    """Play one combination's part, and judge it."""
    stage = Stage(
        planned(combination, seed, messages),
        folder / str(combination).replace("/", "-"),
        transport=transport,
        progress=lambda done, of: progress.tell(combination, done, of) if progress else None,
        halt=halt,
    )
    played = stage.play()
    part = Part(combination, played, judge(played.evidence))
    if part.verdict.findings:
        (stage.folder / "evidence.pickle").write_bytes(pickle.dumps(played.evidence))
    return part


def forget_keys(environment: MutableMapping[str, str]) -> None:
    """Use no keys, region or settings of this machine, nor a proxy of its, which does not lead here."""
    for name in [name for name in environment if name.startswith("AWS_")]:
        del environment[name]
    environment.update({"AWS_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"})


def shares(messages: int, parts: int) -> list[int]:
    """As even as may be."""
    return [messages // parts + (position < messages % parts) for position in range(parts)]


def chosen(names: Sequence[str]) -> list[Combination]:
    """The combinations that have one of these in their name; all of them if there are none."""
    found = [each for each in COMBINATIONS if not names or any(name in str(each) for name in names)]
    if not found:
        raise SystemExit(f"--only must be a part of one of {', '.join(map(str, COMBINATIONS))}; got {', '.join(names)}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if nothing was found, 1 if something was."""
    parser = argparse.ArgumentParser(prog="make fire", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, help="of all that happens; else it is drawn")
    parser.add_argument("--messages", type=int, default=MESSAGES, metavar="N", help=f"in all ({MESSAGES:,})")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="some: fifo/, /threads, bulks/async"
    )
    parser.add_argument("--transport", default="", help="boto3 or lean, of all but async; else the queues choose")
    parser.add_argument("--jobs", type=int, default=AT_ONCE, metavar="N", help=f"so many at a time ({AT_ONCE})")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    combinations = chosen(options.only)
    forget_keys(os.environ)
    folder = Path(tempfile.mkdtemp(prefix="fire-"))
    print(f"seed {seed}, {options.messages:,} messages, {len(combinations)} combinations; in {folder}", flush=True)

    progress, halt, parts = Progress(), threading.Event(), list[Part]()
    with ThreadPoolExecutor(max(1, options.jobs)) as stages:
        runs = [
            stages.submit(play, each, seed, count, folder, transport=options.transport, progress=progress, halt=halt)
            for each, count in zip(combinations, shares(options.messages, len(combinations)), strict=True)
        ]
        try:
            for run in runs:
                parts.append(run.result())
                progress.say(f"{parts[-1].combination} is over: {parts[-1].words}")
        except (KeyboardInterrupt, Halted):
            halt.set()
            print("interrupted", file=sys.stderr)
            return 130
        except BaseException:
            halt.set()
            print(f"seed {seed}", file=sys.stderr)
            raise
    print()
    print(tables(parts))
    return conclude(parts, seed, folder)


def conclude(parts: Sequence[Part], seed: int, folder: Path) -> int:
    bad = [part for part in parts if part.verdict.findings]
    for part in bad:
        print(*findings(part), sep="\n")
    if bad:
        names = " ".join(f"--only {part.combination}" for part in bad)
        print(
            f'\nNot as it should be. Once more: make fire ARGS="--seed {seed} {names}"; all that was written: {folder}'
        )
        return 1
    sent = sum(part.verdict.sent for part in parts)
    print(f"\n{sent:,} messages: none lost, none deleted unconsumed, none overtaken, all that came again explained.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
