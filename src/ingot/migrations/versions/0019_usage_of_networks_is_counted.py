"""Networks, subnets, ports, security groups and their rules are counted for each project"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_KINDS = {
    "network": "networks",
    "subnet": "subnets",
    "port": "network_ports",
    "security_group": "security_groups",
    "security_group_rule": "security_group_rules",
}


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "network_usage",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        *(sa.Column(kind, number, server_default="0", nullable=False) for kind in _KINDS),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_network_usage")),
    )
    for kind, table in _KINDS.items():
        op.execute(
            f"INSERT INTO network_usage (project_id, {kind}) "
            f"SELECT project_id, count(*) FROM {table} WHERE true GROUP BY project_id "
            f"ON CONFLICT (project_id) DO UPDATE SET {kind} = excluded.{kind}"
        )
