"""`peek`: look at messages, which stay where they are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ._opening import QUEUE, YES, depth_of, opened
from ._options import Option, count
from ._plain import json_of, plain
from ._progress import confirm

NAME = "peek"
SUMMARY = "look at messages of a queue, which stay in it"
EXAMPLES = """\
  queue-consumer peek sqs://orders-dead                  the first few, a line each
  queue-consumer peek sqs://orders-dead --limit 100 --json --yes | jq .body"""


def options() -> Sequence[Option]:
    return (
        QUEUE,
        Option("--limit", "so many at most", count(), 10, shown="N"),
        Option("--json", "a JSON object for each, with the whole body", None, False),
        YES,
    )


def run(arguments: argparse.Namespace) -> int:
    with opened(arguments.queue) as tools:
        if tools.peek_cost:
            confirm(f"{tools.peek_cost} Look all the same?", yes=arguments.yes)
        if not arguments.json:
            print(f"{tools.name}: {depth_of(tools)[1]}")
        for message in tools.peek(arguments.limit):
            print(in_json(message) if arguments.json else in_a_line(message))
    return 0


def in_json(message: Any) -> str:
    return json_of(
        {
            "id": getattr(message, "id", None),
            "attempt": getattr(message, "attempt", None),
            "group": getattr(message, "group", None),
            "attributes": dict(getattr(message, "attributes", {})),
            "body": getattr(message, "body", message),
        }
    )


def in_a_line(message: Any, width: int = 100) -> str:
    body = plain(" ".join(str(getattr(message, "body", message)).split()))
    shown = body if len(body) <= width else body[: width - 1] + "…"
    id = getattr(message, "id", "")
    attempt = getattr(message, "attempt", None)
    return f"{plain(str(id))}  {f'attempt {attempt}  ' if attempt is not None else ''}{shown}"
