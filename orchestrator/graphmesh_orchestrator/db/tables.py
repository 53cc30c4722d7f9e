"""The tables of runs, their events and their threads, and what an index has to see literally."""

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime

metadata = sa.MetaData()

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("thread_id", sa.String(64), nullable=False),
    sa.Column("graph", sa.String(64), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("input", sa.JSON(none_as_null=True)),
    sa.Column("output", sa.JSON(none_as_null=True)),
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
"""`lease_expires` is in seconds since 1970 of the database's clock; 0: nobody holds the run.

A run is updated once a superstep: in a page with room, PostgreSQL does that without touching the indexes.
"""
PENDING, RUNNING, NONE = (sa.literal_column(f"'{value}'", sa.String) for value in ("pending", "running", ""))
"""Not parameters: a database uses a partial index where it sees the index's own condition."""
ACTIVE = runs.c.status.in_((PENDING, RUNNING))
"""Goes on by itself; whether its time and its turn have come is another matter."""
CLAIMABLE = sa.and_(ACTIVE, sa.or_(runs.c.holds_thread, runs.c.cancel_reason != NONE))
"""A worker may have it; one that waits for its turn and is cancelled needs one to be ended."""
HELD = sa.and_(ACTIVE, runs.c.lease_owner != NONE)
"""A worker has it, or had it."""
WAITING = sa.and_(runs.c.status == PENDING, sa.not_(runs.c.holds_thread))
"""Its time or its turn has not come."""
_ACTIVE_ROWS = "status IN ('pending', 'running')"
_HELD_ROWS = sa.text(f"{_ACTIVE_ROWS} AND lease_owner <> ''")
_HOLDERS = sa.text("holds_thread")
by_holder = sa.Index(
    "runs_by_holder",
    runs.c.tenant,
    runs.c.thread_id,
    unique=True,
    sqlite_where=_HOLDERS,
    postgresql_where=_HOLDERS,
)
"""At most one run has a thread."""
claimable = sa.Index(
    "runs_claimable",
    runs.c.tenant,
    runs.c.created,
    sqlite_where=sa.text(f"{_ACTIVE_ROWS} AND (holds_thread = 1 OR cancel_reason <> '')"),
    postgresql_where=sa.text(f"{_ACTIVE_ROWS} AND (holds_thread OR cancel_reason <> '')"),
)
"""No index has the time of a lease, so that to renew it touches none."""
by_owner = sa.Index("runs_by_owner", runs.c.lease_owner, sqlite_where=_HELD_ROWS, postgresql_where=_HELD_ROWS)
waiting = sa.Index(
    "runs_waiting",
    runs.c.due,
    sqlite_where=sa.text("status = 'pending' AND holds_thread = 0"),
    postgresql_where=sa.text("status = 'pending' AND NOT holds_thread"),
)
_ENDED_ROWS = sa.text("ended IS NOT NULL")
by_end = sa.Index("runs_by_end", runs.c.ended, sqlite_where=_ENDED_ROWS, postgresql_where=_ENDED_ROWS)
by_thread = sa.Index("runs_by_thread", runs.c.tenant, runs.c.thread_id, runs.c.created)
by_age = sa.Index("runs_by_age", runs.c.tenant, runs.c.created, runs.c.run_id)
by_request = sa.Index(
    "runs_by_request",
    runs.c.tenant,
    runs.c.request_id,
    unique=True,
    sqlite_where=sa.text("request_id <> ''"),
    postgresql_where=sa.text("request_id <> ''"),
)
"""One run a request_id (A4)."""

events = sa.Table(
    "run_events",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("time", UtcDateTime, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("node", sa.String(255), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
)


threads = sa.Table(
    "threads",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("thread_id", sa.String(64), primary_key=True),
    sa.Column("graph", sa.String(64), nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("used", UtcDateTime, nullable=False),
    sa.Column("ttl_seconds", sa.Float, nullable=False),
)
"""`used` is when a run was last added to it or its state was updated. `ttl_seconds` 0: as the settings say; below: for
ever."""
sa.Index("threads_by_age", threads.c.tenant, threads.c.created, threads.c.thread_id)
STATES_TTL = threads.c.ttl_seconds > sa.literal_column("0")
_TTL_ROWS = sa.text("ttl_seconds > 0")
sa.Index(
    "threads_with_ttl",
    threads.c.tenant,
    threads.c.thread_id,
    sqlite_where=_TTL_ROWS,
    postgresql_where=_TTL_ROWS,
)
