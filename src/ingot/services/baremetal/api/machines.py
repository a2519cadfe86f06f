"""What our own API tells about machines beyond the Bare Metal API: the steps that a node offers.

    GET /machines/v1/nodes/{uuid or name}/steps?kind=clean

A path of its own beside `/baremetal`, so that nothing of upstream's is ever in its way. Whoever may see the
node's states may read it; errors are those of our own services.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Operation, Reply, Service
from ingot.kit.faults import Invalid
from ingot.kit.http.server import plain_envelope
from ingot.services.baremetal.api.common import Handlers
from ingot.services.baremetal.steps import known as known_steps

if TYPE_CHECKING:
    from ingot.services.baremetal.service import Baremetal


class StepsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """kind: "clean", "deploy" or "service"; all three when it is not given."""

    kind: str | None = None


class Machines(Handlers):
    """Handlers of /machines/v1."""

    async def steps(self, call: Call) -> Reply:
        """All steps that are known of a node, by kind of work."""
        query: StepsQuery = call.query
        if query.kind not in (None, *known_steps.KINDS):
            raise Invalid(f"kind is one of {', '.join(known_steps.KINDS)}.")
        kinds = known_steps.KINDS if query.kind is None else (query.kind,)

        def find(conn: sa.Connection) -> Reply:
            node = self.node(conn, call, call.params["id"], "baremetal:node:get_states")
            steps = [
                _wire(step)
                for kind in kinds
                for step in known_steps.offered(conn, self.ctx.registry, node, kind)
            ]
            reserved = [{"step": name, "args": args} for name, args in known_steps.RESERVED.items()]
            return Reply({"node": node.uuid, "steps": steps, "reserved": reserved})

        return await self.scan(find)

    def spellings(self, call: Call, ident: str) -> list[tuple[str, str]]:
        """This API has no microversions: nodes have always had names."""
        column = "uuid" if ids.is_uuid(ident) else "name"
        return [(column, text) for text in ids.spellings(ident)]


def _wire(step: dict[str, Any]) -> dict[str, Any]:
    return {("args" if name == "argsinfo" else name): value for name, value in step.items()}


def make_service(baremetal: Baremetal, beside: Service) -> Service:
    """The service under /machines: who may come in, and what, is as in the Bare Metal API `beside` it."""
    machines = Machines(baremetal)
    return Service(
        name="machines",
        prefix="/machines",
        operations=[
            Operation(
                "GET",
                "/v1/nodes/{id}/steps",
                machines.steps,
                "baremetal:node:get_states",
                late=True,
                query=StepsQuery,
                title="Steps that a node offers",
            )
        ],
        envelope=plain_envelope,
        policy=beside.policy,
        authenticator=beside.authenticator,
        challenge=beside.challenge,
    )
