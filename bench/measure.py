"""What a figure is: one value a round, with what went wrong, and how a list of them is printed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import peer


@dataclass
class Figure:
    """values: one a round, in `unit`. cpu_ms: the server's CPU a piece of work, one a round.

    failed: answers that were lost or had another status than they should, over all rounds.
    p99: of the latencies, in milliseconds, one a round.
    """

    name: str
    unit: str
    values: list[float] = field(default_factory=list[float])
    cpu_ms: list[float] = field(default_factory=list[float])
    p99: list[float] = field(default_factory=list[float])
    failed: int = 0
    note: str = ""

    def document(self) -> dict[str, Any]:
        middle = round(statistics.median(self.values), 4) if self.values else None
        return {**asdict(self), "median": middle, "peer": peer.told(self.name)}


def short(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def spread(values: Sequence[float]) -> tuple[str, str]:
    """Median, and the range when there is one."""
    if not values:
        return "-", ""
    middle = short(statistics.median(values))
    lowest, highest = short(min(values)), short(max(values))
    return middle, f"{lowest} - {highest}" if len(values) > 1 else ""


def rows(figures: Sequence[Figure], database: str) -> list[tuple[str, ...]]:
    """The table's cells, its head first."""
    told = [("work", "unit", "median", "range", "CPU ms each", "p99 ms", "failed", "peer, earlier")]
    for figure in figures:
        middle, extent = spread(figure.values)
        told.append(
            (
                figure.name,
                figure.unit,
                middle,
                extent,
                spread(figure.cpu_ms)[0] if figure.cpu_ms else "",
                spread(figure.p99)[0] if figure.p99 else "",
                str(figure.failed),
                peer.told(figure.name).get(database, ""),
            )
        )
    return told


#: Units in which less is better.
_LESS = frozenset({"s", "ms", "MiB", "CPU s"})


def ratio(ours: Figure, theirs: Figure) -> float | None:
    """How many times better we are, by the medians."""
    if not (ours.values and theirs.values):
        return None
    mine, peers = statistics.median(ours.values), statistics.median(theirs.values)
    above, below = (peers, mine) if ours.unit in _LESS else (mine, peers)
    return above / below if below else None


def side_by_side(ours: Sequence[Figure], theirs: Sequence[Figure]) -> list[tuple[str, ...]]:
    """Cells of figures that were measured in turn in one run, their head first."""
    head = (
        "work",
        "unit",
        "ingot",
        "range",
        "ironic",
        "range",
        "times better",
        "CPU ms each",
    )
    told: list[tuple[str, ...]] = [(*head, "ironic's", "times less", "failed", "ironic's")]
    others = {figure.name: figure for figure in theirs}
    for mine in ours:
        peers = others.get(mine.name)
        if peers is None:
            continue
        better = ratio(mine, peers)
        spent, spends = spread(mine.cpu_ms)[0], spread(peers.cpu_ms)[0]
        less = None
        if mine.cpu_ms and peers.cpu_ms and statistics.median(mine.cpu_ms) > 0:
            less = statistics.median(peers.cpu_ms) / statistics.median(mine.cpu_ms)
        told.append(
            (
                mine.name,
                mine.unit,
                *spread(mine.values),
                *spread(peers.values),
                f"{better:.1f}" if better else "",
                spent if mine.cpu_ms else "",
                spends if peers.cpu_ms else "",
                f"{less:.1f}" if less else "",
                str(mine.failed),
                str(peers.failed),
            )
        )
    return told


def table(cells: Sequence[Sequence[str]]) -> str:
    """Columns of equal width; numbers to the right."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines: list[str] = []
    for row in cells:
        parts = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        parts += [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """The same for a page."""
    head, *rest = ["| " + " | ".join(row) + " |" for row in cells]
    rule = "|---|---|" + "---:|" * (len(cells[0]) - 2)
    return "\n".join([head, rule, *rest])
