"""What booting machines may ask: tokens once per boot, heartbeats only with them, starts written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ingot.services.baremetal import store
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.ramdisk import tokens as agent_tokens
from tests.flows.site import Site, cloud

pytestmark = pytest.mark.anyio

MAC = "52:54:00:00:00:01"
VERSION = {"X-OpenStack-Ironic-API-Version": "1.68"}


@asynccontextmanager
async def world(
    folder: Path, database: str = "", **columns: Any
) -> AsyncIterator[tuple[Site, str, aiohttp.ClientSession]]:
    """A node with a port, in a state, without an operation (no loop helps it)."""
    async with (
        cloud(folder, database=database, helping=False) as here,
        aiohttp.ClientSession(here.url, headers=VERSION) as http,
    ):
        node = await here.db.write(
            lambda conn: here.baremetal.create_node(conn, {"driver": "fake-hardware", "name": "n"})
        )
        port = {"node_uuid": node.uuid, "address": MAC}
        await here.db.write(lambda conn: here.baremetal.create_port(conn, port))
        await here.db.write(lambda conn: store.update_node(conn, node.uuid, **columns))
        yield here, node.uuid, http


async def _lookup(http: aiohttp.ClientSession, address: str = MAC) -> tuple[int, str]:
    async with http.get("/v1/lookup", params={"addresses": address}) as reply:
        body = await reply.json()
        return reply.status, body["config"]["agent_token"] if reply.status == 200 else ""


async def _beat(http: aiohttp.ClientSession, uuid: str, token: str, url: str) -> int:
    body = {"callback_url": url, "agent_token": token, "agent_version": "13.0.0"}
    async with http.post(f"/v1/heartbeat/{uuid}", json=body) as reply:
        return reply.status


async def test_machines_that_are_not_ours_go_on_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, provision_state="available") as (_, _uuid, http):
        other = MAC[:-1] + "9"
        async with http.get(f"/boot/{other}") as reply:
            assert reply.status == 404
        # The first script asks so: firmware cannot tell a refusal from nobody's answer.
        async with http.get(f"/boot/{other}?unknown=exit") as reply:
            assert reply.status == 200 and (await reply.text()).endswith("exit 1\n")
        async with http.get("/boot.ipxe") as reply:
            assert "/boot/${mac}?unknown=exit ||" in await reply.text()
        async with http.get(f"/boot/{MAC}?unknown=exit") as reply:
            assert "local disk" in await reply.text()


async def test_one_token_counts_and_heartbeats_come_only_with_it(tmp_path: Path) -> None:
    async with world(tmp_path, provision_state="clean hold") as (here, uuid, http):
        status, token = await _lookup(http)
        assert status == 200
        assert len(token) >= 32
        # The answer may have been lost: whoever asks again gets another, and the first that is used counts.
        others = [(await _lookup(http))[1] for _ in range(7)]
        assert len({token, *others}) == 8 and all(len(other) >= 32 for other in others)
        texts: list[str] = []
        stop = here.db.on_statement(texts.append)
        assert (await _lookup(http))[1] == "******", "not for ever"
        stop()
        assert texts and not [text for text in texts if text.startswith("BEGIN")], "nor by a write"
        url = "https://10.0.0.7:9999"
        assert await _beat(http, uuid, "x" * 40, url) == 400
        assert await _beat(http, uuid, token, "http://10.0.0.7:9999") == 400
        assert await _beat(http, uuid, token, url) == 202
        assert await _beat(http, uuid, token, "https://10.0.0.8:9999") == 400
        for other in others:
            assert await _beat(http, uuid, other, url) == 400
        assert (await _lookup(http))[1] == "******"
        # Orders to the agent carry that one.
        vault = here.deps.vault
        agent = await here.db.read(lambda conn: agent_store.get_agent(conn, vault, uuid))
        assert agent is not None and agent.token == token


@pytest.mark.postgres
async def test_an_agent_that_asks_while_it_calls_keeps_the_token_that_counts(
    tmp_path: Path, postgres_url: str
) -> None:
    """As after a pause of the database: late questions, and calls with what the first answers gave, all at once."""
    url = "https://10.0.0.7:9999"
    async with world(tmp_path, postgres_url, provision_state="clean hold") as (here, uuid, http):
        vault = here.deps.vault

        async def ask_and_call() -> tuple[int, str]:
            status, token = await _lookup(http)
            assert status == 200
            return (0, "") if token == "******" else (await _beat(http, uuid, token, url), token)

        for _ in range(15):
            done = await asyncio.gather(*(ask_and_call() for _ in range(6)))
            taken = {token for status, token in done if status == 202}
            agent = await here.db.read(lambda conn: agent_store.get_agent(conn, vault, uuid))
            assert agent is not None and taken == {agent.token}, done
            await here.db.write(lambda conn: agent_store.forget_agent(conn, uuid))


async def test_tokens_of_an_earlier_boot_are_worthless(tmp_path: Path) -> None:
    async with world(tmp_path, provision_state="clean hold") as (here, uuid, http):
        before = [(await _lookup(http))[1] for _ in range(3)]
        await here.db.write(lambda conn: agent_store.forget_agent(conn, uuid))
        token = (await _lookup(http))[1]
        for old in before:
            assert await _beat(http, uuid, old, "https://10.0.0.7:9999") == 400
        assert await _beat(http, uuid, token, "https://10.0.0.7:9999") == 202


async def test_a_token_that_travels_on_a_medium_is_told_to_nobody(tmp_path: Path) -> None:
    intent = {"boot": "agent", "media": "x" * 32}
    async with world(tmp_path, provision_state="clean hold", boot_intent=intent) as (h, uuid, http):
        token = await h.db.write(lambda conn: agent_tokens.give(conn, h.deps.vault, uuid))
        assert (await _lookup(http))[1] == "******"
        assert await _beat(http, uuid, token, "https://10.0.0.7:9999") == 202


async def test_lookups_of_resting_and_unknown_machines_learn_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, provision_state="active") as (_, _uuid, http):
        assert (await _lookup(http))[0] == 404
        assert (await _lookup(http, "52:54:00:00:00:99"))[0] == 404


async def test_starts_that_nobody_asked_for_are_written_down(tmp_path: Path) -> None:
    async with world(tmp_path, provision_state="active") as (here, uuid, http):

        async def start() -> str | None:
            async with http.get(f"/boot/{MAC}") as reply:
                assert reply.status == 200
                assert (await reply.text()).startswith("#!ipxe")
            return (await here.node(uuid)).unasked_boot_mac

        now = here.deps.now()
        await here.db.write(lambda conn: store.update_node(conn, uuid, started_at=now))
        assert await start() is None
        # The second start in a row was not ours.
        assert await start() == MAC


async def test_an_agent_that_died_makes_room_before_the_answer(tmp_path: Path) -> None:
    intent = {"boot": "agent"}
    async with world(tmp_path, provision_state="clean hold", boot_intent=intent) as (_, uuid, http):
        _, token = await _lookup(http)
        # Nobody listens there: the machine that boots anew is believed.
        assert await _beat(http, uuid, token, "https://127.0.0.1:1") == 202
        async with http.get(f"/boot/{MAC}") as reply:
            assert reply.status == 200
        status, other = await _lookup(http)
        assert status == 200
        assert len(other) >= 32
        assert other != token
        assert await _beat(http, uuid, token, "https://127.0.0.1:1") == 400


@pytest.mark.parametrize("mac", ["zz", "52:54:00:00:00", "..%2f..%2fetc"])
async def test_no_mac_no_script(tmp_path: Path, mac: str) -> None:
    async with (
        world(tmp_path, provision_state="active") as (_, _uuid, http),
        http.get(f"/boot/{mac}") as reply,
    ):
        assert reply.status in (400, 404)


async def test_callbacks_that_are_none_are_refused(tmp_path: Path) -> None:
    """Each without a token: what is wrong with the URL is said before anybody is known."""
    async with world(tmp_path, provision_state="clean hold") as (_, uuid, http):
        for url in (
            *("https://[::1", "https://[::1]:x/", "https://10.0.0.7:99999", "https://a b/"),
            *("https://10.0.0.7\n:9999", "https://user:word@10.0.0.7:9999", "https://", "x", ""),
            *("https://169.254.169.254/", "https://[fe80::1]:9999", "https://0.0.0.0:1", "ftp://x"),
            *("https://2852039166/", "https://" + "x" * 5000, "https://[::ffff:169.254.169.254]"),
        ):
            assert await _beat(http, uuid, "x" * 40, url) == 400, url
        body = {"callback_url": "https://10.0.0.7:9999", "agent_token": "x" * 40}
        for name in ("agent_version", "agent_token", "agent_verify_ca"):
            long = {**body, name: "x" * 100_000}
            async with http.post(f"/v1/heartbeat/{uuid}", json=long) as reply:
                assert reply.status == 400, name


async def test_heartbeats_without_a_token_learn_of_no_node(tmp_path: Path) -> None:
    """Whoever is on the provisioning network cannot try names and uuids out."""
    body = {"callback_url": "https://10.0.0.7:9999", "agent_token": "x" * 40, "agent_version": "1"}
    for state in ("active", "clean hold"):
        (tmp_path / state).mkdir()
        async with world(tmp_path / state, provision_state=state) as (_, uuid, http):
            heard: set[tuple[int, str]] = set()
            for ident in (
                uuid,
                uuid.upper(),
                "n",
                "no-such",
                "01234567-89ab-4def-8123-456789abcdef",
            ):
                async with http.post(f"/v1/heartbeat/{ident}", json=body) as reply:
                    heard.add((reply.status, await reply.text()))
            assert len(heard) == 1 and next(iter(heard))[0] == 400, heard


async def test_a_strangers_boot_does_not_end_the_token_of_an_agent(tmp_path: Path) -> None:
    """Between the agent's look-up and its first call: its call is taken, and a stranger's is not."""
    intent = {"boot": "agent"}
    async with world(tmp_path, provision_state="clean hold", boot_intent=intent) as (_, uuid, http):
        _, token = await _lookup(http)
        for _ in range(3):
            async with http.get(f"/boot/{MAC}") as reply:
                assert reply.status == 200
        _, stranger = await _lookup(http)
        assert await _beat(http, uuid, token, "https://10.0.0.7:9999") == 202
        assert await _beat(http, uuid, stranger, "https://10.0.0.7:9999") == 400
        assert (await _lookup(http))[1] == "******"


async def test_a_machine_that_starts_again_before_its_agent_called(tmp_path: Path) -> None:
    intent = {"boot": "agent"}
    async with world(tmp_path, provision_state="clean hold", boot_intent=intent) as (_, uuid, http):
        tokens: list[str] = []
        for _ in range(5):
            async with http.get(f"/boot/{MAC}") as reply:
                assert reply.status == 200
            tokens.append((await _lookup(http))[1])
        assert len(set(tokens)) == 5
        assert await _beat(http, uuid, tokens[-1], "https://10.0.0.7:9999") == 202
