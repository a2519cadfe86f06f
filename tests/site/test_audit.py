"""Who did what and who was refused: in the log, in the records, in the file and at the webhook, without secrets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.site.server import Site, free_port, run, site

pytestmark = pytest.mark.anyio

SECRET = "s3cret-of-the-bmc"


class Bell:
    """A webhook that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.events += (await request.json())["events"]
        return web.Response()


@pytest.fixture(scope="module")
async def bell() -> AsyncIterator[tuple[Bell, int]]:
    own, port = Bell(), free_port()
    app = web.Application()
    app.router.add_post("/hook", own.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield own, port
    await runner.cleanup()


@pytest.fixture(scope="module")
async def here(
    tmp_path_factory: pytest.TempPathFactory, bell: tuple[Bell, int]
) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("audit")
    audit = {"file": str(folder / "audit.jsonl"), "webhook": f"http://127.0.0.1:{bell[1]}/hook"}
    async with site(folder, audit=audit) as made:
        yield made


async def records(here: Site, query: str, count: int = 1, who: str = "admin") -> list[Any]:
    """Audit records, newest first, as soon as there are so many."""
    found: list[Any] = []
    for _ in range(200):
        answer = await here.ask(f"/timeline/v1/audit?{query}", "GET", "", who=who, status=200)
        found = answer.body["audit"]
        if len(found) >= count:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError((query, found))


async def line(here: Site, *words: str) -> str:
    """A line of the log with all of these words, as soon as it is there."""
    for _ in range(200):
        for found in here.log().splitlines():
            if all(word in found for word in words):
                return found
        await asyncio.sleep(0.05)
    raise AssertionError((words, here.log()[-3000:]))


async def test_a_change_its_target_and_who_did_it(here: Site) -> None:
    info = {"ipmi_address": "192.0.2.9", "ipmi_username": "u", "ipmi_password": SECRET}
    body = {"driver": "ipmi", "name": "one", "driver_info": info}
    made = await here.ask("baremetal", "POST", "/v1/nodes", body, status=201)
    uuid, request = made.body["uuid"], made.headers["x-openstack-request-id"]
    (one,) = await records(here, f"target={uuid}")
    assert (one["action"], one["target_type"], one["status"]) == ("create", "baremetal/nodes", 201)
    assert one["user_name"] == "admin" and one["client"] == "127.0.0.1"
    assert one["request_id"] == request and one["data"]["name"] == "one"
    patch = [{"op": "replace", "path": "/driver_info/ipmi_password", "value": SECRET}]
    await here.ask("baremetal", "PATCH", f"/v1/nodes/{uuid}", patch, status=200)
    await here.ask("baremetal", "PUT", f"/v1/nodes/{uuid}/states/provision", {"target": "active"})
    wrong, changed, _ = await records(here, f"target={uuid}", 3)
    assert changed["action"] == "update"
    assert changed["data"]["fields"] == ["driver_info/ipmi_password"]
    assert wrong["action"] == "update/states/provision/active" and wrong["status"] >= 400
    assert wrong["data"]["reason"]
    told = await line(here, "change", "create baremetal/nodes", uuid)
    assert "who=admin" in told and "client=127.0.0.1" in told and request in told
    (cadf,) = await records(here, f"request={request}&cadf=true")
    assert cadf["outcome"] == "success" and cadf["initiator"]["name"] == "admin"
    assert cadf["target"] == {"typeURI": "service/baremetal/nodes", "id": uuid, "name": "one"}
    assert cadf["observer"]["typeURI"] == "service/baremetal" and cadf["eventTime"]


async def test_a_refused_log_in(here: Site) -> None:
    wrong = await here.login("mallory", "guess-" + SECRET)
    assert wrong.status == 401
    one, *_ = await records(here, "user=mallory")
    assert (one["action"], one["status"], one["client"]) == ("authenticate", 401, "127.0.0.1")
    assert "no such user, or a wrong password" in one["data"]["reason"]
    told = await line(here, "log-in refused", "who=mallory")
    assert "[warning" in told and "client=127.0.0.1" in told
    assert (await here.login("admin")).status == 201
    good, *_ = await records(here, "user=admin&service=identity")
    assert (good["action"], good["status"]) == ("authenticate", 201) and good["user_id"]


async def test_a_storm_of_refused_log_ins_writes_little(here: Site) -> None:
    before = await records(here, "failed=true&service=identity&limit=1000", 0)
    await asyncio.gather(*(here.login("stormy", f"guess-{n}") for n in range(40)))
    await records(here, "user=stormy")
    found = await records(here, "failed=true&service=identity&limit=1000", 0)
    assert len(found) - len(before) <= 3
    assert here.log().count("who=stormy") <= 2


async def test_a_tenant_sees_what_his_project_did(here: Site) -> None:
    key = {"keypair": {"name": "mine"}}
    await here.ask("compute", "POST", "/os-keypairs", key, who="demo")
    own = await records(here, "service=compute", who="demo")
    assert own[0]["data"]["name"] == "mine" and own[0]["user_name"] == "demo"
    all_of_his = await records(here, "limit=1000", who="demo")
    assert {one["user_name"] for one in all_of_his} == {"demo"}
    assert not await records(here, "user=admin", 0, who="demo")


async def test_looks_and_machines_write_nothing(here: Site) -> None:
    before = (await records(here, "limit=1"))[0]["id"]
    await here.ask("baremetal", "GET", "/v1/nodes", status=200)
    await here.ask("baremetal", "POST", "/v1/nodes", {}, who="")
    await here.ask("baremetal", "DELETE", "/v1/nodes/nosuch", status=404)
    (newest,) = await records(here, "target=nosuch")
    assert newest["id"] == before + 1 and newest["action"] == "delete"


async def test_file_and_webhook(here: Site, bell: tuple[Bell, int]) -> None:
    made = await here.ask("identity", "POST", "/v3/projects", {"project": {"name": "p"}})
    ident = made.body["project"]["id"]
    (await records(here, f"target={ident}"))
    for _ in range(100):
        if any(one["target"]["id"] == ident for one in bell[0].events):
            break
        await asyncio.sleep(0.05)
    lines = (here.folder / "audit.jsonl").read_text().splitlines()
    written = [json.loads(text) for text in lines]
    for where in (written, bell[0].events):
        (one,) = (event for event in where if event["target"]["id"] == ident)
        assert one["action"] == "create" and one["initiator"]["name"] == "admin"
    assert (here.folder / "audit.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_request_that_is_none_tells_its_sender(here: Site) -> None:
    with socket.create_connection(("127.0.0.1", here.api)) as raw:
        raw.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        raw.recv(1000)
    told = await line(here, "Invalid HTTP request")
    assert "127.0.0.1" in told


async def test_nothing_secret_anywhere(here: Site) -> None:
    await records(here, "limit=1")
    rows = json.dumps(await records(here, "limit=1000"))
    for text in (rows, here.log(), (here.folder / "audit.jsonl").read_text()):
        assert SECRET not in text and "site-secret" not in text


async def test_start_and_stop_are_told(tmp_path: Path) -> None:
    async with site(tmp_path) as own:
        await own.ask("identity", "POST", "/v3/projects", {"project": {"name": "last"}})
        await own.stop()
        told, port = own.log(), own.api
        await own.start(own.folder / "ingot.toml")
        kept = await records(own, "service=identity", 2)
        assert kept[0]["data"]["name"] == "last", "what was noted before the stop is kept"
    first, *_, second, last = [text for text in told.splitlines() if "[info" in text]
    assert "started" in first and f"api=127.0.0.1:{port}" in first
    assert "stopping" in second and "why=SIGTERM" in second
    assert "stopped" in last


async def test_times_that_are_none(here: Site) -> None:
    answer = await here.ask("/timeline/v1/audit?since=yesterday", "GET", "")
    assert answer.status == 400 and "no time" in str(answer.body)
    nobody = await here.ask("/timeline/v1/audit", "GET", "", who="")
    assert nobody.status == 401
    assert (await run("--version", cwd=here.folder))[0] == 0
