"""Orders and deletions of servers at real processes, and what must be true of machines, ports and quotas when all is quiet."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from tests.races.processes import Cloud, Said
from tests.races.traffic import Entry

NODES, SERVERS, NETWORK = "/baremetal/v1/nodes", "/compute/v2.1/servers", "/network/v2.0"
#: Refusals that a rival may meet.
CIVIL = (404, 409)
RESTING = ("ACTIVE", "SHUTOFF", "ERROR")


@dataclass
class Orders:
    """Clients that order servers, act on them and delete them, until they are stopped.

    system, tenant: the same processes, asked with a token of the system and one of a project. made: ids of servers
    whose order was accepted. names: of orders whose answer never came. gone: deletions.
    """

    system: Cloud
    tenant: Cloud
    project: str
    order: dict[str, Any] = field(default_factory=dict[str, Any])
    made: set[str] = field(default_factory=set[str])
    names: set[str] = field(default_factory=set[str])
    gone: Entry = field(default_factory=Entry)
    odd: list[str] = field(default_factory=list[str])
    stopping: bool = False

    async def furnish(self, machines: int) -> None:
        """Free machines, and what an order names."""
        for number in range(machines):
            await self._machine(number)
        limits = {"quota_set": dict.fromkeys(("instances", "cores", "ram"), -1)}
        path = f"/compute/v2.1/os-quota-sets/{self.project}"
        assert (await self.tenant.ask("PUT", path, limits)).status == 200
        flavor: Any = {"name": "f", "ram": 1024, "vcpus": 1, "disk": 1}
        made = await self._made("/compute/v2.1/flavors", {"flavor": flavor})
        flavor = made["flavor"]["id"]
        specs = {"extra_specs": {"resources:CUSTOM_BAREMETAL": "1"}}
        path = f"/compute/v2.1/flavors/{flavor}/os-extra_specs"
        assert (await self.tenant.ask("POST", path, specs)).status == 200
        image = {"name": "i", "disk_format": "raw", "container_format": "bare"}
        image_id = (await self._made("/image/v2/images", image))["id"]
        await self.tenant.upload(image_id, b"\0" * 65536)
        wire = {"name": "n", "provider:network_type": "flat", "provider:physical_network": "w"}
        network = (await self._made(f"{NETWORK}/networks", {"network": wire}))["network"]["id"]
        subnet = {"network_id": network, "cidr": "192.0.2.0/24", "ip_version": 4}
        await self._made(f"{NETWORK}/subnets", {"subnet": subnet})
        self.order = {"flavorRef": flavor, "imageRef": image_id, "networks": [{"uuid": network}]}

    async def _made(self, path: str, body: Any) -> Any:
        said = await self.tenant.ask("POST", path, body)
        assert said.accepted, (path, said)
        return said.json

    async def _machine(self, number: int) -> None:
        body: dict[str, Any] = {"driver": "fake-hardware", "resource_class": "baremetal"}
        body["automated_clean"] = False
        uuid = (await self.system.ask("POST", NODES, body)).json["uuid"]
        port = {"node_uuid": uuid, "address": f"52:54:00:00:00:{number:02x}"}
        assert (await self.system.ask("POST", "/baremetal/v1/ports", port)).status == 201
        for verb, state in (("manage", "manageable"), ("provide", "available")):
            path = f"{NODES}/{uuid}"
            await self.system.ask("PUT", f"{path}/states/provision", {"target": verb})
            while (await self.system.sure("GET", path)).json["provision_state"] != state:
                await asyncio.sleep(0.02)

    # -- at work ---------------------------------------------------------------------------------

    async def client(self, number: int) -> None:
        chance, turn = random.Random(number), 0
        while not self.stopping:
            turn += 1
            await self._life(f"s-{number}-{turn}", chance)

    async def _life(self, name: str, chance: random.Random) -> None:
        said = self._seen(
            "order",
            await self.tenant.ask("POST", SERVERS, {"server": {"name": name, **self.order}}),
        )
        if said.unknown:
            self.names.add(name)
            await asyncio.sleep(0.2)  # nobody is there for a while
        if not said.accepted:
            return
        uuid = said.json["server"]["id"]
        self.made.add(uuid)
        await asyncio.sleep(chance.choice((0, 0.02, 0.07, 0.5)))
        acts: list[dict[str, Any]] = [{"reboot": {"type": "HARD"}}, {"os-stop": None}]
        if chance.random() < 0.4:
            path = f"{SERVERS}/{uuid}/action"
            self._seen("act", await self.tenant.ask("POST", path, chance.choice(acts)))
        if chance.random() < 0.9:
            gone = self._seen("delete", await self.tenant.ask("DELETE", f"{SERVERS}/{uuid}"))
            self.gone.note(uuid, gone)

    def _seen(self, what: str, said: Said) -> Said:
        if not said.accepted and not said.unknown and said.status not in CIVIL:
            self.odd.append(f"{what}: {said.status} {said.json}")
        return said

    # -- at rest ---------------------------------------------------------------------------------

    async def servers(self) -> dict[str, Any]:
        """Those that are there, by id."""
        found: dict[str, Any] = {}
        path = f"{SERVERS}/detail?limit=500"
        while True:
            page = (await self.tenant.sure("GET", path)).json["servers"]
            found |= {one["id"]: one for one in page}
            if len(page) < 500:
                return found
            path = f"{SERVERS}/detail?limit=500&marker={page[-1]['id']}"

    async def settle(self, within: float = 120) -> dict[str, Any]:
        """Nothing is under way at any server or machine any more; the servers that are there."""
        found: dict[str, Any] = {}
        left: list[Any] = []
        try:
            async with asyncio.timeout(within):
                while True:
                    found = await self.servers()
                    left = [
                        (one["id"], one["status"], one["OS-EXT-STS:task_state"])
                        for one in found.values()
                        if one["OS-EXT-STS:task_state"] or one["status"] not in RESTING
                    ]
                    left += [node for node in await self._nodes() if node["reservation"]]
                    if not left:
                        return found
                    await asyncio.sleep(0.3)
        except TimeoutError:
            raise AssertionError(f"stuck: {left[:5]}") from None

    async def _nodes(self) -> list[dict[str, Any]]:
        fields = "uuid,instance_uuid,provision_state,reservation"
        return (await self.system.sure("GET", f"{NODES}?fields={fields}")).json["nodes"]

    async def judge(self) -> None:
        """Compare what was told with what is there."""
        for cloud in (self.system, self.tenant):
            assert not cloud.wrong, (len(cloud.wrong), cloud.wrong[:3])
        assert not self.odd, (len(self.odd), self.odd[:3])
        there = await self.settle()
        forgotten = self.gone.accepted & set(there)
        lost = self.made - self.gone.accepted - self.gone.unknown - set(there)
        strange = {
            uuid
            for uuid, one in there.items()
            if uuid not in self.made and one["name"] not in self.names
        }
        told = {"forgotten": forgotten, "lost": lost, "strange": strange}
        assert not any(told.values()), told
        await self._books_agree(there)

    async def _books_agree(self, there: dict[str, Any]) -> None:
        """Machines, ports and the quota are those of the servers that are there."""
        held = [node for node in await self._nodes() if node["instance_uuid"]]
        holders = [node["instance_uuid"] for node in held]
        assert len(holders) == len(set(holders)) and set(holders) <= set(there), holders
        running = {uuid for uuid, one in there.items() if one["status"] != "ERROR"}
        assert running <= set(holders), (running, holders)
        ports = (await self.tenant.sure("GET", f"{NETWORK}/ports")).json["ports"]
        owners = {port["device_id"] for port in ports if "compute:" in port["device_owner"]}
        assert owners <= set(there), owners - set(there)
        path = f"/compute/v2.1/os-quota-sets/{self.project}/detail"
        used = (await self.tenant.sure("GET", path)).json["quota_set"]["instances"]["in_use"]
        assert used == len(there)

    async def clear(self) -> None:
        """Delete what is left: all machines are free then."""
        for uuid in await self.servers():
            await self.tenant.sure("DELETE", f"{SERVERS}/{uuid}")
        async with asyncio.timeout(120):
            while await self.servers():
                await asyncio.sleep(0.3)
        await self._books_agree({})

    async def one_more(self) -> None:
        """The machines are not only free, they serve."""
        said = await self.tenant.ask("POST", SERVERS, {"server": {"name": "last", **self.order}})
        assert said.accepted, said
        await self.settle()
        (status,) = [one["status"] for one in (await self.servers()).values()]
        assert status == "ACTIVE"
