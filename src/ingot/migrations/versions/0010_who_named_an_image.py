"""Who wrote the names of images at a node, and whose deploy URLs are in force"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "image_holders",
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("hold", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("holder", name=op.f("pk_image_holders")),
        sa.UniqueConstraint("hold", name=op.f("uq_image_holders_hold")),
    )
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("image_rights", sa.Text(), nullable=True))
