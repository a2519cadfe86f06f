"""Since when roles and memberships are held"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in (
        ("identity_assignments", "since"),
        ("identity_memberships", "since"),
        ("identity_projects", "ended"),
    ):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(
                sa.Column(column, sa.Integer(), server_default="0", nullable=False)
            )
