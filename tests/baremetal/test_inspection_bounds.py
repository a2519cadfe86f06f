"""Inspection data comes without a token from whoever is on the provisioning network: its size is bounded."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingot.kit.faults import Fault
from ingot.services.baremetal.inspection import store as inventories
from ingot.services.baremetal.inspection.facts import (
    InspectionBounds,
    InspectionOptions,
    finish,
    parted,
)
from ingot.services.baremetal.inspection.hooks import HookOptions, run_hooks
from tests.baremetal.drafts import data, draft_of
from tests.baremetal.test_ramdisk_api import MAC, world

pytestmark = pytest.mark.anyio


def _cards(count: int) -> list[dict[str, Any]]:
    return [
        {"name": f"e{n}", "mac_address": f"52:54:01:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"}
        for n in range(count)
    ]


async def _refused(folder: Path, sent: dict[str, Any]) -> str:
    """Post it for a machine that is inspected: refused without a write and at once; gives the words."""
    body = msgspec.json.encode(sent)
    async with world(folder, provision_state="inspect wait") as (here, uuid, http):
        texts: list[str] = []
        stop = here.db.on_statement(texts.append)
        began = time.process_time()
        path = f"/v1/continue_inspection?node_uuid={uuid}"
        async with http.post(path, data=body) as reply:
            assert reply.status in (400, 413), await reply.text()
            told = await reply.text()
        took = time.process_time() - began
        stop()
        assert not [text for text in texts if not text.startswith(("SELECT", "--"))]
        assert took < 0.5, "client and server in one process; most of it is to send the body"
        assert await here.db.read(lambda conn: inventories.get_inventory(conn, uuid)) is None
        return told


async def test_a_message_of_150000_cards_is_refused_at_once(tmp_path: Path) -> None:
    told = await _refused(tmp_path, {"inventory": {"interfaces": _cards(150_000)}})
    assert len(told) < 1000


@pytest.mark.parametrize(
    "sent",
    [
        {"inventory": {"interfaces": _cards(1000)}},
        {"inventory": {"interfaces": _cards(2), "disks": [{"name": "x"}] * 5000}},
        {"inventory": {"interfaces": _cards(2)}, "junk": [1] * 2_000_000},
        {"inventory": {"interfaces": _cards(2)}, "junk": {str(n): {} for n in range(500_000)}},
    ],
    ids=["cards", "disks", "numbers", "objects"],
)
async def test_too_much_of_anything_is_refused(tmp_path: Path, sent: dict[str, Any]) -> None:
    await _refused(tmp_path, sent)


async def test_what_a_large_machine_sends_is_taken(tmp_path: Path) -> None:
    disks = [{"name": f"sd{n}", "size": 1 << 40, "serial": f"D{n}"} for n in range(400)]
    devices = [{"vendor_id": "8086", "product_id": "1521", "bus": str(n)} for n in range(4000)]
    sent = {
        "inventory": {"interfaces": _cards(200), "disks": disks},
        "pci_devices": devices,
        "logs": "A" * (6 << 20),
    }
    async with world(tmp_path, provision_state="inspect wait") as (here, uuid, http):
        path = f"/v1/continue_inspection?node_uuid={uuid}"
        async with http.post(path, json=sent) as reply:
            assert reply.status == 202, await reply.text()
        kept = await here.db.read(lambda conn: inventories.get_inventory(conn, uuid))
        assert kept and len(kept[0]["disks"]) == 400 and "logs" not in kept[1]


async def test_a_lookup_of_a_thousand_addresses_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path, provision_state="inspect wait") as (_, _uuid, http):
        many = ",".join(card["mac_address"] for card in _cards(1000))
        async with http.get("/v1/lookup", params={"addresses": many}) as reply:
            assert reply.status == 400
        async with http.get("/v1/lookup", params={"addresses": f"{MAC},{many[:900]}"}) as reply:
            assert reply.status == 200


def test_data_that_was_taken_before_is_bounded_too() -> None:
    """An inspection under way goes on after an upgrade with what lies in the database."""
    with pytest.raises(Fault, match="257 network interfaces"):
        parted({"inventory": {"interfaces": _cards(257)}}, InspectionBounds())


def _calls_of(cards: int, add_ports: str) -> int:
    """How many functions all hooks call for so many cards."""
    sent = data(lldp_raw={f"e{n}": [[1, "0452540000000a"]] for n in range(cards)})
    sent["inventory"]["interfaces"] = [
        {**card, "ipv4_address": "10.0.0.7"} for card in _cards(cards)
    ]
    sent["inventory"]["disks"] = [{"name": f"sd{n}", "size": 1 << 40} for n in range(cards)]
    draft = draft_of(sent, properties={"skip_block_devices": [{"name": "sd1"}]})
    hooks = (*InspectionOptions().hooks, "physical-network", "local-link-connection", "parse-lldp")
    options = HookOptions(add_ports=add_ports, physical_networks={"10.0.0.0/8": "p"})
    count = 0

    def note(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        run_hooks(draft, options, hooks)
    finally:
        sys.setprofile(None)
    assert len(draft.ports) == cards
    return count


def test_hooks_take_twice_as_long_for_twice_as_much() -> None:
    assert _calls_of(240, "all") < 2.5 * _calls_of(120, "all")


def test_what_an_agent_calls_an_error_is_cut_and_clean() -> None:
    """It lands in last_error and on terminals."""
    evil = "\x1b[2J\x1b]0;owned\x07" + "x" * 500_000 + "\n\u202e"
    draft = draft_of(data(error=evil))
    with pytest.raises(Fault) as caught:
        finish(draft, InspectionOptions(), ["ramdisk-error"], ())
    assert len(caught.value.text) < 800
    assert caught.value.text.isprintable()
