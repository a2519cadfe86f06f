"""Long work of a Redfish service: who reports it, and how it goes.

A service that cannot do something at once answers 202 and names a task or a task monitor (DSP0266,
section "Asynchronous operations"). A monitor answers 202 while the work goes on; a task tells its
state at any time. Services forget tasks that have ended, some of them quickly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingot.drivers.faults import Busy, Refused
from ingot.drivers.machine.redfish.client import RedfishClient, Reply, ResourceMissing
from ingot.drivers.machine.redfish.words import messages
from ingot.drivers.machine.types import Access
from ingot.drivers.shape import Json, child, link, strings, text

GOING_ON = frozenset(
    {"New", "Starting", "Running", "Suspended", "Pending", "Stopping", "Service", "Cancelling"}
)
BAD_ENDS = frozenset({"Killed", "Exception", "Cancelled", "Interrupted"})


@dataclass(frozen=True)
class Progress:
    """How a task goes. done: it has ended well. text: the service's own words for where it is.

    waits: the task goes on only when the machine starts.
    """

    done: bool
    text: str = ""
    waits: bool = False


@dataclass(frozen=True)
class PendingTasks:
    """Tasks that go on. note: where the first is. waits: whether one waits for the machine's start."""

    paths: tuple[str, ...] = ()
    note: str = ""
    waits: bool = False


def task_path(reply: Reply) -> str:
    """Where the work that a reply began can be watched; "" when it was done at once.

    The body's task is preferred to the monitor of the Location header: it lives longer.
    """
    if reply.status != 202:
        return ""
    kind = text(reply.body, "@odata.type")
    own = text(reply.body, "@odata.id")
    if own and ("#Task." in kind or "/Tasks/" in own):
        return own
    return reply.location or link(reply.body, "TaskMonitor")


async def look(client: RedfishClient, access: Access, path: str) -> Progress:
    """How the task at `path` goes. Refused with the service's words when it has failed.

    A task that is not there any more has ended: whether well, is seen from what it should have changed.
    """
    try:
        reply = await client.get(access, path)
    except ResourceMissing:
        return Progress(True, "the task is over")
    except Busy:
        return Progress(False, "the service is busy")
    body = reply.body
    state = text(body, "TaskState")
    said = words(body)
    if state in BAD_ENDS or (not state and reply.status >= 400):
        raise Refused(f"the task {path} ended as {state}: {said or 'no reason given'}")
    if state == "Completed" and text(body, "TaskStatus") == "Critical":
        raise Refused(f"the task {path} ended critically: {said or 'no reason given'}")
    if reply.status == 202 or state in GOING_ON:
        percent = body.get("PercentComplete")
        told = f"{percent} %" if isinstance(percent, int) else ""
        # Dell's jobs are "Starting" with the message that they were scheduled.
        waits = state == "Pending" or "scheduled" in said.lower()
        return Progress(False, " ".join(part for part in (state, told, said) if part), waits)
    return Progress(True, said)


async def unfinished(client: RedfishClient, access: Access, paths: Sequence[str]) -> PendingTasks:
    """Those of the tasks that go on."""
    found = {path: await look(client, access, path) for path in paths}
    going = {path: progress for path, progress in found.items() if not progress.done}
    note = next((progress.text for progress in going.values()), "")
    return PendingTasks(tuple(going), note, any(progress.waits for progress in going.values()))


def words(task: Mapping[str, object]) -> str:
    """A task's messages, each once."""
    found: dict[str, None] = {}
    listed: object = task.get("Messages")
    holder: Json = {"@Message.ExtendedInfo": listed}
    for message in messages(holder):
        said = text(message, "Message") or text(message, "MessageId")
        if said:
            found[said] = None
    return " ".join(found)


def apply_time(body: Mapping[str, object], name: str, *wanted: str) -> str:
    """The first of the wanted apply times that a resource supports, "" when it tells none.

    name: of the annotation, "@Redfish.OperationApplyTimeSupport" or "@Redfish.SettingsApplyTime".
    """
    known = strings(child(body, name), "SupportedValues")
    return next((value for value in wanted if value in known), "")
