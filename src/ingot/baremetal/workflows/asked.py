"""What a client's steps need besides their doing: templates, secrets, and a memory of what agents offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ingot.baremetal import knownsteps, stepsecrets, store
from ingot.baremetal.workflows.orders import DeployOrder
from ingot.baremetal.workflows.room import Case
from ingot.kit.faults import Invalid

Step = dict[str, Any]


async def deploy_steps(case: Case, order: DeployOrder) -> list[Step]:
    """The steps that a deploy is asked to run: the verb's, and those of the deploy templates whose names
    are among the instance's traits. Chosen once: a template that changes later changes the next deploy.
    """

    def choose(conn: sa.Connection) -> list[Step]:
        vault, registry = case.room.vault, case.room.registry
        node = store.get_node(conn, case.uuid)
        asked = [stepsecrets.whole(conn, vault, case.uuid, step) for step in order.steps or ()]
        if wrong := knownsteps.template_problems(conn, registry, vault, node):
            raise Invalid(
                wrong[0], next_action="Correct the deploy templates, or instance_info.traits."
            )
        found = knownsteps.deploy_steps(conn, vault, node, asked)
        return stepsecrets.hide(conn, vault, case.uuid, found)

    return await case.op.commit("choose the deploy steps", choose)


async def whole(case: Case, step: Step) -> Step:
    """A recorded step with the secrets of its arguments, for the hand that carries it out."""
    return await case.room.db.read(
        lambda conn: stepsecrets.whole(conn, case.room.vault, case.uuid, step)
    )


def remember(case: Case, kind: str, conn: sa.Connection, steps: Sequence[Step]) -> None:
    """Keep what the agent offers, for those who ask before it is up again."""
    knownsteps.keep_agents(conn, case.uuid, kind, steps, case.room.now())
