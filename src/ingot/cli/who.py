"""`ingot audit` and `ingot operations`: who changed what, who was refused, and what long work came of it."""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from typing import Any

from ingot.cli.client import Cloud, CloudError, cloud, common, count, escaped, fail, moment, query
from ingot.cli.deadlines import table
from ingot.cli.watch import Names, pages, subjects_of

_AUDIT = ("TIME", "WHO", "FROM", "ACTION", "TARGET", "STATUS", "REQUEST")
_OPERATIONS = ("BEGAN", "WORK", "SUBJECT", "STATE", "FOR", "REQUEST", "WHY")


def configure_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="NAME or ID", help="only what this user did")
    parser.add_argument("--target", metavar="ID", help="only what was done to this")
    parser.add_argument("--service", help="identity, image, network, baremetal or compute")
    parser.add_argument("--request", metavar="ID", help="only this request")
    parser.add_argument("--failed", action="store_true", help="only what was refused or failed")
    _times(parser)
    common(parser, "one JSON object a line, with the fields of CADF")


def configure_operations(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", nargs="?", metavar="NODE or SERVER", help="name or uuid")
    parser.add_argument("--live", action="store_true", help="only those that have not ended")
    parser.add_argument("--limit", type=count, default=100, help="newest so many (default: 100)")
    common(parser)


def _times(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=count, default=100, help="newest so many (default: 100)")
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="2026-01-31T12:00, or 90s, 20m, 6h, 2d ago"
    )
    parser.add_argument("--until", type=moment, metavar="TIME", help="before it, alike")


def run_audit(args: argparse.Namespace) -> int:
    try:
        here = cloud(args.os_cloud, args.clouds)
        wanted = {name: getattr(args, name) for name in _FILTERS}
        as_json = args.format == "json"
        path = query("/timeline/v1/audit", **wanted, failed="true" if args.failed else None)
        found = pages(here, query(path, cadf="true" if as_json else None), "audit", args.limit)
    except (CloudError, OSError) as error:
        return fail(error)
    found.reverse()
    if as_json:
        for one in found:
            print(json.dumps(one))
    elif found:
        print(table([_AUDIT, *map(_record, found)]))
    else:
        print("No records.")
    return 0


_FILTERS = ("user", "target", "service", "request", "since", "until")


def _record(one: dict[str, Any]) -> tuple[str, ...]:
    data = one["data"]
    times = f" x{data['count']}" if data.get("count") else ""
    why = f" {data['reason']}" if data.get("reason") else ""
    return (
        _at(one["at"]),
        one["user_name"] or one["user_id"] or "-",
        one["client"] or "-",
        one["action"],
        " ".join(filter(None, (one["target_type"], one["target_id"], data.get("name")))),
        f"{one['status']}{times}{why}",
        one["request_id"] or "-",
    )


def run_operations(args: argparse.Namespace) -> int:
    try:
        here = cloud(args.os_cloud, args.clouds)
        found: list[dict[str, Any]] = []
        for subject in subjects_of(here, args.subject) or [None]:
            live = "true" if args.live else None
            limit = min(args.limit, 1000)
            path = query("/timeline/v1/operations", subject=subject, live=live, limit=limit)
            found += here.get(path)["operations"]
        found.sort(key=lambda one: one["created_at"])
        found = found[-args.limit :]
        if args.format == "json":
            for one in found:
                print(json.dumps(one))
        elif found:
            names, users = Names(here), _Users(here)
            print(table([_OPERATIONS, *(_operation(one, names, users) for one in found)]))
        else:
            print("No operations.")
        return 0
    except (CloudError, OSError) as error:
        return fail(error)


def _operation(one: dict[str, Any], names: Names, users: _Users) -> tuple[str, ...]:
    fault: dict[str, Any] = one["fault"] or {}
    return (
        _at(one["created_at"]),
        one["kind"],
        names.of(one["subject"]),
        f"{one['state']} {one['step'] or ''}".strip() if not one["ended_at"] else one["state"],
        users.of(one["requested_by"]),
        one["request_id"] or "-",
        str(fault.get("text") or ""),
    )


class _Users:
    """Names of users, each asked for once; an id where we may not know it."""

    def __init__(self, here: Cloud) -> None:
        self._here = here
        self._known: dict[str, str] = {"": "the cloud"}

    def of(self, ident: str) -> str:
        if ident not in self._known:
            try:
                path = f"/identity/v3/users/{escaped(ident)}"
                self._known[ident] = str(self._here.get(path)["user"]["name"])
            except (CloudError, OSError, KeyError, TypeError):
                self._known[ident] = ident
        return self._known[ident]


def _at(text: str) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
