"""Who locked a server; operations by time and by project"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("servers", schema=None) as batch_op:
        batch_op.add_column(sa.Column("locked_by", sa.String(length=8), nullable=True))
    op.execute("UPDATE servers SET locked_by = 'owner' WHERE locked")
    with op.batch_alter_table("operations", schema=None) as batch_op:
        batch_op.create_index("ix_operations_created_at", ["created_at"], unique=False)
        batch_op.create_index(
            "ix_operations_project_id_created_at", ["project_id", "created_at"], unique=False
        )
