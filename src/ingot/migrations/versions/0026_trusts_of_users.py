"""Trusts: what users let others do with their roles"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    def key(table: str) -> sa.ForeignKey:
        return sa.ForeignKey(f"{table}.id", ondelete="CASCADE")

    users, projects, trusts = "identity_users", "identity_projects", "identity_trusts"
    op.create_table(
        "identity_trusts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("trustor_user_id", sa.String(64), key(users), nullable=False),
        sa.Column("trustee_user_id", sa.String(64), key(users), nullable=False),
        sa.Column("project_id", sa.String(64), key(projects), nullable=False),
        sa.Column("impersonation", sa.Boolean, nullable=False),
        sa.Column("expires_at", sa.String(40)),
        sa.Column("remaining_uses", sa.Integer),
        sa.Column("redelegated_trust_id", sa.String(64), key(trusts)),
        sa.Column("redelegation_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("role_ids", sa.Text, nullable=False),
    )
    for name in ("trustor_user_id", "trustee_user_id"):
        op.create_index(f"ix_identity_trusts_{name}", "identity_trusts", [name])
