"""Runs and their events."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "orchestrator_0001"
down_revision = None
branch_labels = ("orchestrator",)
depends_on = None

ACTIVE = "status IN ('pending', 'running')"
HELD = sa.text(f"{ACTIVE} AND lease_owner <> ''")
HOLDERS = sa.text("holds_thread")
EXPIRING = sa.text("status = 'pending' AND expires > 0")
REQUESTED = sa.text("request_id <> ''")
ENDED = sa.text("ended IS NOT NULL")
TTL = sa.text("ttl_seconds > 0")


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("thread_id", sa.String(64), nullable=False),
        sa.Column("graph", sa.String(64), nullable=False),
        sa.Column("roles", sa.JSON),
        sa.Column("client", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("input", sa.JSON),
        sa.Column("output", sa.JSON),
        sa.Column("error", sa.LargeBinary),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("recursion_limit", sa.Integer, nullable=False),
        sa.Column("ceilings", sa.JSON, nullable=False),
        sa.Column("usage", sa.JSON, nullable=False),
        sa.Column("multitask", sa.String(16), nullable=False),
        sa.Column("due", sa.Float, nullable=False),
        sa.Column("checkpoint_id", sa.String(64), nullable=False),
        sa.Column("webhook_url", sa.Text, nullable=False),
        sa.Column("graph_version", sa.Integer, nullable=False),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.Column("holds_thread", sa.Boolean, nullable=False),
        sa.Column("parked", UtcDateTime),
        sa.Column("rolled_back", sa.Boolean, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("deadline", UtcDateTime, nullable=False),
        sa.Column("started", UtcDateTime),
        sa.Column("ended", UtcDateTime),
        sa.Column("cancel_reason", sa.String(500), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("lease_owner", sa.String(64), nullable=False),
        sa.Column("lease_expires", sa.Float, nullable=False),
        postgresql_with={"fillfactor": 50},
    )
    for name, columns, where in (
        ("runs_by_holder", ["tenant", "thread_id"], HOLDERS),
        ("runs_by_request", ["tenant", "request_id"], REQUESTED),
    ):
        op.create_index(name, "runs", columns, unique=True, sqlite_where=where, postgresql_where=where)
    op.create_index("runs_by_age", "runs", ["tenant", "created", "run_id"])
    op.create_index("runs_by_thread", "runs", ["tenant", "thread_id", "created"])
    op.create_index("runs_by_end", "runs", ["ended"], sqlite_where=ENDED, postgresql_where=ENDED)
    op.create_index(
        "runs_claimable",
        "runs",
        ["tenant", "created"],
        sqlite_where=sa.text(f"{ACTIVE} AND (holds_thread = 1 OR cancel_reason <> '')"),
        postgresql_where=sa.text(f"{ACTIVE} AND (holds_thread OR cancel_reason <> '')"),
    )
    op.create_index("runs_by_owner", "runs", ["lease_owner"], sqlite_where=HELD, postgresql_where=HELD)
    op.create_index(
        "runs_waiting",
        "runs",
        ["due"],
        sqlite_where=sa.text("status = 'pending' AND holds_thread = 0"),
        postgresql_where=sa.text("status = 'pending' AND NOT holds_thread"),
    )
    op.create_table(
        "threads",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("thread_id", sa.String(64), primary_key=True),
        sa.Column("graph", sa.String(64), nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("used", UtcDateTime, nullable=False),
        sa.Column("ttl_seconds", sa.Float, nullable=False),
    )
    op.create_index("threads_by_age", "threads", ["tenant", "created", "thread_id"])
    op.create_index("threads_with_ttl", "threads", ["tenant", "thread_id"], sqlite_where=TTL, postgresql_where=TTL)
    op.create_table(
        "interrupts",
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("interrupt_id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("value", sa.JSON, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("answer", sa.JSON),
        sa.Column("answered", UtcDateTime),
        sa.Column("answered_by", sa.String(255), nullable=False),
        sa.Column("approval_id", sa.String(64)),
        sa.Column("approval", sa.JSON),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
    )
    op.create_index("interrupts_by_approval", "interrupts", ["approval_id"], unique=True)
    op.create_index("interrupts_expiring", "interrupts", ["expires"], sqlite_where=EXPIRING, postgresql_where=EXPIRING)
    op.create_index("interrupts_by_tenant", "interrupts", ["tenant", "created", "approval_id"])
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
    op.drop_table("interrupts")
    op.drop_table("threads")
    op.drop_table("run_events")
    op.drop_table("runs")
