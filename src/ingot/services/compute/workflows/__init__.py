"""The long work of the compute service, one story per file.

room     the case: one operation on one server, and what its stories share
machines taking a machine for a server and giving it back
build    create
end      delete
small    start, stop, reboot, rebuild, rescue, unrescue
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingot.services.compute.workflows import small
from ingot.services.compute.workflows.build import create, created, not_created
from ingot.services.compute.workflows.end import delete, deleted, not_deleted
from ingot.services.compute.workflows.server_task import (
    Ending,
    Failing,
    Story,
    ending,
    failing,
    told,
)
from ingot.workflow import Workflow

if TYPE_CHECKING:
    from ingot.services.compute.service import Compute

_STORIES: dict[str, tuple[Story, Ending, Failing]] = {
    "create": (create, created, not_created),
    "delete": (delete, deleted, not_deleted),
    "start": (small.start, small.running, small.unchanged),
    "stop": (small.stop, small.stopped, small.unchanged),
    "reboot": (small.reboot, small.running, small.unchanged),
    "trigger_crash_dump": (small.crash_dump, small.unchanged_well, small.unchanged),
    "rebuild": (small.rebuild, small.rebuilt, small.broken),
    "rescue": (small.rescue, small.rescued, small.broken),
    "unrescue": (small.unrescue, small.running, small.broken),
}


def workflows(compute: Compute) -> list[Workflow]:
    """All kinds of operation on servers, for the engine."""
    return [
        Workflow(
            kind=f"server {name}",
            input=None,
            run=told(compute, story),
            on_success=ending(compute, end),
            on_failure=failing(compute, fail),
            title=f"{name.capitalize()} server",
        )
        for name, (story, end, fail) in _STORIES.items()
    ]


__all__ = ["workflows"]
