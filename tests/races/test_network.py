"""The Networking API as a crowd meets it: one database, and one or three processes' rooms at it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from ingot.kit.db.database import Database
from ingot.kit.faults import Fault, Kind
from ingot.kit.http.server import WebApp
from ingot.kit.tasks.clock import SystemClock
from ingot.services.network import Networks, NetworkSettings, Port
from ingot.services.network.api import make_service
from tests import postgres
from tests.network.conftest import authenticate
from tests.races.crowd import CLIENTS, Answers, Ask, crowd

pytestmark = pytest.mark.anyio
MANY = 2 * CLIENTS


@dataclass
class Reply:
    status: int
    json: Any


class Place:
    """The services of some processes; each request goes to the next of them."""

    def __init__(self, rooms: list[tuple[Networks, falcon.testing.ASGIConductor]]) -> None:
        self.rooms = rooms
        self._turns = itertools.cycle(rooms)

    @property
    def nets(self) -> Networks:
        return next(self._turns)[0]

    async def ask(
        self, method: str, path: str, body: Any = None, who: str = "admin", **more: str
    ) -> Reply:
        _, client = next(self._turns)
        headers = {"X-Auth-Token": who, **{name.replace("_", "-"): more[name] for name in more}}
        reply = await client.simulate_request(
            method, f"/network/v2.0{path}", json=body, headers=headers
        )
        return Reply(reply.status_code, reply.json if reply.text else None)

    async def make(self, plural: str, who: str = "admin", **fields: Any) -> dict[str, Any]:
        name = plural.replace("-", "_")[:-1]
        reply = await self.ask("POST", f"/{plural}", {name: fields}, who)
        assert reply.status == 201, reply.json
        return reply.json[name]

    async def get(self, path: str, who: str = "admin") -> Any:
        reply = await self.ask("GET", path, who=who)
        assert reply.status == 200, reply.json
        return next(iter(reply.json.values()))

    async def network(self, **more: Any) -> dict[str, Any]:
        made = await self.make("networks", **{"provider:physical_network": "wire1"}, **more)
        await self.make("subnets", network_id=made["id"], cidr="192.0.2.0/24")
        return made

    async def crowd(self, asks: Sequence[tuple[Any, Ask]]) -> Answers:
        # 503 asks the client to come again: all others were in its way.
        return (await crowd(asks)).civil(404, 409, 412, 503)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    url = f"sqlite:///{tmp_path / 'ingot.db'}"
    if request.param == "postgresql":
        if why := postgres.missing():
            pytest.skip(why)
        url = request.getfixturevalue("postgres_url")
    rooms: list[tuple[Networks, falcon.testing.ASGIConductor]] = []
    async with AsyncExitStack() as stack:
        for number in range(3 if request.param == "postgresql" else 1):
            db = Database(url)
            stack.push_async_callback(db.close)
            if number == 0:
                await db.create_all()
            nets = Networks(db, SystemClock(), NetworkSettings())
            app = WebApp([make_service(nets, authenticate)]).asgi
            rooms.append((nets, await stack.enter_async_context(falcon.testing.ASGIConductor(app))))
        yield Place(rooms)


async def test_quotas_hold(place: Place) -> None:
    limits = {"network": 4, "port": 7, "subnet": 3, "security_group": 3}
    await place.ask("PUT", "/quotas/p-one", {"quota": limits})
    shared = await place.network(shared=True)
    own = {"project_id": "p-one"}

    def network(number: int) -> Ask:
        wire = {"provider:physical_network": f"w{number}", **own}
        return lambda: place.ask("POST", "/networks", {"network": wire})

    def port(_: int) -> Ask:
        body = {"port": {"network_id": shared["id"]}}
        return lambda: place.ask("POST", "/ports", body, "member")

    def subnet(number: int) -> Ask:
        body = {"subnet": {"network_id": shared["id"], "cidr": f"198.51.{number}.0/24", **own}}
        return lambda: place.ask("POST", "/subnets", body)

    def group(_: int) -> Ask:
        body = {"security_group": {"name": "g"}}
        return lambda: place.ask("POST", "/security-groups", body, "member")

    kinds = {"network": network, "port": port, "subnet": subnet, "security_group": group}
    asks = [(name, make(number)) for number in range(MANY // 3) for name, make in kinds.items()]
    got = await place.crowd(asks)
    made = Counter(got.accepted().keys)
    details = await place.get("/quotas/p-one/details")
    for name, most in limits.items():
        free = most - (name == "security_group")  # the default one counts
        assert made[name] == free, (made, got.statuses)
        assert details[name]["used"] == most


async def test_no_tag_is_lost(place: Place) -> None:
    made = await place.network()
    path = f"/networks/{made['id']}"

    def add(number: int) -> Ask:
        if number % 2:
            return lambda: place.ask("PUT", f"{path}/tags/t{number}")
        body = {"network": {"description": str(number)}}
        return lambda: place.ask("PUT", path, body)

    got = await place.crowd([(number, add(number)) for number in range(MANY)])
    seen = await place.get(path)
    assert {f"t{n}" for n in got.accepted().keys if n % 2} == set(seen["tags"]), got.statuses
    assert seen["revision_number"] == len(got.accepted())


async def test_one_revision_is_changed_once(place: Place) -> None:
    made = await place.network()
    path = f"/networks/{made['id']}"
    for round_ in range(3):
        now = (await place.get(path))["revision_number"]

        def change(number: int, now: int = now, round_: int = round_) -> Ask:
            body = {"network": {"description": f"{round_}-{number}"}}
            match = {"If_Match": f"revision_number={now}"}
            if number % 2:
                return lambda: place.ask("PUT", f"{path}/tags/r{round_}n{number}", **match)
            return lambda: place.ask("PUT", path, body, **match)

        got = await place.crowd([(number, change(number)) for number in range(CLIENTS)])
        won = got.one_winner()
        seen = await place.get(path)
        assert seen["revision_number"] == now + 1
        if won.key % 2 == 0:
            assert seen["description"] == f"{round_}-{won.key}"


async def test_no_port_names_a_group_that_is_gone(place: Place) -> None:
    shared = await place.network(shared=True)
    for _ in range(4):
        group = await place.make("security-groups", "member", name="g")

        def port(group: str = group["id"]) -> Ask:
            body = {"port": {"network_id": shared["id"], "security_groups": [group]}}
            return lambda: place.ask("POST", "/ports", body, "member")

        def delete(group: str = group["id"]) -> Ask:
            return lambda: place.ask("DELETE", f"/security-groups/{group}", who="member")

        asks = [("port", port()) for _ in range(8)]
        asks.insert(4, ("delete", delete()))
        got = await place.crowd(asks)
        ports = [p for p in await place.get("/ports") if group["id"] in p["security_groups"]]
        gone = (await place.ask("GET", f"/security-groups/{group['id']}")).status == 404
        assert not (gone and ports), (got.statuses, len(ports))
        assert len(ports) == sum(key == "port" for key in got.accepted().keys)


async def test_a_rule_is_there_once(place: Place) -> None:
    group = await place.make("security-groups", "member", name="g")
    rule = {
        "security_group_id": group["id"],
        "direction": "ingress",
        "protocol": "tcp",
        "port_range_min": 22,
        "port_range_max": 22,
    }

    async def ask() -> Reply:
        body = {"security_group_rule": rule}
        return await place.ask("POST", "/security-group-rules", body, "member")

    (await place.crowd([(n, ask) for n in range(CLIENTS)])).one_winner()
    shown = await place.get(f"/security-groups/{group['id']}", "member")
    assert len(shown["security_group_rules"]) == 3


async def test_one_default_group(place: Place) -> None:

    async def ask() -> Reply:
        return await place.ask("GET", "/security-groups", who="member")

    got = await place.crowd([(n, ask) for n in range(CLIENTS)])
    ids = {group["id"] for one in got.accepted() for group in one.json["security_groups"]}
    assert len(ids) == 1, got.statuses


async def test_deleted_once(place: Place) -> None:
    shared = await place.network(shared=True)
    port = await place.make("ports", network_id=shared["id"])
    group = await place.make("security-groups", name="g")
    for path in (
        f"/ports/{port['id']}",
        f"/security-groups/{group['id']}",
        f"/networks/{shared['id']}",
    ):

        async def ask(path: str = path) -> Reply:
            return await place.ask("DELETE", path)

        (await place.crowd([(n, ask) for n in range(12)])).one_winner()


async def test_one_machine_binds_a_port_also_from_the_engine(place: Place) -> None:
    """Steps of operations commit without serializable transactions: the port's row is what they wait for."""
    shared = await place.network(shared=True)
    for _ in range(3):
        port = await place.make("ports", "member", network_id=shared["id"])

        def bind(number: int, port: str = port["id"]) -> Ask:
            nets = place.nets

            def change(conn: Any) -> Port:
                nets.find_port(conn, port, "p-one", host_id=f"h{number}")
                mac = f"52:54:00:00:01:{number:02x}"
                return nets.bind_port(conn, port, host_id=f"h{number}", mac=mac)

            async def ask() -> Reply:
                try:
                    await nets.db.write(change, serializable=False)
                except Fault as fault:
                    return Reply(409 if fault.kind is Kind.CONFLICT else 500, fault.text)
                return Reply(200, None)

            return ask

        got = await place.crowd([(number, bind(number)) for number in range(12)])
        won = got.one_winner()
        seen = await place.get(f"/ports/{port['id']}")
        assert seen["binding:host_id"] == f"h{won.key}"
        assert seen["mac_address"] == f"52:54:00:00:01:{won.key:02x}"


async def test_one_server_claims_a_port_also_from_the_engine(place: Place) -> None:
    shared = await place.network(shared=True)
    port = await place.make("ports", "member", network_id=shared["id"])

    def claim(number: int) -> Ask:
        nets = place.nets

        async def ask() -> Reply:
            try:
                await nets.db.write(
                    lambda conn: nets.claim_port(
                        conn, port["id"], device_id=f"s{number}", device_owner="compute:x"
                    ),
                    serializable=False,
                )
            except Fault as fault:
                return Reply(409 if fault.kind is Kind.CONFLICT else 500, fault.text)
            return Reply(200, None)

        return ask

    won = (await place.crowd([(number, claim(number)) for number in range(12)])).one_winner()
    assert (await place.get(f"/ports/{port['id']}"))["device_id"] == f"s{won.key}"


async def test_everybody_gets_an_address_of_their_own(place: Place) -> None:
    """None is told of a conflict that is not theirs: addresses are given, not asked for."""
    shared = await place.network(shared=True)

    async def ask() -> Reply:
        return await place.ask("POST", "/ports", {"port": {"network_id": shared["id"]}}, "member")

    got = await place.crowd([(n, ask) for n in range(MANY)])
    assert set(got.statuses) == {201}, got.statuses
    given = [one.json["port"]["fixed_ips"][0]["ip_address"] for one in got]
    assert len(set(given)) == len(given)
    assert len({one.json["port"]["mac_address"] for one in got}) == len(given)
