"""The Bare Metal service as the app knows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ingot.kit.api.operations import Authenticator, Operation, Service
from ingot.services.baremetal import tables
from ingot.services.baremetal.api import machines, make_service
from ingot.services.baremetal.api.root import Roots
from ingot.services.baremetal.boot.media_api import MediaApi
from ingot.services.baremetal.monitoring.controller_events import EventApi
from ingot.services.baremetal.policies import RULES, SYSTEM_ONLY
from ingot.services.baremetal.ramdisk.api import RamdiskApi
from ingot.services.baremetal.service import Baremetal
from ingot.services.baremetal.workflows import Deps, Orphans, workflows
from ingot.services.module import BuiltService, ServiceModule
from ingot.workflow import Loop

ORPHANS_EVERY = 60.0

SERVICE = ServiceModule(
    name="baremetal",
    type="baremetal",
    product="ironic",
    url="/baremetal",
    title="Bare Metal (Ingot)",
    policies=RULES,
    tables=tables,
    requires=("identity", "image", "network"),
    system_only=frozenset(SYSTEM_ONLY),
)


def built(
    baremetal: Baremetal,
    deps: Deps,
    ramdisk: RamdiskApi,
    challenge: str = "",
    *,
    public_agents: bool = False,
) -> BuiltService:
    """Machines of one process.

    challenge: what a 401 asks for, where the service has callers of its own. public_agents: agents may also call the
    API's listener.
    """
    roots = Roots(baremetal)

    def api(who: Authenticator) -> Sequence[Service]:
        """Also under the root, where clients look that know only an address and a port."""
        more = ramdisk.agent_operations() if public_agents else []
        made = make_service(baremetal, who, more)
        made = dataclasses.replace(made, aliases=("",), challenge=challenge)
        return [made, machines.make_service(baremetal, made)]

    return BuiltService(
        api=api,
        workflows=workflows(deps),
        provisioning=[
            Operation("GET", "/", roots.root, rule=None),
            Operation("GET", "/v1", roots.v1, rule=None),
            *ramdisk.operations(),
            *MediaApi(deps).operations(),
            *deps.sources.operations(),
            *(EventApi(baremetal.ctx).operations() if baremetal.ctx.settings.event_url else ()),
        ],
        loops=lambda: [Loop("orphans", ORPHANS_EVERY, Orphans(deps).run, clock=deps.clock)],
        held={"machines": baremetal.held_by},
    )
