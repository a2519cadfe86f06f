"""The provisioning state machine: one table, from which every set and drawing is derived.

A row says: in this state, on this event, go to that state. Events in capitals of `Event` that a person can
send are verbs (`PUT states/provision {"target": verb}`); the rest come from the work itself. Which
operation does the work of a transitional state is a column of the state.

Source: the Bare Metal API's state machine (30 live states; inventory in the reference documents of the
API, "Provisioning States"). The strings are the API's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# -- states, spelt as the API spells them --------------------------------------------------------

ENROLL = "enroll"
VERIFYING = "verifying"
MANAGEABLE = "manageable"
AVAILABLE = "available"
DEPLOYING = "deploying"
DEPLOYWAIT = "wait call-back"
DEPLOYHOLD = "deploy hold"
DEPLOYFAIL = "deploy failed"
ACTIVE = "active"
DELETING = "deleting"
ERROR = "error"
CLEANING = "cleaning"
CLEANWAIT = "clean wait"
CLEANHOLD = "clean hold"
CLEANFAIL = "clean failed"
INSPECTING = "inspecting"
INSPECTWAIT = "inspect wait"
INSPECTFAIL = "inspect failed"
ADOPTING = "adopting"
ADOPTFAIL = "adopt failed"
RESCUING = "rescuing"
RESCUEWAIT = "rescue wait"
RESCUE = "rescue"
RESCUEFAIL = "rescue failed"
UNRESCUING = "unrescuing"
UNRESCUEFAIL = "unrescue failed"
SERVICING = "servicing"
SERVICEWAIT = "service wait"
SERVICEHOLD = "service hold"
SERVICEFAIL = "service failed"


@dataclass(frozen=True, slots=True)
class State:
    """What is true of a node in a state.

    kind: "stable" (rests there by intention), "working" (an operation runs), "waiting" (its operation
        waits for the machine), "held" (waits for a person), "failed" (a verb must lead on).
    operation: the kind of operation that owns the state, "" for resting ones.
    failure: the state to which a failed operation of this state leads.
    deletable: the node may be deleted from the inventory.
    updatable: driver and interfaces may be changed (outside maintenance).
    agent: the agent's lookup is answered.
    """

    name: str
    kind: str
    operation: str = ""
    failure: str = ""
    deletable: bool = False
    updatable: bool = False
    agent: bool = False


STATES: dict[str, State] = {
    state.name: state
    for state in (
        State(ENROLL, "stable", deletable=True, updatable=True),
        State(VERIFYING, "working", "verify", ENROLL),
        State(MANAGEABLE, "stable", deletable=True, updatable=True),
        State(AVAILABLE, "stable", deletable=True, updatable=True),
        State(DEPLOYING, "working", "deploy", DEPLOYFAIL, agent=True),
        State(DEPLOYWAIT, "waiting", "deploy", DEPLOYFAIL, agent=True),
        State(DEPLOYHOLD, "held", "deploy", DEPLOYFAIL, agent=True),
        State(DEPLOYFAIL, "failed"),
        State(ACTIVE, "stable"),
        State(DELETING, "working", "undeploy", ERROR),
        State(ERROR, "failed"),
        State(CLEANING, "working", "clean", CLEANFAIL, agent=True),
        State(CLEANWAIT, "waiting", "clean", CLEANFAIL, agent=True),
        State(CLEANHOLD, "held", "clean", CLEANFAIL, agent=True),
        State(CLEANFAIL, "failed"),
        State(INSPECTING, "working", "inspect", INSPECTFAIL, updatable=True, agent=True),
        State(INSPECTWAIT, "waiting", "inspect", INSPECTFAIL, updatable=True, agent=True),
        State(INSPECTFAIL, "failed"),
        State(ADOPTING, "working", "adopt", ADOPTFAIL),
        State(ADOPTFAIL, "failed", deletable=True),
        State(RESCUING, "working", "rescue", RESCUEFAIL, agent=True),
        State(RESCUEWAIT, "waiting", "rescue", RESCUEFAIL, agent=True),
        State(RESCUE, "stable"),
        State(RESCUEFAIL, "failed"),
        State(UNRESCUING, "working", "unrescue", UNRESCUEFAIL),
        State(UNRESCUEFAIL, "failed"),
        State(SERVICING, "working", "service", SERVICEFAIL, agent=True),
        State(SERVICEWAIT, "waiting", "service", SERVICEFAIL, agent=True),
        State(SERVICEHOLD, "held", "service", SERVICEFAIL, agent=True),
        State(SERVICEFAIL, "failed"),
    )
}

# -- verbs ---------------------------------------------------------------------------------------

#: What a client writes as target -> the event of the table, and the first microversion that knows it.
VERBS: dict[str, tuple[str, int]] = {
    "active": ("deploy", 1),
    "deploy": ("deploy", 73),
    "deleted": ("delete", 1),
    "undeploy": ("delete", 73),
    "rebuild": ("rebuild", 1),
    "manage": ("manage", 4),
    "provide": ("provide", 4),
    "inspect": ("inspect", 6),
    "abort": ("abort", 13),
    "clean": ("clean", 15),
    "adopt": ("adopt", 17),
    "rescue": ("rescue", 38),
    "unrescue": ("unrescue", 38),
    "unhold": ("unhold", 85),
    "service": ("service", 87),
}

#: Events that only the work itself sends.
INTERNAL = frozenset({"wait", "resume", "hold", "done", "fail"})


@dataclass(frozen=True, slots=True)
class Row:
    """One transition. target: what target_provision_state becomes, "" for none."""

    state: str
    event: str
    next: str
    target: str = ""
    since: int = 1


def _rows() -> Iterator[Row]:
    def row(state: str, event: str, following: str, target: str = "", since: int = 1) -> Row:
        return Row(state, event, following, target, since)

    yield row(ENROLL, "manage", VERIFYING, MANAGEABLE)
    yield row(VERIFYING, "done", MANAGEABLE)
    yield row(VERIFYING, "fail", ENROLL)

    yield row(MANAGEABLE, "provide", CLEANING, AVAILABLE)
    yield row(MANAGEABLE, "clean", CLEANING, MANAGEABLE)
    yield row(MANAGEABLE, "inspect", INSPECTING, MANAGEABLE)
    yield row(MANAGEABLE, "adopt", ADOPTING, ACTIVE)

    yield row(AVAILABLE, "deploy", DEPLOYING, ACTIVE)
    yield row(AVAILABLE, "manage", MANAGEABLE)

    yield row(DEPLOYING, "wait", DEPLOYWAIT, ACTIVE)
    yield row(DEPLOYING, "hold", DEPLOYHOLD, ACTIVE)
    yield row(DEPLOYING, "done", ACTIVE)
    yield row(DEPLOYING, "fail", DEPLOYFAIL, ACTIVE)
    yield row(DEPLOYWAIT, "resume", DEPLOYING, ACTIVE)
    yield row(DEPLOYWAIT, "hold", DEPLOYHOLD, ACTIVE)
    yield row(DEPLOYWAIT, "fail", DEPLOYFAIL, ACTIVE)
    yield row(DEPLOYWAIT, "abort", DEPLOYFAIL, ACTIVE, 110)
    yield row(DEPLOYWAIT, "delete", DELETING, AVAILABLE)
    yield row(DEPLOYHOLD, "unhold", DEPLOYWAIT, ACTIVE)
    yield row(DEPLOYHOLD, "abort", DEPLOYFAIL, ACTIVE)
    yield row(DEPLOYHOLD, "fail", DEPLOYFAIL, ACTIVE)
    for event in ("deploy", "rebuild"):
        yield row(DEPLOYFAIL, event, DEPLOYING, ACTIVE)
    yield row(DEPLOYFAIL, "delete", DELETING, AVAILABLE)

    yield row(ACTIVE, "rebuild", DEPLOYING, ACTIVE)
    yield row(ACTIVE, "delete", DELETING, AVAILABLE)
    yield row(ACTIVE, "rescue", RESCUING, RESCUE)
    yield row(ACTIVE, "service", SERVICING, ACTIVE)

    yield row(DELETING, "clean", CLEANING, AVAILABLE)
    yield row(DELETING, "fail", ERROR, AVAILABLE)
    yield row(ERROR, "rebuild", DEPLOYING, ACTIVE)
    yield row(ERROR, "delete", DELETING, AVAILABLE)

    yield row(CLEANING, "wait", CLEANWAIT)
    yield row(CLEANING, "hold", CLEANHOLD)
    yield row(CLEANING, "done", AVAILABLE)
    yield row(CLEANING, "manage", MANAGEABLE)
    yield row(CLEANING, "fail", CLEANFAIL)
    yield row(CLEANWAIT, "resume", CLEANING)
    yield row(CLEANWAIT, "hold", CLEANHOLD)
    yield row(CLEANWAIT, "fail", CLEANFAIL)
    yield row(CLEANWAIT, "abort", CLEANFAIL, "", 13)
    yield row(CLEANHOLD, "unhold", CLEANWAIT)
    yield row(CLEANHOLD, "abort", CLEANFAIL)
    yield row(CLEANHOLD, "fail", CLEANFAIL)
    yield row(CLEANFAIL, "manage", MANAGEABLE)

    yield row(INSPECTING, "wait", INSPECTWAIT, MANAGEABLE)
    yield row(INSPECTING, "done", MANAGEABLE)
    yield row(INSPECTING, "fail", INSPECTFAIL, MANAGEABLE)
    yield row(INSPECTWAIT, "resume", INSPECTING, MANAGEABLE)
    yield row(INSPECTWAIT, "done", MANAGEABLE)
    yield row(INSPECTWAIT, "fail", INSPECTFAIL, MANAGEABLE)
    yield row(INSPECTWAIT, "abort", INSPECTFAIL, MANAGEABLE, 41)
    yield row(INSPECTFAIL, "inspect", INSPECTING, MANAGEABLE)
    yield row(INSPECTFAIL, "manage", MANAGEABLE)

    yield row(ADOPTING, "done", ACTIVE)
    yield row(ADOPTING, "fail", ADOPTFAIL, ACTIVE)
    yield row(ADOPTFAIL, "adopt", ADOPTING, ACTIVE)
    yield row(ADOPTFAIL, "manage", MANAGEABLE)

    yield row(RESCUING, "wait", RESCUEWAIT, RESCUE)
    yield row(RESCUING, "done", RESCUE)
    yield row(RESCUING, "fail", RESCUEFAIL, RESCUE)
    yield row(RESCUEWAIT, "resume", RESCUING, RESCUE)
    yield row(RESCUEWAIT, "fail", RESCUEFAIL, RESCUE)
    yield row(RESCUEWAIT, "abort", RESCUEFAIL, RESCUE)
    yield row(RESCUEWAIT, "delete", DELETING, AVAILABLE)
    for state in (RESCUE, RESCUEFAIL, UNRESCUEFAIL):
        yield row(state, "rescue", RESCUING, RESCUE)
        yield row(state, "unrescue", UNRESCUING, ACTIVE)
        yield row(state, "delete", DELETING, AVAILABLE)
    yield row(UNRESCUING, "done", ACTIVE)
    yield row(UNRESCUING, "fail", UNRESCUEFAIL, ACTIVE)

    yield row(SERVICING, "wait", SERVICEWAIT, ACTIVE)
    yield row(SERVICING, "hold", SERVICEHOLD, ACTIVE)
    yield row(SERVICING, "done", ACTIVE)
    yield row(SERVICING, "fail", SERVICEFAIL, ACTIVE)
    yield row(SERVICEWAIT, "resume", SERVICING, ACTIVE)
    yield row(SERVICEWAIT, "hold", SERVICEHOLD, ACTIVE)
    yield row(SERVICEWAIT, "fail", SERVICEFAIL, ACTIVE)
    yield row(SERVICEWAIT, "abort", SERVICEFAIL, ACTIVE)
    yield row(SERVICEWAIT, "delete", DELETING, AVAILABLE)
    yield row(SERVICEHOLD, "service", SERVICING, ACTIVE)
    yield row(SERVICEHOLD, "unhold", SERVICEWAIT, ACTIVE)
    yield row(SERVICEHOLD, "abort", SERVICEFAIL, ACTIVE)
    yield row(SERVICEHOLD, "fail", SERVICEFAIL, ACTIVE)
    yield row(SERVICEFAIL, "service", SERVICING, ACTIVE)
    yield row(SERVICEFAIL, "rescue", RESCUING, RESCUE)
    yield row(SERVICEFAIL, "wait", SERVICEWAIT, ACTIVE)
    yield row(SERVICEFAIL, "hold", SERVICEHOLD, ACTIVE)
    yield row(SERVICEFAIL, "delete", DELETING, AVAILABLE)
    yield row(SERVICEFAIL, "abort", ACTIVE)


ROWS: tuple[Row, ...] = tuple(_rows())
_BY_EVENT: dict[tuple[str, str], Row] = {(row.state, row.event): row for row in ROWS}


def following(state: str, event: str) -> Row | None:
    """The transition for an event in a state, None when the table has none."""
    return _BY_EVENT.get((state, event))


def verbs_of(state: str) -> tuple[str, ...]:
    """Targets that a client may ask for in this state (the newest name of each).

    While an operation works nobody may ask for anything: `manage` and `clean` there are its own events.
    """
    if STATES[state].kind == "working":
        return ()
    events = {row.event for row in ROWS if row.state == state and row.event not in INTERNAL}
    names = {event: verb for verb, (event, _) in reversed(VERBS.items())}
    return tuple(sorted(names[event] for event in events))


def named(kind: str) -> frozenset[str]:
    """Names of all states of a kind."""
    return frozenset(name for name, state in STATES.items() if state.kind == kind)


STABLE = named("stable")
WAITING = named("waiting")
FAILED = named("failed")
DELETABLE = frozenset(name for name, state in STATES.items() if state.deletable)
UPDATABLE = frozenset(name for name, state in STATES.items() if state.updatable)
#: Where an instance's system or data may be on the machine, and nobody is wiping it off.
OCCUPIED = STATES.keys() - {
    *(ENROLL, VERIFYING, MANAGEABLE, AVAILABLE, ADOPTFAIL),
    *(INSPECTING, INSPECTWAIT, INSPECTFAIL),
    *(CLEANING, CLEANWAIT, CLEANHOLD, CLEANFAIL),
}
AGENT_STATES = frozenset(name for name, state in STATES.items() if state.agent)
