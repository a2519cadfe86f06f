"""A small model of nodes, operations and conductors, over the real state table: for `explorer`.

What is taken from the program itself: states, rows, verbs, who owns a state, where it fails to
(`ingot.services.baremetal.nodes.states`). What is modelled: the rules of `ingot.workflow` and of `ingot.services.baremetal.nodes.verbs`.

- A verb changes the state and starts an operation in one transaction; one live operation a node.
- A conductor claims an operation that nobody owns, or whose owner's lease is lost; every claim raises the epoch.
- What a worker saves is refused when its epoch is not the operation's: it then stops.
- A conductor that cannot reach the database stops its workers before its lease is lost; one that is frozen cannot.
  Once thawed it goes on with what it did until it learns that it was expelled: what nobody has taken over it may save,
  what somebody has taken over is refused, and no order of its leaves for hardware, since its lease is over.
- An abort ends a waiting operation at once and a working one between its steps; undo, then the failure state.
- A deletion, or a service from a hold, puts the node into its own state at once and begins after that end.

Every step of a worker may fail, every wait may run out: that is a dead controller or a silent agent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ingot.services.baremetal.nodes import states

NONE, CURRENT, STALE = "-", "current", "stale"
#: A conductor: it works; its process is gone; it is frozen with its lease, or after losing it; it is thawed and does
#: not know yet that it was expelled.
UP, DOWN, FROZEN, EXPELLED, BACK = "up", "down", "frozen", "expelled", "back"
_GONE = frozenset({DOWN, EXPELLED, BACK})
NOBODY = -1
_WORK_EVENTS = ("wait", "resume", "hold", "done", "manage", "clean")
#: Verbs of which the model's people make use; each leads into the work of one kind of operation.
VERBS = tuple(sorted({event for event, _ in states.VERBS.values()}))
_ERASING = frozenset({states.CLEANING, states.CLEANWAIT})
_WRITING = frozenset({states.DEPLOYING, states.DEPLOYWAIT})


@dataclass(frozen=True, slots=True)
class Node:
    """work: what each conductor's process believes of the operation. tenant: somebody's data is on the disk.

    given: its owner has given that data up (delete, rebuild). erased: data was lost that was not given up.
    """

    state: str = states.ENROLL
    kind: str = ""
    undoing: bool = False
    abort: bool = False
    owner: int = NOBODY
    work: tuple[str, str] = (NONE, NONE)
    then: str = ""  # the verb that waits for this operation's end
    tenant: bool = False
    given: bool = False
    erased: bool = False

    @property
    def locked(self) -> bool:
        return bool(self.kind) or bool(self.then)


Conductors = tuple[str, str]


# -- people ----------------------------------------------------------------------------------------


def asked(node: Node, verbs: tuple[str, ...]) -> Iterator[tuple[str, Node]]:
    """Every verb that the room accepts now (`verbs.provision`)."""
    state = states.STATES[node.state]
    if state.kind == "working" or (node.then and not node.kind):
        return
    for event in verbs:
        row = states.following(node.state, event)
        if row is None:
            continue
        if event == "abort":
            if node.kind:
                yield event, replace(node, abort=True)
            else:
                yield event, _entered(node, row, "")
        elif event == "unhold":
            if node.kind:
                yield event, replace(node, state=row.next)
        elif not node.kind:
            yield event, _entered(node, row, states.STATES[row.next].operation)
        elif event in ("delete", "service"):
            yield event, replace(_entered(node, row, node.kind), then=event, abort=True)


def _entered(node: Node, row: states.Row, kind: str) -> Node:
    given = node.given or row.event in ("delete", "rebuild", "deploy", "provide", "clean")
    return replace(node, state=row.next, kind=kind, given=given)


# -- conductors ------------------------------------------------------------------------------------


def claimed(node: Node, conductors: Conductors) -> Iterator[tuple[str, Node]]:
    """An operation that nobody owns, or whose owner is no member any more."""
    if not node.kind:
        return
    free = node.owner == NOBODY or conductors[node.owner] in _GONE
    for me in (0, 1):
        if conductors[me] == UP and free:
            work = [STALE if one == CURRENT else one for one in node.work]
            work[me] = CURRENT
            yield f"conductor {me} claims", replace(node, owner=me, work=(work[0], work[1]))


def worked(node: Node, conductors: Conductors) -> Iterator[tuple[str, Node]]:
    """What the processes do with the node. A stale worker's save is refused, and it stops."""
    for me in (0, 1):
        if conductors[me] not in (UP, BACK):
            continue
        if node.work[me] == STALE:
            yield f"conductor {me} is refused", _stopped(node, me)
        elif node.work[me] == CURRENT:
            for what, after in _advanced(node, me):
                yield f"conductor {me}: {what}", after


def lease(conductor: str) -> bool:
    """Whether a conductor's orders leave for hardware (`kit.lease`): it asks its own clock, not the database."""
    return conductor == UP


def commands(node: Node, me: int, conductors: Conductors) -> bool:
    """Whether an order of this conductor may reach the machine now."""
    return node.work[me] != NONE and lease(conductors[me])


def _advanced(node: Node, me: int) -> Iterator[tuple[str, Node]]:
    waiting = states.STATES[node.state].kind in ("waiting", "held")
    if node.undoing:
        yield "undone", _ended(node, "fail", me)
        return
    if node.abort:
        yield "aborted", replace(node, undoing=True)
        return
    if waiting:
        yield "parks", replace(_stopped(node, me), owner=NOBODY)
    yield "fails", replace(node, undoing=True)
    destroys = node.tenant and not node.given and node.state in (_ERASING | _WRITING)
    if destroys:
        yield "destroys", replace(node, erased=True)
    for event in _WORK_EVENTS:
        row = states.following(node.state, event)
        if row is None or _is_verb_only(node.state, event):
            continue
        following = states.STATES[row.next].operation
        if following and (following == node.kind or event == "clean"):
            yield event, replace(node, state=row.next)
        elif not following:
            yield event, _ended(node, event, me)


def _is_verb_only(state: str, event: str) -> bool:
    """`manage` and `clean` are people's words in resting states, the work's own in working ones."""
    return event in ("manage", "clean") and states.STATES[state].kind != "working"


def _stopped(node: Node, me: int) -> Node:
    work = list(node.work)
    work[me] = NONE
    return replace(node, work=(work[0], work[1]))


def _ended(node: Node, event: str, me: int) -> Node:
    """The transaction that ends an operation: the state, then the lock."""
    if node.then:
        return replace(_stopped(node, me), kind="", owner=NOBODY, undoing=False, abort=False)
    state = node.state
    if event == "fail":
        after = states.STATES[state].failure
        if after == states.SERVICEFAIL and node.abort:
            after = states.ACTIVE
    else:
        row = states.following(state, event)
        assert row is not None
        after = row.next
    done = replace(_stopped(node, me), state=after, kind="", owner=NOBODY)
    tenant, given = done.tenant, done.given
    if after == states.ACTIVE and event == "done":
        tenant, given = True, False
    if after in (states.AVAILABLE, states.MANAGEABLE) and state in _ERASING:
        tenant = False
    return replace(done, undoing=False, abort=False, tenant=tenant, given=given)


def followed(node: Node) -> Iterator[tuple[str, Node]]:
    """The loop of the verbs that wait."""
    if node.then and not node.kind:
        kind = "undeploy" if node.then == "delete" else node.then
        yield f"{node.then} begins", replace(node, kind=kind, then="")


def crashed(node: Node, me: int) -> Node:
    """What a conductor's process knew is gone; the row keeps its owner until somebody claims it."""
    return _stopped(node, me)


def moves(node: Node, conductors: Conductors, verbs: tuple[str, ...]) -> Iterator[tuple[str, Node]]:
    """All that may happen to one node without the conductors changing."""
    yield from asked(node, verbs)
    yield from claimed(node, conductors)
    yield from worked(node, conductors)
    yield from followed(node)


_NEXT = {
    UP: (DOWN, FROZEN),
    DOWN: (UP,),
    FROZEN: (UP, EXPELLED),
    EXPELLED: (BACK,),
    BACK: (UP, DOWN),
}


def faults(conductors: Conductors) -> Iterator[tuple[str, int, Conductors]]:
    """All that may happen to a conductor: it dies, starts, freezes, loses its lease, thaws, joins anew."""
    for me in (0, 1):
        now = conductors[me]
        for new in _NEXT[now]:
            both = (new, conductors[1]) if me == 0 else (conductors[0], new)
            yield f"conductor {me} {now} -> {new}", me, both
