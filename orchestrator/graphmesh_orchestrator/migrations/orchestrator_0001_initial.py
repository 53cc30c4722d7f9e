"""Runs and their events."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "orchestrator_0001"
down_revision = None
branch_labels = ("orchestrator",)
depends_on = None

ACTIVE = sa.text("status IN ('pending', 'running')")
REQUESTED = sa.text("request_id <> ''")


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("thread_id", sa.String(64), nullable=False),
        sa.Column("graph", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("input", sa.JSON, nullable=False),
        sa.Column("output", sa.JSON),
        sa.Column("error", sa.LargeBinary),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("recursion_limit", sa.Integer, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("deadline", UtcDateTime, nullable=False),
        sa.Column("started", UtcDateTime),
        sa.Column("ended", UtcDateTime),
        sa.Column("cancel_reason", sa.String(500), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("lease_owner", sa.String(64), nullable=False),
        sa.Column("lease_expires", sa.Float, nullable=False),
    )
    for name, columns, where in (
        ("runs_active_by_thread", ["tenant", "thread_id"], ACTIVE),
        ("runs_by_request", ["tenant", "request_id"], REQUESTED),
    ):
        op.create_index(name, "runs", columns, unique=True, sqlite_where=where, postgresql_where=where)
    op.create_index("runs_by_age", "runs", ["tenant", "created", "run_id"])
    op.create_index("runs_claimable", "runs", ["lease_expires"], sqlite_where=ACTIVE, postgresql_where=ACTIVE)
    op.create_table(
        "run_events",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("run_events")
    op.drop_table("runs")
