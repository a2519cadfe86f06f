"""Who opened a console"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("node_consoles", schema=None) as batch_op:
        batch_op.add_column(sa.Column("opened_by", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("owner", sa.String(length=255), nullable=True))
        batch_op.add_column(sa.Column("lessee", sa.String(length=255), nullable=True))
