"""Reconcilers of the bare-metal service: verbs that wait for an operation's end. Power is in `powersync.py`.

The app runs `FollowUps.run` in a `workflow.Loop`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Fault, Kind
from ingot.kit.log import get as get_log
from ingot.services.baremetal import store
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.nodes import followup_store, history_store, states, verbs

_log = get_log("baremetal")


class FollowUps:
    """Does verbs that waited for the end of an operation (a deletion during a deploy's wait)."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    async def run(self) -> int:
        """How many verbs were begun."""
        begun = 0
        for uuid in await self._ctx.db.read(verbs.followers):
            try:
                done = await self._ctx.db.write(self._begin(uuid))
                begun += done is not None
            except Fault as fault:
                _log.warning("a verb that waited was refused", node=uuid, fault=fault.text)
                await self._ctx.db.write(self._refused(uuid, fault))
        return begun

    def _begin(self, uuid: str) -> Callable[[sa.Connection], str | None]:
        return lambda conn: verbs.follow_up(self._ctx, conn, uuid)

    def _refused(self, uuid: str, fault: Fault) -> Callable[[sa.Connection], None]:
        def change(conn: sa.Connection) -> None:
            if fault.kind is Kind.LOCKED:
                return  # Somebody was faster; the next round looks again.
            followup_store.forget(conn, uuid)
            text = f"A request that waited could not begin: {fault.sentence()}"
            history_store.add(
                conn, uuid, self._ctx.now(), text, severity="ERROR", conductor=self._ctx.host
            )
            node = store.get_node(conn, uuid)
            failure = states.STATES[node.provision_state].failure or node.provision_state
            store.update_node(
                conn, uuid, provision_state=failure, reservation=None, last_error=text
            )

        return change

    @staticmethod
    def concerns(event: Any) -> bool:
        """Whether an event may let a waiting verb begin: the app kicks the loop then."""
        return str(event.subject).startswith("node:") and event.kind in _ENDS


_ENDS = frozenset({"operation.done", "operation.failed", "operation.aborted"})
