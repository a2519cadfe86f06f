"""Nodes whose state says that somebody works on them, while nobody does.

This cannot come about by the work itself, whose end and whose state change are one transaction. It can by a
restored backup, by hands in the database, or by an end that broke on every attempt. Such a node would wait
for ever, so it goes to its state's failure state, from which verbs lead on.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from ingot.kit.log import get
from ingot.kit.tasks import events
from ingot.services.baremetal import store
from ingot.services.baremetal.nodes import followup_store, history_store, states
from ingot.services.baremetal.workflows.failure import give_up
from ingot.services.baremetal.workflows.node_task import Deps, release
from ingot.workflow import live_operation, live_operations

_log = get("baremetal")
_BUSY = tuple(name for name, state in states.STATES.items() if state.failure)


class Orphans:
    """A loop's body: `Loop("orphans", 60, Orphans(deps).run)`."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self) -> int:
        """How many nodes were helped."""
        helped = 0
        for uuid in await self._deps.db.scan(_idle):
            helped += await self._deps.db.write(self._help(uuid))
        return helped

    def _help(self, uuid: str) -> Callable[[sa.Connection], bool]:
        return lambda conn: self._helped(conn, uuid)

    def _helped(self, conn: sa.Connection, uuid: str) -> bool:
        # Verbs change the node's row before they start an operation: with the row in hand nobody can.
        node = store.lock_node(conn, uuid)
        if node is None or live_operation(conn, node.subject) is not None:
            return False
        if followup_store.verb_of(conn, uuid) is not None:
            return False  # Its verb is about to begin.
        if not states.STATES[node.provision_state].failure:
            release(conn, uuid, target_power_state=None)
            return False
        was = node.provision_state
        state = states.STATES[was].failure
        verbs = ", ".join(states.verbs_of(state))
        text = (
            f"Nothing works on the node any more, although it was in state '{was}': the operation was "
            "lost (a restored backup, or its end could not be recorded). The machine was left as it "
            f"is. Possible now: {verbs}."
        )
        history_store.add(
            conn,
            uuid,
            self._deps.now(),
            text,
            severity="ERROR",
            event_type="takeover",
            conductor=self._deps.host,
        )
        give_up(self._deps, conn, node)
        release(conn, uuid, target_power_state=None, last_error=text)
        events.record(conn, node.subject, "note", text, severity="error")
        _log.warning("orphan", node=uuid, was=was, state=state)
        return True


def _idle(conn: sa.Connection) -> list[str]:
    """Nodes in states of work without an operation; most are simply at work, a thousand at a time."""
    suspects = store.nodes_in(conn, _BUSY)
    busy = live_operations(conn) if suspects else {}
    return [uuid for uuid in suspects if f"node:{uuid}" not in busy]
