"""From a token's payload to what it means now: the one place that decides whether a token is good."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ingot.kit.auth.policy import Caller
from ingot.kit.db.database import when
from ingot.services.identity import grants, store, tables, trust_store
from ingot.services.identity.grants import RoleBook
from ingot.services.identity.tokens import Payload
from ingot.services.identity.types import Grant, Role, Scope

Row = dict[str, Any]


def resolve(
    conn: sa.Connection, content: Payload, book: RoleBook, now: datetime, token: str | None
) -> Grant | None:
    """The grant of a token; None when anything that it rests on is gone, disabled or revoked.

    Its time is the caller's matter.
    """
    seen: Seen = {}
    user = live_user(conn, content.user_id, seen)
    if user is None or user["generation"] != content.user_generation:
        return None
    if content.epoch < user["domain_ended"]:
        return None
    if store.is_revoked(conn, content.audit_ids[:1]):
        return None
    scope = Scope(content.scope_kind, content.scope_id)
    target: Row | None = None
    if scope.kind in ("project", "domain"):
        target = live_target(conn, scope, seen)
        if target is None or target["generation"] != content.scope_generation:
            return None
        if content.epoch < target["domain_ended"]:
            return None
    giver, trust = user, None
    if content.trust_id:
        found = _trusted(conn, content, scope, now)
        if found is None:
            return None
        trust, trustor, giver = found
        user = trustor if trust["impersonation"] else user
    held = grants.held_roles(conn, giver["id"], scope, target) if scope.kind else {}
    roles = book.expand(held)
    if trust is not None:
        given = {role.id for role in book.expand(trust["role_ids"])}
        # A trust is good for all of its roles or, as upstream, for nothing.
        if not given <= {role.id for role in roles}:
            return None
        roles = tuple(role for role in roles if role.id in given)
    app_cred: Row | None = None
    if content.app_cred_id:
        app_cred = store.get(conn, tables.application_credentials, content.app_cred_id)
        if app_cred is None or app_cred_expired(app_cred, now):
            return None
        kept = {role.id for role in book.expand(app_cred["role_ids"])}
        roles = tuple(role for role in roles if role.id in kept)
    if scope.kind and not _lives(book, held, roles, content.epoch):
        return None
    return Grant(
        user=user,
        scope=scope,
        target=target,
        roles=roles,
        methods=content.method_names,
        audit_ids=content.audit_ids,
        issued_at=content.issued_at,
        expires_at=content.expires_at,
        application_credential=app_cred,
        trust=trust,
        caller=_caller(content, user, scope, target, roles, app_cred, token),
    )


def _trusted(
    conn: sa.Connection, content: Payload, scope: Scope, now: datetime
) -> tuple[Row, Row, Row] | None:
    """The trust of a token, its trustor, and the user at the beginning of its chain, whose roles count; all alive."""
    trust = trust_store.get(conn, content.trust_id, now)
    if trust is None or trust["trustee_user_id"] != content.user_id:
        return None
    if scope.kind != "project" or scope.id != trust["project_id"]:
        return None
    trustor = live_user(conn, trust["trustor_user_id"])
    if trustor is None or trustor["generation"] != content.trustor_generation:
        return None
    if content.epoch < trustor["domain_ended"]:
        return None
    first = trust_store.root(conn, trust)
    giver = live_user(conn, first["trustor_user_id"]) if first else None
    return None if giver is None else (trust, trustor, giver)


def _lives(book: RoleBook, held: Mapping[str, int], roles: tuple[Role, ...], epoch: int) -> bool:
    """Whether one of the roles has been held since before the token: one that was taken and given back wakes none."""
    kept = {role.id for role in roles}
    return any(
        since <= epoch and any(role.id in kept for role in book.expand([key]))
        for key, since in held.items()
    )


def standing(conn: sa.Connection, book: RoleBook, caller: Caller) -> Caller | None:
    """What somebody would be, who logged in now for the scope that `caller` has; None when they could not."""
    seen: Seen = {}
    user = live_user(conn, caller.user_id or "", seen)
    scope = Scope()
    if caller.project_id or caller.domain_id:
        kind = "project" if caller.project_id else "domain"
        scope = Scope(kind, caller.project_id or caller.domain_id or "")
    elif caller.system:
        scope = Scope("system", "all")
    target = live_target(conn, scope, seen) if scope.kind in ("project", "domain") else None
    if user is None or (target is None and scope.kind in ("project", "domain")):
        return None
    held = grants.held_roles(conn, user["id"], scope, target) if scope.kind else {}
    roles = book.expand(held)
    return _who(user, scope, target, roles) if roles else None


#: Projects and domains that were read for one decision, by id: a user and a project are often of one domain.
Seen = dict[str, Row | None]


def _place(conn: sa.Connection, key: str, seen: Seen | None) -> Row | None:
    if seen is None:
        return store.get(conn, tables.projects, key)
    if key not in seen:
        seen[key] = store.get(conn, tables.projects, key)
    return seen[key]


def live_user(conn: sa.Connection, user_id: str, seen: Seen | None = None) -> Row | None:
    """An enabled user of an enabled domain, with `domain_name`."""
    user = store.get(conn, tables.users, user_id)
    if user is None or not user["enabled"]:
        return None
    domain = _place(conn, user["domain_id"], seen)
    if domain is None or not domain["enabled"]:
        return None
    return {**user, "domain_name": domain["name"], "domain_ended": domain["ended"]}


def live_target(conn: sa.Connection, scope: Scope, seen: Seen | None = None) -> Row | None:
    """The enabled project (of an enabled domain, with `domain_name`) or domain of a scope."""
    target = _place(conn, scope.id, seen)
    if target is None or not target["enabled"]:
        return None
    if target["is_domain"]:
        return {**target, "domain_ended": target["ended"]} if scope.kind == "domain" else None
    if scope.kind != "project":
        return None
    domain = _place(conn, target["domain_id"], seen)
    if domain is None or not domain["enabled"]:
        return None
    return {**target, "domain_name": domain["name"], "domain_ended": domain["ended"]}


def app_cred_expired(app_cred: Row, now: datetime) -> bool:
    end = when(app_cred["expires_at"])
    return end is not None and end <= now


def _caller(
    content: Payload,
    user: Row,
    scope: Scope,
    target: Row | None,
    roles: tuple[Role, ...],
    app_cred: Row | None,
    token: str | None,
) -> Caller:
    return dataclasses.replace(
        _who(user, scope, target, roles),
        audit_id=content.audit_ids[0],
        token=token,
        extra={
            "expires_at": content.expires_at,
            "role_ids": tuple(role.id for role in roles),
            "application_credential_id": content.app_cred_id or None,
            "trust_id": content.trust_id or None,
            "unrestricted": app_cred is None or bool(app_cred["unrestricted"]),
        },
    )


def _who(user: Row, scope: Scope, target: Row | None, roles: tuple[Role, ...]) -> Caller:
    project = target if scope.kind == "project" else None
    return Caller(
        user_id=user["id"],
        user_name=user["name"],
        user_domain_id=user["domain_id"],
        project_id=project["id"] if project else None,
        project_name=project["name"] if project else None,
        project_domain_id=project["domain_id"] if project else None,
        domain_id=scope.id if scope.kind == "domain" else None,
        system=scope.kind == "system",
        roles=frozenset(role.name.lower() for role in roles),
    )
