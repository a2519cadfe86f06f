"""What decides about a machine's boots, controller and instance stands in columns, not in a field that is shown"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

#: Column -> where it stood in driver_internal_info.
_TEXTS = {
    "agent_ordered_at": ("agent_ordered_at",),
    "boot_seen_at": ("boot_seen",),
    "started_at": ("started_at",),
    "unasked_boot_at": ("unasked_boot", "at"),
    "unasked_boot_mac": ("unasked_boot", "mac"),
    "bmc_identity": ("bmc_identity",),
}
_FLAGS = ("instance_stopped", "automatic_lessee")


def upgrade() -> None:
    for name in ("agent_ordered_at", "boot_seen_at", "started_at", "unasked_boot_at"):
        op.add_column("nodes", sa.Column(name, sa.String(length=32), nullable=True))
    op.add_column("nodes", sa.Column("unasked_boot_mac", sa.String(length=17), nullable=True))
    op.add_column("nodes", sa.Column("bmc_identity", sa.Text(), nullable=True))
    for name in _FLAGS:
        flag = sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False)
        op.add_column("nodes", flag)
    where = sa.text("unasked_boot_at IS NOT NULL")
    op.create_index(
        "ix_nodes_unasked_boot",
        "nodes",
        ["unasked_boot_at"],
        sqlite_where=where,
        postgresql_where=where,
    )
    postgres = op.get_bind().dialect.name == "postgresql"
    found = _POSTGRES if postgres else _SQLITE
    op.execute(f"UPDATE nodes SET {found} WHERE driver_internal_info <> '{{}}'")
    if postgres:
        # Processes of the release before work on: they write and read the field, those of this one the columns.
        op.execute(_CARRY_OVER)
        op.execute(
            "CREATE TRIGGER nodes_carry_facts BEFORE UPDATE ON nodes "
            "FOR EACH ROW EXECUTE FUNCTION nodes_carry_facts()"
        )


def _assigned(path: str, flag: str) -> str:
    texts = (f"{name} = " + path.format(".".join(at), ",".join(at)) for name, at in _TEXTS.items())
    return ", ".join([*texts, *(f"{name} = {flag.format(name)}" for name in _FLAGS)])


_SQLITE = _assigned(
    "json_extract(driver_internal_info, '$.{0}')",
    "coalesce(json_extract(driver_internal_info, '$.{0}'), 0)",
)
_POSTGRES = _assigned(
    "driver_internal_info::jsonb #>> '{{{1}}}'",
    "coalesce((driver_internal_info::jsonb ->> '{0}')::boolean, false)",
)
_CARRY_OVER = """
CREATE FUNCTION nodes_carry_facts() RETURNS trigger AS $$
DECLARE
  told jsonb;
BEGIN
  IF NEW.driver_internal_info IS DISTINCT FROM OLD.driver_internal_info THEN
    told := NEW.driver_internal_info::jsonb;
    NEW.agent_ordered_at := told ->> 'agent_ordered_at';
    NEW.boot_seen_at := told ->> 'boot_seen';
    NEW.started_at := told ->> 'started_at';
    NEW.unasked_boot_at := told #>> '{unasked_boot,at}';
    NEW.unasked_boot_mac := told #>> '{unasked_boot,mac}';
    NEW.bmc_identity := told ->> 'bmc_identity';
    NEW.instance_stopped := coalesce((told ->> 'instance_stopped')::boolean, false);
    NEW.automatic_lessee := coalesce((told ->> 'automatic_lessee')::boolean, false);
  ELSIF (NEW.agent_ordered_at, NEW.boot_seen_at, NEW.started_at, NEW.unasked_boot_at, NEW.unasked_boot_mac,
      NEW.bmc_identity, NEW.instance_stopped, NEW.automatic_lessee)
    IS DISTINCT FROM (OLD.agent_ordered_at, OLD.boot_seen_at, OLD.started_at, OLD.unasked_boot_at,
      OLD.unasked_boot_mac, OLD.bmc_identity, OLD.instance_stopped, OLD.automatic_lessee) THEN
    told := NEW.driver_internal_info::jsonb - '{agent_ordered_at,boot_seen,started_at,unasked_boot,bmc_identity}'::text[]
      - '{instance_stopped,automatic_lessee}'::text[];
    NEW.driver_internal_info := (told || jsonb_strip_nulls(jsonb_build_object(
      'agent_ordered_at', NEW.agent_ordered_at,
      'boot_seen', NEW.boot_seen_at,
      'started_at', NEW.started_at,
      'unasked_boot', CASE WHEN NEW.unasked_boot_at IS NOT NULL
        THEN jsonb_build_object('at', NEW.unasked_boot_at, 'mac', NEW.unasked_boot_mac) END,
      'bmc_identity', NEW.bmc_identity::jsonb,
      'instance_stopped', CASE WHEN NEW.instance_stopped THEN true END,
      'automatic_lessee', CASE WHEN NEW.automatic_lessee THEN true END)))::text;
  END IF;
  RETURN NEW;
END
$$ LANGUAGE plpgsql
"""
