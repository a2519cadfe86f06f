"""The life-cycle table, explored to its last corner: no place in it is wrong, and none is a dead end."""

from __future__ import annotations

import pytest

from ingot.services.baremetal.nodes import states
from tests.life import explorer, model


def _one_actor(place: explorer.Place) -> str:
    for node in place[0]:
        if list(node.work).count(model.CURRENT) > 1:
            return "two conductors may save the work on one node"
        me = node.owner
        if me != model.NOBODY and node.work[1 - me] == model.CURRENT:
            return "one who does not own the operation may save its work"
    return ""


def _one_commander(place: explorer.Place) -> str:
    for node in place[0]:
        for me in (0, 1):
            if model.commands(node, me, place[1]) and node.owner != me:
                return "one who does not own the operation commands the machine"
    return ""


def _lock_and_state(place: explorer.Place) -> str:
    for node in place[0]:
        state = states.STATES[node.state]
        if state.operation and not node.locked:
            return f"nobody works on a node in {node.state}"
        if node.kind and not node.then and not state.operation:
            return f"a {node.kind} works on a node in {node.state}"
    return ""


def _owned(place: explorer.Place) -> str:
    return "data was destroyed that nobody had given up" if place[0][0].erased else ""


def _home(place: explorer.Place) -> bool:
    return all(node.state == states.AVAILABLE and not node.locked for node in place[0])


def _rests(place: explorer.Place) -> bool:
    return not any(node.locked for node in place[0])


@pytest.mark.timeout(300)
def test_one_machine_with_every_verb_and_every_fault() -> None:
    found = explorer.explore(1, model.VERBS)
    for judge in (_one_actor, _one_commander, _lock_and_state, _owned):
        told = explorer.wrong(found, judge)
        assert not told, told[0]
    seen = {place[0][0].state for place in found.came}
    assert seen == set(states.STATES), set(states.STATES) - seen
    for good, what in ((_rests, "rest"), (_home, "available")):
        lost = set(found.came) - explorer.reaching(found, good)
        assert not lost, f"no way to {what} from:\n{found.way(next(iter(lost)))}"
    print(f"{len(found.came)} places")


@pytest.mark.parametrize(
    ("begin", "verbs"),
    [
        (states.MANAGEABLE, ("provide", "abort", "manage")),
        (states.AVAILABLE, ("deploy", "delete")),
    ],
)
@pytest.mark.timeout(300)
def test_two_machines_under_two_conductors(begin: str, verbs: tuple[str, ...]) -> None:
    found = explorer.explore(2, verbs, begin)
    for judge in (_one_actor, _one_commander, _lock_and_state, _owned):
        told = explorer.wrong(found, judge)
        assert not told, told[0]
    lost = set(found.came) - explorer.reaching(found, _rests)
    assert not lost, f"no way to rest from:\n{found.way(next(iter(lost)))}"
    print(f"{len(found.came)} places")


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (states.CLEANFAIL, "manage"),
        (states.ERROR, "delete"),
    ],
)
def test_a_hole_in_the_table_is_found(
    monkeypatch: pytest.MonkeyPatch, state: str, event: str
) -> None:
    """With every way out of a state taken away, the explorer tells how one gets stuck there."""
    whole = states.following
    assert whole(state, event) is not None
    monkeypatch.setattr(states, "following", lambda s, e: None if s == state else whole(s, e))
    found = explorer.explore(1, model.VERBS)
    assert set(found.came) - explorer.reaching(found, _home)


def test_a_conductor_that_does_not_ask_for_its_lease_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thawed after its work went to another, it would command the machine beside that one."""
    monkeypatch.setattr(model, "lease", lambda conductor: conductor in (model.UP, model.BACK))
    found = explorer.explore(1, ("provide", "manage"), states.MANAGEABLE)
    assert explorer.wrong(found, _one_commander)


def test_an_erasure_that_nobody_asked_for_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """If an active node could be sent to cleaning, somebody's data would be lost."""
    whole = states.following
    row = states.Row(states.ACTIVE, "inspect", states.CLEANING, states.AVAILABLE)
    monkeypatch.setattr(
        states, "following", lambda s, e: row if (s, e) == (row.state, row.event) else whole(s, e)
    )
    found = explorer.explore(1, model.VERBS)
    assert explorer.wrong(found, _owned)
