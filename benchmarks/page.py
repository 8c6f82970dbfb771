"""What docs/benchmarks.md shows of results.json, which a whole run writes there.

Run by itself, `python benchmarks/page.py` puts the results that there are into the page.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import bars
import catalogue
from bars import Verdict
from contender import Contender
from report import Row, quantity
from sqs_report import BEGIN, END, SQS, Table, replaced

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "results.json"
PAGE = HERE.parent / "docs" / "benchmarks.md"


def block(results: dict[str, Any]) -> str:
    """What was measured, between its marks."""
    settings = results["settings"]
    peers = ", ".join(f"{name} {version}" for name, version in results["versions"].items() if name != "queue-consumer")
    intro = (
        f"Measured on {results['measured'].partition('T')[0]} ({results['python']}, {results['cpus']} cores, "
        f"{results['processor']}; load at the start {results['load'][0]:.1f}; {peers}); {settings['rounds']} rounds, "
        "contenders in turns."
    )
    rounds = results["rounds"]
    names = [contender.full_name for contender in catalogue.ALL if contender.kind == "peer"]
    own = [bar for bar in catalogue.BARS if not bar.subject.startswith(SQS)]
    verdicts = bars.judge(rounds, peers=names, bars=own)
    parts = [intro, throughput(rounds).markdown, judged(verdicts).markdown]
    absent = dict.fromkeys(verdict.bar.subject.partition(": ")[0] for verdict in verdicts if verdict.value is None)
    if absent:
        parts.append(f"With bars of their own, and not measured in this run: {', '.join(absent)}.")
    return "\n\n".join((BEGIN, *parts, END))


def throughput(rounds: dict[str, list[dict[str, float]]]) -> Table:
    """Items per second, the fastest first."""

    def middle(contender: Contender) -> float:
        return statistics.median(sample["rate"] for sample in rounds[contender.full_name])

    measured = [each for each in catalogue.ALL if each.topic == "throughput" and rounds.get(each.full_name)]
    rows: list[Row] = []
    for contender in sorted(measured, key=middle, reverse=True):
        rates = [sample["rate"] for sample in rounds[contender.full_name]]
        name = f"queue_consumer, {contender.name}" if contender.kind == "ours" else contender.name
        spread = f"{quantity(min(rates), '')} – {quantity(max(rates), '')}"
        rows.append((name, quantity(middle(contender), ""), spread))
    return Table("Items per second, handlers that do nothing", ("", "median", "slowest – fastest round"), rows)


def said(verdict: Verdict) -> str:
    bar = verdict.bar
    return bar.subject if bar.metric == "rate" else f"{bar.subject}, {bar.metric.replace('_', ' ')}"


def judged(verdicts: list[Verdict]) -> Table:
    rows: list[Row] = []
    for verdict in verdicts:
        if verdict.value is not None:
            bar = verdict.bar
            against = f" of {verdict.against.partition(': ')[2]}" if verdict.against else ""
            limit = f"{'≤' if bar.at_most else '≥'} {quantity(bar.limit, bar.unit)}{against}"
            rows.append((said(verdict), limit, quantity(verdict.value, bar.unit), verdict.word))
    return Table("Bars, judged on the median of the rounds' ratios", ("", "bar", "measured", ""), rows)


def write(results: dict[str, Any]) -> None:
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), block(results)), encoding="utf-8")


if __name__ == "__main__":
    write(json.loads(RESULTS.read_text(encoding="utf-8")))
    print(f"Wrote {PAGE}")
