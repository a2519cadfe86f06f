"""The table of operations, over the real framework, by raw ASGI calls (httpx-free: falcon's own client)."""

from __future__ import annotations

import sqlite3

import falcon.testing
import msgspec
import pytest

from ingot.kit.api.operations import Call, Operation, Reply, Service
from ingot.kit.api.versions import Microversions, Version
from ingot.kit.auth.policy import ANONYMOUS, Caller, Policy
from ingot.kit.faults import Missing
from ingot.kit.http.server import WebApp, plain_envelope


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: int = 0


class ThingQuery(msgspec.Struct, forbid_unknown_fields=True):
    limit: int | None = None
    fields: list[str] | None = None
    sizes: list[int] | None = None


async def show(call: Call) -> Reply:
    if call.params["id"] == "none":
        raise Missing("Thing none could not be found.")
    return Reply({"id": call.params["id"], "version": str(call.version), "url": call.base_url})


async def listing(call: Call) -> Reply:
    return Reply({"fields": call.query.fields, "limit": call.query.limit})


async def create(call: Call) -> Reply:
    return Reply({"name": call.body.name}, headers={"Location": call.base_url + "/v1/things/1"})


async def broken(_call: Call) -> Reply:
    raise RuntimeError("secret detail")


async def overflowing(_call: Call) -> Reply:
    with sqlite3.connect(":memory:") as db:
        db.execute("SELECT ?", (10**20,))
    raise AssertionError


async def upload(call: Call) -> Reply:
    size = 0
    async for chunk in call.stream():
        size += len(chunk)
    return Reply({"size": size})


async def authenticate(header: object) -> Caller:
    token = header("X-Auth-Token")  # type: ignore[operator]
    if token == "member":
        return Caller(user_id="u", project_id="p", roles=frozenset({"member"}))
    if token == "none":
        return Caller(user_id="u", project_id="p")
    return ANONYMOUS


@pytest.fixture
def client() -> falcon.testing.TestClient:
    service = Service(
        name="things",
        prefix="/things",
        operations=[
            Operation("GET", "/v1/things", listing, rule="get", query=ThingQuery),
            Operation("GET", "/v1/things/{id}", show, rule="get"),
            Operation("POST", "/v1/things", create, rule="make", body=Thing, status=201),
            Operation("GET", "/v1/new", show, rule=None, since=5),
            Operation("GET", "/v1/broken", broken, rule=None),
            Operation("GET", "/v1/overflowing", overflowing, rule=None),
            Operation("PUT", "/v1/file", upload, rule=None, stream=True),
        ],
        envelope=plain_envelope,
        policy=Policy({"get": "role:member", "make": "role:member and project_id:%(project_id)s"}),
        authenticator=authenticate,  # type: ignore[arg-type]
        versions=Microversions("things", Version(1, 1), Version(1, 9), Version(1, 1)),
    )
    return falcon.testing.TestClient(WebApp([service]).asgi)


MEMBER = {"X-Auth-Token": "member"}


def test_rights(client: falcon.testing.TestClient) -> None:
    assert client.simulate_get("/things/v1/things/1").status_code == 401
    assert (
        client.simulate_get("/things/v1/things/1", headers={"X-Auth-Token": "none"}).status_code
        == 403
    )
    assert client.simulate_get("/things/v1/things/1", headers=MEMBER).status_code == 200


def test_versions(client: falcon.testing.TestClient) -> None:
    assert client.simulate_get("/things/v1/new").status_code == 404
    later = {"OpenStack-API-Version": "things 1.5"}
    assert (
        client.simulate_get("/things/v1/things/1", headers={**MEMBER, **later}).json["version"]
        == "1.5"
    )
    assert (
        client.simulate_get(
            "/things/v1/x", headers={"OpenStack-API-Version": "things 9.9"}
        ).status_code
        == 406
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name": "a"}', 201),
        (b'{"name": 5}', 400),
        (b'{"name": "a", "colour": 1}', 400),
        (b'{"name": ', 400),
        (b"", 400),
        (b"[" * 100000, 400),
        (b'{"name": "' + b"a" * (2 << 20) + b'"}', 413),
    ],
)
def test_bodies(client: falcon.testing.TestClient, body: bytes, status: int) -> None:
    reply = client.simulate_post("/things/v1/things", body=body, headers=MEMBER)
    assert reply.status_code == status
    if status >= 400:
        assert reply.json["error"]["message"]


def test_query(client: falcon.testing.TestClient) -> None:
    reply = client.simulate_get("/things/v1/things?fields=a,b&fields=c&limit=3", headers=MEMBER)
    assert reply.json == {"fields": ["a", "b", "c"], "limit": 3}
    assert client.simulate_get("/things/v1/things?limit=x", headers=MEMBER).status_code == 400
    assert client.simulate_get("/things/v1/things?colour=x", headers=MEMBER).status_code == 400


def test_unknown_places(client: falcon.testing.TestClient) -> None:
    assert client.simulate_get("/things/nowhere", headers=MEMBER).json["error"]["code"] == 404
    assert client.simulate_delete("/things/v1/things", headers=MEMBER).status_code == 405


def test_a_bug_shows_a_reference_and_no_detail(client: falcon.testing.TestClient) -> None:
    reply = client.simulate_get("/things/v1/broken")
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert reply.headers["x-openstack-request-id"] in reply.text


def test_upload(client: falcon.testing.TestClient) -> None:
    assert client.simulate_put("/things/v1/file", body=b"x" * (3 << 20)).json == {"size": 3 << 20}


def test_a_header_carries_any_name() -> None:
    """A connection that is dropped because of a name leaves the client without an answer."""
    from ingot.kit.http.server import _visible

    for plain in ("http://x/a?b=c%20d", 'Basic realm="x"', "a, b;c", "<x>; rel=next"):
        assert _visible(plain) == plain
    assert _visible("http://x/a\nSet-Cookie: b") == "http://x/a%0ASet-Cookie: b"
    assert _visible("ä\x00") == "%C3%A4%00"


def test_a_number_that_nothing_holds_is_the_clients_mistake(
    client: falcon.testing.TestClient,
) -> None:
    reply = client.simulate_get("/things/v1/overflowing")
    assert reply.status_code == 400
    assert "larger or longer" in reply.text


def test_numbers_of_a_query(client: falcon.testing.TestClient) -> None:
    def ask(query: str) -> int:
        return client.simulate_get(
            "/things/v1/things", query_string=query, headers=MEMBER
        ).status_code

    assert ask(f"limit={2**63 - 1}") == 200 and ask(f"sizes=1,{2**63 - 1}") == 200
    for number in (2**63, -(2**63) - 1, 10**20, "9" * 4000, "9" * 5000):
        assert ask(f"limit={number}") == 400
        assert ask(f"sizes=1,{number}") == 400
