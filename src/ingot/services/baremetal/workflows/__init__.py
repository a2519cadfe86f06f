"""The workflows of the Bare Metal service, one verb per file.

node_task   one operation on one node, with its collaborators
orders      what each kind of operation is asked to do
proofs      is it the right machine?
agent_retry silent and lost agents
fast_track  agents that stay up between operations
failure     failures: states, flags, causes
steps       steps that several workflows share
stepping    the API's steps: who does each, hold, wait, power
agentwork   what the agent does for us
requested_steps  a client's steps: templates, secrets, what agents offer
children    steps that a machine's child nodes do
deployplan  which deploy steps are run, and when
deploy      deploy, rebuild, undeploy
clean       automated and manual cleaning
service     steps on a machine in use
inspect     inventory, properties, ports
verify      the controller answers, and is known
adopt       a machine that runs already
rescue      rescue and unrescue
power       the power state that a client asked for
firmware_modes, virtual_media, vendor_call    operations of one step with the controller
controller_act    acts of requests that have died
controller_call   what the operations of one step share
driverwork  steps that a driver carries out from outside
caching     the machine's own settings, read for the API
orphans     states without an operation
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ingot.services.baremetal.orders import ACTS, ORDERS
from ingot.services.baremetal.workflows import (
    adopt,
    controller_act,
    controller_call,
    firmware_modes,
    power,
    rescue,
    service,
    vendor_call,
    verify,
    virtual_media,
)
from ingot.services.baremetal.workflows.clean import clean, cleaned
from ingot.services.baremetal.workflows.deploy import deploy, deployed, undeploy
from ingot.services.baremetal.workflows.failure import failing
from ingot.services.baremetal.workflows.inspect import inspect, inspected
from ingot.services.baremetal.workflows.node_task import (
    AgentLogOptions,
    Deps,
    ImageFacts,
    Images,
    Networks,
    NodeTask,
    Timing,
    WorkflowBody,
    bind_task,
)
from ingot.services.baremetal.workflows.orphans import Orphans
from ingot.workflow import Op, Workflow

Ending = Callable[[NodeTask, sa.Connection], None]

_WORKFLOWS: dict[str, tuple[WorkflowBody, Ending]] = {
    "verify": (verify.verify, verify.verified),
    "inspect": (inspect, inspected),
    "clean": (clean, cleaned),
    "deploy": (deploy, deployed),
    "undeploy": (undeploy, cleaned),
    "adopt": (adopt.adopt, adopt.adopted),
    "rescue": (rescue.rescue, rescue.rescued),
    "unrescue": (rescue.unrescue, rescue.unrescued),
    "service": (service.service, service.serviced),
    "restore": (service.restore, service.restored),
    "power": (power.power, power.powered),
    "boot mode": (firmware_modes.boot_mode, controller_call.ended),
    "secure boot": (firmware_modes.secure_boot, controller_call.ended),
    "virtual media": (virtual_media.virtual_media, controller_call.ended),
    "vendor call": (vendor_call.vendor_call, controller_call.ended),
    **dict.fromkeys(sorted(ACTS), (controller_act.abandoned, controller_call.ended)),
}


def workflows(deps: Deps) -> list[Workflow]:
    """All kinds of operation on nodes, for the engine."""
    return [
        Workflow(
            kind=kind,
            input=ORDERS[kind],
            run=bind_task(deps, body),
            on_success=_ending(deps, ending),
            on_failure=failing(deps),
            title=kind.capitalize(),
        )
        for kind, (body, ending) in _WORKFLOWS.items()
    ]


def _ending(deps: Deps, ending: Ending) -> Callable[[sa.Connection, Op, Any], None]:
    def on_success(conn: sa.Connection, op: Op, result: Any) -> None:
        ending(NodeTask(deps, op, result), conn)

    return on_success


__all__ = [
    "AgentLogOptions",
    "Deps",
    "ImageFacts",
    "Images",
    "Networks",
    "NodeTask",
    "Orphans",
    "Timing",
    "workflows",
]
