"""`purge`: delete everything that is in a queue."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ._opening import DRY_RUN, QUEUE, YES, depth_of, opened
from ._options import Option
from ._progress import Progress, confirm, many

NAME = "purge"
SUMMARY = "delete everything that is in a queue"
EXAMPLES = """\
  queue-consumer purge sqs://orders-test --dry-run       how much that would be
  queue-consumer purge sqs://orders-test --yes           in a script, where nobody can be asked"""


def options() -> Sequence[Option]:
    return (QUEUE, DRY_RUN, YES)


def run(arguments: argparse.Namespace) -> int:
    with opened(arguments.queue) as tools:
        total, words = depth_of(tools)
        if arguments.dry_run:
            print(f"would delete about {many(total, 'message')} of {tools.name} ({words})")
            return 0
        confirm(
            f"This deletes about {many(total, 'message')} of {tools.name} ({words}) for ever. Go on?",
            yes=arguments.yes,
            look=DRY_RUN.flag,
        )
        progress = Progress("deleted", total)
        done = tools.purge(progress)
        progress.end()
        print(f"deleted about {many(done, 'message')} of {tools.name}")
    return 0
