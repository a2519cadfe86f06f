"""Small things in which the Identity API is what Keystone is."""

from __future__ import annotations

import dataclasses

import pytest
import requests

from tests.identity.cloud import Cloud
from tests.identity.people import Tenant, call, log_in, make


@pytest.fixture(scope="module")
def tenant(cloud: Cloud) -> Tenant:
    return Tenant(cloud, "Details")


def test_names_of_domains_are_the_same_in_any_case(cloud: Cloud, tenant: Tenant) -> None:
    user_id = tenant.user("cased")
    tenant.give(user_id, "member", "projects")
    for spelt in ("Details", "details", "DETAILS"):
        user = {"name": "cased", "domain": {"name": spelt}, "password": "old-pw"}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "Details-place", "domain": {"name": spelt}}},
        }
        reply = requests.post(
            f"{cloud.url}/identity/v3/auth/tokens", json={"auth": auth}, timeout=10
        )
        assert reply.status_code == 201, spelt
        found = call(cloud, "GET", f"/domains?name={spelt}", tenant.admin).json()["domains"]
        assert [d["name"] for d in found] == ["Details"]
    body = {"domain": {"name": "DETAILS"}}
    assert call(cloud, "POST", "/domains", tenant.admin, json=body).status_code == 409
    other = make(cloud, tenant.admin, "domains", name="other-domain")["id"]
    assert call(cloud, "PATCH", f"/domains/{other}", tenant.admin, json=body).status_code == 409
    path = f"/domains/{tenant.domain}"
    assert call(cloud, "PATCH", path, tenant.admin, json={"domain": {"name": "details"}}).ok
    assert call(cloud, "PATCH", path, tenant.admin, json={"domain": {"name": "Details"}}).ok


def test_a_domains_role_at_domains(cloud: Cloud, tenant: Tenant) -> None:
    elsewhere = make(cloud, tenant.admin, "domains", name="role-home")["id"]
    role = make(cloud, tenant.admin, "roles", name="local", domain_id=elsewhere)["id"]
    user_id = tenant.user("far-role")
    for place, status in (
        (f"/domains/{tenant.domain}", 204),
        (f"/projects/{tenant.project}", 403),
    ):
        path = f"{place}/users/{user_id}/roles/{role}"
        assert call(cloud, "PUT", path, tenant.admin).status_code == status, place


def test_the_end_of_an_application_credential(cloud: Cloud, tenant: Tenant) -> None:
    user_id = tenant.user("has-keys")
    tenant.give(user_id, "member", "projects")
    body = {"application_credential": {"name": "k", "expires_at": "2099-02-03T04:05:06"}}
    path = f"/users/{user_id}/application_credentials"
    made = call(cloud, "POST", path, tenant.enter(user_id, "projects"), json=body)
    told = made.json()["application_credential"]["expires_at"]
    assert told == "2099-02-03T04:05:06.000000"
    for end in ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"):
        body["application_credential"]["expires_at"] = end
        refused = call(cloud, "POST", path, tenant.enter(user_id, "projects"), json=body)
        assert refused.status_code == 400 and "expires_at" in refused.text


def test_a_region_of_the_old_style_is_made(cloud: Cloud, tenant: Tenant) -> None:
    service = make(cloud, tenant.admin, "services", type="strange-one", name="x")["id"]
    new = {"service_id": service, "interface": "public", "url": "http://x.example"}
    body = {"endpoint": {**new, "region_id": "nowhere"}}
    assert call(cloud, "POST", "/endpoints", tenant.admin, json=body).status_code == 400
    body = {"endpoint": {**new, "region": "somewhere"}}
    reply = call(cloud, "POST", "/endpoints", tenant.admin, json=body)
    assert reply.status_code == 201
    assert reply.json()["endpoint"]["region_id"] == "somewhere"
    assert call(cloud, "GET", "/regions/somewhere", tenant.admin).status_code == 200


def test_ones_own_revoked_token_is_not_there(cloud: Cloud, tenant: Tenant) -> None:
    user_id = tenant.user("twice-in")
    one, two = log_in(cloud, user_id), log_in(cloud, user_id)
    headers = {"X-Subject-Token": two}
    assert call(cloud, "DELETE", "/auth/tokens", one, headers=headers).status_code == 204
    for verb in ("GET", "HEAD", "DELETE"):
        assert call(cloud, verb, "/auth/tokens", one, headers=headers).status_code == 404


def test_what_a_deleted_project_leaves_is_told(cloud: Cloud, tenant: Tenant) -> None:
    """Without the refusal that is usual, it goes as in Keystone; an event says what has no owner now."""
    identity = cloud.identity
    project_id = make(cloud, tenant.admin, "projects", name="used")["id"]
    cloud.held[project_id] = {"servers": 2, "machines": 0}
    path = f"/projects/{project_id}"
    kept = dataclasses.replace(identity.settings, keep_used_projects=True)
    identity.settings, before = kept, identity.settings
    try:
        refused = call(cloud, "DELETE", path, tenant.admin)
        assert refused.status_code == 409 and "2 servers" in refused.text
        assert call(cloud, "GET", path, tenant.admin).status_code == 200
    finally:
        identity.settings = before
    assert call(cloud, "DELETE", path, tenant.admin).status_code == 204
    headers = {"X-Auth-Token": tenant.admin}
    url = f"{cloud.url}/timeline/v1/events?subject=project:{project_id}"
    (event,) = requests.get(url, headers=headers, timeout=10).json()["events"]
    assert event["severity"] == "warning"
    assert event["title"] == "Project used was deleted; it leaves 2 servers without an owner"
