"""An index of free machines"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_FREE = "provision_state = 'available' AND instance_uuid IS NULL"


def upgrade() -> None:
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.create_index(
            "ix_nodes_free",
            ["resource_class", "uuid"],
            unique=False,
            sqlite_where=sa.text(_FREE),
            postgresql_where=sa.text(_FREE),
        )
