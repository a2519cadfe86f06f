"""Receptions of images, and ids of deleted ones"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "image_deleted",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("deleted_at", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_deleted")),
    )
    where = sa.text("status IN ('saving', 'importing')")
    with op.batch_alter_table("image_images", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reception", sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column("received_at", sa.String(length=40), nullable=True))
        batch_op.create_index(
            "ix_image_images_receiving",
            ["received_at"],
            unique=False,
            sqlite_where=where,
            postgresql_where=where,
        )
