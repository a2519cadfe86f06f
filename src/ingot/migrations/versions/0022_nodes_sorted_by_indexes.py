"""Lists of nodes in the usual orders are read by indexes"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_SORTED = (
    ("name", "coalesce(name, '')"),
    ("created_at", "created_at"),
    ("provision_state", "provision_state"),
    ("resource_class", "coalesce(resource_class, '')"),
    ("driver", "driver"),
    ("owner", "coalesce(owner, '')"),
    ("conductor_group", "conductor_group"),
)


def upgrade() -> None:
    for name, expression in _SORTED:
        first = name if expression == name else sa.text(expression)
        op.create_index(f"ix_nodes_sorted_{name}", "nodes", [first, "id"])
