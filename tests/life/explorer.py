"""Visits every state of the model and tells the shortest way to one where something is wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ingot.baremetal import machine
from tests.life import model
from tests.life.model import Conductors, Node

Place = tuple[tuple[Node, ...], Conductors]
START: Conductors = (model.UP, model.UP)


@dataclass
class Found:
    """All places, how each was reached first, and where each leads."""

    came: dict[Place, tuple[Place | None, str]] = field(
        default_factory=dict[Place, tuple[Place | None, str]]
    )
    next: dict[Place, list[Place]] = field(default_factory=dict[Place, list[Place]])

    def way(self, place: Place) -> str:
        told: list[str] = []
        at: Place | None = place
        while at is not None:
            before, what = self.came[at]
            told.append(what)
            at = before
        return "\n".join(reversed(told))


def explore(
    count: int, verbs: tuple[str, ...], begin: str = machine.ENROLL, *, keep: bool = True
) -> Found:
    """All places of `count` nodes and two conductors. keep: also where each leads."""
    found = Found()
    start: Place = (tuple(Node(state=begin) for _ in range(count)), START)
    found.came[start] = (None, "start")
    front = deque([start])
    memory = Memory()
    while front:
        place = front.popleft()
        after = list(_after(place, verbs, memory))
        if keep:
            found.next[place] = [one for _, one in after]
        for what, following in after:
            if following not in found.came:
                found.came[following] = (place, what)
                front.append(following)
    return found


class Memory:
    """What was computed once: moves of one node, and an order of nodes."""

    def __init__(self) -> None:
        self._moves: dict[tuple[Node, Conductors], list[tuple[str, Node]]] = {}
        self._rank: dict[Node, int] = {}

    def moves(
        self, node: Node, conductors: Conductors, verbs: tuple[str, ...]
    ) -> list[tuple[str, Node]]:
        key = (node, conductors)
        if key not in self._moves:
            self._moves[key] = list(model.moves(node, conductors, verbs))
        return self._moves[key]

    def sorted(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        """Two nodes of the same kind: which of them is which does not matter."""
        if len(nodes) == 1:
            return nodes
        return tuple(sorted(nodes, key=self._number))

    def _number(self, node: Node) -> int:
        return self._rank.setdefault(node, len(self._rank))


def _after(place: Place, verbs: tuple[str, ...], memory: Memory) -> Iterable[tuple[str, Place]]:
    nodes, conductors = place
    for number, node in enumerate(nodes):
        for what, changed in memory.moves(node, conductors, verbs):
            many = (*nodes[:number], changed, *nodes[number + 1 :])
            yield f"node {number}: {what}", (memory.sorted(many), conductors)
    for what, me, changed in model.faults(conductors):
        gone = changed[me] == model.DOWN or conductors[me] == model.EXPELLED
        many = tuple(model.crashed(node, me) for node in nodes) if gone else nodes
        yield what, (memory.sorted(many), changed)


def wrong(found: Found, judge: Callable[[Place], str]) -> list[str]:
    """What `judge` says against any place, with the way that leads there."""
    told: list[str] = []
    for place in found.came:
        verdict = judge(place)
        if verdict:
            told.append(f"{verdict}\n{found.way(place)}")
            if len(told) == 3:
                break
    return told


def reaching(found: Found, good: Callable[[Place], bool]) -> set[Place]:
    """All places from which some way leads to a good one."""
    back: dict[Place, list[Place]] = {}
    for place, following in found.next.items():
        for one in following:
            back.setdefault(one, []).append(place)
    reached = {place for place in found.came if good(place)}
    front = list(reached)
    while front:
        for before in back.get(front.pop(), ()):
            if before not in reached:
                reached.add(before)
                front.append(before)
    return reached
