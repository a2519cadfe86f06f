"""How replies of controllers come: in segments, long, packed, hostile."""

import asyncio
import gzip
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ingot.drivers.faults import Busy, DriverFault, Refused, Unsupported
from ingot.drivers.machine import DriverContext, Registry, build_registry
from ingot.drivers.machine.redfish.client import LONGEST_REPLY, RedfishClient
from ingot.drivers.machine.types import Access, PowerState, PowerTarget
from ingot.kit.tasks.clock import SystemClock

sys.path.insert(0, str(Path(__file__).parent))
from service import PASSWORD, SESSIONS, SYSTEM, Service
from test_redfish import bench_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def client(context: DriverContext) -> RedfishClient:
    return context.shared(RedfishClient, lambda: RedfishClient(context))


@pytest.fixture
def access(service: Service) -> Access:
    return Access("redfish", service.driver_info())


def answering(path: str, body: bytes, **headers: str) -> Any:
    """A quirk: the document at `path` is `body`."""

    def quirk(_: Service, _method: str, asked: str, _body: Any) -> web.Response | None:
        if asked != path:
            return None
        return web.Response(body=body, content_type="application/json", headers=headers)

    return quirk


@pytest.mark.parametrize("seed", range(5))
async def test_replies_in_segments(registry: Registry, service: Service, seed: int) -> None:
    service.segments = random.Random(seed)
    service.system["Oem"] = {"Words": "w" * 100_000}
    bench = bench_of(registry, service)
    assert await bench.power.get(bench.access) is PowerState.OFF


@pytest.mark.parametrize("packed", [False, True])
async def test_a_registry_of_several_megabytes(
    client: RedfishClient, service: Service, access: Access, packed: bool
) -> None:
    entry = b'{"AttributeName":"Attribute%d","HelpText":"%s","Type":"Enumeration"}'
    body = b",".join(entry % (n, b"help " * 60) for n in range(15_000))
    body = b'{"Id":"Big","RegistryEntries":{"Attributes":[' + body + b"]}}"
    assert 4 << 20 < len(body) < LONGEST_REPLY
    service.segments = random.Random(7)
    wire = gzip.compress(body) if packed else body
    headers = {"Content-Encoding": "gzip"} if packed else {}
    service.quirks.append(answering("/redfish/v1/Registries/Big.json", wire, **headers))
    reply = await client.get(access, "/redfish/v1/Registries/Big.json")
    entries: Any = reply.body["RegistryEntries"]
    assert len(entries["Attributes"]) == 15_000


async def test_too_long_a_reply_is_refused(
    client: RedfishClient, service: Service, access: Access
) -> None:
    bomb = gzip.compress(b"A" * (LONGEST_REPLY * 8))
    service.quirks.append(answering(SYSTEM, bomb, **{"Content-Encoding": "gzip"}))
    service.quirks.append(answering("/redfish/v1/Long", b"A" * (LONGEST_REPLY + 1)))
    for path in (SYSTEM, "/redfish/v1/Long"):
        with pytest.raises(Refused, match=str(LONGEST_REPLY)) as told:
            await client.get(access, path)
        assert path in told.value.cause


@pytest.mark.parametrize("deep", [100, 5000])
async def test_a_nested_reply_is_refused(
    client: RedfishClient, service: Service, access: Access, deep: int
) -> None:
    service.quirks.append(answering(SYSTEM, b'{"a":' * deep + b"1" + b"}" * deep))
    with pytest.raises(Refused, match="nested"):
        await client.get(access, SYSTEM)


# -- links --------------------------------------------------------------------------------------


class Elsewhere:
    """Another host: whatever comes here should never have been sent."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.port = 0

    async def start(self) -> "Elsewhere":
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._any)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.port = self.runner.addresses[0][1]
        return self

    async def _any(self, request: web.Request) -> web.Response:
        self.seen.append(f"{request.method} {request.path} {dict(request.headers)}")
        return web.json_response({"@odata.id": "/x", "PowerState": "On"})


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    made = await Elsewhere().start()
    yield made
    await made.runner.cleanup()


#: Forms of a link to 127.0.0.1:PORT; HOST stands for the service's own host and port.
TRICKS = [
    "@127.0.0.1:PORT/latest/meta-data/",
    ":x@127.0.0.1:PORT/any",
    ".example@127.0.0.1:PORT/any",
    "http://127.0.0.1:PORT/any",
    "HTTP://127.0.0.1:PORT/any",
    "https://127.0.0.1:PORT/any",
    "//127.0.0.1:PORT/any",
    "\\\\127.0.0.1:PORT/any",
    "/\\127.0.0.1:PORT/any",
    "http:\\\\127.0.0.1:PORT/any",
    "http:/127.0.0.1:PORT/any",
    "http://HOST@127.0.0.1:PORT/any",
    "http://HOST%40127.0.0.1:PORT/any",
    "http://HOST\\@127.0.0.1:PORT/any",
    "http://127.0.0.1:PORT#@HOST/",
    "http://127.0.0.1:PORT?@HOST/",
    "http://2130706433:PORT/any",
    "http://[::ffff:127.0.0.1]:PORT/any",
    "http%3a%2f%2f127.0.0.1:PORT/any",
    "\thttp://127.0.0.1:PORT/any",
    "http://[127.0.0.1:PORT/any",
    "http://127.0.0.1:99999/any",
    "file:///etc/passwd",
    "any/relative",
    "",
]


def trick(form: str, service: Service, elsewhere: Elsewhere) -> str:
    host = service.base.partition("//")[2]
    return form.replace("PORT", str(elsewhere.port)).replace("HOST", host)


@pytest.mark.parametrize("form", TRICKS)
async def test_no_link_leads_elsewhere(
    client: RedfishClient, service: Service, access: Access, elsewhere: Elsewhere, form: str
) -> None:
    link = trick(form, service, elsewhere)
    await client.get(access, SYSTEM)  # we have a session by now
    asked = len(service.asked)
    for method in ("GET", "POST", "PATCH", "DELETE"):
        with pytest.raises(Refused, match="points to") as told:
            await client.call(access, method, link, {} if method != "GET" else None)
        assert "\t" not in told.value.cause and PASSWORD not in told.value.cause
    assert elsewhere.seen == []
    assert service.asked[asked:] == []


@pytest.mark.parametrize("form", TRICKS[:-2])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_leads_elsewhere(
    client: RedfishClient,
    service: Service,
    access: Access,
    elsewhere: Elsewhere,
    form: str,
    status: int,
) -> None:
    location = trick(form, service, elsewhere).strip()

    def quirk(_: Service, _method: str, path: str, _body: Any) -> web.Response | None:
        there = {"Location": location}
        return web.Response(status=status, headers=there) if path == "/redfish/v1/Moved" else None

    service.quirks.append(quirk)
    for method in ("GET", "POST", "PATCH", "DELETE"):
        with pytest.raises((Refused, Unsupported)):
            await client.call(access, method, "/redfish/v1/Moved", {} if method != "GET" else None)
    assert elsewhere.seen == []


async def test_links_of_resources_do_not_lead_elsewhere(
    registry: Registry, service: Service, elsewhere: Elsewhere
) -> None:
    there = f"http://127.0.0.1:{elsewhere.port}"
    bench = bench_of(registry, service)
    action = service.system["Actions"]["#ComputerSystem.Reset"]
    action["target"] = f"{there}/any/post"
    with pytest.raises(Refused, match="points to"):
        await bench.power.set(bench.access, PowerTarget.ON)
    del action["ResetType@Redfish.AllowableValues"]
    action["@Redfish.ActionInfo"] = f"@127.0.0.1:{elsewhere.port}/info"
    with pytest.raises(Refused, match="points to"):
        await bench.power.set(bench.access, PowerTarget.ON)
    service.system["EthernetInterfaces"] = {"@odata.id": f"{there}/nics"}
    assert (await bench.management.identity(bench.access)).macs == ()
    service.resources["/redfish/v1/Systems"]["Members"] = [{"@odata.id": f"{there}/system"}]
    other = bench_of(registry, service, redfish_username="operator")
    with pytest.raises(Refused, match="points to"):
        await build_registry(DriverContext(SystemClock())).power("redfish").get(other.access)
    assert elsewhere.seen == []


async def test_absolute_links_to_itself_and_redirects_within_are_followed(
    client: RedfishClient, service: Service, access: Access
) -> None:
    def quirk(made: Service, _method: str, path: str, _body: Any) -> web.Response | None:
        hops = {
            "/redfish/v1/Old": "/redfish/v1/Older",
            "/redfish/v1/Older": f"{made.base}/redfish/v1/Systems",
        }
        if path in hops:
            return web.Response(status=308, headers={"Location": hops[path]})
        if path == "/redfish/v1/Circle":
            return web.Response(status=302, headers={"Location": "Circle"})
        return None

    service.quirks.append(quirk)
    assert (await client.get(access, f"{service.base}{SYSTEM}")).body["UUID"]
    assert (await client.get(access, "/redfish/v1/Old")).body["Members"]
    with pytest.raises(Refused, match="redirected more than"):
        await client.get(access, "/redfish/v1/Circle")


async def test_a_session_elsewhere_is_ended_here(
    service: Service, access: Access, elsewhere: Elsewhere
) -> None:
    context = DriverContext(SystemClock())
    client = context.shared(RedfishClient, lambda: RedfishClient(context))

    def quirk(made: Service, method: str, path: str, _body: Any) -> web.Response | None:
        if (method, path) != ("POST", SESSIONS):
            return None
        made.tokens.add("t1")
        there = {
            "X-Auth-Token": "t1",
            "Location": f"http://127.0.0.1:{elsewhere.port}{SESSIONS}/t1",
        }
        return web.json_response({}, status=201, headers=there)

    service.quirks.append(quirk)
    await client.get(access, SYSTEM)
    await context.aclose()
    assert elsewhere.seen == []
    assert service.tokens == set()


@pytest.mark.parametrize(
    "address",
    ["https://[::1", "http://h:port", "http://h:99999", "http://", "ftp://h", "http://u:pw@h/"],
)
async def test_addresses_that_are_none(client: RedfishClient, address: str) -> None:
    with pytest.raises(Unsupported) as told:
        await client.get(Access("redfish", {"redfish_address": address}), "/redfish/v1/")
    assert "pw" not in told.value.cause


async def test_pages_that_never_end(registry: Registry, service: Service) -> None:
    """Empty pages that link to themselves or in a circle end; pages without end are refused."""
    pages = "/redfish/v1/Systems"
    links = {pages: f"{pages}?page=1", f"{pages}?page=1": pages}
    endless = False

    def quirk(made: Service, _method: str, path: str, _body: Any) -> web.Response | None:
        if path != pages:
            return None
        number = len(made.asked)
        link = f"{pages}?page={number}" if endless else links[pages]
        found = [] if endless else [{"@odata.id": SYSTEM}]
        return web.json_response({"Members": found, "Members@odata.nextLink": link})

    service.quirks.append(quirk)
    bench = bench_of(registry, service)
    assert await bench.power.get(bench.access) is PowerState.OFF
    assert sum(line.endswith(pages) for line in service.asked) == 2
    endless = True
    fresh = DriverContext(SystemClock())
    with pytest.raises(Refused, match="pages"):
        await build_registry(fresh).power("redfish").get(bench.access)
    await fresh.aclose()
    assert sum(line.endswith(pages) for line in service.asked) < 300


async def test_words_of_a_controller_are_harmless(
    client: RedfishClient, service: Service, access: Access
) -> None:
    said = "\x1b[2J\x1b]0;owned\x07" + "long " * 100_000

    def quirk(_: Service, _method: str, path: str, _body: Any) -> web.Response | None:
        many = [{"Message": f"{said[:40]} {n}"} for n in range(60_000)]
        error = {"error": {"message": said, "@Message.ExtendedInfo": many}}
        wait = {"Retry-After": "²"}
        return web.json_response(error, status=503, headers=wait) if path == SYSTEM else None

    service.quirks.append(quirk)
    async with asyncio.timeout(30):
        with pytest.raises(Busy) as told:
            await client.get(access, SYSTEM)
    assert len(told.value.cause) <= 600
    assert "\x1b" not in told.value.sentence() and "\\x1b[2J" in told.value.sentence()


#: Errors of services that are no controllers, as JSON has them: Keystone's, Kubernetes', Google's, Ironic's, a plain one.
FOREIGN_ERRORS = [
    {"error": {"code": 401, "message": "inner-secret", "title": "inner-secret"}},
    {"error": {"code": "inner-secret", "message": "inner-secret"}},
    {"error": {"code": "NotFound.inner-secret", "message": "inner-secret"}},
    {"kind": "Status", "message": "inner-secret", "reason": "inner-secret"},
    {"error": "inner-secret", "error_description": "inner-secret"},
    {"error_message": {"faultstring": "inner-secret"}},
    ["inner-secret"],
]


@pytest.mark.parametrize("body", FOREIGN_ERRORS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500, 503])
async def test_who_is_no_controller_is_not_quoted(
    client: RedfishClient, service: Service, access: Access, body: Any, status: int
) -> None:
    """Whoever may edit driver_info chose the address, and need not be one who may read what answers there."""
    plain = dict(access.options, redfish_auth_type="none")
    service.quirks.append(lambda *_: web.json_response(body, status=status))
    with pytest.raises(DriverFault) as told:
        await client.get(Access("redfish", plain), SYSTEM)
    assert "inner-secret" not in told.value.sentence() and str(status) in told.value.cause


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"code": "Base.1.0.GeneralError", "message": "No such drive."}, "No such drive."),
        ({"code": "Base.1.8.1.GeneralError"}, "Base.1.8.1.GeneralError"),
        (
            {"message": "It is off.", "@Message.ExtendedInfo": [{"MessageId": "SYS518"}]},
            "It is off.",
        ),
        (
            {"@Message.ExtendedInfo": {"MessageID": "iLO.0.10.X", "Message": "It is on."}},
            "It is on.",
        ),
    ],
)
async def test_words_of_controllers_are_told(
    client: RedfishClient, service: Service, access: Access, error: Any, told: str
) -> None:
    plain = dict(access.options, redfish_auth_type="none")
    service.quirks.append(lambda *_: web.json_response({"error": error}, status=400))
    with pytest.raises(DriverFault) as caught:
        await client.get(Access("redfish", plain), SYSTEM)
    assert caught.value.cause.endswith(f"HTTP 400: {told}")
