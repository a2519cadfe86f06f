"""The sample service (`tests/house/sample_service.py`) keeps the contract of every resource, in two styles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ingot.kit.api.styles import NEUTRON, NOVA, Style
from ingot.kit.db.database import Database
from ingot.kit.db.tx import Transactions
from ingot.kit.http.server import WebApp
from ingot.kit.tasks.clock import SystemClock
from tests.contracts.client import Client, authenticate
from tests.contracts.documents import Documents
from tests.contracts.resource import CHECKS, Place, Sample
from tests.house import sample_service

pytestmark = pytest.mark.anyio

Check = Callable[[Client, Sample], Awaitable[None]]


def samples(style: Style) -> dict[str, Sample]:
    shelf, box = sample_service.resources(style)
    shelves = Sample(shelf, lambda at: {"name": f"shelf {at}", "capacity": 90}, {"name": "another"})
    boxes = Sample(box, lambda at: {"label": f"box {at}"}, {"label": "another"}, shelves)
    return {"shelf": shelves, "box": boxes}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        made = Database.at(tmp_path / "sample.db")
    else:
        made = Database(request.getfixturevalue("postgres_url"))
    await made.write(sample_service.metadata.create_all)
    yield made
    await made.close()


@pytest.fixture(params=[NOVA, NEUTRON], ids=["nova", "neutron"])
def style(request: pytest.FixtureRequest) -> Style:
    return request.param


@pytest.fixture
def client(db: Database, style: Style) -> Client:
    transactions = Transactions(db, SystemClock())
    service = sample_service.make_service(transactions, authenticate, style)
    made = Client(None, db, "/sample", Documents(service))
    made.app = WebApp([service], audit=made.audit.append).asgi
    return made


@pytest.mark.parametrize("kind", ["shelf", "box"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_a_resource(client: Client, style: Style, kind: str, check: Check) -> None:
    await check(client, samples(style)[kind])


# -- what not every resource has -------------------------------------------------------------------


async def test_a_field_is_there_from_its_microversion_on(client: Client, style: Style) -> None:
    place = await Place.of(client, samples(style)["shelf"])
    early = await place.post({"name": "a", "note": "x"})
    assert early.status == 400 and "note" in early.text
    assert "note" not in await place.make()
    client.version = "sample 1.3"
    made = await place.make(note="x")
    assert made["note"] == "x"
    shown = await client("GET", f"{place.path}/{made['id']}", version="sample 1.2")
    assert "note" not in shown.body["shelf"]


async def test_a_field_with_a_rule_of_its_own(client: Client, style: Style) -> None:
    place = await Place.of(client, samples(style)["box"])
    assert (await place.post({"label": "a", "fragile": True})).status == 403
    assert (await place.post({"label": "b", "fragile": False})).status == style.created
    made = (await place.post({"label": "c", "fragile": True}, who="manager")).body["box"]
    assert made["fragile"] is True
    assert (await place.update(made["id"], {"fragile": True})).status == 403


async def test_quotas_hold_in_a_crowd(client: Client, style: Style) -> None:
    """Sixty may be had: of eighty at once twenty are refused, and each that goes makes room for one."""
    place = await Place.of(client, samples(style)["shelf"])
    answers = await asyncio.gather(*(place.post({"name": f"shelf {at}"}) for at in range(80)))
    done = [answer for answer in answers if answer.status == style.created]
    assert len(done) == 60 and {answer.status for answer in answers} == {style.created, 409}
    assert (await client("DELETE", f"{place.path}/{done[0].body['shelf']['id']}")).status == 204
    assert (await place.post({"name": "one more"})).status == style.created
    assert (await place.post({"name": "too many"})).status == 409
    assert (await place.post({"name": "theirs"}, who="rival")).status == style.created


async def test_the_last_place_is_given_once(client: Client, style: Style) -> None:
    place = await Place.of(client, samples(style)["box"])
    shelf = place.path.rsplit("/", 1)[0]
    answer = await client(style.update, shelf, {"shelf": {"capacity": 5}})
    assert answer.status == 200, answer
    answers = await asyncio.gather(*(place.post({"label": str(at)}) for at in range(12)))
    assert sorted(answer.status for answer in answers) == sorted([style.created] * 5 + [409] * 7)
    assert len(await place.listed()) == 5


async def test_a_name_is_taken_once(client: Client, style: Style) -> None:
    place = await Place.of(client, samples(style)["shelf"])
    answers = await asyncio.gather(*(place.post({"name": "same"}) for _ in range(9)))
    assert sorted(answer.status for answer in answers) == sorted([style.created] + [409] * 8)


async def test_what_holds_something_stays(client: Client, style: Style) -> None:
    place = await Place.of(client, samples(style)["box"])
    made = await place.make()
    shelf = place.path.rsplit("/", 1)[0]
    assert (await client("DELETE", shelf)).status == 409
    await client("DELETE", f"{place.path}/{made['id']}")
    assert (await client("DELETE", shelf)).status == 204


async def test_a_box_is_found_on_its_own_shelf_only(client: Client, style: Style) -> None:
    place = await Place.of(client, samples(style)["box"])
    made = await place.make()
    other = await Place.of(client, samples(style)["shelf"])
    elsewhere = (await other.make(name="elsewhere"))["id"]
    wrong = f"{other.path}/{elsewhere}/boxes/{made['id']}"
    for method in ("GET", "DELETE"):
        assert (await client(method, wrong)).status == 404


async def test_tags(client: Client, style: Style) -> None:
    place = await Place.of(client, samples(style)["shelf"])
    made, other = await place.make(), await place.make()
    tags = f"{place.path}/{made['id']}/tags"
    assert (await client("PUT", tags, {"tags": ["a", "b", "a"]})).body == {"tags": ["a", "b"]}
    assert (await client("PUT", f"{tags}/c")).status == 201
    assert (await client("GET", f"{tags}/c")).status == 204
    assert (await client("DELETE", f"{tags}/c")).status == 204
    assert (await client("DELETE", f"{tags}/c")).status == 404
    assert [one["id"] for one in await place.listed("?tags=a,b")] == [made["id"]]
    assert [one["id"] for one in await place.listed("?not-tags-any=a")] == [other["id"]]
    for method, path in (("PUT", f"{tags}/d"), ("DELETE", tags), ("GET", tags)):
        assert (await client(method, path, who="rival")).status == 404
    assert (await client("PUT", f"{tags}/d", who="reader")).status == 403
    assert (await client("PUT", tags, {"tags": [str(at) for at in range(51)]})).status == 400
    assert (await client("DELETE", tags)).status == 204
    assert (await client("GET", tags)).body == {"tags": []}


async def test_two_changes_of_one_reading(client: Client, style: Style) -> None:
    """If-Match, where the style knows it: the second of two who read the same is told."""
    if not style.revisions:
        return
    place = await Place.of(client, samples(style)["shelf"])
    made = await place.make()
    read = {"If-Match": f"revision_number={made['revision_number']}"}
    assert (await place.update(made["id"], {"name": "first"}, headers=read)).status == 200
    assert (await place.update(made["id"], {"name": "second"}, headers=read)).status == 412
    bad = {"If-Match": "x"}
    assert (await place.update(made["id"], {"name": "third"}, headers=bad)).status == 400
    assert (await place.listed())[0]["name"] == "first"


async def test_a_broken_reply_is_seen(client: Client, style: Style) -> None:
    """The judge of answers can fail: a reply without a field, and one with a wrong type."""
    place = await Place.of(client, samples(style)["shelf"])
    made = await place.make()
    path = f"/sample{place.path}/{made['id']}"
    client.documents.judge("GET", path, "", 200, {"shelf": made})
    without = {name: value for name, value in made.items() if name != "capacity"}
    for broken in (without, {**made, "capacity": "ten"}, {**made, "name": None}):
        with pytest.raises(AssertionError):
            client.documents.judge("GET", path, "", 200, {"shelf": broken})
    with pytest.raises(AssertionError):
        client.documents.judge("GET", path, "", 202, {"shelf": made})
