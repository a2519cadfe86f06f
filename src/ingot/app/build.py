"""The one constructor: settings, database, drivers, services, engine, in the order in which they need each other.

Everything else asks nobody for its collaborators; they are given here. `cloud` is the life of what is built,
`listeners` what its listeners serve, `serving` is `ingot serve` around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingot.app import access, auditsinks, keys, nova
from ingot.app.access import Gate
from ingot.app.bootstrap import OWN_PROJECT
from ingot.app.cloud import Cloud
from ingot.app.listeners import Listeners
from ingot.app.machines import Base, Machines, build_machines, machine_networks
from ingot.app.metrics import count_statement
from ingot.app.options import (
    egress_of,
    identity_options,
    image_options,
    network_options,
    offers,
    path,
    peer_address,
    server_options,
)
from ingot.app.services import SERVICES
from ingot.drivers.machine.fake.world import FakeWorld
from ingot.kit.db.database import Database
from ingot.kit.db.vault import Vault
from ingot.kit.tasks.clock import Clock, SystemClock
from ingot.kit.tasks.events import EventHub
from ingot.services.baremetal import CONSOLE_ADDRESS, WebsocketConsoles
from ingot.services.baremetal.module import built as built_baremetal
from ingot.services.compute import Compute, ConsoleKeeper
from ingot.services.compute.module import built as built_compute
from ingot.services.identity import CatalogueEntry, Identity
from ingot.services.identity.module import built as built_identity
from ingot.services.identity.outside import OutsideIdentity
from ingot.services.image import Images
from ingot.services.image.module import built as built_image
from ingot.services.module import BuiltService
from ingot.services.network import Networks
from ingot.services.network.module import built as built_network
from ingot.settings import Settings
from ingot.workflow import Engine, Workflow
from ingot.workflow.api import Timeline


@dataclass(frozen=True)
class World:
    """What is outside of the cloud and can be imagined. fake: the machines of fake hardware; None: as last seen."""

    fake: FakeWorld | None = None


def build(settings: Settings, clock: Clock | None = None, world: World | None = None) -> Cloud:
    """The whole cloud of one process; nothing is opened and nothing runs before `Cloud.open`. Faults: wrong settings."""
    base = _base(settings, clock or SystemClock())
    db, time = base.db, base.clock
    services: dict[str, BuiltService] = {}
    entries, held = _catalogue(settings), _held(services)
    identity = Identity(db, time, identity_options(settings), entries, held, base.vault)
    outside = access.outside_identity(settings, time)
    tokens = _tokens(identity, outside)
    gate = access.baremetal_gate(settings, time, tokens)
    images = Images(db, time, image_options(settings))
    told = nova.events_of(settings.nova, time)
    networks = Networks(db, time, network_options(settings), told)
    own_identity = identity if offers(settings, "identity") and outside is None else None

    def project() -> str:
        """The project of what the cloud has itself on its networks."""
        return own_identity.service_project_id if own_identity else OWN_PROJECT

    wired = machine_networks(settings, networks, project)
    machines = build_machines(base, gate, images, wired, told, (world or World()).fake)
    baremetal, sessions = machines.baremetal, machines.sessions
    folder = path(settings.console.folder) or settings.state_dir / "consoles"
    keeper = ConsoleKeeper(db, time, baremetal, sessions, folder)
    compute = Compute(
        db,
        time,
        base.vault,
        baremetal,
        networks,
        images,
        server_options(settings),
        keeper,
        still=tokens.still,
    )
    services.update(
        identity=built_identity(identity),
        image=built_image(images),
        network=built_network(networks),
        baremetal=built_baremetal(
            baremetal,
            machines.deps,
            machines.ramdisk,
            gate.challenge,
            public_agents=settings.baremetal.public_ramdisk_api,
        ),
        compute=built_compute(compute),
    )
    grants = {"node": machines.grant, "server": compute.console_grant()}
    engine = _engine(base, machines, [one for s in services.values() for one in s.workflows])
    hub = EventHub(db, time)
    audit = auditsinks.recorder(settings, db, time)
    policies = access.PolicyFiles(settings)
    policies.check()
    webdoors = WebsocketConsoles(baremetal.ctx, sessions, grants)
    listeners = Listeners(
        base, services, tokens, gate, policies, Timeline(db, hub), webdoors, audit,
        machines.power_sync, outside is not None,
    )  # fmt: skip
    return Cloud(
        base, services, identity, own_identity, outside, images, networks, machines, compute,
        keeper, webdoors, engine, hub, audit, policies, told, listeners,
    )  # fmt: skip


def _base(settings: Settings, clock: Clock) -> Base:
    state = settings.state_dir
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    db = Database(settings.database or f"sqlite:///{state / 'ingot.db'}")
    db.on_statement(count_statement)
    vault = Vault.at(settings.keys_dir / "vault.key", keep=False)
    return Base(settings, clock, db, vault, egress_of(settings))


def _catalogue(settings: Settings) -> list[CatalogueEntry]:
    """Of the services beside identity, which adds itself."""
    return [
        CatalogueEntry(one.type, one.product, one.url, one.title)
        for one in SERVICES
        if one.name != "identity" and offers(settings, one.name)
    ]


def _held(services: Mapping[str, BuiltService]) -> Any:
    """Counts what a project has in all services. services: complete when the first project is deleted."""

    def held(conn: sa.Connection, project_id: str) -> dict[str, int]:
        counters = [pair for one in services.values() for pair in one.held.items()]
        return {what: count(conn, project_id) for what, count in counters}

    return held


def _tokens(identity: Identity, outside: OutsideIdentity | None) -> Gate:
    if outside is not None:
        return Gate(outside.authenticate, outside.still, outside.challenge)
    return Gate(identity.authenticate, identity.still)


def _engine(base: Base, machines: Machines, workflows: Sequence[Workflow]) -> Engine:
    settings = base.settings
    return Engine(
        base.db,
        base.clock,
        workflows,
        settings.hostname,
        # Operations on servers belong to no group of machines: every conductor takes them.
        groups=tuple(dict.fromkeys((settings.group, ""))),
        beat=settings.cluster.beat_seconds,
        dead=settings.cluster.dead_seconds,
        roles=settings.roles,
        on_expelled=(machines.sessions.drop,),
        # What this process tells the others of itself.
        info={
            "drivers": list(machines.registry.hardware_types()),
            keys.INFO: keys.marks(settings.keys_dir),
            CONSOLE_ADDRESS: peer_address(settings),
        },
    )
