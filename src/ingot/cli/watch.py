"""`ingot watch` and `ingot events`: every step, live or from the record.

On a terminal running steps are redrawn in place with progress, rate and time left; anywhere else each
event is a line of its own, so that logs and CI stay readable. `--json` gives one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import datetime
from typing import Any

from ingot.cli.client import Cloud, CloudError, cloud, escaped, fail, query, span

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
    parser.add_argument("--until-idle", action="store_true", help="end when the operation ends")


def configure_events(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--limit", type=int, default=200, help="newest so many (default: 200)")


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", nargs="?", metavar="NODE or SERVER", help="name or uuid")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--os-cloud", metavar="NAME", help="cloud in clouds.yaml")
    parser.add_argument("--clouds", metavar="FILE", help="clouds.yaml")


def run_watch(args: argparse.Namespace) -> int:
    try:
        here = cloud(args.os_cloud, args.clouds)
        subjects = _subjects(here, args.subject)
        printer = Printer(args.json, here)
        path = query("/timeline/v1/stream", subject=subjects[0] if len(subjects) == 1 else None)
        here.get("/timeline/v1/operations?limit=1")  # wrong names and passwords end here
        last, patience = args.since, RETRY_SECONDS
        while patience > 0:
            try:
                for event in here.stream(query(path, after=last)):
                    last, patience = event["id"] or last, RETRY_SECONDS
                    if subjects and event["subject"] not in subjects:
                        continue
                    printer.show(event)
                    if args.until_idle and event["kind"] in _ENDS:
                        printer.end()
                        return 0 if event["kind"] == "operation.done" else 1
            except (CloudError, OSError) as error:
                patience -= 1
                if patience <= 0:
                    raise CloudError(
                        f"the cloud went away and did not come back: {error}"
                    ) from None
            time.sleep(1)  # it is restarted, perhaps: ask again from where we were
        return 1
    except (CloudError, OSError) as error:
        return fail(error)


def run_events(args: argparse.Namespace) -> int:
    try:
        here = cloud(args.os_cloud, args.clouds)
        printer = Printer(args.json, here, redraw=False)
        found: list[dict[str, Any]] = []
        for subject in _subjects(here, args.subject) or [None]:
            path = query("/timeline/v1/events", subject=subject, limit=args.limit, newest="true")
            found += here.get(path)["events"]
        for event in sorted(found, key=lambda event: event["id"]):
            printer.show(event)
        return 0
    except (CloudError, OSError) as error:
        return fail(error)


def _subjects(here: Cloud, ident: str | None) -> list[str]:
    """The subjects of a node or server, by name or uuid; with a server goes its node."""
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
    path = query("/compute/v2.1/servers/detail", name=f"^{ident}$", all_tenants="true")
    try:
        servers = here.get(path, **_COMPUTE)["servers"]
    except CloudError:
        servers = []
    if not servers:
        try:
            server = here.get(f"/compute/v2.1/servers/{escaped(ident)}", **_COMPUTE)["server"]
        except CloudError as error:
            if error.status != 404:
                raise
            raise CloudError(f"there is no node and no server {ident!r} that you may see") from None
        servers = [server]
    subjects = [f"server:{servers[0]['id']}"]
    nodes = here.get(query("/baremetal/v1/nodes", instance_uuid=servers[0]["id"]), **_IRONIC)[
        "nodes"
    ]
    return subjects + [f"node:{node['uuid']}" for node in nodes]


class Printer:
    """Events as lines; on a terminal the progress of a step overwrites itself."""

    def __init__(self, as_json: bool, here: Cloud | None = None, *, redraw: bool = True) -> None:
        self._json = as_json
        self._names = Names(here)
        self._terminal = redraw and not as_json and sys.stdout.isatty()
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
        text = line(event, self._names.of(event["subject"]))
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
                    print(f"{'':24}{said}", flush=True)
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
            path = f"/compute/v2.1/servers/{escaped(ident)}"
            return f"server {self._here.get(path, **_COMPUTE)['server']['name']}"
        except (CloudError, OSError, KeyError, TypeError):
            return short


def line(event: dict[str, Any], label: str) -> str:
    """One event as text: time, subject, what, how long, how fast, what next."""
    at = datetime.fromisoformat(event["at"]).astimezone().strftime("%H:%M:%S")
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


__all__ = ["configure_events", "configure_watch", "line", "run_events", "run_watch"]
