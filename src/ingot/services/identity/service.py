"""The Identity service: authenticates callers and serves the Identity API."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import sqlalchemy as sa

from ingot.kit.auth.policy import ANONYMOUS, Caller, Policy
from ingot.kit.db.database import Database
from ingot.kit.db.tx import Transactions
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Conflict, Unauthenticated
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import Clock
from ingot.services.identity import bootstrap as first_start
from ingot.services.identity import grants, store, tables
from ingot.services.identity.grants import RoleBook
from ingot.services.identity.passwords import Passwords
from ingot.services.identity.policies import RULES
from ingot.services.identity.tokens import TokenKeys
from ingot.services.identity.types import (
    Bootstrap,
    CatalogueEntry,
    Grant,
    Held,
    IdentitySettings,
    Project,
    User,
    nothing_held,
)
from ingot.services.identity.validation import resolve, standing

T = TypeVar("T")

_CACHED_TOKENS = 10_000
#: Whose service token has the right to bring an expired one.
SERVICE_ROLE = "service"


@dataclass(slots=True)
class _Cached:
    epoch: int
    grant: Grant


class Identity:
    """Users, projects, roles, tokens and the catalogue.

    catalog: entries of the other services; `identity` itself is added. held: what a project has in them.
    vault: seals credentials; the key file of the state folder where none is given.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        settings: IdentitySettings,
        catalog: Sequence[CatalogueEntry] = (),
        held: Held = nothing_held,
        vault: Vault | None = None,
    ) -> None:
        self.db = db
        self.clock = clock
        self.settings = settings
        own = CatalogueEntry("identity", "keystone", "/identity", "Identity (Ingot)")
        self.catalog: tuple[CatalogueEntry, ...] = (own, *catalog)
        self.keys = TokenKeys((settings.keys_dir or settings.state_dir) / "fernet-keys")
        self.passwords = Passwords(settings.password_cost, clock)
        self.policy = Policy(RULES, settings.policy)
        self._held = held
        self.vault = vault or Vault.at((settings.keys_dir or settings.state_dir) / "vault.key")
        self.transactions = Transactions(db, clock)
        self._service_project_id: str | None = None
        self._cache: dict[bytes, _Cached] = {}
        self._book: tuple[int, RoleBook] = (-1, RoleBook({}, {}))
        self._seen_epoch = (0, float("-inf"))

    async def close(self) -> None:
        self.passwords.close()

    async def bootstrap(
        self, admin_password: str | None = None, *, renew: bool = False
    ) -> Bootstrap:
        """Make domain, roles, projects and users that are missing; see `Bootstrap` for what came of it.

        renew: give admin and demo new passwords although they exist (clouds.yaml was lost).
        """
        try:
            made = await first_start.bootstrap(
                self.db, self.passwords, self.settings.region, admin_password, renew
            )
        finally:
            self.forget_epoch()
        self._service_project_id = made.service_project_id
        return made

    @property
    def service_project_id(self) -> str:
        """The project that owns what the cloud's services have themselves. RuntimeError before `bootstrap`."""
        if self._service_project_id is None:
            raise RuntimeError("the identity service has not been bootstrapped")
        return self._service_project_id

    # -- callers -----------------------------------------------------------------------------

    async def authenticate(self, header: Callable[[str], str | None]) -> Caller:
        """The authenticator of the other services: X-Auth-Token, and X-Service-Token's roles beside it.

        A service that finishes old work sends its own token with one that has expired meanwhile: as Keystone's
        middleware does, the old one is good then for some time more.
        """
        service_token = header("X-Service-Token")
        service = await self.caller_for(service_token) if service_token else ANONYMOUS
        token = header("X-Auth-Token")
        if not token:
            return ANONYMOUS
        caller = await self.caller_for(token, allow_expired=SERVICE_ROLE in service.roles)
        return dataclasses.replace(caller, service_roles=service.roles) if service_token else caller

    async def authenticate_here(self, header: Callable[[str], str | None]) -> Caller:
        """The authenticator of the Identity API itself: an expired token is none, whoever brings it."""
        token = header("X-Auth-Token")
        return await self.caller_for(token) if token else ANONYMOUS

    async def caller_for(self, token: str, *, allow_expired: bool = False) -> Caller:
        """Whose token it is; Unauthenticated when it is not good (unknown, expired, revoked)."""
        grant = await self.grant(token, allow_expired=allow_expired)
        if grant is None:
            raise Unauthenticated(
                "The request you have made requires authentication.",
                next_action="The token is unknown, was revoked or has expired: log in again.",
            )
        return grant.caller

    async def still(self, caller: Caller) -> Caller:
        """Who a caller is by now; Unauthenticated once nothing is left of their right.

        Without a token: as if they logged in again for the same scope.
        """
        if caller.token:
            return await self.caller_for(caller.token)
        book = await self.roles()
        found = await self.db.read(lambda conn: standing(conn, book, caller))
        if found is None:
            raise Unauthenticated("The user has no right here any more.")
        return found

    async def grant(self, token: str, *, allow_expired: bool = False) -> Grant | None:
        """What a token grants now; None when it is not good."""
        key = hashlib.sha256(token.encode()).digest()
        epoch = await self._epoch()
        now = self.clock.now()
        hit = self._cache.get(key)
        if hit is not None and hit.epoch == epoch:
            app_cred = hit.grant.application_credential
            # An application credential may end before the token does: ask anew.
            if app_cred is None or app_cred["expires_at"] is None:
                return self._timely(hit.grant, allow_expired)
        content = self.keys.open(token)
        if content is None:
            return None
        book = await self.roles()
        grant = await self.db.read(lambda conn: resolve(conn, content, book, now, token))
        if grant is None:
            self._cache.pop(key, None)
            return None
        while len(self._cache) >= _CACHED_TOKENS:
            self._cache.pop(next(iter(self._cache)))
        self._cache[key] = _Cached(epoch, grant)
        return self._timely(grant, allow_expired)

    def _timely(self, grant: Grant, allow_expired: bool) -> Grant | None:
        end = grant.expires_at + (store.EXPIRED_WINDOW if allow_expired else timedelta())
        return grant if self.clock.now() < end else None

    async def roles(self) -> RoleBook:
        """All roles and their implications as of now."""
        epoch = await self._epoch()
        if self._book[0] != epoch:
            self._book = (epoch, await self.db.read(grants.role_book))
        return self._book[1]

    async def _epoch(self) -> int:
        """The count of changes that can make a token mean something else."""
        # To ask each time would cost an eighth of a request here and more than the request over a network:
        # other processes' changes may go unseen for `epoch_seconds`, this process's own never (see `write`).
        now = self.clock.monotonic()
        if now - self._seen_epoch[1] >= self.settings.epoch_seconds:
            self._seen_epoch = (await self.db.read(store.epoch), now)
        return self._seen_epoch[0]

    async def write(self, change: Callable[[sa.Connection], T]) -> T:
        """A transaction of this service: what it changed counts at once in this process."""
        try:
            return await self.db.write(change)
        finally:
            self.forget_epoch()

    def forget_epoch(self) -> None:
        """Ask the database at the next token whether anything has changed."""
        self._seen_epoch = (self._seen_epoch[0], float("-inf"))

    def leave(self, conn: sa.Connection, project_id: str, name: str) -> None:
        """Before a project goes: tell what it leaves without an owner, or Conflict where the site wants that."""
        held = {what: n for what, n in self._held(conn, project_id).items() if n}
        if not held:
            return
        told = " and ".join(f"{n} {what}" for what, n in held.items())
        if self.settings.keep_used_projects:
            raise Conflict(
                f"Project {project_id} has {told}.",
                next_action="Delete them or give them away first.",
            )
        text = f"Project {name} was deleted; it leaves {told} without an owner"
        events.record(conn, f"project:{project_id}", "identity", text, severity="warning")

    # -- look-ups for other services --------------------------------------------------------------

    async def project(self, project_id: str) -> Project | None:
        """A project (or domain) by id."""
        row = await self.db.read(lambda conn: store.get(conn, tables.projects, project_id))
        if row is None:
            return None
        return Project(
            id=row["id"],
            name=row["name"],
            domain_id=row["domain_id"] or None,
            enabled=bool(row["enabled"]),
            is_domain=bool(row["is_domain"]),
            parent_id=row["parent_id"] or None,
            description=row["description"],
        )

    async def user(self, user_id: str) -> User | None:
        """A user by id."""
        row = await self.db.read(lambda conn: store.get(conn, tables.users, user_id))
        if row is None:
            return None
        return User(
            id=row["id"],
            name=row["name"],
            domain_id=row["domain_id"],
            enabled=bool(row["enabled"]),
            default_project_id=row["default_project_id"],
        )
