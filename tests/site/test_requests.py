"""Requests that no service may take: each a clear 4xx in that service's own envelope, and no harm done."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.site.server import IMAGE, Answer, Site, site

pytestmark = pytest.mark.anyio

NOBODY = "00000000-0000-4000-8000-000000000000"
ENVELOPES = {
    "identity": "keystone",
    "image": "keystone",
    "network": "neutron",
    "compute": "nova",
    "baremetal": "ironic, encoded twice",
}
#: service -> path of a collection, key around the body, a field that is a text, a body that is taken.
ROWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "identity": ("/v3/projects", "project", {"name": "taken"}),
    "image": ("/v2/images", "", {"name": "taken"}),
    "network": ("/v2.0/security-groups", "security_group", {"name": "taken"}),
    "compute": ("/flavors", "flavor", {"name": "taken", "ram": 1, "vcpus": 1, "disk": 1}),
    "baremetal": ("/v1/nodes", "", {"name": "taken", "driver": "fake-hardware"}),
}
EACH = pytest.mark.parametrize("service", ROWS)


def wrapped(service: str, **changes: Any) -> Any:
    _, key, good = ROWS[service]
    body = {**good, **changes}
    return {key: body} if key else body


def refused(service: str, answer: Answer, status: int, *words: str) -> None:
    """The status, this service's envelope, and a text that holds the words."""
    assert answer.status == status, (service, answer.status, answer.body)
    assert answer.envelope.startswith(ENVELOPES[service]), answer.body
    for word in words:
        assert word in answer.text, (word, answer.text)
    assert "Traceback" not in answer.text and len(answer.text) > 15


@EACH
async def test_bodies(here: Site, service: str) -> None:
    path = ROWS[service][0]

    async def post(raw: bytes | AsyncIterator[bytes]) -> Answer:
        return await here.ask(service, "POST", path, raw=raw)

    async def sent(**changes: Any) -> Answer:
        return await here.ask(service, "POST", path, wrapped(service, **changes))

    async def endless() -> AsyncIterator[bytes]:
        yield b'{"name":"'
        for _ in range(60):
            yield b"x" * 100_000

    refused(service, await post(b""), 400, "JSON body")
    refused(service, await post(b'["a":'), 400)
    refused(service, await post(b"<xml/>"), 400, "not valid JSON")
    refused(service, await post(b"[1]"), 400, "Expected `object`, got `array`")
    refused(service, await sent(name={"a": 1}), 400, "got `object`", "name")
    refused(service, await sent(name="a\0b"), 400, "NUL")
    refused(service, await sent(name="a", description=10**30), 400, "too large")
    refused(service, await post(b'{"extra":' * 3000 + b"1" + b"}" * 3000), 400, "levels deep")
    refused(service, await post(b'{"a":"' + b"x" * 6_000_000 + b'"}'), 413, "larger than")
    refused(service, await post(endless()), 413, "larger than")
    if service == "identity":  # projects keep fields of their own, as upstream's do
        answer = await sent(name="own fields", colour="blue")
        assert answer.status == 201 and answer.body["project"]["colour"] == "blue"
    else:
        refused(service, await sent(colour_=7), 400, "colour_")
    # And directly after all this the service takes what is right.
    answer = await here.ask(service, "POST", path, wrapped(service))
    assert answer.status in (200, 201), answer.body
    key = ROWS[service][1]
    made = answer.body[key] if key else answer.body
    gone = await here.ask(service, "DELETE", f"{path}/{made.get('id') or made['uuid']}")
    assert gone.status in (202, 204), gone.body


@EACH
async def test_foreign_and_impossible_addresses(here: Site, service: str) -> None:
    path = ROWS[service][0]
    refused(service, await here.ask(service, "GET", f"{path}/{NOBODY}"), 404, NOBODY)
    refused(service, await here.ask(service, "GET", f"{path}/a%00b"), 404)
    refused(service, await here.ask(service, "GET", f"{path}/a%2Fb"), 404)
    refused(service, await here.ask(service, "GET", "/no/such/thing"), 404)
    refused(service, await here.ask(service, "PUT", path, {}), 405, "PUT")
    refused(service, await here.ask(service, "GET", f"{path}?limit=many"), 400, "limit")
    refused(service, await here.ask(service, "GET", f"{path}?name=%00"), 400)
    huge = await here.ask(service, "GET", f"{path}?limit={'9' * 5000}")
    assert huge.status < 500, huge.body


@EACH
async def test_without_a_good_token(here: Site, service: str) -> None:
    path = ROWS[service][0]
    body = wrapped(service)
    missing = await here.ask(service, "POST", path, body, who="")
    refused(service, missing, 401, "Log in and send the token in the header X-Auth-Token.")
    assert missing.headers["WWW-Authenticate"].startswith("Keystone uri=")
    for token in ("gAAAAgarbage", "\xff", "x" * 5000):
        bad = await here.ask(service, "POST", path, body, who="", X_Auth_Token=token)
        refused(service, bad, 401, "log in again")


@EACH
async def test_without_rights(here: Site, service: str) -> None:
    path = ROWS[service][0]
    if service in (
        "image",
        "network",
    ):  # tenants may make these; what is not theirs they may not change
        own = {"image": f"/v2/images/{here.image}", "network": f"/v2.0/networks/{here.network}"}
        answer = await here.ask(service, "DELETE", own[service], who="demo")
    else:
        answer = await here.ask(service, "POST", path, wrapped(service), who="demo")
    refused(service, answer, 403)


async def test_an_expired_token(tmp_path: Path) -> None:
    async with site(tmp_path, identity={"token_seconds": 2}) as here:
        token = await here.token("admin")
        for service, (path, _, _) in ROWS.items():
            answer = await here.ask(service, "GET", path)
            assert answer.status in (200, 401), answer.body
        await asyncio.sleep(2.1)  # the token's whole life
        for service, (path, _, _) in ROWS.items():
            answer = await here.ask(service, "GET", path, who="", X_Auth_Token=token)
            refused(service, answer, 401, "has expired: log in again")
        here.tokens.clear()
        assert (await here.ask("identity", "GET", "/v3/projects")).status == 200


async def test_a_wrong_password_names_no_half(here: Site) -> None:
    wrong, unknown = await here.login("admin", "nope"), await here.login("nobody", "nope")
    refused("identity", wrong, 401, "Check the name, the password")
    assert wrong.text == unknown.text


# -- images ----------------------------------------------------------------------------------------


async def waits(here: Site, image: str) -> None:
    """The image is queued again, empty, and takes good content."""
    found = (await here.ask("image", "GET", f"/v2/images/{image}", status=200)).body
    assert (found["status"], found["size"], found["checksum"]) == ("queued", None, None)
    assert not list((here.state / "images" / "incoming").glob(f"{image}*"))


QCOW2 = b"QFI\xfb" + (3).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("declared", "content", "words"),
    [
        ("qcow2", IMAGE, "its content is raw"),
        ("raw", QCOW2 + bytes(4096), "its content is qcow2"),
        ("raw", b"KDMV\1\0\0\0" + bytes(4096), "its content is vmdk"),
        ("qcow2", QCOW2 + b"\xff" * 4096, "encrypted"),
        ("qcow2", QCOW2 + b"\xff" * 24 + bytes(4) + b"\xff" * 4068, "backing file"),
        ("iso", bytes(70000), "says it is iso"),
        ("raw", b"", "no content"),
    ],
)
async def test_content_against_its_declared_format(
    here: Site, declared: str, content: bytes, words: str
) -> None:
    image = await here.make_image("lie", declared)
    refused("image", await here.upload(image, content), 400, words)
    await waits(here, image)
    if declared == "raw":
        assert (await here.upload(image, IMAGE)).status == 204
        again = await here.upload(image, IMAGE)
        refused("image", again, 409, "create another image")
    await here.ask("image", "DELETE", f"/v2/images/{image}", status=204)


async def test_full_disk_during_upload(here: Site) -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield os.urandom(1 << 20)

    image = await here.make_image("large")
    for content in (os.urandom(8 << 20), chunks(12)):  # announced; found on the way
        answer = await here.upload(image, content)
        refused("image", answer, 413, "not enough room", "Delete images", "more disk")
        await waits(here, image)
    assert (await here.upload(image, IMAGE)).status == 204
    await here.ask("image", "DELETE", f"/v2/images/{image}", status=204)


# -- nodes and ports -------------------------------------------------------------------------------


async def test_nodes_and_ports_that_clash(here: Site) -> None:
    uuid = await here.enrol("sim-0007", name="clash")
    mac = here.entry("sim-0007")["ports"][0]["address"]

    async def port(**body: Any) -> Answer:
        return await here.ask("baremetal", "POST", "/v1/ports", {"node_uuid": uuid, **body})

    for text in (mac, mac.upper()):
        refused(
            "baremetal", await port(address=text), 409, mac, "already exists", "delete the port"
        )
    refused("baremetal", await port(address="52:54:zz"), 400, "Expected a MAC address")
    # Upstream decides on the owner of a node that is not there: a project's administrator has none.
    lost = await port(address="52:54:00:00:00:01", node_uuid=NOBODY)
    refused("baremetal", lost, 403, "baremetal:port:create")
    twice = {"name": "clash", "driver": "ipmi"}
    refused("baremetal", await here.ask("baremetal", "POST", "/v1/nodes", twice), 409, "clash")
    odd = await here.ask("baremetal", "POST", "/v1/nodes", {"driver": "abacus"})
    refused("baremetal", odd, 400, "abacus", "Enabled hardware types: redfish")
    shown = await here.ask("baremetal", "GET", f"/v1/nodes/{uuid}/ports", status=200)
    assert [one["address"] for one in shown.body["ports"]] == [mac]
    await here.discard(uuid)


async def test_verbs_that_the_state_does_not_have(here: Site) -> None:
    uuid = await here.enrol("sim-0007")
    for verb in ("provide", "active", "deleted", "rebuild", "inspect", "clean", "abort", "adopt"):
        answer = await here.verb(uuid, verb, 400)
        refused("baremetal", answer, 400, f'"{verb}"', '"enroll"', "Possible now: manage.")
    refused("baremetal", await here.verb(uuid, "fly", 400), 400, "Possible now: manage.")
    power = f"/v1/nodes/{uuid}/states/power"
    answer = await here.ask("baremetal", "PUT", power, {"target": "fly"})
    refused("baremetal", answer, 400, "Possible targets: power on")
    assert (await here.node(uuid))["provision_state"] == "enroll"
    await here.verb(uuid, "manage")
    await here.node_in(uuid, "manageable")
    await here.discard(uuid)


# -- servers ---------------------------------------------------------------------------------------


async def test_orders_that_name_what_is_not_there(here: Site) -> None:
    flavor = await here.make_flavor("orders", resources__CUSTOM_BAREMETAL="1")
    queued = await here.make_image("queued")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"flavorRef": "none"}, "Flavor none could not be found"),
        ({"imageRef": NOBODY}, "Image"),
        ({"imageRef": queued}, "is not active"),
        ({"networks": [{"uuid": NOBODY}]}, "Network"),
        ({"networks": [{"port": NOBODY}]}, "Port"),
        ({"key_name": "none"}, "key_name"),
        ({"user_data": "%%%"}, "base 64"),
        ({"colour": 1}, "unknown field `colour`"),
        ({"min_count": 0}, "min_count"),
    ]
    for changes, words in wrong:
        body = here.order(flavor, **changes)
        refused("compute", await here.ask("compute", "POST", "/servers", body), 400, words)
    refused("compute", await here.ask("compute", "GET", f"/servers/{NOBODY}"), 404, NOBODY)
    await here.nothing_claimed()
    code, said = await here.client("server", "show", NOBODY)
    assert code == 1 and re.search(r"No [Ss]erver found", said)


async def test_a_project_that_has_machines_stays(here: Site) -> None:
    """A site whose settings say nothing else: no machine works on for nobody."""
    made = await here.ask("identity", "POST", "/v3/projects", {"project": {"name": "busy"}})
    path = f"/v3/projects/{made.body['project']['id']}"
    node = {"driver": "fake-hardware"}
    uuid = (await here.ask("baremetal", "POST", "/v1/nodes", node, status=201)).body["uuid"]
    user = {"name": "admin", "domain": {"id": "default"}, "password": "site-secret"}
    who = {"methods": ["password"], "password": {"user": user}}
    body = {"auth": {"identity": who, "scope": {"system": {"all": True}}}}
    system = await here.ask("identity", "POST", "/v3/auth/tokens", body, who="", status=201)
    here.tokens["system"] = system.headers["X-Subject-Token"]
    given = [{"op": "add", "path": "/owner", "value": made.body["project"]["id"]}]
    await here.ask("baremetal", "PATCH", f"/v1/nodes/{uuid}", given, who="system", status=200)
    answer = await here.ask("identity", "DELETE", path)
    refused("identity", answer, 409, "has 1 machines")
    given = [{"op": "remove", "path": "/owner"}]
    await here.ask("baremetal", "PATCH", f"/v1/nodes/{uuid}", given, who="system", status=200)
    await here.ask("identity", "DELETE", path, status=204)
    await here.ask("baremetal", "DELETE", f"/v1/nodes/{uuid}", who="system", status=204)
