"""Trusts: what a trustee may do by one, and everything that ends it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.identity.cloud import Cloud
from tests.identity.people import SECRET, Json, Tenant, admin, call


class Pair:
    """A trustor with the role member in a project, and a trustee without any right."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self.cloud, self.tenant = cloud, Tenant(cloud, name)
        self.trustor, self.trustee = self.tenant.user(f"{name}-or"), self.tenant.user(f"{name}-ee")
        self.grant = self.tenant.give(self.trustor, "member", "projects")
        self.token = self.tenant.enter(self.trustor, "projects")

    def ask(self, who: str = "", **fields: Any) -> requests.Response:
        body: Json = {
            "trustor_user_id": self.trustor, "trustee_user_id": self.trustee,
            "project_id": self.tenant.project, "impersonation": True, "roles": [{"name": "member"}],
        }  # fmt: skip
        return call(
            self.cloud,
            "POST",
            "/OS-TRUST/trusts",
            who or self.token,
            json={"trust": {**body, **fields}},
        )

    def make(self, **fields: Any) -> Json:
        reply = self.ask(**fields)
        assert reply.status_code == 201, reply.text
        return reply.json()["trust"]

    def enter(self, trust_id: str, user_id: str = "") -> requests.Response:
        who = {"id": user_id or self.trustee, "password": SECRET}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": who}},
            "scope": {"OS-TRUST:trust": {"id": trust_id}},
        }
        return call(self.cloud, "POST", "/auth/tokens", "", json={"auth": auth})

    def token_of(self, trust_id: str) -> str:
        reply = self.enter(trust_id)
        assert reply.status_code == 201, reply.text
        return reply.headers["X-Subject-Token"]

    def lives(self, token: str) -> bool:
        return call(self.cloud, "GET", "/auth/catalog", token).status_code == 200


@pytest.fixture(scope="module")
def pair(cloud: Cloud) -> Pair:
    return Pair(cloud, "trusts")


@pytest.mark.parametrize("impersonation", [True, False])
def test_a_token_of_a_trust(cloud: Cloud, pair: Pair, impersonation: bool) -> None:
    trust = pair.make(impersonation=impersonation)
    reply = pair.enter(trust["id"])
    assert reply.status_code == 201, reply.text
    body = reply.json()["token"]
    assert body["user"]["id"] == (pair.trustor if impersonation else pair.trustee)
    assert body["project"]["id"] == pair.tenant.project
    assert {role["name"] for role in body["roles"]} == {"member", "reader"}
    told = body["OS-TRUST:trust"]
    assert told["id"] == trust["id"] and told["impersonation"] is impersonation
    assert len(reply.headers["X-Subject-Token"]) < 255
    assert pair.enter(trust["id"], pair.trustor).status_code == 401, "it is the trustee's"


def test_it_gives_no_more_than_was_given(cloud: Cloud, pair: Pair) -> None:
    trust = pair.make(roles=[{"name": "reader"}])
    token = pair.token_of(trust["id"])
    shown = call(cloud, "GET", "/auth/tokens", token, headers={"X-Subject-Token": token})
    assert [role["name"] for role in shown.json()["token"]["roles"]] == ["reader"]
    assert pair.ask(roles=[{"name": "admin"}]).status_code == 404
    assert pair.ask(roles=[]).status_code == 403
    assert pair.ask(trustor_user_id=pair.trustee).status_code == 403
    assert pair.ask(trustee_user_id="nobody").status_code == 404
    assert pair.ask(expires_at="2001-01-01T00:00:00Z").status_code == 400
    # No way from a trust to something that lasts longer, or is worth more.
    auth = {"identity": {"methods": ["token"], "token": {"id": token}}}
    assert call(cloud, "POST", "/auth/tokens", "", json={"auth": auth}).status_code == 403
    path = f"/users/{pair.trustor}/application_credentials"
    body = {"application_credential": {"name": "longer"}}
    assert call(cloud, "POST", path, token, json=body).status_code == 403
    path = f"/users/{pair.trustor}/credentials/OS-EC2"
    assert (
        call(cloud, "POST", path, token, json={"tenant_id": pair.tenant.project}).status_code == 403
    )
    assert call(cloud, "GET", "/credentials", token).status_code == 403
    assert pair.ask(token).status_code == 403, "it must not be passed on"


def test_who_sees_a_trust(cloud: Cloud, pair: Pair) -> None:
    trust = pair.make()
    one = f"/OS-TRUST/trusts/{trust['id']}"
    stranger = pair.tenant.token("member", "projects")
    assert call(cloud, "GET", one, pair.token).json()["trust"]["roles"][0]["name"] == "member"
    assert call(cloud, "GET", one, admin(cloud)).status_code == 200
    for way in (one, f"{one}/roles"):
        assert call(cloud, "GET", way, stranger).status_code == 404
    assert call(cloud, "DELETE", one, stranger).status_code == 404
    assert call(cloud, "GET", "/OS-TRUST/trusts", stranger).status_code == 403
    mine = f"/OS-TRUST/trusts?trustor_user_id={pair.trustor}"
    assert call(cloud, "GET", mine, stranger).status_code == 403
    listed = call(cloud, "GET", mine, pair.token).json()["trusts"]
    assert trust["id"] in [row["id"] for row in listed]
    token = pair.token_of(pair.make(impersonation=False)["id"])
    assert call(cloud, "GET", one, token).status_code == 200, "the trustee"
    assert call(cloud, "DELETE", one, token).status_code == 403


def test_uses_are_counted(cloud: Cloud, pair: Pair) -> None:
    trust = pair.make(remaining_uses=2)
    tokens = [pair.token_of(trust["id"]) for _ in range(2)]
    assert pair.enter(trust["id"]).status_code == 401
    assert all(pair.lives(token) for token in tokens)
    assert call(cloud, "GET", f"/OS-TRUST/trusts/{trust['id']}", pair.token).status_code == 404


def test_its_time_is_its_tokens_time(cloud: Cloud, pair: Pair) -> None:
    end = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S")
    trust = pair.make(expires_at=f"{end}Z")
    assert trust["expires_at"] == f"{end}.000000Z"
    assert pair.enter(trust["id"]).json()["token"]["expires_at"] == f"{end}.000000Z"


def test_it_is_passed_on_as_far_as_it_says(cloud: Cloud, pair: Pair) -> None:
    trust = pair.make(allow_redelegation=True, redelegation_count=1)
    token = pair.token_of(trust["id"])
    third = pair.tenant.user("trusts-third")
    assert pair.ask(token, trustee_user_id=third, remaining_uses=1).status_code == 403
    made = pair.ask(token, trustee_user_id=third, roles=[{"name": "reader"}])
    assert made.status_code == 201, made.text
    child = made.json()["trust"]
    assert child["redelegated_trust_id"] == trust["id"] and child["redelegation_count"] == 0
    entered = pair.enter(child["id"], third)
    last = entered.headers["X-Subject-Token"]
    assert [role["name"] for role in entered.json()["token"]["roles"]] == ["reader"]
    assert pair.ask(last).status_code == 403
    assert call(cloud, "DELETE", f"/OS-TRUST/trusts/{trust['id']}", pair.token).status_code == 204
    assert not pair.lives(token) and not pair.lives(last)
    assert pair.enter(child["id"], third).status_code == 401


@pytest.mark.parametrize(
    "end", ["trust", "role", "trustor off", "trustee off", "password", "trustor", "project"]
)
def test_what_ends_it(cloud: Cloud, end: str) -> None:
    pair = Pair(cloud, f"ends-{end.replace(' ', '-')}")
    trust, who = pair.make(), admin(cloud)
    token = pair.token_of(trust["id"])
    assert pair.lives(token)
    off = {"user": {"enabled": False}}
    method, path, body = {
        "trust": ("DELETE", f"/OS-TRUST/trusts/{trust['id']}", None),
        "role": ("DELETE", pair.grant, None),
        "trustor off": ("PATCH", f"/users/{pair.trustor}", off),
        "trustee off": ("PATCH", f"/users/{pair.trustee}", off),
        "password": ("PATCH", f"/users/{pair.trustor}", {"user": {"password": "another"}}),
        "trustor": ("DELETE", f"/users/{pair.trustor}", None),
        "project": ("DELETE", f"/projects/{pair.tenant.project}", None),
    }[end]
    assert call(cloud, method, path, who, json=body).status_code in (200, 204)
    assert not pair.lives(token)
    # A new password of the trustor ends tokens; what they entrusted stays.
    assert pair.enter(trust["id"]).status_code == (201 if end == "password" else 401)
