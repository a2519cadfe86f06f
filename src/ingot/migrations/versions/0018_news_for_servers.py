"""What servers have not been told of their machines"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

NEWS = (
    "server_uuid IS NOT NULL AND (instance_uuid IS NULL OR instance_uuid <> server_uuid "
    "OR coalesce(power_state, '') <> coalesce(server_power, ''))"
)


def upgrade() -> None:
    op.create_table(
        "left_servers",
        sa.Column("server_uuid", sa.String(length=36), nullable=False),
        sa.Column("node_uuid", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("server_uuid", "node_uuid", name=op.f("pk_left_servers")),
    )
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("server_power", sa.String(length=15), nullable=True))
    op.create_index(
        "ix_nodes_news",
        "nodes",
        ["id"],
        unique=False,
        sqlite_where=sa.text(NEWS),
        postgresql_where=sa.text(NEWS),
    )
    # A server whose node is not there any more.
    op.execute(
        "INSERT INTO left_servers (server_uuid, node_uuid) SELECT uuid, node_uuid FROM servers "
        "WHERE deleted_at IS NULL AND node_uuid IS NOT NULL "
        "AND node_uuid NOT IN (SELECT uuid FROM nodes WHERE server_uuid = servers.uuid)"
    )
