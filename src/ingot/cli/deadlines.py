"""`ingot deadlines`: how long each step takes on each hardware model, and how long it may take."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from ingot.cli.client import CloudError, cloud, common, fail, plain, query, span

_HEAD = ("MODEL", "WORK", "STEP", "RUNS", "P50", "P99", "DEADLINE", "DEFAULT")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="only on this hardware model")
    parser.add_argument("--work", metavar="KIND", help="only in this kind of work, such as deploy")
    common(parser, "all in one list")


def run(args: argparse.Namespace) -> int:
    try:
        here = cloud(args.os_cloud, args.clouds)
        path = query("/timeline/v1/deadlines", kind=args.work, profile=args.model)
        found = here.get(path)["deadlines"]
        if not found and (args.model or args.work):
            _complain(args, here.get("/timeline/v1/deadlines")["deadlines"])
    except (CloudError, OSError) as error:
        return fail(error)
    if args.format == "json":
        print(json.dumps(found, indent=2))
    elif found:
        print(table([_HEAD, *sorted(map(_row, found))]))
    else:
        print("Nothing was done yet, so nothing is known.")
    return 0


def _complain(args: argparse.Namespace, everything: Sequence[dict[str, Any]]) -> None:
    """Raises CloudError for a model or a work that nobody has seen; both may be known, and not together."""
    for name, field, wanted in (
        ("model", "profile", args.model),
        ("work", "kind", args.work),
    ):
        known = sorted({one[field] for one in everything})
        if wanted and wanted not in known:
            told = ", ".join(known) or "none, since nothing was done yet"
            raise CloudError(f"there is no {name} {wanted!r}; known: {told}")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    step = f"{one['step']} {one['similar']}" if one["similar"] else one["step"]
    late = f" ({one['late']} late)" if one["late"] else ""
    return (
        one["profile"],
        one["kind"],
        step,
        f"{one['count']}{late}",
        _seconds(one["p50"]),
        _seconds(one["p99"]),
        f"{span(one['deadline'])}{' learned' if one['learned'] else ''}",
        span(one["default"]),
    )


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} s" if value < 10 else span(value)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, without spaces at the end."""
    shown = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in shown)
    return "\n".join(lines)
