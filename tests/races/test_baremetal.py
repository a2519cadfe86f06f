"""The Bare Metal API under a crowd: machines, their claims, verbs and patches."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ingot import workflow
from ingot.kit import ids
from ingot.services.baremetal.nodes import states
from tests.races.crowd import CLIENTS, Ask
from tests.races.metal import Site

pytestmark = pytest.mark.anyio
RAMDISK = {"deploy_kernel": "http://k", "deploy_ramdisk": "http://r"}


# -- claims --------------------------------------------------------------------------------------


async def test_a_machine_is_claimed_once(site: Site) -> None:
    """By PATCH of instance_uuid: one 200, and its instance stays."""
    for round in range(3):
        node = await site.one.node()
        path = f"/v1/nodes/{node['uuid']}"
        wanted = [ids.new_uuid() for _ in range(CLIENTS)]
        asks = [(uuid, site.patch(path, ("add", "/instance_uuid", uuid))) for uuid in wanted]
        winner = (await site.rush(asks)).civil(409).one_winner()
        assert (await site.get(path))["instance_uuid"] == winner.key, round


async def test_an_allocation_and_a_patch_do_not_share_a_machine(site: Site) -> None:
    """Whoever came first has it; an allocation that says active has its node."""
    for round in range(8):
        node = await site.one.node(resource_class=f"c{round}")
        uuid = node["uuid"]
        await site.one.force(uuid, provision_state="available", power_state="power off")
        claims: list[tuple[Any, Ask]] = []
        for _ in range(3):
            body = {"resource_class": f"c{round}", "uuid": ids.new_uuid()}
            claims.append((body["uuid"], site.ask("POST", "/v1/allocations", body)))
            instance = ids.new_uuid()
            patch = site.patch(f"/v1/nodes/{uuid}", ("add", "/instance_uuid", instance))
            claims.append((instance, patch))
        answers = (await site.rush(claims)).civil(409)
        shown = await site.get(f"/v1/nodes/{uuid}")
        active: list[str] = []
        for answer in answers.accepted():
            if answer.status == 201:
                allocation = await site.get(f"/v1/allocations/{answer.key}")
                if allocation["state"] == "active":
                    assert allocation["node_uuid"] == uuid
                    active.append(answer.key)
            else:
                active.append(answer.key)
        assert active == [shown["instance_uuid"]], (active, shown["allocation_uuid"])


# -- patches -------------------------------------------------------------------------------------


async def test_patches_of_one_document_all_stay(site: Site) -> None:
    node = await site.one.node()
    path = f"/v1/nodes/{node['uuid']}"
    asks = [(f"k{n}", site.patch(path, ("add", f"/extra/k{n}", n))) for n in range(3 * CLIENTS)]
    answers = (await site.rush(asks)).civil(409)
    answers.kept((await site.get(path))["extra"])
    assert answers.accepted()


async def test_secrets_and_instance_are_patched_apart(site: Site) -> None:
    """A change of instance_info never undoes one of driver_info, the sealed half neither."""
    node = await site.one.node(driver_info={**RAMDISK, "fake_password": "old"})
    path = f"/v1/nodes/{node['uuid']}"
    for round in range(16):
        word = f"word{round}"
        answers = await site.rush(
            [
                ("secret", site.patch(path, ("add", "/driver_info/fake_password", word))),
                ("plain", site.patch(path, ("add", "/driver_info/note", word))),
                ("info", site.patch(path, ("add", "/instance_info/n", round))),
                ("props", site.patch(path, ("add", "/properties/n", round))),
            ]
        )
        assert set(answers.civil().statuses) == {200}
        shown = await site.get(path)
        assert (shown["instance_info"]["n"], shown["driver_info"]["note"]) == (round, word)
        assert (await site.secrets(node["uuid"]))["fake_password"] == word


async def test_columns_of_one_machine_all_stay(site: Site) -> None:
    node = await site.one.node()
    path = f"/v1/nodes/{node['uuid']}"
    values = {
        "description": "d",
        "name": "n",
        "resource_class": "r",
        "owner": "o",
        "lessee": "l",
        "chassis": None,
        "shard": "s",
        "automated_clean": False,
    }
    asks = [
        (name, site.patch(path, ("add", f"/{name}", value)))
        for name, value in values.items()
        if value is not None
    ]
    asks += [("maintenance", site.ask("PUT", f"{path}/maintenance", {"reason": "m"}))]
    assert set((await site.rush(asks)).civil().statuses) == {200, 202}
    shown = await site.get(path)
    for name, value in values.items():
        assert value is None or shown[name] == value, name
    assert shown["maintenance"] is True and shown["maintenance_reason"] == "m"


# -- verbs ---------------------------------------------------------------------------------------


async def test_a_deploy_and_a_deletion_exclude_each_other(site: Site) -> None:
    for _ in range(10):
        node = await site.one.node(driver_info=RAMDISK)
        path = f"/v1/nodes/{node['uuid']}"
        await site.one.force(node["uuid"], provision_state="available", power_state="power off")
        answers = await site.rush(
            [
                ("active", site.ask("PUT", f"{path}/states/provision", {"target": "active"})),
                ("gone", site.ask("DELETE", path)),
            ]
        )
        won = answers.civil(404, 409).one_winner()
        there = (await site.one.ask("GET", path)).status == 200
        assert there is (won.key == "active"), won


async def test_two_verbs_from_one_state_exclude_each_other(site: Site) -> None:
    for _ in range(10):
        node = await site.one.node(driver_info=RAMDISK)
        path = f"/v1/nodes/{node['uuid']}"
        await site.one.force(node["uuid"], provision_state="available", power_state="power off")
        asks = [
            (target, site.ask("PUT", f"{path}/states/provision", {"target": target}))
            for target in ("active", "manage") * 3
        ]
        won = (await site.rush(asks)).civil(400, 409).one_winner()
        shown = await site.get(path)
        state = {"active": "deploying", "manage": "manageable"}[won.key]
        assert shown["provision_state"] == state
        assert bool(shown["reservation"]) is (won.key == "active")


VERBS = ("active", "manage", "provide", "inspect", "power", "gone")


def possible(state: str, asked: tuple[str, ...]) -> tuple[str, bool] | None:
    """Where these lead one after the other: the state ("" when it is gone), and whether an operation works."""
    busy = False
    for one in asked:
        if busy or not state:
            return None
        if one == "gone":
            state = ""
        elif one == "power":
            busy = True
        else:
            row = states.following(state, states.VERBS[one][0])
            if row is None:
                return None
            state, busy = row.next, bool(states.STATES[row.next].operation)
    return state, busy


async def test_all_that_was_accepted_can_have_happened_in_some_order(site: Site) -> None:
    """Requests of six kinds at one machine: there is an order in which each was right, and it ends where we are."""
    for round in range(12):
        node = await site.one.node(driver_info=RAMDISK)
        uuid, path = node["uuid"], f"/v1/nodes/{node['uuid']}"
        await site.one.force(uuid, provision_state="available", power_state="power off")
        asks: list[tuple[Any, Ask]] = []
        for verb in VERBS * (CLIENTS // 6):
            if verb == "gone":
                asks.append((verb, site.ask("DELETE", path)))
            elif verb == "power":
                asks.append((verb, site.ask("PUT", f"{path}/states/power", {"target": "power on"})))
            else:
                asks.append((verb, site.ask("PUT", f"{path}/states/provision", {"target": verb})))
        asks = asks[round:] + asks[:round]
        accepted = (await site.rush(asks)).civil(400, 404, 409).accepted().keys
        reply = await site.one.ask("GET", path)
        state = reply.json["provision_state"] if reply.status == 200 else ""
        live = await site.one.db.read(
            lambda conn, uuid=uuid: workflow.live_operation(conn, f"node:{uuid}")
        )
        ends = {possible("available", order) for order in itertools.permutations(accepted)}
        assert (state, live is not None) in ends, (accepted, state, live)
        if live is not None:
            assert reply.json["reservation"] and live.kind == (
                states.STATES[state].operation or "power"
            )
