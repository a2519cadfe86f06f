"""What machines told of their BIOS settings and firmware; consoles by TCP; the fake vendor interface by its usual name"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "node_bios",
        sa.Column("node_uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("updated_at", sa.String(length=32), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("attribute_type", sa.String(length=255), nullable=True),
        sa.Column("allowable_values", sa.Text(), nullable=True),
        sa.Column("lower_bound", sa.BigInteger(), nullable=True),
        sa.Column("upper_bound", sa.BigInteger(), nullable=True),
        sa.Column("min_length", sa.BigInteger(), nullable=True),
        sa.Column("max_length", sa.BigInteger(), nullable=True),
        sa.Column("read_only", sa.Boolean(), nullable=True),
        sa.Column("reset_required", sa.Boolean(), nullable=True),
        sa.Column("unique", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(
            ["node_uuid"],
            ["nodes.uuid"],
            name=op.f("fk_node_bios_node_uuid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("node_uuid", "name", name=op.f("pk_node_bios")),
    )
    op.create_table(
        "node_firmware",
        sa.Column("node_uuid", sa.String(length=36), nullable=False),
        sa.Column("component", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("updated_at", sa.String(length=32), nullable=True),
        sa.Column("initial_version", sa.String(length=255), nullable=True),
        sa.Column("current_version", sa.String(length=255), nullable=True),
        sa.Column("last_version_flashed", sa.String(length=255), nullable=True),
        sa.Column("vendor", sa.String(length=255), nullable=True),
        sa.Column("model", sa.String(length=255), nullable=True),
        sa.Column("serial_number", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["node_uuid"],
            ["nodes.uuid"],
            name=op.f("fk_node_firmware_node_uuid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("node_uuid", "component", name=op.f("pk_node_firmware")),
    )
    op.create_table(
        "node_consoles",
        sa.Column("node_uuid", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column("url", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["node_uuid"],
            ["nodes.uuid"],
            name=op.f("fk_node_consoles_node_uuid"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("node_uuid", name=op.f("pk_node_consoles")),
    )
    op.execute(
        "UPDATE nodes SET vendor_interface = 'fake' WHERE vendor_interface = 'fake-vendor-b'"
    )
