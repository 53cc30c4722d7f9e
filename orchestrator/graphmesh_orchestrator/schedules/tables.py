"""The table of schedules."""

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime

from graphmesh_orchestrator.db.tables import metadata

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("schedule_id", sa.String(64), primary_key=True),
    sa.Column("uid", sa.String(40), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("roles", sa.JSON(none_as_null=True)),
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
"""`moved` is when `next_tick` was set, `claimed_until` until when a worker creates the runs of its due ticks. Moments
are in seconds since 1970 of the database's clock."""
_ACTIVE_ROWS = sa.text("status = 'active'")
sa.Index("schedules_due", schedules.c.next_tick, sqlite_where=_ACTIVE_ROWS, postgresql_where=_ACTIVE_ROWS)
sa.Index("schedules_moved", schedules.c.moved, sqlite_where=_ACTIVE_ROWS, postgresql_where=_ACTIVE_ROWS)
sa.Index("schedules_by_uid", schedules.c.uid, unique=True)
sa.Index("schedules_by_age", schedules.c.tenant, schedules.c.created, schedules.c.schedule_id)
