"""Ports that DHCP must look at again"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "network_dhcp_changes",
        sa.Column("port_id", sa.String(length=36), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("port_id", name=op.f("pk_network_dhcp_changes")),
    )
    with op.batch_alter_table("network_dhcp_changes", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_network_dhcp_changes_generation"), ["generation"], unique=False
        )
