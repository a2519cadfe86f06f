"""Every step of every workflow on servers broken in every way: by the harness, in virtual time.

The services are real, with imaginary machines below them; what is broken is the server's own part of the story, the
machine's part is broken in `tests/flows/test_breaking.py`. `NIGHTLY=1` breaks that here, too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.fake.world import FakeWorld
from ingot.drivers.machine.hardware import build_registry
from ingot.drivers.machine.types import PowerState
from ingot.kit.auth.policy import Caller
from ingot.kit.auth.standalone import as_before
from ingot.kit.db.database import Database
from ingot.kit.db.vault import Vault
from ingot.kit.tasks.clock import VirtualClock
from ingot.services.baremetal import Baremetal
from ingot.services.baremetal import store as nodes
from ingot.services.baremetal.adapters import OwnNetworks
from ingot.services.baremetal.boot.plan import BootUrls
from ingot.services.baremetal.workflows import Deps, Timing
from ingot.services.baremetal.workflows import workflows as machine_workflows
from ingot.services.compute import Compute, ComputeSettings, store
from ingot.services.compute.service import Draft
from ingot.services.compute.types import Flavor, RequestedNetwork, Secrets
from ingot.services.compute.workflows import machines
from ingot.services.compute.workflows import workflows as server_workflows
from ingot.services.image import Images, ImageSettings
from ingot.services.image.tables import images as image_rows
from ingot.services.network import Networks, NetworkSettings
from ingot.workflow import OperationRow
from ingot.workflow.tables import operations
from ingot.workflow.testing import Case, Scenario, exercise
from tests.life.agents import FakeAgents
from tests.life.world import NoImages, empty_database

pytestmark = pytest.mark.anyio

NIGHTLY = bool(os.environ.get("NIGHTLY"))
IMAGE = "5c3f1c5e-7c0f-4a53-a7a5-2f9f31f1b6b1"
FLAVOR = Flavor(
    id="1", name="bm", vcpus=1, ram=1024, disk=10, extra_specs={"resources:CUSTOM_BM": "1"}
)
USER = Caller(user_id="u", project_id="p", roles=frozenset({"member"}))
TIMING = Timing(agent=300, inspection=300, write=600, clean_step=600, power=60, poll=5)


class Rooms:
    """All services over one database, and the server that is worked on."""

    def __init__(self, db: Database, folder: Path, clock: VirtualClock) -> None:
        self.folder, self.world = folder, FakeWorld(seed=1)
        vault = Vault.at(folder / "key")
        registry = build_registry(DriverContext(clock, run_dir=folder, world=self.world))
        self.images = Images(db, clock, ImageSettings(state_dir=folder, deploy_base_url="http://b"))
        self.networks = Networks(db, clock, NetworkSettings())
        own = OwnNetworks(self.networks, "provider", lambda: "", has_wires=False)
        self.baremetal = Baremetal(db, clock, vault, registry, own, "host-a")
        settings = ComputeSettings(soft_seconds=10, release_seconds=900)
        self.compute = Compute(
            db,
            clock,
            vault,
            self.baremetal,
            self.networks,
            self.images,
            settings,
            still=as_before,
        )
        self.deps = Deps(
            ctx=self.baremetal.ctx,
            images=NoImages(),
            networks=own,
            agents=FakeAgents(clock),
            urls=BootUrls("http://b", "http://b/k", "http://b/r"),
            timing=TIMING,
        )
        self.server = ""

    # -- what there is before ----------------------------------------------------------------

    def furnish(self, conn: sa.Connection) -> None:
        """A machine, a network, an image, and a server that was just ordered."""
        net = self.networks.ensure_flat_network(
            conn, "provider", "physnet1", "192.0.2.0/24", None, None, [], project_id="p"
        )
        conn.execute(
            image_rows.insert().values(
                id=IMAGE, name="i", status="active", owner="p", visibility="public", size=1,
                disk_format="raw", container_format="bare", created_at="now", updated_at="now",
            )
        )  # fmt: skip
        for name in ("one", "two"):
            made = self.baremetal.create_node(
                conn,
                {
                    "name": name,
                    "driver": "fake-hardware",
                    "network_interface": "noop",
                    "resource_class": "bm",
                },
                provision_state="available",
            )
            nodes.update_node(conn, made.uuid, power_state="power off")
            mac = self.world.machine(made.uuid).mac
            self.baremetal.create_port(conn, {"address": mac, "node_uuid": made.uuid})
        draft = Draft(
            name="web",
            flavor=FLAVOR,
            image_id=IMAGE,
            networks=(RequestedNetwork(network=net.id),),
            secrets=Secrets(admin_pass="let-me-in"),
        )
        (self.server,) = self.compute.create(conn, draft, USER, "req-1").uuids
        conn.execute(sa.delete(operations))  # the harness starts the operation itself

    def occupy(self, conn: sa.Connection, state: str = "active", vm: str = "active") -> None:
        """As after a good create."""
        self.furnish(conn)
        server = self.compute.get(conn, self.server)
        wanted = machines.placing(self.compute, conn, server, (), ())
        chosen = machines.choose(self.compute, conn, wanted)
        node = machines.claim(self.compute, conn, server, wanted, chosen)["node"]
        machines.make_ports(self.compute, conn, self.compute.get(conn, self.server))
        machines.wire(self.compute, conn, self.compute.get(conn, self.server), node)
        nodes.update_node(conn, node, provision_state=state, power_state="power on")
        self.world.machine(node).power = PowerState.ON
        store.settle(conn, self.server, vm_state=vm)

    # -- what must hold after ----------------------------------------------------------------

    def check(self, conn: sa.Connection, operation: OperationRow) -> None:
        server = store.find_server(conn, self.server, deleted=True)
        assert server is not None
        assert server.task_state is None, f"still {server.task_state}"
        if operation.state != "done" and operation.kind == "server create":
            assert server.vm_state == "error" and server.fault is not None
        if operation.state != "done" and operation.kind == "server delete":
            assert server.vm_state == "error" and server.fault is not None
            assert store.find_server(conn, self.server) is not None, "it is gone all the same"
        node = self.baremetal.by_instance(conn, self.server)
        if operation.state == "done" and operation.kind == "server delete":
            assert node is None, "a machine is still claimed"
            assert not self.networks.ports_of_device(conn, self.server), "a port is left"
        if node is not None and server.vm_state != "deleted":
            assert server.node_uuid == node.uuid, (
                "the machine has a server that does not know of it"
            )


#: Kind -> what is there before, the order, the parts of its labels that are the server's own.
STORIES: dict[str, tuple[Callable[[Rooms, sa.Connection], None], dict[str, Any]]] = {
    "create": (lambda rooms, conn: rooms.furnish(conn), {}),
    "delete": (lambda rooms, conn: rooms.occupy(conn), {}),
    "stop": (lambda rooms, conn: rooms.occupy(conn), {}),
    "start": (lambda rooms, conn: rooms.occupy(conn, vm="stopped"), {}),
    "reboot": (lambda rooms, conn: rooms.occupy(conn), {"type": "SOFT"}),
    "rebuild": (lambda rooms, conn: rooms.occupy(conn), {}),
    "rescue": (lambda rooms, conn: rooms.occupy(conn), {}),
    "unrescue": (lambda rooms, conn: rooms.occupy(conn, state="rescue", vm="rescued"), {}),
}
_OWN = (
    "look at the image",
    "find a machine",
    "make the network ports",
    "start the",
    "end the",
    "wait for the",
    "let the machine go",
    "take the machine back",
    "free the network ports",
    "order:",
    "end",
)


def _left_out(case: Case) -> bool:
    """In CI only the server's own steps."""
    return not NIGHTLY and (
        not case.label.startswith(_OWN) or case.label.startswith("start the instance")
    )


@pytest.mark.timeout(3600 if NIGHTLY else 240)
@pytest.mark.parametrize("kind", sorted(STORIES))
async def test_every_step_of_a_server_broken(kind: str) -> None:
    prepare, order = STORIES[kind]
    here: list[tuple[Database, Path]] = []

    @contextlib.asynccontextmanager
    async def database() -> AsyncIterator[Database]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            shutil.copy(empty_database(), folder / "one.db")
            db = Database.at(folder / "one.db")
            here[:] = [(db, folder)]
            yield db
            await db.close()

    def scenario(clock: VirtualClock) -> Scenario:
        rooms = Rooms(*here[0], clock)
        made = Scenario(
            workflows=[*server_workflows(rooms.compute), *machine_workflows(rooms.deps)],
            kind=f"server {kind}",
            input=order,
            answer=_nothing,
            invariants=rooms.check,
        )

        def begin(conn: sa.Connection) -> None:
            prepare(rooms, conn)
            made.subject = f"server:{rooms.server}"

        made.prepare = begin
        return made

    outcomes = await exercise(database, scenario, skip=_left_out)
    assert len(outcomes) > 8
    print(
        f"{kind}: {len(outcomes)} runs, {sum(o.operation.state == 'done' for o in outcomes)} done"
    )


def _nothing(signal: str) -> Any:
    """The machines speak for themselves."""
    raise LookupError(signal)
