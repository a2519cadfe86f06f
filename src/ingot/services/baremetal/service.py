"""The verbs of the bare-metal service: what the API and other services may do with machines.

Every verb is a synchronous function of a connection, so that a caller puts it into a transaction of its
own (`await db.write(lambda conn: baremetal.deploy(conn, uuid, notify="server:…"))`). The engine is woken
when that transaction has been committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.drivers.machine.base import CAPABILITIES
from ingot.drivers.machine.registry import Registry
from ingot.drivers.machine.types import Access
from ingot.kit.auth.policy import Policy
from ingot.kit.db.database import Database
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Conflict, Fault
from ingot.kit.tasks.clock import Clock
from ingot.services.baremetal import store
from ingot.services.baremetal.allocations import candidate_store as free
from ingot.services.baremetal.allocations import claim_store as claims
from ingot.services.baremetal.allocations.candidate_store import Candidate, CandidateQuery
from ingot.services.baremetal.boot.imagerights import Right
from ingot.services.baremetal.consoles import holders as console_holders
from ingot.services.baremetal.consoles.rights import NodeGrant
from ingot.services.baremetal.context import (
    NOBODY,
    BaremetalSettings,
    By,
    Context,
    Images,
    Networks,
    NoNetworks,
)
from ingot.services.baremetal.nodes import (
    editing,
    lock_store,
    schemas,
    states,
    unreported_store,
    validation,
    verbs,
)
from ingot.services.baremetal.nodes import store as node_store
from ingot.services.baremetal.nodes.held import HeldNode
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.nodes.verbs import NOTHING, VerbArguments
from ingot.services.baremetal.policies import RULES, SYSTEM_ONLY
from ingot.services.baremetal.ports import (
    editing as port_editing,
)
from ingot.services.baremetal.ports import (
    schemas as port_schemas,
)
from ingot.services.baremetal.ports import (
    vifs,
)
from ingot.services.baremetal.steps import known as known_steps
from ingot.services.baremetal.types import Node, Port
from ingot.services.server_events import UNTOLD, ServerEvents

if TYPE_CHECKING:
    from ingot.kit.api.operations import Still


#: What `validate` looks at beyond the options of each interface.
_CHECKS = {
    "boot": validation.boot_problems,
    "deploy": validation.deploy_problems,
    "raid": validation.raid_problems,
    "storage": validation.storage_problems,
}


class Baremetal:
    """The Bare Metal service: what the API, other services and the app call.

    host: this process's name as conductors know it. networks, images: None where that service is off.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        vault: Vault,
        registry: Registry,
        networks: Networks | None = None,
        host: str = "localhost",
        settings: BaremetalSettings | None = None,
        images: Images | None = None,
        servers: ServerEvents = UNTOLD,
    ) -> None:
        self.ctx = Context(
            db,
            clock,
            vault,
            registry,
            networks or NoNetworks(),
            host,
            settings or BaremetalSettings(),
            images=images,
            servers=servers,
        )
        self.policy = Policy(RULES, self.ctx.settings.policy, system_only=SYSTEM_ONLY)

    # -- looking -----------------------------------------------------------------------------

    def prove_key(self, conn: sa.Connection) -> None:
        """The key file must be that of this database: asked at the start, before a secret is needed."""
        store.open_any_secret(conn, self.ctx.vault)

    def held_by(self, conn: sa.Connection, project_id: str) -> int:
        """How many machines a project owns or leases."""
        return store.count_of_project(conn, project_id)

    def console_grant(self, still: Still) -> NodeGrant:
        """Who may be at consoles of nodes. still: who somebody is by now."""
        return NodeGrant(self.ctx, self.policy, still)

    def console_hosts(self, conn: sa.Connection) -> frozenset[str]:
        """The living controllers that hold consoles: while they stay, everybody keeps what is theirs."""
        return console_holders.hosts(self.ctx, conn)

    def consoles_here(self, conn: sa.Connection, node_uuids: Iterable[str]) -> set[str]:
        """Those of some nodes whose consoles this process is to hold."""
        return console_holders.here(self.ctx, conn, node_uuids)

    def find_node(self, conn: sa.Connection, ident: str) -> Node | None:
        """By uuid or name."""
        return store.find_node(conn, ident)

    def get_node(self, conn: sa.Connection, ident: str) -> Node:
        """By uuid or name; Missing when there is none."""
        return store.get_node(conn, ident)

    def by_instance(self, conn: sa.Connection, instance_uuid: str) -> Node | None:
        """The node that this instance has."""
        return store.node_of_instance(conn, instance_uuid)

    def ports_of(self, conn: sa.Connection, node_uuid: str) -> tuple[Port, ...]:
        return store.ports_of(conn, node_uuid)

    def last_error(self, conn: sa.Connection, node_uuid: str) -> str | None:
        return node_store.last_error(conn, node_uuid)

    def validate(self, conn: sa.Connection, ident: str) -> dict[str, tuple[bool, str | None]]:
        """Per interface whether driver_info and instance_info suffice, and what is wrong or doubtful."""
        ctx, node = self.ctx, store.get_node(conn, ident)
        registry = ctx.registry
        info = ctx.driver_info(conn, node)
        found = registry.validate(node.driver, info, node.interfaces)
        doubtful = registry.warnings(node.driver, info, node.interfaces)
        result: dict[str, tuple[bool, str | None]] = {}
        for name in CAPABILITIES:
            problems = [problem.text for problem in found[name]]
            chosen = registry.spec(node.driver, name, node.interfaces.get(name)).name
            if name in _CHECKS:
                problems += _CHECKS[name](ctx, conn, node)
            if name == "deploy":
                problems += known_steps.template_problems(conn, registry, ctx.vault, node)
            if chosen.startswith("no-"):
                problems = [
                    f"Driver {node.driver} does not support {name} (disabled or not implemented)."
                ]
            told = problems + [f"Warning: {problem.text}" for problem in doubtful[name]]
            result[name] = (not problems, "; ".join(told) or None)
        return result

    # -- the inventory -----------------------------------------------------------------------

    def create_node(
        self,
        conn: sa.Connection,
        values: Mapping[str, Any],
        *,
        provision_state: str = states.ENROLL,
        by: By = NOBODY,
    ) -> Node:
        """Enrol a node. values: as in POST /v1/nodes (newest microversion)."""
        checked = schemas.node_values(schemas.NodeCreate, values)
        uuid = editing.create_node(self.ctx, conn, checked, provision_state=provision_state, by=by)
        return store.get_node(conn, uuid)

    def patch(
        self,
        conn: sa.Connection,
        ident: str,
        changes: Sequence[PatchOperation],
        *,
        minor: int = 115,
        reset_interfaces: bool = False,
        by: By = NOBODY,
    ) -> Node:
        """Change a node by a JSON patch."""
        held = lock_store.lock(conn, ident)
        editing.patch_node(
            self.ctx, conn, held, changes, minor=minor, reset_interfaces=reset_interfaces, by=by
        )
        return store.get_node(conn, held.node.uuid)

    def delete_node(self, conn: sa.Connection, ident: str, by: By = NOBODY) -> None:
        editing.delete_node(self.ctx, conn, ident, by)

    def set_maintenance(
        self,
        conn: sa.Connection,
        ident: str,
        on: bool,
        reason: str | None = None,
        *,
        fault: str | None = None,
        by: By = NOBODY,
    ) -> None:
        editing.set_maintenance(self.ctx, conn, ident, on, reason, fault=fault, by=by)

    def set_traits(self, conn: sa.Connection, ident: str, traits: Iterable[str]) -> None:
        editing.set_traits(self.ctx, conn, ident, traits)

    def add_trait(self, conn: sa.Connection, ident: str, trait: str) -> None:
        editing.add_trait(self.ctx, conn, ident, trait)

    def remove_trait(self, conn: sa.Connection, ident: str, trait: str) -> None:
        editing.remove_trait(self.ctx, conn, ident, trait)

    def create_port(self, conn: sa.Connection, values: Mapping[str, Any]) -> str:
        """A new port; its uuid. values: as in POST /v1/ports, node_uuid may be a node's name."""
        given = {k: v for k, v in values.items() if k not in ("node_uuid", "node_ident")}
        checked = port_schemas.values(port_schemas.PortCreate, "port", given)
        node = store.get_node(conn, str(values.get("node_uuid") or values.get("node_ident")))
        return port_editing.create_port(self.ctx, conn, node, checked)

    # -- verbs -------------------------------------------------------------------------------

    def provision(
        self,
        conn: sa.Connection,
        ident: str | store.NodeForAction,
        verb: str,
        extras: VerbArguments = NOTHING,
        by: By = NOBODY,
    ) -> str | None:
        """Any verb of the state table; the id of the operation it started, None when it started none."""
        return verbs.provision(self.ctx, conn, ident, verb, extras, by)

    def power(
        self,
        conn: sa.Connection,
        ident: str,
        target: str,
        timeout: int | None = None,
        *,
        by: By = NOBODY,
        notify: str = "",
    ) -> str:
        """target: as in PUT states/power. The operation's id; signal "power ended" to `notify`."""
        return verbs.power(self.ctx, conn, ident, target, timeout, by, notify)

    def deploy(
        self, conn: sa.Connection, node_uuid: str, *, notify: str = "", by: By = NOBODY
    ) -> str:
        """Deploy what `prepare_instance` wrote; signal "deploy ended" to `notify`."""
        return self._do(conn, node_uuid, "active", VerbArguments(notify=notify), by)

    def rebuild(
        self,
        conn: sa.Connection,
        node_uuid: str,
        *,
        notify: str = "",
        preserve_ephemeral: bool = False,
        by: By = NOBODY,
    ) -> str:
        """Signal "deploy ended" to `notify`."""
        extras = VerbArguments(notify=notify, preserve_ephemeral=preserve_ephemeral)
        return self._do(conn, node_uuid, "rebuild", extras, by)

    def undeploy(
        self, conn: sa.Connection, node_uuid: str, *, notify: str = "", by: By = NOBODY
    ) -> str | None:
        """Take the instance away and clean; signal "undeploy ended" to `notify`.

        None when a deploy had to be given up first: the undeploy starts as soon as that has ended.
        """
        return self.provision(conn, node_uuid, "deleted", VerbArguments(notify=notify), by)

    def rescue(
        self,
        conn: sa.Connection,
        node_uuid: str,
        *,
        rescue_password: str,
        notify: str = "",
        by: By = NOBODY,
    ) -> str:
        extras = VerbArguments(notify=notify, rescue_password=rescue_password)
        return self._do(conn, node_uuid, "rescue", extras, by)

    def unrescue(
        self, conn: sa.Connection, node_uuid: str, *, notify: str = "", by: By = NOBODY
    ) -> str:
        return self._do(conn, node_uuid, "unrescue", VerbArguments(notify=notify), by)

    def _do(self, conn: sa.Connection, uuid: str, verb: str, extras: VerbArguments, by: By) -> str:
        started = self.provision(conn, uuid, verb, extras, by)
        if started is None:
            raise Fault(f"The verb {verb} started no operation on node {uuid}.")
        return started

    # -- instances ---------------------------------------------------------------------------

    def hold(self, conn: sa.Connection, node_uuid: str, instance: str) -> HeldNode:
        """A machine, proved to be an instance's and locked; Conflict when it is not (any more) its own."""
        found = self._hold(conn, node_uuid, instance)
        if found is None:
            raise Conflict(
                f"Machine {node_uuid} is not the machine of instance {instance} any more.",
                next_action="Delete the server and create it again.",
            )
        return found

    def hold_any(self, conn: sa.Connection, instance: str) -> HeldNode | None:
        """The machine that an instance has, locked; None when it has none."""
        return self._hold(conn, None, instance)

    def _hold(self, conn: sa.Connection, node_uuid: str | None, instance: str) -> HeldNode | None:
        node = claims.lock(conn, node_uuid, instance)
        return None if node is None else HeldNode(self.ctx, conn, node, instance)

    async def interrupt(self, node_uuid: str, instance: str) -> None:
        """A non-maskable interrupt for an instance's machine; Locked while an operation works on it."""

        def reach(conn: sa.Connection) -> tuple[Node, Access]:
            node = self.hold(conn, node_uuid, instance).node
            verbs.free(conn, node)
            return node, self.ctx.access(conn, node, "management")

        node, access = await self.ctx.db.write(reach)
        hand = self.ctx.registry.management(node.driver, node.interfaces.get("management"))
        await hand.inject_nmi(access)

    def held(self) -> sa.Subquery:
        """Machines that have an instance, to be joined: instance, node, power, operation (the live one's id)."""
        return claims.held()

    def unreported_changes(self) -> sa.Subquery:
        """Changes of machines that our servers do not know yet: server, node, instance, power, operation."""
        return unreported_store.unreported_changes()

    def mark_reported(self, conn: sa.Connection, server: str, node: str) -> None:
        """The server has taken over what changed of its machine."""
        unreported_store.mark_reported(conn, server, node)

    def report_again(self, conn: sa.Connection, server: str, node: str) -> None:
        """The power of the machine is reported to the server once more."""
        unreported_store.report_again(conn, server, node)

    def candidates(
        self, conn: sa.Connection, look: CandidateQuery
    ) -> Iterator[tuple[Candidate, ...]]:
        """Machines that can be claimed now, some at a time."""
        return free.batches(conn, look)

    def count_free(self, conn: sa.Connection) -> int:
        """How many machines can be claimed now."""
        return free.count(conn)

    def claim(
        self,
        conn: sa.Connection,
        node_uuid: str,
        instance_uuid: str,
        *,
        instance_name: str | None = None,
        lessee: str | None = None,
    ) -> bool:
        """Take a machine for an instance; False when it is not free (any more)."""
        return claims.claim(
            self.ctx, conn, node_uuid, instance_uuid, instance_name=instance_name, lessee=lessee
        )

    def release(
        self,
        conn: sa.Connection,
        node_uuid: str,
        instance_uuid: str,
        *,
        lessee: str | None = None,
    ) -> bool:
        """Undo `claim` on a machine where nothing was deployed."""
        return claims.release(self.ctx, conn, node_uuid, instance_uuid, lessee=lessee)

    def prepare_instance(
        self,
        conn: sa.Connection,
        node_uuid: str,
        *,
        instance_info: Mapping[str, Any],
        right: Right,
        configdrive: dict[str, Any] | str | None = None,
    ) -> None:
        """Write what the machine is to become, before `deploy` or `rebuild`; right: opens its images."""
        claims.prepare_instance(
            self.ctx,
            conn,
            node_uuid,
            instance_info=instance_info,
            right=right,
            configdrive=configdrive,
        )

    def attach_vif(
        self,
        conn: sa.Connection,
        ident: str,
        vif: str,
        *,
        port_uuid: str | None = None,
        portgroup_uuid: str | None = None,
        project_id: str | None = None,
    ) -> Port:
        """Put a network port on a NIC; the NIC (its `address` is the MAC to use).

        project_id: whose network ports may be taken; None for anyone's.
        """
        return vifs.attach(
            self.ctx,
            conn,
            ident,
            vif,
            port_uuid=port_uuid,
            portgroup_uuid=portgroup_uuid,
            project_id=project_id,
        )

    def free_card(self, conn: sa.Connection, ident: str, card: Port) -> None:
        """Before a network port is bound to a NIC: an agent that was left running gives its MAC up."""
        self.ctx.networks.free_card(conn, store.get_node(conn, ident), card)

    def detach_vif(self, conn: sa.Connection, ident: str, vif: str) -> None:
        vifs.detach(self.ctx, conn, ident, vif)

    def vifs(self, conn: sa.Connection, ident: str) -> tuple[str, ...]:
        """Network ports that are attached."""
        node = store.get_node(conn, ident)
        return tuple(found["id"] for found in vifs.listed(conn, node))
