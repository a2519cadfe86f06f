"""Steps lead a node on only from where it stands: what a request has made of it meanwhile stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from working import working

from ingot.services.baremetal.nodes import followup_store, history_store
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import Op

pytestmark = pytest.mark.anyio


@dataclass
class _ControllerEvent:
    """An operation as far as a case asks it."""

    subject: str


async def test_a_step_never_writes_over_a_deletion(tmp_path: Path) -> None:
    """The node was read in a wait; a deletion came; then the step wants to go on."""
    async with working(tmp_path) as api:
        node = await api.node(name="n1")
        uuid = node["uuid"]
        await api.force("n1", provision_state="wait call-back", target_provision_state="active")
        case = NodeTask(api.deps, cast("Op", _ControllerEvent(f"node:{uuid}")))

        def late(conn: Any) -> None:
            read = history_store.node_state(conn, uuid)
            followup_store.add(conn, uuid, "deleted", {}, {"user": "u"}, api.deps.now())
            conn.exec_driver_sql("UPDATE nodes SET provision_state = 'deleting'")
            case.shift(conn, "resume", read, last_error="seen")

        await api.db.write(late)
        shown = (await api.ask("GET", "/v1/nodes/n1")).json
        assert (shown["provision_state"], shown["last_error"]) == ("deleting", "seen")
