"""The state table: complete, closed, and with a way on from everywhere."""

from __future__ import annotations

import pytest

from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.orders import ORDERS

VERB_EVENTS = {event for event, _ in states.VERBS.values()}


def test_thirty_states_and_every_row_stays_among_them() -> None:
    assert len(states.STATES) == 30
    for row in states.ROWS:
        assert row.state in states.STATES
        assert row.next in states.STATES
        assert row.event in VERB_EVENTS | states.INTERNAL
    assert len({(row.state, row.event) for row in states.ROWS}) == len(states.ROWS)


@pytest.mark.parametrize("state", states.STATES.values(), ids=lambda state: state.name)
def test_a_way_on_from_every_state(state: states.State) -> None:
    if state.kind in ("stable", "failed"):
        assert states.verbs_of(state.name), f"nothing leads on from {state.name}"
        return
    assert state.operation, f"nobody owns {state.name}"
    assert states.verbs_of(state.failure), f"{state.name} fails into a dead end"
    assert states.following(state.name, "fail") == states.Row(
        state.name,
        "fail",
        state.failure,
        states.following(state.name, "fail").target,  # type: ignore[union-attr]
    )


@pytest.mark.parametrize("name", sorted(states.WAITING))
def test_a_wait_returns_to_its_own_work_and_can_be_left(name: str) -> None:
    resumed = states.following(name, "resume")
    assert resumed is not None
    assert states.STATES[resumed.next].operation == states.STATES[name].operation
    assert "abort" in states.verbs_of(name)
    aborted = states.following(name, "abort")
    assert aborted is not None
    assert aborted.next == states.STATES[name].failure


def test_every_state_can_be_reached_and_leads_back_to_a_stable_one() -> None:
    def reach(start: str) -> set[str]:
        seen, front = {start}, [start]
        while front:
            here = front.pop()
            for row in states.ROWS:
                if row.state == here and row.next not in seen:
                    seen.add(row.next)
                    front.append(row.next)
        return seen

    assert reach(states.ENROLL) == set(states.STATES)
    for name in states.STATES:
        assert reach(name) & states.STABLE, name


def test_every_state_with_an_operation_has_a_workflow() -> None:
    for state in states.STATES.values():
        assert not state.operation or state.operation in ORDERS, state.name
