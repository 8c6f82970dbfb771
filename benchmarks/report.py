"""The tables of one run as text.   (pure)"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from bars import FASTEST_PEER, PROCESS_SUBMIT, THREAD_SUBMIT, Rounds, Verdict, median, opponent, ratios

Row = tuple[str, ...]

_STEPS: dict[str, tuple[tuple[float, str], ...]] = {
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "B": ((2**20, "MiB"), (2**10, "KiB"), (1, "B")),
    "": ((1e6, "M"), (1e3, "k"), (1, "")),
}


def quantity(value: float, unit: str) -> str:
    """A number as people read it: `1.24 M`, `83 µs`, `412 B`, `98.1 %`, `12.3×`, `0.2013` calls."""
    if unit == "×":
        return f"{value:,.0f}×" if value >= 100 else f"{value:.3g}×"
    if unit == "%":
        return f"{value * 100:.1f} %"
    if unit == "calls":
        return f"{value:.4f}".rstrip("0").rstrip(".")
    steps = _STEPS[unit]
    size, name = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    number = value / size
    return (f"{number:,.0f} {name}" if abs(number) >= 100 else f"{number:.3g} {name}").rstrip()


def table(title: str, head: Row, rows: Sequence[Row]) -> str:
    """Aligned columns, the first to the left and the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Row) -> str:
        first, *others = zip(row, widths, strict=True)
        cells = (first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others))
        return "  ".join(cells).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join((title, "", line(head), rule, *(line(row) for row in rows)))


def _ratio(rounds: Rounds, subject: str, against: str | None, unit: str = "×") -> str:
    values = ratios(rounds, subject, against) if against else []
    return quantity(statistics.median(values), unit) if values else ""


def throughput(rounds: Rounds, names: Sequence[str], peers: Sequence[str], missing: Mapping[str, str]) -> str:
    """Ratios first: they are what one run on one machine can tell."""
    yardsticks = [opponent(who, rounds, peers) for who in (THREAD_SUBMIT, PROCESS_SUBMIT, FASTEST_PEER)]
    rows: list[Row] = []
    for name in names:
        values = [sample["rate"] for sample in rounds.get(name, ())]
        if values:
            spread = f"{quantity(min(values), '')} – {quantity(max(values), '')}"
            cells = [_ratio(rounds, name, against) for against in yardsticks]
            rows.append((_label(name), *cells, quantity(statistics.median(values), ""), spread))
    head = ("", "× thread submit", "× process submit", "× fastest peer", "items/s", "slowest – fastest round")
    text = table("Throughput, handlers that do nothing (ratios: median of the rounds)", head, rows)
    absent = [f"Not measured: {_label(name)}: {why}" for name, why in missing.items()]
    return "\n".join((text, *([""] if absent else []), *absent))


def _label(name: str) -> str:
    return name.partition(": ")[2]


def metrics(
    title: str,
    rounds: Rounds,
    names: Sequence[str],
    columns: Sequence[tuple[str, str]],
    base: Callable[[str], str] | None = None,
) -> str:
    """The medians of some metrics; with `base`, also each rate in per cent of that of `base(name)`."""
    rows: list[Row] = []
    for name in names:
        if rounds.get(name):
            values = [(median(rounds, name, metric), unit) for metric, unit in columns]
            cells = ["" if value is None else quantity(value, unit) for value, unit in values]
            rows.append((_label(name), *cells, *([_ratio(rounds, name, base(name), "%")] if base else [])))
    head = ("", *(metric.replace("_", " ") for metric, _ in columns), *(["with ÷ without"] if base else []))
    return table(title, head, rows)


def bars(verdicts: Sequence[Verdict]) -> str:
    """Each bar with what was measured, and `meets` or `misses`."""
    rows: list[Row] = []
    for verdict in verdicts:
        bar = verdict.bar
        what = bar.subject if bar.metric == "rate" else f"{bar.subject}, {bar.metric.replace('_', ' ')}"
        against = f" of {_label(verdict.against)}" if verdict.against else ""
        limit = f"{'≤' if bar.at_most else '≥'} {quantity(bar.limit, bar.unit)}{against}"
        value = "–" if verdict.value is None else quantity(verdict.value, bar.unit)
        rows.append((f"{what}: {limit}", value, verdict.word))
    return table("Bars (judged on the median of the rounds)", ("", "measured", ""), rows)
