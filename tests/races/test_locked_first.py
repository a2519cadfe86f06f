"""Verbs that are not serializable, since they lock first what they decide by: each lock, counter and constraint holds.

Beside them are asked those that are serializable, and what an engine's step does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ingot import workflow
from ingot.services.network import ProvisioningWire
from tests.races.crowd import Ask
from tests.races.metal import Site
from tests.races.test_baremetal_parts import mac
from tests.races.test_network import Place, place

__all__ = ["place"]
pytestmark = pytest.mark.anyio
RAMDISK = {"deploy_kernel": "http://k", "deploy_ramdisk": "http://r"}


# -- nodes ---------------------------------------------------------------------------------------


async def test_what_a_node_was_told_before_a_verb_began_stays(site: Site) -> None:
    """Patches, traits, maintenance and one power change: what was accepted is there, and the verb works alone."""
    for _ in range(6):
        node = await site.one.node(driver_info=RAMDISK)
        uuid, path = node["uuid"], f"/v1/nodes/{node['uuid']}"
        await site.one.force(uuid, provision_state="available", power_state="power off")
        asks: list[tuple[Any, Ask]] = []
        for n in range(8):
            asks.append((f"k{n}", site.patch(path, ("add", f"/extra/k{n}", n))))
            asks.append((f"CUSTOM_T{n}", site.ask("PUT", f"{path}/traits/CUSTOM_T{n}")))
        power = site.ask("PUT", f"{path}/states/power", {"target": "power on"})
        asks[6:6] = [("power", power)]
        asks.append(("kept out", site.ask("PUT", f"{path}/maintenance", {"reason": "m"})))
        answers = (await site.rush(asks)).civil(409)
        shown = await site.get(path)
        found = [*shown["extra"], *shown["traits"]]
        found += ["power"] if shown["target_power_state"] else []
        found += ["kept out"] if shown["maintenance_reason"] == "m" else []
        answers.kept(found)
        live = await site.one.db.read(
            lambda conn, uuid=uuid: workflow.live_operation(conn, f"node:{uuid}")
        )
        assert (live is not None) is ("power" in answers.accepted().keys)


async def test_no_port_hangs_on_a_node_that_is_gone(site: Site) -> None:
    """Whoever comes after the deletion is told that there is no such node; nobody sees a 500."""
    for round_ in range(6):
        node = await site.one.node()
        path = f"/v1/nodes/{node['uuid']}"
        asks: list[tuple[Any, Ask]] = []
        for n in range(12):
            body = {"node_uuid": node["uuid"], "address": mac(20 * round_ + n)}
            asks.append((body["address"], site.ask("POST", "/v1/ports", body)))
        asks[5:5] = [("gone", site.ask("DELETE", path)) for _ in range(2)]
        answers = (await site.rush(asks)).civil(400, 404, 409)
        assert answers.accepted().keys.count("gone") == 1, answers.statuses
        left = (await site.get("/v1/ports?limit=1000"))["ports"]
        assert not {one["address"] for one in left} & {key for key, _ in asks}


async def test_an_address_is_one_ports(site: Site) -> None:
    """The same address for ports of three nodes: one has it, and the others are told."""
    nodes = [(await site.one.node())["uuid"] for _ in range(3)]
    for round_ in range(4):
        asks: list[tuple[Any, Ask]] = []
        for n in range(12):
            body = {"node_uuid": nodes[n % 3], "address": mac(900 + round_)}
            asks.append((nodes[n % 3], site.ask("POST", "/v1/ports", body)))
        won = (await site.rush(asks)).civil(409).one_winner()
        (port,) = (await site.get(f"/v1/ports/detail?address={mac(900 + round_)}"))["ports"]
        assert port["node_uuid"] == won.key


async def test_names_of_nodes_that_are_made_are_one_nodes(site: Site) -> None:
    for round_ in range(4):
        body = {"driver": "fake-hardware", "name": f"n{round_}"}
        asks: list[tuple[Any, Ask]] = [(n, site.ask("POST", "/v1/nodes", body)) for n in range(12)]
        (await site.rush(asks)).civil(409).one_winner()


# -- networks ------------------------------------------------------------------------------------


async def test_everybody_gets_a_wire_of_their_own(place: Place) -> None:
    """Networks that name no wire: as many are made as there are wires, and only the others are refused."""
    wires = {f"wire{n}": ProvisioningWire(f"eth{n}", "203.0.113.1", "") for n in range(8)}
    for nets, _ in place.rooms:
        nets.settings = replace(nets.settings, wires=wires)

    async def ask() -> Any:
        return await place.ask("POST", "/networks", {"network": {}})

    got = await place.crowd([(n, ask) for n in range(24)])
    given = [one.json["network"]["provider:physical_network"] for one in got.accepted()]
    assert sorted(given) == sorted(wires), got.statuses
    told = {one.json["NeutronError"]["type"] for one in got if not one.accepted}
    assert told == {"NoNetworkAvailable"}


async def test_a_wire_carries_one_network(place: Place) -> None:
    async def ask() -> Any:
        body = {"network": {"provider:physical_network": "w"}}
        return await place.ask("POST", "/networks", body)

    got = await place.crowd([(n, ask) for n in range(24)])
    got.one_winner()
    told = {one.json["NeutronError"]["type"] for one in got if not one.accepted}
    assert told == {"FlatNetworkInUse"}


async def test_groups_that_are_made_beside_the_default_one(place: Place) -> None:
    """A project's first groups, all at once: all are made, with their rules, and one default group."""

    async def ask() -> Any:
        return await place.ask(
            "POST", "/security-groups", {"security_group": {"name": "g"}}, "member"
        )

    got = await place.crowd([(n, ask) for n in range(24)])
    assert set(got.statuses) == {201}, got.statuses
    shown = await place.get("/security-groups", "member")
    assert sorted(one["name"] for one in shown) == ["default"] + ["g"] * 24
    rules = sorted(len(one["security_group_rules"]) for one in shown)
    assert rules == [2] * 24 + [4]
    details = await place.get("/quotas/p-one/details")
    assert details["security_group"]["used"] == 25
    assert details["security_group_rule"]["used"] == 2 * 24 + 4
