"""Whether handlers kept the order of each group, judged by what they wrote down themselves."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Handling", "check_order"]


class Handling(NamedTuple):
    """One time that a handler had an item.

    Attributes:
        id: of the message.
        start: when it was given to the handler, on a clock that all handlers share, as `time.monotonic` is for the
            processes of one machine.
        end: when the handler was through with it, or had failed.
        done: it had not failed, so that the next of its group might follow.
    """

    id: Any
    start: float
    end: float
    done: bool = True


def check_order(
    handled: Iterable[Handling],
    groups: Mapping[Any, Sequence[Hashable]],
    *,
    buried: Collection[Hashable] = (),
) -> None:
    """Compare what handlers wrote down with the order that the messages of each group should have had.

    Of each group one is handled at a time; and none before all that stand before it in the group have been done
    once. What comes again after it was done, since it could not be cleaned up, may come at any time.

    Args:
        handled: in any order.
        groups: for each group, the ids of its messages in the order that they should have.
        buried: ids of those that were given up. Those behind them may be handled once they have failed for the last
            time.

    Raises:
        AssertionError: it was otherwise; each case is a sentence.
    """
    times: dict[Hashable, list[Handling]] = {}
    for handling in handled:
        times.setdefault(handling.id, []).append(handling)
    findings: list[str] = []
    for group, line in groups.items():
        findings += two_at_once(group, [handling for id in line for handling in times.get(id, ())])
        findings += too_early(group, line, times, buried)
    strangers = times.keys() - {id for line in groups.values() for id in line}
    if strangers:
        findings.append(f"{len(strangers)} were handled that are of no group: {listed(strangers)}")
    if findings:
        raise AssertionError("\n".join(["the order was not kept:", *findings]))


def two_at_once(group: Any, handlings: list[Handling]) -> Iterator[str]:
    """One of a group is handled at a time."""
    running: Handling | None = None
    for handling in sorted(handlings, key=lambda handling: handling.start):
        if running is not None and handling.start < running.end:
            yield f"two of {group!r} were handled at once: {running.id} and {handling.id}"
        if running is None or handling.end > running.end:
            running = handling


def too_early(
    group: Any, line: Sequence[Hashable], times: Mapping[Hashable, list[Handling]], buried: Collection[Hashable]
) -> Iterator[str]:
    """None is handled before all before it are done."""
    free, last = -math.inf, None  # when all before were done, and which of them was the last to be
    for id in line:
        handlings = times.get(id, [])
        for handling in handlings:
            if handling.start < free:
                ended = "which was never done" if free == math.inf else "which was not done yet"
                yield f"of {group!r}, {id} was handled before {last}, {ended}"
        if id in buried:
            done = max((handling.end for handling in handlings), default=-math.inf)
        else:
            done = min((handling.end for handling in handlings if handling.done), default=math.inf)
        if done > free:
            free, last = done, id


def listed(ids: Collection[Any]) -> str:
    return ", ".join(sorted(map(str, ids))[:10])
