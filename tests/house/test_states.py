"""The state table keeps its promises, agrees with upstream's, and the drawing agrees with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.nodes.states import (
    INTERNAL,
    ROWS,
    STATES,
    VERBS,
    following,
    verbs_of,
)

UPSTREAM = Path(__file__).with_name("upstream_transitions.txt")


def upstream() -> set[tuple[str, str]]:
    lines = UPSTREAM.read_text().splitlines()
    pairs = [line.split(" | ") for line in lines if not line.startswith("#")]
    return {(state, after) for state, after in pairs}


def test_thirty_states() -> None:
    assert len(STATES) == 30


def test_the_same_states_and_ways_as_upstream() -> None:
    ours = {(row.state, row.next) for row in ROWS}
    assert upstream() - ours == set(), "ways that we lack"
    assert ours - upstream() == set(), "ways that only we have"
    assert {name for pair in upstream() for name in pair} == set(STATES)


def test_rows_name_states_and_events_that_exist() -> None:
    events = INTERNAL | {event for event, _ in VERBS.values()}
    for row in ROWS:
        assert row.state in STATES and row.next in STATES and row.event in events, row
        assert row.target == "" or row.target in STATES, row


def test_an_event_leads_to_one_state_only() -> None:
    pairs = [(row.state, row.event) for row in ROWS]
    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize("state", sorted(states.FAILED))
def test_a_verb_leads_out_of_every_failed_state(state: str) -> None:
    assert any(
        row.next != state and row.event not in INTERNAL for row in ROWS if row.state == state
    )
    assert verbs_of(state)


@pytest.mark.parametrize("state", sorted(states.named("held")))
def test_a_verb_leads_out_of_every_held_state(state: str) -> None:
    assert "unhold" in verbs_of(state)


@pytest.mark.parametrize(
    "state", sorted(name for name, s in STATES.items() if s.kind not in ("stable", "failed"))
)
def test_whatever_works_can_fail_and_is_owned(state: str) -> None:
    column = STATES[state]
    assert column.operation
    assert column.failure in STATES
    row = following(state, "fail")
    assert row is not None and row.next == column.failure, "the column and the row disagree"


def test_every_state_can_be_reached() -> None:
    reached = {states.ENROLL}
    while more := {row.next for row in ROWS if row.state in reached} - reached:
        reached |= more
    assert reached == set(STATES)


@pytest.mark.parametrize("state", sorted(STATES))
def test_every_state_has_a_way_back_to_available(state: str) -> None:
    """Nothing ends in a corner: from anywhere the machine can be given to the next tenant."""
    reached = {state}
    while more := {row.next for row in ROWS if row.state in reached} - reached:
        reached |= more
    assert states.AVAILABLE in reached


def test_nothing_is_deleted_while_work_is_under_way() -> None:
    assert all(STATES[name].kind in ("stable", "failed") for name in states.DELETABLE)
