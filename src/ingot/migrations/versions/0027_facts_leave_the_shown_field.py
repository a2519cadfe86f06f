"""Facts that are columns of nodes leave the stored driver_internal_info"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None
phase = "contract"

_NAMES = (
    "agent_ordered_at",
    "boot_seen",
    "started_at",
    "unasked_boot",
    "bmc_identity",
    "instance_stopped",
    "automatic_lessee",
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER nodes_carry_facts ON nodes")
        op.execute("DROP FUNCTION nodes_carry_facts()")
        rest = f"(driver_internal_info::jsonb - '{{{','.join(_NAMES)}}}'::text[])::text"
    else:
        paths = ", ".join(f"'$.{name}'" for name in _NAMES)
        rest = f"json_remove(driver_internal_info, {paths})"
    op.execute(f"UPDATE nodes SET driver_internal_info = {rest} WHERE driver_internal_info <> '{{}}'")
