"""`redrive`: dead letters back to where they came from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ._opening import DRY_RUN, QUEUE, YES, depth_of, opened
from ._options import Option, count
from ._progress import Progress, confirm, many

NAME = "redrive"
SUMMARY = "move dead letters back to where they came from, or to another queue"
EXAMPLES = """\
  queue-consumer redrive sqs://orders-dead --dry-run         how many, and where to
  queue-consumer redrive sqs://orders-dead --limit 10        ten of them, to see whether they do now
  queue-consumer redrive sqs://orders-dead --to sqs://orders --rate 50 --yes"""


def options() -> Sequence[Option]:
    return (
        QUEUE,
        Option("--to", "the queue to move them to; without it, each goes to where it came from", shown="QUEUE"),
        Option("--limit", "so many at most", count(), shown="N"),
        Option("--rate", "so many a second at most", count(), shown="N"),
        DRY_RUN,
        YES,
    )


def run(arguments: argparse.Namespace) -> int:
    with opened(arguments.queue) as tools:
        visible = tools.depth().get("visible", 0)
        total = visible if arguments.limit is None else min(visible, arguments.limit)
        where = tools.destination(arguments.to)
        if arguments.dry_run:
            print(f"would move about {many(total, 'message')} from {tools.name} ({depth_of(tools)[1]}) to {where}")
            return 0
        confirm(
            f"This moves about {many(total, 'message')} from {tools.name} to {where}. Go on?",
            yes=arguments.yes,
            look=DRY_RUN.flag,
        )
        progress = Progress("moved", total)
        done = tools.redrive(arguments.to, limit=arguments.limit, rate=arguments.rate, told=progress)
        progress.end()
        print(f"moved {many(done, 'message')} from {tools.name} to {where}")
    return 0
