"""What the workflows of this service are told with: collaborators, and the steps that several workflows share.

A `Deps` is made once, by the app. A `NodeTask` is one operation on one node; its methods are steps of the
story, in the words of the people who read the timeline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from ingot.drivers.machine.agent.client import AgentAddress, AgentClient
from ingot.drivers.machine.agent.commands import Agent as AgentHand
from ingot.drivers.machine.registry import Registry
from ingot.drivers.machine.types import Access
from ingot.drivers.machine.vmedia.store import MediaStore
from ingot.kit.db.batchloader import BatchLoader
from ingot.kit.db.database import Database, timestamp
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Fault, Kind, Missing
from ingot.kit.tasks.clock import Clock
from ingot.services.baremetal import store
from ingot.services.baremetal.boot.imagerights import Right, right_to
from ingot.services.baremetal.boot.imagesources import ImageSources
from ingot.services.baremetal.boot.plan import BootUrls
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.inspection.facts import InspectionOptions
from ingot.services.baremetal.nodes import history_store, states
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.steps import secrets as step_secrets
from ingot.services.baremetal.steps.options import StepRules
from ingot.services.baremetal.types import Agent, ImageFacts, ImageFile, Node, Port
from ingot.services.server_events import ServerEvents
from ingot.workflow import Op, Retry, signal
from ingot.workflow.running import UndoWork, Work

#: When the agent's own logs are kept.
ON_FAILURE, ALWAYS, NEVER = "on_failure", "always", "never"


class Images(Protocol):
    """What this service needs of the image service. right: whose; what it does not open is Missing.

    URLs are for one node, and end with `revoke`.
    """

    async def for_deploy(self, ident: str, ttl: float, right: Right, node: str) -> ImageFacts:
        """An active image, whole-disk, as raw bytes under an unguessable URL for `ttl` seconds."""
        ...

    async def properties(self, ident: str, right: Right) -> tuple[dict[str, str], Right]:
        """An image's own properties, such as kernel_id, and the right to what they name: its owner sees that too."""
        ...

    async def file(self, ident: str, ttl: float, right: Right, node: str) -> ImageFile:
        """Where an active image (a kernel, a ramdisk, an ISO) can be fetched as it is for `ttl` seconds."""
        ...

    def revoke(self, conn: sa.Connection, node: str) -> None:
        """From now on no URL works that was made for this node."""
        ...


class Networks(Protocol):
    """What this service needs of the network service; all are functions of a connection."""

    def plug_provisioning(
        self, conn: sa.Connection, node: Node, port: Port, vif: str | None
    ) -> str | None:
        """An address for this NIC while the agent runs; the id of the network port that gives it.

        None when the attached VIF serves.
        """
        ...

    def unplug_provisioning(self, conn: sa.Connection, node: Node) -> None: ...

    def plug_vif(self, conn: sa.Connection, node: Node, port: Port, vif: str) -> None:
        """Bind the instance's network port to this NIC."""
        ...

    def unplug_vif(self, conn: sa.Connection, node: Node, vif: str) -> None:
        """Take the instance's network port off this node; what is bound elsewhere meanwhile stays."""
        ...

    def static_data(self, conn: sa.Connection, node: Node, ports: Sequence[Port]) -> dict[str, Any]:
        """network_data of these NICs as they are plugged; {} where DHCP gives all their addresses."""
        ...


@dataclass(frozen=True)
class Timing:
    """Deadlines in seconds, before there is history (then they are learned per hardware model).

    power: of one step with the controller. agent_silence: without an answer an agent counts as lost. poll:
    between looks at what goes on. boots: how often a machine is started whose agent does not call.
    """

    agent: float = 1200
    inspection: float = 1200
    write: float = 7200
    clean_step: float = 24 * 3600
    power: float = 180
    agent_silence: float = 180
    poll: float = 2.0
    boots: int = 3


@dataclass(frozen=True)
class AgentLogOptions:
    """What is kept of the agents' logs. collect: when; one of the three above. most: archives of one node."""

    collect: str
    folder: Path
    most: int


@dataclass(frozen=True)
class Deps:
    """Collaborators of all workflows. ctx: the verbs' own, for workflows that edit nodes as a client would.

    agents: the client that speaks to agents. media: makes boot media; None where nothing serves them.
    """

    ctx: Context
    images: Images
    networks: Networks
    agents: AgentClient
    urls: BootUrls
    timing: Timing = field(default_factory=Timing)
    clean_whole_disks: bool = False
    #: Whether agents are left running between operations, where nothing is said at the node.
    fast_track: bool = False
    #: Whether machines are cleaned when nothing is said at the node.
    automated_clean: bool = True
    media: MediaStore | None = None
    #: What is kept of the agents' own logs; None for nothing.
    agent_logs: AgentLogOptions | None = None
    inspection: InspectionOptions = field(default_factory=InspectionOptions)
    #: Whether the agent may run the boot loader's installer of images of file systems, in the image.
    install_boot_loaders: bool = False
    #: Images at plain URLs and in files.
    sources: ImageSources = field(default_factory=ImageSources)

    @property
    def db(self) -> Database:
        return self.ctx.db

    @property
    def clock(self) -> Clock:
        return self.ctx.clock

    @property
    def vault(self) -> Vault:
        return self.ctx.vault

    @property
    def registry(self) -> Registry:
        return self.ctx.registry

    @property
    def host(self) -> str:
        """The name of this process among its peers."""
        return self.ctx.host

    @property
    def servers(self) -> ServerEvents:
        """Receives power changes of machines that have an instance."""
        return self.ctx.servers

    @property
    def step_rules(self) -> StepRules:
        return self.ctx.settings.steps

    def now(self) -> str:
        return timestamp(self.clock.now())

    @cached_property
    def nodes(self) -> BatchLoader[tuple[Node, str | None]]:
        """Nodes by uuid, as they are now; with what is sealed of their driver_info."""
        return BatchLoader(self.db, store.nodes_to_reach)


#: Controllers are busy for moments; drivers keep the pace that they can bear.
_CONTROLLER = Retry(first=1, factor=1.5, most=8)


#: Kind of operation -> what its entries in the history are called, in the API's words.
HISTORY_TYPES = {
    "verify": "verify",
    "inspect": "introspection",
    "clean": "cleaning",
    "deploy": "deploying",
    "undeploy": "unprovision",
    "adopt": "adoption",
    "rescue": "rescue",
    "unrescue": "rescue",
    "service": "servicing",
    "restore": "servicing",
    "power": "transition",
    "boot device": "transition",
}


class NodeTask:
    """One operation on one node. result: what the workflow returned, in its successful end."""

    def __init__(self, deps: Deps, op: Op, result: Any = None) -> None:
        self.result = result
        self.deps = deps
        self.op = op
        self.uuid = op.subject.partition(":")[2]

    # -- steps -------------------------------------------------------------------------------

    async def controller_step(
        self,
        name: str,
        work: Work,
        *,
        key: str | None = None,
        more: float = 0,
        undo: UndoWork | None = None,
        commit: Callable[[sa.Connection, Any], None] | None = None,
        result_type: Any = None,
    ) -> Any:
        """A step that asks the controller; more: seconds beyond the usual.

        Drivers have a patience of their own, which learned deadlines must not cut short: one slow
        controller among quick ones would never be waited for.
        """
        limit = self.deps.timing.power + more
        return await self.op.step(
            name,
            work,
            key=key,
            deadline=limit,
            min_deadline=limit,
            retry=_CONTROLLER,
            undo=undo,
            commit=commit,
            result_type=result_type,
        )

    async def agent_step(
        self,
        name: str,
        work: Work,
        *,
        key: str | None = None,
        commit: Callable[[sa.Connection, Any], None] | None = None,
    ) -> Any:
        """A short step with the agent. Patience with a silent one ends first, so that the cause is told."""
        limit = self.deps.timing.agent_silence + 120
        return await self.op.step(
            name, work, key=key, deadline=limit, min_deadline=limit, commit=commit
        )

    # -- facts -------------------------------------------------------------------------------

    async def node(self) -> Node:
        return (await self._read())[0]

    async def right_to(self, name: str) -> Right:
        """By whose right the image is opened that the node names at `name` ("instance_info.kernel")."""
        return right_to(*await self._rights(), name)

    async def rights_to(self, *names: str) -> dict[str, Right]:
        """The same of several names, by the last word of each."""
        known = await self._rights()
        return {name.partition(".")[2]: right_to(*known, name) for name in names}

    async def _rights(self) -> tuple[Any, str | None]:
        return await self.deps.db.read(lambda conn: store.image_rights(conn, self.uuid))

    async def ports(self) -> tuple[Port, ...]:
        return await self.deps.db.read(lambda conn: store.ports_of(conn, self.uuid))

    async def reach(self, *capabilities: str) -> tuple[Node, Access]:
        """The node, and how drivers reach its machine; capabilities: power and management by default."""
        node, info = await self.known()
        return node, self.access(node, info, *capabilities)

    async def known(self) -> tuple[Node, dict[str, Any]]:
        """The node, and its driver_info in plain text for the drivers."""
        node, sealed = await self._read()
        return node, store.opened(self.deps.vault, node.driver_info, sealed)

    async def _read(self) -> tuple[Node, str | None]:
        found = await self.deps.nodes.get(self.uuid)
        if found is None:
            raise Missing(f"Node {self.uuid} could not be found.")
        return found

    def access(self, node: Node, info: dict[str, Any], *capabilities: str) -> Access:
        return self.deps.registry.access(
            node.driver,
            info,
            node.interfaces,
            key=node.uuid,
            capabilities=capabilities or ("power", "management"),
        )

    async def agent(self) -> AgentHand:
        """The agent that has called from this machine; a fault when none has."""

        def query(conn: sa.Connection) -> tuple[Node, Agent | None, tuple[Port, ...], Any]:
            return (
                store.get_node(conn, self.uuid),
                agent_store.get_agent(conn, self.deps.vault, self.uuid),
                store.ports_of(conn, self.uuid),
                store.target_raid_config(conn, self.uuid),
            )

        node, agent, ports, raid = await self.deps.db.read(query)
        if agent is None or not agent.url or not agent.token:
            raise Fault("No agent has called from this machine.", kind=Kind.UNREACHABLE)
        address = AgentAddress(agent.url, agent.token, agent.verify_ca)
        return AgentHand(
            self.deps.agents,
            address,
            for_agent(node, raid),
            [port_for_agent(port) for port in ports],
        )

    # -- state -------------------------------------------------------------------------------

    def show_step(self, conn: sa.Connection, column: str, step: dict[str, Any] | None) -> None:
        """Show the step in the node's clean_step or deploy_step, as the API does."""
        store.update_node(conn, self.uuid, **{column: step or {}})

    def shift(
        self,
        conn: sa.Connection,
        event: str,
        place: history_store.NodeState | None = None,
        **values: Any,
    ) -> None:
        """Follow an event of the state table; anything the table does not have is our bug.

        place: where the node stands, if this transaction has read it. values: columns of the node that are set
        with it.
        """
        here = place or history_store.node_state(conn, self.uuid)
        while here.successor is None:
            row = states.following(here.state, event)
            if row is None:
                raise RuntimeError(f"no way on from {here.state!r} on {event!r}")
            target = row.target or here.target
            if enter(conn, self.uuid, here.state, row.next, target, self.deps.now(), **values):
                return
            # A request has led it elsewhere since it was read.
            here = history_store.node_state(conn, self.uuid)
        # Given up for another verb, whose state the node is in already.
        if values:
            store.update_node(conn, self.uuid, **values)

    def resume(self, conn: sa.Connection) -> None:
        """Back from a waiting or held state to work, wherever in them the node is."""
        kind = states.STATES[history_store.node_state(conn, self.uuid).state].kind
        if kind == "held":
            self.shift(conn, "unhold")
        if kind in ("held", "waiting"):
            self.shift(conn, "resume")

    def shifting(self, event: str) -> Callable[..., None]:
        """`shift` as a commit function of a step or wait. Fake hardware may already be past it."""

        def change(conn: sa.Connection, *_payload: Any) -> None:
            self.shift(conn, event)

        return change

    def note(
        self,
        conn: sa.Connection,
        text: str,
        severity: str = "INFO",
        place: history_store.NodeState | None = None,
    ) -> None:
        """An entry in the node's history, with the state that the node is in now."""
        history_store.add(
            conn,
            self.uuid,
            self.deps.now(),
            text,
            severity=severity,
            event_type=HISTORY_TYPES.get(self.op.kind, self.op.kind),
            conductor=self.deps.host,
            user=self.op.requested_by or None,
            project=self.op.project_id,
            place=place,
        )

    def finish(
        self,
        conn: sa.Connection,
        event: str,
        said: str,
        place: history_store.NodeState | None = None,
        **values: Any,
    ) -> None:
        """The good end: `said` for the history, follow `event`, release the node, tell who waits.

        values: columns of the node that are set with it.
        """
        here = place or history_store.node_state(conn, self.uuid)
        self.note(conn, said, place=here)
        over = {"reservation": None, "target_provision_state": None, "last_error": None}
        self.shift(conn, event, here, **over, **values)
        if here.secret_steps:
            step_secrets.forget(conn, self.deps.vault, self.uuid)
        self.tell(conn, {"ok": True})

    def tell(self, conn: sa.Connection, message: dict[str, Any]) -> None:
        """Signal the subject that asked to be told of the end."""
        if self.op.input.notify:
            signal(conn, self.op.input.notify, f"{self.op.kind} ended", message)


def for_agent(node: Node, target_raid_config: dict[str, Any] | None = None) -> dict[str, Any]:
    """The node as the agent's hardware managers expect it; no secrets (driver_info is as it is shown)."""
    return {
        "uuid": node.uuid,
        "name": node.name,
        "driver": node.driver,
        "properties": node.properties,
        "driver_info": node.driver_info,
        "instance_info": node.instance_info,
        "driver_internal_info": {"deploy_boot_mode": node.boot_mode},
        "extra": node.extra,
        "raid_config": {},
        "target_raid_config": target_raid_config or {},
    }


def port_for_agent(port: Port) -> dict[str, Any]:
    return {
        "uuid": port.uuid,
        "address": port.address,
        "node_uuid": port.node_uuid,
        "pxe_enabled": port.pxe_enabled,
        "local_link_connection": port.local_link_connection,
        "extra": port.extra,
    }


def enter(
    conn: sa.Connection,
    uuid: str,
    before: str,
    state: str,
    target: str | None,
    now: str,
    **values: Any,
) -> bool:
    """Put a node into a state, if it is still in the state `before`; whether it was.

    A resting state has no target.
    """
    resting = states.STATES[state].kind == "stable"
    entered = {
        "provision_state": state,
        "target_provision_state": None if resting else target,
        "provision_updated_at": now,
    }
    return store.move_node(conn, uuid, before, **{**entered, **values})


def release(conn: sa.Connection, uuid: str, **values: Any) -> None:
    """The operation that held the node is over."""
    store.update_node(conn, uuid, reservation=None, **values)


def unplug(deps: Deps, conn: sa.Connection, node: Node) -> None:
    """Take a machine's provisioning addresses away."""
    if not deps.registry.network(node.driver, node.interfaces.get("network")).binds_ports:
        return
    deps.networks.unplug_provisioning(conn, node)
    for port in store.ports_of(conn, node.uuid):
        store.set_port_internal(conn, port.uuid, {"provisioning_vif_port_id": None})


WorkflowBody = Callable[[NodeTask, Any], Awaitable[Any]]


def bind_task(deps: Deps, body: WorkflowBody) -> Callable[[Op, Any], Awaitable[Any]]:
    """The body of a workflow as the engine calls it: with an operation and its order."""

    async def run(op: Op, order: Any) -> Any:
        return await body(NodeTask(deps, op), order)

    return run
