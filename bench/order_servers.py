"""What one order of a server costs with ten machines and with ten thousand: CPU of the request's own transaction,
of finding a machine and claiming it, and of a project's list.

    python -m bench.order_servers [MACHINES …]

All is in one process on SQLite; as many servers as machines are there already, half of them of the project that orders.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.hardware import build_registry
from ingot.kit.auth.policy import Caller
from ingot.kit.auth.standalone import as_before
from ingot.kit.db.database import Database
from ingot.kit.db.vault import Vault
from ingot.kit.tasks.clock import SystemClock
from ingot.services.baremetal import Baremetal
from ingot.services.baremetal.tables import nodes, ports
from ingot.services.compute import Compute, ComputeSettings, Flavor
from ingot.services.compute import store as servers
from ingot.services.compute.service import Draft
from ingot.services.compute.types import Secrets
from ingot.services.compute.workflows import machines
from ingot.services.image import Images, ImageSettings
from ingot.services.network import Networks, NetworkSettings

IMAGE = "5c3f1c5e-7c0f-4a53-a7a5-2f9f31f1b6b1"
FLAVOR = Flavor(
    id="1", name="bm", vcpus=1, ram=1, disk=1, extra_specs={"resources:CUSTOM_BAREMETAL": "1"}
)
USER = Caller(user_id="u", project_id="p", roles=frozenset({"member"}))
ORDERS = 100


def draft(name: str) -> Draft:
    return Draft(name=name, flavor=FLAVOR, image_id=IMAGE, networks=(), secrets=Secrets())


class Bench:
    """Rooms over one database with so many machines and servers."""

    def __init__(self, folder: Path, many: int) -> None:
        self.many = many
        clock, self.db = SystemClock(), Database.at(folder / "one.db")
        vault = Vault.at(folder / "key")
        registry = build_registry(DriverContext(clock, run_dir=folder))
        self.compute = Compute(
            self.db,
            clock,
            vault,
            Baremetal(self.db, clock, vault, registry),
            Networks(self.db, clock, NetworkSettings()),
            Images(self.db, clock, ImageSettings(state_dir=folder, deploy_base_url="http://b")),
            ComputeSettings(quotas={**ComputeSettings().quotas, "instances": -1}),
            still=as_before,
        )

    async def furnish(self) -> None:
        await self.db.create_all()
        await self.db.write(self._machines)
        for start in range(0, self.many, 500):
            await self.db.write(lambda conn, start=start: self._servers(conn, start))

    def _machines(self, conn: sa.Connection) -> None:
        # Half of them are free; at least as many as are ordered.
        rows = [
            {
                "uuid": f"{n * 7919 % 65536:04x}0000-0000-4000-8000-{n:012x}",
                "name": f"n{n}",
                "created_at": "now",
                "driver": "fake-hardware",
                "provision_state": "active" if n >= 2 * ORDERS and n % 2 else "available",
                "power_state": "power off",
                "resource_class": "baremetal",
            }
            for n in range(max(self.many, ORDERS))
        ]
        conn.execute(nodes.insert(), rows)
        cards = [
            {
                "uuid": "c" + row["uuid"][1:],
                "node_uuid": row["uuid"],
                "address": f"02:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
                "created_at": "now",
            }
            for n, row in enumerate(rows)
        ]
        conn.execute(ports.insert(), cards)

    def _servers(self, conn: sa.Connection, start: int) -> None:
        for n in range(start, min(start + 500, self.many)):
            who = USER if n % 2 else Caller(user_id="u", project_id="q", roles=USER.roles)
            self.compute.create(conn, draft(f"old{n}"), who, "req-1")

    async def measured(self) -> dict[str, float]:
        """Milliseconds of CPU for one of each."""
        compute, made = self.compute, list[str]()

        def order(conn: sa.Connection) -> None:
            made.extend(compute.create(conn, draft("new"), USER, "req-1").uuids)

        def claim(conn: sa.Connection, uuid: str) -> None:
            server = compute.get(conn, uuid)
            wanted = machines.placing(compute, conn, server, (), ())
            chosen = machines.choose(compute, conn, wanted)
            assert machines.claim(compute, conn, server, wanted, chosen)

        def listed(conn: sa.Connection) -> None:
            where = servers.listed("p")
            servers.select_servers(conn, where, limit=20)

        def named(conn: sa.Connection) -> None:
            found = servers.named_like("^new$")
            assert found is not None
            servers.select_servers(conn, [*servers.listed("p"), found], limit=20)

        found = {"order": await self._each(order, ORDERS)}
        begun = time.process_time()
        for uuid in made:
            await self.db.write(lambda conn, uuid=uuid: claim(conn, uuid))
        found["find and claim a machine"] = (time.process_time() - begun) / len(made) * 1000
        found["list 20 of a project"] = await self._each(listed, 50)
        found["list by name"] = await self._each(named, 50)
        return found

    async def _each(self, work: Callable[[sa.Connection], Any], times: int) -> float:
        begun = time.process_time()
        for _ in range(times):
            await self.db.write(work)
        return (time.process_time() - begun) / times * 1000


async def main(fleets: list[int]) -> None:
    results: list[dict[str, float]] = []
    for many in fleets:
        with tempfile.TemporaryDirectory() as name:
            bench = Bench(Path(name), many)
            await bench.furnish()
            results.append(await bench.measured())
            await bench.db.close()
    print(f"{'ms of CPU with … machines':28}" + "".join(f"{many:>10}" for many in fleets))
    for what in results[0]:
        print(f"{what:28}" + "".join(f"{found[what]:10.2f}" for found in results))


if __name__ == "__main__":
    asyncio.run(main([int(text) for text in sys.argv[1:]] or [10, 10_000]))
