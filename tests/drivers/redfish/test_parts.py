"""One resource that a controller refuses takes nothing else with it: inventory, sensors, BIOS settings, firmware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ingot.drivers.faults import Busy, DriverFault, Unsupported
from tests.trees import TREES
from tests.trees.build import V1, Json, refusal
from tests.trees.operations import Run, running
from tests.trees.server import SESSIONS

pytestmark = pytest.mark.anyio
STATUSES = (403, 404, 500, 503)


async def inventory(run: Run) -> Any:
    return dict(await run.bench.registry.inspect("redfish", "redfish").inspect(run.access))


async def sensors(run: Run) -> Any:
    return [(one.kind, one.name) for one in await run.bench.management.sensors(run.access)]


async def bios(run: Run) -> Any:
    return {
        one.name: one.value for one in await run.bench.registry.bios("redfish").settings(run.access)
    }


async def firmware(run: Run) -> Any:
    hand = run.bench.registry.firmware("redfish")
    return {one.component: one.current_version for one in await hand.components(run.access)}


async def identity(run: Run) -> Any:
    told = await run.bench.management.identity(run.access)
    return (told.uuid, told.serial)


READINGS: dict[str, Callable[[Run], Awaitable[Any]]] = {
    "inventory": inventory,
    "sensors": sensors,
    "bios": bios,
    "firmware": firmware,
    "identity": identity,
}


class Refusing:
    """A quirk: one path is refused, always with the same status."""

    def __init__(self) -> None:
        self.path, self.status = "", 403

    def __call__(
        self, _server: Any, method: str, path: str, _body: Json, _headers: Any
    ) -> tuple[int, Json] | None:
        if method != "GET" or path != self.path:
            return None
        return refusal(self.status, "Base.1.8.GeneralError", "This part is not for you.")


def rest_of(whole: Any) -> set[str]:
    """All that a reading tells, one line for each list's entry and each value."""
    if isinstance(whole, dict):
        return {f"{key}.{line}" for key, value in whole.items() for line in rest_of(value)}
    if isinstance(whole, list | tuple):
        return {line for one in whole for line in rest_of(one)}
    return {repr(whole)}


@pytest.mark.parametrize("name", ["iDRAC 9", "iLO 6", "GB200", "X13"])
@pytest.mark.parametrize("what", READINGS)
async def test_each_resource_in_turn_refused(name: str, what: str) -> None:
    tree = next(make for key, make in TREES.items() if name in key)
    refusing = Refusing()
    async with running(tree(), 7) as run:
        run.server.tree.quirks.insert(0, refusing)
        read = READINGS[what]
        # What all lean on: without these nothing can be told.
        needed = {V1, SESSIONS, f"{V1}/Systems", run.server.tree.system}
        if what == "bios":
            needed |= (
                {run.server.system["Bios"]["@odata.id"]} if "Bios" in run.server.system else set()
            )
        try:
            whole = rest_of(await read(run))
        except Unsupported:
            return  # this controller tells nothing of it at all
        asked = [line.removeprefix("GET ") for line in run.server.asked if line.startswith("GET ")]
        paths = [path for path in dict.fromkeys(asked) if path not in needed]
        for number, path in enumerate(paths):
            refusing.path, refusing.status = path, STATUSES[number % len(STATUSES)]
            try:
                left = await read(run)
            except Unsupported:
                assert len(whole) == 1, path  # that was all there was
                continue
            untold = left.pop("untold", []) if isinstance(left, dict) else []
            kept = rest_of(left)
            # Names in place of names, zero in place of a count: what is lost is never invented anew.
            assert len(kept - whole) <= 3, (path, refusing.status, kept - whole)
            if what == "inventory":
                assert left["inventory"]["system_vendor"]["serial_number"]
                assert any(path in line and str(refusing.status) in line for line in untold), path
            if what == "identity":
                assert kept == whole


async def test_a_card_refused_leaves_the_other_cards() -> None:
    refusing = Refusing()
    async with running(TREES[next(key for key in TREES if "iDRAC 9" in key)](), 7) as run:
        run.server.tree.quirks.insert(0, refusing)
        before = [one["mac_address"] for one in (await inventory(run))["inventory"]["interfaces"]]
        collection = run.server.system["EthernetInterfaces"]["@odata.id"]
        members = [one["@odata.id"] for one in run.server.docs[collection]["Members"]]
        assert len(before) > 1
        for status in STATUSES:
            refusing.path, refusing.status = members[0], status
            told = await inventory(run)
            after = [one["mac_address"] for one in told["inventory"]["interfaces"]]
            assert after and set(after) < set(before), status


async def test_a_controller_that_refuses_all_parts_for_a_while_is_asked_again_later() -> None:
    """503 from everywhere is a controller that starts: what it would tell is not unknown, but not told yet."""
    make = TREES[next(key for key in TREES if "iDRAC 9" in key)]
    async with running(make(), 7) as run:
        system = run.server.tree.system

        def starting(_: Any, method: str, path: str, _b: Json, _h: Any) -> tuple[int, Json] | None:
            if method == "GET" and path not in (V1, f"{V1}/Systems", system):
                return refusal(503, "Base.1.8.ServiceTemporarilyUnavailable", "Starting.")
            return None

        run.server.tree.quirks.insert(0, starting)
        with pytest.raises(Busy):
            await inventory(run)


async def test_a_part_that_is_busy_once_is_asked_again() -> None:
    make = TREES[next(key for key in TREES if "iDRAC 9" in key)]
    async with running(make(), 7) as run:
        whole = await inventory(run)
        left = {f"{run.server.tree.system}/EthernetInterfaces": 1}

        def once(_: Any, method: str, path: str, _b: Json, _h: Any) -> tuple[int, Json] | None:
            if method == "GET" and left.get(path, 0):
                left[path] -= 1
                return refusal(503, "Base.1.8.ServiceTemporarilyUnavailable", "A moment.")
            return None

        run.server.tree.quirks.insert(0, once)
        assert await inventory(run) == whole


async def test_the_machine_itself_must_be_told() -> None:
    refusing = Refusing()
    make = TREES[next(key for key in TREES if "iDRAC 9" in key)]
    async with running(make(), 7) as run:
        await inventory(run)
        run.server.tree.quirks.insert(0, refusing)
        refusing.path = run.server.tree.system
        for read in READINGS.values():
            with pytest.raises(DriverFault):
                await read(run)
