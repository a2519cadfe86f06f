"""Who somebody is, from what they show: password, token or application credential; and what for.

Every reason to refuse gives the same 401, so that nobody learns which user or project exists; the reason
goes to the log as the fault's internal text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit.auth.throttle import LoginAttempt
from ingot.kit.db.database import when
from ingot.kit.faults import Forbidden, Invalid, Unauthenticated
from ingot.services.identity import schemas, store, tables, trust_store
from ingot.services.identity.tokens import Payload, payload
from ingot.services.identity.types import DEFAULT_DOMAIN, Grant, Scope
from ingot.services.identity.validation import (
    app_cred_expired,
    live_target,
    live_user,
    resolve,
)

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

Row = dict[str, Any]
#: What a body of POST /v3/auth/tokens may show.
_SHOWN = ("password", "token", "application_credential")


def refused(reason: str) -> Unauthenticated:
    """The one 401 of authentication; `reason` is for the log."""
    return Unauthenticated(
        "The request you have made requires authentication.",
        next_action="Check the name, the password or secret, the domain and the scope.",
        internal=reason,
    )


@dataclass(frozen=True, slots=True)
class Proof:
    """What the methods of one request prove together."""

    user: Row
    methods: tuple[str, ...]
    parent: Payload | None = None
    app_cred: Row | None = None
    trust: Row | None = None
    trustor: Row | None = None


def claimed(given: schemas.AuthIdentity) -> tuple[str | None, str | None]:
    """Id and name of whom somebody says to be, nothing proved yet; with a domain that is not the default one."""
    if given.password is not None:
        user = given.password.user
        domain = user.domain and (user.domain.name or user.domain.id)
        away = domain and domain.lower() != DEFAULT_DOMAIN and user.name
        return user.id, f"{user.name}@{domain}" if away else user.name
    if given.application_credential is not None:
        own = given.application_credential
        return None, f"application credential {own.id or own.name}"
    return None, None


async def log_in(identity: Identity, request: schemas.Auth, remote: str = "") -> tuple[str, Grant]:
    """A new token and what it grants; Unauthenticated when the proof or the scope is not good.

    remote: the address of who asks. Fault (too many) while that one has to wait.
    """
    proof = await _prove(identity, request.identity, remote)
    if isinstance(request.scope, schemas.ScopeBody) and request.scope.trust is not None:
        return await _enter_trust(identity, proof, request.scope)
    return await _issue(identity, proof, lambda conn: _scopes(conn, request.scope, proof))


async def log_in_by_signature(identity: Identity, key: Row) -> tuple[str, Grant]:
    """A token for the project of an EC2 key, whose signature the caller has checked; Unauthenticated where it has none."""

    def find(conn: sa.Connection) -> tuple[Row | None, Row | None]:
        made_with = key["app_cred_id"]
        app_cred = store.get(conn, tables.application_credentials, made_with) if made_with else None
        return live_user(conn, key["user_id"]), app_cred

    user, app_cred = await identity.db.read(find)
    if user is None:
        raise refused("the user of the EC2 key is gone or disabled")
    if app_cred is not None and app_cred["project_id"] != key["project_id"]:
        raise refused(
            "the EC2 key is for another project than the credential that it was made with"
        )
    proof = Proof(user, ("ec2credential",), app_cred=app_cred)
    return await _issue(identity, proof, lambda _conn: [Scope("project", key["project_id"])])


async def _enter_trust(
    identity: Identity, proof: Proof, wanted: schemas.ScopeBody
) -> tuple[str, Grant]:
    """A token of a trust for its trustee; Unauthenticated when it is not theirs, used up or over."""
    assert wanted.trust is not None
    _only_one(wanted)
    if proof.app_cred is not None:
        raise refused("an application credential cannot ask for a trust")
    trust_id, now = wanted.trust.id, identity.clock.now()

    def take(conn: sa.Connection) -> tuple[Row, Row]:
        trust = trust_store.get(conn, trust_id, now)
        if trust is None or trust["trustee_user_id"] != proof.user["id"]:
            raise refused("no such trust, it is over, or it is another user's")
        trustor = live_user(conn, trust["trustor_user_id"])
        if trustor is None:
            raise refused("the trustor is gone or disabled")
        return trust, trustor

    trust, trustor = await identity.db.read(take)
    trusted = dataclasses.replace(proof, trust=trust, trustor=trustor)
    token, grant = await _issue(
        identity, trusted, lambda _conn: [Scope("project", trust["project_id"])]
    )
    if not await identity.db.write(lambda conn: trust_store.use(conn, trust_id)):
        raise refused("the trust is used up")
    return token, grant


async def _issue(
    identity: Identity, proof: Proof, scopes: Callable[[sa.Connection], list[Scope]]
) -> tuple[str, Grant]:
    """A token for the first of the scopes in which there is something to be had."""
    book = await identity.roles()
    now = identity.clock.now()
    expires = now + timedelta(seconds=identity.settings.token_seconds)
    if proof.parent is not None:
        expires = min(expires, proof.parent.expires_at)
    if proof.app_cred is not None:
        expires = min(expires, when(proof.app_cred["expires_at"]) or expires)

    if proof.trust is not None:
        expires = min(expires, when(proof.trust["expires_at"]) or expires)

    def decide(conn: sa.Connection) -> tuple[Payload, Grant]:
        # Before anything that it is to be compared with: what is newer than it came later.
        epoch = store.epoch(conn)
        for scope in scopes(conn):
            content = _content(conn, proof, scope, (now, expires), epoch)
            grant = resolve(conn, content, book, now, None) if content else None
            if content is not None and grant is not None:
                return content, grant
        raise refused("no role in the scope asked for, or it is not there or disabled")

    content, grant = await identity.db.read(decide)
    return identity.keys.seal(content), grant


def _content(
    conn: sa.Connection,
    proof: Proof,
    scope: Scope,
    times: tuple[datetime, datetime],
    epoch: int,
) -> Payload | None:
    """What a token for this scope holds, None where there is no such place. times: since and until when."""
    generation = 0
    if scope.kind in ("project", "domain"):
        target = live_target(conn, scope)
        if target is None:
            return None
        generation = target["generation"]
    return payload(
        methods=proof.methods,
        user_id=proof.user["id"],
        kind=scope.kind,
        scope_id=scope.id,
        issued_at=times[0],
        expires_at=times[1],
        generations=(proof.user["generation"], generation),
        parent=proof.parent,
        app_cred_id=proof.app_cred["id"] if proof.app_cred else "",
        epoch=epoch,
        trust_id=proof.trust["id"] if proof.trust else "",
        trustor_generation=proof.trustor["generation"] if proof.trustor else 0,
    )


# -- proof ---------------------------------------------------------------------------------------


async def _prove(identity: Identity, given: schemas.AuthIdentity, remote: str) -> Proof:
    proofs: list[Proof] = []
    for method in dict.fromkeys(given.methods):
        if method not in _SHOWN:
            raise refused(f"the method {method!r} is not known")
        shown: Any = getattr(given, method)
        if shown is None:
            raise Invalid(f"Expecting to find {method} in identity.")
        if isinstance(shown, schemas.PasswordMethod):
            proofs.append(await _by_password(identity, shown.user, remote))
        elif isinstance(shown, schemas.TokenMethod):
            proofs.append(await _by_token(identity, shown.id))
        else:
            proofs.append(await _by_app_cred(identity, shown, remote))
    if len({proof.user["id"] for proof in proofs}) != 1:
        raise refused("the methods prove different users")
    return Proof(
        user=proofs[0].user,
        methods=tuple(dict.fromkeys(name for proof in proofs for name in proof.methods)),
        parent=next((proof.parent for proof in proofs if proof.parent), None),
        app_cred=next((proof.app_cred for proof in proofs if proof.app_cred), None),
    )


async def _by_password(identity: Identity, given: schemas.PasswordUser, remote: str) -> Proof:
    if given.password is None:
        raise Invalid("Expecting to find password in user.")
    user = await identity.db.read(lambda conn: _find_user(conn, given))
    # Hashed also when there is no such user: both answers take the same time.
    who = LoginAttempt.of(remote, user["id"] if user else _spelt(given))
    known = user["password_hash"] if user else None
    good = await identity.passwords.verify(given.password, known, who)
    if user is None or not good:
        raise refused("no such user, or a wrong password")
    return Proof(user, ("password",))


async def _by_token(identity: Identity, token: str) -> Proof:
    content = identity.keys.open(token)
    grant = await identity.grant(token)
    if content is None or grant is None:
        raise refused("the token is not good")
    if grant.trust is not None:
        raise Forbidden(
            "A token of a trust cannot be exchanged for another token.",
            next_action="Log in, and ask for the trust again.",
        )
    return Proof(
        grant.user,
        tuple(dict.fromkeys((*grant.methods, "token"))),
        parent=content,
        app_cred=grant.application_credential,
    )


async def _by_app_cred(identity: Identity, given: schemas.AppCredMethod, remote: str) -> Proof:
    def find(conn: sa.Connection) -> tuple[Row | None, Row | None]:
        if given.id is not None:
            found = store.get(conn, tables.application_credentials, given.id)
        else:
            if given.name is None or given.user is None:
                raise Invalid("Expecting to find id, or name and user, in application_credential.")
            owner = _find_user(conn, given.user)
            found = (
                store.by_name(conn, tables.application_credentials, given.name, user_id=owner["id"])
                if owner
                else None
            )
        return found, live_user(conn, found["user_id"]) if found else None

    app_cred, user = await identity.db.read(find)
    account = app_cred["id"] if app_cred else given.id or f"{given.name}/{_spelt(given.user)}"
    known = app_cred["secret_hash"] if app_cred else None
    good = await identity.passwords.verify(given.secret, known, LoginAttempt.of(remote, account))
    if app_cred is None or user is None or not good:
        raise refused("no such application credential, or a wrong secret")
    if app_cred_expired(app_cred, identity.clock.now()):
        raise refused("the application credential has expired")
    return Proof(user, ("application_credential",), app_cred=app_cred)


def _spelt(given: schemas.NamedIn | None) -> str:
    """One text for whom somebody claims to be."""
    if given is None:
        return ""
    domain = given.domain or schemas.Named()
    return f"{given.id or given.name}@{domain.id or domain.name}"[:200]


def _find_user(conn: sa.Connection, given: schemas.NamedIn) -> Row | None:
    """The live user by id, or by name and domain."""
    if given.id is not None:
        return live_user(conn, given.id)
    if given.name is None or given.domain is None:
        raise Invalid("Expecting to find id, or name and domain, in user.")
    domain_id = _domain_id(conn, given.domain)
    found = store.by_name(conn, tables.users, given.name, domain_id=domain_id)
    return live_user(conn, found["id"]) if found else None


def _domain_id(conn: sa.Connection, given: schemas.Named | None) -> str:
    """The id of a domain by id or name; a text that matches nothing when there is none."""
    if given is None:
        return DEFAULT_DOMAIN
    if given.id is not None:
        return given.id
    if given.name is None:
        raise Invalid("Expecting to find id or name in domain.")
    found = store.domain_by_name(conn, given.name)
    return found["id"] if found else "-"


# -- scope ---------------------------------------------------------------------------------------


def _scopes(
    conn: sa.Connection, wanted: schemas.ScopeBody | str | None, proof: Proof
) -> list[Scope]:
    """The scopes to try, in their order: one that was asked for, or the default and unscoped."""
    if proof.app_cred is not None:
        own = Scope("project", proof.app_cred["project_id"])
        if wanted is None or (proof.parent is not None and _asked(conn, wanted) == own):
            return [own]
        raise refused("an application credential cannot ask for a scope")
    if wanted is not None:
        return [_asked(conn, wanted)]
    default = proof.user["default_project_id"]
    return [*([Scope("project", default)] if default else []), Scope()]


def _only_one(wanted: schemas.ScopeBody) -> None:
    given = [wanted.project, wanted.domain, wanted.system, wanted.unscoped, wanted.trust]
    if sum(part is not None for part in given) != 1:
        raise Invalid(
            "The scope must be exactly one of project, domain, system, OS-TRUST:trust or unscoped."
        )


def _asked(conn: sa.Connection, wanted: schemas.ScopeBody | str) -> Scope:
    if isinstance(wanted, str):
        if wanted != "unscoped":
            raise Invalid("The scope must be an object or 'unscoped'.")
        return Scope()
    _only_one(wanted)
    if wanted.project is not None:
        return Scope("project", _project_id(conn, wanted.project))
    if wanted.domain is not None:
        return Scope("domain", _domain_id(conn, wanted.domain))
    if wanted.system is not None:
        if not wanted.system.all:
            raise Invalid("The only system scope is {'all': true}.")
        return Scope("system", "all")
    return Scope()


def _project_id(conn: sa.Connection, given: schemas.NamedIn) -> str:
    if given.id is not None:
        return given.id
    if given.name is None or given.domain is None:
        raise Invalid("Expecting to find id, or name and domain, in project.")
    found = store.by_name(
        conn,
        tables.projects,
        given.name,
        domain_id=_domain_id(conn, given.domain),
        is_domain=False,
    )
    return found["id"] if found else "-"
