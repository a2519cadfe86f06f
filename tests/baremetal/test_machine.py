"""The state table: complete, closed, and with a way on from everywhere."""

from __future__ import annotations

import pytest

from ingot.baremetal import machine
from ingot.baremetal.workflows.orders import ORDERS

VERB_EVENTS = {event for event, _ in machine.VERBS.values()}


def test_thirty_states_and_every_row_stays_among_them() -> None:
    assert len(machine.STATES) == 30
    for row in machine.ROWS:
        assert row.state in machine.STATES
        assert row.next in machine.STATES
        assert row.event in VERB_EVENTS | machine.INTERNAL
    assert len({(row.state, row.event) for row in machine.ROWS}) == len(machine.ROWS)


@pytest.mark.parametrize("state", machine.STATES.values(), ids=lambda state: state.name)
def test_a_way_on_from_every_state(state: machine.State) -> None:
    if state.kind in ("stable", "failed"):
        assert machine.verbs_of(state.name), f"nothing leads on from {state.name}"
        return
    assert state.operation, f"nobody owns {state.name}"
    assert machine.verbs_of(state.failure), f"{state.name} fails into a dead end"
    assert machine.following(state.name, "fail") == machine.Row(
        state.name,
        "fail",
        state.failure,
        machine.following(state.name, "fail").target,  # type: ignore[union-attr]
    )


@pytest.mark.parametrize("name", sorted(machine.WAITING))
def test_a_wait_returns_to_its_own_work_and_can_be_left(name: str) -> None:
    resumed = machine.following(name, "resume")
    assert resumed is not None
    assert machine.STATES[resumed.next].operation == machine.STATES[name].operation
    assert "abort" in machine.verbs_of(name)
    aborted = machine.following(name, "abort")
    assert aborted is not None
    assert aborted.next == machine.STATES[name].failure


def test_every_state_can_be_reached_and_leads_back_to_a_stable_one() -> None:
    def reach(start: str) -> set[str]:
        seen, front = {start}, [start]
        while front:
            here = front.pop()
            for row in machine.ROWS:
                if row.state == here and row.next not in seen:
                    seen.add(row.next)
                    front.append(row.next)
        return seen

    assert reach(machine.ENROLL) == set(machine.STATES)
    for name in machine.STATES:
        assert reach(name) & machine.STABLE, name


def test_every_state_with_an_operation_has_a_workflow() -> None:
    for state in machine.STATES.values():
        assert not state.operation or state.operation in ORDERS, state.name
