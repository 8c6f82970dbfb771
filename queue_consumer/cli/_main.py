"""The command line: which verbs there are, and how each ends."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ._exits import CommandError, Exit
from ._options import add_options, exit_codes, fill_in
from ._plain import plain

__all__ = ["main"]

COMMANDS = ("run", "check", "top", "send", "peek", "redrive", "purge", "bench", "demo")
DESCRIPTION = "Runs and operates consumers of queues."
EPILOG = """\
examples:
  queue-consumer demo                                     what it is about, in a few seconds
  queue-consumer check shop.orders:consumer               what would go wrong, before anything is consumed
  queue-consumer run shop.orders:consumer --processes 4   four copies, supervised
  queue-consumer top /run/orders.sock                     what a running consumer is doing
  queue-consumer redrive sqs://orders-dead --dry-run      what would go back

Each command has a --help with more of them. Each option is also an environment variable, which the help names:
what is typed wins over it.

"""


def version_text() -> str:
    try:
        return version("queue-consumer")
    except PackageNotFoundError:  # it runs from a folder and was not installed
        return "(not installed)"


def parser() -> tuple[argparse.ArgumentParser, dict[str, Any]]:
    """The parser, and the commands by name."""
    shape = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="queue-consumer", description=DESCRIPTION, epilog=EPILOG + exit_codes(), formatter_class=shape
    )
    top.add_argument("--version", action="version", version=f"queue-consumer {version_text()}")
    verbs = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands: dict[str, Any] = {}
    for name in COMMANDS:
        command: Any = importlib.import_module(f"queue_consumer.cli._{name}")
        commands[command.NAME] = command
        epilog = f"examples:\n{command.EXAMPLES}\n\n{exit_codes()}"
        verb = verbs.add_parser(
            command.NAME,
            help=command.SUMMARY,
            description=command.SUMMARY[0].upper() + command.SUMMARY[1:] + ".",
            epilog=epilog.replace("%", "%%"),
            formatter_class=shape,
        )
        add_options(verb, command.options())
    return top, commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. What goes wrong is said in a sentence on standard error."""
    top, commands = parser()
    try:
        given = top.parse_args(arguments)
    except SystemExit as ended:  # after --help, or with what is wrong said
        return int(ended.code or 0)
    command = commands[given.command]
    try:
        fill_in(given, command.options())
        return int(command.run(given))
    except CommandError as error:
        said = plain(str(error), keep="\n")  # it may have the words of others in it
        print(f"queue-consumer {given.command}: {said}", file=sys.stderr)
        return int(error.code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:  # whoever read what we print, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.CLEAN)
