"""Operations, their steps, their signals, and the processes that work on them.

The partial unique index on `operations.subject` is the lock of a node or server: one live operation each.
"""

from __future__ import annotations

import sqlalchemy as sa

from ingot.kit.db.database import json_column, metadata, partial_index

#: `wake_at` of an operation that is to be advanced at once; sorts before every time.
AT_ONCE = ""

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    json_column("input", nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("group_name", sa.Text, nullable=False),
    sa.Column("project_id", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("requested_by", sa.Text, nullable=False),
    # running, waiting, undoing, done, failed, aborted
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("step", sa.Text),
    sa.Column("waiting_for", sa.Text),
    sa.Column("what", sa.Text),
    sa.Column("wake_at", sa.Text),
    sa.Column("parked_at", sa.Text),
    sa.Column("owner", sa.Text),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("abort_reason", sa.Text),
    sa.Column("abort_by", sa.Text),
    json_column("fault"),
    json_column("result"),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("ended_at", sa.Text),
    partial_index(
        "uq_operations_live_subject",
        "subject",
        unique=True,
        where="ended_at IS NULL",
    ),
    partial_index(
        "ix_operations_wake_at",
        "wake_at",
        where="ended_at IS NULL",
    ),
    partial_index(
        "ix_operations_owner",
        "owner",
        where="ended_at IS NULL AND owner IS NOT NULL",
    ),
    sa.Index("ix_operations_subject_created_at", "subject", "created_at"),
    sa.Index("ix_operations_kind_profile_ended_at", "kind", "profile", "ended_at"),
    sa.Index("ix_operations_ended_at", "ended_at"),
    sa.Index("ix_operations_created_at", "created_at"),
    sa.Index("ix_operations_project_id_created_at", "project_id", "created_at"),
)

steps = sa.Table(
    "steps",
    metadata,
    sa.Column(
        "operation_id",
        sa.Text,
        sa.ForeignKey("operations.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    # Position in the workflow; the undo of step n has the number UNDO + n.
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key", sa.Text),
    # step, commit, wait, sleep, undo
    sa.Column("sort", sa.Text, nullable=False),
    # running, retry, waiting, done, failed
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    json_column("result"),
    json_column("fault"),
    sa.Column("started_at", sa.Text, nullable=False),
    sa.Column("deadline_at", sa.Text),
    sa.Column("ended_at", sa.Text),
    sa.Column("duration", sa.Float),
)

#: Sequence numbers of undo steps start here.
UNDO = 1_000_000

signals = sa.Table(
    "signals",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column(
        "operation_id",
        sa.Text,
        sa.ForeignKey("operations.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("name", sa.Text, nullable=False),
    json_column("payload", nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Index("ix_signals_operation_id_name_id", "operation_id", "name", "id"),
    sqlite_autoincrement=True,
)

conductors = sa.Table(
    "conductors",
    metadata,
    # One incarnation per start of a process; the host name outlives it. That of a process that is gone ends
    # in " gone", so that nothing is owned by it any more.
    sa.Column("incarnation", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("group_name", sa.Text, nullable=False),
    # Counts up with every beat; others watch it change with their own monotonic clock.
    sa.Column("beat", sa.Integer, nullable=False),
    sa.Column("beat_at", sa.Text, nullable=False),
    sa.Column("started_at", sa.Text, nullable=False),
    json_column("roles", nullable=False),
    json_column("info", nullable=False),
    sa.Index("ix_conductors_host", "host"),
)
