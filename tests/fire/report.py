"""What is shown of a run when it is over: two tables, a row for each combination, and what was found.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fire.causes import Cause
from fire.judge import Verdict
from fire.plan import Combination
from fire.stage import Played

HEADS: Mapping[Cause, str] = {
    Cause.FAILED: "failed",
    Cause.CONSUMER_KILLED: "killed",
    Cause.CHILD_KILLED: "child",
    Cause.DELETE_FAILED: "delete",
    Cause.DELETE_UNKNOWN: "doubt",
    Cause.DELETE_LATE: "late",
    Cause.LEASE_LOST: "lease",
    Cause.ANSWER_LATE: "overdue",
}
ACTS: Mapping[str, str] = {
    "kill the consumer": "consumers killed",
    "kill a child": "children",
    "kill the server": "servers",
    "hang up": "hang-ups",
    "expire the keys": "keys expired",
}
SHOWN = 20  # findings of one combination


@dataclass(frozen=True)
class Part:
    """One combination's."""

    combination: Combination
    played: Played
    verdict: Verdict

    @property
    def words(self) -> str:
        found = len(self.verdict.findings)
        return f"{found} FINDINGS" if found else "fine"


def tables(parts: Sequence[Part]) -> str:
    """Of messages and why some were handled again; of what was done to them."""
    return "\n".join([*messages(parts), "", *harm(parts)])


def messages(parts: Sequence[Part]) -> list[str]:
    rows = [
        [
            str(part.combination),
            *(f"{count:,}" for count in (part.verdict.sent, part.verdict.handled, part.verdict.handlings)),
            *(str(part.verdict.again[cause] or "") for cause in HEADS),
            f"{part.played.calls:,}",
            f"{part.played.seconds:.0f} s",
            part.words,
        ]
        for part in parts
    ]
    heads = ["", "sent", "handled", "in all", *HEADS.values(), "calls", "took", "verdict"]
    return [
        "Messages, and how many were handled once more, by cause:",
        *table(heads, rows),
        *(f"  {head}: {cause}" for cause, head in HEADS.items()),
    ]


def harm(parts: Sequence[Part]) -> list[str]:
    faults = sorted({name for part in parts for name in part.played.faults})
    lines = ["Faults of calls, and what else was done:"]
    width = max(len(str(part.combination)) for part in parts)
    for part in parts:
        done = [f"{part.played.acts[act]} {head}" for act, head in ACTS.items() if part.played.acts[act]]
        met = [f"{part.played.faults[name]} {name}" for name in faults if part.played.faults[name]]
        lines.append(f"  {part.combination!s:{width}}  {', '.join(done)}; {sum(part.played.faults.values())} faults:")
        lines.append(f"  {'':{width}}  {', '.join(met)}")
    return lines


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The first column and the last to the left, numbers to the right."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    last = len(heads) - 1
    return [
        "  ".join(
            cell.ljust(width) if column in (0, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def findings(part: Part) -> list[str]:
    """The first of them."""
    found = part.verdict.findings
    more = [f"… and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return [f"{part.combination}: {words}" for words in [*found[:SHOWN], *more]]
