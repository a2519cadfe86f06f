"""`ingot watch` and `ingot events`: every step, live or from the record.

On a terminal running steps are redrawn in place with progress, rate and time left; anywhere else each
event is a line of its own, so that logs and CI stay readable. `-f json` gives one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from datetime import datetime
from typing import Any

from ingot.cli.client import (
    Cloud,
    CloudError,
    cloud,
    common,
    count,
    escaped,
    fail,
    moment,
    plain,
    query,
    span,
)

_SIGNS = {
    "operation.started": ">",
    "operation.done": "=",
    "operation.failed": "!",
    "step.started": " ",
    "step.done": "+",
    "step.failed": "!",
    "step.retry": "~",
    "step.progress": ".",
    "wait.started": "?",
    "wait.done": "+",
    "note": "-",
}
_ENDS = ("operation.done", "operation.failed")
#: How long a watcher waits for a cloud that went away.
RETRY_SECONDS = 60
_IRONIC = {"X-OpenStack-Ironic-API-Version": "1.109"}
_COMPUTE = {"OpenStack-API-Version": "compute 2.1"}


def configure_watch(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--since", type=int, default=None, metavar="ID", help="replay events after")
    parser.add_argument(
        "--until-idle",
        action="store_true",
        help="end when nothing is under way there (any more): 0 when all went well",
    )


def configure_events(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--limit", type=count, default=200, help="newest so many (default: 200)")
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="2026-01-31T12:00, or 90s, 20m, 6h, 2d ago"
    )
    parser.add_argument("--until", type=moment, metavar="TIME", help="before it, alike")
    parser.add_argument(
        "--severity", choices=("info", "warning", "error"), help="this one and what is worse"
    )


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", nargs="?", metavar="NODE or SERVER", help="name or uuid")
    common(parser)


def run_watch(args: argparse.Namespace) -> int:
    try:
        here = cloud(args.os_cloud, args.clouds)
        subjects = subjects_of(here, args.subject)
        watch = _Watch(here, subjects, Printer(args.format == "json", here), args.since)
        here.get("/timeline/v1/operations?limit=1")  # wrong names and passwords end here
        if args.until_idle:
            watch.last = watch.last or _newest(here)
            if watch.idle():
                return watch.end()
        return watch.run(args.until_idle)
    except (CloudError, OSError) as error:
        return fail(error)


class _Watch:
    """The stream of some subjects ([]: all), and whether what was seen to end went well."""

    def __init__(
        self, here: Cloud, subjects: list[str], printer: Printer, last: int | None
    ) -> None:
        self.last = last
        self._here = here
        self._subjects = subjects
        self._printer = printer
        self._failed = False

    def run(self, until_idle: bool) -> int:
        only = self._subjects[0] if len(self._subjects) == 1 and not self._machineless else None
        path = query("/timeline/v1/stream", subject=only)
        patience = RETRY_SECONDS
        while True:
            try:
                for event in self._here.stream(query(path, after=self.last)):
                    patience = RETRY_SECONDS
                    self._show(event)
                    if until_idle and event["kind"] in _ENDS and self.idle():
                        return self.end()
            except (CloudError, OSError) as error:
                patience -= 1
                if patience <= 0:
                    raise CloudError(
                        f"the cloud went away and did not come back: {error}"
                    ) from None
            time.sleep(1)  # it is restarted, perhaps: ask again from where we were
            if until_idle and self._is_idle_again():
                return self.end()

    def _show(self, event: dict[str, Any]) -> None:
        self.last = event["id"] or self.last
        if self._subjects and event["subject"] not in self._subjects:
            return
        self._look_for_machine()
        self._failed |= event["kind"] == "operation.failed"
        self._printer.show(event)

    @property
    def _machineless(self) -> bool:
        """Whether it is a server that has no machine yet: what happens to that comes as soon as it has one."""
        return len(self._subjects) == 1 and self._subjects[0].startswith("server:")

    def _look_for_machine(self) -> None:
        if self._machineless:
            self._subjects += _machines_of(self._here, self._subjects[0])

    def _since(self, subject: str | None) -> list[dict[str, Any]]:
        """What was not shown yet, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["id"] if found else self.last or 0
            path = query("/timeline/v1/events", subject=subject, after=after, limit=1000)
            page = self._here.get(path)["events"]
            found += page
            if len(page) < 1000:
                return found

    def idle(self) -> bool:
        """Whether nothing is under way there."""
        for subject in self._subjects or [None]:
            path = query("/timeline/v1/operations", subject=subject, live="true", limit=1)
            if self._here.get(path)["operations"]:
                return False
        return True

    def _is_idle_again(self) -> bool:
        """After the stream broke: its end may have come meanwhile."""
        try:
            return self.idle()
        except (CloudError, OSError):
            return False

    def end(self) -> int:
        """Show what came until now, and leave."""
        self._look_for_machine()
        found: list[dict[str, Any]] = []
        for subject in self._subjects or [None]:
            found += self._since(subject)
        for event in sorted(found, key=lambda one: one["id"]):
            self._show(event)
        self._printer.end()
        return 1 if self._failed else 0


def _newest(here: Cloud) -> int:
    """The number of the newest event that we may see."""
    found = here.get("/timeline/v1/events?newest=true&limit=1")["events"]
    return found[0]["id"] if found else 0


def run_events(args: argparse.Namespace) -> int:
    try:
        here = cloud(args.os_cloud, args.clouds)
        printer = Printer(args.format == "json", here, redraw=False)
        found: list[dict[str, Any]] = []
        wanted = {"since": args.since, "until": args.until, "severity": args.severity}
        for subject in subjects_of(here, args.subject) or [None]:
            found += pages(
                here,
                query("/timeline/v1/events", subject=subject, newest="true", **wanted),
                "events",
                args.limit,
            )
        found.sort(key=lambda event: event["id"])
        for event in found[-args.limit :]:
            printer.show(event)
        return 0
    except (CloudError, OSError) as error:
        return fail(error)


def pages(here: Cloud, path: str, name: str, most: int) -> list[dict[str, Any]]:
    """The newest `most` of a list that is told newest first, a thousand at a time."""
    found: list[dict[str, Any]] = []
    while len(found) < most:
        size = min(1000, most - len(found))
        before = found[-1]["id"] if found else None
        page = here.get(query(path, limit=size, before=before))[name]
        found += page
        if len(page) < size:
            break
    return found


def subjects_of(here: Cloud, ident: str | None) -> list[str]:
    """The subjects of a node or server, by name or uuid; with a server goes its node.

    CloudError where there is none, and where several servers have the name: which of them is not ours to choose.
    """
    if not ident:
        return []
    if ":" in ident:
        return [ident]
    try:
        node = here.get(f"/baremetal/v1/nodes/{escaped(ident)}?fields=uuid", **_IRONIC)
        return [f"node:{node['uuid']}"]
    except CloudError as error:
        if not error.status:  # nobody is there, or nobody lets us in
            raise
    servers = _servers(here, ident)
    if len(servers) > 1:
        ids = ", ".join(server["id"] for server in servers[:5])
        more = f" and {len(servers) - 5} more" if len(servers) > 5 else ""
        raise CloudError(
            f"{len(servers)} servers have the name {ident!r}: give the id: {ids}{more}"
        )
    subject = f"server:{servers[0]['id']}"
    return [subject, *_machines_of(here, subject)]


def _machines_of(here: Cloud, server: str) -> list[str]:
    """The subject of a server's machine; none where there is none, or none to be seen."""
    path = query("/baremetal/v1/nodes", instance_uuid=server.partition(":")[2])
    try:
        nodes: list[dict[str, Any]] = here.get(path, **_IRONIC)["nodes"]
    except CloudError as error:
        if error.status not in (401, 403, 404):
            raise
        return []  # whose server it is need not see the machine
    return [f"node:{node['uuid']}" for node in nodes]


def _servers(here: Cloud, ident: str) -> list[dict[str, Any]]:
    """Servers with exactly this name, of all projects where we may see them; else the one with this id."""
    path = query("/compute/v2.1/servers", name=f"^{re.escape(ident)}$")
    try:
        try:
            found: list[dict[str, Any]] = here.get(query(path, all_tenants="true"), **_COMPUTE)[
                "servers"
            ]
        except CloudError as error:
            if error.status not in (400, 403):
                raise
            found = here.get(path, **_COMPUTE)["servers"]
    except CloudError as error:
        if error.status not in (401, 403, 404):  # no Compute here, or none for us
            raise
        found = []
    found = [server for server in found if server["name"] == ident]
    if found:
        return found
    try:
        return [here.get(f"/compute/v2.1/servers/{escaped(ident)}", **_COMPUTE)["server"]]
    except CloudError as error:
        if error.status not in (400, 403, 404):
            raise
        raise CloudError(f"there is no node and no server {ident!r} that you may see") from None


class Printer:
    """Events as lines; on a terminal the progress of a step overwrites itself."""

    def __init__(self, as_json: bool, here: Cloud | None = None, *, redraw: bool = True) -> None:
        self._json = as_json
        self._names = Names(here)
        self._terminal = redraw and not as_json and sys.stdout.isatty()
        self._live = redraw
        self._open_line = False
        self._told: dict[str, float] = {}
        self._notes: set[tuple[str, str]] = set()

    def show(self, event: dict[str, Any]) -> None:
        if self._json:
            print(json.dumps(event), flush=True)
            return
        progress = event["kind"] == "step.progress"
        if progress and not self._terminal and not self._due(event):
            return
        if event["kind"] == "step.started" and not self._terminal:
            return  # its end says the same with the time it took
        if self._open_line:
            print("\r\x1b[K" if progress else "", end="\n" if not progress else "", flush=True)
        text = plain(line(event, self._names.of(event["subject"]), dated=not self._live))
        self._open_line = progress and self._terminal
        print(self._painted(text, event), end="" if self._open_line else "\n", flush=True)
        self._show_log(event)

    def _show_log(self, event: dict[str, Any]) -> None:
        """Lines of a step's log that were not seen live already."""
        if event["kind"] == "note":
            self._notes.add((event["subject"], event["title"]))
        elif event["kind"] in ("step.done", "step.failed"):
            lines: list[str] = event["data"].get("log") or []
            for said in lines:
                if (event["subject"], said) not in self._notes:
                    print(f"{'':24}{plain(said)}", flush=True)
            self._notes = {note for note in self._notes if note[0] != event["subject"]}

    def end(self) -> None:
        if self._open_line:
            print()

    def _due(self, event: dict[str, Any]) -> bool:
        """In logs a step tells its progress every few seconds only."""
        key, now = f"{event['subject']}{event['step']}", time.monotonic()
        if now - self._told.get(key, -99.0) < 5:
            return False
        self._told[key] = now
        return True

    def _painted(self, text: str, event: dict[str, Any]) -> str:
        if not self._terminal:
            return text
        colour = {"error": "31", "warning": "33"}.get(event["severity"])
        if event["kind"] == "operation.done":
            colour = "32"
        return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


class Names:
    """Names of nodes and servers, asked for once; a subject without a name shows the start of its id."""

    def __init__(self, here: Cloud | None) -> None:
        self._here = here
        self._known: dict[str, str] = {}

    def of(self, subject: str) -> str:
        if subject not in self._known:
            self._known[subject] = self._ask(*subject.split(":", 1))
        return self._known[subject]

    def _ask(self, kind: str, ident: str) -> str:
        short = f"{kind} {ident[:8]}"
        if self._here is None:
            return short
        try:
            if kind == "node":
                path = f"/baremetal/v1/nodes/{escaped(ident)}?fields=name"
                return str(self._here.get(path, **_IRONIC)["name"] or short)
            if kind != "server":
                return f"{kind} {ident}"
            path = f"/compute/v2.1/servers/{escaped(ident)}"
            return f"server {self._here.get(path, **_COMPUTE)['server']['name']}"
        except (CloudError, OSError, KeyError, TypeError):
            return short


def line(event: dict[str, Any], label: str, *, dated: bool = False) -> str:
    """One event as text: time (here, with the day where `dated`), subject, what, how long, how fast, what next."""
    form = "%Y-%m-%d %H:%M:%S" if dated else "%H:%M:%S"
    at = datetime.fromisoformat(event["at"]).astimezone().strftime(form)
    kind, data = event["kind"], event["data"]
    parts = [f"{at} {label:13} {_SIGNS.get(kind, ' ')} {event['title']}"]
    if kind == "step.progress":
        parts.append(_progress(data))
    if kind.startswith("wait.started"):
        parts[0] = f"{at} {label:13} ? waiting for {event['title']}"
    if data.get("duration") is not None:
        parts.append(f"({data['duration']:.1f} s)")
    if kind in ("step.started", "wait.started"):
        parts.append(_left(event["at"], data))
    if data.get("cause"):
        parts.append(f"- {data['cause']}")
    if data.get("next_action"):
        parts.append(f"Next: {data['next_action']}")
    return " ".join(part for part in parts if part)


def _left(at: str, data: dict[str, Any]) -> str:
    """What history says of the time left, and when patience ends."""
    said: list[str] = []
    if data.get("expected") is not None:
        said.append(f"about {span(data['expected'])} left")
    if data.get("deadline_at"):
        until = datetime.fromisoformat(data["deadline_at"]) - datetime.fromisoformat(at)
        said.append(f"at most {span(max(until.total_seconds(), 0))}")
    return f"({', '.join(said)})" if said else ""


def _progress(data: dict[str, Any]) -> str:
    done, total = data.get("done") or 0, data.get("total")
    unit = data.get("unit", "bytes")
    amount = f"{_size(done, unit)} of {_size(total, unit)}" if total else _size(done, unit)
    share = f"{100 * done / total:3.0f} %" if total else ""
    rate = f"{_size(data['rate'], unit)}/s" if data.get("rate") else ""
    left = f"{data['eta']:.0f} s left" if data.get("eta") is not None else ""
    return " ".join(part for part in (share, amount, rate, left, data.get("note") or "") if part)


def _size(amount: float, unit: str) -> str:
    if unit != "bytes":
        return f"{amount:g} {unit}"
    for name in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or name == "GiB":
            return f"{amount:.0f} {name}" if name in ("B", "KiB") else f"{amount:.1f} {name}"
        amount /= 1024
    raise AssertionError


__all__ = [
    "configure_events",
    "configure_watch",
    "line",
    "pages",
    "run_events",
    "run_watch",
    "subjects_of",
]
