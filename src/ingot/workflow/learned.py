"""What was learned of deadlines, for people: by kind of work, hardware model and step."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import Database

from .history import Run, all_runs, groups, newest_rules
from .timing import ENOUGH, Rule, chosen, judge


async def learned(
    db: Database, kind: str | None = None, profile: str | None = None
) -> list[dict[str, Any]]:
    """One entry for each step that was done; by this kind of work and on this profile only, if given.

    `count` runs took `p50` and `p99` seconds; the next run gets `deadline` seconds, which are the author's
    `default` until `learned`. `late` runs were given up at their deadline and count. Where a run takes
    longer for more, the figures are for `bytes`, those of the newest run. `similar`: the word that tells
    apart what runs under one name, such as the steps of a cleaning.
    """
    found: list[dict[str, Any]] = []
    for its_kind, its_profile in await db.scan(groups):
        if kind not in (None, its_kind) or profile not in (None, its_profile):
            continue
        # One group at a time: others get their turn in between.
        found += await db.scan(lambda conn, k=its_kind, p=its_profile: _group(conn, k, p))
    return found


def _group(conn: sa.Connection, kind: str, profile: str) -> list[dict[str, Any]]:
    history = all_runs(conn, kind, profile)
    return [
        {"kind": kind, "profile": profile, "step": step, **_figures(Rule(**told), history[step])}
        for (step, _), told in sorted(newest_rules(conn, kind, profile).items())
        if step in history
    ]


def _figures(rule: Rule, history: list[Run]) -> dict[str, Any]:
    known = judge(chosen(history, rule.similar, rule.amount))
    return {
        "similar": rule.similar,
        "count": known.count if known else 0,
        "late": known.late if known else 0,
        "p50": known.p50 if known else None,
        "p99": known.p99 if known else None,
        "deadline": rule.limit(known),
        "default": rule.default,
        "learned": known is not None and (known.count >= ENOUGH or known.late > 0),
        "bytes": rule.amount,
    }
