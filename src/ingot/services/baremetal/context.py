"""What every verb of this service works with: collaborators, settings, and who asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from ingot.drivers.machine.registry import Registry
from ingot.drivers.machine.types import Access
from ingot.kit.auth.policy import Caller
from ingot.kit.db.database import Database, timestamp
from ingot.kit.db.vault import Vault
from ingot.kit.http.egress import Egress
from ingot.kit.tasks.clock import Clock
from ingot.services.baremetal import store
from ingot.services.baremetal.boot.imagerights import CLOUD, Right
from ingot.services.baremetal.steps.options import StepRules
from ingot.services.baremetal.types import Node, Port
from ingot.services.server_events import UNTOLD, ServerEvents


@dataclass(frozen=True, slots=True)
class By:
    """Who asks for a change: for locks, history and events. Empty for the cloud itself."""

    user: str = ""
    project_id: str | None = None
    request_id: str | None = None
    #: By which the images are opened that the change names.
    right: Right = CLOUD


NOBODY = By()


class Networks(Protocol):
    """What VIFs need of the network service; all are functions of a connection."""

    def reach(self, caller: Caller) -> str | None:
        """The project whose network ports a caller may put on machines; None for everyone's."""
        ...

    def physical_networks(
        self, conn: sa.Connection, vif: str, node: Node, project_id: str | None
    ) -> frozenset[str]:
        """Physical networks on which a network port can live.

        Missing when there is no such port of this project (None: of anyone), Conflict while another machine has it.
        """
        ...

    def plug_vif(self, conn: sa.Connection, node: Node, port: Port, vif: str) -> None:
        """Bind the network port to this NIC."""
        ...

    def unplug_vif(self, conn: sa.Connection, node: Node, vif: str) -> None:
        """Take the network port off this node; what is bound elsewhere meanwhile stays."""
        ...

    def free_card(self, conn: sa.Connection, node: Node, port: Port) -> None:
        """Take this NIC's MAC from the agent's network port, where an agent was left running."""
        ...

    def unplug_provisioning(self, conn: sa.Connection, node: Node) -> None:
        """Take the addresses away that the machine has while the agent runs."""
        ...


class Images(Protocol):
    """What verbs need of the image service."""

    def problem(self, conn: sa.Connection, ident: str, right: Right) -> str | None:
        """Why this right does not open an image, named by id or name; None when it does."""
        ...

    def revoke(self, conn: sa.Connection, node: str) -> None:
        """From now on no URL works that was made for this node."""
        ...


class NoNetworks:
    """Where no network service is: VIFs are only names."""

    def reach(self, caller: Caller) -> str | None:
        return None

    def physical_networks(
        self, conn: sa.Connection, vif: str, node: Node, project_id: str | None
    ) -> frozenset[str]:
        return frozenset()

    def plug_vif(self, conn: sa.Connection, node: Node, port: Port, vif: str) -> None:
        return None

    def unplug_vif(self, conn: sa.Connection, node: Node, vif: str) -> None:
        return None

    def free_card(self, conn: sa.Connection, node: Node, port: Port) -> None:
        return None

    def unplug_provisioning(self, conn: sa.Connection, node: Node) -> None:
        return None


@dataclass(frozen=True)
class BaremetalSettings:
    """Options of the service. Seconds where time is meant.

    agent_ramdisk: whether an agent's kernel and ramdisk are configured, for nodes that name none.

    service_project: the project whose `service` role counts as the system's (rule service_role); "": none.
    console_address, console_ports: where consoles listen; ranges are first (in) to last (out).
    console_idle: a console connection that says nothing for so long is closed, 0 for never.
    console_websockets: whether this process serves the consoles that it holds by websocket, beside the API.
    console_url: where they are served (ws://…); "" for the address by which a client asked.
    console_token_seconds: how long a websocket's URL may be used to connect.
    automatic_lessee: the project of instance_info becomes the lessee while its instance is on the machine.
    max_concurrent_deploy, max_concurrent_clean: machines at a time, above which the API says 503; 0: any number.
    conductor_timeout: a conductor without a beat for so long is shown as not alive.
    power_sync_workers, power_sync_slow_workers: controllers that are asked at a time: quick ones; slow ones, and
    as many dead ones. watch_health: whether nodes show the health that controllers tell with the power.
    sensor_interval: sensors are read once in so many seconds, 0 for never; sensors_of_undeployed: also of machines
    that are not active; sensor_workers: machines at a time. event_url: the provisioning listener as controllers reach it, "" for no events;
    event_poll_interval: how often those are asked whose events arrive.
    undeploy_under_server: whether a machine may be undeployed by the Bare Metal API while a server of our own has it:
    "refuse" (but in maintenance), or "end" (the server is deleted with it).
    egress, file_images: whom images at URLs may lead to, and folders of those in files; image_service: whether this
    cloud has images of its own.
    lock_wait: how long a request waits for a power change or the like to end before it is told 409.
    act_seconds: how long a request may ask a controller for a change (several questions to a slow one).
    """

    allow_deleting_available_nodes: bool = True
    allow_provisioning_in_maintenance: bool = True
    automatic_lessee: bool = True
    max_concurrent_deploy: int = 0
    max_concurrent_clean: int = 0
    project_admin_can_manage_own_nodes: bool = True
    default_resource_class: str | None = None
    default_conductor_group: str = ""
    service_project: str = ""
    conductor_timeout: float = 60
    undeploy_under_server: str = "refuse"
    lock_wait: float = 0
    act_seconds: float = 60
    max_limit: int = 1000
    power_sync_interval: float = 60
    power_sync_retries: int = 3
    power_sync_workers: int = 64
    power_sync_slow_workers: int = 500
    watch_health: bool = True
    sensor_interval: float = 0
    sensors_of_undeployed: bool = False
    sensor_workers: int = 32
    event_url: str = ""
    event_poll_interval: float = 300
    soft_power_timeout: int = 600
    egress: Egress = field(default_factory=Egress)
    file_images: tuple[Path, ...] = ()
    image_service: bool = True
    steps: StepRules = field(default_factory=StepRules)
    agent_ramdisk: bool = True
    console_address: str = "127.0.0.1"
    console_ports: tuple[tuple[int, int], ...] = ((10000, 20000),)
    console_idle: float = 600
    console_websockets: bool = False
    console_url: str = ""
    console_token_seconds: float = 600
    policy: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Context:
    """Collaborators of all verbs."""

    db: Database
    clock: Clock
    vault: Vault
    registry: Registry
    networks: Networks
    host: str
    settings: BaremetalSettings = field(default_factory=BaremetalSettings)
    #: What readers keep for a moment: name -> (monotonic time, value).
    memory: dict[str, tuple[float, Any]] = field(
        default_factory=dict[str, tuple[float, Any]], repr=False, compare=False
    )
    #: None where no image service is: then work finds out what is wrong with an image.
    images: Images | None = None
    #: Told of power that changes under an instance.
    servers: ServerEvents = UNTOLD

    def now(self) -> str:
        return timestamp(self.clock.now())

    def driver_info(self, conn: sa.Connection, node: Node) -> dict[str, Any]:
        """driver_info with its secrets in plain text, for drivers only."""
        return store.driver_info(conn, self.vault, node)

    def access(self, conn: sa.Connection, node: Node, *capabilities: str) -> Access:
        """How drivers reach the machine; Invalid when driver_info is incomplete for these."""
        return self.access_by(node, self.driver_info(conn, node), *capabilities)

    def access_by(self, node: Node, info: Mapping[str, Any], *capabilities: str) -> Access:
        """The same by a driver_info in plain text."""
        return self.registry.access(
            node.driver,
            info,
            node.interfaces,
            key=node.uuid,
            capabilities=capabilities or ("power", "management"),
        )
