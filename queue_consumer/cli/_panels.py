"""The picture of `top` at a terminal, drawn by rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ._sights import Sight, stack_of, title_of

__all__ = ["picture"]

WIDE = 100  # columns
SHOWN = 8  # lines of a stack
COLOURS = {"running": "green", "draining": "yellow", "stopped": "red", "new": "blue"}


def picture(sights: Sequence[Sight], chosen: Sight | None, said: str, width: int) -> Any:
    """All consumers; what the last key came to, or which there are; what is in trouble; and the chosen one in detail.

    What does not fit on the screen is cut off at the bottom, so the most important is at the top.
    """
    keys = "q quit · ↑↓ choose · p pause or resume · + - max_handlers · s stacks"
    parts: list[Any] = [
        overview(sights, chosen, width >= WIDE),
        Text(said or keys, style="dim" if not said else "bold"),
    ]
    parts += [place(sight, worker, "red") for sight in sights for worker in sight.troubled]
    if chosen is not None:
        parts.append(detail(chosen))
        parts += [place(chosen, worker, "dim") for worker in chosen.worth_a_look if worker not in chosen.troubled]
    return Group(*parts)


def overview(sights: Sequence[Sight], chosen: Sight | None, wide: bool) -> Table:
    """A line for each. What there is no room for stands in the details."""
    names = [sight.name for sight in sights]
    table = Table(expand=True, box=None, padding=(0, 1 if wide else 0, 0, 1), header_style="bold")
    table.add_column("consumer", no_wrap=True, ratio=2)
    table.add_column("state", no_wrap=True, min_width=8)
    titles = ["in/s", "out/s", "in flight", "failed", "handlers", "oldest", "stuck"]
    for title in [*titles, "restarts"] if wide else titles:
        table.add_column(title, justify="right", no_wrap=True, min_width=len(title))
    if wide:
        table.add_column("fetching", ratio=1)
    for sight in sights:
        name = sight.name if names.count(sight.name) == 1 else f"{sight.name} {sight.pid}"
        failed, state = sight.stats["failed"], sight.state
        cells: list[Any] = [
            Text(("▸ " if sight is chosen else "  ") + name),
            Text(state, style=COLOURS.get(state, "")),
            f"{sight.rate_in:,.1f}",
            f"{sight.rate_out:,.1f}",
            f"{sight.stats['in_flight']:,}",
            Text(f"{failed:,}", style="red" if failed else ""),
            f"{sight.busy}/{sight.max_handlers}",
            f"{sight.oldest:.1f} s",
            Text(f"{sight.stuck}", style="red" if sight.stuck else ""),
        ]
        if wide:
            cells += [
                f"{sight.stats['revived']}",
                Text(sight.fetching, style="" if sight.fetching == "yes" else "yellow"),
            ]
        table.add_row(*cells)
    return table


def detail(sight: Sight) -> Panel:
    """The ledger, the lanes and the price of one consumer."""
    stats = sight.stats
    lines = [Text(sight.counts), Text(f"restarts {stats['revived']}, stuck {stats['stuck']} in all")]
    lines.append(Text(f"fetching: {sight.fetching}", style="" if sight.fetching == "yes" else "yellow"))
    for lane in sight.lanes:
        if lane["name"]:
            name = f"lane {lane['name']} ({lane['priority']:g})"
            lines.append(Text(f"{name}: {lane['waiting']} waiting, fetching: {lane['fetching']}"))
        else:
            lines.append(Text(f"on the belt: {lane['waiting']} waiting"))
    if sight.price:
        lines.append(Text(f"calls: {sight.price}"))
    return Panel(Group(*lines), title=Text(f"{sight.name} · pid {sight.pid} · {sight.pool}"), title_align="left")


def place(sight: Sight, worker: Any, colour: str) -> Panel:
    """Where a handler stands: the innermost lines, which say the most."""
    lines = stack_of(worker)
    text = "\n".join(lines if len(lines) <= SHOWN else ["  …", *lines[-SHOWN:]])
    title = Text(f"{sight.name}: {title_of(worker)}")
    return Panel(Text(text or "…"), title=title, title_align="left", border_style=colour)
