"""The states of a server and what clients are shown of them. Pure.

Source: the Compute API guide, "Server concepts" (status from vm_state and task_state).
"""

from __future__ import annotations

from collections.abc import Mapping

# vm_state
BUILDING = "building"
ACTIVE = "active"
STOPPED = "stopped"
RESCUED = "rescued"
ERROR = "error"
DELETED = "deleted"

# task_state
SCHEDULING = "scheduling"
NETWORKING = "networking"
SPAWNING = "spawning"
DELETING = "deleting"
STARTING = "powering-on"
STOPPING = "powering-off"
REBOOTING = "rebooting"
REBOOTING_HARD = "rebooting_hard"
REBUILDING = "rebuilding"
REBUILD_SPAWNING = "rebuild_spawning"
RESCUING = "rescuing"
UNRESCUING = "unrescuing"

# power_state
NOSTATE = 0
RUNNING = 1
SHUTDOWN = 4

_STATUS: Mapping[str, Mapping[str | None, str]] = {
    ACTIVE: {
        None: "ACTIVE",
        REBOOTING: "REBOOT",
        REBOOTING_HARD: "HARD_REBOOT",
        REBUILDING: "REBUILD",
        REBUILD_SPAWNING: "REBUILD",
    },
    BUILDING: {None: "BUILD"},
    STOPPED: {
        None: "SHUTOFF",
        REBOOTING_HARD: "HARD_REBOOT",
        REBUILDING: "REBUILD",
        REBUILD_SPAWNING: "REBUILD",
    },
    RESCUED: {None: "RESCUE"},
    ERROR: {
        None: "ERROR",
        REBOOTING_HARD: "HARD_REBOOT",
        REBUILDING: "REBUILD",
        REBUILD_SPAWNING: "REBUILD",
    },
    DELETED: {None: "DELETED"},
}

#: Statuses that a list can be filtered by, as vm_states. Those we never have match nothing.
_BY_STATUS: Mapping[str, tuple[str, str | None]] = {
    "ACTIVE": (ACTIVE, None),
    "BUILD": (BUILDING, None),
    "SHUTOFF": (STOPPED, None),
    "RESCUE": (RESCUED, None),
    "ERROR": (ERROR, None),
    "DELETED": (DELETED, None),
}
_TASKS = {
    "REBOOT": (REBOOTING,),
    "HARD_REBOOT": (REBOOTING_HARD,),
    "REBUILD": (REBUILDING, REBUILD_SPAWNING),
}
NEVER = frozenset(
    [
        "MIGRATING",
        "PASSWORD",
        "PAUSED",
        "RESIZE",
        "REVERT_RESIZE",
        "SHELVED",
        "SHELVED_OFFLOADED",
        "SOFT_DELETED",
        "SUSPENDED",
        "VERIFY_RESIZE",
        "UNKNOWN",
    ]
)
#: Statuses that show a progress.
PROGRESS = frozenset({"ACTIVE", "BUILD", "DELETED", "REBUILD"})


def status(vm_state: str, task_state: str | None) -> str:
    """The one word that clients wait for."""
    words = _STATUS[vm_state]
    return words.get(task_state) or words[None]


def search(name: str) -> tuple[str | None, tuple[str, ...]] | None:
    """(vm_state, task_states) that make a status; None when no server of ours can have it."""
    wanted = name.upper()
    if wanted in _BY_STATUS:
        return _BY_STATUS[wanted][0], ()
    if wanted in _TASKS:
        return None, _TASKS[wanted]
    return None


def known(name: str) -> bool:
    """Whether this is a status of the API at all."""
    return name.upper() in NEVER or search(name) is not None


def power(text: str | None) -> int:
    """A machine's power as the Compute API counts it."""
    return {"power on": RUNNING, "power off": SHUTDOWN}.get(text or "", NOSTATE)
