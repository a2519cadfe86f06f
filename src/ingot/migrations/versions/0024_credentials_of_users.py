"""Credentials of users (EC2 keys, certificates, seeds of one-time passwords) and unified limits"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_credentials",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column(
            "user_id",
            sa.String(64),
            sa.ForeignKey("identity_users.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column(
            "project_id", sa.String(64), sa.ForeignKey("identity_projects.id", ondelete="CASCADE")
        ),
        sa.Column("type", sa.String(255), nullable=False),
        sa.Column("blob", sa.Text, nullable=False),
        sa.Column(
            "app_cred_id",
            sa.String(64),
            sa.ForeignKey("identity_application_credentials.id", ondelete="CASCADE"),
        ),
    )
    op.create_index("ix_identity_credentials_user_id", "identity_credentials", ["user_id"])
    op.create_table(
        "identity_registered_limits",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("service_id", sa.String(64), nullable=False),
        sa.Column("region_id", sa.String(255), nullable=False, server_default=""),
        sa.Column("resource_name", sa.String(255), nullable=False),
        sa.Column("default_limit", sa.Integer, nullable=False),
        sa.Column("description", sa.Text),
        sa.UniqueConstraint("service_id", "region_id", "resource_name"),
    )
    op.create_table(
        "identity_limits",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column(
            "registered_limit_id",
            sa.String(64),
            sa.ForeignKey("identity_registered_limits.id"),
            nullable=False,
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
    op.create_index(
        "ix_identity_limits_registered_limit_id", "identity_limits", ["registered_limit_id"]
    )
