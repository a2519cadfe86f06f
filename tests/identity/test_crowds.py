"""Many at once on one thing of the Identity API: nothing that was accepted is lost, nothing is done twice, no 500."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.identity.cloud import Cloud, running
from tests.identity.people import Tenant, call, make, role

CLIENTS = 24
KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="module", params=KINDS)
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    database = ""
    if request.param == "postgres":
        database = request.getfixturevalue("postgres_server").create()
    with running(tmp_path_factory.mktemp("cloud"), database) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def tenant(cloud: Cloud) -> Tenant:
    return Tenant(cloud, "crowd")


def crowd(work: Callable[[int], requests.Response], clients: int = CLIENTS) -> Counter[int]:
    """The statuses of what so many did at once; never a 5xx."""
    with ThreadPoolExecutor(clients) as pool:
        statuses = Counter(reply.status_code for reply in pool.map(work, range(clients)))
    assert max(statuses) < 500, statuses
    return statuses


def test_tags_of_a_project(cloud: Cloud, tenant: Tenant) -> None:
    path = f"/projects/{tenant.project}/tags"
    told = crowd(lambda n: call(cloud, "PUT", f"{path}/t{n:02}", tenant.admin))
    assert told == {201: CLIENTS}
    tags = call(cloud, "GET", path, tenant.admin).json()["tags"]
    assert sorted(tags) == [f"t{n:02}" for n in range(CLIENTS)]
    told = crowd(lambda n: call(cloud, "DELETE", f"{path}/t{n // 2:02}", tenant.admin))
    assert told == {204: CLIENTS // 2, 404: CLIENTS // 2}, "each is taken away once"
    tags = call(cloud, "GET", path, tenant.admin).json()["tags"]
    assert sorted(tags) == [f"t{n:02}" for n in range(CLIENTS // 2, CLIENTS)]


@pytest.mark.parametrize("plural", ["users", "projects", "domains", "groups", "roles", "services"])
def test_attributes(cloud: Cloud, tenant: Tenant, plural: str) -> None:
    kind = plural[:-1]
    more: dict[str, Any] = {"type": "strange"} if kind == "service" else {}
    key = make(cloud, tenant.admin, plural, name=f"many-{kind}", **more)["id"]
    path = f"/{plural}/{key}"

    def change(n: int) -> requests.Response:
        return call(cloud, "PATCH", path, tenant.admin, json={kind: {f"a{n}": str(n)}})

    assert crowd(change) == {200: CLIENTS}
    shown = call(cloud, "GET", path, tenant.admin).json()[kind]
    lost = [n for n in range(CLIENTS) if shown.get(f"a{n}") != str(n)]
    assert lost == []


def test_one_name(cloud: Cloud, tenant: Tenant) -> None:
    for plural in ("users", "projects", "groups"):
        body = {plural[:-1]: {"name": "only-one", "domain_id": tenant.domain}}
        told = crowd(
            lambda _n, p=plural, b=body: call(cloud, "POST", f"/{p}", tenant.admin, json=b)
        )
        assert told == {201: 1, 409: CLIENTS - 1}, plural


def test_one_grant_given_and_taken(cloud: Cloud, tenant: Tenant) -> None:
    user_id, member = tenant.user("granted"), role(cloud, "member")
    path = f"/projects/{tenant.project}/users/{user_id}/roles/{member}"
    assert crowd(lambda _n: call(cloud, "PUT", path, tenant.admin)) == {204: CLIENTS}
    told = crowd(lambda _n: call(cloud, "DELETE", path, tenant.admin))
    assert told == {204: 1, 404: CLIENTS - 1}
    assert call(cloud, "HEAD", path, tenant.admin).status_code == 404
    mixed = crowd(lambda n: call(cloud, "PUT" if n % 2 else "DELETE", path, tenant.admin))
    assert set(mixed) <= {204, 404}


def test_many_grants(cloud: Cloud, tenant: Tenant) -> None:
    made = [make(cloud, tenant.admin, "roles", name=f"crowd-{n}")["id"] for n in range(CLIENTS)]
    place = f"/projects/{tenant.project}/users/{tenant.user('many')}/roles"
    assert crowd(lambda n: call(cloud, "PUT", f"{place}/{made[n]}", tenant.admin)) == {204: CLIENTS}
    roles = call(cloud, "GET", place, tenant.admin).json()["roles"]
    assert sorted(r["id"] for r in roles) == sorted(made)


def test_members_of_a_group(cloud: Cloud, tenant: Tenant) -> None:
    group, user_id = tenant.group("club"), tenant.user("clubber")
    path = f"/groups/{group}/users/{user_id}"
    assert crowd(lambda _n: call(cloud, "PUT", path, tenant.admin)) == {204: CLIENTS}
    told = crowd(lambda _n: call(cloud, "DELETE", path, tenant.admin))
    assert told == {204: 1, 404: CLIENTS - 1}
    others = [tenant.user(f"clubber-{n}") for n in range(CLIENTS)]
    told = crowd(lambda n: call(cloud, "PUT", f"/groups/{group}/users/{others[n]}", tenant.admin))
    assert told == {204: CLIENTS}
    listed = call(cloud, "GET", f"/groups/{group}/users", tenant.admin).json()["users"]
    assert sorted(u["id"] for u in listed) == sorted(others)


def test_who_is_deleted_meanwhile(cloud: Cloud, tenant: Tenant) -> None:
    """A grant, a membership or an application credential of somebody who goes: 404 or done, never left over."""
    for turn in range(3):
        user_id, group = tenant.user(f"goes-{turn}"), tenant.group(f"loses-{turn}")
        grant = f"/projects/{tenant.project}/users/{user_id}/roles/{role(cloud, 'reader')}"
        asked = [("DELETE", f"/users/{user_id}"), ("PUT", grant), ("PUT", f"/groups/{group}/users/{user_id}")]  # fmt: skip
        told = crowd(lambda n, a=asked: call(cloud, *a[n % 3], tenant.admin))
        assert set(told) <= {204, 404}
        query = f"/role_assignments?user.id={user_id}"
        assert call(cloud, "GET", query, tenant.admin).json()["role_assignments"] == []
        assert call(cloud, "GET", f"/groups/{group}/users", tenant.admin).json()["users"] == []


def test_a_project_below_one_that_goes(cloud: Cloud, tenant: Tenant) -> None:
    for turn in range(3):
        above = make(
            cloud, tenant.admin, "projects", name=f"above-{turn}", domain_id=tenant.domain
        )["id"]

        def act(n: int, above: str = above, turn: int = turn) -> requests.Response:
            if n % 4 == 0:
                return call(cloud, "DELETE", f"/projects/{above}", tenant.admin)
            body = {"project": {"name": f"below-{turn}-{n}", "parent_id": above}}
            return call(cloud, "POST", "/projects", tenant.admin, json=body)

        crowd(act)
        below = call(cloud, "GET", f"/projects?parent_id={above}", tenant.admin).json()["projects"]
        there = call(cloud, "GET", f"/projects/{above}", tenant.admin).status_code == 200
        assert there or not below, "orphans"


def test_roles_never_imply_each_other(cloud: Cloud, tenant: Tenant) -> None:
    for turn in range(3):
        one, two = (
            make(cloud, tenant.admin, "roles", name=f"circle-{turn}-{n}")["id"] for n in (1, 2)
        )
        pairs = [(one, two), (two, one)]

        def imply(n: int, pairs: list[tuple[str, str]] = pairs) -> requests.Response:
            prior, implied = pairs[n % 2]
            return call(cloud, "PUT", f"/roles/{prior}/implies/{implied}", tenant.admin)

        crowd(imply)
        found = [
            call(cloud, "HEAD", f"/roles/{a}/implies/{b}", tenant.admin).status_code == 204
            for a, b in pairs
        ]
        assert found.count(True) == 1


def test_passwords(cloud: Cloud, tenant: Tenant) -> None:
    """Of many who know the old password one changes it; the others' is not the old one any more."""
    user_id = tenant.user("changer")
    body = {"original_password": "old-pw"}

    def change(n: int) -> requests.Response:
        return call(
            cloud, "POST", f"/users/{user_id}/password", "",
            json={"user": {**body, "password": f"new-{n}"}},
        )  # fmt: skip

    assert crowd(change, 8)[204] == 1
