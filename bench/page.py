"""The comparison as a page: a marked section of the reference, and a plot of the ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.measure import Figure, markdown, ratio, short, side_by_side

PAGE = Path("docs/reference/performance.md")
#: The aims: how many times better than the peer.
_READS = ("GET", "list", "filter", "agent lookup")
_READ_AIM, _WRITE_AIM, _MEMORY_AIM = 20.0, 10.0, 3.0
_ROW, _LEFT, _WIDTH, _DECADES = 18, 330, 460, 3.0


def write(
    root: Path, ours: Sequence[Figure], theirs: Sequence[Figure], about: Mapping[str, Any]
) -> None:
    """Put the outcome of a run between the marks of its database."""
    database = str(about["database"])
    plot = PAGE.with_name(f"performance-{database}.svg")
    (root / plot).write_text(_plot(ours, theirs, database))
    page = root / PAGE
    begin, end = (f"<!-- bench {database}: {word} -->" for word in ("begin", "end"))
    before, found, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise RuntimeError(f"{page} has no place for this run: the marks {begin} and {end}")
    text = "\n\n".join(
        [
            begin,
            f"Run at {about['at']} on {about['cores']} cores, Python {about['python']}, "
            f"nice {about['nice']}; load average {about['load_average_before']:.1f} before, "
            f"{about['load_average_after']:.1f} after.",
            f"![How many times better, {database}]({plot.name})",
            markdown(side_by_side(ours, theirs)),
            *_lost("Ingot", ours),
            *_lost("Ironic", theirs),
            end,
        ]
    )
    page.write_text(before + text + after)


def _lost(who: str, figures: Sequence[Figure]) -> list[str]:
    lines = [
        f"- {who}, {figure.name}: {figure.failed} failed or lost; the first: "
        f"`{figure.note[:160].replace('`', '').replace(chr(10), ' ')}`"
        for figure in figures
        if figure.failed
    ]
    return ["\n".join(lines)] if lines else [f"{who}: nothing failed and nothing was lost."]


def _aim(name: str) -> float:
    if name.startswith("memory"):
        return _MEMORY_AIM
    return _READ_AIM if name.startswith(_READS) else _WRITE_AIM


def _plot(ours: Sequence[Figure], theirs: Sequence[Figure], database: str) -> str:
    """Bars on a logarithmic scale, a mark at each aim."""
    others = {figure.name: figure for figure in theirs}
    bars: list[tuple[str, float]] = []
    for mine in ours:
        better = ratio(mine, others[mine.name]) if mine.name in others else None
        if better is not None and "start" not in mine.name:
            bars.append((mine.name, better))
    height = _ROW * len(bars) + 50
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 60}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="8" y="18" font-weight="bold">Times better than Ironic 39.0.0, {database} '
        "(line: the aim)</text>",
    ]
    for power in range(int(_DECADES) + 1):
        at = _at(10.0**power)
        lines.append(f'<path d="M{at:.0f} 28V{height - 16}" stroke="#dddddd"/>')
        lines.append(f'<text x="{at:.0f}" y="{height - 4}" text-anchor="middle">{10**power}</text>')
    for place, (name, better) in enumerate(bars):
        top = 32 + place * _ROW
        reached = better >= _aim(name)
        aim = _at(_aim(name))
        lines += [
            f'<text x="{_LEFT - 6}" y="{top + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{top + 2}" width="{max(1.0, _at(better) - _LEFT):.0f}" '
            f'height="{_ROW - 5}" fill="{"#2f7d4f" if reached else "#b8860b"}"/>',
            f'<path d="M{aim:.0f} {top}v{_ROW - 1}" stroke="#222222"/>',
            f'<text x="{_at(better) + 4:.0f}" y="{top + 12}">{short(better)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _at(value: float) -> float:
    """Where a ratio lies; what is worse than the peer lies at the left edge."""
    return _LEFT + _WIDTH * min(_DECADES, max(0.0, math.log10(value))) / _DECADES
