"""The workflows of the Compute service, one verb per file.

server_task  one operation on one server, and what the workflows share
machines     taking a machine for a server and giving it back
build        create
end          delete
power        start, stop, reboot, crash dump
rebuild      rebuild
rescue       rescue and unrescue
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingot.services.compute.workflows import power, rebuild, rescue
from ingot.services.compute.workflows.build import create, created, not_created
from ingot.services.compute.workflows.end import delete, deleted, not_deleted
from ingot.services.compute.workflows.server_task import (
    Ending,
    Failing,
    WorkflowBody,
    bind_task,
    ending,
    failing,
)
from ingot.workflow import Workflow

if TYPE_CHECKING:
    from ingot.services.compute.service import Compute

_WORKFLOWS: dict[str, tuple[WorkflowBody, Ending, Failing]] = {
    "create": (create, created, not_created),
    "delete": (delete, deleted, not_deleted),
    "start": (power.start, power.ended_active, power.failed_unchanged),
    "stop": (power.stop, power.ended_stopped, power.failed_unchanged),
    "reboot": (power.reboot, power.ended_active, power.failed_unchanged),
    "trigger_crash_dump": (power.crash_dump, power.ended_unchanged, power.failed_unchanged),
    "rebuild": (rebuild.rebuild, rebuild.rebuilt, rebuild.failed_to_error),
    "rescue": (rescue.rescue, rescue.rescued, rebuild.failed_to_error),
    "unrescue": (rescue.unrescue, power.ended_active, rebuild.failed_to_error),
}


def workflows(compute: Compute) -> list[Workflow]:
    """All kinds of operation on servers, for the engine."""
    return [
        Workflow(
            kind=f"server {name}",
            input=None,
            run=bind_task(compute, body),
            on_success=ending(compute, end),
            on_failure=failing(compute, fail),
            title=f"{name.capitalize()} server",
        )
        for name, (body, end, fail) in _WORKFLOWS.items()
    ]


__all__ = ["workflows"]
