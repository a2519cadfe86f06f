"""Mixed traffic at machines, and the ledger of all answers: what was accepted has happened, once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ingot.kit import ids
from tests.races.processes import Cloud, Said

NODES = "/baremetal/v1/nodes"
#: Refusals that a rival may meet.
CIVIL = (400, 404, 409)


@dataclass
class Entry:
    """What was asked of one thing: keys accepted, keys whose answer never came."""

    accepted: set[str] = field(default_factory=set[str])
    unknown: set[str] = field(default_factory=set[str])

    def note(self, key: str, said: Said) -> None:
        if said.accepted:
            self.accepted.add(key)
        elif said.unknown:
            self.unknown.add(key)


@dataclass
class Ledger:
    """All that the clients were told.

    made, gone: own machines by uuid. common: keys in `extra` of the machine that all change. traits: of the same.
    claims: rivals' instances, by the machine that they claimed. odd: refusals that nobody should meet.
    """

    made: Entry = field(default_factory=Entry)
    gone: Entry = field(default_factory=Entry)
    common: Entry = field(default_factory=Entry)
    traits: Entry = field(default_factory=Entry)
    claims: dict[str, Entry] = field(default_factory=dict[str, Entry])
    odd: list[str] = field(default_factory=list[str])
    asked: int = 0

    def seen(self, what: str, said: Said) -> Said:
        self.asked += 1
        if not said.accepted and not said.unknown and said.status not in CIVIL:
            self.odd.append(f"{what}: {said.status} {said.json}")
        return said


@dataclass
class Traffic:
    """Clients at work until they are stopped."""

    cloud: Cloud
    common: str
    rivals: Sequence[str]
    ledger: Ledger = field(default_factory=Ledger)
    stopping: bool = False

    @classmethod
    async def prepare(cls, cloud: Cloud, rivals: int) -> Traffic:
        uuids: list[str] = []
        for _ in range(rivals + 1):
            said = await cloud.ask("POST", NODES, {"driver": "fake-hardware"})
            assert said.status == 201, said
            uuids.append(said.json["uuid"])
        made = cls(cloud, uuids[0], uuids[1:])
        made.ledger.claims = {uuid: Entry() for uuid in uuids[1:]}
        return made

    async def client(self, number: int) -> None:
        """One machine's life after another, and a stir in what all share."""
        chance = random.Random(number)
        for round in range(10_000):
            if self.stopping:
                return
            await self._life(f"{number}-{round}", chance)

    async def _ask(self, what: str, method: str, path: str, body: Any = None) -> Said:
        return self.ledger.seen(what, await self.cloud.ask(method, path, body))

    async def _life(self, name: str, chance: random.Random) -> None:
        ledger, own = self.ledger, ids.new_uuid()
        body = {"driver": "fake-hardware", "uuid": own, "name": f"m-{name}"}
        made = await self._ask("create", "POST", NODES, body)
        ledger.made.note(own, made)
        path = f"{NODES}/{own}"
        key = f"k{name}"
        change = [{"op": "add", "path": f"/extra/{key}", "value": 1}]
        said = await self._ask("extra", "PATCH", f"{NODES}/{self.common}", change)
        ledger.common.note(key, said)
        trait = f"CUSTOM_{name.replace('-', '_')}"
        if len(ledger.traits.accepted | ledger.traits.unknown) < 40:
            said = await self._ask("trait", "PUT", f"{NODES}/{self.common}/traits/{trait}")
            ledger.traits.note(trait, said)
        rival, instance = chance.choice(list(self.rivals)), ids.new_uuid()
        claim = [{"op": "add", "path": "/instance_uuid", "value": instance}]
        said = await self._ask("claim", "PATCH", f"{NODES}/{rival}", claim)
        ledger.claims[rival].note(instance, said)
        if made.accepted:
            verb = chance.choice(["manage", "manage", "power"])
            if verb == "power":
                await self._ask("power", "PUT", f"{path}/states/power", {"target": "power on"})
            else:
                await self._ask("verb", "PUT", f"{path}/states/provision", {"target": "manage"})
            if chance.random() < 0.6:
                gone = await self._ask("delete", "DELETE", path)
                ledger.gone.note(own, gone)


async def settle(traffic: Traffic, within: float = 120) -> None:
    """Every machine comes to rest: no operation holds one, none stands in a state of work."""
    async with asyncio.timeout(within):
        while True:
            said = await traffic.cloud.sure(
                "GET", f"{NODES}?fields=uuid,provision_state,reservation,target_power_state"
            )
            left = [
                node
                for node in said.json["nodes"]
                if node["reservation"]
                or node["target_power_state"]
                or node["provision_state"] not in ("enroll", "manageable")
            ]
            if not left and "next" not in said.json:
                return
            await asyncio.sleep(0.3)


async def judge(traffic: Traffic) -> None:
    """Compare the ledger with what is there."""
    ledger, cloud = traffic.ledger, traffic.cloud
    assert not cloud.wrong, (len(cloud.wrong), cloud.wrong[:3])
    assert not ledger.odd, (len(ledger.odd), ledger.odd[:3])
    shown = (await cloud.sure("GET", f"{NODES}/{traffic.common}")).json
    _between("extra", set(shown["extra"]), ledger.common)
    _between("traits", set(shown["traits"]), ledger.traits)
    for uuid, claims in ledger.claims.items():
        held = (await cloud.sure("GET", f"{NODES}/{uuid}")).json["instance_uuid"]
        assert len(claims.accepted) <= 1, ("doubled", uuid, claims.accepted)
        _between(f"claims of {uuid}", {held} - {None}, claims)
    there: set[str] = set()
    marker = ""
    while True:
        listed = await cloud.sure("GET", f"{NODES}?fields=uuid&limit=1000{marker}")
        there |= {node["uuid"] for node in listed.json["nodes"]}
        if "next" not in listed.json:
            break
        marker = f"&marker={listed.json['nodes'][-1]['uuid']}"
    there -= {traffic.common, *traffic.rivals}
    made, gone = ledger.made, ledger.gone
    lost = made.accepted - gone.accepted - gone.unknown - there
    back = gone.accepted & there
    strange = there - made.accepted - made.unknown
    assert not (lost or back or strange), {"lost": lost, "back": back, "strange": strange}


def _between(what: str, found: set[str], entry: Entry) -> None:
    lost, more = entry.accepted - found, found - entry.accepted - entry.unknown
    assert not lost and not more, {what: {"lost": lost, "more": more}}
