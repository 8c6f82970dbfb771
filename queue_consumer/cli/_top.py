"""`top`: what running consumers are doing, live; and the few things that one may want to change about them."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ._exits import CommandError, Exit
from ._keys import Keys
from ._options import Option, count, seconds
from ._plain import plain
from ._sights import Sight, lines_of, sights_of
from ._socket import Refused, ask

NAME = "top"
SUMMARY = "show what running consumers are doing, and pause, resume or resize them"
EXAMPLES = """\
  queue-consumer run shop:orders --socket /run/shop/orders.sock     (in another terminal)
  queue-consumer top /run/shop/orders.sock
  queue-consumer top /run/shop                        all sockets of a folder
  queue-consumer top /run/shop/orders.sock --once     one look, in plain lines
  queue-consumer top /run/shop/orders.sock --pause    stop fetching; --resume goes on
  queue-consumer top /run/shop/orders.sock --resize 8         eight handlers

Keys: q quits, arrows choose a consumer, p pauses or resumes it, + and - change its max_handlers, s shows the stacks of
all busy handlers. The stacks of stuck ones are always shown."""


def options() -> Sequence[Option]:
    return (
        Option("sockets", "sockets of `run --socket`, or folders of them", Path, many=True, required=True),
        Option("--interval", "seconds between two looks", seconds, 1.0),
        Option("--once", "one look, in plain lines", None, False),
        Option("--plain", "plain lines, also at a terminal", None, False),
        Option("--stacks", "show the stacks of all busy handlers", None, False),
        Option("--consumer", "of several at a socket, pause, resume or resize only this one", shown="NAME"),
        Option("--pause", "fetch no more, and end", None, False),
        Option("--resume", "fetch again, and end", None, False),
        Option("--resize", "let so many handlers run at once (max_handlers), and end", count(), shown="N"),
    )


def run(arguments: argparse.Namespace) -> int:
    orders: list[dict[str, Any]] = []
    if arguments.pause:
        orders.append({"verb": "pause"})
    if arguments.resume:
        orders.append({"verb": "resume"})
    if arguments.resize is not None:
        orders.append({"verb": "resize", "handlers": arguments.resize})
    if orders:
        return obey(arguments, orders)
    watch = Watch(arguments.sockets, stacks=arguments.stacks)
    if arguments.once:
        watch.look()
        if not watch.sights:
            raise CommandError(watch.said or "there is no socket", Exit.UNREACHABLE)
        tell(watch)
        return int(Exit.CLEAN)
    draw = None if arguments.plain or not (sys.stdout.isatty() and sys.stdin.isatty()) else rich_picture()
    try:
        return watch_live(watch, arguments.interval, draw) if draw else watch_plainly(watch, arguments.interval)
    except KeyboardInterrupt:
        return int(Exit.CLEAN)


def obey(arguments: argparse.Namespace, orders: Sequence[dict[str, Any]]) -> int:
    for path in sockets_of(arguments.sockets):
        for order in orders:
            try:
                done = ask(path, consumer=arguments.consumer, **order)["done"]
            except Refused as error:
                raise CommandError(str(error), Exit.UNREACHABLE) from error
            print(plain(f"{order['verb']}: {', '.join(done)}"))
    return int(Exit.CLEAN)


def sockets_of(paths: Sequence[Path]) -> list[Path]:
    """The sockets that these are or hold."""
    found: list[Path] = []
    for path in paths:
        try:
            found += sorted(inner for inner in path.iterdir() if inner.is_socket()) if path.is_dir() else [path]
        except OSError:  # which is said when it is asked
            found.append(path)
    return found


class Watch:
    """What was seen last, of all sockets."""

    def __init__(self, paths: Sequence[Path], *, stacks: bool) -> None:
        self._paths = paths
        self.stacks = stacks
        self.sights: list[Sight] = []
        self.said = ""  # why something is not to be seen
        self._at = 0.0

    def look(self) -> None:
        before = {(sight.where, sight.name): sight for sight in self.sights}
        now, seen, silent = time.monotonic(), list[Sight](), list[str]()
        stuck = {sight.where for sight in self.sights if sight.troubled}
        for path in sockets_of(self._paths):
            where = str(path)
            known = {name: sight for (place, name), sight in before.items() if place == where}
            try:
                stacks = self.stacks or where in stuck
                found = self._seen_at(path, stacks, known, now - self._at)
                if any(sight.troubled for sight in found) and not stacks:
                    found = self._seen_at(path, True, known, now - self._at)
                seen += found
            except Refused as error:
                silent.append(plain(str(error)))
        self.sights, self._at, self.said = seen, now, "; ".join(silent)

    def _seen_at(self, path: Path, stacks: bool, known: Mapping[str, Sight], seconds: float) -> list[Sight]:
        answer = ask(path, verb="look", stacks=stacks)
        try:
            return sights_of(str(path), answer, known, seconds, self.stacks)
        except (KeyError, TypeError, AttributeError) as error:
            raise Refused(f"{path} does not answer like a consumer") from error


def tell(watch: Watch) -> None:
    for sight in watch.sights:
        print(*lines_of(sight), sep="\n", flush=True)
    if watch.said:
        print(watch.said, flush=True)


def watch_plainly(watch: Watch, interval: float) -> int:
    """Lines, until Ctrl-C or until nobody answers any more."""
    while True:
        watch.look()
        print(time.strftime("%H:%M:%S"))
        tell(watch)
        if not watch.sights:
            return int(Exit.UNREACHABLE)
        time.sleep(interval)


def rich_picture() -> Any:
    try:
        from ._panels import picture
    except ImportError:
        print("for a live picture: pip install 'queue-consumer[cli]'", file=sys.stderr)
        return None
    return picture


def watch_live(watch: Watch, interval: float, draw: Any) -> int:
    """A picture that is drawn anew, and keys."""
    from rich.live import Live

    chosen, said = 0, ""
    with Keys() as keys, Live(auto_refresh=False, screen=True) as live:
        while True:
            watch.look()
            chosen = max(0, min(chosen, len(watch.sights) - 1))
            sight = watch.sights[chosen] if watch.sights else None
            live.update(draw(watch.sights, sight, said or watch.said, live.console.width), refresh=True)
            said = ""
            key = keys.wait(interval)
            match key:
                case "q":
                    return int(Exit.CLEAN)
                case "up" | "down":
                    chosen += 1 if key == "down" else -1
                case "s":
                    watch.stacks = not watch.stacks
                case "p" | "+" | "-" if sight is not None:
                    said = done_with(sight, key)
                case _:
                    pass


def done_with(sight: Sight, key: str) -> str:
    """Do to a consumer what the key says; in words, what came of it."""
    order: dict[str, Any]
    if key == "p":
        order = {"verb": "resume" if sight.fetching == "paused" else "pause"}
    else:
        order = {"verb": "resize", "handlers": max(1, sight.max_handlers + (1 if key == "+" else -1))}
    try:
        ask(Path(sight.where), consumer=sight.name, **order)
    except Refused as error:
        return plain(str(error))
    return f"{sight.name}: {order['verb']}" + (f" to {order['handlers']}" if "handlers" in order else "")
