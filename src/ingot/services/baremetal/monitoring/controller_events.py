"""Events that controllers send by themselves: whose arrive, and the listener that takes them.

Where a controller offers it, we subscribe at it with a URL of the provisioning listener that nobody can guess.
An event is a hint: the machine is asked what is true, at once. So a forged or garbled one does no harm, and it
does not matter what a vendor calls things. Only controllers from which an event has come are asked less often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from ingot.drivers.faults import Unsupported
from ingot.drivers.machine import base
from ingot.drivers.machine.types import Access
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.db.database import after_commit
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Fault, Missing
from ingot.kit.http import untrusted
from ingot.kit.log import get as get_log
from ingot.kit.tasks import events
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.monitoring import store as monitoring_store
from ingot.services.baremetal.monitoring.readings import IdleNode
from ingot.services.baremetal.nodes import history_store

_log = get_log("baremetal")

#: The kind of the timeline's event that says that a controller sent something.
KIND = "controller event"
PATH = "/redfish-events"
#: A controller that refused a subscription is asked again after so long.
AGAIN_SECONDS = 600.0
#: Of one message so many are looked at, and so many are written down a minute and machine.
MOST_EVENTS, MOST_NOTED, LONGEST_TEXT = 20, 20, 300
LONGEST_BODY = 256 << 10
STORM_SECONDS = 2.0
_UNKNOWN = "There is no such destination."
_NEVER = float("inf")
_SEVERITIES = {"Warning": "warning", "Critical": "error"}


def mark_of(vault: Vault, uuid: str) -> str:
    """The secret of a node's URL; it needs no place in the database."""
    return vault.mark(_named(uuid))


def _named(uuid: str) -> str:
    return f"controller events of {uuid}"


@dataclass(slots=True)
class _Source:
    """One controller. path: of our subscription, "" while there is none. proven: an event has come."""

    access: Access
    management: base.EventSource
    path: str = ""
    proven: bool = False
    look_at: float = 0.0


class EventSources:
    """Keeps a subscription at every controller that offers them; called in the controller's turn.

    url: of the listener as controllers reach it; "" for no events at all. pace: told how often a machine is
    to be asked: (uuid, whether its events arrive).
    """

    def __init__(self, ctx: Context, pace: Callable[[str, bool], None]) -> None:
        self._ctx = ctx
        self._url = ctx.settings.event_url.rstrip("/")
        self._pace = pace
        self._sources: dict[str, _Source] = {}
        self._ends: set[asyncio.Task[None]] = set()

    async def turn(self, idle: IdleNode, access: Access, management: base.Management) -> None:
        """See to this machine's subscription; never raises a fault."""
        if not self._url or not isinstance(management, base.EventSource):
            return
        source = self._source(idle.uuid, access, management)
        now = self._ctx.clock.monotonic()
        if now < source.look_at:
            return
        try:
            async with asyncio.timeout(60):
                await self._look_after(idle.uuid, source)
            # A little less: by its next turn it is to be time.
            source.look_at = now + self._ctx.settings.event_poll_interval * 0.9
        except Unsupported:
            source.look_at = _NEVER  # until its node changes
        except (Fault, TimeoutError) as fault:
            source.look_at = now + AGAIN_SECONDS
            words = fault.text if isinstance(fault, Fault) else "no answer"
            _log.warning("no events of this controller", node=idle.uuid, fault=words)
        except Exception as error:
            # One driver's bug must not end the loop for the others.
            source.look_at = now + AGAIN_SECONDS
            _log.error("no events of this controller", node=idle.uuid, error=repr(error))

    def arrived(self, uuid: str) -> None:
        """An event of this machine has come: it need not be asked so often."""
        source = self._sources.get(uuid)
        if source is not None and source.path and not source.proven:
            source.proven = True
            self._pace(uuid, True)

    def doubt(self, uuid: str) -> None:
        """Its controller did not answer: ask it as often as others until an event comes again."""
        source = self._sources.get(uuid)
        if source is not None and source.proven:
            source.proven, source.look_at = False, 0.0
            self._pace(uuid, False)

    async def keep(self, idle: Collection[str]) -> None:
        """Remove the subscriptions of nodes that are gone; those that are only busy keep theirs."""
        away = self._sources.keys() - set(idle)
        if not away:
            return
        there = await self._ctx.db.read(lambda conn: monitoring_store.existing(conn, away))
        for uuid in away - there:
            self._end(self._sources.pop(uuid))

    async def close(self) -> None:
        """Let removals end; subscriptions stay, for another process may care for their machines."""
        if self._ends:
            await asyncio.wait(self._ends, timeout=5)
        for task in self._ends:
            task.cancel()

    # -- inside ------------------------------------------------------------------------------------

    def _source(self, uuid: str, access: Access, management: base.EventSource) -> _Source:
        known = self._sources.get(uuid)
        if known is not None and known.access is access:
            return known
        # The node was changed: perhaps another controller stands at another address now.
        if known is not None and known.access.options == access.options:
            known.access = access
            known.look_at = 0.0 if known.look_at == _NEVER else known.look_at
            return known
        if known is not None:
            self._end(known)
            self._pace(uuid, False)
        made = self._sources[uuid] = _Source(access, management)
        return made

    async def _look_after(self, uuid: str, source: _Source) -> None:
        management, access = source.management, source.access
        there = bool(source.path) and await management.subscribed(access, source.path)
        if there and source.proven:
            return
        if not there:
            await self._subscribe(uuid, source)
        try:
            await management.ask_for_event(access)
        except Fault as fault:
            # Then the first real event shows that they arrive.
            _log.debug("no test event", node=uuid, fault=fault.text)

    async def _subscribe(self, uuid: str, source: _Source) -> None:
        if source.path:
            _log.info("a controller lost its subscription", node=uuid)
            source.path, source.proven = "", False
            self._pace(uuid, False)
        mark = mark_of(self._ctx.vault, uuid)
        owner = f"{PATH}/{uuid}/"
        source.path = await source.management.subscribe(
            source.access, f"{self._url}{owner}{mark}", mark[:16], owner
        )

    def _end(self, source: _Source) -> None:
        if not source.path:
            return
        task = asyncio.create_task(self._unsubscribe(source))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _unsubscribe(self, source: _Source) -> None:
        try:
            async with asyncio.timeout(60):
                await source.management.unsubscribe(source.access, source.path)
        except (Fault, TimeoutError) as fault:
            # Its events are answered 404 from now on, whereupon controllers give up.
            _log.warning("a subscription is left behind", node=source.access.key, error=str(fault))


@dataclass(frozen=True, slots=True)
class _ControllerEvent:
    ident: str = ""
    text: str = "The controller sent an event."
    severity: str = ""

    def document(self) -> dict[str, str]:
        return {"id": self.ident, "text": self.text, "severity": self.severity}


class EventApi:
    """The operation of the provisioning listener."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._minutes: dict[str, tuple[float, int]] = {}
        self._held: set[str] = set()

    def operations(self) -> list[Operation]:
        path = PATH + "/{node}/{mark}"
        take = Operation(
            "POST",
            path,
            self.take,
            rule=None,
            status=204,
            body=dict[str, Any],
            max_body=LONGEST_BODY,
        )
        return [take]

    async def take(self, call: Call) -> Reply:
        """One message of a controller; 404 for who does not know the node's secret."""
        uuid, mark = call.params["node"], call.params["mark"]
        if not self._ctx.vault.proves(_named(uuid), mark):
            raise Missing(_UNKNOWN)
        context, told = _read(call.body)
        if context not in ("", mark[:16]):
            raise Missing(_UNKNOWN)
        noted = self._may_note(uuid)
        if not noted:
            # A storm: one line for all that comes within some seconds.
            if uuid in self._held:
                return Reply()
            self._held.add(uuid)
            await self._ctx.clock.sleep(STORM_SECONDS)
            self._held.discard(uuid)
        if not await self._ctx.db.write(lambda conn: self._record(conn, uuid, told, noted)):
            raise Missing(_UNKNOWN)
        return Reply()

    def _record(
        self, conn: sa.Connection, uuid: str, told: list[_ControllerEvent], noted: bool
    ) -> bool:
        if not monitoring_store.existing(conn, [uuid]):
            return False
        worst = max(told, key=_weight)
        severity = _SEVERITIES.get(worst.severity, "info")
        title = worst.text if noted else "The controller sends more events than are written down."
        data = {"messages": [one.document() for one in told]} if noted else {}
        events.record(conn, f"node:{uuid}", KIND, title, data=data, severity=severity)
        if noted and severity != "info":
            history_store.add(
                conn,
                uuid,
                self._ctx.now(),
                f"The controller says: {worst.text} ({worst.severity})",
                severity="ERROR" if severity == "error" else "WARNING",
                event_type="monitoring",
                conductor=self._ctx.host,
            )
        after_commit(conn, lambda: _log.info("controller event", node=uuid, text=worst.text))
        return True

    def _may_note(self, uuid: str) -> bool:
        """Whether this minute's share of the machine is not used up."""
        now = self._ctx.clock.monotonic()
        since, count = self._minutes.get(uuid, (now, 0))
        if now - since >= 60:
            since, count = now, 0
        self._minutes[uuid] = (since, count + 1)
        return count < MOST_NOTED


def _weight(told: _ControllerEvent) -> int:
    return list(_SEVERITIES).index(told.severity) if told.severity in _SEVERITIES else -1


def _read(message: dict[str, Any]) -> tuple[str, list[_ControllerEvent]]:
    """Context and events of a message; one without events is an event without words."""
    rows = message.get("Events")
    listed = cast("list[Any]", rows) if isinstance(rows, list) else []
    told = [
        _event_of(cast("dict[str, Any]", row))
        for row in listed[:MOST_EVENTS]
        if isinstance(row, dict)
    ]
    context = message.get("Context")
    return context if isinstance(context, str) else "", told or [_ControllerEvent()]


def _event_of(row: dict[str, Any]) -> _ControllerEvent:
    ident, text = _words(row.get("MessageId")), _words(row.get("Message"))
    severity = _words(row.get("MessageSeverity")) or _words(row.get("Severity"))
    return _ControllerEvent(ident, text or ident or _ControllerEvent().text, severity)


def _words(value: object) -> str:
    """On one line, cut, harmless to terminals."""
    return untrusted.words(value, LONGEST_TEXT) if isinstance(value, str) else ""
