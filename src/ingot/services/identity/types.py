"""Types of the identity service that other services and the app may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ingot.kit.auth.policy import Caller

DEFAULT_DOMAIN = "default"
#: What a project has outside of the identity service: how many of each kind, by the kind's name ("servers").
Held = Callable[[sa.Connection, str], Mapping[str, int]]


def nothing_held(_conn: sa.Connection, _project_id: str) -> Mapping[str, int]:
    """Where no other service counts."""
    return {}


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One service of the catalogue.

    type: such as "compute"; name: such as "nova" (clients show it).
    url: a path below the service's own scheme and host, such as "/compute/v2.1", or an absolute URL for
        a service that lives elsewhere. `{project_id}` is replaced; tokens without project then lack it.
    """

    type: str
    name: str
    url: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """Options of the identity service.

    state_dir: where the token keys live (`fernet-keys`, mode 0600), unless keys_dir is set.
    token_seconds: how long a token is good. Longer than Keystone's hour, since a machine that boots slowly
        still fetches its things with the token taken at its start.
    password_cost: log2 of scrypt's N, 10 to 20; 15 takes about 60 ms and 32 MiB.
    public_url: scheme and host as clients shall see them; None takes those of each request.
    epoch_seconds: how long another process's change may go unseen; only on a database over the network.
    keep_used_projects: refuse to delete a project that has something elsewhere in the cloud (`Held`).
    """

    state_dir: Path
    token_seconds: int = 4 * 3600
    password_cost: int = 15
    public_url: str | None = None
    region: str = "RegionOne"
    epoch_seconds: float = 1.0
    keys_dir: Path | None = None
    keep_used_projects: bool = False
    policy: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Project:
    """A project, or a domain when `is_domain`."""

    id: str
    name: str
    domain_id: str | None
    enabled: bool
    is_domain: bool = False
    parent_id: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class User:
    id: str
    name: str
    domain_id: str
    enabled: bool
    default_project_id: str | None = None


@dataclass(frozen=True, slots=True)
class Role:
    id: str
    name: str
    domain_id: str | None = None


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What bootstrap made. Passwords are None when the users were there already and were left alone."""

    admin_password: str | None = field(repr=False)
    demo_password: str | None = field(repr=False)
    admin_user_id: str
    admin_project_id: str
    demo_user_id: str
    demo_project_id: str
    service_project_id: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token is for: kind "project", "domain", "system" or "" (unscoped)."""

    kind: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """A token understood: whose it is, what for, with which roles, until when.

    trust: the row of the trust that it stands for, whose time and users have been checked.
    user, project, domain: rows as the API shows them (name, domain name); None where not in scope.
    """

    user: dict[str, Any]
    scope: Scope
    target: dict[str, Any] | None
    roles: tuple[Role, ...]
    methods: tuple[str, ...]
    audit_ids: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    application_credential: dict[str, Any] | None
    trust: dict[str, Any] | None
    caller: Caller
