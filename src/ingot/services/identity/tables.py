"""Tables of the identity service; only `store` and `grants` read and write them.

Domains are projects that act as one (`is_domain`), as the Identity API shows them too. `domain_id` is
the empty text where there is none, so that uniqueness holds (NULLs never collide).
"""

from __future__ import annotations

import sqlalchemy as sa

from ingot.kit.db.database import json_column, metadata

#: Marks columns that no API shows and by which nothing is found (`store.find`).
SECRET = {"secret": True}

projects = sa.Table(
    "identity_projects",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("domain_id", sa.String(64), nullable=False, server_default=""),
    sa.Column("parent_id", sa.String(64), nullable=False, server_default="", index=True),
    sa.Column("is_domain", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    # Of a domain: tokens of its users and for its projects that were made before this epoch have ended.
    sa.Column("ended", sa.Integer, nullable=False, server_default="0", info=SECRET),
    # Raised when tokens for this project shall end (disable).
    sa.Column("generation", sa.Integer, nullable=False, server_default="0", info=SECRET),
    json_column("tags", nullable=False, server_default="[]"),
    json_column("extra", nullable=False, server_default="{}"),
    sa.UniqueConstraint("domain_id", "is_domain", "name"),
)

users = sa.Table(
    "identity_users",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("domain_id", sa.String(64), nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("password_hash", sa.String(255), info=SECRET),
    sa.Column("default_project_id", sa.String(64)),
    sa.Column("description", sa.Text),
    # Raised when all tokens of this user shall end (password change, disable).
    sa.Column("generation", sa.Integer, nullable=False, server_default="0", info=SECRET),
    json_column("extra", nullable=False, server_default="{}"),
    sa.UniqueConstraint("domain_id", "name"),
)

groups = sa.Table(
    "identity_groups",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("domain_id", sa.String(64), nullable=False),
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    json_column("extra", nullable=False, server_default="{}"),
    sa.UniqueConstraint("domain_id", "name"),
)

memberships = sa.Table(
    "identity_memberships",
    metadata,
    sa.Column(
        "group_id",
        sa.String(64),
        sa.ForeignKey("identity_groups.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column(
        "user_id",
        sa.String(64),
        sa.ForeignKey("identity_users.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    # The epoch since which it is so: tokens that were made before do not live by it.
    sa.Column("since", sa.Integer, nullable=False, server_default="0"),
)

roles = sa.Table(
    "identity_roles",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("domain_id", sa.String(64), nullable=False, server_default=""),
    sa.Column("description", sa.Text),
    json_column("extra", nullable=False, server_default="{}"),
    sa.UniqueConstraint("domain_id", "name"),
)

implied_roles = sa.Table(
    "identity_implied_roles",
    metadata,
    sa.Column(
        "prior_id",
        sa.String(64),
        sa.ForeignKey("identity_roles.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column(
        "implied_id",
        sa.String(64),
        sa.ForeignKey("identity_roles.id", ondelete="CASCADE"),
        primary_key=True,
    ),
)

# actor_type: user, group. target_type: project, domain, system (target_id "all").
assignments = sa.Table(
    "identity_assignments",
    metadata,
    sa.Column("actor_type", sa.String(8), primary_key=True),
    sa.Column("actor_id", sa.String(64), primary_key=True),
    sa.Column("target_type", sa.String(8), primary_key=True),
    sa.Column("target_id", sa.String(64), primary_key=True),
    sa.Column(
        "role_id",
        sa.String(64),
        sa.ForeignKey("identity_roles.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("inherited", sa.Boolean, primary_key=True, server_default=sa.false()),
    sa.Column("since", sa.Integer, nullable=False, server_default="0"),
    sa.Index("ix_identity_assignments_target", "target_type", "target_id"),
)

application_credentials = sa.Table(
    "identity_application_credentials",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column(
        "user_id",
        sa.String(64),
        sa.ForeignKey("identity_users.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column(
        "project_id",
        sa.String(64),
        sa.ForeignKey("identity_projects.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    sa.Column("secret_hash", sa.String(255), nullable=False, info=SECRET),
    sa.Column("unrestricted", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("expires_at", sa.String(40)),
    json_column("role_ids", nullable=False),
    sa.UniqueConstraint("user_id", "name"),
)

# Secrets of users for other ways in: type ec2 (found by the hash of the access key, which is its id), cert, totp…
# blob: sealed. app_cred_id: a credential that was made with an application credential grants no more than that one.
credentials = sa.Table(
    "identity_credentials",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column(
        "user_id",
        sa.String(64),
        sa.ForeignKey("identity_users.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column(
        "project_id", sa.String(64), sa.ForeignKey("identity_projects.id", ondelete="CASCADE")
    ),
    sa.Column("type", sa.String(255), nullable=False),
    sa.Column("blob", sa.Text, nullable=False, info=SECRET),
    sa.Column(
        "app_cred_id",
        sa.String(64),
        sa.ForeignKey("identity_application_credentials.id", ondelete="CASCADE"),
        info=SECRET,
    ),
)

# region_id, project_id, domain_id: the empty text where there is none, so that uniqueness holds.
registered_limits = sa.Table(
    "identity_registered_limits",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("service_id", sa.String(64), nullable=False),
    sa.Column("region_id", sa.String(255), nullable=False, server_default=""),
    sa.Column("resource_name", sa.String(255), nullable=False),
    sa.Column("default_limit", sa.Integer, nullable=False),
    sa.Column("description", sa.Text),
    sa.UniqueConstraint("service_id", "region_id", "resource_name"),
)

limits = sa.Table(
    "identity_limits",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column(
        "registered_limit_id",
        sa.String(64),
        sa.ForeignKey("identity_registered_limits.id"),
        nullable=False,
        index=True,
    ),
    sa.Column("project_id", sa.String(64), nullable=False, server_default=""),
    sa.Column("domain_id", sa.String(64), nullable=False, server_default=""),
    sa.Column("service_id", sa.String(64), nullable=False),
    sa.Column("region_id", sa.String(255), nullable=False, server_default=""),
    sa.Column("resource_name", sa.String(255), nullable=False),
    sa.Column("resource_limit", sa.Integer, nullable=False),
    sa.Column("description", sa.Text),
    sa.UniqueConstraint("project_id", "domain_id", "service_id", "region_id", "resource_name"),
)

# What a user (trustor) lets another (trustee) do in a project, with these roles, in the trustor's name or not.
# redelegated_trust_id: the trust of whose token it was made; it ends with that one.
trusts = sa.Table(
    "identity_trusts",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    *(
        sa.Column(
            name,
            sa.String(64),
            sa.ForeignKey("identity_users.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        )
        for name in ("trustor_user_id", "trustee_user_id")
    ),
    sa.Column(
        "project_id",
        sa.String(64),
        sa.ForeignKey("identity_projects.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("impersonation", sa.Boolean, nullable=False),
    sa.Column("expires_at", sa.String(40)),
    sa.Column("remaining_uses", sa.Integer),
    sa.Column(
        "redelegated_trust_id",
        sa.String(64),
        sa.ForeignKey("identity_trusts.id", ondelete="CASCADE"),
    ),
    sa.Column("redelegation_count", sa.Integer, nullable=False, server_default="0"),
    json_column("role_ids", nullable=False),
)

regions = sa.Table(
    "identity_regions",
    metadata,
    sa.Column("id", sa.String(255), primary_key=True),
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    sa.Column("parent_region_id", sa.String(255)),
    json_column("extra", nullable=False, server_default="{}"),
)

# Services and endpoints of others; our own come from the app and are never rows.
services = sa.Table(
    "identity_services",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("type", sa.String(255), nullable=False),
    sa.Column("name", sa.String(255), nullable=False, server_default=""),
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    json_column("extra", nullable=False, server_default="{}"),
)

endpoints = sa.Table(
    "identity_endpoints",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("service_id", sa.String(64), nullable=False, index=True),
    sa.Column("interface", sa.String(8), nullable=False),
    sa.Column("region_id", sa.String(255)),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    json_column("extra", nullable=False, server_default="{}"),
)

# Endpoints that a project's catalogue has, one by one (also our own, which are no rows) and by filters.
project_endpoints = sa.Table(
    "identity_project_endpoints",
    metadata,
    sa.Column(
        "project_id",
        sa.String(64),
        sa.ForeignKey("identity_projects.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("endpoint_id", sa.String(64), primary_key=True),
)

endpoint_groups = sa.Table(
    "identity_endpoint_groups",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.Text),
    json_column("filters", nullable=False, info={"json": True}),
)

project_endpoint_groups = sa.Table(
    "identity_project_endpoint_groups",
    metadata,
    sa.Column(
        "project_id",
        sa.String(64),
        sa.ForeignKey("identity_projects.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column(
        "endpoint_group_id",
        sa.String(64),
        sa.ForeignKey("identity_endpoint_groups.id", ondelete="CASCADE"),
        primary_key=True,
    ),
)

# value: JSON; sealed where the option is sensitive.
domain_options = sa.Table(
    "identity_domain_options",
    metadata,
    sa.Column(
        "domain_id",
        sa.String(64),
        sa.ForeignKey("identity_projects.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("group_name", sa.String(64), primary_key=True),
    sa.Column("option_name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False, info=SECRET),
)

# Single tokens that were taken back, by audit id; rows go when the token would have expired anyway.
revocations = sa.Table(
    "identity_revocations",
    metadata,
    sa.Column("audit_id", sa.String(64), primary_key=True),
    sa.Column("expires_at", sa.String(40), nullable=False, index=True),
)

# One row: raised by every change that can make a known token mean something else, so that a cached
# token costs one read of one row to trust again.
state = sa.Table(
    "identity_state",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.Integer, nullable=False),
)
