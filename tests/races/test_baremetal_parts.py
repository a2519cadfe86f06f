"""What hangs on machines, and plans, under a crowd: traits, VIFs, ports, volumes, chassis, templates, runbooks, rules."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ingot.kit import ids
from tests.races.crowd import CLIENTS, Ask
from tests.races.metal import Site

pytestmark = pytest.mark.anyio
STEP = {"interface": "deploy", "step": "deploy", "args": {}, "priority": 5}
RUN = {"interface": "deploy", "step": "erase_devices", "args": {}, "order": 1}


def mac(number: int) -> str:
    return f"52:54:00:aa:{number >> 8:02x}:{number & 255:02x}"


async def test_traits_that_were_added_are_there(site: Site) -> None:
    node = await site.one.node()
    path = f"/v1/nodes/{node['uuid']}/traits"
    await site.one.ask("PUT", path, {"traits": [f"CUSTOM_OLD{n}" for n in range(12)]})
    asks: list[tuple[Any, Ask]] = []
    for n in range(CLIENTS - 12):
        asks.append((f"+CUSTOM_NEW{n}", site.ask("PUT", f"{path}/CUSTOM_NEW{n}")))
    for n in range(12):
        asks.append((f"-CUSTOM_OLD{n}", site.ask("DELETE", f"{path}/CUSTOM_OLD{n}")))
    answers = (await site.rush(asks)).civil(409)
    wanted = {f"CUSTOM_OLD{n}" for n in range(12)}
    for answer in answers.accepted():
        (wanted.add if answer.key[0] == "+" else wanted.discard)(answer.key[1:])
    assert set((await site.get(path))["traits"]) == wanted
    assert len(answers.accepted()) == len(asks), answers.statuses


async def test_traits_are_replaced_in_whole(site: Site) -> None:
    """50 lists at once, and the same trait from all: no 500, and one of the lists in the end."""
    node = await site.one.node()
    path = f"/v1/nodes/{node['uuid']}/traits"
    lists = {n: [f"CUSTOM_{n}_{k}" for k in range(3)] + ["CUSTOM_ALL"] for n in range(CLIENTS)}
    asks: list[tuple[Any, Ask]] = [
        (n, site.ask("PUT", path, {"traits": some})) for n, some in lists.items()
    ]
    (await site.rush(asks)).civil(409)
    left = sorted((await site.get(path))["traits"])
    assert left in [sorted(some) for some in lists.values()]
    await site.one.ask("DELETE", path)
    same: list[tuple[Any, Ask]] = [
        (n, site.ask("PUT", f"{path}/CUSTOM_SAME")) for n in range(CLIENTS)
    ]
    (await site.rush(same)).civil(409)
    assert (await site.get(path))["traits"] == ["CUSTOM_SAME"]


async def test_a_card_has_one_vif(site: Site) -> None:
    """50 VIFs for four cards: four are attached, and each answer is true; then taken off by all at once."""
    node = await site.one.node(network_interface="fake")
    path = f"/v1/nodes/{node['uuid']}/vifs"
    for n in range(4):
        await site.one.ask("POST", "/v1/ports", {"node_uuid": node["uuid"], "address": mac(n)})
    names = [ids.new_uuid() for _ in range(CLIENTS)]
    asks: list[tuple[Any, Ask]] = [(name, site.ask("POST", path, {"id": name})) for name in names]
    answers = (await site.rush(asks)).civil(400, 409)
    attached = [vif["id"] for vif in (await site.get(path))["vifs"]]
    answers.kept(attached)
    assert len(attached) == 4
    gone: list[tuple[Any, Ask]] = [
        (name, site.ask("DELETE", f"{path}/{name}")) for name in attached * 6
    ]
    assert Counter((await site.rush(gone)).civil(400, 409).accepted().keys) == Counter(attached)
    assert (await site.get(path))["vifs"] == []


@pytest.mark.parametrize("kind", ["deploy_templates", "runbooks"])
async def test_plans_keep_what_was_patched(site: Site, kind: str) -> None:
    step = STEP if kind == "deploy_templates" else RUN
    made = await site.one.ask("POST", f"/v1/{kind}", {"name": "CUSTOM_PLAN", "steps": [step]})
    assert made.status == 201, made.json
    path = f"/v1/{kind}/{made.json['uuid']}"
    asks: list[tuple[Any, Ask]] = [
        (f"k{n}", site.patch(path, ("add", f"/extra/k{n}", n))) for n in range(2 * CLIENTS)
    ]
    answers = (await site.rush(asks)).civil(409)
    answers.kept((await site.get(path))["extra"])
    assert len(answers.accepted()) == len(asks), answers.statuses
    gone: list[tuple[Any, Ask]] = [(n, site.ask("DELETE", path)) for n in range(CLIENTS)]
    (await site.rush(gone)).civil(404).one_winner()


async def test_a_runbook_keeps_its_traits(site: Site) -> None:
    made = await site.one.ask("POST", "/v1/runbooks", {"name": "CUSTOM_R", "steps": [RUN]})
    path = f"/v1/runbooks/{made.json['uuid']}/traits"
    asks: list[tuple[Any, Ask]] = [
        (f"CUSTOM_T{n}", site.ask("PUT", f"{path}/CUSTOM_T{n}")) for n in range(CLIENTS)
    ]
    answers = (await site.rush(asks)).civil(409)
    answers.kept((await site.get(path))["traits"])
    assert len(answers.accepted()) == len(asks)


async def test_an_inspection_rule_keeps_what_was_patched(site: Site) -> None:
    body = {"actions": [{"op": "set-attribute", "args": {"path": "/extra/a", "value": 1}}]}
    made = await site.one.ask("POST", "/v1/inspection_rules", body)
    assert made.status == 201, made.json
    path = f"/v1/inspection_rules/{made.json['uuid']}"
    action = body["actions"][0]
    asks: list[tuple[Any, Ask]] = []
    for n in range(CLIENTS):
        new = {**action, "args": {"path": f"/extra/a{n}", "value": n}}
        asks.append((f"/extra/a{n}", site.patch(path, ("add", "/actions/-", new))))
    answers = (await site.rush(asks)).civil(409)
    found = [one["args"]["path"] for one in (await site.get(path))["actions"]]
    answers.kept(set(found) - {"/extra/a"})
    assert len(answers.accepted()) == len(asks), answers.statuses
    gone: list[tuple[Any, Ask]] = [(n, site.ask("DELETE", path)) for n in range(CLIENTS)]
    (await site.rush(gone)).civil(404).one_winner()


@pytest.mark.parametrize("kind", ["ports", "portgroups", "connectors", "targets", "chassis"])
async def test_parts_keep_what_was_patched_and_go_once(site: Site, kind: str) -> None:
    node = await site.one.node()
    await site.one.force(node["uuid"], power_state="power off")
    path, body = _part(kind, node["uuid"], 1)
    made = await site.one.ask("POST", path, body)
    assert made.status == 201, made.json
    one = f"{path}/{made.json['uuid']}"
    asks: list[tuple[Any, Ask]] = [
        (f"k{n}", site.patch(one, ("add", f"/extra/k{n}", n))) for n in range(2 * CLIENTS)
    ]
    answers = (await site.rush(asks)).civil(409)
    answers.kept((await site.get(one))["extra"])
    assert len(answers.accepted()) == len(asks), answers.statuses
    gone: list[tuple[Any, Ask]] = [(n, site.ask("DELETE", one)) for n in range(CLIENTS)]
    (await site.rush(gone)).civil(404).one_winner()
    same: list[tuple[Any, Ask]] = [(n, site.ask("POST", path, body)) for n in range(CLIENTS)]
    if kind != "chassis":
        (await site.rush(same)).civil(409).one_winner()


def _part(kind: str, node: str, number: int) -> tuple[str, dict[str, Any]]:
    return {
        "ports": ("/v1/ports", {"node_uuid": node, "address": mac(number)}),
        "portgroups": ("/v1/portgroups", {"node_uuid": node, "name": f"bond{number}"}),
        "connectors": (
            "/v1/volume/connectors",
            {"node_uuid": node, "type": "ip", "connector_id": f"10.0.0.{number}"},
        ),
        "targets": (
            "/v1/volume/targets",
            {"node_uuid": node, "volume_type": "iscsi", "volume_id": "v", "boot_index": number},
        ),
        "chassis": ("/v1/chassis", {"description": "row"}),
    }[kind]


async def test_a_machine_goes_once_with_its_parts(site: Site) -> None:
    """Deletions of a node beside its parts' creation and deletion: 204 once, nothing left, no 500."""
    for round in range(6):
        node = await site.one.node()
        uuid = node["uuid"]
        await site.one.force(uuid, power_state="power off")
        kinds = ("ports", "portgroups", "connectors", "targets")
        asks: list[tuple[Any, Ask]] = []
        for number, kind in enumerate(kinds * 3):
            path, body = _part(kind, uuid, 10 + number)
            asks.append((("make", path), site.ask("POST", path, body)))
        old: list[str] = []
        for number, kind in enumerate(kinds):
            path, body = _part(kind, uuid, 40 + number)
            made = await site.one.ask("POST", path, body)
            old.append(f"{path}/{made.json['uuid']}")
            asks += [(("drop", old[-1]), site.ask("DELETE", old[-1])) for _ in range(2)]
        asks[8:8] = [(("node", n), site.ask("DELETE", f"/v1/nodes/{uuid}")) for n in range(4)]
        answers = (await site.rush(asks)).civil(400, 404, 409)
        once = Counter(
            answer.key if answer.key[0] == "drop" else "node"
            for answer in answers.accepted()
            if answer.key[0] != "make"
        )
        for answer in answers:
            # Each is another part: it is the machine that went, not another part that was there before.
            assert "already exists" not in str(answer.json), answer
        assert once["node"] == 1 and set(once.values()) == {1}, (round, once)
        for kind in kinds:
            path, _ = _part(kind, uuid, 0)
            found = await site.get(path)
            assert next(iter(v for k, v in found.items() if k != "next")) == [], kind


async def test_an_allocation_is_given_up_once(site: Site) -> None:
    """PATCHes and DELETEs of allocations beside PATCHes of their machine's instance_uuid."""
    for round in range(6):
        node = await site.one.node(resource_class=f"g{round}")
        uuid = node["uuid"]
        await site.one.force(uuid, provision_state="available", power_state="power off")
        made = await site.one.ask("POST", "/v1/allocations", {"resource_class": f"g{round}"})
        path = f"/v1/allocations/{made.json['uuid']}"
        assert (await site.get(path))["state"] == "active"
        asks: list[tuple[Any, Ask]] = [
            (f"k{n}", site.patch(path, ("add", f"/extra/k{n}", n))) for n in range(8)
        ]
        answers = (await site.rush(asks)).civil(409)
        answers.kept((await site.get(path))["extra"])
        fresh = ids.new_uuid()
        asks = [(("gone", n), site.ask("DELETE", path)) for n in range(6)]
        asks += [
            (("left", n), site.patch(f"/v1/nodes/{uuid}", ("remove", "/instance_uuid", None)))
            for n in range(3)
        ]
        asks += [
            (("new", n), site.patch(f"/v1/nodes/{uuid}", ("add", "/instance_uuid", fresh)))
            for n in range(3)
        ]
        answers = (await site.rush(asks)).civil(400, 404, 409)
        assert (await site.one.ask("GET", path)).status == 404
        shown = await site.get(f"/v1/nodes/{uuid}")
        assert shown["allocation_uuid"] is None
        assert shown["instance_uuid"] in (None, fresh)
        if any(a.accepted and a.key[0] == "new" for a in answers) and not any(
            a.accepted and a.key[0] == "left" for a in answers
        ):
            assert shown["instance_uuid"] == fresh
        assert len([a for a in answers.accepted() if a.key[0] == "gone"]) <= 1
