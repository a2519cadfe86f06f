"""Endpoints of projects, options of domains, regions by PUT, projects that act as domains."""

from __future__ import annotations

import sqlite3

import pytest

from tests.identity.cloud import Cloud
from tests.identity.people import Json, Tenant, call


@pytest.fixture(scope="module")
def tenant(cloud: Cloud) -> Tenant:
    return Tenant(cloud, "filters")


@pytest.fixture(scope="module")
def manager(tenant: Tenant) -> str:
    """The token of a manager of the tenant's domain."""
    return tenant.token("manager", "domains")


def types(cloud: Cloud, token: str) -> list[str]:
    """The types of the services in a token's catalogue that have endpoints."""
    found = call(cloud, "GET", "/auth/catalog", token).json()["catalog"]
    return sorted(service["type"] for service in found)


def test_a_catalogue_has_what_was_given_to_the_project(cloud: Cloud, tenant: Tenant) -> None:
    who, admin = tenant.token("member", "projects"), tenant.admin
    assert types(cloud, who) == ["identity", "image"], "nothing was said"
    services = call(cloud, "GET", "/services?type=image", admin).json()["services"]
    image = services[0]["id"]
    endpoints = call(cloud, "GET", f"/endpoints?service_id={image}", admin).json()["endpoints"]
    base = f"/OS-EP-FILTER/projects/{tenant.project}"
    one = f"{base}/endpoints/{endpoints[0]['id']}"
    assert call(cloud, "GET", one, admin).status_code == 404
    for method in ("PUT", "GET", "DELETE"):
        assert call(cloud, method, one, who).status_code == 403, method
    assert call(cloud, "PUT", one, admin).status_code == 204
    assert call(cloud, "PUT", one, admin).status_code == 204
    assert call(cloud, "HEAD", one, admin).status_code == 204
    assert types(cloud, who) == ["image"]
    listed = call(cloud, "GET", f"{base}/endpoints", admin).json()["endpoints"]
    assert [row["id"] for row in listed] == [endpoints[0]["id"]]
    path = f"/OS-EP-FILTER/endpoints/{endpoints[0]['id']}/projects"
    projects = call(cloud, "GET", path, admin).json()["projects"]
    assert [row["id"] for row in projects] == [tenant.project]
    assert call(cloud, "DELETE", one, admin).status_code == 204
    assert call(cloud, "DELETE", one, admin).status_code == 404
    assert types(cloud, who) == ["identity", "image"]
    for path in (
        f"{base}/endpoints/nothing",
        "/OS-EP-FILTER/projects/nothing/endpoints/" + endpoints[0]["id"],
    ):
        assert call(cloud, "PUT", path, admin).status_code == 404


def test_an_endpoint_group_filters(cloud: Cloud, tenant: Tenant) -> None:
    who, admin = tenant.token("reader", "projects"), tenant.admin
    groups = "/OS-EP-FILTER/endpoint_groups"

    def make(filters: Json) -> int:
        body = {"endpoint_group": {"name": "g", "filters": filters}}
        return call(cloud, "POST", groups, admin, json=body).status_code

    assert make({"url": "http://x"}) == 400
    image = call(cloud, "GET", "/services?type=image", admin).json()["services"][0]["id"]
    body = {
        "endpoint_group": {"name": "g", "filters": {"service_id": image, "interface": "public"}}
    }
    made = call(cloud, "POST", groups, admin, json=body).json()["endpoint_group"]
    one = f"{groups}/{made['id']}"
    assert call(cloud, "GET", one, admin).json()["endpoint_group"] == made
    assert call(cloud, "GET", one, who).status_code == 403
    found = call(cloud, "GET", f"{one}/endpoints", admin).json()["endpoints"]
    assert [(row["service_id"], row["interface"]) for row in found] == [(image, "public")]
    member = f"{one}/projects/{tenant.project}"
    assert call(cloud, "GET", member, admin).status_code == 404
    assert call(cloud, "PUT", member, admin).status_code == 204
    assert call(cloud, "GET", member, admin).json()["endpoint_group"]["id"] == made["id"]
    assert types(cloud, who) == ["image"]
    listed = call(cloud, "GET", f"{one}/projects", admin).json()["projects"]
    assert [row["id"] for row in listed] == [tenant.project]
    path = f"/OS-EP-FILTER/projects/{tenant.project}/endpoint_groups"
    assert [row["id"] for row in call(cloud, "GET", path, admin).json()["endpoint_groups"]] == [
        made["id"]
    ]
    change = {"endpoint_group": {"filters": {"interface": "admin"}}}
    assert call(cloud, "PATCH", one, admin, json=change).status_code == 200
    assert types(cloud, who) == ["identity", "image"]
    assert call(cloud, "DELETE", one, admin).status_code == 204
    assert call(cloud, "GET", member, admin).status_code == 404


def test_options_of_a_domain(cloud: Cloud, tenant: Tenant, manager: str) -> None:
    admin, config = tenant.admin, f"/domains/{tenant.domain}/config"
    assert call(cloud, "GET", config, admin).status_code == 404
    first = {"ldap": {"url": "ldap://x", "password": "of-the-ldap"}, "identity": {"driver": "ldap"}}
    made = call(cloud, "PUT", config, admin, json={"config": first})
    shown = {"ldap": {"url": "ldap://x"}, "identity": {"driver": "ldap"}}
    assert made.status_code == 201 and made.json()["config"] == shown
    assert call(cloud, "GET", config, admin).json()["config"] == shown
    assert call(cloud, "GET", f"{config}/ldap", admin).json()["config"] == {"ldap": shown["ldap"]}
    assert call(cloud, "GET", f"{config}/ldap/url", admin).json()["config"] == {"url": "ldap://x"}
    assert call(cloud, "GET", f"{config}/ldap/password", admin).status_code == 404
    with sqlite3.connect(cloud.state / "ingot.db") as db:
        rows = [row[0] for row in db.execute("SELECT value FROM identity_domain_options")]
    assert len(rows) == 3 and not any("of-the-ldap" in row for row in rows)
    change = {"config": {"url": "ldap://y"}}
    assert call(cloud, "PATCH", f"{config}/ldap/url", admin, json=change).status_code == 200
    assert call(cloud, "GET", config, admin).json()["config"]["ldap"] == {"url": "ldap://y"}
    assert call(cloud, "PUT", config, admin, json={"config": first}).status_code == 200
    for bad in ({}, {"sql": {"a": 1}}, {"ldap": {"nonsense": 1}}, {"ldap": 3}, {"ldap": {}}):
        assert call(cloud, "PUT", config, admin, json={"config": bad}).status_code in (400, 403), (
            bad
        )
    assert call(cloud, "DELETE", f"{config}/identity", admin).status_code == 204
    assert call(cloud, "GET", f"{config}/identity", admin).status_code == 404
    assert call(cloud, "GET", config, manager).status_code == 403
    assert call(cloud, "DELETE", config, admin).status_code == 204
    assert call(cloud, "DELETE", config, admin).status_code == 404
    known = call(cloud, "GET", "/domains/config/default", admin).json()["config"]
    assert set(known) == {"identity", "ldap"} and "password" not in known["ldap"]
    found = call(cloud, "GET", "/domains/config/identity/driver/default", admin).json()["config"]
    assert found == {"driver": None}


def test_a_region_of_a_chosen_id(cloud: Cloud, tenant: Tenant) -> None:
    body = {"region": {"description": "d"}}
    made = call(cloud, "PUT", "/regions/RegionNine", tenant.admin, json=body)
    assert made.status_code == 201 and made.json()["region"]["id"] == "RegionNine"
    assert call(cloud, "PUT", "/regions/RegionNine", tenant.admin, json=body).status_code == 409
    other = {"region": {"id": "RegionTen"}}
    assert call(cloud, "PUT", "/regions/RegionNine", tenant.admin, json=other).status_code == 400
    who = tenant.token("manager", "projects")
    assert call(cloud, "PUT", "/regions/RegionEight", who, json=body).status_code == 403


def test_a_project_that_acts_as_a_domain(cloud: Cloud, tenant: Tenant, manager: str) -> None:
    admin = tenant.admin
    body = {"project": {"name": "acting", "is_domain": True}}
    inside = {"project": {**body["project"], "domain_id": tenant.domain}}
    assert call(cloud, "POST", "/projects", admin, json=inside).status_code == 400
    who = manager
    assert call(cloud, "POST", "/projects", who, json=body).status_code == 403
    made = call(cloud, "POST", "/projects", admin, json=body)
    assert made.status_code == 201, made.text
    project = made.json()["project"]
    assert project["is_domain"] and project["domain_id"] is None and project["parent_id"] is None
    assert call(cloud, "POST", "/projects", admin, json=body).status_code == 409
    domain = call(cloud, "GET", f"/domains/{project['id']}", admin).json()["domain"]
    assert domain["name"] == "acting"
    own = f"/projects/{tenant.domain}"
    assert call(cloud, "PATCH", own, who, json={"project": {"name": "mine"}}).status_code == 403
    assert call(cloud, "DELETE", own, who).status_code == 403
    one = f"/projects/{project['id']}"
    assert call(cloud, "DELETE", one, admin).status_code == 403, "it is enabled"
    off = call(cloud, "PATCH", one, admin, json={"project": {"enabled": False}})
    assert off.status_code == 200 and off.json()["project"]["enabled"] is False
    assert call(cloud, "DELETE", one, admin).status_code == 204
    assert call(cloud, "GET", f"/domains/{project['id']}", admin).status_code == 404
