"""Visits every state of the model and tells the shortest way to one where something is wrong.

Two machines of the same kind, and two conductors, are like each other: of the places that differ only in which is
which one is visited, so the way that is told may call a conductor by the other's number from some line on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from ingot.services.baremetal.nodes import states
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
    count: int, verbs: tuple[str, ...], begin: str = states.ENROLL, *, keep: bool = True
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
        self._turns: dict[Node, Node] = {}

    def moves(
        self, node: Node, conductors: Conductors, verbs: tuple[str, ...]
    ) -> list[tuple[str, Node]]:
        key = (node, conductors)
        if key not in self._moves:
            self._moves[key] = list(model.moves(node, conductors, verbs))
        return self._moves[key]

    def one_of(self, nodes: tuple[Node, ...], conductors: Conductors) -> Place:
        """The one place that stands for all that are like it."""
        first, second = conductors
        here = self._sorted(nodes)
        if first < second:
            return here, conductors
        turned = self._sorted(tuple(self._turned(node) for node in nodes))
        if first > second or self._ranks(turned) < self._ranks(here):
            return turned, (second, first)
        return here, conductors

    def _sorted(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        return nodes if len(nodes) == 1 else tuple(sorted(nodes, key=self._number))

    def _ranks(self, nodes: tuple[Node, ...]) -> list[int]:
        return [self._number(node) for node in nodes]

    def _number(self, node: Node) -> int:
        return self._rank.setdefault(node, len(self._rank))

    def _turned(self, node: Node) -> Node:
        """The node as it is when the conductors change places."""
        if node not in self._turns:
            owner = node.owner if node.owner == model.NOBODY else 1 - node.owner
            other = replace(node, owner=owner, work=(node.work[1], node.work[0]))
            self._turns[node], self._turns[other] = other, node
        return self._turns[node]


def _after(place: Place, verbs: tuple[str, ...], memory: Memory) -> Iterable[tuple[str, Place]]:
    nodes, conductors = place
    for number, node in enumerate(nodes):
        for what, changed in memory.moves(node, conductors, verbs):
            many = (*nodes[:number], changed, *nodes[number + 1 :])
            yield f"node {number}: {what}", memory.one_of(many, conductors)
    for what, me, changed in model.faults(conductors):
        gone = changed[me] == model.DOWN or conductors[me] == model.BACK
        many = tuple(model.crashed(node, me) for node in nodes) if gone else nodes
        yield what, memory.one_of(many, changed)


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
