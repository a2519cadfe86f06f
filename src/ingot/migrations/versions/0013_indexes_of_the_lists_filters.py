"""Indexes of what lists of machines and allocations are filtered by"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

PLAIN = ("driver", "conductor_group", "shard")
FEW = ("maintenance", "retired")
SELDOM = ("chassis_uuid", "parent_node", "fault", "instance_name")


def upgrade() -> None:
    for name in PLAIN:
        op.create_index(f"ix_nodes_{name}", "nodes", [name])
    for name in SELDOM:
        _partial(f"ix_nodes_{name}", name, f"{name} IS NOT NULL")
    _partial("ix_nodes_associated", "id", "instance_uuid IS NOT NULL")
    for name in FEW:
        _partial(f"ix_nodes_{name}", "id", f"{name} IS TRUE")
    for name in ("state", "resource_class"):
        op.create_index(f"ix_allocations_{name}", "allocations", [name])


def _partial(index: str, column: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(index, "nodes", [column], sqlite_where=condition, postgresql_where=condition)
