"""What managers and readers of one domain can do to people of another, and read of them: nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.identity.cloud import Cloud, running
from tests.identity.people import Tenant, call

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
def own(cloud: Cloud) -> Tenant:
    return Tenant(cloud, "own")


@pytest.fixture(scope="module")
def manager(own: Tenant) -> str:
    return own.token("manager", "domains")


def test_strangers_are_not_taken_into_groups(cloud: Cloud, own: Tenant, manager: str) -> None:
    group, stranger = own.group("crew"), cloud.bootstrap.admin_user_id
    member = own.user("hired")
    for user_id, status in ((stranger, 403), ("missing", 403), (member, 204)):
        path = f"/groups/{group}/users/{user_id}"
        assert call(cloud, "PUT", path, manager).status_code == status, user_id
    # An administrator may put anybody anywhere; the manager neither sees the stranger there nor takes them out.
    assert call(cloud, "PUT", f"/groups/{group}/users/{stranger}", own.admin).status_code == 204
    listed = call(cloud, "GET", f"/groups/{group}/users", manager).json()["users"]
    assert [user["id"] for user in listed] == [member]
    for verb in ("HEAD", "DELETE"):
        path = f"/groups/{group}/users/{stranger}"
        assert call(cloud, verb, path, manager).status_code == 403
    missing = f"/groups/{group}/users/missing"
    assert call(cloud, "PUT", missing, own.admin).status_code == 404


def test_groups_of_others_are_not_seen_through_a_member(
    cloud: Cloud, own: Tenant, manager: str
) -> None:
    rival, member = Tenant(cloud, "rival"), own.user("borrowed")
    group = rival.group("theirs")
    assert call(cloud, "PUT", f"/groups/{group}/users/{member}", own.admin).status_code == 204
    path = f"/users/{member}/groups"
    assert call(cloud, "GET", path, manager).json()["groups"] == []
    assert [g["id"] for g in call(cloud, "GET", path, own.admin).json()["groups"]] == [group]


@pytest.mark.parametrize("column", ["password_hash", "generation", "extra", "secret_hash"])
@pytest.mark.parametrize("word", ["", "__startswith", "__contains", "__icontains", "__endswith"])
def test_nothing_is_found_by_what_is_not_shown(
    cloud: Cloud, own: Tenant, manager: str, column: str, word: str
) -> None:
    """A filter on a hidden column must make no difference, whatever it compares with."""
    group = next(
        (g["id"] for g in call(cloud, "GET", "/groups?name=seen", manager).json()["groups"]), ""
    ) or own.group("seen")
    lists = {
        f"/groups/{group}/users": "users",
        "/users": "users",
        "/groups": "groups",
        "/projects": "projects",
        "/auth/projects": "projects",
        "/roles": "roles",
    }
    for path, plural in lists.items():
        whole = call(cloud, "GET", path, manager).json()[plural]
        for text in ("$s", "x", "", "0"):
            asked = call(cloud, "GET", path, manager, params={column + word: text})
            assert asked.status_code == 200, asked.text
            assert asked.json()[plural] == whole, (path, column, text)


def test_the_administrators_hash_is_not_found_by_comparison(
    cloud: Cloud, own: Tenant, manager: str
) -> None:
    """As it was read on 2026-11-29, letter by letter, from a group of one's own."""
    group = own.group("trap")
    assert (
        call(
            cloud, "PUT", f"/groups/{group}/users/{cloud.bootstrap.admin_user_id}", own.admin
        ).status_code
        == 204
    )
    path = f"/groups/{group}/users"
    for who in (manager, own.admin):
        answers = {
            text: len(
                call(cloud, "GET", path, who, params={"password_hash__startswith": text}).json()[
                    "users"
                ]
            )
            for text in ("$s", "$S", "%", "nothing")
        }
        assert len(set(answers.values())) == 1, answers


def test_comparisons_mean_the_same_on_both_databases(cloud: Cloud, own: Tenant) -> None:
    for name in ("Case-One", "case-two", "100%_case"):
        own.group(name)

    def found(**query: str) -> list[str]:
        reply = call(cloud, "GET", "/groups", own.admin, params={**query, "domain_id": own.domain})
        return sorted(g["name"] for g in reply.json()["groups"] if "ase" in g["name"])

    assert found(name="case-one") == []
    assert found(name__startswith="case") == ["case-two"]
    assert found(name__istartswith="CASE") == ["Case-One", "case-two"]
    assert found(name__contains="Case") == ["Case-One"]
    assert found(name__icontains="Case") == ["100%_case", "Case-One", "case-two"]
    assert found(name__contains="%_") == ["100%_case"]
    assert found(name__endswith="-one") == []
    assert found(name__iendswith="-one") == ["Case-One"]
    assert found(name__endswith="a-name-longer-than-each-case-two") == []
    assert found(name__contains="") == ["100%_case", "Case-One", "case-two"]
    assert found(name__unknown="x") == ["100%_case", "Case-One", "case-two"]


def test_unknown_parameters_are_ignored(cloud: Cloud, own: Tenant) -> None:
    for plural in ("users", "groups", "projects", "domains", "roles", "services", "endpoints"):
        whole = call(cloud, "GET", f"/{plural}", own.admin).json()[plural]
        asked = call(cloud, "GET", f"/{plural}?bogus=1&enabled__contains=1", own.admin)
        assert asked.status_code == 200, asked.text
        assert asked.json()[plural] == whole
        assert whole
