"""The first start: domain, roles, projects and users, and the clouds.yaml that opens them."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.auth.keyfiles import write_private
from ingot.kit.db.database import Database
from ingot.services.identity import grants, store, tables
from ingot.services.identity.passwords import Passwords
from ingot.services.identity.types import DEFAULT_DOMAIN, Bootstrap

ROLES = ("admin", "manager", "member", "reader", "service")
_IMPLIES = (("admin", "manager"), ("manager", "member"), ("member", "reader"))
_PROJECTS = {
    "admin": "Bootstrap project of the administrator.",
    "demo": "A plain tenant to try things with.",
    "service": "Where services of others get their users.",
}


async def bootstrap(
    db: Database, passwords: Passwords, region: str, admin_password: str | None, renew: bool
) -> Bootstrap:
    """Make what is missing; leave the rest alone.

    Passwords of existing users stay, unless `renew` is set or another `admin_password` is given.
    """
    before = await db.read(_people)
    new_admin = _password(before.get("admin"), admin_password, renew)
    if admin_password is not None and before.get("admin") is not None and not renew:
        known = before["admin"]["password_hash"]
        new_admin = None if await passwords.verify(admin_password, known) else admin_password
    new_demo = _password(before.get("demo"), None, renew)
    hashes = {
        name: await passwords.hash(password)
        for name, password in (("admin", new_admin), ("demo", new_demo))
        if password is not None
    }
    made = await db.write(lambda conn: _lay(conn, hashes, region))
    return Bootstrap(admin_password=new_admin, demo_password=new_demo, **made)


def _password(user: dict[str, Any] | None, given: str | None, renew: bool) -> str | None:
    """The new password; None when the old one stays."""
    if user is not None and not renew:
        return None
    return given or secrets.token_urlsafe(18)


def _people(conn: sa.Connection) -> dict[str, dict[str, Any]]:
    found = (
        store.by_name(conn, tables.users, name, domain_id=DEFAULT_DOMAIN)
        for name in ("admin", "demo")
    )
    return {user["name"]: user for user in found if user is not None}


def _lay(conn: sa.Connection, hashes: dict[str, str], region: str) -> dict[str, str]:
    if store.get(conn, tables.projects, DEFAULT_DOMAIN) is None:
        values = {
            "id": DEFAULT_DOMAIN,
            "name": "Default",
            "is_domain": True,
            "description": "The default domain",
        }
        store.insert(conn, tables.projects, values, "domain")
    if store.get(conn, tables.regions, region) is None:
        store.insert(conn, tables.regions, {"id": region}, "region")
    roles = {name: _role(conn, name) for name in ROLES}
    for prior, implied in _IMPLIES:
        grants.set_implied(conn, roles[prior], roles[implied], True)
    projects = {name: _project(conn, name, text) for name, text in _PROJECTS.items()}
    users = {
        name: _user(conn, name, projects[name], hashes.get(name)) for name in ("admin", "demo")
    }
    for user, kind, target, role in (
        ("admin", "project", projects["admin"], "admin"),
        ("admin", "system", "all", "admin"),
        ("demo", "project", projects["demo"], "member"),
    ):
        grants.add(conn, grants.Assignment("user", users[user], kind, target, roles[role]))
    store.touch(conn)
    return {
        "admin_user_id": users["admin"],
        "admin_project_id": projects["admin"],
        "demo_user_id": users["demo"],
        "demo_project_id": projects["demo"],
        "service_project_id": projects["service"],
    }


def _role(conn: sa.Connection, name: str) -> str:
    known = store.by_name(conn, tables.roles, name, domain_id="")
    if known is not None:
        return known["id"]
    key = ids.new_hex()
    store.insert(conn, tables.roles, {"id": key, "name": name}, "role")
    return key


def _project(conn: sa.Connection, name: str, text: str) -> str:
    known = store.by_name(conn, tables.projects, name, domain_id=DEFAULT_DOMAIN, is_domain=False)
    if known is not None:
        return known["id"]
    values = {
        "id": ids.new_hex(),
        "name": name,
        "domain_id": DEFAULT_DOMAIN,
        "parent_id": DEFAULT_DOMAIN,
        "description": text,
    }
    store.insert(conn, tables.projects, values, "project")
    return values["id"]


def _user(conn: sa.Connection, name: str, project_id: str, password_hash: str | None) -> str:
    known = store.by_name(conn, tables.users, name, domain_id=DEFAULT_DOMAIN)
    if known is not None:
        if password_hash is not None:
            changed = {"password_hash": password_hash, "enabled": True}
            store.update(conn, tables.users, known["id"], changed, "user")
            store.end_tokens_of(conn, tables.users, known["id"])
        return known["id"]
    key = ids.new_hex()
    values = {
        "id": key,
        "name": name,
        "domain_id": DEFAULT_DOMAIN,
        "password_hash": password_hash,
        "default_project_id": project_id,
    }
    store.insert(conn, tables.users, values, "user")
    return key


def write_clouds_yaml(
    path: Path,
    auth_url: str,
    *,
    admin_password: str,
    demo_password: str,
    region: str = "RegionOne",
    cacert: str = "",
) -> None:
    """Write clouds `ingot`, `ingot-system` and `ingot-demo` (file mode 0600, replaced as a whole).

    auth_url: the identity service's root, such as http://127.0.0.1:6385/identity. cacert: file with the
    certificates that clients trust; "" for those of their host.
    """

    def cloud(user: str, password: str, **scope: str) -> dict[str, Any]:
        auth = {
            "auth_url": auth_url,
            "username": user,
            "password": password,
            "user_domain_name": "Default",
            **scope,
        }
        trusted = {"cacert": cacert} if cacert else {}
        return {"auth": auth, **trusted, "region_name": region, "identity_api_version": 3}

    def project(name: str) -> dict[str, str]:
        return {"project_name": name, "project_domain_name": "Default"}

    clouds = {
        "ingot": cloud("admin", admin_password, **project("admin")),
        "ingot-system": cloud("admin", admin_password, system_scope="all"),
        "ingot-demo": cloud("demo", demo_password, **project("demo")),
    }
    import yaml  # only once in the life of a cloud

    write_private(path, yaml.safe_dump({"clouds": clouds}, sort_keys=False).encode())
