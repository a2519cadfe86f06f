"""Events that simulated controllers send over the wire: subscriptions made, kept and removed; who is not believed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from api_support import World
from test_bmc_watch import shown, site, until, watched

from ingot.kit.auth.policy import ANONYMOUS
from ingot.kit.http.server import WebApp
from ingot.kit.tasks import events
from ingot.lab.sim import Fleet
from ingot.services.baremetal.api import make_service
from ingot.services.baremetal.monitoring.controller_events import KIND, EventApi, mark_of
from ingot.services.baremetal.monitoring.power_sync import PowerSync

pytestmark = pytest.mark.anyio


def listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


@contextlib.asynccontextmanager
async def listener(api: World, sock: socket.socket) -> AsyncIterator[None]:
    """The provisioning listener, as far as controllers need it."""

    async def nobody(header: Any) -> Any:
        return ANONYMOUS

    service = make_service(api.baremetal, nobody)
    made = EventApi(api.baremetal.ctx).operations()
    app = WebApp([dataclasses.replace(service, prefix="", operations=made)])
    server = uvicorn.Server(uvicorn.Config(app.asgi, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


@dataclasses.dataclass
class Place:
    """One Redfish machine whose controller can reach us."""

    api: World
    fleet: Fleet
    sync: PowerSync
    name: str
    url: str

    @property
    def subscriptions(self) -> dict[str, dict[str, Any]]:
        return self.fleet.bmc(self.name).board.subscriptions

    async def has(self, **wanted: Any) -> bool:
        node = await shown(self.api, self.name)
        return {key: node[key] for key in wanted} == wanted

    async def told(self) -> list[events.Event]:
        uuid = (await shown(self.api, self.name))["uuid"]
        found = await self.api.db.read(lambda conn: events.query(conn, subject=f"node:{uuid}"))
        return [event for event in found if event.kind == KIND]


@contextlib.asynccontextmanager
async def place(folder: Path, poll: float) -> AsyncIterator[Place]:
    sock = listening()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    settings = {"power_sync_interval": 1.0, "event_url": url, "event_poll_interval": poll}
    async with (
        site(folder, 1, speed=50, **settings) as (api, fleet),
        listener(api, sock),
        watched(api) as sync,
    ):
        (await events.bind(api.db, api.baremetal.ctx.clock)).publishers.append(sync.hear)
        (name,) = fleet.machines
        yield Place(api, fleet, sync, name, url)


async def test_power_changes_and_alerts_arrive_by_events(tmp_path: Path) -> None:
    async with place(tmp_path, poll=3600) as here:
        polls = here.fleet.bmc(here.name).told_power_at

        async def asked_no_more() -> bool:
            """Three periods without a question: its events are known to arrive."""
            return bool(await here.told()) and time.monotonic() - polls[-1] > 3

        await until(asked_no_more)
        ((_, subscription),) = here.subscriptions.items()
        uuid = (await shown(here.api, here.name))["uuid"]
        mark = mark_of(here.api.baremetal.ctx.vault, uuid)
        assert subscription["Destination"] == f"{here.url}/redfish-events/{uuid}/{mark}"
        await here.fleet.machine(here.name).power_on()
        await until(lambda: here.has(power_state="power on"))
        await here.fleet.machine(here.name).power_off()
        await until(lambda: here.has(power_state="power off"))
        here.fleet.alert(here.name, "Fan 3 has failed.\x1b[2J", "Critical")

        async def noted() -> bool:
            path = f"/v1/nodes/{here.name}/history?detail=true"
            entries = (await here.api.ask("GET", path)).json["history"]
            return "The controller says: Fan 3 has failed.\\x1b[2J (Critical)" in [
                entry["event"] for entry in entries
            ]

        await until(noted)
        assert [e.severity for e in await here.told() if "Fan 3" in e.title] == ["error"]


async def test_only_who_knows_the_secret_is_believed(tmp_path: Path) -> None:
    async with place(tmp_path, poll=3600) as here, aiohttp.ClientSession() as http:

        async def subscribed() -> bool:
            return bool(await here.told())

        await until(subscribed)
        ((_, subscription),) = here.subscriptions.items()
        right, context = subscription["Destination"], subscription["Context"]
        base, _, mark = right.rpartition("/")
        message = {"Context": context, "Events": [{"Message": "Hello", "Severity": "Warning"}]}

        async def post(url: str, body: Any) -> int:
            async with http.post(url, json=body) as answer:
                return answer.status

        before = len(await here.told())
        nobody = f"{here.url}/redfish-events/00000000-0000-0000-0000-000000000000/{mark}"
        assert await post(f"{base}/{mark[::-1]}", message) == 404
        assert await post(f"{base}/{mark}x", message) == 404
        assert await post(nobody, message) == 404
        assert await post(right, {**message, "Context": "guessed"}) == 404
        assert await post(right, [1, 2]) == 400
        assert len(await here.told()) == before
        assert await post(right, message) == 204
        assert await post(right, {"Events": ["", None, {"Message": 7}], "Context": None}) == 204
        assert [event.title for event in await here.told()][-2:] == [
            "Hello",
            "The controller sent an event.",
        ]


async def test_subscriptions_are_renewed_and_removed(tmp_path: Path) -> None:
    async with place(tmp_path, poll=2) as here:
        uuid = (await shown(here.api, here.name))["uuid"]
        old = f"http://192.0.2.1/redfish-events/{uuid}/{'0' * 64}"
        foreign = {"Destination": "https://192.0.2.9/alerts", "Context": "somebody's"}
        board = here.fleet.bmc(here.name).board
        ours = f"{here.url}/redfish-events/{uuid}/"

        async def one_of_ours() -> bool:
            told = [str(one["Destination"]) for one in board.subscriptions.values()]
            return [url for url in told if url.startswith(ours)] != [] and old not in told

        await until(one_of_ours)
        # The controller restarts and forgets all; somebody subscribes, and an old one of ours is back.
        board.subscriptions.clear()
        board.subscriptions.update({"7": foreign, "8": {"Destination": old}})
        await until(one_of_ours)
        assert len(board.subscriptions) == 2
        assert (await here.api.ask("DELETE", f"/v1/nodes/{here.name}")).status == 204

        async def only_theirs() -> bool:
            return list(board.subscriptions.values()) == [foreign]

        await until(only_theirs)


async def test_who_stops_answering_is_asked_often_again(tmp_path: Path) -> None:
    async with place(tmp_path, poll=3600) as here:
        polls = here.fleet.bmc(here.name).told_power_at

        async def asked_no_more() -> bool:
            return bool(await here.told()) and time.monotonic() - polls[-1] > 3

        await until(asked_no_more)
        await here.fleet.pull_plug(here.name)
        here.sync.hear(_event((await shown(here.api, here.name))["uuid"]))
        await until(lambda: here.has(maintenance=True, fault="power failure"))
        await here.fleet.plug_in(here.name)
        await until(lambda: here.has(maintenance=False))


def _event(uuid: str) -> events.Event:
    return events.Event(at="now", subject=f"node:{uuid}", kind=KIND, title="last words")
