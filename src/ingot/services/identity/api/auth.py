"""Tokens on the wire, and what a token may see: catalogue, projects, domains, system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.db.database import timestamp
from ingot.kit.faults import Missing
from ingot.services.identity import endpoint_store, grants, schemas, store, tables
from ingot.services.identity.api.catalogue import all_endpoints
from ingot.services.identity.api.common import (
    MAX_BODY,
    filters,
    listing,
    moment,
    whole_seconds,
)
from ingot.services.identity.api.domains import domain_body
from ingot.services.identity.api.projects import PROJECT_FLAGS, PROJECTS_BY, project_body
from ingot.services.identity.catalogue import own_services, render
from ingot.services.identity.login import claimed, log_in
from ingot.services.identity.types import Grant

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

from ingot.services.identity.api.common import Row


def operations(identity: Identity, prefix: str) -> list[Operation]:
    api = TokenApi(identity, prefix)
    token = "/v3/auth/tokens"
    return [
        Operation(
            "POST",
            token,
            api.issue,
            rule=None,
            body=schemas.AuthRequest,
            status=201,
            max_body=MAX_BODY,
        ),
        Operation("GET", token, api.validate, rule="identity:validate_token", late=True),
        Operation("HEAD", token, api.check, rule="identity:check_token", late=True),
        Operation("DELETE", token, api.revoke, rule="identity:revoke_token", late=True, status=204),
        Operation("GET", "/v3/auth/catalog", api.catalog, rule="identity:get_auth_catalog"),
        Operation("GET", "/v3/auth/projects", api.projects, rule="identity:get_auth_projects"),
        Operation("GET", "/v3/auth/domains", api.domains, rule="identity:get_auth_domains"),
        Operation("GET", "/v3/auth/system", api.system, rule="identity:get_auth_system"),
    ]


class TokenApi:
    """Handlers of tokens, and how a token is shown."""

    def __init__(self, identity: Identity, prefix: str) -> None:
        self._identity = identity
        self._prefix = prefix

    async def issue(self, call: Call) -> Reply:
        given = claimed(call.body.auth.identity)
        call.deed.logs_in(*given)
        call.deed.notes["methods"] = list(call.body.auth.identity.methods)[:5]
        token, grant = await log_in(self._identity, call.body.auth, call.remote)
        call.deed.logs_in(grant.user["id"], grant.user["name"], scope=grant.scope.kind or None)
        call.deed.project_id = grant.scope.id if grant.scope.kind == "project" else None
        return await self.reply(call, grant, {"X-Subject-Token": token})

    async def validate(self, call: Call) -> Reply:
        token, grant = await self._subject(call, "identity:validate_token")
        return await self.reply(call, grant, {"X-Subject-Token": token})

    async def check(self, call: Call) -> Reply:
        token, _grant = await self._subject(call, "identity:check_token")
        return Reply(headers={"X-Subject-Token": token, "Vary": "X-Auth-Token"})

    async def revoke(self, call: Call) -> None:
        _token, grant = await self._subject(call, "identity:revoke_token")
        ends = timestamp(grant.expires_at)
        await self._identity.write(lambda conn: store.revoke(conn, grant.audit_ids[0], ends))

    async def catalog(self, call: Call) -> Reply:
        body = await self._catalog(call, call.caller.project_id)
        return Reply({"catalog": body, "links": {"self": call.url}})

    async def projects(self, call: Call) -> Reply:
        user_id = call.caller.user_id or ""
        wanted = filters(call, PROJECTS_BY, PROJECT_FLAGS)

        def find(conn: sa.Connection) -> list[Row]:
            places, _domains, _system = grants.places_of(conn, user_id)
            found = store.find(conn, tables.projects, [*wanted, ("is_domain", False)])
            return [row for row in found if row["id"] in places and row["enabled"]]

        return listing(call, "projects", await self._identity.db.scan(find), project_body)

    async def domains(self, call: Call) -> Reply:
        user_id = call.caller.user_id or ""

        def find(conn: sa.Connection) -> list[Row]:
            _projects, places, _system = grants.places_of(conn, user_id)
            found = store.find(conn, tables.projects, [("is_domain", True)])
            return [row for row in found if row["id"] in places and row["enabled"]]

        return listing(call, "domains", await self._identity.db.scan(find), domain_body)

    async def system(self, call: Call) -> Reply:
        user_id = call.caller.user_id or ""
        _, _, system = await self._identity.db.read(lambda conn: grants.places_of(conn, user_id))
        body = [{"all": True}] if system else []
        return Reply({"system": body, "links": {"self": call.url}})

    # -- inside ------------------------------------------------------------------------------

    async def _subject(self, call: Call, rule: str) -> tuple[str, Grant]:
        """The token that is asked about, if the caller may ask; a 404 when it is not good."""
        token = call.header("X-Subject-Token")
        if not token:
            raise Missing("The X-Subject-Token header is missing.")
        late = dict(call.args).get("allow_expired", "").lower() in ("1", "true")
        grant = await self._identity.grant(token, allow_expired=late)
        if grant is None:
            # To everybody, as upstream: one's own that was revoked too. Not the token itself: a reply is no place
            # for it.
            raise Missing("Could not find token.")
        call.require(rule, {"target.token.user_id": grant.user["id"]})
        return token, grant

    async def reply(self, call: Call, grant: Grant, headers: dict[str, str]) -> Reply:
        token = _token_body(grant)
        if grant.scope.kind and "nocatalog" not in dict(call.args):
            project_id = grant.scope.id if grant.scope.kind == "project" else None
            token["catalog"] = await self._catalog(call, project_id)
        return Reply({"token": token}, headers={**headers, "Vary": "X-Auth-Token"})

    async def _catalog(self, call: Call, project_id: str | None) -> list[Row]:
        identity = self._identity

        def find(conn: sa.Connection) -> tuple[list[Row], list[Row]]:
            endpoints = all_endpoints(identity, call, self._prefix, conn)
            allowed = endpoint_store.allowed(conn, project_id, endpoints) if project_id else None
            if allowed is not None:
                endpoints = [row for row in endpoints if row["id"] in allowed]
            return store.find(conn, tables.services), endpoints

        services, endpoints = await identity.db.read(find)
        return render([*own_services(identity.catalog), *services], endpoints, project_id)


def _token_body(grant: Grant) -> Row:
    """The token as GET and POST show it, without the catalogue."""
    user, target = grant.user, grant.target
    body: Row = {
        "methods": list(grant.methods),
        "user": {
            "id": user["id"],
            "name": user["name"],
            "domain": {"id": user["domain_id"], "name": user["domain_name"]},
            "password_expires_at": None,
        },
        "audit_ids": list(grant.audit_ids),
        "issued_at": moment(whole_seconds(grant.issued_at)),
        "expires_at": moment(grant.expires_at),
    }
    if grant.scope.kind:
        body["roles"] = [{"id": role.id, "name": role.name} for role in grant.roles]
    if grant.scope.kind == "project" and target is not None:
        domain = {"id": target["domain_id"], "name": target["domain_name"]}
        body["project"] = {"id": target["id"], "name": target["name"], "domain": domain}
        body["is_domain"] = False
    elif grant.scope.kind == "domain" and target is not None:
        body["domain"] = {"id": target["id"], "name": target["name"]}
    elif grant.scope.kind == "system":
        body["system"] = {"all": True}
    if grant.trust is not None:
        trust = grant.trust
        body["OS-TRUST:trust"] = {
            "id": trust["id"],
            "impersonation": bool(trust["impersonation"]),
            "trustor_user": {"id": trust["trustor_user_id"]},
            "trustee_user": {"id": trust["trustee_user_id"]},
        }
    if grant.application_credential is not None:
        app_cred = grant.application_credential
        body["application_credential"] = {
            "id": app_cred["id"],
            "name": app_cred["name"],
            "restricted": not app_cred["unrestricted"],
        }
    return body
