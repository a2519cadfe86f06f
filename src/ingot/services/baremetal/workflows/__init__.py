"""The long work of the bare-metal service, one story per file.

room        collaborators and the case: one operation on one node, its bad end
orders      what each kind of operation is asked to do
proofs      is it the right machine?
patience    silent and lost agents
kept        agents that stay up between operations
ending      failures: states, flags, causes
steps       steps that several stories share
stepping    the API's steps: who does each, hold, wait, power
agentwork   what the agent does for us
asked       a client's steps: templates, secrets, what agents offer
children    steps that a machine's child nodes do
deployplan  which deploy steps are run, and when
deploy      deploy, rebuild, undeploy
clean       automated and manual cleaning
service     steps on a machine in use
inspect     inventory, properties, ports
small       verify, adopt, rescue, unrescue, power
calls       boot mode, secure boot, virtual media, vendor calls; acts of requests that have died
driverwork  steps that a driver carries out from outside
caching     the machine's own settings, read for the API
orphans     states without an operation
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ingot.services.baremetal.orders import ACTS, ORDERS
from ingot.services.baremetal.workflows import calls, service, small
from ingot.services.baremetal.workflows.agentlogs import AgentLogs
from ingot.services.baremetal.workflows.clean import clean, cleaned
from ingot.services.baremetal.workflows.deploy import deploy, deployed, undeploy
from ingot.services.baremetal.workflows.failure import failing
from ingot.services.baremetal.workflows.inspect import inspect, inspected
from ingot.services.baremetal.workflows.node_task import (
    Deps,
    ImageFacts,
    Images,
    Networks,
    NodeTask,
    Story,
    Timing,
    told,
)
from ingot.services.baremetal.workflows.orphans import Orphans
from ingot.workflow import Op, Workflow

Ending = Callable[[NodeTask, sa.Connection], None]

_STORIES: dict[str, tuple[Story, Ending]] = {
    "verify": (small.verify, small.verified),
    "inspect": (inspect, inspected),
    "clean": (clean, cleaned),
    "deploy": (deploy, deployed),
    "undeploy": (undeploy, cleaned),
    "adopt": (small.adopt, small.adopted),
    "rescue": (small.rescue, small.rescued),
    "unrescue": (small.unrescue, small.unrescued),
    "service": (service.service, service.serviced),
    "restore": (service.restore, service.restored),
    "power": (small.power, small.powered),
    "boot mode": (calls.boot_mode, calls.over),
    "secure boot": (calls.secure_boot, calls.over),
    "virtual media": (calls.media, calls.over),
    "vendor call": (calls.vendor, calls.over),
    **dict.fromkeys(sorted(ACTS), (calls.left, calls.over)),
}


def workflows(deps: Deps) -> list[Workflow]:
    """All kinds of operation on nodes, for the engine."""
    return [
        Workflow(
            kind=kind,
            input=ORDERS[kind],
            run=told(deps, story),
            on_success=_ending(deps, ending),
            on_failure=failing(deps),
            title=kind.capitalize(),
        )
        for kind, (story, ending) in _STORIES.items()
    ]


def _ending(deps: Deps, ending: Ending) -> Callable[[sa.Connection, Op, Any], None]:
    def on_success(conn: sa.Connection, op: Op, result: Any) -> None:
        ending(NodeTask(deps, op, result), conn)

    return on_success


__all__ = [
    "AgentLogs",
    "Deps",
    "ImageFacts",
    "Images",
    "Networks",
    "NodeTask",
    "Orphans",
    "Timing",
    "workflows",
]
