"""The throughputs of one run as one picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from bars import Rounds
from contender import Contender
from report import quantity

COLOURS = {"ours": "#d1495b", "peer": "#edae49", "executor": "#66a182", "bare": "#a0a4ab"}
LEGEND = {
    "ours": "queue_consumer",
    "peer": "other projects, in memory",
    "executor": "concurrent.futures",
    "bare": "bare Python, no safety",
}


def draw(rounds: Rounds, contenders: Sequence[Contender], target: Path, *, footnote: str) -> bool:
    """Writes a PNG of horizontal bars on a logarithmic scale; False where matplotlib is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
        from matplotlib.patches import Patch
    except ImportError:
        return False

    measured = [
        (contender, [sample["rate"] for sample in rounds[contender.full_name]])
        for contender in contenders
        if contender.topic == "throughput" and rounds.get(contender.full_name)
    ]
    measured.sort(key=lambda pair: statistics.median(pair[1]))
    figure, axes = pyplot.subplots(figsize=(10, 1.6 + 0.3 * max(len(measured), 2)), layout="constrained")
    for position, (contender, rates) in enumerate(measured):
        middle = statistics.median(rates)
        axes.barh(position, middle, height=0.72, color=COLOURS[contender.kind])
        axes.plot([min(rates), max(rates)], [position, position], color="#333333", linewidth=1)
        axes.annotate(
            f"{quantity(middle, '')}/s",
            (max(rates), position),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    every = [rate for _, rates in measured for rate in rates]
    axes.set_xscale("log")
    axes.set_xlim(min(every) / 3, max(every) * 4)
    axes.set_ylim(-0.6, len(measured) - 0.4)
    axes.set_yticks(range(len(measured)), [contender.name for contender, _ in measured], fontsize=9)
    for label, (contender, _) in zip(axes.get_yticklabels(), measured, strict=True):
        label.set_fontweight("bold" if contender.kind == "ours" else "normal")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_title("Items per second, handlers that do nothing (log scale)", loc="left", fontsize=12)
    axes.set_xlabel(footnote, fontsize=8, color="#555555", loc="left")
    kinds = {contender.kind for contender, _ in measured}
    handles = [Patch(color=COLOURS[kind], label=label) for kind, label in LEGEND.items() if kind in kinds]
    axes.legend(handles=handles, loc="lower right", fontsize=9, frameon=True, edgecolor="#dddddd")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=150)
    pyplot.close(figure)
    return True
