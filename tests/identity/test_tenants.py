"""What managers and readers of one domain can do to people of another, and read of them: nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.identity.cloud import Cloud, running
from tests.identity.people import Tenant, call, log_in

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


def lives(cloud: Cloud, who: str) -> bool:
    return call(cloud, "GET", "/auth/catalog", who).status_code == 200


def test_a_role_that_is_given_back_wakes_no_old_token(cloud: Cloud, own: Tenant) -> None:
    user_id = own.user("comes-back")
    grant = own.give(user_id, "member", "projects")
    old = own.enter(user_id, "projects")
    assert lives(cloud, old)
    assert call(cloud, "PUT", grant, own.admin).status_code == 204, "once more is no harm"
    assert lives(cloud, old)
    assert call(cloud, "DELETE", grant, own.admin).status_code == 204
    assert call(cloud, "PUT", grant, own.admin).status_code == 204
    assert not lives(cloud, old)
    assert lives(cloud, own.enter(user_id, "projects"))


def test_one_role_of_two_keeps_the_token(cloud: Cloud, own: Tenant) -> None:
    user_id = own.user("has-two")
    grant = own.give(user_id, "member", "projects")
    own.give(user_id, "reader", "projects")
    old = own.enter(user_id, "projects")
    for verb in ("DELETE", "PUT"):
        assert call(cloud, verb, grant, own.admin).status_code == 204
        assert lives(cloud, old)


def test_a_group_that_one_comes_back_to_wakes_no_old_token(cloud: Cloud, own: Tenant) -> None:
    user_id, group = own.user("leaves-the-group"), own.group("come-and-go")
    roles = call(cloud, "GET", "/roles?name=member", own.admin).json()["roles"]
    grant = f"/projects/{own.project}/groups/{group}/roles/{roles[0]['id']}"
    member = f"/groups/{group}/users/{user_id}"
    for path in (grant, member):
        assert call(cloud, "PUT", path, own.admin).status_code == 204
    for path in (grant, member):
        old = own.enter(user_id, "projects")
        assert lives(cloud, old)
        for verb in ("DELETE", "PUT"):
            assert call(cloud, verb, path, own.admin).status_code == 204
        assert not lives(cloud, old), path


def test_a_domain_that_is_enabled_again_wakes_no_old_token(cloud: Cloud) -> None:
    place, other = Tenant(cloud, "sleeps"), Tenant(cloud, "beside")
    guest = other.user("guest")
    member = call(cloud, "GET", "/roles?name=member", place.admin).json()["roles"][0]["id"]
    grant = f"/projects/{place.project}/users/{guest}/roles/{member}"
    assert call(cloud, "PUT", grant, place.admin).status_code == 204
    tokens = [
        place.token("member", "projects"),
        place.token("manager", "domains"),
        log_in(cloud, guest, {"project": {"id": place.project}}),  # comes from elsewhere
        log_in(cloud, place.user("unscoped")),
    ]
    mine = other.token("member", "projects")
    assert all(lives(cloud, who) for who in [*tokens, mine])
    for enabled in (False, True):
        body = {"domain": {"enabled": enabled}}
        assert call(cloud, "PATCH", f"/domains/{place.domain}", place.admin, json=body).ok
    assert [lives(cloud, who) for who in tokens] == [False] * 4
    assert lives(cloud, mine)


def test_a_foreign_parent_is_as_one_that_is_not_there(
    cloud: Cloud, own: Tenant, manager: str
) -> None:
    other = Tenant(cloud, "elsewhere")
    for parent in (other.project, other.domain, "missing"):
        body = {"project": {"name": "below", "parent_id": parent}}
        reply = call(cloud, "POST", "/projects", manager, json=body)
        assert reply.status_code == 404 and parent in reply.text, parent
    body = {"project": {"name": "below", "parent_id": own.project}}
    assert call(cloud, "POST", "/projects", manager, json=body).status_code == 201
