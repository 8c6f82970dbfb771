"""`send`: messages into a queue, from the command line, a file, or standard input."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._exits import CommandError
from ._opening import DRY_RUN, QUEUE, opened
from ._options import Option, seconds
from ._progress import Progress, many

NAME = "send"
SUMMARY = "put messages into a queue"
EXAMPLES = """\
  queue-consumer send sqs://orders '{"id": 1}' '{"id": 2}'      two messages
  queue-consumer send sqs://orders --from orders.jsonl          one for each line of a file
  generate | queue-consumer send sqs://orders --from -          or of standard input
  queue-consumer send sqs://orders '{}' --attribute kind=test --delay 30"""


def pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ValueError(f"must be NAME=VALUE; got {text!r}")
    return name, value


def options() -> Sequence[Option]:
    return (
        QUEUE,
        Option("bodies", "what the messages say", many=True, default=()),
        Option("--from", "a file with a message in each line; - is standard input", Path, shown="FILE"),
        Option("--attribute", "an attribute of all of them; may be repeated", pair, (), shown="NAME=VALUE", many=True),
        Option("--delay", "seconds before they can be seen", seconds, 0.0),
        Option("--group", "their message group"),
        DRY_RUN,
    )


def run(arguments: argparse.Namespace) -> int:
    source: Path | None = getattr(arguments, "from")
    bodies = [*arguments.bodies, *([] if source is None else lines_of(source))]
    if not bodies:
        raise CommandError("there is nothing to send: give bodies, or --from")
    entries = [entry_of(body, arguments) for body in bodies]
    with opened(arguments.queue) as tools:
        if arguments.dry_run:
            print(f"would send {many(len(entries), 'message')} to {tools.name}")
            return 0
        progress = Progress("sent", len(entries))
        tools.send(entries, progress)
        progress.end()
        print(f"sent {many(len(entries), 'message')} to {tools.name}")
    return 0


def lines_of(source: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(source) == "-" else source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{source} cannot be read: {error}") from error
    return [line for line in text.split("\n") if line.strip()]


def entry_of(body: str, arguments: argparse.Namespace) -> dict[str, Any]:
    entry: dict[str, Any] = {"body": body}
    if arguments.delay:
        entry["delay"] = arguments.delay
    if arguments.group:
        entry["group"] = arguments.group
    if arguments.attribute:
        entry["attributes"] = dict(arguments.attribute)
    return entry
