"""Credentials and EC2 keys: who sees them, how they are kept, and tokens for signed requests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.identity.cloud import Cloud
from tests.identity.people import Tenant, admin, call, log_in

Json = dict[str, Any]


@pytest.fixture(scope="module")
def tenant(cloud: Cloud) -> Tenant:
    return Tenant(cloud, "keys")


@pytest.fixture(scope="module")
def people(tenant: Tenant) -> dict[str, str]:
    """Ids and tokens of two members and a service."""
    found: dict[str, str] = {}
    for name, role in (("one", "member"), ("two", "member"), ("service", "service")):
        found[name] = tenant.user(f"keys-{name}")
        tenant.give(found[name], role, "projects")
        found[f"{name} token"] = tenant.enter(found[name], "projects")
    return found


def new_key(cloud: Cloud, tenant: Tenant, people: dict[str, str], who: str = "one") -> Json:
    path = f"/users/{people[who]}/credentials/OS-EC2"
    reply = call(cloud, "POST", path, people[f"{who} token"], json={"tenant_id": tenant.project})
    assert reply.status_code == 201, reply.text
    return reply.json()["credential"]


def test_a_credential_is_its_owners_alone(
    cloud: Cloud, tenant: Tenant, people: dict[str, str]
) -> None:
    body = {"type": "totp", "blob": "a seed that nobody reads", "user_id": people["one"]}
    made = call(cloud, "POST", "/credentials", people["one token"], json={"credential": body})
    assert made.status_code == 201, made.text
    one = f"/credentials/{made.json()['credential']['id']}"
    shown = call(cloud, "GET", one, people["one token"]).json()["credential"]
    assert shown["blob"] == body["blob"] and shown["project_id"] is None
    for method, more in (
        ("GET", {}),
        ("PATCH", {"json": {"credential": {"blob": "x"}}}),
        ("DELETE", {}),
    ):
        assert call(cloud, method, one, people["two token"], **more).status_code == 403
    ids = [
        c["id"]
        for c in call(cloud, "GET", "/credentials", people["two token"]).json()["credentials"]
    ]
    assert ids == []
    body = {"type": "totp", "blob": "x", "user_id": people["one"]}
    stolen = call(cloud, "POST", "/credentials", people["two token"], json={"credential": body})
    assert stolen.status_code == 403
    found = call(cloud, "GET", f"/credentials?user_id={people['one']}", admin(cloud))
    assert shown["id"] in [c["id"] for c in found.json()["credentials"]]
    assert call(cloud, "DELETE", one, people["one token"]).status_code == 204


def test_what_it_holds_is_sealed_in_the_database(
    cloud: Cloud, tenant: Tenant, people: dict[str, str]
) -> None:
    key = new_key(cloud, tenant, people)
    with sqlite3.connect(cloud.state / "ingot.db") as db:
        blobs = [row[0] for row in db.execute("SELECT blob FROM identity_credentials")]
    assert blobs and not any(key["secret"] in blob or key["access"] in blob for blob in blobs)


def test_an_ec2_credential_says_what_it_is(
    cloud: Cloud, tenant: Tenant, people: dict[str, str]
) -> None:
    def make(**fields: Any) -> int:
        body = {"type": "ec2", "user_id": people["one"], **fields}
        reply = call(cloud, "POST", "/credentials", people["one token"], json={"credential": body})
        return reply.status_code

    pair = json.dumps({"access": "an-access-key", "secret": "its-secret"})
    assert make(blob=pair) == 400, "no project"
    assert make(blob="no JSON", project_id=tenant.project) == 400
    assert make(blob='{"access": "a"}', project_id=tenant.project) == 400
    assert make(blob=pair, project_id="nowhere") == 404
    assert make(blob=pair, project_id=tenant.project) == 201
    assert make(blob=pair, project_id=tenant.project) == 409
    path = f"/users/{people['one']}/credentials/OS-EC2/an-access-key"
    found = call(cloud, "GET", path, people["one token"]).json()["credential"]
    assert (found["access"], found["secret"]) == ("an-access-key", "its-secret")
    assert call(cloud, "DELETE", path, people["two token"]).status_code == 403
    assert call(cloud, "DELETE", path, people["one token"]).status_code == 204
    assert call(cloud, "GET", path, people["one token"]).status_code == 404


def version_2(key: Json, at: datetime, host: str = "cloud.example") -> Json:
    params = {
        "Action": "Describe Instances*",
        "AWSAccessKeyId": key["access"],
        "SignatureMethod": "HmacSHA256",
        "SignatureVersion": "2",
        "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    query = "&".join(f"{n}={quote(v, safe='-_.~')}" for n, v in sorted(params.items()))
    text = f"GET\n{host}\n/services/Cloud\n{query}".encode()
    made = base64.b64encode(hmac.digest(key["secret"].encode(), text, "sha256")).decode()
    return {
        "access": key["access"], "signature": made, "host": host, "verb": "GET",
        "path": "/services/Cloud", "params": {**params, "Signature": made}, "headers": {},
        "body_hash": "",
    }  # fmt: skip


def version_4(key: Json, at: datetime) -> Json:
    date, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    body_hash = hashlib.sha256(b"").hexdigest()
    asked = f"GET\n/bucket\nprefix=a%2Fb\nhost:s3.example\nx-amz-date:{date}\n\nhost;x-amz-date\n{body_hash}"
    scope = f"{day}/RegionOne/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    secret = f"AWS4{key['secret']}".encode()
    for word in scope.split("/"):
        secret = hmac.digest(secret, word.encode(), "sha256")
    made = hmac.digest(secret, text.encode(), "sha256").hex()
    told = f"AWS4-HMAC-SHA256 Credential={key['access']}/{scope}, SignedHeaders=host;x-amz-date, Signature={made}"
    return {
        "access": key["access"], "signature": made, "host": "s3.example", "verb": "GET",
        "path": "/bucket", "params": {"prefix": "a/b"}, "body_hash": body_hash,
        "headers": {"Host": "s3.example", "X-Amz-Date": date, "Authorization": told},
    }  # fmt: skip


def ask(cloud: Cloud, who: str, signed: Json) -> Any:
    return call(cloud, "POST", "/ec2tokens", who, json={"credentials": signed})


@pytest.mark.parametrize("sign", [version_2, version_4])
def test_a_token_for_a_signed_request(
    cloud: Cloud, tenant: Tenant, people: dict[str, str], sign: Any
) -> None:
    key, now = new_key(cloud, tenant, people), datetime.now(UTC)
    service = people["service token"]
    reply = ask(cloud, service, sign(key, now))
    assert reply.status_code == 200, reply.text
    body = reply.json()["token"]
    assert body["user"]["id"] == people["one"] and body["project"]["id"] == tenant.project
    assert body["methods"] == ["ec2credential"]
    token = reply.headers["X-Subject-Token"]
    assert call(cloud, "GET", f"/users/{people['one']}", token).status_code == 200
    for changed in (
        {"path": "/other"},
        {"verb": "POST"},
        {"signature": "AAAA"},
        {"access": "none"},
    ):
        assert ask(cloud, service, {**sign(key, now), **changed}).status_code == 401, changed
    assert ask(cloud, service, sign({**key, "secret": "guess"}, now)).status_code == 401
    for minutes in (-16, 16):
        old = sign(key, now + timedelta(minutes=minutes))
        assert ask(cloud, service, old).status_code == 401, minutes
    assert ask(cloud, people["two token"], sign(key, now)).status_code == 403, "services ask"
    assert ask(cloud, "", sign(key, now)).status_code == 401
    path = f"/users/{people['one']}/credentials/OS-EC2/{key['access']}"
    assert call(cloud, "DELETE", path, people["one token"]).status_code == 204
    assert ask(cloud, service, sign(key, now)).status_code == 401


def test_a_restricted_credential_gives_no_keys(
    cloud: Cloud, tenant: Tenant, people: dict[str, str]
) -> None:
    """An EC2 key made with an application credential would be worth more, and live longer."""
    tokens: dict[bool, str] = {}
    for free in (False, True):
        body = {
            "name": f"app-{free}",
            "unrestricted": free,
            "secret": "app-secret",
            "roles": [{"name": "reader"}],
        }
        path = f"/users/{people['two']}/application_credentials"
        made = call(cloud, "POST", path, people["two token"], json={"application_credential": body})
        shown = {"id": made.json()["application_credential"]["id"], "secret": "app-secret"}
        auth = {
            "identity": {"methods": ["application_credential"], "application_credential": shown}
        }
        tokens[free] = call(cloud, "POST", "/auth/tokens", "", json={"auth": auth}).headers[
            "X-Subject-Token"
        ]
    path = f"/users/{people['two']}/credentials/OS-EC2"
    for way in (path, "/credentials"):
        assert call(cloud, "GET", way, tokens[False]).status_code == 403
    key = call(cloud, "POST", path, tokens[True], json={"tenant_id": tenant.project}).json()[
        "credential"
    ]
    reply = ask(cloud, people["service token"], version_4(key, datetime.now(UTC)))
    assert [role["name"] for role in reply.json()["token"]["roles"]] == ["reader"]


def test_keys_end_with_their_user(cloud: Cloud, tenant: Tenant, people: dict[str, str]) -> None:
    user = tenant.user("keys-leaver")
    tenant.give(user, "member", "projects")
    people = {**people, "leaver": user, "leaver token": tenant.enter(user, "projects")}
    key = new_key(cloud, tenant, people, "leaver")
    signed = version_2(key, datetime.now(UTC))
    assert ask(cloud, people["service token"], signed).status_code == 200
    call(cloud, "PATCH", f"/users/{user}", admin(cloud), json={"user": {"enabled": False}})
    assert ask(cloud, people["service token"], signed).status_code == 401
    assert call(cloud, "DELETE", f"/users/{user}", admin(cloud)).status_code == 204
    assert log_in(cloud, user) == ""
    assert ask(cloud, people["service token"], signed).status_code == 401
