"""The SQS part of one run as one picture: CPU, calls, and how long urgent messages wait."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import sqs_bars
import sqs_batches
import sqs_cpu
import sqs_priorities
from bars import Rounds, median
from plot import COLOURS
from report import quantity

GREY, RED, BLUE = "#333333", COLOURS["ours"], "#30638e"


def draw(rounds: Rounds, target: Path, *, footnote: str) -> bool:
    """Writes a PNG with those panels for which there are numbers; False without any, or without matplotlib."""
    panels = [
        panel
        for name, panel in (
            (sqs_bars.COST[sqs_cpu.BARE], cpu),
            (sqs_bars.CALLS, calls),
            (sqs_bars.PRIORITIES, priorities),
        )
        if rounds.get(name)
    ]
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return False
    if not panels:
        return False
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(5.6 * len(panels), 4.6), layout="constrained", squeeze=False
    )
    for panel, place in zip(panels, axes[0], strict=True):
        panel(rounds, place)
        place.set_axisbelow(True)
        for side in ("top", "right"):
            place.spines[side].set_visible(False)
    figure.supxlabel(footnote, fontsize=8, color="#555555", x=0.01, ha="left")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=150)
    pyplot.close(figure)
    return True


def cpu(rounds: Rounds, axes: Any) -> None:
    """Client CPU per message, a bar for each contender."""
    measured = [
        (contender, [sample["cpu"] for sample in rounds[contender.full_name]])
        for contender in sqs_cpu.CONTENDERS
        if rounds.get(contender.full_name)
    ]
    measured.sort(key=lambda pair: -statistics.median(pair[1]))
    for position, (contender, values) in enumerate(measured):
        middle = statistics.median(values)
        axes.barh(position, middle * 1e3, height=0.72, color=COLOURS[contender.kind])
        axes.plot([min(values) * 1e3, max(values) * 1e3], [position, position], color=GREY, linewidth=1)
        axes.annotate(
            quantity(middle, "s"),
            (max(values) * 1e3, position),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(measured)), [contender.name for contender, _ in measured], fontsize=9)
    for label, (contender, _) in zip(axes.get_yticklabels(), measured, strict=True):
        label.set_fontweight("bold" if contender.kind == "ours" else "normal")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(right=axes.get_xlim()[1] * 2.5)
    axes.set_title("Client CPU a message, ms (log scale)", loc="left", fontsize=11)


def calls(rounds: Rounds, axes: Any) -> None:
    """Calls per message, by messages done a second."""
    for handlers, colour in zip(sqs_batches.HANDLERS, (RED, BLUE), strict=True):
        values = [median(rounds, sqs_bars.CALLS, sqs_batches.metric(handlers, rate)) for rate in sqs_batches.RATES]
        label = f"{handlers} handler{'s' if handlers > 1 else ''}"
        axes.plot(sqs_batches.RATES, values, color=colour, marker="o", markersize=4, label=label)
    axes.axhline(0.2, color=GREY, linewidth=0.8, linestyle=":")
    axes.annotate("0.2: ten by each call", (1, 0.2), xytext=(0, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xticks(sqs_batches.RATES, [str(rate) for rate in sqs_batches.RATES])
    axes.minorticks_off()
    axes.set_ylim(0, 2.2)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.legend(fontsize=9, frameon=False)
    axes.set_xlabel("messages done a second", fontsize=9)
    axes.set_title("Calls per message", loc="left", fontsize=11)


def priorities(rounds: Rounds, axes: Any) -> None:
    """How long a free handler waits for an urgent message, by the round trip of a poll."""
    name, latencies = sqs_bars.PRIORITIES, sqs_priorities.LATENCIES
    trips = [(median(rounds, name, f"round trip at {latency}") or 0) * 1e3 for latency in latencies]
    for what, colour, marker in (("p99", RED, "o"), ("p50", BLUE, "s")):
        values = [median(rounds, name, f"wait {what} at {latency}") for latency in latencies]
        shown = [(trip, value * 1e3) for trip, value in zip(trips, values, strict=True) if value is not None]
        axes.plot(*zip(*shown, strict=True), color=colour, marker=marker, markersize=4, label=what)
    axes.plot(
        [0, max(trips)],
        [10, max(trips) + 10],
        color=GREY,
        linewidth=0.8,
        linestyle=":",
        label="bar: a round trip + 10 ms",
    )
    axes.set_ylim(bottom=0)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.legend(fontsize=9, frameon=False)
    axes.set_xlabel("round trip of a poll, ms", fontsize=9)
    axes.set_title("A free handler waits for an urgent message, ms", loc="left", fontsize=11)
