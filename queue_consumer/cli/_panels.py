"""The picture of `top` at a terminal, drawn by rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ._sights import Sight

__all__ = ["picture"]

COLOURS = {"running": "green", "draining": "yellow", "stopped": "red", "new": "blue"}


def picture(sights: Sequence[Sight], chosen: str | None, said: str) -> Any:
    """All consumers; the chosen one in detail; and what the last key came to."""
    parts: list[Any] = [overview(sights, chosen)]
    for sight in sights:
        if sight.name == chosen:
            parts.append(detail(sight))
        parts += [trouble(sight, worker) for worker in sight.troubled]
    keys = "q quit · ↑↓ choose · p pause or resume · + - max_handlers · s stacks"
    parts.append(Text(said or keys, style="dim" if not said else "bold"))
    return Group(*parts)


def overview(sights: Sequence[Sight], chosen: str | None) -> Table:
    table = Table(expand=True, box=None, padding=(0, 1), header_style="bold")
    for title in ("consumer", "state"):
        table.add_column(title, no_wrap=True)
    for title in ("in/s", "out/s", "in flight", "failed", "handlers", "oldest", "restarts", "stuck"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("fetching", ratio=1)
    for sight in sights:
        stats = sight.stats
        table.add_row(
            Text(("▸ " if sight.name == chosen else "  ") + sight.name),
            Text(sight.state, style=COLOURS.get(sight.state, "")),
            f"{sight.rate_in:,.1f}",
            f"{sight.rate_out:,.1f}",
            f"{stats['in_flight']:,}",
            Text(f"{stats['failed']:,}", style="red" if stats["failed"] else ""),
            f"{sight.busy}/{sight.max_handlers}",
            f"{sight.oldest:.1f} s",
            f"{stats['revived']}",
            Text(f"{stats['stuck']}", style="red" if stats["stuck"] else ""),
            Text(sight.fetching, style="" if sight.fetching == "yes" else "yellow"),
        )
    return table


def detail(sight: Sight) -> Panel:
    """The ledger, the lanes and the price of one consumer."""
    lines = [Text(sight.counts)]
    for lane in sight.lanes:
        name = f"lane {lane['name']} ({lane['priority']:g})" if lane["name"] else "on the belt"
        lines.append(Text(f"{name}: {lane['waiting']} waiting, fetching: {lane['fetching']}"))
    if sight.price:
        lines.append(Text(f"calls: {sight.price}"))
    for worker in sight.workers:
        if worker["kind"] == "handler" and worker["stack"] and worker not in sight.troubled:
            lines.append(Text(f"{worker['name']} {worker['doing']} {worker['item']} for {worker['seconds']:.1f} s"))
            lines.append(Text(worker["stack"].rstrip(), style="dim"))
    return Panel(Group(*lines), title=f"{sight.name} · pid {sight.pid} · {sight.pool}", title_align="left")


def trouble(sight: Sight, worker: Any) -> Panel:
    what = f" with {worker['item']}" if worker["item"] else ""
    title = f"{sight.name}: {worker['name']} {worker['doing']}{what} for {worker['seconds']:.0f} s"
    return Panel(Text(worker["stack"].rstrip() or "…"), title=Text(title), title_align="left", border_style="red")
