"""Usage of projects is counted"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    usage = op.create_table(
        "compute_usage",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("instances", number, nullable=False),
        sa.Column("cores", number, nullable=False),
        sa.Column("ram", number, nullable=False),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_compute_usage")),
    )
    with op.batch_alter_table("servers", schema=None) as batch_op:
        batch_op.create_index("ix_servers_group_id", ["group_id"], unique=False)
        batch_op.create_index(
            "ix_servers_listed",
            ["project_id", "created_at", "number"],
            unique=False,
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        )
    found: dict[str, list[int]] = {}
    rows = op.get_bind().execute(
        sa.text("SELECT project_id, flavor FROM servers WHERE deleted_at IS NULL")
    )
    for project_id, text in rows:
        flavor = json.loads(text)
        used = found.setdefault(project_id, [0, 0, 0])
        used[:] = [used[0] + 1, used[1] + flavor["vcpus"], used[2] + flavor["ram"]]
    op.bulk_insert(
        usage,
        [
            {"project_id": project, "instances": used[0], "cores": used[1], "ram": used[2]}
            for project, used in found.items()
        ],
    )
