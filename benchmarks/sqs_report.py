"""The SQS part of one run as tables: as text, and as Markdown for the documents."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import sqs_bars
import sqs_batches
import sqs_cpu
import sqs_idle
import sqs_leases
import sqs_priorities
from bars import Rounds, Verdict, median, ratios
from report import Row, quantity, table

SQS = "SQS "  # what the topics begin with
BEGIN, END = "<!-- what follows was measured -->", "<!-- what was measured ends here -->"


class Table(NamedTuple):
    """A table with the medians of the rounds."""

    title: str
    head: Row
    rows: Sequence[Row]

    @property
    def text(self) -> str:
        return table(self.title, self.head, self.rows)

    @property
    def markdown(self) -> str:
        rule = ("---", *["---:"] * (len(self.head) - 1))
        rows = [f"| {' | '.join(row)} |" for row in (self.head, rule, *self.rows)]
        return "\n".join((f"**{self.title}**", "", *rows))


def tables(rounds: Rounds) -> Iterator[Table]:
    """Those of which something was measured."""
    for made in (cost, calls, idle, priorities, leases, keeper, stops):
        found = made(rounds)
        if found.rows:
            yield found


def cell(rounds: Rounds, name: str, metric: str, unit: str) -> str:
    value = median(rounds, name, metric)
    return "–" if value is None else quantity(value, unit)


def cost(rounds: Rounds) -> Table:
    names = [contender.full_name for contender in sqs_cpu.CONTENDERS if rounds.get(contender.full_name)]
    bare = sqs_bars.COST[sqs_cpu.BARE]
    rows: list[Row] = []
    for name in names:
        against = ratios(rounds, name, bare, "cpu")
        rows.append(
            (
                name.partition(": ")[2],
                cell(rounds, name, "cpu", "s"),
                quantity(statistics.median(against), "×") if against else "–",
                cell(rounds, name, "calls", "calls"),
                cell(rounds, name, "rate", ""),
            )
        )
    head = ("", "client CPU a message", "× bare loop", "calls a message", "messages/s")
    return Table("What a message costs, from a full queue, handlers that do nothing", head, rows)


def calls(rounds: Rounds) -> Table:
    name = sqs_bars.CALLS
    measured = rounds.get(name)
    rows = [
        (
            f"{handlers} handler{'s' if handlers > 1 else ''}",
            *(at_pace(rounds, handlers, rate) for rate in sqs_batches.RATES),
        )
        for handlers in sqs_batches.HANDLERS
        if measured
    ]
    head = ("messages done a second", *map(str, sqs_batches.RATES))
    return Table("Calls per message, by how many are done a second, messages_bulk_size=1", head, rows)


def at_pace(rounds: Rounds, handlers: int, rate: int) -> str:
    """Calls per message; with the pace, where that was not as it should be, since the machine had no time."""
    what = sqs_batches.metric(handlers, rate)
    pace = median(rounds, sqs_bars.CALLS, f"pace of {what}")
    calls = cell(rounds, sqs_bars.CALLS, what, "calls")
    return calls if pace is None or pace > 0.9 * rate else f"{calls} (at {pace:.0f})"


def idle(rounds: Rounds) -> Table:
    name = sqs_bars.IDLE
    rows = [
        (
            str(workers),
            cell(rounds, name, f"polls {workers}", "calls"),
            cell(rounds, name, f"hour {workers}", ""),
            cell(rounds, name, f"woken {workers}", "calls"),
        )
        for workers in sqs_idle.WORKERS
        if rounds.get(name)
    ]
    head = ("getters (`max_workers`)", "polls open at a time", "so calls an hour", "threads woken by an empty answer")
    return Table("An idle queue", head, rows)


def priorities(rounds: Rounds) -> Table:
    rows: list[Row] = []
    for name in (sqs_priorities.NAME, sqs_priorities.DENSE):
        full = sqs_bars.full_name(sqs_priorities.TOPIC, name)
        for latency in sqs_priorities.LATENCIES if rounds.get(full) else ():
            columns = ("round trip", "wait p50", "wait p99", "way p99", "age p50", "age p99")
            rows.append(
                (f"{name}, {latency} ms away", *(cell(rounds, full, f"{what} at {latency}", "s") for what in columns))
            )
    head = (
        "",
        "round trip of a poll",
        "free handler waits, p50",
        "p99",
        "came to a free handler, p99",
        "from send to start, p50",
        "p99",
    )
    return Table("Urgent messages among 100 slow ones", head, rows)


def leases(rounds: Rounds) -> Table:
    columns = (("heartbeats", ""), ("busiest_second", ""), ("renewed", "calls"), ("expired", ""))
    rows = [
        (name.partition(": ")[2], *(cell(rounds, name, what, unit) for what, unit in columns))
        for name in (sqs_bars.HELD, sqs_bars.FAR)
        if rounds.get(name)
    ]
    head = ("", "heartbeat calls a second", "in the busiest second", "renewals a message", "expired")
    return Table("Leases, over twice the half of a lease", head, rows)


def keeper(rounds: Rounds) -> Table:
    name = sqs_bars.BEHIND
    columns = (
        ("came", ""),
        ("in_flight_at_most", ""),
        ("said_after", "s"),
        ("held_when_said", ""),
        ("held_back", "%"),
        ("lost", ""),
    )
    rows = [
        (sqs_leases.BEHIND, *(cell(rounds, name, what, unit) for what, unit in columns))
        for _ in [name]
        if rounds.get(name)
    ]
    head = ("", "messages came", "held at most", "it said so after", "then it held", "time not fetching for it", "lost")
    return Table("Leases that cannot be renewed in time (a renewal takes 1.6 s, a lease lasts 4 s)", head, rows)


def stops(rounds: Rounds) -> Table:
    columns = (("stop", "s"), ("slowest", "s"), ("hidden", "s"), ("longest_hidden", "s"))
    rows = [
        (server, *(cell(rounds, name, what, unit) for what, unit in columns))
        for server, name in sqs_bars.STOPS.items()
        if rounds.get(name)
    ]
    head = ("", "stopped after", "slowest of five", "a message sent then is hidden for", "longest")
    return Table("Stopping in the middle of a poll of 20 seconds", head, rows)


def bars(verdicts: Sequence[Verdict]) -> Table:
    rows: list[Row] = []
    for verdict in verdicts:
        bar = verdict.bar
        if not bar.subject.startswith(SQS):
            continue
        against = f" of {verdict.against.partition(': ')[2]}" if verdict.against else ""
        limit = f"{'≤' if bar.at_most else '≥'} {quantity(bar.limit, bar.unit)}{against}"
        value = "–" if verdict.value is None else quantity(verdict.value, bar.unit)
        rows.append((f"{bar.subject.removeprefix(SQS)}, {bar.metric.replace('_', ' ')}", limit, value, verdict.word))
    return Table("Bars", ("", "bar", "measured", ""), rows)


def block(
    rounds: Rounds, verdicts: Sequence[Verdict], missing: Mapping[str, str], *, where: str, date: str, count: int
) -> str:
    """What a document shows of a run, between its marks."""
    intro = (
        f"Measured on {date} ({where}); medians of {count} round{'s' if count > 1 else ''}, contenders in turns, "
        "client and server on a core each."
    )
    absent = [f"Not measured: {name.partition(': ')[2]} ({why})" for name, why in missing.items() if SQS in name]
    parts = (intro, *absent, *(each.markdown for each in tables(rounds)), bars(verdicts).markdown)
    return "\n\n".join((BEGIN, *parts, END))


def replaced(document: str, new: str) -> str:
    """The document with this in the place of what was measured before.

    Raises:
        ValueError: it has no place for it.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document has no {BEGIN} or no {END} behind it")
    return f"{before}{new}{after}"
