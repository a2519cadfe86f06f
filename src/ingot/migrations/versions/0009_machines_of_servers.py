"""Machines that servers of our own have taken"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("server_uuid", sa.String(length=36), nullable=True))
    op.execute(
        "UPDATE nodes SET server_uuid = instance_uuid WHERE instance_uuid IN "
        "(SELECT uuid FROM servers WHERE deleted_at IS NULL)"
    )
