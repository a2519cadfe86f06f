"""Endpoints of projects and options of domains"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def _of_project(name: str) -> sa.Column[str]:
    key = sa.ForeignKey("identity_projects.id", ondelete="CASCADE")
    return sa.Column(name, sa.String(64), key, primary_key=True)


def upgrade() -> None:
    op.create_table(
        "identity_project_endpoints",
        _of_project("project_id"),
        sa.Column("endpoint_id", sa.String(64), primary_key=True),
    )
    op.create_table(
        "identity_endpoint_groups",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("filters", sa.Text, nullable=False),
    )
    key = sa.ForeignKey("identity_endpoint_groups.id", ondelete="CASCADE")
    op.create_table(
        "identity_project_endpoint_groups",
        _of_project("project_id"),
        sa.Column("endpoint_group_id", sa.String(64), key, primary_key=True),
    )
    op.create_table(
        "identity_domain_options",
        _of_project("domain_id"),
        sa.Column("group_name", sa.String(64), primary_key=True),
        sa.Column("option_name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
