"""Servers that changed lately are found by an index"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_servers_updated_at", "servers", ["updated_at"], unique=False)
