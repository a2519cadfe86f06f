"""The Identity API by plain HTTP: errors, discovery, revocation, what stock clients seldom show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.identity.cloud import Cloud

Json = dict[str, Any]


def password(cloud: Cloud, user: str = "admin", **scope: Any) -> Json:
    secret = cloud.bootstrap.admin_password if user == "admin" else cloud.bootstrap.demo_password
    who = {"name": user, "domain": {"id": "default"}, "password": secret}
    auth: Json = {"identity": {"methods": ["password"], "password": {"user": who}}}
    if scope:
        auth["scope"] = scope
    return {"auth": auth}


def project(name: str) -> Json:
    return {"name": name, "domain": {"name": "Default"}}


def post(cloud: Cloud, body: Any, query: str = "") -> requests.Response:
    return requests.post(f"{cloud.url}/identity/v3/auth/tokens{query}", json=body, timeout=10)


def token(cloud: Cloud, user: str = "admin", **scope: Any) -> str:
    reply = post(cloud, password(cloud, user, **(scope or {"project": project(user)})))
    assert reply.status_code == 201, reply.text
    return reply.headers["X-Subject-Token"]


def call(cloud: Cloud, method: str, path: str, who: str, **more: Any) -> requests.Response:
    headers = {"X-Auth-Token": who, **more.pop("headers", {})}
    url = f"{cloud.url}/identity/v3{path}"
    return requests.request(method, url, headers=headers, timeout=10, **more)


def message(reply: requests.Response) -> str:
    """The envelope is complete in every error."""
    error = reply.json()["error"]
    assert error["code"] == reply.status_code
    assert error["title"]
    return error["message"]


def test_discovery(cloud: Cloud) -> None:
    for path in ("", "/"):
        reply = requests.get(f"{cloud.url}/identity{path}", timeout=10)
        assert reply.status_code == 300
        version = reply.json()["versions"]["values"][0]
        assert version["media-types"][0]["type"] == "application/vnd.openstack.identity-v3+json"
    stale = {"X-Auth-Token": "long gone"}
    reply = requests.get(f"{cloud.url}/identity/v3/", headers=stale, timeout=10)
    assert reply.status_code == 200
    assert reply.json()["version"]["status"] == "stable"
    assert reply.json()["version"]["links"][0]["href"] == f"{cloud.url}/identity/v3/"


def test_token_body(cloud: Cloud) -> None:
    reply = post(cloud, password(cloud, project=project("admin")))
    body = reply.json()["token"]
    assert body["expires_at"].endswith(".000000Z")
    assert body["issued_at"].endswith(".000000Z")
    assert {role["name"] for role in body["roles"]} == {"admin", "manager", "member", "reader"}
    assert body["project"]["domain"] == {"id": "default", "name": "Default"}
    urls = {s["type"]: s["endpoints"][0]["url"] for s in body["catalog"]}
    assert urls == {"identity": f"{cloud.url}/identity", "image": f"{cloud.url}/image"}
    assert "catalog" not in post(cloud, password(cloud), "?nocatalog").json()["token"]


def test_the_catalogue_follows_the_address(cloud: Cloud) -> None:
    headers = {"Host": "cloud.example:8080"}
    reply = call(cloud, "GET", "/auth/catalog", token(cloud), headers=headers)
    assert reply.json()["catalog"][0]["endpoints"][0]["url"] == "http://cloud.example:8080/identity"


def test_scopes(cloud: Cloud) -> None:
    system = post(cloud, password(cloud, system={"all": True})).json()["token"]
    assert system["system"] == {"all": True}
    unscoped = post(cloud, password(cloud, unscoped={})).json()["token"]
    assert "roles" not in unscoped
    assert "project" not in unscoped
    default = post(cloud, password(cloud)).json()["token"]
    assert default["project"]["name"] == "admin", "the user's default project"
    for refused in (
        {"project": project("service")},
        {"project": {"id": "nowhere"}},
        {"domain": {"id": "default"}},
    ):
        assert post(cloud, password(cloud, **refused)).status_code == 401
    assert post(cloud, password(cloud, "demo", system={"all": True})).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"auth": {}},
        {"auth": {"identity": {"methods": []}}},
        {"auth": {"identity": {"methods": ["password"]}}},
        {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": 7}}}}},
        {"auth": {"identity": {"methods": ["token"], "token": {"id": 5}}}},
        {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {"user": {"id": "x", "password": "x"}},
                },
                "scope": {"project": {"id": "a"}, "domain": {"id": "b"}},
            }
        },
    ],
)
def test_bad_requests(cloud: Cloud, body: Json) -> None:
    reply = post(cloud, body)
    assert reply.status_code in (400, 401), reply.text
    message(reply)


def test_one_answer_for_all_that_is_wrong(cloud: Cloud) -> None:
    """Nobody learns whether the user, the project or the password was wrong."""
    wrong = password(cloud)
    wrong["auth"]["identity"]["password"]["user"]["password"] = "wrong"
    unknown = password(cloud)
    unknown["auth"]["identity"]["password"]["user"]["name"] = "nobody"
    texts = {
        message(post(cloud, wrong)),
        message(post(cloud, unknown)),
        message(post(cloud, password(cloud, project={"id": "nowhere"}))),
    }
    assert len(texts) == 1
    texts.add(message(call(cloud, "GET", "/users", "gAAAAnonsense")))
    texts.add(message(call(cloud, "GET", "/users", "")))
    assert len(texts) == 3  # each says what to do next
    assert all(t.startswith("The request you have made requires authentication.") for t in texts)


def test_oversize_and_deep_bodies(cloud: Cloud) -> None:
    reply = requests.post(f"{cloud.url}/identity/v3/auth/tokens", data=b"[" * 100_000, timeout=10)
    assert reply.status_code == 400
    reply = post(cloud, {"auth": {"x": "a" * 200_000}})
    assert reply.status_code == 413
    message(reply)


def test_validate_and_revoke(cloud: Cloud) -> None:
    admin, subject = token(cloud), token(cloud, "demo")
    own = {"X-Subject-Token": subject}
    assert call(cloud, "GET", "/auth/tokens", admin, headers=own).status_code == 200
    assert call(cloud, "GET", "/auth/tokens", subject, headers=own).status_code == 200
    assert call(cloud, "HEAD", "/auth/tokens", subject, headers=own).status_code == 200
    foreign = {"X-Subject-Token": admin}
    assert call(cloud, "GET", "/auth/tokens", subject, headers=foreign).status_code == 403
    assert call(cloud, "DELETE", "/auth/tokens", subject, headers=foreign).status_code == 403
    assert call(cloud, "DELETE", "/auth/tokens", subject, headers=own).status_code == 204
    assert call(cloud, "GET", "/auth/tokens", admin, headers=own).status_code == 404
    assert call(cloud, "GET", "/auth/projects", subject).status_code == 401


def test_rescoping_keeps_the_end(cloud: Cloud) -> None:
    first = post(cloud, password(cloud, unscoped={}))
    auth = {
        "identity": {"methods": ["token"], "token": {"id": first.headers["X-Subject-Token"]}},
        "scope": {"system": {"all": True}},
    }
    second = post(cloud, {"auth": auth}).json()["token"]
    assert second["expires_at"] == first.json()["token"]["expires_at"]
    assert second["audit_ids"][1] == first.json()["token"]["audit_ids"][0]
    assert second["methods"] == ["password", "token"]


def make(cloud: Cloud, admin: str, plural: str, **fields: Any) -> Json:
    name = plural[:-1]
    reply = call(cloud, "POST", f"/{plural}", admin, json={name: fields})
    assert reply.status_code == 201, reply.text
    return reply.json()[name]


def user_with(cloud: Cloud, admin: str, name: str, role: str = "member") -> tuple[Json, Json, str]:
    """A user with a role in a project of their own, and a token for it."""
    place = make(cloud, admin, "projects", name=f"{name}-place")
    user = make(cloud, admin, "users", name=name, password="old-pw")
    found = call(cloud, "GET", f"/roles?name={role}", admin).json()["roles"][0]["id"]
    path = f"/projects/{place['id']}/users/{user['id']}/roles/{found}"
    assert call(cloud, "PUT", path, admin).status_code == 204
    return user, place, log_in(cloud, user["id"], place["id"])


def log_in(cloud: Cloud, user_id: str, project_id: str, secret: str = "old-pw") -> str:
    who = {"id": user_id, "password": secret}
    auth = {
        "identity": {"methods": ["password"], "password": {"user": who}},
        "scope": {"project": {"id": project_id}},
    }
    reply = post(cloud, {"auth": auth})
    return reply.headers["X-Subject-Token"] if reply.status_code == 201 else ""


def alive(cloud: Cloud, who: str) -> bool:
    return call(cloud, "GET", "/auth/projects", who).status_code == 200


def test_a_password_change_ends_tokens(cloud: Cloud) -> None:
    admin = token(cloud)
    user, place, old = user_with(cloud, admin, "changer")
    path = f"/users/{user['id']}/password"
    wrong = {"user": {"password": "new-pw", "original_password": "no"}}
    assert call(cloud, "POST", path, old, json=wrong).status_code == 401
    right = {"user": {"password": "new-pw", "original_password": "old-pw"}}
    assert call(cloud, "POST", path, old, json=right).status_code == 204
    assert not alive(cloud, old)
    assert not log_in(cloud, user["id"], place["id"])
    assert alive(cloud, log_in(cloud, user["id"], place["id"], "new-pw"))


def test_disabling_ends_tokens_for_good(cloud: Cloud) -> None:
    admin = token(cloud)
    user, place, first = user_with(cloud, admin, "switched")
    for path, name in ((f"/users/{user['id']}", "user"), (f"/projects/{place['id']}", "project")):
        before = log_in(cloud, user["id"], place["id"])
        assert alive(cloud, before)
        assert call(cloud, "PATCH", path, admin, json={name: {"enabled": False}}).ok
        assert not alive(cloud, before)
        assert not log_in(cloud, user["id"], place["id"])
        assert call(cloud, "PATCH", path, admin, json={name: {"enabled": True}}).ok
        assert not alive(cloud, before), "enabling does not bring old tokens back"
    assert not alive(cloud, first)


def test_a_role_taken_back_counts_at_once(cloud: Cloud) -> None:
    admin = token(cloud)
    user, place, held = user_with(cloud, admin, "demoted")
    assert alive(cloud, held)
    role = call(cloud, "GET", "/roles?name=member", admin).json()["roles"][0]["id"]
    path = f"/projects/{place['id']}/users/{user['id']}/roles/{role}"
    assert call(cloud, "DELETE", path, admin).status_code == 204
    assert not alive(cloud, held)
    assert call(cloud, "DELETE", path, admin).status_code == 404


def test_groups_and_inheritance_give_roles(cloud: Cloud) -> None:
    admin = token(cloud)
    user, _place, _held = user_with(cloud, admin, "grouped")
    group = make(cloud, admin, "groups", name="crew")
    other = make(cloud, admin, "projects", name="other-place")
    below = make(cloud, admin, "projects", name="below", parent_id=other["id"])
    role = call(cloud, "GET", "/roles?name=reader", admin).json()["roles"][0]["id"]
    path = f"/OS-INHERIT/projects/{other['id']}/groups/{group['id']}/roles/{role}"
    assert call(cloud, "PUT", path + "/inherited_to_projects", admin).status_code == 204
    member = f"/groups/{group['id']}/users/{user['id']}"
    assert call(cloud, "PUT", member, admin).status_code == 204
    assert not log_in(cloud, user["id"], other["id"]), "inherited below, not at the project itself"
    assert alive(cloud, log_in(cloud, user["id"], below["id"]))
    query = f"/role_assignments?effective&user.id={user['id']}&scope.project.id={below['id']}"
    found = call(cloud, "GET", query, admin).json()["role_assignments"]
    assert [item["role"]["id"] for item in found] == [role]
    assert found[0]["links"]["membership"].endswith(member)
    assert call(cloud, "DELETE", member, admin).status_code == 204
    assert not log_in(cloud, user["id"], below["id"])


def test_application_credentials(cloud: Cloud) -> None:
    admin = token(cloud)
    user, _place, held = user_with(cloud, admin, "robot-owner")
    path = f"/users/{user['id']}/application_credentials"

    def new(**fields: Any) -> requests.Response:
        body = {"application_credential": fields}
        return call(cloud, "POST", path, held, json=body)

    def enter(made: Json) -> requests.Response:
        shown = {"id": made["id"], "secret": made["secret"]}
        methods = ["application_credential"]
        return post(
            cloud, {"auth": {"identity": {"methods": methods, "application_credential": shown}}}
        )

    made = new(name="robot", roles=[{"name": "reader"}]).json()["application_credential"]
    body = enter(made)
    assert body.status_code == 201
    assert [role["name"] for role in body.json()["token"]["roles"]] == ["reader"]
    assert body.json()["token"]["application_credential"]["restricted"] is True
    robot = body.headers["X-Subject-Token"]
    # Restricted: it makes no others. Not the owner's roles: no admin. Not another's.
    reply = call(cloud, "POST", path, robot, json={"application_credential": {"name": "x"}})
    assert reply.status_code == 403
    assert new(name="boss", roles=[{"name": "admin"}]).status_code == 400
    assert new(name="robot").status_code == 409
    assert new(name="late", expires_at="2020-01-01T00:00:00Z").status_code == 400
    assert new(name="narrow", access_rules=[{"path": "/v2.1/servers"}]).status_code == 400
    foreign = f"/users/{cloud.bootstrap.demo_user_id}/application_credentials"
    assert call(cloud, "GET", foreign, held).status_code == 403
    # Its deletion ends its tokens; so does the owner's loss of the role.
    assert alive(cloud, robot)
    assert call(cloud, "DELETE", f"{path}/{made['id']}", held).status_code == 204
    assert not alive(cloud, robot)
    assert enter(made).status_code == 401


def test_a_token_ends_with_its_application_credential(cloud: Cloud) -> None:
    """As Keystone has it: who looks at the token is told when it will stop to work."""
    admin = token(cloud)
    user, _place, held = user_with(cloud, admin, "short-robot-owner")
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
    body = {"application_credential": {"name": "short", "expires_at": end.isoformat()}}
    path = f"/users/{user['id']}/application_credentials"
    made = call(cloud, "POST", path, held, json=body).json()["application_credential"]
    shown = {"id": made["id"], "secret": made["secret"]}
    methods = ["application_credential"]
    entered = post(
        cloud, {"auth": {"identity": {"methods": methods, "application_credential": shown}}}
    )
    assert entered.json()["token"]["expires_at"] == f"{end:%Y-%m-%dT%H:%M:%S}.000000Z"
    again = {
        "identity": {"methods": ["token"], "token": {"id": entered.headers["X-Subject-Token"]}}
    }
    told = post(cloud, {"auth": again}).json()["token"]["expires_at"]
    assert told == entered.json()["token"]["expires_at"]


def test_conflicts_and_guards(cloud: Cloud) -> None:
    admin = token(cloud)
    make(cloud, admin, "users", name="twice")
    reply = call(cloud, "POST", "/users", admin, json={"user": {"name": "twice"}})
    assert reply.status_code == 409
    assert "twice" in message(reply)
    assert call(cloud, "POST", "/users", admin, json={"user": {"name": 5}}).status_code == 400
    assert call(cloud, "POST", "/users", admin, json={"user": {}}).status_code == 400
    for path in ("/users/none", "/projects/none", "/roles/none", "/domains/none", "/groups/none"):
        assert call(cloud, "GET", path, admin).status_code == 404
    demo = token(cloud, "demo")
    assert call(cloud, "GET", "/users/none", demo).status_code == 403, (
        "not told whether it is there"
    )
    default = {"domain": {"enabled": False}}
    assert call(cloud, "PATCH", "/domains/default", admin, json=default).status_code == 403
    domain = make(cloud, admin, "domains", name="gone")
    assert call(cloud, "DELETE", f"/domains/{domain['id']}", admin).status_code == 403
    role = call(cloud, "GET", "/roles?name=admin", admin).json()["roles"][0]["id"]
    assert call(cloud, "DELETE", f"/roles/{role}", admin).status_code == 403
    service = call(cloud, "GET", "/services?type=image", admin).json()["services"][0]["id"]
    assert call(cloud, "DELETE", f"/services/{service}", admin).status_code == 403


def test_a_domain_goes_with_all_in_it(cloud: Cloud) -> None:
    admin = token(cloud)
    domain = make(cloud, admin, "domains", name="tenants")
    place = make(cloud, admin, "projects", name="p", domain_id=domain["id"])
    user = make(cloud, admin, "users", name="u", domain_id=domain["id"], password="old-pw")
    role = call(cloud, "GET", "/roles?name=manager", admin).json()["roles"][0]["id"]
    grant = f"/domains/{domain['id']}/users/{user['id']}/roles/{role}"
    assert call(cloud, "PUT", grant, admin).status_code == 204
    auth = {
        "identity": {
            "methods": ["password"],
            "password": {"user": {"id": user["id"], "password": "old-pw"}},
        },
        "scope": {"domain": {"id": domain["id"]}},
    }
    manager = post(cloud, {"auth": auth}).headers["X-Subject-Token"]
    # A manager of a domain sees and makes users there, and nowhere else.
    seen = call(cloud, "GET", "/users", manager).json()["users"]
    assert [item["id"] for item in seen] == [user["id"]]
    assert make(cloud, manager, "users", name="hired")["domain_id"] == domain["id"]
    outside = {"user": {"name": "x", "domain_id": "default"}}
    assert call(cloud, "POST", "/users", manager, json=outside).status_code == 403
    path = f"/domains/{domain['id']}"
    assert call(cloud, "PATCH", path, admin, json={"domain": {"enabled": False}}).ok
    assert call(cloud, "DELETE", path, admin).status_code == 204
    for left in (f"/projects/{place['id']}", f"/users/{user['id']}"):
        assert call(cloud, "GET", left, admin).status_code == 404


def test_who_may_read_roles(cloud: Cloud) -> None:
    """Managers of a domain may (to assign them), managers of a project may not."""
    admin = token(cloud)
    _user, _place, held = user_with(cloud, admin, "overseer", "manager")
    assert call(cloud, "GET", "/roles", held).status_code == 403
    assert call(cloud, "GET", "/role_assignments", held).status_code == 403
