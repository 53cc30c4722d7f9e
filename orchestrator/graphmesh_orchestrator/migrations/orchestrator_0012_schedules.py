"""Schedules, and the schedule of a run."""

import sqlalchemy as sa
from alembic import op
from graphmesh_chassis.database import UtcDateTime

revision = "orchestrator_0012"
down_revision = "orchestrator_0011"
branch_labels = None
depends_on = None

ACTIVE = sa.text("status = 'active'")


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("schedule_id", sa.String(64), primary_key=True),
        sa.Column("uid", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("roles", sa.JSON),
        sa.Column("client", sa.String(255), nullable=False),
        sa.Column("run", sa.LargeBinary, nullable=False),
        sa.Column("graph", sa.String(64), nullable=False),
        sa.Column("thread_id", sa.String(64), nullable=False),
        sa.Column("cron", sa.String(200), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("interval", sa.BigInteger, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("end", sa.BigInteger, nullable=False),
        sa.Column("catch_up", sa.String(16), nullable=False),
        sa.Column("window", sa.BigInteger, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("updated", UtcDateTime, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("next_tick", sa.Float, nullable=False),
        sa.Column("last_tick", sa.Float, nullable=False),
        sa.Column("last_run_id", sa.String(64), nullable=False),
        sa.Column("last_error", sa.LargeBinary),
        sa.Column("run_count", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("missed", sa.Float, nullable=False),
        sa.Column("moved", sa.Float, nullable=False),
        sa.Column("claimed_until", sa.Float, nullable=False),
    )
    op.create_index("schedules_due", "schedules", ["next_tick"], sqlite_where=ACTIVE, postgresql_where=ACTIVE)
    op.create_index("schedules_moved", "schedules", ["moved"], sqlite_where=ACTIVE, postgresql_where=ACTIVE)
    op.create_index("schedules_by_uid", "schedules", ["uid"], unique=True)
    op.create_index("schedules_by_age", "schedules", ["tenant", "created", "schedule_id"])
    op.add_column("runs", sa.Column("schedule_id", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("runs", "schedule_id")
    op.drop_table("schedules")
