"""Port groups, chassis, volume connectors and volume targets"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('chassis',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('uuid', sa.String(length=36), nullable=False),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.Column('updated_at', sa.String(length=32), nullable=True),
    sa.Column('description', sa.String(length=255), nullable=True),
    sa.Column('extra', sa.Text(), server_default='{}', nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_chassis')),
    sa.UniqueConstraint('uuid', name=op.f('uq_chassis_uuid'))
    )
    op.create_table('portgroups',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('uuid', sa.String(length=36), nullable=False),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.Column('updated_at', sa.String(length=32), nullable=True),
    sa.Column('node_uuid', sa.String(length=36), nullable=False),
    sa.Column('name', sa.String(length=255), nullable=True),
    sa.Column('address', sa.String(length=17), nullable=True),
    sa.Column('mode', sa.String(length=255), nullable=True),
    sa.Column('properties', sa.Text(), server_default='{}', nullable=False),
    sa.Column('extra', sa.Text(), server_default='{}', nullable=False),
    sa.Column('internal_info', sa.Text(), server_default='{}', nullable=False),
    sa.Column('standalone_ports_supported', sa.Boolean(), server_default=sa.true(), nullable=False),
    sa.Column('physical_network', sa.String(length=64), nullable=True),
    sa.Column('category', sa.String(length=80), nullable=True),
    sa.Column('dynamic_portgroup', sa.Boolean(), server_default=sa.false(), nullable=False),
    sa.ForeignKeyConstraint(['node_uuid'], ['nodes.uuid'], name=op.f('fk_portgroups_node_uuid'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_portgroups')),
    sa.UniqueConstraint('address', name=op.f('uq_portgroups_address')),
    sa.UniqueConstraint('name', name=op.f('uq_portgroups_name')),
    sa.UniqueConstraint('uuid', name=op.f('uq_portgroups_uuid'))
    )
    with op.batch_alter_table('portgroups', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_portgroups_node_uuid'), ['node_uuid'], unique=False)

    op.create_table('volume_connectors',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('uuid', sa.String(length=36), nullable=False),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.Column('updated_at', sa.String(length=32), nullable=True),
    sa.Column('node_uuid', sa.String(length=36), nullable=False),
    sa.Column('type', sa.String(length=32), nullable=False),
    sa.Column('connector_id', sa.String(length=255), nullable=False),
    sa.Column('extra', sa.Text(), server_default='{}', nullable=False),
    sa.ForeignKeyConstraint(['node_uuid'], ['nodes.uuid'], name=op.f('fk_volume_connectors_node_uuid'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_volume_connectors')),
    sa.UniqueConstraint('type', 'connector_id', name=op.f('uq_volume_connectors_type_connector_id')),
    sa.UniqueConstraint('uuid', name=op.f('uq_volume_connectors_uuid'))
    )
    with op.batch_alter_table('volume_connectors', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_volume_connectors_node_uuid'), ['node_uuid'], unique=False)

    op.create_table('volume_targets',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('uuid', sa.String(length=36), nullable=False),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.Column('updated_at', sa.String(length=32), nullable=True),
    sa.Column('node_uuid', sa.String(length=36), nullable=False),
    sa.Column('volume_type', sa.String(length=64), nullable=False),
    sa.Column('boot_index', sa.BigInteger(), nullable=False),
    sa.Column('volume_id', sa.String(length=255), nullable=False),
    sa.Column('properties', sa.Text(), server_default='{}', nullable=False),
    sa.Column('sealed', sa.Text(), nullable=True),
    sa.Column('extra', sa.Text(), server_default='{}', nullable=False),
    sa.ForeignKeyConstraint(['node_uuid'], ['nodes.uuid'], name=op.f('fk_volume_targets_node_uuid'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_volume_targets')),
    sa.UniqueConstraint('node_uuid', 'boot_index', name=op.f('uq_volume_targets_node_uuid_boot_index')),
    sa.UniqueConstraint('uuid', name=op.f('uq_volume_targets_uuid'))
    )
    with op.batch_alter_table('baremetal_ports', schema=None) as batch_op:
        batch_op.create_index('ix_baremetal_ports_portgroup_uuid', ['portgroup_uuid'], unique=False)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead.")
