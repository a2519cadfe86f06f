"""Whose word counts on where a request comes from, and by which address."""

from __future__ import annotations

from pathlib import Path

import falcon.testing
import pytest

from ingot.kit.api.operations import Call, Operation, Reply, Service
from ingot.kit.auth.policy import Policy
from ingot.kit.db.database import Database
from ingot.kit.http.proxies import Proxies
from ingot.kit.http.server import WebApp, plain_envelope

PROXY, PEER, CLIENT = "192.0.2.1", "198.51.100.7", "203.0.113.9"


async def tell(call: Call) -> Reply:
    return Reply({"base": call.base_url, "url": call.url, "remote": call.remote})


def asked(peer: str, **headers: str) -> dict[str, str]:
    service = Service(
        "test", "/test", [Operation("GET", "/v1", tell, rule=None)], plain_envelope, Policy({})
    )
    app = WebApp([service], proxies=Proxies(["192.0.2.0/30", "2001:db8::1"]))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client = falcon.testing.TestClient(app.asgi)
    return client.simulate_get("/test/v1", headers=named, remote_addr=peer).json


EVIL = {
    "X_Forwarded_Proto": "javascript",
    "X_Forwarded_Host": "evil.example",
    "X_Forwarded_For": CLIENT,
    "X_Real_Ip": CLIENT,
    "Forwarded": "for=203.0.113.9;host=evil.example;proto=javascript",
}


@pytest.mark.parametrize("peer", [PEER, "127.0.0.1", "::1"])
def test_strangers_are_not_believed(peer: str) -> None:
    assert asked(peer, **EVIL) == asked(peer)
    assert asked(peer)["remote"] == peer


def test_a_proxy_of_ours_is_believed_where_it_makes_sense() -> None:
    told = asked(
        PROXY,
        X_Forwarded_Proto="https",
        X_Forwarded_Host="cloud.example:443",
        X_Forwarded_For=CLIENT,
    )
    assert told["base"] == "https://cloud.example:443/test"
    assert told["url"].startswith("https://cloud.example:443/test/v1")
    assert told["remote"] == CLIENT
    nonsense = asked(
        PROXY,
        X_Forwarded_Proto="javascript",
        X_Forwarded_Host="evil/v1//@x",
        X_Forwarded_For="not an address",
        Forwarded="host=evil.example;proto=javascript",
    )
    assert nonsense == asked(PROXY)


def test_the_client_is_the_last_that_is_no_proxy() -> None:
    assert asked(PROXY, X_Forwarded_For=f"6.6.6.6, {CLIENT}, 192.0.2.2")["remote"] == CLIENT
    assert asked(PROXY, X_Forwarded_For="192.0.2.3")["remote"] == "192.0.2.3"
    assert asked("2001:db8::1", X_Forwarded_For=CLIENT)["remote"] == CLIENT


def test_networks_are_checked() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Proxies(["nonsense"])


@pytest.mark.anyio
async def test_a_database_is_nobody_elses_to_read(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    for _ in ("new", "opened to all by somebody"):
        db = Database.at(folder / "ingot.db")
        await db.create_all()
        try:
            assert folder.stat().st_mode & 0o777 == 0o700
            files = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
            assert len(files) > 1 and set(files.values()) == {0o600}, files
        finally:
            await db.close()
        (folder / "ingot.db").chmod(0o644)
