"""Users of several domains, and the shortest way to ask as one of them."""

from __future__ import annotations

from typing import Any

import requests

from tests.identity.cloud import Cloud

Json = dict[str, Any]
SECRET = "old-pw"


def call(cloud: Cloud, method: str, path: str, who: str, **more: Any) -> requests.Response:
    """`path` is below /identity/v3."""
    headers = {"X-Auth-Token": who, **more.pop("headers", {})}
    url = f"{cloud.url}/identity/v3{path}"
    return requests.request(method, url, headers=headers, timeout=30, **more)


def log_in(cloud: Cloud, user_id: str, scope: Json | None = None, secret: str = SECRET) -> str:
    """A token; empty when there is none to be had."""
    who = {"id": user_id, "password": secret}
    auth: Json = {"identity": {"methods": ["password"], "password": {"user": who}}}
    if scope is not None:
        auth["scope"] = scope
    reply = requests.post(f"{cloud.url}/identity/v3/auth/tokens", json={"auth": auth}, timeout=30)
    return reply.headers["X-Subject-Token"] if reply.status_code == 201 else ""


def admin(cloud: Cloud) -> str:
    """The administrator's token."""
    secret = cloud.bootstrap.admin_password or ""
    scope = {"project": {"id": cloud.bootstrap.admin_project_id}}
    return log_in(cloud, cloud.bootstrap.admin_user_id, scope, secret)


def make(cloud: Cloud, who: str, plural: str, **fields: Any) -> Json:
    name = plural[:-1]
    reply = call(cloud, "POST", f"/{plural}", who, json={name: fields})
    assert reply.status_code == 201, reply.text
    return reply.json()[name]


def role(cloud: Cloud, name: str) -> str:
    return call(cloud, "GET", f"/roles?name={name}", admin(cloud)).json()["roles"][0]["id"]


class Tenant:
    """A domain with a project and a user for each role that is asked for: on the domain, and on the project."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self.cloud, self.name = cloud, name
        self.admin = admin(cloud)
        self.domain = make(cloud, self.admin, "domains", name=name)["id"]
        self.project = make(
            cloud, self.admin, "projects", name=f"{name}-place", domain_id=self.domain
        )["id"]

    def user(self, name: str = "") -> str:
        """The id of a new user without any role."""
        fields = {"name": name or f"{self.name}-user", "password": SECRET}
        return make(self.cloud, self.admin, "users", domain_id=self.domain, **fields)["id"]

    def group(self, name: str) -> str:
        return make(self.cloud, self.admin, "groups", name=name, domain_id=self.domain)["id"]

    def give(self, user_id: str, name: str, place: str) -> str:
        """Give a role; gives the grant's path. place: `domains` or `projects`."""
        key = self.domain if place == "domains" else self.project
        path = f"/{place}/{key}/users/{user_id}/roles/{role(self.cloud, name)}"
        assert call(self.cloud, "PUT", path, self.admin).status_code == 204
        return path

    def token(self, name: str, place: str) -> str:
        """A token of a new user with this role on the domain or the project."""
        user_id = self.user(f"{self.name}-{place}-{name}")
        self.give(user_id, name, place)
        return self.enter(user_id, place)

    def enter(self, user_id: str, place: str) -> str:
        key = self.domain if place == "domains" else self.project
        return log_in(self.cloud, user_id, {place[:-1]: {"id": key}})
